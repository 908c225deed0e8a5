package pep508

import (
	"strconv"
	"strings"
)

// escapes are Python's, but for those with digits.
var escapes = map[byte]string{
	'\\': `\`, '\'': `'`, '"': `"`, 'a': "\a", 'b': "\b", 'f': "\f",
	'n': "\n", 'r': "\r", 't': "\t", 'v': "\v", '\n': "",
}

// escapeDigits says how many hexadecimal digits follow.
var escapeDigits = map[byte]int{'x': 2, 'u': 4, 'U': 8}

// literal reads a quoted string. Its end is the next quote of the same kind,
// even after a backslash; what is between is a string of Python.
func (p *scanner) literal(quote byte) (string, error) {
	start := p.i
	text, _, ok := strings.Cut(p.s[start+1:], string(quote))
	if !ok {
		return "", errorAt(start, "a string without a closing %c", quote)
	}
	p.i = start + len(text) + 2
	if !strings.Contains(text, `\`) {
		return text, nil
	}
	out, ok := unescape(text)
	if !ok {
		return "", errorAt(start, "a string with a bad escape")
	}
	return out, nil
}

func unescape(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i == len(s) {
			return "", false
		}
		text, n, ok := escape(s[i:])
		if !ok {
			return "", false
		}
		b.WriteString(text)
		i += n - 1
	}
	return b.String(), true
}

// escape reads what follows a backslash and gives its length. An escape that
// Python does not know stands for itself.
func escape(s string) (text string, n int, ok bool) {
	if text, ok := escapes[s[0]]; ok {
		return text, 1, true
	}
	if n := escapeDigits[s[0]]; n > 0 {
		if len(s) < n+1 {
			return "", 0, false
		}
		code, err := strconv.ParseUint(s[1:n+1], 16, 32)
		if err != nil || code > 0x10ffff {
			return "", 0, false
		}
		return string(rune(code)), n + 1, true
	}
	for n < 3 && n < len(s) && s[n] >= '0' && s[n] <= '7' {
		n++
	}
	if n > 0 {
		code, _ := strconv.ParseUint(s[:n], 8, 32)
		return string(rune(code)), n, true
	}
	return `\` + s[:1], 1, s[0] != 'N'
}
