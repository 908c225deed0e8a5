package powerhose

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what must come; it is only there to fail.
const patience = 60 * time.Second

// The test binary is a worker, or a master, where the environment says so.
func TestMain(m *testing.M) {
	if address := os.Getenv("POWERHOSE_TEST_WORKER"); address != "" {
		os.Exit(workerMain(address))
	}
	if address := os.Getenv("POWERHOSE_TEST_MASTER"); address != "" {
		os.Exit(masterMain(address))
	}
	if config := os.Getenv("POWERHOSE_TEST_FAR"); config != "" {
		os.Exit(farMain(config))
	}
	os.Exit(m.Run())
}

// workerMain is a worker whose jobs are commands.
func workerMain(address string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	number := func(name string) int {
		n, _ := strconv.Atoi(os.Getenv(name))
		return n
	}
	w := Worker{
		Master: address, Name: os.Getenv("NAME"), Window: number("WINDOW"), MaxJobs: number("MAXJOBS"), MaxRSS: int64(number("MAXRSS")),
		Notify: os.Getenv("NOTIFY_SOCKET"), Log: func(line string) { fmt.Fprintln(os.Stderr, line) },
	}
	if kinds := os.Getenv("KINDS"); kinds != "" {
		w.Kinds = strings.Fields(kinds)
	}
	if d, err := time.ParseDuration(os.Getenv("MAXAGE")); err == nil {
		w.MaxAge = d
	}
	err := w.Serve(ctx, work)
	var lost *MasterError
	switch {
	case errors.As(err, &lost):
		fmt.Fprintln(os.Stderr, err)
		return 69
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	return 0
}

// work does a job: a word, an argument, and a file in which a line says that it
// was started.
func work(ctx context.Context, j *Job) ([]byte, error) {
	word, rest, _ := strings.Cut(string(j.Body[:min(len(j.Body), 200)]), " ")
	arg, file, _ := strings.Cut(rest, " ")
	file, _, _ = strings.Cut(file, " ")
	if file != "" && word != "echo" {
		f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = fmt.Fprintln(f, arg, j.Attempt)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			return nil, err
		}
	}
	switch word {
	case "pid":
		return []byte(strconv.Itoa(os.Getpid())), nil
	case "hold": // until the caller has gone
		<-ctx.Done()
		return nil, ctx.Err()
	case "slow": // an echo after so long
		d, err := time.ParseDuration(arg)
		if err != nil {
			return nil, err
		}
		<-time.After(d)
	case "until": // the file that is the argument is there
		for {
			if _, err := os.Stat(arg); err == nil {
				return []byte("it is there"), nil
			}
			<-time.After(time.Millisecond)
		}
	case "die":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "panic":
		panic("the handler " + arg)
	case "reject":
		return nil, fmt.Errorf("%w: not this one", ErrRejected)
	case "fail":
		return nil, &Error{Text: "it says no", Detail: []byte("and why")}
	case "grow":
		n, err := strconv.Atoi(arg)
		if err != nil {
			return nil, err
		}
		grown = append(grown, bytes.Repeat([]byte{1}, n))
		return nil, nil
	case "progress":
		for i := range 3 {
			j.Progress([]byte{'0' + byte(i)})
		}
		return []byte("done"), nil
	case "kind":
		return []byte(fmt.Sprintf("%q %d %v", j.Kind, j.Attempt, j.Repeatable)), nil
	case "left":
		return []byte(time.Until(j.Deadline).String()), nil
	case "abandon":
		return nil, Abandon(errors.New("the tool is broken"))
	}
	return bytes.Clone(j.Body), nil
}

var grown [][]byte

// masterMain is a separate master. A line on its standard input drains it.
func masterMain(address string) int {
	m, err := NewMaster(MasterConfig{Listen: address, Log: func(line string) { fmt.Fprintln(os.Stderr, line) }})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	fmt.Println("listens")
	_, _ = os.Stdin.Read(make([]byte, 1))
	if err := m.Drain(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// A proc is a process of a test.
type proc struct {
	testing.TB
	*exec.Cmd
	log    lockedBuffer
	exited chan struct{}
	in     io.WriteCloser
}

// A lockedBuffer is read while it is written.
type lockedBuffer struct {
	mu chan struct{}
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu <- struct{}{}
	defer func() { <-b.mu }()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu <- struct{}{}
	defer func() { <-b.mu }()
	return b.b.String()
}

// start runs the test binary with more environment.
func start(tb testing.TB, env ...string) *proc {
	tb.Helper()
	return startIn(tb, 0, env...)
}

// startIn is start in new namespaces.
func startIn(tb testing.TB, namespaces uintptr, env ...string) *proc {
	tb.Helper()
	p := &proc{TB: tb, Cmd: exec.Command("/proc/self/exe"), exited: make(chan struct{}), log: lockedBuffer{mu: make(chan struct{}, 1)}}
	p.Env = append(append(os.Environ(), "GORACE=atexit_sleep_ms=0"), env...)
	p.Stderr = &p.log
	p.Stdout = &p.log
	in, err := p.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	p.in = in
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: namespaces}
	runtime.LockOSThread() // Pdeathsig is of the thread
	defer runtime.UnlockOSThread()
	if err := p.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		_ = p.Wait()
		close(p.exited)
	}()
	tb.Cleanup(func() {
		p.kill()
		if tb.Failed() {
			tb.Logf("pid %d (%v):\n%s", p.Process.Pid, env, p.log.String())
		}
	})
	return p
}

