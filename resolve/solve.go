package resolve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"appbundle/resolve/internal/pubgrub"
	"appbundle/schema/pep440"
)

// learnedHook gives the function that sees what a run learns, for tests.
var learnedHook = func(*world) func(*pubgrub.Incompatibility) { return nil }

// Solve answers a request with one target. A *ConflictError says that there is
// no solution, a *LimitError that none was found in time; other errors are those
// of the Provider, of ctx, and of lines that nobody can answer.
func Solve(ctx context.Context, p Provider, req Request) (*Solution, error) {
	if len(req.Targets) != 1 {
		return nil, fmt.Errorf("a solution is for one target, not for %d", len(req.Targets))
	}
	r, err := Lock(ctx, p, req)
	if err != nil {
		return nil, err
	}
	return r.Solutions[0], nil
}

// A run holds what the solutions of one request share.
type run struct {
	cache  *cache
	builds *builds
}

// solve answers a plan for one group of targets. Pre-releases that a dependency
// asks for make it begin anew, which costs no request.
func (r *run) solve(ctx context.Context, p *plan, g *group, prefer map[string]pep440.Version) (*world, error) {
	begin := time.Now()
	ctx, stop := context.WithTimeoutCause(ctx, p.MaxTime, errTime)
	defer stop()
	tables, raised := newTables(), make(map[string]string)
	for {
		w := newWorld(p, g, r.cache, tables, r.builds, prefer, raised)
		err := w.start(ctx)
		if err == nil {
			err = w.solver.Solve(ctx)
		}
		if err == nil && !p.guess {
			var other bool
			if other, err = w.buildChosen(ctx); other {
				continue
			}
		}
		var again *raise
		switch {
		case errors.As(err, &again):
			raised[again.name] = again.by
			continue
		case errors.Is(err, errTime):
			return w, w.limit(time.Since(begin))
		}
		return w, err
	}
}

var errTime = errors.New("out of time")

// limit says of which projects most versions were tried.
func (w *world) limit(after time.Duration) error {
	names := slices.SortedFunc(maps.Keys(w.projects), func(a, b string) int {
		return cmp.Or(cmp.Compare(w.projects[b].tried, w.projects[a].tried), cmp.Compare(a, b))
	})
	e := &LimitError{Versions: w.tried, Time: after.Round(time.Second)}
	for _, n := range names[:min(3, len(names))] {
		if w.projects[n].tried == 0 {
			break
		}
		e.Most = append(e.Most, fmt.Sprintf("%s (%d)", n, w.projects[n].tried))
	}
	return e
}
