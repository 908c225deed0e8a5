package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"appbundle/examples/token-app/token"
)

// who is a verifier that believes what it is told: issuer, account and numbers.
type who func(Private) (*Identity, error)

func (f who) Verify(_ context.Context, c Private, _ *Service) (*Identity, error) { return f(c) }

type fakeUsers struct {
	login func(Login) (*User, error)
	ping  error
}

func (f *fakeUsers) Login(_ context.Context, l Login) (*User, error) { return f.login(l) }
func (f *fakeUsers) Ping(context.Context) error                      { return f.ping }

type mint func(Grant) (*Token, error)

func (f mint) Mint(_ context.Context, g Grant) (*Token, error) { return f(g) }

type receive func(Private) error

func (f receive) Receive(_ context.Context, set Private) error { return f(set) }

const noon = 1795494869

// A bench is a server of fakes, all of which say yes.
type bench struct {
	cfg   Config
	users *fakeUsers
	logs  bytes.Buffer

	verified, stored int
	grant            Grant
	login            Login
}

func newBench() *bench {
	b := &bench{}
	b.users = &fakeUsers{login: func(l Login) (*User, error) {
		b.stored++
		b.login = l
		return &User{UID: 9, Node: "https://db1.example.com", Generation: l.Generation, KeysChangedAt: l.KeysChangedAt, ClientState: l.ClientState}, nil
	}}
	verify := who(func(c Private) (*Identity, error) {
		b.verified++
		switch c {
		case "bad":
			return nil, Unauthorized("invalid-credentials")
		case "late":
			return nil, Unauthorized("invalid-timestamp")
		case "busy":
			return nil, &Busy{"crypto", time.Second}
		case "slow":
			return nil, fmt.Errorf("keys: %w", context.DeadlineExceeded)
		case "unreachable":
			return nil, errors.New("no route to the issuer")
		case "panic":
			panic("canary-panic")
		}
		return &Identity{Issuer: "idp.example.com", Account: Private(string(c) + "@idp.example.com"), UserID: c, Generation: 12}, nil
	})
	b.cfg = Config{
		Origin:  "https://token.example.org/",
		Version: "1.2.3",
		Services: []Service{
			{App: "sync", Version: "1.5", Pattern: "{node}/1.5/{uid}", Duration: 30 * time.Minute},
			{App: "sync", Version: "1.1", Duration: 30 * time.Minute},
			{App: "queue", Version: "1.0", Pattern: "{node}/{service}/{uid}", Duration: time.Minute, NeedKeyID: true,
				Conditions: map[string]string{"tos": "https://queue.example.com/tos"}},
		},
		BrowserID:  verify,
		OAuth:      verify,
		Users:      b.users,
		MetricsKey: token.MetricsKey("super-sekrit"),
		NodeTypes:  []NodeType{{"big", "db9.*"}, {"small", "*.example.com"}},
		Minter: mint(func(g Grant) (*Token, error) {
			b.grant = g
			return &Token{"the-token", "the-key"}, nil
		}),
		Events: receive(func(set Private) error {
			switch set {
			case "good":
				return nil
			case "down":
				return errors.New("the store is down")
			}
			return &EventError{"invalid_key", "the signature is not good"}
		}),
		MetricsPath: "/metrics",
		Log:         slog.New(slog.NewJSONHandler(&b.logs, nil)),
		Now:         func() time.Time { return time.Unix(noon, 0) },
		Rand:        func() float64 { return 0.5 },
	}
	return b
}

