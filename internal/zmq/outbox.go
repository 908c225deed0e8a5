package zmq

import "net"

// An outbox holds encoded frames in chunks, so that a long queue is neither
// copied when it grows nor kept when it has been written.
type outbox struct {
	chunks []*buffer // with something in them, in order
	spare  *buffer   // for the next one
}

const (
	maxChunk = 1 << maxClass // bytes, unless one message is longer
	maxSpare = 64 << 10      // bytes that a link keeps when it has nothing to write
)

// room gives a chunk to which n bytes can be appended.
func (o *outbox) room(n int) *buffer {
	size := n
	if k := len(o.chunks); k > 0 {
		last := o.chunks[k-1]
		if cap(last.b)-len(last.b) >= n {
			return last
		}
		size = max(n, min(2*cap(last.b), maxChunk))
	}
	b := o.spare
	if b != nil && cap(b.b) >= n {
		o.spare = nil
	} else {
		b = newBuffer(size)
	}
	b.b = b.b[:0]
	o.chunks = append(o.chunks, b)
	return b
}

// recycle takes chunks back that were written.
func (o *outbox) recycle(chunks []*buffer) {
	for i, b := range chunks {
		chunks[i] = nil
		if cap(b.b) <= maxSpare && (o.spare == nil || cap(b.b) > cap(o.spare.b)) {
			b, o.spare = o.spare, b
		}
		if b != nil {
			b.free()
		}
	}
}

// writeChunks writes all of them, in one system call where that is possible, and
// gives how many bytes went.
func writeChunks(nc net.Conn, chunks []*buffer) (int64, error) {
	if len(chunks) == 1 {
		n, err := nc.Write(chunks[0].b)
		return int64(n), err
	}
	all := make(net.Buffers, len(chunks))
	for i, b := range chunks {
		all[i] = b.b
	}
	return all.WriteTo(nc)
}
