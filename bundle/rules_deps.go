package bundle

import (
	"errors"
	"path"
	"regexp"
	"strings"

	"appbundle/schema"
	"appbundle/schema/pep508"
)

func checkDependencies(a *App) []Finding { return findings(a.problems[dependenciesFile]) }

func checkExternal(a *App) []Finding { return findings(a.problems[externalFile]) }

func checkAppINI(a *App) []Finding {
	all := findings(a.problems[appFile])
	if e := a.Entry(appFile); e != nil && e.Type == Link && len(a.unreadable(appFile)) == 0 {
		// run reads it; no archive has it.
		all = append(all, find(appFile, "make it a plain file", "is a link"))
	}
	return all
}

func checkIncludes(a *App) []Finding {
	var all []Finding
	for _, in := range a.includes {
		if in.why != "" {
			all = append(all, findAt(in.Pos, "move the file into the directory, and correct the line", "%s %s", in.Path, in.why))
		}
	}
	return all
}

// checkDuplicates looks for one package on two lines of one file. Lines with
// different markers are for different hosts.
func checkDuplicates(a *App) []Finding {
	if len(a.Dependencies) == 0 {
		return nil
	}
	var all []Finding
	first := map[string]schema.Pos{}
	own := a.Dependencies[0].Packages // of dependencies.txt itself
	for i := range own {
		p := &own[i]
		if p.Req.Name == "" {
			continue
		}
		key := p.Req.Key()
		if p.Req.Marker != nil {
			key += " ; " + p.Req.Marker.String()
		}
		if at, ok := first[key]; ok {
			all = append(all, findAt(p.Pos, "keep one of the two lines", "%s is on line %d already", p.Req.Name, at.Line))
			continue
		}
		first[key] = p.Pos
	}
	return all
}

// checkServer asks what run would ask, without a lock.
func checkServer(a *App) []Finding {
	ep := &a.Entrypoint
	if ep.Path == "" || ep.Interface == schema.Exec || len(a.Dependencies) == 0 || a.hasAppCommand() {
		return nil
	}
	_, _, _, err := a.findServer(nil)
	var se *ServerError
	if !errors.As(err, &se) {
		return nil
	}
	fix := se.Hint()
	pos := schema.Pos{File: dependenciesFile}
	if fix == "" {
		pos, fix = a.Config.App.Pos, "name another server, or none"
	}
	return []Finding{findAt(pos, fix, "%s: %s", ep.Path, se.Reason)}
}

var pythonName = regexp.MustCompile(`^python(3(\.[0-9]+)?)?$`)

func checkWatcherCommand(a *App) []Finding {
	var all []Finding
	for i := range a.Config.Watchers {
		w := &a.Config.Watchers[i]
		if len(w.Cmd) == 0 || strings.Contains(w.Cmd[0], "$") {
			continue
		}
		if why, fix := a.commandProblem(w.Cmd[0]); why != "" {
			pos := w.CmdPos
			if pos.Line == 0 {
				pos = w.Pos
			}
			f := findAt(pos, fix, "[watcher:%s]: %s %s", w.Name, w.Cmd[0], why)
			if why == notExecutable {
				f = f.by(mendX)
				f.mendFile = path.Clean(w.Cmd[0])
			}
			all = append(all, f)
		}
	}
	return all
}

// commandProblem says why a host may not have a command, "" where it has.
func (a *App) commandProblem(cmd string) (why, fix string) {
	name := path.Base(cmd)
	const external = "name what brings it in external-dependencies.txt"
	switch {
	case path.IsAbs(cmd):
		if a.isExternal(name) {
			return "", ""
		}
		return "is no part of the application and not in external-dependencies.txt", external
	case strings.Contains(cmd, "/"):
		return a.fileProblem(path.Clean(cmd))
	case pythonName.MatchString(cmd) || a.isExternal(cmd) || a.isDependency(cmd):
		return "", ""
	case a.Entry("bin/"+cmd) != nil:
		return "is looked for on PATH, where the directory's bin is not", "write bin/" + cmd
	}
	return "is neither in the directory nor in external-dependencies.txt", external
}

// notExecutable is the one problem of a command that a mode mends.
const notExecutable = "is not executable"

// fileProblem judges a command that is a path in the directory.
func (a *App) fileProblem(p string) (why, fix string) {
	if inEnv(p) {
		return "", ""
	}
	if !a.built && a.isBuilt(p) {
		return "", ""
	}
	switch e := a.resolve(p); {
	case e == nil || e.Type != File:
		return "is not in the directory", "put it there, or name the command without a directory"
	case !e.X:
		return notExecutable, "chmod +x " + p
	}
	return "", ""
}

// isDependency reports whether a distribution of that name is asked for: what
// it installs is on the PATH of every process.
func (a *App) isDependency(cmd string) bool {
	_, ok := a.Pins[pep508.NormalizeName(cmd)]
	return ok
}

// isExternal reports whether external-dependencies.txt has a name that may
// bring a command: its own name, or the last part of an identifier.
func (a *App) isExternal(cmd string) bool {
	for i := range a.External {
		name, _, _ := strings.Cut(a.External[i].Name, "(")
		if strings.EqualFold(path.Base(strings.TrimPrefix(name, "dep:")), cmd) {
			return true
		}
	}
	return false
}
