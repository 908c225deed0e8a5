package powerhose

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"syscall"
	"time"

	"appbundle/internal/zmq"
	"appbundle/powerhose/internal/dispatch"
	"appbundle/powerhose/internal/wire"
)

// A role is what a peer has said that it is.
type role uint8

const (
	aStranger role = iota
	aWorker
	aCaller
)

// A peer is a process that has connected to the master's socket. Its fields are
// of the master's mutex, except that links are safe by themselves.
type peer struct {
	m     *Master
	reg   *zmq.Link
	who   zmq.Credentials
	role  role
	timer *time.Timer // closes both links when it is time

	// Of a worker.
	name     string
	kinds    []string // that it takes, each once; none is all
	hello    []byte   // its registration, byte for byte
	handle   dispatch.Worker
	work     *zmq.Link
	attached bool
	gone     chan struct{} // closed when the work link is over
	ended    chan struct{} // closed when the registration link is over
	dialling context.CancelFunc
	cut      bool       // we have closed the work link
	leaving  bool       // it is told BYE, or why it is closed
	bye      bool       // it has said BYE
	told     bool       // the log says that it is closed
	refused  bool       // nothing that it says counts any more
	why      string     // it is closed, where the code does not say it
	pings    uint64     // that were sent
	messages uint64     // that the work link took
	jobs     uint64     // of them
	ordinal  [16]uint64 // message of the last JOBs, by their own number

	// Of a caller.
	calls map[uint64]dispatch.Ticket
	asked int // the most calls that were open at a time, since it last had read all
}

// serve is the life of a connection to the master's socket.
func (m *Master) serve(l *zmq.Link) {
	p := &peer{m: m, reg: l, who: l.Peer().Credentials, ended: make(chan struct{})}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return
	}
	m.peers[p] = struct{}{}
	p.timer = time.AfterFunc(m.cfg.Handshake, p.silent)
	m.mu.Unlock()

	err := l.Serve(p.registration)
	close(p.ended)
	var gone chan struct{}
	m.event(func(now time.Duration) {
		p.malformed(err)
		switch p.role {
		case aWorker:
			// What it has written before it ended is still to be read.
			m.machine.Bye(p.handle)
			gone = p.gone
		case aCaller:
			m.count.callers--
			for _, ticket := range p.calls {
				m.machine.Cancel(now, ticket)
			}
		}
	})
	if gone != nil {
		<-gone
	}
	m.mu.Lock()
	p.timer.Stop()
	delete(m.peers, p)
	m.mu.Unlock()
}

// silent ends a connection of which no registration came.
func (p *peer) silent() {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if p.role == aStranger {
		p.m.log(p.id(), "a connection of %s is closed: no registration within %v", p.id(), p.m.cfg.Handshake)
	}
	p.hangUp()
}

// hangUp ends both links at once.
func (p *peer) hangUp() {
	p.reg.Close()
	p.hangUpWork()
}

func (p *peer) hangUpWork() {
	p.cut = true
	if p.dialling != nil {
		p.dialling()
	}
	if p.work != nil {
		p.work.Close()
	}
}

// tell queues a message without a body. What cannot be queued is the matter of
// who reads the link.
func (p *peer) tell(l *zmq.Link, h *wire.Head) {
	if l == nil {
		return
	}
	b, err := h.Append(p.m.head[:0])
	if err != nil {
		return
	}
	p.m.head = b
	err = l.TrySend(b)
	if l == p.work {
		p.sent(err)
	}
}

// sent notes what became of a message to the work link.
func (p *peer) sent(err error) {
	switch {
	case err == nil:
		p.messages++
	case errors.Is(err, zmq.ErrFull):
		p.m.machine.Fail(p.handle, wire.TooSlow)
	default:
		// It is gone, and cannot be written to. What it has written comes still.
		p.m.machine.Bye(p.handle)
	}
}

