package resolve_test

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"appbundle/resolve"
	"appbundle/resolve/internal/resolvetest"
	"appbundle/schema/pep508"
)

var (
	scenarios = flag.String("scenarios", "testdata/scenarios", "a directory of scenarios")
	expected  = flag.String("expected", "testdata/scenarios/expected.json", "what other resolvers answer to them")
)

// Scenarios get the answer of another resolver, or a test says why not. Those of
// a directory named by flags are reported with -v.
func TestScenarios(t *testing.T) {
	data, err := os.ReadFile(*expected)
	if err != nil {
		t.Fatal(err)
	}
	list, pythons, err := parseExpected(data)
	if err != nil || len(list) == 0 {
		t.Fatalf("%s: %d scenarios, %v", *expected, len(list), err)
	}
	counts := make(map[string]int)
	for _, e := range list {
		t.Run(e.Scenario, func(t *testing.T) {
			s, u := load(t, e.File)
			verdict := single(t, e, s, u, cmp.Or(pythons[e.Python], e.Python))
			counts[verdict]++
			if s.Resolver.Universal {
				counts["several targets: "+several(t, e, s, u, cmp.Or(pythons[e.Python], e.Python))]++
			}
		})
	}
	for _, verdict := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%4d %s", counts[verdict], verdict)
	}
}

func load(t *testing.T, name string) (*scenario, *resolvetest.Universe) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(*scenarios, name))
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseScenario(string(text))
	if err != nil {
		t.Fatal(err)
	}
	var first *resolvetest.Universe
	if s.Options.ExtraIndex != "" {
		_, first = load(t, filepath.Join(filepath.Dir(name), s.Options.ExtraIndex+".toml"))
	}
	u, err := s.universe(first)
	if err != nil {
		t.Fatal(err)
	}
	return s, u
}

// single compares the answer for one target.
func single(t *testing.T, e expectation, s *scenario, u *resolvetest.Universe, python string) string {
	t.Helper()
	req, err := s.request([]string{"manylinux_2_36_x86_64"}, python)
	if err != nil {
		t.Fatal(err)
	}
	var ours reply
	solution, err := resolve.Solve(t.Context(), u, req)
	var no *resolve.ConflictError
	switch {
	case err == nil:
		ours.OK = true
		ours.Packages = versions(solution)
	case !errors.As(err, &no):
		t.Fatal(err)
	}
	uv, pip := same(ours, e.UV), same(ours, e.Pip)
	switch {
	case uv && pip:
		return "as both"
	case uv:
		t.Logf("as uv: ours %v, pip %v", show(ours), show(e.Pip))
		return "as uv, not as pip"
	case pip:
		t.Logf("as pip: ours %v, uv %v", show(ours), show(e.UV))
		return "as pip, not as uv"
	}
	t.Logf("as nobody: ours %v, uv %v, pip %v", show(ours), show(e.UV), show(e.Pip))
	if no != nil {
		t.Log(no)
	}
	return "as nobody"
}

// several compares the answers for Linux and macOS with the lines whose markers
// hold there.
func several(t *testing.T, e expectation, s *scenario, u *resolvetest.Universe, python string) string {
	t.Helper()
	req, err := s.request([]string{"manylinux_2_36_x86_64", "macosx_14_0_arm64"}, python)
	if err != nil {
		t.Fatal(err)
	}
	r, err := resolve.Lock(t.Context(), u, req)
	var no *resolve.ConflictError
	if err != nil && !errors.As(err, &no) {
		t.Fatal(err)
	}
	if (err == nil) != e.Universal.OK {
		t.Logf("several: ours %v, uv %v", err == nil, e.Universal.OK)
		return "as nobody"
	}
	verdict := "as uv"
	for i, target := range req.Targets {
		if err != nil {
			break
		}
		want := reply{OK: true, Packages: make(map[string]string)}
		for _, l := range e.Universal.Lines {
			q, err := pep508.Parse(l)
			if err != nil {
				t.Fatal(err)
			}
			if ok, err := q.Marker.Evaluate(target.Env); err == nil && ok {
				want.Packages[q.Key()] = q.Specifiers[0].Text
			}
		}
		got := reply{OK: true, Packages: versions(r.Solutions[i])}
		if !same(got, want) {
			t.Logf("several: %s: ours %v, uv %v", target.Name, show(got), show(want))
			verdict = "other versions"
		}
	}
	return verdict
}

func versions(s *resolve.Solution) map[string]string {
	m := make(map[string]string)
	for _, p := range s.Packages {
		m[p.Name] = p.Version.String()
	}
	return m
}

func same(a, b reply) bool { return a.OK == b.OK && maps.Equal(a.Packages, b.Packages) }

func show(a reply) string {
	if !a.OK {
		return "no"
	}
	var list []string
	for _, n := range slices.Sorted(maps.Keys(a.Packages)) {
		list = append(list, fmt.Sprintf("%s %s", n, a.Packages[n]))
	}
	return "{" + strings.Join(list, ", ") + "}"
}
