package zmq

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Link is one connection after its handshake. Its reader is the goroutine that
// calls Serve, which must be called for anything to be written or read. All other
// methods may be called by several goroutines at once.
//
// A write that fails does not end the link: what the peer wrote before it died is
// still read, up to the end or the error of the connection. Send gives the error
// of the write from then on.
type Link struct {
	nc      net.Conn
	cfg     *Config
	peer    Peer
	session *session  // nil with NULL
	release func()    // of what was claimed in the handshake
	from    io.Reader // the connection
	in      *bufio.Reader
	sparing bool             // the last message was long: little is read ahead of the next one
	longest int              // frame that has come
	scratch [maxCommand]byte // a command, or what may be one

	reads   atomic.Uint64 // calls of Read that gave something
	turn    atomic.Uint64 // twice the number of the reader's turn, and 1 while it is in a handler: it does not see what has arrived
	waiting atomic.Bool   // the reader waits for bytes, and has handled all whole messages
	pong    chan struct{} // holds one PONG that came
	done    chan struct{} // closed by Close
	closing sync.Once

	handle func(*Message)
	quiet  func() bool  // nil without ServeQuiet
	turns  chan error   // what each turn ended with
	peek   *nowait      // of the reader; nil where nothing can be asked
	next   func(uint64) // begins another turn

	mu      sync.Mutex
	work    sync.Cond  // for the writer: there is something, or it shall end
	out     outbox     // what is not written
	now     *nowait    // nil where a write cannot but wait
	active  bool       // somebody writes
	calling bool       // in a system call, which reads what is in out
	stuck   bool       // the kernel takes no more; the writer is to wait for it
	wanted  []*Loan    // that are to be recalled after the call
	calm    sync.Cond  // they were
	marks   fifo[mark] // the messages that are not written whole
	gone    int64      // bytes that were written, since the link is there
	size    int        // bytes in out
	answers int        // bytes of PONGs that were queued after
	since   int64      // this byte
	room    chan struct{}
	flushed chan struct{}
	hungry  bool      // somebody was told ErrFull
	last    bool      // after out nothing comes any more
	ended   bool      // the writer has
	closed  bool      // by us
	end     time.Time // what closeBy was given
	err     error     // of writing
	cause   error     // why we closed the link
	unsent  int
	unseen  int // of unsent
}

// A mark is where a message begins and ends in all that a link writes.
type mark struct{ start, end int64 }

const (
	readBuffer = 64 << 10 // bytes of the reader
	// sendBuffer is what the kernel keeps of what is written to a Unix socket, twice
	// its default and what it grants everybody: two bodies of 100 KB are not enough
	// for two processes to work at once.
	sendBuffer = 208 << 10
	// readAhead is how much is read ahead where a long body may follow: the heads
	// of its frames, so that nearly all of it is read to where it stays.
	readAhead = 256
	// maxAnswers is how many bytes of PONGs may wait for a peer that does not read.
	maxAnswers = 16 << 10
)

func newLink(nc net.Conn, cfg *Config, peer Peer, s *session, release func()) *Link {
	l := &Link{
		nc: nc, cfg: cfg, peer: peer, session: s, release: release,
		pong: make(chan struct{}, 1), done: make(chan struct{}),
	}
	l.work.L, l.calm.L = &l.mu, &l.mu
	if u, ok := nc.(*net.UnixConn); ok {
		_ = u.SetWriteBuffer(sendBuffer)
	}
	l.from = nc
	if l.now = newNowait(nc); l.now != nil {
		l.now.push, l.now.drain = l.pushed, l.drained
		l.peek = newNowait(nc)
		l.from = l.peek
	}
	l.in = bufio.NewReaderSize(reader{counter{l}}, readBuffer)
	return l
}

// A counter notes that a connection gave something: with that a heartbeat sees
// life without a clock being read for each message. It is read from only when
// the buffer before it is empty.
type counter struct{ l *Link }

func (c counter) Read(p []byte) (int, error) {
	c.l.waiting.Store(true)
	n, err := c.l.from.Read(p)
	if n > 0 {
		c.l.waiting.Store(false)
		c.l.reads.Add(1)
	}
	return n, err
}

// A reader fills the buffer of a link.
type reader struct{ counter }

func (r reader) Read(p []byte) (int, error) {
	if r.l.sparing {
		p = p[:min(len(p), readAhead)]
	}
	return r.counter.Read(p)
}

