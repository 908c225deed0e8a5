package schema

import (
	"fmt"
	"slices"
	"strings"

	"appbundle/schema/pep508"
)

// Requirements are what one file in the format of dependencies.txt says: pip's
// requirements-file format without what a bundle cannot have, and lines of other
// ecosystems.
//
// Lines are joined at a "\" at their end, then a "#" after white space or at the
// beginning of a line starts a comment. ${NAME} stays as it is written, in URLs,
// and is refused elsewhere: see [ExpandURL].
//
// Refused, where pip reads on: editable and local directories, version control
// without a commit, http without a hash (but on the loopback interface),
// credentials, abbreviated options and values glued to short ones, several
// includes on a line, comments inside a continued line, options that belong to a
// build or to the command line, and what hides text.
type Requirements struct {
	File     string
	Packages []Package // Python packages, in the order of the file
	Modules  []Module  // lines of other ecosystems, in the order of the file
	Includes []Include // -r and -c, to be read by the caller

	IndexURL       *Located  // the last one counts; nil for none
	ExtraIndexURLs []Located // in the order of the file
	FindLinks      []Located // URLs, or paths relative to the file
	NoIndex        bool
	Pre            bool
	PreferBinary   bool
	RequireHashes  bool
	NoBinary       []string // normalised names or ":all:", sorted
	OnlyBinary     []string // normalised names or ":all:", sorted
}

// A Located is a text with its place.
type Located struct {
	Pos
	Text string
}

// A Package is a line that asks for a Python package.
type Package struct {
	Pos
	Text string // the requirement as it was written, without options
	// Req is the requirement. For a URL or a path without "name @" it has what
	// the file name says, and an empty Name where that says nothing.
	Req pep508.Requirement
	// URL is a direct reference, Path one to a wheel in the bundle; at most one
	// of the two is not empty.
	URL    string
	Path   string
	Commit string // of a URL of version control: 40 hexadecimal digits
	Hashes []Hash // any of them may match; with that of the URL's fragment
}

// A Hash is a digest of a file.
type Hash struct {
	Pos
	Algorithm string // sha256, sha384 or sha512
	Hex       string // in lower case
}

// An Include is a -r or -c line; Path is relative to the file that has it.
type Include struct {
	Pos
	Path       string
	Constraint bool // -c
}

// ParseRequirements reads dependencies.txt or a file that it includes.
func ParseRequirements(file string, data []byte) (*Requirements, Problems) {
	p := reqParser{out: &Requirements{File: file}}
	for _, l := range logicalLines(file, data, &p.problems) {
		if len(p.problems) >= MaxProblems {
			break
		}
		if len(p.out.Packages)+len(p.out.Modules) == maxDemands {
			p.problems.Add(l.posAt(0), "", "the file has more than %d requirements", maxDemands)
			break
		}
		p.line(l)
	}
	return p.out, p.problems.inOrder()
}

// A logicalLine is a line after its continuations are joined and its comment
// cut; it maps bytes to places.
type logicalLine struct {
	text string
	segs []valueLine
}

func (l *logicalLine) posAt(off int) Pos {
	k := INIKey{Pos: l.segs[0].pos, lines: l.segs}
	return k.PosAt(off)
}

// trim cuts blanks from both ends.
func (l *logicalLine) trim() {
	cut := len(l.text) - len(strings.TrimLeft(l.text, " \t"))
	l.text = strings.Trim(l.text, " \t")
	for i := range l.segs {
		if l.segs[i].off < cut {
			l.segs[i].pos.Col += cut - l.segs[i].off
			l.segs[i].off = 0
			continue
		}
		l.segs[i].off -= cut
	}
}

// maxDemands is how many requirements a file has.
const maxDemands = 50_000

// maxJoined is how many lines one logical line has.
const maxJoined = 10_000

// A joiner makes logical lines of physical ones.
type joiner struct {
	lines    []logicalLine
	cur      logicalLine
	last     int  // number of the line before
	bad      bool // cur has a problem and is left out
	problems *Problems
}

