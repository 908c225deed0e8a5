package scaffold

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"appbundle/schema"
)

func (p *project) readProcfile() {
	const file = "Procfile"
	data := p.read(file, schema.MaxFile)
	if data == nil {
		return
	}
	process, problems := schema.ParseProcfile(file, data)
	for _, problem := range problems {
		p.guess(problem.Pos, "%s; it is left out", problem.Msg)
	}
	p.process = process
}

// web is the process that serves.
func (p *project) web() *schema.Process {
	for i := range p.process {
		if p.process[i].Name == "web" {
			return &p.process[i]
		}
	}
	return nil
}

// programs serve an object of a module, which one of their arguments names.
var programs = map[string]struct {
	dist  string
	iface schema.Interface
}{
	"gunicorn":       {"gunicorn", schema.WSGI},
	"uvicorn":        {"uvicorn", schema.ASGI},
	"hypercorn":      {"hypercorn", schema.ASGI},
	"waitress-serve": {"waitress", schema.WSGI},
}

var served = regexp.MustCompile(`^([A-Za-z_][\w.]*)(?::([A-Za-z_]\w*)(\(\))?)?$`)

// fromProcfile takes the object that the web process gives to a server.
func (p *project) fromProcfile() bool {
	web := p.web()
	if web == nil {
		return false
	}
	words, err := schema.SplitWords(web.Command)
	if err != nil || len(words) == 0 {
		return false
	}
	if len(words) > 2 && strings.HasPrefix(words[0], "python") && words[1] == "-m" {
		words = words[2:]
	}
	program, ok := programs[path.Base(words[0])]
	if !ok {
		return false
	}
	iface := program.iface
	if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(strings.ToLower(w), "uvicorn") }) {
		iface = schema.ASGI
	}
	for i := len(words) - 1; i > 0; i-- {
		m := served.FindStringSubmatch(words[i])
		if m == nil {
			continue
		}
		for _, root := range []string{".", "src"} {
			file := path.Join(root, strings.ReplaceAll(m[1], ".", "/"))
			if p.has(file + "/__init__.py") {
				file += "/__init__"
			}
			if !p.has(file + ".py") {
				continue
			}
			object := m[2]
			if object == "" {
				object = "application"
			}
			p.guess(web.Pos, "the application is %s of %s: %s", object, m[1], iface)
			factory := m[3] != "" || slices.Contains(words, "--factory") || slices.Contains(words, "--call")
			p.imported(target{Pos: web.Pos, iface: iface, server: program.dist}, root, file+".py", object, factory)
			return true
		}
	}
	return false
}

// fromWebProcess has the shell run the web process, as the Procfile means it.
func (p *project) fromWebProcess() bool {
	web := p.web()
	if web == nil {
		return false
	}
	p.guess(web.Pos, "the entrypoint runs this command, with PORT 8000 where the environment has none")
	command := web.Command
	if !strings.ContainsAny(command, ";&|(){}<>=\n") {
		command = "exec " + command
	}
	p.target = target{Pos: web.Pos, iface: schema.Exec, path: "bin/app", script: fmt.Sprintf("#!/bin/sh\n: \"${PORT:=8000}\"\nexport PORT\n%s\n", command)}
	return true
}

// addProcesses makes watchers of the other processes.
func (p *project) addProcesses() {
	if p.there(appINI) {
		return
	}
	for _, process := range p.process {
		at, name := process.Pos, process.Name
		switch {
		case name == "web":
			continue
		case name == "release":
			p.guess(at, "is for a moment before a release, and no process that is kept alive; it is left out")
			continue
		case strings.ContainsAny(process.Command, "$`;&|<>*?~"):
			p.guess(at, "needs a shell; it is left out: write [watcher:%s] into app.ini", name)
			continue
		}
		s := section{name: "watcher:" + name}
		if name == "app" || iniProblem(s.name, "cmd", process.Command) != "" {
			p.guess(at, "is left out: it cannot be a watcher")
			continue
		}
		p.set(&s, at, "cmd", process.Command)
		p.guess(at, "is [watcher:%s]", name)
		p.ini = append(p.ini, s)
	}
}

var mainPackage = regexp.MustCompile(`(?m)^package main\b`)

// readGoMod asks for the modules that a Go program imports.
func (p *project) readGoMod() {
	data := p.read("go.mod", schema.MaxFile)
	if data == nil || p.there(dependencies) {
		return
	}
	mod, problems := schema.ParseGoMod("go.mod", data)
	for _, problem := range problems {
		p.guess(problem.Pos, "%s", problem.Msg)
	}
	if mod == nil {
		return
	}
	for _, r := range mod.Requires {
		if replaced := mod.Replace(r.Name); r.Indirect || replaced != nil {
			continue
		}
		line := fmt.Sprintf("go:%s ^%d.%d.%d", r.Name, r.Version.Major(), r.Version.Minor(), r.Version.Patch())
		if _, problems := schema.ParseRequirements(dependencies, []byte(line)); len(problems) > 0 {
			p.guess(r.Pos, "is left out: %s", problems[0].Msg)
			continue
		}
		p.lines = append(p.lines, line)
	}
	if len(mod.Requires) > 0 {
		p.guess(mod.Requires[0].Pos, "the modules that are required directly are in dependencies.txt")
	}
}

// fromGo has the Go command build the main package.
func (p *project) fromGo() bool {
	if !p.has("go.mod") {
		return false
	}
	for _, dir := range p.goDirs() {
		file := path.Join(dir, "main.go")
		if !mainPackage.Match(p.read(file, maxModule)) {
			continue
		}
		at := schema.Pos{File: file}
		p.guess(at, "the program is built of this package; it has to serve on the socket or the port that it is given")
		pkg := "."
		if dir != "." {
			pkg = "./" + dir
		}
		p.ini = append(p.ini, section{name: "build", keys: [][2]string{
			{"command", "env CGO_ENABLED=0 go build -trimpath -buildvcs=false -o bin/app " + pkg}, {"outputs", "bin/app"},
		}})
		p.target = target{Pos: at, iface: schema.Exec}
		p.system = append(p.system, "# to build", "go")
		return true
	}
	return false
}

// goDirs are where the main package may be.
func (p *project) goDirs() []string {
	dirs := []string{"."}
	d, err := p.tree.Open("cmd")
	if err != nil {
		return dirs
	}
	defer d.Close() // opened for reading: nothing can be lost
	names, err := readNames(d)
	if err != nil {
		p.fail(err)
	}
	for _, name := range names {
		dirs = append(dirs, "cmd/"+name)
	}
	return dirs
}
