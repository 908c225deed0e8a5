package main

import (
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"appbundle/bundle"
	"appbundle/install"
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
		return "", fmt.Errorf("python: %w; name another with --python", err)
	}
	return filepath.Abs(found)
}

// pythonVersion gives the Python to lock for: a version as it was asked for,
// else what the interpreter says of itself.
func pythonVersion(ctx context.Context, app *bundle.App, flag, cache string) (string, error) {
	name := cmp.Or(flag, app.Config.App.Python)
	if s := app.Entrypoint.Shebang; name == "" && s != nil && strings.Contains(s.Python, ".") {
		name = s.Python
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
