package resolve

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"appbundle/resolve/internal/pubgrub"
	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

// A world is one run of the solver for one group of targets: it tells the
// solver what there is, as the solver comes to ask.
type world struct {
	plan  *plan
	group *group
	cache *cache
	// prefer is what other targets got, by name.
	prefer map[string]pep440.Version
	tables *tables
	builds *builds

	solver   *pubgrub.Solver
	projects map[string]*project
	entities []entity // by pubgrub.Pkg
	tried    int
	// raised are the requirements of dependencies that let pre-releases in, by
	// name.
	raised map[string]string
}

// An entity is what a package of the solver stands for: a project, or one of
// its extras, which is a switch.
type entity struct {
	project *project
	extra   string
}

// A project is a table as the solver knows it.
type project struct {
	*table
	pkg    pubgrub.Pkg
	extras map[string]pubgrub.Pkg
	fitted map[string]pubgrub.Set // by specifiers
	tried  int
	// known is the metadata of candidates that were tried; expanded says which
	// of their extras the solver knows, "" for the release itself.
	known    map[int]*Metadata
	expanded map[expansion]bool
}

type expansion struct {
	candidate int
	extra     string
}

// A raise says that a run has to begin anew, because pre-releases of a project
// have to count.
type raise struct{ name, by string }

func (r *raise) Error() string { return fmt.Sprintf("pre-releases of %s count, by %s", r.name, r.by) }

func newWorld(p *plan, g *group, c *cache, t *tables, b *builds, prefer map[string]pep440.Version, raised map[string]string) *world {
	w := &world{plan: p, group: g, cache: c, prefer: prefer, tables: t, builds: b, raised: raised, projects: make(map[string]*project)}
	w.solver = &pubgrub.Solver{Source: w, Learned: learnedHook(w)}
	return w
}

// start tells the solver what the user's lines say.
func (w *world) start(ctx context.Context) error {
	var lines []*line
	for _, l := range w.plan.lines {
		ok, err := w.group.applies(l)
		if err != nil {
			return err
		}
		if ok {
			lines = append(lines, l)
			w.ahead(l.name, &l.Req)
		}
	}
	for _, l := range lines {
		p, err := w.project(ctx, l.name)
		if err != nil {
			return err
		}
		w.solver.Add(leaf{kind: Asked, line: l, name: l.name}, pubgrub.Term{Pkg: p.pkg, Set: w.solver.Not(p.pkg, p.fit(l.Req.Specifiers))})
		for _, extra := range l.extras {
			w.solver.Add(leaf{kind: Asked, line: l, name: l.name, extra: extra}, w.off(p, extra))
		}
	}
	return nil
}

// project gives what the solver knows of a project, and tells it where it is
// new.
func (w *world) project(ctx context.Context, name string) (*project, error) {
	if p := w.projects[name]; p != nil {
		return p, nil
	}
	t, err := w.table(ctx, name)
	if err != nil {
		return nil, err
	}
	p := &project{
		table:    t,
		pkg:      w.solver.AddPackage(len(t.list)),
		extras:   make(map[string]pubgrub.Pkg),
		fitted:   make(map[string]pubgrub.Set),
		known:    make(map[int]*Metadata),
		expanded: make(map[expansion]bool),
	}
	w.projects[name] = p
	w.entities = append(w.entities, entity{project: p})
	w.refuse(p)
	for _, l := range w.plan.constraints {
		if l.name != name {
			continue
		}
		ok, err := w.group.applies(l)
		if err != nil {
			return nil, err
		}
		if ok {
			w.forbid(p, leaf{kind: Constrained, line: l, name: name}, w.solver.Not(p.pkg, p.fit(l.Req.Specifiers)))
		}
	}
	return p, nil
}

// refuse tells the solver which candidates do not count, a reason at a time.
func (w *world) refuse(p *project) {
	sets := make(map[reason]pubgrub.Set)
	var order []reason
	add := func(why reason, candidate int) {
		if sets[why] == nil {
			sets[why] = pubgrub.NewSet(len(p.list))
			order = append(order, why)
		}
		sets[why].Put(candidate)
	}
	for i := range p.list {
		switch c := i + 1; {
		case p.list[i].files == nil:
			add(p.list[i].reason, c)
		case p.pre.Has(c) && c != p.locked && w.admitted(p.table) == "":
			add(reason{Prerelease, ""}, c)
		}
	}
	for _, why := range order {
		w.forbid(p, leaf{kind: why.kind, name: p.name, detail: why.detail}, sets[why])
	}
}

