package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"appbundle/examples/token-app/internal/idp"
	"appbundle/examples/token-app/jobs"
	"appbundle/examples/token-app/node"
	"appbundle/examples/token-app/node/nodetest"
	"appbundle/examples/token-app/server"
	"appbundle/examples/token-app/store"
	"appbundle/examples/token-app/token"
	"appbundle/powerhose"
)

// A given is a token that a server gave.
type given struct {
	ID       string
	Key      string
	UID      int64
	Endpoint string `json:"api_endpoint"`
	Duration int64
}

// login asks for a token with an assertion for an address, and demands one.
func (l *lab) login(a *App, email string, headers ...string) given {
	l.t.Helper()
	r := ask(a.Handler(), "GET", "/1.0/sync/1.5", append([]string{"Authorization", "BrowserID " + l.assertion(email, nil)}, headers...)...)
	var g given
	if err := json.NewDecoder(r.Body).Decode(&g); err != nil || r.StatusCode != 200 {
		l.t.Fatalf("status %d, %v", r.StatusCode, err)
	}
	return g
}

// A user's own key of DSA is as good as one of RSA, and signs nothing but what it
// signed.
func TestUserOfDSA(t *testing.T) {
	l := newLab(t)
	a := l.open()
	addNode(t, a, nodeURL)
	alice, bob := l.dsaAssertion("alice@"+idpHost), l.dsaAssertion("bob@"+idpHost)
	certificate, _, _ := strings.Cut(alice, "~")
	_, signed, _ := strings.Cut(bob, "~")
	for _, test := range []struct {
		name, credentials string
		want              int
	}{
		{"alice", alice, 200},
		{"bob", bob, 200},
		{"alice by bob's key", certificate + "~" + signed, 401},
	} {
		if r := ask(a.Handler(), "GET", "/1.0/sync/1.5", "Authorization", "BrowserID "+test.credentials); r.StatusCode != test.want {
			t.Errorf("%s: status %d, want %d", test.name, r.StatusCode, test.want)
		}
	}
}

