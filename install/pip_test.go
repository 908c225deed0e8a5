package install

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pipHome makes a virtual environment by hand, with a pip that names an index.
func pipHome(t *testing.T) (bin, site string) {
	t.Helper()
	base, err := Ask(t.Context(), python(t), "")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	site = filepath.Join(home, "lib/python"+base.Env.PythonVersion+"/site-packages")
	for _, dir := range []string{filepath.Join(home, "bin"), filepath.Join(site, "pip/_internal/models")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	put(t, filepath.Join(home, "pyvenv.cfg"), "home = "+filepath.Dir(base.Executable)+"\n")
	bin = filepath.Join(home, "bin/python")
	if err := os.Symlink(base.Executable, bin); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"pip", "pip/_internal", "pip/_internal/models"} {
		put(t, filepath.Join(site, dir, "__init__.py"), "")
	}
	put(t, filepath.Join(site, pipModels), pipNames("one"))
	return bin, site
}

const pipModels = "pip/_internal/models/index.py"

func pipNames(word string) string {
	return "class PyPI:\n    simple_url = 'https://" + word + "/simple'\n"
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func asks(t *testing.T, python, cache, want string) {
	t.Helper()
	if got, err := PipIndex(t.Context(), python, cache); got != want || err != nil {
		t.Errorf("got %q, %v, want %s", got, err, want)
	}
}

// kept gives the answer in the cache, which is there when the files have not
// changed just now: that is asked for until it is so.
func kept(t *testing.T, python, cache string) string {
	t.Helper()
	for {
		if _, err := PipIndex(t.Context(), python, cache); err != nil {
			t.Fatal(err)
		}
		found, err := filepath.Glob(filepath.Join(cache, answersDir, pipPrefix+"*.json"))
		if err != nil || len(found) > 1 {
			t.Fatal(found, err)
		}
		if len(found) == 1 {
			return found[0]
		}
	}
}

// The answer of pip is kept, and asked for anew after any change that could make
// it another.
func TestPipIndex(t *testing.T) {
	python, site := pipHome(t)
	below := filepath.Dir(site)
	for _, tt := range []struct {
		name   string
		change func()
		want   string
	}{
		{"nothing", func() {}, "https://kept/simple"},
		{"pip in place", func() { put(t, filepath.Join(site, pipModels), pipNames("two")) }, "https://two/simple"},
		{"another pip before it", func() {
			put(t, filepath.Join(site, "word.pth"), "import sys; sys.path.insert(0, '"+below+"')\n")
			if err := os.CopyFS(filepath.Join(below, "pip"), os.DirFS(filepath.Join(site, "pip"))); err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(below, pipModels), pipNames("six"))
		}, "https://six/simple"},
		{"a path file in place", func() { put(t, filepath.Join(site, "word.pth"), "") }, "https://two/simple"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cache := t.TempDir()
			at := kept(t, python, cache)
			text, err := os.ReadFile(at)
			if err != nil {
				t.Fatal(err)
			}
			i := strings.Index(string(text), "https://")
			j := i + strings.Index(string(text[i:]), "/simple")
			put(t, at, string(text[:i])+"https://kept"+string(text[j:]))
			tt.change()
			asks(t, python, cache, tt.want)
		})
	}
}

// Without pip it is that of the wheel that venv would install, and without that
// there is no answer. An answer that cannot be kept is one.
func TestPipIndexWithoutPip(t *testing.T) {
	python, site := pipHome(t)
	asks(t, python, "", "https://one/simple")
	asks(t, python, filepath.Join(python, "no", "directory"), "https://one/simple")
	if err := os.RemoveAll(filepath.Join(site, "pip")); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(site, "word.pth"), "import sys; sys.modules['ensurepip'] = sys.modules['pip'] = None\n")
	if _, err := PipIndex(t.Context(), python, t.TempDir()); !errors.Is(err, ErrNoPip) {
		t.Errorf("got %v, want %v", err, ErrNoPip)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := PipIndex(cancelled, python, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := PipIndex(t.Context(), "python", ""); err == nil {
		t.Error("a relative path")
	}
}
