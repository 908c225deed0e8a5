package browserid

import (
	"context"
	"crypto"
	"crypto/dsa" //lint:ignore SA1019 users of BrowserID sign with it
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"appbundle/examples/token-app/internal/guarded"
	"appbundle/examples/token-app/internal/strict"
	"appbundle/examples/token-app/signature"
)

// A signer has a key and signs with it.
type signer struct {
	alg  string
	key  map[string]string // in BrowserID's form
	sign func(message []byte) []byte
}

func rsaSigner() *signer {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return &signer{"RS256", map[string]string{"algorithm": "RS", "n": k.N.String(), "e": "65537"}, func(message []byte) []byte {
		digest := sha256.Sum256(message)
		sig, err := rsa.SignPKCS1v15(nil, k, crypto.SHA256, digest[:])
		if err != nil {
			panic(err)
		}
		return sig
	}}
}

// Two issuers, made once.
var issuers = sync.OnceValue(func() []*signer { return []*signer{rsaSigner(), rsaSigner()} })

// user is a new user of the group that the vectors' users are of.
func user(t testing.TB) *signer {
	certificate, _, _ := strings.Cut(namedVector(t, "valid-no-iat").Assertion, "~")
	j, err := strict.ParseJWS(certificate)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := j.Payload.Object("public-key")
	if err != nil {
		t.Fatal(err)
	}
	number := func(name string) *big.Int {
		text, _ := theirs.Text(name)
		n, _ := new(big.Int).SetString(text, 16)
		return n
	}
	k := &dsa.PrivateKey{PublicKey: dsa.PublicKey{Parameters: dsa.Parameters{P: number("p"), Q: number("q"), G: number("g")}}}
	if err := dsa.GenerateKey(k, rand.Reader); err != nil {
		t.Fatal(err)
	}
	key := map[string]string{"algorithm": "DS", "p": k.P.Text(16), "q": k.Q.Text(16), "g": k.G.Text(16), "y": k.Y.Text(16)}
	return &signer{"DS128", key, func(message []byte) []byte {
		digest := sha1.Sum(message)
		r, s, err := dsa.Sign(rand.Reader, k, digest[:])
		if err != nil {
			panic(err)
		}
		return append(r.FillBytes(make([]byte, 20)), s.FillBytes(make([]byte, 20))...)
	}}
}

func (s *signer) jws(payload map[string]any) string {
	enc := func(v any) string {
		data, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(data)
	}
	signed := enc(map[string]string{"alg": s.alg}) + "." + enc(payload)
	return signed + "." + base64.RawURLEncoding.EncodeToString(s.sign([]byte(signed)))
}

func (s *signer) certificate(user *signer, now time.Time) string {
	return s.jws(map[string]any{
		"iss": "idp.example.com", "exp": now.Add(6 * time.Hour).UnixMilli(), "public-key": user.key,
		"principal": map[string]string{"email": "alice@IDP.example.com"},
	})
}

func (s *signer) assertion(now time.Time) string {
	return s.jws(map[string]any{"aud": "https://token.example.org", "exp": now.Add(2 * time.Minute).UnixMilli()})
}

// support is the document of an issuer with these keys.
func support(keys ...*signer) json.RawMessage {
	list := []map[string]string{}
	for _, k := range keys {
		list = append(list, k.key)
	}
	data, err := json.Marshal(map[string]any{"keys": list})
	if err != nil {
		panic(err)
	}
	return data
}

func lifeConfig(w *web) Config {
	return Config{Audiences: []string{"https://token.example.org"}, Issuers: []string{"idp.example.com"}, Get: w.get}
}

