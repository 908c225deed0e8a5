package powerhose

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"appbundle/internal/zmq"
	"appbundle/powerhose/internal/dispatch"
	"appbundle/powerhose/internal/wire"
)

// A MasterConfig says how a master does its work. Its zero value, with the path
// of a socket, is the default.
type MasterConfig struct {
	// Listen is the path of the socket at which workers and callers register.
	// Its directory is made if it is not there.
	Listen string
	// TCP is tcp://HOST:PORT, where workers and callers of other hosts register
	// too; empty is nowhere. Keys are the own key and those of workers and callers
	// that are admitted there. One is not possible without the other.
	TCP  string
	Keys *Keys

	Window      int           // jobs that one worker may hold; 0 means 4, at most 16
	MaxAttempts int           // of a job that may be repeated; 0 means 2
	MaxWaiting  int           // callers that wait for a worker; 0 means 1024
	MaxWorkers  int           // 0 means 1024
	Rate        int           // registrations a second; 0 means 100
	MaxBody     int64         // bytes of a job and of a result; 0 means 16 MiB, at most 2 GiB - 1 KiB
	Short       time.Duration // jobs of this length are short: only behind them another may wait; 0 means 1 ms

	Deadline  time.Duration // of a call that names none; 0 means 30 s
	BusyWait  time.Duration // of a call that names none; 0 means 1 s
	Grace     time.Duration // for a worker that has a job beyond its deadline; 0 means 5 s
	DrainTime time.Duration // for a worker or a master that is ending; 0 means 30 s
	Period    time.Duration // between the pings of a worker; 0 means 5 s
	Tries     int           // periods of silence until an idle worker is given up; 0 means 3
	Handshake time.Duration // from a connection to its registration, and from that to the work link; 0 means 2 s

	// Admit are users whose processes may be workers and callers, beside our
	// own. The directory of the socket must let them in.
	Admit []uint32
	// Supervised says that a supervisor listens for the workers: then the
	// process at a worker's socket is not compared with the worker.
	Supervised bool
	Notify     string // NOTIFY_SOCKET of the environment: it is told READY=1
	// Log is given a line for each worker that comes or goes, and for each peer
	// that is not let in. nil is silence.
	Log func(line string)
}

const (
	defaultBody = 16 << 20
	maxBody     = 1<<31 - 1 - wire.MaxHead
	// deathTime is how long the other sockets of a process have to end, of which one
	// is not there.
	deathTime = 100 * time.Millisecond
	// byeTime is how long a worker that was told BYE has to end its links.
	byeTime = 2 * time.Second
	// refuseTime is how long a link stays for a peer to read why it is refused.
	refuseTime = time.Second
	// endTime is the same at the end of the master.
	endTime = 100 * time.Millisecond
	// gift is the length of a body above which the caller gets the memory that it
	// was read into, and not a copy.
	gift = zmq.Reused
)

// A Master gives jobs to workers that have registered with it, and takes calls:
// of its own process with [Master.Execute], of others over its socket.
type Master struct {
	cfg         MasterConfig
	path        string
	listener    *zmq.Listener
	tcp         *zmq.Listener // nil without MasterConfig.TCP
	admitted    atomic.Pointer[Keys]
	status      net.Listener
	closeStatus func() error
	incarnation [16]byte
	begin       time.Time
	links       zmq.Config
	ctx         context.Context // ends with the master
	cancel      context.CancelFunc
	serving     sync.WaitGroup
	stopped     chan struct{} // the machine has answered all callers

	mu      sync.Mutex
	machine *dispatch.Machine
	slots   []slot
	workers map[dispatch.Worker]*peer
	peers   map[*peer]struct{} // all, callers too
	head    []byte             // a head that is being written
	dirty   []*zmq.Link        // with something queued
	hand    *zmq.Message       // the answer that is being told to the machine
	timer   *time.Timer
	armed   time.Duration // when timer fires
	ending  bool
	closed  bool
	logged  map[string]time.Duration
	count   counts
}

// counts are what the machine does not see.
type counts struct {
	refused   uint64 // connections that did not become links
	malformed uint64 // links that were closed for what they sent
	callers   int
}

// A slot is what belongs to a call that the machine has, beside it.
type slot struct {
	call   dispatch.Call
	job    []byte
	to     *peer // the worker that had it last
	wait   *waiter
	caller *peer // if it is of another process
	number uint64
	owner  zmq.Owner    // of the memory of job
	owned  *zmq.Message // that is the owner, of a job of another process
}

