// Package atomicfile makes files and directories appear whole or not at all.
//
// A file is written beside its final place under a temporary name, flushed to
// the disk, and renamed; then the directory is flushed, so that the name
// survives a power cut too. Whoever opens the path sees the old content or the
// new one, never a part. See [FS.Create].
//
// A directory is filled in a staging directory (0700) beside its final place,
// flushed, and renamed to a name that must not exist yet. An existing target
// is never replaced, merged with, or removed. See [FS.Staging]. The one exception
// is asked for by name: [FS.Replacing] exchanges the new directory with the old.
//
// # Failure
//
// Whatever fails, nothing new is left: the temporary name is removed, and the
// target is what it was. There is one exception, which the disk imposes: when
// a file was renamed and only the flush of its directory fails, the new
// content stands whole at the path and Commit returns the error. A directory
// is moved back and removed even then. After a crash of the machine or a
// SIGKILL a name that begins with a dot and contains ".tmp-" or ".staging-"
// may be left; nothing reads it, and it may be removed.
//
// # The seam
//
// Every operation that changes the disk passes [FS.Before] first. The zero FS
// is the real file system and asks nobody, but for [Intercept] in the test of a
// whole program. [Faults] gives one FS after the other of which the first,
// second, third … operation fails, until a run needs fewer operations; that is
// how a test shows the promise above for all of them. Removing what failed is not an operation in this sense: there is
// nothing to do when it fails but to say so.
//
// The package follows no symbolic link at the final component: renaming
// replaces the link, not what it points to. Nothing here takes a lock, but for
// [Lock], with which several processes agree on who may change what.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// maxStem is how much of a base name enters a temporary one, in bytes, so that
// the temporary name fits in the 255 bytes of a component.
const maxStem = 200

// A File is written under a temporary name until Commit gives it its own. It
// is used by one goroutine.
type File struct {
	fs   FS
	out  *Out
	path string
	perm fs.FileMode
	err  error // of the first write that failed

	ready bool // all that is left is to give it its name
	done  bool
}

// Create begins to write the file path on the real file system. See [FS.Create].
func Create(path string, perm fs.FileMode) (*File, error) { return FS{}.Create(path, perm) }

// WriteFile makes path hold data, whole or not at all.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	return FS{}.WriteFile(path, data, perm)
}

// WriteFile makes path hold data, whole or not at all.
func (f FS) WriteFile(path string, data []byte, perm fs.FileMode) error {
	file, err := f.Create(path, perm)
	if err != nil {
		return err
	}
	defer file.Abort()
	if _, err := file.Write(data); err != nil {
		return err
	}
	return file.Commit()
}

// Create begins to write the file path. The content goes to a new file with
// mode 0600 in the same directory, and to path only with Commit, which sets
// exactly perm, whatever the umask. The caller defers Abort.
func (f FS) Create(path string, perm fs.FileMode) (*File, error) {
	path = filepath.Clean(path)
	if err := f.before(OpCreate, path); err != nil {
		return nil, err
	}
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "." // "" would mean the system's temporary directory
	}
	tmp, err := os.CreateTemp(dir, "."+stem(base)+".tmp-*")
	if err != nil {
		return nil, err
	}
	out := &Out{f: tmp, fs: f, name: tmp.Name()}
	return &File{fs: f, out: out, path: path, perm: perm}, nil
}

// Write appends p. After an error the file can no longer be committed.
func (f *File) Write(p []byte) (int, error) {
	n, err := f.out.Write(p)
	if err != nil && f.err == nil {
		f.err = err
	}
	return n, err
}

// Commit flushes what was written and puts it at the path. When it fails, the
// temporary file is gone and the path is what it was, but for the exception in
// the package comment.
func (f *File) Commit() error {
	if f.done {
		return fmt.Errorf("commit %s: %w", f.path, fs.ErrClosed)
	}
	if err := f.commit(); err != nil {
		return errors.Join(err, f.Abort())
	}
	f.done = true
	return syncDir(f.fs, filepath.Dir(f.path))
}

// CommitAs is Commit for who learns the path only while he writes: it has to be
// on the file system of that of Create.
func (f *File) CommitAs(path string) error {
	f.path = filepath.Clean(path)
	return f.Commit()
}

// CommitAll is Commit for files that belong together: the first gets its name when
// all are prepared. Then only the renaming itself can fail, and leave some old; when
// it does, or before, nothing is left of the others.
func CommitAll(files []*File) (err error) {
	defer func() {
		for _, f := range files {
			if abortErr := f.Abort(); err == nil {
				err = abortErr
			}
		}
	}()
	for _, f := range files {
		if err := f.Prepare(); err != nil {
			return err
		}
	}
	var dirs []string
	for _, f := range files {
		if err := f.rename(); err != nil {
			return err
		}
		f.done = true
		if dir := filepath.Dir(f.path); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	for _, dir := range dirs {
		if err := syncDir(files[0].fs, dir); err != nil {
			return err
		}
	}
	return nil
}

func (f *File) commit() error {
	if err := f.Prepare(); err != nil {
		return err
	}
	return f.rename()
}

// Prepare flushes what was written, so that all that Commit has left to do is to give
// the file its name. Nothing can be written any more. It fails where the name is that of
// a directory.
func (f *File) Prepare() error {
	if f.ready {
		return nil
	}
	if f.done {
		return fmt.Errorf("prepare %s: %w", f.path, fs.ErrClosed)
	}
	if f.err != nil {
		return f.err
	}
	if err := f.out.Chmod(f.perm); err != nil {
		return err
	}
	if err := f.out.Sync(); err != nil {
		return err
	}
	if err := f.out.Close(); err != nil {
		return err
	}
	if info, err := os.Lstat(f.path); err == nil && info.IsDir() {
		return &fs.PathError{Op: "rename", Path: f.path, Err: syscall.EEXIST}
	}
	f.ready = true
	return nil
}

func (f *File) rename() error {
	if err := f.fs.before(OpRename, f.path); err != nil {
		return err
	}
	return os.Rename(f.out.name, f.path)
}

// Abort removes the temporary file. After Commit or a first Abort it does
// nothing.
func (f *File) Abort() error {
	if f.done {
		return nil
	}
	f.done = true
	f.out.f.Close() // closed already where Commit came that far
	return os.Remove(f.out.name)
}

// Temporary reports whether name, without a directory, is one that a killed
// process may have left, and of what.
func Temporary(name string) (of string, ok bool) {
	rest, ok := strings.CutPrefix(name, ".")
	for _, mark := range []string{".tmp-", ".staging-"} {
		if i := strings.LastIndex(rest, mark); ok && i > 0 {
			return rest[:i], true
		}
	}
	return "", false
}

// stem shortens a base name for use in a temporary one.
func stem(base string) string { return base[:min(len(base), maxStem)] }

// syncDir flushes the names in a directory to the disk.
func syncDir(f FS, dir string) error {
	if err := f.before(OpSync, dir); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close() // opened for reading: nothing can be lost
	return d.Sync()
}
