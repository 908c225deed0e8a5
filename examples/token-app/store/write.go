package store

import (
	"context"
	"sync/atomic"
)

// maxBatch is how many callers share a transaction.
const maxBatch = 128

// A pending is a caller who waits for the writer.
type pending struct {
	service int64
	req     Request
	left    atomic.Bool // the caller does not wait any more
	done    chan struct{}
	user    User // this and err are there when done is closed
	err     error
}

// write exchanges in the next transaction. The first caller makes one for all
// who have come by then; the others wait for what it finds, and one of those
// who came later makes the next.
func (s *Store) write(ctx context.Context, service int64, req Request) (User, error) {
	if err := ctx.Err(); err != nil {
		return User{}, err // with several ways to go on, select takes any
	}
	p := &pending{service: service, req: req, done: make(chan struct{})}
	select {
	case s.queue <- p:
	case <-ctx.Done():
		return User{}, ctx.Err()
	}
	for {
		select {
		case <-p.done:
			return p.user, p.err
		case <-ctx.Done():
			p.left.Store(true)
			return User{}, ctx.Err()
		case s.lead <- struct{}{}:
			s.batch(ctx)
			<-s.lead
		}
	}
}

// batch writes for those who wait. Its time is the store's own: the end of one
// caller is not the end of the others.
func (s *Store) batch(ctx context.Context) {
	var list []*pending
	var services []int64
	for len(list) < maxBatch {
		select {
		case p := <-s.queue:
			if !p.left.Load() {
				list = append(list, p)
				services = append(services, p.service)
			}
			continue
		default:
		}
		break
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeout)
	defer cancel()
	err := s.exchangeAll(ctx, services, list)
	for _, p := range list {
		if err != nil {
			// One of them may be the reason, or a connection that is gone. Whether the transaction
			// was committed is not known; who asks again is told what holds.
			if alone := s.exchangeAll(ctx, []int64{p.service}, []*pending{p}); alone != nil {
				p.user, p.err = User{}, alone
			}
		}
		close(p.done)
	}
}

// exchangeAll exchanges in one transaction. Its error says that nobody has an
// answer.
func (s *Store) exchangeAll(ctx context.Context, services []int64, list []*pending) error {
	if len(list) == 0 {
		return nil
	}
	return s.transaction(ctx, services, func(ctx context.Context, t *tx) error {
		for _, p := range list {
			p.user, p.err = t.exchange(ctx, p.service, p.req)
			if p.err != nil && !answered(p.err) {
				return p.err
			}
		}
		return nil
	})
}