// give sends a JOB.
func (p *peer) give(a *dispatch.Action, s *slot) {
	h := wire.Head{Type: wire.Job, Number: a.Number, Left: milliseconds(a.Left), Attempt: a.Attempt, Kind: s.call.Kind}
	if s.call.Repeatable {
		h.Flags |= wire.FlagRepeatable
	}
	if s.call.Progress {
		h.Flags |= wire.FlagProgress
	}
	m := p.m
	err := zmq.ErrClosed
	if p.work != nil && !p.cut {
		var b []byte
		if b, err = h.Append(m.head[:0]); err == nil {
			m.head = b
			err = m.queue(p.work, b, s.job, s.owner)
		}
	}
	at := &p.ordinal[p.jobs%uint64(len(p.ordinal))]
	p.jobs++
	*at = p.messages + 1
	if err != nil {
		*at = math.MaxUint64 // not a byte of it is written
	}
	p.sent(err)
}

// written is how many JOBs may have been seen by the worker, when the link is
// over.
func (p *peer) written() uint64 {
	if p.work == nil {
		return 0
	}
	seen := p.messages - uint64(p.work.Unseen())
	n := p.jobs
	for n > 0 && p.jobs-n < uint64(len(p.ordinal)) && p.ordinal[(n-1)%uint64(len(p.ordinal))] > seen {
		n--
	}
	return n
}

// refuse says why on the registration link, which is closed when the peer has
// had time to read it.
func (p *peer) refuse(code wire.Code, text string) {
	p.refused = true
	p.tell(p.reg, &wire.Head{Type: wire.Refused, Code: code, Text: []byte(wire.CutText(text))})
	p.reg.CloseWrite()
	p.hangUpIn(refuseTime)
}

func (p *peer) hangUpIn(d time.Duration) {
	p.timer.Stop()
	p.timer = time.AfterFunc(d, func() {
		p.m.mu.Lock()
		defer p.m.mu.Unlock()
		p.hangUp()
	})
}

// texts are for a worker that is closed, and for the log.
var texts = map[wire.Code]string{
	wire.BadSocket: "the socket is not that of the worker", wire.Malformed: "it sent what is no message", wire.Broken: "it does not keep to the protocol",
	wire.TooSlow: "it does not read", wire.Silent: "it is silent", wire.Overdue: "it went on with a job after deadline and grace",
	wire.Replaced: "it registered again", wire.Draining: "the master is ending", wire.TooFast: "there are too many registrations in this second",
	wire.TooMany: "there are too many workers, or kinds", wire.BadVersion: "this master speaks version 1 alone",
}

// close ends a worker as the machine says.
func (p *peer) close(code wire.Code) {
	if p.leaving {
		return
	}
	p.leaving = true
	switch {
	case code == wire.Stop:
		p.tell(p.work, &wire.Head{Type: wire.Bye, Code: wire.Stop})
		p.hangUpIn(byeTime)
	default:
		text := texts[code]
		if p.why != "" {
			text = p.why
		}
		p.told = true
		p.tellOf("is closed: " + text)
		p.cut = true
		p.refuse(code, text)
		p.m.serving.Go(func() {
			// The reason is there before the end is seen.
			soon, cancel := context.WithTimeout(p.m.ctx, refuseTime)
			defer cancel()
			_ = p.reg.Flush(soon)
			p.m.mu.Lock()
			defer p.m.mu.Unlock()
			p.hangUpWork()
		})
	}
}

// tellOf logs that a worker comes or goes. Each one has its line: registrations are
// limited, and so are these.
func (p *peer) tellOf(what string) {
	if log := p.m.cfg.Log; log != nil {
		log(fmt.Sprintf("worker %q (%s) %s", p.name, p.id(), what))
	}
}

// goodbye ends a peer at the end of the master. A worker that sees the end of its
// registration first would not know why: it closes that link itself.
func (p *peer) goodbye() {
	if p.work != nil {
		p.tell(p.work, &wire.Head{Type: wire.Bye, Code: wire.Stop})
		p.work.CloseWrite()
	} else {
		p.reg.CloseWrite()
	}
	p.hangUpIn(endTime)
}

