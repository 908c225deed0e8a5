package conformance

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
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

// single is of masters whose workers hold one job.
var single = powerhose.MasterConfig{Window: 1}

// queueing is of masters that let a job wait behind any other.
var queueing = powerhose.MasterConfig{Window: 2, Short: time.Hour}

func killHolding(t *testing.T, l language, f *fault) {
	m, procs := l.pool(t, 2, single)
	begun := filepath.Join(scratch(t), "begun")
	done := later(t.Context(), m, "hold - "+begun, powerhose.Call{})
	pid, _ := marked(t, lines(t, begun, 1)[0])
	end := f.from(t)
	byPID(t, procs, pid).kill()
	_, e := fails(t, done, powerhose.ErrWorkerLost)
	end()
	if e.PID != pid || e.Attempt != 1 || !e.Started() || !strings.Contains(e.Error(), fmt.Sprintf("pid %d", pid)) || !strings.Contains(e.Error(), "attempt 1") {
		t.Errorf("%v (%+v), want pid %d in attempt 1", e, e, pid)
	}
	idle(t, m, 1)
	if other := do(t, m, "pid"); other == strconv.Itoa(pid) {
		t.Error("the dead worker answers")
	}
	if n := len(linesNow(begun)); n != 1 {
		t.Errorf("the job was begun %d times", n)
	}
}

func killRepeatable(t *testing.T, l language, f *fault) {
	m, procs := l.pool(t, 2, single)
	dir := scratch(t)
	begun, flag := filepath.Join(dir, "begun"), filepath.Join(dir, "flag")
	done := later(t.Context(), m, "until "+flag+" "+begun, powerhose.Call{Repeatable: true})
	first, _ := marked(t, lines(t, begun, 1)[0])
	end := f.from(t)
	byPID(t, procs, first).kill()
	second, attempt := marked(t, lines(t, begun, 2)[1])
	touch(t, flag)
	if got := result(t, done); got != "it is there" {
		t.Errorf("result %q", got)
	}
	end()
	if second == first || attempt != 2 {
		t.Errorf("pid %d has it in attempt %d after pid %d", second, attempt, first)
	}
	idle(t, m, 1)
	if s := m.Status(); len(done) != 0 || s.Calls.Results != 1 || s.Calls.Total != 1 || s.Events.Repeated != 1 {
		t.Errorf("%+v, %+v", s.Calls, s.Events)
	}
}

func killPoison(t *testing.T, l language, f *fault) {
	m, procs := l.pool(t, 4, single)
	begun := filepath.Join(scratch(t), "begun")
	job := "die - " + begun
	end := f.from(t)
	_, e := fails(t, later(t.Context(), m, job, powerhose.Call{Repeatable: true}), powerhose.ErrWorkerLost)
	end()
	if digest := fmt.Sprintf("%x", sha256.Sum256([]byte(job))); e.Attempt != 2 || !strings.Contains(e.Error(), digest) {
		t.Errorf("%v, want attempt 2 and %s", e, digest)
	}
	idle(t, m, 2)
	left := 0
	for _, p := range procs {
		if !slices.ContainsFunc(linesNow(begun), func(line string) bool { pid, _ := marked(t, line); return pid == p.pid() }) {
			if left++; !p.alive() {
				t.Errorf("pid %d never had the job, and is dead", p.pid())
			}
		}
	}
	if left != 2 {
		t.Errorf("%d workers never had the job, want 2", left)
	}
}

func killWindow(t *testing.T, l language, f *fault) {
	m, procs := l.pool(t, 1, queueing)
	dir := scratch(t)
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	do(t, m, "pid") // now its jobs are known to be short
	first := later(t.Context(), m, "hold - "+a, powerhose.Call{})
	lines(t, a, 1)
	flag := filepath.Join(dir, "flag")
	touch(t, flag)
	second := later(t.Context(), m, "until "+flag+" "+b, powerhose.Call{})
	running(t, m, 2)
	end := f.from(t)
	procs[0].kill()
	fails(t, first, powerhose.ErrWorkerLost)
	next := l.start(t, m.Address(), "next")
	if got := result(t, second); got != "it is there" {
		t.Errorf("result %q", got)
	}
	end()
	if got, want := linesNow(b), fmt.Sprintf("%d 1\n", next.pid()); len(got) != 1 || got[0] != want {
		t.Errorf("the job that waited was begun by %q, want %q", got, want)
	}
	if s := m.Status(); s.Events.Moved != 1 || s.Events.Repeated != 0 {
		t.Errorf("events %+v", s.Events)
	}
}

