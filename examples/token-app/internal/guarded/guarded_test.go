package guarded

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

// serve starts a TLS server for *.example.com, and says how to reach it.
func serve(t *testing.T, handler http.HandlerFunc) (*httptest.Server, Config) {
	s := httptest.NewUnstartedServer(handler)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s, Config{Roots: roots, Connect: map[string]string{"idp.example.com:443": s.Listener.Addr().String()}}
}

func client(t *testing.T, cfg Config) *Client {
	c := New(cfg)
	t.Cleanup(c.Close)
	return c
}

func document(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=77")
	io.WriteString(w, `{}`)
}

func TestGet(t *testing.T) {
	_, cfg := serve(t, document)
	got, err := client(t, cfg).Get(t.Context(), "https://idp.example.com/x", 2)
	if err != nil || string(got.Body) != "{}" || got.MaxAge != 77*time.Second {
		t.Errorf("Get = %q, %v, %v", got.Body, got.MaxAge, err)
	}
}

func TestGetRefuses(t *testing.T) {
	_, cfg := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/missing":
			http.NotFound(w, r)
		case "/redirect":
			http.Redirect(w, r, "https://idp.example.com/", http.StatusFound)
		case "/html":
			io.WriteString(w, "<html>")
		case "/slow":
			<-r.Context().Done()
		case "/slow-body":
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, "{")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case "/long-header":
			w.Header().Set("X", strings.Repeat("x", 1<<20))
		default:
			document(w, r)
		}
	})
	for _, tt := range []struct{ name, url, want string }{
		{"missing", "https://idp.example.com/missing", "idp.example.com: status 404"},
		{"redirect", "https://idp.example.com/redirect", "idp.example.com: status 302"},
		{"type", "https://idp.example.com/html", "not application/json"},
		{"too long", "https://idp.example.com/", "longer than 1 bytes"},
		{"slow", "https://idp.example.com/slow", "deadline exceeded"},
		{"slow body", "https://idp.example.com/slow-body", "deadline exceeded"},
		{"long header", "https://idp.example.com/long-header", "idp.example.com: "},
		{"not encrypted", "http://idp.example.com/", "not https://"},
		{"user", "https://u:p@idp.example.com/", "not https://"},
		{"fragment", "https://idp.example.com/#x", "not https://"},
		{"no host", "https:///x", "not https://"},
		{"opaque", "https:idp.example.com", "not https://"},
		{"unreadable", "https://idp.example.com/%zz", "cannot be read"},
		{"other port", "https://idp.example.com:8443/", "port 8443"},
		{"address", "https://127.0.0.1/", "is an address"},
		{"IPv6 address", "https://[::1]/", "not a name"},
		{"localhost", "https://localhost/", "has no domain"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := cfg
			if strings.HasPrefix(tt.name, "slow") {
				cfg.Timeout = 100 * time.Millisecond
			}
			begin := time.Now()
			got, err := client(t, cfg).Get(t.Context(), tt.url, 1)
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("Get = %q, %v, want an error with %q", got.Body, err, tt.want)
			}
			if strings.Contains(err.Error(), "/slow") {
				t.Errorf("the error has the path: %v", err)
			}
			var status *StatusError
			if errors.As(err, &status) != strings.Contains(tt.want, "status") {
				t.Errorf("%T is not what it should be", err)
			}
		})
	}
}

// A name that resolves to the own host is refused when it is connected to, unless
// the operator named it.
func TestDialToOwnHost(t *testing.T) {
	s, cfg := serve(t, document)
	c := client(t, Config{Roots: cfg.Roots})
	for _, address := range []string{s.Listener.Addr().String(), "localhost:443"} {
		conn, err := c.dial(t.Context(), "tcp", address)
		if err == nil || !strings.Contains(err.Error(), "not a public one") {
			t.Errorf("dial(%q) = %v, %v", address, conn, err)
		}
	}
	own := s.Listener.Addr().String() // 127.0.0.1 is in the certificate
	for _, cfg := range []Config{
		{Roots: cfg.Roots, Private: []string{own}},
		{Roots: cfg.Roots, Connect: map[string]string{own: own}},
	} {
		if _, err := client(t, cfg).Get(t.Context(), "https://"+own+"/", 100); err != nil {
			t.Error(err)
		}
	}
	if _, err := client(t, Config{Private: []string{own}}).Get(t.Context(), "https://"+own+"/", 100); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server that nobody vouches for: %v", err)
	}
	if c := New(Config{Private: []string{"a.example"}}); !c.private("a.example:443") || c.private("a.example:444") {
		t.Error("a private host without a port is not the one of port 443")
	}
}

// Proxies of the environment are not for these clients.
func TestNoProxy(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	_, cfg := serve(t, document)
	if _, err := client(t, cfg).Get(t.Context(), "https://idp.example.com/", 100); err != nil {
		t.Error(err)
	}
}

