package resolve

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"appbundle/resolve/internal/pubgrub"
	"appbundle/schema/pep440"
)

// attempts solves changed plans.
type attempts struct {
	run    *run
	failed *group
	others []*group
}

// none reports whether it is known that the group that failed has no solution
// for a plan.
func (a *attempts) none(ctx context.Context, p *plan) bool {
	_, err := a.run.solve(ctx, p, a.failed, nil)
	var no *pubgrub.Conflict
	return errors.As(err, &no)
}

// solve gives the solution of a plan for the group that failed, nil where any
// group has none.
func (a *attempts) solve(ctx context.Context, p *plan) *Solution {
	w, err := a.run.solve(ctx, p, a.failed, nil)
	if err != nil {
		return nil
	}
	for _, g := range a.others {
		if _, err := a.run.solve(ctx, p, g, nil); err != nil {
			return nil
		}
	}
	return w.solution(0)
}

// shrink leaves out lines as long as there is no solution.
func (a *attempts) shrink(ctx context.Context, p *plan, lines []*line) []*line {
	for i := 0; i < len(lines) && len(lines) > 1; {
		less := slices.Delete(slices.Clone(lines), i, i+1)
		if a.none(ctx, only(p, less)) {
			lines = less
		} else {
			i++
		}
	}
	return lines
}

// remedies tries what would help.
func (a *attempts) remedies(ctx context.Context, p *plan, lines []*line, facts []Fact) []Remedy {
	var list []Remedy
	try := func(changed *plan, r Remedy, names ...string) {
		if s := a.solve(ctx, changed); s != nil {
			r.Result = versionsOf(s, names)
			list = append(list, r)
		}
	}
	for _, l := range lines {
		if free := l.free(); free != nil && slices.Contains(p.lines, l) {
			try(p.replace(l, free), Remedy{Pos: l.Pos, Text: fmt.Sprintf("drop %q from %s", l.demand(), place(l.Pos))}, l.name)
			continue
		}
		if len(lines) == 1 {
			continue
		}
		try(p.without(l), Remedy{Pos: l.Pos, Text: fmt.Sprintf("drop %s (%s)", place(l.Pos), l.Text)}, l.name)
	}
	tried := make(map[string]bool)
	for _, f := range facts {
		q := *p
		name, _, _ := strings.Cut(f.Package, "[")
		text := ""
		switch f.Kind {
		case Prerelease:
			q.Prereleases, text = true, "allow pre-releases"
		case TooNew:
			q.ExcludeNewer, text = time.Time{}, "allow releases after "+f.Detail
		case OnlySdist:
			q.OnlyBinary, text = allow(p.OnlyBinary, name), "allow source distributions of "+name
		case NoSdist:
			q.NoBinary, text = allow(p.NoBinary, name), "allow wheels of "+name
		case Yanked:
			if v, _, _ := strings.Cut(f.Versions, " "); v == f.Versions && v != "" {
				text = fmt.Sprintf("add the line %s==%s, though it is yanked", name, v)
				q.lines = append(slices.Clone(p.lines), pin(name, v))
			}
		}
		if text != "" && !tried[text] {
			tried[text] = true
			if f.Kind == Yanked {
				name = "" // the line says which
			}
			try(&q, Remedy{Text: text}, name)
		}
	}
	return list
}

// allow takes a name off a list that leaves something out for it.
func allow(list []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(n string) bool { return n == name || n == ":all:" })
}

// pin makes a line that nobody wrote.
func pin(name, version string) *line {
	l := &line{name: name}
	l.Text = name + "==" + version
	l.Req.Name = name
	l.Req.Specifiers, _ = pep440.ParseSpecifiers("==" + version)
	return l
}

// free gives a line without what it demands of the version, nil where it
// demands nothing.
func (l *line) free() *line {
	if l.demand() == "" {
		return nil
	}
	f := *l
	f.Req.Specifiers, f.URL, f.Path = nil, "", ""
	return &f
}

// demand gives what a line demands of the version.
func (l *line) demand() string {
	switch {
	case l.URL != "":
		return "@ " + l.URL
	case l.Path != "":
		return l.Path
	}
	return written(l.Req.Specifiers)
}

func versionsOf(s *Solution, names []string) string {
	var list []string
	for _, n := range names {
		if p := s.Find(n); p != nil {
			list = append(list, n+" "+p.Version.String())
		}
	}
	return strings.Join(list, ", ")
}
