package bundle

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"

	"appbundle/schema"
	"appbundle/schema/pep425"
	"appbundle/schema/pep508"
)

// readLock decodes the lock and what the environment says of itself.
func (a *App) readLock(files map[string][]byte) {
	if data, ok := files[lockFile]; ok {
		lock, problems := schema.ParsePyLock(lockFile, data)
		if a.problems[lockFile] = problems; len(problems) == 0 {
			a.Lock = lock
		}
	} else if e := a.resolve(lockFile); e != nil && e.Size > schema.MaxPyLock {
		var problems schema.Problems
		problems.Add(schema.Pos{File: lockFile}, "appbundle lock", "has %d bytes, more than %d", e.Size, schema.MaxPyLock)
		a.problems[lockFile] = problems
	}
	if data, ok := files[envFile]; ok {
		a.Environment, a.problems[envFile] = schema.ParseEnvironment(envFile, data)
		a.checkRecords(files)
	}
}

// Stale says why a lock is no answer to what the application asks for now, ""
// where it is one. Of a lock that another tool made nobody can tell.
func (a *App) Stale(lock *schema.PyLock) string {
	if why := a.StaleInputs(lock); why != "" || lock.Tool == nil {
		return why
	}
	return StaleTargets(a.Config, lock.Tool)
}

// StaleInputs is Stale without regard to targets, which count for no host but the
// one that it is for.
func (a *App) StaleInputs(lock *schema.PyLock) string {
	if lock.Tool == nil {
		return ""
	}
	now := map[string]bool{}
	for _, d := range a.Dependencies {
		now[d.File] = true
		switch was, ok := lock.Tool.Inputs[d.File]; {
		case !ok:
			return d.File + " is new since it was made"
		case was != hex.EncodeToString(d.SHA256[:]):
			return d.File + " has changed since it was made"
		}
	}
	var gone []string
	for file := range lock.Tool.Inputs {
		if !now[file] {
			gone = append(gone, file)
		}
	}
	if len(gone) > 0 {
		return slices.Min(gone) + " is gone since it was made"
	}
	return ""
}

// DefaultPlatforms are what is locked for where nobody names a platform.
func DefaultPlatforms() []string {
	return []string{"manylinux_2_28_x86_64", "manylinux_2_28_aarch64"}
}

// StaleTargets says why a lock is for other targets than app.ini asks for, ""
// where it is not. What the command line said when it was made counts more.
func StaleTargets(cfg *schema.Config, tool *schema.LockTool) string {
	said := func(flag string) bool {
		return slices.ContainsFunc(tool.Options, func(o string) bool { return strings.HasPrefix(o, flag+"=") })
	}
	var platforms []string
	for _, name := range tool.Targets {
		t, err := parseTarget(name)
		if err != nil {
			return fmt.Sprintf("it was made for %q, which is no target", name)
		}
		if want := cfg.App.Python; want != "" && want != t.Env.PythonVersion && !said("--python") {
			return fmt.Sprintf("it is for Python %s, and %s asks for %s", t.Env.PythonVersion, appFile, want)
		}
		platforms = append(platforms, t.Platform.String())
	}
	if said("--platform") {
		return ""
	}
	want := cfg.Build.Targets
	if want == nil {
		want = DefaultPlatforms()
	}
	var asked []string
	for _, s := range want {
		p, err := pep425.ParsePlatform(s)
		if err != nil {
			return err.Error()
		}
		if asked = append(asked, p.String()); !slices.Contains(platforms, p.String()) {
			return fmt.Sprintf("it is not for %s", p)
		}
	}
	for _, p := range platforms {
		if !slices.Contains(asked, p) {
			return fmt.Sprintf("it is for %s too, which nobody asks for", p)
		}
	}
	return ""
}

func checkLock(a *App) []Finding {
	all := findings(a.problems[lockFile])
	for i := range all {
		all[i].Fix = cmp.Or(all[i].Fix, "remove it, and run appbundle lock")
	}
	if a.Lock != nil {
		if why := a.Stale(a.Lock); why != "" {
			all = append(all, find(lockFile, "", "%s", why))
		}
	}
	return all
}

func checkYanked(a *App) []Finding {
	if a.Lock == nil {
		return nil
	}
	var all []Finding
	for i := range a.Lock.Packages {
		if p := &a.Lock.Packages[i]; p.Tool.Yanked != "" {
			all = append(all, findAt(p.Pos, "appbundle lock --upgrade-package "+p.Name, "%s %s was withdrawn: %s", p.Name, p.Version, p.Tool.Yanked))
		}
	}
	return all
}

