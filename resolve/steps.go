package resolve

import (
	"fmt"
	"strings"

	"appbundle/resolve/internal/pubgrub"
)

// steps derives the contradiction a sentence at a time. A sentence that is not
// used by the next one alone has a number.
func (x *explanation) steps() []string {
	s := steps{x: x, uses: make(map[*pubgrub.Incompatibility]int), at: make(map[*pubgrub.Incompatibility]int), number: make(map[*pubgrub.Incompatibility]int)}
	s.count(x.proof)
	s.write(x.proof)
	return s.lines
}

type steps struct {
	x      *explanation
	uses   map[*pubgrub.Incompatibility]int
	at     map[*pubgrub.Incompatibility]int // index of its line
	number map[*pubgrub.Incompatibility]int
	lines  []string
}

// count counts how often each derived incompatibility is used.
func (s *steps) count(root *pubgrub.Incompatibility) {
	todo := []*pubgrub.Incompatibility{root}
	for len(todo) > 0 {
		inc := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		s.uses[inc]++
		if s.uses[inc] == 1 && inc.Cause != nil {
			todo = append(todo, inc.Cause, inc.Other)
		}
	}
}

// write derives inc after what it needs. A proof may be deep, so this keeps its
// own stack.
func (s *steps) write(root *pubgrub.Incompatibility) {
	stack := []*pubgrub.Incompatibility{root}
	for len(stack) > 0 {
		inc := stack[len(stack)-1]
		if _, done := s.at[inc]; done || inc.Cause == nil {
			stack = stack[:len(stack)-1]
			continue
		}
		ready := true
		// The one that is written last is the one that the sentence follows.
		for _, c := range []*pubgrub.Incompatibility{inc.Cause, inc.Other} {
			if _, done := s.at[c]; !done && c.Cause != nil {
				stack = append(stack, c)
				ready = false
			}
		}
		if ready {
			stack = stack[:len(stack)-1]
			s.sentence(inc)
		}
	}
}

func (s *steps) sentence(inc *pubgrub.Incompatibility) {
	var because []string
	follows := false
	for _, c := range []*pubgrub.Incompatibility{inc.Cause, inc.Other} {
		at, derived := s.at[c]
		switch {
		case !derived:
			because = append(because, s.x.say(c))
		case at == len(s.lines)-1:
			follows = true
		default:
			if s.number[c] == 0 {
				s.number[c] = len(s.number) + 1
				s.lines[at] += fmt.Sprintf(" (%d)", s.number[c])
			}
			because = append(because, fmt.Sprintf("%s (%d)", s.x.say(c), s.number[c]))
		}
	}
	begin := "because "
	if follows {
		begin = "and because "
	}
	s.at[inc] = len(s.lines)
	s.lines = append(s.lines, begin+strings.Join(because, " and ")+", "+s.x.say(inc))
}

// say puts an incompatibility into words.
func (x *explanation) say(inc *pubgrub.Incompatibility) string {
	if l, ok := inc.Fact.(leaf); ok {
		return x.sayLeaf(inc, l)
	}
	var there, not []string
	for _, t := range inc.Terms {
		e := x.world.entities[t.Pkg]
		switch {
		case !t.Set.Has(0):
			there = append(there, x.name(e, t.Set))
		default:
			not = append(not, x.name(e, x.world.solver.Not(t.Pkg, t.Set)))
		}
	}
	switch {
	case len(there)+len(not) == 0:
		return "there is no solution"
	case len(not) == 0 && len(there) == 1:
		return there[0] + " cannot be used"
	case len(not) == 0:
		return strings.Join(there, " and ") + " exclude each other"
	case len(there) == 0:
		return "there must be " + strings.Join(not, " or ")
	}
	return strings.Join(there, " with ") + " requires " + strings.Join(not, " or ")
}

func (x *explanation) name(e entity, set pubgrub.Set) string {
	if e.extra != "" {
		return e.project.name + "[" + e.extra + "]"
	}
	if set = set.Candidates(); set.Empty() {
		return e.project.name + " (no version)"
	}
	return e.project.name + " " + e.project.spell(set)
}

func (x *explanation) sayLeaf(inc *pubgrub.Incompatibility, l leaf) string {
	if l.line != nil {
		return fmt.Sprintf("%s says %q", place(l.line.Pos), l.line.Text)
	}
	p := x.world.projects[l.name]
	for _, t := range inc.Terms {
		if t.Pkg == p.pkg {
			return x.fact(&claim{l, t.Set}).Text
		}
	}
	return x.fact(&claim{l, p.fit(nil)}).Text
}
