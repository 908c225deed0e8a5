package install

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"appbundle/internal/atomicfile"
)

// A Pruned is what Prune removed.
type Pruned struct {
	Wheels   int
	Bytecode int
	Bytes    int64 // of files that no environment shares
}

// Prune removes from the cache directory every wheel that no environment was
// made from since before, byte code without its wheel, and what killed
// processes left. It waits until no environment is being made. Environments
// stay whole: what they share with the cache is theirs too.
func Prune(ctx context.Context, dir string, before time.Time) (Pruned, error) {
	var p Pruned
	c := &cache{dir: dir}
	release, err := c.lock(ctx, true)
	if err != nil {
		return p, err
	}
	defer release()
	err = c.entries(wheelsDir, func(path string, st fs.FileInfo) error {
		if !isTemporary(path) && !st.ModTime().Before(before) {
			return nil
		}
		p.Wheels++
		return p.remove(path)
	})
	if err != nil {
		return p, err
	}
	magics, err := readDir(filepath.Join(dir, bytecodeDir))
	if err != nil {
		return p, err
	}
	for _, m := range magics {
		err := c.entries(filepath.Join(bytecodeDir, m.Name()), func(path string, _ fs.FileInfo) error {
			_, err := os.Lstat(filepath.Join(dir, wheelsDir, filepath.Base(path)))
			if err == nil && !isTemporary(path) {
				return nil
			}
			p.Bytecode++
			return p.remove(path)
		})
		if err != nil {
			return p, err
		}
	}
	// Nobody waits for these: who fills an entry shares the lock of the cache.
	return p, c.entries(locksDir, func(path string, _ fs.FileInfo) error { return os.Remove(path) })
}

// entries calls do for everything in a directory of the cache.
func (c *cache) entries(name string, do func(path string, st fs.FileInfo) error) error {
	dir := filepath.Join(c.dir, name)
	entries, err := readDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		st, err := e.Info()
		if err == nil {
			err = do(filepath.Join(dir, e.Name()), st)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readDir is os.ReadDir; a directory that does not exist is empty.
func readDir(dir string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return entries, err
}

func isTemporary(path string) bool { return strings.HasPrefix(filepath.Base(path), ".") }

func (p *Pruned) remove(path string) error {
	_ = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // only counted, and removed below in any case
		}
		if st, err := d.Info(); err == nil && links(st) == 1 {
			p.Bytes += st.Size()
		}
		return nil
	})
	return atomicfile.RemoveAll(path)
}

// A Damage is an entry of the cache that is not what it was.
type Damage struct {
	SHA256 string // of the wheel
	Name   string // "flask 3.1.3", "" where not even that is known
	File   string // of the wheel; "" where its index is damaged
	Reason string
}

// Verify reads every wheel of the cache and reports what is not as it was
// unpacked: somebody wrote to a file that is shared, or the disk did. With
// remove it removes such wheels, so that they are fetched anew; environments
// that share the damage have to be made anew. It waits until no environment is
// being made. Byte code is not read: it can always be made from the wheel, and
// goes with it.
func Verify(ctx context.Context, dir string, remove bool) ([]Damage, error) {
	c := &cache{dir: dir}
	release, err := c.lock(ctx, true)
	if err != nil {
		return nil, err
	}
	defer release()
	var found []Damage
	err = c.entries(wheelsDir, func(path string, _ fs.FileInfo) error {
		if isTemporary(path) {
			return nil
		}
		d, err := verifyTree(ctx, path)
		if err != nil || d == nil {
			return err
		}
		found = append(found, *d)
		if !remove {
			return nil
		}
		if err := c.removeBytecode(d.SHA256); err != nil {
			return err
		}
		return atomicfile.RemoveAll(path)
	})
	return found, err
}

func (c *cache) removeBytecode(digest string) error {
	return c.entries(bytecodeDir, func(path string, _ fs.FileInfo) error {
		return atomicfile.RemoveAll(filepath.Join(path, digest))
	})
}

// verifyTree compares the files of a tree with its index.
func verifyTree(ctx context.Context, path string) (*Damage, error) {
	d := &Damage{SHA256: filepath.Base(path)}
	t, err := readTree(path)
	if errors.Is(err, errIndex) || errors.Is(err, fs.ErrNotExist) {
		d.Reason = "its index is damaged"
		return d, nil
	}
	if err != nil {
		return nil, err
	}
	d.Name = t.name + " " + t.version
	for _, f := range t.files {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		sum, size, err := hashFile(filepath.Join(path, filepath.FromSlash(f.path)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			d.Reason = "is missing"
		case err != nil:
			return nil, err
		case size != f.size:
			d.Reason = fmt.Sprintf("has %d bytes, and had %d", size, f.size)
		case sum != f.sum:
			d.Reason = "has another content"
		default:
			continue
		}
		d.File = f.path
		return d, nil
	}
	return nil, nil
}

func hashFile(path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close() // opened for reading: nothing can be lost
	h := sha256.New()
	size, err = io.Copy(h, f)
	return encodeSum(h.Sum(nil)), size, err
}
