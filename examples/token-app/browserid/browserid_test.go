package browserid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"appbundle/examples/token-app/internal/guarded"
	"appbundle/examples/token-app/signature"
)

// A vector is an assertion with the verdict that it deserves.
type vector struct {
	Name           string
	Want           string
	Reason         string
	Assertion      string
	Audience       string
	NowMS          int64 `json:"now_ms"`
	Supportdocs    map[string]json.RawMessage
	TrustedIssuers []string `json:"trusted_issuers"`
	AllowedIssuers []string `json:"allowed_issuers"`
	Expect         *struct{ Email, Issuer, Audience string }
	ServerWant     string `json:"server_want"`
	ProductionWant string `json:"production_want"`
}

// readVectors reads them once.
var readVectors = sync.OnceValues(func() ([]vector, error) {
	data, err := os.ReadFile("testdata/browserid.json")
	if err != nil {
		return nil, err
	}
	var file struct{ Vectors []vector }
	err = json.Unmarshal(data, &file)
	return file.Vectors, err
})

func vectors(t testing.TB) []vector {
	list, err := readVectors()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func namedVector(t testing.TB, name string) vector {
	for _, v := range vectors(t) {
		if v.Name == name {
			return v
		}
	}
	t.Fatalf("no vector %q", name)
	return vector{}
}

// A web answers for hosts, and counts what it is asked.
type web struct {
	documents map[string]json.RawMessage
	asked     []string
	err       error
}

func (w *web) get(_ context.Context, address string, limit int64) (guarded.Answer, error) {
	host, ok := strings.CutSuffix(strings.TrimPrefix(address, "https://"), "/.well-known/browserid")
	w.asked = append(w.asked, host)
	doc := w.documents[host]
	switch {
	case !ok || limit != 64<<10:
		return guarded.Answer{}, fmt.Errorf("asked for %s", address)
	case w.err != nil:
		return guarded.Answer{}, w.err
	case doc == nil:
		return guarded.Answer{}, &guarded.StatusError{Host: host, Status: http.StatusNotFound}
	}
	var raw string // as it is
	if json.Unmarshal(doc, &raw) == nil {
		doc = json.RawMessage(raw)
	}
	return guarded.Answer{Body: doc, MaxAge: -1}, nil
}

// config is the configuration that a vector is meant for: every host is allowed that
// can be.
func (v vector) config(w *web) Config {
	w.documents = v.Supportdocs
	issuers := append(slices.Clone(v.AllowedIssuers), "idp.example.com", "else.example")
	for host := range v.Supportdocs {
		if guarded.Host(host) == nil {
			issuers = append(issuers, host)
		}
	}
	if v.AllowedIssuers != nil {
		issuers = v.AllowedIssuers
	}
	return Config{
		Audiences: []string{v.Audience}, Issuers: issuers, Trusted: v.TrustedIssuers, Delegation: true, RS128: true,
		Get: w.get, Now: func() time.Time { return time.UnixMilli(v.NowMS) },
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

// policy has the vectors whose verdict is a matter of configuration, with what the
// default is here.
var policy = map[string]Reason{
	"aud-trailing-slash":       Audience,
	"aud-uppercase":            Audience,
	"exp-float":                Malformed,
	"exp-too-far":              Lifetime,
	"iat-future-cert-1s":       "", // within the skew
	"sub-instead-of-principal": Malformed,
	"valid-email-with-port":    Issuer, // addresses with a port are for development
}

// elsewhere has the vectors that are refused for another reason than theirs, because
// something else is looked at first or called otherwise.
var elsewhere = map[string]Reason{
	"exp-zero":               Expired,
	"assertion-exp-tampered": Lifetime,
	"key-algorithm-D":        Key,
	"key-algorithm-empty":    Key,
	"key-algorithm-missing":  Key,
}

// want is the reason for which a vector is refused here, or "".
func (v vector) want(t *testing.T) Reason {
	if r, ok := policy[v.Name]; ok {
		return r
	}
	if r, ok := elsewhere[v.Name]; ok {
		return r
	}
	switch {
	case v.Want == "accept":
		return ""
	case v.Want == "reject":
		return Reason(v.Reason)
	case strings.Contains(v.Name, "RS64"):
		return Algorithm // RSA of 512 bits
	}
	t.Fatalf("nobody decided what %s is", v.Name)
	return ""
}

// counted is a verifier of signatures that counts what it is asked.
func counted(checks *[]int) signature.Verifier {
	return func(ctx context.Context, c []signature.Check) ([]bool, error) {
		*checks = append(*checks, len(c))
		return signature.Local(ctx, c)
	}
}

func TestVectors(t *testing.T) {
	all := vectors(t)
	if len(all) != 178 {
		t.Errorf("%d vectors, want 178", len(all))
	}
	for _, v := range all {
		t.Run(v.Name, func(t *testing.T) {
			want := v.want(t)
			w, asked := &web{}, []int{}
			cfg := v.config(w)
			cfg.Verifier = counted(&asked)
			verifier := newVerifier(t, cfg)
			got, err := verifier.Verify(t.Context(), v.Assertion)
			for range 2 { // what is remembered says the same
				again, err2 := verifier.Verify(t.Context(), v.Assertion)
				if fmt.Sprint(err2) != fmt.Sprint(err) || again.Email != got.Email {
					t.Errorf("a second look says %v, the first %v", err2, err)
				}
			}
			if want == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				if e := v.Expect; got.Email != e.Email || got.Issuer != e.Issuer || got.Audience != e.Audience {
					t.Errorf("Verify = %q of %q for %q, want %v", got.Email, got.Issuer, got.Audience, e)
				}
				if want := []int{2, 1, 1}; !slices.Equal(asked[max(0, len(asked)-3):], want) {
					t.Errorf("%v checks, want %v", asked, want)
				}
				return
			}
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Reason != want {
				t.Fatalf("Verify = %v, %v, want a refusal because of its %s", got, err, want)
			}
			status := "invalid-credentials"
			switch want {
			case Expired, Timestamp, Lifetime:
				status = "invalid-timestamp"
				fallthrough
			case Malformed, Audience, Email, Key, Algorithm:
				if len(asked)+len(w.asked) > 0 {
					t.Errorf("refused because of its %s after %d verifications and %d fetches", want, len(asked), len(w.asked))
				}
			case Signature:
				if len(asked) > 2 { // with two keys of its issuer
					t.Errorf("%d verifications of the same bad signature", len(asked))
				}
			}
			if e.Status() != status {
				t.Errorf("status %s for reason %s", e.Status(), e.Reason)
			}
			if strings.Contains(err.Error(), "alice") || strings.Contains(err.Error(), "bob") {
				t.Errorf("the error has the address: %v", err)
			}
		})
	}
}

// What an option changes.
func TestOptions(t *testing.T) {
	for _, tt := range []struct {
		name, vector string
		set          func(*Config)
		want         Reason // "" is accepted
		asked        []string
	}{
		{"RS128", "valid-node-idpRS256-userRS128", func(c *Config) { c.RS128 = false }, Algorithm, nil},
		{"RS128 of the issuer", "valid-node-idpRS128-userRS256", func(c *Config) { c.RS128 = false }, Algorithm, nil},
		{"delegation", "valid-delegation-1", func(c *Config) { c.Delegation = false }, Issuer, nil},
		{"nothing is fetched for a forged certificate", "domain-disabled-fallback", func(c *Config) {
			c.Verifier = func(context.Context, []signature.Check) ([]bool, error) { return []bool{false, false}, nil }
		}, Signature, []string{"idp.example.com"}},
		{"not trusted", "valid-trusted-secondary", func(c *Config) { c.Trusted = nil; c.Delegation = false }, Issuer, nil},
		{"not allowed", "valid-no-iat", func(c *Config) { c.Issuers = []string{"else.example"} }, Issuer, nil},
		{"lifetime", "exp-too-far", func(c *Config) { c.AssertionLife, c.CertificateLife = 400*24*time.Hour, 400*24*time.Hour }, "", nil},
		{"lifetime of the certificate", "exp-too-far", func(c *Config) { c.AssertionLife = 400 * 24 * time.Hour }, Lifetime, nil},
		{"tampered", "assertion-exp-tampered", func(c *Config) { c.AssertionLife = 400 * 24 * time.Hour }, Signature, nil},
		{"skew", "iat-future-cert-1s", func(c *Config) { c.Skew = 999 * time.Millisecond }, Timestamp, nil},
		{"skew", "iat-future-cert-1s", func(c *Config) { c.Skew = time.Second }, "", nil},
		{"port of an audience", "valid-no-iat", func(c *Config) { c.Audiences[0] += ":443" }, "", nil},
		{"other port of an audience", "valid-no-iat", func(c *Config) { c.Audiences[0] += ":80" }, Audience, nil},
		{"second audience", "valid-no-iat", func(c *Config) { c.Audiences = append(c.Audiences, "http://x.example:80") }, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, w := namedVector(t, tt.vector), &web{}
			cfg := v.config(w)
			tt.set(&cfg)
			_, err := newVerifier(t, cfg).Verify(t.Context(), v.Assertion)
			var reason Reason
			if e, ok := errors.AsType[*Error](err); ok {
				reason = e.Reason
			}
			if reason != tt.want || (err == nil) != (tt.want == "") {
				t.Errorf("Verify: %v, want reason %q", err, tt.want)
			}
			if tt.asked != nil && !slices.Equal(slices.Compact(w.asked), tt.asked) {
				t.Errorf("fetched from %v, want %v", w.asked, tt.asked)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	good := func() Config {
		return Config{Audiences: []string{"https://a.example"}, Issuers: []string{"idp.example"}}
	}
	newVerifier(t, good())
	for _, tt := range []struct {
		name string
		set  func(*Config)
	}{
		{"no audience", func(c *Config) { c.Audiences = nil }},
		{"no issuer", func(c *Config) { c.Issuers = nil }},
		{"audience without scheme", func(c *Config) { c.Audiences[0] = "a.example" }},
		{"audience with another scheme", func(c *Config) { c.Audiences[0] = "ftp://a.example" }},
		{"audience with a path", func(c *Config) { c.Audiences[0] += "/" }},
		{"audience with a query", func(c *Config) { c.Audiences[0] += "?x" }},
		{"audience with a user", func(c *Config) { c.Audiences[0] = "https://u@a.example" }},
		{"audience in capitals", func(c *Config) { c.Audiences[0] = "https://A.example" }},
		{"audience without a host", func(c *Config) { c.Audiences[0] = "https://" }},
		{"every audience", func(c *Config) { c.Audiences[0] = "*" }},
		{"issuer on this host", func(c *Config) { c.Issuers[0] = "localhost" }},
		{"issuer with a port", func(c *Config) { c.Issuers[0] += ":443" }},
		{"trusted stranger", func(c *Config) { c.Trusted = []string{"b.example"} }},
	} {
		cfg := good()
		tt.set(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: no error", tt.name)
		}
	}
}

// Nobody could look: that is no refusal.
func TestUnavailable(t *testing.T) {
	v := namedVector(t, "valid-no-iat")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name string
		ctx  context.Context
		set  func(*Config, *web)
		want error
	}{
		{"issuer", t.Context(), func(_ *Config, w *web) { w.err = errors.New("no route") }, ErrUnavailable},
		{"issuer is overloaded", t.Context(), func(_ *Config, w *web) { w.err = &guarded.StatusError{Status: 503} }, ErrUnavailable},
		{"issuer counts requests", t.Context(), func(_ *Config, w *web) { w.err = &guarded.StatusError{Status: 429} }, ErrUnavailable},
		{"workers", t.Context(), func(c *Config, _ *web) {
			c.Verifier = func(context.Context, []signature.Check) ([]bool, error) { return nil, errors.New("no worker") }
		}, ErrUnavailable},
		{"workers that give one answer", t.Context(), func(c *Config, _ *web) {
			c.Verifier = func(context.Context, []signature.Check) ([]bool, error) { return []bool{true}, nil }
		}, ErrUnavailable},
		{"the caller left", gone, func(_ *Config, w *web) {}, context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &web{}
			cfg := v.config(w)
			tt.set(&cfg, w)
			_, err := newVerifier(t, cfg).Verify(tt.ctx, v.Assertion)
			if !errors.Is(err, tt.want) {
				t.Errorf("Verify: %v, want %v", err, tt.want)
			}
			if _, refused := errors.AsType[*Error](err); refused {
				t.Errorf("%v is a refusal", err)
			}
		})
	}
}

func TestAccount(t *testing.T) {
	v := namedVector(t, "fxa-token-unverified")
	id, err := newVerifier(t, v.config(&web{})).Verify(t.Context(), v.Assertion)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := id.Account(); err == nil || err.(*Error).Reason != Unconfirmed {
		t.Errorf("an account whose address nobody confirmed: %v", err)
	}
	id.Claims["fxa-tokenVerified"] = true
	got, err := id.Account()
	if want := (Account{1699990000000, 1699980000000, "8b6ae5f6d1a04a6d9ad9b7c6e3b9c111"}); err != nil || got != want {
		t.Errorf("Account = %#v, %v", got, err)
	}
	for _, name := range []string{"principal", "public-key", "iss", "exp", "email"} {
		if id.Claims.Has(name) {
			t.Errorf("claim %q is not about the account", name)
		}
	}
	for _, tt := range []struct {
		claim string
		value any
		want  string // "" is good
	}{
		{"fxa-deviceId", nil, ""},
		{"fxa-generation", json.Number("0"), ""},
		{"fxa-deviceId", true, "invalid-credentials Unauthorized"},
		{"fxa-tokenVerified", false, "invalid-credentials Unauthorized"},
		{"fxa-tokenVerified", nil, "invalid-credentials Unauthorized"},
		{"fxa-tokenVerified", "true", "invalid-credentials Unauthorized"},
		{"fxa-generation", true, "invalid-generation Unauthorized"},
		{"fxa-generation", nil, "invalid-generation Unauthorized"},
		{"fxa-generation", "5", "invalid-generation Unauthorized"},
		{"fxa-generation", json.Number("-1"), "invalid-generation Unauthorized"},
		{"fxa-generation", json.Number("1.5"), "invalid-generation Unauthorized"},
		{"fxa-generation", json.Number("9223372036854775808"), "invalid-generation Unauthorized"},
		{"fxa-keysChangedAt", "x", "invalid-credentials invalid keysChangedAt"},
		{"fxa-keysChangedAt", json.Number("-1"), "invalid-credentials invalid keysChangedAt"},
	} {
		changed := Identity{Claims: maps.Clone(id.Claims)}
		changed.Claims[tt.claim] = tt.value
		_, err := changed.Account()
		got := ""
		if e, ok := errors.AsType[*Error](err); ok {
			got = e.Status() + " " + e.Description()
		}
		if got != tt.want {
			t.Errorf("%s = %v: %q, want %q", tt.claim, tt.value, got, tt.want)
		}
	}
	if a, err := (Identity{}).Account(); err != nil || a != (Account{}) {
		t.Errorf("an account without claims: %v, %v", a, err)
	}
}

func TestIdentityHides(t *testing.T) {
	id := Identity{Email: "canary@idp.example", Issuer: "idp.example"}
	account := Account{DeviceID: "canary"}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "id", id, "account", account)
	for _, text := range []string{fmt.Sprint(id, account), fmt.Sprintf("%+v %+v", id, account), fmt.Sprintf("%#v %#v", id, account), log.String()} {
		if strings.Contains(text, "canary") {
			t.Errorf("printed %s", text)
		}
	}
}

func TestParseDocument(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", `{}`, "0 keys"},
		{"key that is not known", `{"public-key":{"algorithm":"XX"}}`, "0 keys"},
		{"off", `{"disabled":true,"authority":"a.example"}`, "off"},
		{"off in another way", `{"disabled":"yes"}`, "off"},
		{"not off", `{"disabled":false,"keys":[]}`, "0 keys"},
		{"authority", `{"authority":"a.example","keys":5}`, "a.example"},
		{"authority with a path", `{"authority":"a.example/x"}`, "host: "},
		{"authority on this host", `{"authority":"localhost"}`, "host: "},
		{"authority a number", `{"authority":5}`, "not a string"},
		{"keys no list", `{"keys":{}}`, "not a list"},
		{"key no object", `{"public-key":"x"}`, "not an object"},
		{"33 keys", `{"keys":[` + strings.Repeat("{},", 32) + `{}]}`, "more than 32"},
		{"twice", `{"keys":[],"keys":[]}`, "twice"},
		{"no object", `[]`, "not an object"},
	} {
		d, err := parseDocument([]byte(tt.in))
		got := fmt.Sprintf("%d keys", len(d.keys))
		switch {
		case err != nil:
			got = err.Error()
		case d.disabled:
			got = "off"
		case d.authority != "":
			got = d.authority
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