// readFull is [io.ReadFull] for a part of a frame. A long one does not pass the
// buffer.
func (l *Link) readFull(p []byte) error {
	if len(p) >= byReference {
		n, err := io.ReadFull(l.in, p[:min(l.in.Buffered(), len(p))])
		if err != nil {
			return err
		}
		if p = p[n:]; len(p) >= readAhead {
			_, err = io.ReadFull(counter{l}, p)
			return err
		}
	}
	_, err := io.ReadFull(l.in, p)
	return err
}

// readLong reads n bytes. Over 64 KiB it takes memory as they come, at most twice
// of what is there, or as much as the peer has filled before.
func (l *Link) readLong(n int) (*buffer, error) {
	b := newBuffer(min(n, max(firstRead, l.longest)))
	have := 0
	for {
		want := min(n, len(b.b))
		if err := l.readFull(b.b[have:want]); err != nil {
			b.free()
			return nil, err
		}
		have = want
		if have == n {
			l.longest = max(l.longest, n)
			return b, nil
		}
		longer := newBuffer(min(n, 2*have))
		copy(longer.b, b.b[:have])
		b.free()
		b = longer
	}
}

// Settled reports whether all that has arrived by now was handled, also the end
// of the connection.
func (l *Link) Settled() bool {
	return l.Ended() || l.waiting.Load() && !newNowait(l.nc).arrived()
}

// Ended reports whether the link is over: it was closed, or the peer has ended
// it. Serve returns soon, or has returned.
func (l *Link) Ended() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// Peer is who is at the other end.
func (l *Link) Peer() Peer { return l.peer }

// TrySend queues one message of the given frames, or is ErrFull. The frames are
// copied.
func (l *Link) TrySend(frames ...[]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.work.Signal()
	return l.enqueue(frames, nil, false)
}

// Send is TrySend that waits for room, until ctx ends. That the peer has received
// the message it does not promise.
func (l *Link) Send(ctx context.Context, frames ...[]byte) error {
	for {
		l.mu.Lock()
		err := l.enqueue(frames, nil, false)
		l.work.Signal()
		if !errors.Is(err, ErrFull) {
			l.mu.Unlock()
			return err
		}
		if l.room == nil {
			l.room = make(chan struct{})
		}
		room := l.room
		l.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrFull, context.Cause(ctx))
		}
	}
}

