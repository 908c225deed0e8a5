package pep440

import (
	"fmt"
	"slices"
	"strings"
)

// A Specifier is one operator with one version, such as ">=1.0" or "==1.*".
type Specifier struct {
	Op   string // ~= == != <= >= < > or ===
	Text string // the version as it was written, with a ".*" at its end

	version  Version // of Text; the zero Version where Text is none
	prefix   bool    // Text ends in ".*"
	isParsed bool    // version is that of Text
}

// operators are tried in order: a longer one before its own beginning.
var operators = []string{"===", "~=", "==", "!=", "<=", ">=", "<", ">"}

// ParseSpecifier reads one specifier; white space around its two parts is no
// part of it.
func ParseSpecifier(s string) (Specifier, error) {
	text := trimSpace(s)
	for _, op := range operators {
		if rest, ok := strings.CutPrefix(text, op); ok {
			return newSpecifier(op, trimSpace(rest))
		}
	}
	return Specifier{}, fmt.Errorf("invalid version specifier %q", clip(text))
}

func newSpecifier(op, text string) (Specifier, error) {
	sp := Specifier{Op: op, Text: text}
	if op == "===" {
		if strings.ContainsFunc(text, func(r rune) bool { return r == ';' || r == ')' || trimSpace(string(r)) == "" }) {
			return sp, fmt.Errorf("=== takes one word, not %q", clip(text))
		}
		v, err := Parse(text)
		sp.version, sp.isParsed = v, err == nil
		return sp, nil
	}
	sp.isParsed = true
	number := text
	if rest, ok := strings.CutSuffix(text, ".*"); ok {
		if op != "==" && op != "!=" {
			return sp, fmt.Errorf("%s%s: .* is only for == and !=", op, clip(text))
		}
		number, sp.prefix = rest, true
	}
	v, err := Parse(number)
	if err != nil {
		return sp, err
	}
	sp.version = v
	return sp, sp.check()
}

func (sp Specifier) check() error {
	v := sp.version
	switch {
	case sp.prefix && (v.IsPrerelease() || v.hasPost || v.local != nil):
		return fmt.Errorf("%s%s: .* follows the release only", sp.Op, clip(sp.Text))
	case v.local != nil && sp.Op != "==" && sp.Op != "!=":
		return fmt.Errorf("%s%s: a local version is only for == and !=", sp.Op, clip(sp.Text))
	case sp.Op == "~=" && len(v.release) < 2:
		return fmt.Errorf("~=%s needs at least two numbers, such as ~=%s.0", clip(sp.Text), clip(sp.Text))
	}
	return nil
}

// String gives the operator and the version as it was written.
func (sp Specifier) String() string { return sp.Op + sp.Text }

// Version gives the version and whether it is the beginning of one ("1.0.*").
// It is false for a "===" whose text is no version.
func (sp Specifier) Version() (v Version, prefix, ok bool) {
	return sp.version, sp.prefix, sp.isParsed
}

// key is the same for specifiers that mean the same.
func (sp Specifier) key() string {
	switch {
	case sp.Op == "===":
		return sp.String()
	case sp.Op == "~=":
		return sp.Op + sp.version.String()
	case sp.prefix:
		return sp.Op + sp.version.String() + ".*"
	}
	return sp.Op + sp.version.Key()
}

// matches is the meaning of one specifier, pre-releases or not.
func (sp Specifier) matches(v Version) bool {
	w := sp.version
	switch sp.Op {
	case "===":
		return sp.matchesText(v.String())
	case "==":
		return sp.equal(v)
	case "!=":
		return !sp.equal(v)
	case "<=":
		return comparePublic(v, w) <= 0
	case ">=":
		return comparePublic(v, w) >= 0
	case "<":
		return less(v, w)
	case ">":
		return greater(v, w)
	}
	return comparePublic(v, w) >= 0 && hasPrefix(v, Version{epoch: w.epoch, release: w.release[:len(w.release)-1]})
}

func (sp Specifier) matchesText(s string) bool {
	return sp.Op == "===" && strings.EqualFold(s, sp.Text)
}