// secretsOf are those of the node that a file of master secrets gives.
func secretsOf(t *testing.T, masters ...string) token.Secrets {
	t.Helper()
	s, err := token.NewDerivedSecrets(masters...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// opens reports whether a token is good at a node with these secrets.
func opens(t *testing.T, g given, o token.Opener) bool {
	t.Helper()
	_, err := o.Open(g.ID, time.Now())
	return err == nil
}

// Users of two domains with the same local part are told apart by nodes, and so
// are those of two issuers with the same subject.
func TestNames(t *testing.T) {
	n := Names{Legacy: "idp.example.com"}
	seen := map[string]string{}
	note := func(what string, account, user server.Private) {
		if was, twice := seen[string(user)]; twice {
			t.Errorf("nodes know %s and %s as %s", what, was, string(user))
		}
		seen[string(user)] = what
		if got := n.OfAccount(string(account)); got != user {
			t.Errorf("%s: the account is of %s, the user is %s", what, string(got), string(user))
		}
		if strings.ContainsAny(string(user), "@") {
			t.Errorf("%s: the name %s has an @", what, string(user))
		}
	}
	for _, email := range []string{"alice@idp.example.com", "alice@other.example.com", "alice@example.com"} {
		account, user := n.ByEmail(email)
		note(email, account, user)
	}
	for _, s := range [][2]string{{"https://a.example", "alice"}, {"https://b.example", "alice"}, {"https://a.example", "alice@idp.example.com"}, {"https://a", ".examplealice"}} {
		account, user, ok := n.BySubject(s[0], s[1], "")
		if !ok {
			t.Errorf("%q is refused", s)
		}
		note(fmt.Sprint(s), account, user)
	}
	account, user, ok := n.BySubject("https://idp.example.com", "bob", "idp.example.com")
	if !ok || account != "bob@idp.example.com" || user != "bob" {
		t.Errorf("a subject of the legacy domain: %s %s %v", string(account), string(user), ok)
	}
	for _, s := range []string{"bob@evil.example.com", "b ob", "bob\n"} {
		if _, _, ok := n.BySubject("https://idp.example.com", s, "idp.example.com"); ok {
			t.Errorf("the subject %q becomes an address", s)
		}
	}
}

// New secrets are used when they are read again, and those from before while they
// cannot be.
func TestReload(t *testing.T) {
	l := newLab(t)
	a := l.open()
	addNode(t, a, nodeURL)
	const next = "aa5a9f2b7c1d8e3f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7"
	of := func(masters ...string) token.Opener {
		all, err := secretsOf(t, masters...).Of(nodeURL)
		if err != nil {
			t.Fatal(err)
		}
		return token.Opener{Secrets: all}
	}
	if !opens(t, l.login(a, "a@"+idpHost), of(master)) {
		t.Error("the first token does not open with the first secret")
	}
	l.write("master", master+"\n"+next+"\n")
	if opens(t, l.login(a, "a@"+idpHost), of(next)) {
		t.Error("a new secret is used before it was read")
	}
	if err := a.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if g := l.login(a, "a@"+idpHost); !opens(t, g, of(next)) || opens(t, g, of(master)) {
		t.Error("the last secret does not sign")
	}
	l.write("master", "short\n")
	if err := a.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "master:1: ") || strings.Contains(err.Error(), "short\n") {
		t.Errorf("Reload of a bad file = %v", err)
	}
	if !opens(t, l.login(a, "a@"+idpHost), of(next)) {
		t.Error("the secrets did not stay")
	}
}

// A node without a secret is an error at the start, not at a request.
func TestNodeWithoutSecret(t *testing.T) {
	l := newLab(t)
	a := l.open()
	addNode(t, a, nodeURL)
	a.Close()
	l.write("nodes", "https://db2.example.com,1:"+master+"\n")
	_, err := Open(t.Context(), l.config("master = master", "nodes = nodes"))
	if err == nil || !strings.Contains(err.Error(), nodeURL) {
		t.Errorf("Open = %v", err)
	}
	l.write("nodes", "https://db2.example.com,1:"+master+"\n"+nodeURL+",1:"+master+"\n")
	l.open("master = master", "nodes = nodes")
}

// What is wrong at the start is one line, and nothing stays open.
func TestOpenErrors(t *testing.T) {
	for _, tt := range []struct {
		name  string
		apart func(*lab, *Config)
		want  string
	}{
		{"no master for workers", func(l *lab, c *Config) { c.Settings.Crypto.Workers = true }, "POWERHOSE_MASTER names no master"},
		{"no state", func(l *lab, c *Config) { c.State = "" }, "there is no state directory: "},
		{"no database", func(l *lab, c *Config) { c.Database = "mysql://u:canary@h/d" }, "store: "},
		{"no metrics key", func(l *lab, c *Config) { c.Settings.Secrets.Metrics = filepath.Join(l.dir, "none") }, "none: no such file"},
		{"two lines for a database", func(l *lab, c *Config) {
			l.write("url", "postgres://canary@a/b\npostgres://canary@c/d\n")
			c.Settings.Store.URL = filepath.Join(l.dir, "url")
		}, "one line is wanted, the URL of the database"},
		{"an open URL of a database", func(l *lab, c *Config) {
			l.write("url", "postgres://canary@a/b\n")
			c.Settings.Store.URL = filepath.Join(l.dir, "url")
			if err := os.Chmod(c.Settings.Store.URL, 0o604); err != nil {
				t.Fatal(err)
			}
		}, "not everybody can read (mode 0604)"},
		{"roots", func(l *lab, c *Config) {
			c.Fetch = nil
			c.Settings.Network.Roots = filepath.Join(l.dir, "master")
		}, "there is no certificate in it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			cfg := l.config()
			tt.apart(l, &cfg)
			a, err := Open(t.Context(), cfg)
			if err == nil {
				a.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("Open = %v, want %s", err, tt.want)
			}
		})
	}
}

