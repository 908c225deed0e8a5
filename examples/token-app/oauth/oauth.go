// Package oauth verifies the bearer tokens of OAuth 2: access tokens that are JWTs
// (RFC 9068), by the published keys of their issuers, and opaque ones, by asking
// (RFC 7662). It reads Security Event Tokens (RFC 8417) of the same issuers, and the
// header X-KeyID.
//
// A token is refused before anything is fetched or computed where its text is enough
// for that. Only issuers that the operator named are asked, and an unknown key makes
// one look at an issuer's keys a minute at most. Keys that could not be fetched again
// serve for another day.
//
// A user is an issuer and a subject. An e-mail address is no identity.
package oauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"appbundle/examples/token-app/internal/guarded"
	"appbundle/examples/token-app/internal/strict"
	"appbundle/examples/token-app/signature"
)

// Limits of what is read and remembered.
const (
	MaxToken      = 16 << 10  // bytes
	maxKeySet     = 256 << 10 // bytes
	maxAnswer     = 64 << 10  // bytes
	maxRemembered = 10_000    // bad signatures, and opaque tokens
	maxSubject    = 255       // bytes
	maxTried      = 4         // keys, for a token that names none
	pause         = time.Minute
)

// An Issuer is an authorization server whose tokens are taken.
type Issuer struct {
	Name string // "iss", byte for byte

	// JWKS is the URL of its keys; "" means that its metadata, at
	// NAME/.well-known/openid-configuration, says where they are.
	JWKS string

	// Audiences has what tokens for this service have in "aud", one of them at least.
	// AnyAudience takes every token, also those that were made for others: Mozilla's
	// servers did so.
	Audiences   []string
	AnyAudience bool

	// PlainJWT takes tokens of the type "JWT" as well, which many issuers write
	// instead of "at+jwt".
	PlainJWT bool

	// ScopePaths lets a scope that is an https URL cover those below it, as Mozilla's
	// issuer understands them.
	ScopePaths bool

	// EventAudiences has what Security Event Tokens for this service have in "aud".
	// Without one events of this issuer are refused.
	EventAudiences []string
}

// A Secret is not printed.
type Secret string

// String does not say what it is.
func (Secret) String() string { return "oauth.Secret" }

// GoString is String.
func (s Secret) GoString() string { return s.String() }

// LogValue is String.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Introspection is whom to ask about opaque tokens.
type Introspection struct {
	URL      string
	User     string
	Password Secret
	Issuer   string // the name of one of the issuers, whose rules the answers are held to
}

// Config is whom to believe.
type Config struct {
	Issuers       []Issuer
	Introspection *Introspection // nil means that opaque tokens are refused

	Skew     time.Duration // how far clocks may be apart; 0 means 60 s
	Remember time.Duration // how long an opaque token is not asked about again; 0 means 60 s

	// Get and Post fetch, as a guarded.Client does. Post is for introspection alone.
	Get  func(ctx context.Context, address string, limit int64) (guarded.Answer, error)
	Post func(ctx context.Context, address string, form url.Values, user *url.Userinfo, limit int64) (guarded.Answer, error)

	Verifier signature.Verifier // nil means signature.Local
	Now      func() time.Time   // nil means time.Now
}

// A Verifier verifies tokens. It is for many goroutines.
type Verifier struct {
	cfg     Config
	issuers map[string]*Issuer
	keys    *guarded.Cache[[]signature.NamedKey]
	refused *guarded.Memory[digest, *Error]
	answers *guarded.Memory[digest, answer]
}

type digest [sha256.Size]byte

