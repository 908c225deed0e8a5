package store

import (
	"context"
	"time"
)

// An Old is a record that was replaced, with what is needed to delete its data.
type Old struct {
	UID           int64
	Service       string
	Email         Email
	Node          string // "" where the node is gone: there is nothing to delete
	Generation    int64  // of a retired user it is 2^63-1
	KeysChangedAt int64
	ClientState   ClientState
	// InUse says that the user has a live record on this node with the same keys: a node that keeps data by user and key,
	// not by uid, would lose what is in use.
	InUse bool
}

// A Purge says which records are old enough.
type Purge struct {
	Service string
	Before  time.Time // records that were replaced earlier than this; zero means a day ago
	Limit   int       // how many at most; 0 means all
	Downed  bool      // also those of nodes that are downed
}

// Purged is what came of a purge.
type Purged struct {
	Removed int
	Failed  int
	Err     error // what the first failure said
}

var (
	selectOld = read(`SELECT u.uid, u.email, coalesce(n.node, ''), u.generation, u.keys_changed_at, u.client_state,
			(SELECT count(*) FROM users l WHERE l.service = u.service AND l.email = u.email AND l.replaced_at IS NULL
				AND l.nodeid = u.nodeid AND l.client_state = u.client_state AND l.keys_changed_at = u.keys_changed_at)
		FROM users u LEFT JOIN nodes n ON n.id = u.nodeid
		WHERE u.service = $1 AND u.replaced_at IS NOT NULL AND u.replaced_at < $2
			AND (n.id IS NULL OR n.downed = 0 OR $3 = 1)
		ORDER BY u.replaced_at, u.uid LIMIT $4`)
	deleteOld = write(`DELETE FROM users WHERE service = $1 AND uid = $2 AND replaced_at IS NOT NULL
		RETURNING email, coalesce(nodeid, 0), issuer`)
	postponeOld = write(`UPDATE users SET replaced_at = $3 WHERE service = $1 AND uid = $2 AND replaced_at IS NOT NULL`)
	selectRest  = read(`SELECT count(*) FROM (
		SELECT 1 AS one FROM users WHERE service = $1 AND email = $2 AND replaced_at IS NULL
		UNION ALL
		SELECT 1 FROM users WHERE service = $1 AND email = $2 AND replaced_at IS NOT NULL) AS rest`)
)

// Old lists the records that a purge would take, those first that have waited longest.
func (s *Store) Old(ctx context.Context, p Purge) ([]Old, error) {
	id, err := s.service(ctx, p.Service)
	var list []Old
	if err == nil {
		list, err = s.old(ctx, id, p, s.before(p))
	}
	return list, wrap(err, "service %q: old records", p.Service)
}

// before is the time that p means.
func (s *Store) before(p Purge) int64 {
	if p.Before.IsZero() {
		return s.cfg.Now().Add(-24 * time.Hour).UnixMilli()
	}
	return p.Before.UnixMilli()
}

func (s *Store) old(ctx context.Context, service int64, p Purge, before int64) ([]Old, error) {
	limit := p.Limit
	if limit <= 0 {
		limit = maxInt32
	}
	return collect(ctx, s.reader, func(row scanner) (Old, error) {
		o := Old{Service: p.Service}
		var email, state string
		var live int64
		err := row.Scan(&o.UID, &email, &o.Node, &o.Generation, &o.KeysChangedAt, &state, &live)
		o.Email, o.ClientState, o.InUse = Email(email), ClientState(state), live > 0
		return o, err
	}, selectOld, service, before, bit(p.Downed), limit)
}

const maxInt32 = 1<<31 - 1

// Purge deletes records that were replaced long enough ago, and gives their
// places back. Before each goes, remove deletes its data on the node; without
// success the record stays, behind those that wait. For a record whose node is
// gone remove is not called.
//
// Several may purge at once: then remove can be called twice for a record.
func (s *Store) Purge(ctx context.Context, p Purge, remove func(context.Context, Old) error) (Purged, error) {
	id, err := s.service(ctx, p.Service)
	var done Purged
	if err == nil {
		err = s.purge(ctx, id, p, remove, &done)
	}
	return done, wrap(err, "service %q: purge", p.Service)
}

func (s *Store) purge(ctx context.Context, service int64, p Purge, remove func(context.Context, Old) error, done *Purged) error {
	// A time for all: what is put off is put behind it.
	before := s.before(p)
	const page = 100
	left := p.Limit
	for {
		next := p
		if next.Limit = page; p.Limit > 0 {
			next.Limit = min(page, left)
		}
		list, err := s.old(ctx, service, next, before)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, o := range list {
			if err := s.purgeOne(ctx, service, o, before, remove, done); err != nil {
				return err
			}
		}
		if left -= len(list); p.Limit > 0 && left == 0 {
			return nil
		}
	}
}

func (s *Store) purgeOne(ctx context.Context, service int64, o Old, before int64, remove func(context.Context, Old) error, done *Purged) error {
	if o.Node != "" {
		if err := remove(ctx, o); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if done.Failed++; done.Err == nil {
				done.Err = err
			}
			return s.update(ctx, []int64{service}, func(ctx context.Context, t *tx) error {
				_, err := t.exec(ctx, postponeOld, service, o.UID, max(s.now(), before))
				return err
			})
		}
	}
	err := s.update(ctx, []int64{service}, func(ctx context.Context, t *tx) error { return t.delete(ctx, service, o.UID) })
	if err == nil {
		done.Removed++
	}
	return err
}

// delete forgets a record that was replaced, if it is still there.
func (t *tx) delete(ctx context.Context, service, uid int64) error {
	var email, issuer string
	var node, rest int64
	err := t.row(ctx, deleteOld, service, uid).Scan(&email, &node, &issuer)
	if isNone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := t.vacate(ctx, node); err != nil {
		return err
	}
	if issuer == "" {
		return nil
	}
	if err := t.row(ctx, selectRest, service, email).Scan(&rest); err != nil || rest > 0 {
		return err
	}
	_, err = t.exec(ctx, uncountIssuer, service, issuer)
	return err
}
