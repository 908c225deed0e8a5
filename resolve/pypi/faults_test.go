package pypi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"appbundle/internal/fetch"
	"appbundle/resolve"
)

// Whatever an index does wrong, there is one sentence that says what and where.
func TestFaults(t *testing.T) {
	const page, file, side = "/simple/foo/", "/files/" + fooWheel, "/files/" + fooWheel + ".metadata"
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	cut := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			io.WriteString(conn, answer)
			conn.Close()
		}
	}
	part := func(contentRange string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", contentRange)
			w.WriteHeader(http.StatusPartialContent)
			io.WriteString(w, "0123456789")
		}
	}
	data := wheel("foo", "1.0")
	size := len(data)
	zeros := strings.Repeat("0", 64)
	tests := []struct {
		name, path string
		fault      http.HandlerFunc
		want       string // the path that the error names, and the reason
	}{
		{"page 500", page, status(500), page + ": the server answers 500 Internal Server Error (after 4 attempts)"},
		{"page 429", page, status(429), page + ": the server answers 429 Too Many Requests (after 4 attempts)"},
		{"page 401", page, status(401), page + ": access denied (401), and no credentials are known for ORIGIN; write them in ~/.netrc"},
		{"page hangs", page, hang, page + ": context deadline exceeded"},
		{"page drips", page, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.pypi.simple.v1+json")
			io.WriteString(w, `{"files":[`)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, page + ": context deadline exceeded"},
		{"page truncated", page, cut("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{"), page + ": unreachable: unexpected EOF (after 4 attempts)"},
		{"page reset", page, cut(""), page + ": unreachable: EOF (after 4 attempts)"},
		{"page garbage", page, cut("\x16\x03\x01\x02"), ""},
		{"page loops", page, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, page + ": more than 10 redirects"},
		{"page is huge", page, func(w http.ResponseWriter, _ *http.Request) {
			chunk := make([]byte, 1<<20)
			for range 66 {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}, page + ": the answer has more than 67108864 bytes"},

		{"wheel 500", file, status(500), file + ": the server answers 500 Internal Server Error (after 4 attempts)"},
		{"wheel 404", file, status(404), file + ": not found (404)"},
		{"wheel hangs", file, hang, file + ": context deadline exceeded"},
		{"wheel truncated", file, cut("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\nPK"), file + ": unreachable: unexpected EOF (after 4 attempts)"},
		{"wheel is another", file, func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, size)) }, fmt.Sprintf("%s: the file has the sha256 %s and not %s", file, sum(make([]byte, size)), sum(data))},
		{"wheel is longer", file, func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, size+1)) }, fmt.Sprintf("%s: the file has more than the %d bytes that the index gives", file, size)},
		{"wrong range", file, part("bytes 0-9/" + fmt.Sprint(size)), fmt.Sprintf("%s: the server gives bytes 0 to 9 where 0 to %d were asked for", file, size-1)},
		{"range of another", file, part("bytes 0-9/10"), fmt.Sprintf("%s: the server gives a part of a file of 10 bytes and not of the %d that the index gives", file, size)},

		{"sidecar lies", side, func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, metadata("foo", "1.0", "Requires-Dist: evil"))
		},
			side + ": the file has the sha256 " + sum([]byte(metadata("foo", "1.0", "Requires-Dist: evil"))) + " and not " + zeros},
		{"sidecar 500", side, status(500), side + ": the server answers 500 Internal Server Error (after 4 attempts)"},
		{"sidecar is huge", side, func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, maxMetadata+1)) }, side + ": the answer has more than 4194304 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t).add(fooWheel, data)
			if tt.path == side {
				f.extra[fooWheel] = `{"core-metadata": {"sha256": "` + zeros + `"}}`
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			f.intercept = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != tt.path {
					return false
				}
				if strings.HasSuffix(tt.want, "deadline exceeded") {
					cancel(context.DeadlineExceeded) // it comes when the request is under way
				}
				tt.fault(w, r)
				return true
			}
			x := on(t, f)
			p, err := x.Project(ctx, "foo")
			if err == nil {
				_, err = x.Metadata(ctx, "foo", p.Releases[0], p.Releases[0].Files[0])
			}
			want := f.URL + strings.ReplaceAll(tt.want, "ORIGIN", f.URL)
			if err == nil || tt.want != "" && err.Error() != want || strings.Contains(err.Error(), "\n") {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			var answer *resolve.MetadataError
			if errors.As(err, &answer) || errors.Is(err, resolve.ErrNotFound) {
				t.Errorf("%v is an answer", err)
			}
		})
	}
}

