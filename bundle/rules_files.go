package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"appbundle/internal/safearchive"
	"appbundle/schema"

	"golang.org/x/text/cases"
)

func checkDependenciesFile(a *App) []Finding { return checkFile(a, dependenciesFile) }

func checkExternalFile(a *App) []Finding { return checkFile(a, externalFile) }

// checkFile demands a file, which may be empty.
func checkFile(a *App, name string) []Finding {
	e := a.Entry(name)
	switch {
	case e == nil:
		return []Finding{find(name, "make it, empty where there is nothing to name", "is missing").by(mendMissing)}
	case e.Type != File:
		return []Finding{find(name, "make it a plain file", "is a %s", kindOf(e))}
	case e.Size > schema.MaxFile:
		return []Finding{find(name, "make it shorter", "has %d bytes, more than %d", e.Size, schema.MaxFile)}
	}
	return nil
}

func checkEntrypoint(a *App) []Finding {
	ep := &a.Entrypoint
	switch len(ep.Found) {
	case 0:
		if !a.built && slices.ContainsFunc(entrypoints, a.isBuilt) {
			return nil
		}
		if all := a.nearEntrypoints(); len(all) > 0 {
			return all
		}
		return []Finding{find("bin/app", "make it, or bin/app.py", "is missing: there is no entrypoint")}
	case 1:
	default:
		return []Finding{find(ep.Found[1], "keep one of them", "is an entrypoint, and so is %s", strings.Join(without(ep.Found, 1), ", "))}
	}
	e := a.resolve(ep.Path)
	if e == nil || e.Type != File {
		return []Finding{find(ep.Path, "make it a file", "is no file of the application")}
	}
	if ep.Interface != schema.Exec || e.X {
		return nil
	}
	fix := "chmod +x " + ep.Path
	if path.Ext(ep.Path) == "" && e.FirstLine == "" && !e.ELF {
		fix += ", or bind application if it is a Python script"
	}
	return []Finding{find(ep.Path, fix, "is not executable (mode %04o)", e.Mode.Perm()).by(mendX)}
}

// nearEntrypoints are the findings of what somebody may take for the
// entrypoint: a directory of its name, and a name in another case.
func (a *App) nearEntrypoints() []Finding {
	var all []Finding
	for i := range a.Entries {
		e := &a.Entries[i]
		switch n := slices.IndexFunc(entrypoints, func(name string) bool { return strings.EqualFold(e.Path, name) }); {
		case n < 0:
		case e.Path != entrypoints[n]:
			all = append(all, find(e.Path, "rename it to "+entrypoints[n], "is no entrypoint: its name has other capitals"))
		default:
			all = append(all, find(e.Path, "make it a file", "is a %s, and there is no other entrypoint", kindOf(e)))
		}
	}
	return all
}

// checkShebangs looks at what the kernel does with the first line of every
// file that can be executed, and of the entrypoint.
func checkShebangs(a *App) []Finding {
	var all []Finding
	for i := range a.Entries {
		e := &a.Entries[i]
		if e.FirstLine == "" || inEnv(e.Path) || !e.X && e.Path != a.Entrypoint.Path {
			continue
		}
		_, _, err := schema.ParseShebang([]byte(e.FirstLine))
		var p *schema.Problem
		if errors.As(err, &p) {
			f := findAt(schema.Pos{File: e.Path, Line: 1}, p.Fix, "%s", p.Msg)
			if strings.HasSuffix(e.FirstLine, "\r") {
				f = f.by(mendCR)
			}
			all = append(all, f)
		}
	}
	return all
}

func without(list []string, i int) []string {
	return append(append([]string(nil), list[:i]...), list[i+1:]...)
}

