package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"appbundle/powerhose"
)

var update = flag.Bool("update", false, "rewrite expected texts")

// raceEnv keeps the race detector from sleeping a second at each exit.
const raceEnv = "GORACE=atexit_sleep_ms=0"

// TestMain makes the real main a command of the scripts, under each of the names
// that it is executed under.
func TestMain(m *testing.M) {
	failing := func() {
		lineEvery = time.Hour // on a slow machine too, scripts see what is shown of a fast one
		failOnPurpose(os.Getenv(faultEnv))
		main()
	}
	testscript.Main(m, map[string]func(){"appbundle": failing, "appbundle-supervisor": main, "appbundle-exec": main})
}

// Each script shows a command as a user sees it.
func TestScripts(t *testing.T) {
	example := filepath.Join(t.TempDir(), "wsgi-app")
	copyTree(t, "../../examples/wsgi-app", example)
	python := strings.TrimSpace(output(t, ".", "python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"))
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "conforms": conforms, "index": index, "wheel": wheel, "spoil": spoil, "backend": backend, "sdist": sdist, "ready": ready},
		Setup: func(env *testscript.Env) error {
			env.Setenv("EXAMPLE", example)
			env.Setenv("PY", python)
			env.Setenv("NODOT", strings.ReplaceAll(python, ".", ""))
			env.Setenv("TAG", "cp"+strings.ReplaceAll(python, ".", ""))
			env.Vars = append(env.Vars, raceEnv)
			return nil
		},
	})
}

// ready ADDRESS N waits until the master at ADDRESS has N idle workers.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: ready ADDRESS N")
	}
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		idle := 0
		s, err := powerhose.ReadStatus(context.Background(), ts.MkAbs(args[0]))
		if err == nil {
			for _, w := range s.Workers {
				if w.State == "idle" {
					idle++
				}
			}
		}
		if err == nil && idle == want {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the master at %s has %d idle workers, want %d (%v)", args[0], idle, want, err)
		}
	}
}

// exits N COMMAND... runs the command, which has to end with status N. "! exec"
// would accept every failure, and a panic ends with 2, a usage error here.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N command [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("%s ended with status %d, want %d", args[1], got, want)
	}
}
