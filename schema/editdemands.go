package schema

import (
	"cmp"
	"slices"
	"strings"

	"appbundle/schema/pep508"
)

// A Demand is a line of dependencies.txt, of a file that it includes, or of
// external-dependencies.txt, which asks for one thing.
type Demand struct {
	Pos
	// Key is what two lines for one thing have in common: "flask" for Flask[async],
	// "go:github.com/x/y", the name of an [External]. It is empty for a URL that
	// does not say what it is of.
	Key    string
	Marker string // in its normal form, "" for none
	Text   string // as it was written, options included
	Bare   bool   // it has a name and nothing else

	kind        string // lines of one kind stand together
	first, last int    // of its physical lines, from 0
}

// An EditDemands changes the lines of a file with demands, and leaves all else
// as it was.
//
// A new line goes behind the last of its kind (Python packages, Go modules, npm
// packages), or to where it belongs when those are sorted by name; behind
// everything where there is none of its kind. A line that is replaced keeps its
// comment and its indentation. A line that is removed goes with its own comment
// and its continuations; a comment above it stays.
type EditDemands struct {
	editor
	file  string
	parse func(file string, data []byte) ([]Demand, Problems)
	// continued reports whether a line goes on in the next one.
	continued func(line string) bool
	demands   []Demand
}

// EditRequirements begins to edit dependencies.txt or a file that it includes.
// A file with problems is not edited.
func EditRequirements(file string, data []byte) (*EditDemands, Problems) {
	return editDemands(&EditDemands{editor: newEditor(data), file: file, parse: parseDemands, continued: continuedLine})
}

// EditExternal begins to edit external-dependencies.txt. A file with problems is
// not edited.
func EditExternal(file string, data []byte) (*EditDemands, Problems) {
	return editDemands(&EditDemands{editor: newEditor(data), file: file, parse: parseExternals, continued: func(string) bool { return false }})
}

func editDemands(e *EditDemands) (*EditDemands, Problems) {
	if problems := e.read(); len(problems) > 0 {
		return nil, problems
	}
	return e, nil
}

// Demands gives the lines as they are now, in the order of the file.
func (e *EditDemands) Demands() []Demand { return slices.Clone(e.demands) }

// Bytes gives the file as it is now.
func (e *EditDemands) Bytes() []byte { return e.bytes() }

// An Edit is what became of one line.
type Edit struct {
	Pos        // of the line in the edited file; of what was removed, where it was
	Key string // of its [Demand]
	Was string // the text before, "" for a line that is new
	Is  string // the text now, "" for a line that was removed
}

// Add makes the file ask for what text says, a line without a comment. A line
// for the same thing with the same marker is replaced; text without a marker
// replaces every line for the thing. A bare name changes nothing where the file
// has a line for it: the [Edit] has Was and Is alike then. The problems, whose
// places are in text, say that it is not one line that the file may have.
func (e *EditDemands) Add(text string) ([]Edit, Problems) {
	d, problems := e.Demand(text)
	if len(problems) > 0 {
		return nil, problems
	}
	var same, replaced []Demand
	for _, old := range e.demands {
		if old.Key == "" || old.Key != d.Key {
			continue
		}
		same = append(same, old)
		if d.Marker == "" || d.Marker == old.Marker {
			replaced = append(replaced, old)
		}
	}
	if len(same) > 0 && (d.Bare || len(replaced) == 1 && replaced[0].Text == d.Text) {
		if !d.Bare {
			same = replaced
		}
		return []Edit{{same[0].Pos, d.Key, same[0].Text, same[0].Text}}, nil
	}
	before, edits := slices.Clone(e.lines), []Edit{}
	if len(replaced) == 0 {
		e.insert(e.place(d, same), d.Text)
		edits = append(edits, Edit{Key: d.Key, Is: d.Text})
	} else {
		for _, old := range replaced[1:] {
			edits = append(edits, Edit{old.Pos, d.Key, old.Text, ""})
		}
		e.removeDemands(replaced[1:])
		edits = slices.Insert(edits, 0, Edit{Key: d.Key, Was: replaced[0].Text, Is: d.Text})
		e.replace(replaced[0].first, replaced[0].last, d.Text, e.tail(replaced[0]))
	}
	if problems := e.read(); len(problems) > 0 { // such as one line more than a file may have
		e.lines = before
		e.read()
		return nil, problems
	}
	for _, now := range e.demands {
		if now.Key == d.Key && now.Text == d.Text {
			edits[0].Pos = now.Pos
		}
	}
	return edits, nil
}

// Remove takes the lines out for which gone is true.
func (e *EditDemands) Remove(gone func(Demand) bool) []Edit {
	var edits []Edit
	var removed []Demand
	for _, d := range e.demands {
		if gone(d) {
			removed = append(removed, d)
			edits = append(edits, Edit{d.Pos, d.Key, d.Text, ""})
		}
	}
	e.removeDemands(removed)
	e.read() // a file without some of its lines has no problem that it did not have
	return edits
}

func (e *EditDemands) removeDemands(removed []Demand) {
	gone := make([]bool, len(e.lines))
	for _, d := range removed {
		for i := d.first; i <= d.last; i++ {
			gone[i] = true
		}
	}
	e.remove(func(i int) bool { return gone[i] })
}

// read finds the demands of the lines as they are now.
func (e *EditDemands) read() Problems {
	demands, problems := e.parse(e.file, e.bytes())
	first := 0
	starts := make([]int, len(e.lines))
	for i := range e.lines {
		if i > 0 && !e.continued(e.lines[i-1]) {
			first = i
		}
		starts[i] = first
	}
	for i := range demands {
		d := &demands[i]
		d.first, d.last = starts[d.Line-1], d.Line-1
		for d.last+1 < len(e.lines) && starts[d.last+1] == d.first {
			d.last++
		}
	}
	e.demands = demands
	return problems
}

