// Package pubgrub chooses one candidate of each package that must be there, so
// that no incompatibility holds. It knows neither versions nor Python.
//
// A package is a number of candidates. What is known of it is a [Set] of what
// it still can be, "not there" included: so "must be there" and "is none of
// these" are sets as well, and every deduction is a plain operation on sets.
//
// An [Incompatibility] is a list of terms of which not all may be true. Those
// that the caller adds carry a fact of the caller's; those that are derived
// name the two that they were derived from, and so a conflict is its own proof.
//
// # Algorithm
//
// PubGrub: unit propagation, newest incompatibilities first; a decision when
// nothing follows any more; at a conflict, resolution of the incompatibility
// with the causes of its satisfiers until a jump back to an earlier decision
// makes something follow from it. One accumulated set is kept for a package and
// assignment, so that a satisfier is found by binary search. An incompatibility
// that cannot become true before a jump back is skipped until then.
// Incompatibilities about one package that differ only in its candidates are
// merged ([Solver.Imply]).
//
// Packages are decided in this order: those that the [Source] puts first, those
// with one candidate left, those that were often rejected, others in the order of
// their creation, those that were often to blame. A package that gets such a
// mark makes the solver jump back to before the decision that is to blame.
//
// # Limits
//
// None of its own: the caller ends it by the context, or by an error of the
// Source. One goroutine uses a Solver.
package pubgrub

import (
	"context"
	"slices"

	"appbundle/internal/invariant"
)

// A Pkg is a package of one Solver.
type Pkg int

// A Term says that a package is one of a set.
type Term struct {
	Pkg Pkg
	Set Set
}

// An Incompatibility says that its terms are not all true. It never changes.
type Incompatibility struct {
	Terms []Term // each of another package
	// Fact is the caller's, of what the caller added; for others the two causes
	// are not nil.
	Fact         any
	Cause, Other *Incompatibility

	// hidden is the decision level at which a term became false, -1 for none.
	hidden int
}

// A Source says what the packages are. Its methods may create packages and add
// incompatibilities.
type Source interface {
	// Order says when a package that must be there may be decided.
	Order(p Pkg) Order
	// Choose picks one of the candidates that are allowed; there is one.
	Choose(p Pkg, allowed Set) int
	// Expand adds what holds if p is that candidate. An error ends the run.
	Expand(ctx context.Context, p Pkg, candidate int) error
}

// An Order says when a package may be decided.
type Order int

// The orders.
const (
	Later  Order = iota // not now: another package has to be decided before
	Normal              // after those that come first
	First
)

// A Conflict is the answer that there is no solution. The incompatibility has
// no terms.
type Conflict struct{ Incompatibility *Incompatibility }

// Error says no more than that.
func (*Conflict) Error() string { return "no solution" }

// threshold is how many conflicts a package has before it is decided earlier,
// or later.
const threshold = 5

// A Solver holds what is known. The zero Solver has no packages.
type Solver struct {
	Source Source
	// Learned sees each derived incompatibility that is kept, for tests.
	Learned func(*Incompatibility)

	all   []Set                // everything that a package can be
	acc   []Set                // what it still can be
	hist  [][]int              // assignments of a package, as indexes of trail
	index [][]*Incompatibility // by package
	marks []mark

	trail  []assignment
	starts []int // of the decision levels from 1, in trail
	hidden []*Incompatibility
	dirty  []Pkg
	// single are the packages with an incompatibility of their own, by the level
	// at which what follows from it was derived.
	single  []levelled
	learned []*Incompatibility
	fresh   []*Incompatibility // added since a decision was begun
	merged  map[implication]*Incompatibility
	// impossible is an incompatibility without terms, nil for none.
	impossible *Incompatibility
	restart    bool // a mark was set: jump to level jumpTo
	jumpTo     int
}

type assignment struct {
	pkg   Pkg
	level int
	own   Set // what this one says
	acc   Set // what is known with it
	cause *Incompatibility
}

type mark struct {
	rejected, blamed int
	early, late      bool
}

type levelled struct {
	pkg   Pkg
	level int
}

// AddPackage creates a package.
func (s *Solver) AddPackage(candidates int) Pkg {
	p := Pkg(len(s.all))
	all := fill(candidates)
	s.all = append(s.all, all)
	s.acc = append(s.acc, all)
	s.hist = append(s.hist, nil)
	s.index = append(s.index, nil)
	s.marks = append(s.marks, mark{})
	return p
}

// Not gives what p can be and is not in set.
func (s *Solver) Not(p Pkg, set Set) Set { return s.all[p].Minus(set) }

// Known gives what p still can be.
func (s *Solver) Known(p Pkg) Set { return s.acc[p] }

