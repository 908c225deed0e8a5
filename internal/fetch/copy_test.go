package fetch

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A flaky server ends its first answers early. It knows ranges or not.
func flaky(t *testing.T, ranges bool, ends ...int) (url string, asked *[]string) {
	asked = new([]string)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.Header.Get("Range"))
		from, status := 0, "200 OK"
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil && ranges {
			status = fmt.Sprintf("206 Partial Content\r\nContent-Range: bytes %d-%d/%d", from, len(content)-1, len(content))
		} else {
			from = 0
		}
		to := len(content)
		if n := len(*asked); n <= len(ends) {
			to = ends[n-1]
		}
		cut(t, w, fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", status, len(content)-from, content[from:max(from, to)]), false)
	})
	return s.URL + "/f", asked
}

// What was cut off goes on where it ended, and nothing is kept.
func TestCopy(t *testing.T) {
	for _, tt := range []struct {
		name   string
		ranges bool
		size   int64
		ends   []int
		asked  string
	}{
		{"whole", true, 10000, nil, ""},
		{"parts", true, 10000, []int{4000, 0, 9999}, "|bytes=4000-|bytes=4000-|bytes=9999-"},
		{"no ranges", false, 10000, []int{4000, 2000}, "|bytes=4000-|bytes=4000-"},
		{"no size", true, 0, []int{4000}, "|"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url, asked := flaky(t, tt.ranges, tt.ends...)
			dir := t.TempDir()
			c, _ := newClient(t, Config{Dir: dir})
			var got bytes.Buffer
			err := c.Copy(t.Context(), File{URL: url, Size: tt.size, Hashes: map[string]string{"sha256": sha(content)}}, &got)
			if err != nil || !bytes.Equal(got.Bytes(), content) {
				t.Errorf("got %d bytes, %v", got.Len(), err)
			}
			if got := strings.Join(*asked, "|"); got != tt.asked {
				t.Errorf("asked %q, want %q", got, tt.asked)
			}
			if left := cacheFiles(t, dir); len(left) != 0 {
				t.Errorf("%v are kept", left)
			}
		})
	}
}

type full struct{ n int }

var errFull = errors.New("no room")

func (f *full) Write(p []byte) (int, error) {
	if f.n -= len(p); f.n < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestCopyThatFails(t *testing.T) {
	url, asked := flaky(t, true)
	c, _ := newClient(t, Config{})
	for _, tt := range []struct {
		f    File
		want string
	}{
		{File{Size: 9999}, "the file has more than the 9999 bytes that the index gives"},
		{File{Size: 10001}, "the file has 10000 bytes and not the 10001 that the index gives"},
		{File{Size: 10000, Hashes: map[string]string{"sha256": sha(nil)}}, "the file has the sha256 " + sha(content) + " and not " + sha(nil)},
	} {
		tt.f.URL = url
		if err := c.Copy(t.Context(), tt.f, new(bytes.Buffer)); err == nil || err.Error() != url+": "+tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
	*asked = nil
	if err := c.Copy(t.Context(), File{URL: url, Size: 10000}, &full{5000}); !errors.Is(err, errFull) || len(*asked) != 1 {
		t.Errorf("got %v after %d requests", err, len(*asked))
	}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Range", "bytes 5-9/10000")
		w.WriteHeader(206)
	})
	if err := c.Copy(t.Context(), File{URL: s.URL, Size: 10000}, &full{}); err == nil || !strings.Contains(err.Error(), "a part from byte 5 on") {
		t.Errorf("got %v", err)
	}
}

// What is in the cache already is taken from there.
func TestCopyOfKept(t *testing.T) {
	url, asked := flaky(t, true)
	c, _ := newClient(t, Config{})
	f := File{URL: url, Size: 10000, Hashes: map[string]string{"sha256": sha(content)}}
	c.cfg.Offline = true
	var got bytes.Buffer
	if err := c.Copy(t.Context(), f, &got); !errors.Is(err, ErrOffline) {
		t.Errorf("offline: %v", err)
	}
	c.cfg.Offline = false
	if _, err := c.File(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	if err := c.Copy(t.Context(), f, &got); err != nil || !bytes.Equal(got.Bytes(), content) || len(*asked) != 1 {
		t.Errorf("got %d bytes, %v after %d requests", got.Len(), err, len(*asked))
	}
}
