package store

import (
	"context"
	"time"
)

var (
	retireUser = write(`UPDATE users SET generation = 9223372036854775807, replaced_at = coalesce(replaced_at, $2) WHERE uid = $1`)
	// The condition on the generation makes a second call find nothing.
	retireIssuer = write(`UPDATE users SET generation = 9223372036854775807, replaced_at = coalesce(replaced_at, $2)
		WHERE issuer = $1 AND generation < 9223372036854775807
		AND (replaced_at IS NULL OR NOT EXISTS (SELECT 1 FROM users l
			WHERE l.service = users.service AND l.email = users.email AND l.replaced_at IS NULL))`)
	countUsers = read(`SELECT count(*) FROM users u JOIN services s ON s.id = u.service
		WHERE u.replaced_at IS NULL AND u.created_at <= $2 AND ($1 = '' OR s.service = $1)`)
)

// AllocateUser gives a user a node without any claims, or another one: node is an
// address, or "" for the one with the smallest number of users. A user who is
// there already, or anywhere where node is "", stays.
func (s *Store) AllocateUser(ctx context.Context, service string, email Email, node string) (user User, err error) {
	err = checkLength("the identity", string(email), 1, 255)
	var id int64
	if err == nil {
		id, err = s.service(ctx, service)
	}
	if err == nil {
		err = s.update(ctx, []int64{id}, func(ctx context.Context, t *tx) error {
			user, err = t.allocateUser(ctx, id, Request{Service: service, Email: email}, node)
			return err
		})
	}
	return user, wrap(err, "service %q: allocate a user", service)
}

func (t *tx) allocateUser(ctx context.Context, service int64, req Request, node string) (User, error) {
	user, err := current(ctx, t, service, req.Service, req.Email)
	if err != nil {
		return User{}, err
	}
	if user == nil {
		user = &record{User: User{Service: req.Service, Email: req.Email, New: true}}
	}
	switch {
	case user.Generation == retired:
		return User{}, &Refusal{InvalidGeneration, "the user is retired"}
	case user.placed() && (node == "" || node == user.Node):
		return user.User, nil
	}
	next := *user
	if node == "" {
		next.node, next.Node, err = t.allocate(ctx, service)
		if err != nil {
			return User{}, err
		}
		return t.succeed(ctx, service, user, next)
	}
	to, err := scanNode(t.row(ctx, selectNode, service, node))
	if isNone(err) {
		return User{}, ErrUnknownNode
	}
	if err != nil {
		return User{}, err
	}
	next.node, next.Node = to.id, to.Address
	if err := t.occupy(ctx, to.id); err != nil {
		return User{}, err
	}
	return t.succeed(ctx, service, user, next)
}

// CountUsers counts the users of a service who have a record that was made by
// then; "" is all services.
func (s *Store) CountUsers(ctx context.Context, service string, then time.Time) (int64, error) {
	var n int64
	err := s.reader.row(ctx, countUsers, service, then.UnixMilli()).Scan(&n)
	return n, wrap(err, "count users")
}

// Retire ends a user in all services: the account was deleted. No claim is taken
// from then on, until the records are purged. It gives the number of services
// that knew the user.
func (s *Store) Retire(ctx context.Context, email Email) (int64, error) {
	n, err := s.eachService(ctx, email, func(ctx context.Context, t *tx, user *record) error {
		_, err := t.exec(ctx, retireUser, user.UID, s.now())
		return err
	})
	return n, wrap(err, "retire a user")
}

// RetireIssuer retires all users whom an issuer brought, in all services, and gives
// their number.
func (s *Store) RetireIssuer(ctx context.Context, issuer string) (users int64, err error) {
	services, err := s.all(ctx)
	if err == nil && issuer != "" {
		err = s.update(ctx, services, func(ctx context.Context, t *tx) error {
			users, err = t.exec(ctx, retireIssuer, issuer, s.now())
			return err
		})
	}
	return users, wrap(err, "retire the users of issuer %q", issuer)
}

// ChangePassword says that credentials are new since generation: claims with
// older ones are refused from now on, and the first with the new ones count as a
// change. It gives the number of services that know the user.
func (s *Store) ChangePassword(ctx context.Context, email Email, generation int64) (int64, error) {
	n, err := s.eachService(ctx, email, func(ctx context.Context, t *tx, user *record) error {
		if user.Generation >= generation-1 {
			return nil
		}
		_, err := t.exec(ctx, updateUser, user.UID, generation-1, user.KeysChangedAt)
		return err
	})
	return n, wrap(err, "change of a password")
}

// eachService calls f with what is known of a user in each service, in one
// transaction.
func (s *Store) eachService(ctx context.Context, email Email, f func(context.Context, *tx, *record) error) (int64, error) {
	services, err := s.all(ctx)
	if err != nil {
		return 0, err
	}
	var n int64
	err = s.update(ctx, services, func(ctx context.Context, t *tx) error {
		n = 0
		for _, id := range services {
			user, err := current(ctx, t, id, "", email)
			if err != nil {
				return err
			}
			if user == nil {
				continue
			}
			if err := f(ctx, t, user); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}