// checkWheels asks of every target what install would ask on a host, and of the
// bundle the wheels that the lock has there.
func checkWheels(a *App) []Finding {
	if a.Lock == nil {
		return nil
	}
	all := MissingWheels(a.Lock)
	for i := range a.Lock.Packages {
		for _, f := range a.Lock.Packages[i].Files() {
			if f.Path == "" {
				continue
			}
			fix := "put it back, or run appbundle lock"
			switch e := a.resolve(path.Clean(f.Path)); {
			case e == nil || e.Type != File:
				all = append(all, findAt(f.Pos, fix, "%s is missing", f.Path))
			case hex.EncodeToString(e.Sum[:]) != f.SHA256():
				all = append(all, findAt(f.Pos, fix, "%s is not the wheel that was locked", f.Path))
			}
		}
	}
	return all
}

// MissingWheels finds the packages of a lock that have no wheel for a target of
// it. Of a lock that another tool made nobody knows the targets.
func MissingWheels(lock *schema.PyLock) []Finding {
	if lock.Tool == nil {
		return nil
	}
	var targets []pep425.Target
	var rankings []*pep425.Ranking
	for _, name := range lock.Tool.Targets {
		t, err := parseTarget(name)
		if err != nil {
			return []Finding{find(lockFile, "appbundle lock", "[tool.appbundle] targets: %v", err)}
		}
		targets, rankings = append(targets, t), append(rankings, pep425.NewRanking(t.Tags))
	}
	var all []Finding
	for i := range lock.Packages {
		p := &lock.Packages[i]
		var lacking []string
		for n, t := range targets {
			if ok, err := p.Marker.Evaluate(t.Env); err == nil && ok && !hasWheel(p, rankings[n]) {
				lacking = append(lacking, t.Name)
			}
		}
		if len(lacking) > 0 {
			all = append(all, findAt(p.Pos, "", "%s %s has no wheel for %s", p.Name, p.Version, strings.Join(lacking, ", ")))
		}
	}
	return all
}

// parseTarget reads the name of a target: "cp311-manylinux_2_28_x86_64".
func parseTarget(name string) (pep425.Target, error) {
	python, platform, ok := strings.Cut(name, "-")
	if !ok {
		return pep425.Target{}, fmt.Errorf("%q is no target", name)
	}
	return pep425.ParseTarget(platform, python)
}

func hasWheel(p *schema.LockedPackage, ranking *pep425.Ranking) bool {
	fits := func(w *pep508.WheelName) bool {
		if w == nil {
			return false
		}
		_, ok := ranking.Rank(w)
		return ok
	}
	if p.Archive != nil {
		return fits(p.Archive.Wheel)
	}
	return slices.ContainsFunc(p.Wheels, func(f schema.LockedFile) bool { return fits(f.Wheel) })
}

// checkEnvironment compares the environment with the lock. Which packages a
// marker asks for is for a host to say, and for install.
func checkEnvironment(a *App) []Finding {
	if a.Entry(envDir) == nil {
		return nil
	}
	at := schema.Pos{File: envDir}
	switch {
	case len(a.problems[envFile]) > 0:
		return findings(a.problems[envFile][:1])
	case a.Environment == nil:
		return []Finding{findAt(at, "remove it, and run appbundle install", "another tool made it: nobody knows what is in it")}
	case len(a.problems[lockFile]) > 0:
		return nil // which is a finding already
	case a.Lock == nil:
		return []Finding{findAt(at, "remove it, or run appbundle lock and appbundle install", "there is no %s that says what is in it", lockFile)}
	}
	locked := map[string][]*schema.LockedPackage{}
	for i := range a.Lock.Packages {
		p := &a.Lock.Packages[i]
		locked[p.Name] = append(locked[p.Name], p)
	}
	var all []Finding
	has := map[string]bool{}
	for i := range a.Environment.Packages {
		p := &a.Environment.Packages[i]
		has[p.Name] = true
		if why := differs(p, locked[p.Name]); why != "" {
			all = append(all, findAt(at, "", "%s %s is in it, and %s", p.Name, p.Version, why))
		}
	}
	for i := range a.Lock.Packages {
		if p := &a.Lock.Packages[i]; p.Marker == nil && !has[p.Name] {
			all = append(all, findAt(at, "", "%s %s is not in it", p.Name, p.Version))
		}
	}
	return append(all, a.unrecorded...)
}

// differs says how an installed package is not one of those of its name in the
// lock.
func differs(p *schema.InstalledPackage, locked []*schema.LockedPackage) string {
	if len(locked) == 0 {
		return "not in " + lockFile
	}
	why := ""
	for _, l := range locked {
		for _, f := range l.Files() {
			if f.SHA256() == p.SHA256 {
				return ""
			}
		}
		if why == "" || l.Version == p.Version {
			why = fmt.Sprintf("%s has %s", lockFile, l.Version)
		}
		if l.Version == p.Version {
			why = fmt.Sprintf("%s has other files of it", lockFile)
		}
	}
	return why
}
