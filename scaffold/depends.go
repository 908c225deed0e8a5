package scaffold

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"appbundle/schema"
	"appbundle/schema/pep508"
)

// requirementFiles are where projects have what they ask for; the first one that
// is there counts.
var requirementFiles = []string{"requirements.txt", "requirements/production.txt", "requirements/prod.txt", "requirements/base.txt", "requirements/requirements.txt"}

// maxIncluded is how many files a requirements file includes.
const maxIncluded = 50

func (p *project) readProject() {
	const file = "pyproject.toml"
	data := p.read(file, schema.MaxFile)
	if data == nil {
		return
	}
	project, problems := schema.ParseProject(file, data)
	for _, problem := range problems {
		p.guess(problem.Pos, "%s; it is left out", problem.Msg)
	}
	p.python = project
	if project.Poetry.Line > 0 && len(project.Dependencies) == 0 {
		p.guess(project.Poetry, "the dependencies are in Poetry's own format, which is not read; write them into dependencies.txt, or into [project]")
	}
	for _, key := range []string{"name", "version", "dependencies"} {
		if slices.Contains(project.Dynamic, key) {
			p.guess(project.Pos, "the %s is dynamic: only a build of the project can tell it", key)
		}
	}
}

// readDependencies fills what dependencies.txt has to say.
func (p *project) readDependencies() {
	if p.there(dependencies) {
		p.include(dependencies, map[string]bool{})
		return
	}
	var found bool
	for _, file := range requirementFiles {
		if found = p.has(file); !found {
			continue
		}
		if self := p.requirements(file); !self {
			return
		}
		break
	}
	if p.python != nil && len(p.python.Dependencies) > 0 {
		p.guess(p.python.Dependencies[0].Pos, "%s of [project] in dependencies.txt", plural(len(p.python.Dependencies), "line"))
		for _, d := range p.python.Dependencies {
			p.line(d.Pos, d.Text)
		}
		return
	}
	if !found && p.has("setup.py") && (p.python == nil || p.python.Poetry.Line == 0) {
		p.guess(schema.Pos{File: "setup.py"}, "is a program, and is not run; write what it requires into dependencies.txt")
	}
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// line takes over a requirement, or says why not.
func (p *project) line(at schema.Pos, text string) {
	r, problems := schema.ParseRequirements(at.File, []byte(text))
	if len(problems) > 0 || strings.ContainsAny(text, "\r\n") || len(r.Packages) != 1 {
		why := "it is no requirement"
		if len(problems) > 0 {
			why = problems[0].Msg
		}
		p.guess(at, "%q is left out: %s", text, why)
		return
	}
	name := pep508.NormalizeName(r.Packages[0].Req.Name)
	if p.asked[name] && r.Packages[0].Req.Marker == nil {
		return // a requirements file names it as well
	}
	p.asked[name] = true
	p.lines = append(p.lines, text)
}

// requirements takes over a requirements file: as one line where all of it can
// be a part of an application, which leaves people one place to write in, else
// line by line. It reports whether the project itself is asked for.
func (p *project) requirements(file string) (self bool) {
	all := map[string]bool{}
	good := p.include(file, all)
	if good {
		p.guess(schema.Pos{File: file}, "dependencies.txt includes it")
		p.lines = append(p.lines, "-r "+file)
		return false
	}
	p.guess(schema.Pos{File: file}, "dependencies.txt has the lines of it that an application can have")
	p.asked = map[string]bool{}
	return p.copied(file, map[string]bool{})
}

// include reads a file and those that it includes: the names that they ask for,
// and whether all can be read.
func (p *project) include(file string, seen map[string]bool) bool {
	if seen[file] {
		return true
	}
	seen[file] = true
	data := p.read(file, schema.MaxFile)
	if data == nil || len(seen) > maxIncluded {
		return false
	}
	r, problems := schema.ParseRequirements(file, data)
	good := len(problems) == 0
	for _, d := range r.Packages {
		p.asked[pep508.NormalizeName(d.Req.Name)] = true
		good = good && p.wheelThere(file, d)
	}
	for _, i := range r.Includes {
		good = p.include(path.Join(path.Dir(file), i.Path), seen) && good
	}
	return good
}

func (p *project) wheelThere(file string, d schema.Package) bool {
	return d.Path == "" || p.has(path.Join(path.Dir(file), d.Path))
}

// copied takes over the lines of a file that can be, and says why the others cannot.
func (p *project) copied(file string, seen map[string]bool) (self bool) {
	if seen[file] || len(seen) == maxIncluded {
		return false
	}
	seen[file] = true
	data := p.read(file, schema.MaxFile)
	if data == nil {
		p.guess(schema.Pos{File: file}, "is included, and cannot be read")
		return false
	}
	r, problems := schema.ParseRequirements(file, data)
	lines := strings.Split(string(data), "\n")
	bad := map[int]bool{}
	for _, problem := range problems {
		text := ""
		if problem.Line > 0 && problem.Line <= len(lines) {
			text = strings.TrimSpace(lines[problem.Line-1])
		}
		if bad[problem.Line] {
			continue
		}
		bad[problem.Line] = true
		if f := strings.Fields(text); len(f) > 0 && slices.Contains([]string{".", "./", "file:."}, strings.Split(f[len(f)-1], "[")[0]) {
			self = true
			p.guess(problem.Pos, "%q is the project itself, which is in the application already", text)
			continue
		}
		p.guess(problem.Pos, "%q is left out: %s", text, problem.Msg)
	}
	for _, option := range options(r) {
		if !slices.Contains(p.lines, option) {
			p.lines = append(p.lines, option)
		}
	}
	for _, d := range r.Packages {
		switch {
		case bad[d.Line]:
		case d.Path != "" && (path.Dir(file) != "." || !p.has(d.Path)):
			p.guess(d.Pos, "%q is left out: it is a path, which is not in the directory or relative to another", d.Text)
		default:
			text := d.Text
			for _, h := range d.Hashes {
				if d.URL == "" {
					text += " --hash=" + h.Algorithm + ":" + h.Hex
				}
			}
			p.asked[pep508.NormalizeName(d.Req.Name)] = true
			p.lines = append(p.lines, text)
		}
	}
	for _, i := range r.Includes {
		included := path.Join(path.Dir(file), i.Path)
		switch {
		case !i.Constraint:
			self = p.copied(included, seen) || self
		case p.include(included, map[string]bool{}):
			p.lines = append(p.lines, "-c "+included)
		default:
			p.guess(i.Pos, "the constraints are left out: %s cannot be a part of an application", included)
		}
	}
	return self
}

// options are the lines of a file that are about where packages come from.
func options(r *schema.Requirements) []string {
	var all []string
	if r.IndexURL != nil {
		all = append(all, "--index-url "+r.IndexURL.Text)
	}
	for _, u := range r.ExtraIndexURLs {
		all = append(all, "--extra-index-url "+u.Text)
	}
	if r.Pre {
		all = append(all, "--pre")
	}
	return all
}

// asks reports whether one of the packages is asked for.
func (p *project) asks(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return p.asked[pep508.NormalizeName(name)] })
}

// libraries are packages whose code is of the system.
var libraries = []struct{ dist, system string }{
	{"psycopg2", "libpq"},
	{"psycopg", "libpq"},
	{"python-magic", "libmagic1"},
	{"python-ldap", "libldap"},
}

// addSystem names what the system has to provide.
func (p *project) addSystem() {
	for _, l := range libraries {
		if p.asks(l.dist) && !(l.dist == "psycopg" && p.asks("psycopg-binary")) {
			p.guess(schema.Pos{File: external}, "%s, for %s", l.system, l.dist)
			p.system = append(p.system, "# for "+l.dist, l.system)
		}
	}
}
