package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"appbundle/bundle"
	"appbundle/resolve"
	"appbundle/schema"
	"appbundle/schema/pep508"
)

// From the first new wheel to the new lock, the old lock has all of its wheels:
// also where a new one has the name of an old one. What is nobody's stays.
func TestOldLockStaysWhole(t *testing.T) {
	dir, cache := t.TempDir(), t.TempDir()
	put := func(path, text string) (sum string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		h := sha256.Sum256([]byte(text))
		return hex.EncodeToString(h[:])
	}
	lockOf := func(path, sum string) *schema.PyLock {
		return &schema.PyLock{Packages: []schema.LockedPackage{{
			Name: "a", Version: "1", Wheels: []schema.LockedFile{{Name: "a-1-py3-none-any.whl", Path: path, Hashes: map[string]string{"sha256": sum}}},
			Tool: schema.LockedPackageTool{Built: &schema.LockedBuild{Wheel: "a-1-py3-none-any.whl"}},
		}}}
	}
	oldSum := put(filepath.Join(dir, "wheels/a-1-py3-none-any.whl"), "old")
	put(filepath.Join(dir, "wheels/b-1-py3-none-any.whl"), "mine")
	made := filepath.Join(cache, "a-1-py3-none-any.whl")
	newSum := put(made, "new")
	old := lockOf("wheels/a-1-py3-none-any.whl", oldSum)
	b := &builds{app: &bundle.App{Dir: dir}, old: old, made: map[string]string{}}

	to := b.place("a-1-py3-none-any.whl", newSum)
	if again := b.place("a-1-py3-none-any.whl", oldSum); to == again || again != "wheels/a-1-py3-none-any.whl" {
		t.Fatalf("the new wheel goes to %s, the old one to %s", to, again)
	}
	b.made[to] = made
	name, err := pep508.ParseWheelName("a-1-py3-none-any.whl")
	if err != nil {
		t.Fatal(err)
	}
	built := &resolve.Built{Wheel: &resolve.File{Name: "a-1-py3-none-any.whl", Path: to, Hashes: map[string]string{"sha256": newSum}, Wheel: &name}}
	res := &resolve.Resolution{Packages: []*resolve.LockedPackage{{Built: built}, {}}}
	for range 2 {
		if paths, err := b.write(res); err != nil || !slices.Equal(paths, []string{to}) {
			t.Fatalf("wrote %q, %v", paths, err)
		}
	}
	lock := lockOf(to, newSum)
	for _, l := range []*schema.PyLock{old, lock} {
		if why := damagedWheel(dir, l); why != "" {
			t.Error(why)
		}
	}
	if err := b.clean(lock); err != nil {
		t.Fatal(err)
	}
	if why := damagedWheel(dir, lock); why != "" {
		t.Error(why)
	}
	if why := damagedWheel(dir, old); why != "wheels/a-1-py3-none-any.whl is missing" {
		t.Errorf("the old wheel: %q", why)
	}
	if _, err := os.Stat(filepath.Join(dir, "wheels/b-1-py3-none-any.whl")); err != nil {
		t.Error(err)
	}

	// What the user changed is not ours any more.
	put(filepath.Join(dir, filepath.FromSlash(to)), "changed")
	b.old = lock
	if err := b.clean(&schema.PyLock{}); err != nil {
		t.Fatal(err)
	}
	if why := damagedWheel(dir, lock); why != to+" is not the wheel that was locked" {
		t.Errorf("the changed wheel: %q", why)
	}
}
