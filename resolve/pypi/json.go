package pypi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
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
		s.state = sideThere
		if json.Unmarshal(data, &digests) == nil { // another shape gives no hash
			var h hashes
			h.set("sha256", digests.SHA256)
			s.sha256 = h.sha256
		}
	}
	return nil
}

func readJSON(a fetch.Answer) (*page, error) {
	var j jsonPage
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
	p := &page{base: a.URL, offers: make([]offer, 0, len(j.Files))}
	if err := p.checkProtocol(j.Meta.Version); err != nil {
		return nil, err
	}
	if j.Name != "" {
		p.project = pep508.NormalizeName(j.Name)
	}
	p.setStatus(j.Status.Status, j.Status.Reason)
	for i := range j.Files {
		if !p.add(j.Files[i].offer(), j.Files[i].URL) {
			p.passed++
		}
	}
	return p, nil
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
