package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"appbundle/internal/atomicfile"
	"appbundle/schema"
)

// richApp makes an application with everything that an archive can hold.
func richApp(t testing.TB, dir string) {
	t.Helper()
	write(t, dir, txtar.Parse([]byte(goodApp)), "")
	do(t, dir, "mkdir static/empty\nlink ../README static/readme\ntouch static/zero\nmkdir a-b\nmkdir a\ntouch a/x\ntouch a-b/y\n")
	long := strings.Repeat("long/", 60) + "näme"
	must(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(long)), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, long), []byte("x"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "bin/tool"), []byte("#!/bin/sh\n"), 0o755))
	big := make([]byte, 3<<20+17)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range big {
		big[i] = byte(r.UintN(64))
	}
	must(t, os.WriteFile(filepath.Join(dir, "static/big"), big, 0o644))
	for _, p := range []string{".git/config", "venv/bin/python", "bin/__pycache__/app.pyc", ".appbundle/manifest.json", ".appbundle/env/bin/python3"} {
		must(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(p)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, p), []byte("left out"), 0o644))
	}
	must(t, os.RemoveAll(filepath.Join(dir, ".appbundle/env")))
}

func archiveOf(t testing.TB, dir string, kind ArchiveType) []byte {
	t.Helper()
	app, err := Load(dir)
	must(t, err)
	var b bytes.Buffer
	must(t, app.Archive(t.Context(), &b, ArchiveOptions{Type: kind, Tool: "test"}))
	return b.Bytes()
}

// TestArchiveIsReproducible archives the same application from another
// directory, with other times, another umask, other host modes and another
// number of processors, and, as root, for another user.
func TestArchiveIsReproducible(t *testing.T) {
	base := t.TempDir()
	must(t, os.Chmod(base, 0o755))
	one := filepath.Join(base, "one")
	richApp(t, one)
	want := map[ArchiveType][]byte{}
	for _, kind := range ArchiveTypes() {
		want[kind] = archiveOf(t, one, kind)
	}

	old := syscall.Umask(0o077)
	two := filepath.Join(base, "two with spaces")
	richApp(t, two)
	syscall.Umask(old)
	when := time.Date(1999, 1, 2, 3, 4, 5, 6, time.UTC)
	must(t, filepath.Walk(two, func(p string, info os.FileInfo, err error) error {
		if err != nil || info.Mode()&os.ModeSymlink != 0 {
			return err
		}
		if os.Getuid() == 0 {
			must(t, os.Lchown(p, 12345, 12345))
		}
		return os.Chtimes(p, when, when)
	}))
	for _, procs := range []int{1, 2, 7} {
		prev := runtime.GOMAXPROCS(procs)
		for kind := range want {
			if got := archiveOf(t, two, kind); !bytes.Equal(got, want[kind]) {
				t.Errorf("GOMAXPROCS %d: another %s", procs, kind)
			}
		}
		runtime.GOMAXPROCS(prev)
	}
	if os.Getuid() == 0 {
		if got := asUser(t, two); !bytes.Equal(got, want[TarZst]) {
			t.Error("as another user: another archive")
		}
	}
}

// asUser archives dir in a child that is an ordinary user.
func asUser(t *testing.T, dir string) []byte {
	// The user must be able to reach the directory and the test binary.
	for p := dir; p != "/"; p = filepath.Dir(p) {
		info, err := os.Stat(p)
		must(t, err)
		if mode := info.Mode() &^ os.ModeDir; mode&0o005 != 0o005 { // and /tmp stays as it is
			must(t, os.Chmod(p, mode|0o055))
		}
	}
	bin := filepath.Join(filepath.Dir(dir), "child")
	data, err := os.ReadFile(os.Args[0])
	must(t, err)
	must(t, os.WriteFile(bin, data, 0o755))
	cmd := exec.Command(bin)
	cmd.Env = []string{"BUNDLE_TEST_CHILD=archive", "BUNDLE_TEST_DIR=" + dir}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}}
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	must(t, err)
	return out
}

