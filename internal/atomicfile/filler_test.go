package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// fillLinks replaces target by a directory with a file of every origin.
func fillLinks(f FS, from, target string) error {
	d, err := f.Replacing(target, 0o755)
	if err != nil {
		return err
	}
	defer d.Abort()
	fill := d.Filler()
	if err := fill.Link(from, "a/b/linked", 0o444); err != nil {
		return err
	}
	if err := fill.WriteFile("a/written", []byte("new"), 0o600); err != nil {
		return err
	}
	if err := fill.Symlink("a/written", "link"); err != nil {
		return err
	}
	return d.Commit()
}

// Whichever operation fails, the target is the old directory or the new one,
// and nothing is beside it.
func TestReplacingFaults(t *testing.T) {
	for _, exists := range []bool{false, true} {
		t.Run(fmt.Sprint("exists=", exists), func(t *testing.T) {
			dir := t.TempDir()
			from, target := filepath.Join(dir, "from"), filepath.Join(dir, "env")
			if err := os.WriteFile(from, []byte("shared"), 0o444); err != nil {
				t.Fatal(err)
			}
			before := "from"
			if exists {
				before = "env from"
				if err := os.Mkdir(target, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			for fault := range Faults() {
				err := fillLinks(fault.FS(), from, target)
				if (err != nil) != fault.Hit() {
					t.Fatalf("%v: got %v", fault, err)
				}
				if err == nil {
					continue
				}
				if got := names(t, dir); got != before || !errors.Is(err, ErrFault) {
					t.Fatalf("%v: %v, left %q", fault, err, got)
				}
				if exists && names(t, target) != "" {
					t.Fatalf("%v: the old directory was changed", fault)
				}
			}
			if got := names(t, dir) + "; " + names(t, target); got != "env from; a link" {
				t.Fatalf("got %q", got)
			}
			wantFile(t, filepath.Join(target, "a/b/linked"), "shared", 0o444)
			wantFile(t, filepath.Join(target, "a/written"), "new", 0o600)
		})
	}
}

// Many goroutines fill one directory; modes are those asked for, whatever the
// umask and however a file gets there.
func TestFiller(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	dir := t.TempDir()
	from := filepath.Join(dir, "from")
	if err := os.WriteFile(from, []byte("shared"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(from, 0o444); err != nil {
		t.Fatal(err)
	}
	d, err := Staging(filepath.Join(dir, "tree"), 0o755)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort()
	fill, copies := d.Filler(), d.Filler()
	copies.noClone.Store(true)
	copies.noLink.Store(true)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := fill.Link(from, fmt.Sprintf("x/%d/linked", i%3+10*i), 0o444); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := copies.WriteFile("copied", nil, 0o444); err != nil {
		t.Fatal(err)
	}
	if err := copies.copy(from, "copy", 0o444); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{fill.Link(from, "copy", 0o444), fill.WriteFile("copy", nil, 0o644), copies.Link(from, "copy", 0o444)} {
		if !errors.Is(err, fs.ErrExist) {
			t.Errorf("over an existing file: %v", err)
		}
	}
	if err := fill.Link(filepath.Join(dir, "missing"), "y", 0o444); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of nothing: %v", err)
	}
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	wantFile(t, filepath.Join(dir, "tree/x/0/linked"), "shared", 0o444)
	wantFile(t, filepath.Join(dir, "tree/copy"), "shared", 0o444)
	if st, err := os.Stat(filepath.Join(dir, "tree/x/0")); err != nil || st.Mode().Perm() != 0o755 {
		t.Errorf("directory %v, %v", st.Mode(), err)
	}
}

// Where a file system has no exchange, the result is the same.
func TestExchangeByRename(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := exchangeByRename(a, b); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a target: %v", err)
	}
	for _, p := range []string{a, b} {
		if err := os.WriteFile(p, []byte(p), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := exchangeByRename(a, b); err != nil {
		t.Fatal(err)
	}
	wantFile(t, a, b, 0o600)
	wantFile(t, b, a, 0o600)
}
