package rpm

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

func (p *Package) checkRelations() error {
	for _, l := range []struct {
		what string
		list []Relation
	}{{"requires", p.Requires}, {"provides", p.Provides}, {"recommends", p.Recommends}, {"conflicts", p.Conflicts}, {"breaks", p.Breaks}, {"replaces", p.Replaces}} {
		if len(l.list) > maxRelations {
			return fmt.Errorf("%s %d others", l.what, len(l.list))
		}
		if p.Format == RPM && len(l.list) > 0 && (l.what == "breaks" || l.what == "replaces") {
			return fmt.Errorf("an rpm %s nothing", l.what)
		}
		for _, r := range l.list {
			if err := r.check(p.Format, l.what == "provides"); err != nil {
				return fmt.Errorf("%s %q: %w", l.what, r, err)
			}
			if r.Pre && l.what != "requires" {
				return fmt.Errorf("%s %q: only what is required can be for a script", l.what, r)
			}
		}
	}
	return nil
}

// check reports what the format does not allow in a relation.
func (r Relation) check(f Format, provides bool) error {
	joined := strings.HasPrefix(r.Name, "(") && f == RPM || strings.Contains(r.Name, " | ") && f == Deb
	switch {
	case len(r.Name) > maxPath || !utf8.ValidString(r.Name) || !printable(r.Name):
		return errors.New("the name is no text")
	case (r.Op == "") != (r.Version == ""):
		return errors.New("there is an operator without a version, or the other way round")
	case joined && (r.Op != "" || provides):
		return errors.New("only what is required can be one of several, and it has no version of its own")
	case joined && f == RPM:
		return checkRich(r.Name)
	case f == RPM && !rpmTarget.MatchString(r.Name):
		return errors.New("the name is not one that rpm can require")
	case f == Deb:
		for name := range strings.SplitSeq(r.Name, " | ") {
			if !debTarget.MatchString(name) {
				return errors.New("the name is not one that dpkg can require")
			}
		}
	}
	if r.Op == "" {
		return nil
	}
	if !slices.Contains([]string{"=", "<", "<=", ">", ">="}, r.Op) || provides && f == Deb && r.Op != "=" {
		return fmt.Errorf("the operator %q is none", r.Op)
	}
	e, err := ParseEVR(r.Version)
	if err != nil {
		return err
	}
	return e.check(f)
}

// checkRich checks the parentheses of (A or B); rpm knows the rest.
func checkRich(s string) error {
	depth := 0
	for i, c := range s {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth < 0 || depth == 0 && i != len(s)-1 {
			return errors.New("the parentheses do not match")
		}
	}
	if depth != 0 {
		return errors.New("the parentheses do not match")
	}
	return nil
}

// String gives NAME OP VERSION, as an rpm has it.
func (r Relation) String() string {
	if r.Op == "" {
		return r.Name
	}
	return r.Name + " " + r.Op + " " + r.Version
}

// deb gives NAME (OP VERSION).
func (r Relation) deb() string {
	if r.Op == "" {
		return r.Name
	}
	op := r.Op
	if op == "<" || op == ">" {
		op += op
	}
	return r.Name + " (" + op + " " + r.Version + ")"
}
