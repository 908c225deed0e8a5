package safearchive

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"appbundle/internal/atomicfile"
)

func sample(tb testing.TB) []byte {
	return zstdOf(tb, tarOf(tb,
		item{name: "bin/"},
		item{name: "bin/app", body: "#!/bin/sh\n", mode: 0o755},
		item{name: "lib/a/b/c", body: strings.Repeat("c", 3000)},
		item{name: "lib/a/d", body: ""},
		item{name: "lib/copy", link: "lib/a/b/c", kind: tar.TypeLink, mode: 0o755},
		item{name: "run", link: "bin/app"},
		item{name: "lib64", link: "lib"},
		item{name: "empty/dir/"},
	))
}

// Whichever operation fails, the target is not there and nothing else is; the
// error is that of the disk and no refusal.
func TestExtractFaults(t *testing.T) {
	b := sample(t)
	n := 0
	for fault := range atomicfile.Faults() {
		box := t.TempDir()
		err := unpack(context.Background(), "shop.tar.zst", bytes.NewReader(b), Limits{}, fault.FS(), filepath.Join(box, "shop"), Options{})
		if (err != nil) != fault.Hit() {
			t.Fatalf("%v: got %v", fault, err)
		}
		if err == nil {
			continue
		}
		n++
		var refused *RefusedError
		if !errors.Is(err, atomicfile.ErrFault) || errors.As(err, &refused) {
			t.Errorf("%v: got %v", fault, err)
		}
		if left, _ := os.ReadDir(box); len(left) != 0 {
			t.Errorf("%v: left %v", fault, left)
		}
	}
	// 6 directories of 2 operations, 4 files of at least 3, 2 links, 5 around them.
	if n < 12+12+2+5 {
		t.Errorf("only %d operations can fail", n)
	}
}

// Modes are exact under any umask, what is observed is what is on the disk, and
// the observer sees a complete file.
func TestExtractExactly(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	target := filepath.Join(t.TempDir(), "shop")
	var seen []string
	opts := Options{Observe: func(e Entry, sum [sha256.Size]byte) error {
		seen = append(seen, fmt.Sprintf("%s %s %x", e.Type, e.Path, sum[:2]))
		return nil
	}}
	if err := unpack(context.Background(), "shop.tar.zst", bytes.NewReader(sample(t)), Limits{}, atomicfile.FS{}, target, opts); err != nil {
		t.Fatal(err)
	}
	short := func(s string) string { sum := sha256.Sum256([]byte(s)); return fmt.Sprintf("%x", sum[:2]) }
	c := strings.Repeat("c", 3000)
	want := []string{
		"directory bin 0000", "file bin/app " + short("#!/bin/sh\n"), "file lib/a/b/c " + short(c), "file lib/a/d " + short(""),
		"file lib/copy " + short(c), "directory empty/dir 0000", "symbolic link run 0000", "symbolic link lib64 0000",
	}
	if strings.Join(seen, "\n") != strings.Join(want, "\n") {
		t.Errorf("observed:\n%s", strings.Join(seen, "\n"))
	}
	for path, mode := range map[string]os.FileMode{
		".": 0o755, "bin": 0o755, "bin/app": 0o755, "lib": 0o755, "lib/a/b": 0o755, "lib/a/b/c": 0o644, "lib/copy": 0o755, "empty/dir": 0o755,
	} {
		st, err := os.Lstat(filepath.Join(target, path))
		if err != nil || st.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v, want %v", path, st.Mode(), err, mode)
		}
	}
	a, _ := os.Stat(filepath.Join(target, "lib/copy"))
	o, _ := os.Stat(filepath.Join(target, "lib/a/b/c"))
	if os.SameFile(a, o) {
		t.Error("a hard link was not materialised as a copy")
	}
}

