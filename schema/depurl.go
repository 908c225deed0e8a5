package schema

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"appbundle/schema/pep440"
)

// A DepURL is an identifier of PEP 725, without its version:
//
//	dep:TYPE/[NAMESPACE/]NAME[@VERSION][?KEY=VALUE&...][#SUBPATH]
//
// All parts are percent-decoded.
type DepURL struct {
	Type       string   // of a package URL, or "virtual"; in lower case
	Namespace  []string // for virtual: "compiler" or "interface"
	Name       string
	Qualifiers []Qualifier // sorted by key
	Subpath    []string
}

// A Qualifier is a KEY=VALUE of a package URL.
type Qualifier struct{ Key, Value string }

// String gives the type, the namespace and the name in one spelling.
func (d *DepURL) String() string {
	return "dep:" + d.Type + "/" + encodePath(append(slices.Clone(d.Namespace), d.Name))
}

// suffix gives the qualifiers and the subpath.
func (d *DepURL) suffix() string {
	var b strings.Builder
	for i, q := range d.Qualifiers {
		b.WriteByte("?&"[min(i, 1)])
		b.WriteString(q.Key + "=" + encodePart(q.Value))
	}
	if len(d.Subpath) > 0 {
		b.WriteString("#" + encodePath(d.Subpath))
	}
	return b.String()
}

func encodePath(parts []string) string {
	encoded := make([]string, len(parts))
	for i, p := range parts {
		encoded[i] = encodePart(p)
	}
	return strings.Join(encoded, "/")
}

func encodePart(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if isDepByte(s[i]) {
			b.WriteByte(s[i])
		} else {
			b.WriteString("%" + string(hex[s[i]>>4]) + string(hex[s[i]&15]))
		}
	}
	return b.String()
}

// isDepByte reports the bytes that stand for themselves.
func isDepByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._~+:-", c) >= 0
}

// depTypes are the types of package URLs, and the one that PEP 725 adds.
var depTypes = strings.Fields(`virtual generic
	alpm apk bazel bitbucket bitnami brew cargo chrome-extension cocoapods composer conan conda cpan cran deb docker
	gem github gitlab golang hackage hex huggingface julia luarocks maven mlflow npm nuget oci opam otp pub pypi qpkg
	rpm swid swift vscode-extension yocto`)

// depOwned are the types of which a name belongs to somebody.
var depOwned = []string{"bitbucket", "github", "gitlab"}

var (
	qualifierKey = regexp.MustCompile(`^[a-z][a-z0-9._-]*$`)
	virtualName  = regexp.MustCompile(`^[a-z0-9][a-z0-9._+-]*$`)
)

// maxParts is how many segments a path and how many qualifiers an identifier has.
const maxParts = 20

// A depParser reads one identifier; places are bytes of the line.
type depParser struct {
	line     logicalLine
	problems *Problems
	bad      bool
}

func (p *depParser) fail(off int, fix, format string, args ...any) {
	if !p.bad {
		p.problems.Add(p.line.posAt(off), fix, format, args...)
	}
	p.bad = true
}

// dep reads the identifier s, which the line begins with, into e.
func (p *depParser) dep(e *External, s string) bool {
	path, subpath, hasSubpath := strings.Cut(s, "#")
	path, qualifiers, hasQualifiers := strings.Cut(path, "?")
	version, at := "", strings.LastIndexByte(path, '@')
	if at >= 0 {
		path, version = path[:at], path[at+1:]
	}
	e.Dep = &DepURL{}
	p.path(e.Dep, path)
	if at >= 0 {
		p.version(e, version, at+1)
	}
	off := len(s)
	if hasSubpath {
		off -= len(subpath)
		if e.Dep.Subpath = p.segments(strings.Trim(subpath, "/"), off+len(subpath)-len(strings.TrimLeft(subpath, "/"))); len(e.Dep.Subpath) == 0 {
			p.fail(off-1, "write a path or remove it", "the subpath is empty")
		}
		off--
	}
	if hasQualifiers {
		p.qualifiers(e.Dep, qualifiers, off-len(qualifiers))
	}
	e.Name = e.Dep.String()
	return !p.bad
}

