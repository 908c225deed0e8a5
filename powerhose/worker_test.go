package powerhose

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A separate master gives the same answers as one in the process.
func TestSeparate(t *testing.T) {
	leavesNothing(t)
	address := shortDir(t) + "/m"
	p := startMaster(t, address)
	r := connect(t, address)
	until(t, "the link to the master", func() bool {
		_, err := r.Execute(t.Context(), nil, Call{BusyWait: 10 * time.Millisecond, Kind: "x"})
		if !errors.Is(err, ErrNoWorker) && !errors.Is(err, ErrNoMaster) {
			t.Errorf("without a worker: %v", err)
		}
		return errors.Is(err, ErrNoWorker)
	})
	w := startWorker(t, address, "w")
	for _, n := range []int{0, 100, 64<<10 + 1, 1 << 20} {
		job := bytes.Repeat([]byte{0, 1, 2, 255}, n/4+1)[:n]
		out, err := r.Execute(t.Context(), job, Call{BusyWait: patience, Deadline: patience})
		if err != nil || !bytes.Equal(out, job) {
			t.Errorf("echo of %d bytes: %d bytes, %v", n, len(out), err)
		}
	}
	var said []string
	if out, err := r.Execute(t.Context(), []byte("progress"), Call{Progress: func(b []byte) { said = append(said, string(b)) }}); err != nil || string(out) != "done" || strings.Join(said, "") != "012" {
		t.Errorf("progress %q, %q, %v", said, out, err)
	}
	for job, want := range map[string]error{"panic x": ErrPanic, "reject": ErrRejected, "fail": ErrApplication} {
		_, err := r.Execute(t.Context(), []byte(job), Call{})
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, want) || e.PID != w.Process.Pid || e.Worker != "w" {
			t.Errorf("%s: %v, want %v", job, err, want)
		}
	}
	if _, err := r.Execute(t.Context(), make([]byte, 16<<20+1), Call{}); !errors.Is(err, ErrTooBig) {
		t.Errorf("17 MiB: %v", err)
	}
	o := want(t, later(t.Context(), r, "hold", Call{Deadline: 50 * time.Millisecond}))
	if !errors.Is(o.err, ErrTimeout) {
		t.Errorf("a deadline: %v", o.err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := later(ctx, r, "hold", Call{})
	until(t, "a job", func() bool { s, err := ReadStatus(t.Context(), address); return err == nil && s.Running == 1 })
	cancel()
	if o := want(t, done); !errors.Is(o.err, context.Canceled) {
		t.Errorf("cancelled: %v", o.err)
	}
	do(t, r, "pid", Call{BusyWait: patience})

	// A caller that goes takes its calls along.
	gone := connect(t, address)
	done = later(t.Context(), gone, "hold", Call{})
	until(t, "a job", func() bool { s, err := ReadStatus(t.Context(), address); return err == nil && s.Running == 1 })
	if err := gone.Close(); err != nil {
		t.Error(err)
	}
	if o := want(t, done); !errors.Is(o.err, ErrMasterLost) {
		t.Errorf("of a runner that was closed: %v", o.err)
	}
	do(t, r, "pid", Call{BusyWait: patience})

	// The end of the master, in order, with a call that it serves still.
	flag := filepath.Join(t.TempDir(), "flag")
	done = later(t.Context(), r, "until "+flag, Call{})
	until(t, "a job", func() bool { s, err := ReadStatus(t.Context(), address); return err == nil && s.Running == 1 })
	p.in.Close()
	until(t, "the drain", func() bool { s, err := ReadStatus(t.Context(), address); return err == nil && s.State == "draining" })
	if _, err := r.Execute(t.Context(), nil, Call{}); !errors.Is(err, ErrDraining) {
		t.Errorf("a new call: %v", err)
	}
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if o := want(t, done); o.err != nil {
		t.Errorf("a call from before: %v", o.err)
	}
	if got := p.status(); got != 0 {
		t.Errorf("the master ends with %d", got)
	}
	var e *Error
	if _, err := r.Execute(t.Context(), nil, Call{BusyWait: 10 * time.Millisecond}); !errors.Is(err, ErrNoMaster) || !errors.As(err, &e) || e.Started() {
		t.Errorf("without a master: %v", err)
	}
}

// A master that is killed and started again has its workers and its callers back.
func TestMasterRestart(t *testing.T) {
	address := shortDir(t) + "/m"
	p := startMaster(t, address)
	workers := []*proc{startWorker(t, address, "a"), startWorker(t, address, "b")}
	r := connect(t, address)
	ready := func() {
		t.Helper()
		until(t, "two workers", func() bool { s, err := ReadStatus(t.Context(), address); return err == nil && len(s.Workers) == 2 })
	}
	ready()
	done := later(t.Context(), r, "hold", Call{Deadline: patience})
	until(t, "a job", func() bool { s, err := ReadStatus(t.Context(), address); return err == nil && s.Running == 1 })
	p.kill()
	var e *Error
	if o := want(t, done); !errors.Is(o.err, ErrMasterLost) || !errors.As(o.err, &e) || !e.Started() {
		t.Errorf("a call at the death of the master: %v", o.err)
	}
	startMaster(t, address)
	// The worker with the job goes on with it: nobody can cancel it any more. The
	// other one is there.
	if got := do(t, r, "pid", Call{BusyWait: patience, Deadline: patience}); got == "" {
		t.Error("no pid")
	}
	for _, w := range workers {
		select {
		case <-w.exited:
			t.Errorf("pid %d has ended: %s", w.Process.Pid, w.log.String())
		default:
		}
	}
}

// An idle worker that is stopped is given up, and comes back.
func TestStopIdle(t *testing.T) {
	m, procs := pool(t, MasterConfig{Period: 50 * time.Millisecond, Tries: 2}, 1)
	procs[0].signal(syscall.SIGSTOP)
	until(t, "the worker to be given up", func() bool { return len(m.Status().Workers) == 0 })
	procs[0].signal(syscall.SIGCONT)
	idle(t, m, 1)
	do(t, m, "echo", Call{})
}

// A worker that is stopped with a job: time-out, then its links are closed; what
// it says later counts for nothing.
func TestStopBusy(t *testing.T) {
	m, procs := pool(t, MasterConfig{Window: 1, Grace: 50 * time.Millisecond}, 2)
	file := filepath.Join(t.TempDir(), "started")
	flag := filepath.Join(t.TempDir(), "flag")
	done := later(t.Context(), m, "until "+flag+" "+file, Call{Deadline: 300 * time.Millisecond})
	lines(t, file, 1)
	var victim *proc
	for _, w := range m.Status().Workers {
		if w.State == "busy" {
			victim = byPID(t, procs, w.PID)
		}
	}
	victim.signal(syscall.SIGSTOP)
	if o := want(t, done); !errors.Is(o.err, ErrTimeout) {
		t.Error(o.err)
	}
	idle(t, m, 1)
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	victim.signal(syscall.SIGCONT)
	idle(t, m, 2)
	if s := m.Status(); s.Calls.Results != 0 || s.Calls.Timeouts != 1 {
		t.Errorf("calls %+v", s.Calls)
	}
}

// Workers that are replaced after some jobs lose none.
func TestRecycle(t *testing.T) {
	m := newMaster(t, MasterConfig{Period: 100 * time.Millisecond, Tries: 100})
	var ended atomic.Int32
	stop := make(chan struct{})
	var supervisor sync.WaitGroup
	supervisor.Go(func() {
		for n := 0; ; n++ {
			w := startWorker(t, m.Address(), "w", "MAXJOBS=30")
			select {
			case <-w.exited:
				if got := w.ProcessState.ExitCode(); got != 0 {
					t.Errorf("worker %d ends with %d: %s", n, got, w.log.String())
				}
				ended.Add(1)
			case <-stop:
				return
			}
		}
	})
	for i := range 300 {
		job := fmt.Sprintf("echo %d", i)
		if got := do(t, m, job, Call{BusyWait: patience, Deadline: patience}); got != job {
			t.Errorf("%s = %q", job, got)
		}
	}
	close(stop)
	supervisor.Wait()
	if n := ended.Load(); n < 9 || n > 10 {
		t.Errorf("%d workers have ended, want 9 or 10", n)
	}

	// By age, also without a job, and by size.
	old := startWorker(t, m.Address(), "old", "MAXAGE=1ms")
	big := startWorker(t, m.Address(), "big", "MAXRSS=1", "KINDS=big")
	do(t, m, "grow 1000", Call{Kind: "big", BusyWait: patience, Deadline: patience})
	if got := big.status(); got != 0 {
		t.Errorf("a worker that has grown ends with %d", got)
	}
	if got := old.status(); got != 0 {
		t.Errorf("an old worker ends with %d", got)
	}
}

// A master that is stopped has no status, and a file is no master.
func TestNoStatus(t *testing.T) {
	path := filepath.Join(shortDir(t), "m")
	ln, err := net.Listen("unix", path+statusSuffix)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := ReadStatus(soon, path); err == nil || err.Error() != "master "+path+" does not answer" {
		t.Errorf("ReadStatus of a master that is stopped: %v", err)
	}
	writeFile(t, path, "", 0o600)
	want := path + ": it is no socket; give the path of that of the master"
	if err := Serve(t.Context(), path, nil); err == nil || err.Error() != want {
		t.Errorf("Serve at a file: %v, want %s", err, want)
	}
}

// A handler that gives its job up ends the worker.
func TestAbandon(t *testing.T) {
	m, procs := pool(t, MasterConfig{}, 1)
	if _, err := m.Execute(t.Context(), []byte("abandon"), Call{}); !errors.Is(err, ErrWorkerLost) {
		t.Error(err)
	}
	if got := procs[0].status(); got != 3 || !strings.Contains(procs[0].log.String(), "the tool is broken") {
		t.Errorf("the worker ends with %d: %s", got, procs[0].log.String())
	}
}

// Children of workers have none of our descriptors.
func TestDescriptors(t *testing.T) {
	m, procs := pool(t, MasterConfig{}, 1)
	do(t, m, "echo", Call{})
	_ = m
	dir := fmt.Sprintf("/proc/%d/fdinfo", procs[0].Process.Pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	sockets := 0
	for _, e := range entries {
		target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", procs[0].Process.Pid, e.Name()))
		if err != nil || !strings.HasPrefix(target, "socket:") {
			continue
		}
		sockets++
		info, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		var flags int
		for _, line := range strings.Split(string(info), "\n") {
			if rest, ok := strings.CutPrefix(line, "flags:"); ok {
				if _, err := fmt.Sscanf(rest, "%o", &flags); err != nil {
					t.Fatal(err)
				}
			}
		}
		if flags&syscall.O_CLOEXEC == 0 {
			t.Errorf("descriptor %s of the worker goes on to its children", e.Name())
		}
	}
	if sockets < 3 {
		t.Errorf("the worker has %d sockets, want its own and two links", sockets)
	}
}

// A worker tells its supervisor that it is ready, and how busy.
func TestNotify(t *testing.T) {
	path := filepath.Join(shortDir(t), "n")
	nc, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	read := func() string {
		b := make([]byte, 100)
		n, err := nc.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	m := newMaster(t, MasterConfig{Notify: path})
	if got := read(); got != "READY=1" {
		t.Errorf("the master says %q", got)
	}
	startWorker(t, m.Address(), "w", "NOTIFY_SOCKET="+path)
	if got := read(); got != "READY=1" {
		t.Errorf("the worker says %q", got)
	}
	idle(t, m, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := later(ctx, m, "hold", Call{Deadline: patience})
	for got := read(); got != "BUSY=100/100"; got = read() {
		if !strings.HasPrefix(got, "BUSY=") {
			t.Fatalf("the worker says %q", got)
		}
	}
	cancel()
	want(t, done)
	for got := read(); got != "BUSY=0/100"; got = read() {
		if !strings.HasPrefix(got, "BUSY=") {
			t.Fatalf("the worker says %q", got)
		}
	}
}

// Nothing is left of masters and runners that were closed, however often.
func TestLeak(t *testing.T) {
	leavesNothing(t)
	address := shortDir(t) + "/m"
	w := startWorker(t, address, "w")
	for i := range 5 { // a worker gives up after ten masters that last for no time
		r, err := NewJobRunner(MasterConfig{Listen: address})
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			do(t, r, "echo", Call{BusyWait: patience, Deadline: patience})
		}
		if err := r.Close(); err != nil {
			t.Fatal(i, err)
		}
	}
	w.kill()
	entries, err := os.ReadDir(filepath.Dir(address))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name := e.Name(); name != "m.lock" && !strings.HasPrefix(name, "w.sock") {
			t.Errorf("%s is left", name)
		}
	}
}

// A worker looks whether it has to ping while jobs begin and end.
func TestPingBetweenJobs(t *testing.T) {
	m := newMaster(t, MasterConfig{Period: time.Millisecond, Tries: 255})
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error)
	go func() {
		served <- (&Worker{Master: m.Address(), Name: "w"}).Serve(ctx, func(_ context.Context, j *Job) ([]byte, error) { return j.Body, nil })
	}()
	for range 1000 {
		do(t, m, "echo", Call{BusyWait: patience, Deadline: patience})
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if s := m.Status(); s.Calls.Results != 1000 || s.Events.Registered != 1 {
		t.Errorf("%+v, %+v", s.Calls, s.Events)
	}
}

// TestRandom lets callers make calls of all sorts while workers are killed,
// stopped and asked to end. Each call has one answer, and it is right; a job that
// may not be repeated is started once at most.
func TestRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for _, separate := range []bool{false, true} {
		t.Run(fmt.Sprintf("separate=%v", separate), func(t *testing.T) { chaos(t, separate, random.Uint64()) })
	}
}

func chaos(t *testing.T, separate bool, seed uint64) {
	const callers, jobs = 16, 1500
	dir := shortDir(t)
	address := filepath.Join(dir, "m")
	var e executor
	if separate {
		startMaster(t, address)
		e = connect(t, address)
	} else {
		e = newMaster(t, MasterConfig{Listen: address, Grace: 500 * time.Millisecond, Short: 20 * time.Millisecond})
	}
	stop := make(chan struct{})
	var others sync.WaitGroup
	for i := range 4 {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		others.Go(func() {
			for {
				w := startWorker(t, address, fmt.Sprintf("w%d", i), "MAXJOBS=500")
				life := time.After(time.Duration(50+random.IntN(400)) * time.Millisecond)
			living:
				for {
					select {
					case <-w.exited:
						break living
					case <-stop:
						return
					case <-life:
						switch random.IntN(3) {
						case 0:
							w.kill()
							break living
						case 1:
							w.signal(syscall.SIGTERM)
						case 2:
							w.signal(syscall.SIGSTOP)
							<-time.After(time.Duration(random.IntN(50)) * time.Millisecond)
							w.signal(syscall.SIGCONT)
						}
						life = time.After(time.Duration(50+random.IntN(400)) * time.Millisecond)
					}
				}
			}
		})
	}
	var counts [4]atomic.Int64 // results, losses, cancelled, the rest
	var all sync.WaitGroup
	for i := range callers {
		random := rand.New(rand.NewPCG(seed, uint64(100+i)))
		all.Go(func() {
			for n := range jobs / callers {
				file := filepath.Join(dir, fmt.Sprintf("j%d-%d", i, n))
				size := random.IntN(200)
				if random.IntN(50) == 0 {
					size = random.IntN(300_000)
				}
				body := make([]byte, size)
				for k := range body {
					body[k] = byte(random.Uint32())
				}
				job := fmt.Appendf(nil, "mark x %s ", file)
				if random.IntN(3) == 0 {
					job = fmt.Appendf(nil, "slow %dus %s ", random.IntN(20000), file)
				}
				c := Call{Deadline: patience, BusyWait: patience, Repeatable: random.IntN(2) == 0, Urgent: random.IntN(4) == 0}
				ctx, cancel := context.WithCancel(t.Context())
				switch random.IntN(20) {
				case 0:
					c.Deadline = time.Duration(1+random.IntN(5)) * time.Millisecond
				case 1:
					after := time.AfterFunc(time.Duration(random.IntN(3000))*time.Microsecond, cancel)
					defer after.Stop()
				}
				job = append(append(job, '\n'), body...)
				out, err := e.Execute(ctx, job, c)
				cancel()
				started, _ := os.ReadFile(file)
				_ = os.Remove(file)
				times := bytes.Count(started, []byte("\n"))
				if times > 1 && !c.Repeatable || times > 2 {
					t.Errorf("%s was started %d times (repeatable %v): %v", file, times, c.Repeatable, err)
				}
				var reason *Error
				switch {
				case err == nil:
					counts[0].Add(1)
					if !bytes.Equal(out, job) {
						t.Errorf("%s: the result is of %d bytes, the job of %d", file, len(out), len(job))
					}
					if times == 0 {
						t.Errorf("%s has a result, and was not started", file)
					}
				case !errors.As(err, &reason):
					t.Errorf("%s: %v", file, err)
				case errors.Is(err, ErrWorkerLost):
					counts[1].Add(1)
				case errors.Is(err, ErrCancelled), errors.Is(err, ErrTimeout),
					c.Deadline < patience && (errors.Is(err, ErrBusy) || errors.Is(err, ErrNoWorker) || errors.Is(err, ErrNoMaster)):
					counts[2].Add(1)
				default:
					counts[3].Add(1)
					t.Errorf("%s: %v", file, err)
				}
				if err != nil && reason != nil && !reason.Started() && times > 0 {
					t.Errorf("%s was started, and its error says that it was not: %v", file, err)
				}
			}
		})
	}
	all.Wait()
	close(stop)
	others.Wait()
	t.Logf("%d results, %d lost with their worker, %d cancelled or late", counts[0].Load(), counts[1].Load(), counts[2].Load())
	if counts[0].Load() < jobs/2 {
		t.Error("most jobs had no result")
	}
}
