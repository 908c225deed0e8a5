package schema

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

// MaxRequiresDist is how many requirements the metadata of one release may
// have, and how many extras.
const MaxRequiresDist = 5000

// CoreMetadata is what METADATA and PKG-INFO files say that a resolution needs.
type CoreMetadata struct {
	MetadataVersion string // "2.1"; "" where it is not given
	Name            string // normalised
	Version         pep440.Version
	RequiresPython  pep440.Specifiers // nil for any
	Requires        []*pep508.Requirement
	Extras          []string // normalised, sorted
	License         string   // License-Expression, "" for none
	Dynamic         []string // names of fields that only a build can tell, in lower case, sorted

	// Repairs are misspellings that were read for what they mean, and what was
	// left out because nobody could act on it.
	Repairs Problems
}

// Static reports whether requirements, extras and the demand on Python are the
// same for everything that is built of a source distribution (PEP 643).
func (m *CoreMetadata) Static() bool {
	v, err := pep440.Parse(m.MetadataVersion)
	if err != nil || v.Compare(staticMetadata) < 0 {
		return false
	}
	return !slices.ContainsFunc(m.Dynamic, func(field string) bool {
		return isWord(field, "requires-dist requires-python provides-extra")
	})
}

var staticMetadata = pep440.MustParse("2.2")

// ParseCoreMetadata reads a METADATA or PKG-INFO file: lines "Name: value",
// continued by lines that begin with a blank, up to the first empty line. What
// follows is a description and not looked at.
func ParseCoreMetadata(file string, data []byte) (*CoreMetadata, Problems) {
	p := metadataParser{m: new(CoreMetadata), file: file}
	if len(data) > MaxFile {
		p.problems.Add(Pos{File: file}, "", "the file has %d bytes, more than %d", len(data), MaxFile)
		return p.m, p.problems
	}
	p.headers(data)
	p.required()
	slices.Sort(p.m.Extras)
	p.m.Extras = slices.Compact(p.m.Extras)
	slices.Sort(p.m.Dynamic)
	p.m.Dynamic = slices.Compact(p.m.Dynamic)
	return p.m, p.problems.inOrder()
}

// ReduceCoreMetadata gives the lines of a METADATA or PKG-INFO file that
// ParseCoreMetadata looks at: it reads the same from both.
func ReduceCoreMetadata(data []byte) []byte {
	var out bytes.Buffer
	for h := range metadataHeaders(data) {
		if h.name == "" {
			break
		}
		if slices.Contains(metadataFields, h.name) {
			out.WriteString(h.name + ": " + strings.ReplaceAll(h.value, "\n", "\n ") + "\n")
		}
	}
	return out.Bytes()
}

// metadataFields are the fields that count, in lower case.
var metadataFields = []string{
	"metadata-version", "name", "version", "requires-python", "requires-dist",
	"provides-extra", "license-expression", "dynamic",
}

// A metadataHeader is one field; a name of "" is a line that is none, which
// ends the fields as an empty line does.
type metadataHeader struct {
	line        int
	name, value string // name in lower case; lines of value are joined with LF
}

// metadataHeaders gives the fields in their order.
func metadataHeaders(data []byte) func(yield func(metadataHeader) bool) {
	return func(yield func(metadataHeader) bool) {
		data = bytes.TrimPrefix(data, []byte("\ufeff"))
		var h metadataHeader
		var value strings.Builder
		emit := func() bool {
			h.value = value.String()
			return h.name == "" || yield(h)
		}
		line := 0
		for len(data) > 0 {
			var raw []byte
			raw, data, _ = bytes.Cut(data, []byte("\n"))
			raw = bytes.TrimSuffix(raw, []byte("\r"))
			line++
			if len(raw) == 0 {
				break
			}
			if (raw[0] == ' ' || raw[0] == '\t') && h.name != "" {
				if value.Len() <= MaxLine { // longer is refused, or a description
					value.WriteByte('\n')
					value.Write(bytes.TrimSpace(raw))
				}
				continue
			}
			if !emit() {
				return
			}
			name, first, ok := bytes.Cut(raw, []byte(":"))
			if !ok || !isFieldName(name) {
				yield(metadataHeader{line: line})
				return
			}
			h = metadataHeader{line: line, name: strings.ToLower(string(name))}
			value.Reset()
			value.Write(bytes.TrimSpace(first))
		}
		emit()
	}
}

