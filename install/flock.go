package install

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"appbundle/internal/atomicfile"
)

// flock takes the lock of a file or directory, which exists: alone, or together
// with others. The kernel releases it when the process ends, however it does.
func flock(ctx context.Context, path string, alone bool) (unlock func(), err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	how := syscall.LOCK_SH
	if alone {
		how = syscall.LOCK_EX
	}
	err = lockFile(f, how|syscall.LOCK_NB)
	if err == nil {
		return func() { f.Close() }, nil
	}
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		f.Close()
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	got := make(chan error, 1)
	go func() { got <- lockFile(f, how) }()
	select {
	case err := <-got:
		if err != nil {
			f.Close()
			return nil, &os.PathError{Op: "lock", Path: path, Err: err}
		}
		return func() { f.Close() }, nil
	case <-ctx.Done():
		// Nothing takes a waiter out of the kernel; it gives the lock back
		// as soon as it has it.
		go func() {
			<-got
			f.Close()
		}()
		return nil, context.Cause(ctx)
	}
}

func lockFile(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
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
