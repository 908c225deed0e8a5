// Package node is what a storage node uses: it tells which user a request comes
// from, by the token that the token server gave to the client and the signature
// of the Hawk scheme that the client made with the token's key.
//
// A request is let in when all of this holds, looked at in this order:
//
//   - its Authorization header is one of Hawk, written strictly;
//   - its token opens with one of the node's secrets, in a form that the node
//     takes, and has not expired;
//   - the token is for this node;
//   - its signature is that of the method, the target and the node's own address,
//     whatever the Host header says;
//   - its time is that of the node, give or take a minute, and no request with
//     this token, time and nonce was let in before;
//   - the user is the one in the path;
//   - its body is the one that was signed, if the client signed it.
//
// # Limits
//
// The nonces of the last two minutes are kept in memory, up to a number of them,
// and are not shared between processes: who captured a request can repeat it at
// another process of the node for a minute.
package node

import (
	"bytes"
	"context"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"appbundle/examples/token-app/token"
)

// A Config says which node it is.
type Config struct {
	URL     string        // of the node, exactly as the server writes it into tokens
	Secrets token.Secrets // those of the node must be there
	Service string        // of encrypted tokens, such as sync-1.5; needed where they are taken
	Forms   []token.Form  // of tokens that are taken; none is signed, and encrypted where there is a service

	Window  time.Duration    // how far a clock may be off; 0 means 60 s
	Nonces  int              // that are kept; 0 means 131072
	MaxBody int64            // bytes of a body that is signed; 0 means 2 MiB
	NoUID   bool             // the path does not name the user
	Now     func() time.Time // nil is time.Now
}

// A Checker judges requests. It may be used by any number of goroutines.
type Checker struct {
	cfg    Config
	opener token.Opener
	host   string
	port   string
	prefix string // of paths
	seen   *nonces
}

// New makes the checker of a node. A node without a secret is an error now, and
// not at the first request.
func New(cfg Config) (*Checker, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("node: %q is no URL of a node; it is as https://node.example", cfg.URL)
	}
	if cfg.Secrets == nil {
		return nil, errors.New("node: there are no secrets")
	}
	secrets, err := cfg.Secrets.Of(cfg.URL)
	if err != nil {
		return nil, err
	}
	if len(secrets) == 0 {
		return nil, fmt.Errorf("node: %q has no secret", cfg.URL)
	}
	if len(cfg.Forms) == 0 {
		cfg.Forms = []token.Form{token.Signed}
		if cfg.Service != "" {
			cfg.Forms = append(cfg.Forms, token.Encrypted)
		}
	}
	if slices.Contains(cfg.Forms, token.Encrypted) && cfg.Service == "" {
		return nil, errors.New("node: encrypted tokens are for a service; which one is this node's?")
	}
	if cfg.Window == 0 {
		cfg.Window = time.Minute
	}
	if cfg.Nonces == 0 {
		cfg.Nonces = 1 << 17
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = 2 << 20
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	host, port := address(u)
	return &Checker{
		cfg:    cfg,
		opener: token.Opener{Secrets: secrets, Forms: cfg.Forms, Service: cfg.Service},
		host:   host, port: port,
		prefix: strings.TrimSuffix(u.Path, "/"),
		seen:   newNonces(cfg.Nonces, 2*cfg.Window),
	}, nil
}

// A Refusal is why a request is not let in. It is for the client too.
type Refusal struct {
	Status int    // of HTTP
	Word   string // invalid-credentials, invalid-timestamp, invalid-nonce or error
	Text   string
	auth   string // WWW-Authenticate
}

func (r *Refusal) Error() string { return r.Text }

func refuse(word, text string) *Refusal {
	return &Refusal{Status: http.StatusUnauthorized, Word: word, Text: text, auth: "Hawk"}
}

