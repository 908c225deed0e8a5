package schema

import (
	"cmp"
	"strings"
)

// An editor holds a text file as its lines, each with the end that it has, so
// that what nobody edits stays what it was: comments, order, the kind of line
// ends, a byte order mark, and a last line without an end.
type editor struct {
	mark  string   // the byte order mark, "" for none
	lines []string // with their ends
}

func newEditor(data []byte) editor {
	text := string(data)
	rest := strings.TrimPrefix(text, "\ufeff")
	e := editor{mark: text[:len(text)-len(rest)]}
	for rest != "" {
		n := strings.IndexAny(rest, "\r\n") + 1
		switch {
		case n == 0:
			n = len(rest)
		case strings.HasPrefix(rest[n-1:], "\r\n"):
			n++
		}
		e.lines = append(e.lines, rest[:n])
		rest = rest[n:]
	}
	return e
}

func (e *editor) bytes() []byte { return []byte(e.mark + strings.Join(e.lines, "")) }

// lineEnd gives the end of a line, "" for a last one that has none.
func lineEnd(line string) string { return line[len(strings.TrimRight(line, "\r\n")):] }

// insert puts lines without ends before line i; they get the end of their
// neighbour. Behind a last line without an end there is none again.
func (e *editor) insert(i int, lines ...string) {
	end := ""
	for j := range e.lines { // the neighbour above, or else the first that has one
		if s := lineEnd(e.lines[j]); s != "" && (j < i || end == "") {
			end = s
		}
	}
	end = cmp.Or(end, "\n")
	added := make([]string, len(lines))
	for j, l := range lines {
		added[j] = l + end
	}
	if n := len(e.lines); n > 0 && i == n && lineEnd(e.lines[n-1]) == "" {
		e.lines[n-1] += end
		added[len(added)-1] = lines[len(lines)-1]
	}
	e.lines = append(e.lines[:i:i], append(added, e.lines[i:]...)...)
}

// remove takes the lines out for which gone is true. A file whose last line has
// no end is one afterwards too.
func (e *editor) remove(gone func(i int) bool) {
	open := len(e.lines) > 0 && lineEnd(e.lines[len(e.lines)-1]) == ""
	var kept []string
	for i, l := range e.lines {
		if !gone(i) {
			kept = append(kept, l)
		}
	}
	if n := len(kept); open && n > 0 {
		kept[n-1] = strings.TrimRight(kept[n-1], "\r\n")
	}
	e.lines = kept
}

// replace puts text, behind the indentation of the first, in the place of the
// lines first to last; tail follows, and may be several lines with their ends.
func (e *editor) replace(first, last int, text, tail string) {
	line := e.lines[first]
	indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	lines := newEditor([]byte(indent + text + tail)).lines
	e.lines = append(e.lines[:first:first], append(lines, e.lines[last+1:]...)...)
}
