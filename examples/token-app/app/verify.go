package app

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"appbundle/examples/token-app/browserid"
	"appbundle/examples/token-app/internal/guarded"
	"appbundle/examples/token-app/jobs"
	"appbundle/examples/token-app/oauth"
	"appbundle/examples/token-app/server"
	"appbundle/examples/token-app/signature"
	"appbundle/examples/token-app/store"
	"appbundle/examples/token-app/token"
	"appbundle/powerhose"
)

// crypto says who verifies signatures and mints tokens: workers, or this process.
// In front of signatures, which strangers send, stands the gate.
func (a *App) crypto(gate *server.Gate) (signature.Verifier, mint, error) {
	c := a.cfg.Settings.Crypto
	execute, minting := jobs.Executor(jobs.Local), jobs.Executor(jobs.Local)
	if c.Workers {
		if a.cfg.Master == "" {
			return nil, nil, errors.New("the settings want workers, and POWERHOSE_MASTER names no master for them; [crypto] workers = here does without")
		}
		runner, err := powerhose.Connect(a.cfg.Master)
		if err != nil {
			return nil, nil, err
		}
		a.close = append(a.close, func() { runner.Close() })
		execute = again(jobs.Remote(runner, c.Deadline, c.Wait), c.Wait)
		if !c.MintHere {
			minting = execute
		}
	}
	client, minter := jobs.Client{Execute: execute}, jobs.Client{Execute: minting}
	verify := func(ctx context.Context, checks []signature.Check) (good []bool, err error) {
		err = gate.Do(ctx, func() error {
			good, err = client.Verify(ctx, checks)
			return err
		})
		return good, busy(err)
	}
	made := func(ctx context.Context, r *token.Request) (token.Minted, error) {
		m, err := minter.Mint(ctx, r)
		return m, busy(err)
	}
	return verify, made, nil
}

// endingPause is between calls at a master that is ending.
const endingPause = 5 * time.Millisecond

// again makes a call a second time when the master is lost: what became of the
// first is not known, and both kinds of jobs may be done twice. A master that is
// ending has not begun; another one comes, for which the call waits.
func again(execute jobs.Executor, wait time.Duration) jobs.Executor {
	return func(ctx context.Context, kind string, job []byte) ([]byte, error) {
		lost := false
		for start := time.Now(); ; {
			out, err := execute(ctx, kind, job)
			switch {
			case errors.Is(err, powerhose.ErrMasterLost) && !lost && ctx.Err() == nil:
				lost = true
			case errors.Is(err, powerhose.ErrDraining) && time.Since(start) < wait:
				select {
				case <-ctx.Done():
					return out, err
				case <-time.After(endingPause):
				}
			default:
				return out, err
			}
		}
	}
}

// busy says in the server's words that workers have no time.
func busy(err error) error {
	for _, full := range []error{powerhose.ErrBusy, powerhose.ErrQueueFull, powerhose.ErrTimeout} {
		if errors.Is(err, full) {
			return fmt.Errorf("%w: %w", &server.Busy{Gate: "the pool of workers"}, err)
		}
	}
	return err
}

// believe makes the verifiers that the settings have.
func (a *App) believe(out *server.Config, verify signature.Verifier) error {
	fetch := a.cfg.Fetch
	if fetch == nil {
		g := guarded.Config{Private: a.cfg.Settings.Network.PrivateHosts}
		if name := a.cfg.Settings.Network.Roots; name != "" {
			pem, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			g.Roots = x509.NewCertPool()
			if !g.Roots.AppendCertsFromPEM(pem) {
				return fmt.Errorf("%s: there is no certificate in it", name)
			}
		}
		client := guarded.New(g)
		a.close = append(a.close, client.Close)
		fetch = client
	}
	names := namesOf(a.cfg.Settings)
	if b := a.cfg.Settings.BrowserID; b != nil {
		v, err := browserid.New(browserid.Config{
			Audiences:       b.Audiences,
			Issuers:         b.AllowedIssuers,
			Trusted:         b.TrustedIssuers,
			Delegation:      b.Delegation,
			RS128:           b.RS128,
			AssertionLife:   b.MaxAge,
			CertificateLife: b.MaxCertificate,
			Get:             fetch.Get,
			Verifier:        verify,
			Now:             a.cfg.Now,
		})
		if err != nil {
			return err
		}
		a.close = append(a.close, v.Close)
		out.BrowserID = &assertions{v, names}
		out.Discovered.BrowserID = &server.DiscoveredBrowserID{AllowedIssuers: b.AllowedIssuers, TrustedIssuers: b.TrustedIssuers}
	}
	if len(a.cfg.Settings.OAuth) > 0 {
		return a.believeBearers(out, verify, fetch)
	}
	return nil
}