func killAfterAnswer(t *testing.T, l language, f *fault) {
	m := newSeparate(t, "WINDOW=2", "SHORT=1h")
	procs := l.join(t, m, m.address, 1)
	dir := scratch(t)
	flag, begun, dying := filepath.Join(dir, "flag"), filepath.Join(dir, "begun"), filepath.Join(dir, "dying")
	do(t, m, "pid")
	a := later(t.Context(), m, "until "+flag+" "+begun, powerhose.Call{})
	lines(t, begun, 1)
	b := later(t.Context(), m, "die - "+dying, powerhose.Call{})
	running(t, m, 2)
	m.stop()
	touch(t, flag)
	procs[0].status()
	lines(t, dying, 1)
	end := f.from(t)
	m.signal(syscall.SIGCONT)
	if got := result(t, a); got != "it is there" {
		t.Errorf("the job that was answered: %q", got)
	}
	fails(t, b, powerhose.ErrWorkerLost)
	end()
}

func killIdle(t *testing.T, l language, f *fault) {
	m, procs := l.pool(t, 2, single)
	end := f.from(t)
	procs[0].kill()
	idle(t, m, 1)
	end()
	for range 100 {
		if got := do(t, m, "pid"); got != strconv.Itoa(procs[1].pid()) {
			t.Fatalf("pid %s answers, want %d", got, procs[1].pid())
		}
	}
}

