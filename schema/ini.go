package schema

import (
	"strings"
)

// A Dialect says how an INI file is read. The zero Dialect is that of app.ini.
//
// In both, a line is "[section]", "key = value", "key: value", a comment (from
// "#" or ";" at its beginning), or, when it begins with a blank, a further line
// of the value before it. A value of "" (two quotes) is empty. Keys keep their
// case.
type Dialect struct {
	// Circus: "rem" at the beginning of a line makes it a comment; ";" after a
	// blank starts one; a blank line and a comment with blanks before it
	// belong to the value; repeated sections are one, of a repeated key the
	// first one counts, and the keys of [DEFAULT] are in every section.
	// Otherwise a repeated section or key is a problem.
	Circus bool
}

// An INI is a file as a syntax tree.
type INI struct {
	File     string
	Sections []INISection // in the order of the file
}

// An INISection is one section; its Pos is that of the header.
type INISection struct {
	Pos
	Name string // between the brackets, without outer blanks
	Keys []INIKey
}

// An INIKey is one key with its value; its Pos is that of the key.
type INIKey struct {
	Pos
	Name  string
	Value string // lines are joined with LF, each without outer blanks

	lines []valueLine
}

// A valueLine says where a line of the value is in the file.
type valueLine struct {
	off int // in Value
	pos Pos
}

// PosAt gives the place of a byte of the value.
func (k *INIKey) PosAt(off int) Pos {
	pos := k.Pos
	for _, l := range k.lines {
		if l.off <= off {
			pos = l.pos
			pos.Col += off - l.off
		}
	}
	return pos
}

// Find gives the first key of that name, nil for none.
func (s *INISection) Find(name string) *INIKey {
	for i := range s.Keys {
		if s.Keys[i].Name == name {
			return &s.Keys[i]
		}
	}
	return nil
}

// ParseINI reads an INI file.
func ParseINI(file string, data []byte, dialect Dialect) (*INI, Problems) {
	p := iniParser{ini: &INI{File: file}, dialect: dialect, seen: map[string]int{}, section: -1}
	for _, l := range textLines(file, data, &p.problems) {
		p.line(Pos{File: file, Line: l.no}, l.text)
	}
	p.flush()
	if dialect.Circus {
		p.applyDefault()
	}
	return p.ini, p.problems
}

type iniParser struct {
	ini      *INI
	dialect  Dialect
	problems Problems
	seen     map[string]int         // section name to its index
	keys     map[int]map[string]int // line of each key of a section, by its index
	section  int                    // index of the current one, -1 for none
	key      *INIKey                // that a further line belongs to; nil for none
	dropped  INIKey                 // where the lines of a repeated key go
	buf      []byte                 // value of key, while lines come
}

func (p *iniParser) line(pos Pos, s string) {
	text := strings.TrimSpace(s)
	switch {
	case text == "":
		return
	case p.isComment(s, text):
		return
	case isBlank(s[0]) && p.key != nil:
		p.more(pos, s, text)
	case isBlank(s[0]) && !p.dialect.Circus:
		p.problems.Add(pos, "", "an indented line continues a value, and there is none before it")
	case text[0] == '[':
		p.header(pos, text)
	default:
		p.assignment(pos, s)
	}
}

func (p *iniParser) isComment(s, text string) bool {
	if !p.dialect.Circus {
		return text[0] == '#' || text[0] == ';'
	}
	word, _, _ := strings.Cut(strings.ReplaceAll(s, "\t", " "), " ")
	return s[0] == '#' || s[0] == ';' || strings.EqualFold(word, "rem")
}

// more adds a further line to the value of the key before it.
func (p *iniParser) more(pos Pos, s, text string) {
	if len(p.buf)+len(text)+1 > MaxLine {
		p.problems.Add(pos, "", "the value of %s has more than %d bytes", p.key.Name, MaxLine)
		return
	}
	if len(p.buf) > 0 || p.dialect.Circus {
		p.buf = append(p.buf, '\n')
	}
	pos.Col = strings.Index(s, text) + 1
	p.key.lines = append(p.key.lines, valueLine{len(p.buf), pos})
	p.buf = append(p.buf, text...)
}

