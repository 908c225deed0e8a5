package schema

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

const (
	// maxTOMLDepth is how deep arrays and tables of a value nest.
	maxTOMLDepth = 32
	// maxTOMLKey is how many parts a dotted key has.
	maxTOMLKey = 16
)

// A tomlFile is a decoded file with the lines of its keys.
type tomlFile struct {
	root  map[string]any
	lines map[string]int // "packages[2].wheels[0]" to its line
}

// parseTOML decodes data. The decoder knows nothing of limits and keeps no
// lines, so a scanner goes over the text first.
func parseTOML(file string, data []byte, ps *Problems) *tomlFile {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if line, why := hiddenText(data); why != "" {
		ps.Add(Pos{File: file, Line: line}, "", "%s", why)
		return nil
	}
	s := tomlScanner{text: string(data), line: 1, lines: map[string]int{}, count: map[string]int{}}
	if why := s.scan(); why != "" {
		ps.Add(Pos{File: file, Line: s.line}, "", "%s", why)
		return nil
	}
	f := &tomlFile{lines: s.lines}
	if _, err := toml.Decode(s.text, &f.root); err != nil {
		at, msg := Pos{File: file}, err.Error()
		var bad toml.ParseError
		if errors.As(err, &bad) {
			at.Line, msg = bad.Position.Line, bad.Message
			if msg == "" {
				msg = strings.TrimPrefix(err.Error(), "toml: ")
			}
		}
		ps.Add(at, "", "the file is no TOML: %s", msg)
		return nil
	}
	return f
}

// hiddenText finds what a reader of the file may not see.
func hiddenText(data []byte) (line int, why string) {
	line = 1
	for i := 0; i < len(data); {
		if data[i] < utf8.RuneSelf {
			if data[i] == '\n' {
				line++
			} else if data[i] != '\r' && isHidden(rune(data[i])) {
				return line, fmt.Sprintf("control character %U", data[i])
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return line, "the line is not UTF-8"
		case isHidden(r):
			return line, fmt.Sprintf("control character %U", r)
		}
		i += n
	}
	return 0, ""
}

// A tomlScanner walks over a file once and takes note of lines. What is no TOML
// it leaves to the decoder, which stops at the latest there.
type tomlScanner struct {
	text  string
	i     int
	line  int
	lines map[string]int
	count map[string]int // how many tables an array has so far
	table string         // the path of the current table
}

// scan returns why the file must not be decoded, "" where it may.
func (s *tomlScanner) scan() string {
	for s.i < len(s.text) {
		var why string
		switch c := s.text[s.i]; {
		case c == '#':
			s.comment()
		case c == '[':
			why = s.header()
		case isSpace(c):
			s.step()
		default:
			why = s.keyValue()
		}
		if why != "" {
			return why
		}
	}
	return ""
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// step goes over one byte.
func (s *tomlScanner) step() {
	if s.text[s.i] == '\n' {
		s.line++
	}
	s.i++
}

func (s *tomlScanner) comment() {
	for s.i < len(s.text) && s.text[s.i] != '\n' {
		s.i++
	}
}

// key reads a dotted key up to one of the bytes in end.
func (s *tomlScanner) key(end string) (parts []string, why string) {
	start := s.i
	flush := func() { parts = append(parts, strings.Trim(s.text[start:s.i], " \t\"'")) }
	for s.i < len(s.text) && s.text[s.i] != '\n' && strings.IndexByte(end, s.text[s.i]) < 0 {
		switch c := s.text[s.i]; c {
		case '"', '\'':
			s.str()
			continue
		case '.':
			flush()
			start = s.i + 1
		}
		if len(parts) >= maxTOMLKey {
			return nil, fmt.Sprintf("a key with more than %d parts", maxTOMLKey)
		}
		s.i++
	}
	flush()
	return parts, ""
}

// header reads [a.b] or [[a.b]].
func (s *tomlScanner) header() string {
	line := s.line
	s.i++
	isArray := strings.HasPrefix(s.text[s.i:], "[")
	if isArray {
		s.i++
	}
	parts, why := s.key("]")
	if why != "" {
		return why
	}
	at := ""
	for i, part := range parts {
		at = join(at, part)
		n, ok := s.count[at]
		switch {
		case isArray && i == len(parts)-1:
			s.count[at] = n + 1
			at += index(n)
		case ok:
			at += index(n - 1)
		}
	}
	s.table = at
	s.lines[at] = line
	s.comment() // the rest of the line
	return ""
}

func join(table, key string) string {
	if table == "" {
		return key
	}
	return table + "." + key
}

func index(n int) string { return "[" + strconv.Itoa(n) + "]" }

// keyValue reads a key and its value, up to the end of the value.
func (s *tomlScanner) keyValue() string {
	line := s.line
	parts, why := s.key("=")
	if why != "" {
		return why
	}
	at := join(s.table, strings.Join(parts, "."))
	s.lines[at] = line
	if s.i >= len(s.text) || s.text[s.i] != '=' {
		return ""
	}
	s.i++
	return s.value(at)
}

// value reads a value and takes note of the elements of an array.
func (s *tomlScanner) value(at string) string {
	depth, dots, n := 0, 0, 0
	isFirst := false // the next byte begins an element of the outer array
	for s.i < len(s.text) {
		c := s.text[s.i]
		if c == '\n' && depth == 0 {
			return ""
		}
		if isFirst && !isSpace(c) && c != '#' && c != ']' {
			s.lines[at+index(n)] = s.line
			isFirst, n = false, n+1
		}
		switch c {
		case '#':
			s.comment()
			continue
		case '"', '\'':
			s.str()
			continue
		case '[', '{':
			if depth++; depth > maxTOMLDepth {
				return fmt.Sprintf("arrays and tables more than %d deep", maxTOMLDepth)
			}
			isFirst = depth == 1 && c == '['
			dots = 0
		case ']', '}':
			depth--
		case ',':
			isFirst = depth == 1 && n > 0
			dots = 0
		case '.':
			if dots++; dots >= maxTOMLKey {
				return fmt.Sprintf("a key with more than %d parts", maxTOMLKey)
			}
		}
		s.step()
	}
	return ""
}

// str goes over a string of any of the four kinds.
func (s *tomlScanner) str() {
	quote := s.text[s.i : s.i+1]
	isLong := strings.HasPrefix(s.text[s.i:], strings.Repeat(quote, 3))
	if isLong {
		quote = strings.Repeat(quote, 3)
	}
	s.i += len(quote)
	for s.i < len(s.text) {
		c := s.text[s.i]
		switch {
		case strings.HasPrefix(s.text[s.i:], quote):
			s.i += len(quote)
			// Up to two quotes more belong to the content.
			for n := 0; isLong && n < 2 && s.i < len(s.text) && s.text[s.i] == quote[0]; n++ {
				s.i++
			}
			return
		case c == '\n' && !isLong:
			return
		case c == '\\' && quote[0] == '"' && s.i+1 < len(s.text):
			s.step()
		}
		s.step()
	}
}