// Decided gives the candidate that p was decided to be, 0 for none.
func (s *Solver) Decided(p Pkg) int {
	if h := s.hist[p]; len(h) > 0 && s.trail[h[len(h)-1]].cause == nil {
		return s.acc[p].Max()
	}
	return 0
}

// Add adds that not all terms are true. Terms that always are are left out.
func (s *Solver) Add(fact any, terms ...Term) *Incompatibility {
	inc := &Incompatibility{Fact: fact, hidden: -1}
	for _, t := range terms {
		if !s.all[t.Pkg].Within(t.Set) {
			inc.Terms = append(inc.Terms, t)
		}
	}
	s.fresh = append(s.fresh, inc)
	s.insert(inc)
	return inc
}

func (s *Solver) insert(inc *Incompatibility) {
	for _, t := range inc.Terms {
		s.index[t.Pkg] = append(s.index[t.Pkg], inc)
	}
	switch len(inc.Terms) {
	case 0:
		s.impossible = inc
	case 1:
		s.single = append(s.single, levelled{inc.Terms[0].Pkg, s.level()})
		s.touch(inc.Terms[0].Pkg)
	}
}

func (s *Solver) remove(inc *Incompatibility) {
	for _, t := range inc.Terms {
		list := s.index[t.Pkg]
		if i := slices.Index(list, inc); i >= 0 {
			s.index[t.Pkg] = slices.Delete(list, i, i+1)
		}
	}
}

func (s *Solver) level() int { return len(s.starts) }

func (s *Solver) touch(p Pkg) {
	if !slices.Contains(s.dirty, p) {
		s.dirty = append(s.dirty, p)
	}
}

// Solve decides until nothing is left to decide. A *Conflict says that there is
// no solution.
func (s *Solver) Solve(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if s.impossible != nil {
			return &Conflict{s.impossible}
		}
		if err := s.propagate(); err != nil {
			return err
		}
		if s.restart {
			s.jumpBack()
			continue
		}
		p, ok := s.next()
		if !ok {
			return nil
		}
		if err := s.decide(ctx, p); err != nil {
			return err
		}
	}
}

// Result gives what a package is after Solve: a candidate, 0 for "not there".
func (s *Solver) Result(p Pkg) int {
	if s.acc[p].Has(0) {
		return 0
	}
	return s.acc[p].Max()
}

// decide makes p one of its candidates, unless what the Source adds says that
// this cannot be.
func (s *Solver) decide(ctx context.Context, p Pkg) error {
	c := s.Source.Choose(p, s.acc[p])
	invariant.Check(c > 0 && s.acc[p].Has(c), "candidate %d of package %d is not allowed", c, p)
	s.fresh = s.fresh[:0]
	if err := s.Source.Expand(ctx, p, c); err != nil {
		return err
	}
	level := s.level()
	if err := s.propagate(); err != nil {
		return err
	}
	if s.level() != level || !s.acc[p].Has(c) || s.restart {
		return nil
	}
	own := make(Set, len(s.all[p]))
	own.Put(c)
	for _, inc := range s.fresh {
		if s.rejects(inc, p, own) {
			s.blame(inc, p)
			s.touch(p)
			return nil
		}
	}
	s.starts = append(s.starts, len(s.trail))
	s.assign(p, own, nil)
	return nil
}

// rejects reports whether inc would hold if p were own.
func (s *Solver) rejects(inc *Incompatibility, p Pkg, own Set) bool {
	for _, t := range inc.Terms {
		known := s.acc[t.Pkg]
		if t.Pkg == p {
			known = own
		}
		if !known.Within(t.Set) {
			return false
		}
	}
	return true
}

func (s *Solver) assign(p Pkg, own Set, cause *Incompatibility) {
	acc := s.acc[p].And(own)
	invariant.Check(!acc.Empty(), "package %d can be nothing at all", p)
	s.hist[p] = append(s.hist[p], len(s.trail))
	s.trail = append(s.trail, assignment{p, s.level(), own, acc, cause})
	s.acc[p] = acc
	s.touch(p)
}

// next picks the package to decide.
func (s *Solver) next() (Pkg, bool) {
	best, bestClass := Pkg(-1), 0
	for p := range s.acc {
		if s.acc[p].Has(0) || s.Decided(Pkg(p)) != 0 {
			continue
		}
		order := s.Source.Order(Pkg(p))
		if order == Later {
			continue
		}
		class := 3
		switch m := s.marks[p]; {
		case order == First:
			class = 0
		case s.acc[p].Len() == 1:
			class = 1
		case m.early:
			class = 2
		case m.late:
			class = 4
		}
		if best < 0 || class < bestClass {
			best, bestClass = Pkg(p), class
		}
	}
	return best, best >= 0
}
