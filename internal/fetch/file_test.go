package fetch

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

var content = bytes.Repeat([]byte("0123456789"), 1000)

func sha(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func TestFile(t *testing.T) {
	n := 0
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { n++; w.Write(content) })
	c, _ := newClient(t, Config{})
	sum512 := sha512.Sum512(content)
	f := File{URL: s.URL + "/f", Size: int64(len(content)), Hashes: map[string]string{"sha256": strings.ToUpper(sha(content)), "sha512": hex.EncodeToString(sum512[:])}}
	for range 2 {
		kept, err := c.File(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(kept.Path); err != nil || !bytes.Equal(data, content) || kept.SHA256 != sha(content) || kept.Size != f.Size {
			t.Errorf("got %+v with %d bytes, %v", kept, len(data), err)
		}
	}
	if n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
	// A file that was damaged on the disk is fetched again.
	kept, err := c.File(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kept.Path, content[1:], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.File(t.Context(), f); err != nil || n != 2 {
		t.Errorf("%v after %d requests, want 2", err, n)
	}
}

// A file that is not what it should be is refused, and not kept.
func TestFileThatLies(t *testing.T) {
	zeros := strings.Repeat("0", 64)
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(content) })
	for _, tt := range []struct {
		f    File
		want string
	}{
		{File{Size: 9999}, "the file has more than the 9999 bytes that the index gives"},
		{File{Size: 10001}, "the file has 10000 bytes and not the 10001 that the index gives"},
		{File{Hashes: map[string]string{"sha256": zeros}}, "the file has the sha256 " + sha(content) + " and not " + zeros},
		{File{Hashes: map[string]string{"sha256": sha(content), "sha384": "ab"}}, fmt.Sprintf("the file has the sha384 %x and not ab", sha512.Sum384(content))},
		{File{Hashes: map[string]string{"sha256": "../../x"}}, "the file has the sha256 " + sha(content) + " and not ../../x"},
	} {
		dir := t.TempDir()
		c, _ := newClient(t, Config{Dir: dir})
		tt.f.URL = s.URL
		if _, err := c.File(t.Context(), tt.f); !errors.Is(err, ErrAltered) || err.Error() != s.URL+": "+tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
		if left := cacheFiles(t, dir); len(left) != 0 {
			t.Errorf("%v are left", left)
		}
	}
}

func TestRange(t *testing.T) {
	var asked []string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Range"))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
	c, _ := newClient(t, Config{})
	known := File{URL: s.URL, Size: int64(len(content))}
	for _, tt := range []struct {
		get  func() (*Part, error)
		from int64
		data []byte
	}{
		{func() (*Part, error) { return c.Range(t.Context(), known, 5, 10) }, 5, content[5:15]},
		{func() (*Part, error) { return c.Tail(t.Context(), known, 7) }, 9993, content[9993:]},
		{func() (*Part, error) { return c.Tail(t.Context(), known, 1<<20) }, 0, content},
		{func() (*Part, error) { return c.Tail(t.Context(), File{URL: s.URL}, 7) }, 9993, content[9993:]},
		{func() (*Part, error) { return c.Tail(t.Context(), File{URL: s.URL}, 1<<20) }, 0, content},
	} {
		part, err := tt.get()
		if err != nil || part.From != tt.from || part.Size != 10000 || part.Whole != nil || !bytes.Equal(part.Data, tt.data) {
			t.Errorf("got %+v, %v, want from %d", part, err, tt.from)
		}
	}
	if got := strings.Join(asked, " "); got != "bytes=5-14 bytes=9993-9999 bytes=0-9999 bytes=-7 bytes=-1048576" {
		t.Errorf("asked %q", got)
	}
	for _, r := range [][2]int64{{-1, 2}, {0, 0}, {9999, 2}} {
		if _, err := c.Range(t.Context(), known, r[0], r[1]); err == nil {
			t.Errorf("range %v: no error", r)
		}
	}
}

// A server without ranges gives the whole file, and it is kept.
func TestRangeOfAWhole(t *testing.T) {
	n := 0
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { n++; w.Write(content) })
	c, _ := newClient(t, Config{})
	f := File{URL: s.URL, Size: 10000, Hashes: map[string]string{"sha256": sha(content)}}
	for range 2 {
		part, err := c.Tail(t.Context(), f, 10)
		if err != nil || part.Whole == nil || part.Size != 10000 || part.Data != nil {
			t.Fatalf("got %+v, %v", part, err)
		}
	}
	if n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
	f.Hashes = map[string]string{"sha256": strings.Repeat("0", 64)}
	if _, err := c.Tail(t.Context(), f, 10); err == nil || !strings.Contains(err.Error(), "and not 0000") {
		t.Errorf("got %v", err)
	}
}

func TestRangeThatLies(t *testing.T) {
	for _, tt := range []struct {
		head, body, want string
	}{
		{"bytes 0-9/10000", "0123456789", "the server gives bytes 0 to 9 where 9990 to 9999 were asked for"},
		{"bytes 9990-9999/10000", "0123456789x", "the answer has more than 10 bytes"},
		{"bytes 9990-9999/10000", "012345678", "the server gives 9 bytes where 10 were asked for"},
		{"bytes 9990-9999/9999", "0123456789", "the server gives a part without saying which"},
		{"bytes 9990-9999/20000", "0123456789", "the server gives a part of a file of 20000 bytes and not of the 10000 that the index gives"},
		{"", "0123456789", "the server gives a part without saying which"},
		{"bytes 9990-9999/*", "0123456789", "the server gives a part without saying which"},
		{"bytes 9990-99999999999999999999/10000", "0123456789", "the server gives a part without saying which"},
	} {
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", tt.head)
			w.WriteHeader(206)
			io.WriteString(w, tt.body)
		})
		c, _ := newClient(t, Config{})
		_, err := c.Tail(t.Context(), File{URL: s.URL, Size: 10000}, 10)
		if err == nil || err.Error() != s.URL+": "+tt.want {
			t.Errorf("%s: got %v, want %s", tt.head, err, tt.want)
		}
	}
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(416) })
	c, _ := newClient(t, Config{})
	if _, err := c.Tail(t.Context(), File{URL: s.URL}, 10); err == nil || err.Error() != s.URL+": the server answers 416 Requested Range Not Satisfiable" {
		t.Errorf("got %v", err)
	}
}

func TestDocument(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(content) })
	c, _ := newClient(t, Config{})
	if got, err := c.Document(t.Context(), s.URL, 10000); err != nil || !bytes.Equal(got, content) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if _, err := c.Document(t.Context(), s.URL, 9999); err == nil || err.Error() != s.URL+": the answer has more than 9999 bytes" {
		t.Errorf("got %v", err)
	}
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 1-2/3")
	f.Fuzz(func(t *testing.T, s string) {
		first, last, size, err := parseContentRange(s)
		if err == nil && (first < 0 || first > last || last >= size) {
			t.Errorf("parseContentRange(%q) = %d, %d, %d", s, first, last, size)
		}
	})
}

func FuzzEntry(f *testing.F) {
	f.Add(encodeEntry([]byte("{}\nbody")))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if data, ok := decodeEntry(raw); ok {
			if !bytes.Equal(encodeEntry(data), raw) {
				t.Errorf("%q is an entry in two ways", raw)
			}
			decodePage(data)
		}
		decodePage(raw)
	})
}