// Check judges a request, and gives what its token says. The error is a
// *Refusal. A body that was signed is read, and put back.
func (c *Checker) Check(r *http.Request) (*token.Claims, error) {
	headers := r.Header.Values("Authorization")
	if len(headers) != 1 {
		return nil, refuse("error", "there is no Authorization header, or more than one")
	}
	h, err := parseHeader(headers[0])
	if err != nil {
		return nil, refuse("error", err.Error())
	}
	now := c.cfg.Now()
	opened, err := c.opener.Open(h.id, now)
	if err != nil {
		return nil, refuse("invalid-credentials", err.Error())
	}
	claims, err := opened.Claims()
	if err != nil {
		return nil, refuse("invalid-credentials", err.Error())
	}
	if claims.Node != c.cfg.URL {
		return nil, refuse("invalid-credentials", "the token is for another node")
	}
	target := r.RequestURI
	if target == "" {
		target = r.URL.RequestURI() // a request that no server has read
	}
	if !hmac.Equal(h.mac[:], mac(opened.Key, h.normalized(r.Method, target, c.host, c.port))) {
		return nil, refuse("invalid-credentials", "the signature of the request is not that of the token's key")
	}
	if d := now.Sub(time.Unix(h.time, 0)); d > c.cfg.Window || d < -c.cfg.Window {
		no := refuse("invalid-timestamp", "the clock of the client is wrong")
		no.auth = staleChallenge(opened.Key, now.Unix())
		return nil, no
	}
	if !c.cfg.NoUID && !c.isOf(r, claims.UID) {
		return nil, &Refusal{Status: http.StatusForbidden, Word: "error", Text: "the path is not that of the token's user"}
	}
	if err := c.checkBody(r, h); err != nil {
		return nil, err
	}
	if !c.seen.add(h.id, h.ts, h.nonce, now) {
		return nil, refuse("invalid-nonce", "the request was here before")
	}
	return claims, nil
}

// isOf reports whether the path is /VERSION/UID or below. Paths that some read
// otherwise than others are nobody's.
func (c *Checker) isOf(r *http.Request, uid int64) bool {
	want := strconv.FormatInt(uid, 10)
	for _, p := range []string{r.URL.Path, r.URL.EscapedPath()} {
		below, ok := strings.CutPrefix(p, c.prefix+"/")
		if !ok {
			return false
		}
		parts := strings.Split(below, "/")
		if len(parts) < 2 || parts[1] != want || slices.Contains(parts, ".") || slices.Contains(parts, "..") {
			return false
		}
	}
	return true
}

// checkBody compares the body with its hash, if there is one.
func (c *Checker) checkBody(r *http.Request, h *header) error {
	if h.hash == "" {
		return nil
	}
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(io.LimitReader(r.Body, c.cfg.MaxBody+1)); err != nil {
			return &Refusal{Status: http.StatusBadRequest, Word: "error", Text: "the body could not be read"}
		}
		if int64(len(body)) > c.cfg.MaxBody {
			return &Refusal{Status: http.StatusRequestEntityTooLarge, Word: "error", Text: fmt.Sprintf("a signed body has at most %d bytes here", c.cfg.MaxBody)}
		}
	}
	if !hmac.Equal([]byte(h.hash), []byte(bodyHash(r.Header.Get("Content-Type"), body))) {
		return refuse("invalid-credentials", "the body is not the one that was signed")
	}
	if r.Body != nil {
		r.Body = struct {
			io.Reader
			io.Closer
		}{bytes.NewReader(body), r.Body}
	}
	return nil
}

// Forgotten is how many nonces had to make room for others before their time:
// more requests came in two minutes than Config.Nonces.
func (c *Checker) Forgotten() uint64 { return c.seen.lost() }

type claimsKey struct{}

// Claims are those of the token of a request that a [Checker.Handler] has let
// in, or nil.
func Claims(ctx context.Context) *token.Claims {
	c, _ := ctx.Value(claimsKey{}).(*token.Claims)
	return c
}

// Handler lets requests in to next that are good, and answers the others.
func (c *Checker) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// So that a client can tell how wrong its clock is.
		w.Header().Set("X-Timestamp", strconv.FormatInt(c.cfg.Now().Unix(), 10))
		claims, err := c.Check(r)
		if no := (*Refusal)(nil); errors.As(err, &no) {
			no.write(w)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), claimsKey{}, claims)))
	})
}

func (r *Refusal) write(w http.ResponseWriter) {
	if r.auth != "" {
		w.Header().Set("WWW-Authenticate", r.auth)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(r.Status)
	type problem struct {
		Location    string `json:"location"`
		Name        string `json:"name"`
		Description string `json:"description"`
	}
	_ = json.NewEncoder(w).Encode(struct {
		Status string    `json:"status"`
		Errors []problem `json:"errors"`
	}{r.Word, []problem{{"header", "Authorization", r.Text}}}) // the client may have gone
}
