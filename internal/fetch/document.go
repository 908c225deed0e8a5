package fetch

import (
	"context"
	"net/http"
	"net/url"
)

// Document gets a document of at most limit bytes, past the cache. For one that
// does not exist the error wraps [ErrNotFound].
func (c *Client) Document(ctx context.Context, rawURL string, limit int64) ([]byte, error) {
	u, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	if c.cfg.Offline {
		return nil, c.explain(u, ErrOffline, 1)
	}
	var body []byte
	err = c.do(ctx, request{
		url:    u,
		header: http.Header{},
		expect: []int{200},
		read: func(resp *http.Response, _ *url.URL) (err error) {
			body, err = readAll(resp, limit)
			return err
		},
	})
	return body, err
}
