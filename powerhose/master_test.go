package powerhose

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"appbundle/powerhose/internal/wire"
)

func TestExecute(t *testing.T) {
	leavesNothing(t)
	m, procs := pool(t, MasterConfig{}, 1)
	for _, n := range []int{0, 1, 100, 64 << 10, 64<<10 + 1, 1 << 20} {
		job := bytes.Repeat([]byte{0, 1, 2, 255}, n/4+1)[:n]
		out, err := m.Execute(t.Context(), job, Call{})
		if err != nil || !bytes.Equal(out, job) {
			t.Errorf("echo of %d bytes: %d bytes, %v", n, len(out), err)
		}
	}
	if got := do(t, m, "kind", Call{Repeatable: true}); got != `"" 1 true` {
		t.Errorf("the worker sees %s", got)
	}
	if got, err := time.ParseDuration(do(t, m, "left", Call{Deadline: 5 * time.Second})); err != nil || got > 5*time.Second || got < 4*time.Second {
		t.Errorf("the worker has %v of 5 s left", got)
	}
	for job, want := range map[string]struct {
		is   error
		text string
	}{
		"panic breaks": {ErrPanic, "panic: the handler breaks"},
		"reject":       {ErrRejected, "not this one"},
		"fail":         {ErrApplication, "it says no"},
	} {
		_, err := m.Execute(t.Context(), []byte(job), Call{})
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, want.is) || !strings.Contains(e.Error(), want.text) || e.PID != procs[0].Process.Pid || e.Worker != "w0" {
			t.Errorf("%s: %v, want %v", job, err, want)
		}
		if job == "fail" && string(e.Detail) != "and why" {
			t.Errorf("detail %q", e.Detail)
		}
	}
	if _, err := m.Execute(t.Context(), make([]byte, 16<<20+1), Call{}); !errors.Is(err, ErrTooBig) {
		t.Errorf("17 MiB: %v", err)
	}
	if _, err := m.Execute(t.Context(), nil, Call{Kind: "not a kind"}); err == nil || errors.As(err, new(*Error)) {
		t.Errorf("a kind that cannot be: %v", err)
	}
	var said []string
	out, err := m.Execute(t.Context(), []byte("progress"), Call{Progress: func(b []byte) { said = append(said, string(b)) }})
	if err != nil || string(out) != "done" || strings.Join(said, "") != "012" {
		t.Errorf("progress %q, %q, %v", said, out, err)
	}
	s := m.Status()
	if s.Calls.Total != s.Calls.Results+s.Calls.Errors || s.Calls.Errors != 3 || len(s.Workers) != 1 || s.Workers[0].PID != procs[0].Process.Pid {
		t.Errorf("status %+v", s)
	}
}

func TestKinds(t *testing.T) {
	m := newMaster(t, MasterConfig{})
	_, err := m.Execute(t.Context(), nil, Call{Kind: "sign", BusyWait: time.Millisecond})
	if !errors.Is(err, ErrNoWorker) || !strings.Contains(err.Error(), `"sign"`) {
		t.Errorf("without a worker: %v", err)
	}
	startWorker(t, m.Address(), "signs", "KINDS=sign verify")
	if got := do(t, m, "kind", Call{Kind: "verify", BusyWait: patience, Deadline: patience}); got != `"verify" 1 false` {
		t.Errorf("the worker sees %s", got)
	}
	if _, err := m.Execute(t.Context(), nil, Call{BusyWait: time.Millisecond}); !errors.Is(err, ErrNoWorker) {
		t.Errorf("a job without a kind: %v", err)
	}
}

// A worker that dies with a job: its caller knows at once.
func TestKillHolding(t *testing.T) {
	m, procs := pool(t, MasterConfig{Window: 1}, 2)
	file := filepath.Join(t.TempDir(), "started")
	done := later(t.Context(), m, "hold pid "+file, Call{})
	lines(t, file, 1)
	var victim *proc
	for _, w := range m.Status().Workers {
		if w.State == "busy" {
			victim = byPID(t, procs, w.PID)
		}
	}
	began := time.Now()
	victim.kill()
	o := want(t, done)
	took := time.Since(began)
	var e *Error
	if !errors.As(o.err, &e) || !errors.Is(o.err, ErrWorkerLost) || e.PID != victim.Process.Pid || e.Attempt != 1 || !e.Started() {
		t.Errorf("%v (%+v)", o.err, e)
	}
	if took > time.Second { // it is a matter of a millisecond; this machine may be busy
		t.Errorf("the loss was told after %v", took)
	}
	t.Logf("the loss was told after %v", took)
	do(t, m, "pid", Call{})

	// A job that may be repeated goes to the next one.
	procs = append(procs, startWorker(t, m.Address(), "w2"))
	idle(t, m, 2)
	flag := filepath.Join(t.TempDir(), "flag")
	os.Remove(file)
	done = later(t.Context(), m, "until "+flag+" "+file, Call{Repeatable: true})
	lines(t, file, 1)
	for _, w := range m.Status().Workers {
		if w.State == "busy" {
			byPID(t, procs, w.PID).kill()
		}
	}
	if got := lines(t, file, 2); got[1] != flag+" 2" {
		t.Errorf("the second worker started %q", got[1])
	}
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if o := want(t, done); o.err != nil || string(o.out) != "it is there" {
		t.Errorf("repeated: %q, %v", o.out, o.err)
	}
}

