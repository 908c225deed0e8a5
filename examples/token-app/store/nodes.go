package store

import (
	"context"
	"errors"
)

// A Node is a place for users of a service.
type Node struct {
	Service   string
	Address   string // as it is in tokens and in the addresses that clients use
	Capacity  int64  // how many records it takes
	Available int64  // how many of those it takes before it opens more
	Load      int64  // how many records it has, those included that are replaced and not yet purged
	Downed    bool   // it takes no new users, and no data are deleted there
	Backoff   bool   // it takes no new users
}

// NodeSettings are what an operator says of a node. What is nil stays as it is.
type NodeSettings struct {
	Capacity  *int64
	Available *int64
	Downed    *bool
	Backoff   *bool
}

const nodeFields = `n.id, s.service, n.node, n.capacity, n.available, n.current_load, n.downed, n.backoff`

var (
	selectNodes = read(`SELECT ` + nodeFields + ` FROM nodes n JOIN services s ON s.id = n.service
		WHERE $1 = '' OR s.service = $1 ORDER BY s.service, n.id`)
	selectNode = read(`SELECT ` + nodeFields + ` FROM nodes n JOIN services s ON s.id = n.service
		WHERE n.service = $1 AND n.node = $2`)
	insertNode = write(`INSERT INTO nodes (service, node, capacity, available, current_load, downed, backoff)
		VALUES ($1, $2, $3, $4, 0, $5, $6) RETURNING id`)
	updateNode = write(`UPDATE nodes SET capacity = $2, available = $3, downed = $4, backoff = $5 WHERE id = $1`)
	deleteNode = write(`DELETE FROM nodes WHERE id = $1`)
	// What is replaced already keeps its time: its purge does not start anew.
	unassignNode = write(`UPDATE users SET replaced_at = $2 WHERE nodeid = $1 AND replaced_at IS NULL`)
	leaveNode    = write(`UPDATE users SET nodeid = NULL WHERE nodeid = $1`)
)

// A nodeRecord is a node with its number.
type nodeRecord struct {
	Node
	id int64
}

func scanNode(row scanner) (n nodeRecord, err error) {
	var downed, backoff int64
	err = row.Scan(&n.id, &n.Service, &n.Address, &n.Capacity, &n.Available, &n.Load, &downed, &backoff)
	n.Downed, n.Backoff = downed != 0, backoff != 0
	return n, err
}

// Nodes lists the nodes of a service, the oldest first; "" is all services.
func (s *Store) Nodes(ctx context.Context, service string) ([]Node, error) {
	list, err := collect(ctx, s.reader, func(row scanner) (Node, error) {
		n, err := scanNode(row)
		return n.Node, err
	}, selectNodes, service)
	return list, wrap(err, "nodes")
}

// AddNode adds a node without users. Its capacity has to be said; without a word
// about it a part is available at first ([Config.Release]).
func (s *Store) AddNode(ctx context.Context, service, address string, settings NodeSettings) error {
	err := s.changeNode(ctx, service, address, func(ctx context.Context, t *tx, id int64, n nodeRecord) error {
		switch {
		case n.id != 0:
			return errors.New("it is there already")
		case settings.Capacity == nil:
			return errors.New("its capacity is missing")
		}
		if err := checkLength("the address", address, 1, 255); err != nil {
			return err
		}
		n.Available = (*settings.Capacity*int64(s.cfg.Release) + 99) / 100
		if err := n.set(settings); err != nil {
			return err
		}
		return t.row(ctx, insertNode, id, address, n.Capacity, n.Available, bit(n.Downed), bit(n.Backoff)).Scan(&n.id)
	})
	return wrap(err, "service %q: add node %q", service, address)
}

// UpdateNode changes what is said of a node.
func (s *Store) UpdateNode(ctx context.Context, service, address string, settings NodeSettings) error {
	err := s.changeNode(ctx, service, address, func(ctx context.Context, t *tx, _ int64, n nodeRecord) error {
		if n.id == 0 {
			return ErrUnknownNode
		}
		if err := n.set(settings); err != nil {
			return err
		}
		_, err := t.exec(ctx, updateNode, n.id, n.Capacity, n.Available, bit(n.Downed), bit(n.Backoff))
		return err
	})
	return wrap(err, "service %q: update node %q", service, address)
}

// maxCapacity is more than any node has; sums and percentages of it fit.
const maxCapacity = 1 << 53

