package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"appbundle/bundle"
	"appbundle/schema"
)

// keptReleases is how many unpacked archives stay in the state directory.
const keptReleases = 3

// appDirectory gives the directory to run: path itself, or the release that the
// archive at path is unpacked to. name is the archive's, "" for a directory.
func (g *globals) appDirectory(path, wanted string) (dir, name string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", "", err
	}
	if info.IsDir() {
		dir, err = filepath.Abs(path)
		return dir, "", err
	}
	p, err := g.prove(context.Background(), path, "")
	if err != nil {
		return "", "", err
	}
	defer p.close()
	app, err := bundle.OpenFile(path, p.file())
	if err != nil {
		return "", "", err
	}
	if err := p.name(app.Name); err != nil {
		return "", "", err
	}
	state, err := g.stateDirectory(cmp.Or(wanted, app.Name))
	if err != nil {
		return "", "", err
	}
	releases := filepath.Join(state, "releases")
	if err := makeReleases(releases); err != nil {
		return "", "", err
	}
	dir = filepath.Join(releases, strings.ReplaceAll(app.Digest(), ":", "-"))
	switch fi, err := os.Lstat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		if err := bundle.Unpack(context.Background(), path, dir, (&adoption{archive: path, signer: p}).options()); err != nil {
			return "", "", err
		}
	case err != nil:
		return "", "", err
	default:
		if err := errors.Join(ownDirectory(dir, fi), p.still()); err != nil {
			return "", "", err
		}
	}
	now := time.Now()
	if err := os.Chtimes(dir, now, now); err != nil { // the newest is the one that ran last
		return "", "", err
	}
	return dir, app.Name, prune(releases)
}

// makeReleases makes the directory of the releases and what is above it. Root's
// may be entered by the users that watchers run as, and is written by nobody
// else: what lies there is executed as root.
func makeReleases(dir string) error {
	mode := os.FileMode(0o700)
	if os.Getuid() == 0 {
		mode = 0o755
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return err
	}
	for _, d := range []string{filepath.Dir(dir), dir} {
		fi, err := os.Lstat(d)
		if err != nil {
			return err
		}
		if err := ownDirectory(d, fi); err != nil {
			return err
		}
	}
	return nil
}

// ownDirectory refuses what others could have put there, or could replace.
func ownDirectory(dir string, fi fs.FileInfo) error {
	st, ok := fi.Sys().(*syscall.Stat_t)
	switch {
	case !fi.IsDir():
		return fmt.Errorf("%s: not a directory", dir)
	case ok && int(st.Uid) != os.Getuid():
		return fmt.Errorf("%s: belongs to user %d: what is there is not run; remove it", dir, st.Uid)
	case fi.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s: others may write there: what is there is not run; chmod go-w", dir)
	}
	return nil
}

// prune removes all releases but the newest.
func prune(releases string) error {
	entries, err := os.ReadDir(releases)
	if err != nil {
		return err
	}
	var dirs []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && e.IsDir() && strings.HasPrefix(e.Name(), "ab1-") {
			dirs = append(dirs, info)
		}
	}
	slices.SortFunc(dirs, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	for _, old := range dirs[min(keptReleases, len(dirs)):] {
		if err := os.RemoveAll(filepath.Join(releases, old.Name())); err != nil {
			return err
		}
	}
	return nil
}

// inApp gives the absolute form of a path that is relative to the app
// directory; "" stays "".
func inApp(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// absoluteUnix makes the path of unix:PATH absolute: who types it means the
// working directory.
func absoluteUnix(spec string) (string, error) {
	path, ok := strings.CutPrefix(spec, "unix:")
	if !ok {
		return spec, nil
	}
	abs, err := filepath.Abs(path)
	return "unix:" + abs, err
}

// configFile reads the file that --config names, nil where it names none. A
// circus.ini tells on standard error what is read and not honoured.
func (s *supervised) configFile() (*schema.Config, error) {
	if s.o.config == "" {
		return nil, nil
	}
	data, err := os.ReadFile(s.o.config)
	if err != nil {
		return nil, err
	}
	if !s.isCircus() {
		cfg, problems := schema.ParseAppINI(s.o.config, data)
		return cfg, problems.Err()
	}
	env := map[string]string{}
	for _, v := range os.Environ() {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	cfg, problems, findings := schema.ParseCircusINI(schema.CircusInput{File: s.o.config, Data: data, Env: env, Read: s.include})
	for _, f := range findings {
		s.out.warn("appbundle: %v", f)
	}
	return cfg, problems.Err()
}

// include reads the files that an include of a circus.ini names, relative to it.
func (s *supervised) include(glob string) ([]schema.CircusFile, error) {
	names, err := filepath.Glob(inApp(filepath.Dir(s.o.config), glob))
	if err != nil {
		return nil, err
	}
	var files []schema.CircusFile
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		files = append(files, schema.CircusFile{Name: name, Data: data})
	}
	return files, nil
}
