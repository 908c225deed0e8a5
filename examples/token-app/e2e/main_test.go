package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what must come; it is only there to fail.
const patience = 2 * time.Minute

// work is the directory of all tests. Its path is short: sockets are below it.
var work string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if work, err = os.MkdirTemp("", "e2e"); err == nil {
		err = os.Chmod(work, 0o755) // its owner may make sockets below it, and nobody else
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(work)
	return m.Run()
}

const project = "../../.."

// tool is appbundle as it is released.
var tool = sync.OnceValues(func() (string, error) {
	at := filepath.Join(work, "bin", "appbundle")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w -X main.version=0.1.0", "-o", at, "./cmd/appbundle")
	build.Dir, build.Env = project, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if said, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %s", err, said)
	}
	return at, nil
})

// archive is the bundle, built from a copy of its sources.
var archive = sync.OnceValues(func() (string, error) { return buildIn("a") })

// buildIn copies the sources below a directory of its own, and builds the bundle
// there: the tests leave nothing in the tree. The go command reads each file by
// itself; that the test does too tells it when the result is an old one.
func buildIn(name string) (string, error) {
	at, err := tool()
	if err != nil {
		return "", err
	}
	root := filepath.Join(work, name)
	if err := copyProject(root); err != nil {
		return "", err
	}
	said, err := exec.Command(at, "build", "-o", filepath.Join(root, "out")+"/", filepath.Join(root, "examples/token-app")).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("appbundle build: %v: %s", err, said)
	}
	found, err := filepath.Glob(filepath.Join(root, "out", "*"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("appbundle build has written %q (%v): %s", found, err, said)
	}
	return found[0], nil
}

// copyProject copies the example, and what it needs of the directories above, to
// root.
func copyProject(root string) error {
	for _, part := range []string{"go.mod", "go.sum", "powerhose", "internal", "examples/token-app"} {
		if err := copySources(filepath.Join(project, part), filepath.Join(root, part)); err != nil {
			return err
		}
	}
	return nil
}

// copySources copies what a build needs.
func copySources(from, to string) error {
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		switch name := d.Name(); {
		case d.IsDir() && (name == "testdata" || name == "bin" || name == "wheels" || name == "__pycache__" || name == ".appbundle"):
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		case !d.Type().IsRegular() || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		at := filepath.Join(to, rel)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		return os.WriteFile(at, data, info.Mode().Perm()|0o444)
	})
}

// got is a value that was made once for all tests.
func got(t *testing.T, make func() (string, error)) string {
	t.Helper()
	v, err := make()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// output runs a command in a directory, and gives what it says on standard output.
func output(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	var said strings.Builder
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stderr = dir, &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(name), strings.Join(args, " "), err, out, said.String())
	}
	return string(out)
}

// appbundle runs the tool.
func appbundle(t *testing.T, args ...string) string {
	t.Helper()
	return output(t, work, got(t, tool), args...)
}

// unpacked makes a directory of the bundle, whose name has a blank.
func unpacked(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "my app")
	appbundle(t, "unpack", got(t, archive), dir)
	return dir
}

func write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
