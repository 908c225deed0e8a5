package pypi

import (
	"encoding/json"
	"strconv"
	"strings"
)

// A scanner reads JSON of the shape that indexes send, without a copy of any
// text. It reads less than there is: after anything that it does not expect,
// bad is set, and encoding/json has to tell what that means.
type scanner struct {
	s     string
	i     int
	depth int
	bad   bool
}

// maxDepth is deeper than any page.
const maxDepth = 32

// Kinds of bytes.
const (
	inText    = 1 << iota // stands for itself in a text of JSON
	inKey                 // is in the names of the fields of a page
	inPath                // stands for itself in the path of a URL
	isHex                 // a hexadecimal digit
	isCapital             // a capital letter
	isBlank               // means nothing between the values of JSON
)

var kinds = func() (t [256]uint8) {
	for c := range t {
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			t[c] |= inText
		}
		digit, small, capital := c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z'
		if small || digit || c == '-' || c == '_' {
			t[c] |= inKey
		}
		if small || digit || capital || c == '/' || c == '.' || c == '_' || c == '-' {
			t[c] |= inPath
		}
		if digit || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' {
			t[c] |= isHex
		}
		if capital {
			t[c] |= isCapital
		}
	}
	for _, c := range " \t\r\n" {
		t[c] |= isBlank
	}
	return t
}()

// peek gives the next byte that is no blank, 0 at the end.
func (r *scanner) peek() byte {
	for r.i < len(r.s) {
		if c := r.s[r.i]; kinds[c]&isBlank == 0 {
			return c
		}
		r.i++
	}
	return 0
}

// is takes the byte c where it comes next.
func (r *scanner) is(c byte) bool {
	if r.bad || r.peek() != c {
		return false
	}
	r.i++
	return true
}

// need takes the byte c, which has to come next.
func (r *scanner) need(c byte) {
	if !r.is(c) {
		r.bad = true
	}
}

// word takes a word such as true, where it comes next.
func (r *scanner) word(w string) bool {
	r.peek()
	if r.bad || !strings.HasPrefix(r.s[r.i:], w) {
		return false
	}
	r.i += len(w)
	return true
}

// quoted reads a text. One with an escape or beyond ASCII costs more.
func (r *scanner) quoted() string {
	r.need('"')
	start, plain := r.i, true
	for i := start; !r.bad && i < len(r.s); i++ {
		c := r.s[i]
		if kinds[c]&inText != 0 {
			continue
		}
		if c == '"' {
			r.i = i + 1
			if plain {
				return r.s[start:i]
			}
			var text string
			r.bad = json.Unmarshal([]byte(r.s[start-1:r.i]), &text) != nil
			return text
		}
		plain = false
		if c == '\\' {
			i++
		}
	}
	r.bad = true
	return ""
}

// text reads a text into to; null leaves it as it is.
func (r *scanner) text(to *string) {
	if !r.word("null") {
		*to = r.quoted()
	}
}

// size reads a whole number into to; null leaves it as it is.
func (r *scanner) size(to *int64) {
	if r.word("null") {
		return
	}
	r.peek()
	start := r.i
	for r.i < len(r.s) && r.s[r.i] >= '0' && r.s[r.i] <= '9' {
		r.i++
	}
	digits := r.s[start:r.i]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || digits[0] == '0' && len(digits) > 1 {
		r.bad = true
	}
	*to = n
}

// object calls field for every field of an object; field reads the value. Where
// there is null, there are no fields.
func (r *scanner) object(field func(key string)) {
	if r.word("null") {
		return
	}
	r.need('{')
	if r.is('}') {
		return
	}
	for !r.bad {
		key := r.quoted()
		for i := range len(key) {
			if kinds[key[i]]&inKey == 0 {
				r.bad = true // encoding/json ignores case
			}
		}
		r.need(':')
		field(key)
		if r.is('}') {
			return
		}
		r.need(',')
	}
}

// array calls element for every element of an array, which reads it. Where
// there is null, there are none.
func (r *scanner) array(element func()) {
	if r.word("null") {
		return
	}
	r.need('[')
	if r.is(']') {
		return
	}
	for !r.bad {
		element()
		if r.is(']') {
			return
		}
		r.need(',')
	}
}

// skip passes over any value.
func (r *scanner) skip() {
	if r.depth++; r.depth > maxDepth {
		r.bad = true
	}
	switch c := r.peek(); {
	case r.bad:
	case c == '{':
		r.object(func(string) { r.skip() })
	case c == '[':
		r.array(r.skip)
	case c == '"':
		r.quoted()
	case c >= '0' && c <= '9':
		var n int64
		r.size(&n)
	default:
		r.bad = !r.word("true") && !r.word("false") && !r.word("null")
	}
	r.depth--
}

// end reports whether all was read and understood.
func (r *scanner) end() bool { return r.peek() == 0 && r.i == len(r.s) && !r.bad }
