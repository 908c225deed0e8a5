package app

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"appbundle/examples/token-app/internal/guarded"
	"appbundle/examples/token-app/internal/idp"
	"appbundle/examples/token-app/settings"
	"appbundle/examples/token-app/store"
)

const (
	origin   = "https://token.example.org"
	idpHost  = "idp.example.com"
	nodeURL  = "https://db1.example.com"
	scope    = "https://identity.mozilla.com/apps/oldsync"
	service  = "sync-1.5"
	endpoint = "{node}/1.5/{uid}"
)

// A lab is a token server with all that it needs: a provider whose keys are
// fetched over TLS, secrets in files, SQLite in a directory of its own.
type lab struct {
	t     testing.TB
	dir   string
	idp   *idp.Provider
	fetch *guarded.Client
	log   io.Writer
	text  string // of the settings
}

// The secrets of a lab: of nodes, of names in logs, of the client of an issuer.
const (
	master       = "4f5a9f2b7c1d8e3f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7"
	metricsKey   = "0b1c2d3e4f5061728394a5b6c7d8e9f00b1c2d3e4f5061728394a5b6c7d8e9f0"
	clientSecret = "8c1f0e2d3c4b5a69788796a5b4c3d2e1f08c1f0e2d3c4b5a"
)

// provider is the same for all tests: to make keys takes long.
var provider = sync.OnceValue(func() *idp.Provider {
	p, err := idp.New(idpHost)
	if err != nil {
		panic(err)
	}
	return p
})

func newLab(t testing.TB) *lab {
	t.Helper()
	l := &lab{t: t, dir: t.TempDir(), log: everything}
	l.idp = provider()
	l.fetch = reach(t, map[string]http.Handler{idpHost: l.idp})
	l.write("master", master+"\n")
	l.write("metrics", metricsKey+"\n")
	l.write("client", clientSecret+"\n")
	l.text = fmt.Sprintf(`[server]
origin = %[1]s
metrics = /metrics
[service:%[2]s]
pattern = %[3]s
scope = %[5]s
[service:sync-1.1]
[browserid]
allowed_issuers = %[4]s
legacy_domain = %[4]s
[oauth:idp]
issuer = https://%[4]s
jwks = https://%[4]s/jwks
audiences = %[1]s
event_audiences = %[1]s
introspection = https://opaque.example.com/introspect
client_id = token-app
client_secret = client
email_domain = %[4]s
[secrets]
master = master
metrics = metrics
[limits]
per_address = 0
`, origin, service, endpoint, idpHost, scope)
	return l
}

// reach gives a client that finds hosts at handlers here, and nothing else.
func reach(t testing.TB, hosts map[string]http.Handler) *guarded.Client {
	t.Helper()
	cfg := guarded.Config{Roots: x509.NewCertPool(), Connect: map[string]string{}}
	// A port at which nobody listens, for a host that is down.
	cfg.Connect["opaque.example.com:443"] = "127.0.0.1:1"
	for host, h := range hosts {
		s := httptest.NewTLSServer(h)
		t.Cleanup(s.Close)
		cfg.Roots.AddCert(s.Certificate())
		cfg.Connect[host+":443"] = strings.TrimPrefix(s.URL, "https://")
	}
	c := guarded.New(cfg)
	t.Cleanup(c.Close)
	return c
}

func (l *lab) write(name, text string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// config reads the settings, in which old was replaced by new, in turn.
func (l *lab) config(replace ...string) Config {
	l.t.Helper()
	s, err := settings.Parse(filepath.Join(l.dir, "token-app.ini"), []byte(strings.NewReplacer(replace...).Replace(l.text)))
	if err != nil {
		l.t.Fatal(err)
	}
	return Config{
		Settings: s,
		State:    filepath.Join(l.dir, "state"),
		Log:      slog.New(slog.NewJSONHandler(l.log, nil)),
		Fetch:    l.fetch,
	}
}

// open makes a server of settings in which old was replaced by new, in turn.
func (l *lab) open(replace ...string) *App {
	l.t.Helper()
	a, err := Open(context.Background(), l.config(replace...))
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(a.Close)
	return a
}

// addNode gives the service a node that takes many users.
func addNode(t *testing.T, a *App, node string) {
	t.Helper()
	many := int64(1000)
	if err := a.Store().AddNode(context.Background(), service, node, store.NodeSettings{Capacity: &many}); err != nil {
		t.Fatal(err)
	}
}

// assertion signs a good assertion for an address, with more claims in the
// certificate.
func (l *lab) assertion(email string, more idp.Claims) string {
	now := time.Now()
	cert := idp.Claims{"iss": idpHost, "iat": now.UnixMilli(), "exp": now.Add(time.Hour).UnixMilli(), "principal": idp.Claims{"email": email}}
	for k, v := range more {
		cert[k] = v
	}
	return l.idp.Assertion(cert, idp.Claims{"aud": origin, "exp": now.Add(2 * time.Minute).UnixMilli()})
}

// dsaAssertion signs a good assertion with a key of the user's own, DS128.
func (l *lab) dsaAssertion(email string) string {
	now := time.Now()
	u := idp.NewUser()
	cert := l.idp.Certificate(u, idp.Claims{"iss": idpHost, "iat": now.UnixMilli(), "exp": now.Add(time.Hour).UnixMilli(), "principal": idp.Claims{"email": email}})
	return cert + "~" + u.Sign(idp.Claims{"aud": origin, "exp": now.Add(2 * time.Minute).UnixMilli()})
}

// bearer signs a good access token of a subject, with other claims and headers.
func (l *lab) bearer(subject string, header, more idp.Claims) string {
	now := time.Now().Unix()
	claims := idp.Claims{"iss": "https://" + idpHost, "aud": origin, "sub": subject, "client_id": "c", "jti": "j", "iat": now, "exp": now + 300, "scope": scope}
	for k, v := range more {
		if claims[k] = v; v == nil {
			delete(claims, k)
		}
	}
	return l.idp.Token(header, claims)
}

// ask makes a request; headers are names and values in turn.
func ask(h http.Handler, method, target string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}
