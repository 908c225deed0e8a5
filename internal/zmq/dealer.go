package zmq

import (
	"context"
	"errors"
	"fmt"
)

// A Dealer sends to its peers in turn, each message to one of them, and receives
// from all (RFC 28, "The DEALER Socket Type"). To a REP peer it writes the empty delimiter
// frame itself.
type Dealer struct {
	*socket
	turn int
}

// NewDealer makes a socket that is neither bound nor connected.
func NewDealer(cfg SocketConfig) (*Dealer, error) {
	s, err := newSocket(TypeDealer, cfg)
	if err != nil {
		return nil, err
	}
	s.receive = s.deliver
	return &Dealer{socket: s}, nil
}

// Recv waits for the next message, until ctx ends. Peers take turns.
func (d *Dealer) Recv(ctx context.Context) (*Message, error) { return d.inbox.take(ctx) }

// TrySend queues a message for the next peer that has room. It is ErrNoPeer or
// ErrFull when it would have to wait.
func (d *Dealer) TrySend(frames ...[]byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tryLocked(frames)
}

func (d *Dealer) tryLocked(frames [][]byte) error {
	if d.closed {
		return ErrClosed
	}
	result := ErrNoPeer
	for range d.members {
		d.turn++
		err := d.members[d.turn%len(d.members)].link.TrySend(frames...)
		switch {
		case err == nil || len(frames) == 0:
			return err
		case errors.Is(err, ErrFull):
			result = ErrFull
		}
		// A link that cannot be written to any more is about to go.
	}
	return result
}

// Send is TrySend that waits for a peer with room, until ctx ends.
func (d *Dealer) Send(ctx context.Context, frames ...[]byte) error {
	for {
		d.mu.Lock()
		err := d.tryLocked(frames)
		if err != ErrFull && err != ErrNoPeer {
			d.mu.Unlock()
			return err
		}
		changes := d.changes()
		d.mu.Unlock()
		select {
		case <-changes:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
	}
}
