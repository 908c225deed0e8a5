package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// A Filler fills a staging directory from many goroutines at once, and with
// files that exist elsewhere already. It is for thousands of files whose names
// were judged before: names are relative, clean and slash-separated, and no
// parent of one may be a symbolic link. Nothing that exists is replaced.
type Filler struct {
	fs   FS
	path string // of the staging directory

	mu   sync.RWMutex
	dirs map[string]bool // that exist

	noClone atomic.Bool // this file system does not share blocks
	noLink  atomic.Bool // hard links are impossible here
	chmod   atomic.Bool // the umask takes bits from a directory's mode
}

const dirPerm = 0o755

// Filler gives a Filler of the staging directory. It ends with Commit and Abort.
func (d *Dir) Filler() *Filler {
	return &Filler{fs: d.fs, path: d.path, dirs: map[string]bool{".": true}}
}

func (f *Filler) at(name string) string { return filepath.Join(f.path, filepath.FromSlash(name)) }

// Mkdir makes the directory name and those above it, with mode 0755. That it
// exists is no error.
func (f *Filler) Mkdir(name string) error {
	f.mu.RLock()
	exists := f.dirs[name]
	f.mu.RUnlock()
	if exists {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mkdir(path.Clean(name))
}

func (f *Filler) mkdir(name string) error {
	if f.dirs[name] {
		return nil
	}
	if err := f.mkdir(path.Dir(name)); err != nil {
		return err
	}
	if err := f.fs.before(OpMkdir, name); err != nil {
		return err
	}
	at := f.at(name)
	if err := os.Mkdir(at, dirPerm); err != nil {
		return err
	}
	// A look at the first directory saves a chmod of thousands.
	if len(f.dirs) == 1 {
		st, err := os.Lstat(at)
		if err != nil {
			return err
		}
		f.chmod.Store(st.Mode().Perm() != dirPerm)
	}
	if f.chmod.Load() {
		if err := os.Chmod(at, dirPerm); err != nil {
			return err
		}
	}
	f.dirs[name] = true
	return nil
}

// Create makes a new file with exactly perm, and the directories above it. It
// fails with [fs.ErrExist] where anything has that name.
func (f *Filler) Create(name string, perm fs.FileMode) (*Out, error) {
	if err := f.Mkdir(path.Dir(name)); err != nil {
		return nil, err
	}
	if err := f.fs.before(OpCreate, name); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(f.at(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, err
	}
	out := &Out{f: file, fs: f.fs, name: name}
	if err := out.Chmod(perm); err != nil {
		file.Close()
		return nil, err
	}
	return out, nil
}

// WriteFile makes a new file that holds data.
func (f *Filler) WriteFile(name string, data []byte, perm fs.FileMode) error {
	out, err := f.Create(name, perm)
	if err != nil {
		return err
	}
	if _, err := out.Write(data); err != nil {
		out.f.Close()
		return err
	}
	return out.Close()
}

// Symlink makes name a symbolic link to target, which is not looked at.
func (f *Filler) Symlink(target, name string) error {
	if err := f.Mkdir(path.Dir(name)); err != nil {
		return err
	}
	if err := f.fs.before(OpSymlink, name); err != nil {
		return err
	}
	return os.Symlink(target, f.at(name))
}

// Link makes name a file with the content of the file from, which has the mode
// perm: sharing its blocks where the file system can, else as a hard link of
// it, else as a copy.
func (f *Filler) Link(from, name string, perm fs.FileMode) error {
	if err := f.Mkdir(path.Dir(name)); err != nil {
		return err
	}
	if err := f.fs.before(OpLink, name); err != nil {
		return err
	}
	to := f.at(name)
	if !f.noClone.Load() {
		err := clone(from, to, perm)
		if err == nil || errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
			return err
		}
		f.noClone.Store(true)
	}
	if !f.noLink.Load() {
		switch err := os.Link(from, to); {
		case err == nil, errors.Is(err, fs.ErrExist), errors.Is(err, fs.ErrNotExist):
			return err
		case !isTooManyLinks(err):
			f.noLink.Store(true) // another file system, or not our file
		}
	}
	return f.copy(from, name, perm)
}

func (f *Filler) copy(from, name string, perm fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() // opened for reading: nothing can be lost
	out, err := f.Create(name, perm)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.f.Close()
		return err
	}
	return out.Close()
}