// next is the worker that will be given a job before the other one: it has been
// idle for longer.
func next(t *testing.T, m *powerhose.Master, procs []*proc) (first, second *proc) {
	t.Helper()
	last, err := strconv.Atoi(do(t, m, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	idle(t, m, 2)
	if procs[0].pid() == last {
		return procs[1], procs[0]
	}
	return procs[0], procs[1]
}

func stopIdle(t *testing.T, l language, f *fault) {
	m, procs := l.pool(t, 2, powerhose.MasterConfig{Window: 1, Period: 500 * time.Millisecond, Tries: 3, Grace: 50 * time.Millisecond})
	gone := func(p *proc) bool {
		return !slices.ContainsFunc(m.Status().Workers, func(w powerhose.WorkerStatus) bool { return w.PID == p.pid() })
	}
	end := f.from(t)
	procs[0].stop()
	until(t, "the worker to be given up", func() bool { return gone(procs[0]) })
	end()
	do(t, m, "pid")
	procs[0].signal(syscall.SIGCONT)
	idle(t, m, 2)

	first, second := next(t, m, procs)
	first.stop()
	fails(t, later(t.Context(), m, "echo", powerhose.Call{Deadline: 100 * time.Millisecond}), powerhose.ErrTimeout)
	if got := do(t, m, "pid"); got != strconv.Itoa(second.pid()) {
		t.Errorf("pid %s answers, want %d", got, second.pid())
	}
	until(t, "the worker to be closed", func() bool { return gone(first) })
	first.signal(syscall.SIGCONT)
	idle(t, m, 2)
	if s := m.Status(); s.Calls.Timeouts != 1 || s.Calls.Lost != 0 {
		t.Errorf("calls %+v", s.Calls)
	}
}

func stopBusy(t *testing.T, l language, f *fault) {
	m, procs := l.pool(t, 2, powerhose.MasterConfig{Window: 1, Grace: 50 * time.Millisecond})
	dir := scratch(t)
	begun, flag, ended := filepath.Join(dir, "begun"), filepath.Join(dir, "flag"), filepath.Join(dir, "ended")
	end := f.from(t)
	// The deadline gives the job time to begin, on any machine.
	done := later(t.Context(), m, "until "+flag+" "+begun+" "+ended, powerhose.Call{Deadline: time.Second})
	pid, _ := marked(t, lines(t, begun, 1)[0])
	victim := byPID(t, procs, pid)
	victim.stop()
	if o, e := fails(t, done, powerhose.ErrTimeout); e.PID != pid || o.took < time.Second {
		t.Errorf("%v after %v", e, o.took)
	}
	for range 5 {
		if got := do(t, m, "pid"); got == strconv.Itoa(pid) {
			t.Error("the worker that is stopped answers")
		}
	}
	idle(t, m, 1)
	before := m.Status().Calls.Results
	touch(t, flag)
	victim.signal(syscall.SIGCONT)
	lines(t, ended, 1)
	idle(t, m, 2)
	end()
	if s := m.Status(); s.Calls.Results != before || s.Calls.Timeouts != 1 {
		t.Errorf("calls %+v", s.Calls)
	}
	if first, _ := next(t, m, procs); first == victim {
		do(t, m, "pid")
	}
	if !victim.alive() {
		t.Error("the worker has ended")
	}
}

func neverAnswers(t *testing.T, l language, f *fault) {
	m, procs := l.pool(t, 2, single)
	dir := scratch(t)
	begun := filepath.Join(dir, "begun")
	end := f.from(t)
	done := later(t.Context(), m, "until "+filepath.Join(dir, "never")+" "+begun, powerhose.Call{Deadline: 500 * time.Millisecond})
	running(t, m, 1)
	var others []<-chan outcome
	for range 20 {
		others = append(others, later(t.Context(), m, "pid", powerhose.Call{}))
	}
	if o, _ := fails(t, done, powerhose.ErrTimeout); o.took < 500*time.Millisecond {
		t.Errorf("the time was over after %v", o.took)
	} else {
		t.Logf("told after %v", o.took)
	}
	var pid int
	for _, done := range others {
		got, err := strconv.Atoi(result(t, done))
		if err != nil || pid != 0 && got != pid {
			t.Errorf("pid %d, then %d, %v", pid, got, err)
		}
		pid = got
	}
	end()
	byPID(t, procs, pid)
	if first, _ := marked(t, lines(t, begun, 1)[0]); first == pid {
		t.Error("the worker that hangs answers")
	}
}

func lateAnswer(t *testing.T, l language, f *fault) {
	m, procs := l.pool(t, 1, powerhose.MasterConfig{Window: 1, Grace: patience})
	flag := filepath.Join(scratch(t), "flag")
	end := f.from(t)
	if o, _ := fails(t, later(t.Context(), m, "until "+flag, powerhose.Call{Deadline: 200 * time.Millisecond}), powerhose.ErrTimeout); o.took < 200*time.Millisecond {
		t.Errorf("the time was over after %v", o.took)
	}
	touch(t, flag)
	until(t, "a late answer", func() bool { return m.Status().Events.Late == 1 })
	if got := do(t, m, "its own"); got != "its own" {
		t.Errorf("the next job has %q", got)
	}
	end()
	if s := m.Status(); len(s.Workers) != 1 || s.Workers[0].PID != procs[0].pid() || s.Events.Registered != 1 {
		t.Errorf("%+v, %+v", s.Workers, s.Events)
	}
}

func masterRestart(t *testing.T, l language, f *fault) {
	m := newSeparate(t)
	procs := l.join(t, m, m.address, 2)
	dir := scratch(t)
	begun, flag := filepath.Join(dir, "begun"), filepath.Join(dir, "flag")
	lost := later(t.Context(), m, "until "+flag+" "+begun, powerhose.Call{})
	lines(t, begun, 1)
	end := f.from(t)
	m.kill()
	if _, e := fails(t, lost, powerhose.ErrMasterLost); !e.Started() {
		t.Errorf("%v: the job may be begun again", e)
	}
	m.listen(t)
	// One of the workers has the job still, of which nobody knows any more.
	if got := do(t, m, "echo"); got != "echo" {
		t.Errorf("the first job has %q", got)
	}
	end()
	touch(t, flag)
	idle(t, m, 2)
	for _, w := range m.Status().Workers {
		if p := byPID(t, procs, w.PID); !p.alive() {
			t.Errorf("pid %d has ended", p.pid())
		}
	}
	if n := len(linesNow(begun)); n != 1 {
		t.Errorf("the job was begun %d times", n)
	}

	// A master that only reads: the worker is the same, and says so.
	address := filepath.Join(scratch(t), "m")
	ln := listen(t, address)
	l.start(t, address, "w")
	var hellos [2]wire.Head
	for i := range hellos {
		p := ln.accept()
		hellos[i], _ = p.want(wire.Hello)
		p.Close()
	}
	if hellos[0].Incarnation != hellos[1].Incarnation || hellos[0].Incarnation == [16]byte{} {
		t.Errorf("incarnation %x, then %x", hellos[0].Incarnation, hellos[1].Incarnation)
	}
}

// ticks is the processor time of a process that lives.
func ticks(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')'):]))
	user, err1 := strconv.Atoi(fields[12])
	system, err2 := strconv.Atoi(fields[13])
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

