package atomicfile

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// Lock takes the lock of a file or directory, which exists: alone, or together
// with others. Where it has to wait it calls waits first, which may be nil, and
// it gives up when ctx ends. The kernel releases the lock when the process ends,
// however it does.
//
// A path may get a new file while somebody waits for the lock of the old one:
// who gets a lock has that of the file that the path names then.
func Lock(ctx context.Context, path string, alone bool, waits func()) (unlock func(), err error) {
	for {
		f, err := openLock(path)
		if err != nil {
			return nil, err
		}
		if err := flock(ctx, f, alone, waits); err != nil {
			return nil, err
		}
		held, err := f.Stat()
		if err == nil {
			now, statErr := os.Stat(path)
			if statErr == nil && os.SameFile(held, now) {
				return func() { f.Close() }, nil
			}
			err = statErr
		}
		f.Close()
		if err != nil {
			return nil, err
		}
	}
}

// LockNow is Lock alone for who does not wait: it reports whether it has the lock.
func LockNow(path string) (unlock func(), ok bool) {
	f, err := openLock(path)
	if err != nil {
		return nil, false
	}
	if flockFile(f, syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		f.Close()
		return nil, false
	}
	return func() { f.Close() }, true
}

// turn is how long Replace waits for others. It takes them milliseconds; who
// holds the lock longer is somebody's script around us.
const turn = time.Second

// Replace makes path hold data, whole or not at all, unless it does already.
// Those who replace files of one directory take turns, so that each can remove
// what one that was killed has left.
func Replace(ctx context.Context, path string, data []byte, perm fs.FileMode) error {
	return ReplaceAll(ctx, []Replacement{{path, data, perm}})
}

// A Replacement is a file that is to hold Data.
type Replacement struct {
	Path string
	Data []byte
	Perm fs.FileMode
}

// ReplaceAll is [Replace] for files that belong together: the first gets its name
// when all are written, and in the order of the list. Then only the renaming
// itself can fail, and leave those that follow old.
func ReplaceAll(ctx context.Context, list []Replacement) error {
	waiting, cancel := context.WithTimeout(ctx, turn)
	defer cancel()
	var dirs []string
	for _, r := range list {
		dirs = append(dirs, filepath.Dir(r.Path))
	}
	slices.Sort(dirs) // in the same order as others, who wait for us otherwise
	for _, dir := range slices.Compact(dirs) {
		unlock, err := Lock(waiting, dir, true, nil)
		switch {
		case err == nil:
			defer unlock()
			for _, r := range list {
				if filepath.Dir(r.Path) == dir {
					removeTemporary(dir, filepath.Base(r.Path))
				}
			}
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !errors.Is(err, context.DeadlineExceeded):
			return err
		}
	}
	var files []*File
	defer func() {
		for _, f := range files {
			_ = f.Abort() // of those that were not committed
		}
	}()
	for _, r := range list {
		if was, err := os.ReadFile(r.Path); err == nil && bytes.Equal(was, r.Data) {
			continue
		}
		f, err := Create(r.Path, r.Perm)
		if err != nil {
			return err
		}
		files = append(files, f)
		if _, err := f.Write(r.Data); err != nil {
			return err
		}
	}
	if len(files) == 0 {
		return nil
	}
	return CommitAll(files)
}

// removeTemporary removes what was to be the file base, as far as it can.
func removeTemporary(dir, base string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if of, ok := Temporary(e.Name()); ok && of == stem(base) && e.Type().IsRegular() {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// openLock opens a file for writing where it may be: NFS gives a lock alone to
// writers only. Nothing is written.
func openLock(path string) (*os.File, error) {
	if f, err := os.OpenFile(path, os.O_RDWR, 0); err == nil {
		return f, nil
	}
	return os.Open(path)
}

// flock closes f when it fails.
func flock(ctx context.Context, f *os.File, alone bool, waits func()) error {
	how := syscall.LOCK_SH
	if alone {
		how = syscall.LOCK_EX
	}
	err := flockFile(f, how|syscall.LOCK_NB)
	if err == nil {
		return nil
	}
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		f.Close()
		return &os.PathError{Op: "lock", Path: f.Name(), Err: err}
	}
	if waits != nil {
		waits()
	}
	got := make(chan error, 1)
	go func() { got <- flockFile(f, how) }()
	select {
	case err := <-got:
		if err != nil {
			f.Close()
			return &os.PathError{Op: "lock", Path: f.Name(), Err: err}
		}
		return nil
	case <-ctx.Done():
		// Nothing takes a waiter out of the kernel; it gives the lock back
		// as soon as it has it.
		go func() {
			<-got
			f.Close()
		}()
		return context.Cause(ctx)
	}
}

func flockFile(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
