package fetch

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
	"time"
)

// A clock is moved by hand.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

// How old a page may be is the server's word, ours where it has none.
func TestFreshness(t *testing.T) {
	for _, tt := range []struct {
		name, control string
		fresh         time.Duration
	}{
		{"silent", "", 10 * time.Minute},
		{"max-age", "public, max-age=30", 30 * time.Second},
		{"long", "max-age=9999999", 24 * time.Hour},
		{"no-cache", "max-age=600, no-cache", 0},
		{"garbage", "max-age=x", 10 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := 0
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				n++
				if tt.control != "" {
					w.Header().Set("Cache-Control", tt.control)
				}
				fmt.Fprint(w, n)
			})
			at := &clock{time.Unix(1_000_000_000, 0)}
			c, _ := newClient(t, Config{Now: at.now})
			step := func(d time.Duration, want string) {
				t.Helper()
				at.t = at.t.Add(d)
				if got, err := text(t.Context(), c, s.URL); got != want || err != nil {
					t.Errorf("got %q, %v, want %q", got, err, want)
				}
			}
			step(0, "1")
			if tt.fresh > 0 {
				step(tt.fresh-time.Second, "1")
				step(time.Second, "2")
			} else {
				step(0, "2")
			}
			step(-time.Hour, "3") // from the future: the clock was wrong
		})
	}
}

// A page with a validator is asked for and not sent again.
func TestRevalidation(t *testing.T) {
	for _, header := range []string{"ETag", "Last-Modified"} {
		var conditions []string
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			condition := r.Header.Get("If-None-Match") + r.Header.Get("If-Modified-Since")
			conditions = append(conditions, condition)
			if condition == "v1" {
				w.WriteHeader(304)
				return
			}
			w.Header().Set(header, "v1")
			io.WriteString(w, "one")
		})
		at := &clock{time.Unix(1_000_000_000, 0)}
		c, _ := newClient(t, Config{Now: at.now})
		for range 3 {
			if got, err := text(t.Context(), c, s.URL); got != "one" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
			at.t = at.t.Add(time.Hour)
		}
		if got := strings.Join(conditions, ","); got != ",v1,v1" {
			t.Errorf("%s: conditions %q", header, got)
		}
	}
}

// What Use no longer reads is fetched anew, whatever the server says of it.
func TestUseRefuses(t *testing.T) {
	n := 0
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n++
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(304)
			return
		}
		w.Header().Set("ETag", "v1")
		io.WriteString(w, "body")
	})
	c, _ := newClient(t, Config{Refresh: true})
	good := "old"
	page := Page{
		URL: s.URL, Max: 100, Form: "x 1",
		Reduce: func(Answer) ([]byte, error) { return []byte(good), nil },
		Use: func(b []byte) error {
			if string(b) != good {
				return errors.New("of another time")
			}
			return nil
		},
	}
	if err := c.Page(t.Context(), page); err != nil {
		t.Fatal(err)
	}
	good = "new"
	if err := c.Page(t.Context(), page); err != nil || n != 3 {
		t.Errorf("%v after %d requests, want 3", err, n)
	}
	page.Use = func([]byte) error { return errors.New("never good") }
	if err := c.Page(t.Context(), page); err == nil || err.Error() != s.URL+": never good" {
		t.Errorf("got %v", err)
	}
	page.Form = "x 2"
	page.Reduce = func(Answer) ([]byte, error) { return nil, errors.New("no page") }
	if err := c.Page(t.Context(), page); err == nil || err.Error() != s.URL+": no page" {
		t.Errorf("got %v", err)
	}
}