// New makes a verifier.
func New(cfg Config) (*Verifier, error) {
	if len(cfg.Issuers) == 0 {
		return nil, errors.New("oauth: issuers have no default; name one")
	}
	cfg.Issuers = slices.Clone(cfg.Issuers)
	v := &Verifier{issuers: map[string]*Issuer{}}
	for i := range cfg.Issuers {
		is := &cfg.Issuers[i]
		switch {
		case is.Name == "" || v.issuers[is.Name] != nil:
			return nil, fmt.Errorf("oauth: issuer %q is there twice, or has no name", is.Name)
		case len(is.Audiences) == 0 && !is.AnyAudience:
			return nil, fmt.Errorf("oauth: issuer %q: audiences have no default; name one", is.Name)
		case is.AnyAudience && (is.PlainJWT || len(is.Audiences) > 0):
			return nil, fmt.Errorf("oauth: issuer %q: any audience is taken for at+jwt alone, and without a list of audiences", is.Name)
		case is.JWKS == "" && !strings.HasPrefix(is.Name, "https://"):
			return nil, fmt.Errorf("oauth: issuer %q is no https URL; say where its keys are", is.Name)
		}
		v.issuers[is.Name] = is
	}
	if in := cfg.Introspection; in != nil && v.issuers[in.Issuer] == nil {
		return nil, fmt.Errorf("oauth: introspection is for issuer %q, which is not one of the issuers", in.Issuer)
	}
	setDefault(&cfg.Skew, time.Minute)
	setDefault(&cfg.Remember, time.Minute)
	if cfg.Verifier == nil {
		cfg.Verifier = signature.Local
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	v.cfg = cfg
	v.refused = guarded.NewMemory[digest, *Error](maxRemembered)
	v.answers = guarded.NewMemory[digest, answer](maxRemembered)
	v.keys = guarded.NewCache(guarded.CacheConfig[[]signature.NamedKey]{
		Fetch: v.fetch,
		Least: 5 * time.Minute, Most: 24 * time.Hour, Unsaid: time.Hour,
		Stale: 48 * time.Hour, Pause: pause, Size: len(v.issuers), Now: cfg.Now,
	})
	return v, nil
}

func setDefault(d *time.Duration, otherwise time.Duration) {
	if *d == 0 {
		*d = otherwise
	}
}

// Close ends the fetches that run.
func (v *Verifier) Close() { v.keys.Close() }

// A Reason is what is wrong, in a word for counters and logs.
type Reason string

// The reasons.
const (
	Malformed   Reason = "malformed"    // it cannot be read, or in two ways
	Type        Reason = "type"         // it is a token for something else
	Algorithm   Reason = "algorithm"    // its algorithm is not an allowed one
	Issued      Reason = "issuer"       // its issuer is not an allowed one
	Audience    Reason = "audience"     // it is for somebody else
	Expired     Reason = "expired"      // it was good once
	Timestamp   Reason = "timestamp"    // it is not good yet
	Subject     Reason = "subject"      // it is about nobody
	Scope       Reason = "scope"        // it is not for this
	Bound       Reason = "bound"        // it is for the holder of a key, who has to prove that
	Key         Reason = "key"          // its issuer does not have the key that it names
	Signature   Reason = "signature"    // its signature is bad
	Inactive    Reason = "inactive"     // its issuer says that it is not good
	Generation  Reason = "generation"   // the generation is not a number that counts up
	KeyIDForm   Reason = "key-id"       // X-KeyID cannot be read
	ClientState Reason = "client-state" // the client state in X-KeyID cannot be read
)

// An Error says why a token is refused. It has nothing of the token.
type Error struct {
	Reason Reason
	Detail string
}

func (e *Error) Error() string { return "token: " + e.Detail }

// Status is the word for it in the answer of a token server. A bad client state is
// answered with 400, all else with 401.
func (e *Error) Status() string {
	switch e.Reason {
	case Generation:
		return "invalid-generation"
	case ClientState:
		return "error"
	}
	return "invalid-credentials"
}

func refuse(r Reason, format string, args ...any) *Error {
	return &Error{r, fmt.Sprintf(format, args...)}
}

// ErrUnavailable is wrapped by errors that say nothing of the token: its issuer or
// the workers could not be asked.
var ErrUnavailable = errors.New("the token could not be looked at")

// An Identity is whose token it is.
type Identity struct {
	Issuer     string
	Subject    string
	Scopes     []string
	ClientID   string // "" is unknown
	Generation int64  // of the credentials, as Mozilla counts; 0 is unknown
	Expires    time.Time
}

// String does not say who it is.
func (i Identity) String() string { return "oauth.Identity(" + i.Issuer + ")" }

// GoString is String.
func (i Identity) GoString() string { return i.String() }

// LogValue is String.
func (i Identity) LogValue() slog.Value { return slog.StringValue(i.String()) }

// Verify says whose a token is that has a scope; "" is none. The error is an *Error
// when the token is refused, and wraps [ErrUnavailable] or is that of ctx when nobody
// could look.
func (v *Verifier) Verify(ctx context.Context, token, scope string) (Identity, error) {
	var (
		id  Identity
		is  *Issuer
		err error
	)
	switch {
	case len(token) > MaxToken:
		return Identity{}, refuse(Malformed, "it is longer than %d bytes", MaxToken)
	case strings.Count(token, ".") == 2:
		id, is, err = v.verifyJWT(ctx, token)
	case v.cfg.Introspection != nil:
		id, is, err = v.introspect(ctx, token)
	default:
		err = refuse(Malformed, "it is not a JWT")
	}
	if err != nil {
		return Identity{}, err
	}
	if scope != "" && !slices.ContainsFunc(id.Scopes, func(has string) bool { return covers(has, scope, is.ScopePaths) }) {
		return Identity{}, refuse(Scope, "it does not have the scope")
	}
	return id, nil
}

// covers reports whether a scope that a token has is as good as the wanted one.
func covers(has, want string, paths bool) bool {
	if has == want {
		return true
	}
	if !paths || !strings.HasPrefix(has, "https://") || strings.Contains(has+want, "?") {
		return false
	}
	has, hasPart, _ := strings.Cut(has, "#")
	want, wantPart, _ := strings.Cut(want, "#")
	return hasPart == wantPart && strings.HasPrefix(want, strings.TrimSuffix(has, "/")+"/")
}

// identity reads the claims that an access token and the answer about one have in
// common, and holds them to the rules of an issuer.
func (v *Verifier) identity(o strict.Object, is *Issuer) (id Identity, err error) {
	id.Issuer = is.Name
	if id.Subject, err = o.Text("sub"); err != nil || id.Subject == "" || len(id.Subject) > maxSubject {
		return id, refuse(Subject, "it has no subject of at most %d bytes", maxSubject)
	}
	if o.Has("cnf") {
		return id, refuse(Bound, "it is bound to a key, and is not a bearer token")
	}
	if o.Has("scope") {
		text, err := o.Text("scope")
		if err != nil {
			return id, refuse(Malformed, "%v", err)
		}
		id.Scopes = strings.FieldsFunc(text, func(r rune) bool { return r == ' ' })
	}
	if o.Has("client_id") {
		if id.ClientID, err = o.Text("client_id"); err != nil {
			return id, refuse(Malformed, "%v", err)
		}
	}
	if o.Has("fxa-generation") {
		if id.Generation, err = o.Int("fxa-generation"); err != nil || id.Generation < 0 {
			return id, refuse(Generation, "the generation is not a number of 0 or more")
		}
	}
	return id, nil
}

// audience reports whether "aud", a text or a list, has one of ours.
func audience(o strict.Object, ours []string) bool {
	switch aud := o["aud"].(type) {
	case string:
		return slices.Contains(ours, aud)
	case []any:
		return slices.ContainsFunc(aud, func(a any) bool {
			text, ok := a.(string)
			return ok && slices.Contains(ours, text)
		})
	}
	return false
}

// started judges "iat" and "nbf", where they are.
func (v *Verifier) started(o strict.Object, now time.Time) error {
	for _, name := range []string{"iat", "nbf"} {
		if !o.Has(name) {
			continue
		}
		at, err := o.Int(name)
		if err != nil {
			return refuse(Malformed, "%v", err)
		}
		if at > now.Add(v.cfg.Skew).Unix() {
			return refuse(Timestamp, "it is not good yet")
		}
	}
	return nil
}
