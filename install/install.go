// Package install makes the Python environment of an application from its lock
// and nothing else: nothing is resolved, no index is asked, and what the lock
// says is checked down to the last file.
//
// [Sync] chooses the packages and wheels for a target, takes them from the
// cache or fetches them, and makes DIR/.appbundle/env anew. The environment is
// relocatable and holds nothing of the host that made it but two things: the
// link bin/python, and, from Python 3.14 on, which insists, the directory of
// the interpreter in pyvenv.cfg.
//
//	env/pyvenv.cfg
//	env/installed.json                     what is in it
//	env/bin/python, activate, scripts
//	env/lib/pythonX.Y/site-packages/
//
// # Wheels
//
// A wheel is accepted when its size and SHA-256 are those of the lock, the
// archive obeys internal/safearchive, there is one dist-info directory with the
// name and version of the lock, and RECORD lists every file with its hash, and
// no other file. Refused as well: a Wheel-Version that is not 1, unknown kinds of
// data, and scripts and data that would replace the interpreter or what belongs
// to the environment. A refused wheel leaves nothing behind, neither in the cache
// nor in the environment. Source distributions, version control and directories
// are not installed.
//
// # Cache
//
// A wheel is unpacked once into CACHE/wheels, under its SHA-256, and its byte
// code is compiled once for each magic number of Python into CACHE/bytecode. The
// rename of a filled directory is what puts it into the cache. Files there are
// read-only, and environments share them: as reflinks, hard links or copies,
// whatever the file system can. Byte code is of the unchecked-hash kind and
// names its source relative to site-packages, so that it depends on no time
// and no place.
//
// Locks of the kernel (flock) order those who share a cache: one process fills
// an entry, many install, and [Prune] and [Verify] come alone.
//
// # Failure
//
// The environment is filled under a temporary name and then exchanged with the
// old one in one step. Whatever fails before, a SIGKILL included, leaves the old
// environment whole and the cache usable.
package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"appbundle/internal/atomicfile"
	"appbundle/schema"
	"appbundle/schema/pep425"
)

// EnvDir is where the environment of an application is, from its directory.
const EnvDir = ".appbundle/env"

// A Request says what to install, and where.
type Request struct {
	Lock *schema.PyLock
	Dir  string // of the application; paths in the lock are relative to it
	// Python is the absolute path of the interpreter. One of a virtual
	// environment stands for the one that this was made with.
	Python string
	Cache  string // the cache directory, made where it is missing
	// Target is what wheels are chosen for; nil means the host, as Python
	// describes it. Its Python must have the minor version of the interpreter.
	Target *pep425.Target
	// Fetch writes the file f, which has a URL, to w. It is called from many
	// goroutines. What it writes is checked by the caller.
	Fetch   func(ctx context.Context, f schema.LockedFile, w io.Writer) error
	Offline bool // Fetch is not called: all must be in the cache or in Dir
	Compile bool // byte code is part of the environment
	// Requested tells whether somebody asked for the package by name, as opposed
	// to a package that needs it; nil means that all were.
	Requested func(name string) bool
	// Progress hears of every wheel that is ready, from many goroutines; nil
	// means nobody does.
	Progress func(Progress)
	Workers  int // how many wheels are worked on at once; 0 means 8, or 2 for each CPU if that is more

	fs atomicfile.FS // for tests
}

// Progress is how far an installation has come.
type Progress struct {
	Done, Total int    // wheels
	Package     string // that is ready: "flask 3.1.3"
}

// A Result is what was installed.
type Result struct {
	Env      string // path of the environment
	Target   string // what wheels were chosen for: "cp311-manylinux_2_36_x86_64"
	Packages []Installed
	Current  bool // the environment was what it should be, and is untouched
	Fetched  int  // wheels that were not in the cache
	Compiled int  // wheels whose byte code was not in the cache
	// Warnings are what a person should read; Startup are files (.pth) that run
	// code whenever the interpreter starts, relative to site-packages.
	Warnings []string
	Startup  []string
}

// An Installed is one package of an environment.
type Installed struct {
	Name    string
	Version string
	File    string // name of the wheel
	SHA256  string
}

// Sync makes the environment what the lock says. A current one is left alone.
//
// An error that wraps [schema.ErrNotCovered], [schema.Problems], a
// [*MismatchError] and a refusal of package safearchive are answers: the lock or
// a file is not good for this. Every other error is about the world.
func Sync(ctx context.Context, req Request) (*Result, error) {
	plan, err := makePlan(ctx, &req)
	if err != nil {
		return nil, err
	}
	env, unlock, err := lockEnv(ctx, req.Dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	// A process that was killed just after the exchange leaves an old
	// environment beside a current one.
	if err := removeStale(filepath.Dir(env), "."+filepath.Base(env)+".staging-"); err != nil {
		return nil, err
	}
	res := &Result{Env: env, Target: plan.target.Name, Packages: plan.installed()}
	if plan.isCurrent(env) {
		res.Current = true
		return res, nil
	}
	if done, err := plan.relink(ctx, env); done || err != nil {
		return res, err
	}
	c := &cache{dir: req.Cache, fs: req.fs}
	release, err := c.share(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	trees, err := plan.prepare(ctx, c, res)
	if err != nil {
		return nil, err
	}
	if err := plan.build(ctx, env, trees, res); err != nil {
		return nil, fmt.Errorf("%s: %w", env, err)
	}
	return res, nil
}

// Current reports whether the environment is what Sync would make of it.
func Current(ctx context.Context, req Request) (bool, error) {
	plan, err := makePlan(ctx, &req)
	if err != nil {
		return false, err
	}
	return plan.isCurrent(filepath.Join(req.Dir, EnvDir)), nil
}

// lockEnv makes the directory above the environment and takes its lock: one
// Sync at a time works in an application.
func lockEnv(ctx context.Context, dir string) (env string, unlock func(), err error) {
	env, err = filepath.Abs(filepath.Join(dir, EnvDir))
	if err != nil {
		return "", nil, err
	}
	above := filepath.Dir(env)
	if err := os.Mkdir(above, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return "", nil, err
	}
	unlock, err = atomicfile.Lock(ctx, above, true, nil)
	return env, unlock, err
}
