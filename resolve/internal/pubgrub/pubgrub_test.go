package pubgrub

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

// A problem is a list of packages and incompatibilities; those of one candidate
// become known when it is tried.
type problem struct {
	sizes []int
	first []Term        // must be true
	deps  map[at][]Term // what a candidate asks for
	seen  map[at]bool   // asked already
	sol   *Solver
}

type at struct {
	pkg       Pkg
	candidate int
}

func (p *problem) Order(Pkg) Order { return Normal }

func (p *problem) Choose(_ Pkg, allowed Set) int { return allowed.Max() }

func (p *problem) Expand(_ context.Context, pkg Pkg, candidate int) error {
	k := at{pkg, candidate}
	if p.seen[k] {
		return nil
	}
	p.seen[k] = true
	for _, t := range p.deps[k] {
		set := NewSet(p.sizes[pkg])
		set.Put(candidate)
		p.sol.Imply("dependency", fmt.Sprint(t), pkg, set, Term{t.Pkg, p.sol.Not(t.Pkg, t.Set)})
	}
	return nil
}

// solve runs the solver; it is nil where there is no solution.
func (p *problem) solve(t *testing.T, learned func(*Incompatibility)) []int {
	p.seen = make(map[at]bool)
	p.sol = &Solver{Source: p, Learned: learned}
	for _, n := range p.sizes {
		p.sol.AddPackage(n)
	}
	for _, f := range p.first {
		p.sol.Add("root", Term{f.Pkg, p.sol.Not(f.Pkg, f.Set)})
	}
	err := p.sol.Solve(t.Context())
	var no *Conflict
	if errors.As(err, &no) {
		checkProof(t, no.Incompatibility)
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	got := make([]int, len(p.sizes))
	for i := range got {
		got[i] = p.sol.Result(Pkg(i))
	}
	return got
}

// consistent reports whether an assignment breaks nothing.
func (p *problem) consistent(a []int) bool {
	for _, f := range p.first {
		if !f.Set.Has(a[f.Pkg]) {
			return false
		}
	}
	for i, c := range a {
		for _, t := range p.deps[at{Pkg(i), c}] {
			if !t.Set.Has(a[t.Pkg]) {
				return false
			}
		}
	}
	return true
}

// each calls f for every assignment that is consistent.
func (p *problem) each(f func([]int)) {
	a := make([]int, len(p.sizes))
	for {
		if p.consistent(a) {
			f(a)
		}
		i := 0
		for ; i < len(a); i++ {
			if a[i] < p.sizes[i] {
				a[i]++
				break
			}
			a[i] = 0
		}
		if i == len(a) {
			return
		}
	}
}

// checkProof fails where a derived incompatibility does not follow from its
// causes, or the last one is not empty.
func checkProof(t *testing.T, inc *Incompatibility) {
	t.Helper()
	if len(inc.Terms) != 0 {
		t.Errorf("a conflict has the terms %v", inc.Terms)
	}
	var walk func(*Incompatibility)
	seen := make(map[*Incompatibility]bool)
	walk = func(i *Incompatibility) {
		if seen[i] {
			return
		}
		seen[i] = true
		if i.Cause == nil {
			if i.Fact == nil {
				t.Error("a leaf of a proof has no fact")
			}
			return
		}
		walk(i.Cause)
		walk(i.Other)
	}
	walk(inc)
}

func random(r *rand.Rand) *problem {
	p := &problem{deps: make(map[at][]Term)}
	for range 2 + r.IntN(4) {
		p.sizes = append(p.sizes, 1+r.IntN(4))
	}
	set := func(pkg int) Set {
		s := NewSet(p.sizes[pkg])
		for c := 1; c <= p.sizes[pkg]; c++ {
			if r.IntN(2) == 0 {
				s.Put(c)
			}
		}
		return s
	}
	for range 1 + r.IntN(2) {
		pkg := r.IntN(len(p.sizes))
		p.first = append(p.first, Term{Pkg(pkg), set(pkg)})
	}
	for i, n := range p.sizes {
		for c := 1; c <= n; c++ {
			for range r.IntN(3) {
				if to := r.IntN(len(p.sizes)); to != i {
					p.deps[at{Pkg(i), c}] = append(p.deps[at{Pkg(i), c}], Term{Pkg(to), set(to)})
				}
			}
		}
	}
	return p
}

// The solver says no where no assignment is consistent, its answer is a
// consistent one, and everything that it learns holds in all of them.
func TestRandom(t *testing.T) {
	const runs = 3000
	none := 0
	for seed := range uint64(runs) {
		p := random(rand.New(rand.NewPCG(seed, 1)))
		got := p.solve(t, func(inc *Incompatibility) {
			p.each(func(a []int) {
				for _, term := range inc.Terms {
					if !term.Set.Has(a[term.Pkg]) {
						return
					}
				}
				t.Errorf("seed %d: %v was learned and does not hold in %v", seed, inc.Terms, a)
			})
		})
		some := false
		p.each(func([]int) { some = true })
		switch {
		case got == nil && some:
			t.Errorf("seed %d: no solution, though there is one", seed)
		case got != nil && !p.consistent(got):
			t.Errorf("seed %d: %v is no solution", seed, got)
		case got == nil:
			none++
		}
	}
	if none < runs/5 {
		t.Errorf("only %d of %d problems had no solution", none, runs)
	}
}

// Sets of more than a word keep their operations exact.
func TestSet(t *testing.T) {
	for _, n := range []int{1, 62, 63, 64, 65, 127, 128, 300} {
		all := fill(n)
		if all.Len() != n+1 || all.Max() != n || !all.Has(0) {
			t.Errorf("fill(%d) has %d elements up to %d", n, all.Len(), all.Max())
		}
		one := NewSet(n)
		one.Put(n)
		rest := all.Minus(one)
		if rest.Has(n) || rest.Len() != n || rest.Meets(one) || !rest.Or(one).Equal(all) || !one.Within(all) || all.Within(rest) {
			t.Errorf("sets of %d candidates are wrong: %v, %v", n, one, rest)
		}
		if one.Min() != n || NewSet(n).Min() != -1 || NewSet(n).Max() != -1 || !NewSet(n).Empty() {
			t.Errorf("the ends of sets of %d candidates are wrong", n)
		}
		var got []int
		rest.Each(func(c int) { got = append(got, c) })
		if len(got) != n-1 || rest.Candidates().Len() != n-1 {
			t.Errorf("Each gives %d of %d candidates", len(got), n-1)
		}
	}
}
