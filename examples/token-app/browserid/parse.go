package browserid

import (
	"encoding/json"
	"log/slog"
	"reflect"
	"strings"
	"time"

	"appbundle/examples/token-app/internal/guarded"
	"appbundle/examples/token-app/internal/strict"
	"appbundle/examples/token-app/signature"
)

// times are in milliseconds. What is not said is 0.
type times struct{ exp, iat, nbf int64 }

// An assertion is what a user's key signed.
type assertion struct {
	alg      signature.Alg
	audience string
	signed   []byte
	sig      []byte
}

func (a *assertion) check(k signature.Key) signature.Check {
	return signature.Check{Key: k, Alg: a.alg, Message: a.signed, Signature: a.sig}
}

// A certificate is what an issuer signed.
type certificate struct {
	alg    signature.Alg
	times  times
	issuer string
	email  string
	domain string // of the address
	key    signature.Key
	claims strict.Object
	signed []byte
	sig    []byte

	signer signature.Key // the issuer's key, once the signature is verified
}

func (c *certificate) check(k signature.Key) signature.Check {
	return signature.Check{Key: k, Alg: c.alg, Message: c.signed, Signature: c.sig}
}

// parseAssertion reads an assertion, and refuses what its text is enough for.
func (v *Verifier) parseAssertion(text string, now time.Time) (*assertion, error) {
	j, alg, err := v.parse("assertion", text)
	if err != nil {
		return nil, err
	}
	aud, err := j.Payload.Text("aud")
	if err != nil {
		if _, list := j.Payload["aud"].([]any); list {
			return nil, refuse(Audience, "it is for several audiences")
		}
		return nil, refuse(Malformed, "assertion: %v", err)
	}
	if !v.audiences[origin(aud)] {
		return nil, refuse(Audience, "it is for another audience")
	}
	t, err := parseTimes("assertion", j.Payload)
	if err != nil {
		return nil, err
	}
	if err := v.times("assertion", t, v.cfg.AssertionLife, now); err != nil {
		return nil, err
	}
	return &assertion{alg, origin(aud), j.Signed, j.Signature}, nil
}

// reserved has the members of a certificate that are no claims about the account.
var reserved = map[string]bool{
	"iss": true, "sub": true, "aud": true, "exp": true, "nbf": true, "iat": true, "jti": true,
	"public-key": true, "pubkey": true, "principal": true,
}

// parseCertificate reads a certificate, and refuses what its text is enough for, but
// for its times.
func (v *Verifier) parseCertificate(text string) (*certificate, error) {
	j, alg, err := v.parse("certificate", text)
	if err != nil {
		return nil, err
	}
	c := &certificate{alg: alg, signed: j.Signed, sig: j.Signature, claims: strict.Object{}}
	if c.times, err = parseTimes("certificate", j.Payload); err != nil {
		return nil, err
	}
	if c.issuer, err = j.Payload.Text("iss"); err != nil {
		return nil, refuse(Malformed, "certificate: %v", err)
	}
	trusted, allowed := v.issuers[c.issuer]
	if !allowed {
		return nil, refuse(Issuer, "its issuer is not an allowed one")
	}
	principal, err := j.Payload.Object("principal")
	if err != nil {
		return nil, refuse(Malformed, "certificate: %v", err)
	}
	email, err := principal.Text("email")
	if err != nil {
		return nil, refuse(Malformed, "certificate: principal: %v", err)
	}
	if c.email, c.domain, err = parseEmail(email); err != nil {
		return nil, err
	}
	if c.domain != c.issuer && !trusted && !v.cfg.Delegation {
		return nil, refuse(Issuer, "its issuer may not speak for the domain of the address")
	}
	key, err := j.Payload.Object("public-key")
	if err != nil {
		return nil, refuse(Malformed, "certificate: %v", err)
	}
	if c.key, err = signature.ParseKey(key); err != nil {
		return nil, refuse(Key, "certificate: %v", err)
	}
	for name, value := range principal {
		if name != "email" && !reserved[name] {
			c.claims[name] = value
		}
	}
	for name, value := range j.Payload {
		if reserved[name] {
			continue
		}
		if old, twice := c.claims[name]; twice && !reflect.DeepEqual(old, value) {
			return nil, refuse(Malformed, "certificate: a claim is there twice")
		}
		c.claims[name] = value
	}
	return c, nil
}

