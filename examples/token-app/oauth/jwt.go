package oauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"appbundle/examples/token-app/internal/strict"
	"appbundle/examples/token-app/signature"
)

// verifyJWT is for access tokens as in RFC 9068, section 4.
func (v *Verifier) verifyJWT(ctx context.Context, token string) (Identity, *Issuer, error) {
	j, is, err := v.parse(token)
	if err != nil {
		return Identity{}, nil, err
	}
	switch typ := mediaType(j.Header); {
	case typ == "at+jwt":
	case typ == "jwt" && is.PlainJWT && !j.Payload.Has("nonce") && !j.Payload.Has("events"):
		// Neither an ID token nor an event.
	default:
		return Identity{}, nil, refuse(Type, "its type is not that of an access token")
	}
	if !is.AnyAudience && !audience(j.Payload, is.Audiences) {
		return Identity{}, nil, refuse(Audience, "it is for another audience")
	}
	now := v.cfg.Now()
	exp, err := j.Payload.Int("exp")
	if err != nil {
		return Identity{}, nil, refuse(Malformed, "%v", err)
	}
	if exp <= now.Unix() {
		return Identity{}, nil, refuse(Expired, "it has expired")
	}
	if err := v.started(j.Payload, now); err != nil {
		return Identity{}, nil, err
	}
	id, err := v.identity(j.Payload, is)
	if err != nil {
		return Identity{}, nil, err
	}
	id.Expires = time.Unix(exp, 0)
	return id, is, v.signed(ctx, token, j, is)
}

// parse reads a JWT of an issuer that is known. Its signature is not verified.
func (v *Verifier) parse(token string) (strict.JWS, *Issuer, error) {
	j, err := strict.ParseJWS(token)
	if err != nil {
		return j, nil, refuse(Malformed, "%v", err)
	}
	if algorithm(j.Header) == 0 {
		return j, nil, refuse(Algorithm, "its algorithm is not an allowed one")
	}
	if _, text := j.Header["kid"].(string); j.Header.Has("kid") && !text {
		return j, nil, refuse(Malformed, "its key ID is not a text")
	}
	name, err := j.Payload.Text("iss")
	if err != nil {
		return j, nil, refuse(Malformed, "%v", err)
	}
	is := v.issuers[name]
	if is == nil {
		return j, nil, refuse(Issued, "its issuer is not an allowed one")
	}
	return j, is, nil
}

// algorithm is the one that a header names, or 0 if it is not for tokens.
func algorithm(header strict.Object) signature.Alg {
	name, _ := header.Text("alg")
	switch alg := signature.ParseAlg(name); alg {
	case signature.RS256, signature.PS256, signature.ES256, signature.EdDSA:
		return alg
	}
	return 0
}

// mediaType is "typ" without "application/", which is left off (RFC 7515, section
// 4.1.9), in small letters.
func mediaType(header strict.Object) string {
	typ, _ := header.Text("typ")
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

// signed verifies the signature of a token. A key that its issuer does not have makes
// the issuer be asked again; a bad signature by a key that it has does not.
func (v *Verifier) signed(ctx context.Context, token string, j strict.JWS, is *Issuer) error {
	whole, now := digest(sha256.Sum256([]byte(token))), v.cfg.Now()
	if e, ok := v.refused.Get(whole, now); ok {
		return e
	}
	alg := algorithm(j.Header)
	kid, named := j.Header["kid"].(string)
	get := v.keys.Get
	var before []signature.NamedKey
	verified := false
	for {
		keys, err := get(ctx, is.Name)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%w: keys: %w", ErrUnavailable, err)
		}
		if slices.EqualFunc(keys, before, func(a, b signature.NamedKey) bool { return a.ID == b.ID && a.Equal(b.Key) }) {
			break // asked again, and it has no others
		}
		tried := 0
		for _, k := range keys {
			if !k.For(alg) || named && k.ID != kid || tried == maxTried {
				continue
			}
			tried++
			good, err := v.ask(ctx, signature.Check{Key: k.Key, Alg: alg, Message: j.Signed, Signature: j.Signature})
			if good || err != nil {
				return err
			}
		}
		verified = verified || tried > 0
		if named && verified {
			break
		}
		get, before = v.keys.Refresh, keys
	}
	if !verified {
		return refuse(Key, "its issuer does not have the key")
	}
	e := refuse(Signature, "its signature is bad")
	v.refused.Put(whole, e, now.Add(pause))
	return e
}

// ask has one signature verified.
func (v *Verifier) ask(ctx context.Context, check signature.Check) (bool, error) {
	answers, err := v.cfg.Verifier(ctx, []signature.Check{check})
	if err == nil && len(answers) != 1 {
		err = errors.New("a verifier gave another number of answers")
	}
	if err != nil {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return answers[0], nil
}

// fetch gets the keys of an issuer.
func (v *Verifier) fetch(ctx context.Context, name string) ([]signature.NamedKey, time.Duration, error) {
	address := v.issuers[name].JWKS
	if address == "" {
		var err error
		if address, err = v.discover(ctx, name); err != nil {
			return nil, 0, err
		}
	}
	got, err := v.cfg.Get(ctx, address, maxKeySet)
	if err != nil {
		return nil, 0, err
	}
	keys, err := parseKeys(got.Body)
	return keys, got.MaxAge, err
}

// discover asks an issuer where its keys are.
func (v *Verifier) discover(ctx context.Context, name string) (string, error) {
	got, err := v.cfg.Get(ctx, strings.TrimSuffix(name, "/")+"/.well-known/openid-configuration", maxAnswer)
	if err != nil {
		return "", err
	}
	o, err := strict.Decode(got.Body)
	if err != nil {
		return "", fmt.Errorf("metadata: %w", err)
	}
	if o["issuer"] != name {
		return "", errors.New("metadata: it is another issuer's")
	}
	address, err := o.Text("jwks_uri")
	if err != nil {
		return "", fmt.Errorf("metadata: %w", err)
	}
	return address, nil
}

// parseKeys reads a set of keys, of which one at least has to be known here.
func parseKeys(body []byte) ([]signature.NamedKey, error) {
	o, err := strict.Decode(body)
	if err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	list, ok := o["keys"].([]any)
	if !ok {
		return nil, errors.New(`key set: member "keys" is not a list`)
	}
	keys, err := signature.ParseSet(list)
	if err == nil && len(keys) == 0 {
		err = errors.New("key set: no key of it is known here")
	}
	return keys, err
}
