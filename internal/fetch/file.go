package fetch

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
)

// DefaultMaxFile is the size of the largest file that is downloaded where the
// caller knows no size, in bytes.
const DefaultMaxFile = 4 << 30

// A File is a file that never changes.
type File struct {
	URL    string
	Size   int64             // in bytes; 0 where it is not known
	Hashes map[string]string // algorithm to hex digest; sha256, sha384 and sha512 are checked
}

// A Kept is a file in the cache, which stays there until the Client is closed.
// It must not be changed.
type Kept struct {
	Path   string
	Size   int64
	SHA256 string // hex
}

// File gives the cache's copy of f. It is downloaded where there is none, and
// its size and hashes are checked every time.
func (c *Client) File(ctx context.Context, f File) (Kept, error) {
	u, err := parseURL(f.URL)
	if err != nil {
		return Kept{}, err
	}
	if kept, ok := c.keptFile(f); ok {
		return kept, nil
	}
	if c.cfg.Offline {
		return Kept{}, c.explain(u, ErrOffline, 1)
	}
	var kept Kept
	err = c.do(ctx, request{
		url:    u,
		header: http.Header{"Accept-Encoding": {"identity"}},
		expect: []int{200},
		read: func(resp *http.Response, _ *url.URL) (err error) {
			kept, err = c.keepFile(f, resp)
			return err
		},
	})
	return kept, err
}

// keptFile looks for f in the cache.
func (c *Client) keptFile(f File) (Kept, bool) {
	sum := strings.ToLower(f.Hashes["sha256"])
	if !isDigest(sum) {
		return Kept{}, false
	}
	path := c.path(files, sum)
	in, err := os.Open(path)
	if err != nil {
		return Kept{}, false
	}
	defer in.Close()
	check := newChecker(f)
	if _, err := io.Copy(check, in); err != nil || check.done() != nil {
		return Kept{}, false
	}
	if info, err := in.Stat(); err == nil {
		c.used(path, info)
	}
	return Kept{path, check.n, check.sha256()}, true
}

// keepFile writes the body of resp into the cache. Its name is known at the end.
func (c *Client) keepFile(f File, resp *http.Response) (Kept, error) {
	out, err := c.arrive("file")
	if err != nil {
		return Kept{}, err
	}
	defer out.Abort()
	check := newChecker(f)
	if _, err := io.Copy(io.MultiWriter(out, check), io.LimitReader(resp.Body, check.max+1)); err != nil {
		return Kept{}, err
	}
	if err := check.done(); err != nil {
		return Kept{}, err
	}
	kept := Kept{c.path(files, check.sha256()), check.n, check.sha256()}
	return kept, land(out, kept.Path)
}

// A checker is written what a file holds and judges it.
type checker struct {
	f    File
	max  int64
	n    int64
	sums map[string]hash.Hash
}

func newChecker(f File) *checker {
	c := &checker{f: f, max: f.Size, sums: map[string]hash.Hash{"sha256": sha256.New()}}
	if f.Size == 0 {
		c.max = DefaultMaxFile
	}
	if f.Hashes["sha384"] != "" {
		c.sums["sha384"] = sha512.New384()
	}
	if f.Hashes["sha512"] != "" {
		c.sums["sha512"] = sha512.New()
	}
	return c
}

// Write never fails.
func (c *checker) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	for _, h := range c.sums {
		h.Write(p)
	}
	return len(p), nil
}

// done reports what is wrong with all that was written.
func (c *checker) done() error {
	switch {
	case c.f.Size != 0 && c.n > c.f.Size:
		return altered("the file has more than the %d bytes that the index gives", c.f.Size)
	case c.f.Size != 0 && c.n < c.f.Size:
		return altered("the file has %d bytes and not the %d that the index gives", c.n, c.f.Size)
	case c.n > c.max:
		return fmt.Errorf("the file has more than %d bytes", c.max)
	}
	for _, name := range slices.Sorted(maps.Keys(c.sums)) {
		want := strings.ToLower(c.f.Hashes[name])
		if got := hex.EncodeToString(c.sums[name].Sum(nil)); want != "" && got != want {
			return altered("the file has the %s %s and not %s", name, got, want)
		}
	}
	return nil
}

func altered(format string, args ...any) error {
	return &statusless{fmt.Sprintf(format, args...), ErrAltered}
}

func (c *checker) sha256() string { return hex.EncodeToString(c.sums["sha256"].Sum(nil)) }
