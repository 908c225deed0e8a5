package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// names lists what is in dir, hidden names included.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func wantFile(t *testing.T, path, want string, perm fs.FileMode) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Fatalf("%s: %q, %v, want %q", path, got, err, want)
	}
	if st, _ := os.Stat(path); st.Mode() != perm {
		t.Fatalf("%s: mode %v, want %v", path, st.Mode(), perm)
	}
}

// Whichever operation fails, the path holds the old content or the new one,
// and the directory holds nothing else.
func TestFileFaults(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "app.lock")
	var met []string
	for fault := range Faults() {
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		err := fault.FS().WriteFile(path, []byte("new"), 0o640)
		if (err != nil) != fault.Hit() {
			t.Fatalf("%v: got %v", fault, err)
		}
		if err != nil && !errors.Is(err, ErrFault) {
			t.Errorf("%v: got %v, want the fault alone", fault, err)
		}
		// After the rename only the flush of the directory is left.
		if err == nil || strings.HasSuffix(fault.String(), "sync "+dir) {
			wantFile(t, path, "new", 0o640)
		} else {
			wantFile(t, path, "old", 0o600)
		}
		if got := names(t, dir); got != "app.lock" {
			t.Fatalf("%v: left %q", fault, got)
		}
		if fault.Hit() {
			_, op, _ := strings.Cut(fault.String(), ", ")
			op, _, _ = strings.Cut(op, " ")
			met = append(met, op)
		}
		os.Remove(path)
	}
	if got := strings.Join(met, " "); got != "create write chmod sync close rename sync" {
		t.Errorf("operations %q", got)
	}
}

