package bundle

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/tools/txtar"
)

// TestDiff compares two releases by what their files say, as directories and as
// archives: four pairs with one answer.
func TestDiff(t *testing.T) {
	const before = `
-- app.ini --
[app]
name = shop
version = 1.0.0
[watcher:mail]
cmd = bin/mail "a b"
-- dependencies.txt --
-- external-dependencies.txt --
zlib (>=1.2)
zlib; python_version < "3"
bzip2
-- bin/app --
#!/bin/sh
-- pylock.toml --
lock-version = "1.0"
created-by = "hand"
[[packages]]
name = "fork"
vcs = { type = "git", url = "https://h.test/fork.git", commit-id = "aaaa" }
[[packages]]
name = "two"
version = "2.0"
marker = "python_version >= '3.12'"
wheels = [{ url = "https://h.test/two-2.0-py3-none-any.whl", hashes = { sha256 = "0000000000000000000000000000000000000000000000000000000000000000" } }]
[[packages]]
name = "two"
version = "1.0"
marker = "python_version < '3.12'"
wheels = [{ url = "https://h.test/two-1.0-py3-none-any.whl", hashes = { sha256 = "0000000000000000000000000000000000000000000000000000000000000000" } }]
-- go.mod --
module example.org/shop

go 1.24

require example.org/lib v1.0.0
`
	const after = `
-- app.ini --
[app]
name = shop
version = 1.0.0
[watcher:mail]
cmd = bin/mail "a b c"
-- dependencies.txt --
-- external-dependencies.txt --
zlib; python_version < "3"
zlib (>=1.2)
curl
-- bin/app --
#!/bin/sh
-- pylock.toml --
lock-version = "1.0"
created-by = "hand"
[[packages]]
name = "fork"
vcs = { type = "git", url = "https://h.test/fork.git", commit-id = "bbbb" }
[[packages]]
name = "two"
version = "2.0"
wheels = [{ url = "https://h.test/two-2.0-py3-none-any.whl", hashes = { sha256 = "0000000000000000000000000000000000000000000000000000000000000000" } }]
-- go.mod --
module example.org/shop

go 1.24

require example.org/lib v1.0.0

replace example.org/lib => ../lib
`
	const want = `{"pins":[` +
		`{"in":"go.mod","name":"example.org/lib","old":["v1.0.0"],"new":["=\u003e ../lib","v1.0.0"]},` +
		`{"in":"pylock.toml","name":"fork","old":["aaaa"],"new":["bbbb"]},` +
		`{"in":"pylock.toml","name":"two","old":["1.0","2.0"],"new":["2.0"]}],` +
		`"settings":[{"in":"watcher:mail","name":"cmd","old":["bin/mail \"a b\""],"new":["bin/mail \"a b c\""]}],` +
		`"external":[{"in":"external-dependencies.txt","name":"bzip2","old":["bzip2"],"new":[]},{"in":"external-dependencies.txt","name":"curl","old":[],"new":["curl"]}],"unread":[]}`
	dir := t.TempDir()
	sides := [2][]*App{}
	for i, text := range []string{before, after} {
		app := filepath.Join(dir, "app")
		must(t, os.RemoveAll(app))
		write(t, app, txtar.Parse([]byte(text)), "")
		a, err := Load(app)
		must(t, err)
		archive := filepath.Join(dir, "x.tar")
		must(t, os.WriteFile(archive, archiveOf(t, app, Tar), 0o644))
		b, err := Open(archive)
		must(t, err)
		sides[i] = []*App{a, b}
		if d := Diff(a, b); !d.Equal() || len(d.Files)+len(d.Pins)+len(d.Settings)+len(d.External)+len(d.Unread) > 0 {
			t.Errorf("an archive differs from its directory: %+v", d)
		}
	}
	for _, old := range sides[0] {
		for _, fresh := range sides[1] {
			d := Diff(old, fresh)
			got, err := json.Marshal(struct {
				Pins     []Change `json:"pins"`
				Settings []Change `json:"settings"`
				External []Change `json:"external"`
				Unread   []Unread `json:"unread"`
			}{d.Pins, d.Settings, d.External, d.Unread})
			must(t, err)
			if d.Equal() || string(got) != want {
				t.Errorf("Diff = %s, want %s", got, want)
			}
		}
	}
}

// A go.mod that is left out is in no archive, and makes no difference.
func TestDiffLeftOut(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, txtar.Parse([]byte(goodApp)), "")
	must(t, os.WriteFile(filepath.Join(dir, ".appbundleignore"), []byte("go.mod\n"), 0o644))
	without, err := Load(dir)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.org/shop\n\nrequire example.org/lib v1.0.0\n"), 0o644))
	with, err := Load(dir)
	must(t, err)
	if d := Diff(without, with); with.GoMod == nil || !d.Equal() || len(d.Pins)+len(d.Unread) > 0 {
		t.Errorf("Diff = %+v", d)
	}
}