// An issuer takes a new key, and withdraws the old one: certificates by the new one
// are good at once, those by the old one only as long as its document may be
// remembered.
func TestRotation(t *testing.T) {
	older, newer, alice := issuers()[0], issuers()[1], user(t)
	synctest.Test(t, func(t *testing.T) {
		w := &web{documents: map[string]json.RawMessage{"idp.example.com": support(older)}}
		v, err := New(lifeConfig(w))
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		byOlder, byNewer := older.certificate(alice, time.Now()), newer.certificate(alice, time.Now())
		verify := func(certificate string) Reason {
			id, err := v.Verify(t.Context(), certificate+"~"+alice.assertion(time.Now()))
			synctest.Wait() // for what is fetched behind our back
			switch e := err.(type) {
			case nil:
				if id.Email != "alice@idp.example.com" {
					t.Errorf("the address is %q", id.Email)
				}
				return ""
			case *Error:
				return e.Reason
			default:
				return Reason(err.Error())
			}
		}
		step := func(what, certificate string, want Reason, fetches int) {
			t.Helper()
			if got := verify(certificate); got != want || len(w.asked) != fetches {
				t.Errorf("%s: %q after %d fetches, want %q after %d", what, got, len(w.asked), want, fetches)
			}
		}
		step("a certificate by the only key", byOlder, "", 1)
		step("one by a key that is not there yet", byNewer, Signature, 1)
		w.documents["idp.example.com"] = support(newer)
		step("there is one, but the issuer was just asked", byNewer, Signature, 1)
		time.Sleep(time.Minute)
		step("a minute later", byNewer, "", 2)
		step("the old one, which is remembered", byOlder, Signature, 2)
		step("the new one, which is remembered", byNewer, "", 2)
		time.Sleep(61 * time.Minute)
		step("the document is old, and fetched again", byNewer, "", 3)
		w.documents["idp.example.com"] = json.RawMessage(`{"disabled":true}`)
		time.Sleep(61 * time.Minute)
		step("the issuer is off, which is fetched behind our back", byNewer, "", 4)
		step("and now known", byNewer, Issuer, 4)
	})
}

// An assertion with a bad signature is not verified again for a minute.
func TestRefusedIsRemembered(t *testing.T) {
	issuer, alice, mallory := issuers()[0], user(t), user(t)
	synctest.Test(t, func(t *testing.T) {
		var checks []int
		w := &web{documents: map[string]json.RawMessage{"idp.example.com": support(issuer)}}
		cfg := lifeConfig(w)
		cfg.Verifier = counted(&checks)
		v, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		bad := issuer.certificate(alice, time.Now()) + "~" + mallory.assertion(time.Now())
		for _, want := range []string{"[2]", "[2]", "[2 1]"} {
			if _, err := v.Verify(t.Context(), bad); err == nil {
				t.Fatal("mallory is alice")
			}
			if got := fmt.Sprint(checks); got != want {
				t.Errorf("checks %v, want %s", got, want)
			}
			time.Sleep(40 * time.Second)
		}
	})
}