func (p *proc) signal(s syscall.Signal) { _ = p.Process.Signal(s) }

func (p *proc) kill() {
	p.signal(syscall.SIGKILL)
	<-p.exited
}

// status waits for the end of the process.
func (p *proc) status() int {
	p.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.Fatalf("pid %d goes on: %s", p.Process.Pid, p.log.String())
	}
	return p.ProcessState.ExitCode()
}

// startWorker runs a worker for the master at an address.
func startWorker(tb testing.TB, address, name string, env ...string) *proc {
	tb.Helper()
	return start(tb, append([]string{"POWERHOSE_TEST_WORKER=" + address, "NAME=" + name}, env...)...)
}

// until waits for something to become true.
func until(tb testing.TB, what string, f func() bool) {
	tb.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !f(); <-tick.C {
		if time.Now().After(deadline) {
			tb.Fatalf("waited in vain: %s", what)
		}
	}
}

// shortDir is a directory whose name leaves room for a socket's.
func shortDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "ph")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// newMaster is a master in this process, with its lines in the log of the test.
func newMaster(tb testing.TB, cfg MasterConfig) *Master {
	tb.Helper()
	if cfg.Listen == "" {
		cfg.Listen = filepath.Join(shortDir(tb), "m")
	}
	m, err := NewMaster(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := m.Close(); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	return m
}

// idle waits until so many workers are idle, and there are no others.
func idle(tb testing.TB, m *Master, n int) {
	tb.Helper()
	until(tb, fmt.Sprintf("%d idle workers", n), func() bool {
		s := m.Status()
		for _, w := range s.Workers {
			if w.State != "idle" {
				return false
			}
		}
		return len(s.Workers) == n
	})
}

// pool is a master with workers, which are ready.
func pool(tb testing.TB, cfg MasterConfig, workers int, env ...string) (*Master, []*proc) {
	tb.Helper()
	m := newMaster(tb, cfg)
	var procs []*proc
	for i := range workers {
		procs = append(procs, startWorker(tb, m.Address(), fmt.Sprintf("w%d", i), env...))
	}
	idle(tb, m, workers)
	return m, procs
}

// byPID is the process with this pid.
func byPID(tb testing.TB, procs []*proc, pid int) *proc {
	tb.Helper()
	for _, p := range procs {
		if p.Process.Pid == pid {
			return p
		}
	}
	tb.Fatalf("there is no worker with pid %d", pid)
	return nil
}

// An outcome is what a call in a goroutine of its own came to.
type outcome struct {
	out  []byte
	err  error
	took time.Duration
}

type executor interface {
	Execute(context.Context, []byte, Call) ([]byte, error)
}

// later makes a call in a goroutine.
func later(ctx context.Context, e executor, job string, c Call) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		began := time.Now()
		out, err := e.Execute(ctx, []byte(job), c)
		done <- outcome{out, err, time.Since(began)}
	}()
	return done
}

// want waits for an outcome.
func want(tb testing.TB, done <-chan outcome) outcome {
	tb.Helper()
	select {
	case o := <-done:
		return o
	case <-time.After(patience):
		tb.Fatal("a call does not end")
		return outcome{}
	}
}

// do makes a call that must have a result.
func do(tb testing.TB, e executor, job string, c Call) string {
	tb.Helper()
	out, err := e.Execute(tb.Context(), []byte(job), c)
	if err != nil {
		tb.Fatalf("%s: %v", job, err)
	}
	return string(out)
}

// lines waits for n lines of a file, and gives them.
func lines(tb testing.TB, path string, n int) []string {
	tb.Helper()
	var got []string
	until(tb, fmt.Sprintf("%d lines in %s", n, path), func() bool {
		b, _ := os.ReadFile(path)
		got = strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
		return len(b) > 0 && len(got) >= n
	})
	return got
}

// leavesNothing fails a test after which a descriptor or a goroutine is left.
func leavesNothing(tb testing.TB) {
	tb.Helper()
	files, goroutines := openFiles(tb), runtime.NumGoroutine()
	tb.Cleanup(func() {
		if now := openFiles(tb); !slices.Equal(now, files) {
			tb.Errorf("open descriptors: %q, want %q as before", now, files)
		}
		for deadline := time.Now().Add(patience); runtime.NumGoroutine() > goroutines; runtime.Gosched() {
			if time.Now().After(deadline) {
				buf := make([]byte, 1<<20)
				tb.Fatalf("%d goroutines, want %d as before:\n%s", runtime.NumGoroutine(), goroutines, buf[:runtime.Stack(buf, true)])
			}
		}
	})
}

// openFiles lists the descriptors of this process and what they are.
func openFiles(tb testing.TB) []string {
	tb.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(target, "/proc/") && !strings.HasPrefix(target, "anon_inode:") {
			out = append(out, e.Name()+" "+target)
		}
	}
	return out
}

// startMaster runs a master in a process of its own, and waits until it listens.
func startMaster(tb testing.TB, address string) *proc {
	tb.Helper()
	p := start(tb, "POWERHOSE_TEST_MASTER="+address)
	until(tb, "the master to listen", func() bool {
		select {
		case <-p.exited:
			tb.Fatalf("the master has ended: %s", p.log.String())
		default:
		}
		return strings.Contains(p.log.String(), "listens")
	})
	return p
}

// connect is a runner for a master elsewhere.
func connect(tb testing.TB, address string) *JobRunner {
	tb.Helper()
	r, err := Connect(address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := r.Close(); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	return r
}