func (sp Specifier) equal(v Version) bool {
	switch {
	case sp.prefix:
		return hasPrefix(v, sp.version)
	case sp.version.local == nil:
		return comparePublic(v, sp.version) == 0
	}
	return Compare(v, sp.version) == 0
}

func hasPrefix(v, prefix Version) bool {
	if compareNumber(v.epoch, prefix.epoch) != 0 {
		return false
	}
	for i, n := range prefix.release {
		if at(v.release, i) != n {
			return false
		}
	}
	return true
}

// less leaves out the pre-releases of w itself unless w is one.
func less(v, w Version) bool {
	if !w.IsPrerelease() {
		w.hasDev, w.dev = true, ""
	}
	return Compare(v, w) < 0
}

// greater leaves out the post-releases of w itself, unless w is one, and the
// local versions of w.
func greater(v, w Version) bool {
	if comparePublic(v, w) <= 0 {
		return false
	}
	if w.hasPost || w.hasDev || !v.hasPost {
		return true
	}
	v.hasPost, v.post, v.hasDev, v.dev = false, "", false, ""
	return comparePublic(v, w) != 0
}

// Specifiers are joined with commas; a version must match every one. Nil
// matches every version.
type Specifiers []Specifier

// ParseSpecifiers reads a list with commas. Empty items are allowed, as peers
// allow them; of two specifiers that mean the same the first stays.
func ParseSpecifiers(s string) (Specifiers, error) {
	var out Specifiers
	seen := map[string]bool{}
	for item := range strings.SplitSeq(s, ",") {
		if trimSpace(item) == "" {
			continue
		}
		sp, err := ParseSpecifier(item)
		if err != nil {
			return nil, err
		}
		if k := sp.key(); !seen[k] {
			seen[k] = true
			out = append(out, sp)
		}
	}
	return out, nil
}

// String gives the specifiers in bytewise order, with commas: the same for two
// lists in different orders.
func (s Specifiers) String() string {
	words := make([]string, len(s))
	for i, sp := range s {
		words[i] = sp.String()
	}
	slices.Sort(words)
	return strings.Join(words, ",")
}

// Prereleases says which pre-releases match.
type Prereleases int

// Auto is what PEP 440 recommends and the zero value.
const (
	Auto   Prereleases = iota // see Contains and Filter
	Allow                     // they are like others
	Refuse                    // none
)

// Contains reports whether v matches every specifier. With Auto a pre-release
// matches, as it does in a Filter over v alone.
func (s Specifiers) Contains(v Version, pre Prereleases) bool {
	if pre == Refuse && v.IsPrerelease() {
		return false
	}
	for _, sp := range s {
		if !sp.matches(v) {
			return false
		}
	}
	return true
}

// ContainsText is Contains for what an index calls a version. Text that is no
// version matches "===" alone.
func (s Specifiers) ContainsText(text string, pre Prereleases) bool {
	if v, err := Parse(text); err == nil {
		return s.Contains(v, pre)
	}
	for _, sp := range s {
		if !sp.matchesText(text) {
			return false
		}
	}
	return len(s) > 0
}

// NamesPrerelease reports whether a specifier other than != names a
// pre-release, which asks for pre-releases.
func (s Specifiers) NamesPrerelease() bool {
	return slices.ContainsFunc(s, func(sp Specifier) bool {
		return sp.Op != "!=" && sp.isParsed && sp.version.IsPrerelease()
	})
}

// Filter gives the versions that match, in their order. With Auto pre-releases
// count where a specifier names one, or where nothing else matches.
func (s Specifiers) Filter(versions []Version, pre Prereleases) []Version {
	if pre == Auto && s.NamesPrerelease() {
		pre = Allow
	}
	var out, prereleases []Version
	for _, v := range versions {
		switch {
		case !s.Contains(v, pre):
		case pre == Auto && v.IsPrerelease():
			prereleases = append(prereleases, v)
		default:
			out = append(out, v)
		}
	}
	if len(out) == 0 {
		return prereleases
	}
	return out
}
