package fetch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxFresh bounds what a server may say about how long a page is fresh.
const maxFresh = 24 * time.Hour

// A Page is a document to get, and what to make of it.
type Page struct {
	URL    string
	Accept string // what the request's header asks for
	Max    int64  // the size of the largest body, in bytes, after decompression

	// Form names what Reduce makes of an answer, with a number: it is part of
	// the key in the cache.
	Form   string
	Reduce func(Answer) ([]byte, error)

	// Use takes what Reduce made, now or in an earlier run. What it refuses of
	// an earlier run is asked for again; its error counts only for a new one.
	Use func(reduced []byte) error
}

// An Answer is what a server sent.
type Answer struct {
	URL  *url.URL // where the redirects led to: the base of relative URLs
	Type string   // media type, without parameters, in lower case
	Body []byte
}

// A keptPage is a page in the cache: a line of JSON, and what Reduce made.
type keptPage struct {
	URL      string `json:"url"`
	Absent   bool   `json:"absent,omitempty"` // the server had no such page
	ETag     string `json:"etag,omitempty"`
	Modified string `json:"modified,omitempty"`
	Got      int64  `json:"got"`   // when, in seconds since 1970
	Fresh    int64  `json:"fresh"` // for how many seconds

	reduced []byte
}

// Page gets p from the cache or from its server and gives it to p.Use. For a
// page that does not exist the error wraps [ErrNotFound].
func (c *Client) Page(ctx context.Context, p Page) error {
	u, err := parseURL(p.URL)
	if err != nil {
		return err
	}
	u.User = nil
	key := p.Form + "\n" + u.String()
	old := c.loadPage(key, u.String())
	if old != nil && c.mayAnswer(old) {
		if old.Absent {
			return c.explain(u, &statusError{404, "not found (404)", ErrNotFound}, 1)
		}
		if p.Use(old.reduced) == nil {
			return nil
		}
		old = nil
	}
	if c.cfg.Offline {
		return c.explain(u, ErrOffline, 1)
	}
	kept, err := c.getPage(ctx, p, u, old)
	if err != nil {
		if errors.Is(err, ErrNotFound) {
			c.storePage(key, c.keep(u, nil, &keptPage{Absent: true}))
		}
		return err
	}
	if err := p.Use(kept.reduced); err != nil {
		if old == nil {
			return c.explain(u, err, 1)
		}
		// It was not modified, but what we made of it then is no good.
		if kept, err = c.getPage(ctx, p, u, nil); err != nil {
			return err
		}
		if err := p.Use(kept.reduced); err != nil {
			return c.explain(u, err, 1)
		}
	}
	c.storePage(key, kept)
	return nil
}

// mayAnswer reports whether nothing has to be sent.
func (c *Client) mayAnswer(k *keptPage) bool {
	if c.cfg.Offline {
		return true
	}
	age := c.cfg.Now().Unix() - k.Got
	return !c.cfg.Refresh && age >= 0 && age < min(k.Fresh, int64(maxFresh/time.Second))
}

// getPage asks the server, with the validators of old where there is one.
func (c *Client) getPage(ctx context.Context, p Page, u *url.URL, old *keptPage) (*keptPage, error) {
	r := request{url: u, header: http.Header{"Accept": {p.Accept}}, expect: []int{200}}
	if old != nil {
		if old.ETag != "" {
			r.header.Set("If-None-Match", old.ETag)
			r.expect = append(r.expect, 304)
		}
		if old.Modified != "" {
			r.header.Set("If-Modified-Since", old.Modified)
			r.expect = append(r.expect, 304)
		}
	}
	var kept *keptPage
	var answer Answer
	r.read = func(resp *http.Response, at *url.URL) error {
		if resp.StatusCode == 304 {
			kept = c.keep(u, resp.Header, old)
			return nil
		}
		body, err := readAll(resp, p.Max)
		if err != nil {
			return err
		}
		kept = c.keep(u, resp.Header, new(keptPage))
		answer = Answer{URL: at, Type: mediaType(resp.Header), Body: body}
		return nil
	}
	if err := c.do(ctx, r); err != nil {
		return nil, err
	}
	if answer.URL == nil {
		return kept, nil
	}
	reduced, err := p.Reduce(answer)
	if err != nil {
		return nil, c.explain(u, err, 1)
	}
	kept.reduced = reduced
	return kept, nil
}

// keep notes when k was got and for how long it is fresh.
func (c *Client) keep(u *url.URL, h http.Header, k *keptPage) *keptPage {
	now := *k
	now.URL = u.String()
	now.Got = c.cfg.Now().Unix()
	now.Fresh = int64(c.freshness(h) / time.Second)
	if tag := h.Get("ETag"); tag != "" && len(tag) <= 1024 {
		now.ETag = tag
	}
	if modified := h.Get("Last-Modified"); modified != "" && len(modified) <= 64 {
		now.Modified = modified
	}
	return &now
}

// freshness reads Cache-Control.
func (c *Client) freshness(h http.Header) time.Duration {
	fresh := c.cfg.Fresh
	for _, line := range h.Values("Cache-Control") {
		for directive := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
			switch name {
			case "no-store", "no-cache":
				return 0
			case "max-age":
				if s, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 32); err == nil && s >= 0 {
					fresh = time.Duration(s) * time.Second
				}
			}
		}
	}
	return fresh
}

func mediaType(h http.Header) string {
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// readAll reads a body of at most limit bytes.
func readAll(resp *http.Response, limit int64) ([]byte, error) {
	var b bytes.Buffer
	if n := resp.ContentLength; n > 0 && n <= min(limit, 16<<20) { // larger than any page that was seen
		b.Grow(int(n) + bytes.MinRead)
	}
	if _, err := b.ReadFrom(io.LimitReader(resp.Body, limit+1)); err != nil {
		return nil, err
	}
	if int64(b.Len()) > limit {
		return nil, fmt.Errorf("the answer has more than %d bytes", limit)
	}
	return b.Bytes(), nil
}

// loadPage gives a page that was kept, nil for none.
func (c *Client) loadPage(key, url string) *keptPage {
	data, ok := c.Load(Pages, key)
	if !ok {
		return nil
	}
	k := decodePage(data)
	if k == nil || k.URL != url {
		return nil
	}
	return k
}

func decodePage(data []byte) *keptPage {
	head, reduced, ok := bytes.Cut(data, []byte("\n"))
	if !ok {
		return nil
	}
	k := &keptPage{reduced: reduced}
	if json.Unmarshal(head, k) != nil {
		return nil
	}
	return k
}

func (c *Client) storePage(key string, k *keptPage) {
	head, err := json.Marshal(k)
	if err != nil {
		return // no field can make it fail
	}
	c.Store(Pages, key, append(head, '\n'), k.reduced)
}
