package powerhose

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"appbundle/internal/zmq"
	"appbundle/powerhose/internal/wire"
)

// A client is a caller of a master in another process. It keeps one link to it.
type client struct {
	master remote
	ctx    context.Context // ends with the client
	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu     sync.Mutex
	link   *zmq.Link     // nil while there is none
	change chan struct{} // closed when link or why is another
	why    error         // there is no link
	body   int64         // longest, as the master says
	number uint64
	head   []byte // that is being written
	calls  map[uint64]*reply
	closed bool
	heard  time.Time
}

// A reply is a call that waits for its REPLY.
type reply struct {
	wake     chan struct{} // holds one
	finished bool
	err      *Error
	message  *zmq.Message
	head     wire.Head
	progress [][]byte
	listens  bool
	until    time.Time // zero is the master's affair
	loan     zmq.Loan  // of the job
}

var replies = sync.Pool{New: func() any { return &reply{wake: make(chan struct{}, 1)} }}

func (r *reply) notify() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *reply) free() {
	select {
	case <-r.wake:
	default:
	}
	*r = reply{wake: r.wake}
	replies.Put(r)
}

const (
	// sweep is how often a client looks for calls of which the master should have
	// told the end.
	sweep = 100 * time.Millisecond
	// lateness is how long after the deadline that is.
	lateness = 250 * time.Millisecond
	// redial is how long a client waits at most before it looks again.
	redial = 500 * time.Millisecond
	// noMaster is how long a call waits for a master, if it says nothing.
	noMaster = time.Second
)