// Passwords are sent to their index, and are in no error and no file.
func TestNoSecretLeaks(t *testing.T) {
	files := newFake(t).add(fooWheel, wheel("foo", "1.0"))
	index := newFake(t).add(fooWheel, files.files[fooWheel]).add("bar-1.0.tar.gz", sdist("bar", "1.0"))
	index.user = "us:s3cret"
	index.extra[fooWheel] = `{"url": "` + strings.Replace(files.URL, "://", "://us:s3cret@", 1) + `/files/` + fooWheel + `"}`
	index.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/simple/broken/" {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	}
	files.intercept = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != "" {
			t.Errorf("the password went to %s%s", r.Host, r.URL)
		}
		return false
	}
	raw := strings.Replace(index.URL, "://", "://us:s3cret@", 1) + "/simple/"
	cfg := Config{Index: raw, FindLinks: []string{raw + "/"}, Extra: []string{raw}}
	cfg.Fetch.Dir = t.TempDir()
	x, warnings := newIndex(t, cfg)
	var said strings.Builder
	for _, name := range []string{"foo", "bar"} {
		p, err := x.Project(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		m, err := ask(t, x, name, "")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&said, "%+v %+v %+v %+v\n", p, p.Releases[0], p.Releases[0].Files[0], m)
	}
	_, err := x.Project(t.Context(), "broken")
	fmt.Fprintln(&said, err, *warnings)
	_, err = x.Project(t.Context(), "absent")
	fmt.Fprintln(&said, err)
	walk := filepath.WalkDir(cfg.Fetch.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		said.WriteString(path)
		said.Write(content)
		return err
	})
	if walk != nil {
		t.Fatal(walk)
	}
	for _, secret := range []string{"s3cret", "dXM6czNjcmV0"} { // as it is, and as it is sent
		if strings.Contains(said.String(), secret) {
			t.Errorf("a secret is in %q", said.String())
		}
	}
}

// TestMain lets the test binary be one of several processes on one cache.
func TestMain(m *testing.M) {
	if spec := os.Getenv("PYPI_TEST_PEER"); spec != "" {
		if err := peer(spec); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestProcesses(t *testing.T) {
	f := newFake(t)
	for i := range 5 {
		f.add(fmt.Sprintf("foo-%d-py3-none-any.whl", i), wheel("foo", fmt.Sprint(i)))
		f.add(fmt.Sprintf("foo-%d.tar.gz", i+10), sdist("foo", fmt.Sprint(i+10)))
	}
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), "PYPI_TEST_PEER="+dir+" "+f.URL)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	if err := peer(dir + " offline " + f.URL); err != nil {
		t.Error(err)
	}
}

// peer asks for everything, with 20 goroutines.
func peer(spec string) error {
	dir, url, _ := strings.Cut(spec, " ")
	url, off := strings.CutPrefix(url, "offline ")
	x, err := New(context.Background(), Config{Index: url + "/simple/", Fetch: fetch.Config{Dir: dir, Offline: off}})
	if err != nil {
		return err
	}
	defer x.Close()
	errs := make(chan error, 20)
	var wg sync.WaitGroup
	for range cap(errs) {
		wg.Go(func() { errs <- peerAsks(context.Background(), x) })
	}
	wg.Wait()
	close(errs)
	var all error
	for err := range errs {
		all = errors.Join(all, err)
	}
	return all
}

func peerAsks(ctx context.Context, x *Index) error {
	p, err := x.Project(ctx, "foo")
	if err != nil {
		return err
	}
	if len(p.Releases) != 10 {
		return fmt.Errorf("%d releases", len(p.Releases))
	}
	for _, r := range p.Releases {
		m, err := x.Metadata(ctx, "foo", r, r.Files[0])
		if err != nil {
			return err
		}
		if m.Version.Compare(r.Version) != 0 {
			return fmt.Errorf("%s has the metadata of %s", r.Files[0].Name, m.Version)
		}
	}
	return nil
}
