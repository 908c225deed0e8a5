package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"appbundle/rpm"
)

// TestSource has the real rpmbuild make the package of an app with native code from the
// RPM of its sources, without a network, and compares it with that of build --rpm.
func TestSource(t *testing.T) {
	t.Parallel()
	work := t.TempDir()
	app := work + "/shop"
	write(t, app, "dependencies.txt", "gunicorn==23.0.0\nmarkupsafe==3.0.2\n", 0o644)
	write(t, app, "external-dependencies.txt", "libpq-dev\ngit\n", 0o644)
	write(t, app, "app.ini", "[app]\nname = shop\nversion = 1.0.0\ndescription = %(touch pwned) %{x} # 100%\n[package]\nsandbox = strict\n", 0o644)
	write(t, app, "bin/app.py", "def application(environ, start):\n    return []\n", 0o644)
	output(t, work, "appbundle", "lock", "--python", "/usr/bin/python3.11", app)
	output(t, work, "appbundle", "install", "--python", "/usr/bin/python3.11", app)
	output(t, work, "appbundle", "build", "--rpm", "--srpm", "-o", work+"/out", app)
	build := exec.CommandContext(t.Context(), "rpmbuild", "--rebuild", "--nodeps", "--define", "_topdir "+work+"/top", "--define", "_tmppath "+work, globOne(t, work+"/out/*.src.rpm"))
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	read := func(pattern string) *rpm.Info {
		info, err := rpm.ReadFile(t.Context(), globOne(t, pattern), rpm.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	ours, theirs := read(work+"/out/shop-1.0.0-1.x86_64.rpm"), read(work+"/top/RPMS/*/*.rpm")
	if ours.String() != theirs.String() || ours.Summary != theirs.Summary {
		t.Errorf("rpmbuild made %v, %q; ours is %v, %q", theirs, theirs.Summary, ours, ours.Summary)
	}
	// How files are compressed is for the distribution to say; the scripts require
	// their shell each, and end without an empty line.
	relations := func(list []rpm.Relation) string {
		var all []string
		for _, r := range list {
			if r.Name != "rpmlib(PayloadIsZstd)" && r.Name != "rpmlib(PayloadIsXz)" {
				all = append(all, r.String())
			}
		}
		slices.Sort(all)
		return strings.Join(slices.Compact(all), "\n")
	}
	if a, b := relations(ours.Requires), relations(theirs.Requires); a != b {
		t.Errorf("rpmbuild's requires\n%s\nours\n%s", b, a)
	}
	if a, b := relations(ours.Provides), relations(theirs.Provides); a != b {
		t.Errorf("rpmbuild's provides\n%s\nours\n%s", b, a)
	}
	scripts := func(s rpm.Scripts) []string {
		return []string{strings.TrimSpace(s.PreInstall), strings.TrimSpace(s.PostInstall), strings.TrimSpace(s.PreRemove), strings.TrimSpace(s.PostRemove)}
	}
	if a, b := scripts(ours.Scripts), scripts(theirs.Scripts); !slices.Equal(a, b) {
		t.Errorf("rpmbuild's scripts are %q, ours %q", b, a)
	}
	files := func(list []rpm.File) string {
		var b strings.Builder
		for _, f := range list {
			fmt.Fprintf(&b, "%v %04o %s:%s %s -> %s, %d %x\n", f.Kind, f.Mode, f.Owner, f.Group, f.Path, f.Link, f.Size, f.SHA256)
		}
		return b.String()
	}
	if a, b := files(ours.Files), files(theirs.Files); a != b {
		write(t, work, "a", a, 0o644)
		write(t, work, "b", b, 0o644)
		diff, _ := exec.Command("diff", work+"/a", work+"/b").CombinedOutput() // its status says that they differ
		t.Errorf("the files differ:\n%s", diff)
	}
}
