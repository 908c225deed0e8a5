package zmq

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
)

// A Pub sends each message to all peers that asked for a prefix of its first frame
// (RFC 29). It never waits: a message that does not fit into the queue of a peer is
// dropped for this peer, and counted.
type Pub struct {
	*socket
	dropped atomic.Uint64
	junk    atomic.Uint64
}

// NewPub makes a socket that is neither bound nor connected. What its peers send
// is limited to 4096 bytes a message unless Limits says otherwise.
func NewPub(cfg SocketConfig) (*Pub, error) {
	p := &Pub{}
	cfg.command = p.command
	s, err := newSocket(TypePub, cfg)
	if err != nil {
		return nil, err
	}
	p.socket = s
	s.receive = p.receive
	return p, nil
}

// Send queues a message for each peer that asked for it.
func (p *Pub) Send(frames ...[]byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	for _, m := range p.members {
		if len(frames) > 0 && !m.subs.match(frames[0]) {
			continue
		}
		switch err := m.link.TrySend(frames...); {
		case err == ErrFull:
			m.lost++
			p.dropped.Add(1)
		case len(frames) == 0:
			return err
		}
		// A link that cannot be written to any more is about to go.
	}
	return nil
}

// Dropped is how many messages were dropped, for all peers together.
func (p *Pub) Dropped() uint64 { return p.dropped.Load() }

// Junk is how many messages of peers were no subscriptions. They are ignored.
func (p *Pub) Junk() uint64 { return p.junk.Load() }

// receive reads a subscription in the form of RFC 23: a message that begins with
// 1 or 0.
func (p *Pub) receive(m *member, message *Message) {
	defer message.Release()
	f := message.Frames[0]
	if len(message.Frames) != 1 || len(f) == 0 || f[0] > 1 {
		p.junk.Add(1)
		return
	}
	p.subscription(m, f[0] == 1, f[1:])
}

// command reads one in the form of RFC 37.
func (p *Pub) command(l *Link, name string, topic []byte) error {
	if name != "SUBSCRIBE" && name != "CANCEL" {
		return nil
	}
	p.mu.Lock()
	i := slices.IndexFunc(p.members, func(m *member) bool { return m.link == l })
	var m *member
	if i >= 0 {
		m = p.members[i]
	}
	p.mu.Unlock()
	if m != nil {
		p.subscription(m, name == "SUBSCRIBE", topic)
	}
	return nil
}

func (p *Pub) subscription(m *member, add bool, topic []byte) {
	p.mu.Lock()
	var err error
	if add {
		err = m.subs.add(string(topic))
	} else {
		m.subs.remove(string(topic))
	}
	p.mu.Unlock()
	switch {
	case err != nil:
		m.link.closeFor(&ProtocolError{err.Error()})
	case add:
		p.cfg.tell(Event{Kind: Subscribed, Peer: m.link.peer, Topic: string(topic)})
	}
}

// maxTopics is how many bytes the topics of one peer may take, with 64 for each.
const maxTopics = 1 << 20

var errTopics = fmt.Errorf("subscriptions of over %d bytes", maxTopics)

// subscriptions are the prefixes that one peer asked for, each with how often.
type subscriptions struct {
	count   map[string]int
	lengths map[int]int // of the prefixes: how many there are
	size    int
}

func (s *subscriptions) add(topic string) error {
	if s.count == nil {
		s.count, s.lengths = map[string]int{}, map[int]int{}
	}
	if s.count[topic] == 0 {
		if s.size+len(topic)+64 > maxTopics {
			return errTopics
		}
		s.size += len(topic) + 64
		s.lengths[len(topic)]++
	}
	s.count[topic]++
	return nil
}

func (s *subscriptions) remove(topic string) {
	if s.count[topic] == 0 {
		return
	}
	if s.count[topic]--; s.count[topic] > 0 {
		return
	}
	delete(s.count, topic)
	s.size -= len(topic) + 64
	if s.lengths[len(topic)]--; s.lengths[len(topic)] == 0 {
		delete(s.lengths, len(topic))
	}
}

// match looks once for each length that there is.
func (s *subscriptions) match(topic []byte) bool {
	for n := range s.lengths {
		if n <= len(topic) && s.count[string(topic[:n])] > 0 {
			return true
		}
	}
	return false
}

// A Sub receives what it asked for by a prefix of the first frame (RFC 29).
type Sub struct {
	*socket
	subs subscriptions
}

// NewSub makes a socket that is neither bound nor connected, and asks for
// nothing yet.
func NewSub(cfg SocketConfig) (*Sub, error) {
	s, err := newSocket(TypeSub, cfg)
	if err != nil {
		return nil, err
	}
	sub := &Sub{socket: s}
	s.came = func(m *member) {
		for _, topic := range slices.Sorted(maps.Keys(sub.subs.count)) {
			_ = m.link.subscribe(true, topic) // a link that cannot be written to is about to go
		}
	}
	s.receive = func(m *member, message *Message) {
		s.mu.Lock()
		wanted := sub.subs.match(message.Frames[0])
		s.mu.Unlock()
		if !wanted { // sent before the peer knew
			message.Release()
			return
		}
		s.deliver(m, message)
	}
	return sub, nil
}

// Recv waits for the next message, until ctx ends. Peers take turns.
func (s *Sub) Recv(ctx context.Context) (*Message, error) { return s.inbox.take(ctx) }

// Subscribe asks all peers, also later ones, for messages that begin with topic.
// Asking twice needs two calls of Unsubscribe. All topics together may take 1 MiB,
// as those of one peer of a [Pub], with 64 bytes for each.
func (s *Sub) Subscribe(topic string) error { return s.change(topic, true) }

// Unsubscribe takes one Subscribe back.
func (s *Sub) Unsubscribe(topic string) error { return s.change(topic, false) }

func (s *Sub) change(topic string, add bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	before := s.subs.count[topic]
	if add {
		if err := s.subs.add(topic); err != nil {
			return err
		}
	} else {
		s.subs.remove(topic)
	}
	if (before == 0) == (s.subs.count[topic] == 0) {
		return nil
	}
	for _, m := range s.members {
		_ = m.link.subscribe(add, topic) // a link that cannot be written to is about to go
	}
	return nil
}

// subscribe tells the peer in the form that it knows: a message up to ZMTP 3.0, a
// command since 3.1. It passes the mark, for what it asks is bounded by itself.
func (l *Link) subscribe(add bool, topic string) error {
	if l.peer.Minor >= 1 {
		name := "CANCEL"
		if add {
			name = "SUBSCRIBE"
		}
		return l.sendCommand(name, []byte(topic))
	}
	first := byte(0)
	if add {
		first = 1
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.work.Signal()
	return l.enqueue([][]byte{append([]byte{first}, topic...)}, nil, true)
}