const writeDep = "write dep:TYPE/NAME, such as dep:generic/openssl@>=3"

func (p *depParser) path(d *DepURL, s string) {
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		rest := strings.TrimLeft(s[i:], " \t")
		p.fail(len(s)-len(rest), "write the version after @", "%s does not belong to %s", quote(rest), s[:i])
		return
	}
	kind, rest, ok := strings.Cut(s[len("dep:"):], "/")
	if !ok || kind == "" || rest == "" {
		p.fail(0, writeDep, "%s is no identifier", quote(s))
		return
	}
	if d.Type = strings.ToLower(kind); !slices.Contains(depTypes, d.Type) {
		fix := "write dep:generic/NAME, or a type such as deb, rpm or github"
		if near := Closest(d.Type, depTypes); d.Type == "pkg" {
			fix = "leave " + kind + "/ out"
		} else if near != "" {
			fix = "did you mean dep:" + near + "/?"
		}
		p.fail(len("dep:"), fix, "%s is no type of a package URL", quote(kind))
		return
	}
	off := len(s) - len(rest)
	parts := p.segments(rest, off)
	if p.bad {
		return
	}
	d.Namespace, d.Name = parts[:len(parts)-1], parts[len(parts)-1]
	switch {
	case d.Type == "virtual" && (len(parts) != 2 || parts[0] != "compiler" && parts[0] != "interface"):
		p.fail(off, "write dep:virtual/compiler/NAME or dep:virtual/interface/NAME", "%s is neither a compiler nor an interface", quote(rest))
	case d.Type == "virtual" && !virtualName.MatchString(d.Name):
		p.fail(len(s)-len(rest)+len(parts[0])+1, "write it in lower case, such as cxx", "%s is no name of what is virtual", quote(d.Name))
	case slices.Contains(depOwned, d.Type) && len(parts) < 2:
		p.fail(off, "write dep:"+d.Type+"/OWNER/NAME", "%s does not say whose it is", quote(rest))
	}
}

// segments decodes a path.
func (p *depParser) segments(s string, off int) []string {
	if s == "" {
		return nil
	}
	var parts []string
	for raw := range strings.SplitSeq(s, "/") {
		part := p.decode(raw, off, "")
		switch {
		case part == "" || part == "." || part == "..":
			p.fail(off, "write a name between two slashes", "%s is no part of a name", quote(raw))
		case strings.Contains(part, "/"):
			p.fail(off, "write a slash as it is", "%s hides a slash", quote(raw))
		case len(parts) == maxParts:
			p.fail(off, "", "more than %d parts", maxParts)
		}
		if p.bad {
			return nil
		}
		parts = append(parts, part)
		off += len(raw) + 1
	}
	return parts
}

func (p *depParser) qualifiers(d *DepURL, s string, off int) {
	for field := range strings.SplitSeq(s, "&") {
		key, raw, _ := strings.Cut(field, "=")
		value := p.decode(raw, off+len(key)+1, "/")
		switch {
		case !qualifierKey.MatchString(key) || value == "":
			p.fail(off, "write KEY=VALUE, the key in lower case", "%s is no qualifier", quote(field))
		case slices.ContainsFunc(d.Qualifiers, func(q Qualifier) bool { return q.Key == key }):
			p.fail(off, "keep one of the two", "%s is there twice", key)
		case len(d.Qualifiers) == maxParts:
			p.fail(off, "", "more than %d qualifiers", maxParts)
		}
		if p.bad {
			return
		}
		d.Qualifiers = append(d.Qualifiers, Qualifier{key, value})
		off += len(field) + 1
	}
	slices.SortFunc(d.Qualifiers, func(a, b Qualifier) int { return cmp.Compare(a.Key, b.Key) })
}

