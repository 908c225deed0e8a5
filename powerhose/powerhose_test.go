package powerhose

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"appbundle/powerhose/internal/dispatch"
	"appbundle/powerhose/internal/wire"
)

// A call is the same to a master here and to one at the other end of a link.
func TestCallOverTheWire(t *testing.T) {
	for _, c := range []Call{
		{},
		{Deadline: 5 * time.Second, BusyWait: 250 * time.Millisecond, Kind: "sign", Urgent: true, Repeatable: true, Progress: func([]byte) {}},
		{BusyWait: -1},
		{Deadline: time.Millisecond, BusyWait: time.Millisecond},
	} {
		h := c.head(7)
		b, err := h.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		var back wire.Head
		if err := wire.Decode(b, &back); err != nil {
			t.Fatal(err)
		}
		got, want := submissionOf(&back), c.submission()
		if !bytes.Equal(got.Kind, want.Kind) {
			t.Errorf("kind %q became %q", want.Kind, got.Kind)
		}
		if got.Kind, want.Kind = nil, nil; !reflect.DeepEqual(got, want) {
			t.Errorf("%+v became %+v", want, got)
		}
	}
}

// Times are rounded so that none becomes one of the values that mean something
// else.
func TestCallTimes(t *testing.T) {
	for in, want := range map[time.Duration]uint32{
		0: 0, 1: 1, time.Millisecond: 1, time.Millisecond + 1: 2, math.MaxInt64: math.MaxUint32,
	} {
		if got := (&Call{Deadline: in}).head(1).Left; got != want {
			t.Errorf("deadline %v is %d ms, want %d", in, got, want)
		}
	}
	c := Call{BusyWait: math.MaxInt64}
	if got := c.head(1).BusyWait; got != wire.BusyDefault-1 {
		t.Errorf("an endless wait is %d", got)
	}
	c.BusyWait = time.Nanosecond
	if got := c.head(1).BusyWait; got != 1 {
		t.Errorf("the shortest wait is %d", got)
	}
}

func TestCallCheck(t *testing.T) {
	for want, c := range map[string]Call{
		"":                       {Kind: "sign.v2"},
		`kind "a b"`:             {Kind: "a b"},
		"at most 32":             {Kind: strings.Repeat("k", 33)},
		"is over before it begi": {Deadline: -1},
	} {
		if err := c.check(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("check of %+v = %v, want %q", c, err, want)
		}
	}
}

// Each outcome of a machine has an error that names what there is to know, is
// found with errors.Is, and says whether the job can have been started. All of
// that comes through a REPLY.
func TestErrors(t *testing.T) {
	job := []byte("job")
	for _, test := range []struct {
		action  dispatch.Action
		call    dispatch.Call
		said    string
		is      error
		started bool
		text    string
	}{
		{action: dispatch.Action{Code: wire.Busy, Busy: 2, Workers: 2, Wait: 300 * time.Millisecond}, is: ErrBusy,
			text: "powerhose: no worker is free: 2 of 2 are busy after 300ms"},
		{action: dispatch.Action{Code: wire.Busy, Busy: 1, Workers: 1, Attempt: 1, PID: 42}, is: ErrBusy, // it was given back
			text: "powerhose: no worker is free: 1 of 1 are busy after 0s"},
		{action: dispatch.Action{Code: wire.NoWorker, Wait: time.Second}, is: ErrNoWorker,
			text: "powerhose: no worker is registered that takes jobs without a kind"},
		{action: dispatch.Action{Code: wire.NoWorker}, call: dispatch.Call{Kind: []byte("sign")}, is: ErrNoWorker,
			text: `powerhose: no worker is registered that takes jobs of kind "sign"`},
		{action: dispatch.Action{Code: wire.Timeout, Attempt: 1, PID: 42, Run: 500 * time.Millisecond}, is: ErrTimeout, started: true,
			text: `powerhose: the deadline is over; worker "crypto.1" (pid 42) had the job for 500ms`},
		{action: dispatch.Action{Code: wire.Lost, Attempt: 2, PID: 42}, is: ErrWorkerLost, started: true,
			text: `powerhose: worker "crypto.1" (pid 42) was lost while it had the job, in attempt 2; the job has 3 bytes with SHA-256 ` +
				"5e8c9902207afaeb7120430c585a445f21e92932081d64bc99f80e4925bcb002"},
		{action: dispatch.Action{Code: wire.Application, Attempt: 1, PID: 42}, said: "no such key", is: ErrApplication, started: true,
			text: `powerhose: worker "crypto.1" (pid 42): no such key`},
		{action: dispatch.Action{Code: wire.Panic, Attempt: 1, PID: 42}, is: ErrPanic, started: true,
			text: `powerhose: worker "crypto.1" (pid 42): the handler of the worker broke`},
		{action: dispatch.Action{Code: wire.Rejected, Attempt: 1, PID: 42}, said: "not a key", is: ErrRejected, started: true,
			text: `powerhose: worker "crypto.1" (pid 42): not a key`},
		{action: dispatch.Action{Code: wire.Draining}, is: ErrDraining, text: "powerhose: the master is ending"},
		{action: dispatch.Action{Code: wire.Cancelled, Attempt: 1}, is: ErrCancelled, started: true, text: "powerhose: the call was cancelled"},
		{action: dispatch.Action{Code: 999, Attempt: 1}, is: errUnknown, started: true, text: "powerhose: a reason that this version does not know"},
	} {
		worker := "crypto.1"
		if test.action.Attempt == 0 {
			worker = ""
		}
		e := errorOf(&test.action, worker, &test.call, job, test.said, []byte("detail"))
		h := e.head(9)
		b, err := h.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		var back wire.Head
		if err := wire.Decode(b, &back); err != nil {
			t.Fatal(err)
		}
		far := errorFrom(&back, e.Detail)
		clear(b)
		for where, e := range map[string]*Error{"here": e, "far": far} {
			if e.Error() != test.text {
				t.Errorf("%s: %s\nwant %s", where, e, test.text)
			}
			if !errors.Is(e, test.is) {
				t.Errorf("%s: %v is no %v", where, e, test.is)
			}
			if e.Started() != test.started {
				t.Errorf("%s: %v: started %v", where, e, e.Started())
			}
		}
		if !reflect.DeepEqual(e, far) {
			t.Errorf("%+v became %+v", e, far)
		}
	}
	if e := errorFrom(&wire.Head{Type: wire.Reply}, nil); e != nil {
		t.Errorf("a result is an error: %v", e)
	}
	if e := refusal(wire.QueueFull, "1024 callers wait"); e.Error() != "powerhose: 1024 callers wait" || !errors.Is(e, ErrQueueFull) || e.Started() {
		t.Errorf("a refusal is %v", e)
	}
}

// The error of a very long text still fits into a head.
func TestErrorLong(t *testing.T) {
	e := errorOf(&dispatch.Action{Code: wire.Application, Attempt: 1}, strings.Repeat("w", 64), &dispatch.Call{}, nil, strings.Repeat("é", 4000)+"\xff", nil)
	h := e.head(1)
	if _, err := h.Append(nil); err != nil {
		t.Error(err)
	}
}