// The observer can stop the extraction with an error of its own.
func TestObserverStops(t *testing.T) {
	box := t.TempDir()
	stop := errors.New("digest differs")
	opts := Options{Observe: func(e Entry, _ [sha256.Size]byte) error {
		if e.Path == "lib/a/d" {
			return stop
		}
		return nil
	}}
	err := unpack(context.Background(), "a", bytes.NewReader(sample(t)), Limits{}, atomicfile.FS{}, filepath.Join(box, "out"), opts)
	if err != stop {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(box); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

// A cancelled context stops inside a file too, and nothing is left.
func TestExtractCancelled(t *testing.T) {
	b := tarOf(t, item{name: "a", body: strings.Repeat("1", 8<<20)})
	box := t.TempDir()
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("interrupted by the user")
	src := readerAfter{bytes.NewReader(b), 4 << 20, func() { cancel(why) }}
	err := unpack(ctx, "a", &src, Limits{}, atomicfile.FS{}, filepath.Join(box, "out"), Options{})
	var refused *RefusedError
	if !errors.Is(err, why) || errors.As(err, &refused) {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(box); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

// readerAfter calls do when n bytes were read.
type readerAfter struct {
	r  io.Reader
	n  int
	do func()
}

func (r *readerAfter) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if r.n -= n; r.n <= 0 {
		r.do()
	}
	return n, err
}

// What is in the directory already is not replaced, and a link that somebody
// put there is not written through.
func TestExtractReplacesNothing(t *testing.T) {
	box := t.TempDir()
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(box, "bin")); err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(context.Background(), "a", bytes.NewReader(sample(t)), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	root, err := atomicfile.FS{}.OpenRoot(box)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := Extract(context.Background(), r, root, Options{}); err == nil {
		t.Error("wrote through a link")
	}
	if left, _ := os.ReadDir(outside); len(left) != 0 {
		t.Errorf("outside: %v", left)
	}
}

// entries makes a tar of n small entries on the fly, five to a directory.
func entries(n int) io.Reader {
	i := 0
	var buf bytes.Buffer
	return readerFunc(func(p []byte) (int, error) {
		for buf.Len() == 0 {
			switch {
			case i < n:
				buf.Write(rawHeader(fmt.Sprintf("lib/python3.11/site-packages/pkg%06d/module_%d.py", i/5, i), '0', 0, nil))
			case i == n:
				buf.Write(make([]byte, 1024))
			default:
				return 0, io.EOF
			}
			i++
		}
		return buf.Read(p)
	})
}

// Half a million entries fit into the memory that the package comment promises.
func TestMemoryOfManyEntries(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const n = 400_000 // and 80,003 directories
	r, err := NewReader(context.Background(), "a.tar", entries(n), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := 0
	for ; ; got++ {
		if _, err := r.Next(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := int64(after.HeapAlloc-before.HeapAlloc) / int64(len(r.tree.nodes))
	t.Logf("%d entries, %d nodes, %d bytes a node", got, len(r.tree.nodes), each)
	if got != n || each > 200 {
		t.Errorf("%d entries, %d bytes for each", got, each)
	}
}

func BenchmarkExtract(b *testing.B) {
	var items []item
	text := strings.Repeat("import os, sys, json\n", 2000)
	for i := range 2000 {
		items = append(items, item{name: fmt.Sprintf("lib/python3.11/site-packages/pkg%03d/sub/m%d.py", i/20, i), body: text})
	}
	src := zstdOf(b, tarOf(b, items...))
	b.SetBytes(int64(len(text) * len(items)))
	b.ReportAllocs()
	for b.Loop() {
		dir := b.TempDir()
		r, err := NewReader(context.Background(), "a", bytes.NewReader(src), Limits{})
		if err != nil {
			b.Fatal(err)
		}
		root, err := atomicfile.FS{}.OpenRoot(dir)
		if err != nil {
			b.Fatal(err)
		}
		err = Extract(context.Background(), r, root, Options{Observe: func(Entry, [sha256.Size]byte) error { return nil }})
		if err != nil {
			b.Fatal(err)
		}
		root.Close()
		r.Close()
		b.StopTimer()
		os.RemoveAll(dir)
		b.StartTimer()
	}
}
