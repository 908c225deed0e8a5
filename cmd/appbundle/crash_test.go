package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"appbundle/install"
	"appbundle/internal/atomicfile"
)

// faultEnv makes the command of the tests fail on purpose: "ENOSPC 7 FILE" at its
// seventh operation on the disk, which it tells FILE.
const faultEnv = "APPBUNDLE_TEST_FAULT"

var faults = map[string]syscall.Errno{"ENOSPC": syscall.ENOSPC, "EIO": syscall.EIO, "KILL": 0}

func failOnPurpose(spec string) {
	if spec == "" {
		return
	}
	var how, mark string
	var n int
	if _, err := fmt.Sscan(spec, &how, &n, &mark); err != nil {
		panic(err)
	}
	var mu sync.Mutex
	atomicfile.Intercept(func(op atomicfile.Op, path string) error {
		mu.Lock()
		defer mu.Unlock()
		if n--; n != 0 {
			return nil
		}
		if err := os.WriteFile(mark, []byte(string(op)+" "+path), 0o600); err != nil {
			panic(err)
		}
		if how == "KILL" {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // it is for the whole process, and may come a moment later
		}
		return faults[how]
	})
}

// A crashes is an app that is locked and installed with the first release of a
// package, and asks for the second.
type crashes struct {
	dir, python, index string
	old, new           []byte // locks
}

func newCrashes(t *testing.T) *crashes {
	t.Helper()
	c := &crashes{dir: t.TempDir()}
	python, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	if err != nil {
		t.Fatal(err)
	}
	c.python = strings.TrimSpace(string(python))
	pool := filepath.Join(c.dir, "pool")
	for name, text := range map[string]string{"dependencies.txt": "word==1\n", "external-dependencies.txt": "", "bin/app": "#!/bin/sh\n"} {
		c.put(t, filepath.Join(c.dir, "app", name), text)
	}
	c.put(t, filepath.Join(pool, "README"), "")
	for _, name := range []string{"word-1-py3-none-any.whl", "word-2-py3-none-any.whl"} {
		if err := writeWheel(filepath.Join(pool, name), ""); err != nil {
			t.Fatal(err)
		}
	}
	files := indexOf(pool)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Range") // so that lock downloads whole files too
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	c.index = server.URL + "/simple/"
	app, cache := filepath.Join(c.dir, "app"), filepath.Join(c.dir, "cache")
	c.must(t, app, cache, "lock")
	c.must(t, app, cache, "install")
	c.old = c.read(t, app)
	c.put(t, filepath.Join(app, "dependencies.txt"), "word==2\n")
	c.must(t, app, cache, "lock")
	c.new = c.read(t, app)
	return c
}

