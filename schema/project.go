package schema

import (
	"maps"
	"slices"
)

// A Project is what pyproject.toml says of a project without anything being run
// (PEP 621). A value that is not given is empty.
type Project struct {
	Pos          // of [project]; no line where there is none
	Name         Located
	Version      Located
	Description  Located
	License      Located // an SPDX expression, as PEP 639 has it
	Dependencies []Located
	Dynamic      []string  // keys that only a build can tell
	Scripts      []Located // "NAME = MODULE:OBJECT", sorted
	Poetry       Pos       // of the older [tool.poetry.dependencies]
}

// ParseProject reads the [project] table of a pyproject.toml, and looks whether
// there is one of Poetry; nothing else in the file is looked at.
func ParseProject(file string, data []byte) (*Project, Problems) {
	var problems Problems
	p := &Project{Pos: Pos{File: file}}
	if len(data) > MaxFile {
		problems.Add(p.Pos, "", "the file has %d bytes, more than %d", len(data), MaxFile)
		return p, problems
	}
	f := parseTOML(file, data, &problems)
	if f == nil {
		return p, problems
	}
	r := &tomlReader{file: file, lines: f.lines, problems: &problems}
	root := r.table("", f.root)
	if tool := root.table("tool"); tool != nil {
		if poetry := tool.table("poetry"); poetry != nil && poetry.m["dependencies"] != nil {
			p.Poetry = poetry.at("dependencies")
		}
	}
	t := root.table("project")
	if t == nil {
		return p, problems.inOrder()
	}
	p.Pos = t.pos()
	for key, into := range map[string]*Located{"name": &p.Name, "version": &p.Version, "description": &p.Description} {
		*into = Located{t.at(key), t.str(key)}
	}
	if _, isText := t.m["license"].(string); isText { // a table is the older way, with a text of its own
		p.License = Located{t.at("license"), t.str("license")}
	}
	for i, text := range t.strs("dependencies") {
		p.Dependencies = append(p.Dependencies, Located{t.at("dependencies" + index(i)), text})
	}
	p.Dynamic = t.strs("dynamic")
	if scripts := t.table("scripts"); scripts != nil {
		for _, name := range slices.Sorted(maps.Keys(scripts.m)) {
			p.Scripts = append(p.Scripts, Located{scripts.at(name), name + " = " + scripts.str(name)})
		}
	}
	return p, problems.inOrder()
}
