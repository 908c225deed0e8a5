// Package pep508 reads what a Python project asks for: names of projects and
// extras, dependency specifiers ("name[extra]>=1; marker", PEP 508) and
// environment markers.
//
// [Parse] reads one dependency specifier. [ParseMarker] reads one marker, which
// [Marker.Evaluate] answers for one [Env], the description of a target; nothing
// is taken from the host that the program runs on. An [Error] carries the byte
// column, from 1, at which the text stopped making sense.
//
// # Markers
//
// python_version, python_full_version, implementation_version and
// platform_release compare as versions where the other side is one; everything
// else compares as text, and text knows equality but no order: "<" and ">" are
// false, "<=" and ">=" are "==". A marker that cannot be answered (two literals,
// "~=" on text) is an error when it is evaluated, whatever the target.
//
// # Limits
//
// Parentheses in a marker nest at most [MaxDepth] deep. Names are of ASCII
// letters and digits; white space is the blank and the tab.
package pep508

import (
	"fmt"
	"strings"
)

// An Error says what is wrong with a text and where.
type Error struct {
	Col int // from 1, in bytes
	Msg string
}

// Error gives the message alone: only the caller knows the line.
func (e *Error) Error() string { return e.Msg }

func errorAt(i int, format string, args ...any) *Error {
	return &Error{Col: i + 1, Msg: fmt.Sprintf(format, args...)}
}

// ValidName reports whether s can name a project or an extra: ASCII letters,
// digits, and ".", "-", "_" between them.
func ValidName(s string) bool {
	if s == "" || !isAlnum(s[0]) || !isAlnum(s[len(s)-1]) {
		return false
	}
	for i := range len(s) {
		if !isNameByte(s[i]) {
			return false
		}
	}
	return true
}

// NormalizeName gives the form of a name that PEP 503 compares: lower case, and
// one "-" for each run of ".", "-" and "_".
func NormalizeName(s string) string {
	var b strings.Builder
	inRun := false
	// The one letter whose lower case is two runes.
	for _, r := range strings.ToLower(strings.ReplaceAll(s, "\u0130", "i\u0307")) {
		isSep := r == '.' || r == '-' || r == '_'
		switch {
		case !isSep:
			b.WriteRune(r)
		case !inRun:
			b.WriteByte('-')
		}
		inRun = isSep
	}
	return b.String()
}

// IsNormalName reports whether s is a valid name in its normal form.
func IsNormalName(s string) bool { return ValidName(s) && NormalizeName(s) == s }

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func isNameByte(c byte) bool { return isAlnum(c) || c == '.' || c == '-' || c == '_' }
