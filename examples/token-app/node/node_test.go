package node

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"appbundle/examples/token-app/token"
)

const (
	secretA = "7c1f0a5be29d4836a4c8d1e07b62f935" // of these tests alone
	secretB = "e40d9b3827f615ca8e73b0d4196afc52"
	nodeURL = "https://db42.example.com"
	service = "sync-1.5"
)

var now = time.Unix(1700000000, 0)

func fixed(tb testing.TB, texts ...string) token.Secrets {
	tb.Helper()
	s, err := token.NewFixedSecrets(texts...)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func config(tb testing.TB) Config {
	tb.Helper()
	return Config{URL: nodeURL, Secrets: fixed(tb, secretA, secretB), Service: service, Now: func() time.Time { return now }}
}

func checker(tb testing.TB, cfg Config) *Checker {
	tb.Helper()
	c, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// mint makes a token for user 7 of a node.
func mint(tb testing.TB, f token.Form, secret, node string) token.Minted {
	tb.Helper()
	s, err := token.NewSecret(secret)
	if err != nil {
		tb.Fatal(err)
	}
	claims := token.Claims{UID: 7, Node: node, Expires: now.Unix() + 1800}
	salt := token.NewSalt(f)
	payload, err := claims.Payload(f, salt)
	if err != nil {
		tb.Fatal(err)
	}
	m, err := token.Mint(&token.Request{Form: f, Secret: s, Service: service, Payload: payload, Salt: salt})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// request is one that a server has read.
func request(method, target, body string) *http.Request {
	r := httptest.NewRequest(method, nodeURL+target, strings.NewReader(body))
	r.Header.Set("Content-Type", "text/plain; charset=utf-8")
	r.RequestURI = target
	return r
}

func signed(m token.Minted, method, target string, at time.Time) *http.Request {
	r := request(method, target, "")
	Sign(r, m, at, nil)
	return r
}

type vector struct {
	Name, Method, URL, ID, Key, Normalized, MAC, Authorization string
	Params                                                     struct{ TS, Nonce, Ext, Hash string }
}

func vectors(tb testing.TB) []vector {
	tb.Helper()
	data, err := os.ReadFile("testdata/hawk.json")
	if err != nil {
		tb.Fatal(err)
	}
	var out []vector
	if err := json.Unmarshal(data, &out); err != nil {
		tb.Fatal(err)
	}
	if len(out) < 5 {
		tb.Fatalf("%d vectors", len(out))
	}
	return out
}

// testdata/hawk.json was written by hawkauthlib 2.0.0.
func TestVectors(t *testing.T) {
	for _, tt := range vectors(t) {
		t.Run(tt.Name, func(t *testing.T) {
			h, err := parseHeader(tt.Authorization)
			if err != nil {
				t.Fatal(err)
			}
			if h.id != tt.ID || h.ts != tt.Params.TS || h.nonce != tt.Params.Nonce || h.ext != tt.Params.Ext || h.hash != tt.Params.Hash {
				t.Errorf("parseHeader = %+v", h)
			}
			u, err := url.Parse(tt.URL)
			if err != nil {
				t.Fatal(err)
			}
			host, port := address(u)
			text := h.normalized(tt.Method, u.RequestURI(), host, port)
			if text != tt.Normalized {
				t.Errorf("normalized is %q, want %q", text, tt.Normalized)
			}
			if got := base64.StdEncoding.EncodeToString(mac(tt.Key, text)); got != tt.MAC {
				t.Errorf("mac is %s, want %s", got, tt.MAC)
			}
		})
	}
	// The first, as a whole.
	tt := vectors(t)[0]
	c := checker(t, Config{URL: "https://db42.sync.services.mozilla.com", Secrets: fixed(t, "2e197e218762e1a12e76e2187abc0ffe"), Now: func() time.Time { return now }})
	r := httptest.NewRequest(tt.Method, tt.URL, nil)
	r.RequestURI = "/1.5/12345/info/collections"
	r.Header.Set("Authorization", tt.Authorization)
	claims, err := c.Check(r)
	if err != nil || claims.UID != 12345 || claims.FxaKID != "0000001234567-qqqqqqqqqqqqqqqqqqqqqg" {
		t.Errorf("Check = %+v, %v", claims, err)
	}
}

func TestCheck(t *testing.T) {
	for _, f := range []token.Form{token.Signed, token.Encrypted} {
		for _, secret := range []string{secretA, secretB} {
			m := mint(t, f, secret, nodeURL)
			c := checker(t, config(t))
			claims, err := c.Check(signed(m, "GET", "/1.5/7/info?full=1&x=a%20b", now))
			if err != nil || claims.UID != 7 || claims.Node != nodeURL || claims.Expires != now.Unix()+1800 {
				t.Errorf("Check of a token that is %v = %+v, %v", f, claims, err)
			}
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	good := mint(t, token.Signed, secretA, nodeURL)
	sealed := mint(t, token.Encrypted, secretA, nodeURL)
	at := func(m token.Minted, d time.Duration) *http.Request { return signed(m, "GET", "/1.5/7/x", now.Add(d)) }
	change := func(old, new string) *http.Request {
		r := at(good, 0)
		a := r.Header.Get("Authorization")
		if !strings.Contains(a, old) {
			t.Fatalf("%q is not in %q", old, a)
		}
		r.Header.Set("Authorization", strings.Replace(a, old, new, 1))
		return r
	}
	withBody := func(signed, sent string) *http.Request {
		r := request("PUT", "/1.5/7/x", sent)
		Sign(r, good, now, []byte(signed))
		return r
	}
	for _, tt := range []struct {
		name   string
		cfg    func(*Config)
		r      *http.Request
		status int
		word   string
		text   string
	}{
		{"no header", nil, request("GET", "/1.5/7/x", ""), 401, "error", "no Authorization header"},
		{"another scheme", nil, change("Hawk ", "Bearer "), 401, "error", "not one of Hawk"},
		{"another secret", nil, at(mint(t, token.Signed, "99"+secretA, nodeURL), 0), 401, "invalid-credentials", "another secret"},
		{"another node", nil, at(mint(t, token.Signed, secretA, "https://db43.example.com"), 0), 401, "invalid-credentials", "another node"},
		{"node with a slash", nil, at(mint(t, token.Signed, secretA, nodeURL+"/"), 0), 401, "invalid-credentials", "another node"},
		{"expired", func(c *Config) { c.Now = func() time.Time { return now.Add(30 * time.Minute) } }, at(good, 30*time.Minute), 401, "invalid-credentials", "expired"},
		{"key of another token", nil, at(token.Minted{Token: good.Token, Key: sealed.Key}, 0), 401, "invalid-credentials", "not that of the token's key"},
		{"form that is not taken", func(c *Config) { c.Forms = []token.Form{token.Encrypted} }, at(good, 0), 401, "invalid-credentials", "form"},
		{"no service", func(c *Config) { c.Service = "" }, at(sealed, 0), 401, "invalid-credentials", "form"},
		{"another service", func(c *Config) { c.Service = "sync-1.1" }, at(sealed, 0), 401, "invalid-credentials", "another secret"},
		{"another method", nil, func() *http.Request { r := at(good, 0); r.Method = "DELETE"; return r }(), 401, "invalid-credentials", "signature"},
		{"another target", nil, func() *http.Request { r := at(good, 0); r.RequestURI = "/1.5/7/y"; return r }(), 401, "invalid-credentials", "signature"},
		{"another host", func(c *Config) { c.URL = "https://db42.example.org" }, func() *http.Request {
			return at(mint(t, token.Signed, secretA, "https://db42.example.org"), 0)
		}(), 401, "invalid-credentials", "signature"},
		{"another nonce", nil, change(`nonce="`, `nonce="1`), 401, "invalid-credentials", "signature"},
		{"ext added", nil, change(`nonce="`, `ext="x", nonce="`), 401, "invalid-credentials", "signature"},
		{"hash added", nil, change(`nonce="`, `hash="x", nonce="`), 401, "invalid-credentials", "signature"},
		{"late", nil, at(good, -61*time.Second), 401, "invalid-timestamp", "clock"},
		{"early", nil, at(good, 61*time.Second), 401, "invalid-timestamp", "clock"},
		{"another user", nil, signed(good, "GET", "/1.5/8/x", now), 403, "error", "path"},
		{"no user", nil, signed(good, "GET", "/1.5", now), 403, "error", "path"},
		{"user further on", nil, signed(good, "GET", "/7", now), 403, "error", "path"},
		{"user with a sign", nil, signed(good, "GET", "/1.5/+7/x", now), 403, "error", "path"},
		{"user with a nought", nil, signed(good, "GET", "/1.5/07/x", now), 403, "error", "path"},
		{"dots", nil, signed(good, "GET", "/1.5/7/../8/x", now), 403, "error", "path"},
		{"dots that are escaped", nil, signed(good, "GET", "/1.5/7/%2e%2e/8/x", now), 403, "error", "path"},
		{"dots and slashes that are escaped", nil, signed(good, "GET", "/1.5/7/a%2f..%2f..%2f8/x", now), 403, "error", "path"},
		{"a slash that is escaped", nil, signed(good, "GET", "/1.5%2F8/7/x", now), 403, "error", "path"},
		{"another body", nil, withBody("text", "test"), 401, "invalid-credentials", "body"},
		{"a body more", nil, withBody("", "test"), 401, "invalid-credentials", "body"},
		{"no body", nil, withBody("text", ""), 401, "invalid-credentials", "body"},
		{"a long body", func(c *Config) { c.MaxBody = 3 }, withBody("text", "text"), 413, "error", "at most 3 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config(t)
			if tt.cfg != nil {
				tt.cfg(&cfg)
			}
			claims, err := checker(t, cfg).Check(tt.r)
			no := (*Refusal)(nil)
			if !errors.As(err, &no) {
				t.Fatalf("Check = %v, %v", claims, err)
			}
			if no.Status != tt.status || no.Word != tt.word || !strings.Contains(no.Text, tt.text) {
				t.Errorf("Check = %d %s %q, want %d %s and %q", no.Status, no.Word, no.Text, tt.status, tt.word, tt.text)
			}
			if strings.Contains(no.Text, good.Token[:20]) {
				t.Errorf("the error says the token: %v", no)
			}
		})
	}
}

func TestWindow(t *testing.T) {
	m := mint(t, token.Signed, secretA, nodeURL)
	c := checker(t, config(t))
	for _, d := range []time.Duration{-time.Minute, 0, time.Minute} {
		if _, err := c.Check(signed(m, "GET", "/1.5/7/x", now.Add(d))); err != nil {
			t.Errorf("a clock that is %v off: %v", d, err)
		}
	}
}

// A request is let in once, also if it comes many times at once; a body does not
// use its nonce up while it is not the right one.
func TestReplay(t *testing.T) {
	m := mint(t, token.Encrypted, secretA, nodeURL)
	c := checker(t, config(t))
	r := request("PUT", "/1.5/7/x", "wrong")
	Sign(r, m, now, []byte("text"))
	if _, err := c.Check(r); err == nil {
		t.Error("the wrong body is taken")
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	in := 0
	for range 20 {
		wg.Go(func() {
			again := request("PUT", "/1.5/7/x", "text")
			again.Header.Set("Authorization", r.Header.Get("Authorization"))
			_, err := c.Check(again)
			mu.Lock()
			defer mu.Unlock()
			no := (*Refusal)(nil)
			switch {
			case err == nil:
				in++
			case !errors.As(err, &no) || no.Word != "invalid-nonce":
				t.Errorf("Check = %v", err)
			}
		})
	}
	wg.Wait()
	if in != 1 {
		t.Errorf("the request is let in %d times", in)
	}
}

// The nonces agree with a simple model: what came in the last 10 s and is among
// the last 5 is known.
func TestNonces(t *testing.T) {
	s := newNonces(5, 10*time.Second)
	type seen struct {
		nonce string
		at    time.Time
	}
	var model []seen
	at := now
	for i := range 5000 {
		at = at.Add(time.Duration(i*7919%3000) * time.Millisecond)
		nonce := fmt.Sprint(i * 31 % 11)
		for len(model) > 0 && at.Sub(model[0].at) > 10*time.Second {
			model = model[1:]
		}
		fresh := true
		for _, m := range model {
			fresh = fresh && m.nonce != nonce
		}
		if fresh {
			if len(model) == 5 {
				model = model[1:]
			}
			model = append(model, seen{nonce, at})
		}
		if got := s.add("id", "1", nonce, at); got != fresh {
			t.Fatalf("step %d: add(%s) = %v, want %v", i, nonce, got, fresh)
		}
		if s.n != len(model) || len(s.known) != len(model) || len(s.queue) > 5 {
			t.Fatalf("step %d: %d and %d are kept, want %d", i, s.n, len(s.known), len(model))
		}
	}
	if s.lost() == 0 {
		t.Error("none was forgotten")
	}
	if !s.add("other", "1", "0", at) || !s.add("id", "2", "0", at) {
		t.Error("a nonce of another token or time is not another")
	}
}

// It grows from small to its bound, and keeps the order.
func TestNoncesGrow(t *testing.T) {
	s := newNonces(300, time.Minute)
	for i := range 1000 {
		s.add("id", "1", fmt.Sprint(i), now)
	}
	for i := range 1000 {
		if _, known := s.known[s.queue[(s.first+i%300)%300].sum]; !known {
			t.Fatal("the queue and the set differ")
		}
	}
	if s.add("id", "1", "999", now) || s.add("id", "1", "700", now) || !s.add("id", "1", "699", now) || s.lost() != 701 {
		t.Errorf("not the last 300 are known; %d are forgotten", s.lost())
	}
}

// A body that is signed can be read afterwards; one that is not is let through.
func TestBody(t *testing.T) {
	m := mint(t, token.Signed, secretA, nodeURL)
	c := checker(t, config(t))
	for _, sign := range []bool{true, false} {
		r := request("PUT", "/1.5/7/x", "text")
		var body []byte
		if sign {
			body = []byte("text")
		}
		Sign(r, m, now, body)
		if _, err := c.Check(r); err != nil {
			t.Error(err)
		}
		if got, err := io.ReadAll(r.Body); string(got) != "text" || err != nil {
			t.Errorf("the body is %q, %v", got, err)
		}
	}
}

func TestHandler(t *testing.T) {
	m := mint(t, token.Signed, secretA, nodeURL)
	c := checker(t, config(t))
	h := c.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "user %d", Claims(r.Context()).UID)
	}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, signed(m, "GET", "/1.5/7/x", now))
	if w.Code != 200 || w.Body.String() != "user 7" || w.Header().Get("X-Timestamp") != "1700000000" {
		t.Errorf("%d %q %v", w.Code, w.Body, w.Header())
	}
	w = httptest.NewRecorder()
	h.ServeHTTP(w, request("GET", "/1.5/7/x", ""))
	want := `{"status":"error","errors":[{"location":"header","name":"Authorization","description":"there is no Authorization header, or more than one"}]}` + "\n"
	if w.Code != 401 || w.Body.String() != want || w.Header().Get("WWW-Authenticate") != "Hawk" || w.Header().Get("Content-Type") != "application/json" || w.Header().Get("X-Timestamp") != "1700000000" {
		t.Errorf("%d %q %v", w.Code, w.Body, w.Header())
	}
	// The time in the answer to a wrong clock is signed.
	w = httptest.NewRecorder()
	h.ServeHTTP(w, signed(m, "GET", "/1.5/7/x", now.Add(time.Hour)))
	tsm := base64.StdEncoding.EncodeToString(mac(m.Key, "hawk.1.ts\n1700000000\n"))
	if got := w.Header().Get("WWW-Authenticate"); w.Code != 401 || got != `Hawk ts="1700000000", tsm="`+tsm+`", error="Stale timestamp"` {
		t.Errorf("%d %q", w.Code, got)
	}
	if Claims(t.Context()) != nil {
		t.Error("there are claims without a request")
	}
}

func TestNew(t *testing.T) {
	derived, err := token.NewDerivedSecrets(secretA)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{Secrets: derived}, `"" is no URL of a node`},
		{Config{URL: "db42.example.com", Secrets: derived}, "is no URL"},
		{Config{URL: "ftp://db42.example.com", Secrets: derived}, "is no URL"},
		{Config{URL: "https://u@db42.example.com", Secrets: derived}, "is no URL"},
		{Config{URL: "https://db42.example.com?x", Secrets: derived}, "is no URL"},
		{Config{URL: nodeURL}, "there are no secrets"},
		{Config{URL: nodeURL, Secrets: &token.NodeSecrets{}}, "has no secret; add a line"},
		{Config{URL: nodeURL, Secrets: &token.FixedSecrets{}}, "has no secret"},
		{Config{URL: nodeURL, Secrets: derived, Forms: []token.Form{token.Encrypted}}, "which one is this node's?"},
	} {
		if _, err := New(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("New(%+v) = %v, want an error with %q", tt.cfg, err, tt.want)
		}
	}
	// A node below a path, and one whose paths name nobody.
	m := mint(t, token.Signed, secretA, "http://host:8000/node1")
	c := checker(t, Config{URL: "http://host:8000/node1", Secrets: fixed(t, secretA), Now: func() time.Time { return now }})
	free := checker(t, Config{URL: "http://host:8000/node1", Secrets: fixed(t, secretA), Now: func() time.Time { return now }, NoUID: true})
	for target, want := range map[string]bool{"/node1/1.5/7/x": true, "/1.5/7/x": false, "/node2/1.5/7/x": false} {
		r := httptest.NewRequest("GET", "http://host:8000"+target, nil)
		r.RequestURI = target
		Sign(r, m, now, nil)
		if _, err := c.Check(r); (err == nil) != want {
			t.Errorf("%s: %v", target, err)
		}
		if _, err := free.Check(r); err != nil {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func TestParseHeaderRefuses(t *testing.T) {
	mac := strings.Repeat("A", 43) + "="
	good := `Hawk id="i", ts="1", nonce="n", mac="` + mac + `"`
	for _, s := range []string{good, strings.ToLower(good[:4]) + good[4:], strings.ReplaceAll(good, ", ", ","), strings.ReplaceAll(good, ", ", "  ,  "), good + " "} {
		if _, err := parseHeader(s); err != nil {
			t.Errorf("parseHeader(%q) = %v", s, err)
		}
	}
	for _, s := range []string{
		"", "Hawk", "Hawk ", "Hawk x", good[5:], good + ",", good + `, id="i"`, good + `, app="a"`, good + `, dlg="d"`, good + `, x="y"`,
		strings.Replace(good, `id="i"`, `id=""`, 1), strings.Replace(good, `id="i", `, "", 1), strings.Replace(good, `nonce="n", `, "", 1),
		strings.Replace(good, `, mac="`+mac+`"`, "", 1), strings.Replace(good, mac, mac[:43], 1), strings.Replace(good, mac, mac[:42]+"B=", 1),
		strings.Replace(good, mac, mac[:40]+"\\n"+mac[42:], 1), strings.Replace(good, `"n"`, `"\n"`, 1), strings.Replace(good, `"n"`, "\"\x7f\"", 1), strings.Replace(good, `"n"`, "\"é\"", 1),
		strings.Replace(good, `"1"`, `"01"`, 1), strings.Replace(good, `"1"`, `"+1"`, 1), strings.Replace(good, `"1"`, `"-1"`, 1), strings.Replace(good, `"1"`, `"0"`, 1),
		strings.Replace(good, `"1"`, `"1.5"`, 1), strings.Replace(good, `"1"`, `"9223372036854775807"`, 1), strings.Replace(good, ", ", " ", 1), strings.Replace(good, ", ", "; ", 1),
		strings.Replace(good, `"n"`, `"`+strings.Repeat("n", maxNonce+1)+`"`, 1), good + `, ext="` + strings.Repeat("e", maxExt+1) + `"`, good + `, hash="`, good + `, ext=e`,
		strings.Replace(good, `"i"`, `"`+strings.Repeat("i", maxHeader)+`"`, 1), strings.Replace(good, ` id=`, "\tid=", 1), strings.Replace(good, ` id=`, " ID=", 1),
	} {
		if h, err := parseHeader(s); err == nil {
			t.Errorf("parseHeader(%q) = %+v", s, h)
		}
	}
}

func FuzzParseHeader(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.Authorization)
	}
	f.Add(`Hawk id="i", ts="1", nonce="n", hash="h", ext="e", mac="` + strings.Repeat("A", 43) + `="`)
	f.Add(`Hawk id="i",`)
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parseHeader(s)
		if err != nil {
			return
		}
		// The parts say the same again, and none can end a line of what is signed.
		again := fmt.Sprintf(`Hawk id="%s", ts="%s", nonce="%s", mac="%s"`, h.id, h.ts, h.nonce, base64.StdEncoding.EncodeToString(h.mac[:]))
		if h.hash != "" {
			again += fmt.Sprintf(`, hash="%s"`, h.hash)
		}
		if h.ext != "" {
			again += fmt.Sprintf(`, ext="%s"`, h.ext)
		}
		h2, err := parseHeader(again)
		if len(again) <= maxHeader && (err != nil || *h2 != *h) {
			t.Errorf("%q is %+v, and written again %+v, %v", s, h, h2, err)
		}
		if n := strings.Count(h.normalized("GET", "/", "h", "1"), "\n"); n != 9 {
			t.Errorf("%q makes %d lines", s, n)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	for _, f := range []token.Form{token.Signed, token.Encrypted} {
		b.Run(f.String(), func(b *testing.B) {
			c := checker(b, config(b))
			m := mint(b, f, secretB, nodeURL)
			rs := make([]*http.Request, 4096)
			for i := range rs {
				rs[i] = signed(m, "GET", "/1.5/7/storage/bookmarks?full=1", now)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%len(rs) == 0 {
					c.seen = newNonces(c.cfg.Nonces, time.Minute)
				}
				if _, err := c.Check(rs[i%len(rs)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What a client sends with Sign arrives as it was signed.
func TestSign(t *testing.T) {
	r, err := http.NewRequest("PUT", "http://localhost:8000/1.5/7/a%2Fb?x=%20", bytes.NewReader([]byte("text")))
	if err != nil {
		t.Fatal(err)
	}
	m := mint(t, token.Signed, secretA, "http://localhost:8000")
	r.Header.Set("Content-Type", "Application/JSON ; charset=utf-8")
	Sign(r, m, now, []byte("text"))
	h, err := parseHeader(r.Header.Get("Authorization"))
	if err != nil || h.hash != bodyHash("application/json", []byte("text")) {
		t.Fatalf("%+v, %v", h, err)
	}
	c := checker(t, Config{URL: "http://localhost:8000", Secrets: fixed(t, secretA), Now: func() time.Time { return now }})
	if _, err := c.Check(r); err != nil {
		t.Error(err)
	}
}
