package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain lets the test binary be one of several processes on one cache.
func TestMain(m *testing.M) {
	if spec := os.Getenv("FETCH_TEST_PEER"); spec != "" {
		os.Exit(peer(spec))
	}
	os.Exit(m.Run())
}

// A waits notes for how long a client would have waited.
type waits struct {
	mu sync.Mutex
	d  []time.Duration
}

func (w *waits) wait(ctx context.Context, d time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.d = append(w.d, d)
	return ctx.Err()
}

// newClient makes a client that waits for nothing.
func newClient(t testing.TB, cfg Config) (*Client, *waits) {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	c, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	w := new(waits)
	c.wait = w.wait
	return c, w
}

func serve(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// text gets a page as it is.
func text(ctx context.Context, c *Client, url string) (string, error) {
	var got string
	err := c.Page(ctx, Page{
		URL: url, Accept: "text/plain", Max: 1 << 20, Form: "text 1",
		Reduce: func(a Answer) ([]byte, error) { return a.Body, nil },
		Use:    func(b []byte) error { got = string(b); return nil },
	})
	return got, err
}

// cut ends the connection of a request: with a reset, or as if all was sent.
func cut(t testing.TB, w http.ResponseWriter, answer string, reset bool) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	io.WriteString(conn, answer)
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		tcp.SetLinger(0)
	}
	conn.Close()
}

// Every way in which a server can fail has its one sentence.
func TestFaults(t *testing.T) {
	tests := []struct {
		name     string
		handler  http.HandlerFunc
		want     string // the reason; a prefix of it where it ends in "…"
		kind     error
		requests int
	}{
		{"absent", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, "not found (404)", ErrNotFound, 1},
		{"gone", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(410) }, "the server answers 410 Gone", nil, 1},
		{"unauthorized", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, "access denied (401), and no credentials are known for http://…", ErrDenied, 1},
		{"forbidden", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, "access denied (403), and no credentials are known for http://…", ErrDenied, 1},
		{"server error", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "the server answers 500 Internal Server Error (after 4 attempts)", nil, 4},
		{"unavailable", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, "the server answers 503 Service Unavailable (after 4 attempts)", nil, 4},
		{"not implemented", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(501) }, "the server answers 501 Not Implemented", nil, 1},
		{"unknown status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(299) }, "the server answers 299", nil, 1},
		{"too many", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }, "the server answers 429 Too Many Requests (after 4 attempts)", nil, 4},
		{"too many for long", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(429)
		}, "the server answers 429 Too Many Requests and asks to wait 1h0m0s", nil, 1},
		{"reset", func(w http.ResponseWriter, _ *http.Request) { cut(t, w, "", true) }, "unreachable: …", ErrUnreachable, 4},
		{"closed", func(w http.ResponseWriter, _ *http.Request) { cut(t, w, "", false) }, "unreachable: EOF (after 4 attempts)", ErrUnreachable, 4},
		{"truncated", func(w http.ResponseWriter, _ *http.Request) {
			cut(t, w, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", false)
		}, "unreachable: unexpected EOF (after 4 attempts)", ErrUnreachable, 4},
		{"no HTTP", func(w http.ResponseWriter, _ *http.Request) { cut(t, w, "\x00\x01garbage\r\n\r\n", false) }, "unreachable: …", ErrUnreachable, 4},
		{"huge", func(w http.ResponseWriter, _ *http.Request) {
			for range 2000 {
				if _, err := w.Write(make([]byte, 1024)); err != nil {
					return
				}
			}
		}, "the answer has more than 1048576 bytes", nil, 1},
		{"huge when unpacked", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(gzipped(make([]byte, 2<<20)))
		}, "the answer has more than 1048576 bytes", nil, 1},
		{"bad compression", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, "no gzip at all")
		}, "unreachable: gzip: invalid header (after 4 attempts)", ErrUnreachable, 4},
		{"huge header", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Fill", strings.Repeat("x", 300<<10))
		}, "unreachable: …", ErrUnreachable, 4},
		{"loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, "more than 10 redirects", nil, 11},
		{"redirect to a file", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(302)
		}, "a redirect to a URL that cannot be read", nil, 1},
		{"redirect to nowhere", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(302) }, "a redirect to nowhere", nil, 1},
		{"bad redirect", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://user:s3cret@%zz/")
			w.WriteHeader(302)
		}, "a redirect to a URL that cannot be read", nil, 1},
		{"hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "less than 1024 bytes came in 40ms (after 4 attempts)", ErrUnreachable, 4},
		{"drip", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				w.Write([]byte{'x'})
				w.(http.Flusher).Flush()
				select {
				case <-time.After(time.Millisecond):
				case <-r.Context().Done():
				}
			}
		}, "less than 1024 bytes came in 40ms (after 4 attempts)", ErrUnreachable, 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var mu sync.Mutex
			n := 0
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				n++
				mu.Unlock()
				tt.handler(w, r)
			})
			cfg := Config{}
			if strings.HasPrefix(tt.want, "less than") { // in others a slow machine must not decide
				cfg.Stall = 40 * time.Millisecond
			}
			c, _ := newClient(t, cfg)
			_, err := text(t.Context(), c, s.URL+"/x?token=s3cret")
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want an *Error", err)
			}
			prefix, open := strings.CutSuffix(tt.want, "…")
			if e.Reason != tt.want && (!open || !strings.HasPrefix(e.Reason, prefix)) || e.URL != s.URL+"/x" {
				t.Errorf("got %q, want %s/x: %s", err, s.URL, tt.want)
			}
			if tt.kind != nil && !errors.Is(err, tt.kind) {
				t.Errorf("%v is not %v", err, tt.kind)
			}
			if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "\n") {
				t.Errorf("error is %q", err)
			}
			mu.Lock()
			defer mu.Unlock()
			if n != tt.requests {
				t.Errorf("%d requests, want %d", n, tt.requests)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	s := serve(t, nil)
	s.Close()
	c, _ := newClient(t, Config{})
	_, err := text(t.Context(), c, s.URL)
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
}