// set takes the settings over. More than there is room for is not available.
func (n *Node) set(settings NodeSettings) error {
	if c := settings.Capacity; c != nil {
		if *c < 0 || *c > maxCapacity {
			return errors.New("the capacity has to be between 0 and 2^53")
		}
		n.Capacity = *c
	}
	if a := settings.Available; a != nil {
		if *a < 0 {
			return errors.New("what is available cannot be negative")
		}
		n.Available = *a
	}
	if settings.Downed != nil {
		n.Downed = *settings.Downed
	}
	if settings.Backoff != nil {
		n.Backoff = *settings.Backoff
	}
	n.Available = max(min(n.Available, n.Capacity-n.Load), 0)
	return nil
}

// Unassign takes all users from a node. Each gets a node, this one perhaps, when
// the next claims come; the old data are purged. It gives the number of users.
func (s *Store) Unassign(ctx context.Context, service, address string) (users int64, err error) {
	err = s.changeNode(ctx, service, address, func(ctx context.Context, t *tx, _ int64, n nodeRecord) error {
		if n.id == 0 {
			return ErrUnknownNode
		}
		users, err = t.exec(ctx, unassignNode, n.id, s.now())
		return err
	})
	return users, wrap(err, "service %q: unassign node %q", service, address)
}

// RemoveNode forgets a node, and takes all users from it. Their old data cannot
// be deleted any more: a node that still answers is better unassigned first, and removed when its records are
// purged. It gives the number of users.
func (s *Store) RemoveNode(ctx context.Context, service, address string) (users int64, err error) {
	err = s.changeNode(ctx, service, address, func(ctx context.Context, t *tx, _ int64, n nodeRecord) error {
		if n.id == 0 {
			return ErrUnknownNode
		}
		if users, err = t.exec(ctx, unassignNode, n.id, s.now()); err != nil {
			return err
		}
		if _, err := t.exec(ctx, leaveNode, n.id); err != nil {
			return err
		}
		_, err := t.exec(ctx, deleteNode, n.id)
		return err
	})
	return users, wrap(err, "service %q: remove node %q", service, address)
}

// changeNode calls f with the node as it is while nobody else changes the
// service; its number is 0 where there is none.
func (s *Store) changeNode(ctx context.Context, service, address string, f func(context.Context, *tx, int64, nodeRecord) error) error {
	id, err := s.service(ctx, service)
	if err != nil {
		return err
	}
	return s.update(ctx, []int64{id}, func(ctx context.Context, t *tx) error {
		n, err := scanNode(t.row(ctx, selectNode, id, address))
		if err != nil && !isNone(err) {
			return err
		}
		return f(ctx, t, id, n)
	})
}

// A Drift is a load that was not what the records say.
type Drift struct {
	Service string
	Node    string
	Was, Is int64
}

var (
	selectDrift = read(`SELECT n.id, s.service, n.node, n.current_load,
			(SELECT count(*) FROM users u WHERE u.nodeid = n.id)
		FROM nodes n JOIN services s ON s.id = n.service ORDER BY s.service, n.id`)
	setLoad = write(`UPDATE nodes SET current_load = $2,
			available = CASE WHEN capacity <= $2 THEN 0 WHEN available > capacity - $2 THEN capacity - $2 ELSE available END
		WHERE id = $1`)
	clearIssuers = write(`UPDATE issuers SET users = 0`)
	countIssuers = write(`INSERT INTO issuers (service, issuer, users, next_at)
		SELECT service, issuer, count(DISTINCT email), 0 FROM users WHERE issuer <> '' GROUP BY service, issuer
		ON CONFLICT (service, issuer) DO UPDATE SET users = excluded.users`)
)

// Recount counts the records of every node and the users of every issuer anew,
// sets what was wrong, and gives the loads that were. While nothing but a Store
// changes the database, there are none.
func (s *Store) Recount(ctx context.Context) ([]Drift, error) {
	var drifts []Drift
	services, err := s.all(ctx)
	if err == nil {
		err = s.update(ctx, services, func(ctx context.Context, t *tx) error {
			drifts, err = t.recount(ctx)
			return err
		})
	}
	return drifts, wrap(err, "recount")
}

func (t *tx) recount(ctx context.Context) ([]Drift, error) {
	type load struct {
		Drift
		id int64
	}
	loads, err := collect(ctx, t, func(row scanner) (l load, err error) {
		err = row.Scan(&l.id, &l.Service, &l.Node, &l.Was, &l.Is)
		return l, err
	}, selectDrift)
	if err != nil {
		return nil, err
	}
	var drifts []Drift
	for _, l := range loads {
		if l.Was == l.Is {
			continue
		}
		if _, err := t.exec(ctx, setLoad, l.id, l.Is); err != nil {
			return nil, err
		}
		drifts = append(drifts, l.Drift)
	}
	if _, err := t.exec(ctx, clearIssuers); err != nil {
		return nil, err
	}
	_, err = t.exec(ctx, countIssuers)
	return drifts, err
}
