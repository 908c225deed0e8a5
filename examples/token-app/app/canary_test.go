package app

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"appbundle/examples/token-app/internal/idp"
	"appbundle/examples/token-app/server"
	"appbundle/examples/token-app/token"
)

// A sink keeps what is written to it.
type sink struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(b)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// everything is all that the tests of this package log, and all that they write to
// the standard error and through package log.
var everything = &sink{}

// canary is in whatever must not be seen.
const canary = "canarybird"

// private are texts that must not be seen, in any spelling.
func private(texts ...string) []string {
	var all []string
	for _, s := range append(texts, canary, master, metricsKey, clientSecret) {
		if s == "" {
			continue
		}
		all = append(all, s, hex.EncodeToString([]byte(s)))
		for drop := range min(3, len(s)) { // wherever it stands in what was encoded
			b := base64.RawStdEncoding.EncodeToString([]byte(s[drop:]))
			all = append(all, b[:len(b)-2])
		}
	}
	return all
}

// seen gives what of some texts is in an output.
func seen(output string, texts []string) string {
	for _, s := range texts {
		if at := strings.Index(strings.ToLower(output), strings.ToLower(s)); at >= 0 {
			return output[max(0, at-200):min(len(output), at+len(s)+50)]
		}
	}
	return ""
}

// TestMain looks for secrets in all that the tests have written.
func TestMain(m *testing.M) {
	stderr := os.Stderr
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	os.Stderr = w
	log.SetOutput(w)
	slog.SetDefault(slog.New(slog.NewTextHandler(w, nil)))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.MultiWriter(stderr, everything), r)
	}()
	code := m.Run()
	if err := postgres.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "the PostgreSQL server:", err)
		code = 1
	}
	w.Close()
	<-done
	if found := seen(everything.String(), private()); found != "" && code == 0 {
		fmt.Fprintf(stderr, "a secret is in the output of the tests: %s\n", found)
		code = 1
	}
	os.Exit(code)
}