func masterGone(t *testing.T, _ language, f *fault) {
	m := newSeparate(t)
	dir := scratch(t)
	flag := filepath.Join(dir, "flag")
	var procs []*proc
	for _, l := range languages {
		procs = append(procs, l.start(t, m.address, l.name))
	}
	idle(t, m, len(languages))
	for i := range languages {
		later(t.Context(), m, fmt.Sprintf("until %s - %s/%d", flag, dir, i), powerhose.Call{})
		running(t, m, i+1)
	}
	end := f.from(t)
	m.kill()
	touch(t, flag)
	var used [3]time.Duration
	for i, p := range procs {
		lines(t, fmt.Sprintf("%s/%d", dir, i), 1)
		used[i] = ticks(t, p.pid())
	}
	for i, p := range procs {
		if got := p.status(); got != 69 {
			t.Errorf("%s: status %d, want 69:\n%s", languages[i].name, got, p.said())
		}
		used[i] = p.ProcessState.UserTime() + p.ProcessState.SystemTime() - used[i]
	}
	end()
	// A loop without a wait would take all of the 13 s. The end of the process
	// counts too, and is not for nothing.
	for i, d := range used {
		t.Logf("%s: %v of the processor", languages[i].name, d)
		if d > time.Second {
			t.Errorf("%s: %v of the processor while it looked for its master", languages[i].name, d)
		}
	}
	if left, err := filepath.Glob(filepath.Dir(m.address) + "/*.sock"); err != nil || len(left) > 0 {
		t.Errorf("sockets %q are left, %v", left, err)
	}
}

func masterStop(t *testing.T, l language, f *fault) {
	m := newSeparate(t, "PERIOD=200ms", "TRIES=3", "GRACE=1m")
	procs := l.join(t, m, m.address, 2)
	dir := scratch(t)
	begun, flag, ended := filepath.Join(dir, "begun"), filepath.Join(dir, "flag"), filepath.Join(dir, "ended")
	busy := later(t.Context(), m, "until "+flag+" "+begun+" "+ended, powerhose.Call{})
	pid, _ := marked(t, lines(t, begun, 1)[0])
	other := procs[0]
	if other.pid() == pid {
		other = procs[1]
	}
	end := f.from(t)
	m.stop()
	other.awaits("silent")
	touch(t, flag)
	lines(t, ended, 1)
	m.signal(syscall.SIGCONT)
	// The caller may have given the master up, as the worker did.
	if o := wait(t, busy); o.err == nil && o.out != "it is there" || o.err != nil && !errors.Is(o.err, powerhose.ErrMasterLost) {
		t.Errorf("the job that ran: %q, %v", o.out, o.err)
	}
	idle(t, m, 2)
	for i := range 20 {
		mark := filepath.Join(dir, strconv.Itoa(i))
		do(t, m, "until "+flag+" "+mark)
		if n := len(linesNow(mark)); n != 1 {
			t.Errorf("a job was begun %d times", n)
		}
	}
	end()
	if n := len(linesNow(begun)); n != 1 {
		t.Errorf("the job that ran was begun %d times", n)
	}
	s := m.Status()
	for _, w := range s.Workers {
		byPID(t, procs, w.PID)
	}
	if s.Events.Duplicate != 0 || s.Events.Stray != 0 {
		t.Errorf("events %+v", s.Events)
	}
}

