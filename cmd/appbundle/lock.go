package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"appbundle/bundle"
	"appbundle/resolve"
	"appbundle/schema"
	"appbundle/schema/pep425"
	"appbundle/schema/pep508"
)

// lockOptions are the flags of lock.
type lockOptions struct {
	check      bool
	upgradeAll bool
	upgrade    []string
	index      string
	python     string
	platforms  []string
	resolution *choice
	pre        bool
	allowBuild bool
	newer      string
	explain    bool
	format     *choice

	excludeNewer time.Time // as newer says

	edit *bundle.Edit // of the file that is written together with the lock, nil for none
}

func newLockCmd(g *globals, out *printer) *cobra.Command {
	o := lockOptions{
		resolution: &choice{value: "highest", allowed: []string{"highest", "lowest", "lowest-direct"}},
		format:     textFormat(),
	}
	cmd := &cobra.Command{
		Use:   "lock [DIR]",
		Short: "pin every direct and indirect dependency, with hashes",
		Long: `Lock finds a version of every package that dependencies.txt needs, for all
platforms, and writes them with the hashes of their files to pylock.toml
(PEP 751), which pip and uv install too. What an existing lock has pinned stays
as long as it fits. It prints what moved, each with the reason.

The index is that of --index-url, else of dependencies.txt, else the one that
pip is configured for. Where there is no solution, it says which lines
contradict each other, in at most 15 lines, and the lock stays as it was;
--explain tells every fact, and derives the contradiction from them.

With --allow-build a source distribution without a wheel is built, in an
environment of its own, and the wheel goes into wheels/ of the app. Nothing is
built when an app is installed. A build runs code of its authors as you.`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.parse(cmd); err != nil {
				return &usageError{err: err}
			}
			return interruptible(cmd.Context(), func(ctx context.Context) error {
				return runLock(ctx, g, out, dirArg(args), o)
			})
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&o.check, "check", false, "only tell whether the lock answers the files it was made from; no network")
	flags.BoolVar(&o.upgradeAll, "upgrade", false, "take the newest versions instead of the locked ones")
	flags.StringArrayVar(&o.upgrade, "upgrade-package", nil, "take the newest version of `NAME`; may be repeated")
	flags.StringVar(&o.index, "index-url", "", "take packages from the index at `URL`")
	flags.StringVar(&o.python, "python", "", "lock for Python `VERSION`, or that of the interpreter at a path")
	flags.StringArrayVar(&o.platforms, "platform", nil, "lock for `TAG`, or for \"host\"; may be repeated (default manylinux_2_28 on x86_64 and aarch64)")
	flags.Var(o.resolution, "resolution", "versions to try first: `highest`, lowest or lowest-direct")
	flags.BoolVar(&o.pre, "pre", false, "let pre-releases count like other releases")
	flags.BoolVar(&o.allowBuild, "allow-build", false, "run the builds of source distributions that no wheel replaces, and keep the wheels in wheels/")
	flags.StringVar(&o.newer, "exclude-newer", "", "leave out what was uploaded after `TIME`: 2026-01-31, or RFC 3339")
	flags.BoolVar(&o.explain, "explain", false, "where there is no solution, tell all facts and each step to the contradiction")
	flags.Var(o.format, "format", "report as `text` or json")
	flags.StringVar(&g.cacheDir, "cache-dir", "", "keep what was fetched in `DIR`")
	return cmd
}

// parse refuses flags that mean nothing.
func (o *lockOptions) parse(cmd *cobra.Command) error {
	for i, name := range o.upgrade {
		if !pep508.ValidName(name) {
			return fmt.Errorf("--upgrade-package: %q is no name of a package", name)
		}
		o.upgrade[i] = pep508.NormalizeName(name)
	}
	for _, p := range o.platforms {
		if p == "host" {
			continue
		}
		if _, err := pep425.ParsePlatform(p); err != nil {
			return fmt.Errorf("--platform: %w", err)
		}
	}
	if !cmd.Flags().Lookup("exclude-newer").Changed {
		return nil
	}
	return o.parseNewer()
}

