package safearchive

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// CheckName reports why name, a path from the top of the tree, must not be in
// an archive: a [*RefusedError] or, for one of the limits, a [*LimitError]. It
// demands the canonical form: no leading "./", no trailing slash.
func CheckName(name string, limits Limits) error {
	lim := limits.withDefaults()
	return checkName(name, &lim)
}

func checkName(name string, lim *Limits) error {
	switch {
	case name == "":
		return refuse(name, "an entry has an empty name")
	case len(name) > lim.Path:
		return over(name, LimitPath, lim.Path)
	case name[0] == '/':
		return refuse(name, "name is absolute")
	}
	if why := checkText(name); why != "" {
		return refuse(name, "name %s", why)
	}
	depth, up := 0, false
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == ".." && depth == 0:
			return refuse(name, "name climbs out of the archive")
		case part == "..":
			depth, up = depth-1, true
			continue
		case part == "" || part == ".":
			return refuse(name, "name is not canonical: it has an empty or . component")
		case len(part) > lim.Component:
			return over(name, LimitComponent, lim.Component)
		}
		depth++
	}
	if up {
		return refuse(name, "name is not canonical: it has a .. component")
	}
	if depth > lim.Depth {
		return over(name, LimitDepth, lim.Depth)
	}
	return nil
}

// checkText reports what is wrong with the characters of a name or of a link
// target, as the end of a sentence; "" means nothing.
func checkText(s string) string {
	if len(s) >= 2 && s[1] == ':' && (s[0]|0x20) >= 'a' && (s[0]|0x20) <= 'z' {
		return "begins with a drive letter"
	}
	for i, r := range s {
		switch {
		case r == '\\':
			return "has a backslash"
		case r < ' ' || r == 0x7f:
			return "has a control character"
		case r < utf8.RuneSelf:
			// the common case, all of it legal
		case r == utf8.RuneError:
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return "is not UTF-8"
			}
		case unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp):
			return "has a control character"
		case unicode.Is(unicode.Bidi_Control, r):
			return "has a bidirectional control character"
		}
	}
	return ""
}

// A folder gives the form in which two components are compared: a file system
// that ignores case, or one that normalises, sees one name where the forms are
// equal. It has state and belongs to one goroutine.
type folder struct{ fold cases.Caser }

func newFolder() folder { return folder{cases.Fold()} }

// key folds s. ASCII, nearly every name, costs at most one allocation.
func (f folder) key(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			// Folding may leave a decomposed form and needs one to be exact.
			return norm.NFD.String(f.fold.String(norm.NFD.String(s)))
		}
	}
	return strings.ToLower(s)
}