// Flush waits until all that was queued is written, or ctx ends.
func (l *Link) Flush(ctx context.Context) error {
	for {
		l.mu.Lock()
		if l.err != nil || l.size == 0 {
			err := l.err
			l.mu.Unlock()
			return err
		}
		if l.ended {
			l.mu.Unlock()
			return ErrClosed
		}
		if l.flushed == nil {
			l.flushed = make(chan struct{})
		}
		flushed := l.flushed
		l.mu.Unlock()
		select {
		case <-flushed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// writable says why nothing can be queued.
func (l *Link) writable() error {
	switch {
	case l.closed:
		return ErrClosed
	case l.err != nil:
		return l.err
	case l.last || l.ended:
		return ErrClosed
	}
	return nil
}

// enqueue encodes a message into the queue, if there is room or it has to be. The
// last frame stays where it is if it is long and has an owner. The caller wakes
// the writer.
func (l *Link) enqueue(frames [][]byte, owner Owner, force bool) error {
	if err := l.writable(); err != nil {
		return err
	}
	if len(frames) == 0 {
		return errors.New("a message has at least one frame")
	}
	size := 0
	for _, f := range frames {
		size += len(f)
	}
	if !force && l.cfg.Send.full(len(l.marks.all()), l.size+size) {
		l.hungry = true
		return ErrFull
	}
	last := frames[len(frames)-1]
	// What is sealed is copied anyway. Memory that is not ours must not be in a
	// write that waits: it could not be recalled.
	lent := owner != nil && len(last) >= byReference && l.session == nil && l.now != nil
	need := size + len(frames)*(9+boxed)
	if lent {
		need -= len(last)
	}
	c := l.out.room(need)
	before := len(c.b)
	for i, f := range frames {
		more := byte(flagMore)
		if i == len(frames)-1 {
			more = 0
		}
		switch {
		case l.session != nil:
			c.b = l.session.seal(c.b, more, f)
		case more == 0 && lent:
			c.b = appendHeader(c.b, more, len(f))
		default:
			c.b = append(appendHeader(c.b, more, len(f)), f...)
		}
	}
	size = len(c.b) - before
	if lent {
		l.out.lend(l, last, owner)
		size += len(last)
	}
	start := l.gone + int64(l.size)
	l.size += size
	l.marks.push(mark{start, start + int64(size)})
	return nil
}

// sendCommand queues a command. Commands pass the mark.
func (l *Link) sendCommand(name string, body []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.command(name, body)
}

// answer is sendCommand for what the peer makes us send: who does that and does
// not read is ended.
func (l *Link) answer(name string, body []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.answers > maxAnswers {
		return protocolErrorf("commands, and does not read the answers")
	}
	before := l.size
	_ = l.command(name, body) // that nothing can be written does not stop the reader
	l.answers += l.size - before
	return nil
}

func (l *Link) command(name string, body []byte) error {
	if err := l.writable(); err != nil {
		return err
	}
	c := l.out.room(9 + boxed + 1 + len(name) + len(body))
	before := len(c.b)
	if l.session != nil {
		c.b = l.session.seal(c.b, boxCommand, append(appendName(nil, name), body...))
	} else {
		c.b = appendCommand(c.b, name, body)
	}
	l.size += len(c.b) - before
	l.work.Signal()
	return nil
}

// write is the writer. It takes all that is queued at once, so that under load
// one system call carries many messages.
func (l *Link) write() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for l.active || l.size == 0 && !l.last && l.err == nil {
			l.work.Wait()
		}
		if l.size == 0 || l.err != nil {
			break
		}
		l.active, l.stuck = true, false
		l.drain()
		l.active = false
		l.written()
	}
	l.ended, l.size = true, 0
	for _, m := range l.marks.all() {
		l.unsent++
		if m.start >= l.gone {
			l.unseen++
		}
	}
	l.marks = fifo[mark]{}
	l.out.drop()
	l.written()
	if l.err == nil {
		// The peer reads the end after all that was written. Where that is not
		// possible the connection has ended already.
		if half, ok := l.nc.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}
}

// drain writes all that is there, and waits where the kernel makes it.
func (l *Link) drain() {
	if l.now != nil {
		l.mu.Unlock()
		err := l.now.raw.Write(l.now.drain)
		l.mu.Lock()
		l.fail(err)
		return
	}
	all := l.out.buffers()
	l.mu.Unlock()
	n, err := all.WriteTo(l.nc)
	l.mu.Lock()
	l.took(int(n))
	l.fail(err)
}

// call writes what one system call can, and reports whether that is anything.
// Others can queue and recall meanwhile.
func (l *Link) call(fd uintptr) bool {
	l.now.load(l.out.chunks.all())
	l.calling = true
	l.mu.Unlock()
	n, err := l.now.write(fd)
	l.mu.Lock()
	l.called(n, err)
	return n > 0
}

// called is what there is to do after a system call.
func (l *Link) called(n int, err error) {
	l.calling = false
	l.took(n)
	l.fail(err)
	if l.wanted == nil {
		return
	}
	for _, o := range l.wanted {
		l.out.keep(o)
	}
	l.wanted = nil
	l.calm.Broadcast()
}

// took notes that n bytes were written.
func (l *Link) took(n int) {
	l.out.took(n)
	l.gone += int64(n)
	l.size -= n
	for len(l.marks.all()) > 0 && l.marks.all()[0].end <= l.gone {
		l.marks.pop()
	}
	if l.gone >= l.since {
		l.answers, l.since = 0, l.gone+int64(l.size)
	}
}

// fail notes the error of a write.
func (l *Link) fail(err error) {
	if err != nil && l.err == nil {
		l.err = fmt.Errorf("write: %w", cause(err))
	}
}

// drained writes until nothing is left, and is false where that has to wait.
func (l *Link) drained(fd uintptr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.size > 0 && l.err == nil {
		if !l.call(fd) && l.err == nil {
			l.written()
			return false
		}
	}
	return true
}

// pushed writes until nothing is left, or it would have to wait.
func (l *Link) pushed(fd uintptr) bool {
	for l.size > 0 && l.err == nil {
		if !l.call(fd) {
			l.stuck = true
			break
		}
	}
	return true
}

// recall copies what belongs to o and is not written.
func (l *Link) recall(o *Loan) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.calling {
		l.out.keep(o)
		return
	}
	l.wanted = append(l.wanted, o)
	for slices.Contains(l.wanted, o) {
		l.calm.Wait()
	}
}

