package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"appbundle/internal/atomicfile"
)

// A full disk or a broken one at any operation of init leaves nothing of what it
// would make, and a SIGKILL whole files only; the next run makes what a run
// without a fault does.
func TestCrashInit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := func(app, fault string) (string, *os.ProcessState) {
		cmd := exec.CommandContext(t.Context(), "appbundle", "init", "--name", "shop", app)
		cmd.Env = append(os.Environ(), raceEnv, faultEnv+"="+fault)
		said, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return string(said), cmd.ProcessState
	}
	project := func(name string) string {
		app := filepath.Join(dir, name)
		write(t, app, "main.py", "from fastapi import FastAPI\napp = FastAPI()\n", 0o644)
		return app
	}
	files := func(app string) map[string]string {
		all := map[string]string{}
		for name, text := range readTree(t, app) {
			all[strings.TrimPrefix(name, app)] = text
		}
		return all
	}
	before, whole := files(project("before")), project("whole")
	if said, state := run(whole, ""); !state.Success() {
		t.Fatalf("%v\n%s", state, said)
	}
	want := files(whole)
	for how := range faults {
		n := 1
		for ; ; n++ {
			app, mark := project(fmt.Sprintf("%s%d", how, n)), filepath.Join(dir, fmt.Sprintf("mark-%s%d", how, n))
			said, state := run(app, fmt.Sprintf("%s %d %s", how, n, mark))
			what, err := os.ReadFile(mark)
			if err != nil {
				if !state.Success() {
					t.Fatalf("%v without a fault:\n%s", state, said)
				}
				break
			}
			left := files(app)
			if how != "KILL" {
				if code := state.ExitCode(); code != 3 || !strings.Contains(said, "nothing is made: ") || !strings.Contains(said, faults[how].Error()) {
					t.Errorf("%s at %s: %v\n%s", how, what, state, said)
				}
				if !maps.Equal(left, before) {
					t.Errorf("%s at %s left %v", how, what, left)
				}
			}
			for name, text := range left {
				if _, temporary := atomicfile.Temporary(filepath.Base(name)); !temporary && text != want[name] {
					t.Errorf("%s at %s: %s is %q", how, what, name, text)
				}
			}
			if said, state := run(app, ""); !state.Success() {
				t.Errorf("the run after %s at %s: %v\n%s", how, what, state, said)
			}
			if after := files(app); !maps.Equal(after, want) {
				t.Errorf("the run after %s at %s has made %v", how, what, after)
			}
		}
		if n < 15 {
			t.Errorf("%s: only %d operations", how, n-1)
		}
	}
}