// A waiter is a goroutine that waits for its reply.
type waiter struct {
	wake     chan struct{} // holds one
	finished bool
	message  *zmq.Message // with the result, or what the worker says
	reply    dispatch.Action
	worker   string
	progress [][]byte
	listens  bool
	loan     zmq.Loan // of the job
}

var waiters = sync.Pool{New: func() any { return &waiter{wake: make(chan struct{}, 1)} }}

func (w *waiter) notify() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// free gives the waiter back. Nothing wakes it any more.
func (w *waiter) free() {
	select {
	case <-w.wake:
	default:
	}
	*w = waiter{wake: w.wake}
	waiters.Put(w)
}

// maxProgress is how many PROGRESS wait for a caller that does not take them.
const maxProgress = 64

// NewMaster listens. The error names the socket, and the process that has it if
// there is one.
func NewMaster(cfg MasterConfig) (*Master, error) {
	if err := cfg.checkTCP(); err != nil {
		return nil, err
	}
	path, err := placeOf(cfg.Listen)
	if err != nil {
		return nil, err
	}
	if len(path+statusSuffix) > maxPath {
		return nil, fmt.Errorf("%s: path of %d bytes; that of a master has at most %d", path, len(path), maxPath-len(statusSuffix))
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = defaultBody
	}
	if cfg.MaxBody < 0 || cfg.MaxBody > maxBody {
		return nil, fmt.Errorf("longest body of %d bytes is not from 1 to %d", cfg.MaxBody, int64(maxBody))
	}
	var random [24]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, err
	}
	machine, err := dispatch.New(dispatch.Config{
		Window: cfg.Window, Short: cfg.Short, MaxAttempts: cfg.MaxAttempts, MaxWaiting: cfg.MaxWaiting, MaxWorkers: cfg.MaxWorkers, Rate: cfg.Rate,
		Deadline: cfg.Deadline, BusyWait: cfg.BusyWait, Grace: cfg.Grace, Handshake: cfg.Handshake, DrainTime: cfg.DrainTime,
		Period: cfg.Period, Tries: cfg.Tries, Seed: binary.BigEndian.Uint64(random[:]),
	})
	if err != nil {
		return nil, err
	}
	defaults(&cfg.Window, 4)
	defaults(&cfg.Period, 5*time.Second)
	defaults(&cfg.Tries, 3)
	defaults(&cfg.Handshake, 2*time.Second)
	defaults(&cfg.MaxWorkers, 1024)
	defaults(&cfg.DrainTime, 30*time.Second)
	if err := ownDirectory(path); err != nil {
		return nil, err
	}
	listener, err := zmq.Listen("ipc://"+path, 0o600)
	if err != nil {
		return nil, err
	}
	m := &Master{
		cfg: cfg, path: path, listener: listener, begin: time.Now(), machine: machine, stopped: make(chan struct{}),
		workers: map[dispatch.Worker]*peer{}, peers: map[*peer]struct{}{}, logged: map[string]time.Duration{},
		links: links(zmq.TypeRouter, cfg.MaxBody, cfg.Window, cfg.Admit),
	}
	m.links.Handshake = cfg.Handshake
	m.links.Peers = 2 * cfg.MaxWorkers // workers, and as many callers
	m.links.Send.Bytes = math.MaxInt   // workers get heads alone, and callers what peer.full says
	m.links.Monitor = m.monitor
	copy(m.incarnation[:], random[8:])
	if err = m.listenTCP(); err == nil {
		m.status, err = listenStatus(path + statusSuffix)
	}
	if err != nil {
		_ = m.unlisten()
		return nil, err
	}
	m.closeStatus = sync.OnceValue(m.status.Close)
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.timer = time.AfterFunc(math.MaxInt64, m.due)
	m.armed = math.MaxInt64
	m.serving.Go(func() { _ = listener.Serve(m.ctx, m.links, m.serve) })
	if m.tcp != nil {
		m.serving.Go(m.serveTCP)
	}
	m.serving.Go(m.serveStatus)
	if n := notify(cfg.Notify); n != nil {
		n.ready()
		n.close()
	}
	return m, nil
}

func defaults[T int | time.Duration](v *T, otherwise T) {
	if *v == 0 {
		*v = otherwise
	}
}

// Address is the path of the master's socket.
func (m *Master) Address() string { return m.path }

func (m *Master) now() time.Duration { return time.Since(m.begin) }

