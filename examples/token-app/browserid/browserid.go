// Package browserid verifies the assertions of BrowserID: a certificate, by which an
// issuer vouches for an e-mail address and a public key, and what that key signed for
// one audience, joined by "~".
//
// An assertion is refused before anything is computed where its text is enough for
// that: its form, its times, its audience, its issuer. Nothing is fetched but the
// support documents of the issuers that the operator allowed, and, with delegation,
// of the domains for whose addresses such an issuer signed a certificate.
//
// A certificate that was verified is remembered by the SHA-256 of its text until it
// expires, or until its issuer no longer has the key. An assertion with a bad
// signature is remembered for a minute.
package browserid

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
	MaxAssertion = 8 << 10  // bytes
	maxDocument  = 64 << 10 // bytes
	maxDocuments = 1000
	maxRefused   = 10_000
	maxTried     = 8 // keys of an issuer, for one certificate
	pause        = time.Minute
)

// Config is whom to believe.
type Config struct {
	// Audiences has the origins of this service, as https://token.example.org.
	Audiences []string

	// Issuers has the hosts whose certificates are taken. There is no default.
	Issuers []string

	// Trusted has those of Issuers that may vouch for addresses of every domain. The
	// others may for their own.
	Trusted []string

	// Delegation lets the support document of a domain name another host that
	// vouches for its addresses.
	Delegation bool

	RS128 bool // RSA of 1024 bits is taken

	Skew            time.Duration // how far clocks may be apart; 0 means 60 s
	AssertionLife   time.Duration // how long an assertion may still be good; 0 means 10 min
	CertificateLife time.Duration // how long a certificate may still be good; 0 means 25 h
	Certificates    int           // how many are remembered; 0 means 10,000

	// Get fetches, as a guarded.Client does.
	Get func(ctx context.Context, address string, limit int64) (guarded.Answer, error)

	Verifier signature.Verifier // nil means signature.Local
	Now      func() time.Time   // nil means time.Now
}

// A Verifier verifies assertions. It is for many goroutines.
type Verifier struct {
	cfg          Config
	audiences    map[string]bool
	issuers      map[string]bool // whether it is a trusted one
	documents    *guarded.Cache[document]
	certificates *guarded.Memory[digest, *certificate]
	refused      *guarded.Memory[digest, *Error]
}

type digest [sha256.Size]byte

