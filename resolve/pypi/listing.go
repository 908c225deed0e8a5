package pypi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"appbundle/resolve"
	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

// A listing is what one place offers of a project.
type listing struct {
	files       []file // newest version first, then by name
	passed      int
	quarantined string
	notes       []string
}

// A file is a resolve.File with what only this package needs to know of it.
type file struct {
	resolve.File
	version *pep440.Version
	side    sidecar
	server  *server // that has it; nil for a local file and one of a page of links
}

// errCompact says that bytes are not in the compact form.
var errCompact = errors.New("not in the form " + compactForm)

// A compactReader reads what a compactWriter wrote. After an error it gives
// zeros.
type compactReader struct {
	s   string
	bad bool
}

func (r *compactReader) number() uint64 {
	var n uint64
	for i := 0; i < len(r.s) && i < binary.MaxVarintLen64; i++ {
		n |= uint64(r.s[i]&0x7f) << (7 * i)
		if r.s[i] < 0x80 {
			r.s = r.s[i+1:]
			return n
		}
	}
	r.bad, r.s = true, ""
	return 0
}

// below reads a number that is less than limit.
func (r *compactReader) below(limit int) int {
	n := r.number()
	if n >= uint64(limit) {
		r.bad = true
		return 0
	}
	return int(n)
}

// count reads how many things follow, each of at least one byte.
func (r *compactReader) count() int { return r.below(len(r.s) + 1) }

func (r *compactReader) text() string {
	n := r.count()
	if n > len(r.s) { // the number was the last thing
		r.bad = true
		return ""
	}
	text := r.s[:n]
	r.s = r.s[n:]
	return text
}

func (r *compactReader) texts() []string {
	n := r.count()
	texts := make([]string, 0, min(n, 1024))
	for range n {
		if r.bad {
			return nil
		}
		texts = append(texts, r.text())
	}
	return texts
}

// decodeListing reads the compact form of a page of project. Texts share the
// memory of data.
func decodeListing(data []byte, project string) (*listing, error) {
	r := &compactReader{s: string(data)}
	l := &listing{quarantined: r.text(), passed: r.below(2 * maxFiles), notes: r.texts()}
	versions, err1 := parseAll(r.texts(), pep440.Parse)
	requires, err2 := parseAll(r.texts(), pep440.ParseSpecifiers)
	tags, err3 := parseAll(r.texts(), func(s string) ([]string, error) { return strings.Fields(s), nil })
	n := r.count()
	if r.bad || n > maxFiles || errors.Join(err1, err2, err3) != nil {
		return nil, errCompact
	}
	l.files = make([]file, n)
	wheels := make([]pep508.WheelName, n)
	for i := range l.files {
		f := &l.files[i]
		bits := r.file(f)
		f.version = pick(r, versions)
		if requires := pick(r, requires); requires != nil {
			f.RequiresPython = *requires
		}
		if r.bad {
			return nil, errCompact
		}
		if bits&hasWheel != 0 {
			wheels[i] = pep508.WheelName{Name: project, Version: *f.version, Build: r.text()}
			if tags := pick(r, tags); tags != nil {
				wheels[i].Tags = *tags
			}
			f.Wheel = &wheels[i]
		}
		if i > 0 && f.version != l.files[i-1].version && pep440.Compare(*l.files[i-1].version, *f.version) < 0 {
			return nil, errCompact
		}
	}
	if r.bad || r.s != "" {
		return nil, errCompact
	}
	return l, nil
}

// file reads what a compactWriter's offer wrote, and gives its bits.
func (r *compactReader) file(f *file) (bits uint64) {
	if bits = r.number(); bits >= endsInName<<1 {
		r.bad = true
	}
	f.URL = r.text()
	if bits&endsInName != 0 {
		f.Name = f.URL[len(f.URL)-r.below(len(f.URL)+1):]
	} else {
		f.Name = r.text()
	}
	if f.Size = int64(r.number()); f.Size < 0 {
		r.bad = true
	}
	f.side.state = sidecarState(r.below(int(sideThere) + 1))
	f.Yanked = bits&hasYanked != 0
	if bits&hasReason != 0 {
		f.YankedReason = r.text()
	}
	f.Hashes = make(map[string]string, 1)
	for _, h := range []struct {
		bit  uint64
		name string
	}{{hasSHA256, "sha256"}, {hasSHA384, "sha384"}, {hasSHA512, "sha512"}} {
		if bits&h.bit != 0 {
			f.Hashes[h.name] = r.text()
		}
	}
	if bits&hasSideHash != 0 {
		f.side.sha256 = r.text()
	}
	if bits&hasUploaded != 0 {
		f.Uploaded = time.UnixMicro(int64(r.number())).UTC()
	}
	return bits
}

// pick gives the thing of a table that the next number stands for, nil for
// none.
func pick[T any](r *compactReader, table []T) *T {
	if i := r.below(len(table)); !r.bad {
		return &table[i]
	}
	return nil
}

func parseAll[T any](texts []string, parse func(string) (T, error)) ([]T, error) {
	parsed := make([]T, len(texts))
	for i, text := range texts {
		var err error
		if parsed[i], err = parse(text); err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
	}
	return parsed, nil
}