func allBusy(t *testing.T, l language, f *fault) {
	m, _ := l.pool(t, 2, single)
	for range 2 {
		later(t.Context(), m, "hold", powerhose.Call{})
	}
	running(t, m, 2)
	end := f.from(t)
	o, e := fails(t, later(t.Context(), m, "echo", powerhose.Call{BusyWait: 300 * time.Millisecond}), powerhose.ErrBusy)
	end()
	if o.took < 300*time.Millisecond || !strings.Contains(e.Error(), "2 of 2 are busy") || e.Started() {
		t.Errorf("%v after %v", e, o.took)
	}
}

func noWorker(t *testing.T, l language, f *fault) {
	m := newMaster(t, single)
	end := f.from(t)
	o, e := fails(t, later(t.Context(), m, "echo", powerhose.Call{BusyWait: 300 * time.Millisecond}), powerhose.ErrNoWorker)
	end()
	if o.took < 300*time.Millisecond || e.Started() {
		t.Errorf("%v after %v", e, o.took)
	}
	done := later(t.Context(), m, "pid", powerhose.Call{})
	until(t, "the call to wait", func() bool { return m.Status().Waiting == 1 })
	p := l.start(t, m.Address(), "w")
	if got := result(t, done); got != strconv.Itoa(p.pid()) {
		t.Errorf("pid %s answers, want %d", got, p.pid())
	}
}

func drainWorker(t *testing.T, l language, f *fault) {
	m, procs := l.pool(t, 1, queueing)
	dir := scratch(t)
	flag, begun, waits := filepath.Join(dir, "flag"), filepath.Join(dir, "begun"), filepath.Join(dir, "waits")
	do(t, m, "pid")
	a := later(t.Context(), m, "until "+flag+" "+begun, powerhose.Call{})
	lines(t, begun, 1)
	b := later(t.Context(), m, "until "+flag+" "+waits, powerhose.Call{})
	running(t, m, 2)
	other := l.start(t, m.Address(), "other")
	until(t, "the other worker", func() bool { return len(m.Status().Workers) == 2 })
	end := f.from(t)
	procs[0].signal(syscall.SIGTERM)
	if l.threads {
		// The handler of the signal runs when it likes.
		until(t, "the job that waited to come back", func() bool { return m.Status().Events.Returned == 1 })
	}
	touch(t, flag)
	for _, done := range []<-chan outcome{a, b} {
		if got := result(t, done); got != "it is there" {
			t.Errorf("result %q", got)
		}
	}
	if got := procs[0].status(); got != 0 {
		t.Errorf("status %d, want 0:\n%s", got, procs[0].said())
	}
	end()
	if got, want := linesNow(waits), fmt.Sprintf("%d 1\n", other.pid()); len(got) != 1 || got[0] != want {
		t.Errorf("the job that waited was begun by %q, want %q", got, want)
	}
	if _, err := os.Lstat(filepath.Join(filepath.Dir(m.Address()), "w0.sock")); !os.IsNotExist(err) {
		t.Errorf("the socket of the worker: %v", err)
	}
	if s := m.Status(); s.Calls.Lost != 0 || s.Events.Returned != 1 {
		t.Errorf("%+v, %+v", s.Calls, s.Events)
	}
}

