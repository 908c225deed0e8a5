// Package pep440 reads versions and version specifiers as PEP 440 defines
// them, and orders and matches them.
//
// A [Version] is a value: it never changes, compares with [Compare], and is
// printed in its normal form. Two spellings of one version ("1.0", "v1.0.0")
// compare equal although they print differently; [Version.Key] is the string to
// use as the key of a map. Numbers have no upper bound but the length of the
// text, so nothing overflows.
//
// # Matching
//
// A specifier is not one interval on the order of versions: ">1.0" leaves out
// 1.0.post1 and 1.0+x, "<1.0" leaves out 1.0rc1, "==1.0" takes 1.0+x, and "==="
// compares text. So [Specifiers.Contains] answers for one version, and
// [Specifiers.Filter] for a list: pre-releases of a list count only where a
// specifier names one, or where nothing else matches.
//
// # Limits
//
// A version is at most [MaxLen] bytes. Digits are those of ASCII. Letters are
// compared without regard to the case of ASCII letters, and of no others.
//
// The package keeps no state.
package pep440

import (
	"fmt"
	"strings"
	"unicode"
)

// MaxLen is the length of the longest version, in bytes.
const MaxLen = 4300

// A Version is a PEP 440 version. The zero Version is "0" without a spelling.
type Version struct {
	epoch   string   // digits without leading zeros, "" for 0
	release []string // at least one number
	pre     string   // "a", "b", "rc" or ""
	preN    string
	post    string // meaningful where hasPost
	hasPost bool
	dev     string // meaningful where hasDev
	hasDev  bool
	local   []string // lower case; numbers without leading zeros
}

// Parse reads a version. Leading and trailing white space and a "v" in front
// are no part of it.
func Parse(s string) (Version, error) {
	text := trimSpace(s)
	if len(text) > MaxLen {
		return Version{}, fmt.Errorf("version of %d bytes, more than %d", len(text), MaxLen)
	}
	p := parser{s: lowerASCII(text)}
	v, ok := p.version()
	if !ok || p.i != len(p.s) {
		return Version{}, fmt.Errorf("invalid version %q", clip(text))
	}
	return v, nil
}

// MustParse is Parse for constants of a program; it panics where Parse fails.
func MustParse(s string) Version {
	v, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return v
}

// A parser walks over lower-case text; i is the next byte.
type parser struct {
	s string
	i int
}

func (p *parser) version() (v Version, ok bool) {
	p.accept("v")
	n, ok := p.digits()
	if !ok {
		return v, false
	}
	if p.accept("!") {
		v.epoch = n
		if n, ok = p.digits(); !ok {
			return v, false
		}
	}
	v.release = append(v.release, n)
	for p.i+1 < len(p.s) && p.s[p.i] == '.' && isDigit(p.s[p.i+1]) {
		p.i++
		n, _ = p.digits()
		v.release = append(v.release, n)
	}
	p.suffixes(&v)
	if p.accept("+") {
		return v, p.localPart(&v)
	}
	return v, true
}

// preNames and postNames map what people write to the normal form; a longer
// name comes before its own beginning.
var (
	preNames  = [][2]string{{"alpha", "a"}, {"beta", "b"}, {"preview", "rc"}, {"pre", "rc"}, {"rc", "rc"}, {"a", "a"}, {"b", "b"}, {"c", "rc"}}
	postNames = [][2]string{{"post", ""}, {"rev", ""}, {"r", ""}}
	devNames  = [][2]string{{"dev", ""}}
)

func (p *parser) suffixes(v *Version) {
	v.pre, v.preN, _ = p.suffix(preNames)
	if p.i+1 < len(p.s) && p.s[p.i] == '-' && isDigit(p.s[p.i+1]) {
		p.i++
		v.post, v.hasPost = p.digits()
	} else {
		_, v.post, v.hasPost = p.suffix(postNames)
	}
	_, v.dev, v.hasDev = p.suffix(devNames)
}