func logicalLines(file string, data []byte, ps *Problems) []logicalLine {
	j := joiner{problems: ps}
	for _, l := range textLines(file, data, ps) {
		j.add(Pos{File: file, Line: l.no}, l.text)
	}
	j.end()
	return j.lines
}

func (j *joiner) add(pos Pos, text string) {
	// A line that was left out is a problem already; what it continued must
	// not swallow the line after it.
	if len(j.cur.segs) > 0 && pos.Line != j.last+1 {
		j.bad = true
		j.end()
	}
	j.last = pos.Line
	isComment := strings.HasPrefix(strings.TrimLeft(text, " \t"), "#")
	if isComment && len(j.cur.segs) > 0 {
		j.problems.Add(pos, "move it above the first of these lines", "a comment inside a continued line ends it for pip")
		j.bad = true
		j.end()
		return
	}
	more := strings.HasSuffix(text, `\`) && !isComment
	if more {
		text = strings.TrimRight(text, `\`)
	}
	if len(j.cur.text)+len(text) > MaxLine || len(j.cur.segs) == maxJoined {
		j.problems.Add(pos, "", "the joined line has more than %d bytes or %d lines", MaxLine, maxJoined)
		text, j.bad = "", true
	}
	if j.bad {
		j.cur.segs = j.cur.segs[:0]
	}
	pos.Col = 1
	j.cur.segs = append(j.cur.segs, valueLine{len(j.cur.text), pos})
	if j.cur.text += text; !more {
		j.end()
	}
}

func (j *joiner) end() {
	j.cur.text = cutComment(j.cur.text)
	if j.cur.trim(); j.cur.text != "" && !j.bad {
		j.lines = append(j.lines, j.cur)
	}
	j.cur, j.bad = logicalLine{}, false
}

// cutComment cuts from a "#" at the beginning or after a blank.
func cutComment(s string) string {
	for i := range len(s) {
		if s[i] == '#' && (i == 0 || isBlank(s[i-1])) {
			return s[:i]
		}
	}
	return s
}

type reqParser struct {
	out      *Requirements
	problems Problems
}

func (p *reqParser) line(l logicalLine) {
	if eco, _, ok := strings.Cut(l.text, ":"); ok && (eco == "go" || eco == "npm") {
		p.module(l, eco)
		return
	}
	// As pip does: options begin at the first word that begins with "-".
	n := len(l.text)
	if strings.HasPrefix(l.text, "-") {
		n = 0
	} else if i := strings.Index(l.text, " -"); i >= 0 {
		n = i
	}
	opts, ok := p.options(l, n)
	switch {
	case !ok:
	case n > 0:
		p.requirement(l, strings.TrimRight(l.text[:n], " \t"), opts)
	default:
		p.settings(l, opts)
	}
}

func (p *reqParser) requirement(l logicalLine, text string, opts []option) {
	pkg := Package{Pos: l.posAt(0), Text: text}
	for _, o := range opts {
		if o.spec.name != "--hash" {
			p.problems.Add(o.pos, "give it a line of its own", "%s after a requirement has no effect", o.spec.name)
			return
		}
		if h, ok := p.hash(o.pos, o.value); ok {
			pkg.Hashes = append(pkg.Hashes, h)
		}
	}
	if p.reference(l, &pkg) {
		p.out.Packages = append(p.out.Packages, pkg)
	}
}

var hashLengths = map[string]int{"sha256": 64, "sha384": 96, "sha512": 128}

func (p *reqParser) hash(pos Pos, s string) (Hash, bool) {
	alg, hex, ok := strings.Cut(s, ":")
	want := hashLengths[alg]
	switch {
	case !ok || want == 0:
		p.problems.Add(pos, "write --hash=sha256:HEX", "%s is no sha256, sha384 or sha512", quote(s))
		return Hash{}, false
	case len(hex) != want || strings.Trim(hex, "0123456789abcdefABCDEF") != "":
		p.problems.Add(pos, "", "a %s has %d hexadecimal digits, not %s", alg, want, quote(hex))
		return Hash{}, false
	}
	return Hash{Pos: pos, Algorithm: alg, Hex: strings.ToLower(hex)}, true
}

// settings takes a line of options.
func (p *reqParser) settings(l logicalLine, opts []option) {
	for _, o := range opts {
		if o.spec.alone && len(opts) > 1 {
			p.problems.Add(o.pos, "give it a line of its own", "%s beside other options: pip reads one of them", o.spec.name)
			return
		}
	}
	for _, o := range opts {
		p.setting(o)
	}
}

func (p *reqParser) setting(o option) {
	r := p.out
	at := Located{o.pos, o.value}
	switch o.spec.name {
	case "--index-url":
		if p.indexURL(at) {
			r.IndexURL = &at
		}
	case "--extra-index-url":
		if p.indexURL(at) {
			r.ExtraIndexURLs = append(r.ExtraIndexURLs, at)
		}
	case "--find-links":
		if p.findLinks(at) {
			r.FindLinks = append(r.FindLinks, at)
		}
	case "--no-index":
		r.NoIndex = true
	case "--pre":
		r.Pre = true
	case "--prefer-binary":
		r.PreferBinary = true
	case "--require-hashes":
		r.RequireHashes = true
	case "--no-binary":
		p.formats(at, &r.NoBinary, &r.OnlyBinary)
	case "--only-binary":
		p.formats(at, &r.OnlyBinary, &r.NoBinary)
	case "--requirement", "--constraint":
		p.include(at, o.spec.name == "--constraint")
	case "--hash":
		p.problems.Add(o.pos, "put it after its requirement", "a hash without a requirement")
	}
}

// formats adds names to one list and takes them from the other; the last line
// counts.
func (p *reqParser) formats(at Located, to, from *[]string) {
	for name := range strings.SplitSeq(at.Text, ",") {
		switch {
		case name == ":none:":
			*to = nil
		case name == ":all:":
			*to, *from = []string{name}, nil
		case !pep508.ValidName(name):
			p.problems.Add(at.Pos, "", "%s is no package name", quote(name))
		default:
			name = pep508.NormalizeName(name)
			*from = slices.DeleteFunc(*from, func(s string) bool { return s == name })
			if i, ok := slices.BinarySearch(*to, name); !ok {
				*to = slices.Insert(*to, i, name)
			}
		}
	}
}

func (p *reqParser) include(at Located, constraint bool) {
	switch {
	case at.Text == "":
		p.problems.Add(at.Pos, "", "the file name is empty")
	case strings.Contains(at.Text, "${"):
		p.problems.Add(at.Pos, "write the file's name", "a variable outside a URL")
	case strings.Contains(at.Text, "://") || strings.HasPrefix(at.Text, "file:"):
		p.problems.Add(at.Pos, "copy the file into the bundle", "a bundle cannot include the URL %s", quote(at.Text))
	case strings.HasPrefix(at.Text, "/") || strings.Contains(at.Text, `\`):
		p.problems.Add(at.Pos, "write a path relative to this file, with /", "%s is outside the bundle", quote(at.Text))
	default:
		p.out.Includes = append(p.out.Includes, Include{at.Pos, at.Text, constraint})
	}
}

// fail reports an error of package pep508 at its place in the line.
func (p *reqParser) fail(l logicalLine, off int, err error) {
	col := 1
	if at, ok := err.(*pep508.Error); ok {
		col = at.Col
	}
	fix := ""
	if strings.Contains(l.text, "=") && !strings.ContainsAny(l.text, "<>!~") && !strings.Contains(l.text, "==") {
		fix = fmt.Sprintf("write %q for an exact version", "==")
	}
	p.problems.Add(l.posAt(off+col-1), fix, "%v", err)
}