// TestMain is also the child of tests that need another user or a limit.
func TestMain(m *testing.M) {
	dir := os.Getenv("BUNDLE_TEST_DIR")
	if n, err := strconv.ParseUint(os.Getenv("BUNDLE_TEST_FSIZE"), 10, 63); err == nil {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			childEnd(err)
		}
	}
	switch os.Getenv("BUNDLE_TEST_CHILD") {
	case "":
		os.Exit(m.Run())
	case "archive":
		app, err := Load(dir)
		if err == nil {
			err = app.Archive(context.Background(), os.Stdout, ArchiveOptions{Tool: "test"})
		}
		childEnd(err)
	case "build":
		app, err := Load(dir)
		if err == nil {
			_, err = Build(context.Background(), app, BuildOptions{Output: os.Getenv("BUNDLE_TEST_OUT")})
		}
		childEnd(err)
	case "unpack":
		childEnd(Unpack(context.Background(), dir, os.Getenv("BUNDLE_TEST_OUT"), UnpackOptions{}))
	}
}

func childEnd(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// TestRoundTrip builds, verifies, opens and unpacks; the digest is the same
// everywhere and in every format, and what was unpacked builds the same archive
// again.
func TestRoundTrip(t *testing.T) {
	digests := map[string]bool{}
	for _, kind := range ArchiveTypes() {
		t.Run(string(kind), func(t *testing.T) { digests[roundTrip(t, kind)] = true })
	}
	if len(digests) != 1 {
		t.Errorf("the formats have the digests %v", digests)
	}
}

func roundTrip(t *testing.T, kind ArchiveType) string {
	base := t.TempDir()
	dir, out := filepath.Join(base, "shop"), filepath.Join(base, "out")+"/"
	richApp(t, dir)
	app, err := Load(dir)
	must(t, err)
	var done, total int64
	res, err := Build(t.Context(), app, BuildOptions{Output: out, Type: kind, Tool: "test", Progress: func(d, n int64) { done, total = d, n }})
	must(t, err)
	if want := filepath.Join(out, "shop-1.0.0-any."+string(kind)); res.Path != want {
		t.Errorf("Path = %s, want %s", res.Path, want)
	}
	if done != total || total != res.Bytes {
		t.Errorf("progress ended with %d of %d, want %d", done, total, res.Bytes)
	}
	rep, err := Verify(t.Context(), res.Path)
	must(t, err)
	opened, err := Open(res.Path)
	must(t, err)
	unpacked := filepath.Join(base, "un packed")
	must(t, Unpack(t.Context(), res.Path, unpacked, UnpackOptions{}))
	again, err := Load(unpacked)
	must(t, err)
	for name, got := range map[string]string{"Load": app.Digest(), "Verify": rep.Digest, "Open": opened.Digest(), "unpacked": again.Digest()} {
		if got != res.Digest {
			t.Errorf("%s: digest %s, want %s", name, got, res.Digest)
		}
	}
	if got := Check(opened); len(got) > 0 {
		t.Errorf("Check of the archive:\n%s", text(got))
	}
	if opened.Name != "shop" || opened.Version != "1.0.0" || opened.Entrypoint.Interface != schema.WSGI {
		t.Errorf("Open = %s %s %s", opened.Name, opened.Version, opened.Entrypoint.Interface)
	}
	if want, err := os.ReadFile(res.Path); err != nil || !bytes.Equal(archiveOf(t, unpacked, kind), want) {
		t.Errorf("the unpacked directory makes another archive (%v)", err)
	}
	if rep.Files != res.Files || rep.Bytes != res.Bytes || rep.Manifest.Target != "any" {
		t.Errorf("Verify = %d files, %d bytes; Build = %d, %d", rep.Files, rep.Bytes, res.Files, res.Bytes)
	}
	return res.Digest
}

// TestDigestCovers shows that each part of an entry is part of the digest.
func TestDigestCovers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	richApp(t, dir)
	digest := func() string {
		app, err := Load(dir)
		must(t, err)
		return app.Digest()
	}
	last := digest()
	for _, ops := range []string{
		"chmod 755 README", "mv static/zero static/nil", "rm static/readme\nlink ../app.ini static/readme",
		"rm static/empty", "touch static/empty", "mkdir new",
	} {
		do(t, dir, ops)
		if now := digest(); now == last {
			t.Errorf("%s: the same digest", ops)
		} else {
			last = now
		}
	}
	for _, ops := range []string{"chmod 600 README\nchmod 700 README", "mkdir .git/x", "touch bin/x.pyc"} {
		do(t, dir, ops)
		if digest() != last {
			t.Errorf("%s: another digest", ops)
		}
	}
}