// malformed closes a peer whose link ended by what it sent.
func (p *peer) malformed(err error) {
	var bad *zmq.ProtocolError
	if !errors.As(err, &bad) {
		return
	}
	p.m.count.malformed++
	if p.role == aWorker {
		p.fail(wire.Malformed, err)
		return
	}
	p.m.log(p.id(), "%s is closed: %v", p.id(), err)
}

// fail closes a worker for what it did.
func (p *peer) fail(code wire.Code, err error) {
	if p.why == "" {
		p.why = fmt.Sprintf("%s: %v", texts[code], err)
	}
	p.m.machine.Fail(p.handle, code)
}

// registration handles what comes over the link that the peer has made.
func (p *peer) registration(msg *zmq.Message) {
	var h wire.Head
	body, err := decode(msg, &h)
	keep := false
	m := p.m
	m.mu.Lock()
	now := m.now()
	switch {
	case p.refused:
	case err != nil:
		p.bad(err)
	case p.role == aStranger && h.Type == wire.Hello:
		p.register(now, &h, msg.Frames[0])
	case h.Type == wire.Ping && p.role != aStranger:
		if p.role == aWorker {
			p.m.machine.Heard(now, p.handle)
		}
		p.tell(p.reg, &wire.Head{Type: wire.Pong, Number: h.Number})
	case h.Type == wire.Pong && p.role == aWorker:
		p.m.machine.Pong(now, p.handle, h.Held)
	case h.Type == wire.Pong && p.role == aCaller:
	case h.Type == wire.Refused && p.role != aStranger:
		p.reg.CloseWrite()
		p.hangUpIn(refuseTime)
	case h.Type == wire.Call && p.role == aCaller:
		keep = p.call(now, &h, body, msg)
	case h.Type == wire.Cancel && p.role == aCaller:
		if ticket, ok := p.calls[h.Number]; ok {
			p.m.machine.Cancel(now, ticket)
		}
	default:
		p.bad(fmt.Errorf("%s is not for the registration link", h.Type))
	}
	m.act(now)
	m.unlockFor(p.reg)
	if !keep {
		msg.Release()
	}
}

// bad ends a peer that sent what it must not.
func (p *peer) bad(err error) {
	m := p.m
	m.count.malformed++
	if p.role == aWorker {
		p.fail(wire.Malformed, err)
		return
	}
	m.log(p.id(), "%s is closed: %v", p.id(), err)
	p.refuse(wire.Malformed, err.Error())
}

