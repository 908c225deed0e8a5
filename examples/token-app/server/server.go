// Package server is the HTTP interface of the token server: credentials of a
// user and the name of a service in, a token for the user's node out.
//
// It decides in this order, and the first thing that is wrong is the answer: the
// application, its version, the client state, the credentials, the pattern of the
// service's endpoints, its conditions, the user. What is wrong with a request is
// found before what costs time is done: nothing is verified for a request that is
// malformed, and nothing is written for one that is refused.
//
// Every answer with a body is JSON, errors among them; it says what the time is
// (X-Timestamp) and that nobody may keep it. docs/API.md has the routes, the
// errors and the metrics.
//
// Who is believed, where users are kept and how tokens are made are the business
// of the interfaces [Verifier], [Users], [Minter] and [Events].
//
// # Limits
//
// A request that is not HTTP, or whose head is too big, is answered by net/http,
// in text. Limits of requests are kept by each process for itself.
package server

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"appbundle/examples/token-app/token"
)

// A Config says what a Server is made of.
type Config struct {
	// Version is what __version__ and __heartbeat__ say; empty is the version of
	// the module.
	Version string
	// Origin is the URL of the server as users know it; it is in the discovery
	// document. It never comes from a request.
	Origin   string
	Services []Service

	// BrowserID and OAuth verify what follows these schemes; nil refuses the
	// scheme.
	BrowserID, OAuth Verifier
	Users            Users
	Minter           Minter
	Events           Events // nil leaves the route out

	// Discovered is what the discovery document says about the verifiers.
	Discovered Discovered

	// MetricsKey makes the names under which users appear in logs and tokens.
	MetricsKey token.MetricsKey

	// NodeTypes are labels of nodes; the first whose pattern fits the node's
	// host is in the answer.
	NodeTypes []NodeType

	Limits Limits

	// RetryAfter is the time after which a client that was refused for lack of
	// resources may come back; up to a twentieth, at least 5 s, is added at
	// random. 0 means 30 minutes.
	RetryAfter time.Duration
	// Backoff is asked of clients by X-Backoff and X-Weave-Backoff in BackoffShare of the answers.
	Backoff      time.Duration
	BackoffShare float64
	// UnavailableShare of the requests for tokens are answered 503.
	UnavailableShare float64

	// MetricsPath serves the metrics among the other routes; empty does not.
	MetricsPath string

	Metrics *Metrics     // nil makes some
	Log     *slog.Logger // nil is silence

	Now  func() time.Time // nil is time.Now
	Rand func() float64   // in [0, 1); nil is that of crypto/rand
}

// A Service is one version of an application, for which tokens are given out.
type Service struct {
	App, Version string
	// Pattern of the endpoints of users: {node}, {uid} and {service} are
	// replaced. Without one nobody gets a token.
	Pattern  string
	Scope    string        // that bearer tokens have to have
	Duration time.Duration // of tokens
	// Form of tokens; the minter knows what that is.
	Form string
	// Conditions are documents that users have to accept, by name.
	Conditions map[string]string
	NoNewUsers bool
	// NeedKeyID refuses a bearer token without X-KeyID.
	NeedKeyID bool
}

// Name is that of the service in the store: application and version.
func (svc *Service) Name() string { return svc.App + "-" + svc.Version }

// A NodeType is a label for the nodes whose host fits a pattern of package path.
type NodeType struct{ Label, Pattern string }

// Limits bound what one side may cost. 0 is no limit.
type Limits struct {
	// PerAddress is how many requests for tokens an address may make a second,
	// and Burst how many at once. One that was refused counts ten times.
	PerAddress float64
	Burst      int
	// PerIssuer is how many users of one issuer are looked up a second.
	PerIssuer   float64
	IssuerBurst int
	// Proxies may name the address for which they ask, in X-Forwarded-For.
	Proxies []netip.Prefix
	// UnixProxy says that who connects over a Unix socket is such a proxy.
	UnixProxy bool
}

// Discovered is what the discovery document says about verifiers.
type Discovered struct {
	BrowserID *DiscoveredBrowserID `json:"browserid,omitempty"`
	OAuth     *DiscoveredOAuth     `json:"oauth,omitempty"`
}

// DiscoveredBrowserID says whose certificates are believed.
type DiscoveredBrowserID struct {
	AllowedIssuers []string `json:"allowed_issuers"`
	TrustedIssuers []string `json:"trusted_issuers"`
}

// DiscoveredOAuth says where bearer tokens come from.
type DiscoveredOAuth struct {
	DefaultIssuer string `json:"default_issuer"`
	Scope         string `json:"scope"`
	ServerURL     string `json:"server_url"`
}

// A Private is something that must not be seen in logs and errors: however it is
// printed, it is not shown.
type Private string

// Format shows nothing of it.
func (Private) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[private]")) }

// LogValue shows nothing of it.
func (Private) LogValue() slog.Value { return slog.StringValue("[private]") }

// MarshalText shows nothing of it; who has to write it converts it.
func (Private) MarshalText() ([]byte, error) { return []byte("[private]"), nil }

// An Identity is who credentials speak for, and what they say of the user's keys.
type Identity struct {
	Issuer  string  // that vouches for the user
	Account Private // under which the user is kept: one user, one account
	UserID  Private // by which nodes know the user
	Device  Private // empty if the credentials name none

	// Generation grows with every change of the password, KeysChangedAt with
	// every change of the keys. 0 is not known.
	Generation, KeysChangedAt int64
}

// Verifiers say whom to believe.
type Verifier interface {
	// Verify says who the credentials speak for, which are good for a service.
	// The error is a *Refusal if they are not good, a *Busy if there is no time
	// for them now, and anything else if it could not be found out.
	Verify(ctx context.Context, credentials Private, svc *Service) (*Identity, error)
}