func (o *lockOptions) parseNewer() (err error) {
	if o.excludeNewer, err = time.Parse(time.DateOnly, o.newer); err == nil {
		o.excludeNewer = o.excludeNewer.AddDate(0, 0, 1) // that day counts
		return nil
	}
	if o.excludeNewer, err = time.Parse(time.RFC3339, o.newer); err != nil {
		return fmt.Errorf("--exclude-newer: %q is neither a date (2026-01-31) nor a time of RFC 3339", o.newer)
	}
	return nil
}

// options are the flags that changed the answer, for the lock.
func (o *lockOptions) options(targets []resolve.Target) []string {
	var list []string
	if o.python != "" {
		list = append(list, "--python="+targets[0].Env.PythonVersion)
	}
	for _, p := range o.platforms {
		list = append(list, "--platform="+p)
	}
	if o.resolution.value != "highest" {
		list = append(list, "--resolution="+o.resolution.value)
	}
	if o.pre {
		list = append(list, "--pre")
	}
	if o.newer != "" {
		list = append(list, "--exclude-newer="+o.newer)
	}
	return list
}

func runLock(ctx context.Context, g *globals, out *printer, dir string, o lockOptions) error {
	if o.check {
		// When no input has changed, none was added either: an include is a line
		// of one of them. Then nothing else has to be read.
		if lock, err := lockOf(dir); err == nil && unchanged(dir, lock) {
			return tellCheck(out, dir, lock, unusable(dir, lock), o.format.value)
		}
	}
	a, err := makeLock(ctx, g, out, dir, o)
	if err != nil || o.check {
		return err
	}
	return a.tell(out, o.format.value)
}

// checkLock answers --check where an input is not what it was.
func checkLock(out *printer, app *bundle.App, lock *schema.PyLock, format string) error {
	reason := "there is none"
	if lock != nil {
		if reason = cmp.Or(app.Stale(lock), unusable(app.Dir, lock)); lock.Tool == nil {
			reason = "another tool made it, and it does not say from what"
		}
	}
	return tellCheck(out, app.Dir, lock, reason, format)
}

// tellCheck says why a lock is stale, or that it is not.
func tellCheck(out *printer, dir string, lock *schema.PyLock, reason, format string) error {
	if format == "json" {
		if err := out.json(map[string]any{"format": 1, "current": reason == "", "reason": reason}); err != nil {
			return err
		}
	}
	switch {
	case reason == "":
		out.remark("%s is current: %s", lockFile, count(len(lock.Packages), "package"))
		return nil
	case format == "json":
		return errNo
	}
	return &lockError{dir, reason}
}

// unusable says why nobody could install what a lock says, "" where they could.
func unusable(dir string, lock *schema.PyLock) string {
	if found := bundle.MissingWheels(lock); len(found) > 0 {
		return found[0].Message
	}
	return damagedWheel(dir, lock)
}

// An explainedError tells all of a conflict.
type explainedError struct{ *resolve.ConflictError }

func (e *explainedError) Error() string { return e.Explain() }
func (e *explainedError) Unwrap() error { return e.ConflictError }

// A lockError says that the lock of an app is missing or of no use.
type lockError struct{ dir, reason string }

func (e *lockError) Error() string { return lockFile + ": " + e.reason }
func (e *lockError) Hint() string  { return typedIn(e.dir, "appbundle lock") }

// typedIn gives a command for the app in dir, as it is typed here.
func typedIn(dir, command string) string {
	if dir = relative(dir); dir == "." {
		return command
	}
	return command + " " + quoteShell(dir)
}

// resolutionOf is the --resolution that a lock was made with.
func resolutionOf(lock *schema.PyLock) string {
	if lock.Tool != nil {
		for _, o := range lock.Tool.Options {
			if s, ok := strings.CutPrefix(o, "--resolution="); ok {
				return s
			}
		}
	}
	return "highest"
}
