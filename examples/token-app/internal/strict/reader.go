package strict

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// A reader reads JSON in one pass. Its text is UTF-8; strings without escapes are
// parts of it.
type reader struct {
	text string
	at   int
}

// next is the byte that is read next, or 0 at the end.
func (r *reader) next() byte {
	if r.at < len(r.text) {
		return r.text[r.at]
	}
	return 0
}

// wrong is about the byte that is read next.
func (r *reader) wrong() error {
	if r.at >= len(r.text) {
		return io.ErrUnexpectedEOF
	}
	c, _ := utf8.DecodeRuneInString(r.text[r.at:])
	return fmt.Errorf("invalid character %q", c)
}

// space skips what may stand between tokens.
func (r *reader) space() {
	for strings.IndexByte(" \t\r\n", r.next()) >= 0 {
		r.at++
	}
}

// value reads a value and the space in front of it.
func (r *reader) value(depth int) (any, error) {
	r.space()
	switch c := r.next(); c {
	case '{', '[':
		if depth == maxDepth {
			return nil, fmt.Errorf("it is deeper than %d levels", maxDepth)
		}
		r.at++
		if c == '{' {
			return r.object(depth + 1)
		}
		return r.array(depth + 1)
	case '"':
		return r.string()
	case 't':
		return true, r.word("true")
	case 'f':
		return false, r.word("false")
	case 'n':
		return nil, r.word("null")
	}
	return r.number()
}

func (r *reader) object(depth int) (any, error) {
	o := Object{}
	for more := !r.ends('}'); more; {
		r.space()
		if r.next() != '"' {
			return nil, r.wrong()
		}
		name, err := r.string()
		if err != nil {
			return nil, err
		}
		if _, twice := o[name]; twice {
			return nil, fmt.Errorf("the name %.40q is there twice", name)
		}
		if r.space(); r.next() != ':' {
			return nil, r.wrong()
		}
		r.at++
		if o[name], err = r.value(depth); err != nil {
			return nil, err
		}
		if more, err = r.another('}'); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func (r *reader) array(depth int) (any, error) {
	out := []any{}
	for more := !r.ends(']'); more; {
		v, err := r.value(depth)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		if more, err = r.another(']'); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ends reads the end of an object or an array, if it is what comes.
func (r *reader) ends(end byte) bool {
	r.space()
	if r.next() == end {
		r.at++
		return true
	}
	return false
}

// another reads what stands behind a member: a comma, or the end.
func (r *reader) another(end byte) (bool, error) {
	if r.ends(end) {
		return false, nil
	}
	if r.next() != ',' {
		return false, r.wrong()
	}
	r.at++
	return true, nil
}

func (r *reader) word(w string) error {
	for i := range len(w) {
		if r.next() != w[i] {
			return r.wrong()
		}
		r.at++
	}
	return nil
}

// number reads a number, and leaves it as it is written.
func (r *reader) number() (any, error) {
	begin := r.at
	if r.next() == '-' {
		r.at++
	}
	if r.next() == '0' {
		r.at++
	} else if !r.digits() {
		return nil, r.wrong()
	}
	if r.next() == '.' {
		r.at++
		if !r.digits() {
			return nil, r.wrong()
		}
	}
	if c := r.next(); c == 'e' || c == 'E' {
		r.at++
		if c := r.next(); c == '+' || c == '-' {
			r.at++
		}
		if !r.digits() {
			return nil, r.wrong()
		}
	}
	return json.Number(r.text[begin:r.at]), nil
}

// digits reads one digit at least.
func (r *reader) digits() bool {
	begin := r.at
	for c := r.next(); '0' <= c && c <= '9'; c = r.next() {
		r.at++
	}
	return r.at > begin
}

var errSurrogate = errors.New("a string has half a surrogate pair, or U+FFFD")

// string reads a string, of which the first quote comes next.
func (r *reader) string() (string, error) {
	r.at++
	begin, escaped := r.at, false
	for ; ; r.at++ {
		switch c := r.next(); {
		case c == '"':
			s := r.text[begin:r.at]
			r.at++
			if escaped {
				return unescape(s)
			}
			if strings.Contains(s, string(utf8.RuneError)) {
				return "", errSurrogate
			}
			return s, nil
		case c == '\\':
			escaped = true
			r.at++ // what is escaped is no end
			if r.next() < ' ' {
				return "", r.wrong()
			}
		case c < ' ': // the end of the text, too
			return "", r.wrong()
		}
	}
}

// escapes has what stands behind a backslash, but for u.
var escapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unescape reads a string that has escapes.
func unescape(s string) (string, error) {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '\\')
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		s = s[i+1:]
		if c, ok := escapes[s[0]]; ok {
			b.WriteByte(c)
			s = s[1:]
			continue
		}
		c, rest, err := unicode(s)
		if err != nil {
			return "", err
		}
		if utf16.IsSurrogate(c) && strings.HasPrefix(rest, `\`) {
			var low rune
			if low, rest, err = unicode(rest[1:]); err != nil {
				return "", err
			}
			c = utf16.DecodeRune(c, low)
		}
		b.WriteRune(c) // half a pair becomes U+FFFD
		s = rest
	}
	if strings.Contains(b.String(), string(utf8.RuneError)) {
		return "", errSurrogate
	}
	return b.String(), nil
}

// unicode reads uXXXX.
func unicode(s string) (rune, string, error) {
	if len(s) < 5 || s[0] != 'u' {
		return 0, "", errors.New("invalid character in an escape")
	}
	n, err := strconv.ParseUint(s[1:5], 16, 16)
	if err != nil {
		return 0, "", errors.New("invalid character in an escape")
	}
	return rune(n), s[5:], nil
}
