package zmq

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// A SocketConfig is what a socket takes beyond what its links do.
type SocketConfig struct {
	Config
	Mode      fs.FileMode // of socket files that Bind makes; 0 means 0600
	Receive   Queue       // of messages of one peer that wait for Recv
	Reconnect Reconnect
	// Handle is called with each message instead of Recv, in the goroutine that
	// reads from the peer: while it runs nothing more of this peer is read. It
	// owns the message, and must not call Close of the socket, which waits for it.
	// A PUB socket has no use for it.
	Handle func(*Message)
}

// Reconnect says whether and when a dialling socket tries again: after First,
// then each time twice as long up to Max, less a random part.
type Reconnect struct {
	First  time.Duration // 0 means that the socket does not try again
	Max    time.Duration // 0 means 2 s
	Tries  int           // in a row; 0 means without end
	Jitter float64       // the part of the pause that is random, from 0 to 1; 0 means 0.2
}

// pause is how long to wait before try n, which begins with 0. random is from 0
// to 1.
func (r Reconnect) pause(n int, random float64) time.Duration {
	d := r.First << min(n, 30)
	if d > r.Max || d < r.First {
		d = r.Max
	}
	return d - time.Duration(float64(d)*r.Jitter*random)
}

// A socket is what all four types have in common.
type socket struct {
	cfg   *Config
	extra SocketConfig
	inbox inbox
	stop  context.CancelFunc // ends listeners, handshakes and pauses
	ended <-chan struct{}    // stop was called
	tasks sync.WaitGroup
	base  func() context.Context // ends with ended

	mu      sync.Mutex
	closed  bool
	members []*member     // in the order in which they came
	changed chan struct{} // closed when somebody came, went or has room

	// What the types do, with mu held; each may be nil.
	came    func(*member)
	went    func(*member)
	receive func(*member, *Message)
}

// A member is a live peer of a socket.
type member struct {
	link  *Link
	id    string // a ROUTER's name for it
	queue queue
	subs  subscriptions // of a PUB's peer
	lost  uint64        // that PUB dropped for it
	gone  chan struct{} // closed when its link has ended
}

func newSocket(t Type, cfg SocketConfig) (*socket, error) {
	cfg.Type = t
	s := &socket{}
	cfg.room = s.notify
	defaults(&cfg.Receive.Messages, 1000)
	defaults(&cfg.Receive.Bytes, 64<<20)
	defaults(&cfg.Reconnect.Max, max(2*time.Second, cfg.Reconnect.First))
	if cfg.Reconnect.Jitter == 0 {
		cfg.Reconnect.Jitter = 0.2
	}
	full, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	s.cfg, s.extra = full, cfg
	s.stop, s.ended = func() { cancel(ErrClosed) }, ctx.Done()
	s.base = func() context.Context { return ctx }
	return s, nil
}

// notify wakes who waits for a peer or for room.
func (s *socket) notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notifyLocked()
}

func (s *socket) notifyLocked() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

func (s *socket) changes() <-chan struct{} {
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

// Bind listens at an endpoint, as [Listen] does, and returns it with the port
// that was taken.
func (s *socket) Bind(endpoint string) (string, error) {
	network, _, err := splitEndpoint(endpoint)
	if err == nil {
		err = s.cfg.checkTransport(network, endpoint)
	}
	if err != nil {
		return "", err
	}
	ln, err := Listen(endpoint, s.extra.Mode)
	if err != nil {
		return "", err
	}
	return ln.Endpoint(), s.Accept(ln)
}

// Accept takes peers from a listener, which is the socket's from then on.
func (s *socket) Accept(ln *Listener) error {
	err := s.cfg.checkTransport(ln.ln.Addr().Network(), ln.endpoint)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		err = ErrClosed
	}
	if err != nil {
		ln.Close()
		return err
	}
	s.tasks.Go(func() {
		_ = ln.serve(s.base(), s.cfg, func(l *Link) { // it was checked above
			if m := s.attach(l, ln.endpoint); m != nil {
				s.serve(m, ln.endpoint)
			}
		})
	})
	return nil
}