func checkBinding(a *App) []Finding {
	ep := &a.Entrypoint
	if ep.Path == "" || ep.Interface == schema.Exec || ep.Binding.Bound {
		return nil
	}
	e := a.resolve(ep.Path)
	if e == nil || e.Type != File {
		return nil // AB003 says so
	}
	fix := "bind it, or write interface = exec under [app] in app.ini"
	return []Finding{find(ep.Path, fix, "does not bind application at module level (interface %s: %s)", ep.Interface, ep.How)}
}

func checkLinks(a *App) []Finding {
	var all []Finding
	for i := range a.Entries {
		e := &a.Entries[i]
		if e.Type != Link {
			continue
		}
		w := linkWalker{app: a}
		_, _, why := w.target(parent(e.Path), e.Link)
		if why == "" {
			why = checkTarget(e.Link)
		}
		if why != "" {
			all = append(all, find(e.Path, "replace it by what it points to", "link to %q %s", e.Link, why))
		}
	}
	return all
}

// checkTarget applies the rules of names to the components of a link's target.
func checkTarget(target string) string {
	if target == "" {
		return "is empty"
	}
	for part := range strings.SplitSeq(target, "/") {
		if part == "" || part == "." || part == ".." {
			continue
		}
		if err := safearchive.CheckName(part, safearchive.Limits{}); err != nil {
			return "has a component that no archive may have: " + err.Error()
		}
	}
	return ""
}

func checkNames(a *App) []Finding {
	var all []Finding
	fold := folder{cases.Fold()}
	seen := map[string]string{}
	for i := range a.Entries {
		p := a.Entries[i].Path
		if err := safearchive.CheckName(p, safearchive.Limits{}); err != nil {
			all = append(all, find(printable(p), "rename it", "%s", reason(err)))
			continue
		}
		key := fold.key(p)
		if other, ok := seen[key]; ok {
			// What is below two colliding directories is their fault alone.
			if parent(p) == parent(other) {
				all = append(all, find(p, "rename one of them", "is the same name as %q where case or Unicode form do not count", other))
			}
			continue
		}
		seen[key] = p
	}
	return all
}

// printable shows a name without what a terminal would obey.
func printable(p string) string {
	q := fmt.Sprintf("%q", p)
	if q == `"`+p+`"` {
		return p
	}
	return q
}

// reason is what safearchive says about a name, without the name.
func reason(err error) string {
	s := err.Error()
	if i := strings.Index(s, `": `); i >= 0 && strings.HasPrefix(s, `"`) {
		s = s[i+3:]
	}
	return s
}

