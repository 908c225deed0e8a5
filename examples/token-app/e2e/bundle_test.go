package e2e

import (
	"debug/elf"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The source tree and the archive conform, and the archive needs nothing of the tree:
// its programs are static, and there is no go.mod that points to the directory above.
func TestBundle(t *testing.T) {
	t.Parallel()
	example, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	appbundle(t, "check", "--strict", example)
	appbundle(t, "check", "--strict", got(t, archive))
	if name := filepath.Base(got(t, archive)); name != "token-app-0.1.0-linux_x86_64.tar.zst" && name != "token-app-0.1.0-linux_aarch64.tar.zst" {
		t.Errorf("the archive is called %s", name)
	}
	dir := unpacked(t)
	appbundle(t, "check", "--strict", dir)
	for _, program := range []string{"bin/app", "bin/crypto-worker"} {
		f, err := elf.Open(filepath.Join(dir, program))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				t.Errorf("%s is linked dynamically", program)
			}
		}
		f.Close()
		data, err := os.ReadFile(filepath.Join(dir, program))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), work) {
			t.Errorf("%s names the directory in which it was built", program)
		}
	}
	for _, name := range []string{"go.mod", "go.sum", "cmd", "workers"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s is in the archive", name)
		}
	}
}

// Built in another directory, the archive is the same bytes.
func TestReproducible(t *testing.T) {
	t.Parallel()
	other, err := buildIn("somewhere/else")
	if err != nil {
		t.Fatal(err)
	}
	one, err := os.ReadFile(got(t, archive))
	if err != nil {
		t.Fatal(err)
	}
	two, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	if string(one) != string(two) {
		t.Error("two builds in different directories differ")
	}
}

// check does not let a line pass with which go.mod does not agree.
func TestLines(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"app.ini", "go.mod", ".appbundleignore", "external-dependencies.txt"} {
		if err := copySources(filepath.Join("..", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	lines, err := os.ReadFile("../dependencies.txt")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "dependencies.txt"), strings.Replace(string(lines), "^5.13", "^4", 1), 0o644)
	said, status := attempt(t, "check", dir)
	if status != 1 || !strings.HasPrefix(said, "dependencies.txt:3:28: AB024 go.mod requires github.com/jackc/pgx/v5 5.") {
		t.Errorf("check: status %d, %s", status, said)
	}
}

// "make run" in a clone builds the tool and the example, and runs the demo: the line
// for curl that it prints gives a token. Ctrl-C ends all of it.
func TestMakeRun(t *testing.T) {
	t.Parallel()
	root := filepath.Join(work, "clone")
	for _, part := range []string{"Makefile", "bundle", "cmd", "export", "install", "resolve", "rpm", "runner", "scaffold", "schema", "trust"} {
		if err := copySources(filepath.Join(project, part), filepath.Join(root, part)); err != nil {
			t.Fatal(err)
		}
	}
	if err := copyProject(root); err != nil {
		t.Fatal(err)
	}
	s := supervise(t, "make", "-C", root, "run", "RUN=--bind 127.0.0.1:0 --run-dir "+work+"/r --state-dir "+work+"/t")
	line := strings.TrimSpace(s.after("a token by curl:"))
	given := given{}
	if out := output(t, work, "sh", "-c", line); json.Unmarshal([]byte(out), &given) != nil || given.ID == "" || given.Key == "" {
		t.Errorf("%s\n%s", line, out)
	}
	if err := syscall.Kill(-s.cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.done:
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
	for name, pid := range s.pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("%s, pid %d, is left: %v", name, pid, err)
		}
	}
}