func newClient(master remote) *client {
	c := &client{master: master, change: make(chan struct{}), calls: map[uint64]*reply{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.ended.Go(c.run)
	return c
}

// run keeps a link to the master.
func (c *client) run() {
	for try := 1; c.ctx.Err() == nil; try++ {
		up, err := c.serve()
		if up {
			try = 1
		}
		c.lost(err)
		t := time.NewTimer(min(backoff(try), redial))
		select {
		case <-t.C:
		case <-c.ctx.Done():
		}
		t.Stop()
	}
}

// serve is the life of one link.
func (c *client) serve() (up bool, err error) {
	l, err := zmq.Dial(c.ctx, c.master.endpoint, c.master.dial(links(zmq.TypeDealer, maxBody, 1, nil)))
	if err != nil {
		return false, err
	}
	hello := wire.Head{Type: wire.Hello, PID: own(), Lowest: wire.Version, Highest: wire.Version}
	if _, err = rand.Read(hello.Incarnation[:]); err == nil {
		err = sendHead(l, &hello)
	}
	if err != nil {
		l.Close()
		return false, err
	}
	c.mu.Lock()
	c.heard = time.Now()
	c.mu.Unlock()
	period, tries := attachTime, 1
	welcomed := make(chan wire.Head, 1)
	var refused error
	stop := context.AfterFunc(c.ctx, l.Close)
	defer stop()
	quit := make(chan struct{})
	watch := sync.WaitGroup{}
	watch.Go(func() {
		tick := time.NewTicker(sweep)
		defer tick.Stop()
		pinged, pings := time.Now(), uint64(0)
		for {
			select {
			case <-quit:
				return
			case h := <-welcomed:
				period, tries = time.Duration(h.Period)*time.Millisecond, int(h.Tries)
			case now := <-tick.C:
				if c.silence(now) > period*time.Duration(tries) {
					l.Close()
				}
				if now.Sub(pinged) >= period {
					pings++
					pinged = now
					_ = sendHead(l, &wire.Head{Type: wire.Ping, Number: pings})
				}
			}
		}
	})
	err = l.Serve(func(m *zmq.Message) {
		var h wire.Head
		body, err := decode(m, &h)
		if err == nil && !up && h.Type != wire.Welcome && h.Type != wire.Refused {
			err = fmt.Errorf("%s where WELCOME has to come", h.Type)
		}
		keep := false
		switch {
		case err != nil:
			refused = err
			l.Close()
		case h.Type == wire.Welcome && !up:
			up = true
			welcomed <- h
			heed(&h, l)
			c.welcome(l, int64(h.MaxBody))
		case h.Type == wire.Refused:
			refused = &refusedError{h.Code, string(h.Text)}
			l.Close()
		default:
			keep = c.message(l, m, &h, body)
		}
		if !keep {
			m.Release()
		}
	})
	close(quit)
	watch.Wait()
	if refused != nil {
		err = refused
	}
	return up, err
}

func (c *client) welcome(l *zmq.Link, body int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link, c.body = l, body
	c.heard = time.Now()
	c.changed()
}

// changed wakes the calls that wait for a link.
func (c *client) changed() {
	close(c.change)
	c.change = make(chan struct{})
}

// lost ends the calls of a link that is gone.
func (c *client) lost(err error) {
	if err == nil {
		err = errEnded
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.why = callError(err)
	if c.link != nil {
		c.link = nil
		c.changed()
	}
	for n, r := range c.calls {
		c.finish(n, r, &Error{reason: ErrMasterLost, Text: fmt.Sprintf("master %s was lost (%v); what became of the job is not known", c.master.name, c.why)})
	}
}

// finish ends a call without a REPLY.
func (c *client) finish(number uint64, r *reply, err *Error) {
	delete(c.calls, number)
	r.err, r.finished = err, true
	r.notify()
}

// silence is for how long nothing came, after calls without an answer in time
// were ended.
func (c *client) silence(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n, r := range c.calls {
		if !r.until.IsZero() && now.After(r.until) {
			c.finish(n, r, &Error{code: wire.Timeout, Attempt: 1, Text: fmt.Sprintf("the deadline is over, and master %s did not say so", c.master.name)})
		}
	}
	return now.Sub(c.heard)
}

// message handles what a master says, and reports whether it keeps the message.
func (c *client) message(l *zmq.Link, m *zmq.Message, h *wire.Head, body []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = time.Now()
	switch h.Type {
	case wire.Reply:
		r := c.calls[h.Number]
		if r == nil {
			return false
		}
		delete(c.calls, h.Number)
		r.message, r.head, r.finished = m, *h, true
		r.notify()
		return true
	case wire.Progress:
		if r := c.calls[h.Number]; r != nil && r.listens && len(r.progress) < maxProgress {
			r.progress = append(r.progress, append([]byte(nil), body...))
			r.notify()
		}
	case wire.Ping:
		_ = sendHead(l, &wire.Head{Type: wire.Pong, Number: h.Number})
	}
	return false
}

// execute is [JobRunner.Execute].
func (c *client) execute(ctx context.Context, job []byte, call Call) ([]byte, error) {
	limited, err := call.within(ctx)
	if err != nil {
		return nil, err
	}
	r := replies.Get().(*reply)
	r.listens = call.Progress != nil
	l, number, failed := c.send(ctx, r, job, &call)
	if failed != nil {
		r.free()
		failed.because(ctx, limited)
		return nil, failed
	}
	c.await(ctx, r, l, number, call.Progress)
	r.loan.Recall()
	defer r.free()
	if r.err != nil {
		r.err.because(ctx, limited)
		return nil, r.err
	}
	var h wire.Head
	body, err := decode(r.message, &h)
	if err != nil {
		return nil, err
	}
	if e := errorFrom(&h, body); e != nil {
		r.message.Release()
		e.because(ctx, limited)
		return nil, e
	}
	if len(body) > gift {
		return body, nil
	}
	out := append([]byte(nil), body...)
	r.message.Release()
	return out, nil
}

// send writes the CALL, for which it may wait for a master.
func (c *client) send(ctx context.Context, r *reply, job []byte, call *Call) (*zmq.Link, uint64, *Error) {
	var late <-chan time.Time
	began := time.Now()
	for {
		c.mu.Lock()
		switch {
		case c.closed:
			c.mu.Unlock()
			return nil, 0, refusal(wire.Draining, "the runner is closed")
		case c.link != nil && int64(len(job)) > c.body:
			c.mu.Unlock()
			return nil, 0, refusal(wire.TooBig, fmt.Sprintf("the job has %d bytes; the master takes at most %d (its --max-body)", len(job), c.body))
		case c.link != nil:
			l := c.link
			failed, dead := c.queue(l, r, job, call, began)
			if !dead {
				number := c.number
				c.mu.Unlock()
				l.Push()
				if failed != nil {
					return nil, 0, failed
				}
				return l, number, nil
			}
			c.link = nil // it has ended, and run has not said so yet: as where there is none
		}
		change := c.change
		c.mu.Unlock()
		if late == nil {
			wait := noMaster
			if call.BusyWait != 0 {
				wait = max(call.BusyWait, 0)
			}
			if call.Deadline > 0 {
				wait = min(wait, call.Deadline)
			}
			t := time.NewTimer(wait)
			defer t.Stop()
			late = t.C
		}
		select {
		case <-change:
		case <-ctx.Done():
			return nil, 0, &Error{code: wire.Cancelled}
		case <-late:
			c.mu.Lock()
			why := c.why
			c.mu.Unlock()
			if why == nil {
				why = os.ErrDeadlineExceeded
			}
			return nil, 0, &Error{reason: ErrNoMaster, Text: fmt.Sprintf("%v at %s: %v", ErrNoMaster, c.master.name, why)}
		}
	}
}

// queue writes the CALL to a link, or says why not, and whether that is because the
// link is dead.
func (c *client) queue(l *zmq.Link, r *reply, job []byte, call *Call, began time.Time) (failed *Error, dead bool) {
	c.number++
	h := call.head(c.number)
	b, err := h.Append(c.head[:0])
	if err != nil {
		return &Error{reason: ErrNoMaster, Text: fmt.Sprintf("%v at %s: %v", ErrNoMaster, c.master.name, callError(err))}, false
	}
	c.head = b
	switch err = l.QueueBody(b, job, &r.loan); {
	case errors.Is(err, zmq.ErrFull):
		return refusal(wire.QueueFull, fmt.Sprintf("master %s does not read as fast as there are calls", c.master.name)), false
	case err != nil:
		c.why = callError(err)
		return nil, true
	}
	if call.Deadline > 0 {
		r.until = began.Add(call.Deadline + lateness)
	}
	c.calls[c.number] = r
	return nil, false
}

// await returns when the call has its end.
func (c *client) await(ctx context.Context, r *reply, l *zmq.Link, number uint64, progress func([]byte)) {
	done := ctx.Done()
	for {
		select {
		case <-r.wake:
		case <-done:
			done = nil
			c.mu.Lock()
			if c.calls[number] == r {
				_ = sendHead(l, &wire.Head{Type: wire.Cancel, Number: number})
				c.finish(number, r, &Error{code: wire.Cancelled, Attempt: 1})
			}
			c.mu.Unlock()
			continue
		}
		if progress == nil {
			return
		}
		c.mu.Lock()
		said, finished := r.progress, r.finished
		r.progress = nil
		c.mu.Unlock()
		for _, b := range said {
			progress(b)
		}
		if finished {
			return
		}
	}
}

func (c *client) close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.ended.Wait()
	return nil
}
