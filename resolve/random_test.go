package resolve_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"appbundle/resolve"
	"appbundle/resolve/internal/resolvetest"
	"appbundle/schema"
	"appbundle/schema/pep425"
	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

var universes = flag.Int("universes", 1000, "how many random universes are solved")

// A small is a random universe in a form that a plain search reads.
type small struct {
	releases []resolvetest.Release
	metadata map[string]map[string][]*pep508.Requirement // by name and version
	yanked   map[string]bool                             // "name version"
	lines    []string
}

var names = []string{"a", "b", "c", "d", "e"}

func randomSmall(r *rand.Rand) *small {
	s := &small{metadata: make(map[string]map[string][]*pep508.Requirement), yanked: make(map[string]bool)}
	used := names[:2+r.IntN(len(names)-1)]
	for _, n := range used {
		s.metadata[n] = make(map[string][]*pep508.Requirement)
		for v := range 1 + r.IntN(4) {
			rel := resolvetest.Release{Name: n, Version: fmt.Sprint(v + 1), Extras: []string{"x"}}
			switch r.IntN(12) {
			case 0:
				rel.Yanked = true
			case 1:
				rel.Python = ">=3.12"
			}
			for range r.IntN(4) {
				rel.Requires = append(rel.Requires, randomRequirement(r, used, true))
			}
			s.releases = append(s.releases, rel)
			if rel.Python != "" {
				continue
			}
			if rel.Yanked {
				s.yanked[n+" "+rel.Version] = true
			}
			for _, text := range rel.Requires {
				q, err := pep508.Parse(text)
				if err != nil {
					panic(err)
				}
				s.metadata[n][rel.Version] = append(s.metadata[n][rel.Version], q)
			}
			if rel.Requires == nil {
				s.metadata[n][rel.Version] = nil
			}
		}
	}
	for range 1 + r.IntN(3) {
		s.lines = append(s.lines, randomRequirement(r, used, false))
	}
	return s
}

func randomRequirement(r *rand.Rand, used []string, extra bool) string {
	name := used[r.IntN(len(used))]
	if r.IntN(60) == 0 {
		name = "unknown"
	}
	text := name
	if r.IntN(5) == 0 {
		text += "[x]"
	}
	v, w := 1+r.IntN(4), 1+r.IntN(4)
	switch r.IntN(6) {
	case 0:
		text += fmt.Sprintf("==%d", v)
	case 1:
		text += fmt.Sprintf(">=%d", v)
	case 2:
		text += fmt.Sprintf("<%d", v+1)
	case 3:
		text += fmt.Sprintf("!=%d", v)
	case 4:
		text += fmt.Sprintf(">=%d,<=%d", min(v, w), max(v, w))
	}
	var markers []string
	if r.IntN(4) == 0 {
		markers = append(markers, fmt.Sprintf("sys_platform == %q", []string{"linux", "darwin"}[r.IntN(2)]))
	}
	if extra && r.IntN(4) == 0 {
		markers = append(markers, `extra == "x"`)
	}
	if markers != nil {
		text += "; " + strings.Join(markers, " and ")
	}
	return text
}

func (s *small) universe(t testing.TB, r *rand.Rand) *resolvetest.Universe {
	u := resolvetest.New()
	releases := slices.Clone(s.releases)
	if r != nil {
		r.Shuffle(len(releases), func(i, j int) { releases[i], releases[j] = releases[j], releases[i] })
	}
	for _, rel := range releases {
		if err := u.Add(rel); err != nil {
			t.Fatal(err)
		}
	}
	if r != nil {
		u.Each(func(p *resolve.Project) {
			r.Shuffle(len(p.Releases), func(i, j int) { p.Releases[i], p.Releases[j] = p.Releases[j], p.Releases[i] })
		})
	}
	return u
}

