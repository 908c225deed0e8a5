package oauth

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"appbundle/examples/token-app/internal/strict"
)

// eventAge is how old an event may be. Issuers repeat what they could not deliver for
// days.
const eventAge = 7 * 24 * time.Hour

// An EventKind is what has to be done.
type EventKind string

// The kinds of events.
const (
	Deleted EventKind = "deleted" // the account is gone
	Reset   EventKind = "reset"   // what was signed in before a time is no longer
	Other   EventKind = "other"   // nothing has to be done
)

// eventKinds has the events that mean something here: Mozilla's, and those of RISC and
// CAEP of the OpenID Foundation.
var eventKinds = map[string]EventKind{
	"https://schemas.accounts.firefox.com/event/delete-user":                                 Deleted,
	"https://schemas.accounts.firefox.com/event/password-change":                             Reset,
	"https://schemas.openid.net/secevent/risc/event-type/account-purged":                     Deleted,
	"https://schemas.openid.net/secevent/risc/event-type/account-disabled":                   Reset,
	"https://schemas.openid.net/secevent/risc/event-type/account-credential-change-required": Reset,
	"https://schemas.openid.net/secevent/risc/event-type/credential-compromise":              Reset,
	"https://schemas.openid.net/secevent/risc/event-type/sessions-revoked":                   Reset,
	"https://schemas.openid.net/secevent/caep/event-type/session-revoked":                    Reset,
	"https://schemas.openid.net/secevent/caep/event-type/credential-change":                  Reset,
}

// An Event is what an issuer says has happened to an account.
type Event struct {
	Kind    EventKind
	Type    string // its URI
	Issuer  string
	Subject string
	ID      string // of the token that it came in
	At      time.Time
}

// String does not say whose account it is.
func (e Event) String() string { return "oauth.Event(" + string(e.Kind) + " by " + e.Issuer + ")" }

// GoString is String.
func (e Event) GoString() string { return e.String() }

// LogValue is String.
func (e Event) LogValue() slog.Value { return slog.StringValue(e.String()) }

// VerifyEvents reads a Security Event Token. Its events are about accounts of the
// issuer that signed it, and of nobody else. Such a token does not expire and may
// come twice: what is done has to be the same the second time.
func (v *Verifier) VerifyEvents(ctx context.Context, token string) ([]Event, error) {
	if len(token) > MaxToken {
		return nil, refuse(Malformed, "it is longer than %d bytes", MaxToken)
	}
	j, is, err := v.parse(token)
	if err != nil {
		return nil, err
	}
	if mediaType(j.Header) != "secevent+jwt" {
		return nil, refuse(Type, "its type is not that of a Security Event Token")
	}
	if !audience(j.Payload, is.EventAudiences) {
		return nil, refuse(Audience, "it is for another audience")
	}
	events, err := v.events(j.Payload, is)
	if err != nil {
		return nil, err
	}
	if err := v.signed(ctx, token, j, is); err != nil {
		return nil, err
	}
	return events, nil
}

func (v *Verifier) events(o strict.Object, is *Issuer) ([]Event, error) {
	now := v.cfg.Now()
	iat, err := o.Int("iat")
	if err != nil {
		return nil, refuse(Malformed, "%v", err)
	}
	if err := v.started(o, now); err != nil {
		return nil, err
	}
	if o.Has("exp") {
		exp, err := o.Int("exp")
		if err != nil {
			return nil, refuse(Malformed, "%v", err)
		}
		if exp <= now.Unix() {
			return nil, refuse(Expired, "it has expired")
		}
	}
	if iat < now.Add(-eventAge).Unix() {
		return nil, refuse(Expired, "it is older than %v", eventAge)
	}
	id, err := o.Text("jti")
	if err != nil || id == "" {
		return nil, refuse(Malformed, "it has no ID")
	}
	list, err := o.Object("events")
	if err != nil || len(list) == 0 {
		return nil, refuse(Malformed, "it has no events")
	}
	var out []Event
	for _, uri := range slices.Sorted(maps.Keys(list)) {
		about, err := list.Object(uri)
		if err != nil {
			return nil, refuse(Malformed, "an event is not an object")
		}
		e := Event{Kind: Other, Type: uri, Issuer: is.Name, ID: id, At: time.Unix(iat, 0)}
		if kind, ok := eventKinds[uri]; ok {
			e.Kind = kind
		}
		if e.Kind != Other {
			if e.Subject, err = subject(o, about, is); err != nil {
				return nil, err
			}
		}
		if e.At, err = v.happened(o, about, e.At, now); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// subject is the account that an event is about: "sub" of the token, a subject
// identifier of the token (RFC 9493), or one of the event, as RISC had it first. An
// issuer speaks for its own accounts only, and does not name two.
func subject(o, event strict.Object, is *Issuer) (string, error) {
	found := ""
	add := func(sub any) error {
		text, ok := sub.(string)
		if !ok || text == "" || len(text) > maxSubject {
			return refuse(Subject, "it has no subject of at most %d bytes", maxSubject)
		}
		if found != "" && found != text {
			return refuse(Subject, "it names two subjects")
		}
		found = text
		return nil
	}
	if o.Has("sub") {
		if err := add(o["sub"]); err != nil {
			return "", err
		}
	}
	for _, at := range []struct {
		in   strict.Object
		name string
	}{{o, "sub_id"}, {event, "subject"}} {
		if !at.in.Has(at.name) {
			continue
		}
		s, err := at.in.Object(at.name)
		if err != nil {
			return "", refuse(Malformed, "%v", err)
		}
		format, _ := s.Text("format")
		if format == "" {
			format, _ = s.Text("subject_type")
		}
		if strings.ReplaceAll(format, "-", "_") != "iss_sub" {
			return "", refuse(Subject, "its subject is not named by issuer and subject")
		}
		if s["iss"] != is.Name {
			return "", refuse(Subject, "it is about an account of another issuer")
		}
		if err := add(s["sub"]); err != nil {
			return "", err
		}
	}
	if found == "" {
		return "", add(nil)
	}
	return found, nil
}

// happened is when it was: Mozilla's events say it in milliseconds, others in "toe"
// of the token, or not at all.
func (v *Verifier) happened(o, event strict.Object, otherwise, now time.Time) (time.Time, error) {
	at := otherwise
	if o.Has("toe") {
		s, err := o.Int("toe")
		if err != nil {
			return at, refuse(Malformed, "%v", err)
		}
		at = time.Unix(s, 0)
	}
	if event.Has("changeTime") {
		ms, err := event.Int("changeTime")
		if err != nil {
			return at, refuse(Malformed, "%v", err)
		}
		at = time.UnixMilli(ms)
	}
	if at.After(now.Add(v.cfg.Skew)) {
		return at, refuse(Timestamp, "it is about the future")
	}
	return at, nil
}
