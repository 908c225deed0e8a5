package resolve

import (
	"context"
	"errors"
	"slices"
	"time"

	"appbundle/resolve/internal/pubgrub"
)

const (
	// explainLines is up to how many lines a contradiction is made smaller.
	explainLines = 20
	// explainVersions is how many versions an attempt to solve again tries, and
	// explainTime how long all of them take.
	explainVersions = 5000
	explainTime     = 30 * time.Second
)

// explain says why there is no solution: it leaves out lines as long as there is
// none, and tries what would help.
func (r *run) explain(ctx context.Context, w *world, no *pubgrub.Conflict, others []*group) error {
	full := *w.plan
	full.guess = full.Build != nil
	full.MaxVersions = min(full.MaxVersions, explainVersions)
	ctx, stop := context.WithTimeout(ctx, explainTime)
	defer stop()
	a := attempts{run: r, failed: w.group, others: others}
	lines := core(w.plan, no.Incompatibility)
	if len(lines) <= explainLines {
		lines = a.shrink(ctx, &full, lines)
		if last, err := r.solve(ctx, only(&full, lines), w.group, nil); errors.As(err, &no) {
			w = last
		}
	}
	x := explanation{world: w, proof: no.Incompatibility}
	e := &ConflictError{Target: w.group.targets[0].Name, Facts: x.facts(lines), Steps: x.steps(), about: x.about()}
	for _, l := range lines {
		e.Lines = append(e.Lines, From{l.Pos, l.Text})
	}
	if e.Remedies = a.remedies(ctx, &full, lines, e.Facts); len(e.Remedies) == 0 {
		e.More = a.none(ctx, full.without(lines...))
	}
	return e
}

// core gives the lines that a proof rests on, in the order of the plan.
func core(p *plan, proof *pubgrub.Incompatibility) []*line {
	used := make(map[*line]bool)
	each(proof, func(_ *pubgrub.Incompatibility, l leaf) {
		if l.line != nil {
			used[l.line] = true
		}
	})
	return slices.DeleteFunc(slices.Concat(p.lines, p.constraints), func(l *line) bool { return !used[l] })
}

// each calls f for every incompatibility that a proof rests on, once.
func each(proof *pubgrub.Incompatibility, f func(*pubgrub.Incompatibility, leaf)) {
	seen := make(map[*pubgrub.Incompatibility]bool)
	todo := []*pubgrub.Incompatibility{proof}
	for len(todo) > 0 {
		inc := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[inc] {
			continue
		}
		seen[inc] = true
		if l, ok := inc.Fact.(leaf); ok {
			f(inc, l)
			continue
		}
		todo = append(todo, inc.Other, inc.Cause)
	}
}

// only gives a plan with some of its lines.
func only(p *plan, keep []*line) *plan {
	var drop []*line
	for _, l := range slices.Concat(p.lines, p.constraints) {
		if !slices.Contains(keep, l) {
			drop = append(drop, l)
		}
	}
	return p.without(drop...)
}