// A search looks for solutions by trying everything.
type search struct {
	s   *small
	env pep508.Env
	// found is called for every solution: versions by name, and the switches
	// that are on as "name[extra]". It returns false to stop.
	found func(map[string]string, map[string]bool) bool
	// pinned are the yanked releases that a line lets in, as in small.
	pinned map[string]bool
}

// run reports whether the search went to its end.
func (q search) run(lines []string) bool {
	var todo []*pep508.Requirement
	for _, l := range lines {
		r, err := pep508.Parse(l)
		if err != nil {
			panic(err)
		}
		if ok, _ := r.Marker.Evaluate(q.env); ok {
			todo = append(todo, r)
		}
	}
	q.pinned = make(map[string]bool)
	for _, r := range todo {
		if len(r.Specifiers) == 1 && r.Specifiers[0].Op == "==" {
			q.pinned[r.Name+" "+r.Specifiers[0].Text] = true
		}
	}
	return q.step(todo, map[string]string{}, map[string]bool{})
}

func (q search) step(todo []*pep508.Requirement, chosen map[string]string, on map[string]bool) bool {
	if len(todo) == 0 {
		return q.found(chosen, on)
	}
	r, rest := todo[0], todo[1:]
	have, ok := chosen[r.Name]
	if !ok {
		for _, v := range slices.Sorted(maps.Keys(q.s.metadata[r.Name])) {
			if key := r.Name + " " + v; q.s.yanked[key] && !q.pinned[key] {
				continue
			}
			next := maps.Clone(chosen)
			next[r.Name] = v
			if r.Specifiers.Contains(pep440.MustParse(v), pep440.Allow) &&
				!q.step(slices.Concat(todo, q.active(r.Name, v, "")), next, on) {
				return false
			}
		}
		return true
	}
	if !r.Specifiers.Contains(pep440.MustParse(have), pep440.Allow) {
		return true
	}
	for _, x := range r.Extras {
		key := r.Name + "[" + x + "]"
		if on[key] {
			continue
		}
		on = maps.Clone(on)
		on[key] = true
		rest = slices.Concat(rest, q.active(r.Name, have, x))
	}
	return q.step(rest, chosen, on)
}

// active gives the requirements of a version that count, or those that an extra
// adds.
func (q search) active(name, version, extra string) []*pep508.Requirement {
	var list []*pep508.Requirement
	for _, r := range q.s.metadata[name][version] {
		without, _ := r.Marker.Evaluate(q.env)
		with, _ := r.Marker.Evaluate(q.env, "x")
		if extra == "" && without || extra != "" && with && !without {
			list = append(list, r)
		}
	}
	return list
}

// some reports whether there is a solution.
func (q search) some(lines []string) bool {
	q.found = func(map[string]string, map[string]bool) bool { return false }
	return !q.run(lines)
}

// What a plain search says of random universes, Lock says too; its answer stays
// the same when pages come in another order, when it is given as the lock, and
// when releases are added that nobody can use; the lines of a conflict are
// enough for it and none of them is too much; and all that is derived on the way
// holds in every solution.
func TestRandomUniverses(t *testing.T) {
	targets := make([]resolve.Target, 2)
	for i, platform := range []string{"manylinux_2_28_x86_64", "macosx_14_0_arm64"} {
		target, err := pep425.ParseTarget(platform, "3.11")
		if err != nil {
			t.Fatal(err)
		}
		targets[i] = resolve.NewTarget(target)
	}
	none := 0
	for seed := range uint64(*universes) {
		r := rand.New(rand.NewPCG(seed, 2))
		s := randomSmall(r)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			if !checkUniverse(t, s, targets, r) {
				none++
			}
			if t.Failed() {
				t.Logf("lines %q, releases %+v", s.lines, s.releases)
			}
		})
	}
	t.Logf("%d of %d universes have no solution", none, *universes)
	if none < *universes/5 {
		t.Error("fewer than a fifth of the universes have no solution")
	}
}

