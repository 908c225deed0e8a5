package powerhose

import (
	"strings"
	"testing"

	"appbundle/powerhose/internal/wire"
)

// newRawCaller is a caller that is made of bytes: it reads when it likes.
func newRawCaller(tb testing.TB, address string) *raw {
	tb.Helper()
	c := rawDial(tb, address)
	c.send(wire.Head{Type: wire.Hello, PID: own(), Incarnation: [16]byte{1}, Lowest: 1, Highest: 1}, "")
	c.want(wire.Welcome)
	return c
}

// callOf asks for a job without a limit to its time.
func callOf(n uint64, flags uint8) wire.Head {
	return wire.Head{Type: wire.Call, Number: n, Left: 600_000, BusyWait: 600_000, Flags: flags}
}

// A caller that has asked for much, and does not read for a moment, has all of it
// when it reads, whatever the window and the longest body are.
func TestManyResultsAtOnce(t *testing.T) {
	const size, calls = 16 << 10, 64 // together more than the kernel takes
	m := newMaster(t, MasterConfig{MaxBody: size, Window: 1})
	startWorker(t, m.Address(), "w")
	idle(t, m, 1)
	c := newRawCaller(t, m.Address())
	body := "echo" + strings.Repeat("x", size-4)
	for n := range uint64(calls) {
		c.send(callOf(n+1, 0), body)
	}
	until(t, "all results", func() bool { return m.Status().Calls.Results == calls })
	for range calls {
		if h, got := c.want(wire.Reply); h.Code != wire.OK || got != body {
			t.Fatalf("call %d: code %d, %d bytes", h.Number, h.Code, len(got))
		}
	}
}

// A caller that never reads is closed before it has filled the memory.
func TestCallerNeverReads(t *testing.T) {
	const size = 4 << 20
	var log logged
	m := newMaster(t, MasterConfig{MaxBody: size, Window: 1, Log: log.add})
	startWorker(t, m.Address(), "w")
	idle(t, m, 1)
	c := newRawCaller(t, m.Address())
	call := messageOf(t, callOf(1, 0), "echo"+strings.Repeat("x", size-4))
	n := uint64(0)
	for ; n < 100 && m.Status().Callers == 1; n++ {
		h := callOf(n+1, 0)
		b, err := h.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		copy(call[2:], b) // behind the flags and the length of the frame
		if _, err := c.Write(call); err != nil {
			break
		}
		until(t, "a result", func() bool { s := m.Status(); return s.Calls.Results > n || s.Callers == 0 })
	}
	if least := uint64(callerRoom / size); n <= least || n > least+3 {
		t.Errorf("closed after %d results of %d bytes, want some more than %d", n, size, least)
	}
	until(t, "a line in the log", func() bool { return strings.Contains(log.String(), "it does not read") })
}

// What a worker says of its progress does not take the room of its result.
func TestProgressBeforeResult(t *testing.T) {
	const size = 1 << 20
	m := newMaster(t, MasterConfig{MaxBody: size, Window: 1})
	w := newRawWorker(t, m.Address(), "w")
	idle(t, m, 1)
	c := newRawCaller(t, m.Address())
	c.send(callOf(1, wire.FlagProgress), "")
	job, _ := w.work.want(wire.Job)
	body := strings.Repeat("x", size)
	said := messageOf(t, wire.Head{Type: wire.Progress, Number: job.Number}, body)
	const most = callerRoom / size
	for range most + 10 {
		w.work.write(said)
	}
	w.work.send(wire.Head{Type: wire.Result, Number: job.Number, Run: 1}, body)
	until(t, "the result", func() bool { return m.Status().Calls.Results == 1 })
	progress := 0
	for {
		h, got, err := c.read()
		if err != nil || len(got) != size {
			t.Fatalf("%d bytes, %v after %d PROGRESS", len(got), err, progress)
		}
		if h.Type == wire.Reply {
			break
		}
		progress++
	}
	if progress < most/2 || progress > most+1 {
		t.Errorf("%d PROGRESS of %d bytes, want %d or one more", progress, size, most)
	}
}