// Pending is how many messages, and bytes, were accepted and are not written.
func (l *Link) Pending() (messages, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.marks.all()), l.size
}

// Queue is TrySend, and leaves the writing to the next Push.
func (l *Link) Queue(frames ...[]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.enqueue(frames, nil, false)
}

// QueueBody is Queue for a head and a body that owner has. If the body is long
// the link does not copy it, and reads it until it is written: a Message is not
// used again before that, and a Loan says when it must be over.
func (l *Link) QueueBody(head, body []byte, owner Owner) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.enqueue([][]byte{head, body}, owner, false)
}

// Push writes what is queued, in this goroutine and without waiting. What the
// kernel does not take at once is left to the writer.
func (l *Link) Push() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size == 0 || l.active || l.ended || l.stuck || l.err != nil {
		return
	}
	if l.now == nil {
		l.work.Signal()
		return
	}
	l.active = true
	l.fail(l.now.raw.Write(l.now.push)) // which does not wait: nobody else writes
	l.active = false
	if l.size > 0 || l.last || l.err != nil {
		l.work.Signal()
	}
	l.written()
}

// written wakes who waits for room, or for the end.
func (l *Link) written() {
	if l.room != nil {
		close(l.room)
		l.room = nil
	}
	if l.flushed != nil && (l.size == 0 || l.ended || l.err != nil) {
		close(l.flushed)
		l.flushed = nil
	}
	if l.hungry && l.cfg.room != nil {
		l.hungry = false
		l.mu.Unlock()
		l.cfg.room()
		l.mu.Lock()
	}
}

// cause takes what is the same for all connections off an error.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		err = call.Err
	}
	return err
}

// CloseWrite ends sending: what is queued is written, then the peer sees the end
// of the stream. Serve goes on until the peer ends it too.
func (l *Link) CloseWrite() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = true
	l.work.Signal()
}

// closeBy is CloseWrite with an end: after the deadline the connection is
// closed, whatever is left.
func (l *Link) closeBy(deadline time.Time) {
	l.CloseWrite()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end.IsZero() || deadline.Before(l.end) {
		l.end = deadline
		_ = l.nc.SetDeadline(deadline)
	}
}

// Close ends the link at once; what is queued is not written. It does not wait
// for Serve.
func (l *Link) Close() { l.closeFor(nil) }

// closeFor is Close with the error that Serve is to return.
func (l *Link) closeFor(err error) {
	l.closing.Do(func() {
		l.mu.Lock()
		l.cause, l.closed, l.last = err, true, true
		l.work.Signal()
		if l.room != nil {
			close(l.room)
			l.room = nil
		}
		l.mu.Unlock()
		close(l.done)
		l.nc.Close()
		if l.release != nil {
			l.release()
		}
	})
}

// Serve writes what is queued, and calls handle with each message that arrives,
// one after the other; handle owns the message. While handle runs nothing more is
// read, so that a peer that sends too fast has to wait, and only it.
//
// Serve returns after the end of the connection, when nothing of the link is
// left: nil if either side ended it in order, an error otherwise. If the peer ends
// it, what is queued may take Config.Linger. It must be called once.
func (l *Link) Serve(handle func(*Message)) error {
	l.handle = handle
	return l.serve(func() error { return l.read(0) })
}

// ServeQuiet is Serve for a peer that is to be heard out before it is served: it
// calls quiet when all that has arrived was handled, and again as long as quiet
// returns true and nothing arrives. While quiet runs nothing is read, until
// somebody calls [Link.Overtake]. ServeQuiet does not wait for a quiet that was
// overtaken.
func (l *Link) ServeQuiet(handle func(*Message), quiet func() bool) error {
	l.handle, l.quiet, l.turns = handle, quiet, make(chan error)
	return l.serve(func() error {
		ended := make(chan struct{})
		defer close(ended)
		turn := func(n uint64) {
			select {
			case l.turns <- l.read(n):
			case <-ended:
			}
		}
		l.next = turn
		go turn(0)
		for {
			if err := <-l.turns; err != errOvertaken {
				return err
			}
		}
	})
}

// Overtake reads on in another goroutine while quiet runs. It reports whether
// quiet, or the handler, was running and had not been overtaken yet.
func (l *Link) Overtake() bool {
	now := l.turn.Load()
	if now&1 == 0 || l.next == nil || !l.turn.CompareAndSwap(now, now+1) {
		return false
	}
	go l.next(now/2 + 1)
	return true
}

