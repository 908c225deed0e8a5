package schema

import (
	"regexp"

	"appbundle/schema/pep508"
)

const (
	// LegacyBackend builds what says nothing of how it is built.
	LegacyBackend = "setuptools.build_meta:__legacy__"
	// LegacyRequirement is what the legacy backend is in.
	LegacyRequirement = "setuptools>=40.8.0"
	// MaxBuildRequires is how many requirements a [build-system] has.
	MaxBuildRequires = 1000
)

// A BuildSystem is [build-system] of pyproject.toml (PEP 517, PEP 518): how a
// source distribution is built.
type BuildSystem struct {
	Requires []*pep508.Requirement
	Backend  string // "module:object.attribute"
	// BackendPath are directories in the source distribution that the backend is
	// in; none means that it is in what is required.
	BackendPath []string
}

// DefaultBuildSystem is that of a source distribution that has no [build-system].
func DefaultBuildSystem() *BuildSystem {
	legacy, err := pep508.Parse(LegacyRequirement)
	if err != nil {
		panic(err) // it is a constant
	}
	return &BuildSystem{Requires: []*pep508.Requirement{legacy}, Backend: LegacyBackend}
}

var backendName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*(:[A-Za-z_][A-Za-z0-9_.]*)?$`)

// ParseBuildSystem reads the [build-system] table of a pyproject.toml; nothing
// else in the file is looked at. Where there is no such table, or one without a
// backend, the legacy one counts.
func ParseBuildSystem(file string, data []byte) (*BuildSystem, Problems) {
	var problems Problems
	if len(data) > MaxFile {
		problems.Add(Pos{File: file}, "", "the file has %d bytes, more than %d", len(data), MaxFile)
		return nil, problems
	}
	f := parseTOML(file, data, &problems)
	if f == nil {
		return nil, problems
	}
	r := &tomlReader{file: file, lines: f.lines, problems: &problems}
	t := r.table("", f.root).table("build-system")
	if t == nil {
		return DefaultBuildSystem(), problems
	}
	b := &BuildSystem{Backend: t.str("build-backend"), BackendPath: t.strs("backend-path")}
	if b.Backend == "" {
		b.Backend = LegacyBackend
	}
	if !backendName.MatchString(b.Backend) {
		t.bad("build-backend", "%s names no object of a module", quote(b.Backend))
	}
	for _, dir := range b.BackendPath {
		if dir != "." && !isCleanPath(dir) {
			t.bad("backend-path", "%s is not below the source distribution", quote(dir))
		}
	}
	texts := t.strs("requires")
	if _, has := t.m["requires"]; !has {
		problems.Add(t.pos(), "", "requires is missing")
	}
	if len(texts) > MaxBuildRequires {
		t.bad("requires", "has %d elements, more than %d", len(texts), MaxBuildRequires)
		texts = nil
	}
	for i, text := range texts {
		req, err := pep508.Parse(text)
		if err != nil {
			problems.Add(t.at("requires"+index(i)), "", "requires: %s: %v", quote(text), err)
			continue
		}
		b.Requires = append(b.Requires, req)
	}
	return b, problems.inOrder()
}
