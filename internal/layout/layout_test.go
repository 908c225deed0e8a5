package layout

import (
	"flag"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

var update = flag.Bool("update", false, "write the table into docs/ARCHITECTURE.md")

// The project itself keeps to its table, and so does each example that is a module.
func TestTree(t *testing.T) {
	trees := map[string]bool{}
	for _, tr := range tables {
		trees[tr.dir] = true
		found, err := Check(os.DirFS("../../"+tr.dir), tr.module, tr.packages, tr.modules)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			f.File = path.Join(tr.dir, f.File)
			t.Error(f)
		}
	}
	examples, err := fs.Glob(os.DirFS("../.."), "examples/*/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, mod := range examples {
		if !trees[path.Dir(mod)] {
			t.Errorf("%s: the module has no table in internal/layout", mod)
		}
	}
}

// Each module has its decision record.
func TestRecords(t *testing.T) {
	for _, m := range append(slices.Clone(modules), tokenAppModules...) {
		text, err := os.ReadFile("../../docs/decisions/" + m.Record)
		if err != nil {
			t.Error(err)
			continue
		}
		if !strings.Contains(string(text), m.Path) {
			t.Errorf("docs/decisions/%s does not name %s", m.Record, m.Path)
		}
	}
}

// docs/ARCHITECTURE.md shows the table as it is.
func TestMarkdown(t *testing.T) {
	const (
		name  = "../../docs/ARCHITECTURE.md"
		begin = "<!-- packages: written by make golden -->\n"
		end   = "<!-- end of packages -->\n"
	)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	got, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no lines %q and %q", name, begin, end)
	}
	want := Markdown()
	if got == want {
		return
	}
	if !*update {
		t.Fatalf("the package table of %s is not that of internal/layout; run make golden", name)
	}
	if err := os.WriteFile(name, []byte(head+begin+want+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Each rule, broken once.
func TestCheck(t *testing.T) {
	rows := []Package{
		{Path: "low", May: []string{"low/..."}, Why: "it is the lowest"},
		{Path: "low/lowtest"},
		{Path: "high", May: []string{"low"}},
		{Path: "cmd/tool", May: []string{"high"}},
	}
	mods := []Module{
		{"example.org/good/v2", []string{"high"}, "0001-good.md"},
		{"example.org/test", nil, "0002-test.md"},
	}
	base := map[string]string{
		"low/low.go": "// Package low is low.\npackage low\n",
		// A package for tests may run commands.
		"low/lowtest/lowtest.go": "// Package lowtest helps.\npackage lowtest\nimport _ \"os/exec\"\n",
		"high/high.go":           "// Package high is high.\npackage high\nimport _ \"appbundle/low\"\n",
		"cmd/tool/tool.go":       "// Command tool is a tool.\npackage main\nimport _ \"os/exec\"\n",
	}
	tests := []struct {
		name  string
		files map[string]string // beside base; "" removes
		want  string
	}{
		{"nothing", nil, ""},
		{"an arrow upwards", map[string]string{"low/a.go": "package low\nimport _ \"appbundle/high\"\n"},
			"low/a.go:2: low must not import high: it is the lowest"},
		{"an arrow upwards behind a build tag", map[string]string{"low/a_plan9.go": "//go:build never\n\npackage low\nimport _ \"appbundle/high\"\n"},
			"low/a_plan9.go:4: low must not import high: it is the lowest"},
		{"an arrow upwards in a test", map[string]string{"low/a_test.go": "package low_test\nimport _ \"appbundle/low\"\nimport _ \"appbundle/high\"\n"},
			"low/a_test.go:3: low must not import high: it is the lowest"},
		{"a guard that all may use", map[string]string{"low/a.go": "package low\nimport _ \"appbundle/internal/invariant\"\n"}, ""},
		{"an unknown package", map[string]string{"util/util.go": "// Package util is.\npackage util\n"},
			"util: is not in the table of internal/layout; a new package needs a row there and a record in docs/decisions"},
		{"an unknown package below a known one", map[string]string{"low/x/x.go": "// Package x is.\npackage x\n"},
			"low/x: is not in the table of internal/layout; a new package needs a row there and a record in docs/decisions"},
		{"a row without a package", map[string]string{"high/high.go": ""},
			"high: is in the table of internal/layout and not in the tree; the table says what there is, not what there will be"},
		{"no comment", map[string]string{"low/low.go": "package low\n", "low/low_test.go": "// Package low is tested.\npackage low\n"},
			"low: has no package comment; it is the specification: purpose, promise, limits"},
		{"os/exec", map[string]string{"low/a.go": "package low\nimport \"os/exec\"\n"},
			"low/a.go:2: low must not import os/exec: its Wait hangs on pipes that grandchildren hold; only cmd runs commands, and runner/internal/proc has its own system calls"},
		{"os/exec in a test", map[string]string{"low/a_test.go": "package low\nimport \"os/exec\"\n"}, ""},
		{"an unknown module", map[string]string{"low/a_test.go": "package low\nimport \"example.org/other\"\n"},
			"low/a_test.go:2: example.org/other is of a module that nobody decided on; a new module needs a record in docs/decisions and a row in internal/layout"},
		{"a module's user", map[string]string{"high/a.go": "package high\nimport \"example.org/good/v2/sub\"\n"}, ""},
		{"not a module's user", map[string]string{"low/a.go": "package low\nimport \"example.org/good/v2/sub\"\n"},
			"low/a.go:2: low must not import example.org/good/v2: docs/decisions/0001-good.md says who uses it"},
		{"a module for tests", map[string]string{"low/a_test.go": "package low\nimport \"example.org/test/x\"\n"}, ""},
		{"a sleep", map[string]string{"low/a_test.go": "package low\nfunc f() {\n\ttime.Sleep(1)\n}\n"},
			"low/a_test.go:3: a test must not sleep: wait for what it waits for, or run in synctest.Test"},
		{"a sleep in a bubble", map[string]string{"low/a_test.go": "package low\nfunc f() {\n\tsynctest.Test(t, func(t *testing.T) { time.Sleep(1) })\n}\n"}, ""},
		{"a sleep in the code", map[string]string{"low/a.go": "package low\nfunc f() {\n\ttime.Sleep(1)\n}\n"}, ""},
		{"what is not of the tree", map[string]string{
			"low/testdata/x/x.go": "package x\n",
			"other/go.mod":        "module other\n",
			"other/x.go":          "package x\n",
			".venv/x.go":          "package x\n",
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tree := fstest.MapFS{}
			for _, files := range []map[string]string{base, tt.files} {
				for name, text := range files {
					if text == "" {
						delete(tree, name)
						continue
					}
					tree[name] = &fstest.MapFile{Data: []byte(text)}
				}
			}
			found, err := Check(tree, "appbundle", rows, mods)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range found {
				got = append(got, f.String())
			}
			if got := strings.Join(got, "\n"); got != tt.want {
				t.Errorf("Check = \n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// To a module of an example the project is a module like any other.
func TestCheckExample(t *testing.T) {
	tree := fstest.MapFS{
		"low/low.go": {Data: []byte("// Package low is low.\npackage low\nimport _ \"appbundle/lib\"\nimport _ \"appbundle/lib/internal/x\"\nimport _ \"appbundle/examples/x/high\"\n")},
		"high/h.go":  {Data: []byte("// Package high is high.\npackage high\nimport _ \"appbundle/examples/x/low\"\nimport _ \"appbundle/other\"\n")},
	}
	found, err := Check(tree, "appbundle/examples/x",
		[]Package{{Path: "low", Why: "it is the lowest"}, {Path: "high", May: []string{"low"}}},
		[]Module{{"appbundle/lib", []string{"low"}, "0001-lib.md"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []Finding{
		{"high/h.go", 4, "appbundle/other is of a module that nobody decided on; a new module needs a record in docs/decisions and a row in internal/layout"},
		{"low/low.go", 5, "low must not import high: it is the lowest"},
	}
	if !slices.Equal(found, want) {
		t.Errorf("Check = %v, want %v", found, want)
	}
}

// A file that does not parse is an error, not a finding.
func TestCheckUnreadable(t *testing.T) {
	tree := fstest.MapFS{"low/low.go": {Data: []byte("package\n")}}
	if _, err := Check(tree, "appbundle", nil, nil); err == nil {
		t.Error("Check of a file that does not parse = nil error")
	}
	if _, err := Check(unreadable{}, "appbundle", nil, nil); err == nil {
		t.Error("Check of a tree that cannot be read = nil error")
	}
}

type unreadable struct{}

func (unreadable) Open(name string) (fs.File, error) { return nil, fs.ErrPermission }
