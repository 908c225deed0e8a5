package resolve

import (
	"context"
	"slices"
	"sync"

	"appbundle/resolve/internal/pubgrub"
	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

// tables keeps what newTable made, for one plan and one group of targets. Its
// methods may be called from many goroutines.
type tables struct {
	mu   sync.Mutex
	made map[string]func() *table
	seen map[string]bool // names that were looked at ahead
}

func newTables() *tables {
	return &tables{made: make(map[string]func() *table), seen: make(map[string]bool)}
}

// first reports whether a name was not looked at ahead before.
func (t *tables) first(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.seen[name]
	t.seen[name] = true
	return !old
}

// table gives the table of a project, once the Provider has told what there is.
func (w *world) table(ctx context.Context, name string) (*table, error) {
	project, err := w.cache.project(name).wait(ctx)
	if err != nil {
		return nil, err
	}
	w.tables.mu.Lock()
	f := w.tables.made[name]
	if f == nil {
		f = sync.OnceValue(func() *table { return newTable(w.plan, w.group, name, project) })
		w.tables.made[name] = f
	}
	w.tables.mu.Unlock()
	return f(), nil
}

// ahead asks for a project that somebody requires, for the metadata of the
// version that is likely to be tried, and for what this one requires. Nothing
// that it finds decides anything: an error comes up again where the solver asks.
func (w *world) ahead(name string, r *pep508.Requirement) {
	if !w.tables.first(name) {
		return
	}
	specs := r.Specifiers
	w.cache.project(name)
	w.cache.spawn(func(ctx context.Context) {
		t, err := w.table(ctx, name)
		if err != nil || ctx.Err() != nil {
			return
		}
		c := w.likely(t, specs)
		if c == nil || c.files[0].Wheel == nil && w.plan.Build != nil {
			return // nothing is built on a guess
		}
		md, err := w.cache.describe(name, c.release, c.files[0]).wait(ctx)
		if err != nil {
			return
		}
		reqs, err := requirements(md, w.group.targets[0].Env, "")
		if err != nil {
			return
		}
		for _, r := range reqs {
			w.ahead(r.Key(), r)
		}
	})
}

// likely gives the candidate that will be tried if nothing else is known.
func (w *world) likely(t *table, specs pep440.Specifiers) *candidate {
	allowed := t.usable.And(t.root).And(t.fits(specs))
	if allowed.Empty() {
		return nil
	}
	return &t.list[w.choose(t, allowed)-1]
}

// batch asks for the metadata of the versions that come next, where many of a
// project were tried in vain: after 5, 10 and 20, then at every 20th, as many as
// were tried, 50 at most. Those that still fit come first, the nearest before
// others.
func (w *world) batch(p *project, candidate int) {
	if p.tried != 5 && p.tried != 10 && p.tried%20 != 0 {
		return
	}
	limit := min(p.tried, 50)
	fit := w.solver.Known(p.pkg).And(p.usable).And(p.binary)
	rest := p.usable.And(p.binary).And(p.root).Minus(fit)
	for _, set := range []pubgrub.Set{fit, rest} {
		var next []int
		set.Each(func(c int) {
			if c < candidate {
				next = append(next, c)
			}
		})
		slices.Reverse(next)
		for _, c := range next[:min(limit, len(next))] {
			limit--
			w.cache.describe(p.name, p.list[c-1].release, p.list[c-1].files[0])
		}
	}
}