func drainMaster(t *testing.T, l language, f *fault) {
	m, procs := l.pool(t, 2, single)
	flag := filepath.Join(scratch(t), "flag")
	var all []<-chan outcome
	for range 4 {
		all = append(all, later(t.Context(), m, "until "+flag, powerhose.Call{}))
	}
	until(t, "four calls", func() bool { s := m.Status(); return s.Running == 2 && s.Waiting == 2 })
	end := f.from(t)
	drained := make(chan error, 1)
	go func() { drained <- m.Drain(context.Background()) }()
	until(t, "the drain", func() bool { return m.Status().State == "draining" })
	fails(t, later(t.Context(), m, "echo", powerhose.Call{}), powerhose.ErrDraining)
	touch(t, flag)
	for _, done := range all {
		if got := result(t, done); got != "it is there" {
			t.Errorf("result %q", got)
		}
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	end()
	if left, err := filepath.Glob(m.Address() + "*"); err != nil || slices.ContainsFunc(left, func(path string) bool { return !strings.HasSuffix(path, ".lock") }) {
		t.Errorf("%q is left, %v", left, err)
	}
	// Workers without a master that are asked to end do so.
	for _, p := range procs {
		p.signal(syscall.SIGTERM)
		if got := p.status(); got != 0 {
			t.Errorf("status %d, want 0:\n%s", got, p.said())
		}
	}
}

func cancelRunning(t *testing.T, l language, f *fault) {
	m, _ := l.pool(t, 1, single)
	dir := scratch(t)
	begun, told := filepath.Join(dir, "begun"), filepath.Join(dir, "told")
	ctx, cancel := context.WithCancel(t.Context())
	done := later(ctx, m, "hold - "+begun+" "+told, powerhose.Call{})
	lines(t, begun, 1)
	end := f.from(t)
	cancel()
	if o := wait(t, done); !errors.Is(o.err, context.Canceled) {
		t.Errorf("%q, %v", o.out, o.err)
	}
	lines(t, told, 1)
	if got := do(t, m, "its own"); got != "its own" {
		t.Errorf("the next job has %q", got)
	}
	end()
	if s := m.Status(); s.Calls.Cancelled != 1 || s.Events.Registered != 1 {
		t.Errorf("%+v, %+v", s.Calls, s.Events)
	}
}

func cancelWaiting(t *testing.T, l language, f *fault) {
	m, _ := l.pool(t, 1, single)
	dir := scratch(t)
	flag, begun := filepath.Join(dir, "flag"), filepath.Join(dir, "begun")
	first := later(t.Context(), m, "until "+flag, powerhose.Call{})
	running(t, m, 1)
	ctx, cancel := context.WithCancel(t.Context())
	second := later(ctx, m, "until "+flag+" "+begun, powerhose.Call{})
	until(t, "a call that waits", func() bool { return m.Status().Waiting == 1 })
	end := f.from(t)
	cancel()
	if o := wait(t, second); !errors.Is(o.err, context.Canceled) {
		t.Errorf("%q, %v", o.out, o.err)
	}
	end()
	touch(t, flag)
	result(t, first)
	do(t, m, "echo")
	if got := linesNow(begun); len(got) != 0 {
		t.Errorf("it was begun: %q", got)
	}
}

func forkChild(t *testing.T, l language, f *fault) {
	m, procs := l.pool(t, 1, single)
	dir := scratch(t)
	flag, begun := filepath.Join(dir, "flag"), filepath.Join(dir, "begun")
	defer touch(t, flag)
	child, err := strconv.Atoi(do(t, m, "fork "+flag))
	if err != nil {
		t.Fatal(err)
	}
	// What this test has too, as the ends of pipes, is not the worker's own.
	own := func() []string {
		ours := descriptors(t, os.Getpid())
		return slices.DeleteFunc(descriptors(t, procs[0].pid()), func(s string) bool { return slices.Contains(ours, s) })
	}
	if mine := own(); len(mine) < 3 {
		t.Errorf("the worker has %q, want its socket and two links", mine)
	}
	until(t, "the child to be without descriptors of the worker", func() bool {
		its := descriptors(t, child)
		return !slices.ContainsFunc(own(), func(s string) bool { return slices.Contains(its, s) })
	})
	done := later(t.Context(), m, "hold - "+begun, powerhose.Call{})
	lines(t, begun, 1)
	end := f.from(t)
	procs[0].signal(syscall.SIGKILL)
	fails(t, done, powerhose.ErrWorkerLost)
	end()
	descriptors(t, child) // it lives
	touch(t, flag)
	until(t, "the end of the child", func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		return err != nil || strings.Contains(string(b), ") Z ")
	})
}