func (c *crashes) put(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func (c *crashes) read(t *testing.T, app string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(app, lockFile))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// run runs a command for app, and gives what it said and how it ended.
func (c *crashes) run(t *testing.T, app, cache, fault, command string) (said string, state *os.ProcessState) {
	t.Helper()
	args := map[string][]string{
		"lock":    {"lock", "--platform", "host", "--index-url", c.index},
		"install": {"install"},
	}[command]
	cmd := exec.CommandContext(t.Context(), "appbundle", append(args, "--python", c.python, "--cache-dir", cache, app)...)
	cmd.Env = append(os.Environ(), raceEnv, "PIP_CONFIG_FILE=/dev/null", "HOME="+c.dir, faultEnv+"="+fault)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState
}

func (c *crashes) must(t *testing.T, app, cache, command string) {
	t.Helper()
	if said, state := c.run(t, app, cache, "", command); !state.Success() {
		t.Fatalf("%s: %v\n%s", command, state, said)
	}
}

// A SIGKILL, a full disk or a broken one at any operation of lock and install
// leaves the old state whole or the new one, and a cache with which the next run
// succeeds; that run clears what the killed one left.
func TestCrash(t *testing.T) {
	c := newCrashes(t)
	for _, command := range []string{"lock", "install"} {
		for how := range faults {
			t.Run(command+"/"+how, func(t *testing.T) {
				t.Parallel()
				n := 1
				for c.crash(t, command, how, n) {
					n++
				}
				if n < 15 {
					t.Errorf("only %d operations", n-1)
				}
			})
		}
	}
}

// crash lets one run fail at operation n and the next succeed, and reports
// whether there were as many operations.
func (c *crashes) crash(t *testing.T, command, how string, n int) bool {
	dir := t.TempDir()
	app, cache, mark := filepath.Join(dir, "app"), filepath.Join(dir, "cache"), filepath.Join(dir, "mark")
	for _, part := range []string{"app", "cache/interpreters"} {
		if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join(c.dir, part))); err != nil {
			t.Fatal(err)
		}
	}
	if command == "lock" {
		c.put(t, filepath.Join(app, lockFile), string(c.old))
	}
	said, state := c.run(t, app, cache, fmt.Sprintf("%s %d %s", how, n, mark), command)
	what, err := os.ReadFile(mark)
	if err != nil {
		if !state.Success() {
			t.Fatalf("%v without a fault:\n%s", state, said)
		}
		return false
	}
	c.judgeEnd(t, how, said, state)
	lock, env := c.read(t, app), c.word(t, app)
	if !bytes.Equal(lock, c.new) && (command == "install" || !bytes.Equal(lock, c.old)) {
		t.Errorf("the lock is\n%s", lock)
	}
	if env != "1" && (env != "2" || command == "lock") {
		t.Errorf("the environment has word %q", env)
	}
	if how != "KILL" {
		notWhole(t, dir)
	}
	if how != "EIO" { // which leaves what ENOSPC leaves
		c.again(t, app, cache, command)
	}
	if t.Failed() {
		t.Fatalf("after %s at operation %d, %s; %v said\n%s", how, n, what, state, said)
	}
	return true
}

// again runs the command without a fault.
func (c *crashes) again(t *testing.T, app, cache, command string) {
	t.Helper()
	c.must(t, app, cache, command)
	if got := c.read(t, app); !bytes.Equal(got, c.new) {
		t.Errorf("afterwards the lock is\n%s", got)
	}
	if got := c.word(t, app); command == "install" && got != "2" {
		t.Errorf("afterwards the environment has word %q", got)
	}
	notWhole(t, filepath.Dir(app))
	if found, err := install.Verify(t.Context(), install.VerifyRequest{Dir: cache}); err != nil || len(found) > 0 {
		t.Errorf("the cache is damaged: %v, %v", found, err)
	}
}

// judgeEnd says whether a command with a fault ended as it should: a cache that
// cannot be written is worth a warning, everything else is a failure in one
// sentence.
func (c *crashes) judgeEnd(t *testing.T, how, said string, state *os.ProcessState) {
	t.Helper()
	if how == "KILL" {
		if s, ok := state.Sys().(syscall.WaitStatus); !ok || s.Signal() != syscall.SIGKILL {
			t.Errorf("it ended with %v", state)
		}
		return
	}
	code := state.ExitCode()
	if code != 0 && code != 3 || !strings.Contains(said, "appbundle: ") || !strings.Contains(said, faults[how].Error()) {
		t.Errorf("it ended with status %d", code)
	}
}

