package bundle

import (
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ignoreFile names what an archive leaves out, in gitignore syntax.
const ignoreFile = ".appbundleignore"

// leftOut are the names that never belong to an application: version control,
// environments, what tools wrote. They hold at every depth and for every type.
var leftOut = map[string]bool{
	".git": true, ".hg": true, ".svn": true,
	".venv": true, "venv": true, "node_modules": true,
	".tox": true, ".nox": true, ".mypy_cache": true, ".pytest_cache": true, ".ruff_cache": true,
}

// isLeftOut reports whether the standard itself leaves p out. Inside the
// environment only byte code is: a library may well have a package "venv".
func isLeftOut(p string) bool {
	name := path.Base(p)
	if name == "__pycache__" || strings.HasSuffix(name, ".pyc") {
		return true
	}
	if p == manifestPath || p == sbomPath {
		return true
	}
	if in, ok := strings.CutPrefix(p, envDir+"/"); ok {
		return strings.HasPrefix(in, "bin/python")
	}
	return leftOut[name]
}

// An Ignore is a parsed .appbundleignore. The zero Ignore leaves out nothing.
type Ignore struct {
	patterns []pattern
}

// A pattern is one line of an ignore file.
type pattern struct {
	re      *regexp.Regexp // over the whole path when anchored, else over the last name
	whole   bool
	negate  bool
	dirOnly bool
}

// ParseIgnore reads gitignore syntax: blank lines and #comments, ! to take
// back, / to anchor, a trailing / for directories only, *, ?, [classes], **,
// and \ to quote. A pattern that git would never match never matches here.
func ParseIgnore(data []byte) *Ignore {
	ig := &Ignore{}
	text := strings.TrimPrefix(string(data), "\ufeff")
	for line := range strings.SplitSeq(text, "\n") {
		if p, ok := parsePattern(strings.TrimSuffix(line, "\r")); ok {
			ig.patterns = append(ig.patterns, p)
		}
	}
	return ig
}

// Match reports whether the slash path p is left out: the last pattern that
// matches decides. Whoever walks must not descend into what Match leaves out,
// because a ! cannot take back what lies below an excluded directory.
func (ig *Ignore) Match(p string, isDir bool) bool {
	base := path.Base(p)
	for i := len(ig.patterns) - 1; i >= 0; i-- {
		pt := &ig.patterns[i]
		if pt.dirOnly && !isDir {
			continue
		}
		subject := base
		if pt.whole {
			subject = p
		}
		if pt.re.MatchString(subject) {
			return !pt.negate
		}
	}
	return false
}

func parsePattern(line string) (pattern, bool) {
	line = trimBlanks(line)
	if line == "" || line[0] == '#' {
		return pattern{}, false
	}
	var pt pattern
	if line[0] == '!' {
		pt.negate, line = true, line[1:]
	}
	if strings.HasSuffix(line, "/") {
		pt.dirOnly, line = true, line[:len(line)-1]
	}
	pt.whole = strings.Contains(line, "/")
	line = strings.TrimPrefix(line, "/")
	if line == "" {
		return pattern{}, false
	}
	expr, ok := translate(line)
	if !ok {
		return pattern{}, false
	}
	re, err := regexp.Compile("(?s)^" + expr + "$")
	if err != nil {
		return pattern{}, false
	}
	pt.re = re
	return pt, true
}

// trimBlanks takes trailing spaces away, except one that a backslash quotes.
func trimBlanks(line string) string {
	end := 0
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '\\' && i+1 < len(line):
			i++
			end = i + 1
		case line[i] != ' ':
			end = i + 1
		}
	}
	return line[:end]
}

// translate turns a pattern without its decorations into a regular expression:
// RE2 is linear, so that no pattern of a stranger can take the check's time.
func translate(pat string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(pat); {
		rest := pat[i:]
		atStart := i == 0 || pat[i-1] == '/'
		switch {
		case atStart && strings.HasPrefix(rest, "**/"):
			b.WriteString("(?:.*/)?")
			i += 3
			continue
		case atStart && rest == "**":
			b.WriteString(".+")
			i += 2
			continue
		}
		n, ok := translateOne(&b, rest)
		if !ok {
			return "", false
		}
		i += n
	}
	return b.String(), true
}

