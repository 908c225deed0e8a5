package powerhose

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"appbundle/internal/zmq"
	"appbundle/powerhose/internal/wire"
)

// A session is one registration.
type session struct {
	s        *server
	reg      *zmq.Link
	answered chan struct{} // closed when WELCOME or REFUSED came, or the end
	welcome  wire.Head     // Type is 0 before it came
	refused  wire.Head
	text     string
	work     *zmq.Link
	attached bool
	jobs     []*Job // that are not started
	running  *Job
	started  time.Time     // of it
	watching bool          // there may be a job of which the watch does not know
	watch    chan struct{} // holds one
	failed   error         // ends the worker
	heard    time.Time     // of the master
	bye      bool          // the master said it
	left     bool          // we have said DRAIN
	over     bool          // nothing is sent any more, and nothing is started
	head     []byte
	loan     zmq.Loan       // of the answer that is being written
	links    sync.WaitGroup // that are served
}

// end closes both links, and forgets what is not started.
func (n *session) end() {
	if n.over {
		return
	}
	n.over = true
	n.reg.Close()
	if n.work != nil {
		n.work.Close()
	}
	for _, j := range n.jobs {
		j.message.Release()
	}
	n.jobs = nil
	if n.welcome.Type == 0 && n.refused.Type == 0 {
		close(n.answered)
	}
	n.s.poke()
}

// registration handles what the master says on the registration link.
func (n *session) registration(msg *zmq.Message) {
	defer msg.Release()
	var h wire.Head
	_, err := decode(msg, &h)
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	n.heard = time.Now()
	switch {
	case n.over:
	case err != nil:
		n.refuse(n.reg, err)
	case h.Type == wire.Welcome && n.welcome.Type == 0:
		n.welcome = h
		heed(&h, n.reg)
		close(n.answered)
	case h.Type == wire.Refused:
		n.refuses(&h)
	case h.Type == wire.Ping:
		pong := wire.Head{Type: wire.Pong, Number: h.Number, Held: n.held()}
		if n.running != nil {
			pong.Run = milliseconds(time.Since(n.started))
		}
		_ = sendHead(n.reg, &pong)
	case h.Type == wire.Pong:
	default:
		n.refuse(n.reg, fmt.Errorf("%s is not for the registration link", h.Type))
	}
	n.s.poke()
}

// refuses notes the REFUSED of a master.
func (n *session) refuses(h *wire.Head) {
	n.text = string(h.Text)
	if n.welcome.Type == 0 && n.refused.Type == 0 {
		close(n.answered)
	}
	n.refused = wire.Head{Type: wire.Refused, Code: h.Code}
	n.end()
}

// refuse ends with a master that sends what it must not.
func (n *session) refuse(l *zmq.Link, err error) {
	n.s.log("master %s: %v", n.s.master.name, err)
	_ = sendHead(l, &wire.Head{Type: wire.Refused, Code: wire.Malformed, Text: []byte(wire.CutText(err.Error()))})
	soon, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = l.Flush(soon)
	n.end()
}

// held are the jobs that the worker has.
func (n *session) held() wire.Numbers {
	var out wire.Numbers
	if n.running != nil {
		out = out.Add(n.running.number)
	}
	for _, j := range n.jobs {
		if out.Len() < wire.MaxWindow {
			out = out.Add(j.number)
		}
	}
	return out
}

// accept is the life of a connection to our own socket: the work link, if it is
// that of the master with which we have registered.
func (s *server) accept(l *zmq.Link) {
	s.mu.Lock()
	n := s.session
	s.mu.Unlock()
	if n == nil {
		return
	}
	give := time.AfterFunc(attachTime, l.Close)
	defer give.Stop()
	mine := false
	_ = l.ServeQuiet(func(msg *zmq.Message) {
		if mine {
			n.message(msg)
			return
		}
		<-n.answered // the master may be here before its WELCOME is there
		var h wire.Head
		_, err := decode(msg, &h)
		s.mu.Lock()
		if err == nil && !n.over && n.work == nil && h.Type == wire.Welcome && n.welcome.Type != 0 && h.Incarnation == n.welcome.Incarnation {
			mine, n.work, n.attached = true, l, true
			n.heard = time.Now()
			give.Stop()
			heed(&n.welcome, l)
			_ = l.TrySend(s.hello)
		}
		s.mu.Unlock()
		msg.Release()
		if !mine {
			l.Close()
			return
		}
		s.poke()
	}, func() bool { return n.quiet() })
	if mine {
		// The master may have said why on the other link.
		for !n.reg.Settled() {
			runtime.Gosched()
		}
		s.mu.Lock()
		n.end()
		s.mu.Unlock()
	}
}