func checkTypes(a *App) []Finding {
	var all []Finding
	for i := range a.Entries {
		e := &a.Entries[i]
		bits := e.Mode & (fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
		switch {
		case e.Type == Special:
			all = append(all, find(e.Path, "remove it", "is a %s, which no archive can hold", specialName(e.Mode)))
		case e.Type == File && bits != 0 || e.Type == Dir && bits&fs.ModeSetuid != 0:
			all = append(all, find(e.Path, "chmod u-s,g-s,-t "+e.Path, "has a special bit (%s)", bitNames(bits)).by(mendSpecial))
		}
	}
	return all
}

func specialName(m fs.FileMode) string {
	switch {
	case m&fs.ModeNamedPipe != 0:
		return "named pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}

func bitNames(m fs.FileMode) string {
	var names []string
	for _, b := range []struct {
		bit  fs.FileMode
		name string
	}{{fs.ModeSetuid, "setuid"}, {fs.ModeSetgid, "setgid"}, {fs.ModeSticky, "sticky"}} {
		if m&b.bit != 0 {
			names = append(names, b.name)
		}
	}
	return strings.Join(names, ", ")
}

func checkReadable(a *App) []Finding {
	var all []Finding
	for i := range a.Entries {
		if e := &a.Entries[i]; e.Unreadable() && !inEnv(e.Path) {
			all = append(all, find(e.Path, "chmod o+r "+e.Path, "cannot be read by others (mode %04o), and will be when it is unpacked", e.Mode.Perm()).by(mendReadable))
		}
	}
	return all
}

func checkSecrets(a *App) []Finding {
	var all []Finding
	for i := range a.Entries {
		e := &a.Entries[i]
		switch {
		case e.Type == Dir || inEnv(e.Path):
		case isEnvFile(e.Path):
			all = append(all, find(e.Path, "move it out of the directory", "is a file of secrets"))
		case e.PrivateKey:
			all = append(all, find(e.Path, "move it out of the directory, and make a new key if it was ever archived", "is a private key"))
		}
	}
	return all
}

// checkLeftOut looks for the files by which the application is something else
// where they are not: nobody misses them in what was packed.
func checkLeftOut(a *App) []Finding {
	var all []Finding
	for _, name := range []string{appFile, lockFile} {
		if slices.Contains(a.LeftOut, name) {
			all = append(all, find(name, "take it out of "+ignoreFile, "is left out by %s: what is packed is another application", ignoreFile))
		}
	}
	return all
}

func checkDatabases(a *App) []Finding {
	var all []Finding
	for i := range a.Entries {
		if e := &a.Entries[i]; e.Database && !inEnv(e.Path) {
			all = append(all, find(e.Path, "name it in "+ignoreFile+", and keep data in APPBUNDLE_STATE_DIR", "is a database of SQLite"))
		}
	}
	return all
}

// checkWritable looks for directories that everybody may write to: the application
// counts on it, and it is not so where it is unpacked. One below another is not named
// too. Files do not count: archives that were made on Windows have all of them so.
func checkWritable(a *App) []Finding {
	var all []Finding
	for i := range a.Entries {
		e := &a.Entries[i]
		if e.Type != Dir || e.Mode&0o002 == 0 || inEnv(e.Path) {
			continue
		}
		if dir := a.Entry(parent(e.Path)); dir != nil && dir.Mode&0o002 != 0 {
			continue
		}
		all = append(all, find(e.Path, "chmod o-w "+e.Path+", and write below APPBUNDLE_STATE_DIR", "can be written by everybody (mode %04o), and by nobody where it is unpacked", e.Mode.Perm()).by(mendWritable))
	}
	return all
}

func checkVersion(a *App) []Finding {
	if a.Config.App.Version != "" || slices.Contains(a.LeftOut, appFile) || len(a.problems[appFile]) > 0 {
		return nil
	}
	return []Finding{find(appFile, "write version = 1.0.0 under [app]", "does not state a version: archives are called %s-0.0.0", a.Name)}
}

func checkOutputs(a *App) []Finding {
	if !a.built {
		return nil
	}
	return a.missingOutputs()
}

// missingOutputs names the outputs of [build] that match nothing.
func (a *App) missingOutputs() []Finding {
	var all []Finding
	for i, glob := range a.Config.Build.Outputs {
		if a.matchOutput(glob) {
			continue
		}
		pos := a.Config.Build.Pos
		if i < len(a.Config.Build.OutputsPos) {
			pos = a.Config.Build.OutputsPos[i]
		}
		all = append(all, findAt(pos, "correct the glob, or make the build command write it", "[build] outputs: nothing matches %q", glob))
	}
	return all
}

// matchOutput reports whether a glob names a file, link or directory of a.
func (a *App) matchOutput(glob string) bool {
	for i := range a.Entries {
		if isOutput(glob, a.Entries[i].Path) {
			return true
		}
	}
	return false
}

// isBuilt reports whether [build] is to make p.
func (a *App) isBuilt(p string) bool {
	return slices.ContainsFunc(a.Config.Build.Outputs, func(glob string) bool { return isOutput(glob, p) })
}

// isOutput matches a path with one glob of [build] outputs: * and ? and
// classes within a component, ** for any number of components.
func isOutput(glob, p string) bool {
	pt, ok := outputPattern(glob)
	return ok && pt.re.MatchString(p)
}

func outputPattern(glob string) (pattern, bool) {
	return parsePattern("/" + strings.TrimPrefix(strings.TrimSuffix(glob, "/"), "/"))
}
