package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What somebody writes into dependencies.txt while add asks the index stays.
func TestAddMeanwhile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	app, pool := filepath.Join(dir, "app"), filepath.Join(dir, "pool")
	write(t, app, "external-dependencies.txt", "", 0o644)
	write(t, app, "bin/app", "#!/bin/sh\n", 0o755)
	write(t, pool, "README", "", 0o644)
	if err := writeWheel(filepath.Join(pool, "word-1-py3-none-any.whl"), ""); err != nil {
		t.Fatal(err)
	}
	files := indexOf(pool)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		write(t, app, "dependencies.txt", "# from an editor\n", 0o644)
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	run := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "appbundle", append(args, "--index-url", server.URL+"/simple/", "--cache-dir", filepath.Join(dir, "cache"), app)...)
		cmd.Env = append(os.Environ(), raceEnv, "PIP_CONFIG_FILE=/dev/null")
		out, _ := cmd.CombinedOutput() // what it says tells how it ended
		return string(out)
	}
	write(t, app, "dependencies.txt", "", 0o644)
	run("lock", "--python", "3.11")
	write(t, app, "dependencies.txt", "# before\n", 0o644)
	const want = "appbundle: dependencies.txt: has changed meanwhile; try again\n"
	if said := run("add", "word"); said != want {
		t.Errorf("add said %q, want %q", said, want)
	}
	if said := run("add", "word"); !strings.Contains(said, "dependencies.txt:2: added word\n") {
		t.Errorf("add again said %q", said)
	}
}
