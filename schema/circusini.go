package schema

import (
	"fmt"
	"path"
	"strings"
)

// A CircusInput is what the meaning of a circus.ini depends on.
type CircusInput struct {
	File string
	Data []byte
	// Env is the environment that $(circus.env.NAME) is taken from.
	Env map[string]string
	// Read gives the files that a glob of include names, as it is written in
	// the file: the caller knows the directory that it is relative to. The
	// files come in the order in which they count. Nil leaves includes out,
	// with a finding.
	Read func(glob string) ([]CircusFile, error)
}

// A CircusFile is one included file.
type CircusFile struct {
	Name string // for messages
	Data []byte
}

// ParseCircusINI reads a circus.ini with the dialect and the defaults of Circus.
// What would stop Circus, and what no watcher can run with, are problems. What
// Circus would do and appbundle does not is a finding: the rest of the file
// means what it meant.
//
// $(circus.env.NAME) is replaced in every value, by [env] and the input's
// environment; a value keeps the places of its lines, so that a column after a
// replacement is only near.
func ParseCircusINI(in CircusInput) (cfg *Config, problems Problems, findings []*Problem) {
	ini, problems := ParseINI(in.File, in.Data, Dialect{Circus: true})
	d := &decoder{cfg: &Config{Supervisor: SupervisorSection{Umask: -1}}, problems: problems, circus: true}
	d.include(ini, in)
	d.expandAtLoad(ini, in.Env)
	for i := range ini.Sections {
		if d.full(ini.Sections[i].Pos) {
			return d.cfg, d.problems, d.findings
		}
		d.circusSection(&ini.Sections[i])
	}
	d.applyEnv()
	d.checkReferences()
	return d.cfg, d.problems, d.findings
}

// finding adds one line of what we do not do.
func (d *decoder) finding(pos Pos, fix, format string, args ...any) {
	if len(d.findings) < MaxProblems {
		d.findings = append(d.findings, &Problem{Pos: pos, Msg: fmt.Sprintf(format, args...), Fix: fix})
	}
}

// include adds the sections of included files. The main file's keys are first,
// so they win; an include in an included file is not followed.
func (d *decoder) include(ini *INI, in CircusInput) {
	main := findSection(ini, "circus")
	if main == nil {
		return
	}
	for _, name := range []string{"include", "include_dir"} {
		k := main.Find(name)
		if k == nil {
			continue
		}
		for _, glob := range strings.Fields(k.Value) {
			if name == "include_dir" {
				glob = path.Join(glob, "*.ini")
			}
			d.includeGlob(ini, in, k.Pos, glob)
		}
	}
}

func (d *decoder) includeGlob(ini *INI, in CircusInput, pos Pos, glob string) {
	if in.Read == nil {
		d.finding(pos, "copy the sections into this file", "[circus]: the files of %s are not read", quote(glob))
		return
	}
	files, err := in.Read(glob)
	if err != nil {
		d.problems.Add(pos, "", "[circus]: include %s: %v", quote(glob), err)
		return
	}
	if len(files) == 0 {
		d.finding(pos, "correct or remove it", "[circus]: no file matches %s", quote(glob))
	}
	for _, f := range files {
		more, ps := ParseINI(f.Name, f.Data, Dialect{Circus: true})
		d.problems = append(d.problems, ps...)
		ini.merge(more)
	}
}

// merge adds what other has and ini has not.
func (ini *INI) merge(other *INI) {
	index := map[string]int{}
	for i, s := range ini.Sections {
		index[s.Name] = i
	}
	for _, s := range other.Sections {
		i, ok := index[s.Name]
		if !ok {
			index[s.Name] = len(ini.Sections)
			ini.Sections = append(ini.Sections, s)
			continue
		}
		have := map[string]bool{}
		for _, k := range ini.Sections[i].Keys {
			have[k.Name] = true
		}
		for _, k := range s.Keys {
			if !have[k.Name] {
				ini.Sections[i].Keys = append(ini.Sections[i].Keys, k)
			}
		}
	}
}

func findSection(ini *INI, name string) *INISection {
	for i := range ini.Sections {
		if ini.Sections[i].Name == name {
			return &ini.Sections[i]
		}
	}
	return nil
}

// expandAtLoad replaces $(circus.env.NAME) everywhere but in [env:GLOB], where
// Circus does not. [env] is over the environment; [env:GLOB] of the watcher of
// that name is over both.
func (d *decoder) expandAtLoad(ini *INI, env map[string]string) {
	index := map[string]*INISection{}
	for i := range ini.Sections {
		index[ini.Sections[i].Name] = &ini.Sections[i]
	}
	base := lookupIn(index["env"].values(), func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	for i := range ini.Sections {
		s := &ini.Sections[i]
		kind, name, named := strings.Cut(s.Name, ":")
		if named && kind == "env" {
			continue
		}
		look := base
		if own := index["env:"+name]; named && kind == "watcher" && own != nil {
			look = lookupIn(own.values(), base)
		}
		for j := range s.Keys {
			d.expandKey(s, &s.Keys[j], look)
		}
	}
}

// values gives what the keys are; none for nil.
func (s *INISection) values() map[string]string {
	if s == nil {
		return nil
	}
	out := make(map[string]string, len(s.Keys))
	for _, k := range s.Keys {
		out[k.Name] = k.Value
	}
	return out
}

// lookupIn looks into vars, then asks next.
func lookupIn(vars map[string]string, next func(string) (string, bool)) func(string) (string, bool) {
	return func(name string) (string, bool) {
		if v, ok := vars[name]; ok {
			return v, true
		}
		return next(name)
	}
}

// maxReferences bounds what one value can grow to.
const maxReferences = 100

func (d *decoder) expandKey(s *INISection, k *INIKey, look func(string) (string, bool)) {
	if strings.Count(strings.ToLower(k.Value), "circus.env.") > maxReferences {
		d.problems.Add(k.Pos, "", "[%s]: %s has more than %d references", s.Name, k.Name, maxReferences)
		return
	}
	if v := (Vars{Env: look}).Expand(k.Value); len(v) <= MaxLine {
		k.Value = v
		return
	}
	d.problems.Add(k.Pos, "", "[%s]: %s has more than %d bytes with its references replaced", s.Name, k.Name, MaxLine)
}