// TestCommitAll lets every operation on two files fail: both are old until both are
// flushed, and no other name is left.
func TestCommitAll(t *testing.T) {
	dir := t.TempDir()
	var met []string
	for fault := range Faults() {
		for _, name := range []string{"a", "b"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("old"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		err := func() error {
			var files []*File
			for _, name := range []string{"a", "b"} {
				f, err := fault.FS().Create(filepath.Join(dir, name), 0o644)
				if err != nil {
					return errors.Join(err, abortAll(files))
				}
				files = append(files, f)
				if _, err := f.Write([]byte("new")); err != nil && !errors.Is(err, ErrFault) {
					return err
				}
			}
			return CommitAll(files)
		}()
		if (err != nil) != fault.Hit() {
			t.Fatalf("%v: got %v", fault, err)
		}
		what := strings.SplitN(fault.String(), ", ", 2)[1]
		want := map[string]string{"a": "old", "b": "old"}
		switch {
		case err == nil, what == "sync "+dir:
			want = map[string]string{"a": "new", "b": "new"}
		case what == "rename "+filepath.Join(dir, "b"):
			want["a"] = "new"
		}
		for name, text := range want {
			wantFile(t, filepath.Join(dir, name), text, 0o644)
		}
		if got := names(t, dir); got != "a b" {
			t.Fatalf("%v: left %q", fault, got)
		}
		if err != nil {
			met = append(met, strings.Fields(what)[0])
		}
	}
	if got := strings.Join(met, " "); got != "create write create write chmod sync close chmod sync close rename rename sync" {
		t.Errorf("operations %q", got)
	}
}

func abortAll(files []*File) (err error) {
	for _, f := range files {
		err = errors.Join(err, f.Abort())
	}
	return err
}

// fill makes a directory of every kind of entry.
func fill(f FS, target string) error {
	d, err := f.Staging(target, 0o755)
	if err != nil {
		return err
	}
	defer d.Abort()
	if err := d.Root().Mkdir("bin", 0o755); err != nil {
		return err
	}
	bin, err := d.Root().OpenRoot("bin")
	if err != nil {
		return err
	}
	defer bin.Close()
	out, err := bin.Create("app", 0o755)
	if err != nil {
		return err
	}
	if _, err := out.Write([]byte("#!/bin/sh\n")); err != nil {
		out.Close()
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	if err := d.Root().Symlink("bin/app", "run"); err != nil {
		return err
	}
	return d.Commit()
}

// Whichever operation fails, there is the whole directory or none, with modes
// that no umask changed.
func TestDirFaults(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	dir := t.TempDir()
	target := filepath.Join(dir, "shop")
	n := 0
	for fault := range Faults() {
		err := fill(fault.FS(), target)
		if (err != nil) != fault.Hit() {
			t.Fatalf("%v: got %v", fault, err)
		}
		if err != nil {
			n++
			if got := names(t, dir); got != "" || !errors.Is(err, ErrFault) {
				t.Fatalf("%v: %v, left %q", fault, err, got)
			}
			continue
		}
		wantFile(t, filepath.Join(target, "bin/app"), "#!/bin/sh\n", 0o755)
		if got := names(t, dir) + "; " + names(t, target); got != "shop; bin run" {
			t.Fatalf("got %q", got)
		}
		if st, _ := os.Stat(target); st.Mode().Perm() != 0o755 {
			t.Errorf("target has mode %v", st.Mode())
		}
	}
	// mkdir; mkdir chmod; create chmod write close; symlink; chmod sync rename sync
	if n != 12 {
		t.Errorf("%d operations can fail, want 12", n)
	}
}

// A target that exists, from the start or only by the time of the rename, is
// refused and stays as it is, also when it is an empty directory.
func TestDirRefusesExisting(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "shop")
	d, err := Staging(target+"/", 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if st, _ := os.Stat(d.Path()); st.Mode().Perm() != 0o700 {
		t.Errorf("staging directory has mode %v", st.Mode())
	}
	if err := os.Mkdir(target, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Commit over an existing directory: %v", err)
	}
	if err := renameByLook(t.TempDir(), target); !errors.Is(err, fs.ErrExist) {
		t.Errorf("renameByLook over an existing directory: %v", err)
	}
	if _, err := Staging(target, 0o755); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Staging of an existing directory: %v", err)
	}
	if st, _ := os.Stat(target); names(t, dir) != "shop" || st.Mode().Perm() != 0o711 {
		t.Errorf("left %q, target %v", names(t, dir), st.Mode())
	}
}

// Create and Symlink below a Root replace nothing and leave it nowhere.
func TestRootStaysInside(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(dir, "outside")
	inside := filepath.Join(dir, "inside")
	for _, p := range []string{outside, inside} {
		if err := os.Mkdir(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(inside, "out")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(outside, "f"), filepath.Join(inside, "f")); err != nil {
		t.Fatal(err)
	}
	r, err := FS{}.OpenRoot(inside)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, name := range []string{"../f", "out/f", "f", "/f", filepath.Join(outside, "f")} {
		if _, err := r.Create(name, 0o644); err == nil {
			t.Errorf("Create(%q) worked", name)
		}
	}
	if err := os.WriteFile(filepath.Join(inside, "there"), []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nothing", filepath.Join(inside, "dangling")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"there", "dangling"} {
		if _, err := r.Create(name, 0o644); !errors.Is(err, fs.ErrExist) {
			t.Errorf("Create(%q): %v, want ErrExist", name, err)
		}
	}
	wantFile(t, filepath.Join(inside, "there"), "old", 0o644)
	if err := r.Symlink("x", "f"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Symlink over a link: %v", err)
	}
	if got := names(t, outside); got != "" {
		t.Errorf("outside: %q", got)
	}
}

// Abort and Commit end the life of a File; what comes later changes nothing.
func TestDone(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("n", 255))
	f, err := Create(path, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Abort(); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Commit after Abort: %v", err)
	}
	if err := WriteFile(path, []byte("x"), 0o444); err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, "x", 0o444)
}

// A File of which a write failed is never committed, also by a caller that did
// not look at the error.
func TestCommitAfterFailedWrite(t *testing.T) {
	dir := t.TempDir()
	f, err := FailAt(2).FS().Create(filepath.Join(dir, "f"), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.Write([]byte("a part"))
	_, _ = f.Write([]byte(" and what comes later"))
	if err := f.Commit(); !errors.Is(err, ErrFault) {
		t.Errorf("Commit: %v, want ErrFault", err)
	}
	if got := names(t, dir); got != "" {
		t.Errorf("left %q", got)
	}
}

// Directories that their owner may not write to go too, for an ordinary user,
// and nothing that a link points to is touched. Root may write anywhere, so
// the test runs itself again as nobody.
func TestRemoveAllReadOnly(t *testing.T) {
	if dir := os.Getenv("ATOMICFILE_TEST_DIR"); dir != "" {
		removeReadOnly(t, dir)
		return
	}
	dir, err := os.MkdirTemp("", "atomicfile-*") // t.TempDir's parents are closed to nobody
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 {
		removeReadOnly(t, dir)
		return
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(dir, "test")
	if err := os.WriteFile(exe, self, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestRemoveAllReadOnly$", "-test.count=1")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "ATOMICFILE_TEST_DIR="+dir, "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("as nobody: %v\n%s", err, out)
	}
}

func removeReadOnly(t *testing.T, dir string) {
	kept := filepath.Join(dir, "kept")
	tree := filepath.Join(dir, "tree")
	for _, p := range []string{kept, filepath.Join(tree, "a/b")} {
		if err := os.MkdirAll(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(kept, 0o500); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "a/b/f"), nil, 0o400); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(kept, filepath.Join(tree, "a/b/link")); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"a/b", "a"} {
		if err := os.Chmod(filepath.Join(tree, p), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemoveAll(tree); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(tree); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("tree is still there: %v", err)
	}
	if st, err := os.Stat(kept); err != nil || st.Mode().Perm() != 0o500 {
		t.Errorf("what the link points to: %v, %v", st.Mode(), err)
	}
}
