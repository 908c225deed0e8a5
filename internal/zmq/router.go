package zmq

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// A Router sends to peers by their identities, and says of each message from
// whom it is (RFC 28, "The ROUTER Socket Type"). Where the field writes the identity as the
// first frame, here it is an argument and [Message.From].
//
// An unknown identity is an error. A second peer with the identity of a live one
// is refused; one that does not answer a PING within a second gives it up. A peer
// without identity gets one of five bytes, of which the first is zero.
type Router struct {
	*socket
	names map[string]*member // a reservation has no link
	next  uint32
}

// takeover is how long a peer has to answer when another claims its identity.
const takeover = time.Second

// NewRouter makes a socket that is neither bound nor connected.
func NewRouter(cfg SocketConfig) (*Router, error) {
	r := &Router{names: map[string]*member{}, next: rand.Uint32()}
	cfg.claim = r.claim
	s, err := newSocket(TypeRouter, cfg)
	if err != nil {
		return nil, err
	}
	r.socket = s
	s.came, s.went = r.came, r.went
	s.receive = func(m *member, message *Message) {
		message.From = m.id
		s.deliver(m, message)
	}
	return r, nil
}

// claim reserves the identity that a peer asks for.
func (r *Router) claim(p *Peer) (release func(), err error) {
	if p.Identity == "" {
		return func() {}, nil
	}
	reserved := &member{id: p.Identity}
	for {
		r.mu.Lock()
		holder := r.names[p.Identity]
		if holder == nil {
			r.names[p.Identity] = reserved
			r.mu.Unlock()
			return func() { r.forget(reserved) }, nil
		}
		r.mu.Unlock()
		taken := &AdmissionError{fmt.Errorf("identity %q is taken", p.Identity)}
		if holder.link == nil {
			return nil, taken
		}
		ctx, cancel := context.WithTimeout(r.base(), takeover)
		alive := holder.link.Alive(ctx)
		cancel()
		if alive || r.base().Err() != nil {
			return nil, taken
		}
		holder.link.closeFor(errors.New("another peer has its identity, and it does not answer"))
		select {
		case <-holder.gone:
		case <-r.ended:
			return nil, taken
		}
	}
}

func (r *Router) forget(m *member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.names[m.id] == m {
		delete(r.names, m.id)
	}
}

func (r *Router) came(m *member) {
	for m.id == "" || m.id[0] == 0 && r.names[m.id] != nil {
		m.id = string(binary.BigEndian.AppendUint32([]byte{0}, r.next))
		r.next++
	}
	r.names[m.id] = m
}

func (r *Router) went(m *member) {
	if r.names[m.id] == m {
		delete(r.names, m.id)
	}
}

// Recv waits for the next message, until ctx ends. Peers take turns.
func (r *Router) Recv(ctx context.Context) (*Message, error) { return r.inbox.take(ctx) }

// Send queues a message for the peer with this identity, and waits for room in
// its queue until ctx ends. The error wraps ErrUnknownPeer when there is no such
// peer, and ErrFull when ctx ended first.
func (r *Router) Send(ctx context.Context, to string, frames ...[]byte) error {
	l, err := r.link(to)
	if err != nil {
		return err
	}
	return r.explain(to, l.Send(ctx, frames...))
}

// TrySend is Send that does not wait: ErrFull says that the queue is full.
func (r *Router) TrySend(to string, frames ...[]byte) error {
	l, err := r.link(to)
	if err != nil {
		return err
	}
	return r.explain(to, l.TrySend(frames...))
}

func (r *Router) link(to string) (*Link, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	if m := r.names[to]; m != nil && m.link != nil {
		return m.link, nil
	}
	return nil, fmt.Errorf("%w: %q", ErrUnknownPeer, to)
}

// explain says that the peer has gone meanwhile.
func (r *Router) explain(to string, err error) error {
	if err == nil || errors.Is(err, ErrFull) {
		return err
	}
	if r.base().Err() != nil {
		return ErrClosed
	}
	return fmt.Errorf("%w any more: %q: %w", ErrUnknownPeer, to, err)
}
