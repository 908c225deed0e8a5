package bundle

import (
	"crypto/sha256"
	"path"
	"strings"

	"appbundle/schema"
)

// maxIncludes bounds how many requirement files one application includes.
const maxIncludes = 100

// A DependencyFile is dependencies.txt, or a file that it includes.
type DependencyFile struct {
	*schema.Requirements
	Constraint bool     // its lines restrict versions and ask for nothing
	SHA256     [32]byte // of its bytes
}

// An include is a -r or -c line and what became of it.
type include struct {
	schema.Include
	path string // relative to the application directory
	why  string // what is wrong with it, "" for nothing
}

// readDependencies decodes dependencies.txt and every file that it includes.
func (a *App) readDependencies(files map[string][]byte, read func([]string) (map[string][]byte, error)) error {
	a.Pins = map[string]string{}
	data, ok := files[dependenciesFile]
	if !ok {
		return nil
	}
	seen := map[string]bool{dependenciesFile: true}
	todo := a.addRequirements(dependenciesFile, data, false, seen)
	for len(todo) > 0 && len(seen) <= maxIncludes {
		data, err := read(names(todo))
		if err != nil {
			return err
		}
		var next []include
		for _, in := range todo {
			next = append(next, a.addRequirements(in.path, data[in.path], in.Constraint, seen)...)
		}
		todo = next
	}
	return nil
}

func names(list []include) []string {
	var all []string
	for _, in := range list {
		all = append(all, in.path)
	}
	return all
}

// addRequirements takes note of what one file says, and gives the included
// files that are to be read. A constraint asks for nothing.
func (a *App) addRequirements(file string, data []byte, constraint bool, seen map[string]bool) []include {
	reqs, problems := schema.ParseRequirements(file, data)
	a.problems[dependenciesFile] = append(a.problems[dependenciesFile], problems...)
	a.Dependencies = append(a.Dependencies, DependencyFile{reqs, constraint, sha256.Sum256(data)})
	for i := range reqs.Packages {
		p := &reqs.Packages[i]
		if constraint || p.Req.Name == "" {
			continue
		}
		if version := pinOf(p); version != "" || a.Pins[p.Req.Key()] == "" {
			a.Pins[p.Req.Key()] = version
		}
	}
	var todo []include
	for _, inc := range reqs.Includes {
		in := include{Include: inc, path: path.Join(path.Dir(reqs.File), inc.Path)}
		in.Constraint = in.Constraint || constraint
		switch e := a.resolve(in.path); {
		case in.path == ".." || strings.HasPrefix(in.path, "../"):
			in.why = "is outside the directory"
		case e == nil || e.Type != File:
			in.why = "is no file of the application"
		case e.Size > schema.MaxFile:
			in.why = "is too large"
		case !seen[e.Path]:
			seen[e.Path] = true
			in.path = e.Path
			todo = append(todo, in)
		}
		a.includes = append(a.includes, in)
	}
	return todo
}

// pinOf is the version that a line demands exactly, "" where it leaves a choice.
func pinOf(p *schema.Package) string {
	if len(p.Req.Specifiers) != 1 {
		return ""
	}
	sp := p.Req.Specifiers[0]
	v, prefix, ok := sp.Version()
	if sp.Op != "==" || prefix || !ok {
		return ""
	}
	return v.String()
}
