package conformance

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"appbundle/powerhose"
	"appbundle/powerhose/internal/wire"
)

func progress(t *testing.T, l language, f *fault) {
	m, _ := l.pool(t, 1, single)
	end := f.from(t)
	// Who does not want to know is not told.
	if got := do(t, m, "progress 3"); got != "done" {
		t.Errorf("result %q", got)
	}
	var said []string
	out, err := m.Execute(t.Context(), []byte("progress 3"), powerhose.Call{Progress: func(b []byte) { said = append(said, string(b)) }})
	if err != nil || string(out) != "done" || !slices.Equal(said, []string{"0", "1", "2"}) {
		t.Errorf("%q, %v; progress %q, want three in order", out, err, said)
	}
	// A caller that takes its time has the first of many, and the result.
	const many = 1000
	before := m.Status().Calls.Results
	var last, took int
	out, err = m.Execute(t.Context(), fmt.Appendf(nil, "progress %d", many), powerhose.Call{Progress: func(b []byte) {
		until(t, "the result", func() bool { return m.Status().Calls.Results > before })
		n, err := strconv.Atoi(string(b))
		if err != nil || took > 0 && n <= last {
			t.Errorf("%q comes after %d", b, last)
		}
		last, took = n, took+1
	}})
	if err != nil || string(out) != "done" || took == 0 || took == many {
		t.Errorf("%q, %v; %d of %d messages came to a caller that does not take them", out, err, took, many)
	}
	end()
}

func errorDetail(t *testing.T, l language, f *fault) {
	m, procs := l.pool(t, 1, single)
	end := f.from(t)
	_, e := fails(t, later(t.Context(), m, "error enough", powerhose.Call{}), powerhose.ErrApplication)
	end()
	if !strings.HasSuffix(e.Error(), "enough") || string(e.Detail) != "detail" || e.PID != procs[0].pid() || e.Attempt != 1 || !e.Started() || e.Run <= 0 {
		t.Errorf("%v (%+v)", e, e)
	}
	do(t, m, "echo")
}

func reject(t *testing.T, l language, f *fault) {
	m, procs := l.pool(t, 1, single)
	end := f.from(t)
	_, e := fails(t, later(t.Context(), m, "reject", powerhose.Call{Repeatable: true}), powerhose.ErrRejected)
	end()
	if !strings.Contains(e.Error(), "not this one") || e.PID != procs[0].pid() || e.Attempt != 1 {
		t.Errorf("%v (%+v)", e, e)
	}
	do(t, m, "echo")
}

func broken(t *testing.T, l language, f *fault) {
	m, procs := l.pool(t, 1, single)
	end := f.from(t)
	for range 3 {
		if _, e := fails(t, later(t.Context(), m, "break", powerhose.Call{Repeatable: true}), powerhose.ErrPanic); e.PID != procs[0].pid() || e.Attempt != 1 {
			t.Errorf("%v (%+v)", e, e)
		}
	}
	if got := do(t, m, "pid"); got != strconv.Itoa(procs[0].pid()) {
		t.Errorf("pid %s answers, want %d", got, procs[0].pid())
	}
	end()
}

func limits(t *testing.T, l language, f *fault) {
	const most = 100_000
	m, procs := l.pool(t, 1, powerhose.MasterConfig{Window: 1, MaxBody: most})
	end := f.from(t)
	body := string(bytes.Repeat([]byte("x"), most))
	if got := do(t, m, body); got != body {
		t.Errorf("%d bytes come back of %d", len(got), most)
	}
	if _, e := fails(t, later(t.Context(), m, body+"x", powerhose.Call{}), powerhose.ErrTooBig); e.Started() {
		t.Errorf("%v: it was never written", e)
	}
	if got := do(t, m, fmt.Sprint("big ", most)); len(got) != most {
		t.Errorf("%d bytes are the result, want %d", len(got), most)
	}
	if _, e := fails(t, later(t.Context(), m, fmt.Sprint("big ", most+1), powerhose.Call{}), powerhose.ErrApplication); !strings.Contains(e.Error(), strconv.Itoa(most+1)) {
		t.Errorf("%v: the length is not in it", e)
	}
	if got := do(t, m, "pid"); got != strconv.Itoa(procs[0].pid()) {
		t.Errorf("pid %s answers, want %d", got, procs[0].pid())
	}
	end()
}

func about(t *testing.T, l language, f *fault) {
	m := newMaster(t, powerhose.MasterConfig{Window: 2})
	p := l.start(t, m.Address(), "named", "KINDS=x y.z", "WINDOW=2")
	idle(t, m, 1)
	end := f.from(t)
	if w := m.Status().Workers[0]; w.Name != "named" || w.PID != p.pid() || w.Window != 2 || w.Done != 0 {
		t.Errorf("the worker is %+v", w)
	}
	ask := func(c powerhose.Call, want string) {
		t.Helper()
		if got := result(t, later(t.Context(), m, "about", c)); got != want {
			t.Errorf("a job with kind %q is %q to its worker, want %q", c.Kind, got, want)
		}
	}
	ask(powerhose.Call{Kind: "x"}, "x 1 0")
	ask(powerhose.Call{Kind: "y.z", Repeatable: true, Urgent: true}, "y.z 1 1")
	for _, kind := range []string{"", "z"} {
		fails(t, later(t.Context(), m, "about", powerhose.Call{Kind: kind, BusyWait: -1}), powerhose.ErrNoWorker)
	}
	// One without kinds takes every job; in its second attempt a job says so.
	begun := filepath.Join(scratch(t), "begun")
	p.kill()
	idle(t, m, 0)
	l.join(t, m, m.Address(), 2)
	_, e := fails(t, later(t.Context(), m, "die - "+begun, powerhose.Call{Kind: "z", Repeatable: true}), powerhose.ErrWorkerLost)
	end()
	for i, line := range lines(t, begun, 2) {
		if _, attempt := marked(t, line); attempt != i+1 || e.Attempt != 2 {
			t.Errorf("line %d: attempt %d; %v", i, attempt, e)
		}
	}
}

