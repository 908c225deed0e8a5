package fetch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// A netrcEntry is what a netrc file says of one host.
type netrcEntry struct {
	machine, login, password string
}

// maxNetrc is the size of the largest netrc file, in bytes.
const maxNetrc = 1 << 20

// readNetrc reads the entries of a netrc file; one that is missing has none.
func readNetrc(file string) ([]netrcEntry, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("netrc: %w", err)
	}
	entries, err := parseNetrc(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return entries, nil
}

// parseNetrc reads the entries with a name. No message quotes the text.
func parseNetrc(text string) ([]netrcEntry, error) {
	if len(text) > maxNetrc {
		return nil, fmt.Errorf("the file has %d bytes, more than %d", len(text), maxNetrc)
	}
	s := netrcScanner{text: text, line: 1}
	var entries []netrcEntry
	var e *netrcEntry // the entry that is being read; one without a name counts for nothing
	for {
		word, ok := s.word()
		if !ok {
			return entries, nil
		}
		switch word {
		case "default":
			e = new(netrcEntry)
		case "macdef":
			s.skipMacro()
		case "machine", "login", "password", "account":
			value, ok := s.word()
			if !ok {
				return nil, fmt.Errorf("line %d: %s needs a value", s.line, word)
			}
			if word == "machine" {
				entries = append(entries, netrcEntry{machine: value})
				e = &entries[len(entries)-1]
				continue
			}
			if e == nil {
				return nil, fmt.Errorf("line %d: %s comes before any machine", s.line, word)
			}
			switch word {
			case "login":
				e.login = value
			case "password":
				e.password = value
			}
		default:
			return nil, fmt.Errorf("line %d: a word that is none of machine, default, login, password, account and macdef", s.line)
		}
	}
}

// A netrcScanner gives the words of a netrc file.
type netrcScanner struct {
	text string
	i    int
	line int
}

func (s *netrcScanner) peek() byte {
	if s.i == len(s.text) {
		return 0
	}
	return s.text[s.i]
}

func (s *netrcScanner) next() byte {
	c := s.text[s.i]
	s.i++
	if c == '\n' {
		s.line++
	}
	return c
}

const netrcSpace = " \t\r\n"

// word gives the next word, without its quotes. A "#" where a word would begin
// starts a comment, but for a password, which may begin with one: a comment has
// a blank or nothing after it.
func (s *netrcScanner) word() (string, bool) {
	for {
		for s.i < len(s.text) && strings.IndexByte(netrcSpace, s.peek()) >= 0 {
			s.next()
		}
		if s.i == len(s.text) {
			return "", false
		}
		if s.peek() != '#' || s.i+1 < len(s.text) && strings.IndexByte(netrcSpace, s.text[s.i+1]) < 0 {
			break
		}
		s.skipLine()
	}
	if s.peek() == '"' {
		return s.quoted(), true
	}
	start := s.i
	for s.i < len(s.text) && strings.IndexByte(netrcSpace, s.peek()) < 0 {
		s.next()
	}
	return s.text[start:s.i], true
}

// quoted reads to the closing quote; a backslash takes the meaning of what
// follows.
func (s *netrcScanner) quoted() string {
	var b strings.Builder
	for s.next(); s.i < len(s.text); {
		c := s.next()
		if c == '"' {
			break
		}
		if c == '\\' && s.i < len(s.text) {
			c = s.next()
		}
		b.WriteByte(c)
	}
	return b.String()
}

func (s *netrcScanner) skipLine() {
	for s.i < len(s.text) && s.next() != '\n' {
	}
}

// skipMacro goes to the line after the next empty one.
func (s *netrcScanner) skipMacro() {
	s.skipLine()
	for s.i < len(s.text) {
		start := s.i
		s.skipLine()
		if strings.Trim(s.text[start:s.i], netrcSpace) == "" {
			return
		}
	}
}
