package oauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"appbundle/examples/token-app/internal/guarded"
	"appbundle/examples/token-app/internal/strict"
	"appbundle/examples/token-app/signature"
)

// A signer signs tokens.
type signer struct {
	kid, alg string
	jwk      map[string]any
	sign     func([]byte) []byte
}

var b64 = base64.RawURLEncoding.EncodeToString

func edSigner(kid string) *signer {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return &signer{kid, "EdDSA", map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(pub), "kid": kid}, func(m []byte) []byte {
		return ed25519.Sign(key, m)
	}}
}

func ecSigner(kid string) *signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	return &signer{kid, "ES256", map[string]any{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:]), "kid": kid}, func(m []byte) []byte {
		digest := sha256.Sum256(m)
		r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
		if err != nil {
			panic(err)
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}}
}

func encode(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b64(data)
}

// A change is what a token has that another has not; nil takes a member away.
type change map[string]any

func with(o map[string]any, c change) map[string]any {
	o = maps.Clone(o)
	for name, v := range c {
		if v == nil {
			delete(o, name)
		} else {
			o[name] = v
		}
	}
	return o
}

func (s *signer) token(header, payload map[string]any) string {
	signed := encode(header) + "." + encode(payload)
	return signed + "." + b64(s.sign([]byte(signed)))
}

func (s *signer) header(c change) map[string]any {
	return with(map[string]any{"typ": "at+jwt", "alg": s.alg, "kid": s.kid}, c)
}

const (
	idp     = "https://idp.example.com/"
	scope   = "https://identity.example.com/apps/oldsync"
	service = "https://token.example.org"
)

func claims(now time.Time, c change) map[string]any {
	return with(map[string]any{
		"iss": idp, "aud": service, "sub": "0f1e2d3c", "client_id": "c", "jti": "j", "scope": "profile " + scope,
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "fxa-generation": 1234,
	}, c)
}

// A web answers for one issuer, and counts.
type web struct {
	mu     sync.Mutex
	keys   []*signer
	raw    string // in place of the keys
	err    error
	opaque map[string]any // what is said of any opaque token
	asked  []string
}

func (w *web) ask(what string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, what)
	return w.err
}

func (w *web) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.asked)
}

func (w *web) get(_ context.Context, address string, limit int64) (guarded.Answer, error) {
	if err := w.ask("GET " + address); err != nil {
		return guarded.Answer{}, err
	}
	body := w.raw
	switch {
	case address == "https://idp.example.com/.well-known/openid-configuration":
		body = `{"issuer":"https://idp.example.com/","jwks_uri":"https://idp.example.com/jwks"}`
	case body == "":
		list := []any{}
		for _, s := range w.keys {
			list = append(list, s.jwk)
		}
		data, err := json.Marshal(map[string]any{"keys": list})
		if err != nil {
			return guarded.Answer{}, err
		}
		body = string(data)
	}
	return guarded.Answer{Body: []byte(body), MaxAge: -1}, nil
}

func (w *web) post(_ context.Context, address string, form url.Values, user *url.Userinfo, limit int64) (guarded.Answer, error) {
	if err := w.ask("POST " + address + " " + user.String() + " " + form.Encode()); err != nil {
		return guarded.Answer{}, err
	}
	data, err := json.Marshal(w.opaque)
	return guarded.Answer{Body: data, MaxAge: -1}, err
}

func config(w *web) Config {
	return Config{
		Issuers: []Issuer{{Name: idp, JWKS: "https://idp.example.com/jwks", Audiences: []string{service}, EventAudiences: []string{"us"}}},
		Get:     w.get, Post: w.post,
	}
}

