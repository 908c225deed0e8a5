package zmq

import (
	"context"
	"sync"
)

// An inbox holds what arrived for a socket until Recv takes it: a queue for each
// peer, from which Recv takes in turn, so that a busy peer does not hide a quiet
// one. A peer whose queue is full is not read.
type inbox struct {
	mu     sync.Mutex
	ready  []*queue      // those that have something, the next first
	more   chan struct{} // closed when there is something; nil when nobody waits
	closed bool
}

// A queue is one peer's part of an inbox.
type queue struct {
	limit    Queue
	messages []*Message
	bytes    int
	room     chan struct{} // closed when there is room; nil when the reader does not wait
}

// put waits until q has room, or stop is closed. What comes to a closed inbox is
// forgotten.
func (b *inbox) put(q *queue, m *Message, stop <-chan struct{}) {
	b.mu.Lock()
	for !b.closed && q.limit.full(len(q.messages), q.bytes+int(m.size)) {
		room := make(chan struct{})
		q.room = room
		b.mu.Unlock()
		select {
		case <-room:
		case <-stop:
			m.Release()
			return
		}
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	if b.closed {
		m.Release()
		return
	}
	q.messages = append(q.messages, m)
	q.bytes += int(m.size)
	if len(q.messages) == 1 {
		b.ready = append(b.ready, q)
	}
	if b.more != nil {
		close(b.more)
		b.more = nil
	}
}

// take waits for a message until ctx ends.
func (b *inbox) take(ctx context.Context) (*Message, error) {
	for {
		b.mu.Lock()
		if b.closed {
			b.mu.Unlock()
			return nil, ErrClosed
		}
		if len(b.ready) > 0 {
			defer b.mu.Unlock()
			return b.next(), nil
		}
		if b.more == nil {
			b.more = make(chan struct{})
		}
		more := b.more
		b.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (b *inbox) next() *Message {
	q := b.ready[0]
	m := q.messages[0]
	q.messages[0] = nil
	q.messages = q.messages[1:]
	q.bytes -= int(m.size)
	b.ready[0] = nil
	b.ready = b.ready[1:]
	if len(q.messages) > 0 {
		b.ready = append(b.ready, q)
	}
	q.wake()
	return m
}

func (q *queue) wake() {
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
}

// close forgets what is there, and lets everybody go who waits.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, q := range b.ready {
		for _, m := range q.messages {
			m.Release()
		}
		q.messages = nil
		q.wake()
	}
	b.ready = nil
	if b.more != nil {
		close(b.more)
		b.more = nil
	}
}
