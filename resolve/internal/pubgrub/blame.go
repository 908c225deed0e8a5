package pubgrub

// blame counts a conflict: p was rejected, and the other packages that were
// decided are to blame. One that reaches the threshold gets its mark.
func (s *Solver) blame(inc *Incompatibility, p Pkg) {
	if len(inc.Terms) < 2 {
		return
	}
	m := &s.marks[p]
	m.rejected++
	if m.rejected >= threshold && !m.early && !m.late {
		m.early = true
	}
	for _, t := range inc.Terms {
		if t.Pkg == p {
			continue
		}
		m := &s.marks[t.Pkg]
		m.blamed++
		if m.blamed < threshold || m.early || m.late {
			continue
		}
		m.late = true
		if h := s.hist[t.Pkg]; s.Decided(t.Pkg) != 0 {
			if level := s.trail[h[len(h)-1]].level - 1; !s.restart || level < s.jumpTo {
				s.restart, s.jumpTo = true, level
			}
		}
	}
}

// jumpBack goes to where the marks want it, and looks at everything that was
// learned.
func (s *Solver) jumpBack() {
	s.jump(s.jumpTo)
	s.restart = false
	for _, inc := range s.learned {
		for _, t := range inc.Terms {
			s.touch(t.Pkg)
		}
	}
}

// An implication is what merged incompatibilities have in common.
type implication struct {
	p      Pkg
	detail string
}

// Imply adds that p, being one of set, makes the other terms impossible, as Add
// does. What was added before with the same p and detail is merged with it: the
// other terms are the same then.
func (s *Solver) Imply(fact any, detail string, p Pkg, set Set, others ...Term) {
	key := implication{p, detail}
	if old := s.merged[key]; old != nil {
		for _, t := range old.Terms {
			if t.Pkg == p {
				set = set.Or(t.Set)
			}
		}
		s.remove(old)
	}
	if s.merged == nil {
		s.merged = make(map[implication]*Incompatibility)
	}
	s.merged[key] = s.Add(fact, append([]Term{{p, set}}, others...)...)
}