func newVerifier(t testing.TB, cfg Config) *Verifier {
	t.Helper()
	v, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// reason is the word for what came of a token: "" when it is good.
func reason(err error) Reason {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return Reason(err.Error())
}

func TestVerifyJWT(t *testing.T) {
	now := time.Unix(1700000000, 0)
	issuer, stranger, ec := edSigner("k1"), edSigner("k1"), ecSigner("k2")
	anonymous := edSigner("")
	delete(anonymous.jwk, "kid")
	only := func(f func(*Issuer)) func(*Config) { return func(c *Config) { f(&c.Issuers[0]) } }
	plain := only(func(i *Issuer) { i.PlainJWT = true })
	paths := only(func(i *Issuer) { i.ScopePaths = true })
	parts := func(f func(h, p, s string) string) func(string) string {
		return func(token string) string {
			p := strings.Split(token, ".")
			return f(p[0], p[1], p[2])
		}
	}
	for _, tt := range []struct {
		name    string
		header  change
		payload change
		by      *signer
		set     func(*Config)
		text    func(string) string
		want    Reason
	}{
		{name: "good"},
		{name: "P-256", by: ec},
		{name: "application/", header: change{"typ": "application/at+JWT"}},
		{name: "several audiences", payload: change{"aud": []string{"x", service}}},
		{name: "without kid", by: anonymous, header: change{"kid": nil}},
		{name: "inline keys are ignored", header: change{"jwk": map[string]string{}, "jku": "https://evil.example", "x5c": []string{"x"}}},

		{name: "type JWT", header: change{"typ": "JWT"}, want: Type},
		{name: "type JWT where it is taken", header: change{"typ": "JWT"}, set: plain},
		{name: "ID token", header: change{"typ": "JWT"}, payload: change{"nonce": "n"}, set: plain, want: Type},
		{name: "event as a plain JWT", header: change{"typ": "JWT"}, payload: change{"events": 1}, set: plain, want: Type},
		{name: "event", header: change{"typ": "secevent+jwt"}, set: plain, want: Type},
		{name: "no type", header: change{"typ": nil}, set: plain, want: Type},

		{name: "none", header: change{"alg": "none"}, want: Algorithm},
		{name: "HS256", header: change{"alg": "HS256"}, want: Algorithm},
		{name: "DS128", header: change{"alg": "DS128"}, want: Algorithm},
		{name: "RS128", header: change{"alg": "RS128"}, want: Algorithm},
		{name: "lower case", header: change{"alg": "eddsa"}, want: Algorithm},
		{name: "no alg", header: change{"alg": nil}, want: Algorithm},
		{name: "alg of another key", header: change{"alg": "ES256"}, want: Key},
		{name: "kid a number", header: change{"kid": 1}, want: Malformed},
		{name: "kid of another key", header: change{"kid": "k2"}, want: Key},
		{name: "unknown kid", header: change{"kid": "k9"}, want: Key},
		{name: "crit", header: change{"crit": []string{"exp"}}, want: Malformed},
		{name: "forged", by: stranger, want: Signature},
		{name: "forged without kid", by: stranger, header: change{"kid": nil}, want: Signature},
		{name: "no signature", text: parts(func(h, p, s string) string { return h + "." + p + "." }), want: Signature},
		{name: "padded signature", text: parts(func(h, p, s string) string { return h + "." + p + "." + s + "==" }), want: Malformed},
		{name: "other payload", text: parts(func(h, p, s string) string {
			return h + "." + encode(claims(now, change{"sub": "admin"})) + "." + s
		}), want: Signature},
		{name: "payload twice", text: parts(func(h, p, s string) string { return h + "." + b64([]byte(`{"iss":"a","iss":"`+idp+`"}`)) + "." + s }), want: Malformed},
		{name: "too long", text: func(s string) string { return s + strings.Repeat("A", MaxToken) }, want: Malformed},
		{name: "opaque", text: func(string) string { return "abab" }, want: Malformed},
		{name: "encrypted", text: func(string) string { return "a.b.c.d.e" }, want: Malformed},
		{name: "empty", text: func(string) string { return "" }, want: Malformed},

		{name: "other issuer", payload: change{"iss": "https://idp.example.com"}, want: Issued},
		{name: "no issuer", payload: change{"iss": nil}, want: Malformed},
		{name: "issuer a list", payload: change{"iss": []string{idp}}, want: Malformed},
		{name: "other audience", payload: change{"aud": "https://other.example"}, want: Audience},
		{name: "audience with a slash", payload: change{"aud": service + "/"}, want: Audience},
		{name: "no audience", payload: change{"aud": nil}, want: Audience},
		{name: "empty audiences", payload: change{"aud": []string{}}, want: Audience},
		{name: "any audience", payload: change{"aud": nil}, set: only(func(i *Issuer) { i.AnyAudience = true; i.Audiences = nil })},

		{name: "expired this second", payload: change{"exp": now.Unix()}, want: Expired},
		{name: "expires the next second", payload: change{"exp": now.Unix() + 1}},
		{name: "no exp", payload: change{"exp": nil}, want: Malformed},
		{name: "exp a text", payload: change{"exp": "1800000000"}, want: Malformed},
		{name: "exp a fraction", payload: change{"exp": 1800000000.5}, want: Malformed},
		{name: "issued in a minute", payload: change{"iat": now.Unix() + 60}},
		{name: "issued later", payload: change{"iat": now.Unix() + 61}, want: Timestamp},
		{name: "good later", payload: change{"nbf": now.Unix() + 61}, want: Timestamp},
		{name: "nbf a text", payload: change{"nbf": "0"}, want: Malformed},

		{name: "no subject", payload: change{"sub": nil}, want: Subject},
		{name: "empty subject", payload: change{"sub": ""}, want: Subject},
		{name: "long subject", payload: change{"sub": strings.Repeat("x", 256)}, want: Subject},
		{name: "bound", payload: change{"cnf": map[string]string{"jkt": "x"}}, want: Bound},
		{name: "negative generation", payload: change{"fxa-generation": -1}, want: Generation},
		{name: "generation true", payload: change{"fxa-generation": true}, want: Generation},
		{name: "client a number", payload: change{"client_id": 5}, want: Malformed},

		{name: "scope only", payload: change{"scope": scope}},
		{name: "no scope", payload: change{"scope": nil}, want: Scope},
		{name: "other scopes", payload: change{"scope": "profile openid"}, want: Scope},
		{name: "scope below", payload: change{"scope": scope + "/x"}, want: Scope},
		{name: "scope above", payload: change{"scope": "https://identity.example.com/apps"}, want: Scope},
		{name: "scope above by paths", payload: change{"scope": "https://identity.example.com/apps"}, set: paths},
		{name: "scope with the same beginning", payload: change{"scope": "https://identity.example.com/app"}, set: paths, want: Scope},
		{name: "scope with a fragment", payload: change{"scope": "https://identity.example.com/apps#w"}, set: paths, want: Scope},
		{name: "scope with a query", payload: change{"scope": "https://identity.example.com/apps?x"}, set: paths, want: Scope},
		{name: "scopes by comma", payload: change{"scope": "profile," + scope}, want: Scope},
		{name: "scopes by tab", payload: change{"scope": "profile\t" + scope}, want: Scope},
		{name: "scope a list", payload: change{"scope": []string{scope}}, want: Malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &web{keys: []*signer{issuer, ec, anonymous}}
			cfg := config(w)
			cfg.Now = func() time.Time { return now }
			verified := 0
			cfg.Verifier = func(ctx context.Context, c []signature.Check) ([]bool, error) {
				verified++
				return signature.Local(ctx, c)
			}
			if tt.set != nil {
				tt.set(&cfg)
			}
			by := tt.by
			if by == nil {
				by = issuer
			}
			token := by.token(by.header(tt.header), claims(now, tt.payload))
			if tt.text != nil {
				token = tt.text(token)
			}
			v := newVerifier(t, cfg)
			got, err := v.Verify(t.Context(), token, scope)
			if reason(err) != tt.want {
				t.Fatalf("Verify = %v, %v, want reason %q", got, err, tt.want)
			}
			first := verified
			if _, again := v.Verify(t.Context(), token, scope); reason(again) != tt.want {
				t.Errorf("a second time: %v", again)
			}
			switch tt.want {
			case "":
				if got.Subject != "0f1e2d3c" || got.Issuer != idp || got.ClientID != "c" || got.Generation != 1234 || got.Expires.Before(now) {
					t.Errorf("Verify = %#v of %q", got, got.Subject)
				}
			case Signature:
				if verified > first {
					t.Error("a bad signature was verified twice")
				}
			case Scope, Key:
			default:
				if w.count() > 0 {
					t.Errorf("asked %v before it was refused", w.asked)
				}
			}
		})
	}
}

