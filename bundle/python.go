package bundle

import "strings"

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
// text at all, and it never fails.
func scanPython(src string) []token {
	s := &pyScanner{src: strings.TrimPrefix(src, "\ufeff"), line: 1}
	for s.pos < len(s.src) {
		s.next()
	}
	s.endLine()
	return s.tokens
}

type pyScanner struct {
	src    string
	pos    int
	line   int
	depth  int // of brackets
	indent int
	begun  bool // the logical line has a token
	tokens []token
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
	for s.pos < len(s.src) {
		switch c := s.src[s.pos]; {
		case strings.HasPrefix(s.src[s.pos:], mark):
			s.pos += len(mark)
			return
		case c == '\\' && s.pos+1 < len(s.src):
			if s.src[s.pos+1] == '\n' {
				s.line++
			}
			s.pos += 2
		case c == '\n' && len(mark) == 1:
			return // not closed: a mistake that ends with its line
		default:
			if c == '\n' {
				s.line++
			}
			s.pos++
		}
	}
}

// name reads a name or a number; a prefix of a string is part of the string.
func (s *pyScanner) name() {
	start := s.pos
	for s.pos < len(s.src) && isNameByte(s.src[s.pos]) {
		s.pos++
	}
	word := s.src[start:s.pos]
	if s.pos < len(s.src) && (s.src[s.pos] == '"' || s.src[s.pos] == '\'') && isStringPrefix(word) {
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
	case c == '(' || c == '[' || c == '{':
		s.add(text)
		s.depth++
		s.pos++
		return
	case c == ')' || c == ']' || c == '}':
		s.depth = max(s.depth-1, 0)
	case len(rest) > 1 && rest[1] == '=' && strings.IndexByte("=!<>:+-*/%@&|^", c) >= 0:
		text = rest[:2]
	}
	s.add(text)
	s.pos += len(text)
}

func isNameByte(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80
}

func isStringPrefix(word string) bool {
	return len(word) <= 2 && strings.Trim(strings.ToLower(word), "bfrtu") == ""
}
