package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"appbundle/internal/atomicfile"
	"appbundle/schema"
)

// victim is a small shelf, so that few operations install it.
func victim(t testing.TB, word string) shelf {
	t.Helper()
	const file = "word-1-py3-none-any.whl"
	return shelf{file: makeWheel(t, file,
		part{name: "word.py", text: "def main():\n    print('" + word + "')\n"},
		part{name: "word-1.dist-info/entry_points.txt", text: "[console_scripts]\nword = word:main\n"})}
}

// says gives the word of the environment, which must be whole.
func says(t testing.TB, dir string) string {
	t.Helper()
	env := filepath.Join(dir, EnvDir)
	for _, name := range []string{"bin/python", "bin/word", "pyvenv.cfg", stampName} {
		if _, err := os.Stat(filepath.Join(env, name)); err != nil {
			t.Error(err)
		}
	}
	found, err := filepath.Glob(filepath.Join(env, "lib/*/site-packages/word.py"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "'")
	word, _, _ := strings.Cut(rest, "'")
	return word
}

// withAnswer gives a new cache that knows the interpreter as the old one does.
func withAnswer(t testing.TB, old string) string {
	t.Helper()
	cache := filepath.Join(t.TempDir(), "cache")
	if err := os.CopyFS(filepath.Join(cache, "interpreters"), os.DirFS(filepath.Join(old, "interpreters"))); err != nil {
		t.Fatal(err)
	}
	return cache
}

// Whichever operation on the disk fails, with whatever error, the environment is
// the old one, nothing is beside it, and the next Sync works with the same cache.
func TestFaults(t *testing.T) {
	old, next := victim(t, "old"), victim(t, "new")
	first := old.request(t)
	first.Compile = true
	sync1(t, first)
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
		t.Run(cause.Error(), func(t *testing.T) {
			n := 0
			for fault := range atomicfile.Faults() {
				req := next.request(t)
				req.Compile, req.Dir, req.Cache = true, first.Dir, withAnswer(t, first.Cache)
				req.fs = atomicfile.FS{Before: func(op atomicfile.Op, path string) error {
					if fault.FS().Before(op, path) != nil {
						return cause
					}
					return nil
				}}
				_, err := Sync(context.Background(), req)
				if (err != nil) != fault.Hit() {
					t.Fatalf("%v: got %v", fault, err)
				}
				if err == nil {
					break
				}
				n++
				if !errors.Is(err, cause) {
					t.Errorf("%v: got %v", fault, err)
				}
				checkOld(t, req)
				if t.Failed() {
					t.Fatalf("after %v", fault)
				}
				if cause == syscall.EIO {
					continue // what fails is the same, and so is what is left
				}
				req.fs = atomicfile.FS{}
				req.Dir = t.TempDir()
				sync1(t, req)
			}
			if n < 40 {
				t.Errorf("only %d operations", n)
			}
			if got := says(t, first.Dir); got != "new" {
				t.Errorf("in the end it says %q", got)
			}
			sync1(t, first) // for the next round
		})
	}
}

// checkOld says whether the old environment is whole, without a trace of a new.
func checkOld(t *testing.T, req Request) {
	t.Helper()
	if got := says(t, req.Dir); got != "old" {
		t.Errorf("it says %q", got)
	}
	for _, dir := range []string{filepath.Dir(filepath.Join(req.Dir, EnvDir)), filepath.Join(req.Cache, wheelsDir)} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") {
				t.Errorf("%s/%s is left", dir, e.Name())
			}
		}
	}
}

// TestMain lets the test binary be a process that kills itself at an operation.
func TestMain(m *testing.M) {
	if n, err := strconv.Atoi(os.Getenv("INSTALL_TEST_DIE_AT")); err == nil {
		os.Exit(dieAt(n))
	}
	os.Exit(m.Run())
}

