package powerhose

import (
	"context"
	"fmt"
	"math"
	"time"

	"appbundle/powerhose/internal/dispatch"
	"appbundle/powerhose/internal/wire"
)

// A Call says how a job is to be done. The zero value is a job that every worker
// takes that names no kinds, that is started once at most, with the times that
// the master has configured.
type Call struct {
	Deadline time.Duration // from the call to its end; 0 is the master's, 30 s if it says nothing
	BusyWait time.Duration // for a worker that is free; 0 is the master's, 1 s if it says nothing, less than 0 is not at all
	Kind     string        // of job, for workers that take it: letters, digits and . _ + -, at most 32
	Urgent   bool          // before the calls that wait and are not urgent

	// Repeatable allows a job whose worker was lost to be started again by
	// another one, as often as the master has configured.
	Repeatable bool

	// Progress is called with what the worker sends while the job runs; nil
	// tells the worker not to. It must not keep the bytes, and return soon.
	Progress func([]byte)
}

// check says what no master would accept.
func (c *Call) check() error {
	if c.Deadline < 0 {
		return fmt.Errorf("call: deadline %v is over before it begins", c.Deadline)
	}
	if c.Kind == "" {
		return nil
	}
	h := c.head(1)
	if _, err := h.Append(nil); err != nil {
		return fmt.Errorf("call: kind %q: letters, digits and . _ + - are possible, at most %d", c.Kind, wire.MaxKind)
	}
	return nil
}

// within checks the call, and cuts its deadline to that of ctx. Limited says
// that it did.
func (c *Call) within(ctx context.Context) (limited bool, err error) {
	if err := c.check(); err != nil {
		return false, err
	}
	if err := context.Cause(ctx); err != nil {
		return false, &Error{code: wire.Cancelled, cause: err, Text: fmt.Sprintf("%v: %v", ErrCancelled, err)}
	}
	end, ok := ctx.Deadline()
	if !ok {
		return false, nil
	}
	left := max(time.Until(end), 1)
	if c.Deadline > 0 && c.Deadline <= left {
		return false, nil
	}
	c.Deadline = left
	return true, nil
}

// submission is the call for a master in this process.
func (c *Call) submission() dispatch.Call {
	return dispatch.Call{
		Deadline: c.Deadline, BusyWait: c.BusyWait, Kind: []byte(c.Kind),
		Repeatable: c.Repeatable, Progress: c.Progress != nil, Urgent: c.Urgent,
	}
}

// head is the call for a master in another process.
func (c *Call) head(number uint64) wire.Head {
	h := wire.Head{Type: wire.Call, Number: number, Left: milliseconds(c.Deadline), BusyWait: wire.BusyDefault, Kind: []byte(c.Kind)}
	switch {
	case c.BusyWait < 0:
		h.BusyWait = 0
	case c.BusyWait > 0:
		h.BusyWait = min(milliseconds(c.BusyWait), wire.BusyDefault-1)
	}
	if c.Repeatable {
		h.Flags |= wire.FlagRepeatable
	}
	if c.Progress != nil {
		h.Flags |= wire.FlagProgress
	}
	if c.Urgent {
		h.Flags |= wire.FlagUrgent
	}
	return h
}

// submissionOf is the call that a CALL asks for.
func submissionOf(h *wire.Head) dispatch.Call {
	c := dispatch.Call{
		Deadline: time.Duration(h.Left) * time.Millisecond, BusyWait: time.Duration(h.BusyWait) * time.Millisecond, Kind: h.Kind,
		Repeatable: h.Flags&wire.FlagRepeatable != 0, Progress: h.Flags&wire.FlagProgress != 0, Urgent: h.Flags&wire.FlagUrgent != 0,
	}
	switch h.BusyWait {
	case 0:
		c.BusyWait = -1
	case wire.BusyDefault:
		c.BusyWait = 0
	}
	return c
}

// milliseconds rounds up: nothing that is asked for becomes 0, which means
// something else.
func milliseconds(d time.Duration) uint32 {
	return ceil(d, time.Millisecond)
}

// microseconds rounds up too.
func microseconds(d time.Duration) uint32 {
	return ceil(d, time.Microsecond)
}

func ceil(d, unit time.Duration) uint32 {
	if d <= 0 {
		return 0
	}
	return uint32(min((d-1)/unit+1, math.MaxUint32))
}
