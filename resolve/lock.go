package resolve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"appbundle/resolve/internal/pubgrub"
	"appbundle/schema"
	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

// A Resolution is what all targets get, merged.
type Resolution struct {
	Targets   []Target
	Solutions []*Solution // by target
	Packages  []*LockedPackage
	// Warnings are those of the solutions, each once.
	Warnings schema.Problems
}

// A LockedPackage is one version of one package, for the targets that get it.
type LockedPackage struct {
	*Package // as the first of its targets has it
	// Targets are the names of those that get it, in their order.
	Targets []string
	// Marker is true on its targets and false on the others; nil where all
	// targets get it. Those of one name are never true together.
	Marker *pep508.Marker
	// Files are those that a declared target could install, by name: wheels that
	// fit one of its targets, and source distributions where these count and
	// nothing was built.
	Files []*File
	// Built is the wheel that was built of it, one of Files; nil where none was.
	Built *Built
	// Dependencies are the normalised names of what it requires on any of its
	// targets, sorted.
	Dependencies []string
}

// Lock answers a request for all of its targets: one solution each, which agree
// where they can. Errors are those of Solve; a conflict is that of the first
// target that has one.
func Lock(ctx context.Context, p Provider, req Request) (*Resolution, error) {
	if len(req.Targets) == 0 {
		return nil, errors.New("no target is declared")
	}
	plan, err := newPlan(req)
	if err != nil {
		return nil, err
	}
	r := &run{newCache(ctx, p, plan.Fetchers), &builds{made: map[*File]*Built{}, native: map[string][2]string{}}}
	defer r.cache.close()
	res := &Resolution{Targets: req.Targets, Solutions: make([]*Solution, len(req.Targets))}
	prefer := make(map[string]pep440.Version)
	allowed := make(map[string][]*world) // by package and version
	indexes := groups(req.Targets)
	all := make([]*group, len(indexes))
	for n, list := range indexes {
		var targets []Target
		for _, i := range list {
			targets = append(targets, req.Targets[i])
		}
		all[n] = newGroup(targets)
	}
	for g, list := range indexes {
		w, err := r.solve(ctx, plan, all[g], maps.Clone(prefer))
		var no *pubgrub.Conflict
		if errors.As(err, &no) {
			return nil, r.explain(ctx, w, no, slices.Delete(slices.Clone(all), g, g+1))
		}
		if err != nil {
			return nil, err
		}
		for n, i := range list {
			s := w.solution(n)
			res.Solutions[i] = s
			for _, pkg := range s.Packages {
				if _, ok := prefer[pkg.Name]; !ok {
					prefer[pkg.Name] = pkg.Version
				}
				if n == 0 {
					allowed[pkg.key()] = append(allowed[pkg.key()], w)
				}
			}
		}
	}
	return res, res.merge(allowed)
}

// groups gives the indexes of targets that no marker tells apart, together.
func groups(targets []Target) [][]int {
	var list [][]int
	for i, t := range targets {
		n := slices.IndexFunc(list, func(g []int) bool { return reflect.DeepEqual(targets[g[0]].Env, t.Env) })
		if n < 0 {
			list = append(list, []int{i})
		} else {
			list[n] = append(list[n], i)
		}
	}
	return list
}

func (p *Package) key() string { return p.Name + "\x00" + p.Version.Key() }

// merge makes the packages of the solutions.
func (r *Resolution) merge(worlds map[string][]*world) error {
	at := make(map[string]*LockedPackage)
	on := make(map[string][]int) // targets, by key
	for i, s := range r.Solutions {
		for _, pkg := range s.Packages {
			key := pkg.key()
			l := at[key]
			if l == nil {
				l = &LockedPackage{Package: pkg}
				at[key] = l
				r.Packages = append(r.Packages, l)
			}
			l.Targets = append(l.Targets, s.Target.Name)
			on[key] = append(on[key], i)
			for _, e := range pkg.Requires {
				l.Dependencies = append(l.Dependencies, e.Name)
			}
		}
		for _, w := range s.Warnings {
			if !slices.ContainsFunc(r.Warnings, func(o *schema.Problem) bool { return *o == *w }) {
				r.Warnings = append(r.Warnings, w)
			}
		}
	}
	slices.SortFunc(r.Packages, func(a, b *LockedPackage) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), a.Version.Compare(b.Version))
	})
	for key, l := range at {
		slices.Sort(l.Dependencies)
		l.Dependencies = slices.Compact(l.Dependencies)
		l.Files, l.Built = filesOf(worlds[key], l.Package)
	}
	return r.mark(on)
}

// mark writes the markers, a name at a time.
func (r *Resolution) mark(on map[string][]int) error {
	for i := 0; i < len(r.Packages); {
		n := i + 1
		for n < len(r.Packages) && r.Packages[n].Name == r.Packages[i].Name {
			n++
		}
		same := r.Packages[i:n]
		i = n
		var parts [][]pep508.Env
		taken := make(map[int]bool)
		for _, l := range same {
			var part []pep508.Env
			for _, t := range on[l.key()] {
				part = append(part, r.Targets[t].Env)
				taken[t] = true
			}
			parts = append(parts, part)
		}
		var rest []pep508.Env
		for t := range r.Targets {
			if !taken[t] {
				rest = append(rest, r.Targets[t].Env)
			}
		}
		list, err := markers(parts, rest)
		if err != nil {
			return fmt.Errorf("%s: %w", same[0].Name, err)
		}
		for n, l := range same {
			l.Marker = list[n]
		}
	}
	return nil
}

// filesOf gives the files of a version that one of its targets could install.
func filesOf(worlds []*world, pkg *Package) ([]*File, *Built) {
	var built *Built
	found := make(map[string]*File)
	for _, w := range worlds {
		t := w.projects[pkg.Name].table
		f := filter{plan: w.plan, group: w.group, table: t, lines: w.group.linesOf(w.plan, pkg.Name)}
		c := slices.IndexFunc(t.list, func(c candidate) bool { return c.release == pkg.Release })
		if c < 0 {
			continue
		}
		for _, file := range f.installable(&t.list[c], c+1 == t.locked) {
			found[file.Name] = file
		}
		for _, file := range t.list[c].files {
			if b := w.builds.made[file]; b != nil {
				built = b
			}
		}
	}
	if built != nil {
		maps.DeleteFunc(found, func(_ string, f *File) bool { return f.Wheel == nil })
		found[built.Wheel.Name] = built.Wheel
	}
	return slices.SortedFunc(maps.Values(found), func(a, b *File) int { return strings.Compare(a.Name, b.Name) }), built
}

// installable gives the files that fit a target: of a locked version no other
// ones than were locked, as long as those do.
func (f *filter) installable(c *candidate, locked bool) []*File {
	var list []*File
	for i, target := range f.group.targets {
		files, _ := f.allowed(c, locked, target)
		fit := f.fitting(files, i)
		if l, ok := f.plan.locked(f.table.name, f.group); ok && locked {
			fit = l.keep(fit)
		}
		list = append(list, fit...)
	}
	return list
}