// A job that kills every worker it meets meets two.
func TestPoison(t *testing.T) {
	m, _ := pool(t, MasterConfig{Window: 1}, 4)
	_, err := m.Execute(t.Context(), []byte("die"), Call{Repeatable: true})
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, ErrWorkerLost) || e.Attempt != 2 || !strings.Contains(err.Error(), fmt.Sprintf("%x", sha256.Sum256([]byte("die")))) {
		t.Errorf("%v", err)
	}
	idle(t, m, 2)
}

// A job that waits at a worker behind another was not started: it moves.
func TestKillWindow(t *testing.T) {
	m, procs := pool(t, MasterConfig{Window: 2, Short: time.Hour}, 1)
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	do(t, m, "pid", Call{}) // now its jobs are known to be short
	first := later(t.Context(), m, "hold A "+a, Call{Deadline: patience})
	lines(t, a, 1)
	second := later(t.Context(), m, "kind B "+b, Call{Deadline: patience, BusyWait: patience})
	until(t, "two jobs at the worker", func() bool { return m.Status().Workers[0].Jobs == 2 })
	procs[0].kill()
	if o := want(t, first); !errors.Is(o.err, ErrWorkerLost) {
		t.Errorf("the job that ran: %v", o.err)
	}
	startWorker(t, m.Address(), "next")
	if o := want(t, second); o.err != nil || string(o.out) != `"" 1 false` {
		t.Errorf("the job that waited: %q, %v", o.out, o.err)
	}
	if got := lines(t, b, 1); len(got) != 1 {
		t.Errorf("it was started %d times", len(got))
	}
	if s := m.Status(); s.Events.Moved != 1 || s.Events.Repeated != 0 {
		t.Errorf("events %+v", s.Events)
	}
}

// Answers that were written before a death count.
func TestKillAfterAnswer(t *testing.T) {
	m, _ := pool(t, MasterConfig{Window: 2, Short: time.Hour}, 1)
	file := filepath.Join(t.TempDir(), "flag")
	do(t, m, "pid", Call{})
	a := later(t.Context(), m, "until "+file, Call{})
	until(t, "a job", func() bool { return m.Status().Running == 1 })
	b := later(t.Context(), m, "die", Call{})
	until(t, "two jobs", func() bool { return m.Status().Running == 2 })
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if o := want(t, a); o.err != nil {
		t.Errorf("the answer that was written: %v", o.err)
	}
	if o := want(t, b); !errors.Is(o.err, ErrWorkerLost) {
		t.Errorf("the job that killed: %v", o.err)
	}
}

// An idle worker that dies takes no job with it.
func TestKillIdle(t *testing.T) {
	m, procs := pool(t, MasterConfig{}, 2)
	procs[0].kill()
	idle(t, m, 1)
	for range 100 {
		do(t, m, "pid", Call{})
	}
}

