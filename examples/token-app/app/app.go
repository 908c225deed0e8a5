// Package app puts the token server together: settings, secrets, the store, those
// who verify credentials and those who make tokens, behind the HTTP interface of
// package server.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"appbundle/examples/token-app/internal/guarded"
	"appbundle/examples/token-app/server"
	"appbundle/examples/token-app/settings"
	"appbundle/examples/token-app/store"
	"appbundle/examples/token-app/token"
)

// A Config says what an App is made of.
type Config struct {
	Settings *settings.Settings
	Version  string // of the application; empty is that of the module
	State    string // directory of the database, where the settings name none
	Database string // URL of a database, which counts more than the settings
	Master   string // address of the Powerhose master
	Log      *slog.Logger
	Now      func() time.Time // nil is time.Now
	// Fetch fetches the keys of issuers; nil is what the settings say.
	Fetch Fetcher
	// Demo takes the secrets and the provider of the demo, which are refused
	// otherwise.
	Demo bool
}

// A Fetcher fetches documents, as a guarded.Client does.
type Fetcher interface {
	Get(ctx context.Context, address string, limit int64) (guarded.Answer, error)
	Post(ctx context.Context, address string, form url.Values, user *url.Userinfo, limit int64) (guarded.Answer, error)
}

// What the demo makes is known by these: its provider lets everybody in.
const (
	DemoHost   = "idp.demo.example"
	DemoSecret = "demo-only-" // the beginning of its secrets
)

// An App is a token server that is ready to serve.
type App struct {
	cfg     Config
	store   *store.Store
	server  *server.Server
	minter  *minter
	metrics *server.Metrics
	close   []func()
}

// OpenStore opens the database that the settings and the environment name.
func OpenStore(ctx context.Context, cfg Config) (*store.Store, error) {
	s := cfg.Settings
	c := store.Config{Now: cfg.Now}
	database := cfg.Database
	if database == "" && s.Store.URL != "" {
		var err error
		if database, err = privateLine(s.Store.URL, "the URL of the database"); err != nil {
			return nil, err
		}
	}
	if database != "" {
		return store.OpenPostgres(ctx, database, c)
	}
	file := s.Store.File
	if file == "" {
		if cfg.State == "" {
			return nil, errors.New("there is no state directory: name one with state in [server], or a database with DATABASE_URL")
		}
		if err := os.MkdirAll(cfg.State, 0o700); err != nil {
			return nil, err
		}
		file = filepath.Join(cfg.State, "token-app.db")
	}
	return store.OpenSQLite(ctx, file, c)
}

// privateLine reads the one line of a file that is not open to everybody.
func privateLine(name, what string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if mode := info.Mode(); !mode.IsRegular() || mode.Perm()&0o007 != 0 {
		return "", fmt.Errorf("%s: it has to be a regular file that not everybody can read (mode %04o); chmod o-rwx %s, and change what is in it", name, mode.Perm(), name)
	}
	text, err := io.ReadAll(io.LimitReader(f, 4097))
	if err != nil {
		return "", err
	}
	line := strings.TrimSpace(string(text))
	if line == "" || len(text) > 4096 || strings.ContainsAny(line, "\r\n") {
		return "", fmt.Errorf("%s: one line is wanted, %s", name, what)
	}
	return line, nil
}