// An issuer changes its keys.
func TestKeyRotation(t *testing.T) {
	older, newer, nameless := edSigner("older"), edSigner("newer"), edSigner("nameless")
	delete(nameless.jwk, "kid")
	synctest.Test(t, func(t *testing.T) {
		w := &web{keys: []*signer{older}}
		v, err := New(config(w))
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		step := func(what string, by *signer, header change, want Reason, fetches int) {
			t.Helper()
			_, err := v.Verify(t.Context(), by.token(by.header(header), claims(time.Now(), nil)), scope)
			synctest.Wait()
			if reason(err) != want || w.count() != fetches {
				t.Errorf("%s: %q after %d fetches, want %q after %d", what, reason(err), w.count(), want, fetches)
			}
		}
		step("the first token", older, nil, "", 1)
		step("an unknown key, just after a fetch", newer, nil, Key, 1)
		time.Sleep(time.Minute)
		step("a forged one does not make a fetch", newer, change{"kid": "older"}, Signature, 1)
		step("an unknown key does", newer, nil, Key, 2)
		w.keys = []*signer{older, newer}
		step("but not twice a minute", newer, nil, Key, 2)
		time.Sleep(time.Minute)
		step("and then it is there", newer, nil, "", 3)
		w.keys = []*signer{nameless}
		time.Sleep(time.Minute)
		step("a key without a name", nameless, change{"kid": nil}, "", 4)
		step("keys are gone with their set", older, nil, Key, 4)
		w.err = errors.New("no route")
		time.Sleep(20 * time.Hour)
		step("the issuer is away", nameless, change{"kid": nil}, "", 5)
		time.Sleep(27 * time.Hour)
		step("and stays away", nameless, change{"kid": nil}, "", 6)
		time.Sleep(2 * time.Hour)
		step("too long", nameless, change{"kid": nil}, "the token could not be looked at: keys: no route", 7)
		w.err = nil
		time.Sleep(time.Minute)
		step("it is back", nameless, change{"kid": nil}, "", 8)
	})
}