// ask makes a request; headers are names and values in turn.
func ask(t *testing.T, h http.Handler, line string, headers ...string) *http.Response {
	t.Helper()
	method, target, _ := strings.Cut(line, " ")
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func mustNew(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What is wrong with a request first is its answer, in the order of the package
// comment; and nobody is asked about a request that is refused before.
func TestRefusals(t *testing.T) {
	const (
		oops         = `{"errors":[{"location":"%s","name":"%s","description":"%s"}],"status":"%s"}`
		unauthorized = "Unauthorized"
	)
	say := func(location, name, description, word string) string {
		return fmt.Sprintf(oops, location, name, description, word)
	}
	state := say("header", "X-Client-State", "Invalid client state value", "error")
	noauth := say("body", "", unauthorized, "error")
	invalid := say("body", "", unauthorized, "invalid-credentials")
	const sync, queue = "GET /1.0/sync/1.5", "GET /1.0/queue/1.0"
	tests := []struct {
		name     string
		line     string
		headers  []string
		code     int
		body     string
		verified bool
	}{
		{"application before all", "GET /1.0/x/9", []string{"X-Client-State", "!"}, 404, say("url", "application", "Unsupported application", "error"), false},
		{"version before state", "GET /1.0/sync/9.9", []string{"X-Client-State", "!"}, 404, say("url", "9.9", "Unsupported application version", "error"), false},
		{"state before credentials", sync, []string{"X-Client-State", "!"}, 400, state, false},
		{"state of 33", sync, []string{"X-Client-State", strings.Repeat("a", 33)}, 400, state, false},
		{"state that is not hexadecimal", sync, []string{"X-Client-State", "hello.world"}, 400, state, false},
		{"state of half a byte", sync, []string{"X-Client-State", "abc"}, 400, state, false},
		{"two states", sync, []string{"X-Client-State", "aa", "X-Client-State", "aa"}, 400, state, false},
		{"no credentials", sync, nil, 401, noauth, false},
		{"empty credentials", sync, []string{"Authorization", ""}, 401, noauth, false},
		{"a scheme alone", sync, []string{"Authorization", "BrowserID"}, 401, noauth, false},
		{"two headers", sync, []string{"Authorization", "BrowserID a", "Authorization", "BrowserID a"}, 401, noauth, false},
		{"another scheme", sync, []string{"Authorization", "Basic x"}, 401, say("body", "", "Unsupported", "error"), false},
		{"the old spelling", sync, []string{"Authorization", "Browser-ID x"}, 401, say("body", "", "Unsupported", "error"), false},
		{"credentials before pattern", "GET /1.0/sync/1.1", []string{"Authorization", "BrowserID bad"}, 401, invalid, true},
		{"late", sync, []string{"Authorization", "BrowserID late"}, 401, say("body", "", unauthorized, "invalid-timestamp"), true},
		{"pattern", "GET /1.0/sync/1.1", []string{"Authorization", "BrowserID a"}, 503, say("body", "", "The api_endpoint pattern for 'sync-1.1' is not known", "error"), true},
		{"conditions", queue, []string{"Authorization", "BrowserID a"}, 403,
			`{"errors":[{"location":"header","name":"X-Conditions-Accepted","description":"Need to accept conditions","condition_urls":{"tos":"https://queue.example.com/tos"}}],"status":"error"}`, true},
		{"busy", sync, []string{"Authorization", "BrowserID busy"}, 503, say("body", "", "Resource is not available", "error"), true},
		{"no issuer", sync, []string{"Authorization", "BrowserID unreachable"}, 503, say("body", "", "Resource is not available", "error"), true},
		{"elapsed", sync, []string{"Authorization", "BrowserID slow"}, 503, say("body", "", "Elapsed", "error"), true},
		{"panic", sync, []string{"Authorization", "BrowserID panic"}, 500, say("internal", "", "Server error", "internal-error"), true},

		{"key ID that is needed", queue, []string{"Authorization", "Bearer a"}, 401, say("header", "", "Missing X-KeyID header", "invalid-key-id"), false},
		{"key ID without hyphen", sync, []string{"Authorization", "Bearer a", "X-KeyID", "1234"}, 401, invalid, false},
		{"key ID without number", sync, []string{"Authorization", "Bearer a", "X-KeyID", "x-qqo"}, 401, invalid, false},
		{"key ID with a sign", sync, []string{"Authorization", "Bearer a", "X-KeyID", "+1-qqo"}, 401, invalid, false},
		{"key ID of 20 digits", sync, []string{"Authorization", "Bearer a", "X-KeyID", "99999999999999999999-qqo"}, 401, invalid, false},
		{"two key IDs", sync, []string{"Authorization", "Bearer a", "X-KeyID", "1-qqo", "X-KeyID", "1-qqo"}, 401, invalid, false},
		{"key ID without state", sync, []string{"Authorization", "Bearer a", "X-KeyID", "1234-"}, 400, state, false},
		{"key ID of 17 bytes", sync, []string{"Authorization", "Bearer a", "X-KeyID", "1234-qqqqqqqqqqqqqqqqqqqqqqo"}, 400, state, false},
		{"key ID with padding", sync, []string{"Authorization", "Bearer a", "X-KeyID", "1234-qqo="}, 400, state, false},
		{"key ID of another alphabet", sync, []string{"Authorization", "Bearer a", "X-KeyID", "1234-+/+/"}, 400, state, false},
		{"key ID with stray bits", sync, []string{"Authorization", "Bearer a", "X-KeyID", "1234-qqp"}, 400, state, false},
		{"key ID of another state", sync, []string{"Authorization", "Bearer a", "X-KeyID", "1234-qqo", "X-Client-State", "bbbb"}, 401, say("body", "", unauthorized, "invalid-client-state"), false},

		{"no such path", "GET /nope", nil, 404, say("url", "", "Not Found", "error"), false},
		{"a slash too many", "GET /1.0/sync/1.5/", nil, 404, say("url", "", "Not Found", "error"), false},
		{"two slashes", "GET /1.0//sync/1.5", nil, 404, say("url", "", "Not Found", "error"), false},
		{"dots", "GET /1.0/../__version__", nil, 404, say("url", "", "Not Found", "error"), false},
		{"POST", "POST /1.0/sync/1.5", nil, 405, say("method", "", "Method Not Allowed", "error"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench()
			r := ask(t, mustNew(t, b.cfg), tt.line, tt.headers...)
			body := text(t, r)
			if r.StatusCode != tt.code || body != tt.body {
				t.Errorf("%s %q = %d %s, want %d %s", tt.line, tt.headers, r.StatusCode, body, tt.code, tt.body)
			}
			if verified := b.verified > 0; verified != tt.verified {
				t.Errorf("the credentials were looked at: %v, want %v", verified, tt.verified)
			}
			if b.stored != 0 {
				t.Error("the store was asked")
			}
			for name, want := range map[string]string{
				"Content-Type": "application/json", "X-Timestamp": strconv.Itoa(noon),
				"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
			} {
				if got := r.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			var challenges []string
			if tt.code == 401 {
				challenges = []string{"BrowserID", "Bearer"}
			}
			if got := r.Header.Values("WWW-Authenticate"); !slices.Equal(got, challenges) {
				t.Errorf("WWW-Authenticate: %q, want %q", got, challenges)
			}
			if got, want := r.Header.Get("Retry-After"), map[bool]string{true: "1845"}[tt.code == 503]; got != want {
				t.Errorf("Retry-After: %q, want %q", got, want)
			}
			if tt.code == 405 && r.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("Allow: %q", r.Header.Get("Allow"))
			}
			if strings.Contains(b.logs.String(), "canary") {
				t.Errorf("the log shows what a handler broke with: %s", &b.logs)
			}
		})
	}
}

func TestToken(t *testing.T) {
	b := newBench()
	s := mustNew(t, b.cfg)
	r := ask(t, s, "GET /1.0/sync/1.5?duration=60", "Authorization", "bearer \t u2", "X-KeyID", "1234-qqo", "X-Client-State", "AAAA", "Accept", "application/xml")
	const want = `{"id":"the-token","key":"the-key","uid":9,"api_endpoint":"https://db1.example.com/1.5/9","duration":60,` +
		`"hashalg":"sha256","hashed_fxa_uid":"7dd10f0bacc92d393feebe7f5af521b3","node_type":"small"}`
	if got := text(t, r); r.StatusCode != 200 || got != want {
		t.Errorf("%d %s, want 200 %s", r.StatusCode, got, want)
	}
	if want := (Login{"sync-1.5", "idp.example.com", "u2@idp.example.com", 12, 1234, "aaaa", true}); b.login != want {
		t.Errorf("login %#v, want %#v", flat(b.login), flat(want))
	}
	grant := Grant{Service: "sync-1.5", UID: 9, Node: "https://db1.example.com", Expires: noon + 60, UserID: "u2",
		KeyID: "0000000001234-qqo", Hashed: "7dd10f0bacc92d393feebe7f5af521b3", DeviceID: "f5da1e7071a9a02acaab3014af02f586"}
	if b.grant != grant {
		t.Errorf("grant %v, want %v", b.grant, grant)
	}
	for _, secret := range []string{"u2@", `"u2"`, "the-token", "the-key", "aaaa", "qqo", "super-sekrit"} {
		if strings.Contains(b.logs.String(), secret) {
			t.Errorf("the log has %q: %s", secret, &b.logs)
		}
	}
	var line map[string]any
	if err := json.Unmarshal(b.logs.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(line)); !slices.Equal(got, []string{"class", "issuer", "level", "msg", "node", "scheme", "service", "status", "time", "user"}) {
		t.Errorf("the log has the members %q", got)
	}
}

// flat shows what a Login has, for the message of a test.
func flat(l Login) []any {
	return []any{l.Service, l.Issuer, string(l.Account), l.Generation, l.KeysChangedAt, string(l.ClientState), l.AllowNew}
}

func TestDuration(t *testing.T) {
	svc := &Service{Duration: 30 * time.Minute}
	for query, want := range map[string]int64{
		"": 1800, "duration=12": 12, "duration=1799": 1799, "duration=1800": 1800, "duration=4000": 1800, "duration=lolwut": 1800,
		"duration=-1": 1800, "duration=0": 1800, "duration=1e2": 1800, "duration=%2060%20": 60, "duration=12&duration=13": 13, "duration=": 1800,
		"duration=99999999999999999999": 1800,
	} {
		if got := svc.duration(httptest.NewRequest("GET", "/?"+query, nil).URL); got != want {
			t.Errorf("duration of ?%s = %d, want %d", query, got, want)
		}
	}
}

// Whoever did not accept the conditions is not counted, whoever did is.
func TestConditions(t *testing.T) {
	b := newBench()
	r := ask(t, mustNew(t, b.cfg), "GET /1.0/queue/1.0", "Authorization", "BrowserID a", "X-Conditions-Accepted", "")
	if r.StatusCode != 200 || !strings.Contains(text(t, r), `"api_endpoint":"https://db1.example.com/queue-1.0/9"`) {
		t.Errorf("status %d with an accepted condition", r.StatusCode)
	}
}

func TestStoreRefuses(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code int
		log  string
	}{
		{BadClientState("stale value"), 401, `"level":"INFO","msg":"token","service":"sync-1.5","status":401,"class":"invalid-client-state"`},
		{Unauthorized("new-users-disabled"), 401, `"class":"new-users-disabled"`},
		{errors.New("disk full"), 503, `"level":"WARN","msg":"token","service":"sync-1.5","status":503,"class":"failed"`},
		{errors.New("disk full"), 503, `"cause":"disk full"`},
	} {
		b := newBench()
		b.users.login = func(Login) (*User, error) { return nil, tt.err }
		r := ask(t, mustNew(t, b.cfg), "GET /1.0/sync/1.5", "Authorization", "BrowserID a")
		if r.StatusCode != tt.code || !strings.Contains(b.logs.String(), tt.log) {
			t.Errorf("%v: %d, log %s, want %d and %s", tt.err, r.StatusCode, &b.logs, tt.code, tt.log)
		}
	}
}

func TestRoutes(t *testing.T) {
	b := newBench()
	b.cfg.Discovered.BrowserID = &DiscoveredBrowserID{AllowedIssuers: []string{"idp.example.com"}}
	s := mustNew(t, b.cfg)
	for _, tt := range []struct {
		line string
		code int
		want string
	}{
		{"GET /", 200, `{"services":{"queue":["1.0"],"sync":["1.1","1.5"]},"auth":"https://token.example.org","browserid":{"allowed_issuers":["idp.example.com"],"trusted_issuers":null}}`},
		{"GET /__lbheartbeat__", 200, `{}`},
		{"GET /__heartbeat__", 200, `{"database":"Ok","status":"Ok","version":"1.2.3"}`},
	} {
		r := ask(t, s, tt.line)
		if got := text(t, r); r.StatusCode != tt.code || got != tt.want {
			t.Errorf("%s = %d %s, want %d %s", tt.line, r.StatusCode, got, tt.code, tt.want)
		}
	}
	b.users.ping = errors.New("connection refused")
	if r := ask(t, s, "GET /__heartbeat__"); r.StatusCode != 503 || !strings.Contains(text(t, r), `"database":"Err"`) {
		t.Errorf("a heartbeat without a store is %d", r.StatusCode)
	}
	if got := text(t, ask(t, s, "GET /__version__")); !strings.HasPrefix(got, `{"version":"1.2.3",`) || !strings.Contains(got, `"source":"appbundle/examples/token-app"`) {
		t.Errorf("__version__ = %s", got)
	}
	ask(t, s, "GET /1.0/sync/1.5", "Authorization", "BrowserID a")
	got := text(t, ask(t, s, "GET /metrics"))
	for _, want := range []string{
		`tokenapp_requests_total{route="/__heartbeat__",status="503"} 1`,
		`tokenapp_requests_total{route="/{$}",status="200"} 1`,
		`tokenapp_tokens_total{service="sync-1.5",class="ok"} 1`,
		`tokenapp_verified_total{scheme="browserid",class="ok"} 1`,
		`tokenapp_request_seconds_bucket{route="/__version__",le="0.0005"} 1`,
		`tokenapp_request_seconds_count{route="/__version__"} 1`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("the metrics lack %s:\n%s", want, got)
		}
	}
}