// New makes a verifier.
func New(cfg Config) (*Verifier, error) {
	if len(cfg.Audiences) == 0 || len(cfg.Issuers) == 0 {
		return nil, errors.New("browserid: audiences and issuers have no default; name them")
	}
	v := &Verifier{audiences: map[string]bool{}, issuers: map[string]bool{}}
	for _, a := range cfg.Audiences {
		u, err := url.Parse(a)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Scheme+"://"+u.Host != a || u.Host == "" || strings.ToLower(a) != a {
			return nil, fmt.Errorf("browserid: audience %q is not an origin, as https://token.example.org", a)
		}
		v.audiences[origin(a)] = true
	}
	for _, host := range cfg.Issuers {
		if err := guarded.Host(host); err != nil {
			return nil, fmt.Errorf("browserid: issuer %q: %w", host, err)
		}
		v.issuers[host] = slices.Contains(cfg.Trusted, host)
	}
	for _, host := range cfg.Trusted {
		if !slices.Contains(cfg.Issuers, host) {
			return nil, fmt.Errorf("browserid: %q is trusted, but not an issuer", host)
		}
	}
	setDefault(&cfg.Skew, time.Minute)
	setDefault(&cfg.AssertionLife, 10*time.Minute)
	setDefault(&cfg.CertificateLife, 25*time.Hour)
	setDefault(&cfg.Certificates, 10_000)
	if cfg.Verifier == nil {
		cfg.Verifier = signature.Local
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	v.cfg = cfg
	v.certificates = guarded.NewMemory[digest, *certificate](cfg.Certificates)
	v.refused = guarded.NewMemory[digest, *Error](maxRefused)
	v.documents = guarded.NewCache(guarded.CacheConfig[document]{
		Fetch: v.fetch,
		Least: 5 * time.Minute, Most: time.Hour, Unsaid: time.Hour,
		Stale: 24 * time.Hour, Pause: pause, Size: maxDocuments, Now: cfg.Now,
	})
	return v, nil
}

func setDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

// Close ends the fetches that run.
func (v *Verifier) Close() { v.documents.Close() }

// A Reason is what is wrong, in a word for counters and logs.
type Reason string

// The reasons.
const (
	Malformed  Reason = "malformed"  // it cannot be read, or in two ways
	Audience   Reason = "audience"   // it is for somebody else
	Expired    Reason = "expired"    // it was good once
	Timestamp  Reason = "timestamp"  // it is not good yet
	Lifetime   Reason = "lifetime"   // it is good for too long
	Issuer     Reason = "issuer"     // its issuer is not allowed, or has no keys
	Delegation Reason = "delegation" // its issuer may not speak for the address
	Email      Reason = "email"      // its address is not one
	Key        Reason = "key"        // its key is not one, or not one that is good enough
	Algorithm  Reason = "algorithm"  // its algorithm is unknown, or not the key's
	Signature  Reason = "signature"  // its signature is bad

	// Of [Identity.Account].
	Unconfirmed   Reason = "unconfirmed"  // nobody confirmed the account's address
	Generation    Reason = "generation"   // it is not a number that counts up
	KeysChangedAt Reason = "keys-changed" // it is no time
	Device        Reason = "device"       // it is no text
)

// An Error says why an assertion is refused. It has nothing of the assertion.
type Error struct {
	Reason Reason
	Detail string
}

func (e *Error) Error() string { return "assertion: " + e.Detail }

// Status is the word for it in the answer of a token server.
func (e *Error) Status() string {
	switch e.Reason {
	case Expired, Timestamp, Lifetime:
		return "invalid-timestamp"
	case Generation:
		return "invalid-generation"
	}
	return "invalid-credentials"
}

// Description is the sentence for it in the answer of a token server.
func (e *Error) Description() string {
	if e.Reason == KeysChangedAt {
		return "invalid keysChangedAt"
	}
	return "Unauthorized"
}

func refuse(r Reason, format string, args ...any) *Error {
	return &Error{r, fmt.Sprintf(format, args...)}
}

// ErrUnavailable is wrapped by errors that say nothing of the assertion: the issuer
// or the workers could not be asked.
var ErrUnavailable = errors.New("the assertion could not be looked at")

// An Identity is who an assertion is by.
type Identity struct {
	Email    string // with its domain in small letters
	Issuer   string
	Audience string
	Claims   strict.Object // what the issuer says of the account besides
}

// String does not say who it is.
func (i Identity) String() string { return "browserid.Identity(" + i.Issuer + ")" }

// GoString is String.
func (i Identity) GoString() string { return i.String() }

// LogValue is String.
func (i Identity) LogValue() slog.Value { return slog.StringValue(i.String()) }

// Verify says who an assertion is by. The error is an *Error when it is refused, and
// wraps [ErrUnavailable] or is that of ctx when nobody could look.
func (v *Verifier) Verify(ctx context.Context, text string) (Identity, error) {
	if len(text) > MaxAssertion {
		return Identity{}, refuse(Malformed, "it is longer than %d bytes", MaxAssertion)
	}
	certText, assertionText, ok := strings.Cut(text, "~")
	if !ok || strings.Contains(assertionText, "~") {
		return Identity{}, refuse(Malformed, "it is not one certificate and one assertion")
	}
	now := v.cfg.Now()
	whole := digest(sha256.Sum256([]byte(text)))
	if e, ok := v.refused.Get(whole, now); ok {
		return Identity{}, e
	}
	a, err := v.parseAssertion(assertionText, now)
	if err != nil {
		return Identity{}, err
	}
	key := digest(sha256.Sum256([]byte(certText)))
	cert, verified := v.certificates.Get(key, now)
	if !verified {
		if cert, err = v.parseCertificate(certText); err != nil {
			return Identity{}, err
		}
	}
	if err := v.times("certificate", cert.times, v.cfg.CertificateLife, now); err != nil {
		return Identity{}, err
	}
	if !cert.key.Fits(a.alg) {
		return Identity{}, refuse(Algorithm, "the assertion's algorithm is not that of the certified key")
	}
	doc, err := v.document(ctx, cert.issuer)
	if err != nil {
		return Identity{}, err
	}
	checks := []signature.Check{{}, a.check(cert.key)}
	if verified && doc.has(cert.signer) {
		checks = checks[1:]
	} else {
		mine := *cert // others may have the one that was remembered
		cert = &mine
	}
	certGood, good, err := v.verify(ctx, cert, doc, checks)
	if err != nil {
		return Identity{}, err
	}
	if certGood && len(checks) == 2 {
		v.certificates.Put(key, cert, time.UnixMilli(cert.times.exp))
	}
	if !good {
		e := refuse(Signature, "a signature is bad")
		v.refused.Put(whole, e, now.Add(pause))
		return Identity{}, e
	}
	if err := v.speaks(ctx, cert.issuer, cert.domain); err != nil {
		return Identity{}, err
	}
	return Identity{cert.email, cert.issuer, a.audience, cert.claims}, nil
}

// verify carries out the checks of one assertion: of the certificate, which it makes
// itself, and of what the certified key signed; or of the latter alone. An issuer may
// have several keys, and a new one since its document was fetched.
func (v *Verifier) verify(ctx context.Context, cert *certificate, doc document, checks []signature.Check) (certGood, good bool, err error) {
	if len(checks) == 1 {
		_, good, err = v.ask(ctx, checks)
		return true, good, err
	}
	tried := doc
	for {
		n := 0
		for _, k := range doc.keys {
			if !k.For(cert.alg) || n == maxTried {
				continue
			}
			n++
			checks[0] = cert.check(k.Key)
			certGood, good, err = v.ask(ctx, checks)
			if certGood {
				cert.signer = k.Key
			}
			if certGood || err != nil {
				return certGood, good, err
			}
		}
		if doc, err = v.renewed(ctx, cert.issuer); err != nil {
			return false, false, err
		}
		if doc.same(tried) {
			return false, false, nil
		}
		tried = doc
	}
}

// ask gives the answers to the first and to the last check.
func (v *Verifier) ask(ctx context.Context, checks []signature.Check) (first, last bool, err error) {
	answers, err := v.cfg.Verifier(ctx, checks)
	if err == nil && len(answers) != len(checks) {
		err = errors.New("a verifier gave another number of answers")
	}
	if err != nil {
		if ctx.Err() != nil {
			return false, false, ctx.Err()
		}
		return false, false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return answers[0], !slices.Contains(answers, false), nil
}

// origin is an origin without the port that its scheme has anyway.
func origin(s string) string {
	if s, ok := strings.CutSuffix(s, ":443"); ok && strings.HasPrefix(s, "https://") {
		return s
	}
	if s, ok := strings.CutSuffix(s, ":80"); ok && strings.HasPrefix(s, "http://") {
		return s
	}
	return s
}
