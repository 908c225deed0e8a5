package fetch

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
)

// Copy writes f to w and keeps nothing: it is for who has a place of his own for
// it. Its size and hashes are checked at the end, so that what was written is
// worth nothing after an error. An attempt goes on where the last one ended.
func (c *Client) Copy(ctx context.Context, f File, w io.Writer) error {
	u, err := parseURL(f.URL)
	if err != nil {
		return err
	}
	if kept, ok := c.keptFile(f); ok {
		return copyKept(kept, w)
	}
	if c.cfg.Offline {
		return c.explain(u, ErrOffline, 1)
	}
	got := newChecker(f)
	r := request{url: u, header: http.Header{"Accept-Encoding": {"identity"}}, expect: []int{200, 206}}
	r.read = func(resp *http.Response, _ *url.URL) error {
		err := copyRest(resp, got, w)
		if err == nil || f.Size != 0 && got.n >= f.Size {
			return got.done()
		}
		if f.Size != 0 && got.n > 0 {
			r.header.Set("Range", fmt.Sprintf("bytes=%d-", got.n))
		}
		return err
	}
	return c.do(ctx, r)
}

// copyRest writes what got has not seen yet. Some servers give all where a part
// was asked for.
func copyRest(resp *http.Response, got *checker, w io.Writer) error {
	from := int64(0)
	if resp.StatusCode == 206 {
		first, _, size, err := parseContentRange(resp.Header.Get("Content-Range"))
		if err != nil {
			return err
		}
		if first > got.n || size != got.f.Size {
			return fmt.Errorf("the server gives a part from byte %d on of a file of %d bytes, and byte %d of %d was asked for", first, size, got.n, got.f.Size)
		}
		from = first
	}
	if _, err := io.CopyN(io.Discard, resp.Body, got.n-from); err == io.EOF {
		return nil // too short, as the size and the hashes will tell
	} else if err != nil {
		return err
	}
	_, err := io.Copy(io.MultiWriter(w, got), io.LimitReader(resp.Body, got.max+1-got.n))
	return err
}

func copyKept(kept Kept, w io.Writer) error {
	in, err := os.Open(kept.Path)
	if err != nil {
		return err
	}
	defer in.Close() // opened for reading: nothing can be lost
	_, err = io.Copy(w, in)
	return err
}