// believeBearers makes the verifier of bearer tokens and of events.
func (a *App) believeBearers(out *server.Config, verify signature.Verifier, fetch Fetcher) error {
	cfg := oauth.Config{Get: fetch.Get, Post: fetch.Post, Verifier: verify, Now: a.cfg.Now}
	b := &bearers{names: namesOf(a.cfg.Settings), domains: map[string]string{}, store: a.store}
	events := false
	for _, o := range a.cfg.Settings.OAuth {
		cfg.Issuers = append(cfg.Issuers, oauth.Issuer{
			Name:           o.Issuer,
			JWKS:           o.JWKS,
			Audiences:      o.Audiences,
			AnyAudience:    o.AnyAudience,
			PlainJWT:       o.PlainJWT,
			ScopePaths:     o.ScopePaths,
			EventAudiences: o.EventAudiences,
		})
		b.domains[o.Issuer] = o.EmailDomain
		events = events || len(o.EventAudiences) > 0
		if o.Introspection != "" {
			secret, err := privateLine(o.ClientSecret, "the secret of the client")
			if err != nil {
				return err
			}
			cfg.Introspection = &oauth.Introspection{URL: o.Introspection, User: o.ClientID, Password: oauth.Secret(secret), Issuer: o.Issuer}
		}
	}
	var err error
	if b.Verifier, err = oauth.New(cfg); err != nil {
		return err
	}
	a.close = append(a.close, b.Close)
	out.OAuth = b
	if events {
		out.Events = b
	}
	first := a.cfg.Settings.OAuth[0]
	out.Discovered.OAuth = &server.DiscoveredOAuth{DefaultIssuer: first.EmailDomain, ServerURL: first.Issuer}
	for _, svc := range a.cfg.Settings.Services {
		if svc.Scope != "" {
			out.Discovered.OAuth.Scope = svc.Scope
			break
		}
	}
	return nil
}

// assertions verifies those of BrowserID.
type assertions struct {
	*browserid.Verifier
	names Names
}

func (a *assertions) Verify(ctx context.Context, credentials server.Private, _ *server.Service) (*server.Identity, error) {
	got, err := a.Verifier.Verify(ctx, string(credentials))
	var account browserid.Account
	if err == nil {
		account, err = got.Account()
	}
	var wrong *browserid.Error
	if errors.As(err, &wrong) {
		no := because(server.Unauthorized(wrong.Status()), string(wrong.Reason))
		no.Description = wrong.Description()
		return nil, no
	}
	if err != nil {
		return nil, err
	}
	id := &server.Identity{
		Issuer:        got.Issuer,
		Device:        server.Private(account.DeviceID),
		Generation:    account.Generation,
		KeysChangedAt: account.KeysChangedAt,
	}
	id.Account, id.UserID = a.names.ByEmail(got.Email)
	return id, nil
}

// bearers verifies bearer tokens, and takes events about their users.
type bearers struct {
	*oauth.Verifier
	names   Names
	domains map[string]string // of issuers
	store   *store.Store
}

func (b *bearers) Verify(ctx context.Context, credentials server.Private, svc *server.Service) (*server.Identity, error) {
	got, err := b.Verifier.Verify(ctx, string(credentials), svc.Scope)
	var wrong *oauth.Error
	if errors.As(err, &wrong) {
		return nil, because(server.Unauthorized(wrong.Status()), string(wrong.Reason))
	}
	if err != nil {
		return nil, err
	}
	id := &server.Identity{Issuer: got.Issuer, Generation: got.Generation}
	var ok bool
	if id.Account, id.UserID, ok = b.names.BySubject(got.Issuer, got.Subject, b.domains[got.Issuer]); !ok {
		return nil, because(server.Unauthorized("invalid-credentials"), string(oauth.Subject))
	}
	return id, nil
}

// codes are those of RFC 8935 for what can be wrong; what is not here is an invalid
// request.
var codes = map[oauth.Reason]string{
	oauth.Key:       "invalid_key",
	oauth.Signature: "invalid_key",
	oauth.Issued:    "invalid_issuer",
	oauth.Audience:  "invalid_audience",
}

// Receive does what the events of a token say. What was done is the same when the
// token comes again.
func (b *bearers) Receive(ctx context.Context, set server.Private) error {
	events, err := b.VerifyEvents(ctx, string(set))
	var wrong *oauth.Error
	if errors.As(err, &wrong) {
		return &server.EventError{Code: cmp.Or(codes[wrong.Reason], "invalid_request"), Description: wrong.Detail}
	}
	if err != nil {
		return err
	}
	for _, e := range events {
		if e.Kind == oauth.Other {
			continue
		}
		account, _, ok := b.names.BySubject(e.Issuer, e.Subject, b.domains[e.Issuer])
		if !ok {
			return &server.EventError{Code: "invalid_request", Description: "no user of this issuer has such a name"}
		}
		switch e.Kind {
		case oauth.Deleted:
			_, err = b.store.Retire(ctx, store.Email(account))
		case oauth.Reset:
			_, err = b.store.ChangePassword(ctx, store.Email(account), e.At.UnixMilli())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// because adds a word for logs to a refusal.
func because(r *server.Refusal, word string) *server.Refusal {
	r.Cause = word
	return r
}