func TestDiscovery(t *testing.T) {
	issuer := edSigner("k")
	for _, tt := range []struct{ name, set, want string }{
		{"good", idp, ""},
		{"another's", "https://idp.example.com", "metadata: it is another issuer's"},
	} {
		w := &web{keys: []*signer{issuer}}
		cfg := config(w)
		cfg.Issuers[0].JWKS = ""
		cfg.Issuers[0].Name = tt.set
		v := newVerifier(t, cfg)
		_, err := v.Verify(t.Context(), issuer.token(issuer.header(nil), claims(time.Now(), change{"iss": tt.set})), scope)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// Nobody could look: that is no refusal.
func TestUnavailable(t *testing.T) {
	issuer := edSigner("k")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name string
		ctx  context.Context
		set  func(*Config, *web)
		want error
	}{
		{"issuer", t.Context(), func(_ *Config, w *web) { w.err = errors.New("no route") }, ErrUnavailable},
		{"no keys", t.Context(), func(_ *Config, w *web) { w.keys = nil }, ErrUnavailable},
		{"no set", t.Context(), func(_ *Config, w *web) { w.raw = `{"keys":{}}` }, ErrUnavailable},
		{"a large set", t.Context(), func(_ *Config, w *web) { w.raw = `{"keys":[` + strings.Repeat("{},", 32) + `{}]}` }, ErrUnavailable},
		{"no JSON", t.Context(), func(_ *Config, w *web) { w.raw = `<html>` }, ErrUnavailable},
		{"workers", t.Context(), func(c *Config, _ *web) {
			c.Verifier = func(context.Context, []signature.Check) ([]bool, error) { return nil, errors.New("no worker") }
		}, ErrUnavailable},
		{"workers without an answer", t.Context(), func(c *Config, _ *web) {
			c.Verifier = func(context.Context, []signature.Check) ([]bool, error) { return nil, nil }
		}, ErrUnavailable},
		{"the caller left", gone, func(*Config, *web) {}, context.Canceled},
	} {
		w := &web{keys: []*signer{issuer}}
		cfg := config(w)
		tt.set(&cfg, w)
		_, err := newVerifier(t, cfg).Verify(tt.ctx, issuer.token(issuer.header(nil), claims(time.Now(), nil)), scope)
		if _, refused := errors.AsType[*Error](err); refused || !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(*Config)
	}{
		{"no issuer", func(c *Config) { c.Issuers = nil }},
		{"no name", func(c *Config) { c.Issuers[0].Name = "" }},
		{"twice", func(c *Config) { c.Issuers = append(c.Issuers, c.Issuers[0]) }},
		{"no audience", func(c *Config) { c.Issuers[0].Audiences = nil }},
		{"any audience and one", func(c *Config) { c.Issuers[0].AnyAudience = true }},
		{"any audience of any JWT", func(c *Config) {
			c.Issuers[0].Audiences, c.Issuers[0].AnyAudience, c.Issuers[0].PlainJWT = nil, true, true
		}},
		{"keys nowhere", func(c *Config) { c.Issuers[0].Name, c.Issuers[0].JWKS = "accounts.example.com", "" }},
		{"introspection for a stranger", func(c *Config) { c.Introspection = &Introspection{Issuer: "x"} }},
	} {
		cfg := config(&web{})
		tt.set(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: no error", tt.name)
		}
	}
}

func TestIntrospection(t *testing.T) {
	now := time.Unix(1700000000, 0)
	good := map[string]any{"active": true, "sub": "0f1e2d3c", "scope": scope, "exp": now.Unix() + 30}
	for _, tt := range []struct {
		name  string
		token string
		said  change
		want  Reason
	}{
		{name: "good"},
		{name: "all is said", said: change{"iss": idp, "aud": []string{service}, "token_type": "bearer", "iat": now.Unix(), "client_id": "c"}},
		{name: "no exp", said: change{"exp": nil}},
		{name: "inactive", said: change{"active": false}, want: Inactive},
		{name: "active a text", said: change{"active": "true"}, want: Inactive},
		{name: "nothing said", said: change{"active": nil}, want: Inactive},
		{name: "other issuer", said: change{"iss": "x"}, want: Issued},
		{name: "other audience", said: change{"aud": "x"}, want: Audience},
		{name: "other type", said: change{"token_type": "DPoP"}, want: Type},
		{name: "bound", said: change{"cnf": map[string]string{}}, want: Bound},
		{name: "no subject", said: change{"sub": nil}, want: Subject},
		{name: "expired", said: change{"exp": now.Unix()}, want: Expired},
		{name: "exp a text", said: change{"exp": "x"}, want: Malformed},
		{name: "good later", said: change{"nbf": now.Unix() + 61}, want: Timestamp},
		{name: "no scope", said: change{"scope": nil}, want: Scope},
		{name: "with a space", token: "ab ab", want: Malformed},
		{name: "with a quote", token: `ab"`, want: Malformed},
		{name: "padding alone", token: "==", want: Malformed},
		{name: "empty", token: " ", want: Malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &web{opaque: with(good, tt.said)}
			cfg := config(w)
			at := now
			cfg.Now = func() time.Time { return at }
			cfg.Introspection = &Introspection{URL: "https://idp.example.com/introspect", User: "us", Password: "pw", Issuer: idp}
			v := newVerifier(t, cfg)
			token := tt.token
			if token == "" {
				token = "opaque.=="
			}
			verify := func(want Reason, asked int) {
				t.Helper()
				got, err := v.Verify(t.Context(), token, scope)
				if reason(err) != want || w.count() != asked {
					t.Errorf("Verify = %v, %v after %d questions, want reason %q after %d", got, err, w.count(), want, asked)
				}
				if err == nil && (got.Subject != "0f1e2d3c" || got.Issuer != idp) {
					t.Errorf("it is of %q by %q", got.Subject, got.Issuer)
				}
			}
			if tt.want == Malformed && tt.token != "" {
				verify(tt.want, 0)
				return
			}
			verify(tt.want, 1)
			verify(tt.want, 1) // what is remembered
			at = now.Add(29 * time.Second)
			verify(tt.want, 1)
			if tt.want != "" {
				return
			}
			if _, err := v.Verify(t.Context(), token, "other"); reason(err) != Scope {
				t.Errorf("what is remembered has another scope: %v", err)
			}
			at = now.Add(30 * time.Second) // the token's end
			if tt.name == "no exp" {
				verify("", 1)
				at = now.Add(61 * time.Second)
				verify("", 2)
				return
			}
			verify(Expired, 2)
		})
	}
	w := &web{err: errors.New("no route")}
	cfg := config(w)
	cfg.Introspection = &Introspection{URL: "https://idp.example.com/introspect", User: "us", Password: "pw", Issuer: idp}
	if _, err := newVerifier(t, cfg).Verify(t.Context(), "opaque", scope); !errors.Is(err, ErrUnavailable) {
		t.Errorf("nobody to ask: %v", err)
	}
	if want := "POST https://idp.example.com/introspect us:pw token=opaque&token_type_hint=access_token"; !slices.Equal(w.asked, []string{want}) {
		t.Errorf("asked %q, want %q", w.asked, want)
	}
}