// Open opens the store, reads the secrets, and makes the server.
func Open(ctx context.Context, cfg Config) (*App, error) {
	a := &App{cfg: cfg}
	if err := a.open(ctx); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

func (a *App) open(ctx context.Context) error {
	cfg, s := a.cfg, a.cfg.Settings
	if err := a.refuseDemo(); err != nil {
		return err
	}
	secrets, err := loadSecrets(s.Secrets)
	if err != nil {
		return err
	}
	key, err := token.LoadSecrets(s.Secrets.Metrics)
	if err != nil {
		return err
	}
	if a.store, err = OpenStore(ctx, cfg); err != nil {
		return err
	}
	a.close = append(a.close, func() { a.store.Close() })
	for _, svc := range s.Services {
		if svc.Pattern == "" {
			continue
		}
		if err := a.store.AddService(ctx, store.Service{Name: svc.App + "-" + svc.Version, Pattern: svc.Pattern}); err != nil {
			return err
		}
	}
	a.minter = &minter{}
	if err := a.useSecrets(ctx, secrets); err != nil {
		return err
	}

	a.metrics = server.NewMetrics()
	gate := server.NewGate("crypto", s.Crypto.Slots, s.Crypto.Wait, nil)
	verify, mint, err := a.crypto(gate)
	if err != nil {
		return err
	}
	a.minter.mint = mint
	out := server.Config{
		Version:          cfg.Version,
		Origin:           s.Server.Origin,
		Users:            &users{a.store, store.Limits{Cap: s.Limits.Users, Rate: s.Limits.NewUsers, Per: s.Limits.NewUsersPer}},
		Minter:           a.minter,
		MetricsKey:       token.MetricsKey(key[len(key)-1]),
		RetryAfter:       s.Server.RetryAfter,
		Backoff:          s.Server.Backoff,
		BackoffShare:     s.Server.BackoffShare,
		UnavailableShare: s.Server.Unavailable,
		Metrics:          a.metrics,
		Log:              cfg.Log,
		Now:              cfg.Now,
		Limits: server.Limits{
			PerAddress: s.Limits.PerAddress, Burst: s.Limits.Burst,
			PerIssuer: s.Limits.PerIssuer, IssuerBurst: s.Limits.IssuerBurst,
			Proxies: s.Server.Proxies, UnixProxy: s.Server.UnixProxy,
		},
	}
	if strings.HasPrefix(s.Server.Metrics, "/") {
		out.MetricsPath = s.Server.Metrics
	}
	a.metrics.Watch(gate)
	for _, svc := range s.Services {
		out.Services = append(out.Services, server.Service{
			App: svc.App, Version: svc.Version, Pattern: svc.Pattern, Scope: svc.Scope, Duration: svc.Duration, Form: svc.Token,
			Conditions: svc.Conditions, NoNewUsers: !svc.NewUsers, NeedKeyID: svc.NeedKeyID,
		})
	}
	for _, t := range s.NodeTypes {
		out.NodeTypes = append(out.NodeTypes, server.NodeType{Label: t.Label, Pattern: t.Pattern})
	}
	if err := a.believe(&out, verify); err != nil {
		return err
	}
	a.server, err = server.New(out)
	return err
}

// refuseDemo keeps what everybody can have signed out of servers that are no demo.
func (a *App) refuseDemo() error {
	if a.cfg.Demo {
		return nil
	}
	s := a.cfg.Settings
	demo := s.BrowserID != nil && slices.Contains(s.BrowserID.AllowedIssuers, DemoHost)
	for _, o := range s.OAuth {
		demo = demo || o.Issuer == "https://"+DemoHost
	}
	if demo {
		return fmt.Errorf("the identity provider of the demo, %s, lets everybody in: it is believed with --demo alone", DemoHost)
	}
	for _, name := range []string{s.Secrets.Master, s.Secrets.Fixed, s.Secrets.Nodes, s.Secrets.Metrics} {
		if name == "" {
			continue
		}
		text, err := os.ReadFile(name)
		if err == nil && strings.Contains(string(text), DemoSecret) {
			return fmt.Errorf("%s: it has a secret of the demo; openssl rand -hex 32 makes one", name)
		}
	}
	return nil
}

// useSecrets takes new secrets, if each node that users are on has one.
func (a *App) useSecrets(ctx context.Context, secrets token.Secrets) error {
	nodes, err := a.store.Nodes(ctx, "")
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if _, err := secrets.Of(n.Address); err != nil {
			return err
		}
	}
	a.minter.secrets.Store(&signers{Secrets: secrets})
	return nil
}

// Handler is the HTTP interface.
func (a *App) Handler() http.Handler { return a.server }

// Handle adds a route, in the pattern of http.ServeMux, before the first request.
func (a *App) Handle(pattern string, h http.Handler) { a.server.Handle(pattern, h) }

// Metrics are the figures of this process.
func (a *App) Metrics() *server.Metrics { return a.metrics }

// Store is where users and nodes are.
func (a *App) Store() *store.Store { return a.store }

// Reload reads the secrets of nodes anew. When that fails those from before stay.
func (a *App) Reload(ctx context.Context) error {
	if err := a.refuseDemo(); err != nil {
		return err
	}
	secrets, err := loadSecrets(a.cfg.Settings.Secrets)
	if err != nil {
		return err
	}
	return a.useSecrets(ctx, secrets)
}

// Close ends what was opened.
func (a *App) Close() {
	for i := len(a.close) - 1; i >= 0; i-- {
		a.close[i]()
	}
	a.close = nil
}