// forbid says that p is none of set. Facts of one kind and detail are one.
func (w *world) forbid(p *project, l leaf, set pubgrub.Set) {
	set = set.Candidates()
	if set.Empty() {
		return
	}
	detail := string(l.kind) + "\x00" + l.detail
	if l.line != nil {
		detail += l.line.Pos.String()
	}
	w.solver.Imply(l, detail, p.pkg, set)
}

// admitted says why pre-releases of a project count, "" where they do not.
func (w *world) admitted(t *table) string {
	switch {
	case w.plan.Prereleases:
		return "all pre-releases are allowed"
	case t.named != nil:
		return place(t.named.Pos) + " names one"
	case !t.final:
		return "no final release fits"
	}
	return w.raised[t.name]
}

// fit gives the candidates that specifiers allow.
func (p *project) fit(specs pep440.Specifiers) pubgrub.Set {
	key := specs.String()
	set := p.fitted[key]
	if set == nil {
		set = p.fits(specs)
		p.fitted[key] = set
	}
	return set
}

// off is the term that says that nobody asks for an extra.
func (w *world) off(p *project, extra string) pubgrub.Term {
	pkg, ok := p.extras[extra]
	if !ok {
		pkg = w.solver.AddPackage(1)
		p.extras[extra] = pkg
		w.entities = append(w.entities, entity{p, extra})
	}
	set := pubgrub.NewSet(1)
	set.Put(0)
	return pubgrub.Term{Pkg: pkg, Set: set}
}

// Order puts an extra after its project, and before all others: it has no
// choice of its own.
func (w *world) Order(pkg pubgrub.Pkg) pubgrub.Order {
	e := w.entities[pkg]
	switch {
	case e.extra == "":
		return pubgrub.Normal
	case w.solver.Decided(e.project.pkg) == 0:
		return pubgrub.Later
	}
	return pubgrub.First
}

// Choose picks the version to try.
func (w *world) Choose(pkg pubgrub.Pkg, allowed pubgrub.Set) int {
	e := w.entities[pkg]
	if e.extra != "" {
		return 1
	}
	return w.choose(e.project.table, allowed)
}

func (w *world) choose(t *table, allowed pubgrub.Set) int {
	if t.locked > 0 && allowed.Has(t.locked) {
		return t.locked
	}
	if v, ok := w.prefer[t.name]; ok {
		for i := range t.list {
			if t.list[i].version.Compare(v) == 0 && allowed.Has(i+1) {
				return i + 1
			}
		}
	}
	if finals := allowed.Minus(t.pre); !w.plan.Prereleases && t.named == nil && !finals.Empty() {
		allowed = finals
	}
	if binary := allowed.And(t.binary); w.plan.PreferBinary && !binary.Empty() {
		allowed = binary
	}
	if w.plan.Strategy == Lowest || w.plan.Strategy == LowestDirect && t.direct {
		return allowed.Min()
	}
	return allowed.Max()
}

// Expand tells the solver what a version asks for.
func (w *world) Expand(ctx context.Context, pkg pubgrub.Pkg, candidate int) error {
	e := w.entities[pkg]
	p := e.project
	if e.extra != "" {
		candidate = w.solver.Decided(p.pkg)
	}
	key := expansion{candidate, e.extra}
	if p.expanded[key] {
		return nil
	}
	p.expanded[key] = true
	if e.extra != "" {
		return w.require(ctx, p, candidate, e.extra)
	}
	if w.tried == w.plan.MaxVersions {
		return w.limit(0)
	}
	w.tried++
	p.tried++
	w.batch(p, candidate)
	md, why, err := w.read(ctx, p, candidate)
	if err != nil {
		return err
	}
	if md == nil {
		set := pubgrub.NewSet(len(p.list))
		set.Put(candidate)
		w.forbid(p, leaf{kind: why.kind, name: p.name, detail: why.detail}, set)
		return nil
	}
	p.known[candidate] = md
	return w.require(ctx, p, candidate, "")
}