// Execute gives a job to a worker, and waits for its result. The error is an
// [*Error], or says what is wrong with the call. When ctx ends first the worker
// is told, and the error is one for [errors.Is] with that of ctx too.
//
// The job must not be changed while Execute runs; afterwards nothing reads it any
// more, whatever became of it. The result belongs to the caller.
func (m *Master) Execute(ctx context.Context, job []byte, c Call) ([]byte, error) {
	limited, err := c.within(ctx)
	if err != nil {
		return nil, err
	}
	w := waiters.Get().(*waiter)
	w.listens = c.Progress != nil
	m.mu.Lock()
	now := m.now()
	sub := c.submission()
	ticket, refused := m.submit(now, sub, slot{job: job, wait: w, owner: &w.loan})
	m.act(now)
	m.unlock()
	if refused != nil {
		w.free()
		return nil, refused
	}
	m.wait(ctx, w, ticket, c.Progress)
	w.loan.Recall() // a worker may be sent it still, if nobody waited for its answer
	return w.result(ctx, &sub, job, limited)
}

// queue queues a message, which is written when the mutex is free again. Its body
// is of owner, if that is not nil.
func (m *Master) queue(l *zmq.Link, head, body []byte, owner zmq.Owner) error {
	err := l.QueueBody(head, body, owner)
	if n := len(m.dirty); err == nil && (n == 0 || m.dirty[n-1] != l) {
		m.dirty = append(m.dirty, l)
	}
	return err
}

// unlock frees the mutex, and writes what was queued.
func (m *Master) unlock() {
	var some [8]*zmq.Link
	n := copy(some[:], m.dirty)
	for _, l := range m.dirty[n:] {
		l.Push()
	}
	clear(m.dirty)
	m.dirty = m.dirty[:0]
	m.mu.Unlock()
	for _, l := range some[:n] {
		l.Push()
	}
}

// unlockFor is unlock for a handler of a link. If its next message is there
// already what is queued is written after that, at once.
func (m *Master) unlockFor(l *zmq.Link) {
	if l.More() {
		m.mu.Unlock()
		return
	}
	m.unlock()
}

// submit tells the machine of a call. The error says why it does not take it.
func (m *Master) submit(now time.Duration, c dispatch.Call, s slot) (dispatch.Ticket, *Error) {
	if int64(len(s.job)) > m.cfg.MaxBody {
		return 0, refusal(wire.TooBig, fmt.Sprintf("the job has %d bytes; the master takes at most %d (its --max-body)", len(s.job), m.cfg.MaxBody))
	}
	// Whoever is due leaves a slot, which may be that of this call.
	if next, ok := m.machine.Next(); ok && next <= now {
		m.machine.Tick(now)
		m.act(now)
	}
	ticket, code := m.machine.Submit(now, c)
	if code != wire.OK {
		return 0, refusal(code, "")
	}
	i := ticket.Slot()
	for i >= len(m.slots) {
		m.slots = append(m.slots, slot{})
	}
	s.call = c
	m.slots[i] = s
	return ticket, nil
}

// wait returns when the waiter has its reply.
func (m *Master) wait(ctx context.Context, w *waiter, ticket dispatch.Ticket, progress func([]byte)) {
	done := ctx.Done()
	for {
		if done == nil {
			<-w.wake
		} else {
			select {
			case <-w.wake:
			case <-done:
				done = nil
				m.mu.Lock()
				now := m.now()
				m.machine.Cancel(now, ticket) // if it is not answered: then the wake is there
				m.act(now)
				m.unlock()
				continue
			}
		}
		if progress == nil {
			return
		}
		m.mu.Lock()
		said, finished := w.progress, w.finished
		w.progress = nil
		m.mu.Unlock()
		for _, b := range said {
			progress(b)
		}
		if finished {
			return
		}
	}
}

// result is what the reply says. The waiter is free afterwards.
func (w *waiter) result(ctx context.Context, c *dispatch.Call, job []byte, limited bool) ([]byte, error) {
	defer w.free()
	var h wire.Head
	var body []byte
	if w.message != nil {
		body, _ = decode(w.message, &h)
	}
	if w.reply.Code == wire.OK {
		if len(body) > gift {
			return body, nil // the message is the garbage collector's
		}
		out := append([]byte(nil), body...)
		w.message.Release()
		return out, nil
	}
	e := errorOf(&w.reply, w.worker, c, job, string(h.Text), append([]byte(nil), body...))
	if w.message != nil {
		w.message.Release()
	}
	e.because(ctx, limited)
	return nil, e
}

// act does what the machine wants done, and sets the clock. It is called after
// each event.
func (m *Master) act(now time.Duration) {
	for {
		actions := m.machine.Actions()
		if len(actions) == 0 {
			break
		}
		for i := range actions {
			m.do(now, &actions[i])
		}
	}
	if next, ok := m.machine.Next(); ok && next < m.armed && !m.closed {
		m.armed = next
		m.timer.Reset(max(0, next-now))
	}
}

