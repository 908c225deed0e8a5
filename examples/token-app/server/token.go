package server

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"appbundle/examples/token-app/oauth"
	"appbundle/examples/token-app/token"
)

// An exchange is one request for a token, and what may be known about it.
type exchange struct {
	service, scheme, issuer, user, node string
	class, cause                        string
	code                                int
	verify, store, mint, total          time.Duration
}

// token answers a request for a token.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	began := s.now()
	e := &exchange{service: "unknown", code: http.StatusOK}
	body, err := s.exchange(r, e)
	e.total = s.now().Sub(began)
	e.class = errorClass(err)

	level := slog.LevelInfo
	if err != nil {
		refusal, known := s.asRefusal(r.Context(), err)
		if e.cause = refusal.Cause; !known {
			e.cause = err.Error()
		}
		if refusal.Code >= 500 {
			level = slog.LevelWarn
		}
		e.code = refusal.Code
		s.refuse(w, refusal)
	} else {
		s.json(w, http.StatusOK, body)
	}
	s.metrics.tokens.add(1, e.service, e.class)
	for step, d := range map[string]time.Duration{"verify": e.verify, "store": e.store, "mint": e.mint} {
		if d > 0 {
			s.metrics.stepTime.observe(d.Seconds(), step)
		}
	}
	s.log.LogAttrs(r.Context(), level, "token", e.logAttrs()...)
}

// asRefusal is what the client is told of an error, and whether that is all that
// is known of it.
func (s *Server) asRefusal(ctx context.Context, err error) (no *Refusal, known bool) {
	if errors.As(err, &no) {
		return no, true
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return Unavailable("Elapsed"), false
	}
	return Unavailable("Resource is not available"), false
}

// An answer is the body for a user who gets a token; clients want the members in
// no order, people in this one.
type answer struct {
	ID       string  `json:"id"`
	Key      string  `json:"key"`
	UID      int64   `json:"uid"`
	Endpoint string  `json:"api_endpoint"`
	Duration int64   `json:"duration"`
	HashAlg  string  `json:"hashalg"`
	Hashed   string  `json:"hashed_fxa_uid"`
	NodeType *string `json:"node_type"`
}

// exchange does the checks in their order.
func (s *Server) exchange(r *http.Request, e *exchange) (*answer, error) {
	ctx := r.Context()
	svc, err := s.service(r.PathValue("app"), r.PathValue("version"))
	if err != nil {
		return nil, err
	}
	e.service = svc.Name()
	if s.cfg.UnavailableShare > 0 && s.rand() < s.cfg.UnavailableShare {
		return nil, Unavailable("Resource is not available")
	}
	from := s.cfg.Limits.client(r)
	if !s.addrs.take(from, 1) {
		s.metrics.limited.add(1, "address")
		return nil, tooMany()
	}
	id, state, err := s.authenticate(ctx, r.Header, svc, e)
	if err != nil {
		var refusal *Refusal
		if errors.As(err, &refusal) && refusal.Code == http.StatusUnauthorized {
			s.addrs.take(from, 9)
		}
		return nil, err
	}
	if svc.Pattern == "" {
		return nil, Unavailable(fmt.Sprintf("The api_endpoint pattern for '%s' is not known", svc.Name()))
	}
	if len(svc.Conditions) > 0 && len(r.Header.Values("X-Conditions-Accepted")) == 0 {
		return nil, &Refusal{Code: http.StatusForbidden, Word: "error", Location: "header", Name: "X-Conditions-Accepted",
			Description: "Need to accept conditions", Conditions: svc.Conditions}
	}
	if !s.issuers.take(id.Issuer, 1) {
		s.metrics.limited.add(1, "issuer")
		return nil, tooMany()
	}

	began := s.now()
	user, err := s.cfg.Users.Login(ctx, Login{
		Service:       svc.Name(),
		Issuer:        id.Issuer,
		Account:       id.Account,
		Generation:    id.Generation,
		KeysChangedAt: id.KeysChangedAt,
		ClientState:   state,
		AllowNew:      !svc.NoNewUsers,
	})
	e.store = s.now().Sub(began)
	if err != nil {
		return nil, err
	}
	e.node = user.Node
	duration := svc.duration(r.URL)
	keyID, err := keyID(user)
	if err != nil {
		return nil, err
	}
	began = s.now()
	t, err := s.cfg.Minter.Mint(ctx, Grant{
		Service:  svc.Name(),
		Form:     svc.Form,
		UID:      user.UID,
		Node:     user.Node,
		Expires:  began.Unix() + duration,
		UserID:   id.UserID,
		KeyID:    keyID,
		Hashed:   e.user,
		DeviceID: s.cfg.MetricsKey.Device(e.user, string(id.Device)),
	})
	e.mint = s.now().Sub(began)
	if err != nil {
		return nil, err
	}
	return &answer{
		ID:       string(t.ID),
		Key:      string(t.Key),
		UID:      user.UID,
		Endpoint: svc.endpoint(user),
		Duration: duration,
		HashAlg:  "sha256",
		Hashed:   e.user,
		NodeType: s.nodeType(user.Node),
	}, nil
}

