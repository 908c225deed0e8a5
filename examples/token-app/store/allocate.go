package store

import (
	"context"
	"time"
)

var (
	// The node with the smallest number of users, and of several the oldest.
	takeNode = write(`UPDATE nodes SET current_load = current_load + 1, available = available - 1
		WHERE id = (SELECT id FROM nodes
			WHERE service = $1 AND available > 0 AND capacity > current_load AND downed = 0 AND backoff = 0
			ORDER BY current_load, id LIMIT 1)
		RETURNING id, node`)
	openNodes = write(`UPDATE nodes SET available = CASE
			WHEN (capacity * $2 + 99) / 100 < capacity - current_load THEN (capacity * $2 + 99) / 100
			ELSE capacity - current_load END
		WHERE service = $1 AND available = 0 AND capacity > current_load AND downed = 0 AND backoff = 0`)
	occupyNode = write(`UPDATE nodes SET current_load = current_load + 1,
			available = CASE WHEN available > 0 THEN available - 1 ELSE 0 END
		WHERE id = $1`)
	vacateNode = write(`UPDATE nodes SET current_load = current_load - 1,
			available = CASE WHEN available < capacity - current_load + 1 THEN available + 1 ELSE available END
		WHERE id = $1 AND current_load > 0`)
)

// allocate takes a place on the node with the smallest number of users. When all
// nodes have given out what was open, each opens another part of what it has.
func (t *tx) allocate(ctx context.Context, service int64) (id int64, node string, err error) {
	err = t.row(ctx, takeNode, service).Scan(&id, &node)
	if !isNone(err) {
		return id, node, err
	}
	opened, err := t.exec(ctx, openNodes, service, t.s.cfg.Release)
	if err != nil {
		return 0, "", err
	}
	if opened == 0 {
		return 0, "", ErrNoNode
	}
	err = t.row(ctx, takeNode, service).Scan(&id, &node)
	return id, node, err
}

// occupy takes a place on a node for one more record of a user who is there, also
// where there is no room: the user does not move.
func (t *tx) occupy(ctx context.Context, node int64) error {
	_, err := t.exec(ctx, occupyNode, node)
	return err
}

// vacate gives back the place of a record.
func (t *tx) vacate(ctx context.Context, node int64) error {
	_, err := t.exec(ctx, vacateNode, node)
	return err
}

var (
	selectIssuer = read(`SELECT users, next_at FROM issuers WHERE service = $1 AND issuer = $2`)
	countIssuer  = write(`INSERT INTO issuers (service, issuer, users, next_at) VALUES ($1, $2, 1, $3)
		ON CONFLICT (service, issuer) DO UPDATE SET users = issuers.users + 1, next_at = excluded.next_at`)
	uncountIssuer = write(`UPDATE issuers SET users = users - 1 WHERE service = $1 AND issuer = $2 AND users > 0`)
)

// admit asks whether an issuer may bring one more user. The function counts that
// user.
//
// The rate is a bucket in one number: the time until which the users that came
// take up the issuer's share. Each takes Per/Rate, and Per of it may lie ahead.
func (t *tx) admit(ctx context.Context, service int64, req Request) (func() error, error) {
	if req.Issuer == "" {
		return func() error { return nil }, nil
	}
	var users, next int64
	if err := t.row(ctx, selectIssuer, service, req.Issuer).Scan(&users, &next); err != nil && !isNone(err) {
		return nil, err
	}
	if req.Limits.Cap > 0 && users >= req.Limits.Cap {
		return nil, &LimitError{Issuer: req.Issuer}
	}
	now := t.s.cfg.Now().UnixMicro()
	next = max(next, now)
	if req.Limits.Rate > 0 {
		per := req.Limits.Per
		if per == 0 {
			per = time.Hour
		}
		next += max(per.Microseconds()/req.Limits.Rate, 1)
		if early := next - now - per.Microseconds(); early > 0 {
			return nil, &LimitError{req.Issuer, time.Duration(early) * time.Microsecond}
		}
	}
	return func() error {
		_, err := t.exec(ctx, countIssuer, service, req.Issuer, next)
		return err
	}, nil
}