// returnedAfterBye is of both sides: a worker gives back what comes when it has
// said BYE, and a master reads that.
func returnedAfterBye(t *testing.T, l language, f *fault) {
	ln := listen(t, filepath.Join(scratch(t), "m"))
	p := l.start(t, ln.Addr().String(), "w")
	w := ln.worker()
	end := f.from(t)
	p.signal(syscall.SIGTERM)
	w.work.want(wire.Drain)
	w.work.want(wire.Bye)
	begun := filepath.Join(scratch(t), "begun")
	for n := range uint64(3) {
		w.work.send(wire.Head{Type: wire.Job, Number: n + 1, Left: 60000, Attempt: 1}, "hold - "+begun)
	}
	for n := range uint64(3) {
		if h, _ := w.work.want(wire.Returned); h.Number != n+1 {
			t.Errorf("job %d comes back, want %d", h.Number, n+1)
		}
	}
	w.work.send(wire.Head{Type: wire.Bye, Code: wire.Stop}, "")
	if got := p.status(); got != 0 {
		t.Errorf("status %d, want 0:\n%s", got, p.said())
	}
	if n := len(linesNow(begun)); n != 0 {
		t.Errorf("%d jobs were begun", n)
	}

	m := newMaster(t, single)
	leaver := newRawWorker(t, m.Address(), "leaver")
	idle(t, m, 1)
	done := later(t.Context(), m, "pid", powerhose.Call{})
	running(t, m, 1)
	leaver.work.send(wire.Head{Type: wire.Drain, Code: wire.Stop}, "")
	leaver.work.send(wire.Head{Type: wire.Bye, Code: wire.Stop}, "")
	job, _ := leaver.work.want(wire.Job)
	leaver.work.want(wire.Bye) // now the master has read ours
	next := l.start(t, m.Address(), "next")
	leaver.work.send(wire.Head{Type: wire.Returned, Number: job.Number}, "")
	leaver.work.Close()
	leaver.reg.Close()
	if got := result(t, done); got != strconv.Itoa(next.pid()) {
		t.Errorf("pid %s answers, want %d", got, next.pid())
	}
	end()
	if s := m.Status(); s.Events.Returned != 1 || s.Events.Moved != 1 || s.Calls.Lost != 0 || s.Events.Broken != 0 {
		t.Errorf("%+v, %+v", s.Calls, s.Events)
	}
}

// held is what becomes of a job whose master is lost: no answer to it comes to
// the next one, and no job is begun beside it.
func held(t *testing.T, l language, f *fault) {
	ln := listen(t, filepath.Join(scratch(t), "m"))
	dir := scratch(t)
	flag, begun, done, later := filepath.Join(dir, "flag"), filepath.Join(dir, "begun"), filepath.Join(dir, "done"), filepath.Join(dir, "later")
	p := l.start(t, ln.Addr().String(), "w")
	w := ln.worker()
	w.work.send(wire.Head{Type: wire.Job, Number: 7, Left: 60000, Attempt: 1}, "until "+flag+" "+begun+" "+done)
	lines(t, begun, 1)
	end := f.from(t)
	w.reg.Close()
	w.work.Close()
	// It may come back while the job runs, and then it says so; or when it has ended.
	if err := ln.SetDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	nc, err := ln.Accept()
	if err := ln.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if err == nil {
		early := ln.greet(nc)
		if h, _ := early.want(wire.Hello); h.Held.Len() != 1 || h.Held.At(0) != 7 {
			t.Errorf("%d jobs are held while one runs", h.Held.Len())
		}
		w = ln.attach(early)
		touch(t, flag)
		if h, _ := w.reg.want(wire.Pong); h.Number != 0 || h.Held.Len() != 0 {
			t.Errorf("PONG %d, %d jobs are held when none runs any more", h.Number, h.Held.Len())
		}
	} else {
		touch(t, flag)
		w = ln.worker()
		if len(linesNow(done)) != 1 {
			t.Error("it came back without a word of the job that runs")
		}
	}
	w.work.send(wire.Head{Type: wire.Job, Number: 8, Left: 60000, Attempt: 1}, "until "+flag+" "+later)
	if h, body := w.work.want(wire.Result); h.Number != 8 || body != "it is there" {
		t.Errorf("the first answer is to job %d: %q", h.Number, body)
	}
	end()
	if n, m := len(linesNow(begun)), len(linesNow(later)); n != 1 || m != 1 || !p.alive() {
		t.Errorf("the jobs were begun %d and %d times", n, m)
	}
}