// due is the timer. It may fire too early: deadlines that are met are not worth
// setting it anew.
func (m *Master) due() {
	m.mu.Lock()
	defer m.unlock()
	if m.closed {
		return
	}
	m.armed = math.MaxInt64
	now := m.now()
	m.machine.Tick(now)
	m.act(now)
}

func (m *Master) do(now time.Duration, a *dispatch.Action) {
	switch a.Do {
	case dispatch.Reply:
		m.reply(a)
		return
	case dispatch.Stopped:
		close(m.stopped)
		return
	}
	p := m.workers[a.Worker]
	if p == nil {
		return
	}
	switch a.Do {
	case dispatch.Send:
		s := &m.slots[a.Ticket.Slot()]
		s.to = p
		p.give(a, s)
	case dispatch.Withdraw:
		p.tell(p.work, &wire.Head{Type: wire.Cancel, Number: a.Number})
	case dispatch.Ask:
		p.pings++
		p.tell(p.reg, &wire.Head{Type: wire.Ping, Number: p.pings})
	case dispatch.TellDrain:
		p.tell(p.work, &wire.Head{Type: wire.Drain, Code: wire.Stop})
	case dispatch.Close:
		p.close(a.Code)
	}
}

// reply answers a caller.
func (m *Master) reply(a *dispatch.Action) {
	s := &m.slots[a.Ticket.Slot()]
	name := ""
	if s.to != nil {
		name = s.to.name
	}
	var answer *zmq.Message
	switch a.Code {
	case wire.OK, wire.Application, wire.Rejected, wire.Panic:
		answer, m.hand = m.hand, nil
	}
	if w := s.wait; w != nil {
		w.message, w.reply, w.worker, w.finished = answer, *a, name, true
		w.notify()
	} else {
		s.caller.answer(a, s, name, answer)
	}
	if s.owned != nil {
		s.owned.Release()
	}
	*s = slot{}
}

// event runs what tells the machine something, in its order.
func (m *Master) event(f func(now time.Duration)) {
	m.mu.Lock()
	defer m.unlock()
	now := m.now()
	f(now)
	m.act(now)
}

// Drain ends the master: calls and workers are refused from now on, the calls
// that it has are served, for DrainTime at most. It returns when that is done and
// the master is closed. When ctx ends it returns too, and the master goes on
// draining.
func (m *Master) Drain(ctx context.Context) error {
	m.event(func(now time.Duration) {
		m.machine.Drain(now)
		m.ending = true
		for p := range m.peers {
			if p.role == aCaller {
				p.tell(p.reg, &wire.Head{Type: wire.Drain, Code: wire.Stop})
			}
		}
	})
	select {
	case <-m.stopped:
		return m.Close()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close ends the master at once: calls that wait are answered with
// [ErrDraining], those that a worker has with [ErrWorkerLost]. Afterwards nothing
// of the master is left, in the process and in the file system.
func (m *Master) Close() error {
	m.mu.Lock()
	if !m.closed {
		now := m.now()
		m.machine.End(now)
		m.act(now)
		m.closed = true
		m.timer.Stop()
		for p := range m.peers {
			p.goodbye()
		}
	}
	m.mu.Unlock()
	m.cancel()
	err := errors.Join(m.unlisten(), m.closeStatus())
	m.serving.Wait()
	return err
}

// unlisten ends listening for workers and callers.
func (m *Master) unlisten() error {
	err := m.listener.Close()
	if m.tcp != nil {
		err = errors.Join(err, m.tcp.Close())
	}
	return err
}

// monitor is told of connections that did not become links.
func (m *Master) monitor(e zmq.Event) {
	if e.Kind != zmq.Refused || e.Err == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	m.count.refused++
	who := identify(e.Peer)
	if e.Peer.Network == "unix" {
		who = fmt.Sprintf("%s (uid %d)", who, e.Peer.UID)
	}
	m.log(who, "a connection of %s is refused: %v", who, e.Err)
}

// log tells a line, one of a kind once a second of a peer at most.
func (m *Master) log(peer, format string, args ...any) {
	if m.cfg.Log == nil {
		return
	}
	peer += format
	now := m.now()
	if last, ok := m.logged[peer]; ok && now-last < time.Second {
		return
	}
	if len(m.logged) >= 1024 {
		clear(m.logged)
	}
	m.logged[peer] = now
	m.cfg.Log(fmt.Sprintf(format, args...))
}

// own is the process of the master.
func own() uint32 { return uint32(os.Getpid()) }