func TestPost(t *testing.T) {
	_, cfg := serve(t, func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if r.Method != "POST" || user != "a%3Ab" || password != "p%25" || r.FormValue("token") != "x&y" {
			http.Error(w, "", http.StatusForbidden)
			return
		}
		document(w, r)
	})
	_, err := client(t, cfg).Post(t.Context(), "https://idp.example.com/", url.Values{"token": {"x&y"}}, url.UserPassword("a:b", "p%"), 100)
	if err != nil {
		t.Error(err)
	}
}

// More exchanges than there may be wait, no longer than an exchange may take.
func TestConcurrent(t *testing.T) {
	arrived, leave := make(chan struct{}, 1), make(chan struct{})
	_, cfg := serve(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-leave
		document(w, r)
	})
	cfg.Concurrent = 1
	c := client(t, cfg)
	done := make(chan error)
	go func() {
		_, err := c.Get(t.Context(), "https://idp.example.com/", 100)
		done <- err
	}()
	<-arrived
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Get(ctx, "https://idp.example.com/", 100); err == nil || !strings.Contains(err.Error(), "others are being asked") {
		t.Errorf("a second exchange: %v", err)
	}
	close(leave)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestPublic(t *testing.T) {
	for _, tt := range []struct {
		address string
		want    bool
	}{
		{"8.8.8.8", true}, {"192.0.1.1", true}, {"172.32.0.1", true}, {"100.128.0.1", true}, {"223.255.255.255", true},
		{"2a00:1450:4001::1", true}, {"2606:4700::1111", true}, {"2001:4860::8888", true},
		{"0.0.0.0", false}, {"0.1.2.3", false}, {"127.0.0.1", false}, {"127.255.0.1", false}, {"10.1.2.3", false},
		{"172.16.0.1", false}, {"172.31.255.255", false}, {"192.168.1.1", false}, {"169.254.169.254", false},
		{"100.64.0.1", false}, {"100.127.255.255", false}, {"192.0.0.8", false}, {"192.0.2.1", false},
		{"198.18.0.1", false}, {"198.51.100.1", false}, {"203.0.113.9", false}, {"224.0.0.1", false},
		{"240.0.0.1", false}, {"255.255.255.255", false},
		{"::", false}, {"::1", false}, {"::ffff:127.0.0.1", false}, {"::ffff:10.0.0.1", false}, {"::ffff:8.8.8.8", true},
		{"::127.0.0.1", false}, {"64:ff9b::7f00:1", false}, {"64:ff9b::808:808", false}, {"64:ff9b:1::1", false},
		{"2002:7f00:1::", false}, {"2001:0:1::1", false}, {"2001:db8::1", false}, {"100::1", false},
		{"fc00::1", false}, {"fd12::1", false}, {"fe80::1", false}, {"fe80::1%eth0", false}, {"fec0::1", false},
		{"ff02::1", false}, {"2606:4700::1111%eth0", false}, {"4000::1", false},
	} {
		if got := Public(netip.MustParseAddr(tt.address)); got != tt.want {
			t.Errorf("Public(%s) = %v, want %v", tt.address, got, tt.want)
		}
	}
	if Public(netip.Addr{}) {
		t.Error("no address is public")
	}
}

func TestHost(t *testing.T) {
	for _, name := range []string{"example.com", "a.b-c.example", "xn--bcher-kva.example", "1.example", "api.accounts.firefox.com"} {
		if err := Host(name); err != nil {
			t.Errorf("Host(%q) = %v", name, err)
		}
	}
	for _, name := range []string{
		"", "com", "localhost", "a.localhost", "printer.local", "db.internal", "router.home.arpa", "x.onion", "x.test",
		"Example.com", "example.com.", ".example.com", "a..b", "-a.example", "a-.example", "a_b.example", "a b.example",
		"a.example\n", "a.example:443", "a.example/x", "u@a.example", "b\u00fccher.example", "a.example\x00",
		"127.0.0.1", "2130706433", "0x7f.0x1", "1.2", "[::1]", "::1", "a.1b",
		strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 124) + "example",
	} {
		if err := Host(name); err == nil {
			t.Errorf("Host(%q) is a host", name)
		}
	}
}

func TestMaxAge(t *testing.T) {
	for _, tt := range []struct {
		header string
		want   time.Duration
	}{
		{"", -1}, {"public", -1}, {"max-age=5", 5 * time.Second}, {`Public, Max-Age="5"`, 5 * time.Second},
		{"max-age=0", 0}, {"max-age=-5", -1}, {"max-age=99999999999", -1}, {"no-store, max-age=5", 0}, {"max-age=5,no-cache", 0},
	} {
		if got := maxAge([]string{tt.header}); got != tt.want {
			t.Errorf("maxAge(%q) = %v, want %v", tt.header, got, tt.want)
		}
	}
}
