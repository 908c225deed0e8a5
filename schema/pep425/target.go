package pep425

import (
	"fmt"

	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

// A Target is a Python on a platform, and all that a lock or an installer asks
// of it.
type Target struct {
	Name     string // of the ABI and the platform: "cp311-manylinux_2_28_x86_64"
	Python   pep440.Version
	Platform Platform
	Env      pep508.Env // what markers are answered from
	Tags     []string   // wheel tags that fit, best first
}

// ParseTarget makes a target of a platform, as [ParsePlatform] reads it, and a
// Python: a full version ("3.11.7"), or one without the last number or a tag
// ("3.11", "cp311", "cp313t"), which means the first release of it.
func ParseTarget(platform, python string) (Target, error) {
	p, err := ParsePlatform(platform)
	if err != nil {
		return Target{}, err
	}
	py, err := ParsePython(python)
	if err != nil {
		return Target{}, err
	}
	full, err := pep440.Parse(python)
	if err != nil || len(full.Release()) < 3 {
		full = pep440.MustParse(py.Version() + ".0")
	}
	return NewTarget(py, full, p), nil
}

// NewTarget makes a target. What a wheel cannot know, the release and version
// of the kernel, is empty in its markers.
func NewTarget(py Python, full pep440.Version, p Platform) Target {
	env := pep508.Env{
		ImplementationName:           "cpython",
		ImplementationVersion:        full.String(),
		OSName:                       "posix",
		PlatformMachine:              p.Arch,
		PlatformPythonImplementation: "CPython",
		PlatformSystem:               "Linux",
		PythonFullVersion:            full.String(),
		PythonVersion:                py.Version(),
		SysPlatform:                  "linux",
	}
	if p.Kind == MacOS {
		env.PlatformSystem, env.SysPlatform = "Darwin", "darwin"
	}
	return Target{
		Name:     fmt.Sprintf("%s-%s", py.ABI(), p),
		Python:   full,
		Platform: p,
		Env:      env,
		Tags:     Tags(py, p.Tags()),
	}
}