func recycle(t *testing.T, l language, f *fault) {
	m := newMaster(t, powerhose.MasterConfig{})
	end := f.from(t)
	stop, stopped := make(chan struct{}), make(chan int)
	go func() {
		for n := 0; ; n++ {
			w := l.start(t, m.Address(), "w", "MAXJOBS=100")
			select {
			case <-w.exited:
				if got := w.ProcessState.ExitCode(); got != 0 {
					t.Errorf("worker %d: status %d:\n%s", n, got, w.said())
				}
			case <-stop:
				stopped <- n
				return
			}
		}
	}()
	pids := map[string]bool{}
	for i := range 1000 {
		job := fmt.Sprint("job ", i)
		if i%100 == 50 {
			pids[do(t, m, "pid")] = true
		} else if got := do(t, m, job); got != job {
			t.Errorf("%s has %q", job, got)
		}
	}
	end()
	close(stop)
	if n := <-stopped; n != 9 && n != 10 || len(pids) != 10 {
		t.Errorf("%d workers have ended, %d were seen, want ten", n, len(pids))
	}
	if s := m.Status(); s.Calls.Results != 1000 || s.Calls.Total != 1000 {
		t.Errorf("calls %+v", s.Calls)
	}
}

func wrongVersion(t *testing.T, l language, f *fault) {
	m := newMaster(t, single)
	path := filepath.Join(filepath.Dir(m.Address()), "s")
	listen(t, path)
	p := shake(t, dial(t, m.Address()), "DEALER")
	h := hello("w", path)
	h.Lowest, h.Highest = 2, 3
	p.send(h, "")
	if text := p.refused(wire.BadVersion); !strings.Contains(text, "version 1") {
		t.Errorf("the text is %q", text)
	}

	address := filepath.Join(scratch(t), "m")
	ln := listen(t, address)
	w := l.start(t, address, "w")
	p = ln.accept()
	p.want(wire.Hello)
	end := f.from(t)
	p.send(wire.Head{Type: wire.Refused, Code: wire.BadVersion, Text: []byte("this one speaks version 7")}, "")
	if got := w.status(); got != 69 || !strings.Contains(w.said(), "version 7") {
		t.Errorf("status %d, want 69, and the text:\n%s", got, w.said())
	}
	end()
	if err := ln.SetDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if nc, err := ln.Accept(); err == nil {
		nc.Close()
		t.Error("the worker came again")
	}
}

func nameTaken(t *testing.T, l language, f *fault) {
	m, procs := l.pool(t, 1, single)
	second := l.start(t, m.Address(), "w0", "SOCKET="+filepath.Join(filepath.Dir(m.Address()), "other.sock"))
	second.awaits("is there")
	if got := do(t, m, "pid"); got != strconv.Itoa(procs[0].pid()) {
		t.Errorf("pid %s answers, want %d", got, procs[0].pid())
	}
	end := f.from(t)
	procs[0].kill()
	if got := do(t, m, "pid"); got != strconv.Itoa(second.pid()) {
		t.Errorf("pid %s answers, want %d", got, second.pid())
	}
	end()
	if s := m.Status(); s.Events.Refused == 0 || len(s.Workers) != 1 {
		t.Errorf("%+v, %+v", s.Events, s.Workers)
	}
}

func foreignPath(t *testing.T, l language, f *fault) {
	m, _ := l.pool(t, 1, single)
	dir := filepath.Dir(m.Address())
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "w0.sock"), "w0.sock", "/" + strings.Repeat("x", 199), fifo} {
		end := f.from(t)
		p := shake(t, dial(t, m.Address()), "DEALER")
		p.send(hello("thief", path), "")
		p.refused(wire.BadSocket)
		end()
	}
	idle(t, m, 1)
	do(t, m, "echo")
}

func silentPeer(t *testing.T, l language, f *fault) {
	m := newMaster(t, powerhose.MasterConfig{Window: 1, Handshake: 2 * time.Second})
	silent := dial(t, m.Address())
	end := f.from(t)
	l.start(t, m.Address(), "w")
	do(t, m, "echo")
	closes(t, silent)
	end()
	idle(t, m, 1)
}