func TestEvents(t *testing.T) {
	const set = "application/secevent+jwt"
	for _, tt := range []struct {
		name, body, kind, auth string
		code                   int
		want                   string
	}{
		{"good", "good", set, "", 202, `{}`},
		{"as bearer", "", "", "Bearer good", 202, `{}`},
		{"bad", "bad", set, "", 400, `{"err":"invalid_key","description":"the signature is not good"}`},
		{"none", "", set, "", 400, `{"err":"invalid_request","description":"there is no Security Event Token"}`},
		{"another type", "good", "application/json", "", 400, `{"err":"invalid_request","description":"the content type is not application/secevent+jwt"}`},
		{"too big", strings.Repeat("x", maxEvent+1), set, "", 400, `{"err":"invalid_request","description":"the body cannot be read, or is too big"}`},
		{"store down", "down", set, "", 503, `{"errors":[{"location":"body","name":"","description":"Resource is not available"}],"status":"error"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/1.0/webhooks/events", strings.NewReader(tt.body))
			r.Header.Set("Content-Type", tt.kind)
			r.Header.Set("Authorization", tt.auth)
			w := httptest.NewRecorder()
			mustNew(t, newBench().cfg).ServeHTTP(w, r)
			if got := w.Body.String(); w.Code != tt.code || got != tt.want {
				t.Errorf("%d %s, want %d %s", w.Code, got, tt.code, tt.want)
			}
		})
	}
}

// A client that is refused pays ten times, and gets what it may after a while.
func TestPerAddress(t *testing.T) {
	b := newBench()
	now := time.Unix(noon, 0)
	b.cfg.Now = func() time.Time { return now }
	b.cfg.Limits = Limits{PerAddress: 1, Burst: 20}
	s := mustNew(t, b.cfg)
	count := func(credentials string) (n int) {
		for ; n < 100; n++ {
			if ask(t, s, "GET /1.0/sync/1.5", "Authorization", "BrowserID "+credentials).StatusCode == 429 {
				return n
			}
		}
		return n
	}
	if got := count("a"); got != 20 {
		t.Errorf("%d good requests at once, want 20", got)
	}
	now = now.Add(20 * time.Second)
	if got := count("bad"); got != 2 {
		t.Errorf("%d bad requests at once, want 2", got)
	}
	now = now.Add(time.Hour)
	if got := count("a"); got != 20 {
		t.Errorf("%d good requests after an hour, want 20", got)
	}
}

func TestPerIssuer(t *testing.T) {
	b := newBench()
	b.cfg.Limits = Limits{PerIssuer: 1, IssuerBurst: 3}
	s := mustNew(t, b.cfg)
	for i, want := range []int{200, 200, 200, 429} {
		if got := ask(t, s, "GET /1.0/sync/1.5", "Authorization", "BrowserID a").StatusCode; got != want {
			t.Errorf("request %d of the issuer: %d, want %d", i, got, want)
		}
	}
	if b.stored != 3 {
		t.Errorf("the store was asked %d times, want 3", b.stored)
	}
}

// The table of addresses does not grow for ever.
func TestManyAddresses(t *testing.T) {
	b := newBuckets(1, 10, func() time.Time { return time.Unix(noon, 0) })
	for i := range 2 * maxBuckets {
		b.take(strconv.Itoa(i), 1)
	}
	if len(b.of) > maxBuckets {
		t.Errorf("%d addresses are remembered, want %d at most", len(b.of), maxBuckets)
	}
}

func TestClient(t *testing.T) {
	l := Limits{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}}
	for _, tt := range []struct {
		name, remote, forwarded, want string
		unix                          bool
	}{
		{"directly", "192.0.2.7:1234", "", "192.0.2.7", false},
		{"a stranger's header", "192.0.2.7:1234", "198.51.100.1", "192.0.2.7", false},
		{"a proxy's", "10.1.2.3:1", "198.51.100.1", "198.51.100.1", false},
		{"two proxies'", "10.1.2.3:1", "203.0.113.9, 198.51.100.1, 10.9.9.9", "198.51.100.1", false},
		{"a forged hop", "10.1.2.3:1", "10.0.0.1, 198.51.100.1", "198.51.100.1", false},
		{"junk", "10.1.2.3:1", "198.51.100.1, junk", "10.1.2.3", false},
		{"a proxy itself", "10.1.2.3:1", "", "10.1.2.3", false},
		{"mapped", "[::ffff:10.1.2.3]:1", "::ffff:198.51.100.1", "198.51.100.1", false},
		{"IPv6", "[2001:db8:2:3:4:5:6:7%eth0]:1", "", "2001:db8:2:3::/64", false},
		{"IPv6 proxy", "[2001:db8:1::1]:1", "2001:db8:9::1", "2001:db8:9::/64", false},
		{"Unix", "@", "198.51.100.1", "unix", false},
		{"Unix proxy", "@", "198.51.100.1", "198.51.100.1", true},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = tt.remote
		r.Header.Set("X-Forwarded-For", tt.forwarded)
		l.UnixProxy = tt.unix
		if got := l.client(r); got != tt.want {
			t.Errorf("%s: client(%s, %q) = %s, want %s", tt.name, tt.remote, tt.forwarded, got, tt.want)
		}
	}
}

// Shares of the traffic are asked to come back later, or are refused.
func TestShares(t *testing.T) {
	b := newBench()
	b.cfg.Backoff, b.cfg.BackoffShare = 10*time.Second, 0.6
	if got := ask(t, mustNew(t, b.cfg), "GET /").Header; got.Get("X-Backoff") != "13" || got.Get("X-Weave-Backoff") != "13" {
		t.Errorf("X-Backoff: %q, X-Weave-Backoff: %q, want 13", got.Get("X-Backoff"), got.Get("X-Weave-Backoff"))
	}
	b.cfg.BackoffShare = 0.4
	if got := ask(t, mustNew(t, b.cfg), "GET /").Header.Get("X-Backoff"); got != "" {
		t.Errorf("X-Backoff: %q without need", got)
	}
	b.cfg.UnavailableShare = 0.6
	if got := ask(t, mustNew(t, b.cfg), "GET /1.0/sync/1.5", "Authorization", "BrowserID a"); got.StatusCode != 503 || b.verified != 0 {
		t.Errorf("%d of a share that is refused", got.StatusCode)
	}
}

func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		break_ func(*Config)
		want   string
	}{
		{func(c *Config) { c.BrowserID, c.OAuth = nil, nil }, "nobody can be believed: neither BrowserID nor OAuth is configured"},
		{func(c *Config) { c.Services = nil }, "there is no service"},
		{func(c *Config) { c.Services = append(c.Services, c.Services[0]) }, "service sync-1.5 is there twice"},
		{func(c *Config) { c.Services[0].Duration = 0 }, "service sync-1.5: tokens have to be good for a second at least"},
		{func(c *Config) { c.NodeTypes[0].Pattern = "[" }, `node type big: "[" is not a pattern`},
	} {
		b := newBench()
		tt.break_(&b.cfg)
		if _, err := New(b.cfg); err == nil || err.Error() != tt.want {
			t.Errorf("New = %v, want %s", err, tt.want)
		}
	}
}

// However something private is printed, it is not seen.
func TestPrivate(t *testing.T) {
	var logs bytes.Buffer
	v := struct{ P Private }{"canary"}
	slog.New(slog.NewJSONHandler(&logs, nil)).Info("x", "v", v, "p", v.P)
	j, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{fmt.Sprintf("%v %+v %#v %s %q %x %d", v, v, v, v.P, v.P, v.P, v.P), string(j), logs.String()} {
		if strings.Contains(got, "canary") || strings.Contains(got, "63616e617279") {
			t.Errorf("it is seen in %s", got)
		}
	}
}

// Random numbers are spread over all of [0, 1).
func TestShare(t *testing.T) {
	var low, high atomic.Int64
	for range 1000 {
		switch v := share(); {
		case v < 0 || v >= 1:
			t.Fatalf("share = %v", v)
		case v < 0.5:
			low.Add(1)
		default:
			high.Add(1)
		}
	}
	if low.Load() < 300 || high.Load() < 300 {
		t.Errorf("%d are low, %d high", low.Load(), high.Load())
	}
}