// Demand reads a line that is to be added. The places of the problems are in text.
func (e *EditDemands) Demand(text string) (Demand, Problems) {
	demands, problems := e.parse("", []byte(text))
	if len(problems) == 0 && (len(demands) != 1 || strings.ContainsAny(text, "\r\n")) {
		problems.Add(Pos{}, "write a name, and what the line says of it", "that is not one dependency")
	}
	if len(problems) > 0 {
		return Demand{}, problems
	}
	return demands[0], nil
}

// place gives the line before which d goes; same are the lines for the same
// thing.
func (e *EditDemands) place(d Demand, same []Demand) int {
	var kind []Demand
	for _, o := range e.demands {
		if o.kind == d.kind {
			kind = append(kind, o)
		}
	}
	at := len(e.lines)
	switch {
	case len(same) > 0:
		at = same[len(same)-1].last + 1
	case len(kind) > 0:
		at = kind[len(kind)-1].last + 1
		if i, ok := placeSorted(kind, d); ok && i > 0 {
			at = kind[i-1].last + 1
		} else if ok {
			at = e.aboveFirst(kind[0])
		}
	}
	if n := len(e.lines); at == n && n > 0 && e.continued(e.lines[n-1]) { // it would go on in ours
		for at--; at > 0 && e.continued(e.lines[at-1]); {
			at--
		}
	}
	return at
}

// placeSorted gives the index in list that keeps it sorted, if it is. Both the
// order of names and that of lines, which sort(1) makes, count.
func placeSorted(list []Demand, d Demand) (int, bool) {
	byKey := func(a, b Demand) int { return cmp.Compare(a.Key, b.Key) }
	byText := func(a, b Demand) int { return cmp.Compare(strings.ToLower(a.Text), strings.ToLower(b.Text)) }
	for _, order := range []func(a, b Demand) int{byKey, byText} {
		if len(list) > 1 && slices.IsSortedFunc(list, order) {
			i := slices.IndexFunc(list, func(o Demand) bool { return order(o, d) > 0 })
			if i < 0 {
				i = len(list)
			}
			return i, true
		}
	}
	return 0, false
}

// aboveFirst gives the line where the comment of d begins; a comment that opens
// the file is the file's.
func (e *EditDemands) aboveFirst(d Demand) int {
	at := d.first
	for at > 0 && strings.HasPrefix(strings.TrimLeft(e.lines[at-1], " \t"), "#") {
		at--
	}
	if at == 0 {
		return d.first
	}
	return at
}

// tail gives what follows the demand on its lines: a comment, with the blanks
// before it, and the end of the last line.
func (e *EditDemands) tail(d Demand) string {
	joined, starts := "", []int{}
	for _, l := range e.lines[d.first : d.last+1] {
		starts = append(starts, len(joined))
		text := strings.TrimRight(l, "\r\n")
		if e.continued(l) {
			text = strings.TrimRight(text, `\`)
		}
		joined += text
	}
	cut := len(cutComment(joined))
	if cut == len(joined) {
		return lineEnd(e.lines[d.last])
	}
	k := len(starts) - 1
	for starts[k] > cut {
		k--
	}
	line := e.lines[d.first+k]
	off := cut - starts[k]
	off = len(strings.TrimRight(line[:off], " \t"))
	return line[off:] + strings.Join(e.lines[d.first+k+1:d.last+1], "")
}

// continuedLine is [joiner]'s rule: a line goes on after a "\" at its end, but a
// comment does not.
func continuedLine(line string) bool {
	line = strings.TrimRight(line, "\r\n")
	return strings.HasSuffix(line, `\`) && !strings.HasPrefix(strings.TrimLeft(line, " \t"), "#")
}

// parseDemands gives the demands of a requirement file.
func parseDemands(file string, data []byte) ([]Demand, Problems) {
	reqs, problems := ParseRequirements(file, data)
	if len(problems) > 0 {
		return nil, problems
	}
	texts := map[int]string{} // by line
	var none Problems
	for _, l := range logicalLines(file, data, &none) {
		texts[l.posAt(0).Line] = l.text
	}
	var demands []Demand
	for i := range reqs.Packages {
		p := &reqs.Packages[i]
		d := Demand{Pos: p.Pos, Text: texts[p.Line], kind: "pypi"}
		if p.Req.Name != "" {
			d.Key = p.Req.Key()
		}
		if p.Req.Marker != nil {
			d.Marker = p.Req.Marker.String()
		}
		d.Bare = pep508.ValidName(d.Text)
		demands = append(demands, d)
	}
	for i := range reqs.Modules {
		m := &reqs.Modules[i]
		demands = append(demands, Demand{Pos: m.Pos, Key: m.Ecosystem + ":" + m.Name, Text: texts[m.Line], Bare: m.Range == "", kind: m.Ecosystem})
	}
	slices.SortFunc(demands, func(a, b Demand) int { return cmp.Compare(a.Line, b.Line) })
	return demands, nil
}

// parseExternals gives the demands of external-dependencies.txt.
func parseExternals(file string, data []byte) ([]Demand, Problems) {
	list, problems := ParseExternal(file, data)
	var demands []Demand
	for i := range list {
		e := &list[i]
		d := Demand{Pos: e.Pos, Key: e.Name, Text: e.Text, Bare: e.Text == e.Name, kind: "external"}
		if e.Marker != nil {
			d.Marker = e.Marker.String()
		}
		demands = append(demands, d)
	}
	return demands, problems
}
