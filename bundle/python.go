package bundle

import (
	"fmt"
	"strings"
)

// A token is one word of Python source: a name, an operator of one character
// (":=", "==" and their kind are one token too, so that they are not taken for
// "="), a string or a number (text ""), or the end of a logical line ("\n").
type token struct {
	text   string
	line   int
	indent int // of the logical line it stands on
}

// scanPython splits source into tokens. It knows strings, comments, brackets
// and continuations, and nothing of the grammar: what it is given may be any
// text at all, and it never fails. broken says of the first bracket or string that
// cannot be right what is wrong, and "" where there is none or nobody can tell.
func scanPython(src string) (tokens []token, broken string, line int) {
	s := &pyScanner{src: strings.TrimPrefix(src, "\ufeff"), line: 1}
	for s.pos < len(s.src) {
		s.next()
	}
	s.endLine()
	if n := len(s.open); n > 0 {
		s.breaks(s.open[n-1].line, "%s is never closed", s.open[n-1].text)
	}
	return s.tokens, s.broken, s.brokenLine
}

type pyScanner struct {
	src    string
	pos    int
	line   int
	depth  int // of brackets
	open   []token
	indent int
	begun  bool // the logical line has a token
	tokens []token

	formatted  bool // the string that comes next is an f-string
	unsure     bool // there is an f-string with its own quotes inside, as Python 3.12 allows
	broken     string
	brokenLine int
}

// breaks takes note of the first thing that cannot be right.
func (s *pyScanner) breaks(line int, format string, args ...any) {
	if s.broken == "" && !s.unsure {
		s.broken, s.brokenLine = fmt.Sprintf(format, args...), line
	}
}

func (s *pyScanner) add(text string) {
	s.tokens = append(s.tokens, token{text, s.line, s.indent})
	s.begun = true
}

func (s *pyScanner) endLine() {
	if s.begun {
		s.tokens = append(s.tokens, token{"\n", s.line, s.indent})
	}
	s.begun, s.indent = false, 0
}

func (s *pyScanner) next() {
	switch c := s.src[s.pos]; {
	case c == '\n':
		if s.depth == 0 {
			s.endLine()
		}
		s.line++
		s.pos++
	case c == ' ' || c == '\t' || c == '\r' || c == '\f':
		s.blank(c)
	case c == '#':
		if n := strings.IndexByte(s.src[s.pos:], '\n'); n >= 0 {
			s.pos += n
		} else {
			s.pos = len(s.src)
		}
	case c == '\\' && s.continued():
	case c == '"' || c == '\'':
		s.str(c)
	case isNameByte(c):
		s.name()
	default:
		s.operator(c)
	}
}

// blank counts the indentation of a line that has not begun; a tab goes to
// the next multiple of eight, as in Python.
func (s *pyScanner) blank(c byte) {
	s.pos++
	if s.begun || s.depth > 0 {
		return
	}
	switch c {
	case ' ':
		s.indent++
	case '\t':
		s.indent = (s.indent/8 + 1) * 8
	case '\f':
		s.indent = 0
	}
}

// continued skips a backslash at the end of a line.
func (s *pyScanner) continued() bool {
	rest := strings.TrimPrefix(s.src[s.pos+1:], "\r")
	if !strings.HasPrefix(rest, "\n") {
		return false
	}
	s.pos = len(s.src) - len(rest) + 1
	s.line++
	return true
}

func (s *pyScanner) str(q byte) {
	s.add("")
	mark := string(q)
	if strings.HasPrefix(s.src[s.pos:], strings.Repeat(mark, 3)) {
		mark = strings.Repeat(mark, 3)
	}
	s.pos += len(mark)
	start, line := s.pos, s.line
	for s.pos < len(s.src) {
		switch c := s.src[s.pos]; {
		case strings.HasPrefix(s.src[s.pos:], mark):
			s.endStr(start)
			s.pos += len(mark)
			return
		case c == '\\' && s.pos+1 < len(s.src):
			if strings.HasPrefix(s.src[s.pos+1:], "\r\n") {
				s.pos++
			}
			if s.src[s.pos+1] == '\n' {
				s.line++
			}
			s.pos += 2
		case c == '\n' && len(mark) == 1:
			s.endStr(start)
			s.breaks(line, "a string is not closed on its line")
			return // a mistake that ends with its line
		default:
			if c == '\n' {
				s.line++
			}
			s.pos++
		}
	}
	s.endStr(start)
	s.breaks(line, "a string is never closed")
}

// endStr looks at a string that began at start: when it ends inside of a brace, the
// quote was one of an expression, and what follows is not what it looks like.
func (s *pyScanner) endStr(start int) {
	body := s.src[start:min(s.pos, len(s.src))]
	s.unsure = s.unsure || s.formatted && strings.Count(body, "{") != strings.Count(body, "}")
	s.formatted = false
}

// name reads a name or a number; a prefix of a string is part of the string.
func (s *pyScanner) name() {
	start := s.pos
	for s.pos < len(s.src) && isNameByte(s.src[s.pos]) {
		s.pos++
	}
	word := s.src[start:s.pos]
	if s.pos < len(s.src) && (s.src[s.pos] == '"' || s.src[s.pos] == '\'') && isStringPrefix(word) {
		s.formatted = strings.ContainsAny(word, "fFtT")
		return
	}
	if word[0] >= '0' && word[0] <= '9' {
		word = ""
	}
	s.add(word)
}

func (s *pyScanner) operator(c byte) {
	text := string(c)
	switch rest := s.src[s.pos:]; {
	case !s.begun && s.depth == 0 && (strings.HasPrefix(rest, "<<<<<<< ") || strings.HasPrefix(rest, ">>>>>>> ")):
		if s.broken == "" {
			s.broken, s.brokenLine = "a merge conflict is not resolved", s.line
		}
	case c == '(' || c == '[' || c == '{':
		s.add(text)
		s.open = append(s.open, s.tokens[len(s.tokens)-1])
		s.depth++
		s.pos++
		return
	case c == ')' || c == ']' || c == '}':
		s.depth = max(s.depth-1, 0)
		s.close(c)
	case len(rest) > 1 && rest[1] == '=' && strings.IndexByte("=!<>:+-*/%@&|^", c) >= 0:
		text = rest[:2]
	}
	s.add(text)
	s.pos += len(text)
}

// close compares a closing bracket with the one that is open.
func (s *pyScanner) close(c byte) {
	n := len(s.open)
	if n == 0 {
		s.breaks(s.line, "a %c closes nothing", c)
		return
	}
	want := map[string]byte{"(": ')', "[": ']', "{": '}'}[s.open[n-1].text]
	if c != want {
		s.breaks(s.line, "a %c closes the %s of line %d", c, s.open[n-1].text, s.open[n-1].line)
	}
	s.open = s.open[:n-1]
}

func isNameByte(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80
}

func isStringPrefix(word string) bool {
	return len(word) <= 2 && strings.Trim(strings.ToLower(word), "bfrtu") == ""
}