// Connect dials an endpoint. It returns when the link works, or with the error
// that there is none. With Reconnect it tries until ctx ends as long as a later
// try may succeed, and when a link ends the socket dials again.
func (s *socket) Connect(ctx context.Context, endpoint string) error {
	// Close ends a try, as ctx does.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.base(), func() { cancel(ErrClosed) })()
	m, err := s.dial(ctx, endpoint)
	if err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		s.detach(m, endpoint, nil)
		return ErrClosed
	}
	s.tasks.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.tasks.Done()
		s.keep(m, endpoint)
	}()
	return nil
}

// keep serves a link, and those that take its place.
func (s *socket) keep(m *member, endpoint string) {
	for {
		s.serve(m, endpoint)
		if s.extra.Reconnect.First == 0 || s.base().Err() != nil {
			return
		}
		next, err := s.dial(s.base(), endpoint)
		if err != nil {
			if s.base().Err() == nil {
				s.cfg.tell(Event{Kind: GivenUp, Endpoint: endpoint, Err: err})
			}
			return
		}
		m = next
	}
}

// dial tries until there is a link, trying has no sense, or ctx ends.
func (s *socket) dial(ctx context.Context, endpoint string) (*member, error) {
	again := s.extra.Reconnect
	for n := 0; ; n++ {
		l, err := dial(ctx, endpoint, s.cfg)
		if err == nil {
			m := s.attach(l, endpoint)
			if m == nil {
				return nil, ErrClosed
			}
			return m, nil
		}
		if again.First == 0 || permanent(err) || again.Tries > 0 && n+1 >= again.Tries {
			return nil, err
		}
		s.cfg.tell(Event{Kind: Retrying, Endpoint: endpoint, Err: err})
		if !pause(ctx, again.pause(n, rand.Float64())) {
			if cause := context.Cause(ctx); !errors.Is(err, cause) {
				err = fmt.Errorf("%w; the last try: %w", cause, err)
			}
			return nil, err
		}
	}
}

// attach makes a link a member, or closes it when the socket is closed.
func (s *socket) attach(l *Link, endpoint string) *member {
	m := &member{link: l, id: l.peer.Identity, queue: queue{limit: s.extra.Receive}, gone: make(chan struct{})}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		l.Close()
		return nil
	}
	s.members = append(s.members, m)
	if s.came != nil {
		s.came(m)
	}
	s.notifyLocked()
	peer := l.peer
	peer.Identity = m.id
	s.mu.Unlock()
	s.cfg.tell(Event{Kind: Up, Endpoint: endpoint, Peer: peer})
	return m
}

// serve reads from a member until its link ends.
func (s *socket) serve(m *member, endpoint string) {
	err := m.link.Serve(func(message *Message) { s.receive(m, message) })
	s.detach(m, endpoint, err)
}

func (s *socket) detach(m *member, endpoint string, err error) {
	m.link.Close()
	s.mu.Lock()
	if i := slices.Index(s.members, m); i >= 0 {
		s.members = slices.Delete(s.members, i, i+1)
	}
	if s.went != nil {
		s.went(m)
	}
	s.notifyLocked()
	peer := m.link.peer
	peer.Identity = m.id
	lost := m.lost
	s.mu.Unlock()
	close(m.gone)
	s.cfg.tell(Event{Kind: Down, Endpoint: endpoint, Peer: peer, Err: err, Unsent: m.link.Unsent(), Dropped: lost})
}

// deliver hands a message to Handle, or to Recv.
func (s *socket) deliver(m *member, message *Message) {
	message.Peer = &m.link.peer
	switch {
	case s.base().Err() != nil:
		message.Release()
	case s.extra.Handle != nil:
		s.extra.Handle(message)
	default:
		s.inbox.put(&m.queue, message, m.link.done)
	}
}

// Close ends accepting and dialling, lets each link write what is queued within
// Config.Linger, and returns when nothing of the socket is left. The error says
// how many messages were not written. What waits for Recv is forgotten.
func (s *socket) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		s.tasks.Wait()
		return nil
	}
	s.closed = true
	members := slices.Clone(s.members)
	s.notifyLocked()
	s.mu.Unlock()
	s.stop()
	s.inbox.close()
	deadline := time.Now().Add(s.cfg.Linger)
	for _, m := range members {
		m.link.closeBy(deadline)
	}
	s.tasks.Wait()
	unsent := 0
	for _, m := range members {
		unsent += m.link.Unsent()
	}
	if unsent > 0 {
		return fmt.Errorf("%d messages were not sent within %v", unsent, s.cfg.Linger)
	}
	return nil
}
