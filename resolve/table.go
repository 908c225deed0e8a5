package resolve

import (
	"slices"
	"sort"
	"strings"
	"sync"

	"appbundle/resolve/internal/pubgrub"
	"appbundle/schema/pep440"
)

// A candidate is a release as one group of targets sees it.
type candidate struct {
	release *Release
	version pep440.Version
	files   []*File // what each target installs; nil where one can install nothing
	reason  reason  // why not, of such a one
}

// A reason says why a release does not count.
type reason struct {
	kind   FactKind
	detail string
}

// A table lists what there is of a project for one group of targets. It never
// changes once made.
type table struct {
	name    string
	project *Project    // nil for an unknown name
	list    []candidate // oldest first; candidate n of the solver is list[n-1]
	usable  pubgrub.Set
	pre     pubgrub.Set             // pre-releases, usable or not
	binary  pubgrub.Set             // those that need no build on any target
	locked  int                     // candidate that is locked, 0 for none
	root    pubgrub.Set             // what the user's lines allow
	named   *line                   // line that names a pre-release, nil for none
	final   bool                    // a final release fits the user's lines
	direct  bool                    // a line of the user asks for it
	bases   func() []pep440.Version // the releases of the versions in list, without their suffixes
}

// newTable judges every release of a project.
func newTable(p *plan, group *group, name string, project *Project) *table {
	t := &table{name: name, project: project}
	t.bases = sync.OnceValue(t.cutSuffixes)
	if project == nil {
		t.usable, t.pre, t.binary, t.root = pubgrub.NewSet(0), pubgrub.NewSet(0), pubgrub.NewSet(0), pubgrub.NewSet(0)
		return t
	}
	releases := oldestFirst(project.Releases)
	n := len(releases)
	t.list = make([]candidate, n)
	t.usable, t.pre, t.binary, t.root = pubgrub.NewSet(n), pubgrub.NewSet(n), pubgrub.NewSet(n), pubgrub.NewSet(n)
	for i, r := range releases {
		t.list[i] = candidate{release: r, version: r.Version}
		if r.Version.IsPrerelease() {
			t.pre.Put(i + 1)
		}
		t.root.Put(i + 1)
	}
	own := group.linesOf(p, name)
	for _, l := range own {
		t.root = t.root.And(t.fits(l.Req.Specifiers))
		if t.named == nil && l.Req.Specifiers.NamesPrerelease() {
			t.named = l
		}
	}
	t.direct = slices.ContainsFunc(p.lines, func(l *line) bool { return l.name == name })
	locked, isLocked := p.locked(name, group)
	f := filter{plan: p, group: group, table: t, lines: own}
	for i := range t.list {
		c := &t.list[i]
		if v, err := pep440.Parse(locked.Version); isLocked && err == nil && v.Compare(c.version) == 0 {
			t.locked = i + 1
			f.choose(c, &locked)
		} else {
			f.choose(c, nil)
		}
		if fits := t.root.Has(i+1) && !t.pre.Has(i+1); fits && (c.files != nil || c.reason.kind == Yanked) {
			t.final = true
		}
		if c.files == nil {
			continue
		}
		t.usable.Put(i + 1)
		if !slices.ContainsFunc(c.files, func(f *File) bool { return f.Wheel == nil }) {
			t.binary.Put(i + 1)
		}
	}
	return t
}

// oldestFirst sorts releases, whatever order they are in.
func oldestFirst(releases []*Release) []*Release {
	order := func(a, b *Release) int {
		if c := a.Version.Compare(b.Version); c != 0 {
			return c
		}
		return strings.Compare(a.Version.String(), b.Version.String())
	}
	releases = slices.Clone(releases)
	slices.Reverse(releases)
	if !slices.IsSortedFunc(releases, order) {
		slices.SortFunc(releases, order)
	}
	return releases
}

// fits gives the candidates that specifiers allow, pre-releases like others.
func (t *table) fits(specs pep440.Specifiers) pubgrub.Set {
	all := pubgrub.NewSet(len(t.list))
	for i := range t.list {
		all.Put(i + 1)
	}
	for _, s := range specs {
		all = all.And(t.fitsOne(s))
	}
	return all
}

// fitsOne answers one specifier. Where the answer can be read from the order of
// versions, only those with the release of the specifier are looked at.
func (t *table) fitsOne(s pep440.Specifier) pubgrub.Set {
	set := pubgrub.NewSet(len(t.list))
	from, to := 0, len(t.list) // where every version is looked at
	v, prefix, ok := s.Version()
	if ok && !prefix && s.Op != "~=" && s.Op != "===" {
		base, bases := pep440.MustParse(v.Base()), t.bases()
		from = sort.Search(len(bases), func(i int) bool { return bases[i].Compare(base) >= 0 })
		to = sort.Search(len(bases), func(i int) bool { return bases[i].Compare(base) > 0 })
		if s.Op == "<" || s.Op == "<=" || s.Op == "!=" {
			for i := range from {
				set.Put(i + 1)
			}
		}
		if s.Op == ">" || s.Op == ">=" || s.Op == "!=" {
			for i := to; i < len(t.list); i++ {
				set.Put(i + 1)
			}
		}
	}
	one := pep440.Specifiers{s}
	for i := from; i < to; i++ {
		if one.Contains(t.list[i].version, pep440.Allow) {
			set.Put(i + 1)
		}
	}
	return set
}

func (t *table) cutSuffixes() []pep440.Version {
	list := make([]pep440.Version, len(t.list))
	for i := range t.list {
		v := t.list[i].version
		if base := v.Base(); base != v.String() {
			v = pep440.MustParse(base)
		}
		list[i] = v
	}
	return list
}
