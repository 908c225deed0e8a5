package bundle

import (
	"os"
	"path"
	"path/filepath"
	"strings"

	"appbundle/schema/pep508"
)

// An Env is a Python environment that the application may run in. It is no
// part of the application: it is looked at when the directory is loaded and
// is in no archive and no digest.
type Env struct {
	Dir    string // relative to the application directory, or absolute
	Python string // the interpreter, likewise
	// Dists are the installed distributions: normalised name to version. It is
	// nil where nobody can tell: the interpreter is not a virtual environment's.
	Dists map[string]string
	// Site are the directories of the system that Dists are in, where the
	// environment has none of its own.
	Site []string
}

// findEnvs looks for the environments that the standard names, best first.
func (a *App) findEnvs() []Env {
	dir, shebang := a.Dir, a.Entrypoint.interpreter()
	var envs []Env
	add := func(envPath, python string) {
		if _, err := os.Stat(inDir(dir, python)); err != nil {
			return
		}
		e := Env{Dir: envPath, Python: python}
		switch own := a.Environment; {
		case envPath == envDir && own != nil && len(own.Site) > 0:
			e.Site, e.Dists = own.Site, distsIn(own.Site)
		case envPath != "":
			e.Dists = installed(inDir(dir, envPath))
		}
		envs = append(envs, e)
	}
	add(envDir, envDir+"/bin/python")
	if strings.Contains(shebang, "/") {
		envPath := path.Dir(path.Dir(shebang))
		if _, err := os.Stat(inDir(dir, envPath+"/pyvenv.cfg")); err != nil {
			envPath = ""
		}
		add(envPath, shebang)
	}
	add(".venv", ".venv/bin/python")
	return envs
}

// inDir gives the place of a path that may be relative to dir.
func inDir(dir, p string) string {
	if path.IsAbs(p) {
		return p
	}
	return filepath.Join(dir, filepath.FromSlash(p))
}

// installed reads the names of the distributions in an environment, from the
// names of their directories alone.
func installed(env string) map[string]string {
	libs, _ := filepath.Glob(filepath.Join(globQuote(env), "lib", "python*", "site-packages"))
	return distsIn(libs)
}

func distsIn(sites []string) map[string]string {
	dists := map[string]string{}
	for _, site := range sites {
		list, err := os.ReadDir(site)
		if err != nil {
			continue
		}
		for _, de := range list {
			if name, version, ok := distOf(de.Name()); ok {
				dists[name] = version
			}
		}
	}
	return dists
}

// distOf reads NAME-VERSION.dist-info and NAME-VERSION[-pyX.Y].egg-info.
func distOf(base string) (name, version string, ok bool) {
	stem, ok := strings.CutSuffix(base, ".dist-info")
	if !ok {
		if stem, ok = strings.CutSuffix(base, ".egg-info"); !ok {
			return "", "", false
		}
		if i := strings.LastIndex(stem, "-py"); i > 0 {
			stem = stem[:i]
		}
	}
	name, version, ok = strings.Cut(stem, "-")
	return pep508.NormalizeName(name), version, ok
}

// globQuote keeps the letters of a directory from being read as a pattern.
func globQuote(p string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(p)
}
