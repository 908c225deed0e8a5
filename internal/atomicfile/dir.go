package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A Dir is a directory that is filled under a temporary name until Commit
// gives it its own. It is used by one goroutine.
type Dir struct {
	fs     FS
	root   *Root
	self   *os.File // the staging directory, open since before the first write
	path   string   // of the staging directory
	target string
	perm   fs.FileMode
	over   bool // an existing target is replaced
	ready  bool // all that is left is to give it its name
	done   bool
}

// Staging begins to fill the directory target on the real file system. See
// [FS.Staging].
func Staging(target string, perm fs.FileMode) (*Dir, error) { return FS{}.Staging(target, perm) }

// Staging begins to fill the directory target, which must not exist (else the
// error is [fs.ErrExist]) and whose parent must. What is put below [Dir.Root]
// is in a fresh directory with mode 0700 on the same file system, and becomes
// target, with exactly perm, on Commit. The caller defers Abort.
func (f FS) Staging(target string, perm fs.FileMode) (*Dir, error) {
	target = filepath.Clean(target)
	if _, err := os.Lstat(target); err == nil {
		return nil, &fs.PathError{Op: "mkdir", Path: target, Err: fs.ErrExist}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return f.staging(target, perm)
}

// Replacing is [FS.Staging] for a target that may exist: Commit exchanges the
// two in one step, so that the path always names a whole directory, and then
// removes the old one. What it cannot remove is left under a temporary name.
func (f FS) Replacing(target string, perm fs.FileMode) (*Dir, error) {
	d, err := f.staging(filepath.Clean(target), perm)
	if err == nil {
		d.over = true
	}
	return d, err
}

func (f FS) staging(target string, perm fs.FileMode) (*Dir, error) {
	if err := f.before(OpMkdir, target); err != nil {
		return nil, err
	}
	dir, base := filepath.Split(target)
	if dir == "" {
		dir = "."
	}
	tmp, err := os.MkdirTemp(dir, "."+stem(base)+".staging-*")
	if err != nil {
		return nil, err
	}
	root, err := f.OpenRoot(tmp)
	if err != nil {
		return nil, errors.Join(err, os.Remove(tmp))
	}
	self, err := os.Open(tmp)
	if err != nil {
		root.Close()
		return nil, errors.Join(err, os.Remove(tmp))
	}
	return &Dir{fs: f, root: root, self: self, path: tmp, target: target, perm: perm}, nil
}

// Root is where the content goes. It is closed by Commit and Abort.
func (d *Dir) Root() *Root { return d.root }

// Path is the path of the staging directory, for a program that must be told
// one. It means nothing after Commit and Abort.
func (d *Dir) Path() string { return d.path }

// Commit flushes the directory with all that is in it and gives it the name of
// the target. Where the target exists by now, the error is [fs.ErrExist]. When
// Commit fails, the staging directory is gone and nothing has the name.
func (d *Dir) Commit() error {
	if d.done {
		return fmt.Errorf("commit %s: %w", d.target, fs.ErrClosed)
	}
	if err := d.commit(); err != nil {
		return errors.Join(err, d.Abort())
	}
	d.done = true
	if d.over {
		_ = RemoveAll(d.path) // the old one, if there was one; nothing depends on it
	}
	return nil
}

// Prepare flushes the directory with all that is in it, so that all that Commit has
// left to do is to give it its name. Nothing may be put into it any more.
func (d *Dir) Prepare() error {
	if d.ready {
		return nil
	}
	if d.done {
		return fmt.Errorf("prepare %s: %w", d.target, fs.ErrClosed)
	}
	if err := d.fs.before(OpChmod, d.path); err != nil {
		return err
	}
	if err := os.Chmod(d.path, d.perm); err != nil {
		return err
	}
	if err := d.fs.before(OpSync, d.path); err != nil {
		return err
	}
	if err := syncTree(d.self); err != nil {
		return err
	}
	d.ready = true
	return nil
}

func (d *Dir) commit() error {
	if err := d.Prepare(); err != nil {
		return err
	}
	d.closeHandles()
	if err := d.fs.before(OpRename, d.target); err != nil {
		return err
	}
	undo, err := d.rename()
	if err != nil {
		return err
	}
	if err := syncDir(d.fs, filepath.Dir(d.target)); err != nil {
		// The name may not survive a power cut; a release that is there now
		// and gone later is worse than none.
		return errors.Join(err, undo())
	}
	return nil
}

// rename gives the staging directory its name. undo takes it back.
func (d *Dir) rename() (undo func() error, err error) {
	if d.over {
		err := exchange(d.path, d.target)
		if err == nil {
			return func() error { return exchange(d.path, d.target) }, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return func() error { return os.Rename(d.target, d.path) }, renameNew(d.path, d.target)
}

// Abort removes the staging directory. After Commit or a first Abort it does
// nothing.
func (d *Dir) Abort() error {
	if d.done {
		return nil
	}
	d.done = true
	d.closeHandles()
	return RemoveAll(d.path)
}

// closeHandles closes what holds the staging directory open. Nothing was
// written through these descriptors, so nothing can be lost.
func (d *Dir) closeHandles() {
	d.root.Close()
	d.self.Close()
}

// SyncTree flushes everything below the directory path to the disk.
func SyncTree(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close() // opened for reading: nothing can be lost
	return syncTree(dir)
}

// RemoveAll removes path and everything below it, also below directories that
// their owner may not write to. That path does not exist is no error.
func RemoveAll(path string) error {
	if os.RemoveAll(path) == nil {
		return nil
	}
	// Errors of the walk show again in the second attempt, if they matter.
	_ = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chmod(p, 0o700) // before the walk reads it
		}
		return nil
	})
	return os.RemoveAll(path)
}

// renameByLook is renameNew where the kernel or the file system cannot refuse
// an existing target: another process that makes it in between wins or loses.
func renameByLook(from, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: fs.ErrExist}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(from, to)
}

// exchangeByRename is exchange where there is no such operation: for a moment,
// and after a crash in it, b does not exist and its old content is beside a.
func exchangeByRename(a, b string) error {
	aside := a + ".old"
	if err := os.Rename(b, aside); err != nil {
		return err
	}
	if err := os.Rename(a, b); err != nil {
		return errors.Join(err, os.Rename(aside, b))
	}
	return os.Rename(aside, a)
}