// register answers a HELLO.
func (p *peer) register(now time.Duration, h *wire.Head, frame []byte) {
	m := p.m
	no := func(code wire.Code, text string) {
		m.log(fmt.Sprint(p.id(), code), "%s is refused: %s", p.id(), text)
		p.refuse(code, text)
	}
	if m.closed {
		no(wire.Draining, texts[wire.Draining])
		return
	}
	if !p.admitted() {
		no(wire.BadCredentials, notAdmitted)
		return
	}
	if h.Window == 0 {
		if h.Lowest > wire.Version || h.Highest < wire.Version {
			no(wire.BadVersion, texts[wire.BadVersion])
			return
		}
		p.timer.Stop()
		p.role, p.calls = aCaller, map[uint64]dispatch.Ticket{}
		m.count.callers++
		p.tell(p.reg, m.welcome(0))
		return
	}
	endpoint, err := p.socketOf(string(h.Socket))
	if err != nil {
		no(wire.BadSocket, err.Error())
		return
	}
	pid := h.PID
	if p.who.PID != 0 {
		pid = uint32(p.who.PID)
	}
	var kinds []string
	for k := range h.Kinds.All() {
		if kind := string(k); !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	window := p.window(h.Window)
	handle, code := m.machine.Register(now, dispatch.Registration{
		Name: string(h.Name), Incarnation: h.Incarnation, PID: pid, Lowest: h.Lowest, Highest: h.Highest,
		Window: window, Kinds: kinds, Held: h.Held,
	})
	if code != wire.OK {
		text := texts[code]
		if code == wire.NameTaken {
			text = fmt.Sprintf("a worker with the name %q is there", h.Name)
		}
		no(code, text)
		return
	}
	p.timer.Stop()
	p.role, p.handle, p.name, p.kinds, p.hello = aWorker, handle, string(h.Name), kinds, bytes.Clone(frame)
	p.gone = make(chan struct{})
	m.workers[handle] = p
	p.tell(p.reg, m.welcome(window))
	p.tellOf("registers")
	ctx, cancel := context.WithCancel(m.ctx)
	p.dialling = cancel
	m.serving.Go(func() {
		defer cancel()
		p.serveWork(ctx, endpoint, window)
	})
}

// welcome is the WELCOME for a worker with this window, or for a caller.
func (m *Master) welcome(window int) *wire.Head {
	return &wire.Head{
		Type: wire.Welcome, Version: wire.Version, Window: uint8(window), Tries: uint8(m.cfg.Tries), Period: milliseconds(m.cfg.Period),
		MaxBody: uint64(m.cfg.MaxBody), Incarnation: m.incarnation,
	}
}

// serveWork is the life of the work link, and then the end of the worker.
func (p *peer) serveWork(ctx context.Context, endpoint string, window int) {
	m := p.m
	l, err := zmq.Dial(ctx, endpoint, p.workLink(endpoint, window))
	if err != nil {
		// The sockets of a process that dies end one after the other: is it dead, or
		// is the socket none?
		select {
		case <-p.ended:
		case <-time.After(deathTime):
		}
	}
	m.event(func(time.Duration) {
		if err != nil {
			select {
			case <-p.ended:
				m.machine.Bye(p.handle)
				return
			default:
			}
			var foreign *zmq.AdmissionError
			bad := errors.As(err, &foreign) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)
			if bad && !p.overTCP() {
				p.fail(wire.BadSocket, err)
				return
			}
			// It may be reached another time, unlike a path that is not there.
			p.why = fmt.Sprintf("the master does not reach it at %v", err)
			m.machine.Fail(p.handle, wire.Silent)
			return
		}
		p.work = l
		if p.cut {
			l.Close()
		}
		p.tell(l, m.welcome(window))
	})
	if err == nil {
		err = l.Serve(p.answers)
		m.event(func(time.Duration) { p.malformed(err) })
	}
	m.event(func(now time.Duration) {
		if !p.told {
			what := "is gone"
			switch {
			case p.bye:
				what = "has ended"
			case m.closed:
				what = "is closed: " + texts[wire.Draining]
			}
			p.tellOf(what)
		}
		if !p.leaving {
			p.reg.Close()
		}
		delete(m.workers, p.handle)
		m.machine.Down(now, p.handle, p.written(), !p.cut)
		p.handle = 0
	})
	close(p.gone)
}

// answers handles what comes over the work link.
func (p *peer) answers(msg *zmq.Message) {
	m := p.m
	var h wire.Head
	_, err := decode(msg, &h)
	m.mu.Lock()
	now := m.now()
	if err == nil && !p.attached {
		if h.Type != wire.Hello || !bytes.Equal(msg.Frames[0], p.hello) {
			err = fmt.Errorf("%s where the HELLO of the registration has to come", h.Type)
		} else {
			p.attached = true
			m.machine.Attached(now, p.handle)
			h.Type = wire.Hello
		}
	} else if err == nil && h.Type == wire.Hello {
		err = errors.New("HELLO comes once")
	}
	m.hand = msg
	if err != nil {
		p.bad(err)
	} else {
		switch run := time.Duration(h.Run) * time.Microsecond; h.Type {
		case wire.Hello:
		case wire.Result:
			m.machine.Result(now, p.handle, h.Number, run)
		case wire.Error:
			m.machine.Error(now, p.handle, h.Number, h.Code, run)
		case wire.Returned:
			m.machine.Returned(now, p.handle, h.Number)
		case wire.Progress:
			if ticket := m.machine.Progress(now, p.handle, h.Number); ticket != 0 {
				m.progress(&m.slots[ticket.Slot()], msg)
			}
		case wire.Drain:
			m.machine.Leave(now, p.handle)
		case wire.Bye:
			p.bye = true
			m.machine.Bye(p.handle)
		case wire.Refused:
			if !p.told {
				p.told = true
				p.tellOf("refuses: " + string(h.Text))
			}
			m.machine.Bye(p.handle)
		default:
			p.bad(fmt.Errorf("%s is not for the work link", h.Type))
		}
	}
	m.act(now)
	mine := m.hand
	m.hand = nil
	m.unlockFor(p.work)
	if mine != nil {
		mine.Release()
	}
}

