package main

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"appbundle/bundle"
	"appbundle/install"
	"appbundle/schema"
)

// installOptions are the flags of install.
type installOptions struct {
	python  string
	offline bool
	format  *choice
}

func newInstallCmd(g *globals, out *printer) *cobra.Command {
	o := installOptions{format: textFormat()}
	cmd := &cobra.Command{
		Use:   "install [DIR]",
		Short: "make the environment of an app from its lock",
		Long: `Install makes .appbundle/env from pylock.toml and nothing else: nothing is
resolved, and every file has to have the hash of the lock. The environment is
filled beside the old one and takes its place in one step; one that is current
is left alone. It prints the path of the environment.

A lock of another tool is installed too. A lock that is older than
dependencies.txt is not.`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return interruptible(cmd.Context(), func(ctx context.Context) error {
				res, err := runInstall(ctx, g, out, dirArg(args), o)
				if err != nil {
					return err
				}
				return tellInstalled(out, res, o.format.value)
			})
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&o.python, "python", "", "install for Python `VERSION`, or the interpreter at a path")
	flags.BoolVar(&o.offline, "offline", false, "take everything from the cache and the directory; no network")
	flags.Var(o.format, "format", "report as `text` or json")
	flags.StringVar(&g.cacheDir, "cache-dir", "", "keep what was fetched in `DIR`")
	return cmd
}

// runInstall makes the environment of the app in dir, and prints what people
// have to know.
func runInstall(ctx context.Context, g *globals, out *printer, dir string, o installOptions) (*install.Result, error) {
	app, err := look(ctx, func() (*bundle.App, error) { return bundle.Survey(dir, nil) })
	if err != nil {
		return nil, err
	}
	lock, err := readLock(app)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &lockError{app.Dir, "there is none"}
	}
	if err != nil {
		return nil, err
	}
	if reason := app.StaleInputs(lock); reason != "" {
		return nil, &lockError{app.Dir, reason}
	}
	cache, err := g.cacheDirectory()
	if err != nil {
		return nil, err
	}
	python, err := coveredPython(ctx, app, lock, o.python, cache)
	if err != nil {
		return nil, err
	}
	conf, err := readPipConf(g.env)
	if err != nil {
		return nil, err
	}
	remote := install.Remote{Cache: cache, CAFile: conf.cert, Netrc: g.netrc(), UserAgent: "appbundle/" + version,
		Warn: func(msg string) { out.warn("appbundle: %s", msg) }}
	get, end, err := remote.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	bar := out.progress("install")
	res, err := install.Sync(ctx, install.Request{
		Lock: lock, Dir: app.Dir, Python: python, Cache: cache, Fetch: get, Offline: o.offline, Compile: true,
		Requested: requested(lock),
		Progress: func(p install.Progress) {
			bar.note("%d of %s, %s", p.Done, count(p.Total, "package"), p.Package)
		},
	})
	bar.end()
	if errors.Is(err, schema.ErrNotCovered) {
		return nil, &coverError{app.Dir, lock, err}
	}
	if errors.Is(err, install.ErrDamaged) {
		return nil, &damageError{err}
	}
	if err != nil {
		return nil, err
	}
	for _, w := range res.Warnings {
		out.warn("appbundle: %s", w)
	}
	for _, file := range res.Startup {
		out.warn("appbundle: %s runs code whenever the interpreter starts", filepath.Join(relative(res.Env), file))
	}
	return res, nil
}

// requested tells the packages that somebody asked for from those that these
// need; nil where the lock does not say.
func requested(lock *schema.PyLock) func(string) bool {
	if lock.Tool == nil {
		return nil
	}
	asked := map[string]bool{}
	for i := range lock.Packages {
		if len(lock.Packages[i].Tool.From) > 0 {
			asked[lock.Packages[i].Name] = true
		}
	}
	return func(name string) bool { return asked[name] }
}

func tellInstalled(out *printer, res *install.Result, format string) error {
	env := relative(res.Env)
	if format == "json" {
		packages := []map[string]string{}
		for _, p := range res.Packages {
			packages = append(packages, map[string]string{"name": p.Name, "version": p.Version, "file": p.File, "sha256": p.SHA256})
		}
		return out.json(map[string]any{"format": 1, "environment": env, "target": res.Target, "current": res.Current,
			"fetched": res.Fetched, "packages": packages})
	}
	out.print("%s\n", env)
	if res.Current {
		out.remark("%s for %s: it was current", count(len(res.Packages), "package"), res.Target)
		return nil
	}
	out.remark("%s for %s, %d fetched", count(len(res.Packages), "package"), res.Target, res.Fetched)
	return nil
}

// A damageError says that the cache is not what it was.
type damageError struct{ err error }

func (e *damageError) Error() string { return e.err.Error() }
func (e *damageError) Unwrap() error { return e.err }
func (e *damageError) Hint() string  { return "appbundle cache verify --fix" }

// A coverError says that the lock was not made for this host.
type coverError struct {
	dir  string
	lock *schema.PyLock
	err  error
}

func (e *coverError) Error() string {
	return lockFile + ": " + strings.TrimPrefix(e.err.Error(), lockFile+": ")
}
func (e *coverError) Unwrap() error { return e.err }

// Hint keeps what the lock is for.
func (e *coverError) Hint() string {
	hint := "appbundle lock"
	if e.lock.Tool != nil {
		for _, t := range e.lock.Tool.Targets {
			_, platform, _ := strings.Cut(t, "-")
			hint += " --platform " + platform
		}
	}
	return typedIn(e.dir, hint+" --platform host")
}
