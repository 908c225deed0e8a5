package install

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"appbundle/schema/pep508"
)

func TestAsk(t *testing.T) {
	ctx, cache, path := context.Background(), t.TempDir(), python(t)
	first, err := Ask(ctx, path, cache)
	if err != nil {
		t.Fatal(err)
	}
	target, err := first.Target()
	if err != nil || target.Env.SysPlatform == "" || !strings.HasPrefix(target.Name, "cp3") || len(target.Tags) < 100 {
		t.Errorf("%+v, %v", target, err)
	}
	again, err := Ask(ctx, path, cache)
	if err != nil || again.Path != first.Path || again.Magic != first.Magic || again.Env.PythonFullVersion != first.Env.PythonFullVersion {
		t.Errorf("from the cache %+v, %v", again, err)
	}
	// A link of another name is another question, with the same answer.
	link := filepath.Join(t.TempDir(), "python3")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	other, err := Ask(ctx, link, cache)
	if err != nil || other.Executable != first.Executable || other.Path != link {
		t.Errorf("through a link %+v, %v", other, err)
	}
	script := filepath.Join(t.TempDir(), "python3")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec '"+path+"' \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if other, err := Ask(ctx, script, cache); err != nil || other.Executable != first.Executable {
		t.Errorf("through a script %+v, %v", other, err)
	}
	if n := strings.Count(list(t, cache), "\n"); n != 2 {
		t.Errorf("%d answers are kept", n)
	}
}

// What an interpreter says is judged, whoever it is.
func TestAskNo(t *testing.T) {
	for _, c := range []struct{ says, want string }{
		{`{"env": {"implementation_name": "pypy", "platform_python_implementation": "PyPy"}}`, "is PyPy, and only CPython is supported"},
		{`{"env": {"implementation_name": "cpython", "python_version": "3.6", "python_full_version": "3.6.15"}}`, "is Python 3.6.15, and 3.7 and later are supported"},
		{`{"env": {"implementation_name": "cpython"}}`, "is Python , and 3.7 and later are supported"},
		{`Python 2.7`, "is no Python 3: invalid character 'P' looking for beginning of value"},
	} {
		script := filepath.Join(t.TempDir(), "python3")
		if err := os.WriteFile(script, []byte("#!/bin/sh\necho '"+c.says+"'\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := Ask(context.Background(), script, ""); err == nil || err.Error() != script+": "+c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// The last words of an interpreter that dies while it compiles are in the error.
func TestCompilerDies(t *testing.T) {
	req := shop(t).request(t)
	real, err := Ask(context.Background(), req.Python, "")
	if err != nil {
		t.Fatal(err)
	}
	fake := *real
	fake.Executable = filepath.Join(t.TempDir(), "python3")
	if err := os.WriteFile(fake.Executable, []byte("#!/bin/sh\nread line\necho 'no memory' >&2\nexit 7\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	p, err := makePlan(context.Background(), &req)
	if err != nil {
		t.Fatal(err)
	}
	p.python, p.req.Compile = &fake, true
	c := &cache{dir: req.Cache}
	release, err := c.share(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	_, err = p.prepare(context.Background(), c, &Result{})
	if err == nil || !strings.Contains(err.Error(), "the interpreter ended: "+fake.Executable+": exit status 7: no memory") {
		t.Errorf("got %v", err)
	}
}

func TestTarget(t *testing.T) {
	linux := pep508.Env{PythonVersion: "3.11", PythonFullVersion: "3.11.7", PlatformMachine: "x86_64"}
	mac := pep508.Env{PythonVersion: "3.13", PythonFullVersion: "3.13.0b1+", PlatformMachine: "arm64"}
	for _, c := range []struct {
		i    Interpreter
		want string
	}{
		{Interpreter{Env: linux, Bits: 64, Libc: "glibc 2.36"}, "cp311-manylinux_2_36_x86_64"},
		{Interpreter{Env: linux, Bits: 32, Libc: "glibc 2.36"}, "cp311-manylinux_2_36_i686"},
		{Interpreter{Env: linux, Bits: 64, Libc: "musl 1.2"}, "cp311-musllinux_1_2_x86_64"},
		{Interpreter{Env: mac, Bits: 64, MacOS: "14.5.1", Threaded: true}, "cp313t-macosx_14_5_arm64"},
		{Interpreter{Env: linux, Bits: 64}, `: no platform has the C library "", macOS ""`},
		{Interpreter{Bits: 64}, `: invalid version ""`},
	} {
		target, err := c.i.Target()
		got := target.Name
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%+v: %s, want %s", c.i, got, c.want)
		}
	}
}

func TestMusl(t *testing.T) {
	const said = "musl libc (x86_64)\nVersion 1.2.4\nDynamic Program Loader\nUsage: ld-musl [options] [--] pathname"
	if got, err := muslVersion(said); got != "musl 1.2" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := muslVersion("error"); err == nil {
		t.Error("a version of nothing")
	}
	i, err := Ask(context.Background(), python(t), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := musl(context.Background(), i.Executable); err != nil && !strings.Contains(err.Error(), "has neither glibc nor musl") {
		t.Error(err)
	}
}

func FuzzTree(f *testing.F) {
	tree := &tree{name: "a", version: "1", info: "a-1.dist-info", files: []treeFile{{"site/a.py", true, 3, "x"}}}
	f.Add(string(tree.encode()))
	f.Fuzz(func(t *testing.T, text string) {
		got := newTreeOf(text)
		if got == nil {
			return
		}
		again := newTreeOf(string(got.encode()))
		if again == nil || len(again.files) != len(got.files) {
			t.Fatalf("%q is read, and not when it is written", text)
		}
	})
}

func newTreeOf(text string) *tree {
	t := &tree{}
	if !t.decode(text) {
		return nil
	}
	return t
}

// In a supervisor somebody else waits for all children, and takes the status of an
// interpreter: the answer is as good without it, and no answer is an error still.
func TestAskWithoutStatus(t *testing.T) {
	path := python(t)
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
			}
			_, _ = unix.Wait4(-1, nil, unix.WNOHANG, nil) // as fast as it can
		}
	}()
	defer func() { close(stop); <-ended }()
	for range 20 {
		if _, err := Ask(t.Context(), path, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := Ask(t.Context(), "/bin/true", ""); err == nil {
			t.Fatal("/bin/true is a Python")
		}
	}
}
