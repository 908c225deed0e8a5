package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"appbundle/internal/atomicfile"
	"appbundle/resolve"
	"appbundle/schema"
)

// write puts the wheels of a resolution into the bundle, before a lock names
// them. It gives the paths of those that are new.
func (b *builds) write(res *resolve.Resolution) (paths []string, err error) {
	for _, p := range res.Packages {
		if p.Built == nil || b.made[p.Built.Wheel.Path] == "" {
			continue
		}
		if err := b.writeOne(p.Built.Wheel); err != nil {
			return nil, err
		}
		paths = append(paths, p.Built.Wheel.Path)
	}
	return paths, nil
}

func (b *builds) writeOne(f *resolve.File) error {
	if sum, _, err := sumInside(b.app.Dir, f.Path); err == nil && sum == f.Hashes["sha256"] {
		return nil
	}
	root, err := os.OpenRoot(b.app.Dir)
	if err != nil {
		return err
	}
	defer root.Close() // nothing was written through this descriptor
	if err := root.MkdirAll(path.Dir(f.Path), 0o755); err != nil {
		return err
	}
	in, err := os.Open(b.made[f.Path])
	if err != nil {
		return err
	}
	defer in.Close() // opened for reading: nothing can be lost
	out, err := atomicfile.Create(filepath.Join(b.app.Dir, filepath.FromSlash(f.Path)), 0o644)
	if err != nil {
		return err
	}
	defer out.Abort()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(out, h), in); err != nil {
		return err
	}
	if hex.EncodeToString(h.Sum(nil)) != f.Hashes["sha256"] {
		return fmt.Errorf("%s has changed since it was built", b.made[f.Path])
	}
	return out.Commit()
}

// clean removes wheels that the old lock says were built, that are what they
// were, and that the new lock does not name. Nothing else is touched.
func (b *builds) clean(lock *schema.PyLock) error {
	if b.old == nil {
		return nil
	}
	used := map[string]bool{}
	for i := range lock.Packages {
		for _, f := range lock.Packages[i].Files() {
			used[f.Path] = true
		}
	}
	for i := range b.old.Packages {
		f := b.old.Packages[i].BuiltFile()
		if f == nil || used[f.Path] || !strings.HasPrefix(f.Path, wheelsDir+"/") {
			continue
		}
		if sum, _, err := sumInside(b.app.Dir, f.Path); err != nil || sum != f.SHA256() {
			continue
		}
		if err := removeInside(b.app.Dir, f.Path); err != nil {
			return err
		}
	}
	return nil
}

// damagedWheel says which wheel of the bundle is not what the lock says, "" for
// none.
func damagedWheel(dir string, lock *schema.PyLock) string {
	for i := range lock.Packages {
		for _, f := range lock.Packages[i].Files() {
			if f.Path == "" {
				continue
			}
			switch sum, _, err := sumInside(dir, f.Path); {
			case errors.Is(err, os.ErrNotExist):
				return f.Path + " is missing"
			case err != nil || sum != f.SHA256():
				return f.Path + " is not the wheel that was locked"
			}
		}
	}
	return ""
}
