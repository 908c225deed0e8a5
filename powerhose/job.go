package powerhose

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"appbundle/internal/zmq"
	"appbundle/powerhose/internal/wire"
)

// A Job is what a worker is to do.
type Job struct {
	Body       []byte // good until the handler returns
	Kind       string
	Attempt    int // from 1; above it the workers before were lost
	Repeatable bool
	Deadline   time.Time

	number   uint64
	progress bool
	session  *session
	ctx      jobContext
	message  *zmq.Message
	gone     bool // the caller has gone
	long     bool // somebody else reads the link while it runs
}

// Progress sends something to the caller, if it listens. It may be lost.
func (j *Job) Progress(b []byte) {
	if !j.progress {
		return
	}
	h := wire.Head{Type: wire.Progress, Number: j.number}
	if head, err := h.Append(nil); err == nil {
		_ = j.session.work.TrySend(head, b)
	}
}

// do does one job.
func (s *server) do(n *session, j *Job) {
	defer j.message.Release()
	s.mu.Lock()
	now := time.Now()
	over, gone := n.over, j.gone
	n.started = now
	s.mu.Unlock()
	switch {
	case over:
	case gone:
		s.answer(n, j, &wire.Head{Type: wire.Error, Code: wire.Cancelled}, nil)
	case !j.Deadline.After(now):
		s.answer(n, j, &wire.Head{Type: wire.Error, Code: wire.Expired}, nil)
	default:
		s.notify.begin(now)
		out, err := s.call(j)
		end := time.Now()
		s.notify.end(end)
		run := max(microseconds(end.Sub(now)), 1)
		if left := new(abandoned); errors.As(err, &left) {
			s.mu.Lock()
			n.failed = left.err
			n.end()
			s.mu.Unlock()
			return
		}
		h := wire.Head{Type: wire.Result, Run: run}
		if limit := n.welcome.MaxBody; err == nil && uint64(len(out)) > limit {
			err, out = tooLong("result", int64(len(out)), int(limit)), nil
		}
		if err != nil {
			h, out = errorHead(err, j.gone), detail(err)
			h.Run = run
		}
		s.answer(n, j, &h, out)
		s.check(end, 1)
	}
}

// tooLong is the error of a job whose answer the master does not take.
func tooLong(what string, size int64, limit int) error {
	return fmt.Errorf("the %s has %d bytes; the master takes at most %d (its --max-body)", what, size, limit)
}

// answer writes the answer, all of it, before anything else is started.
func (s *server) answer(n *session, j *Job, h *wire.Head, body []byte) {
	h.Number = j.number
	s.mu.Lock()
	if n.over {
		s.mu.Unlock()
		return
	}
	n.queue(h, body, &n.loan)
	s.mu.Unlock()
	n.work.Push()
	_ = n.work.Flush(context.Background()) // it ends with the link
	n.loan.Recall()                        // which may not have written it
}

// call runs the handler. A panic is an error of the job.
func (s *server) call(j *Job) (out []byte, err error) {
	j.ctx.deadline = j.Deadline
	defer func() {
		if p := recover(); p != nil {
			s.log("the handler panics: %v\n%s", p, debug.Stack())
			out, err = nil, &panicError{p}
		}
		j.ctx.whenCancelled(nil)
		j.ctx.cancel(context.Canceled)
	}()
	return s.handler(&j.ctx, j)
}

type panicError struct{ value any }

func (e *panicError) Error() string { return fmt.Sprint("panic: ", e.value) }

// errorHead is the ERROR for what a handler returned.
func errorHead(err error, gone bool) wire.Head {
	text := err.Error()
	var said *Error
	if errors.As(err, &said) && said.Text != "" && err == error(said) {
		text = said.Text
	}
	h := wire.Head{Type: wire.Error, Code: wire.Application, Text: []byte(wire.CutText(text))}
	var broken *panicError
	switch {
	case errors.As(err, &broken):
		h.Code = wire.Panic
	case gone && errors.Is(err, context.Canceled):
		h.Code = wire.Cancelled
	case errors.Is(err, ErrRejected):
		h.Code = wire.Rejected
	}
	return h
}

// detail is what an [*Error] of a handler says beside its text.
func detail(err error) []byte {
	var e *Error
	if errors.As(err, &e) {
		return e.Detail
	}
	return nil
}

// A jobContext is the context of a job. It makes its channel for who asks.
type jobContext struct {
	deadline time.Time
	mu       sync.Mutex
	done     chan struct{}
	err      error
	hook     func()
}

// whenCancelled calls f when nobody waits for the job any more.
func (c *jobContext) whenCancelled(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hook = f; f != nil && c.err != nil {
		f()
	}
}

func (c *jobContext) Deadline() (time.Time, bool) { return c.deadline, true }
func (c *jobContext) Value(any) any               { return nil }

func (c *jobContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	return c.done
}

func (c *jobContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *jobContext) cancel(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	if c.done != nil {
		close(c.done)
	}
	if c.hook != nil {
		c.hook()
	}
}
