package schema

import (
	"slices"
	"strings"
)

// An EditINI changes the keys of an app.ini, and leaves all else as it was.
type EditINI struct {
	editor
	file string
	ini  *INI
}

// EditAppINI begins to edit app.ini. It may have unknown keys and values that
// mean nothing; what is no INI file is not edited.
func EditAppINI(file string, data []byte) (*EditINI, Problems) {
	e := &EditINI{editor: newEditor(data), file: file}
	if problems := e.read(); len(problems) > 0 {
		return nil, problems
	}
	return e, nil
}

// Bytes gives the file as it is now.
func (e *EditINI) Bytes() []byte { return e.bytes() }

// Set gives a key of a section a value. A key that is there keeps its place and
// its spacing; a new one goes behind the last of its section, a new section to
// the end of the file. The lines of a value are indented below the key. The
// problems say why the file could not hold that section, key or value; it is as
// it was then.
func (e *EditINI) Set(section, key, value string) Problems {
	before := slices.Clone(e.lines)
	switch s, k := e.find(section, key); {
	case k != nil:
		lines := withValue(e.head(k), value)
		e.removeKey(k)
		e.insert(k.Line-1, lines...)
	case s != nil:
		e.insert(sectionEnd(s), withValue(key+" = ", value)...)
	default:
		lines := append([]string{"[" + section + "]"}, withValue(key+" = ", value)...)
		if n := len(e.lines); n > 0 && strings.TrimSpace(e.lines[n-1]) != "" {
			lines = slices.Insert(lines, 0, "")
		}
		e.insert(len(e.lines), lines...)
	}
	problems := e.read()
	if _, k := e.find(section, key); len(problems) == 0 && (k == nil || k.Value != value) {
		problems.Add(Pos{File: e.file}, "", "[%s]: %s cannot be %s", section, key, quote(value))
	}
	if len(problems) > 0 {
		e.lines = before
		e.read()
	}
	return problems
}

// Delete removes a key with all lines of its value; comments stay. It reports
// whether there was one.
func (e *EditINI) Delete(section, key string) bool {
	_, k := e.find(section, key)
	if k == nil {
		return false
	}
	e.removeKey(k)
	e.read() // a file without one of its keys has no problem that it did not have
	return true
}

func (e *EditINI) read() (problems Problems) {
	e.ini, problems = ParseINI(e.file, e.bytes(), Dialect{})
	return problems
}

func (e *EditINI) find(section, key string) (*INISection, *INIKey) {
	for i := range e.ini.Sections {
		if s := &e.ini.Sections[i]; s.Name == section {
			return s, s.Find(key)
		}
	}
	return nil, nil
}

// head is the line of a key up to its value.
func (e *EditINI) head(k *INIKey) string {
	line := strings.TrimRight(e.lines[k.Line-1], "\r\n")
	head := line[:k.lines[0].pos.Col-1]
	if n := len(head); !isBlank(head[n-1]) && isBlank(head[n-2]) { // "key =" and no value
		head += " "
	}
	return head
}

// removeKey takes out the lines of a key.
func (e *EditINI) removeKey(k *INIKey) {
	e.remove(func(i int) bool {
		return slices.ContainsFunc(k.lines, func(l valueLine) bool { return l.pos.Line == i+1 })
	})
}

// sectionEnd gives the line before which a new key of s goes.
func sectionEnd(s *INISection) int {
	if len(s.Keys) == 0 {
		return s.Line
	}
	lines := s.Keys[len(s.Keys)-1].lines
	return lines[len(lines)-1].pos.Line
}

// withValue gives the lines of a key.
func withValue(head, value string) []string {
	if value == "" {
		return []string{head + `""`}
	}
	if !strings.Contains(value, "\n") {
		return []string{head + value}
	}
	lines := []string{strings.TrimRight(head, " \t")}
	for l := range strings.SplitSeq(value, "\n") {
		lines = append(lines, "    "+l)
	}
	return lines
}
