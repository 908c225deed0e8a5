package atomicfile

import (
	"io/fs"
	"os"
	"path"
)

// An Op is a kind of operation that changes the disk.
type Op string

// The operations that pass the seam.
const (
	OpCreate  Op = "create"
	OpWrite   Op = "write"
	OpChmod   Op = "chmod"
	OpSync    Op = "sync"
	OpClose   Op = "close"
	OpRename  Op = "rename"
	OpMkdir   Op = "mkdir"
	OpSymlink Op = "symlink"
	OpLink    Op = "link"
)

// An FS is the file system as its writers see it. The zero FS is the real one.
type FS struct {
	// Before is called before each operation with its kind and path. When it
	// returns an error the operation fails with that error; a write then
	// leaves half of its bytes, as a full disk does. Nil means no hook. It is
	// for tests.
	Before func(op Op, path string) error
}

// everywhere is the hook of every FS that has none.
var everywhere func(op Op, path string) error

// Intercept makes before the hook of every FS that has none. It is for the tests
// of a whole program, which call it before anything else.
func Intercept(before func(op Op, path string) error) { everywhere = before }

// hook is what to ask before an operation, nil for nobody.
func (f FS) hook() func(op Op, path string) error {
	if f.Before == nil {
		return everywhere
	}
	return f.Before
}

func (f FS) before(op Op, name string) error {
	hook := f.hook()
	if hook == nil {
		return nil
	}
	if err := hook(op, name); err != nil {
		return &fs.PathError{Op: string(op), Path: name, Err: err}
	}
	return nil
}

// Chmod is os.Chmod.
func (f FS) Chmod(path string, mode fs.FileMode) error {
	if err := f.before(OpChmod, path); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

// MkdirAll is os.MkdirAll.
func MkdirAll(path string, perm fs.FileMode) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil
	}
	if err := (FS{}).before(OpMkdir, path); err != nil {
		return err
	}
	return os.MkdirAll(path, perm)
}

// An Out is a new file that is open for writing.
type Out struct {
	f    *os.File
	fs   FS
	name string
}

// Write appends p to the file.
func (o *Out) Write(p []byte) (int, error) {
	if err := o.fs.before(OpWrite, o.name); err != nil {
		n, _ := o.f.Write(p[:len(p)/2])
		return n, err
	}
	return o.f.Write(p)
}

// Chmod sets the mode of the file, whatever the umask.
func (o *Out) Chmod(perm fs.FileMode) error {
	if err := o.fs.before(OpChmod, o.name); err != nil {
		return err
	}
	return o.f.Chmod(perm)
}

// Sync flushes the content to the disk.
func (o *Out) Sync() error {
	if err := o.fs.before(OpSync, o.name); err != nil {
		return err
	}
	return o.f.Sync()
}

// Close closes the file. Its error counts: some file systems report a failed
// write only here.
func (o *Out) Close() error {
	if err := o.fs.before(OpClose, o.name); err != nil {
		o.f.Close()
		return err
	}
	return o.f.Close()
}

// A Root is a directory below which files are made. Names are relative and
// slash-separated, and no name or link leads out of it (it is an [os.Root]).
// Nothing that exists is replaced. A Root is used by one goroutine.
type Root struct {
	r  *os.Root
	fs FS
	at string // path from the first Root, "" for that one
}

// OpenRoot opens the directory dir, which exists.
func (f FS) OpenRoot(dir string) (*Root, error) {
	r, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Root{r: r, fs: f}, nil
}

// OpenRoot opens a directory below r as a Root of its own.
func (r *Root) OpenRoot(name string) (*Root, error) {
	sub, err := r.r.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return &Root{r: sub, fs: r.fs, at: path.Join(r.at, name)}, nil
}

// Close releases the descriptor of the directory.
func (r *Root) Close() error { return r.r.Close() }

// Open opens a file below r for reading.
func (r *Root) Open(name string) (*os.File, error) { return r.r.Open(name) }

// before gives the hook the path from the first Root.
func (r *Root) before(op Op, name string) error {
	if r.fs.hook() == nil {
		return nil
	}
	return r.fs.before(op, path.Join(r.at, name))
}

// Create makes a new file with exactly perm. It fails with [fs.ErrExist] where
// anything has that name, a dangling link included.
func (r *Root) Create(name string, perm fs.FileMode) (*Out, error) {
	if err := r.before(OpCreate, name); err != nil {
		return nil, err
	}
	f, err := r.r.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, err
	}
	out := &Out{f: f, fs: r.fs, name: path.Join(r.at, name)}
	if err := out.Chmod(perm); err != nil { // the umask may have taken bits
		f.Close()
		return nil, err
	}
	return out, nil
}

// Mkdir makes a new directory with exactly perm.
func (r *Root) Mkdir(name string, perm fs.FileMode) error {
	if err := r.before(OpMkdir, name); err != nil {
		return err
	}
	if err := r.r.Mkdir(name, perm); err != nil {
		return err
	}
	if err := r.before(OpChmod, name); err != nil {
		return err
	}
	return r.r.Chmod(name, perm)
}

// Symlink makes name a symbolic link to target. The target is not looked at.
func (r *Root) Symlink(target, name string) error {
	if err := r.before(OpSymlink, name); err != nil {
		return err
	}
	return r.r.Symlink(target, name)
}