// What is private is never seen: not in answers that refuse, logs, errors,
// figures, the discovery document, nor when a handler breaks or the database is
// gone. Each secret and each part of the credentials has a canary in it.
func TestCanary(t *testing.T) {
	l := newLab(t)
	out := &sink{}
	l.log = io.MultiWriter(out, everything)
	own := canary + "-7f3a9c51d2e8b604af19c37e5d20b86413f7-"
	l.write("master", own+"master\n")
	l.write("metrics", own+"metrics\n")
	l.write("client", own+"client\n")
	broken := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		http.Error(w, string(body)+canary, http.StatusInternalServerError)
	})
	l.fetch = reach(t, map[string]http.Handler{idpHost: l.idp, "opaque.example.com": broken, "broken.example.com": broken})
	a := l.open("allowed_issuers = ", "allowed_issuers = broken.example.com ")
	addNode(t, a, nodeURL)

	email := canary + "@" + idpHost
	claims := idp.Claims{"fxa-deviceId": canary, "fxa-verifiedEmail": canary + "@mail.example.com", "fxa-generation": 10, "fxa-keysChangedAt": 10}
	with := func(more idp.Claims) idp.Claims {
		all := idp.Claims{}
		for _, m := range []idp.Claims{claims, more} {
			for k, v := range m {
				all[k] = v
			}
		}
		return all
	}
	past := time.Now().Add(-time.Hour).UnixMilli()
	state := hex.EncodeToString([]byte(canary))
	keyID := "10-" + base64.RawURLEncoding.EncodeToString([]byte(canary))
	good := "BrowserID " + l.assertion(email, claims)
	requests := []struct {
		auth   string
		state  string
		keyID  string
		status int
	}{
		{good, state, "", 200},
		{good, "", "", 401},
		{good, hex.EncodeToString([]byte("other")), "", 401},
		{good, canary + "!", "", 400},
		{"BrowserID " + canary, state, "", 401},
		{"BrowserID " + canary + "~" + canary, state, "", 401},
		{"BrowserID " + spoil(l.assertion(email, claims)), state, "", 401},
		{"BrowserID " + l.assertion(canary, claims), state, "", 401},
		{"BrowserID " + l.assertion(canary+"@"+canary+".com", claims), state, "", 401},
		{"BrowserID " + l.assertion(email, with(idp.Claims{"exp": past})), state, "", 401},
		{"BrowserID " + l.assertion(email, with(idp.Claims{"iss": canary + ".com"})), state, "", 401},
		{"BrowserID " + l.assertion(canary+"@broken.example.com", with(idp.Claims{"iss": "broken.example.com"})), state, "", 503},
		{"BrowserID " + l.assertion(email, with(idp.Claims{"fxa-generation": canary})), state, "", 401},
		{"BrowserID " + l.assertion(email, with(idp.Claims{"fxa-generation": 9, "fxa-keysChangedAt": 9})), state, "", 401},
		{"BrowserID " + l.assertion(email, with(idp.Claims{canary: canary, "fxa-deviceId": []string{canary}})), state, "", 401},
		{"Bearer " + l.bearer(canary+"sub", nil, with(nil)), "", keyID, 200},
		{"Bearer " + l.bearer(canary+"sub", nil, with(nil)), state, "10-AAAA", 401},
		{"Bearer " + l.bearer(canary+"@x", nil, nil), "", keyID, 401},
		{"Bearer " + l.bearer(canary+"sub", nil, nil), "", canary, 401},
		{"Bearer " + l.bearer(canary+"sub", nil, idp.Claims{"scope": canary}), "", keyID, 401},
		{"Bearer " + l.bearer(canary+"sub", nil, idp.Claims{"aud": canary}), "", keyID, 401},
		{"Bearer " + l.bearer(canary+"sub", nil, idp.Claims{"iss": canary}), "", keyID, 401},
		{"Bearer " + l.bearer(canary+"sub", idp.Claims{"kid": canary}, nil), "", keyID, 401},
		{"Bearer " + l.bearer(canary+"sub", idp.Claims{"alg": canary}, nil), "", keyID, 401},
		{"Bearer " + spoil(l.bearer(canary+"sub", nil, nil)), "", keyID, 401},
		{"Bearer " + canary + "opaque", "", keyID, 503},
		{canary + " " + canary, "", "", 401},
	}
	var tokens []string
	send := func(h http.Handler, method, target string, headers ...string) (int, string) {
		r := ask(h, method, target, headers...)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(out, "%v\n", r.Header)
		var g given
		if r.StatusCode == 200 && json.Unmarshal(body, &g) == nil && g.ID != "" {
			tokens = append(tokens, g.ID, g.Key)
			return r.StatusCode, string(body)
		}
		fmt.Fprintf(out, "%s\n", body)
		return r.StatusCode, string(body)
	}
	for i, q := range requests {
		if code, body := send(a.Handler(), "GET", "/1.0/sync/1.5?duration="+canary, "Authorization", q.auth, "X-Client-State", q.state, "X-KeyID", q.keyID, "Cookie", canary, "User-Agent", canary); code != q.status {
			t.Errorf("request %d: %d %s, want %d", i, code, body, q.status)
		}
	}
	for _, path := range []string{"/", "/__heartbeat__", "/__version__", "/metrics", "/" + canary, "/1.0/sync/1.5/" + canary} {
		send(a.Handler(), "GET", path)
	}
	for _, set := range []string{
		canary,
		l.idp.Token(idp.Claims{"typ": "secevent+jwt"}, idp.Claims{"iss": "https://" + idpHost, "aud": origin, "iat": time.Now().Unix(), "jti": canary, "sub": canary + "sub",
			"events": idp.Claims{"https://schemas.accounts.firefox.com/event/delete-user": idp.Claims{}}}),
		l.idp.Token(idp.Claims{"typ": "secevent+jwt"}, idp.Claims{"iss": canary, "aud": canary, "sub": canary}),
	} {
		send(a.Handler(), "POST", "/1.0/webhooks/events", "Authorization", "Bearer "+set)
	}
	if !strings.Contains(out.String(), `"msg":"event","class":"ok"`) {
		t.Error("no event was taken")
	}

	// A handler that breaks, and requests that are none, behind a real door.
	breaks, err := server.New(server.Config{
		Origin: origin, Services: []server.Service{{App: "sync", Version: "1.5", Pattern: endpoint, Duration: time.Minute}},
		BrowserID: breaking{}, MetricsKey: token.MetricsKey(own), Log: slog.New(slog.NewJSONHandler(l.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if code, _ := send(breaks, "GET", "/1.0/sync/1.5", "Authorization", good); code != 500 {
		t.Errorf("%d of a handler that breaks", code)
	}
	knock(t, out, a.Handler())

	// Errors of the start, and a database that is gone.
	cfg := l.config()
	cfg.Database = "postgres://token:" + canary + "@127.0.0.1:1/tokens?connect_timeout=1"
	if a, err := Open(t.Context(), cfg); err == nil {
		a.Close()
		t.Error("a database that is not there was opened")
	} else {
		fmt.Fprintln(out, err)
	}
	l.write("bad", canary+"\n")
	cfg = l.config()
	cfg.Settings.Secrets.Master = filepath.Join(l.dir, "bad")
	if _, err := Open(t.Context(), cfg); err == nil {
		t.Error("a short secret was taken")
	} else {
		fmt.Fprintln(out, err)
	}
	fmt.Fprintf(out, "%v %+v %#v\n", a, a.minter, a.minter.secrets.Load())
	a.Store().Close()
	if code, _ := send(a.Handler(), "GET", "/1.0/sync/1.5", "Authorization", "BrowserID "+l.assertion(email, claims), "X-Client-State", state); code != 503 {
		t.Errorf("%d without a database", code)
	}
	send(a.Handler(), "GET", "/__heartbeat__")

	if len(tokens) != 4 {
		t.Errorf("%d tokens and keys were given, want 4", len(tokens))
	}
	if len(out.String()) < 4000 {
		t.Errorf("there is little to look at: %s", out)
	}
	if found := seen(out.String(), append(private(own), tokens...)); found != "" {
		t.Errorf("what is private is seen: %s", found)
	}
}

// breaking is a verifier that breaks with what it was given.
type breaking struct{}

func (breaking) Verify(_ context.Context, c server.Private, _ *server.Service) (*server.Identity, error) {
	panic(canary + string(c))
}

// knock sends bytes that are no request to a server, and writes what it says.
func knock(t *testing.T, out io.Writer, h http.Handler) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { _ = (&server.Door{Handler: h}).Serve(ctx, l) })
	defer all.Wait()
	defer cancel()
	for _, text := range []string{
		"GET /" + canary + "\x00 HTTP/1.1\r\n\r\n",
		canary + "\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\n" + canary + ": a\r\n" + canary + "\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " + canary + "\r\n\r\n",
	} {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprint(nc, text)
		_, _ = io.Copy(out, nc)
		nc.Close()
	}
}

// The look finds what it looks for: in plain text, in hexadecimal, and in base64
// wherever it stands.
func TestSeen(t *testing.T) {
	for _, text := range []string{
		"x " + canary + "x", hex.EncodeToString([]byte("a" + canary)), base64.StdEncoding.EncodeToString([]byte(canary)),
		base64.URLEncoding.EncodeToString([]byte("a" + canary + "bc")), base64.URLEncoding.EncodeToString([]byte("ab" + canary)), "A" + master, clientSecret,
	} {
		if seen(text, private()) == "" {
			t.Errorf("nothing is found in %s", text)
		}
	}
	if got := seen("nothing of the kind", private()); got != "" {
		t.Errorf("%q is found", got)
	}
}