// More reports whether the next message has arrived whole: the handler, which
// alone may ask, is called with it at once. It may be false although it has.
func (l *Link) More() bool {
	if l.session != nil {
		return false
	}
	b, _ := l.in.Peek(l.in.Buffered())
	for len(b) >= 2 {
		flags, n, head := b[0], uint64(b[1]), uint64(2)
		if flags&flagCommand != 0 {
			return false
		}
		if flags&flagLong != 0 {
			if head = 9; len(b) < 9 {
				return false
			}
			n = binary.BigEndian.Uint64(b[1:])
		}
		if uint64(len(b))-head < n {
			return false
		}
		if flags&flagMore == 0 {
			return true
		}
		b = b[head+n:]
	}
	return false
}

// errOvertaken is the end of a reader that another one has replaced.
var errOvertaken = errors.New("overtaken")

func (l *Link) inHandler() bool { return l.turn.Load()&1 != 0 }

// serve runs the writer and the reader, and ends both.
func (l *Link) serve(read func() error) error {
	writer := make(chan struct{})
	go func() {
		defer close(writer)
		l.write()
	}()
	watch := l.watch()
	err := read()
	switch {
	case err == nil:
		l.closeBy(time.Now().Add(l.cfg.Linger))
		<-writer
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = nil // only closeBy sets one
	}
	watch()
	l.closeFor(err)
	<-writer
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

// Unsent is how many messages were accepted and, as far as is known, not written
// whole. It is final when Serve has returned.
func (l *Link) Unsent() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unsent
}

// Unseen is how many messages were accepted of which not a byte was given to the
// kernel: the last ones, which the peer cannot have. It is final when Serve has
// returned.
func (l *Link) Unseen() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unseen
}

// read hands out messages until the stream ends, which is nil between two
// messages. It ends with errOvertaken if it is not the reader any more.
func (l *Link) read(turn uint64) error {
	var m *Message
	defer func() { m.drop() }()
	busy := false // something was handled, and quiet was not called since
	for {
		if busy && m == nil && l.in.Buffered() == 0 && !l.peek.arrived() {
			l.turn.Store(2*turn + 1)
			busy = l.quiet()
			if !l.turn.CompareAndSwap(2*turn+1, 2*turn) {
				return errOvertaken
			}
			continue
		}
		flags, n, err := readHeader(l.in)
		if err == io.EOF && m == nil {
			return nil
		}
		if err != nil {
			return readError(err)
		}
		if flags&flagCommand != 0 && l.session == nil {
			if n > maxCommand {
				return protocolErrorf("a command of %d bytes; at most %d are read", n, maxCommand)
			}
			if _, err := io.ReadFull(l.in, l.scratch[:n]); err != nil {
				return readError(err)
			}
			if err := l.handleCommand(l.scratch[:n]); err != nil {
				return err
			}
			continue
		}
		if m == nil {
			m = newMessage()
		}
		more := flags&flagMore != 0
		if l.session == nil {
			if err := l.checkSize(m, n); err != nil {
				return err
			}
			if err := l.frame(m, int(n)); err != nil {
				return readError(err)
			}
		} else {
			flags, err := l.unbox(m, n)
			if err != nil {
				return err
			}
			if flags&boxCommand != 0 {
				if len(m.Frames) == 0 {
					m.drop()
					m = nil
				}
				continue
			}
			more = flags&flagMore != 0
		}
		if !more {
			whole := m
			m = nil
			l.sparing = whole.size >= byReference
			l.turn.Store(2*turn + 1)
			l.handle(whole)
			if !l.turn.CompareAndSwap(2*turn+1, 2*turn) {
				return errOvertaken
			}
			busy = l.quiet != nil
		}
	}
}

func readError(err error) error {
	err = unexpected(err)
	var protocol *ProtocolError
	if errors.As(err, &protocol) {
		return err
	}
	return fmt.Errorf("read: %w", cause(err))
}

// checkSize judges one more frame of n bytes.
func (l *Link) checkSize(m *Message, n uint64) error {
	limits := &l.cfg.Limits
	switch {
	case len(m.Frames) >= limits.Frames:
		return protocolErrorf("more than %d frames in a message", limits.Frames)
	case n > uint64(limits.Message) || m.size+int64(n) > limits.Message:
		return protocolErrorf("a message of over %d bytes", limits.Message)
	case len(m.Frames) == 0 && n > uint64(limits.First):
		return protocolErrorf("a first frame of %d bytes; at most %d are read", n, limits.First)
	}
	return nil
}

