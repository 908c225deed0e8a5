package resolve

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"appbundle/schema"
	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

// A Solution is what one target gets.
type Solution struct {
	Target   Target
	Packages []*Package // by name; a name occurs once
	Warnings schema.Problems
}

// A Package is a version that was chosen, with what installs it.
type Package struct {
	Name     string // normalised
	Version  pep440.Version
	Index    string // as Project has it
	Release  *Release
	File     *File // what the target installs
	Extras   []string
	Metadata *Metadata
	// Requires is what it asks for on this target, its extras included, in the
	// order of its metadata.
	Requires []Edge
	// From are the lines of the user that name it.
	From []From
	// Prerelease says why a pre-release counted, "" for others.
	Prerelease string
	// Direct reports that a line of the user names the file by its URL.
	Direct bool
	// Yanked reports that the file is yanked.
	Yanked bool
	// Locked reports that the version is the locked one.
	Locked bool
}

// An Edge is one requirement of a package.
type Edge struct {
	Name        string   // normalised
	Extras      []string // normalised
	Extra       string   // of the package that asks, "" for the package itself
	Requirement string   // as it was asked, without its marker
}

// A From is a line of the user that names a package.
type From struct {
	schema.Pos
	Text string
}

// Find gives the package of a name, nil for none.
func (s *Solution) Find(name string) *Package {
	i, ok := slices.BinarySearchFunc(s.Packages, name, func(p *Package, n string) int { return cmp.Compare(p.Name, n) })
	if !ok {
		return nil
	}
	return s.Packages[i]
}

// oldAfter is how much older than the newest that fits a version is when that
// deserves a warning.
const oldAfter = 2 * 365 * 24 * time.Hour

// solution reads the answer of the solver for one target of the group.
func (w *world) solution(target int) *Solution {
	s := &Solution{Target: w.group.targets[target]}
	for _, name := range slices.Sorted(maps.Keys(w.projects)) {
		p := w.projects[name]
		c := w.solver.Result(p.pkg)
		if c == 0 {
			continue
		}
		s.Packages = append(s.Packages, w.chosen(s, p, c, target))
	}
	for _, pkg := range s.Packages {
		w.warnOld(s, pkg)
	}
	return s
}

// chosen describes a package and warns of what is strange about it.
func (w *world) chosen(s *Solution, p *project, c, target int) *Package {
	got := &p.list[c-1]
	pkg := &Package{
		Name:     p.name,
		Version:  got.version,
		Index:    p.table.project.Index,
		Release:  got.release,
		File:     got.files[target],
		Metadata: p.known[c],
		Yanked:   got.files[target].Yanked,
		Locked:   c == p.locked,
	}
	if p.pre.Has(c) {
		pkg.Prerelease = cmp.Or(w.admitted(p.table), "it is locked")
	}
	var pos schema.Pos
	for _, l := range w.group.linesOf(w.plan, p.name) {
		if !slices.Contains(w.plan.lines, l) {
			continue
		}
		if pkg.From == nil {
			pos = l.Pos
		}
		pkg.From = append(pkg.From, From{l.Pos, l.Text})
		pkg.Direct = pkg.Direct || l.URL != ""
	}
	for _, extra := range append([]string{""}, slices.Sorted(maps.Keys(p.extras))...) {
		if extra != "" {
			if w.solver.Result(p.extras[extra]) == 0 {
				continue
			}
			pkg.Extras = append(pkg.Extras, extra)
			if !slices.Contains(pkg.Metadata.Extras, extra) {
				s.Warnings.Add(pos, "", "%s %s has no extra %q", p.name, got.version, extra)
			}
		}
		reqs, _ := requirements(pkg.Metadata, w.group.targets[0].Env, extra) // answered before
		for _, r := range reqs {
			pkg.Requires = append(pkg.Requires, Edge{r.Key(), normalised(r.Extras), extra, bare(r)})
		}
	}
	if l, ok := w.plan.locked(p.name, w.group); ok && pkg.Locked && l.altered(pkg.File) {
		s.Warnings.Add(pos, "", "%s %s: the index has another file under the name %s than was locked", p.name, got.version, pkg.File.Name)
	}
	if pkg.Yanked {
		s.Warnings.Add(pos, "", "%s %s is yanked%s", p.name, got.version, because(pkg.File.YankedReason))
	}
	return pkg
}

// warnOld warns where a version is far older than one that the user's lines
// allow, and says who does not.
func (w *world) warnOld(s *Solution, pkg *Package) {
	p := w.projects[pkg.Name]
	got, newest := &p.list[w.solver.Result(p.pkg)-1], p.newest()
	if newest == nil || got.uploaded().IsZero() || newest.uploaded().Sub(got.uploaded()) <= oldAfter || pkg.Locked || w.plan.Strategy != Highest {
		return
	}
	who := "what others require"
	for _, by := range s.Packages {
		for _, e := range by.Requires {
			r, err := pep508.Parse(e.Requirement)
			if err == nil && e.Name == pkg.Name && !r.Specifiers.Contains(newest.version, pep440.Allow) {
				who = fmt.Sprintf("%s %s, which asks for %s", by.Name, by.Version, e.Requirement)
			}
		}
	}
	var pos schema.Pos
	if len(pkg.From) > 0 {
		pos = pkg.From[0].Pos
	}
	s.Warnings.Add(pos, "", "%[1]s %[2]s was uploaded on %[3]s; %[1]s %[4]s of %[5]s would do but for %[6]s",
		p.name, got.version, got.uploaded().Format(time.DateOnly), newest.version, newest.uploaded().Format(time.DateOnly), who)
}

// newest gives the newest final release that could be installed and that the
// user's lines allow, nil where there is none.
func (t *table) newest() *candidate {
	if c := t.usable.And(t.root).Minus(t.pre).Max(); c > 0 {
		return &t.list[c-1]
	}
	return nil
}

// uploaded gives when the first file of a release was.
func (c *candidate) uploaded() time.Time {
	var first time.Time
	for _, f := range c.release.Files {
		if first.IsZero() || (!f.Uploaded.IsZero() && f.Uploaded.Before(first)) {
			first = f.Uploaded
		}
	}
	return first
}

func because(reason string) string {
	if reason = strings.TrimSpace(reason); reason == "" {
		return ""
	}
	return fmt.Sprintf(" (%s)", reason)
}