// callerRoom is how many bytes may wait for a caller, beside a longest body for
// each call that it had open at a time. PROGRESS has no other room, so that it
// never takes that of a REPLY.
const callerRoom = 64 << 20

// full reports whether n more bytes are too much for a caller that does not read.
func (p *peer) full(n int) bool {
	_, bytes := p.reg.Pending()
	return int64(bytes+n) > callerRoom+int64(p.asked)*(p.m.cfg.MaxBody+wire.MaxHead)
}

// progress hands a PROGRESS on. It may be dropped.
func (m *Master) progress(s *slot, msg *zmq.Message) {
	if c := s.caller; c != nil {
		if messages, bytes := c.reg.Pending(); messages >= maxPending/2 || bytes+len(msg.Frames[1]) > callerRoom {
			return
		}
		h := wire.Head{Type: wire.Progress, Number: s.number}
		if b, err := h.Append(m.head[:0]); err == nil {
			m.head = b
			_ = m.queue(c.reg, b, msg.Frames[1], msg)
		}
		return
	}
	if w := s.wait; w.listens && len(w.progress) < maxProgress {
		w.progress = append(w.progress, bytes.Clone(msg.Frames[1]))
		w.notify()
	}
}

// call takes a CALL of another process, and reports whether it keeps the message.
func (p *peer) call(now time.Duration, h *wire.Head, job []byte, msg *zmq.Message) bool {
	if _, open := p.calls[h.Number]; open {
		p.bad(fmt.Errorf("CALL with the number of an open one, %d", h.Number))
		return false
	}
	c := submissionOf(h)
	c.Kind = bytes.Clone(c.Kind)
	ticket, refused := p.m.submit(now, c, slot{job: job, caller: p, number: h.Number, owner: msg, owned: msg})
	if refused != nil {
		p.send(refused.head(h.Number), refused.Detail, nil)
		return false
	}
	p.calls[h.Number] = ticket
	if _, bytes := p.reg.Pending(); bytes == 0 {
		p.asked = 0
	}
	p.asked = max(p.asked, len(p.calls))
	return true
}

// answer sends the REPLY of a call of another process.
func (p *peer) answer(a *dispatch.Action, s *slot, worker string, msg *zmq.Message) {
	delete(p.calls, s.number)
	var said wire.Head
	var body []byte
	var owner zmq.Owner
	if msg != nil {
		body, _ = decode(msg, &said)
		owner = msg
		defer msg.Release()
	}
	if a.Code == wire.OK {
		p.send(wire.Head{
			Type: wire.Reply, Number: s.number, Attempt: a.Attempt, PID: a.PID, Wait: microseconds(a.Wait), Run: microseconds(a.Run), Name: []byte(worker),
		}, body, owner)
		return
	}
	e := errorOf(a, worker, &s.call, s.job, string(said.Text), body)
	p.send(e.head(s.number), body, owner)
}

// send writes to a caller. One that does not read is closed, and its calls are
// cancelled.
func (p *peer) send(h wire.Head, body []byte, owner zmq.Owner) {
	b, err := h.Append(p.m.head[:0])
	switch {
	case err != nil:
	case p.full(len(b) + len(body)):
		err = zmq.ErrFull
	default:
		p.m.head = b
		err = p.m.queue(p.reg, b, body, owner)
	}
	if errors.Is(err, zmq.ErrFull) {
		p.m.log(p.id(), "caller (%s) is closed: it does not read", p.id())
		p.hangUp()
	}
}
