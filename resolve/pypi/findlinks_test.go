package pypi

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"appbundle/resolve"
)

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// The files of a directory count beside those of the index, and before them.
func TestFindLinksDirectory(t *testing.T) {
	root := t.TempDir()
	local := wheel("foo", "1.0", "Requires-Dist: local")
	write(t, root+"/wheels/"+fooWheel, local)
	write(t, root+"/wheels/foo-0.5.tar.gz", sdist("foo", "0.5"))
	write(t, root+"/wheels/bar-1.0.tar.gz", sdist("bar", "1.0"))
	write(t, root+"/wheels/README", nil)
	write(t, root+"/wheels/foo-7.tar.gz/x", nil) // a directory
	f := newFake(t).add(fooWheel, wheel("foo", "1.0", "Requires-Dist: remote")).add("foo-2.0-py3-none-any.whl", wheel("foo", "2.0"))
	x, warnings := newIndex(t, Config{Index: f.URL + "/simple/", Root: root, FindLinks: []string{"wheels", "file://" + root + "/wheels", "none"}})
	p, err := x.Project(t.Context(), "foo")
	if err != nil {
		t.Fatal(err)
	}
	if got := show(p); got != "2.0 foo-2.0-py3-none-any.whl\n1.0 "+fooWheel+"\n0.5 foo-0.5.tar.gz\n" || p.Index != f.URL+"/simple/" {
		t.Errorf("got\n%sof %s", got, p.Index)
	}
	file := p.Releases[1].Files[0]
	if file.Path != "wheels/"+fooWheel || file.URL != "" || file.Hashes["sha256"] != sum(local) || file.Size != int64(len(local)) {
		t.Errorf("got %+v", file)
	}
	for name, want := range map[string]string{fooWheel: "foo 1.0 [local]", "foo-0.5.tar.gz": "foo 0.5 []", "foo-2.0-py3-none-any.whl": "foo 2.0 []"} {
		if got := showMetadata(ask(t, x, "foo", name)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if p, err = x.Project(t.Context(), "bar"); err != nil || show(p) != "1.0 bar-1.0.tar.gz\n" || p.Index != "" {
		t.Errorf("got %v, %v", p, err)
	}
	if sha, size, err := x.Digest(t.Context(), file); err != nil || sha != sum(local) || size != file.Size {
		t.Errorf("Digest = %s, %d, %v", sha, size, err)
	}
	if len(*warnings) != 1 || (*warnings)[0] != "find-links: there is no directory none" {
		t.Errorf("warnings %q", *warnings)
	}
	if _, err := New(t.Context(), Config{NoIndex: true, FindLinks: []string{root + "/wheels/README"}, Fetch: offline(t.TempDir())}); err == nil || err.Error() != "find-links: "+root+"/wheels/README is no directory" {
		t.Errorf("got %v", err)
	}
}

// A page of links has files of many projects; it is got once.
func TestFindLinksPage(t *testing.T) {
	f := newFake(t)
	f.html = true
	f.add(fooWheel, wheel("foo", "1.0")).add("bar-1.0.tar.gz", sdist("bar", "1.0", "Requires-Dist: foo")).add("index.html", nil)
	cfg := Config{NoIndex: true, FindLinks: []string{f.URL + "/simple//"}}
	cfg.Fetch.Dir = t.TempDir()
	for range 2 {
		x, _ := newIndex(t, cfg)
		if got := showMetadata(ask(t, x, "foo", "")); got != "foo 1.0 []" {
			t.Errorf("got %s", got)
		}
		if got := showMetadata(ask(t, x, "bar", "")); got != "bar 1.0 [foo]" {
			t.Errorf("got %s", got)
		}
		if _, err := x.Project(t.Context(), "none"); !errors.Is(err, resolve.ErrNotFound) || err.Error() != "none: not found on "+f.URL+"/simple//" {
			t.Errorf("got %v", err)
		}
	}
	if got := f.seen(); strings.Count(got, "/simple//") != 1 || strings.Contains(got, ".metadata") {
		t.Errorf("requests %s", got)
	}
	f.intercept = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusNotFound); return true }
	cfg.Fetch.Dir = t.TempDir()
	x, _ := newIndex(t, cfg)
	if _, err := x.Project(t.Context(), "foo"); err == nil || errors.Is(err, resolve.ErrNotFound) || err.Error() != "find-links: "+f.URL+"/simple//: not found (404)" {
		t.Errorf("got %v", err)
	}
}