func TestVerifyEvents(t *testing.T) {
	now := time.Unix(1700000000, 0)
	const mozilla, risc = "https://schemas.accounts.firefox.com/event/", "https://schemas.openid.net/secevent/risc/event-type/"
	issuer := edSigner("k")
	type object = map[string]any
	base := object{"iss": idp, "aud": "us", "sub": "u1", "iat": now.Unix(), "jti": "j1", "events": object{mozilla + "delete-user": object{}}}
	about := func(format, iss, sub string) object { return object{"format": format, "iss": iss, "sub": sub} }
	for _, tt := range []struct {
		name    string
		header  change
		payload change
		want    string // the events, or the reason
	}{
		{"deleted", nil, nil, "deleted u1 1700000000000"},
		{"password", nil, change{"events": object{mozilla + "password-change": object{"changeTime": 1699999999123}}}, "reset u1 1699999999123"},
		{"something else", nil, change{"sub": nil, "events": object{mozilla + "profile-change": object{}}}, "other  1700000000000"},
		{"two", nil, change{"toe": now.Unix() - 9, "events": object{risc + "account-purged": object{}, risc + "account-disabled": object{"reason": "x"}}},
			"reset u1 1699999991000, deleted u1 1699999991000"},
		{"subject of the token", nil, change{"sub": nil, "sub_id": about("iss_sub", idp, "u2")}, "deleted u2 1700000000000"},
		{"subject of the event", nil, change{"sub": nil, "events": object{risc + "account-purged": object{"subject": object{"subject_type": "iss-sub", "iss": idp, "sub": "u3"}}}},
			"deleted u3 1700000000000"},
		{"several audiences", nil, change{"aud": []string{"x", "us"}}, "deleted u1 1700000000000"},
		{"application/", change{"typ": "application/secevent+jwt"}, nil, "deleted u1 1700000000000"},

		{"access token", change{"typ": "at+jwt"}, nil, "type"},
		{"plain JWT", change{"typ": "JWT"}, nil, "type"},
		{"none", change{"alg": "none"}, nil, "algorithm"},
		{"unknown key", change{"kid": "x"}, nil, "key"},
		{"other issuer", nil, change{"iss": "x"}, "issuer"},
		{"other audience", nil, change{"aud": service}, "audience"},
		{"no time", nil, change{"iat": nil}, "malformed"},
		{"from the future", nil, change{"iat": now.Unix() + 61}, "timestamp"},
		{"old", nil, change{"iat": now.Unix() - 7*24*3600 - 1}, "expired"},
		{"not too old", nil, change{"iat": now.Unix() - 7*24*3600}, "deleted u1 1699395200000"},
		{"expired", nil, change{"exp": now.Unix()}, "expired"},
		{"exp a text", nil, change{"exp": "x"}, "malformed"},
		{"no ID", nil, change{"jti": nil}, "malformed"},
		{"no events", nil, change{"events": object{}}, "malformed"},
		{"events a list", nil, change{"events": []string{}}, "malformed"},
		{"event a text", nil, change{"events": object{mozilla + "delete-user": "x"}}, "malformed"},
		{"about nobody", nil, change{"sub": nil}, "subject"},
		{"about an empty subject", nil, change{"sub": ""}, "subject"},
		{"about another issuer's account", nil, change{"sub": nil, "sub_id": about("iss_sub", "https://other.example", "u1")}, "subject"},
		{"about two", nil, change{"sub_id": about("iss_sub", idp, "u2")}, "subject"},
		{"about an address", nil, change{"sub": nil, "sub_id": object{"format": "email", "email": "a@b.example"}}, "subject"},
		{"subject a text", nil, change{"sub_id": "u1"}, "malformed"},
		{"about the future", nil, change{"events": object{mozilla + "password-change": object{"changeTime": 1700000060001}}}, "timestamp"},
		{"time a text", nil, change{"events": object{mozilla + "password-change": object{"changeTime": "x"}}}, "malformed"},
		{"toe a text", nil, change{"toe": "x"}, "malformed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config(&web{keys: []*signer{issuer}})
			cfg.Now = func() time.Time { return now }
			token := issuer.token(issuer.header(with(change{"typ": "secevent+jwt"}, tt.header)), with(base, tt.payload))
			events, err := newVerifier(t, cfg).VerifyEvents(t.Context(), token)
			got := string(reason(err))
			for i, e := range events {
				if i > 0 {
					got += ", "
				}
				got += fmt.Sprintf("%s %s %d", e.Kind, e.Subject, e.At.UnixMilli())
				if e.Issuer != idp || e.ID != "j1" || strings.Contains(fmt.Sprintf("%v %#v", e, e), "u1") {
					t.Errorf("event %v of %q with ID %q", e, e.Issuer, e.ID)
				}
			}
			if got != tt.want {
				t.Errorf("VerifyEvents = %q, %v, want %q", got, err, tt.want)
			}
		})
	}
	cfg := config(&web{keys: []*signer{issuer}})
	cfg.Now = func() time.Time { return now }
	v := newVerifier(t, cfg)
	forged := edSigner("k").token(issuer.header(change{"typ": "secevent+jwt"}), base)
	if _, err := v.VerifyEvents(t.Context(), forged); reason(err) != Signature {
		t.Errorf("a forged event: %v", err)
	}
	if _, err := v.VerifyEvents(t.Context(), strings.Repeat("a", MaxToken+1)); reason(err) != Malformed {
		t.Errorf("a long event: %v", err)
	}
	cfg.Issuers[0].EventAudiences = nil
	good := issuer.token(issuer.header(change{"typ": "secevent+jwt"}), base)
	if _, err := newVerifier(t, cfg).VerifyEvents(t.Context(), good); reason(err) != Audience {
		t.Errorf("an event of an issuer whose events nobody wants: %v", err)
	}
}

