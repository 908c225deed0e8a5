package main

import (
	"errors"
	"os"
	"os/exec"
	"syscall"

	"appbundle/bundle"
	"appbundle/runner"
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
