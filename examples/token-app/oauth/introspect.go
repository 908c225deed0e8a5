package oauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"appbundle/examples/token-app/internal/strict"
)

// An answer is what an issuer said of an opaque token.
type answer struct {
	id      Identity
	refusal *Error // nil when the token is good
}

// introspect asks the issuer about an opaque token (RFC 7662), unless it did so a
// short while ago. An answer is remembered no longer than the token is good.
func (v *Verifier) introspect(ctx context.Context, token string) (Identity, *Issuer, error) {
	in := v.cfg.Introspection
	is := v.issuers[in.Issuer]
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"
	if body := strings.TrimRight(token, "="); body == "" || strings.Trim(body, letters) != "" {
		return Identity{}, nil, refuse(Malformed, "it is not a bearer token") // RFC 6750, section 2.1
	}
	key, now := digest(sha256.Sum256([]byte(token))), v.cfg.Now()
	a, known := v.answers.Get(key, now)
	if !known {
		form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
		got, err := v.cfg.Post(ctx, in.URL, form, url.UserPassword(in.User, string(in.Password)), maxAnswer)
		if err != nil {
			if ctx.Err() != nil {
				return Identity{}, nil, ctx.Err()
			}
			return Identity{}, nil, fmt.Errorf("%w: introspection: %w", ErrUnavailable, err)
		}
		o, err := strict.Decode(got.Body)
		if err != nil {
			return Identity{}, nil, fmt.Errorf("%w: introspection: %w", ErrUnavailable, err)
		}
		until := now.Add(v.cfg.Remember)
		id, err := v.active(o, is, now)
		if refusal, ok := errors.AsType[*Error](err); ok {
			a.refusal = refusal
		} else if a.id = id; !id.Expires.IsZero() && id.Expires.Before(until) {
			until = id.Expires.Add(-1) // at its end it is no longer good
		}
		v.answers.Put(key, a, until)
	}
	if a.refusal != nil {
		return Identity{}, nil, a.refusal
	}
	return a.id, is, nil
}

// active reads an answer. The issuer asked is the one that the token is of; what the
// answer says of issuer, audience and times has to be right where it says something.
func (v *Verifier) active(o strict.Object, is *Issuer, now time.Time) (Identity, error) {
	if o["active"] != true {
		return Identity{}, refuse(Inactive, "its issuer says that it is not good")
	}
	if o.Has("iss") && o["iss"] != is.Name {
		return Identity{}, refuse(Issued, "it is of another issuer")
	}
	if o.Has("aud") && !is.AnyAudience && !audience(o, is.Audiences) {
		return Identity{}, refuse(Audience, "it is for another audience")
	}
	if typ, _ := o.Text("token_type"); o.Has("token_type") && !strings.EqualFold(typ, "bearer") {
		return Identity{}, refuse(Type, "it is not a bearer token")
	}
	if err := v.started(o, now); err != nil {
		return Identity{}, err
	}
	id, err := v.identity(o, is)
	if err != nil {
		return Identity{}, err
	}
	if o.Has("exp") {
		exp, err := o.Int("exp")
		if err != nil {
			return Identity{}, refuse(Malformed, "%v", err)
		}
		if exp <= now.Unix() {
			return Identity{}, refuse(Expired, "it has expired")
		}
		id.Expires = time.Unix(exp, 0)
	}
	return id, nil
}
