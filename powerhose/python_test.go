package powerhose

import (
	"archive/zip"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestPython builds the wheel of powerhose/python, installs it into a virtual
// environment, and runs the tests of powerhose/python/tests against what was
// installed. That environment sees pyzmq, gevent, gunicorn, mypy and PyNaCl of
// out/servers.
func TestPython(t *testing.T) {
	servers, err := filepath.Abs("../out/servers")
	if err != nil {
		t.Fatal(err)
	}
	python := filepath.Join(servers, "bin/python")
	if _, err := os.Stat(python); err != nil {
		t.Fatalf("%v; tools/setup test makes it", err)
	}
	readAll(t, "python")
	dir := t.TempDir()
	run(t, python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", dir, "./python")
	wheels, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil || len(wheels) != 1 {
		t.Fatalf("pip wheel made %v (%v)", wheels, err)
	}
	wheelIsWhole(t, wheels[0])

	env := filepath.Join(dir, "env")
	run(t, python, "-m", "venv", "--without-pip", env)
	run(t, python, "-m", "pip", "--python", filepath.Join(env, "bin/python"), "install", "--quiet", "--no-deps", "--no-index", wheels[0])
	site := run(t, filepath.Join(env, "bin/python"), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
	theirs := run(t, python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
	if err := os.WriteFile(filepath.Join(strings.TrimSpace(site), "servers.pth"), []byte(theirs), 0o644); err != nil {
		t.Fatal(err)
	}

	t.Run("types", func(t *testing.T) {
		t.Parallel()
		run(t, filepath.Join(env, "bin/python"), "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", filepath.Join(dir, "mypy"), "-p", "powerhose")
	})
	t.Run("tcp", func(t *testing.T) {
		t.Parallel()
		pythonOverTCP(t, filepath.Join(env, "bin/python"))
	})
	t.Run("tests", func(t *testing.T) {
		t.Parallel()
		out := run(t, filepath.Join(env, "bin/python"), "-W", "error", "-m", "unittest", "discover", "-s", "python/tests")
		if !strings.Contains(out, "\nOK\n") || strings.Contains(out, "Exception ignored") {
			t.Errorf("skipped tests, or something that was left open:\n%s", out)
		}
	})
}

// readAll reads a tree, so that go test knows that the result depends on it.
func readAll(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			_, err = os.ReadFile(name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// wheelIsWhole looks into the wheel: it is for every platform, what is typed says
// so, and nothing else is needed to run it, except for TCP.
func wheelIsWhole(t *testing.T, path string) {
	t.Helper()
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if !strings.HasSuffix(path, "-py3-none-any.whl") {
		t.Errorf("%s is not a wheel for every platform", path)
	}
	var names []string
	for _, f := range z.File {
		names = append(names, f.Name)
		if !strings.HasSuffix(f.Name, ".dist-info/METADATA") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		metadata, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		needs := "Requires-Dist: PyNaCl>=1.5 ; extra == \"curve\"\n"
		if !strings.Contains(string(metadata), "Name: appbundle-powerhose\n") || !strings.Contains(string(metadata), needs) ||
			strings.Count(string(metadata), "Requires-Dist") != 1 {
			t.Errorf("METADATA of %s:\n%s", path, metadata)
		}
	}
	for _, want := range []string{"powerhose/__init__.py", "powerhose/py.typed", "powerhose/aio.py"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not in the wheel: %v", want, names)
		}
	}
}

// run runs a command to its end, and returns what it wrote.
func run(t *testing.T, argv ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	// The tree may belong to somebody else, and stays as it is.
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "PIP_DISABLE_PIP_VERSION_CHECK=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
	return string(out)
}