// setKey makes key the one that further lines belong to; nil for none.
func (p *iniParser) setKey(key *INIKey) {
	p.flush()
	if p.key = key; key != nil {
		p.buf = append(p.buf[:0], key.Value...)
	}
}

// flush gives the key before its whole value.
func (p *iniParser) flush() {
	if p.key != nil && len(p.buf) != len(p.key.Value) {
		p.key.Value = string(p.buf)
	}
}

func (p *iniParser) header(pos Pos, text string) {
	p.setKey(nil)
	name, rest, ok := strings.Cut(text[1:], "]")
	if rest = strings.TrimSpace(rest); !ok || rest != "" && !(p.dialect.Circus || isCommentStart(rest)) {
		p.problems.Add(pos, "write [name]", "%.60q is no section", text)
		p.section = -1
		return
	}
	name = strings.TrimSpace(name)
	if i, ok := p.seen[name]; ok {
		p.section = i
		if !p.dialect.Circus {
			p.problems.Add(pos, "write its keys there", "[%s] is in line %d already", name, p.ini.Sections[i].Line)
		}
		return
	}
	p.section = len(p.ini.Sections)
	p.seen[name] = p.section
	p.ini.Sections = append(p.ini.Sections, INISection{Pos: pos, Name: name})
}

func (p *iniParser) assignment(pos Pos, s string) {
	p.setKey(nil)
	i := strings.IndexAny(s, "=:")
	if i < 0 || strings.TrimSpace(s[:i]) == "" {
		p.problems.Add(pos, `write key = value`, "%.60q is no section, key or comment", strings.TrimSpace(s))
		return
	}
	if p.section < 0 {
		p.problems.Add(pos, "write a [section] above it", "%q is in no section", strings.TrimSpace(s[:i]))
		p.setKey(&p.dropped)
		return
	}
	key := INIKey{Pos: pos, Name: strings.TrimSpace(s[:i])}
	value := strings.TrimSpace(p.withoutComment(s[i+1:]))
	pos.Col = i + 2 + len(s[i+1:]) - len(strings.TrimLeft(s[i+1:], " \t"))
	if value == `""` {
		value = ""
	}
	key.Value, key.lines = value, []valueLine{{0, pos}}
	p.add(key)
}

func (p *iniParser) add(key INIKey) {
	sec := &p.ini.Sections[p.section]
	if p.keys == nil {
		p.keys = map[int]map[string]int{}
	}
	if p.keys[p.section] == nil {
		p.keys[p.section] = map[string]int{}
	}
	if line := p.keys[p.section][key.Name]; line > 0 {
		if !p.dialect.Circus {
			p.problems.Add(key.Pos, "delete one of the two", "[%s]: %s is in line %d already", sec.Name, key.Name, line)
		}
		p.dropped = key
		p.setKey(&p.dropped)
		return
	}
	p.keys[p.section][key.Name] = key.Line
	sec.Keys = append(sec.Keys, key)
	p.setKey(&sec.Keys[len(sec.Keys)-1])
}

// withoutComment cuts a value of Circus at the first ";" if a blank is before
// it.
func (p *iniParser) withoutComment(s string) string {
	if i := strings.IndexByte(s, ';'); p.dialect.Circus && i > 0 && isBlank(s[i-1]) {
		return s[:i]
	}
	return s
}

// applyDefault gives the keys of [DEFAULT] to the sections that lack them.
func (p *iniParser) applyDefault() {
	def, ok := p.seen["DEFAULT"]
	if !ok {
		return
	}
	room := 1 << 16 // a hostile file has many sections and many defaults
	for i := range p.ini.Sections {
		sec := &p.ini.Sections[i]
		for _, k := range p.ini.Sections[def].Keys {
			if room--; room < 0 {
				p.problems.Add(sec.Pos, "", "too many sections for so many keys in [DEFAULT]")
				return
			}
			if i != def && p.keys[i][k.Name] == 0 {
				sec.Keys = append(sec.Keys, k)
			}
		}
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func isCommentStart(s string) bool { return s[0] == '#' || s[0] == ';' }
