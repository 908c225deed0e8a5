package pubgrub

import (
	"slices"

	"appbundle/internal/invariant"
)

// A relation is what is known of an incompatibility.
type relation int

const (
	open   relation = iota // nothing follows
	holds                  // all terms are true: a conflict
	almost                 // all but one are true: that one must be false
	cannot                 // a term is false
)

// relate gives the relation and, for almost, the term.
func (s *Solver) relate(inc *Incompatibility) (relation, Term) {
	rel, rest := holds, Term{}
	for _, t := range inc.Terms {
		known := s.acc[t.Pkg]
		switch {
		case known.Within(t.Set):
		case !known.Meets(t.Set):
			return cannot, t
		case rel == holds:
			rel, rest = almost, t
		default:
			rel = open // and look on for a term that is false
		}
	}
	return rel, rest
}

// propagate derives what follows, and solves the conflicts that come up.
func (s *Solver) propagate() error {
	for len(s.dirty) > 0 {
		p := s.dirty[len(s.dirty)-1]
		s.dirty = s.dirty[:len(s.dirty)-1]
		list := s.index[p]
		for i := len(list) - 1; i >= 0; i-- {
			inc := list[i]
			if inc.hidden >= 0 {
				continue
			}
			rel, term := s.relate(inc)
			switch rel {
			case cannot:
				inc.hidden = s.level()
				s.hidden = append(s.hidden, inc)
				continue
			case almost:
				s.assign(term.Pkg, s.Not(term.Pkg, term.Set), inc)
				continue
			case open:
				continue
			}
			learned, ok := s.resolve(inc)
			if !ok {
				return &Conflict{learned}
			}
			rel, term = s.relate(learned)
			invariant.Check(rel == almost, "after a jump back nothing follows from what was learned")
			s.assign(term.Pkg, s.Not(term.Pkg, term.Set), learned)
			break
		}
	}
	return nil
}

// resolve finds why inc holds and jumps back to where something else follows
// from the reason, which it returns. It is false when there is no such place:
// the reason is then that there is no solution.
func (s *Solver) resolve(inc *Incompatibility) (*Incompatibility, bool) {
	original := inc
	for len(inc.Terms) > 0 {
		at, before := -1, -1 // the last satisfier, and the one before it
		var term Term
		for _, t := range inc.Terms {
			i := s.satisfier(t)
			if i > at {
				at, before, term = i, at, t
			} else {
				before = max(before, i)
			}
		}
		a := s.trail[at]
		if a.cause != nil && !a.own.Within(term.Set) {
			before = max(before, s.partner(a, term))
		}
		level := 0
		if before >= 0 {
			level = s.trail[before].level
		}
		if a.cause == nil || level < a.level {
			s.jump(level)
			if inc != original {
				s.learned = append(s.learned, inc)
				s.insert(inc)
				if s.Learned != nil {
					s.Learned(inc)
				}
			}
			s.blame(inc, a.pkg)
			return inc, true
		}
		inc = s.resolvent(inc, a.cause, a.pkg)
	}
	return inc, false
}

// satisfier gives the assignment that made t true.
func (s *Solver) satisfier(t Term) int {
	h := s.hist[t.Pkg]
	i, _ := slices.BinarySearchFunc(h, t.Set, func(at int, set Set) int {
		if s.trail[at].acc.Within(set) {
			return 1
		}
		return -1
	})
	return h[i]
}

// partner gives the assignment before a that makes t true together with it.
func (s *Solver) partner(a assignment, t Term) int {
	h := s.hist[t.Pkg]
	need := t.Set.Or(s.Not(t.Pkg, a.own))
	i, _ := slices.BinarySearchFunc(h, need, func(at int, set Set) int {
		if s.trail[at].acc.Within(set) {
			return 1
		}
		return -1
	})
	return h[i]
}

// resolvent gives what follows from two incompatibilities whatever p is: they
// cannot both be false.
func (s *Solver) resolvent(inc, cause *Incompatibility, p Pkg) *Incompatibility {
	r := &Incompatibility{Cause: inc, Other: cause, hidden: -1}
	for _, t := range inc.Terms {
		for _, u := range cause.Terms {
			if u.Pkg != t.Pkg {
				continue
			}
			if t.Pkg == p {
				t.Set = t.Set.Or(u.Set)
			} else {
				t.Set = t.Set.And(u.Set)
			}
		}
		if !s.all[t.Pkg].Within(t.Set) {
			r.Terms = append(r.Terms, t)
		}
	}
	for _, u := range cause.Terms {
		if !slices.ContainsFunc(inc.Terms, func(t Term) bool { return t.Pkg == u.Pkg }) {
			r.Terms = append(r.Terms, u)
		}
	}
	return r
}

// jump forgets what was decided and derived above a level.
func (s *Solver) jump(level int) {
	if level >= s.level() {
		return
	}
	start := s.starts[level]
	for i := len(s.trail) - 1; i >= start; i-- {
		p := s.trail[i].pkg
		h := s.hist[p][:len(s.hist[p])-1]
		s.hist[p] = h
		if len(h) > 0 {
			s.acc[p] = s.trail[h[len(h)-1]].acc
		} else {
			s.acc[p] = s.all[p]
		}
	}
	s.trail = s.trail[:start]
	s.starts = s.starts[:level]
	s.dirty = s.dirty[:0]
	for n := len(s.hidden); n > 0 && s.hidden[n-1].hidden > level; n = len(s.hidden) {
		s.hidden[n-1].hidden = -1
		s.hidden = s.hidden[:n-1]
	}
	// What follows from one incompatibility alone follows at every level.
	for i := len(s.single) - 1; i >= 0 && s.single[i].level > level; i-- {
		s.single[i].level = level
		s.touch(s.single[i].pkg)
	}
}
