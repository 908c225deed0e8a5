package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"appbundle/bundle"
)

// A SIGKILL, a full disk or a broken one at any operation of a build leaves the
// archive of the build before whole, or the new one, in every format; the next
// build succeeds.
func TestCrashArchives(t *testing.T) {
	for _, kind := range bundle.ArchiveTypes() {
		for how := range faults {
			t.Run(string(kind)+"/"+how, func(t *testing.T) {
				t.Parallel()
				crashArchive(t, "out."+string(kind), how)
			})
		}
	}
}

func crashArchive(t *testing.T, name, how string) {
	dir := t.TempDir()
	app, out, mark := filepath.Join(dir, "shop"), filepath.Join(dir, name), filepath.Join(dir, "mark")
	write(t, app, "dependencies.txt", "", 0o644)
	write(t, app, "external-dependencies.txt", "", 0o644)
	write(t, app, "app.ini", "[app]\nname = shop\nversion = 1.0.0\ninterface = exec\n", 0o644)
	build := func(fault string) (string, *os.ProcessState) {
		cmd := exec.CommandContext(t.Context(), "appbundle", "build", "-o", out, app)
		cmd.Env = append(os.Environ(), raceEnv, faultEnv+"="+fault)
		said, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return string(said), cmd.ProcessState
	}
	whole := func(text string) []byte {
		write(t, app, "bin/app", text, 0o755)
		if said, state := build(""); !state.Success() {
			t.Fatalf("%v\n%s", state, said)
		}
		archive, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		return archive
	}
	old, fresh := whole("#!/bin/sh\n"), whole("#!/bin/sh\nexit 1\n")
	for n := 1; ; n++ {
		if err := os.WriteFile(out, old, 0o644); err != nil {
			t.Fatal(err)
		}
		said, state := build(fmt.Sprintf("%s %d %s", how, n, mark))
		what, err := os.ReadFile(mark)
		if err != nil {
			if got, _ := os.ReadFile(out); !state.Success() || !bytes.Equal(got, fresh) || n < 6 {
				t.Errorf("%v after %d operations:\n%s", state, n-1, said)
			}
			return
		}
		got, rerr := os.ReadFile(out)
		if rerr != nil || os.Remove(mark) != nil || !bytes.Equal(got, old) && !bytes.Equal(got, fresh) {
			t.Errorf("%s at operation %d, %s: the archive is neither the old one nor the new one: %v", how, n, what, rerr)
		}
		if how == "KILL" {
			continue
		}
		notWhole(t, dir)
		if state.ExitCode() != 3 || !strings.Contains(said, faults[how].Error()) || strings.Contains(said, "ab1:") {
			t.Errorf("%s at operation %d, %s: %v\n%s", how, n, what, state, said)
		}
	}
}