func TestParseKeyID(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want string // what it says, or the reason
	}{
		{"1234-qqo", "1234 aaaa"},
		{"0-qqo", "0 aaaa"},
		{"0001484567890-qqqqqqqqqqqqqqqqqqqqqg", "1484567890 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
		{"9223372036854775807-AA", "9223372036854775807 00"},
		{"1--_-_", "1 fbffbf"},
		{"", "key-id"}, {"1234", "key-id"}, {"-qqo", "key-id"}, {"x-qqo", "key-id"}, {"-5-qqo", "key-id"},
		{"+5-qqo", "key-id"}, {" 5-qqo", "key-id"}, {" 1234 - qqo", "key-id"}, {"1_0-qqo", "key-id"}, {"0x1-qqo", "key-id"},
		{"9223372036854775808-AA", "key-id"}, {"00000000000000000001-AA", "key-id"}, {"\u0661-qqo", "key-id"},
		{"1234-", "client-state"}, {"1234-@@@@", "client-state"}, {"1234-+/+/", "client-state"}, {"1234-qqo=", "client-state"},
		{"1234-qqp", "client-state"}, {"1234-qqo\n", "client-state"}, {"1234-q", "client-state"},
		{"1234-qqqqqqqqqqqqqqqqqqqqqqo", "client-state"},
	} {
		id, err := ParseKeyID(tt.in)
		got := fmt.Sprint(id.KeysChangedAt, " ", id.ClientState)
		if err != nil {
			got = string(reason(err))
		}
		if got != tt.want {
			t.Errorf("ParseKeyID(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
	for r, want := range map[Reason]string{KeyIDForm: "invalid-credentials", ClientState: "error", Generation: "invalid-generation", Expired: "invalid-credentials"} {
		if got := (&Error{Reason: r}).Status(); got != want {
			t.Errorf("status of %s is %s, want %s", r, got, want)
		}
	}
}

func TestSecretsHide(t *testing.T) {
	id := Identity{Subject: "canary", Issuer: idp}
	in := Introspection{Password: "canary"}
	key := KeyID{ClientState: "canary"}
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "id", id, "in", in, "pw", in.Password, "e", Event{Subject: "canary"})
	for _, text := range []string{fmt.Sprint(id, in, key), fmt.Sprintf("%+v %+v %+v", id, in, key), fmt.Sprintf("%#v %#v %#v", id, in, key), logged.String()} {
		if strings.Contains(text, "canary") {
			t.Errorf("printed %s", text)
		}
	}
}

// The whole way, with a real issuer: metadata, keys and introspection.
func TestOverTLS(t *testing.T) {
	issuer := ecSigner("k")
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		user, password, _ := r.BasicAuth()
		switch r.Method + " " + r.Host + r.URL.Path {
		case "GET idp.example.com/.well-known/openid-configuration":
			io.WriteString(w, `{"issuer":"`+idp+`","jwks_uri":"https://keys.example.com/jwks"}`)
		case "GET keys.example.com/jwks":
			json.NewEncoder(w).Encode(map[string]any{"keys": []any{issuer.jwk}})
		case "POST idp.example.com/introspect":
			fmt.Fprintf(w, `{"active":%v,"sub":"0f1e2d3c","scope":%q}`, user == "us" && password == "pw" && r.PostFormValue("token") == "opaque", scope)
		default:
			http.NotFound(w, r)
		}
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	client := guarded.New(guarded.Config{Roots: roots, Connect: map[string]string{
		"idp.example.com:443": s.Listener.Addr().String(), "keys.example.com:443": s.Listener.Addr().String(),
	}})
	defer client.Close()
	cfg := config(&web{})
	cfg.Get, cfg.Post = client.Get, client.Post
	cfg.Issuers[0].JWKS = ""
	cfg.Introspection = &Introspection{URL: "https://idp.example.com/introspect", User: "us", Password: "pw", Issuer: idp}
	v := newVerifier(t, cfg)
	for _, token := range []string{issuer.token(issuer.header(nil), claims(time.Now(), nil)), "opaque"} {
		if id, err := v.Verify(t.Context(), token, scope); err != nil || id.Subject != "0f1e2d3c" {
			t.Errorf("Verify = %v, %v", id, err)
		}
	}
	if _, err := v.Verify(t.Context(), "other", scope); reason(err) != Inactive {
		t.Errorf("another opaque token: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	now := time.Unix(1700000000, 0)
	issuer := edSigner("k")
	w := &web{keys: []*signer{issuer}}
	cfg := config(w)
	cfg.Now = func() time.Time { return now }
	v := newVerifier(f, cfg)
	known := map[string]bool{}
	for _, typ := range []string{"at+jwt", "secevent+jwt", "JWT"} {
		for _, c := range []change{nil, {"aud": "us"}, {"exp": nil}, {"events": map[string]any{"https://schemas.accounts.firefox.com/event/delete-user": map[string]any{}}, "aud": "us"}} {
			token := issuer.token(issuer.header(change{"typ": typ}), claims(now, c))
			f.Add(token)
			known[token] = true
		}
	}
	f.Fuzz(func(t *testing.T, token string) {
		if id, err := v.Verify(t.Context(), token, scope); err == nil && !known[token] {
			t.Errorf("%q is of %q", token, id.Subject)
		}
		if _, err := v.VerifyEvents(t.Context(), token); err == nil && !known[token] {
			t.Errorf("%q has events", token)
		}
	})
}

// The claims of an event, whose signature a fuzzer does not find.
func FuzzEvents(f *testing.F) {
	now := time.Unix(1700000000, 0)
	cfg := config(&web{})
	cfg.Now = func() time.Time { return now }
	cfg.Verifier = func(_ context.Context, c []signature.Check) ([]bool, error) { return make([]bool, len(c)), nil }
	v := newVerifier(f, cfg)
	f.Add(`{"iat":1700000000,"jti":"j","sub":"u","events":{"https://schemas.accounts.firefox.com/event/password-change":{"changeTime":1}}}`)
	f.Add(`{"iat":1700000000,"jti":"j","sub_id":{"format":"iss_sub","iss":"https://idp.example.com/","sub":"u"},"toe":5,"events":{"https://schemas.openid.net/secevent/risc/event-type/account-purged":{"subject":{"subject_type":"iss-sub","iss":"https://idp.example.com/","sub":"u"}}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		o, err := strict.Decode([]byte(text))
		if err != nil {
			return
		}
		events, err := v.events(o, v.issuers[idp])
		for _, e := range events {
			if e.Kind != Other && e.Subject == "" || e.At.After(now.Add(time.Minute)) || err != nil {
				t.Errorf("%s: %v at %v, %v", text, e, e.At, err)
			}
		}
	})
}

func FuzzKeySet(f *testing.F) {
	for _, s := range []*signer{edSigner("a"), ecSigner("b")} {
		data, err := json.Marshal(map[string]any{"keys": []any{s.jwk, s.jwk}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","use":"enc","key_ops":["verify"],"alg":"RS256"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, err := parseKeys(body)
		if (err == nil) != (len(keys) > 0) || len(keys) > signature.MaxKeys {
			t.Errorf("%s: %d keys, %v", body, len(keys), err)
		}
	})
}

func FuzzKeyID(f *testing.F) {
	f.Add("1234-qqo")
	f.Add("0001484567890-qqqqqqqqqqqqqqqqqqqqqg")
	f.Add("-5-+/==")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseKeyID(s)
		if err != nil {
			return
		}
		digits, _, _ := strings.Cut(s, "-")
		state, err := hex.DecodeString(id.ClientState)
		if err != nil {
			t.Fatal(err)
		}
		again := fmt.Sprintf("%0*d-%s", len(digits), id.KeysChangedAt, b64(state))
		if again != s {
			t.Errorf("%q says what %q says", s, again)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	for _, s := range []*signer{edSigner("k"), ecSigner("k")} {
		cfg := config(&web{keys: []*signer{s}})
		v := newVerifier(b, cfg)
		good := s.token(s.header(nil), claims(time.Now(), nil))
		late := s.token(s.header(nil), claims(time.Now(), change{"exp": 1}))
		b.Run(s.alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), good, scope); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(s.alg+"-expired", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), late, scope); err == nil {
					b.Fatal("an expired token is good")
				}
			}
		})
	}
}
