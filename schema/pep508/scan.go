package pep508

import "strings"

// A scanner walks over the text; i is the next byte.
type scanner struct {
	s string
	i int
}

func (p *scanner) blanks() {
	for p.i < len(p.s) && (p.s[p.i] == ' ' || p.s[p.i] == '\t') {
		p.i++
	}
}

func (p *scanner) done() bool { return p.i == len(p.s) }

// peek gives the next byte, 0 at the end.
func (p *scanner) peek() byte {
	if p.done() {
		return 0
	}
	return p.s[p.i]
}

func (p *scanner) accept(lit string) bool {
	if !strings.HasPrefix(p.s[p.i:], lit) {
		return false
	}
	p.i += len(lit)
	return true
}

// while reads bytes of a class.
func (p *scanner) while(class func(byte) bool) string {
	start := p.i
	for p.i < len(p.s) && class(p.s[p.i]) {
		p.i++
	}
	return p.s[start:p.i]
}

// identifier reads a name, "" where there is none. A "-" or "." at the end is
// no part of it.
func (p *scanner) identifier() string {
	if !isAlnum(p.peek()) {
		return ""
	}
	start := p.i
	p.while(isNameByte)
	for p.s[p.i-1] == '-' || p.s[p.i-1] == '.' {
		p.i--
	}
	return p.s[start:p.i]
}

// rest quotes what follows, for a message.
func (p *scanner) rest() string {
	s := p.s[p.i:]
	if len(s) > 40 {
		s = s[:37] + "..."
	}
	return s
}
