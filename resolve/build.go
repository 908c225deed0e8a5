package resolve

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"appbundle/schema"
	"appbundle/schema/pep508"
)

// A Built is a wheel that was made of a source distribution.
type Built struct {
	Wheel  *File // its Path says where it is to be, relative to the application directory
	Record *schema.LockedBuild
}

// isPure reports whether the wheel is for every platform.
func (b *Built) isPure() bool {
	return !slices.ContainsFunc(b.Wheel.Wheel.Tags, func(tag string) bool { return !strings.HasSuffix(tag, "-any") })
}

// A BuildError says that a source distribution could not be built. It stops a
// resolution: older releases would be built one after the other.
type BuildError struct {
	File   string   // the source distribution
	Reason string   // "build_wheel: exit status 1"
	Output []string // the last lines of what the build said
	Advice string   // what would help, "" where nobody knows
	// Asked are those who ask for it, a sentence each, and Wheels the tags of the
	// wheels that the release has. The solver fills them in.
	Asked  []string
	Wheels []string
}

// Error gives all but the advice.
func (e *BuildError) Error() string {
	out := []string{fmt.Sprintf("%s cannot be built: %s", e.File, e.Reason)}
	for _, a := range e.Asked {
		out = append(out, "  "+a)
	}
	if len(e.Wheels) > 0 {
		out = append(out, "  its wheels are for "+strings.Join(e.Wheels, ", "))
	}
	for _, l := range e.Output {
		out = append(out, "  | "+l)
	}
	return strings.Join(out, "\n")
}

// Hint gives the advice.
func (e *BuildError) Hint() string { return e.Advice }

// blame says in a BuildError who asks for a candidate.
func (w *world) blame(err error, p *project, candidate int) error {
	var failed *BuildError
	if !errors.As(err, &failed) {
		return err
	}
	e := *failed
	for _, l := range w.group.linesOf(w.plan, p.name) {
		if slices.Contains(w.plan.lines, l) {
			e.Asked = append(e.Asked, place(l.Pos)+" asks for "+l.Text)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.projects)) {
		other := w.projects[name]
		c := w.solver.Decided(other.pkg)
		if c < 1 || other == p || other.known[c] == nil {
			continue
		}
		for _, r := range other.known[c].Requires {
			if r.Key() == p.name && applies(r, w.group.targets[0].Env) {
				e.Asked = append(e.Asked, fmt.Sprintf("%s %s asks for %s", name, other.list[c-1].version, bare(r)))
			}
		}
	}
	e.Wheels = wheelTags(p.list[candidate-1].release)
	return &e
}

// applies reports whether a requirement counts in an environment with some extra.
func applies(r *pep508.Requirement, env pep508.Env) bool {
	ok, err := r.Marker.Evaluate(env)
	return err == nil && (ok || strings.Contains(r.Marker.String(), "extra"))
}

// builds keeps what is known of the builds of one run. The solver's goroutine
// alone uses it.
type builds struct {
	made map[*File]*Built // nil for what cannot be built
	// native has, by project, the tag of a wheel that fits the host alone, with the
	// name of that host: another release of the project is not built to see
	// whether it is otherwise.
	native map[string][2]string
}

// build makes the wheel of a file, once; nil where it cannot.
func (w *world) build(ctx context.Context, p *project, candidate int, f *File) (*Built, error) {
	b, known := w.builds.made[f]
	if known {
		return b, nil
	}
	b, err := w.plan.Build(ctx, p.name, p.list[candidate-1].release, f)
	var no *MetadataError
	switch {
	case errors.As(err, &no):
		b = nil
	case err != nil:
		return nil, w.blame(err, p, candidate)
	case !b.isPure():
		w.builds.native[p.name] = [2]string{b.Wheel.Wheel.Tags[0], b.Record.Host}
	}
	w.builds.made[f] = b
	return b, nil
}

// unfit says why a candidate does not serve a target that would need a build of
// it. What nobody has built yet fits.
func (w *world) unfit(p *project, c *candidate) (reason, bool) {
	for i, f := range c.files {
		if f.Wheel != nil || w.plan.Build == nil {
			continue
		}
		target := w.group.targets[i].Name
		if n, ok := w.builds.native[p.name]; ok && n[1] != target {
			return reason{HostOnly, target + " " + n[0]}, true
		}
		if b := w.builds.made[f]; b != nil {
			if _, fits := w.group.rankings[i].Rank(b.Wheel.Wheel); !fits {
				return reason{HostOnly, target + " " + b.Wheel.Wheel.Tags[0]}, true
			}
		}
	}
	return reason{}, false
}

// buildChosen builds what was chosen and has to be built. again says that a
// wheel does not fit, so that something else has to be chosen.
func (w *world) buildChosen(ctx context.Context) (again bool, err error) {
	if w.plan.Build == nil {
		return false, nil
	}
	for _, name := range slices.Sorted(maps.Keys(w.projects)) {
		p := w.projects[name]
		c := w.solver.Result(p.pkg)
		if c == 0 {
			continue
		}
		for _, f := range p.list[c-1].files {
			if f.Wheel != nil {
				continue
			}
			if _, err := w.build(ctx, p, c, f); err != nil {
				return false, err
			}
		}
		if _, bad := w.unfit(p, &p.list[c-1]); bad {
			return true, nil
		}
	}
	return false, nil
}
