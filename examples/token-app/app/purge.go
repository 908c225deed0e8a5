package app

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"time"

	"appbundle/examples/token-app/node"
	"appbundle/examples/token-app/settings"
	"appbundle/examples/token-app/store"
	"appbundle/examples/token-app/token"
)

// A Purge says which old records go.
type Purge struct {
	Service string        // empty is all of them
	Older   time.Duration // since they were replaced
	Limit   int           // 0 is no limit
	Downed  bool          // also those of nodes that are downed
	DryRun  bool          // nothing is deleted
}

const (
	deleteTime = time.Minute // for a node to delete the data of a user
	deleteGood = 5 * time.Minute
)

// RunPurge deletes the data of old records at their nodes, and then the records.
// A record whose data could not be deleted stays, behind the others.
func RunPurge(ctx context.Context, cfg Config, users *store.Store, p Purge) (store.Purged, error) {
	now := cfg.Now
	if now == nil {
		now = time.Now
	}
	secrets, err := loadSecrets(cfg.Settings.Secrets)
	if err != nil {
		return store.Purged{}, err
	}
	forms := map[string]token.Form{}
	for _, svc := range cfg.Settings.Services {
		if forms[svc.App+"-"+svc.Version], err = token.ParseForm(svc.Token); err != nil {
			return store.Purged{}, err
		}
	}
	c := &cleaner{secrets: secrets, forms: forms, names: namesOf(cfg.Settings), now: now, client: &http.Client{
		Timeout:       deleteTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	defer c.client.CloseIdleConnections()
	services, err := users.Services(ctx)
	if err != nil {
		return store.Purged{}, err
	}
	var all store.Purged
	found := false
	for _, svc := range services {
		if p.Service != "" && p.Service != svc.Name {
			continue
		}
		found = true
		one := store.Purge{Service: svc.Name, Before: now().Add(-p.Older), Downed: p.Downed}
		if p.Limit > 0 {
			if one.Limit = p.Limit - all.Removed - all.Failed; one.Limit <= 0 {
				break
			}
		}
		if p.DryRun {
			old, err := users.Old(ctx, one)
			if err != nil {
				return all, err
			}
			all.Removed += len(old)
			continue
		}
		done, err := users.Purge(ctx, one, func(ctx context.Context, o store.Old) error { return c.delete(ctx, svc.Pattern, o) })
		all.Removed += done.Removed
		all.Failed += done.Failed
		all.Err = errors.Join(all.Err, done.Err)
		if err != nil {
			return all, err
		}
	}
	if p.Service != "" && !found {
		return all, fmt.Errorf("service %q: %w", p.Service, store.ErrUnknownService)
	}
	return all, nil
}

// A cleaner asks nodes to delete data.
type cleaner struct {
	secrets token.Secrets
	forms   map[string]token.Form // of services
	names   Names
	now     func() time.Time
	client  *http.Client
}

// delete asks the node of an old record to delete its data, with a token for the
// record's own uid. What is not there any more is deleted.
func (c *cleaner) delete(ctx context.Context, pattern string, o store.Old) error {
	if o.InUse {
		return nil // a node that keeps data by user and key would delete what is in use
	}
	all, err := c.secrets.Of(o.Node)
	if err != nil {
		return err
	}
	state, err := hex.DecodeString(string(o.ClientState))
	if err != nil {
		return fmt.Errorf("uid %d: the client state is not hexadecimal", o.UID)
	}
	when := o.KeysChangedAt
	if when == 0 && o.Generation != math.MaxInt64 {
		when = o.Generation
	}
	user := c.names.OfAccount(string(o.Email))
	claims := token.Claims{UID: o.UID, Node: o.Node, Expires: c.now().Add(deleteGood).Unix(), FxaUID: string(user), FxaKID: token.KeyID(when, state)}
	form := c.forms[o.Service]
	salt := token.NewSalt(form)
	payload, err := claims.Payload(form, salt)
	if err != nil {
		return err
	}
	made, err := token.Mint(&token.Request{Form: form, Secret: all[len(all)-1], Service: o.Service, Payload: payload, Salt: salt})
	if err != nil {
		return err
	}
	url := strings.NewReplacer("{node}", o.Node, "{uid}", fmt.Sprint(o.UID), "{service}", o.Service).Replace(pattern)
	r, err := http.NewRequestWithContext(ctx, http.MethodDelete, url, nil)
	if err != nil {
		return fmt.Errorf("uid %d: the endpoint is no URL", o.UID)
	}
	node.Sign(r, made, c.now(), nil)
	answer, err := c.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10))
	if answer.StatusCode >= 300 && answer.StatusCode != http.StatusNotFound {
		return fmt.Errorf("%s answers %s to a DELETE for uid %d", o.Node, answer.Status, o.UID)
	}
	return nil
}

// namesOf says how the settings tell users apart.
func namesOf(s *settings.Settings) Names {
	if b := s.BrowserID; b != nil && b.LegacyDomain != "" {
		return Names{Legacy: b.LegacyDomain}
	}
	for _, o := range s.OAuth {
		if o.EmailDomain != "" {
			return Names{Legacy: o.EmailDomain}
		}
	}
	return Names{}
}

// AccountOf is the account of a user whom an issuer of bearer tokens names.
func AccountOf(s *settings.Settings, issuer, subject string) (string, error) {
	for _, o := range s.OAuth {
		if o.Issuer != issuer {
			continue
		}
		account, _, ok := namesOf(s).BySubject(issuer, subject, o.EmailDomain)
		if !ok {
			return "", errors.New("no user of this issuer has such a name")
		}
		return string(account), nil
	}
	return "", fmt.Errorf("no [oauth:NAME] has the issuer %q", issuer)
}
