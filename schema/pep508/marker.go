package pep508

import (
	"strings"
)

// MaxDepth is how deep the parentheses of a marker may nest.
const MaxDepth = 500

// A Marker is a condition on the environment. Its methods may be called from
// many goroutines.
type Marker struct {
	root any // group or comparison
}

// A group is items joined by "or" where any, by "and" otherwise. One that was
// written in parentheses keeps them.
type group struct {
	any   bool
	paren bool
	items []any
}

type comparison struct {
	lhs, rhs operand
	op       string
}

// An operand is a variable or a literal.
type operand struct {
	variable string // "" for a literal
	literal  string
}

// variables maps every spelling to the name of today.
var variables = map[string]string{
	"python_version":                 "python_version",
	"python_full_version":            "python_full_version",
	"os_name":                        "os_name",
	"os.name":                        "os_name",
	"sys_platform":                   "sys_platform",
	"sys.platform":                   "sys_platform",
	"platform_release":               "platform_release",
	"platform_system":                "platform_system",
	"platform_version":               "platform_version",
	"platform.version":               "platform_version",
	"platform_machine":               "platform_machine",
	"platform.machine":               "platform_machine",
	"platform_python_implementation": "platform_python_implementation",
	"platform.python_implementation": "platform_python_implementation",
	"python_implementation":          "platform_python_implementation",
	"implementation_name":            "implementation_name",
	"implementation_version":         "implementation_version",
	"extra":                          "extra",
	"extras":                         "extras",
	"dependency_groups":              "dependency_groups",
}

// ParseMarker reads a marker. The error is an [*Error].
func ParseMarker(s string) (*Marker, error) {
	p := &scanner{s: s}
	p.blanks()
	return p.marker()
}

// marker reads a marker up to the end of the text.
func (p *scanner) marker() (*Marker, error) {
	root, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if p.blanks(); !p.done() {
		return nil, errorAt(p.i, "and, or, or the end must stand here, not %q", p.rest())
	}
	return &Marker{root: root}, nil
}

func (p *scanner) or(depth int) (any, error) {
	return p.joined("or", func() (any, error) {
		return p.joined("and", func() (any, error) { return p.atom(depth) })
	})
}

// joined reads items with word between them. One item alone is no group.
func (p *scanner) joined(word string, item func() (any, error)) (any, error) {
	g := group{any: word == "or"}
	for {
		it, err := item()
		if err != nil {
			return nil, err
		}
		g.items = append(g.items, it)
		p.blanks()
		if !p.word(word) {
			break
		}
	}
	if len(g.items) == 1 {
		return g.items[0], nil
	}
	return g, nil
}

func (p *scanner) atom(depth int) (any, error) {
	p.blanks()
	start := p.i
	if !p.accept("(") {
		return p.comparison()
	}
	if depth == MaxDepth {
		return nil, errorAt(start, "parentheses more than %d deep", MaxDepth)
	}
	inner, err := p.or(depth + 1)
	if err != nil {
		return nil, err
	}
	if p.blanks(); !p.accept(")") {
		return nil, errorAt(p.i, "a closing ) must stand here, not %q", p.rest())
	}
	if g, ok := inner.(group); ok {
		g.paren = true
		return g, nil
	}
	return inner, nil
}

func (p *scanner) comparison() (any, error) {
	var c comparison
	var err error
	if c.lhs, err = p.operand(); err != nil {
		return nil, err
	}
	p.blanks()
	if c.op = p.operator(); c.op == "" {
		return nil, errorAt(p.i, "a comparison must stand here, not %q", p.rest())
	}
	p.blanks()
	if c.rhs, err = p.operand(); err != nil {
		return nil, err
	}
	// The names of extras compare in their normal form.
	if c.lhs.variable == "extra" {
		c.rhs.literal = NormalizeName(c.rhs.literal)
	}
	if c.rhs.variable == "extra" {
		c.lhs.literal = NormalizeName(c.lhs.literal)
	}
	return c, nil
}

// operator reads a comparison operator, "" where there is none.
func (p *scanner) operator() string {
	for _, op := range []string{"===", "==", "~=", "!=", "<=", ">=", "<", ">"} {
		if p.accept(op) {
			return op
		}
	}
	if p.word("in") {
		return "in"
	}
	start := p.i
	if p.word("not") {
		if p.blanks(); p.word("in") {
			return "not in"
		}
	}
	p.i = start
	return ""
}

// word reads one whole word.
func (p *scanner) word(w string) bool {
	if !strings.HasPrefix(p.s[p.i:], w) {
		return false
	}
	if end := p.i + len(w); end < len(p.s) && isWordByte(p.s[end]) {
		return false
	}
	p.i += len(w)
	return true
}

// isWordByte includes what is not ASCII: no word of ours goes on there.
func isWordByte(c byte) bool { return isAlnum(c) || c == '_' || c >= 0x80 }

func (p *scanner) operand() (operand, error) {
	if q := p.peek(); q == '\'' || q == '"' {
		text, err := p.literal(q)
		return operand{literal: text}, err
	}
	start := p.i
	name := p.while(func(c byte) bool { return isWordByte(c) || c == '.' })
	v, ok := variables[name]
	switch {
	case ok:
		return operand{variable: v}, nil
	case name == "":
		return operand{}, errorAt(start, "a marker variable or a quoted string must stand here, not %q", p.rest())
	}
	return operand{}, errorAt(start, "unknown marker variable %q", name)
}

// String gives the marker with double quotes, the variables' names of today and
// no parentheses but those that join several comparisons.
func (m *Marker) String() string {
	var b strings.Builder
	write(&b, m.root, true)
	return b.String()
}

func write(b *strings.Builder, node any, top bool) {
	switch n := node.(type) {
	case comparison:
		b.WriteString(n.lhs.String() + " " + n.op + " " + n.rhs.String())
	case group:
		paren := n.paren && !top
		if paren {
			b.WriteByte('(')
		}
		for i, it := range n.items {
			if i > 0 {
				b.WriteString(map[bool]string{true: " or ", false: " and "}[n.any])
			}
			write(b, it, false)
		}
		if paren {
			b.WriteByte(')')
		}
	}
}

func (o operand) String() string {
	switch {
	case o.variable != "":
		return o.variable
	case strings.Contains(o.literal, `"`):
		return "'" + o.literal + "'"
	}
	return `"` + o.literal + `"`
}
