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
	session *session // nil with NULL
	release func()   // of what was claimed in the handshake
	in      *bufio.Reader
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
	peek   *nowait      // of the reader
	next   func(uint64) // begins another turn

	mu      sync.Mutex
	work    sync.Cond // for the writer: there is something, or it shall end
	out     outbox    // what waits for the writer
	rest    []*buffer // what was taken of out and could not be written at once
	none    []*buffer // of length 0, for out
	now     *nowait   // nil where a write cannot but wait
	active  bool      // somebody writes
	starts  []int64   // where the messages of out begin in it
	fresh   int64     // bytes in out
	taken   []int64   // starts of what is being written
	gone    int64     // bytes of it that are written
	queued  int       // messages in out
	writing int       // messages that are being written, or in rest
	size    int       // bytes that wait or are being written
	answers int       // bytes of PONGs in out
	room    chan struct{}
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

const (
	readBuffer = 64 << 10 // bytes of the reader
	// maxAnswers is how many bytes of PONGs may wait for a peer that does not read.
	maxAnswers = 16 << 10
)

func newLink(nc net.Conn, cfg *Config, peer Peer, s *session, release func()) *Link {
	l := &Link{
		nc: nc, cfg: cfg, peer: peer, session: s, release: release,
		pong: make(chan struct{}, 1), done: make(chan struct{}),
	}
	l.work.L = &l.mu
	l.now = writesNow(nc)
	l.in = bufio.NewReaderSize(counter{l}, readBuffer)
	return l
}

// A counter notes that a connection gave something: with that a heartbeat sees
// life without a clock being read for each message. It is read from only when
// the buffer before it is empty.
type counter struct{ l *Link }

func (c counter) Read(p []byte) (int, error) {
	c.l.waiting.Store(true)
	n, err := c.l.nc.Read(p)
	if n > 0 {
		c.l.waiting.Store(false)
		c.l.reads.Add(1)
	}
	return n, err
}

// Settled reports whether all that has arrived by now was handled, also the end
// of the connection.
func (l *Link) Settled() bool {
	select {
	case <-l.done:
		return true
	default:
	}
	return l.waiting.Load() && !writesNow(l.nc).arrived()
}

// Peer is who is at the other end.
func (l *Link) Peer() Peer { return l.peer }

// TrySend queues one message of the given frames, or is ErrFull. The frames are
// copied.
func (l *Link) TrySend(frames ...[]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.work.Signal()
	return l.enqueue(frames, false)
}

