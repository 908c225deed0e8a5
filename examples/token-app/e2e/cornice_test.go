package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"appbundle/examples/token-app/internal/idp"
	"appbundle/examples/token-app/node"
	"appbundle/examples/token-app/node/nodetest"
	"appbundle/examples/token-app/token"
)

var fileOfPage = regexp.MustCompile("(?ms)^<!-- file: (\\S+) -->\n```\\w*\n(.*?)^```$")

// The front end of docs/CORNICE.md, taken from the page, is a bundle that conforms. Its
// tokens are opened by a node, others get none, and while a worker is killed nobody
// waits in vain.
func TestCornice(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/CORNICE.md")
	if err != nil {
		t.Fatal(err)
	}
	const nodeSecret = "6b0d94e7f2a81c53d6e90f7a2b4c8d1e5f60a7b9c8d3e2f1"
	secrets, err := token.NewFixedSecrets(nodeSecret)
	if err != nil {
		t.Fatal(err)
	}
	var n http.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { n.ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	if n, err = nodetest.New(node.Config{URL: srv.URL, Secrets: secrets, Service: "notes-1.0", Forms: []token.Form{token.Encrypted}}); err != nil {
		t.Fatal(err)
	}

	dir := filepath.Join(t.TempDir(), "notes")
	files := fileOfPage.FindAllStringSubmatch(string(page), -1)
	if len(files) != 4 {
		t.Fatalf("the page has %d files", len(files))
	}
	for _, f := range files {
		write(t, filepath.Join(dir, f[1]), f[2], 0o644)
	}
	if err := copySources(filepath.Join(unpacked(t), "bin/crypto-worker"), filepath.Join(dir, "bin/crypto-worker")); err != nil {
		t.Fatal(err)
	}
	wheel(t, filepath.Join(dir, "wheels"))
	appbundle(t, "check", "--strict", dir)

	// The environment is out/servers, with the package from its source.
	if err := os.Symlink(filepath.Dir(filepath.Dir(python(t))), filepath.Join(dir, ".venv")); err != nil {
		t.Fatal(err)
	}
	source, err := filepath.Abs(project + "/powerhose/python/src")
	if err != nil {
		t.Fatal(err)
	}
	ini, err := os.ReadFile(filepath.Join(dir, "app.ini"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "app.ini"), strings.Replace(string(ini), "NODE = https://notes.example.com", "NODE = "+srv.URL+"\nPYTHONDONTWRITEBYTECODE = 1\nPYTHONPATH = "+source, 1), 0o644)

	p, err := provider()
	if err != nil {
		t.Fatal(err)
	}
	place, err := os.MkdirTemp(work, "c")
	if err != nil {
		t.Fatal(err)
	}
	keys := httptest.NewRecorder()
	p.ServeHTTP(keys, httptest.NewRequest("GET", "/jwks", nil))
	write(t, filepath.Join(place, "state/data/jwks.json"), keys.Body.String(), 0o644)
	write(t, filepath.Join(place, "state/data/secret"), nodeSecret+"\n", 0o600)
	s := &site{idp: p, supervised: supervise(t, got(t, tool), "run", "--bind", "127.0.0.1:0", "--run-dir", place+"/run", "--state-dir", place+"/state", dir)}
	s.url = strings.TrimSuffix(s.after("serving on "), "/")

	for name, bearer := range map[string]string{
		"nothing":         "",
		"junk":            "a.b",
		"another issuer":  p.Token(nil, idp.Claims{"iss": "https://else.example.com", "aud": origin, "sub": "a", "exp": time.Now().Unix() + 300}),
		"expired":         p.Token(nil, idp.Claims{"iss": p.Issuer(), "aud": origin, "sub": "a", "exp": time.Now().Unix() - 1}),
		"another claim":   forged(s.bearer("a"), s.bearer("b")),
		"unknown key":     p.Token(idp.Claims{"kid": "else"}, idp.Claims{"iss": p.Issuer(), "aud": origin, "sub": "a", "exp": time.Now().Unix() + 300}),
		"no access token": p.Token(idp.Claims{"typ": "JWT"}, idp.Claims{"iss": p.Issuer(), "aud": origin, "sub": "a", "exp": time.Now().Unix() + 300}),
	} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.url+"/1.0/notes/1.0", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+bearer)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: status %d", name, resp.StatusCode)
		}
	}
	http.DefaultClient.CloseIdleConnections()

	l := &load{site: s, uids: map[string]int64{}}
	for i := range 5 {
		subject := fmt.Sprintf("user%d", i)
		l.users = append(l.users, user{"notes-1.0", subject, s.bearer(subject)})
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() { l.client(ctx, true) })
	}
	for _, name := range []string{"crypto.1", "crypto.2"} {
		s.kill(name, syscall.SIGKILL)
		s.await(name+" that is up", func() bool { return s.up[name] })
	}
	cancel()
	clients.Wait()
	for _, u := range l.users {
		l.once(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, u)
	}
	for _, problem := range l.problems {
		t.Error(problem)
	}
	if len(l.cut) > 0 || l.answers < len(l.users) {
		t.Errorf("%d answers, and %d requests were lost", l.answers, len(l.cut))
	}
	s.stop()
}

// forged has the claims of one token and the signature of another.
func forged(one, other string) string {
	return one[:strings.LastIndex(one, ".")] + other[strings.LastIndex(other, "."):]
}
