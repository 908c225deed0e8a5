package pep508

import (
	"slices"
	"strings"

	"appbundle/schema/pep440"
)

// A Requirement is one dependency specifier.
type Requirement struct {
	Name       string   // as it was written
	Extras     []string // as they were written, sorted, each once
	Specifiers pep440.Specifiers
	URL        string  // of a direct reference; Specifiers are nil then
	Marker     *Marker // nil for none

	MarkerCol int // byte column of the marker, from 1; 0 for none
}

// Key gives the normal form of the name.
func (r *Requirement) Key() string { return NormalizeName(r.Name) }

// String gives the requirement in one spelling: extras sorted, specifiers
// sorted, marker with double quotes.
func (r *Requirement) String() string {
	s := r.Name
	if len(r.Extras) > 0 {
		s += "[" + strings.Join(r.Extras, ",") + "]"
	}
	s += r.Specifiers.String()
	if r.URL != "" {
		s += " @ " + r.URL
	}
	if r.Marker == nil {
		return s
	}
	if r.URL != "" {
		s += " "
	}
	return s + "; " + r.Marker.String()
}

// Parse reads a dependency specifier. The error is an [*Error].
func Parse(s string) (*Requirement, error) {
	p := &scanner{s: s}
	r := &Requirement{}
	if err := p.requirement(r); err != nil {
		return nil, err
	}
	return r, nil
}

// requirement returns the interface type: a nil *Error in it would be no nil.
func (p *scanner) requirement(r *Requirement) error {
	p.blanks()
	if r.Name = p.identifier(); r.Name == "" {
		return errorAt(p.i, "a package name must stand here, not %q", p.rest())
	}
	p.blanks()
	if err := p.extras(r); err != nil {
		return err
	}
	p.blanks()
	if p.accept("@") {
		return p.url(r)
	}
	if err := p.specifiers(r); err != nil {
		return err
	}
	p.blanks()
	return p.markerOrEnd(r)
}

func (p *scanner) extras(r *Requirement) error {
	if !p.accept("[") {
		return nil
	}
	p.blanks()
	for p.peek() != ']' || len(r.Extras) > 0 {
		x := p.identifier()
		if x == "" {
			return errorAt(p.i, "an extra must stand here, not %q", p.rest())
		}
		r.Extras = append(r.Extras, x)
		p.blanks()
		if !p.accept(",") {
			break
		}
		p.blanks()
	}
	if !p.accept("]") {
		return errorAt(p.i, "the list of extras ends with ], not %q", p.rest())
	}
	slices.Sort(r.Extras)
	r.Extras = slices.Compact(r.Extras)
	return nil
}

func (p *scanner) url(r *Requirement) error {
	p.blanks()
	r.URL = p.while(func(c byte) bool { return c != ' ' && c != '\t' })
	if r.URL == "" {
		return errorAt(p.i, "a URL must follow @")
	}
	if strings.ContainsAny(r.URL, "\n\r") {
		return errorAt(p.i-len(r.URL), "a line break in a URL")
	}
	p.blanks()
	return p.markerOrEnd(r)
}

func (p *scanner) markerOrEnd(r *Requirement) error {
	if p.done() {
		return nil
	}
	if !p.accept(";") {
		return errorAt(p.i, "a specifier, a ; or the end must stand here, not %q", p.rest())
	}
	p.blanks()
	r.MarkerCol = p.i + 1
	m, err := p.marker()
	r.Marker = m
	return err
}

func (p *scanner) specifiers(r *Requirement) error {
	begin, paren := p.i, p.accept("(")
	var list []string
	for p.blanks(); strings.IndexByte("<>=!~", p.peek()) >= 0 && !p.done(); p.blanks() {
		start := p.i
		sp, err := p.specifier()
		if err != nil {
			return errorAt(start, "%s", err.Error())
		}
		list = append(list, sp.String())
		p.blanks()
		if !p.accept(",") {
			break
		}
	}
	if p.blanks(); paren && !p.accept(")") {
		return errorAt(p.i, "the list of specifiers ends with ), not %q", p.rest())
	}
	// The word of a "===" may hold commas; they separate all the same.
	set, err := pep440.ParseSpecifiers(strings.Join(list, ","))
	if err != nil {
		return errorAt(begin, "%s", err.Error())
	}
	r.Specifiers = set
	return nil
}

func (p *scanner) specifier() (pep440.Specifier, error) {
	start := p.i
	class := isVersionByte
	if p.accept("===") {
		class = func(c byte) bool { return strings.IndexByte(" \t\r\n\f\v;)", c) < 0 }
	}
	p.while(func(c byte) bool { return strings.IndexByte("<>=!~", c) >= 0 })
	p.blanks()
	p.while(class)
	return pep440.ParseSpecifier(p.s[start:p.i])
}

func isVersionByte(c byte) bool {
	return isAlnum(c) || strings.IndexByte(".*+!-_", c) >= 0
}