// Many callers at once, with what is remembered being forgotten: under the race
// detector.
func TestManyCallers(t *testing.T) {
	issuer, alice := issuers()[0], user(t)
	w := &web{documents: map[string]json.RawMessage{"idp.example.com": support(issuers()[1], issuer)}}
	cfg := lifeConfig(w)
	cfg.Certificates = 2
	v := newVerifier(t, cfg)
	var texts []string
	for i := range 4 {
		texts = append(texts, issuer.certificate(alice, time.Now().Add(time.Duration(i)*time.Second))+"~"+alice.assertion(time.Now()))
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 12 {
				if _, err := v.Verify(t.Context(), texts[i%len(texts)]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if len(w.asked) != 1 {
		t.Errorf("%d fetches, want 1", len(w.asked))
	}
}

// The whole way, with a real issuer.
func TestOverTLS(t *testing.T) {
	issuer, alice := issuers()[0], user(t)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "idp.example.com" || r.URL.Path != "/.well-known/browserid" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(support(issuer))
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	client := guarded.New(guarded.Config{Roots: roots, Connect: map[string]string{
		"idp.example.com:443": s.Listener.Addr().String(), "a.example.com:443": s.Listener.Addr().String(),
	}})
	defer client.Close()
	cfg := lifeConfig(&web{})
	cfg.Get = client.Get
	cfg.Issuers = append(cfg.Issuers, "a.example.com")
	v := newVerifier(t, cfg)
	text := issuer.certificate(alice, time.Now()) + "~" + alice.assertion(time.Now())
	if id, err := v.Verify(t.Context(), text); err != nil || id.Email != "alice@idp.example.com" {
		t.Errorf("Verify = %v, %v", id, err)
	}
	other := issuer.jws(map[string]any{
		"iss": "a.example.com", "exp": time.Now().Add(time.Hour).UnixMilli(), "public-key": alice.key,
		"principal": map[string]string{"email": "alice@a.example.com"},
	}) + "~" + alice.assertion(time.Now())
	if _, err := v.Verify(t.Context(), other); err == nil || !strings.Contains(err.Error(), "a.example.com: status 404") {
		t.Errorf("an issuer without a document: %v", err)
	}
}

// Claims of old issuers are in the principal. One that is in both places, and not the
// same, is refused.
func TestClaims(t *testing.T) {
	issuer, alice := issuers()[0], user(t)
	w := &web{documents: map[string]json.RawMessage{"idp.example.com": support(issuer)}}
	v := newVerifier(t, lifeConfig(w))
	claims := func(outer, inner map[string]any) (string, error) {
		payload := map[string]any{"iss": "idp.example.com", "exp": time.Now().Add(time.Hour).UnixMilli(), "public-key": alice.key}
		principal := map[string]any{"email": "a@idp.example.com"}
		for k, v := range inner {
			principal[k] = v
		}
		payload["principal"] = principal
		for k, v := range outer {
			payload[k] = v
		}
		id, err := v.Verify(t.Context(), issuer.jws(payload)+"~"+alice.assertion(time.Now()))
		return fmt.Sprint(map[string]any(id.Claims)), err
	}
	got, err := claims(map[string]any{"x": 1, "same": "s", "jti": "j"}, map[string]any{"y": 2, "same": "s", "sub": "s"})
	if want := "map[same:s x:1 y:2]"; err != nil || got != want {
		t.Errorf("claims %s, %v, want %s", got, err, want)
	}
	if got, err := claims(map[string]any{"x": 1}, map[string]any{"x": 2}); err == nil || !strings.Contains(err.Error(), "there twice") {
		t.Errorf("a claim with two values: %s, %v", got, err)
	}
}

func FuzzVerify(f *testing.F) {
	base := namedVector(f, "valid-no-iat")
	known := map[string]bool{}
	for _, v := range vectors(f) {
		if len(v.Assertion) < 4000 {
			f.Add(v.Assertion)
		}
		known[v.Assertion] = true
	}
	cfg := base.config(&web{})
	v, err := New(cfg)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(v.Close)
	f.Fuzz(func(t *testing.T, text string) {
		if id, err := v.Verify(t.Context(), text); err == nil && !known[text] {
			t.Errorf("%q is by %q", text, id.Email)
		}
	})
}

func FuzzDocument(f *testing.F) {
	for _, v := range vectors(f) {
		for _, doc := range v.Supportdocs {
			f.Add([]byte(doc))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := parseDocument(body)
		if err == nil && d.authority != "" && guarded.Host(d.authority) != nil {
			t.Errorf("%s delegates to %q", body, d.authority)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	issuer := issuers()[0]
	now := time.Now()
	alice := user(b)
	w := &web{documents: map[string]json.RawMessage{"idp.example.com": support(issuer)}}
	run := func(name string, texts []string, cfg Config, wantErr bool) {
		v, err := New(cfg)
		if err != nil {
			b.Fatal(err)
		}
		defer v.Close()
		for i := 0; i < len(texts) && !wantErr; i += len(texts) { // the document and the tables
			if _, err := v.Verify(b.Context(), texts[0]); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := v.Verify(b.Context(), texts[i%len(texts)]); (err != nil) != wantErr {
					b.Fatal(err)
				}
			}
		})
	}
	var distinct []string
	for i := range 400 {
		distinct = append(distinct, issuer.certificate(alice, now.Add(time.Duration(i)*time.Second))+"~"+alice.assertion(now))
	}
	cfg := lifeConfig(w)
	cfg.Now = func() time.Time { return now }
	few := cfg
	few.Certificates = 2
	run("certificates-distinct", distinct, few, false)
	run("certificate-known", distinct[:1], cfg, false)
	free := cfg // what is left when workers compute
	free.Certificates = 2
	free.Verifier = func(_ context.Context, c []signature.Check) ([]bool, error) {
		return []bool{true, true}[:len(c)], nil
	}
	run("certificates-distinct-no-crypto", distinct, free, false)
	late := cfg
	late.Now = func() time.Time { return now.Add(time.Hour) }
	run("expired", distinct, late, true)
	bad := distinct[0][:len(distinct[0])-2] + "AA"
	run("bad-signature-known", []string{bad}, cfg, true)
}
