package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// maxPart is the size of the largest piece that is asked for at once, in bytes.
const maxPart = 64 << 20

// A Part is a piece of a file, or all of it where the server gives no pieces.
type Part struct {
	Data []byte
	From int64 // where Data begins
	Size int64 // of the whole file, in bytes

	Whole *Kept // not nil where the server gave all; Data is nil then
}

// Range gives n bytes of f from from on. Both are within the file, whose size
// is known.
func (c *Client) Range(ctx context.Context, f File, from, n int64) (*Part, error) {
	if from < 0 || n <= 0 || from+n > f.Size {
		return nil, fmt.Errorf("no bytes %d to %d in a file of %d bytes", from, from+n-1, f.Size)
	}
	return c.part(ctx, f, fmt.Sprintf("bytes=%d-%d", from, from+n-1), from, n)
}

// Tail gives the last n bytes of f, whose size need not be known, or all of it
// where it has less.
func (c *Client) Tail(ctx context.Context, f File, n int64) (*Part, error) {
	if f.Size != 0 {
		n = min(n, f.Size)
		return c.Range(ctx, f, f.Size-n, n)
	}
	return c.part(ctx, f, fmt.Sprintf("bytes=-%d", n), -1, n)
}

// part asks for one range; from is -1 for the last n bytes.
func (c *Client) part(ctx context.Context, f File, spec string, from, n int64) (*Part, error) {
	u, err := parseURL(f.URL)
	if err != nil {
		return nil, err
	}
	if n > maxPart {
		return nil, fmt.Errorf("a piece of %d bytes is more than %d", n, maxPart)
	}
	if kept, ok := c.keptFile(f); ok {
		return &Part{Size: kept.Size, Whole: &kept}, nil
	}
	if c.cfg.Offline {
		return nil, c.explain(u, ErrOffline, 1)
	}
	var part *Part
	err = c.do(ctx, request{
		url:    u,
		header: http.Header{"Accept-Encoding": {"identity"}, "Range": {spec}},
		expect: []int{200, 206},
		read: func(resp *http.Response, _ *url.URL) (err error) {
			part, err = c.readPart(f, resp, from, n)
			return err
		},
	})
	return part, err
}

func (c *Client) readPart(f File, resp *http.Response, from, n int64) (*Part, error) {
	if resp.StatusCode == 200 {
		kept, err := c.keepFile(f, resp)
		if err != nil {
			return nil, err
		}
		return &Part{Size: kept.Size, Whole: &kept}, nil
	}
	first, last, size, err := parseContentRange(resp.Header.Get("Content-Range"))
	if err != nil {
		return nil, err
	}
	if f.Size != 0 && size != f.Size {
		return nil, fmt.Errorf("the server gives a part of a file of %d bytes and not of the %d that the index gives", size, f.Size)
	}
	if from < 0 {
		from = max(size-n, 0)
		n = size - from
	}
	if first != from || last != from+n-1 {
		return nil, fmt.Errorf("the server gives bytes %d to %d where %d to %d were asked for", first, last, from, from+n-1)
	}
	data, err := readAll(resp, n)
	if err != nil {
		return nil, err
	}
	if int64(len(data)) != n {
		return nil, fmt.Errorf("the server gives %d bytes where %d were asked for", len(data), n)
	}
	return &Part{Data: data, From: from, Size: size}, nil
}

// parseContentRange reads "bytes FIRST-LAST/SIZE".
func parseContentRange(s string) (first, last, size int64, err error) {
	bad := errors.New("the server gives a part without saying which")
	spec, ok := strings.CutPrefix(s, "bytes ")
	span, total, ok2 := strings.Cut(spec, "/")
	a, b, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, 0, bad
	}
	for _, field := range []struct {
		to   *int64
		text string
	}{{&first, a}, {&last, b}, {&size, total}} {
		n, err := strconv.ParseUint(field.text, 10, 62)
		if err != nil {
			return 0, 0, 0, bad
		}
		*field.to = int64(n)
	}
	if first > last || last >= size {
		return 0, 0, 0, bad
	}
	return first, last, size, nil
}
