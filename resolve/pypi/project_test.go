package pypi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"appbundle/internal/fetch"
	"appbundle/resolve"
)

// shop has a bit of everything that pages have.
func shop(t testing.TB) *fakeIndex {
	f := newFake(t)
	for _, v := range []string{"1.0", "1.10", "1.9", "2.0rc1"} {
		f.add("shop-"+v+"-py3-none-any.whl", wheel("shop", v))
	}
	f.add("shop-1.9.tar.gz", sdist("shop", "1.9"))
	f.add("Shop-1.9.0-1-cp311-cp311-linux_x86_64.whl", wheel("shop", "1.9.0"))
	f.add("shop-1.0.win32.exe", nil)
	f.add("shop-one-py3-none-any.whl", nil)
	f.add("shop-"+strings.Repeat("1", 129)+".tar.gz", nil)
	f.add("shop-"+strings.Repeat("1.", 40)+"1.tar.gz", nil)
	return f
}

const shopFiles = `2.0rc1 shop-2.0rc1-py3-none-any.whl
1.10 shop-1.10-py3-none-any.whl python>=3.8 yanked(oh no)
1.9.0 Shop-1.9.0-1-cp311-cp311-linux_x86_64.whl shop-1.9-py3-none-any.whl yanked() shop-1.9.tar.gz
1.0 shop-1.0-py3-none-any.whl
`

func TestProjectJSON(t *testing.T) {
	f := shop(t)
	f.extra["shop-1.10-py3-none-any.whl"] = `{"requires-python": ">=3.8", "yanked": "oh no"}`
	f.extra["shop-1.9-py3-none-any.whl"] = `{"yanked": true}`
	f.extra["shop-1.0-py3-none-any.whl"] = `{"requires-python": ">=soon", "url": "https://user:pw@other.test/x/shop-1.0-py3-none-any.whl?sig=1#sha256=ab"}`
	x, warnings := newIndex(t, Config{Index: f.URL + "/simple"}) // without the slash at its end
	for range 2 {
		p, err := x.Project(t.Context(), "shop")
		if err != nil {
			t.Fatal(err)
		}
		if got := show(p); got != shopFiles {
			t.Errorf("got\n%swant\n%s", got, shopFiles)
		}
		if p.Name != "shop" || p.Index != f.URL+"/simple" || p.Passed != 4 {
			t.Errorf("got %q of %q with %d passed over", p.Name, p.Index, p.Passed)
		}
		file := p.Releases[1].Files[0]
		data := f.files[file.Name]
		if file.URL != f.URL+"/files/"+file.Name || file.Path != "" || file.Size != int64(len(data)) || len(file.Hashes) != 1 || file.Hashes["sha256"] != sum(data) ||
			!file.Uploaded.Equal(time.Date(2025, 6, 1, 12, 0, 0, 5e8, time.UTC)) || file.Wheel == nil || strings.Join(file.Wheel.Tags, " ") != "py3-none-any" || file.Wheel.Name != "shop" {
			t.Errorf("got %+v %+v", file, file.Wheel)
		}
		if w := p.Releases[2].Files[0].Wheel; w.Build != "1" || w.Version.String() != "1.9.0" {
			t.Errorf("got %+v", w)
		}
		if old := p.Releases[3].Files[0]; old.URL != "https://other.test/x/shop-1.0-py3-none-any.whl?sig=1" {
			t.Errorf("got URL %s", old.URL)
		}
	}
	if got := f.seen(); got != "/simple/shop/" {
		t.Errorf("requests %s", got)
	}
	want := `shop: requires-python of 1 files cannot be read and is left out, such as ">=soon" of shop-1.0-py3-none-any.whl`
	if len(*warnings) != 1 || (*warnings)[0] != want {
		t.Errorf("warnings %q", *warnings)
	}
}

