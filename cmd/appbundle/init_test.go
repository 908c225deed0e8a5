package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// testProjects gives the files of the projects in testdata.
func testProjects(t *testing.T) map[string][]txtar.File {
	t.Helper()
	ar, err := txtar.ParseFile("testdata/projects.txt")
	if err != nil {
		t.Fatal(err)
	}
	projects := map[string][]txtar.File{}
	for _, f := range ar.Files {
		name, file, _ := strings.Cut(f.Name, "/")
		projects[name] = append(projects[name], txtar.File{Name: file, Data: f.Data})
	}
	return projects
}

// What init makes of a project of each framework is locked, installed, served and
// answers, as is what it makes of nothing. The packages are those of the index.
func TestInitServes(t *testing.T) {
	projects := testProjects(t)
	projects["hello"] = nil
	if len(projects) != 5 {
		t.Fatalf("there are %d projects", len(projects))
	}
	for name, files := range projects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := filepath.Join(t.TempDir(), name)
			if err := os.Mkdir(app, 0o755); err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				write(t, app, f.Name, string(f.Data), 0o644)
			}
			output(t, app, "appbundle", "init")
			output(t, app, "appbundle", "lock", "--platform", "host")
			output(t, app, "appbundle", "install")
			output(t, app, "appbundle", "check", "--strict")
			served := runApp(t, app, "--bind", "127.0.0.1:0")
			if body := get(t, served.url); !strings.Contains(body, "hello") {
				t.Errorf("GET / = %q", body)
			}
		})
	}
}
