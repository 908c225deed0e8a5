package resolve

import (
	"fmt"
	"slices"
	"strings"

	"appbundle/schema/pep508"
)

// variables are those that tell targets apart, the ones that read best first.
var variables = []struct {
	name  string
	value func(pep508.Env) string
}{
	{"sys_platform", func(e pep508.Env) string { return e.SysPlatform }},
	{"platform_machine", func(e pep508.Env) string { return e.PlatformMachine }},
	{"python_version", func(e pep508.Env) string { return e.PythonVersion }},
	{"python_full_version", func(e pep508.Env) string { return e.PythonFullVersion }},
	{"implementation_name", func(e pep508.Env) string { return e.ImplementationName }},
	{"implementation_version", func(e pep508.Env) string { return e.ImplementationVersion }},
	{"platform_python_implementation", func(e pep508.Env) string { return e.PlatformPythonImplementation }},
	{"os_name", func(e pep508.Env) string { return e.OSName }},
	{"platform_system", func(e pep508.Env) string { return e.PlatformSystem }},
	{"platform_release", func(e pep508.Env) string { return e.PlatformRelease }},
	{"platform_version", func(e pep508.Env) string { return e.PlatformVersion }},
}

// markers gives a marker for every part of environments: true in its own, and
// false in those of the other parts and of rest. The parts are told apart by the
// same variables, as few as will do, so that no environment, declared or not,
// is in two of them. A single part without rest needs no marker.
func markers(parts [][]pep508.Env, rest []pep508.Env) ([]*pep508.Marker, error) {
	if len(parts) == 1 && len(rest) == 0 {
		return []*pep508.Marker{nil}, nil
	}
	all := append(slices.Clone(parts), rest)
	var use []int
	for n := 1; n <= len(variables) && use == nil; n++ {
		use = choose(nil, 0, n, func(vars []int) bool { return separate(all, vars) })
	}
	if use == nil {
		return nil, fmt.Errorf("no marker tells the targets apart")
	}
	var list []*pep508.Marker
	for _, part := range parts {
		m, err := pep508.ParseMarker(spell(part, use))
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

// choose gives the first combination of n variables from the index from on that
// will do, nil for none.
func choose(vars []int, from, n int, will func([]int) bool) []int {
	if n == 0 {
		if will(vars) {
			return slices.Clone(vars)
		}
		return nil
	}
	for i := from; i < len(variables); i++ {
		if got := choose(append(vars, i), i+1, n-1, will); got != nil {
			return got
		}
	}
	return nil
}

// separate reports whether some variables tell all parts apart.
func separate(parts [][]pep508.Env, vars []int) bool {
	owner := make(map[string]int)
	for i, part := range parts {
		for _, env := range part {
			key := term(env, vars)
			if o, ok := owner[key]; ok && o != i {
				return false
			}
			owner[key] = i
		}
	}
	return true
}

// spell writes a marker that is true in some environments.
func spell(envs []pep508.Env, vars []int) string {
	var terms []string
	for _, env := range envs {
		if t := term(env, vars); !slices.Contains(terms, t) {
			terms = append(terms, t)
		}
	}
	slices.Sort(terms)
	return strings.Join(terms, " or ")
}

func term(env pep508.Env, vars []int) string {
	var parts []string
	for _, v := range vars {
		parts = append(parts, fmt.Sprintf("%s == %q", variables[v].name, variables[v].value(env)))
	}
	return strings.Join(parts, " and ")
}