// decode replaces each %XX; more are bytes that may stand for themselves beside
// the usual ones.
func (p *depParser) decode(s string, off int, more string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '%':
			hi, lo := strings.IndexByte(hexDigits, at(s, i+1)), strings.IndexByte(hexDigits, at(s, i+2))
			if hi < 0 || lo < 0 {
				p.fail(off+i, "write % and two hexadecimal digits, and % itself as %25", "%s is no percent-encoding", quote(s[i:min(i+3, len(s))]))
				return ""
			}
			b.WriteByte(byte(hexValue(hi)<<4 | hexValue(lo)))
			i += 2
		case isDepByte(s[i]) || strings.IndexByte(more, s[i]) >= 0:
			b.WriteByte(s[i])
		default:
			r, _ := utf8.DecodeRuneInString(s[i:])
			p.fail(off+i, "write it as "+encodePart(string(r)), "%s must not stand here as it is", quote(string(r)))
			return ""
		}
	}
	out := b.String()
	if !utf8.ValidString(out) || strings.ContainsFunc(out, isHidden) || strings.Contains(out, "\t") {
		p.fail(off, "", "%s hides what is no text", quote(s))
		return ""
	}
	return out
}

const hexDigits = "0123456789ABCDEFabcdef"

// hexValue is the value of the digit at that index of hexDigits.
func hexValue(i int) int {
	if i > 15 {
		return i - 6
	}
	return i
}

// at is a byte of s, 0 behind its end, which is in no set.
func at(s string, i int) byte {
	if i < len(s) {
		return s[i]
	}
	return 0
}

// versionBytes may stand in a version as they are, beside the usual ones.
const versionBytes = "<>=!,|* \t"

// version reads what follows "@": one version, which is meant exactly, or
// comparisons with a "," between them. A "|", which ranges of vers: have there,
// is read where it means the same.
func (p *depParser) version(e *External, raw string, off int) {
	text := strings.Trim(p.decode(raw, off, versionBytes), " \t")
	if p.bad {
		return
	}
	const fix = "write one such as >=3 or >=3,<4"
	if text == "" {
		p.fail(off, "write a version or remove it", "the version specification is empty")
		return
	}
	if lower, upper, ok := strings.Cut(text, "|"); ok {
		lower, upper = strings.TrimSpace(lower), strings.TrimSpace(upper)
		if !strings.HasPrefix(lower, ">") || !strings.HasPrefix(upper, "<") || strings.ContainsAny(upper, "|,") || strings.Contains(lower, ",") {
			p.fail(off, fix, "%s is not one range", quote(text))
			return
		}
		text = lower + "," + upper
	}
	operators := strings.ContainsAny(text[:1], "<>=!~")
	several := !operators && strings.ContainsAny(text, versionBytes)
	if !operators {
		text = literal(text)
	}
	set, err := pep440.ParseSpecifiers(text)
	if err != nil || len(set) == 0 || several {
		p.fail(off, fix, "%s is no version specification", quote(raw))
		return
	}
	for _, s := range set {
		if operators && !isWord(s.Op, ">= > <= < ==") {
			p.fail(off, "write >=, >, <=, < or ==", "%q is no operator of an identifier", s.Op)
			return
		}
	}
	e.Specifiers = set
}

// literal gives the specifier for exactly one version: as text, where it is none
// of PEP 440.
func literal(text string) string {
	if _, err := pep440.Parse(text); err == nil {
		return "==" + text
	}
	return "===" + text
}

// depVersion gives specifiers as they stand in an identifier.
func depVersion(set pep440.Specifiers) string {
	if len(set) == 1 {
		s := set[0]
		_, prefix, _ := s.Version()
		if text, ok := strings.CutPrefix(s.String(), s.Op); ok && (s.Op == "===" || s.Op == "==" && !prefix) {
			return "@" + encodePart(text)
		}
	}
	if len(set) == 0 {
		return ""
	}
	return "@" + set.String()
}
