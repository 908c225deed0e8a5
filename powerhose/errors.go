package powerhose

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"appbundle/powerhose/internal/dispatch"
	"appbundle/powerhose/internal/wire"
)

// The reasons for which a call has no result. errors.Is finds them in an
// [*Error].
var (
	ErrApplication = errors.New("the worker answered with an error")
	ErrRejected    = errors.New("the worker does not take such a job")
	ErrPanic       = errors.New("the handler of the worker broke")
	ErrBusy        = errors.New("no worker is free")
	ErrNoWorker    = errors.New("no worker takes such a job")
	ErrQueueFull   = errors.New("too many callers wait")
	ErrTimeout     = errors.New("the deadline is over")
	ErrWorkerLost  = errors.New("the worker was lost")
	ErrDraining    = errors.New("the master is ending")
	ErrTooBig      = errors.New("the job is too big")
	ErrCancelled   = errors.New("the call was cancelled")
	ErrMasterLost  = errors.New("the master was lost") // of a separate master: what became of the job is not known
	ErrNoMaster    = errors.New("there is no master")

	errUnknown = errors.New("a reason that this version does not know")
)

// reasons has the error of each code of a REPLY.
var reasons = map[wire.Code]error{
	wire.Application: ErrApplication, wire.Rejected: ErrRejected, wire.Panic: ErrPanic, wire.Busy: ErrBusy, wire.NoWorker: ErrNoWorker,
	wire.QueueFull: ErrQueueFull, wire.TooMany: ErrQueueFull, wire.Timeout: ErrTimeout, wire.Lost: ErrWorkerLost, wire.Draining: ErrDraining,
	wire.TooBig: ErrTooBig, wire.Cancelled: ErrCancelled,
}

// An Error is why a call has no result.
type Error struct {
	Text    string // what the worker or the master says, for people
	Detail  []byte // what the worker sent along
	Worker  string // that had the job last; empty if none had
	PID     int    // of it
	Attempt int    // how often the job was given to a worker that may have started it
	Wait    time.Duration
	Run     time.Duration // as far as the master knows

	code   wire.Code
	reason error // where no code says it
	plain  bool  // Text is somebody else's
	cause  error // of the context
}

// Error is one sentence.
func (e *Error) Error() string {
	if e.plain {
		return e.Text
	}
	if e.Text == "" {
		return "powerhose: " + e.why().Error()
	}
	return "powerhose: " + e.Text
}

// Unwrap gives one of Err…, and the error of the context if it was that which
// ended the call.
func (e *Error) Unwrap() []error {
	if e.cause != nil {
		return []error{e.why(), e.cause}
	}
	return []error{e.why()}
}

func (e *Error) why() error {
	if e.reason != nil {
		return e.reason
	}
	if err := reasons[e.code]; err != nil {
		return err
	}
	return errUnknown
}

// because adds the error of the context, if it has ended the call. Limited says
// that the deadline of the call is that of the context.
func (e *Error) because(ctx context.Context, limited bool) {
	switch {
	case e.code == wire.Cancelled:
		e.cause = context.Cause(ctx)
		if e.cause != nil && e.Text == "" {
			e.Text = fmt.Sprintf("%v: %v", ErrCancelled, e.cause)
		}
	case e.code == wire.Timeout && limited:
		e.cause = context.DeadlineExceeded
	}
}

// Started reports whether a worker can have started the job. If not, the call
// may be made again, whatever the job does.
func (e *Error) Started() bool {
	switch e.reason {
	case ErrNoMaster:
		return false
	case ErrMasterLost:
		return true
	}
	switch e.code {
	case wire.Busy, wire.NoWorker, wire.QueueFull, wire.TooMany, wire.Draining, wire.TooBig:
		return false
	}
	return e.Attempt > 0
}

// errorOf is the error of a reply of the machine, for the job of the call c.
// The worker's own words, if there are, are text and detail.
func errorOf(a *dispatch.Action, worker string, c *dispatch.Call, job []byte, text string, detail []byte) *Error {
	e := &Error{Text: text, Detail: detail, Worker: worker, PID: int(a.PID), Attempt: int(a.Attempt), Wait: a.Wait, Run: a.Run, code: a.Code}
	who := fmt.Sprintf("worker %q (pid %d)", worker, a.PID)
	switch a.Code {
	case wire.Application, wire.Rejected, wire.Panic:
		said := text
		if said == "" {
			said = e.why().Error()
		}
		e.Text = who + ": " + said
	case wire.Busy:
		e.Text = fmt.Sprintf("no worker is free: %d of %d are busy after %v", a.Busy, a.Workers, a.Wait.Round(time.Millisecond))
	case wire.NoWorker:
		e.Text = "no worker is registered that takes jobs without a kind"
		if len(c.Kind) > 0 {
			e.Text = fmt.Sprintf("no worker is registered that takes jobs of kind %q", c.Kind)
		}
	case wire.Timeout:
		e.Text = fmt.Sprintf("the deadline is over; %s had the job for %v", who, a.Run.Round(time.Millisecond))
	case wire.Lost:
		// A job that ends every worker it meets is found by its digest.
		e.Text = fmt.Sprintf("%s was lost while it had the job, in attempt %d; the job has %d bytes with SHA-256 %x", who, a.Attempt, len(job), sha256.Sum256(job))
	}
	return e
}

// refusal is the error of a call that the machine did not accept.
func refusal(code wire.Code, text string) *Error {
	return &Error{Text: text, code: code}
}

// head is the REPLY that carries the error; its body is Detail.
func (e *Error) head(number uint64) wire.Head {
	return wire.Head{
		Type: wire.Reply, Number: number, Code: e.code, Attempt: uint8(e.Attempt), PID: uint32(e.PID),
		Wait: microseconds(e.Wait), Run: microseconds(e.Run), Name: []byte(e.Worker), Text: []byte(wire.CutText(e.Text)),
	}
}

// errorFrom is the error in a REPLY, or nil if it has a result. Nothing of it
// refers to the head.
func errorFrom(h *wire.Head, body []byte) *Error {
	if h.Code == wire.OK {
		return nil
	}
	return &Error{
		Text: string(h.Text), Detail: append([]byte(nil), body...), Worker: string(h.Name), PID: int(h.PID), Attempt: int(h.Attempt),
		Wait: time.Duration(h.Wait) * time.Microsecond, Run: time.Duration(h.Run) * time.Microsecond, code: h.Code,
	}
}
