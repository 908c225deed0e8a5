package bundle

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/tools/txtar"
)

const editedApp = `-- bin/app --
#!/bin/sh
-- dependencies.txt --
-r parts/more.txt
-c parts/limits.txt
web
-- parts/more.txt --
base<9
-- parts/limits.txt --
util<2
-- external-dependencies.txt --
`

// The file that is edited is the one that the links lead to, and what others ask
// for is known.
func TestEditDependencies(t *testing.T) {
	for _, c := range []struct{ name, ops, path, err string }{
		{"a file", "", "dependencies.txt", ""},
		{"none", "rm dependencies.txt", "dependencies.txt", ""},
		{"a link inside", "mv dependencies.txt list.txt\nlink list.txt dependencies.txt", "list.txt", ""},
		{"a link out", "rm dependencies.txt\nlink ../x dependencies.txt", "", "dependencies.txt: is a link that leads to no file of the application; make it a plain file"},
		{"a directory", "rm dependencies.txt\nmkdir dependencies.txt", "", "dependencies.txt: is a directory; make it a plain file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "shop")
			write(t, dir, txtar.Parse([]byte(editedApp)), "")
			do(t, dir, c.ops)
			e, err := EditDependencies(dir, false)
			if c.err != "" {
				if err == nil || err.Error() != c.err {
					t.Errorf("got %v, want %s", err, c.err)
				}
				return
			}
			if err != nil || e.Path != c.path || e.Name != "dependencies.txt" {
				t.Fatalf("got %v, %v, want %s", e, err, c.path)
			}
			_, constrained := e.Included("util")
			if d, ok := e.Included("base"); constrained || ok == (c.name == "none") || ok && d.Pos.String() != "parts/more.txt:1:1" {
				t.Errorf("base is included: %v %v, and util: %v", d.Pos, ok, constrained)
			}
		})
	}
}

// SurveyChanged sees the directory with other content, and writes nothing.
func TestSurveyChanged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	write(t, dir, txtar.Parse([]byte(editedApp)), "")
	app, err := SurveyChanged(dir, map[string][]byte{"parts/more.txt": []byte("other\n-r new.txt\n"), "parts/new.txt": []byte("fresh\n")})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"web": true, "base": false, "other": true, "fresh": true} {
		if _, ok := app.Pins[name]; ok != want {
			t.Errorf("%s is asked for: %v", name, ok)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "parts/new.txt")); !os.IsNotExist(err) {
		t.Errorf("new.txt: %v", err)
	}
}
