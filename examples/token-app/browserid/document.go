package browserid

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"appbundle/examples/token-app/internal/guarded"
	"appbundle/examples/token-app/internal/strict"
	"appbundle/examples/token-app/signature"
)

// maxDelegations is how many documents may name another host before one is the
// issuer.
const maxDelegations = 5

// A document says how a host supports BrowserID: by keys of its own, by another host,
// or not at all.
type document struct {
	keys      []signature.NamedKey
	authority string
	disabled  bool
}

func (d document) has(k signature.Key) bool {
	return slices.ContainsFunc(d.keys, func(mine signature.NamedKey) bool { return mine.Equal(k) })
}

// same reports whether two documents have the same keys.
func (d document) same(other document) bool {
	return slices.EqualFunc(d.keys, other.keys, func(a, b signature.NamedKey) bool { return a.Equal(b.Key) })
}

// parseDocument reads a support document. Of keys, those that are not known here are
// left out; that one is left is for its user to demand.
func parseDocument(body []byte) (document, error) {
	var d document
	o, err := strict.Decode(body)
	if err != nil {
		return d, err
	}
	if o.Has("disabled") && o["disabled"] != false {
		return document{disabled: true}, nil
	}
	if o.Has("authority") {
		if d.authority, err = o.Text("authority"); err != nil {
			return d, err
		}
		return d, guarded.Host(d.authority)
	}
	var list []any
	if o.Has("public-key") {
		list = append(list, o["public-key"])
	}
	if o.Has("keys") {
		more, ok := o["keys"].([]any)
		if !ok {
			return d, errors.New(`member "keys" is not a list`)
		}
		list = append(list, more...)
	}
	d.keys, err = signature.ParseSet(list)
	return d, err
}

// A documentError is an answer of the host that will be the same for a while.
type documentError struct{ err error }

func (e *documentError) Error() string { return e.err.Error() }

// fetch gets the support document of a host.
func (v *Verifier) fetch(ctx context.Context, host string) (document, time.Duration, error) {
	answer, err := v.cfg.Get(ctx, "https://"+host+"/.well-known/browserid", maxDocument)
	if err != nil {
		if status, ok := errors.AsType[*guarded.StatusError](err); ok && status.Status/100 == 4 && status.Status != 429 {
			err = &documentError{err}
		}
		return document{}, 0, err
	}
	d, err := parseDocument(answer.Body)
	if err != nil {
		return d, 0, &documentError{fmt.Errorf("%s: support document: %w", host, err)}
	}
	return d, answer.MaxAge, nil
}

// document gives an issuer's keys.
func (v *Verifier) document(ctx context.Context, issuer string) (document, error) {
	d, err := v.documents.Get(ctx, issuer)
	return d, v.judge(ctx, d, err)
}

// renewed gives an issuer's keys after another look, if the last one is a while ago.
func (v *Verifier) renewed(ctx context.Context, issuer string) (document, error) {
	d, err := v.documents.Refresh(ctx, issuer)
	return d, v.judge(ctx, d, err)
}

// judge makes of what came of a fetch what an assertion's verifier says.
func (v *Verifier) judge(ctx context.Context, d document, err error) error {
	switch {
	case err == nil && d.disabled:
		return refuse(Issuer, "the host has switched BrowserID off")
	case err == nil && d.authority != "":
		return refuse(Issuer, "its issuer leaves it to another host to speak for it")
	case err == nil && len(d.keys) == 0:
		return refuse(Issuer, "its issuer has no key that is known here")
	}
	return v.failed(ctx, err)
}

// failed tells a host that has no document from one that could not be asked.
func (v *Verifier) failed(ctx context.Context, err error) error {
	switch _, no := errors.AsType[*documentError](err); {
	case err == nil:
		return nil
	case no:
		return refuse(Issuer, "no support document can be had: %v", err)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("%w: support document: %w", ErrUnavailable, err)
}

// speaks says what keeps an issuer from vouching for addresses of a domain. Nothing
// is fetched for a domain before a certificate for it is verified.
func (v *Verifier) speaks(ctx context.Context, issuer, domain string) error {
	if domain == issuer || v.issuers[issuer] {
		return nil
	}
	seen := []string{}
	for host := domain; len(seen) < maxDelegations; {
		if slices.Contains(seen, host) {
			return refuse(Delegation, "the domain of the address delegates in a circle")
		}
		seen = append(seen, host)
		d, err := v.documents.Get(ctx, host)
		if err != nil {
			return v.failed(ctx, err)
		}
		if d.disabled || d.authority == "" {
			return refuse(Issuer, "the domain of the address does not delegate to its issuer")
		}
		if host = d.authority; host == issuer {
			return nil
		}
	}
	return refuse(Delegation, "the domain of the address delegates more than %d times", maxDelegations)
}