// A worker that dies, idle or with a job, one that ends and one that is closed have a line
// each, and are counted once.
func TestEnds(t *testing.T) {
	var log logged
	m, procs := pool(t, MasterConfig{Window: 1, Log: log.add}, 8)
	file := filepath.Join(t.TempDir(), "started")
	done := later(t.Context(), m, "hold pid "+file, Call{})
	lines(t, file, 1)
	for _, p := range procs {
		p.signal(syscall.SIGKILL)
	}
	if o := want(t, done); !errors.Is(o.err, ErrWorkerLost) {
		t.Error(o.err)
	}
	idle(t, m, 0)
	planned := startWorker(t, m.Address(), "planned", "MAXJOBS=1")
	do(t, m, "pid", Call{BusyWait: patience, Deadline: patience})
	planned.status()
	idle(t, m, 0)
	broken := newRawWorker(t, m.Address(), "broken")
	broken.work.send(wire.Head{Type: wire.Ping, Number: 1}, "")
	broken.reg.ends()
	broken.work.Close()
	idle(t, m, 0)

	// It dies between HELLO and the connection of the master.
	path := filepath.Join(filepath.Dir(m.Address()), "early.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
	early := rawDial(t, m.Address())
	early.send(hello("early", path), "")
	early.want(wire.Welcome)
	early.Close()
	until(t, "the end of all", func() bool { return m.Status().Events.Registered == 11 && len(m.Status().Workers) == 0 })

	text := log.String()
	for name, want := range map[string]string{"w0": "is gone", "planned": "has ended", "broken": "is closed: it sent what is no message: PING", "early": "is gone"} {
		if !regexp.MustCompile(fmt.Sprintf(`(?m)^worker %q \(pid \d+\) %s`, name, want)).MatchString(text) {
			t.Errorf("no line says that %s %s", name, want)
		}
	}
	for _, name := range []string{"w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7", "planned", "broken", "early"} {
		if n := strings.Count(text, fmt.Sprintf("worker %q ", name)); n != 2 {
			t.Errorf("%d lines of %s, want one that it comes and one that it goes", n, name)
		}
	}
	if e := m.Status().Events; e.Gone != 10 || e.Closed != 1 || e.Broken != 1 {
		t.Errorf("%d gone, %d closed, %d broken; want 10, 1, 1", e.Gone, e.Closed, e.Broken)
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestTimeout(t *testing.T) {
	m, _ := pool(t, MasterConfig{Window: 1}, 2)
	file := filepath.Join(t.TempDir(), "flag")
	o := want(t, later(t.Context(), m, "until "+file, Call{Deadline: 200 * time.Millisecond}))
	if !errors.Is(o.err, ErrTimeout) || o.took < 200*time.Millisecond {
		t.Errorf("%v after %v", o.err, o.took)
	}
	for range 20 { // the other one is there for them
		do(t, m, "echo", Call{})
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	idle(t, m, 2)
	if s := m.Status(); s.Events.Late != 1 || s.Calls.Timeouts != 1 {
		t.Errorf("late %d, timeouts %d", s.Events.Late, s.Calls.Timeouts)
	}
	// A deadline of the context is one of the call.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	o = want(t, later(ctx, m, "hold", Call{}))
	if !errors.Is(o.err, context.DeadlineExceeded) {
		t.Errorf("with a context: %v", o.err)
	}
	idle(t, m, 2)
}

// A worker that goes on with a job after deadline and grace is closed; it comes
// back when it is done.
func TestOverdue(t *testing.T) {
	m, procs := pool(t, MasterConfig{Window: 1, Grace: 50 * time.Millisecond}, 1)
	file := filepath.Join(t.TempDir(), "flag")
	o := want(t, later(t.Context(), m, "until "+file, Call{Deadline: 50 * time.Millisecond}))
	if !errors.Is(o.err, ErrTimeout) {
		t.Error(o.err)
	}
	until(t, "the worker to be closed", func() bool { return len(m.Status().Workers) == 0 })
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	idle(t, m, 1)
	if !strings.Contains(procs[0].log.String(), "went on with a job") {
		t.Errorf("the worker was not told why: %s", procs[0].log.String())
	}
	do(t, m, "echo", Call{})
}

func TestBusy(t *testing.T) {
	m, _ := pool(t, MasterConfig{Window: 1, MaxWaiting: 1}, 2)
	ctx, cancel := context.WithCancel(t.Context())
	a, b := later(ctx, m, "hold", Call{}), later(ctx, m, "hold", Call{})
	until(t, "two jobs", func() bool { return m.Status().Running == 2 })
	o := want(t, later(t.Context(), m, "echo", Call{BusyWait: 50 * time.Millisecond}))
	var e *Error
	if !errors.As(o.err, &e) || !errors.Is(o.err, ErrBusy) || !strings.Contains(o.err.Error(), "2 of 2 are busy") || e.Started() || o.took < 50*time.Millisecond {
		t.Errorf("%v after %v", o.err, o.took)
	}
	c := later(ctx, m, "echo", Call{BusyWait: patience, Deadline: patience})
	until(t, "one that waits", func() bool { return m.Status().Waiting == 1 })
	if _, err := m.Execute(t.Context(), nil, Call{}); !errors.Is(err, ErrQueueFull) {
		t.Errorf("a second one that waits: %v", err)
	}
	cancel()
	for _, done := range []<-chan outcome{a, b, c} {
		if o := want(t, done); !errors.Is(o.err, context.Canceled) || !errors.Is(o.err, ErrCancelled) {
			t.Errorf("cancelled: %v", o.err)
		}
	}
	idle(t, m, 2)
	if got := do(t, m, "echo", Call{}); got != "echo" {
		t.Errorf("echo = %q", got)
	}
}

// TERM lets a worker finish what it does; what waits there goes to another one.
func TestDrainWorker(t *testing.T) {
	m, procs := pool(t, MasterConfig{Window: 2, Short: time.Hour}, 1)
	dir := t.TempDir()
	flag, file := filepath.Join(dir, "flag"), filepath.Join(dir, "started")
	do(t, m, "pid", Call{})
	a := later(t.Context(), m, "until "+flag, Call{})
	until(t, "a job", func() bool { return m.Status().Running == 1 })
	b := later(t.Context(), m, "pid x "+file, Call{BusyWait: patience, Deadline: patience})
	until(t, "two jobs", func() bool { return m.Status().Running == 2 })
	procs[0].signal(syscall.SIGTERM)
	until(t, "the second job to come back", func() bool { return m.Status().Events.Returned == 1 })
	other := startWorker(t, m.Address(), "other")
	if o := want(t, b); o.err != nil || string(o.out) != fmt.Sprint(other.Process.Pid) {
		t.Errorf("the job that waited: %q, %v", o.out, o.err)
	}
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if o := want(t, a); o.err != nil {
		t.Errorf("the job that ran: %v", o.err)
	}
	if got := procs[0].status(); got != 0 {
		t.Errorf("the worker ends with %d", got)
	}
	for _, name := range []string{"w0.sock"} {
		if _, err := os.Stat(filepath.Join(filepath.Dir(m.Address()), name)); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
}

func TestDrainMaster(t *testing.T) {
	leavesNothing(t)
	m, procs := pool(t, MasterConfig{Window: 1}, 2)
	flag := filepath.Join(t.TempDir(), "flag")
	var all []<-chan outcome
	for range 4 {
		all = append(all, later(t.Context(), m, "until "+flag, Call{BusyWait: patience}))
	}
	until(t, "four calls", func() bool { s := m.Status(); return s.Running == 2 && s.Waiting == 2 })
	drained := make(chan error, 1)
	go func() { drained <- m.Drain(context.Background()) }()
	until(t, "the drain", func() bool { return m.Status().State == "draining" })
	if _, err := m.Execute(t.Context(), nil, Call{}); !errors.Is(err, ErrDraining) {
		t.Errorf("a new call: %v", err)
	}
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, done := range all {
		if o := want(t, done); o.err != nil {
			t.Errorf("a call from before: %v", o.err)
		}
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	for _, suffix := range []string{"", statusSuffix} {
		if _, err := os.Lstat(m.Address() + suffix); !os.IsNotExist(err) {
			t.Errorf("%s%s is left: %v", m.Address(), suffix, err)
		}
	}
	for _, p := range procs {
		until(t, "the worker to see the end", func() bool { return strings.Contains(p.log.String(), "trying again") })
		if log := p.log.String(); !strings.Contains(log, "master "+m.Address()+": it is ending; trying again") || strings.Contains(log, errEnded.Error()) {
			t.Errorf("a worker of a master that ends says:\n%s", log)
		}
		p.signal(syscall.SIGTERM)
		if got := p.status(); got != 0 {
			t.Errorf("a worker without master that is asked to end ends with %d", got)
		}
	}
}

// Close answers everybody.
func TestClose(t *testing.T) {
	leavesNothing(t)
	m, _ := pool(t, MasterConfig{Window: 1}, 1)
	a := later(t.Context(), m, "hold", Call{})
	until(t, "a job", func() bool { return m.Status().Running == 1 })
	b := later(t.Context(), m, "echo", Call{BusyWait: patience})
	until(t, "a call that waits", func() bool { return m.Status().Waiting == 1 })
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if o := want(t, a); !errors.Is(o.err, ErrWorkerLost) {
		t.Errorf("the job that ran: %v", o.err)
	}
	if o := want(t, b); !errors.Is(o.err, ErrDraining) {
		t.Errorf("the job that waited: %v", o.err)
	}
	if _, err := m.Execute(t.Context(), nil, Call{}); !errors.Is(err, ErrDraining) {
		t.Errorf("afterwards: %v", err)
	}
}
