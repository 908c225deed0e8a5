package install

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"appbundle/internal/atomicfile"
	"appbundle/schema"
)

// A cache is the directory that all environments of a host share.
//
//	locks/SHA256          of who fills an entry
//	wheels/SHA256/        index and tree of an unpacked wheel
//	bytecode/MAGIC/SHA256/  index and tree of its byte code
//	interpreters/         what they said of themselves, and of pip
//
// What was fetched is there too; see internal/fetch. The lock of the directory
// is shared by all that use it; Prune and Verify take it alone to remove
// something. When an entry was used last is its time of modification.
type cache struct {
	dir string
	fs  atomicfile.FS
}

// BuildsDir is where package build keeps the wheels that it made.
const BuildsDir = "builds"

const wheelsDir, bytecodeDir, locksDir = "wheels", "bytecode", "locks"

// share takes part in the use of the cache, which is made where it is missing.
func (c *cache) share(ctx context.Context) (release func(), err error) {
	if err := atomicfile.MkdirAll(c.dir, 0o755); err != nil {
		return nil, err
	}
	return atomicfile.Lock(ctx, c.dir, false, nil)
}

func touch(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// fill makes the directory at, which belongs to a digest, unless it is there:
// found opens it, make fills it. One process makes it; the others wait.
func (c *cache) fill(ctx context.Context, at, digest string, found func() error, make func(fill *atomicfile.Filler, staging string) error) (made bool, err error) {
	if err := found(); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	lock := filepath.Join(c.dir, locksDir, digest)
	if err := atomicfile.MkdirAll(filepath.Dir(lock), 0o755); err != nil {
		return false, err
	}
	if err := touch(lock); err != nil {
		return false, err
	}
	unlock, err := atomicfile.Lock(ctx, lock, true, nil)
	if err != nil {
		return false, err
	}
	defer unlock()
	if err := found(); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	above := filepath.Dir(at)
	if err := atomicfile.MkdirAll(above, 0o755); err != nil {
		return false, err
	}
	if err := removeStale(above, "."+filepath.Base(at)+".staging-"); err != nil {
		return false, err
	}
	d, err := c.fs.Staging(at, 0o755)
	if err != nil {
		return false, err
	}
	defer d.Abort()
	if err := make(d.Filler(), d.Path()); err != nil {
		return false, err
	}
	if err := d.Commit(); err != nil {
		return false, err
	}
	return true, found()
}

// used notes that an entry was used, which only Prune wants to know.
func used(at string) {
	now := time.Now()
	_ = os.Chtimes(at, now, now)
}

// removeStale removes what a killed process left under temporary names. The
// caller holds the lock under which such names are made.
func removeStale(dir, prefix string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			if err := atomicfile.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// wheel gives the tree of a wheel, from the cache or unpacked into it.
func (c *cache) wheel(ctx context.Context, f *schema.LockedFile, get func(w io.Writer) error) (t *tree, made bool, err error) {
	digest := f.SHA256()
	at := filepath.Join(c.dir, wheelsDir, digest)
	found := func() error {
		var err error
		if t, err = readTree(at); err == nil {
			used(at)
		}
		return err
	}
	made, err = c.fill(ctx, at, digest, found, func(fill *atomicfile.Filler, staging string) error {
		const download = "wheel"
		if err := c.download(fill, download, f, get); err != nil {
			return err
		}
		at := filepath.Join(staging, download)
		t, err := c.unpack(ctx, f, at, fill)
		if err != nil {
			return err
		}
		if err := os.Remove(at); err != nil {
			return err
		}
		return fill.WriteFile(indexName, t.encode(), 0o444)
	})
	return t, made, err
}

func (c *cache) unpack(ctx context.Context, f *schema.LockedFile, at string, fill *atomicfile.Filler) (*tree, error) {
	file, err := os.Open(at)
	if err != nil {
		return nil, err
	}
	defer file.Close() // opened for reading: nothing can be lost
	st, err := file.Stat()
	if err != nil {
		return nil, err
	}
	w, err := openWheel(f.Name, file, st.Size())
	if err != nil {
		return nil, err
	}
	return unpack(ctx, w, fill)
}

// A MismatchError says that a file is not the one of the lock.
type MismatchError struct {
	File      string
	What      string // "size" or "sha256"
	Want, Got string
}

// Error gives both values.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s: is not the file of the lock: its %s is %s, and the lock says %s", e.File, e.What, e.Got, e.Want)
}

// download writes what get gives, and compares it with the lock.
func (c *cache) download(fill *atomicfile.Filler, name string, f *schema.LockedFile, get func(w io.Writer) error) error {
	out, err := fill.Create(name, 0o600)
	if err != nil {
		return err
	}
	w := &checked{w: out, f: f, hash: sha256.New()}
	err = get(w)
	if w.err != nil {
		err = w.err // get may have wrapped or dropped it
	}
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if f.Size > 0 && w.n < f.Size {
		return &MismatchError{f.Name, "size", fmt.Sprint(f.Size), fmt.Sprint(w.n)}
	}
	if got := hex.EncodeToString(w.hash.Sum(nil)); got != f.SHA256() {
		return &MismatchError{f.Name, "sha256", f.SHA256(), got}
	}
	return nil
}

// maxWheel is the size of the largest wheel whose lock says none.
const maxWheel = 4 << 30

// A checked writer hashes, and stops at the size that the lock says.
type checked struct {
	w    io.Writer
	f    *schema.LockedFile
	hash hash.Hash
	n    int64
	err  error
}

func (c *checked) Write(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	most := c.f.Size
	if most == 0 {
		most = maxWheel
	}
	if c.n+int64(len(p)) > most {
		c.err = &MismatchError{c.f.Name, "size", fmt.Sprint(most), "more"}
		return 0, c.err
	}
	c.hash.Write(p) // never fails
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.err = err
	return n, err
}
