package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"appbundle/bundle"
	"appbundle/install"
	"appbundle/runner"
	"appbundle/schema"
	"appbundle/schema/pep440"
)

// hasDist ends with status 1 where the distribution argv[1] is not installed,
// and with 0 where that cannot be told.
const hasDist = `import sys
try:
    import importlib.metadata as metadata
except ImportError:
    sys.exit()
try:
    metadata.distribution(sys.argv[1])
except metadata.PackageNotFoundError:
    sys.exit(1)`

// findServer asks an interpreter that is not a virtual environment's whether it
// has the server: without it the app would die again and again, each time with a
// traceback instead of the commands that help. What does not run at all is for
// the supervisor to report.
func (s *supervised) findServer(p *processes, r *runner.Runner) error {
	if s.isCircus() {
		return nil
	}
	l, err := p.app.Launch(nil)
	if err != nil || l == nil || l.Python.Dists != nil {
		return err
	}
	if l.Dist == "uwsgi" { // a program, which is there or not
		return nil
	}
	python, err := r.Program("app")
	if err != nil {
		return nil
	}
	ask := exec.Command(python.Path, "-c", hasDist, l.Dist)
	ask.Env, ask.Dir = python.Env, "/" // no module of the app is in its way
	ask.SysProcAttr = &syscall.SysProcAttr{Credential: python.Credential}
	err = ask.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 1 {
		return s.typed(l.Missing())
	}
	return nil
}

// currentEnv refuses to run in an environment of ours that is not what the lock
// says: it would be the app of yesterday. Where there is no lock, or another
// environment, nothing is compared.
func currentEnv(ctx context.Context, app *bundle.App, cache string) error {
	if app.Environment == nil && (len(app.Envs) == 0 || app.Envs[0].Dir != install.EnvDir) {
		return nil
	}
	if app.Environment != nil && (len(app.Envs) == 0 || app.Envs[0].Dir != install.EnvDir) {
		return &envError{app.Dir, "has no interpreter of this host; it is for " + app.Environment.Target()}
	}
	lock, err := readLock(app)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	stale := &envError{app.Dir, "is not what " + lockFile + " says"}
	python, err := os.Readlink(filepath.Join(app.Dir, app.Envs[0].Python))
	if err != nil || !filepath.IsAbs(python) {
		return stale // install did not make it
	}
	current, err := install.Current(ctx, install.Request{Lock: lock, Dir: app.Dir, Compile: true, Requested: requested(lock), Python: python, Cache: cache})
	if errors.Is(err, schema.ErrNotCovered) {
		return &coverError{app.Dir, lock, err}
	}
	if err == nil && !current {
		err = stale
	}
	if err == nil && app.Environment != nil {
		err = systemEnv(app)
	}
	return err
}

// systemEnv refuses to run with packages of the system that are not those of the
// lock: a package manager may have others by now.
func systemEnv(app *bundle.App) error {
	env := &app.Envs[0]
	if len(env.Site) == 0 {
		return nil
	}
	for _, p := range app.Environment.Packages {
		have, ok := env.Dists[p.Name]
		v, err := pep440.Parse(have)
		if !ok || err != nil || v.Compare(pep440.MustParse(p.Version)) != 0 {
			return &siteError{app.Dir, env.Site, p.Name, p.Version, have}
		}
	}
	return nil
}

// A siteError says that the system has not a package as the app of dir needs it.
type siteError struct {
	dir           string
	site          []string
	name          string
	version, have string
}

func (e *siteError) Error() string {
	why := fmt.Sprintf("%s %s is not in %s", e.name, e.version, strings.Join(e.site, " or "))
	if e.have != "" {
		why += ", which has " + e.have
	}
	return quoteShell(relative(filepath.Join(e.dir, lockFile))) + ": " + why
}

func (e *siteError) Hint() string {
	return fmt.Sprintf("install python3-%s of version %s with the package manager", e.name, e.version)
}

// presentEnv refuses to run a script that has a lock in no environment at all:
// nobody knows what the Python of the host has installed.
func presentEnv(app *bundle.App) error {
	if len(app.Envs) > 0 {
		return nil
	}
	lock, err := readLock(app)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(lock.Packages) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	l, err := app.Launch(nil)
	if err != nil || l == nil {
		return err
	}
	return &envError{app.Dir, "is missing"}
}

// packable refuses to build an archive without the environment that its lock
// asks for, or with one that is something else. What is wrong with the lock
// itself is a finding.
func packable(ctx context.Context, app *bundle.App, cache string, o *packageOptions) error {
	if app.Lock == nil && o.any() && len(demand(app).Requirements) > 0 {
		return &unlockedError{envError{app.Dir, "is missing, and nobody makes it where a package is installed"}}
	}
	if app.Lock == nil || len(app.Lock.Packages) == 0 || app.Stale(app.Lock) != "" {
		return nil
	}
	if app.Environment != nil && len(app.Environment.Site) > 0 {
		return &envError{app.Dir, "has its packages in the system, and nothing to pack"}
	}
	if app.Entry(install.EnvDir) == nil {
		if o.any() {
			return &envError{app.Dir, "is missing"}
		}
		return &unbuiltError{envError{app.Dir, "is missing"}}
	}
	return currentEnv(ctx, app, cache)
}

// An envError says what is wrong with the environment of the app in dir.
type envError struct{ dir, why string }

func (e *envError) Error() string {
	return quoteShell(relative(filepath.Join(e.dir, install.EnvDir))) + " " + e.why
}
func (e *envError) Hint() string { return "appbundle install " + quoteShell(relative(e.dir)) }

// An unlockedError is an envError of an app without a lock.
type unlockedError struct{ envError }

func (e *unlockedError) Hint() string {
	return "appbundle lock " + quoteShell(relative(e.dir)) + " && " + e.envError.Hint()
}

// An unbuiltError is an envError where an archive without one would do.
type unbuiltError struct{ envError }

func (e *unbuiltError) Hint() string {
	return e.envError.Hint() + ", or appbundle build --no-env to have it made on the host"
}

// typed makes the commands of an error ones to type in the working directory.
func (s *supervised) typed(err error) error {
	lacks := (*bundle.EnvironmentError)(nil)
	if !errors.As(err, &lacks) {
		return err
	}
	if wd, wdErr := os.Getwd(); wdErr != nil || wd != s.dir {
		lacks.Type = append([]string{"cd " + quoteShell(s.dir)}, lacks.Type...)
	}
	return err
}
