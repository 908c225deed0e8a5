package schema

import (
	"regexp"
	"strings"

	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

// An External is a line of external-dependencies.txt: something that the system
// must provide.
type External struct {
	Pos
	Text string // as it was written
	// Name is a name as PEP 345 allows it ("C", "libpng", "python3-devel"), or
	// that of Dep ("dep:generic/openssl").
	Name       string
	Dep        *DepURL           // nil for a name of PEP 345
	Specifiers pep440.Specifiers // nil for any version
	Marker     *pep508.Marker    // nil for every target
}

// String gives the line in one spelling: ParseExternal reads the same from it.
func (e *External) String() string {
	s := e.Name
	if e.Dep != nil {
		s += depVersion(e.Specifiers) + e.Dep.suffix()
	} else if len(e.Specifiers) > 0 {
		s += " (" + e.Specifiers.String() + ")"
	}
	if e.Marker != nil {
		s += "; " + e.Marker.String()
	}
	return s
}

var externalName = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9._+-]*[A-Za-z0-9_+])?(?:\([A-Za-z_][A-Za-z0-9_+:-]*\))?`)

// ParseExternal reads external-dependencies.txt: one name a line, with a version
// specification in parentheses or without and a marker after ";" (the grammar
// of Requires-External in PEP 345), or a "dep:" identifier of PEP 725 with a
// version specification after "@". "#" at the beginning of a line or after
// white space starts a comment.
//
// The specification "1.2" without an operator means ">=1.2" after a name, as PEP
// 345 says, and exactly this version in an identifier, as PEP 725 says. There a
// version may be one that PEP 440 does not know, such as a commit; the operators
// are >=, >, <=, < and ==. The two kinds of identifiers that are no packages are
// dep:virtual/compiler/NAME and dep:virtual/interface/NAME.
func ParseExternal(file string, data []byte) ([]External, Problems) {
	var out []External
	var problems Problems
	for _, l := range textLines(file, data, &problems) {
		line := logicalLine{text: cutComment(l.text), segs: []valueLine{{0, Pos{File: file, Line: l.no, Col: 1}}}}
		if line.trim(); line.text == "" || len(problems) >= MaxProblems {
			continue
		}
		if len(out) == maxDemands {
			problems.Add(line.posAt(0), "", "the file has more than %d requirements", maxDemands)
			break
		}
		if e, ok := external(line, &problems); ok {
			out = append(out, e)
		}
	}
	return out, problems
}

func external(l logicalLine, ps *Problems) (External, bool) {
	e := External{Pos: l.posAt(0), Text: l.text}
	head, marker, hasMarker := strings.Cut(l.text, ";")
	if hasMarker {
		if !externalMarker(l, &e, marker, ps) {
			return e, false
		}
	}
	head = strings.TrimRight(head, " \t")
	if strings.HasPrefix(head, "dep:") {
		p := depParser{line: l, problems: ps}
		return e, p.dep(&e, head)
	}
	if strings.HasPrefix(head, "pkg:") {
		ps.Add(e.Pos, "write dep: in place of pkg:", "a package URL is no identifier of PEP 725")
		return e, false
	}
	if e.Name = externalName.FindString(head); e.Name == "" {
		ps.Add(e.Pos, "write one name a line, such as openssl (>=3)", "a name must stand here, not %s", quote(head))
		return e, false
	}
	rest := strings.TrimLeft(head[len(e.Name):], " \t")
	return e, externalVersion(l, &e, rest, len(head)-len(rest), ps)
}

func externalMarker(l logicalLine, e *External, marker string, ps *Problems) bool {
	off := len(l.text) - len(marker)
	m, err := pep508.ParseMarker(marker)
	if err == nil {
		_, err = m.Evaluate(pep508.Env{})
	}
	if err != nil {
		if at, ok := err.(*pep508.Error); ok {
			off += at.Col - 1
		}
		ps.Add(l.posAt(off), "", "%v", err)
		return false
	}
	e.Marker = m
	return true
}

// externalVersion reads what follows the name.
func externalVersion(l logicalLine, e *External, s string, off int, ps *Problems) bool {
	text := s
	if inner, ok := strings.CutPrefix(text, "("); ok {
		if text, ok = strings.CutSuffix(inner, ")"); !ok {
			ps.Add(l.posAt(off), "close it with )", "the version specification has no end")
			return false
		}
	}
	if text = strings.TrimSpace(text); text == "" {
		if s != "" {
			ps.Add(l.posAt(off), "write a version or remove it", "the version specification is empty")
		}
		return s == ""
	}
	if text[0] >= '0' && text[0] <= '9' && s[0] == '(' {
		text = ">=" + text
	}
	set, err := pep440.ParseSpecifiers(text)
	if err != nil || len(set) == 0 {
		ps.Add(l.posAt(off), "write one such as >=3", "%s is no version specification", quote(s))
		return false
	}
	e.Specifiers = set
	return true
}
