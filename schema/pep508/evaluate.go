package pep508

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"appbundle/schema/pep440"
)

// An Env describes the target that markers are answered for. The names are
// those of the variables.
type Env struct {
	ImplementationName           string `json:"implementation_name"`
	ImplementationVersion        string `json:"implementation_version"`
	OSName                       string `json:"os_name"`
	PlatformMachine              string `json:"platform_machine"`
	PlatformPythonImplementation string `json:"platform_python_implementation"`
	PlatformRelease              string `json:"platform_release"`
	PlatformSystem               string `json:"platform_system"`
	PlatformVersion              string `json:"platform_version"`
	PythonFullVersion            string `json:"python_full_version"`
	PythonVersion                string `json:"python_version"`
	SysPlatform                  string `json:"sys_platform"`

	// Extras and DependencyGroups are the sets of PEP 751, which only locks
	// have: "'x' in extras".
	Extras           []string `json:"extras,omitempty"`
	DependencyGroups []string `json:"dependency_groups,omitempty"`
}

func (e *Env) value(name, extra string) string {
	switch name {
	case "implementation_name":
		return e.ImplementationName
	case "implementation_version":
		return e.ImplementationVersion
	case "os_name":
		return e.OSName
	case "platform_machine":
		return e.PlatformMachine
	case "platform_python_implementation":
		return e.PlatformPythonImplementation
	case "platform_release":
		return e.PlatformRelease
	case "platform_system":
		return e.PlatformSystem
	case "platform_version":
		return e.PlatformVersion
	case "python_full_version":
		// A build from a branch calls itself "3.14.0a1+".
		if strings.HasSuffix(e.PythonFullVersion, "+") {
			return e.PythonFullVersion + "local"
		}
		return e.PythonFullVersion
	case "python_version":
		return e.PythonVersion
	case "sys_platform":
		return e.SysPlatform
	}
	return NormalizeName(extra)
}

// Errors of markers that no environment answers.
var (
	ErrNoVariable          = errors.New("a marker must compare a variable")
	ErrUndefinedComparison = errors.New("undefined comparison in a marker")
)

// Evaluate answers m for env and the extras that were asked for: it is true
// where it is for one of them, or without any where there are none. A nil
// marker is true.
func (m *Marker) Evaluate(env Env, extras ...string) (bool, error) {
	if m == nil {
		return true, nil
	}
	if len(extras) == 0 {
		extras = []string{""}
	}
	for _, x := range extras {
		if ok, err := evaluate(m.root, &env, x); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// evaluate looks at every comparison, so that a bad one is an error in every
// environment.
func evaluate(node any, env *Env, extra string) (bool, error) {
	g, ok := node.(group)
	if !ok {
		return node.(comparison).evaluate(env, extra)
	}
	result := !g.any
	for _, it := range g.items {
		ok, err := evaluate(it, env, extra)
		if err != nil {
			return false, err
		}
		if ok == g.any {
			result = g.any
		}
	}
	return result, nil
}

func (c comparison) evaluate(env *Env, extra string) (bool, error) {
	key := c.lhs.variable
	if key == "" {
		key = c.rhs.variable
	}
	switch {
	case key == "":
		return false, fmt.Errorf("%w: %s %s %s", ErrNoVariable, c.lhs, c.op, c.rhs)
	case isSet(c.lhs.variable) || isSet(c.rhs.variable):
		return c.member(env)
	}
	lhs, rhs := c.lhs.value(env, extra), c.rhs.value(env, extra)
	if isVersionKey(key) && c.op != "in" && c.op != "not in" {
		if spec, err := pep440.ParseSpecifier(c.op + rhs); err == nil {
			return pep440.Specifiers{spec}.ContainsText(lhs, pep440.Allow), nil
		}
	}
	switch c.op {
	case "==", "<=", ">=":
		return lhs == rhs, nil
	case "!=":
		return lhs != rhs, nil
	case "<", ">":
		return false, nil
	case "in":
		return strings.Contains(rhs, lhs), nil
	case "not in":
		return !strings.Contains(rhs, lhs), nil
	}
	return false, fmt.Errorf("%w: %s %s %s", ErrUndefinedComparison, c.lhs, c.op, c.rhs)
}

func (c comparison) member(env *Env) (bool, error) {
	set := env.Extras
	if c.rhs.variable == "dependency_groups" {
		set = env.DependencyGroups
	}
	if c.lhs.variable != "" || c.op != "in" && c.op != "not in" {
		return false, fmt.Errorf("%w: %s %s %s", ErrUndefinedComparison, c.lhs, c.op, c.rhs)
	}
	want := NormalizeName(c.lhs.literal)
	has := slices.ContainsFunc(set, func(s string) bool { return NormalizeName(s) == want })
	return has == (c.op == "in"), nil
}

func (o operand) value(env *Env, extra string) string {
	if o.variable == "" {
		return o.literal
	}
	return env.value(o.variable, extra)
}

func isSet(name string) bool { return name == "extras" || name == "dependency_groups" }

func isVersionKey(name string) bool {
	switch name {
	case "implementation_version", "platform_release", "python_full_version", "python_version":
		return true
	}
	return false
}