// TestChangedFile edits the directory between Load and Archive.
func TestChangedFile(t *testing.T) {
	for _, c := range []struct {
		name, file string
		change     func(p string) error
	}{
		{"content of the same size", "static/big", func(p string) error {
			f, err := os.OpenFile(p, os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteAt([]byte{255}, 3<<20)
			}
			return errors.Join(err, f.Close())
		}},
		{"longer", "README", func(p string) error { return os.WriteFile(p, []byte("longer than before"), 0o644) }},
		{"shorter", "README", func(p string) error { return os.Truncate(p, 1) }},
		{"empty file grew", "static/zero", func(p string) error { return os.WriteFile(p, []byte("x"), 0o644) }},
		{"x bit", "README", func(p string) error { return os.Chmod(p, 0o755) }},
		{"gone", "README", os.Remove},
		{"a link now", "README", func(p string) error { return errors.Join(os.Remove(p), os.Symlink("app.ini", p)) }},
		{"a pipe now", "README", func(p string) error { return errors.Join(os.Remove(p), syscall.Mkfifo(p, 0o644)) }},
		{"the last file", "static/zero", os.Remove},
	} {
		t.Run(c.name, func(t *testing.T) {
			base := t.TempDir()
			dir := filepath.Join(base, "shop")
			richApp(t, dir)
			app, err := Load(dir)
			must(t, err)
			must(t, c.change(filepath.Join(dir, c.file)))
			_, err = Build(t.Context(), app, BuildOptions{Output: base})
			if !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), c.file) {
				t.Errorf("Build: %v, want ErrChanged that names %s", err, c.file)
			}
			onlyThere(t, base, "shop")
		})
	}
}

// onlyThere demands that dir has exactly these names.
func onlyThere(t testing.TB, dir string, names ...string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	must(t, err)
	var got []string
	for _, de := range list {
		got = append(got, de.Name())
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("%s holds %q, want %q", dir, got, names)
	}
}

// TestOwnArchivesStayOut builds into the application directory, twice.
func TestOwnArchivesStayOut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	richApp(t, dir)
	var digests []string
	for _, out := range []string{"", "dist/", "", "dist/", "zip", "tar.gz", "tar", "zip", "other.tar.zst", "other.tar.zst"} {
		app, err := Load(dir)
		must(t, err)
		opts := BuildOptions{Output: dir + "/" + out}
		if slices.Contains(ArchiveTypes(), ArchiveType(out)) {
			opts = BuildOptions{Output: dir, Type: ArchiveType(out)}
		}
		res, err := Build(t.Context(), app, opts)
		must(t, err)
		digests = append(digests, res.Digest)
		if strings.HasPrefix(out, "other") {
			continue
		}
		app, err = Load(dir)
		must(t, err)
		if app.Digest() != res.Digest {
			t.Errorf("-o %q: the directory has another digest after the build", out)
		}
	}
	for i, d := range digests {
		if d != digests[0] {
			t.Errorf("build %d: digest %s, want %s", i, d, digests[0])
		}
	}
}

