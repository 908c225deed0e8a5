package pypi

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"appbundle/internal/fetch"
	"appbundle/schema"
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

// all gives the digests that there are.
func (h *hashes) all() map[string]string {
	m := map[string]string{}
	for algorithm, digest := range map[string]string{"sha256": h.sha256, "sha384": h.sha384, "sha512": h.sha512} {
		if digest != "" {
			m[algorithm] = digest
		}
	}
	return m
}

// set takes a digest where it is one.
func (h *hashes) set(algorithm, digest string) {
	digest = strings.ToLower(digest)
	if strings.Trim(digest, "0123456789abcdef") != "" {
		return
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
	base        *url.URL // of relative URLs
	project     string   // normalised; "" where it does not say
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
	if o.name == "" || !o.readName() || !o.setURL(p.base, href) {
		return false
	}
	p.offers = append(p.offers, o)
	return true
}

// readName reads what the file name says, strictly: it will be a name on disks
// and in locks.
func (o *offer) readName() bool {
	if len(o.name) > maxFileName || !isPlain(o.name) {
		return false
	}
	if strings.HasSuffix(o.name, ".whl") {
		w, err := pep508.ParseWheelName(o.name)
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

// settle passes over the files of other projects and those whose name occurs
// twice, repairs what they demand of Python, and sorts: newest version first,
// then by name.
func (p *page) settle(project string) {
	before := len(p.offers)
	p.offers = slices.DeleteFunc(p.offers, func(o offer) bool { return o.project != project })
	keys := make(map[string]string, len(p.offers))
	for _, o := range p.offers {
		keys[o.name] = o.version.Key()
	}
	slices.SortStableFunc(p.offers, func(a, b offer) int {
		if keys[a.name] == keys[b.name] {
			return strings.Compare(a.name, b.name)
		}
		return cmp.Or(pep440.Compare(b.version, a.version), strings.Compare(a.name, b.name))
	})
	p.offers = slices.CompactFunc(p.offers, func(a, b offer) bool { return a.name == b.name })
	p.passed += before - len(p.offers)
	p.repairRequires(project)
}

// repairRequires leaves out what nobody can read, and says so once for a page.
func (p *page) repairRequires(project string) {
	read := map[string]string{}
	bad, first := 0, ""
	for i := range p.offers {
		o := &p.offers[i]
		text, known := read[o.requires]
		if !known {
			_, repaired, err := schema.RepairSpecifiers(o.requires)
			switch {
			case err != nil:
				text = ""
			case repaired != "":
				text = repaired
			default:
				text = o.requires
			}
			read[o.requires] = text
		}
		if text == "" && strings.TrimSpace(o.requires) != "" {
			if bad++; bad == 1 {
				first = fmt.Sprintf("%q of %s", o.requires, o.name)
			}
		}
		o.requires = text
	}
	if bad > 0 {
		p.notes = append(p.notes, fmt.Sprintf("%s: requires-python of %d files cannot be read and is left out, such as %s", project, bad, first))
	}
}
