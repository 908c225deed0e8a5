package pypi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"appbundle/internal/fetch"
	"appbundle/schema/pep508"
)

// A jsonPage is the part of a project's page that counts (PEP 691, 700, 792).
type jsonPage struct {
	Meta struct {
		Version string `json:"api-version"`
	} `json:"meta"`
	Name   string     `json:"name"`
	Files  []jsonFile `json:"files"`
	Status struct {
		Status string `json:"status"`
		Reason string `json:"reason"`
	} `json:"project-status"`
}

// A jsonFile has fixed fields for the hashes: a map for each of thousands of
// files would take most of the time.
type jsonFile struct {
	Name   string `json:"filename"`
	URL    string `json:"url"`
	Hashes struct {
		SHA256 string `json:"sha256"`
		SHA384 string `json:"sha384"`
		SHA512 string `json:"sha512"`
	} `json:"hashes"`
	Requires     string      `json:"requires-python"` // null is ""
	Yanked       jsonYanked  `json:"yanked"`
	CoreMetadata jsonSidecar `json:"core-metadata"`
	DistInfo     jsonSidecar `json:"dist-info-metadata"` // what it was called at first
	Size         int64       `json:"size"`
	Uploaded     string      `json:"upload-time"`
}

// A jsonYanked is false, true, or the reason.
type jsonYanked struct {
	yanked bool
	reason string
}

// UnmarshalJSON takes any value: what is no reason and not false is yanked.
func (y *jsonYanked) UnmarshalJSON(data []byte) error {
	switch {
	case string(data) == "false", string(data) == "null":
	case data[0] == '"':
		y.yanked = true
		return json.Unmarshal(data, &y.reason)
	default:
		y.yanked = true
	}
	return nil
}

// A jsonSidecar is false, true, or the hashes of the metadata.
type jsonSidecar struct{ sidecar }

// UnmarshalJSON takes any value; a text means nothing (PEP 714).
func (s *jsonSidecar) UnmarshalJSON(data []byte) error {
	switch {
	case string(data) == "true":
		s.state = sideThere
	case string(data) == "false":
		s.state = sideAbsent
	case data[0] == '{':
		var digests struct {
			SHA256 string `json:"sha256"`
		}
		if json.Unmarshal(data, &digests) != nil {
			digests.SHA256 = "" // another shape gives no hash
		}
		s.set(digests.SHA256)
	}
	return nil
}

// set notes that there is metadata with this digest, which may be none.
func (s *jsonSidecar) set(digest string) {
	var h hashes
	h.set("sha256", digest)
	s.sidecar = sidecar{sideThere, h.sha256}
}

// scan reads a page of the usual shape, in a fraction of the time that
// encoding/json takes, and reports whether it is of that shape. It gives each
// file to add and keeps none.
func (j *jsonPage) scan(body string, add func(*jsonFile)) bool {
	r := &scanner{s: body}
	lists, files := 0, 0
	r.object(func(key string) {
		switch key {
		case "meta":
			r.object(func(key string) { r.textOf(key, "api-version", &j.Meta.Version) })
		case "name":
			r.text(&j.Name)
		case "project-status":
			r.object(func(key string) {
				if key == "status" {
					r.text(&j.Status.Status)
				} else {
					r.textOf(key, "reason", &j.Status.Reason)
				}
			})
		case "files":
			lists++
			r.array(func() {
				var f jsonFile
				f.scan(r)
				files++
				add(&f)
			})
		default:
			r.skip()
		}
	})
	return r.end() && lists == 1 && files <= maxFiles
}

// textOf reads the text of the field that is wanted, and skips another.
func (r *scanner) textOf(key, wanted string, to *string) {
	if key == wanted {
		r.text(to)
	} else {
		r.skip()
	}
}

func (f *jsonFile) scan(r *scanner) {
	r.object(func(key string) {
		switch key {
		case "filename":
			r.text(&f.Name)
		case "url":
			r.text(&f.URL)
		case "hashes":
			r.object(func(key string) {
				switch key {
				case "sha256":
					r.text(&f.Hashes.SHA256)
				case "sha384":
					r.text(&f.Hashes.SHA384)
				default:
					r.textOf(key, "sha512", &f.Hashes.SHA512)
				}
			})
		case "requires-python":
			r.text(&f.Requires)
		case "yanked":
			if !r.word("false") {
				r.raw(f.Yanked.UnmarshalJSON)
			}
		case "core-metadata":
			f.CoreMetadata.scan(r)
		case "dist-info-metadata":
			f.DistInfo.scan(r)
		case "size":
			r.size(&f.Size)
		case "upload-time":
			r.text(&f.Uploaded)
		default:
			r.skip()
		}
	})
}

func (s *jsonSidecar) scan(r *scanner) {
	if r.peek() != '{' {
		r.raw(s.UnmarshalJSON)
		return
	}
	var digest string
	r.object(func(key string) { r.textOf(key, "sha256", &digest) })
	s.set(digest)
}

// raw gives the bytes of a value to what decodes it.
func (r *scanner) raw(decode func([]byte) error) {
	r.peek()
	start := r.i
	r.skip()
	if !r.bad {
		r.bad = decode([]byte(r.s[start:r.i])) != nil
	}
}

func readJSON(a fetch.Answer) (*page, error) {
	var j jsonPage
	body := string(a.Body)
	p := newPage(a.URL, strings.Count(body, `"filename"`))
	if j.scan(body, p.addJSON) {
		return p, j.describe(p)
	}
	j = jsonPage{}
	if err := json.Unmarshal(a.Body, &j); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("the page is no JSON: byte %d: %w", syntax.Offset, err)
		}
		return nil, fmt.Errorf("the page is not one of an index: %w", err)
	}
	if !bytes.Contains(a.Body, []byte(`"files"`)) {
		return nil, errors.New("the page is not one of an index: it has no files")
	}
	if len(j.Files) > maxFiles {
		return nil, fmt.Errorf("the page has %d files, more than %d", len(j.Files), maxFiles)
	}
	p = newPage(a.URL, len(j.Files))
	for i := range j.Files {
		p.addJSON(&j.Files[i])
	}
	return p, j.describe(p)
}

// newPage makes an empty page for about n files.
func newPage(base *url.URL, n int) *page {
	return &page{base: base, names: pep508.NewWheelNames(), offers: make([]offer, 0, min(n, maxFiles))}
}

func (p *page) addJSON(f *jsonFile) {
	if !p.add(f.offer(), f.URL) {
		p.passed++
	}
}

// describe tells p what the page says of the project and of itself.
func (j *jsonPage) describe(p *page) error {
	if j.Name != "" {
		p.project = pep508.NormalizeName(j.Name)
	}
	p.setStatus(j.Status.Status, j.Status.Reason)
	return p.checkProtocol(j.Meta.Version)
}

func (f *jsonFile) offer() offer {
	o := offer{
		name: f.Name, size: max(f.Size, 0), requires: f.Requires,
		yanked: f.Yanked.yanked, reason: f.Yanked.reason, side: f.CoreMetadata.sidecar,
	}
	if o.side.state == sideUnsaid {
		o.side = f.DistInfo.sidecar
	}
	o.hashes.set("sha256", f.Hashes.SHA256)
	o.hashes.set("sha384", f.Hashes.SHA384)
	o.hashes.set("sha512", f.Hashes.SHA512)
	if t, err := time.Parse(time.RFC3339, f.Uploaded); err == nil {
		o.uploaded = t.UTC()
	}
	return o
}
