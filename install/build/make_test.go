package build

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"appbundle/schema"
	"appbundle/schema/pep425"
	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

// ownBackend is a backend in the source distribution: it needs nothing. What it
// does besides is in more.
const ownBackend = `
import base64, hashlib, os, zipfile
def build_wheel(directory, config_settings=None, metadata_directory=None):
    exec(MORE)
    files = {
        "a.py": str(sorted(os.listdir("."))),
        "a-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: a\nVersion: 1\n",
        "a-1.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "a-1.dist-info/RECORD,,\n"
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += "%s,sha256=%s,%d\n" % (path, digest, len(text))
    files["a-1.dist-info/RECORD"] = record
    with zipfile.ZipFile(directory + "/a-1-py3-none-any.whl", "w") as z:
        for path, text in files.items():
            z.writestr(zipfile.ZipInfo(path), text)
    return "a-1-py3-none-any.whl"
`

// request makes a source distribution whose backend runs more, and asks for its
// wheel.
func request(t *testing.T, more string) Request {
	t.Helper()
	at := filepath.Join(t.TempDir(), "a-1.tar.gz")
	out, err := os.Create(at)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(out)
	w := tar.NewWriter(z)
	for _, f := range [][2]string{
		{"a-1/pyproject.toml", "[build-system]\nrequires = []\nbuild-backend = \"own:Backend\"\nbackend-path = [\".\"]\n"},
		{"a-1/own.py", "MORE = '''" + more + "'''\n" + ownBackend + "class Backend:\n    build_wheel = staticmethod(build_wheel)\n"},
	} {
		err = errors.Join(err, w.WriteHeader(&tar.Header{Name: f[0], Mode: 0o4644, Size: int64(len(f[1]))}))
		_, writeErr := w.Write([]byte(f[1]))
		err = errors.Join(err, writeErr)
	}
	if err := errors.Join(err, w.Close(), z.Close(), out.Close()); err != nil {
		t.Fatal(err)
	}
	sum, _, err := sumOf(at)
	if err != nil {
		t.Fatal(err)
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal(err)
	}
	if python, err = filepath.Abs(python); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", t.TempDir())
	return Request{
		Sdist: at, Name: "a-1.tar.gz", SHA256: sum, Project: "a", Version: pep440.MustParse("1"), Python: python, Cache: t.TempDir(),
		Resolve: func(_ context.Context, _ pep425.Target, requires []*pep508.Requirement) (*schema.PyLock, error) {
			if len(requires) > 0 {
				t.Errorf("it needs %v", requires)
			}
			return &schema.PyLock{}, nil
		},
	}
}

// left reports what is in the directory for temporary files.
func left(t *testing.T) []os.DirEntry {
	t.Helper()
	files, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// What was built is not built again, unless the cache is damaged, and is the same
// bytes then.
func TestMake(t *testing.T) {
	req := request(t, "")
	var sum string
	for i, cached := range []bool{false, true, false, true} {
		w, err := Make(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if sum == "" {
			sum = w.SHA256
		}
		if w.Cached != cached || w.SHA256 != sum || w.Name != "a-1-py3-none-any.whl" || !strings.HasPrefix(w.Host, "cp3") {
			t.Errorf("%d: %+v, want cached %v, %s", i, w, cached, sum)
		}
		if got, _, err := sumOf(w.Path); err != nil || got != sum {
			t.Errorf("%d: %s has the sha256 %s, %v", i, w.Path, got, err)
		}
		if i == 1 {
			if err := os.Chmod(w.Path, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(w.Path, []byte("damage"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if files := left(t); len(files) > 0 {
		t.Errorf("left %v", files)
	}
}

// A build of which nothing may come ends, and leaves nothing: neither when it
// fails nor when it is called off.
func TestMakeNothing(t *testing.T) {
	for _, tt := range []struct{ name, more, want string }{
		{"it raises", "raise ValueError('no')", "build_wheel: exit status 1"},
		{"it ends", "os._exit(0)", "build_wheel: it gave no answer"},
		{"it is killed", "os.kill(os.getpid(), 9)", "build_wheel: signal: killed"},
		{"directories nobody may write to", "os.mkdir('x'); os.mkdir('x/y'); os.chmod('x', 0); raise ValueError", "build_wheel: exit status 1"},
		{"it leads its session already", "os.setsid()", "build_wheel: exit status 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Make(t.Context(), request(t, tt.more))
			var no *Error
			if !errors.As(err, &no) || no.Reason != tt.want {
				t.Fatalf("got %v, want %s: %q", err, tt.want, said(no))
			}
			if files := left(t); len(files) > 0 {
				t.Errorf("left %v", files)
			}
		})
	}
	t.Run("called off", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		off := errors.New("called off")
		req := request(t, "import time; time.sleep(1000)")
		req.Progress = func(what string) {
			if strings.HasSuffix(what, " build_wheel") {
				cancel(off)
			}
		}
		if _, err := Make(ctx, req); !errors.Is(err, off) {
			t.Errorf("got %v", err)
		}
		if files := left(t); len(files) > 0 {
			t.Errorf("left %v", files)
		}
	})
}

// said gives what a build said, if one failed.
func said(err *Error) []string {
	if err == nil {
		return nil
	}
	return err.Output
}