// Send is TrySend that waits for room, until ctx ends. That the peer has received
// the message it does not promise.
func (l *Link) Send(ctx context.Context, frames ...[]byte) error {
	for {
		l.mu.Lock()
		err := l.enqueue(frames, false)
		l.work.Signal()
		if !errors.Is(err, ErrFull) {
			l.mu.Unlock()
			return err
		}
		room := l.roomLocked()
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
		room := l.roomLocked()
		l.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// roomLocked is closed when something was written, or nothing will be.
func (l *Link) roomLocked() <-chan struct{} {
	if l.room == nil {
		l.room = make(chan struct{})
	}
	return l.room
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

// enqueue encodes a message into the writer's buffer, if there is room or it has
// to be. The caller wakes the writer.
func (l *Link) enqueue(frames [][]byte, force bool) error {
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
	if !force && l.cfg.Send.full(l.queued+l.writing, l.size+size) {
		l.hungry = true
		return ErrFull
	}
	b := l.out.room(size + len(frames)*(9+boxed))
	before := len(b.b)
	for i, f := range frames {
		more := byte(flagMore)
		if i == len(frames)-1 {
			more = 0
		}
		if l.session != nil {
			b.b = l.session.seal(b.b, more, f)
		} else {
			b.b = append(appendHeader(b.b, more, len(f)), f...)
		}
	}
	l.starts = append(l.starts, l.fresh)
	l.fresh += int64(len(b.b) - before)
	l.size += len(b.b) - before
	l.queued++
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
	b := l.out.room(9 + boxed + 1 + len(name) + len(body))
	before := len(b.b)
	if l.session != nil {
		b.b = l.session.seal(b.b, boxCommand, append(appendName(nil, name), body...))
	} else {
		b.b = appendCommand(b.b, name, body)
	}
	l.fresh += int64(len(b.b) - before)
	l.size += len(b.b) - before
	l.work.Signal()
	return nil
}

// write is the writer. It takes all that is queued at once, so that under load
// one system call carries many messages.
func (l *Link) write() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for l.active || l.size == 0 && !l.last {
			l.work.Wait()
		}
		if l.size == 0 {
			break
		}
		chunks, size := l.takeLocked()
		l.mu.Unlock()
		n, err := writeChunks(l.nc, chunks)
		l.mu.Lock()
		l.wroteLocked(chunks, size, n, err)
		if err != nil {
			break
		}
	}
	l.unsent += l.queued
	l.unseen += l.queued
	l.ended, l.queued, l.size = true, 0, 0
	l.out, l.rest = outbox{}, nil
	l.written()
	if l.err == nil {
		// The peer reads the end after all that was written. Where that is not
		// possible the connection has ended already.
		if half, ok := l.nc.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}
}

// takeLocked gives what is to be written now, and makes the caller who writes.
func (l *Link) takeLocked() (chunks []*buffer, size int) {
	l.active = true
	if l.rest != nil {
		chunks, l.rest = l.rest, nil
	} else {
		chunks, l.out.chunks = l.out.chunks, l.none[:0]
		l.writing, l.queued, l.answers = l.queued, 0, 0
		l.taken, l.starts = l.starts, l.taken[:0]
		l.gone, l.fresh = 0, 0
	}
	for _, b := range chunks {
		size += len(b.b)
	}
	return chunks, size
}

// wroteLocked notes that n of size bytes were written, and then no more.
func (l *Link) wroteLocked(chunks []*buffer, size int, n int64, err error) {
	l.active = false
	l.gone += n
	l.size -= size
	l.none = chunks
	l.out.recycle(chunks)
	if err != nil {
		if l.err == nil {
			l.err = fmt.Errorf("write: %w", cause(err))
		}
		l.unsent += l.writing
		for _, start := range l.taken {
			if start >= l.gone {
				l.unseen++
			}
		}
	}
	l.writing = 0
	l.written()
}

// Pending is how many messages, and bytes, were accepted and are not written.
func (l *Link) Pending() (messages, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queued + l.writing, l.size
}

// Queue is TrySend, and leaves the writing to the next Push.
func (l *Link) Queue(frames ...[]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.enqueue(frames, false)
}

// Push writes what is queued, in this goroutine and without waiting. What the
// kernel does not take at once is left to the writer.
func (l *Link) Push() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.size > 0 && !l.active && !l.ended && l.rest == nil && l.err == nil {
		if l.now == nil || len(l.out.chunks) > 1 {
			l.work.Signal()
			return
		}
		chunks, size := l.takeLocked()
		l.mu.Unlock()
		n, err := l.now.write(chunks[0].b)
		l.mu.Lock()
		if err == nil && n < size {
			l.active = false
			l.gone += int64(n)
			l.size -= n
			left := newBuffer(size - n)
			left.b = append(left.b[:0], chunks[0].b[n:]...)
			l.out.recycle(chunks)
			l.none = chunks
			l.rest = []*buffer{left}
			l.work.Signal()
			return
		}
		l.wroteLocked(chunks, size, int64(n), err)
		if l.err != nil || l.last {
			l.work.Signal() // the writer ends
		}
	}
}

// written wakes who waits for room.
func (l *Link) written() {
	if l.room != nil {
		close(l.room)
		l.room = nil
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
	l.peek = writesNow(l.nc)
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
			if err := m.read(l.in, int(n)); err != nil {
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
	sealed, err := readLong(l.in, int(n+boxed))
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