// translateOne writes the first element of rest and tells its length.
func translateOne(b *strings.Builder, rest string) (int, bool) {
	switch c := rest[0]; c {
	case '*':
		b.WriteString("[^/]*")
		return len(rest) - len(strings.TrimLeft(rest, "*")), true
	case '?':
		b.WriteString("[^/]")
		return 1, true
	case '[':
		return translateClass(b, rest)
	case '\\':
		if len(rest) == 1 {
			return 0, false
		}
		_, size := firstRune(rest[1:])
		b.WriteString(regexp.QuoteMeta(rest[1 : 1+size]))
		return 1 + size, true
	default:
		_, size := firstRune(rest)
		b.WriteString(regexp.QuoteMeta(rest[:size]))
		return size, true
	}
}

// translateClass writes a bracket expression. A class never matches a slash.
func translateClass(b *strings.Builder, rest string) (int, bool) {
	var class strings.Builder
	i, negate := 1, false
	if i < len(rest) && (rest[i] == '!' || rest[i] == '^') {
		negate = true
		i++
	}
	for first := true; ; first = false {
		if i >= len(rest) {
			return 0, false // never closed: git matches nothing
		}
		if rest[i] == ']' && !first {
			break
		}
		n, ok := translateMember(&class, rest[i:])
		if !ok {
			return 0, false
		}
		i += n
	}
	switch {
	case negate:
		b.WriteString("[^/" + class.String() + "]")
	case class.Len() == 0:
		return 0, false
	default:
		b.WriteString("[" + class.String() + "]")
	}
	return i + 1, true
}

// translateMember writes one member of a class: [:name:], a range or a character.
func translateMember(class *strings.Builder, rest string) (int, bool) {
	if strings.HasPrefix(rest, "[:") {
		end := strings.Index(rest, ":]")
		if end < 0 || posixClasses[rest[2:end]] == "" {
			return 0, false
		}
		class.WriteString(posixClasses[rest[2:end]])
		return end + 2, true
	}
	lo, n, ok := classRune(rest)
	if !ok {
		return 0, false
	}
	hi := lo
	if len(rest) > n+1 && rest[n] == '-' && rest[n+1] != ']' {
		var m int
		if hi, m, ok = classRune(rest[n+1:]); !ok {
			return 0, false
		}
		n += 1 + m
	}
	writeRange(class, lo, hi)
	return n, true
}

// posixClasses are RE2's, but for the slash that no class may match.
var posixClasses = map[string]string{
	"alnum": "[:alnum:]", "alpha": "[:alpha:]", "blank": "[:blank:]", "cntrl": "[:cntrl:]",
	"digit": "[:digit:]", "lower": "[:lower:]", "space": "[:space:]", "upper": "[:upper:]",
	"xdigit": "[:xdigit:]",
	"graph":  "!-.0-~", "print": " -.0-~", "punct": "!-.:-@\\[-`{-~",
}

// writeRange writes lo-hi without the slash; an empty range writes nothing.
func writeRange(class *strings.Builder, lo, hi rune) {
	if lo <= '/' && '/' <= hi {
		writeRange(class, lo, '/'-1)
		writeRange(class, '/'+1, hi)
		return
	}
	if lo <= hi {
		class.WriteString(quoteRune(lo) + "-" + quoteRune(hi))
	}
}

func quoteRune(r rune) string {
	return `\x{` + strconv.FormatInt(int64(r), 16) + `}`
}

// classRune reads one character of a class, which a backslash may quote.
func classRune(s string) (r rune, n int, ok bool) {
	if s[0] == '\\' {
		if len(s) == 1 {
			return 0, 0, false
		}
		r, n = firstRune(s[1:])
		return r, n + 1, true
	}
	r, n = firstRune(s)
	return r, n, true
}

func firstRune(s string) (rune, int) {
	return utf8.DecodeRuneInString(s)
}
