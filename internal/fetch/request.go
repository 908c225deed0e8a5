package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxRedirects = 10
	maxWait      = time.Minute // the longest Retry-After that is honoured
)

// A request is one GET, with all its attempts.
type request struct {
	url    *url.URL
	header http.Header
	expect []int // the statuses that read knows

	// read takes the answer and reports what is wrong with it; at is where the
	// redirects led to. It is called once for every attempt that gets so far.
	read func(resp *http.Response, at *url.URL) error
}

// A passing failure may be gone at the next attempt.
type passing struct {
	err   error
	after time.Duration // what the server asks to wait, 0 for nothing
}

func (p *passing) Error() string { return p.err.Error() }
func (p *passing) Unwrap() error { return p.err }

// do sends r until it succeeds, fails for good, or was sent often enough.
func (c *Client) do(ctx context.Context, r request) error {
	for attempt := 1; ; attempt++ {
		err := c.attempt(ctx, r)
		var p *passing
		if !errors.As(err, &p) {
			return c.explain(r.url, err, attempt)
		}
		if ctx.Err() != nil || attempt == c.cfg.Attempts {
			return c.explain(r.url, p.err, attempt)
		}
		d := p.after
		if d == 0 {
			d = c.cfg.Backoff << (attempt - 1)
			d += rand.N(d/4 + 1) // twenty processes must not come back together
		}
		if d > maxWait {
			return c.explain(r.url, fmt.Errorf("%w and asks to wait %v", p.err, d), attempt)
		}
		if wait := c.wait(ctx, d); wait != nil {
			return c.explain(r.url, &statusless{p.err.Error() + "; " + wait.Error(), wait}, attempt)
		}
	}
}

// attempt sends r once.
func (c *Client) attempt(ctx context.Context, r request) error {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := watch(c.cfg.Stall, cancel)
	defer p.stop()

	resp, at, err := c.follow(ctx, r)
	if err != nil {
		return network(ctx, err)
	}
	defer resp.Body.Close()
	p.begin(resp)
	for _, status := range r.expect {
		if resp.StatusCode == status {
			if err := r.read(resp, at); err != nil {
				return network(ctx, err)
			}
			return nil
		}
	}
	return c.refusal(resp, at)
}

// follow sends r and goes where the answer points to.
func (c *Client) follow(ctx context.Context, r request) (*http.Response, *url.URL, error) {
	at := r.url
	for range maxRedirects + 1 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
		if err != nil {
			return nil, nil, errors.New("no request can be made of the URL")
		}
		req.Header = r.header.Clone()
		req.Header.Set("User-Agent", c.cfg.UserAgent)
		c.authorize(req)
		resp, err := c.http.RoundTrip(req)
		if err != nil {
			return nil, nil, &transportError{err}
		}
		switch resp.StatusCode {
		case 301, 302, 303, 307, 308:
		default:
			return resp, at, nil
		}
		resp.Body.Close()
		if at, err = redirect(at, resp.Header.Get("Location")); err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, fmt.Errorf("more than %d redirects", maxRedirects)
}

// redirect gives the URL that an answer from at points to. A server may write
// anything into it, so errors do not quote it.
func redirect(at *url.URL, location string) (*url.URL, error) {
	if location == "" || len(location) > maxURL {
		return nil, errors.New("a redirect to nowhere")
	}
	next, err := at.Parse(location)
	if err != nil || next.Hostname() == "" {
		return nil, errors.New("a redirect to a URL that cannot be read")
	}
	if next.Scheme != "https" && (next.Scheme != "http" || at.Scheme == "https") {
		return nil, fmt.Errorf("a redirect from %s to %s", at.Scheme, next.Scheme)
	}
	next.User, next.Fragment, next.RawFragment = nil, "", ""
	return next, nil
}

// refusal makes an error of an answer that is none of those expected.
func (c *Client) refusal(resp *http.Response, at *url.URL) error {
	status := resp.StatusCode
	e := &statusError{status: status, text: statusText(status)}
	switch {
	case status == 404:
		e.kind, e.text = ErrNotFound, "not found (404)"
	case status == 401 || status == 403:
		e.kind = ErrDenied
		if _, _, ok := c.credentials(at); ok {
			e.text = fmt.Sprintf("access denied (%d) to the credentials for %s://%s", status, at.Scheme, at.Host)
		} else {
			e.text = fmt.Sprintf("access denied (%d), and no credentials are known for %s://%s; write them in ~/.netrc", status, at.Scheme, at.Host)
		}
	case status == 429 || status >= 500 && status != 501 && status != 505:
		return &passing{e, c.retryAfter(resp.Header.Get("Retry-After"))}
	}
	return e
}

func statusText(status int) string {
	return strings.TrimSpace(fmt.Sprintf("the server answers %d %s", status, http.StatusText(status)))
}

// retryAfter reads how long a server asks to wait, 0 where it says nothing.
func (c *Client) retryAfter(s string) time.Duration {
	if seconds, err := strconv.Atoi(s); err == nil {
		return time.Duration(min(max(seconds, 0), 1<<30)) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(t.Sub(c.cfg.Now()), 0)
	}
	return 0
}

// A statusError is an answer of HTTP that is none.
type statusError struct {
	status int
	text   string
	kind   error
}

func (e *statusError) Error() string { return e.text }
func (e *statusError) Unwrap() error { return e.kind }

// A statusless error has a sentence of its own for a cause.
type statusless struct {
	text string
	err  error
}

func (e *statusless) Error() string { return e.text }
func (e *statusless) Unwrap() error { return e.err }

// A transportError comes from the connection and not from us.
type transportError struct{ err error }

func (e *transportError) Error() string { return e.err.Error() }
func (e *transportError) Unwrap() error { return e.err }

// network sorts an error: what the connection did may pass, what we refuse
// does not. ctx is that of the attempt.
func network(ctx context.Context, err error) error {
	var t *transportError
	if !errors.As(err, &t) {
		return err
	}
	if ctx.Err() != nil {
		cause := context.Cause(ctx)
		var s *stallError
		if errors.As(cause, &s) {
			return &passing{err: &statusless{cause.Error(), ErrUnreachable}}
		}
		return cause
	}
	down := &statusless{"unreachable: " + t.err.Error(), ErrUnreachable}
	if op := (*net.OpError)(nil); errors.As(t.err, &op) && op.Op == "proxyconnect" {
		down.text += "; HTTP_PROXY, HTTPS_PROXY and NO_PROXY say which proxy to take"
	}
	var cert *tls.CertificateVerificationError
	if errors.As(t.err, &cert) {
		return down
	}
	return &passing{err: down}
}

// explain makes the one sentence that a caller sees.
func (c *Client) explain(u *url.URL, err error, attempts int) error {
	if err == nil {
		return nil
	}
	e := &Error{URL: display(u), Reason: err.Error(), Err: err}
	var s *statusError
	if errors.As(err, &s) {
		e.Status = s.status
	}
	if attempts > 1 {
		e.Reason += fmt.Sprintf(" (after %d attempts)", attempts)
	}
	return e
}
