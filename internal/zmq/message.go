package zmq

import (
	"bytes"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"appbundle/internal/invariant"
)

// A Message is one that arrived. It belongs to who receives it. Release gives
// its memory back for the next one; without Release the garbage collector does.
type Message struct {
	Frames [][]byte // at least one
	From   string   // of a ROUTER socket: the identity of the peer
	Peer   *Peer    // of a socket: who sent it, and by which credentials; not to be changed

	uses   atomic.Int32
	size   int64 // bytes of all frames
	used   int   // of inline
	bufs   []*buffer
	frames [4][]byte // what Frames begins in
	inline [256]byte // of short frames
}

// Release ends the use of the message: neither it nor its frames may be used
// afterwards. A link that has not written its body keeps it for so long.
func (m *Message) Release() {
	left := m.uses.Add(-1)
	invariant.Check(left >= 0, "a message is released twice")
	if left > 0 {
		return
	}
	if invariant.Enabled {
		for _, f := range m.Frames {
			for len(f) > 0 {
				f = f[copy(f, poison[:]):] // in pieces: the race detector looks at each byte that is set alone
			}
		}
	}
	for i, b := range m.bufs {
		b.free()
		m.bufs[i] = nil
	}
	clear(m.Frames)
	m.Frames, m.bufs = nil, m.bufs[:0]
	m.From, m.Peer, m.size, m.used = "", nil, 0, 0
	clear(m.frames[:])
	messages.Put(m)
}

// poison is what a released message holds under the race detector.
var poison = [4096]byte(bytes.Repeat([]byte{0xdb}, 4096))

func (m *Message) retain(*Link) { m.uses.Add(1) }
func (m *Message) release()     { m.Release() }

var messages = sync.Pool{New: func() any { return new(Message) }}

func newMessage() *Message {
	m := messages.Get().(*Message)
	m.uses.Store(1)
	m.Frames = m.frames[:0]
	return m
}

// A buffer is memory of 1 KiB to 4 MiB, a power of two, that is used again.
type buffer struct {
	b     []byte
	class int
}

const (
	minClass  = 10
	maxClass  = 22
	firstRead = 64 << 10 // bytes that a length alone may take
)

var buffers [maxClass - minClass + 1]sync.Pool

// Reused is the length up to which the memory of a frame is used again, so that
// to release a message is worth a copy of it.
const Reused = 1 << maxClass

// newBuffer gives a buffer of at least n bytes; one over the largest class is not
// used again.
func newBuffer(n int) *buffer {
	class := max(bits.Len(uint(n-1)), minClass)
	if class > maxClass {
		return &buffer{b: make([]byte, n), class: class}
	}
	if b, ok := buffers[class-minClass].Get().(*buffer); ok {
		b.b = b.b[:cap(b.b)]
		return b
	}
	return &buffer{b: make([]byte, 1<<class), class: class}
}

func (b *buffer) free() {
	if b.class <= maxClass {
		buffers[b.class-minClass].Put(b)
	}
}

// reserve gives room for n bytes that are there.
func (m *Message) reserve(n int) []byte {
	if n <= len(m.inline)-m.used {
		p := m.inline[m.used : m.used+n : m.used+n]
		m.used += n
		return p
	}
	b := newBuffer(n)
	m.bufs = append(m.bufs, b)
	return b.b[:n:n]
}

// add appends a frame that is in memory of m.
func (m *Message) add(p []byte) {
	m.Frames = append(m.Frames, p)
	m.size += int64(len(p))
}

// drop forgets a message that is not whole.
func (m *Message) drop() {
	if m != nil {
		m.Release()
	}
}

// Clone is a copy of the frames that stays after Release.
func (m *Message) Clone() [][]byte {
	out := make([][]byte, len(m.Frames))
	for i, f := range m.Frames {
		out[i] = slices.Clone(f)
	}
	return out
}