func TestProjectHTML(t *testing.T) {
	f := shop(t)
	f.html = true
	f.extra["shop-1.10-py3-none-any.whl"] = `data-requires-python="&gt;=3.8" data-yanked="oh no"`
	f.extra["shop-1.9-py3-none-any.whl"] = `data-yanked`
	x := on(t, f)
	p, err := x.Project(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	if got := show(p); got != shopFiles || p.Passed != 4 {
		t.Errorf("got\n%sand %d passed over, want\n%s", got, p.Passed, shopFiles)
	}
	file := p.Releases[1].Files[0]
	if file.Hashes["sha256"] != sum(f.files[file.Name]) || file.URL != f.URL+"/files/"+file.Name || file.Size != 0 || !file.Uploaded.IsZero() {
		t.Errorf("got %+v", file)
	}
}

// What a page may look like, and what is made of it.
func TestPages(t *testing.T) {
	const json, html = "application/vnd.pypi.simple.v1+json", "text/html"
	tests := []struct{ name, kind, body, want string }{
		{"no files", json, `{"meta":{"api-version":"1.0"},"name":"foo","files":[]}`, ""},
		{"no version of the protocol", json, `{"name":"foo","files":[{"filename":"foo-1.tar.gz","url":"foo-1.tar.gz","hashes":{}}]}`, "1 foo-1.tar.gz\n"},
		{"minor version", json, `{"meta":{"api-version":"1.99"},"files":[]}`, "warning: the index speaks version 1.99 of its protocol, newer than 1.4\n"},
		{"major version", json, `{"meta":{"api-version":"2.0"},"files":[]}`, "error: PAGE: the index speaks version 2.0 of its protocol, and only 1 can be read"},
		{"no version", json, `{"meta":{"api-version":"new"},"files":[]}`, `error: PAGE: the index speaks version "new" of its protocol, which is none`},
		{"odd values", json, `{"files":[{"filename":"foo-1.tar.gz","url":"foo-1.tar.gz","hashes":{"sha256":"xx","md5":"ab"},"yanked":null,"core-metadata":"yes","size":-1,"upload-time":"then"}]}`, "1 foo-1.tar.gz\n"},
		{"many names", json, `{"files":[{"filename":"foo-1.tar.gz","url":"a/foo-1.tar.gz"},{"filename":"foo-1.tar.gz","url":"b/foo-1.tar.gz"},{"filename":"bar-1.tar.gz","url":"x"},{"filename":"../foo-2.tar.gz","url":"x"},{"filename":"foo-3.tar.gz","url":"file:///x"},{"filename":"foo-4.tar.gz"},{"url":"x"}]}`, "1 foo-1.tar.gz\npassed 6\n"},
		{"other project", json, `{"name":"bar","files":[]}`, `error: PAGE: the page is the one of "bar"`},
		{"truncated", json, `{"files":[{"filename":"foo`, "error: PAGE: the page is no JSON: byte 26: unexpected end of JSON input"},
		{"garbage", json, "\x00\x01", "error: PAGE: the page is no JSON: byte 1: invalid character '\\x00' looking for beginning of value"},
		{"other JSON", json, `{"message":"hello"}`, "error: PAGE: the page is not one of an index: it has no files"},
		{"other shape", json, `{"files":{"x":1}}`, "error: PAGE: the page is not one of an index: json: cannot unmarshal object into Go struct field jsonPage.files of type []pypi.jsonFile"},
		{"quarantined", json, `{"project-status":{"status":"quarantined"},"files":[{"filename":"foo-1.tar.gz","url":"x"}]}`, "quarantined: the index gives no reason\n"},
		{"quarantined with a reason", json, `{"project-status":{"status":"quarantined","reason":"malware"},"files":[]}`, "quarantined: malware\n"},
		{"archived", json, `{"project-status":{"status":"archived"},"files":[]}`, ""},

		{"links", html, `<html><body><a href="foo-1.tar.gz">foo-1.tar.gz</a> <A HREF='/x/foo-2.tar.gz#sha256=ab'> foo-2.tar.gz </A><a>none</a><a href="../">up</a>`, "2 foo-2.tar.gz\n1 foo-1.tar.gz\npassed 1\n"},
		{"name in one of both", html, `<a href="/get?id=1">foo-1.tar.gz</a><a href="foo-2.tar.gz">Download</a><a href="foo-3.tar.gz">foo-4.tar.gz</a>`, "2 foo-2.tar.gz\n1 foo-1.tar.gz\npassed 1\n"},
		{"open to the end", html, `<a href="foo-1.tar.gz">foo-1.tar.gz`, "1 foo-1.tar.gz\n"},
		{"in a comment", html, `<!DOCTYPE html><!-- <a href="foo-1.tar.gz">foo-1.tar.gz</a> -->`, ""},
		{"in a script", html, `<!DOCTYPE html><script><a href="foo-1.tar.gz">foo-1.tar.gz</a></script>`, ""},
		{"major version in HTML", html, `<html><meta name="pypi:repository-version" content="2.0">`, "error: PAGE: the index speaks version 2.0 of its protocol, and only 1 can be read"},
		{"quarantined in HTML", html, `<html><meta name="pypi:project-status" content="quarantined"><a href="foo-1.tar.gz">foo-1.tar.gz</a>`, "quarantined: the index gives no reason\n"},
		{"no HTML", html, "hello", "error: PAGE: the page is no HTML"},
		{"huge tag", html, `<html><a href="` + strings.Repeat("x", maxToken), "error: PAGE: the page has a tag or a text of more than 1048576 bytes"},
		{"other type", "text/plain; charset=utf-8", "hello", `error: PAGE: the answer is "text/plain", and no page of an index`},
		{"next major type", "application/vnd.pypi.simple.v2+json", "{}", `error: PAGE: the answer is "application/vnd.pypi.simple.v2+json", and no page of an index`},
		{"bad type", ";", "hello", "error: PAGE: the answer does not say what it is"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.intercept = func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Content-Type", tt.kind)
				io.WriteString(w, tt.body)
				return true
			}
			x, warnings := newIndex(t, Config{Index: f.URL + "/simple/"})
			p, err := x.Project(t.Context(), "foo")
			got := ""
			if err != nil {
				got = "error: " + strings.Replace(err.Error(), f.URL+"/simple/foo/", "PAGE", 1)
			} else {
				got = show(p)
				if p.Passed > 0 {
					got += fmt.Sprintf("passed %d\n", p.Passed)
				}
				for _, warning := range *warnings {
					got += "warning: " + warning + "\n"
				}
			}
			if got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// Relative URLs are relative to where the redirects led to.
func TestRedirectedPage(t *testing.T) {
	f := newFake(t).add("foo-1.tar.gz", sdist("foo", "1"))
	moved := newFake(t)
	moved.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, f.URL+r.URL.Path, http.StatusMovedPermanently)
		return true
	}
	p, err := on(t, moved).Project(t.Context(), "foo")
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Releases[0].Files[0].URL; got != f.URL+"/files/foo-1.tar.gz" || p.Index != moved.URL+"/simple/" {
		t.Errorf("got %s of %s", got, p.Index)
	}
}

// <base> moves what is relative, and cannot take a page from https to http.
func TestBase(t *testing.T) {
	f := newFake(t)
	f.intercept = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, `<base href="https://files.test/a/"><base href="http://evil.test/"><a href="b/foo-1.tar.gz">foo-1.tar.gz</a><a href="http://files.test/foo-2.tar.gz">foo-2.tar.gz</a>`)
		return true
	}
	p, err := on(t, f).Project(t.Context(), "foo")
	if err != nil {
		t.Fatal(err)
	}
	if got := show(p); got != "1 foo-1.tar.gz\n" || p.Passed != 1 || p.Releases[0].Files[0].URL != "https://files.test/a/b/foo-1.tar.gz" {
		t.Errorf("got %s %+v", got, p.Releases[0].Files[0])
	}
}

