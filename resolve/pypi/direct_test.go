package pypi

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"appbundle/internal/fetch"
	"appbundle/resolve"
)

// The files that requirements name are all there is of a project where nothing
// else asks for it: no index is needed to know them.
func TestDirect(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"foo-1.0-py3-none-any.whl", "foo-2.0-py3-none-any.whl"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	x, err := New(t.Context(), Config{Index: "http://127.0.0.1:9/", Root: root, Fetch: fetch.Config{Dir: t.TempDir()}, Direct: []Direct{
		{Path: "foo-1.0-py3-none-any.whl", Only: true},
		{Path: "foo-2.0-py3-none-any.whl", Only: true},
		{URL: "https://host.test/a/bar-3.tar.gz#sha256=" + sum([]byte("bar")), Only: true},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	foo, err := x.Project(t.Context(), "foo")
	if err != nil {
		t.Fatal(err)
	}
	if len(foo.Releases) != 2 || foo.Releases[0].Version.String() != "2.0" || foo.Releases[0].Files[0].Hashes["sha256"] != sum([]byte("foo-2.0-py3-none-any.whl")) {
		t.Errorf("foo is %+v", foo)
	}
	bar, err := x.Project(t.Context(), "bar")
	if err != nil {
		t.Fatal(err)
	}
	if f := bar.Releases[0].Files[0]; f.URL != "https://host.test/a/bar-3.tar.gz" || len(f.Hashes) != 0 || f.Wheel != nil {
		t.Errorf("bar is %+v", f)
	}
	if _, err := x.Project(t.Context(), "other"); err == nil || errors.Is(err, resolve.ErrNotFound) {
		t.Errorf("another project = %v, want an error of the index", err)
	}
}

func TestDirectErrors(t *testing.T) {
	tests := []struct {
		direct Direct
		want   string
	}{
		{Direct{Path: "foo-1.0-py3-none-any.whl"}, "foo-1.0-py3-none-any.whl: there is no such file"},
		{Direct{URL: "https://user:secret@host.test/main.zip"}, "https://host.test/main.zip: has the name of neither a wheel nor a source distribution, and only these can be locked"},
		{Direct{URL: "ftp://host.test/foo-1.tar.gz"}, "ftp://host.test/foo-1.tar.gz: is no URL of a file that can be fetched"},
	}
	for _, tt := range tests {
		_, err := New(t.Context(), Config{NoIndex: true, Root: t.TempDir(), Fetch: fetch.Config{Dir: t.TempDir()}, Direct: []Direct{tt.direct}})
		if bad := (*DirectError)(nil); !errors.As(err, &bad) || err.Error() != tt.want {
			t.Errorf("New with %+v: %v, want %s", tt.direct, err, tt.want)
		}
	}
}