// A Login is a user who asks for a node.
type Login struct {
	Service       string
	Issuer        string
	Account       Private
	Generation    int64
	KeysChangedAt int64
	ClientState   Private
	AllowNew      bool
}

// A User is what is known of one after a login.
type User struct {
	UID           int64
	Node          string
	Generation    int64
	KeysChangedAt int64
	ClientState   Private
}

// Users are where users and nodes are kept.
type Users interface {
	// Login looks a user up, and gives one who was never seen a node. The error
	// is a *Refusal when the login breaks a rule, and then nothing was changed.
	Login(ctx context.Context, l Login) (*User, error)
	// Ping says whether the store answers.
	Ping(ctx context.Context) error
}

// A Grant is what a token says.
type Grant struct {
	Service  string
	Form     string
	UID      int64
	Node     string
	Expires  int64 // seconds
	UserID   Private
	KeyID    Private
	Hashed   string // user ID of metrics
	DeviceID string // of metrics
}

// A Token is what a user gets.
type Token struct{ ID, Key Private }

// A Minter makes tokens.
type Minter interface {
	Mint(ctx context.Context, g Grant) (*Token, error)
}

// Events receive security events about users.
type Events interface {
	// Receive takes a Security Event Token (RFC 8417). The error is an
	// *EventError if it is not good.
	Receive(ctx context.Context, set Private) error
}

// A Server answers requests for tokens.
type Server struct {
	cfg      Config
	services map[string]map[string]*Service // by application and version
	mux      *http.ServeMux
	addrs    *buckets
	issuers  *buckets
	metrics  *Metrics
	log      *slog.Logger
	now      func() time.Time
	rand     func() float64
	auth     []string // challenges
	build    build
	document []byte
}

// New makes a server. The error says what is wrong with the configuration.
func New(cfg Config) (*Server, error) {
	s := &Server{
		cfg:      cfg,
		services: map[string]map[string]*Service{},
		mux:      http.NewServeMux(),
		metrics:  cfg.Metrics,
		log:      cfg.Log,
		now:      cfg.Now,
		rand:     cfg.Rand,
		build:    thisBuild(cfg.Version),
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.rand == nil {
		s.rand = share
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.metrics == nil {
		s.metrics = NewMetrics()
	}
	if s.cfg.RetryAfter == 0 {
		s.cfg.RetryAfter = 30 * time.Minute
	}
	if cfg.BrowserID == nil && cfg.OAuth == nil {
		return nil, errors.New("nobody can be believed: neither BrowserID nor OAuth is configured")
	}
	if len(cfg.Services) == 0 {
		return nil, errors.New("there is no service")
	}
	for i := range cfg.Services {
		svc := &s.cfg.Services[i]
		if svc.Duration < time.Second {
			return nil, fmt.Errorf("service %s: tokens have to be good for a second at least", svc.Name())
		}
		if s.services[svc.App] == nil {
			s.services[svc.App] = map[string]*Service{}
		}
		if s.services[svc.App][svc.Version] != nil {
			return nil, fmt.Errorf("service %s is there twice", svc.Name())
		}
		s.services[svc.App][svc.Version] = svc
	}
	for _, n := range cfg.NodeTypes {
		if _, err := path.Match(n.Pattern, ""); err != nil {
			return nil, fmt.Errorf("node type %s: %q is not a pattern", n.Label, n.Pattern)
		}
	}
	if cfg.BrowserID != nil {
		s.auth = append(s.auth, "BrowserID")
	}
	if cfg.OAuth != nil {
		s.auth = append(s.auth, "Bearer")
	}
	s.addrs = newBuckets(cfg.Limits.PerAddress, cfg.Limits.Burst, s.now)
	s.issuers = newBuckets(cfg.Limits.PerIssuer, cfg.Limits.IssuerBurst, s.now)
	s.routes()
	s.describe()
	return s, nil
}

func (s *Server) routes() {
	s.mux.HandleFunc("GET /1.0/{app}/{version}", s.token)
	s.mux.HandleFunc("GET /{$}", s.discovery)
	s.mux.HandleFunc("GET /__heartbeat__", s.heartbeat)
	s.mux.HandleFunc("GET /__lbheartbeat__", s.lbheartbeat)
	s.mux.HandleFunc("GET /__version__", s.versions)
	if s.cfg.Events != nil {
		s.mux.HandleFunc("POST /1.0/webhooks/events", s.events)
	}
	if s.cfg.MetricsPath != "" {
		s.mux.Handle("GET "+s.cfg.MetricsPath, s.metrics)
	}
}

// Handle adds a route of somebody else, in the pattern of [http.ServeMux]. It is
// for the time before the first request.
func (s *Server) Handle(pattern string, h http.Handler) { s.mux.Handle(pattern, h) }

// share is a random number in [0, 1).
func share() float64 {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return float64(binary.BigEndian.Uint64(b[:])>>11) / (1 << 53)
}

// serviceNames lists the versions of each application, as the discovery document
// has them.
func (s *Server) serviceNames() map[string][]string {
	names := map[string][]string{}
	for _, svc := range s.cfg.Services {
		names[svc.App] = append(names[svc.App], svc.Version)
	}
	for _, v := range names {
		slices.Sort(v)
	}
	return names
}

// endpoint is where a user finds its data.
func (svc *Service) endpoint(u *User) string {
	return strings.NewReplacer("{node}", u.Node, "{uid}", fmt.Sprint(u.UID), "{service}", svc.Name()).Replace(svc.Pattern)
}