// TestOwnPackagesStayOut has packages, and what is written with them, in the
// directory; beside them and elsewhere are files that only look like it.
func TestOwnPackagesStayOut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	richApp(t, dir)
	app, err := Load(dir)
	must(t, err)
	put := func(name string) {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644))
	}
	for _, at := range []string{"", "dist/", "out/deep/"} {
		for _, name := range []string{
			"-1.2.0-1.noarch.rpm", "-1.2.0-3.src.rpm", "-1.2.0~rc.1-1.x86_64.rpm", "-python3-flask-3.1.3-1.noarch.rpm", "-filesystem-3.11-1.noarch.rpm",
			"_1.2.0-1_all.deb", "-python3-flask_3.1.3-1_amd64.deb", ".spec", "-1.2.0-1.tar.gz",
		} {
			put(at + app.Name + name)
		}
		for _, name := range []string{"repodata/repomd.xml", "repodata/primary.xml.gz", "python3-flask-3.1.3-1.noarch.rpm", "Packages", "Packages.gz", "Release", "InRelease"} {
			put(at + name)
		}
	}
	again, err := Load(dir)
	must(t, err)
	if again.Digest() != app.Digest() {
		t.Errorf("with its packages it has the entries\n%v", again.Entries)
	}
	kept := []string{"dist/seed-1.0.tar.gz", "dist/other-1.0-1.noarch.rpm", "data/Release", "data/repodata/repomd.xml", "data/python3-x-1-1.noarch.rpm", "data/" + app.Name + "-tool.rpm", "data/" + app.Name + ".spec"}
	for _, name := range kept {
		put(name)
	}
	again, err = Load(dir)
	must(t, err)
	for _, name := range kept {
		if again.Entry(name) == nil {
			t.Errorf("%s is left out", name)
		}
	}
}

// TestFaults fails every operation on the disk, one after the other.
func TestFaults(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "shop")
	write(t, dir, txtar.Parse([]byte(goodApp)), "")
	app, err := Load(dir)
	must(t, err)
	for _, kind := range ArchiveTypes() {
		t.Run(string(kind), func(t *testing.T) { faults(t, app, kind) })
	}
}

func faults(t *testing.T, app *App, kind ArchiveType) {
	base := t.TempDir()
	var archive string
	n := 0
	t.Run("build", func(t *testing.T) {
		for fault := range atomicfile.Faults() {
			out := filepath.Join(base, strconv.Itoa(n)) + "/"
			n++
			res, err := Build(t.Context(), app, BuildOptions{Output: out, Type: kind, fs: fault.FS()})
			if (err != nil) != fault.Hit() {
				t.Fatalf("%v: got %v", fault, err)
			}
			if err == nil {
				archive = res.Path
				continue
			}
			// Only the flush of the directory comes after the rename.
			if _, err := os.Stat(out); err == nil && !strings.Contains(fault.String(), "sync") {
				t.Errorf("%v: something is left", fault)
			}
		}
	})
	t.Run("unpack", func(t *testing.T) {
		for fault := range atomicfile.Faults() {
			base := t.TempDir()
			err := Unpack(t.Context(), archive, filepath.Join(base, "x"), UnpackOptions{fs: fault.FS()})
			if (err != nil) != fault.Hit() {
				t.Fatalf("%v: got %v", fault, err)
			}
			if err != nil {
				onlyThere(t, base)
			}
		}
	})
}

// TestCancel ends the context during a build and an unpacking.
func TestCancel(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "shop")
	richApp(t, dir)
	app, err := Load(dir)
	must(t, err)
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err = Build(ctx, app, BuildOptions{Output: base, Progress: func(done, total int64) { cancel(cause) }})
	if !errors.Is(err, cause) {
		t.Errorf("Build: %v, want %v", err, cause)
	}
	onlyThere(t, base, "shop")
	res, err := Build(t.Context(), app, BuildOptions{Output: base})
	must(t, err)
	if err := Unpack(ctx, res.Path, filepath.Join(base, "x"), UnpackOptions{}); !errors.Is(err, cause) {
		t.Errorf("Unpack: %v, want %v", err, cause)
	}
	onlyThere(t, base, "shop", filepath.Base(res.Path))
}
