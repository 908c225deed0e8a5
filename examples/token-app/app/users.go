package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"appbundle/examples/token-app/server"
	"appbundle/examples/token-app/store"
)

// users are those of a store, for the server.
type users struct {
	store  *store.Store
	limits store.Limits // of each issuer
}

func (u *users) Ping(ctx context.Context) error { return u.store.Ping(ctx) }

func (u *users) Login(ctx context.Context, l server.Login) (*server.User, error) {
	got, err := u.store.Exchange(ctx, store.Request{
		Service:       l.Service,
		Email:         store.Email(l.Account),
		Generation:    l.Generation,
		KeysChangedAt: l.KeysChangedAt,
		ClientState:   store.ClientState(l.ClientState),
		AllowNew:      l.AllowNew,
		Issuer:        l.Issuer,
		Limits:        u.limits,
	})
	if err != nil {
		return nil, refusal(err)
	}
	return &server.User{
		UID:           got.UID,
		Node:          got.Node,
		Generation:    got.Generation,
		KeysChangedAt: got.KeysChangedAt,
		ClientState:   server.Private(got.ClientState),
	}, nil
}

// refusal says in the server's words what the store answered; what is no answer
// stays an error.
func refusal(err error) error {
	var no *store.Refusal
	var limit *store.LimitError
	switch {
	case errors.As(err, &no):
		if no.Status == store.InvalidClientState {
			return server.BadClientState(no.Reason)
		}
		return server.Unauthorized(string(no.Status))
	case errors.As(err, &limit) && limit.RetryAfter == 0:
		return server.Unauthorized(string(store.NewUsersDisabled))
	case errors.As(err, &limit):
		return &server.Refusal{Code: http.StatusTooManyRequests, Word: "error", Location: "body", Description: "Too many new users", Retry: true}
	case errors.Is(err, store.ErrNoNode):
		return fmt.Errorf("%w: add one, or raise a capacity", err)
	}
	return err
}