// A token of either form opens at its node, over Hawk.
func TestTokenAtNode(t *testing.T) {
	for _, form := range []string{"signed", "encrypted"} {
		t.Run(form, func(t *testing.T) {
			l := newLab(t)
			at := nodeServer(t, service)
			a := l.open("pattern = "+endpoint, "pattern = "+endpoint+"\ntoken = "+form)
			addNode(t, a, at.url)
			g := l.login(a, "alice@"+idpHost, "X-Client-State", "aaaa")
			if code := at.ask(t, "GET", g); code != 200 {
				t.Errorf("the node answers %d", code)
			}
		})
	}
}

// A storage is a node that answers over HTTP.
type storage struct {
	url     string
	node    *nodetest.Server
	deletes atomic.Int32
	fail    atomic.Bool
}

func nodeServer(t *testing.T, service string) *storage {
	t.Helper()
	s := &storage{}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			s.deletes.Add(1)
			if s.fail.Load() {
				http.Error(w, "disk full", http.StatusInternalServerError)
				return
			}
		}
		s.node.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	s.url = web.URL
	var err error
	if s.node, err = nodetest.New(node.Config{URL: s.url, Service: service, Secrets: secretsOf(t, master)}); err != nil {
		t.Fatal(err)
	}
	return s
}

// ask makes a signed request for what a user has, and gives its status.
func (s *storage) ask(t *testing.T, method string, g given) int {
	t.Helper()
	target, body := g.Endpoint, ""
	if method == "PUT" {
		target, body = target+"/shelf", "text"
	}
	r, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	node.Sign(r, token.Minted{Token: g.ID, Key: g.Key}, time.Now(), nil)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

// Data of old records are deleted at their nodes, by requests that the nodes
// believe; a record whose data could not be deleted stays, and what is in use is
// not deleted.
func TestPurge(t *testing.T) {
	l := newLab(t)
	at := nodeServer(t, service)
	a := l.open("pattern = "+endpoint, "pattern = "+endpoint+"\ntoken = encrypted")
	addNode(t, a, at.url)

	for i := range 2 {
		email := fmt.Sprintf("u%d@%s", i, idpHost)
		r := ask(a.Handler(), "GET", "/1.0/sync/1.5", "X-Client-State", "aa", "Authorization", "BrowserID "+l.assertion(email, ages(10, 10)))
		var g given
		if err := json.NewDecoder(r.Body).Decode(&g); err != nil || g.UID == 0 {
			t.Fatal(r.StatusCode, err)
		}
		if code := at.ask(t, "PUT", g); code >= 300 {
			t.Fatalf("the node answers %d to a PUT", code)
		}

		r = ask(a.Handler(), "GET", "/1.0/sync/1.5", "X-Client-State", "bb", "Authorization", "BrowserID "+l.assertion(email, ages(20, 20)))
		if r.StatusCode != 200 {
			t.Fatal(r.StatusCode)
		}
	}
	if n := len(at.node.Users()); n != 2 {
		t.Fatalf("%d users have data", n)
	}
	ctx, cfg := context.Background(), l.config("pattern = "+endpoint, "pattern = "+endpoint+"\ntoken = encrypted")
	cfg.Now = func() time.Time { return time.Now().Add(time.Minute) } // what was replaced just now is old
	run := func(p Purge) store.Purged {
		t.Helper()
		got, err := RunPurge(ctx, cfg, a.Store(), p)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	cfg.Now = time.Now
	if got := run(Purge{Older: time.Hour}); got.Removed != 0 || at.deletes.Load() != 0 {
		t.Errorf("what is not old: %+v", got)
	}
	cfg.Now = func() time.Time { return time.Now().Add(10 * time.Second) }
	if got := run(Purge{DryRun: true}); got.Removed != 2 || at.deletes.Load() != 0 {
		t.Errorf("a dry run: %+v, %d deletes", got, at.deletes.Load())
	}
	at.fail.Store(true)
	if got := run(Purge{Limit: 1}); got.Failed != 1 || got.Removed != 0 || got.Err == nil || !strings.Contains(got.Err.Error(), "answers 500 Internal Server Error to a DELETE for uid 1") {
		t.Errorf("a node that fails: %+v", got)
	}
	at.fail.Store(false)
	if got := run(Purge{Limit: 1, Service: service}); got.Removed != 1 || got.Failed != 0 {
		t.Errorf("one record: %+v", got)
	}
	// What failed is behind the other: its turn is the second.
	if n := len(at.node.Users()); n != 1 {
		t.Errorf("%d users have data after one purge", n)
	}
	if got := run(Purge{}); got.Removed != 1 || len(at.node.Users()) != 0 {
		t.Errorf("the rest: %+v, %d users have data", got, len(at.node.Users()))
	}
	if _, err := RunPurge(ctx, cfg, a.Store(), Purge{Service: "none-1"}); !errors.Is(err, store.ErrUnknownService) {
		t.Errorf("an unknown service: %v", err)
	}

}

// Workers verify and mint, or verify alone; without one the answer is 503 in time,
// and when one is there again so are tokens.
func TestWorkers(t *testing.T) {
	t.Run("mint", func(t *testing.T) { testWorkers(t, "", true) })
	t.Run("mint here", func(t *testing.T) { testWorkers(t, "mint = here\n", false) })
}

func testWorkers(t *testing.T, more string, mints bool) {
	l := newLab(t)
	dir, err := os.MkdirTemp("", "m") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	master, err := powerhose.NewMaster(powerhose.MasterConfig{Listen: filepath.Join(dir, "m.sock")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	cfg := l.config("[limits]", "[crypto]\nworkers = powerhose\nwait = 20ms\n"+more+"[limits]")
	cfg.Master = master.Address()
	a, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	addNode(t, a, nodeURL)
	text := l.assertion("alice@"+idpHost, nil)
	try := func() int {
		return ask(a.Handler(), "GET", "/1.0/sync/1.5", "Authorization", "BrowserID "+text).StatusCode
	}
	if got := try(); got != 503 {
		t.Errorf("%d without a worker", got)
	}
	var kinds sync.Map
	ctx, cancel := context.WithCancel(t.Context())
	w := powerhose.Worker{Master: master.Address(), Name: "w", Kinds: []string{jobs.Verify, jobs.Mint}}
	ended := make(chan error, 1)
	go func() {
		ended <- w.Serve(ctx, func(ctx context.Context, j *powerhose.Job) ([]byte, error) {
			kinds.Store(j.Kind, true)
			return jobs.Work(ctx, j)
		})
	}()
	for ready := false; !ready; {
		for _, s := range master.Status().Workers {
			ready = ready || s.State == "idle"
		}
	}
	if got := try(); got != 200 {
		t.Errorf("%d with a worker", got)
	}
	for kind, want := range map[string]bool{jobs.Verify: true, jobs.Mint: mints} {
		if _, ok := kinds.Load(kind); ok != want {
			t.Errorf("the worker had a job of the kind %s: %t, want %t", kind, ok, want)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Workers that have no time are a queue that is full.
func TestBusy(t *testing.T) {
	var full *server.Busy
	if err := busy(powerhose.ErrQueueFull); !errors.As(err, &full) || !errors.Is(err, powerhose.ErrQueueFull) {
		t.Errorf("busy = %v", err)
	}
}

// An issuer brings so many new users; then it is asked to wait, or has all that it
// may have.
func TestNewUsersOfIssuer(t *testing.T) {
	var log bytes.Buffer
	l := newLab(t)
	l.log = &log
	a := l.open("[limits]", "[limits]\nnew_users = 1")
	addNode(t, a, nodeURL)
	try := func(a *App, who string) int {
		return ask(a.Handler(), "GET", "/1.0/sync/1.5", "Authorization", "BrowserID "+l.assertion(who+"@"+idpHost, nil)).StatusCode
	}
	for _, tt := range []struct {
		who  string
		want int
	}{{"a", 200}, {"b", 429}, {"a", 200}} {
		if got := try(a, tt.who); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.who, got, tt.want)
		}
	}
	capped := l.open("[limits]", "[limits]\nusers = 1")
	if got := try(capped, "c"); got != 401 || !strings.Contains(log.String(), `"class":"new-users-disabled"`) {
		t.Errorf("beyond the cap: %d; the log is %s", got, &log)
	}
}

// Data that a user of the same node and key still uses stay when an old record
// goes.
func TestPurgeInUse(t *testing.T) {
	l := newLab(t)
	at := nodeServer(t, service)
	a := l.open()
	addNode(t, a, at.url)
	first := l.login(a, "alice@"+idpHost, "X-Client-State", "aa")
	if _, err := a.Store().Unassign(t.Context(), service, at.url); err != nil {
		t.Fatal(err)
	}
	if again := l.login(a, "alice@"+idpHost, "X-Client-State", "aa"); again.UID == first.UID {
		t.Fatalf("the user has uid %d still", again.UID)
	}
	cfg := l.config()
	cfg.Now = func() time.Time { return time.Now().Add(time.Minute) }
	got, err := RunPurge(t.Context(), cfg, a.Store(), Purge{})
	if err != nil || got.Removed != 1 || at.deletes.Load() != 0 {
		t.Errorf("%+v, %v, %d deletes; want one record and no delete", got, err, at.deletes.Load())
	}
}

// Events of an issuer end its users, or what was signed in before; what is no good
// event changes nothing.
func TestEvents(t *testing.T) {
	l := newLab(t)
	a := l.open()
	addNode(t, a, nodeURL)
	login := func(subject string, generation int64) int {
		text := l.bearer(subject, nil, idp.Claims{"fxa-generation": generation})
		return ask(a.Handler(), "GET", "/1.0/sync/1.5", "Authorization", "Bearer "+text).StatusCode
	}
	now := time.Now()
	send := func(more idp.Claims, kind string, about idp.Claims) (int, string) {
		claims := idp.Claims{"iss": "https://" + idpHost, "aud": origin, "iat": now.Unix(), "jti": "1", "sub": "alice",
			"events": idp.Claims{"https://schemas.accounts.firefox.com/event/" + kind: about}}
		for k, v := range more {
			claims[k] = v
		}
		text := l.idp.Token(idp.Claims{"typ": "secevent+jwt"}, claims)
		if kind == "spoilt" {
			text = spoil(text)
		}
		r := ask(a.Handler(), "POST", "/1.0/webhooks/events", "Authorization", "Bearer "+text)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(body)
	}
	old := now.Add(-time.Hour).UnixMilli()
	for _, who := range []string{"alice", "bob"} {
		if got := login(who, old); got != 200 {
			t.Fatalf("%s: %d", who, got)
		}
	}
	for _, tt := range []struct {
		more idp.Claims
		kind string
		want string
	}{
		{idp.Claims{"aud": "https://other.example.com"}, "delete-user", `"err":"invalid_audience"`},
		{idp.Claims{"iss": "https://evil.example.com"}, "delete-user", `"err":"invalid_issuer"`},
		{nil, "spoilt", `"err":"invalid_key"`},
		{idp.Claims{"sub": "alice@x"}, "delete-user", `"err":"invalid_request"`},
	} {
		if code, body := send(tt.more, tt.kind, idp.Claims{}); code != 400 || !strings.Contains(body, tt.want) {
			t.Errorf("%v %s: %d %s, want 400 %s", tt.more, tt.kind, code, body, tt.want)
		}
	}
	if code, body := send(nil, "profile-change", idp.Claims{}); code != 202 {
		t.Errorf("another event: %d %s", code, body)
	}
	if got := login("alice", old); got != 200 {
		t.Errorf("%d after events that are not good", got)
	}
	for range 2 { // events may come twice
		if code, body := send(nil, "password-change", idp.Claims{"changeTime": now.UnixMilli()}); code != 202 {
			t.Fatalf("password-change: %d %s", code, body)
		}
	}
	if got := login("alice", old); got != 401 {
		t.Errorf("%d with the password from before", got)
	}
	if got := login("alice", now.UnixMilli()); got != 200 {
		t.Errorf("%d with the new password", got)
	}
	for range 2 {
		if code, body := send(nil, "delete-user", idp.Claims{}); code != 202 {
			t.Fatalf("delete-user: %d %s", code, body)
		}
	}
	if got := login("alice", now.Add(time.Minute).UnixMilli()); got != 401 {
		t.Errorf("%d of a user who is deleted", got)
	}
	if got := login("bob", old); got != 200 {
		t.Errorf("%d of another user", got)
	}
}
