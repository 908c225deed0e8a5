package zmq

import (
	"net"
	"slices"
	"sync/atomic"
)

// An Owner has the memory of a body that a link reads from until it has written
// it: a [Message] or a [Loan].
type Owner interface {
	retain(*Link)
	release()
}

// byReference is the length of a body from which it is not copied into a queue.
const byReference = 16 << 10

// A Loan is memory that a link may read from until [Loan.Recall]: how a body is
// sent that belongs to somebody else. It may be given to several links, by one
// goroutine at a time. The zero value is ready, and so is one that was recalled.
type Loan struct {
	uses  atomic.Int32
	links []*Link // that have had it
}

func (o *Loan) retain(l *Link) {
	o.uses.Add(1)
	if !slices.Contains(o.links, l) {
		o.links = append(o.links, l)
	}
}

func (o *Loan) release() { o.uses.Add(-1) }

// Recall takes the memory back: when it returns no link reads it any more. What
// is not written then is copied.
func (o *Loan) Recall() {
	if o.uses.Load() > 0 {
		for _, l := range o.links {
			l.recall(o)
		}
	}
	o.links = nil
}

// A fifo is a queue that is neither copied when it grows nor kept when it is
// empty.
type fifo[T any] struct {
	items []T // from first on
	first int
}

func (q *fifo[T]) push(v T) *T {
	q.items = append(q.items, v)
	return &q.items[len(q.items)-1]
}

func (q *fifo[T]) all() []T { return q.items[q.first:] }

func (q *fifo[T]) pop() {
	var none T
	q.items[q.first] = none
	q.first++
	switch n := len(q.items); {
	case q.first == n && cap(q.items) > 1024:
		*q = fifo[T]{}
	case q.first == n || q.first >= 32 && 2*q.first >= n:
		q.items = q.items[:copy(q.items, q.items[q.first:])]
		clear(q.items[len(q.items):n])
		q.first = 0
	}
}

// A chunk is a part of what is to be written.
type chunk struct {
	b     []byte  // what is not written of it
	own   *buffer // its memory, or
	owner Owner   // whose it is
}

// An outbox holds encoded frames in chunks, so that a long queue is not copied
// when it grows. Long bodies are chunks of memory that is not ours.
type outbox struct {
	chunks fifo[chunk] // with something in them
	spare  *buffer     // for the next one
}

const (
	maxChunk   = 256 << 10 // bytes, unless one message is longer
	maxSpare   = 64 << 10  // bytes that a link keeps when it has nothing to write
	maxVectors = 16        // chunks that one system call writes
)

// room gives a chunk to which n bytes can be appended.
func (o *outbox) room(n int) *chunk {
	size := n
	if all := o.chunks.all(); len(all) > 0 {
		last := &all[len(all)-1]
		if last.own != nil && cap(last.b)-len(last.b) >= n {
			return last
		}
		if last.own != nil {
			size = max(n, min(2*cap(last.own.b), maxChunk))
		}
	}
	b := o.spare
	if b != nil && cap(b.b) >= n {
		o.spare = nil
	} else {
		b = newBuffer(size)
	}
	return o.chunks.push(chunk{b: b.b[:0], own: b})
}

// lend appends memory of somebody else.
func (o *outbox) lend(l *Link, b []byte, owner Owner) {
	owner.retain(l)
	o.chunks.push(chunk{b: b, owner: owner})
}

// took forgets n bytes that were written.
func (o *outbox) took(n int) {
	for n > 0 {
		c := &o.chunks.all()[0]
		k := min(n, len(c.b))
		c.b = c.b[k:]
		n -= k
		if len(c.b) == 0 {
			o.forget(c)
			o.chunks.pop()
		}
	}
}

// forget gives the memory of a chunk back.
func (o *outbox) forget(c *chunk) {
	b := c.own
	if b == nil {
		c.owner.release()
		return
	}
	if len(b.b) <= maxSpare && (o.spare == nil || len(b.b) > len(o.spare.b)) {
		b, o.spare = o.spare, b
	}
	if b != nil {
		b.free()
	}
}

// drop forgets all.
func (o *outbox) drop() {
	for i := range o.chunks.all() {
		o.forget(&o.chunks.all()[i])
	}
	if o.spare != nil {
		o.spare.free()
	}
	*o = outbox{}
}

// keep copies what belongs to owner.
func (o *outbox) keep(owner Owner) {
	all := o.chunks.all()
	for i := range all {
		if c := &all[i]; c.owner == owner {
			own := newBuffer(len(c.b))
			*c = chunk{b: own.b[:copy(own.b, c.b)], own: own}
			owner.release()
		}
	}
}

// buffers are all that there is, for a connection that writes in its own way.
func (o *outbox) buffers() net.Buffers {
	var out net.Buffers
	for _, c := range o.chunks.all() {
		out = append(out, c.b)
	}
	return out
}
