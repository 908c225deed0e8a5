package bundle

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// ErrChanged is wrapped by the error that names a file whose content, size or
// x bit is not what it was when the directory was loaded.
var ErrChanged = errors.New("changed while it was read")

// A walker lists an application directory.
type walker struct {
	root    string
	env     bool // list the environment too
	ignore  *Ignore
	entries []Entry
	left    []string // left out
}

// walk lists everything under dir in canonical order: bytewise by slash path,
// every directory before what is in it. It follows no link. The environment,
// thousands of files of libraries, is listed when env is set.
func walk(dir string, env bool) (*walker, error) {
	w := &walker{root: dir, env: env, ignore: &Ignore{}}
	data, err := os.ReadFile(filepath.Join(dir, ignoreFile))
	switch {
	case err == nil:
		w.ignore = ParseIgnore(data)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if err := w.dir(""); err != nil {
		return nil, err
	}
	slices.SortFunc(w.entries, func(a, b Entry) int { return cmp.Compare(a.Path, b.Path) })
	w.entries = withoutEmptyToolDir(w.entries)
	slices.Sort(w.left)
	return w, nil
}

func (w *walker) dir(rel string) error {
	list, err := os.ReadDir(filepath.Join(w.root, filepath.FromSlash(rel)))
	if err != nil {
		return err
	}
	for _, de := range list {
		p := path.Join(rel, de.Name())
		if rel == "" {
			p = de.Name()
		}
		if isLeftOut(p) || w.ignore.Match(p, de.IsDir()) || p == envConfig && w.namesHost(p) {
			w.left = append(w.left, p)
			continue
		}
		info, err := de.Info()
		if err != nil {
			return fmt.Errorf("%s: %w", p, ErrChanged)
		}
		if err := w.entry(p, info); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) entry(p string, info fs.FileInfo) error {
	e := Entry{Path: p, Mode: info.Mode(), Type: typeOf(info.Mode())}
	switch e.Type {
	case Dir:
		w.entries = append(w.entries, e)
		if p == envDir && !w.env {
			return nil
		}
		return w.dir(p)
	case File:
		e.Size, e.X = info.Size(), info.Mode()&0o100 != 0
	case Link:
		target, err := os.Readlink(filepath.Join(w.root, filepath.FromSlash(p)))
		if err != nil {
			return fmt.Errorf("%s: %w", p, ErrChanged)
		}
		e.Link = target
	}
	w.entries = append(w.entries, e)
	return nil
}

func typeOf(m fs.FileMode) Type {
	switch m.Type() {
	case 0:
		return File
	case fs.ModeDir:
		return Dir
	case fs.ModeSymlink:
		return Link
	}
	return Special
}

// withoutEmptyToolDir takes the directory of the tool out when there is nothing
// of the application in it. Unpacking makes it, for the manifest, and what was
// unpacked has the digest of what was packed.
func withoutEmptyToolDir(entries []Entry) []Entry {
	i := slices.IndexFunc(entries, func(e Entry) bool { return e.Path == toolDir })
	if i < 0 || entries[i].Type != Dir {
		return entries
	}
	below := func(e Entry) bool { return strings.HasPrefix(e.Path, toolDir+"/") }
	if slices.ContainsFunc(entries, below) {
		return entries
	}
	return slices.Delete(entries, i, i+1)
}

// envConfig marks the environment as one.
const envConfig = envDir + "/pyvenv.cfg"

// namesHost reports whether a pyvenv.cfg says where the interpreter of this host
// is, as Python 3.14 and later demand.
func (w *walker) namesHost(p string) bool {
	text, err := os.ReadFile(filepath.Join(w.root, filepath.FromSlash(p)))
	if err != nil {
		return false // who reads all files will say so
	}
	for line := range strings.Lines(string(text)) {
		if key, _, ok := strings.Cut(line, "="); ok && strings.TrimSpace(key) == "home" {
			return true
		}
	}
	return false
}
