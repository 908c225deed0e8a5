package resolve

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"appbundle/resolve/internal/pubgrub"
	"appbundle/schema"
	"appbundle/schema/pep425"
	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
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
			f.choose(c, true, locked.Hashes)
		} else {
			f.choose(c, false, nil)
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

// A filter chooses the files of a release.
type filter struct {
	plan  *plan
	group *group
	table *table
	lines []*line // of the user, for this project
}

// choose finds what every target installs, first among the files that are
// locked.
func (f *filter) choose(c *candidate, locked bool, hashes []string) {
	if q := f.table.project.Quarantined; q != "" {
		c.reason = reason{Quarantined, q}
		return
	}
	var files []*File
	for i := range f.group.targets {
		file, why := f.file(c, i, locked, hashes)
		if file == nil {
			c.reason = why
			return
		}
		files = append(files, file)
	}
	c.files = files
}

// file finds what a target installs.
func (f *filter) file(c *candidate, target int, locked bool, hashes []string) (*File, reason) {
	files, why := f.allowed(c, locked, f.group.targets[target])
	if files == nil {
		return nil, why
	}
	if len(hashes) > 0 {
		kept := slices.DeleteFunc(slices.Clone(files), func(file *File) bool { return !file.hasHash(hashes) })
		if best := f.best(kept, target); best != nil {
			return best, reason{}
		}
	}
	if best := f.best(files, target); best != nil {
		return best, reason{}
	}
	return nil, reason{NoWheel, f.group.targets[target].Name}
}

// best picks the best wheel, and a source distribution where there is none.
func (f *filter) best(files []*File, target int) *File {
	names := make([]string, len(files))
	wheels := make([]*pep508.WheelName, len(files))
	for i, file := range files {
		names[i], wheels[i] = file.Name, file.Wheel
	}
	if i := f.group.rankings[target].Best(wheels, names); i >= 0 {
		return files[i]
	}
	var best *File
	for _, file := range files {
		if file.Wheel == nil && (best == nil || file.Name < best.Name) {
			best = file
		}
	}
	return best
}

// allowed gives the files that count for a target, wheels of other platforms
// among them, or says what left none.
func (f *filter) allowed(c *candidate, locked bool, target Target) ([]*File, reason) {
	files := c.release.Files
	if len(files) == 0 {
		return nil, reason{NoFile, ""}
	}
	why := reason{}
	keep := func(ok func(*File) bool, kind FactKind, detail func([]*File) string) bool {
		kept := slices.DeleteFunc(slices.Clone(files), func(file *File) bool { return !ok(file) })
		if len(kept) == 0 {
			why = reason{kind, detail(files)}
		}
		files = kept
		return len(kept) > 0
	}
	text := func(s string) func([]*File) string { return func([]*File) string { return s } }
	for _, l := range f.lines {
		if l.URL == "" && l.Path == "" {
			continue
		}
		if !keep(func(file *File) bool { return l.asksFor(file) }, OtherFile, text(place(l.Pos))) {
			return nil, why
		}
	}
	if hashes, pos := f.hashes(); hashes != nil || f.plan.RequireHashes {
		if !keep(func(file *File) bool { return file.hasHash(hashes) }, NoHash, text(pos)) {
			return nil, why
		}
	}
	if limit := f.plan.ExcludeNewer; !limit.IsZero() {
		if !keep(func(file *File) bool {
			return file.Path != "" || (!file.Uploaded.IsZero() && !file.Uploaded.After(limit))
		},
			TooNew, text(limit.UTC().Format(time.RFC3339))) {
			return nil, why
		}
	}
	if !locked && !f.pinned(c) {
		if !keep(func(file *File) bool { return !file.Yanked }, Yanked, yankedReason) {
			return nil, why
		}
	} else if slices.ContainsFunc(files, func(file *File) bool { return !file.Yanked }) {
		keep(func(file *File) bool { return !file.Yanked }, Yanked, yankedReason)
	}
	if !f.plan.wheels(f.table.name) && !keep(func(file *File) bool { return file.Wheel == nil }, NoSdist, text("")) {
		return nil, why
	}
	if !f.plan.sdists(f.table.name) && !keep(func(file *File) bool { return file.Wheel != nil }, OnlySdist, text("")) {
		return nil, why
	}
	if !keep(func(file *File) bool { return file.RequiresPython.Contains(target.Python, pep440.Allow) }, NeedsPython, pythonOf) {
		return nil, why
	}
	return files, why
}

func (f *filter) pinned(c *candidate) bool {
	return slices.ContainsFunc(f.lines, func(l *line) bool { return pinned(l.Req.Specifiers, c.version) })
}

// hashes gives those that the lines allow, nil where no line has one.
func (f *filter) hashes() (hashes []string, pos string) {
	for _, l := range f.lines {
		for _, h := range l.Hashes {
			hashes = append(hashes, h.Algorithm+":"+h.Hex)
			pos = place(l.Pos)
		}
	}
	return hashes, pos
}

func (l *line) asksFor(f *File) bool {
	if l.Path != "" {
		return f.Path == l.Path
	}
	url, _, _ := strings.Cut(l.URL, "#")
	return f.URL == url || f.URL == l.URL
}

func (f *File) hasHash(hashes []string) bool {
	for algorithm, hex := range f.Hashes {
		if slices.Contains(hashes, algorithm+":"+hex) {
			return true
		}
	}
	return false
}

func yankedReason(files []*File) string {
	for _, f := range files {
		if f.YankedReason != "" {
			return f.YankedReason
		}
	}
	return ""
}

func pythonOf(files []*File) string {
	s := make([]string, len(files))
	for i, f := range files {
		s[i] = f.RequiresPython.String()
	}
	return slices.Max(s)
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

// A group is targets with the same environment for markers: they get the same
// versions, because no marker could tell them apart.
type group struct {
	targets  []Target
	rankings []*pep425.Ranking
}

func newGroup(targets []Target) *group {
	g := &group{targets: targets}
	for _, t := range targets {
		g.rankings = append(g.rankings, pep425.NewRanking(t.Tags))
	}
	return g
}

// applies reports whether a line counts for the group.
func (g *group) applies(l *line) (bool, error) {
	ok, err := l.Req.Marker.Evaluate(g.targets[0].Env)
	if err != nil {
		return false, &schema.Problem{Pos: l.Pos, Msg: fmt.Sprintf("%q: %v", l.Text, err)}
	}
	return ok, nil
}

// linesOf gives the lines and constraints of a project that count for the group.
func (g *group) linesOf(p *plan, name string) []*line {
	var lines []*line
	for _, l := range slices.Concat(p.lines, p.constraints) {
		if l.name == name {
			if ok, err := g.applies(l); ok && err == nil {
				lines = append(lines, l)
			}
		}
	}
	return lines
}
