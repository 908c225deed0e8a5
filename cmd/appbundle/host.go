package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// runDirectory is where the sockets and the lock of the app called name are:
// --run-dir, APPBUNDLE_RUN_DIR, or the directory that systemd has made; else
// /run/appbundle/NAME for root, and for others one below $XDG_RUNTIME_DIR or
// /tmp/appbundle-UID. Nothing is created.
func (g *globals) runDirectory(name string) (string, error) {
	if dir, err := g.named(g.runDir, "APPBUNDLE_RUN_DIR", "RUNTIME_DIRECTORY"); dir != "" || err != nil {
		return dir, err
	}
	if os.Getuid() == 0 {
		return filepath.Join("/run/appbundle", name), nil
	}
	if dir := g.env("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "appbundle", name), nil
	}
	return filepath.Join(fmt.Sprintf("/tmp/appbundle-%d", os.Getuid()), name), nil
}

// stateDirectory is where what survives a restart is: --state-dir,
// APPBUNDLE_STATE_DIR, or the directory that systemd has made; else
// /var/lib/appbundle/NAME for root, and for others one below $XDG_STATE_HOME or
// ~/.local/state. Nothing is created.
func (g *globals) stateDirectory(name string) (string, error) {
	if dir, err := g.named(g.stateDir, "APPBUNDLE_STATE_DIR", "STATE_DIRECTORY"); dir != "" || err != nil {
		return dir, err
	}
	if os.Getuid() == 0 {
		return filepath.Join("/var/lib/appbundle", name), nil
	}
	if dir := g.env("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "appbundle", name), nil
	}
	if home := g.env("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local/state/appbundle", name), nil
	}
	return "", errNoStateDir
}

// errNoStateDir is what a bare environment leads to.
var errNoStateDir = errors.New("no place for the app's state: none of --state-dir, APPBUNDLE_STATE_DIR, XDG_STATE_HOME and HOME is set")

// cacheDirectory is where what can be fetched again is kept: --cache-dir,
// APPBUNDLE_CACHE_DIR, or the directory that systemd has made; else
// /var/cache/appbundle for root, and for others one below $XDG_CACHE_HOME or
// ~/.cache. It is made, since nothing can be fetched without it.
func (g *globals) cacheDirectory() (string, error) {
	dir, err := g.cachePlace()
	if err != nil {
		return "", err
	}
	err = os.MkdirAll(dir, 0o755)
	if err == nil {
		err = unix.Access(dir, unix.W_OK|unix.X_OK)
	}
	if err == nil {
		return dir, nil
	}
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		err = pe.Err
	}
	return "", fmt.Errorf("cache: %s: %w; name another with --cache-dir", dir, err)
}

// answers is the cache for what commands keep that do without one, too: what
// interpreters said of themselves. It is "" where no place is known.
func (g *globals) answers() string {
	dir, err := g.cachePlace()
	if err != nil {
		return ""
	}
	return dir
}

func (g *globals) cachePlace() (string, error) {
	if dir, err := g.named(g.cacheDir, "APPBUNDLE_CACHE_DIR", "CACHE_DIRECTORY"); dir != "" || err != nil {
		return dir, err
	}
	if os.Getuid() == 0 {
		return "/var/cache/appbundle", nil
	}
	if dir := g.env("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "appbundle"), nil
	}
	if home := g.env("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".cache/appbundle"), nil
	}
	return "", errNoCacheDir
}

// errNoCacheDir is what a bare environment leads to.
var errNoCacheDir = errors.New("no place for the cache: none of --cache-dir, APPBUNDLE_CACHE_DIR, XDG_CACHE_HOME and HOME is set")

// named is the directory that somebody gave by name: by the flag, by our own
// variable, or by systemd's, which may list several.
func (g *globals) named(flag, own, systemd string) (string, error) {
	for _, dir := range []string{flag, g.env(own)} {
		if dir != "" {
			return filepath.Abs(dir)
		}
	}
	first, _, _ := strings.Cut(g.env(systemd), ":")
	if !filepath.IsAbs(first) {
		return "", nil
	}
	return first, nil
}