// frame appends a frame of n bytes to m, which are still to come.
func (l *Link) frame(m *Message, n int) error {
	if n <= firstRead {
		p := m.reserve(n)
		if err := l.readFull(p); err != nil {
			return err
		}
		m.add(p)
		return nil
	}
	b, err := l.readLong(n)
	if err != nil {
		return err
	}
	m.bufs = append(m.bufs, b)
	m.add(b.b[:n:n])
	return nil
}

// unbox reads a CURVE message of n bytes (RFC 26, "MESSAGE"), and gives its
// flags. Its body is added to m, or was a command, and is done.
func (l *Link) unbox(m *Message, n uint64) (flags byte, err error) {
	if n < boxed {
		return 0, protocolErrorf("a frame of %d bytes that is no MESSAGE of CURVE", n)
	}
	n -= boxed
	tooMuch := l.checkSize(m, n)
	short := n < maxCommand // and may be a command, which the limits of messages are not for
	if tooMuch != nil && !short {
		return 0, tooMuch
	}
	sealed, err := l.readLong(int(n + boxed))
	if err != nil {
		return 0, readError(err)
	}
	defer sealed.free()
	room := l.scratch[:]
	if !short {
		room = m.reserve(int(n) + 1)
	}
	plain, err := l.session.open(room[:0], sealed.b[:n+boxed])
	if err != nil {
		return 0, err
	}
	flags, plain = plain[0], plain[1:]
	switch {
	case flags&^(flagMore|boxCommand) != 0 || flags == flagMore|boxCommand:
		return 0, protocolErrorf("flags %#02x in a box", flags)
	case flags&boxCommand != 0 && !short:
		return 0, protocolErrorf("a command of %d bytes; at most %d are read", n, maxCommand-1)
	case flags&boxCommand != 0:
		return flags, l.handleCommand(plain)
	case tooMuch != nil:
		return 0, tooMuch
	}
	if short {
		copied := m.reserve(len(plain))
		copy(copied, plain)
		plain = copied
	}
	m.add(plain)
	return flags, nil
}

// handleCommand answers a command after the handshake (RFC 37, "Commands").
func (l *Link) handleCommand(b []byte) error {
	name, body, err := splitCommand(b)
	if err != nil {
		return err
	}
	switch name {
	case "PING":
		// Its time to live is the peer's offer to be given up sooner; whether it
		// lives is ours to ask.
		_, context, err := parsePing(body)
		if err != nil {
			return err
		}
		return l.answer("PONG", context)
	case "PONG":
		select {
		case l.pong <- struct{}{}:
		default:
		}
		return nil
	case "ERROR":
		return parseReason(body)
	}
	if l.cfg.command != nil {
		return l.cfg.command(l, name, body)
	}
	return nil // one that we do not know may be of a later version
}

// ping sends a PING without time to live: we do not promise to send more.
func (l *Link) ping() error { return l.sendCommand("PING", []byte{0, 0}) }

// Alive asks the peer for a sign of life. It is false when none has come before
// ctx ends. A peer that waits for our handler lives.
func (l *Link) Alive(ctx context.Context) bool {
	if l.inHandler() {
		return true
	}
	before := l.reads.Load()
	select {
	case <-l.pong:
	default:
	}
	if l.ping() != nil {
		return false
	}
	select {
	case <-l.pong:
		return true
	case <-l.done:
		return false
	case <-ctx.Done():
		return l.reads.Load() != before
	}
}

// watch ends the link when the peer is silent for longer than we, or it, want.
// The function that it returns ends the watch, and waits for that.
func (l *Link) watch() (stop func()) {
	interval := l.cfg.Heartbeat.Interval
	if interval == 0 {
		return func() {}
	}
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		seen, silent := l.reads.Load(), time.Duration(0)
		for {
			select {
			case <-tick.C:
			case <-quit:
				return
			}
			if now := l.reads.Load(); now != seen || l.inHandler() {
				seen, silent = now, 0
				continue
			}
			silent += interval
			if silent >= l.cfg.Heartbeat.Timeout {
				l.closeFor(fmt.Errorf("%w for %v", ErrSilent, silent))
				return
			}
			_ = l.ping() // what cannot be written is seen by its silence
		}
	}()
	return func() {
		close(quit)
		<-ended
	}
}
