package fetch

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fill puts one entry of each kind into a new cache, all used a day ago.
func fill(t *testing.T) (dir string, c *Client, f File) {
	t.Helper()
	dir = t.TempDir()
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(content) })
	c, _ = newClient(t, Config{Dir: dir})
	if _, err := text(t.Context(), c, s.URL+"/page"); err != nil {
		t.Fatal(err)
	}
	c.Store(Metadata, "m", []byte("some"))
	c.Store(Sidecars, "s", []byte("yes"))
	f = File{URL: s.URL + "/file", Hashes: map[string]string{"sha256": sha(content)}}
	if _, err := c.File(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-24 * time.Hour)
	for _, file := range cacheFiles(t, dir) {
		if err := os.Chtimes(file, old, old); err != nil {
			t.Fatal(err)
		}
	}
	return dir, c, f
}

// write puts a file where a test wants one.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// What was used stays, what nobody used goes, and so does what was left; what
// others put there does not.
func TestPrune(t *testing.T) {
	dir, c, _ := fill(t)
	if _, ok := c.Load(Metadata, "m"); !ok {
		t.Fatal("nothing loaded")
	}
	c.Close()
	sum := strings.Repeat("ab", 32)
	left := []string{"arriving/.file.tmp-1", "arriving/." + sum + ".tmp-2"}
	theirs := []string{"README", "files/notes", "files/ab/short", "arriving/notes", "pages/ab/" + strings.Repeat("cd", 32), "pages/ab/.x.tmp-1", "cas/ab/" + sum}
	for _, name := range append(left, theirs...) {
		write(t, filepath.Join(dir, name), "x")
	}
	got, err := Prune(t.Context(), dir, time.Now().Add(-time.Hour), nil)
	if err != nil || got.Entries != 2 || got.Files != 1 || got.Left != 2 || got.Bytes < 10000 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = Prune(t.Context(), dir, time.Now().Add(time.Hour), nil); err != nil || got.Entries != 1 || got.Left != 0 {
		t.Errorf("then %+v, %v", got, err)
	}
	for _, name := range theirs {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if left := cacheFiles(t, dir); len(left) != 0 {
		t.Errorf("%v are left", left)
	}
	if _, err := os.Stat(filepath.Join(dir, "sidecars")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty directory is left: %v", err)
	}
	none := filepath.Join(dir, "none")
	if got, err := Prune(t.Context(), none, time.Now(), nil); err != nil || got != (Pruned{}) {
		t.Errorf("of nothing: %+v, %v", got, err)
	}
	if _, err := os.Stat(none); !errors.Is(err, os.ErrNotExist) {
		t.Error("it was made")
	}
}

// A file that a Client gave is there until it is closed.
func TestPruneWaits(t *testing.T) {
	dir, c, f := fill(t)
	kept, err := c.File(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := Prune(ctx, dir, time.Now().Add(time.Hour), cancel); !errors.Is(err, context.Canceled) {
		t.Errorf("while a client is open: %v", err)
	}
	got, err := Prune(t.Context(), dir, time.Now().Add(time.Hour), func() {
		if _, err := os.Stat(kept.Path); err != nil {
			t.Error(err)
		}
		c.Close()
	})
	if err != nil || got.Files != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestVerify(t *testing.T) {
	dir, c, f := fill(t)
	write(t, filepath.Join(dir, arrivals, ".file.tmp-1"), "x")
	told := 0
	tell := func() { told++ }
	if got, err := Verify(t.Context(), dir, false, func() { t.Error("waits") }, tell); err != nil || len(got) != 0 || told != 4 {
		t.Errorf("%v, %v, told %d", got, err, told)
	}
	kept, err := c.File(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	write(t, kept.Path, "x")
	write(t, c.entryPath(Metadata, "m"), "x")
	for _, remove := range []bool{false, true} {
		got, err := Verify(t.Context(), dir, remove, c.Close, nil)
		if err != nil || len(got) != 2 || got[0].Bucket != Metadata || got[1] != (Damage{files, sha(content), "has another content than its name says"}) {
			t.Errorf("remove %v: %v, %v", remove, got, err)
		}
	}
	if got, err := Verify(t.Context(), dir, false, nil, nil); err != nil || len(got) != 0 {
		t.Errorf("in the end: %v, %v", got, err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Verify(cancelled, dir, false, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Who comes alone removes what killed processes left, and nobody else does.
func TestSweep(t *testing.T) {
	dir, c, _ := fill(t)
	left := filepath.Join(dir, arrivals, ".file.tmp-1")
	write(t, left, "x")
	second, _ := newClient(t, Config{Dir: dir})
	if _, err := os.Stat(left); err != nil {
		t.Errorf("while it may be on its way: %v", err)
	}
	second.Close()
	c.Close()
	newClient(t, Config{Dir: dir})
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want it removed", err)
	}
}
