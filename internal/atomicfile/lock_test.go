package atomicfile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Any number hold a lock together, and one alone; who waits is told so, gives up
// with its context, and gets the lock of what the path names by then.
func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	never := func() { t.Error("waits") }
	one, err := Lock(ctx, dir, false, never)
	if err != nil {
		t.Fatal(err)
	}
	two, err := Lock(ctx, dir, false, never)
	if err != nil {
		t.Fatal(err)
	}
	two()
	end, cancel := context.WithCancelCause(ctx)
	why := errors.New("enough")
	if _, err := Lock(end, dir, true, func() { cancel(why) }); !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
	alone, err := Lock(ctx, dir, true, func() {
		if err := errors.Join(os.Rename(dir, dir+"-old"), os.Mkdir(dir, 0o700)); err != nil {
			t.Error(err)
		}
		one()
	})
	if err != nil {
		t.Fatal(err)
	}
	waited := false
	cancelled, stop := context.WithCancel(ctx)
	if _, err := Lock(cancelled, dir, false, func() { waited = true; stop() }); !errors.Is(err, context.Canceled) || !waited {
		t.Errorf("while another has it alone: %v, waited %v", err, waited)
	}
	alone()
	if _, err := Lock(ctx, filepath.Join(dir, "none"), true, never); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of nothing: %v", err)
	}
}

// What Create and Staging make is known by its name, and nothing else is.
func TestTemporary(t *testing.T) {
	dir := t.TempDir()
	f, err := Create(filepath.Join(dir, "a.tmp-file"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Abort()
	d, err := Staging(filepath.Join(dir, "b"), 0o700)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range entries {
		if of, ok := Temporary(e.Name()); ok {
			found = append(found, of)
		}
	}
	if len(found) != 2 || found[0] != "a.tmp-file" || found[1] != "b" {
		t.Errorf("found %q", found)
	}
	for _, name := range []string{"a", ".a", "a.tmp-1", ".tmp-1", ".", ""} {
		if _, ok := Temporary(name); ok {
			t.Errorf("%q is no temporary name", name)
		}
	}
}

func TestLockNow(t *testing.T) {
	dir := t.TempDir()
	unlock, ok := LockNow(dir)
	if !ok {
		t.Fatal("nobody has it")
	}
	if _, ok := LockNow(dir); ok {
		t.Error("it was given twice")
	}
	unlock()
	if _, ok := LockNow(filepath.Join(dir, "none")); ok {
		t.Error("of nothing")
	}
}

// Replace removes what killed ones left of the same file, writes only what is
// new, and does not wait for ever for a script that holds the directory's lock.
func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	for _, name := range []string{".a.tmp-1", ".b.tmp-1"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	replace := func(text string) os.FileInfo {
		t.Helper()
		if err := Replace(t.Context(), path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("got %q, %v, want %q", got, err, text)
		}
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	one := replace("one")
	if !os.SameFile(one, replace("one")) {
		t.Error("it was written although it was the same")
	}
	unlock, ok := LockNow(dir)
	if !ok {
		t.Fatal("somebody has the lock")
	}
	defer unlock()
	if os.SameFile(one, replace("two")) {
		t.Error("it was not replaced as a whole")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 || entries[0].Name() != ".b.tmp-1" {
		t.Errorf("got %v, %v", entries, err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Replace(cancelled, path, []byte("three"), 0o644); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Whatever fails before the first file has its name, all are the old ones; none
// is half, and the order is that of the list.
func TestReplaceAll(t *testing.T) {
	for _, dirs := range [][2]string{{"a", "a"}, {"b", "a"}} {
		for n := 1; ; n++ {
			dir := t.TempDir()
			var list []Replacement
			for i, d := range dirs {
				path := filepath.Join(dir, d, []string{"first", "second"}[i])
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("old"), 0o600)); err != nil {
					t.Fatal(err)
				}
				list = append(list, Replacement{path, []byte("new"), 0o640})
			}
			fault, renamed := FailAt(n), 0
			Intercept(func(op Op, path string) error {
				err := fault.FS().Before(op, path)
				if op == OpRename && err == nil {
					renamed++
				}
				return err
			})
			err := ReplaceAll(t.Context(), list)
			Intercept(nil)
			if (err != nil) != fault.Hit() {
				t.Fatalf("%v: %v", fault, err)
			}
			for i, r := range list {
				if i < renamed {
					wantFile(t, r.Path, "new", 0o640)
				} else {
					wantFile(t, r.Path, "old", 0o600)
				}
				if got := names(t, filepath.Dir(r.Path)); strings.Contains(got, "tmp") {
					t.Errorf("%v left %s", fault, got)
				}
			}
			if !fault.Hit() {
				if n < 12 {
					t.Errorf("only %d operations", n-1)
				}
				break
			}
		}
	}
}