// checkUniverse reports whether there is a solution.
func checkUniverse(t *testing.T, s *small, targets []resolve.Target, r *rand.Rand) bool {
	searches := make(map[string]search)
	for _, target := range targets {
		searches[target.Name] = search{s: s, env: target.Env}
	}
	resolve.HookLearned(func(target string, l resolve.Learned) {
		q := searches[target]
		q.found = func(chosen map[string]string, on map[string]bool) bool {
			for _, term := range l {
				value := chosen[term.Name]
				if term.Extra != "" {
					if value = ""; on[term.Name+"["+term.Extra+"]"] {
						value = "on"
					}
				}
				if !term.Has(value) {
					return true
				}
			}
			t.Errorf("%s: what was learned does not hold in %v %v", target, chosen, on)
			return false
		}
		q.run(s.lines)
	})
	req := resolve.Request{Requirements: lines(t, s.lines), Targets: targets}
	res, err := lock(t, s.universe(t, nil), req)
	resolve.HookLearned(nil)
	var no *resolve.ConflictError
	if errors.As(err, &no) {
		checkConflict(t, searches, no)
		if _, again := lock(t, s.universe(t, r), req); again == nil || again.Error() != no.Error() {
			t.Errorf("in another order the answer is\n%v\nand not\n%v", again, no)
		}
		return false
	}
	if err != nil {
		t.Error(err)
		return true
	}
	for i, target := range targets {
		got := versions(res.Solutions[i])
		q, seen := searches[target.Name], false
		q.found = func(chosen map[string]string, _ map[string]bool) bool {
			seen = seen || maps.Equal(chosen, got)
			return !seen
		}
		q.run(s.lines)
		if !seen {
			t.Errorf("%s: %v is no solution", target.Name, got)
		}
	}
	again := func(what string, s *small, req resolve.Request, r *rand.Rand) {
		other, err := lock(t, s.universe(t, r), req)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		for i := range targets {
			if got, want := versions(other.Solutions[i]), versions(res.Solutions[i]); !maps.Equal(got, want) {
				t.Errorf("%s: %s: %v, want %v", targets[i].Name, what, got, want)
			}
		}
	}
	again("in another order", s, req, r)
	more := *s
	for _, n := range names {
		more.releases = append(slices.Clone(more.releases), resolvetest.Release{Name: n, Version: "9", Python: ">=3.99"})
	}
	again("with releases that nobody can use", &more, req, nil)
	for _, target := range targets {
		one := req
		one.Targets = []resolve.Target{target}
		one.Locked = make(map[string][]resolve.Locked)
		first, err := resolve.Solve(t.Context(), s.universe(t, nil), one)
		if err != nil {
			t.Error(err)
			continue
		}
		for n, v := range versions(first) {
			one.Locked[n] = []resolve.Locked{{Version: v}}
		}
		second, err := resolve.Solve(t.Context(), s.universe(t, nil), one)
		if err != nil || !maps.Equal(versions(first), versions(second)) {
			t.Errorf("%s: the lock %v gives %v, %v", target.Name, versions(first), second, err)
		}
	}
	return true
}

func lock(t *testing.T, u *resolvetest.Universe, req resolve.Request) (*resolve.Resolution, error) {
	t.Helper()
	return resolve.Lock(t.Context(), u, req)
}

func checkConflict(t *testing.T, searches map[string]search, no *resolve.ConflictError) {
	t.Helper()
	q := searches[no.Target]
	var core []string
	for _, l := range no.Lines {
		core = append(core, l.Text)
	}
	if q.some(core) {
		t.Errorf("%s: the lines %q have a solution", no.Target, core)
	}
	for i := range core {
		if less := slices.Delete(slices.Clone(core), i, i+1); len(core) > 1 && !q.some(less) {
			t.Errorf("%s: of the lines %q, %q is too much", no.Target, core, core[i])
		}
	}
	if text := no.Error(); strings.Count(text, "\n") >= 15 {
		t.Errorf("%d lines: %s", strings.Count(text, "\n")+1, text)
	}
	if no.Explain() == "" {
		t.Error("no explanation")
	}
}

