// Package scaffold makes a conforming application directory of a project that
// is there, or of nothing.
//
// [Look] reads the project and guesses; nothing of it is run, and nothing is
// asked. What it reads: requirements files, the [project] table of
// pyproject.toml, Procfile, manage.py, the settings of Pyramid, the top level of
// Python modules, go.mod. Each guess says which line it comes from, and so does
// each line that cannot be taken over. A file of the standard that exists is
// kept as it is.
//
// # Where the application is
//
// The first of these that the directory has:
//
//  1. an entrypoint, which is kept;
//  2. the object that the web process of a Procfile gives to a server;
//  3. a Django project, by manage.py and its settings;
//  4. a Pyramid project, by an INI file with [app:main];
//  5. a module that makes an application of Flask, FastAPI and their kin at its
//     top level, or has a function create_app or make_app that needs no argument;
//  6. a Go module with a main package at its top or in cmd;
//  7. the web process of a Procfile, whatever it is;
//  8. the one script of [project.scripts].
//
// Otherwise it gets a small one that says hello. A script that is made is
// bin/app.py, or bin/wsgiapp.py where the project has a module "app" of its own,
// which the other name would hide.
//
// # Limits
//
// A project has at most 20,000 directory entries and 2,000 Python files of
// 1 MiB that are looked at, four directories deep; what tests, documents and
// environments have is not. No link leads out of the directory. What is larger is
// said, and left.
package scaffold

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"appbundle/schema"
	"appbundle/schema/pep508"
)

// A Plan says which files make a directory conform, and why so.
type Plan struct {
	Name    string
	Files   []File // in the order in which they are written
	Guesses []Guess
}

// A File is one of the standard.
type File struct {
	Path string
	Data []byte      // nil for one that is kept
	Perm fs.FileMode // for a new one
	Kept bool        // it is there already
}

// A Guess is what a line of the project was taken for, or why it was not.
type Guess struct {
	schema.Pos
	Text string
}

// String gives "FILE:LINE: text".
func (g Guess) String() string { return fmt.Sprintf("%v: %s", g.Pos, g.Text) }

const (
	dependencies = "dependencies.txt"
	external     = "external-dependencies.txt"
	appINI       = "app.ini"
)

// entrypoints are the names of one.
var entrypoints = []string{"bin/app", "bin/app.py", "bin/wsgiapp", "bin/wsgiapp.py"}

// A project is a directory that is being looked at.
type project struct {
	tree    fs.FS
	plan    *Plan
	modules []string // Python files, in the order in which they are looked at

	asked   map[string]bool // names of Python packages that are asked for
	lines   []string        // of dependencies.txt
	python  *schema.Project // nil without a pyproject.toml
	process []schema.Process

	target target
	ini    []section
	system []string // lines of external-dependencies.txt
	failed error    // the first file that could not be read
}

// A target is what the entrypoint is made of.
type target struct {
	schema.Pos
	iface  schema.Interface // "" for an entrypoint that is kept and not understood
	script string           // of the entrypoint; "" for one that is kept or built
	path   string           // of the entrypoint, where it is not a script for a server
	dist   string           // the distribution of the framework, "" for none
	server string           // that the project itself uses, "" for none
}

// Look reads the project in dir. name is that of the application; "" takes the
// project's, and that of the directory where it has none. The error says that
// something could not be read.
func Look(dir, name string) (*Plan, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close() // opened for reading: nothing can be lost
	p := &project{tree: root.FS(), plan: &Plan{}, asked: map[string]bool{}}
	if err := p.list(); err != nil {
		return nil, err
	}
	p.readProject()
	p.readProcfile()
	p.readDependencies()
	p.readGoMod()
	p.findTarget(dir)
	p.addTarget()
	p.addProcesses()
	p.plan.Name = p.appName(name, filepath.Base(abs))
	p.files()
	return p.plan, p.failed
}

// guess takes note of one.
func (p *project) guess(at schema.Pos, format string, args ...any) {
	p.plan.Guesses = append(p.plan.Guesses, Guess{at, fmt.Sprintf(format, args...)})
}

// has reports whether the project has a plain file of that name.
func (p *project) has(name string) bool {
	info, err := fs.Stat(p.tree, name)
	return err == nil && info.Mode().IsRegular()
}

// there reports whether anything has that name, a dangling link included.
func (p *project) there(name string) bool {
	_, err := fs.Lstat(p.tree, name)
	return err == nil
}

// read gives the content of a file, nil for one that is not there or too large.
func (p *project) read(name string, most int64) []byte {
	info, err := fs.Stat(p.tree, name)
	if err != nil || !info.Mode().IsRegular() {
		if err != nil && errors.Is(err, fs.ErrPermission) {
			p.fail(err)
		}
		return nil
	}
	f, err := p.tree.Open(name)
	if err != nil {
		p.fail(err)
		return nil
	}
	defer f.Close() // opened for reading: nothing can be lost
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		p.fail(err)
		return nil
	}
	if int64(len(data)) > most {
		p.guess(schema.Pos{File: name}, "has more than %d bytes, and is not read", most)
		return nil
	}
	return data
}

func (p *project) fail(err error) { p.failed = cmp.Or(p.failed, err) }

const (
	maxEntries = 20_000
	maxModules = 2_000
	maxModule  = 1 << 20
	maxDepth   = 4
)

// skipped are directories whose modules are not those of an application.
var skipped = []string{"bin", "tests", "test", "testing", "docs", "doc", "examples", "example", "venv", "env", "node_modules", "migrations", "site-packages", "build", "dist", "__pycache__", "scripts", "tools", "benchmarks", "static"}

// list finds the Python files.
func (p *project) list() error {
	entries := 0
	return fs.WalkDir(p.tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			if name == "." {
				return err
			}
			return nil // a directory that nobody may look into has no application
		}
		if entries++; entries > maxEntries || len(p.modules) == maxModules {
			p.guess(schema.Pos{File: name}, "the project has more files than are looked at; this one and those after it are not")
			return fs.SkipAll
		}
		base := path.Base(name)
		if d.IsDir() {
			if name != "." && (base[0] == '.' || slices.Contains(skipped, base) || strings.HasSuffix(base, ".egg-info") || strings.Count(name, "/") >= maxDepth) {
				return fs.SkipDir
			}
			return nil
		}
		if d.Type().IsRegular() && path.Ext(base) == ".py" && base != "setup.py" && base != "conftest.py" && !strings.HasPrefix(base, "test_") {
			p.modules = append(p.modules, name)
		}
		return nil
	})
}

// appName is the name that was asked for, or the best of those that are there.
func (p *project) appName(asked, dir string) string {
	if asked != "" {
		return asked
	}
	if p.python != nil && p.python.Name.Text != "" {
		if isName(p.python.Name.Text) {
			p.guess(p.python.Name.Pos, "the name is %s", pep508.NormalizeName(p.python.Name.Text))
			return pep508.NormalizeName(p.python.Name.Text)
		}
		p.guess(p.python.Name.Pos, "%q is no name of an application", p.python.Name.Text)
	}
	if isName(dir) {
		return pep508.NormalizeName(dir)
	}
	p.guess(schema.Pos{File: appINI}, "%q is no name of an application; it is called app", dir)
	return "app"
}

func isName(s string) bool { return iniProblem("app", "name", pep508.NormalizeName(s)) == "" }

// readNames lists a directory, sorted, up to a limit.
func readNames(f fs.File) ([]string, error) {
	d, ok := f.(fs.ReadDirFile)
	if !ok {
		return nil, nil
	}
	entries, err := d.ReadDir(maxModules)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names, nil
}