// word imports the package in the environment.
func (c *crashes) word(t *testing.T, app string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), filepath.Join(app, install.EnvDir, "bin/python"), "-I", "-c", "import word; print(word.version)").CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// A full disk at any operation of a build leaves the packages, sources and metadata of
// the build before, until the first file has its name: then all of the build is on the disk.
func TestCrashPackages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	app, out, mark := filepath.Join(dir, "shop"), filepath.Join(dir, "out"), filepath.Join(dir, "mark")
	write(t, app, "dependencies.txt", "", 0o644)
	write(t, app, "external-dependencies.txt", "", 0o644)
	write(t, app, "app.ini", "[app]\nname = shop\nversion = 1.0.0\ninterface = exec\n", 0o644)
	for _, flags := range [][]string{{"--rpm", "--deb", "--collection"}, {"--rpm", "--srpm", "--spec"}} {
		build := func(fault string) (string, *os.ProcessState) {
			cmd := exec.CommandContext(t.Context(), "appbundle", append(append([]string{"build"}, flags...), "-o", out, app)...)
			cmd.Env = append(os.Environ(), raceEnv, faultEnv+"="+fault)
			said, err := cmd.CombinedOutput()
			if cmd.ProcessState == nil {
				t.Fatal(err)
			}
			return string(said), cmd.ProcessState
		}
		if err := os.RemoveAll(out); err != nil {
			t.Fatal(err)
		}
		write(t, app, "bin/app", "#!/bin/sh\n", 0o755)
		if said, state := build(""); !state.Success() {
			t.Fatalf("%v\n%s", state, said)
		}
		old := readTree(t, out)
		write(t, app, "bin/app", "#!/bin/sh\nexit 1\n", 0o755)
		n := 1
		for ; ; n++ {
			said, state := build(fmt.Sprintf("ENOSPC %d %s", n, mark))
			what, err := os.ReadFile(mark)
			if err != nil || os.Remove(mark) != nil {
				t.Fatalf("%v: no fault in operation %d: %v\n%s", flags, n, err, said)
			}
			if state.ExitCode() != 3 || !strings.Contains(said, syscall.ENOSPC.Error()) || strings.Contains(said, "sha256:") {
				t.Errorf("%v: %s: %v\n%s", flags, what, state, said)
			}
			notWhole(t, dir)
			if !maps.Equal(readTree(t, out), old) {
				t.Fatalf("%v: %s at operation %d changed something", flags, what, n)
			}
			if strings.HasPrefix(string(what), string(atomicfile.OpRename)) { // the first
				break
			}
		}
		if n < 15 {
			t.Errorf("%v: only %d operations before the first rename", flags, n)
		}
	}
}

// A SIGKILL, a full disk or a broken one at any operation of add and remove leaves
// each file whole: dependencies.txt is the old or the new one, a lock too, and where
// nothing could be written both are the old ones. The next run does what was asked
// for, and clears what the killed one left. (The lock gets its name first.)
func TestCrashEdit(t *testing.T) {
	c := newCrashes(t)
	c.crashEdit(t, "add", "KILL", 1<<20) // asks the interpreter, for the cache
	for _, command := range []string{"add", "remove"} {
		for how := range faults {
			t.Run(command+"/"+how, func(t *testing.T) {
				t.Parallel()
				n := 1
				for c.crashEdit(t, command, how, n) {
					n++
				}
				if n < 12 {
					t.Errorf("only %d operations", n-1)
				}
			})
		}
	}
}

