package schema

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// A Module is a line of another ecosystem: "go:PATH RANGE" or "npm:NAME RANGE".
type Module struct {
	Pos
	Ecosystem string // go or npm
	Name      string
	Range     string // as it was written; "" for any version
	RangePos  Pos    // of Range
}

// Constraints reads the range. It does not fail for a module of
// [ParseRequirements] that came without a problem.
func (m *Module) Constraints() (*semver.Constraints, error) {
	if m.Range == "" {
		return semver.NewConstraint("*")
	}
	return semver.NewConstraint(m.Range)
}

var moduleNames = map[string]*regexp.Regexp{
	"go":  regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+(/[A-Za-z0-9._~-]*[A-Za-z0-9_~-])*$`),
	"npm": regexp.MustCompile(`^(@[a-z0-9~-][a-z0-9._~-]*/)?[a-z0-9~-][a-z0-9._~-]*$`),
}

// maxRange keeps the reading of a range cheap.
const maxRange = 256

func (p *reqParser) module(l logicalLine, eco string) {
	text := l.text[len(eco)+1:]
	name, _, _ := strings.Cut(strings.ReplaceAll(text, "\t", " "), " ")
	m := Module{Pos: l.posAt(0), Ecosystem: eco, Name: name}
	if !moduleNames[eco].MatchString(name) || len(name) > 214 {
		p.problems.Add(l.posAt(len(eco)+1), fmt.Sprintf("write %s:NAME RANGE", eco), "%s is no name of a module", quote(name))
		return
	}
	rest := text[len(name):]
	m.Range = strings.TrimSpace(rest)
	off := len(l.text) - len(strings.TrimLeft(rest, " \t"))
	m.RangePos = l.posAt(off)
	if !m.isValid() {
		p.problems.Add(m.RangePos, "write one such as ^1.2 or >=1.2 <2", "%s is no range of semantic versions", quote(m.Range))
		return
	}
	p.out.Modules = append(p.out.Modules, m)
}

func (m *Module) isValid() bool {
	if len(m.Range) > maxRange {
		return false
	}
	_, err := m.Constraints()
	return err == nil
}

// ExpandURL replaces each ${NAME} in a URL; NAME is upper case. It refuses an
// unset or empty variable, and a value with white space or control characters:
// such a value could add options where pip would read it.
func ExpandURL(s string, lookup func(name string) (string, bool)) (string, error) {
	var err error
	out := variable.ReplaceAllStringFunc(s, func(ref string) string {
		name := ref[2 : len(ref)-1]
		value, ok := lookup(name)
		switch {
		case err != nil:
		case !ok || value == "":
			err = fmt.Errorf("the variable %s is not set", name)
		case strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || isHidden(r) }):
			err = fmt.Errorf("the variable %s has white space or control characters", name)
		}
		return value
	})
	if err != nil {
		return "", err
	}
	return out, nil
}
