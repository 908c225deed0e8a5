package rpm

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"appbundle/internal/atomicfile"
)

// batchOf writes what a build of a release writes: packages, of an rpm also their
// sources, and the metadata of the repository.
func batchOf(t *testing.T, b *Batch, f Format, dir, content string) error {
	t.Helper()
	other := shop(f)
	other.Name, other.Scripts = "other", Scripts{}
	packages := []*Package{shop(f), other}
	for _, p := range packages {
		p.Files = []File{text("/opt/"+p.Name+"/lib", content)}
	}
	if err := b.WriteAll(t.Context(), dir, packages, Options{}, func(*Package, *Info) {}); err != nil {
		return err
	}
	if f == RPM {
		s := &Source{Package: packages[0]}
		if _, err := b.WriteSpec(t.Context(), dir, s); err != nil {
			return err
		}
		if _, err := b.WriteSource(t.Context(), filepath.Join(dir, s.FileName()), s, Options{}); err != nil {
			return err
		}
	}
	if _, err := b.Index(t.Context(), f, dir, IndexOptions{Name: "shop"}); err != nil {
		return err
	}
	return b.Commit()
}

// TestBatchFaults lets every operation on the disk fail. Until the first file has its
// name everything is as it was, and nothing is left in any case.
func TestBatchFaults(t *testing.T) {
	for _, f := range []Format{RPM, Deb} {
		old, next := t.TempDir(), t.TempDir()
		for dir, content := range map[string]string{old: "old", next: "next"} {
			if err := batchOf(t, new(Batch), f, dir, content); err != nil {
				t.Fatal(err)
			}
		}
		before, after := tree(t, old), tree(t, next)
		n, late := 0, 0
		for fault := range atomicfile.Faults() {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(old)); err != nil {
				t.Fatal(err)
			}
			var seen atomic.Bool // a file has its name
			b := &Batch{fs: fault.FS()}
			fail := b.fs.Before
			b.fs.Before = func(op atomicfile.Op, path string) error {
				err := fail(op, path)
				if op == atomicfile.OpRename && err == nil {
					seen.Store(true)
				}
				return err
			}
			err := errors.Join(batchOf(t, b, f, dir, "next"), b.Abort())
			if (err != nil) != fault.Hit() {
				t.Fatalf("%s: %v: %v", f, fault, err)
			}
			got := tree(t, dir)
			switch {
			case err == nil:
				if !maps.EqualFunc(got, after, bytes.Equal) {
					t.Errorf("%s: without a fault the directory is not that of a build into an empty one", f)
				}
			case !seen.Load() && !maps.EqualFunc(got, before, bytes.Equal):
				t.Errorf("%s: %v changed something", f, fault)
			case seen.Load():
				late++
			}
			for name := range got {
				if strings.Contains(name, ".tmp-") || strings.Contains(name, ".staging-") {
					t.Errorf("%s: %v left %s", f, fault, name)
				}
			}
			n++
		}
		if n < 35 || late > 12 {
			t.Errorf("%s: %d operations can fail, %d of them when something has its name already", f, n-1, late)
		}
	}
}

// TestBatchName has a directory where a package has to be: it is seen before another
// package is in its place.
func TestBatchName(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, shop(Deb).FileName()), 0o755); err != nil {
		t.Fatal(err)
	}
	var b Batch
	if err := batchOf(t, &b, Deb, dir, "next"); err == nil || !strings.HasSuffix(err.Error(), "shop_1.2~rc1-1_all.deb: file exists") {
		t.Errorf("error %v", err)
	}
	if err := b.Abort(); err != nil || len(tree(t, dir)) > 0 {
		t.Errorf("there are %d files, %v", len(tree(t, dir)), err)
	}
}