func (s *Server) service(app, version string) (*Service, error) {
	versions := s.services[app]
	if versions == nil {
		return nil, &Refusal{Code: http.StatusNotFound, Word: "error", Location: "url", Name: "application", Description: "Unsupported application"}
	}
	svc := versions[version]
	if svc == nil {
		return nil, &Refusal{Code: http.StatusNotFound, Word: "error", Location: "url", Name: version, Description: "Unsupported application version"}
	}
	return svc, nil
}

// tooMany refuses who asks too often.
func tooMany() *Refusal {
	return &Refusal{Code: http.StatusTooManyRequests, Word: "error", Location: "body", Description: "Too many requests", Retry: true}
}

// authenticate says who asks, and what the state of its keys is.
func (s *Server) authenticate(ctx context.Context, h http.Header, svc *Service, e *exchange) (*Identity, Private, error) {
	state, err := clientState(h.Values("X-Client-State"))
	if err != nil {
		return nil, "", err
	}
	scheme, credentials, err := authorization(h.Values("Authorization"))
	if err != nil {
		return nil, "", err
	}
	var v Verifier
	switch scheme {
	case "browserid":
		v = s.cfg.BrowserID
	case "bearer":
		v = s.cfg.OAuth
	}
	if v == nil {
		return nil, "", &Refusal{Code: http.StatusUnauthorized, Word: "error", Location: "body", Description: "Unsupported"}
	}
	e.scheme = scheme

	var keysChanged int64
	if scheme == "bearer" {
		given := h.Values("X-KeyID")
		switch {
		case len(given) == 0 && svc.NeedKeyID:
			return nil, "", &Refusal{Code: http.StatusUnauthorized, Word: "invalid-key-id", Location: "header", Description: "Missing X-KeyID header"}
		case len(given) > 0:
			var of Private
			if keysChanged, of, err = parseKeyID(given); err != nil {
				return nil, "", err
			}
			if state != "" && state != of {
				return nil, "", Unauthorized("invalid-client-state")
			}
			state = of
		}
	}

	began := s.now()
	id, err := v.Verify(ctx, credentials, svc)
	e.verify = s.now().Sub(began)
	s.metrics.verified.add(1, scheme, errorClass(err))
	if err != nil {
		return nil, "", err
	}
	e.issuer = id.Issuer
	e.user = s.cfg.MetricsKey.User(string(id.Account))
	if scheme == "bearer" {
		out := *id
		out.KeysChangedAt = keysChanged
		id = &out
	}
	return id, state, nil
}

// authorization splits the header into the scheme, in lower case, and what
// follows it.
func authorization(values []string) (scheme string, credentials Private, err error) {
	if len(values) != 1 {
		return "", "", Unauthorized("error")
	}
	scheme, rest, _ := strings.Cut(strings.TrimSpace(values[0]), " ")
	rest = strings.TrimSpace(rest)
	if scheme == "" || rest == "" {
		return "", "", Unauthorized("error")
	}
	return strings.ToLower(scheme), Private(rest), nil
}

var clientStateForm = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,32}$`)

// clientState reads X-Client-State: the fingerprint of the user's key, in
// hexadecimal. Empty is absent.
func clientState(values []string) (Private, error) {
	if len(values) == 0 || len(values) == 1 && values[0] == "" {
		return "", nil
	}
	invalid := badHeader("X-Client-State", "Invalid client state value")
	if len(values) != 1 || !clientStateForm.MatchString(values[0]) {
		return "", invalid
	}
	raw, err := hex.DecodeString(values[0])
	if err != nil {
		return "", invalid
	}
	return Private(hex.EncodeToString(raw)), nil
}

// parseKeyID reads X-KeyID: when the keys changed, and the client state.
func parseKeyID(values []string) (keysChanged int64, state Private, err error) {
	if len(values) != 1 {
		return 0, "", Unauthorized("invalid-credentials")
	}
	k, err := oauth.ParseKeyID(values[0])
	var wrong *oauth.Error
	if errors.As(err, &wrong) && wrong.Reason == oauth.ClientState {
		return 0, "", badHeader("X-Client-State", "Invalid client state value")
	}
	if err != nil {
		return 0, "", Unauthorized("invalid-credentials")
	}
	return k.KeysChangedAt, Private(k.ClientState), nil
}

// duration is the time for which a token is good, in seconds: that of the
// service, or a shorter one that the client asks for. What is no such number
// says nothing; of several the last counts.
func (svc *Service) duration(u *url.URL) int64 {
	whole := int64(svc.Duration / time.Second)
	asked := u.Query()["duration"]
	if len(asked) == 0 {
		return whole
	}
	n, err := strconv.ParseInt(strings.TrimSpace(asked[len(asked)-1]), 10, 64)
	if err != nil || n <= 0 || n >= whole {
		return whole
	}
	return n
}

// keyID is the name of the user's key in tokens.
func keyID(u *User) (Private, error) {
	when := u.KeysChangedAt
	if when == 0 {
		when = u.Generation
	}
	raw, err := hex.DecodeString(string(u.ClientState))
	if err != nil {
		return "", errors.New("the client state in the store is not hexadecimal")
	}
	return Private(token.KeyID(when, raw)), nil
}

func (s *Server) nodeType(node string) *string {
	u, err := url.Parse(node)
	if err != nil {
		return nil
	}
	for _, t := range s.cfg.NodeTypes {
		if ok, _ := path.Match(t.Pattern, u.Hostname()); ok {
			return &t.Label
		}
	}
	return nil
}