// read gives the metadata of a candidate, or why it does not count.
func (w *world) read(ctx context.Context, p *project, candidate int) (*Metadata, reason, error) {
	c := &p.list[candidate-1]
	if why, bad := w.unfit(p, c); bad {
		return nil, why, nil
	}
	if c.files[0].Wheel == nil && w.plan.guess && !w.cache.described(c.files[0]) {
		return nil, reason{NoMetadata, "it was not built to find out"}, nil
	}
	md, err := w.cache.describe(p.name, c.release, c.files[0]).wait(ctx)
	var bad *MetadataError
	switch {
	case errors.As(err, &bad):
		return nil, reason{NoMetadata, bad.Reason}, nil
	case err != nil:
		return nil, reason{}, w.blame(err, p, candidate)
	case md.Built && !w.plan.AllowBuild:
		return nil, reason{NoMetadata, "only a build tells what it requires, and builds are not allowed"}, nil
	case md.Built && w.plan.Build != nil && c.files[0].Wheel == nil:
		if _, err := w.build(ctx, p, candidate, c.files[0]); err != nil {
			return nil, reason{}, err
		}
		if why, bad := w.unfit(p, c); bad {
			return nil, why, nil
		}
	}
	w.cache.told(c.release, c.files[0])
	for _, t := range w.group.targets {
		if !md.RequiresPython.Contains(t.Python, pep440.Allow) {
			return nil, reason{NeedsPython, md.RequiresPython.String()}, nil
		}
	}
	return md, reason{}, nil
}

// require adds the requirements of a candidate, those of one of its extras
// where extra is not "".
func (w *world) require(ctx context.Context, p *project, candidate int, extra string) error {
	md := p.known[candidate]
	set := pubgrub.NewSet(len(p.list))
	set.Put(candidate)
	reqs, err := requirements(md, w.group.targets[0].Env, extra)
	if err != nil {
		w.forbid(p, leaf{kind: NoMetadata, name: p.name, detail: err.Error()}, set)
		return nil
	}
	for _, r := range reqs {
		w.ahead(r.Key(), r)
	}
	for _, r := range reqs {
		if err := w.requireOne(ctx, p, set, extra, r); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) requireOne(ctx context.Context, p *project, set pubgrub.Set, extra string, r *pep508.Requirement) error {
	name := r.Key()
	l := leaf{kind: Requires, name: p.name, extra: extra, req: r, detail: bare(r)}
	var when []pubgrub.Term // but for p
	if extra != "" {
		off := w.off(p, extra)
		when = append(when, pubgrub.Term{Pkg: off.Pkg, Set: w.solver.Not(off.Pkg, off.Set)})
	}
	if r.URL != "" && !w.mayUse(name, r.URL) {
		w.solver.Imply(leaf{kind: ByURL, name: p.name, extra: extra, detail: r.String()}, "url\x00"+extra+"\x00"+r.String(), p.pkg, set, when...)
		return nil
	}
	to, err := w.project(ctx, name)
	if err != nil {
		return err
	}
	fit := to.fit(r.Specifiers)
	if r.Specifiers.NamesPrerelease() && to.pre.And(fit).Meets(to.usable) && w.admitted(to.table) == "" {
		return &raise{name, p.name + " needs " + bare(r)}
	}
	detail := extra + "\x00" + bare(r)
	if to != p {
		others := append(slices.Clone(when), pubgrub.Term{Pkg: to.pkg, Set: w.solver.Not(to.pkg, fit)})
		w.solver.Imply(l, detail, p.pkg, set, others...)
	} else if wrong := set.Minus(fit); !wrong.Empty() {
		w.solver.Imply(l, detail, p.pkg, wrong, when...)
	}
	for _, x := range normalised(r.Extras) {
		if to == p && x == extra {
			continue
		}
		w.solver.Imply(l, detail+"\x00"+x, p.pkg, set, append(slices.Clone(when), w.off(to, x))...)
	}
	return nil
}

// mayUse reports whether a line of the user asks for a URL.
func (w *world) mayUse(name, url string) bool {
	return slices.ContainsFunc(w.group.linesOf(w.plan, name), func(l *line) bool { return l.asksFor(&File{URL: url}) })
}