// Offline any age will do, and what was absent is; refreshing asks for all.
func TestOfflineAndRefresh(t *testing.T) {
	n := 0
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n++
		if r.URL.Path == "/absent" {
			w.WriteHeader(404)
			return
		}
		fmt.Fprint(w, n)
	})
	dir := t.TempDir()
	c, _ := newClient(t, Config{Dir: dir})
	if got, err := text(t.Context(), c, s.URL+"/x"); got != "1" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	for range 2 {
		if _, err := text(t.Context(), c, s.URL+"/absent"); !errors.Is(err, ErrNotFound) {
			t.Fatalf("got %v", err)
		}
	}
	if n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
	later := func() time.Time { return time.Now().Add(1000 * time.Hour) }
	c, _ = newClient(t, Config{Dir: dir, Offline: true, Now: later})
	if got, err := text(t.Context(), c, s.URL+"/x"); got != "1" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := text(t.Context(), c, s.URL+"/absent"); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := text(t.Context(), c, s.URL+"/other"); !errors.Is(err, ErrOffline) || err.Error() != s.URL+"/other: not in the cache, and offline" {
		t.Errorf("got %v", err)
	}
	if _, err := c.File(t.Context(), File{URL: s.URL}); !errors.Is(err, ErrOffline) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Tail(t.Context(), File{URL: s.URL}, 1); !errors.Is(err, ErrOffline) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Document(t.Context(), s.URL, 1); !errors.Is(err, ErrOffline) {
		t.Errorf("got %v", err)
	}
	c, _ = newClient(t, Config{Dir: dir, Refresh: true})
	if got, err := text(t.Context(), c, s.URL+"/x"); got != "3" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// Whatever is in the cache, a page comes.
func TestGarbageInTheCache(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "good") })
	dir := t.TempDir()
	c, _ := newClient(t, Config{Dir: dir})
	if _, err := text(t.Context(), c, s.URL); err != nil {
		t.Fatal(err)
	}
	entry := cacheFiles(t, dir)[0]
	whole, err := os.ReadFile(entry)
	if err != nil {
		t.Fatal(err)
	}
	for _, garbage := range [][]byte{nil, whole[:10], whole[:entryHead], whole[:len(whole)-1], append(whole, 'x'), make([]byte, 100),
		[]byte(strings.Replace(string(whole), "good", "evil", 1)), encodeEntry(nil), encodeEntry([]byte("no json\nx")), encodeEntry([]byte(`{"url":"http://other/"}` + "\nx"))} {
		if err := os.WriteFile(entry, garbage, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := text(t.Context(), c, s.URL); got != "good" || err != nil {
			t.Errorf("with %.40q: got %q, %v", garbage, got, err)
		}
	}
}

// A cache that cannot be written is worth a warning and nothing more.
func TestCacheThatCannotBeWritten(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "good") })
	dir := t.TempDir()
	var warnings []string
	c, _ := newClient(t, Config{Dir: dir, Warn: func(s string) { warnings = append(warnings, s) }})
	if err := os.WriteFile(filepath.Join(dir, string(Pages)), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, err := text(t.Context(), c, s.URL); got != "good" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if len(warnings) != 1 || !strings.HasPrefix(warnings[0], "cache: mkdir ") {
		t.Errorf("warnings %q", warnings)
	}
}

// cacheFiles lists the files below dir.
func cacheFiles(t testing.TB, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Several processes with many goroutines share one cache.
func TestProcesses(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=0")
		io.WriteString(w, strings.Repeat(r.URL.Path, 1000))
	})
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), "FETCH_TEST_PEER="+dir+" "+s.URL)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	for _, file := range cacheFiles(t, dir) {
		if strings.Contains(file, ".tmp-") || strings.Contains(file, "arriving") {
			t.Errorf("%s is left", file)
		}
	}
}

// peer is what each of the processes does.
func peer(spec string) int {
	dir, base, _ := strings.Cut(spec, " ")
	c, err := New(context.Background(), Config{Dir: dir})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	var mu sync.Mutex
	status := 0
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for j := range 5 {
				path := fmt.Sprintf("/%d", (i+j)%3)
				if err := peerStep(c, base+path, strings.Repeat(path, 1000)); err != nil {
					mu.Lock()
					fmt.Println(err)
					status = 1
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return status
}

func peerStep(c *Client, url, want string) error {
	got, err := text(context.Background(), c, url)
	if err == nil && got != want {
		err = fmt.Errorf("%s: got %.50q", url, got)
	}
	if err != nil {
		return err
	}
	kept, err := c.File(context.Background(), File{URL: url, Size: int64(len(want))})
	if err != nil {
		return err
	}
	data, err := os.ReadFile(kept.Path)
	if err == nil && string(data) != want {
		err = fmt.Errorf("%s: file is %.50q", url, data)
	}
	return err
}
