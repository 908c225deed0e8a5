package app

import (
	"context"
	"fmt"
	"sync/atomic"

	"appbundle/examples/token-app/server"
	"appbundle/examples/token-app/settings"
	"appbundle/examples/token-app/token"
)

// mint makes the token of a request, here or at a worker.
type mint func(ctx context.Context, r *token.Request) (token.Minted, error)

// minter makes tokens with the newest secret of a user's node.
type minter struct {
	secrets atomic.Pointer[token.Secrets]
	mint    mint
}

func (m *minter) Mint(ctx context.Context, g server.Grant) (*server.Token, error) {
	form, err := token.ParseForm(g.Form)
	if err != nil {
		return nil, err
	}
	all, err := (*m.secrets.Load()).Of(g.Node)
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
	r := &token.Request{Form: form, Secret: all[len(all)-1], Service: g.Service, Salt: token.NewSalt(form)}
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