// dieAt installs what its environment says and dies by SIGKILL before operation
// n. It returns 0 where there were fewer.
func dieAt(n int) int {
	lock, err := os.ReadFile(os.Getenv("INSTALL_TEST_LOCK"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	l, problems := schema.ParsePyLock("pylock.toml", lock)
	if len(problems) > 0 {
		fmt.Fprintln(os.Stderr, problems)
		return 1
	}
	seen := 0
	_, err = Sync(context.Background(), Request{
		Lock: l, Dir: os.Getenv("INSTALL_TEST_DIR"), Python: os.Getenv("INSTALL_TEST_PYTHON"), Cache: os.Getenv("INSTALL_TEST_CACHE"),
		Compile: true, Workers: 1,
		fs: atomicfile.FS{Before: func(atomicfile.Op, string) error {
			if seen++; seen == n {
				return syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
			return nil
		}},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// A SIGKILL before any operation leaves the old environment or the new one, and
// a cache that the next process uses, which clears what was left.
func TestKilled(t *testing.T) {
	old, next := victim(t, "old"), victim(t, "new")
	const file = "word-1-py3-none-any.whl"
	first := old.request(t)
	sync1(t, first)
	req := next.request(t)
	req.Lock.Packages[0].Wheels[0].URL, req.Lock.Packages[0].Wheels[0].Path = "", file
	text, err := req.Lock.Encode()
	if err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(t.TempDir(), "pylock.toml")
	if err := os.WriteFile(lock, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(first.Dir, file), next[file], 0o644); err != nil {
		t.Fatal(err)
	}
	killed := 0
	for n := 1; ; n++ {
		cache := withAnswer(t, first.Cache)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), fmt.Sprint("INSTALL_TEST_DIE_AT=", n), "INSTALL_TEST_LOCK="+lock,
			"INSTALL_TEST_DIR="+first.Dir, "INSTALL_TEST_PYTHON="+first.Python, "INSTALL_TEST_CACHE="+cache)
		out, err := cmd.CombinedOutput()
		if err == nil {
			break
		}
		status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if !ok || status.Signal() != syscall.SIGKILL {
			t.Fatalf("operation %d: %v\n%s", n, err, out)
		}
		killed++
		if got := says(t, first.Dir); got != "old" && got != "new" {
			t.Fatalf("operation %d: it says %q", n, got)
		}
		again := next.request(t)
		again.Cache, again.Compile = cache, true
		sync1(t, again)
		if got := says(t, again.Dir); got != "new" {
			t.Fatalf("operation %d: with its cache it says %q", n, got)
		}
		sync1(t, first)
		if got := list(t, filepath.Dir(filepath.Join(first.Dir, EnvDir))); strings.Contains(got, ".staging-") {
			t.Fatalf("operation %d: left\n%s", n, got)
		}
	}
	if killed < 40 {
		t.Errorf("killed %d times", killed)
	}
}

func TestPrune(t *testing.T) {
	s := shop(t)
	req := s.request(t)
	req.Compile = true
	sync1(t, req)
	ctx := context.Background()
	stale := filepath.Join(req.Cache, wheelsDir, "."+sha([]byte("x"))+".staging-1")
	if err := os.Mkdir(stale, 0o700); err != nil {
		t.Fatal(err)
	}
	tools := filepath.Join(req.Cache, wheelsDir, sha(s["tools-2-py3-none-any.whl"]))
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(tools, long, long); err != nil {
		t.Fatal(err)
	}
	got, err := Prune(ctx, PruneRequest{Dir: req.Cache, Before: time.Now().Add(-time.Minute)})
	if err != nil || got.Wheels != 1 || got.Bytecode != 1 || got.Left != 1 || got.Bytes == 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if left := list(t, filepath.Join(req.Cache, wheelsDir)); strings.Contains(left, "tools.py") || !strings.Contains(left, "shop") {
		t.Errorf("left %s", left)
	}
	if res := sync1(t, req); !res.Current {
		t.Error("the environment is no longer current")
	}
	if got := output(t, filepath.Join(req.Dir, EnvDir, "bin/shop")); got != "main [] tools\n" {
		t.Errorf("got %q", got)
	}
	req.Dir = t.TempDir()
	if res := sync1(t, req); res.Fetched != 1 || res.Compiled != 1 {
		t.Errorf("afterwards %+v", res)
	}
	if got, err := Prune(ctx, PruneRequest{Dir: filepath.Join(t.TempDir(), "new"), Before: time.Now()}); err != nil || got != (Pruned{}) {
		t.Errorf("of nothing: %+v, %v", got, err)
	}
	theirs := filepath.Join(req.Cache, wheelsDir, "notes")
	if err := os.Mkdir(theirs, 0o700); err != nil {
		t.Fatal(err)
	}
	waited := false
	release, err := (&cache{dir: req.Cache}).share(ctx)
	if err != nil {
		t.Fatal(err)
	}
	got, err = Prune(ctx, PruneRequest{Dir: req.Cache, Before: time.Now().Add(time.Hour), Waits: func() { waited = true; release() }})
	if err != nil || !waited || got.Wheels != 2 || got.Bytecode != 2 || got.Answers != 1 {
		t.Errorf("of all: %+v, %v, waited %v", got, err, waited)
	}
	if err := os.Remove(theirs); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(req.Cache); err != nil || len(entries) != 1 {
		t.Errorf("%v are left, %v", entries, err)
	}
	if got := output(t, filepath.Join(req.Dir, EnvDir, "bin/shop")); got != "main [] tools\n" {
		t.Errorf("without a cache: %q", got)
	}
}

func TestVerify(t *testing.T) {
	s := shop(t)
	req := s.request(t)
	req.Compile = true
	sync1(t, req)
	ctx := context.Background()
	if got, err := Verify(ctx, VerifyRequest{Dir: req.Cache}); len(got) > 0 || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	tree := filepath.Join(req.Cache, wheelsDir, sha(s["tools-2-py3-none-any.whl"]))
	at := filepath.Join(tree, "site/tools.py")
	spoil := func(text string) {
		t.Helper()
		if err := os.Chmod(at, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cut := func(file string) error { // read-only, which stops everybody but root
		return errors.Join(os.Chmod(file, 0o644), os.Truncate(file, 40))
	}
	for _, c := range []struct {
		change func() error
		want   string
	}{
		{func() error { spoil("word = 'TOOLS'\n"); return nil }, "tools 2: site/tools.py: has another content"},
		{func() error { spoil("x"); return nil }, "tools 2: site/tools.py: has 1 bytes, and had 15"},
		{func() error { return os.Remove(at) }, "tools 2: site/tools.py: is missing"},
		{func() error { return cut(filepath.Join(tree, indexName)) }, ": : its index is damaged"},
	} {
		if err := c.change(); err != nil {
			t.Fatal(err)
		}
		got, err := Verify(ctx, VerifyRequest{Dir: req.Cache})
		if err != nil || len(got) != 1 || fmt.Sprintf("%s: %s: %s", got[0].Name, got[0].File, got[0].Reason) != c.want {
			t.Errorf("%v, %v, want %s", got, err, c.want)
		}
	}
	req.Dir = t.TempDir()
	if _, err := Sync(ctx, req); !errors.Is(err, ErrDamaged) {
		t.Errorf("with a damaged index: %v", err)
	}
	if got, err := Verify(ctx, VerifyRequest{Dir: req.Cache, Remove: true}); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	if res := sync1(t, req); res.Fetched != 1 || res.Compiled != 1 {
		t.Errorf("afterwards %+v", res)
	}
}

// Byte code that is not there stops an installation until Verify has removed its
// entry.
func TestVerifyBytecode(t *testing.T) {
	s := shop(t)
	req := s.request(t)
	req.Compile = true
	sync1(t, req)
	ctx := context.Background()
	dirs, err := filepath.Glob(filepath.Join(req.Cache, bytecodeDir, "*", sha(s["tools-2-py3-none-any.whl"])))
	if err != nil || len(dirs) != 1 {
		t.Fatal(dirs, err)
	}
	for _, c := range []struct {
		remove, want string
	}{
		{"site/__pycache__", "is missing"},
		{indexName, "its index is damaged"},
	} {
		if err := atomicfile.RemoveAll(filepath.Join(dirs[0], c.remove)); err != nil {
			t.Fatal(err)
		}
		req.Dir = t.TempDir()
		if _, err := Sync(ctx, req); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", c.remove, err)
		}
		got, err := Verify(ctx, VerifyRequest{Dir: req.Cache, Remove: true})
		if err != nil || len(got) != 1 || got[0].Kind != "bytecode" || got[0].Reason != c.want {
			t.Errorf("%s: %v, %v", c.remove, got, err)
		}
		if res := sync1(t, req); res.Fetched != 0 || res.Compiled != 1 {
			t.Errorf("%s: afterwards %+v", c.remove, res)
		}
	}
}
