package app

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"appbundle/examples/token-app/server"
	"appbundle/examples/token-app/settings"
	"appbundle/examples/token-app/token"
)

// mint makes the token of a request, here or at a worker.
type mint func(ctx context.Context, r *token.Request) (token.Minted, error)

// minter makes tokens with the newest secret of a user's node.
type minter struct {
	secrets atomic.Pointer[signers]
	mint    mint
}

// signers are the newest secrets of nodes. To derive one takes as long as to sign
// with it, and so each is derived once; there are no more than nodes.
type signers struct {
	token.Secrets
	of sync.Map // of *token.Secret by node
}

func (s *signers) signer(node string) (*token.Secret, error) {
	if secret, ok := s.of.Load(node); ok {
		return secret.(*token.Secret), nil
	}
	all, err := s.Of(node)
	if err != nil {
		return nil, err
	}
	last := all[len(all)-1]
	s.of.Store(node, last)
	return last, nil
}

func (m *minter) Mint(ctx context.Context, g server.Grant) (*server.Token, error) {
	form, err := token.ParseForm(g.Form)
	if err != nil {
		return nil, err
	}
	secret, err := m.secrets.Load().signer(g.Node)
	if err != nil {
		return nil, err
	}
	claims := token.Claims{
		UID:            g.UID,
		Node:           g.Node,
		Expires:        g.Expires,
		FxaUID:         string(g.UserID),
		FxaKID:         string(g.KeyID),
		HashedFxaUID:   g.Hashed,
		HashedDeviceID: g.DeviceID,
	}
	r := &token.Request{Form: form, Secret: secret, Service: g.Service, Salt: token.NewSalt(form)}
	if r.Payload, err = claims.Payload(form, r.Salt); err != nil {
		return nil, err
	}
	made, err := m.mint(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("mint: %w", err)
	}
	return &server.Token{ID: server.Private(made.Token), Key: server.Private(made.Key)}, nil
}

// loadSecrets reads the secrets of nodes from the file that the settings name.
func loadSecrets(s settings.Secrets) (token.Secrets, error) {
	switch {
	case s.Nodes != "":
		return token.LoadNodeSecrets(s.Nodes)
	case s.Fixed != "":
		list, err := token.LoadSecrets(s.Fixed)
		if err != nil {
			return nil, err
		}
		return token.NewFixedSecrets(list...)
	}
	list, err := token.LoadSecrets(s.Master)
	if err != nil {
		return nil, err
	}
	return token.NewDerivedSecrets(list...)
}
