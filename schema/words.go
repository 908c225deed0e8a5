package schema

import (
	"fmt"
	"strings"
)

// A WordError says where a command cannot be split into words.
type WordError struct {
	Offset int // of the byte, from 0
	Msg    string
}

// Error gives the message alone.
func (e *WordError) Error() string { return e.Msg }

// SplitWords splits a command into words as a POSIX shell does: white space
// separates, a backslash and both quotes quote, and nothing else has a meaning
// (no variable, no comment, no operator). The error is a [*WordError].
func SplitWords(s string) ([]string, error) {
	words, err := splitWords(s)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, w := range words {
		out = append(out, w.text)
	}
	return out, nil
}

// A word knows where it begins.
type word struct {
	text string
	off  int
}

func splitWords(s string) ([]word, error) {
	var words []word
	for i := 0; i < len(s); {
		if strings.IndexByte(" \t\r\n", s[i]) >= 0 {
			i++
			continue
		}
		text, end, err := oneWord(s, i)
		if err != nil {
			return nil, err
		}
		words = append(words, word{text, i})
		i = end
	}
	return words, nil
}

// oneWord reads the word that begins at i.
func oneWord(s string, i int) (text string, end int, err error) {
	var b strings.Builder
	for i < len(s) && strings.IndexByte(" \t\r\n", s[i]) < 0 {
		switch c := s[i]; c {
		case '\\':
			if i+1 == len(s) {
				return "", i, &WordError{i, "a backslash at the end of the command"}
			}
			b.WriteByte(s[i+1])
			i += 2
		case '\'', '"':
			part, next := quoted(s, i+1, c)
			if next < 0 {
				return "", i, &WordError{i, fmt.Sprintf("a %c without its closing one", c)}
			}
			b.WriteString(part)
			i = next
		default:
			b.WriteByte(c)
			i++
		}
	}
	return b.String(), i, nil
}

// quoted reads up to the closing quote and gives the index after it, -1 where
// there is none. Within double quotes a backslash quotes itself and the quote.
func quoted(s string, i int, quote byte) (string, int) {
	var b strings.Builder
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c == quote:
			return b.String(), i + 1
		case c == '\\' && quote == '"' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", -1
}