func TestNotFound(t *testing.T) {
	f := newFake(t)
	x := on(t, f)
	for range 2 {
		_, err := x.Project(t.Context(), "foo")
		if !errors.Is(err, resolve.ErrNotFound) || err.Error() != "foo: not found on "+f.URL+"/simple/" {
			t.Errorf("got %v", err)
		}
	}
	if got := f.seen(); got != "/simple/foo/" {
		t.Errorf("requests %s", got)
	}
	for _, name := range []string{"", "Foo", "foo_bar", "../x", "a/b", "a?b"} {
		if _, err := x.Project(t.Context(), name); err == nil || errors.Is(err, resolve.ErrNotFound) {
			t.Errorf("Project(%q): %v", name, err)
		}
	}
	x, _ = newIndex(t, Config{NoIndex: true, Index: f.URL})
	if _, err := x.Project(t.Context(), "foo"); !errors.Is(err, resolve.ErrNotFound) || err.Error() != "foo: not found: there is no index to look at" {
		t.Errorf("got %v", err)
	}
}

// The first index that has a name has all of it; one that denies it, or fails,
// does not lack it.
func TestSeveralIndexes(t *testing.T) {
	extra, main := newFake(t), newFake(t)
	extra.add("own-1.0.tar.gz", sdist("own", "1.0"))
	main.add("own-9.0.tar.gz", sdist("own", "9.0")).add("pub-1.0.tar.gz", sdist("pub", "1.0"))
	both := Config{Index: main.URL + "/simple/", Extra: []string{extra.URL + "/simple/"}}
	x, _ := newIndex(t, both)
	for name, want := range map[string]string{"own": "1.0 own-1.0.tar.gz\n" + extra.URL, "pub": "1.0 pub-1.0.tar.gz\n" + main.URL} {
		p, err := x.Project(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if got := show(p) + p.Index; got != want+"/simple/" {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	if _, err := x.Project(t.Context(), "none"); err == nil || err.Error() != fmt.Sprintf("none: not found on %s/simple/ and %s/simple/", extra.URL, main.URL) {
		t.Errorf("got %v", err)
	}
	both.MergeIndexes = true
	x, _ = newIndex(t, both)
	p, err := x.Project(t.Context(), "own")
	if err != nil {
		t.Fatal(err)
	}
	if got := show(p); got != "9.0 own-9.0.tar.gz\n1.0 own-1.0.tar.gz\n" || p.Index != "" {
		t.Errorf("got\n%sof %q", got, p.Index)
	}
	both.MergeIndexes = false
	for status, want := range map[int]string{401: "access denied (401), and no credentials are known for " + extra.URL + "; write them in ~/.netrc", 403: "access denied (403), and no credentials are known for " + extra.URL + "; write them in ~/.netrc", 410: "the server answers 410 Gone", 500: "the server answers 500 Internal Server Error (after 4 attempts)"} {
		extra.intercept = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(status); return true }
		x, _ = newIndex(t, both)
		main.seen()
		_, err := x.Project(t.Context(), "own")
		if err == nil || errors.Is(err, resolve.ErrNotFound) || err.Error() != extra.URL+"/simple/own/: "+want || main.seen() != "" {
			t.Errorf("%d: got %v", status, err)
		}
	}
}

// Many ask at once, and one request is sent; who gives up does not take the
// others along.
func TestOneRequest(t *testing.T) {
	f := newFake(t).add("foo-1.0.tar.gz", sdist("foo", "1.0"))
	arrived, release := make(chan struct{}, 9), make(chan struct{})
	f.intercept = func(http.ResponseWriter, *http.Request) bool {
		arrived <- struct{}{}
		<-release
		return false
	}
	x := on(t, f)
	first, giveUp := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := x.Project(first, "foo"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	<-arrived
	for range 20 {
		wg.Go(func() {
			p, err := x.Project(t.Context(), "foo")
			if err != nil || len(p.Releases) != 1 {
				t.Errorf("got %v, %v", p, err)
			}
		})
	}
	giveUp()
	<-arrived
	close(release)
	wg.Wait()
	if n := strings.Count(f.seen(), "/simple/foo/"); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

// A failure is no answer: who asks again may have more luck.
func TestFailureIsForgotten(t *testing.T) {
	f := newFake(t).add("foo-1.0.tar.gz", sdist("foo", "1.0"))
	fail := true
	f.intercept = func(w http.ResponseWriter, _ *http.Request) bool {
		if fail {
			w.WriteHeader(http.StatusGone)
		}
		return fail
	}
	x := on(t, f)
	if _, err := x.Project(t.Context(), "foo"); err == nil {
		t.Error("no error")
	}
	fail = false
	if _, err := x.Project(t.Context(), "foo"); err != nil {
		t.Error(err)
	}
}

func TestNew(t *testing.T) {
	dir := t.TempDir()
	cache := fetch.Config{Dir: dir}
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{Fetch: cache}, "no index is given"},
		{Config{Index: "https://x.test/"}, "a cache needs a directory"},
		{Config{Index: "ftp://u:s3cret@x.test/", Fetch: cache}, "index: ftp://x.test/: only http and https URLs with a host can be fetched"},
		{Config{Index: "https://u:s3cret@%zz/", Fetch: cache}, "index: a URL cannot be read"},
		{Config{Index: "https://x.test/?token=s3cret", Fetch: cache}, "index: https://x.test/ has a query, which the pages below it could not have"},
		{Config{Index: "https://x.test/", Extra: []string{"x"}, Fetch: cache}, "index: x: only http and https URLs with a host can be fetched"},
		{Config{NoIndex: true, FindLinks: []string{"file://host/x"}, Fetch: cache}, `find-links: "file://host/x" is no file: URL of a directory`},
		{Config{NoIndex: true, FindLinks: []string{"https://"}, Fetch: cache}, "find-links: https:: only http and https URLs with a host can be fetched"},
	} {
		if _, err := New(t.Context(), tt.cfg); err == nil || err.Error() != tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}
