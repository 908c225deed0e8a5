package atomicfile

import (
	"context"
	"errors"
	"os"
	"syscall"
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
