package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"appbundle/bundle"
	"appbundle/install"
	"appbundle/schema"
	"appbundle/schema/pep425"
)

// interpreter gives the absolute path of the Python of an app: the flag's, that
// of [app] of app.ini, the entrypoint's, else python3. A name is looked up in
// PATH; a version means the command of that name.
func interpreter(app *bundle.App, flag string) (string, error) {
	name := cmp.Or(flag, app.Config.App.Python)
	if s := app.Entrypoint.Shebang; name == "" && s != nil {
		name = s.Python
	}
	if name == "" {
		name = "3"
	}
	if !strings.Contains(name, "/") && name[0] >= '0' && name[0] <= '9' {
		name = "python" + name
	}
	found, err := exec.LookPath(name)
	if err != nil {
		return "", &noPythonError{whoAsks(app, flag), name, err}
	}
	return filepath.Abs(found)
}

// whoAsks says where the Python of an app is written down.
func whoAsks(app *bundle.App, flag string) string {
	switch s := app.Entrypoint.Shebang; {
	case flag != "":
		return "--python"
	case app.Config.App.Python != "":
		return pythonKey(app.Dir).String() + ": [app] python"
	case s != nil && s.Python != "":
		return firstLine(app).String()
	}
	return "python"
}

func firstLine(app *bundle.App) schema.Pos { return schema.Pos{File: app.Entrypoint.Path, Line: 1} }

// pythonKey is the place of [app] python.
func pythonKey(dir string) schema.Pos {
	at := schema.Pos{File: "app.ini"}
	data, err := os.ReadFile(filepath.Join(dir, at.File))
	if err != nil {
		return at
	}
	ini, _ := schema.ParseINI(at.File, data, schema.Dialect{})
	for _, s := range ini.Sections {
		for _, k := range s.Keys {
			if s.Name == "app" && k.Name == "python" {
				at.Line = k.Pos.Line
			}
		}
	}
	return at
}

// buildInterpreter gives the Python that builds: the one that is locked for.
func buildInterpreter(app *bundle.App, flag string) (string, error) {
	name := cmp.Or(flag, app.Config.App.Python)
	if v := strings.Split(name, "."); len(v) == 3 && !strings.Contains(name, "/") {
		name = v[0] + "." + v[1] // commands have no third number
	}
	path, err := interpreter(app, name)
	if err != nil {
		return "", fmt.Errorf("a build needs the Python that is locked for: %w", err)
	}
	return path, nil
}

// pythonVersion gives the Python to lock for: a version as it was asked for,
// else what the interpreter says of itself.
func pythonVersion(ctx context.Context, app *bundle.App, flag, cache string) (string, error) {
	name := cmp.Or(flag, app.Config.App.Python)
	if s := app.Entrypoint.Shebang; name == "" && s != nil && strings.Contains(s.Python, ".") {
		name = s.Python
		if _, err := pep425.ParseTarget(bundle.DefaultPlatforms()[0], name); err != nil {
			return "", &schema.Problem{Pos: firstLine(app), Msg: "the interpreter: " + err.Error()}
		}
	}
	if name != "" && !strings.Contains(name, "/") {
		return name, nil
	}
	path, err := interpreter(app, name)
	if err != nil {
		return "", err
	}
	i, err := install.Ask(ctx, path, cache)
	if err != nil {
		return "", err
	}
	return i.Env.PythonVersion, nil
}

// coveredPython gives the interpreter to install for: the one of the app, or
// where nobody named one, and the lock is for another Python, that.
func coveredPython(ctx context.Context, app *bundle.App, lock *schema.PyLock, flag, cache string) (string, error) {
	first, err := interpreter(app, flag)
	if flag != "" || app.Config.App.Python != "" || lock.Tool == nil {
		return first, err
	}
	paths := []string{first}
	if err != nil {
		paths = nil
	}
	for _, t := range lock.Tool.Targets {
		abi, _, _ := strings.Cut(t, "-")
		if py, err := pep425.ParsePython(abi); err == nil {
			if found, err := exec.LookPath("python" + py.Version()); err == nil {
				paths = append(paths, found)
			}
		}
	}
	for _, path := range paths {
		if path, err := filepath.Abs(path); err == nil && covers(ctx, lock, path, cache) {
			return path, nil
		}
	}
	return first, err // install says why not
}

// covers reports whether a lock is for the host and an interpreter.
func covers(ctx context.Context, lock *schema.PyLock, python, cache string) bool {
	i, err := install.Ask(ctx, python, cache)
	if err != nil {
		return false
	}
	t, err := i.Target()
	if err != nil {
		return false
	}
	_, err = lock.Select(t.Env, t.Python)
	return !errors.Is(err, schema.ErrNotCovered)
}

// A noPythonError says that a Python is not on this host.
type noPythonError struct {
	asks string // who asks for it
	name string
	err  error
}

func (e *noPythonError) Error() string {
	why := e.err
	for inner := errors.Unwrap(why); inner != nil; inner = errors.Unwrap(why) {
		why = inner
	}
	reason := why.Error()
	if errors.Is(why, exec.ErrNotFound) {
		reason = "not found in PATH"
	}
	return e.asks + ": " + e.name + ": " + reason + "; name another with --python"
}

func (e *noPythonError) Unwrap() error { return e.err }