// parse reads a JWS with an algorithm that may be used.
func (v *Verifier) parse(what, text string) (strict.JWS, signature.Alg, error) {
	j, err := strict.ParseJWS(text)
	if err != nil {
		return j, 0, refuse(Malformed, "%s: %v", what, err)
	}
	name, _ := j.Header.Text("alg")
	switch alg := signature.ParseAlg(name); alg {
	case signature.RS256, signature.DS128, signature.DS256:
		return j, alg, nil
	case signature.RS128:
		if v.cfg.RS128 {
			return j, alg, nil
		}
	}
	return j, 0, refuse(Algorithm, "%s: its algorithm is not an allowed one", what)
}

func parseTimes(what string, o strict.Object) (t times, err error) {
	for _, m := range []struct {
		name string
		to   *int64
	}{{"exp", &t.exp}, {"iat", &t.iat}, {"nbf", &t.nbf}} {
		if m.name != "exp" && !o.Has(m.name) {
			continue
		}
		if *m.to, err = o.Int(m.name); err != nil {
			return t, refuse(Malformed, "%s: %v", what, err)
		}
	}
	return t, nil
}

// times judges when something was made and when it expires. At the very millisecond
// of its "exp" it is still good.
func (v *Verifier) times(what string, t times, life time.Duration, now time.Time) error {
	ms := now.UnixMilli()
	switch {
	case t.exp < ms:
		return refuse(Expired, "the %s has expired", what)
	case max(t.iat, t.nbf) > ms+v.cfg.Skew.Milliseconds():
		return refuse(Timestamp, "the %s is not good yet", what)
	case t.exp-ms > (life + v.cfg.Skew).Milliseconds():
		return refuse(Lifetime, "the %s is good for longer than %v", what, life)
	}
	return nil
}

// parseEmail gives the address with a domain in small letters, and the domain.
func parseEmail(s string) (email, domain string, err error) {
	local, domain, ok := strings.Cut(s, "@")
	domain = strings.ToLower(domain)
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_!#$%&'*+/=?^`{|}~.-"
	if !ok || local == "" || strings.Trim(local, letters) != "" || len(s) > 254 {
		return "", "", refuse(Email, "the address is not one of at most 254 ASCII letters")
	}
	if err := guarded.Host(domain); err != nil {
		return "", "", refuse(Email, "the domain of the address: %v", err)
	}
	return local + "@" + domain, domain, nil
}

// An Account is what Mozilla's issuers say of an account.
type Account struct {
	Generation    int64  // of the credentials; 0 is unknown
	KeysChangedAt int64  // 0 is unknown
	DeviceID      string // "" is unknown
}

// String says nothing: a device is its user's.
func (Account) String() string { return "browserid.Account" }

// GoString is String.
func (Account) GoString() string { return "browserid.Account" }

// LogValue is String.
func (a Account) LogValue() slog.Value { return slog.StringValue(a.String()) }

// Account reads the claims that begin with "fxa-". An account whose address nobody
// confirmed is refused, with an *Error as what cannot be read.
func (i Identity) Account() (Account, error) {
	var a Account
	if verified, ok := i.Claims["fxa-tokenVerified"]; ok && verified != true {
		return a, refuse(Unconfirmed, "nobody confirmed the address of the account")
	}
	var ok bool
	if a.Generation, ok = moment(i.Claims, "fxa-generation"); !ok {
		return a, refuse(Generation, "the generation is not a number of 0 or more")
	}
	if a.KeysChangedAt, ok = moment(i.Claims, "fxa-keysChangedAt"); !ok {
		return a, refuse(KeysChangedAt, "keysChangedAt is not a number of 0 or more")
	}
	switch id := i.Claims["fxa-deviceId"].(type) {
	case nil:
	case string:
		a.DeviceID = id
	default:
		return a, refuse(Device, "the device is not a text")
	}
	return a, nil
}

// moment is a claim in milliseconds, 0 where it is missing.
func moment(o strict.Object, name string) (int64, bool) {
	if !o.Has(name) {
		return 0, true
	}
	if _, number := o[name].(json.Number); !number {
		return 0, false
	}
	n, err := o.Int(name)
	return n, err == nil && n >= 0
}