func lines(t testing.TB, text []string) []schema.Package {
	t.Helper()
	r, problems := schema.ParseRequirements("dependencies.txt", []byte(strings.Join(text, "\n")))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return r.Packages
}

// With pre-releases among the versions, an answer is one of those that a plain
// search finds where they all count, each pre-release in it has a reason, and no
// answer means that there is none without those that nobody names.
func TestRandomPrereleases(t *testing.T) {
	target, err := pep425.ParseTarget("manylinux_2_28_x86_64", "3.11")
	if err != nil {
		t.Fatal(err)
	}
	targets := []resolve.Target{resolve.NewTarget(target)}
	some := 0
	for seed := range uint64(*universes / 3) {
		r := rand.New(rand.NewPCG(seed, 3))
		s := withPrereleases(randomSmall(r), r)
		res, err := lock(t, s.universe(t, nil), resolve.Request{Requirements: lines(t, s.lines), Targets: targets})
		if err != nil {
			if finals := s.finals(); (search{s: finals, env: target.Env}).some(finals.lines) {
				t.Errorf("seed %d: %v, though final releases will do: lines %q, releases %+v", seed, err, s.lines, s.releases)
			}
			continue
		}
		got, seen := versions(res.Solutions[0]), false
		q := search{s: s, env: target.Env, found: func(chosen map[string]string, _ map[string]bool) bool {
			seen = seen || maps.Equal(chosen, got)
			return !seen
		}}
		q.run(s.lines)
		if !seen {
			t.Errorf("seed %d: %v is no solution of lines %q, releases %+v", seed, got, s.lines, s.releases)
		}
		for _, p := range res.Packages {
			if p.Version.IsPrerelease() != (p.Prerelease != "") {
				t.Errorf("seed %d: %s %s has the reason %q", seed, p.Name, p.Version, p.Prerelease)
			}
			if p.Prerelease != "" {
				some++
			}
		}
	}
	if some == 0 {
		t.Error("no pre-release was ever chosen")
	}
}

// withPrereleases turns some versions, and the ends of some ranges, into release
// candidates.
func withPrereleases(s *small, r *rand.Rand) *small {
	p := &small{metadata: make(map[string]map[string][]*pep508.Requirement), yanked: make(map[string]bool)}
	change := func(text string) string {
		if i := strings.LastIndexAny(text, "=<>"); i >= 0 && !strings.Contains(text, ";") && !strings.Contains(text, "!=") && r.IntN(6) == 0 {
			return text + "rc1"
		}
		return text
	}
	for _, rel := range s.releases {
		if rel.Yanked || rel.Python != "" {
			continue
		}
		if r.IntN(3) == 0 {
			rel.Version += "rc1"
		}
		var reqs []*pep508.Requirement
		rel.Requires = slices.Clone(rel.Requires)
		for i, text := range rel.Requires {
			rel.Requires[i] = change(text)
			q, err := pep508.Parse(rel.Requires[i])
			if err != nil {
				panic(err)
			}
			reqs = append(reqs, q)
		}
		if p.metadata[rel.Name] == nil {
			p.metadata[rel.Name] = make(map[string][]*pep508.Requirement)
		}
		p.metadata[rel.Name][rel.Version] = reqs
		p.releases = append(p.releases, rel)
	}
	for _, l := range s.lines {
		p.lines = append(p.lines, change(l))
	}
	return p
}

// finals gives the universe without pre-releases.
func (s *small) finals() *small {
	f := *s
	f.metadata = make(map[string]map[string][]*pep508.Requirement)
	for n, all := range s.metadata {
		f.metadata[n] = make(map[string][]*pep508.Requirement)
		for v, reqs := range all {
			if !strings.HasSuffix(v, "rc1") {
				f.metadata[n][v] = reqs
			}
		}
	}
	return &f
}