func isFieldName(s []byte) bool {
	for _, c := range s {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return len(s) > 0
}

// A metadataParser fills m.
type metadataParser struct {
	m        *CoreMetadata
	file     string
	problems Problems

	seen map[string]bool // fields that occur once
}

func (p *metadataParser) at(line int) Pos { return Pos{File: p.file, Line: line} }

func (p *metadataParser) headers(data []byte) {
	p.seen = map[string]bool{}
	for h := range metadataHeaders(data) {
		if h.name == "" {
			p.m.Repairs.Add(p.at(h.line), "", "the line is neither a field nor empty; nothing is read from here on")
			return
		}
		if slices.Contains(metadataFields, h.name) {
			p.field(h)
		}
	}
}

func (p *metadataParser) field(h metadataHeader) {
	at := p.at(h.line)
	if !utf8.ValidString(h.value) {
		p.problems.Add(at, "", "%s is not UTF-8", h.name)
		return
	}
	if len(h.value) > MaxLine {
		p.problems.Add(at, "", "%s has more than %d bytes", h.name, MaxLine)
		return
	}
	value := strings.Join(strings.Fields(h.value), " ")
	switch h.name {
	case "requires-dist":
		p.requirement(at, value)
		return
	case "provides-extra":
		p.extra(at, value)
		return
	case "dynamic":
		p.m.Dynamic = append(p.m.Dynamic, strings.ToLower(value))
		return
	}
	if p.seen[h.name] {
		p.problems.Add(at, "", "%s is given twice", h.name)
		return
	}
	p.seen[h.name] = true
	switch h.name {
	case "metadata-version":
		p.metadataVersion(at, value)
	case "name":
		if p.m.Name = pep508.NormalizeName(value); !pep508.ValidName(value) {
			p.problems.Add(at, "", "%s is no name of a project", quote(value))
		}
	case "version":
		var err error
		if p.m.Version, err = pep440.Parse(value); err != nil {
			p.problems.Add(at, "", "%v", err)
		}
	case "requires-python":
		p.requiresPython(at, value)
	case "license-expression":
		p.m.License = value
	}
}

// metadataVersion refuses what has another major number: fields may mean
// something else there. Old files have a bare "1.0", and some nothing.
func (p *metadataParser) metadataVersion(at Pos, value string) {
	v, err := pep440.Parse(value)
	if err != nil {
		p.problems.Add(at, "", "Metadata-Version: %v", err)
		return
	}
	if major := v.Release()[0]; v.Epoch() != "0" || major != "1" && major != "2" {
		p.problems.Add(at, "", "Metadata-Version %s is newer than what can be read, 2", v)
	}
	p.m.MetadataVersion = value
}

func (p *metadataParser) requiresPython(at Pos, value string) {
	specifiers, repaired, err := RepairSpecifiers(value)
	if err != nil {
		p.m.Repairs.Add(at, "", "Requires-Python %s is left out: %v", quote(value), err)
		return
	}
	if repaired != "" {
		p.m.Repairs.Add(at, "", "Requires-Python %s is read as %s", quote(value), quote(repaired))
	}
	p.m.RequiresPython = specifiers
}

func (p *metadataParser) requirement(at Pos, value string) {
	if len(p.m.Requires) == MaxRequiresDist {
		p.problems.Add(at, "", "more than %d requirements", MaxRequiresDist)
	}
	if len(p.m.Requires) >= MaxRequiresDist {
		return
	}
	r, err := pep508.Parse(value)
	if err != nil {
		fixed := repairRequirement(value)
		again, err2 := pep508.Parse(fixed)
		if err2 != nil {
			p.problems.Add(at, "", "Requires-Dist %s: %v", quote(value), err)
			return
		}
		p.m.Repairs.Add(at, "", "Requires-Dist %s is read as %s", quote(value), quote(fixed))
		r = again
	}
	p.m.Requires = append(p.m.Requires, r)
}

func (p *metadataParser) extra(at Pos, value string) {
	switch {
	case len(p.m.Extras) == MaxRequiresDist:
		p.problems.Add(at, "", "more than %d extras", MaxRequiresDist)
	case !pep508.ValidName(value):
		p.m.Repairs.Add(at, "", "Provides-Extra %s is left out: it is no name", quote(value))
	default:
		p.m.Extras = append(p.m.Extras, pep508.NormalizeName(value))
	}
}

// required reports what no file may lack.
func (p *metadataParser) required() {
	for _, name := range []string{"name", "version"} {
		if !p.seen[name] {
			p.problems.Add(Pos{File: p.file}, "", "the file has no %s", name)
		}
	}
}