func TestRetrySucceeds(t *testing.T) {
	n := 0
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		switch n++; n {
		case 1:
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(503)
		case 2:
			cut(t, w, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", false)
		case 3:
			w.Header().Set("Retry-After", time.Unix(1_000_009, 0).UTC().Format(http.TimeFormat))
			w.WriteHeader(429)
		default:
			io.WriteString(w, "whole")
		}
	})
	c, w := newClient(t, Config{Now: func() time.Time { return time.Unix(1_000_000, 0) }})
	got, err := text(t.Context(), c, s.URL)
	if got != "whole" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if len(w.d) != 3 || w.d[0] != 7*time.Second || w.d[1] < 500*time.Millisecond || w.d[1] > 650*time.Millisecond || w.d[2] != 9*time.Second {
		t.Errorf("waited %v", w.d)
	}
}

// A caller's deadline ends a request at once, and is the cause.
func TestDeadline(t *testing.T) {
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	c, _ := newClient(t, Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err := text(ctx, c, s.URL)
	if !errors.Is(err, context.DeadlineExceeded) || err.Error() != s.URL+": context deadline exceeded" {
		t.Errorf("got %v", err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := text(stopped, c, s.URL); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestDeadlineWhileWaiting(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	c, _ := newClient(t, Config{})
	c.wait = wait
	c.cfg.Backoff = 20 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err := text(ctx, c, s.URL)
	if !errors.Is(err, context.DeadlineExceeded) || err.Error() != s.URL+": the server answers 503 Service Unavailable; context deadline exceeded" {
		t.Errorf("got %v", err)
	}
}

// No more requests are under way than the client may send.
func TestPool(t *testing.T) {
	var mu sync.Mutex
	now, most := 0, 0
	full := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		now++
		most = max(most, now)
		if now == 3 {
			select {
			case <-full:
			default:
				close(full)
			}
		}
		mu.Unlock()
		<-full
		mu.Lock()
		now--
		mu.Unlock()
	})
	c, _ := newClient(t, Config{Requests: 3})
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			if _, err := text(t.Context(), c, fmt.Sprintf("%s/%d", s.URL, i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most != 3 {
		t.Errorf("%d requests at once, want 3", most)
	}
}

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	empty := dir + "/empty.pem"
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	netrc := dir + "/netrc"
	if err := os.WriteFile(netrc, []byte("machine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		cfg  Config
		want string
	}{
		{Config{}, "a cache needs a directory"},
		{Config{Dir: dir, Offline: true, Refresh: true}, "offline, nothing can be refreshed"},
		{Config{Dir: dir, CAFile: empty}, "certificates: " + empty + " holds none"},
		{Config{Dir: dir, CAFile: dir + "/none"}, "certificates: open " + dir + "/none: no such file or directory"},
		{Config{Dir: empty + "/x"}, "cache: mkdir " + empty + ": not a directory"},
		{Config{Dir: dir, Netrc: netrc}, netrc + ": line 2: machine needs a value"},
		{Config{Dir: dir, Credentials: []Credential{{URL: "ftp://u:s3cret@host/"}}}, "ftp://host/: only http and https URLs with a host can be fetched"},
	}
	for _, tt := range tests {
		if _, err := New(t.Context(), tt.cfg); err == nil || err.Error() != tt.want {
			t.Errorf("New(%+v) = %v, want %s", tt.cfg, err, tt.want)
		}
	}
}

// A server that the system does not trust is refused, and trusted with its own
// certificate; nothing leads from it to plain http.
func TestTLS(t *testing.T) {
	plain := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "plain") })
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/down" {
			http.Redirect(w, r, plain.URL, http.StatusFound)
			return
		}
		io.WriteString(w, "secure")
	}))
	s.Config.ErrorLog = quiet()
	s.StartTLS()
	t.Cleanup(s.Close)
	c, w := newClient(t, Config{})
	if _, err := text(t.Context(), c, s.URL); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "certificate") || len(w.d) != 0 {
		t.Errorf("got %v after %d waits", err, len(w.d))
	}
	file := t.TempDir() + "/ca.pem"
	if err := os.WriteFile(file, certificate(s), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _ = newClient(t, Config{CAFile: file})
	if got, err := text(t.Context(), c, s.URL); got != "secure" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := text(t.Context(), c, s.URL+"/down"); err == nil || err.Error() != s.URL+"/down: a redirect from https to http" {
		t.Errorf("got %v", err)
	}
}

// Who names a proxy that is not there is told which variables do.
func TestProxy(t *testing.T) {
	down := network(t.Context(), &transportError{&net.OpError{Op: "proxyconnect", Net: "tcp", Err: errors.New("connection refused")}})
	want := "unreachable: proxyconnect tcp: connection refused; HTTP_PROXY, HTTPS_PROXY and NO_PROXY say which proxy to take"
	if !errors.Is(down, ErrUnreachable) || down.Error() != want {
		t.Errorf("got %v, want %s", down, want)
	}
}