// suffix reads an optional separator, one of the names, and an optional number
// with an optional separator of its own.
func (p *parser) suffix(names [][2]string) (name, n string, ok bool) {
	start := p.i
	p.separator()
	for _, pair := range names {
		if !p.accept(pair[0]) {
			continue
		}
		p.separator()
		n, _ = p.digits()
		return pair[1], n, true
	}
	p.i = start
	return "", "", false
}

func (p *parser) localPart(v *Version) bool {
	for {
		start := p.i
		for p.i < len(p.s) && isAlnum(p.s[p.i]) {
			p.i++
		}
		if p.i == start {
			return false
		}
		part := p.s[start:p.i]
		if isNumber(part) {
			part = trimZeros(part)
			if part == "" {
				part = "0"
			}
		}
		v.local = append(v.local, part)
		if !p.separator() {
			return true
		}
	}
}

func (p *parser) accept(lit string) bool {
	if !strings.HasPrefix(p.s[p.i:], lit) {
		return false
	}
	p.i += len(lit)
	return true
}

func (p *parser) separator() bool {
	return p.accept("-") || p.accept("_") || p.accept(".")
}

// digits reads a number and gives it without leading zeros, "" for 0.
func (p *parser) digits() (string, bool) {
	start := p.i
	for p.i < len(p.s) && isDigit(p.s[p.i]) {
		p.i++
	}
	return trimZeros(p.s[start:p.i]), p.i > start
}

// String gives the normal form.
func (v Version) String() string { return v.format(v.release, true) }

// Public is String without the local part.
func (v Version) Public() string { return v.format(v.release, false) }

// Key is the same for all spellings of one version: the normal form without
// the zeros at the end of the release.
func (v Version) Key() string { return v.format(trimRelease(v.release), true) }

// Base gives the epoch and the release.
func (v Version) Base() string {
	return Version{epoch: v.epoch, release: v.release}.String()
}

func (v Version) format(release []string, local bool) string {
	var b strings.Builder
	if v.epoch != "" {
		b.WriteString(v.epoch + "!")
	}
	if len(release) == 0 {
		b.WriteByte('0')
	}
	for i, n := range release {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(number(n))
	}
	if v.pre != "" {
		b.WriteString(v.pre + number(v.preN))
	}
	if v.hasPost {
		b.WriteString(".post" + number(v.post))
	}
	if v.hasDev {
		b.WriteString(".dev" + number(v.dev))
	}
	if local && len(v.local) > 0 {
		b.WriteString("+" + strings.Join(v.local, "."))
	}
	return b.String()
}

// Epoch gives the epoch as decimal digits, "0" where none is written.
func (v Version) Epoch() string { return number(v.epoch) }

// Release gives the numbers of the release as decimal digits.
func (v Version) Release() []string {
	out := make([]string, len(v.release))
	for i, n := range v.release {
		out[i] = number(n)
	}
	return out
}

// Local gives the local part, "" for none.
func (v Version) Local() string { return strings.Join(v.local, ".") }

// IsPrerelease reports whether v is an alpha, beta, candidate or development
// release.
func (v Version) IsPrerelease() bool { return v.pre != "" || v.hasDev }

// IsPostrelease reports whether v has a post part.
func (v Version) IsPostrelease() bool { return v.hasPost }

func number(n string) string {
	if n == "" {
		return "0"
	}
	return n
}

func trimZeros(s string) string { return strings.TrimLeft(s, "0") }

func trimRelease(r []string) []string {
	for len(r) > 1 && r[len(r)-1] == "" {
		r = r[:len(r)-1]
	}
	return r
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isAlnum(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'z' }

func isNumber(s string) bool { return strings.Trim(s, "0123456789") == "" }

// trimSpace trims what Python's str.strip does: the separators U+001C to
// U+001F are white space there and not in Go.
func trimSpace(s string) string {
	return strings.TrimFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f
	})
}

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// clip shortens what a message quotes.
func clip(s string) string {
	if len(s) > 80 {
		return s[:77] + "..."
	}
	return s
}