// crashEdit lets one run fail at operation n and the next succeed, and reports
// whether there were as many operations.
func (c *crashes) crashEdit(t *testing.T, command, how string, n int) bool {
	dir := t.TempDir()
	app, mark := filepath.Join(dir, "app"), filepath.Join(dir, "mark")
	cache := filepath.Join(c.dir, "cache") // which has all that is asked for, so that the operations are those of the edit
	args := map[string][]string{"add": {"add", "word<2"}, "remove": {"remove", "word"}}[command]
	after := map[string]string{"add": "# words\r\nword<2 # one\r\n", "remove": "# words\r\n"}[command]
	const before = "# words\r\nword==2 # one\r\n"
	c.put(t, filepath.Join(app, "dependencies.txt"), before)
	c.put(t, filepath.Join(app, lockFile), strings.ReplaceAll(string(c.new), "\n\"dependencies.txt\" = ", "\n# it is stale\n\"dependencies.txt\" = "))
	stale := c.read(t, app)
	run := func(fault string) (string, *os.ProcessState) {
		cmd := exec.CommandContext(t.Context(), "appbundle", append(args, "--index-url", c.index, "--cache-dir", cache, app)...)
		cmd.Env = append(os.Environ(), raceEnv, "PIP_CONFIG_FILE=/dev/null", "HOME="+c.dir, faultEnv+"="+fault)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState
	}
	state := func() (string, bool) {
		text, err := os.ReadFile(filepath.Join(app, "dependencies.txt"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text), bytes.Equal(c.read(t, app), stale)
	}
	said, ended := run(fmt.Sprintf("%s %d %s", how, n, mark))
	what, err := os.ReadFile(mark)
	if err != nil {
		if !ended.Success() {
			t.Fatalf("%v without a fault:\n%s", ended, said)
		}
		return false
	}
	c.judgeEnd(t, how, said, ended)
	text, old := state()
	switch {
	case text != before && text != after:
		t.Errorf("dependencies.txt is %q", text)
	case text == after && old:
		t.Error("the lines are written and the lock is not: the same command would find nothing to do")
	case how != "KILL" && strings.HasPrefix(string(what), string(atomicfile.OpCreate)+" "+app) && text != before:
		t.Error("something is written, though a file could not be made")
	}
	if how != "KILL" {
		notWhole(t, dir)
	}
	if text == before && how != "EIO" { // which leaves what ENOSPC leaves
		if said, ended := run(""); !ended.Success() {
			t.Errorf("the next run: %v\n%s", ended, said)
		}
		notWhole(t, dir)
	}
	if text, old := state(); how != "EIO" && (text != after || old) {
		t.Errorf("afterwards dependencies.txt is %q, and the lock the old one: %v", text, old)
	}
	if t.Failed() {
		t.Fatalf("after %s at operation %d, %s; %v said\n%s", how, n, what, ended, said)
	}
	return true
}

// A SIGKILL, a full disk or a broken one at any operation of delta and of unpack
// --base leaves nothing under the name of the result, or all of it, and the base and
// an older delta as they were.
func TestCrashDelta(t *testing.T) {
	dir := t.TempDir()
	app := filepath.Join(dir, "shop")
	for _, release := range []string{"1", "2", "3"} {
		write(t, app, "dependencies.txt", "", 0o644)
		write(t, app, "external-dependencies.txt", "", 0o644)
		write(t, app, "app.ini", "[app]\nname = shop\nversion = "+release+".0.0\ninterface = exec\n", 0o644)
		write(t, app, "bin/app", "#!/bin/sh\n", 0o755)
		write(t, app, "lib/"+release, release, 0o644)
		mustRun(t, dir, "build", "-o", release+".tar.zst", app)
	}
	mustRun(t, dir, "unpack", "1.tar.zst", "base")
	mustRun(t, dir, "delta", "1.tar.zst", "2.tar.zst", "-o", "2.delta.tar")
	mustRun(t, dir, "delta", "1.tar.zst", "3.tar.zst", "-o", "3.delta.tar")
	mustRun(t, dir, "unpack", "--base", "base", "3.delta.tar", "whole")
	for _, args := range [][]string{
		{"delta", "1.tar.zst", "3.tar.zst", "-o", "result.tar"},
		{"unpack", "--base", "base", "3.delta.tar", "result"},
		{"unpack", "--base", "1.tar.zst", "3.delta.tar", "result"},
	} {
		for how := range faults {
			t.Run(strings.Join(args, " ")+"/"+how, func(t *testing.T) {
				t.Parallel()
				n := 1
				for crashDelta(t, dir, args, how, n) {
					n++
				}
				if n < 6 {
					t.Errorf("only %d operations", n-1)
				}
			})
		}
	}
}

// mustRun runs a command in dir.
func mustRun(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "appbundle", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), raceEnv)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
}