// message handles what the master says on the work link.
func (n *session) message(msg *zmq.Message) {
	var h wire.Head
	body, err := decode(msg, &h)
	keep := false
	s := n.s
	s.mu.Lock()
	switch {
	case n.over:
	case err != nil:
		n.refuse(n.work, err)
	case h.Type == wire.Job && n.left:
		n.send(&wire.Head{Type: wire.Returned, Number: h.Number}, nil)
	case h.Type == wire.Job && len(n.jobs) >= wire.MaxWindow:
		n.refuse(n.work, errors.New("more jobs than the window has"))
	case h.Type == wire.Job && uint64(len(body)) > n.welcome.MaxBody:
		n.refuse(n.work, fmt.Errorf("a job of %d bytes; the master says that it has at most %d", len(body), n.welcome.MaxBody))
	case h.Type == wire.Job:
		keep = true
		n.jobs = append(n.jobs, &Job{
			Body: body, Kind: string(h.Kind), Attempt: int(h.Attempt), Repeatable: h.Flags&wire.FlagRepeatable != 0,
			Deadline: time.Now().Add(time.Duration(h.Left) * time.Millisecond),
			number:   h.Number, progress: h.Flags&wire.FlagProgress != 0, session: n, message: msg,
		})
	case h.Type == wire.Cancel:
		n.cancel(h.Number)
	case h.Type == wire.Drain:
		s.leaving = max(s.leaving, wire.Stop)
		n.leave()
	case h.Type == wire.Bye:
		n.bye = true
		n.end()
	case h.Type == wire.Refused:
		n.refuses(&h)
	default:
		n.refuse(n.work, fmt.Errorf("%s is not for the work link", h.Type))
	}
	s.mu.Unlock()
	if !keep {
		msg.Release()
		s.poke()
	}
}

// cancel notes that nobody waits for a job.
func (n *session) cancel(number uint64) {
	if j := n.running; j != nil && j.number == number {
		j.gone = true
		j.ctx.cancel(context.Canceled)
		return
	}
	for _, j := range n.jobs {
		if j.number == number {
			j.gone = true
		}
	}
}

// leave says DRAIN once, and gives back what is not started.
func (n *session) leave() {
	if !n.left {
		n.left = true
		n.send(&wire.Head{Type: wire.Drain, Code: n.s.leaving}, nil)
	}
	for _, j := range n.jobs {
		n.send(&wire.Head{Type: wire.Returned, Number: j.number}, nil)
		j.message.Release()
	}
	n.jobs = nil
}

// leave makes the worker end when it has done what it does.
func (s *server) leave(code wire.Code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving == 0 {
		s.leaving = code
	}
	if n := s.session; n != nil && n.attached && !n.over {
		n.leave()
	}
	s.poke()
}

// send writes a message to the work link.
func (n *session) send(h *wire.Head, body []byte) {
	n.queue(h, body, nil)
	n.work.Push()
}

// queue is send without the writing, and may leave the body to a loan.
func (n *session) queue(h *wire.Head, body []byte, loan zmq.Owner) {
	b, err := h.Append(n.head[:0])
	if err != nil {
		return
	}
	n.head = b
	if h.Type.HasBody() {
		_ = n.work.QueueBody(b, body, loan)
	} else {
		_ = n.work.Queue(b)
	}
}

// next takes the job that is to be started. The link may have ended when that is
// not known yet to all of the session.
func (n *session) next() *Job {
	if n.over || len(n.jobs) == 0 || n.work.Ended() {
		return nil
	}
	j := n.jobs[0]
	n.jobs[0] = nil
	n.jobs = n.jobs[1:]
	n.running = j
	return j
}

// quiet does a job, if there is one: all that is there was read, so that it is
// not cancelled, and did not come over a link that has ended. The link is read
// by the same goroutine. If the job takes long the watch lets another one read;
// then this one does all the jobs that come meanwhile.
func (n *session) quiet() bool {
	s := n.s
	s.mu.Lock()
	if n.running != nil {
		s.mu.Unlock()
		return false
	}
	j := n.next()
	for j != nil {
		if !n.watching {
			n.watching = true
			n.watch <- struct{}{}
		}
		s.mu.Unlock()
		s.do(n, j)
		s.mu.Lock()
		if !j.long {
			n.running = nil
			n.heard = time.Now()
			break
		}
		s.mu.Unlock()
		for !n.work.Settled() {
			runtime.Gosched()
		}
		s.mu.Lock()
		n.running = nil
		n.heard = time.Now()
		if j = n.next(); j != nil {
			j.long = true // we are not the reader any more
		}
	}
	more := len(n.jobs) > 0
	if n.over || n.failed != nil || s.leaving != 0 {
		s.poke() // somebody waits for the end of the job
	}
	s.mu.Unlock()
	return more
}

// long is how long a job runs before somebody else reads the link.
const long = 5 * time.Millisecond

// watchJobs sees to it that a job that runs for long does not keep the link from
// being read. While there are no jobs it sleeps.
func (n *session) watchJobs() {
	tick := time.NewTicker(long)
	defer tick.Stop()
	for range n.watch {
		tick.Reset(long)
		var last *Job
		for {
			<-tick.C
			n.s.mu.Lock()
			j := n.running
			if j != nil && j == last && !j.long {
				j.long = n.work.Overtake()
			}
			if j == nil && last == nil || n.over {
				n.watching = false
				n.s.mu.Unlock()
				break
			}
			last = j
			n.s.mu.Unlock()
		}
		tick.Stop()
	}
}
