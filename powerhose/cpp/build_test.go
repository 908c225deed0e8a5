package cpp

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// strict is how everything is compiled: a warning is an error.
var strict = []string{"-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Werror"}

// programs has those of testdata, compiled with the sanitizers, once for all
// tests.
var programs struct {
	dir    string
	bytes  func() (string, error)
	worker func() (string, error)
}

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	// Short, since the paths of sockets in it have at most 107 bytes.
	dir, err := os.MkdirTemp("", "cpp")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	programs.dir = dir
	programs.bytes = sync.OnceValues(func() (string, error) { return compile(dir, "bytes") })
	programs.worker = sync.OnceValues(func() (string, error) { return compile(dir, "worker") })
	return m.Run()
}

// read reads the files that a compiler will. So the go command knows of them,
// and does not show the result of an earlier run when one of them has changed.
func read(patterns ...string) error {
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		if len(files) == 0 {
			return fmt.Errorf("%s: no such file", pattern)
		}
		for _, f := range files {
			if _, err := os.ReadFile(f); err != nil {
				return err
			}
		}
	}
	return nil
}

func compile(dir, name string) (string, error) {
	if err := read("include/powerhose/*.hpp", "testdata/"+name+".cpp"); err != nil {
		return "", err
	}
	program := filepath.Join(dir, name)
	args := append(strict[:len(strict):len(strict)], "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
		"-Iinclude", "-o", program, filepath.Join("testdata", name+".cpp"), "-lsodium")
	out, err := exec.Command("g++", args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("g++ %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return program, nil
}

func built(t *testing.T, program func() (string, error)) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// scratch makes a directory of mode 0700 with a short path. It is removed
// after the test.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(programs.dir, "")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