// crashDelta lets one run fail at operation n, and reports whether there were as
// many operations.
func crashDelta(t *testing.T, from string, args []string, how string, n int) bool {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	result, mark := filepath.Join(dir, args[len(args)-1]), filepath.Join(t.TempDir(), "mark")
	isDelta, whole := args[0] == "delta", filepath.Join(dir, "whole")
	if isDelta {
		if err := os.Rename(filepath.Join(dir, "2.delta.tar"), result); err != nil {
			t.Fatal(err)
		}
		whole = filepath.Join(dir, "3.delta.tar")
	}
	old, fresh, base := readTree(t, result), below(readTree(t, whole), whole), readTree(t, filepath.Join(dir, "base"))
	cmd := exec.CommandContext(t.Context(), "appbundle", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), raceEnv, faultEnv+"="+fmt.Sprintf("%s %d %s", how, n, mark))
	said, _ := cmd.CombinedOutput()
	what, err := os.ReadFile(mark)
	got := readTree(t, result)
	if err != nil {
		if !cmd.ProcessState.Success() || !maps.Equal(below(got, result), fresh) {
			t.Fatalf("%v without a fault:\n%s", cmd.ProcessState, said)
		}
		return false
	}
	if !maps.Equal(got, old) && !maps.Equal(below(got, result), fresh) {
		t.Errorf("%s at operation %d, %s: the result is neither what it was nor whole: %q", how, n, what, got)
	}
	if !maps.Equal(readTree(t, filepath.Join(dir, "base")), base) {
		t.Errorf("%s at operation %d, %s: the base changed", how, n, what)
	}
	if how == "KILL" {
		return true
	}
	notWhole(t, dir)
	if cmd.ProcessState.ExitCode() != 3 || !strings.Contains(string(said), faults[how].Error()) || strings.Contains(string(said), "ab1:") {
		t.Errorf("%s at operation %d, %s: %v\n%s", how, n, what, cmd.ProcessState, said)
	}
	return true
}

// below gives the files of a tree by their paths in it.
func below(tree map[string]string, top string) map[string]string {
	all := map[string]string{}
	for path, text := range tree {
		all[strings.TrimPrefix(path, top)] = text
	}
	return all
}

// readTree gives the files below dir, none where it is not there.
func readTree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if path == dir && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// notWhole finds what is left under a temporary name.
func notWhole(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if _, ok := atomicfile.Temporary(filepath.Base(path)); ok {
			t.Errorf("%s is left", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A SIGKILL, a full disk or a broken one at any operation of check --fix leaves each
// file as it was or as it should be, and the next run does the rest and clears what
// the killed one left.
func TestCrashFix(t *testing.T) {
	t.Parallel()
	for how := range faults {
		n := 1
		for ; ; n++ {
			dir := t.TempDir()
			app, mark := filepath.Join(dir, "shop"), filepath.Join(dir, "mark")
			write(t, app, "dependencies.txt", "", 0o644)
			write(t, app, "app.ini", "[app]\nversion = 1.0.0\n", 0o644)
			write(t, app, "bin/app", "#!/bin/sh\n", 0o644)
			write(t, app, "bin/tool", "#!/bin/sh\r\necho\r\n", 0o755)
			fix := func(fault string) (string, *os.ProcessState) {
				cmd := exec.CommandContext(t.Context(), "appbundle", "check", "--fix", app)
				cmd.Env = append(os.Environ(), raceEnv, faultEnv+"="+fault)
				said, err := cmd.CombinedOutput()
				if cmd.ProcessState == nil {
					t.Fatal(err)
				}
				return string(said), cmd.ProcessState
			}
			said, state := fix(fmt.Sprintf("%s %d %s", how, n, mark))
			what, err := os.ReadFile(mark)
			if err != nil {
				if !state.Success() {
					t.Fatalf("%v without a fault:\n%s", state, said)
				}
				break
			}
			if how != "KILL" && (state.ExitCode() != 3 || !strings.Contains(said, "appbundle: ") || !strings.Contains(said, faults[how].Error())) {
				t.Errorf("%s at %s: %v\n%s", how, what, state, said)
			}
			if text, err := os.ReadFile(filepath.Join(app, "bin/tool")); err != nil || string(text) != "#!/bin/sh\r\necho\r\n" && string(text) != "#!/bin/sh\necho\n" {
				t.Errorf("%s at %s: bin/tool is %q; %v", how, what, text, err)
			}
			if how != "KILL" {
				notWhole(t, dir)
			}
			if said, state := fix(""); !state.Success() {
				t.Errorf("%s at %s, and then %v\n%s", how, what, state, said)
			}
			notWhole(t, dir)
		}
		if n < 10 {
			t.Errorf("%s: only %d operations", how, n-1)
		}
	}
}
