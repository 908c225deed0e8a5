package pypi

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"appbundle/internal/fetch"
	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

const (
	maxPage        = 64 << 20
	maxFiles       = 200_000
	maxFileName    = 255
	maxVersion     = 128
	maxRelease     = 32
	maxReleaseNum  = 20
	maxURL         = 4 << 10
	protocolMajor  = "1"
	protocolNewest = 4 // the minor version that we know
)

// An offer is one file as a page describes it.
type offer struct {
	name, url string
	hashes    hashes
	size      int64
	uploaded  time.Time
	requires  string // Requires-Python
	yanked    bool
	reason    string
	side      sidecar

	// What the name says.
	project string // normalised
	version pep440.Version
	wheel   *pep508.WheelName // nil for an sdist
}

// hashes are those of the algorithms that count, in hex, "" for none.
type hashes struct{ sha256, sha384, sha512 string }

// set takes a digest where it is one.
func (h *hashes) set(algorithm, digest string) {
	lower := true
	for i := range len(digest) {
		switch kinds[digest[i]] & (isHex | isCapital) {
		case isHex:
		case isHex | isCapital:
			lower = false
		default:
			return
		}
	}
	if !lower {
		digest = strings.ToLower(digest)
	}
	switch {
	case algorithm == "sha256" && len(digest) == 64:
		h.sha256 = digest
	case algorithm == "sha384" && len(digest) == 96:
		h.sha384 = digest
	case algorithm == "sha512" && len(digest) == 128:
		h.sha512 = digest
	}
}

// A sidecar is what a page says of the metadata beside a file.
type sidecar struct {
	state  sidecarState
	sha256 string // of the metadata; "" where the page does not say
}

type sidecarState uint8

const (
	sideUnsaid sidecarState = iota // the page says nothing
	sideAbsent                     // it says that there is none
	sideThere
)

// A page is what one document of an index says.
type page struct {
	base        *url.URL           // of relative URLs
	names       *pep508.WheelNames // of the files; may be nil
	origin      string             // with which URLs of files begin: "https://files.example"
	project     string             // normalised; "" where it does not say
	offers      []offer
	passed      int    // links and files that cannot be used
	quarantined string // why; "" where it is not
	notes       []string
}

// checkProtocol refuses what another major version may mean by the same words.
func (p *page) checkProtocol(version string) error {
	if version == "" {
		return nil
	}
	v, err := pep440.Parse(version)
	if err != nil || len(v.Release()) < 2 {
		return fmt.Errorf("the index speaks version %q of its protocol, which is none", version)
	}
	if v.Release()[0] != protocolMajor {
		return fmt.Errorf("the index speaks version %s of its protocol, and only %s can be read", v, protocolMajor)
	}
	if pep440.Compare(v, newestProtocol) > 0 {
		p.notes = append(p.notes, fmt.Sprintf("the index speaks version %s of its protocol, newer than %s", v, newestProtocol))
	}
	return nil
}

var newestProtocol = pep440.MustParse(fmt.Sprintf("%s.%d", protocolMajor, protocolNewest))

// setStatus takes the status of the project (PEP 792).
func (p *page) setStatus(status, reason string) {
	if status != "quarantined" {
		return
	}
	if p.quarantined = reason; reason == "" {
		p.quarantined = "the index gives no reason"
	}
}

// add takes an offer whose URL is href, relative to the page, and reports
// whether it can be used.
func (p *page) add(o offer, href string) bool {
	if o.name == "" || !o.readNameBy(p.names) {
		return false
	}
	if p.origin != "" && strings.HasPrefix(href, p.origin) && isPlainPath(href[len(p.origin):]) && len(href) <= maxURL {
		o.url = href // what setURL would make of it
	} else if !o.setURL(p.base, href) {
		return false
	} else {
		p.origin = originOf(o.url)
	}
	p.offers = append(p.offers, o)
	return true
}

// readName reads what the file name says, strictly: it will be a name on disks
// and in locks.
func (o *offer) readName() bool { return o.readNameBy(nil) }

// readNameBy is readName for one of many; names may be nil.
func (o *offer) readNameBy(names *pep508.WheelNames) bool {
	if len(o.name) > maxFileName || !isPlain(o.name) {
		return false
	}
	if strings.HasSuffix(o.name, ".whl") {
		w, err := names.Parse(o.name)
		if err != nil {
			return false
		}
		o.project, o.version, o.wheel = w.Name, w.Version, &w
	} else {
		var err error
		if o.project, o.version, err = pep508.ParseSdistName(o.name); err != nil {
			return false
		}
	}
	return isModest(o.version)
}

// isPlain reports whether a name holds nothing but what names of distributions
// hold.
func isPlain(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._+!-", c) >= 0) {
			return false
		}
	}
	return s != "" && s[0] != '.'
}

// isModest bounds what comparing versions costs.
func isModest(v pep440.Version) bool {
	release := v.Release()
	return len(v.String()) <= maxVersion && len(release) <= maxRelease &&
		!slices.ContainsFunc(release, func(n string) bool { return len(n) > maxReleaseNum })
}

// setURL resolves href, which may have a digest for a fragment.
func (o *offer) setURL(base *url.URL, href string) bool {
	if href == "" || len(href) > maxURL {
		return false
	}
	u, err := base.Parse(href)
	if err != nil || u.Hostname() == "" {
		return false
	}
	if u.Scheme != "https" && (u.Scheme != "http" || base.Scheme == "https") {
		return false
	}
	if algorithm, digest, ok := strings.Cut(u.Fragment, "="); ok {
		o.hashes.set(algorithm, digest)
	}
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	o.url = u.String()
	return len(o.url) <= maxURL
}

// originOf gives what is before the path of a URL that was resolved, "" where
// there is none.
func originOf(u string) string {
	scheme, rest, _ := strings.Cut(u, "://")
	host, _, ok := strings.Cut(rest, "/")
	if !ok {
		return ""
	}
	return u[:len(scheme)+len("://")+len(host)]
}

// isPlainPath reports whether a path stays what it is when a URL is resolved:
// one of the thousands that a page has, each below the same origin.
func isPlainPath(path string) bool {
	var last byte
	for i := range len(path) {
		c := path[i]
		if kinds[c]&inPath == 0 || last == '/' && (c == '/' || c == '.') {
			return false
		}
		last = c
	}
	return path != "" && path[0] == '/'
}

// readPage decodes what a server sent.
func readPage(a fetch.Answer) (*page, error) {
	switch a.Type {
	case "application/vnd.pypi.simple.v1+json", "application/json":
		return readJSON(a)
	case "application/vnd.pypi.simple.v1+html", "text/html":
		return readHTML(a)
	case "":
		return nil, fmt.Errorf("the answer does not say what it is")
	}
	return nil, fmt.Errorf("the answer is %q, and no page of an index", a.Type)
}

const accept = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
