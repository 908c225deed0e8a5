package resolve_test

import (
	"os"
	"strings"
	"testing"

	"appbundle/resolve"
	"appbundle/resolve/internal/resolvetest"
	"appbundle/schema"
)

const pylockCase = `=== several targets, files of all kinds
app 1 | lib | tool[x]; sys_platform == "linux" | license MIT | python >=3.8
lib 2 | wheel cp311-cp311-manylinux_2_17_x86_64 | wheel cp311-cp311-win_amd64 | uploaded 2024-02-03
lib 1 | wheel py3-none-any | sdist
tool 1 | extra x | lib; extra == "x" | sdist | built
old 3 | yanked it deletes files
direct 1
only 1 | lib
@ build
@ target manylinux_2_28_x86_64 3.11
@ target manylinux_2_28_aarch64 3.11
@ target macosx_14_0_arm64 3.12
? app
? old==3
? only; platform_machine == "x86_64"
? direct @ https://files.example/direct-1-py3-none-any.whl
`

// A resolution becomes a lock that each of its targets can install from, and
// that gives the same resolution when it is preferred.
func TestPyLock(t *testing.T) {
	cases, err := resolvetest.ParseCases(pylockCase)
	if err != nil {
		t.Fatal(err)
	}
	c := cases[0]
	encode := func() (*resolve.Resolution, *schema.PyLock, string) {
		t.Helper()
		r, err := resolve.Lock(t.Context(), c.Universe, c.Request)
		if err != nil {
			t.Fatal(err)
		}
		lock, err := r.PyLock("appbundle")
		if err != nil {
			t.Fatal(err)
		}
		text, err := lock.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return r, lock, string(text)
	}
	r, _, text := encode()
	const golden = "testdata/pylock.toml"
	if *update {
		if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("the lock is\n%s\nwant\n%s", text, want)
	}
	read, problems := schema.ParsePyLock("pylock.toml", []byte(text))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	for i, target := range r.Targets {
		selected, err := read.Select(target.Env, target.Python)
		if err != nil {
			t.Errorf("%s: %v", target.Name, err)
			continue
		}
		var got, want []string
		for _, p := range selected {
			got = append(got, p.Name+" "+p.Version)
		}
		for _, p := range r.Solutions[i].Packages {
			want = append(want, p.Name+" "+p.Version.String())
		}
		if strings.Join(got, ", ") != strings.Join(want, ", ") {
			t.Errorf("%s: the lock selects %v, want %v", target.Name, got, want)
		}
	}
	newer, err := resolvetest.Parse("app 2\nlib 3\nold 4")
	if err != nil {
		t.Fatal(err)
	}
	newer.Each(func(p *resolve.Project) {
		have, err := c.Universe.Project(t.Context(), p.Name)
		if err != nil {
			t.Fatal(err)
		}
		have.Releases = append(have.Releases, p.Releases...)
	})
	c.Request.Locked = resolve.LockedOf(read)
	if _, _, again := encode(); again != text {
		t.Errorf("with the lock and newer releases the lock is\n%s", again)
	}
}
