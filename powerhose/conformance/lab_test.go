package conformance

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"appbundle/powerhose"
)

// patience is how long a test waits for what must come; it is only there to fail.
const patience = 90 * time.Second

// slack is how many times the time of a case is allowed: machines are shared.
const slack = 20

var built struct {
	dir string
	cpp func() (string, error)
}

// The test binary is a worker, a child of one or a master where the environment
// says so.
func TestMain(m *testing.M) {
	if file := os.Getenv("CONFORMANCE_CHILD"); file != "" {
		waitForFile(file, time.Now().Add(2*time.Minute))
		return
	}
	if os.Getenv("CONFORMANCE_WORKER") != "" {
		os.Exit(goWorker())
	}
	if os.Getenv("CONFORMANCE_MASTER") != "" {
		os.Exit(goMaster())
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cf")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	built.dir = dir
	built.cpp = sync.OnceValues(compile)
	return m.Run()
}

// compile makes the worker in C++, once for all tests.
func compile() (string, error) {
	program := filepath.Join(built.dir, "worker")
	out, err := exec.Command("g++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-I../cpp/include", "-o", program, "testdata/worker.cpp").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("g++: %v\n%s", err, out)
	}
	return program, nil
}

// read reads what other programs will read, so that the go command knows that
// the result depends on it.
func read(tb testing.TB, patterns ...string) {
	tb.Helper()
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			tb.Fatalf("%s: no such file (%v)", pattern, err)
		}
		for _, f := range files {
			if _, err := os.ReadFile(f); err != nil {
				tb.Fatal(err)
			}
		}
	}
}

// A language is one in which there is a worker.
type language struct {
	name    string
	threads bool // it hears what it is told while a job runs, also if the job does not listen
	command func(tb testing.TB) (argv, env []string)
}

var languages = []language{
	{"go", true, func(testing.TB) ([]string, []string) {
		return []string{"/proc/self/exe"}, []string{"CONFORMANCE_WORKER=1"}
	}},
	{"python", false, func(tb testing.TB) ([]string, []string) {
		read(tb, "../python/src/powerhose/*", "testdata/worker.py")
		source, err := filepath.Abs("../python/src")
		if err != nil {
			tb.Fatal(err)
		}
		// The tree may belong to somebody else, and stays as it is.
		return []string{python(tb), "testdata/worker.py"}, []string{"PYTHONPATH=" + source, "PYTHONPYCACHEPREFIX=" + built.dir}
	}},
	{"cpp", false, func(tb testing.TB) ([]string, []string) {
		read(tb, "../cpp/include/powerhose/*.hpp", "testdata/worker.cpp")
		program, err := built.cpp()
		if err != nil {
			tb.Fatal(err)
		}
		return []string{program}, nil
	}},
}

// quoted is a command for a shell, with its environment.
func (l language) quoted(tb testing.TB) string {
	tb.Helper()
	argv, env := l.command(tb)
	if argv[0] == "/proc/self/exe" {
		self, err := os.Executable()
		if err != nil {
			tb.Fatal(err)
		}
		argv = []string{self}
	}
	words := slices.Concat([]string{"env"}, env, argv)
	for i, w := range words {
		if path, err := filepath.Abs(w); err == nil && strings.HasPrefix(w, "testdata/") {
			w = path
		}
		words[i] = "'" + w + "'"
	}
	return strings.Join(words, " ")
}

// python is the interpreter of the virtual environment with gevent and gunicorn.
func python(tb testing.TB) string {
	tb.Helper()
	path, err := filepath.Abs("../../out/servers/bin/python")
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		tb.Fatalf("%v; tools/setup test makes it", err)
	}
	return path
}

// start runs a worker for the master at an address.
func (l language) start(tb testing.TB, address, name string, env ...string) *proc {
	tb.Helper()
	argv, own := l.command(tb)
	return start(tb, argv, slices.Concat(own, []string{"POWERHOSE_MASTER=" + address, "NAME=" + name}, env)...)
}

func goWorker() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	w := powerhose.Worker{
		Master: os.Getenv("POWERHOSE_MASTER"), Name: os.Getenv("NAME"), Socket: os.Getenv("SOCKET"), Window: number("WINDOW"), MaxJobs: number("MAXJOBS"),
		Kinds: strings.Fields(os.Getenv("KINDS")), Notify: os.Getenv("NOTIFY_SOCKET"), Log: func(line string) { fmt.Fprintln(os.Stderr, line) },
	}
	if path := os.Getenv("LEDGER"); path != "" {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 3
		}
		defer f.Close()
		ledger = f
	}
	err := w.Serve(ctx, work)
	var lost *powerhose.MasterError
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

func number(name string) int {
	n, _ := strconv.Atoi(os.Getenv(name))
	return n
}

func mark(path string, j *powerhose.Job) error {
	if path == "" || path == "-" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, os.Getpid(), j.Attempt)
	return errors.Join(err, f.Close())
}

func waitForFile(path string, end time.Time) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end.IsZero() || time.Now().Before(end) {
		if _, err := os.Stat(path); err == nil {
			return
		}
		<-tick.C
	}
}

// work does a job, as the package comment says.
func work(ctx context.Context, j *powerhose.Job) ([]byte, error) {
	words := append(strings.SplitN(string(j.Body[:min(len(j.Body), 1000)]), " ", 5), "", "", "", "")
	arg, begun, done := words[1], words[2], words[3]
	switch words[0] {
	case "play":
		return play(ctx, j, arg, begun, done)
	case "until":
		if err := mark(begun, j); err != nil {
			return nil, err
		}
		waitForFile(arg, time.Time{})
		return []byte("it is there"), mark(done, j)
	case "hold":
		if err := mark(begun, j); err != nil {
			return nil, err
		}
		<-ctx.Done()
		return nil, errors.Join(ctx.Err(), mark(done, j))
	case "die":
		if err := mark(begun, j); err != nil {
			return nil, err
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "pid":
		return []byte(strconv.Itoa(os.Getpid())), nil
	case "about":
		repeatable := 0
		if j.Repeatable {
			repeatable = 1
		}
		return fmt.Appendf(nil, "%s %d %d", j.Kind, j.Attempt, repeatable), nil
	case "nap":
		n, err := strconv.Atoi(arg)
		if err != nil {
			return nil, err
		}
		<-time.After(time.Duration(n) * time.Millisecond)
		return bytes.Clone(j.Body), nil
	case "big":
		n, err := strconv.Atoi(arg)
		if err != nil {
			return nil, err
		}
		return bytes.Repeat([]byte("b"), n), nil
	case "progress":
		n, err := strconv.Atoi(arg)
		if err != nil {
			return nil, err
		}
		for i := range n {
			j.Progress(strconv.AppendInt(nil, int64(i), 10))
		}
		return []byte("done"), nil
	case "error":
		return nil, &powerhose.Error{Text: arg, Detail: []byte("detail")}
	case "reject":
		return nil, fmt.Errorf("%w: not this one", powerhose.ErrRejected)
	case "break":
		panic("broken")
	case "fork":
		child := exec.Command("/proc/self/exe")
		child.Env = append(os.Environ(), "CONFORMANCE_CHILD="+arg)
		if err := child.Start(); err != nil {
			return nil, err
		}
		go func() { _ = child.Wait() }()
		return []byte(strconv.Itoa(child.Process.Pid)), nil
	}
	return bytes.Clone(j.Body), nil
}

// goMaster is a separate master, which drains when its standard input ends.
func goMaster() int {
	duration := func(name string) time.Duration {
		d, _ := time.ParseDuration(os.Getenv(name))
		return d
	}
	m, err := powerhose.NewMaster(powerhose.MasterConfig{
		Listen: os.Getenv("CONFORMANCE_MASTER"), Deadline: patience, BusyWait: patience, Window: number("WINDOW"), Tries: number("TRIES"),
		Period: duration("PERIOD"), Short: duration("SHORT"), Grace: duration("GRACE"), MaxBody: int64(number("MAXBODY")), MaxWaiting: number("MAXWAITING"),
		DrainTime: duration("DRAINTIME"),
		Log:       func(line string) { fmt.Fprintln(os.Stderr, line) },
	})
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
	in     io.WriteCloser
	exited chan struct{}

	mu  sync.Mutex
	log bytes.Buffer
}

func (p *proc) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *proc) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// start runs a program. It is killed at the end of the test, if it lives.
func start(tb testing.TB, argv []string, env ...string) *proc {
	tb.Helper()
	p, err := launch(tb, nil, argv, env...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		p.kill()
		if tb.Failed() {
			tb.Logf("pid %d %q (%q):\n%s", p.pid(), argv, env, p.said())
		}
	})
	return p
}

// launch runs a program, which dies with this one. Its output is kept, or goes to
// out.
func launch(tb testing.TB, out io.Writer, argv []string, env ...string) (*proc, error) {
	p := &proc{TB: tb, Cmd: exec.Command(argv[0], argv[1:]...), exited: make(chan struct{})}
	p.Env = append(append(os.Environ(), "NOTIFY_SOCKET=", "GORACE=atexit_sleep_ms=0"), env...)
	p.Stdout, p.Stderr = p, p
	if out != nil {
		p.Stdout = out
	}
	in, err := p.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.in = in
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// A child of a worker has the worker's output, and may outlive it.
	p.WaitDelay = time.Second
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // Pdeathsig is of the thread, which this keeps until the end
		err := p.Start()
		started <- err
		if err == nil {
			_ = p.Wait()
		}
		close(p.exited)
	}()
	return p, <-started
}

func (p *proc) pid() int                { return p.Process.Pid }
func (p *proc) signal(s syscall.Signal) { _ = p.Process.Signal(s) }

// stop returns when all threads of the process stand still, which may be later
// than the signal.
func (p *proc) stop() {
	p.Helper()
	p.signal(syscall.SIGSTOP)
	until(p.TB, fmt.Sprintf("pid %d to stand still", p.pid()), func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.pid()))
		return err == nil && len(threads) > 0 && !slices.ContainsFunc(threads, func(path string) bool {
			b, err := os.ReadFile(path)
			return err == nil && !bytes.Contains(b, []byte(") T "))
		})
	})
}

func (p *proc) kill() {
	p.signal(syscall.SIGKILL)
	<-p.exited
}

func (p *proc) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// status waits for the end of the process.
func (p *proc) status() int {
	p.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.Fatalf("pid %d goes on:\n%s", p.pid(), p.said())
	}
	return p.ProcessState.ExitCode()
}

// awaits waits for a text in the output.
func (p *proc) awaits(text string) {
	p.Helper()
	until(p.TB, fmt.Sprintf("%q of pid %d", text, p.pid()), func() bool {
		if strings.Contains(p.said(), text) {
			return true
		}
		if !p.alive() && !strings.Contains(p.said(), text) {
			p.Fatalf("pid %d has ended without %q:\n%s", p.pid(), text, p.said())
		}
		return false
	})
}

// until waits for something to become true.
func until(tb testing.TB, what string, f func() bool) {
	tb.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !f(); <-tick.C {
		if time.Now().After(end) {
			tb.Fatalf("waited in vain: %s", what)
		}
	}
}

// scratch is a directory whose name leaves room for that of a socket.
func scratch(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp(built.dir, "")
	if err != nil {
		tb.Fatal(err)
	}
	return dir
}

// newMaster is a master in this process. What is not set does not matter to the
// case, and is generous.
func newMaster(tb testing.TB, cfg powerhose.MasterConfig) *powerhose.Master {
	tb.Helper()
	if cfg.Listen == "" {
		cfg.Listen = filepath.Join(scratch(tb), "m")
	}
	for _, d := range []*time.Duration{&cfg.Deadline, &cfg.BusyWait, &cfg.Handshake} {
		if *d == 0 {
			*d = patience
		}
	}
	m, err := powerhose.NewMaster(cfg)
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

// A separate is a master in a process of its own, and who calls it.
type separate struct {
	*proc
	*powerhose.JobRunner
	address string
}

func newSeparate(tb testing.TB, env ...string) *separate {
	tb.Helper()
	s := &separate{address: filepath.Join(scratch(tb), "m")}
	s.listen(tb, env...)
	r, err := powerhose.Connect(s.address)
	if err != nil {
		tb.Fatal(err)
	}
	s.JobRunner = r
	tb.Cleanup(func() {
		if err := r.Close(); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	return s
}

// listen starts the master, for the first time or again.
func (s *separate) listen(tb testing.TB, env ...string) {
	tb.Helper()
	s.proc = start(tb, []string{"/proc/self/exe"}, append(env, "CONFORMANCE_MASTER="+s.address)...)
	s.awaits("listens")
}

func (s *separate) Status() *powerhose.Status {
	st, err := powerhose.ReadStatus(context.Background(), s.address)
	if err != nil {
		return &powerhose.Status{State: err.Error()}
	}
	return st
}

type statuser interface{ Status() *powerhose.Status }

// idle waits until so many workers are idle, and there are no others.
func idle(tb testing.TB, m statuser, n int) {
	tb.Helper()
	until(tb, fmt.Sprintf("%d idle workers", n), func() bool {
		s := m.Status()
		return len(s.Workers) == n && !slices.ContainsFunc(s.Workers, func(w powerhose.WorkerStatus) bool { return w.State != "idle" })
	})
}

// running waits until so many jobs are at workers.
func running(tb testing.TB, m statuser, n int) {
	tb.Helper()
	until(tb, fmt.Sprintf("%d jobs at workers", n), func() bool { return m.Status().Running == n })
}

// pool is a master with workers in a language, which are ready.
func (l language) pool(tb testing.TB, workers int, cfg powerhose.MasterConfig) (*powerhose.Master, []*proc) {
	tb.Helper()
	m := newMaster(tb, cfg)
	return m, l.join(tb, m, m.Address(), workers)
}

// join starts workers, and waits for them.
func (l language) join(tb testing.TB, m statuser, address string, workers int) []*proc {
	tb.Helper()
	var procs []*proc
	for i := range workers {
		procs = append(procs, l.start(tb, address, fmt.Sprintf("w%d", i)))
	}
	idle(tb, m, workers)
	return procs
}

// the process that wrote a line of a mark, and the attempt.
func marked(tb testing.TB, line string) (pid, attempt int) {
	tb.Helper()
	if _, err := fmt.Sscan(line, &pid, &attempt); err != nil {
		tb.Fatalf("mark %q: %v", line, err)
	}
	return pid, attempt
}

func byPID(tb testing.TB, procs []*proc, pid int) *proc {
	tb.Helper()
	i := slices.IndexFunc(procs, func(p *proc) bool { return p.pid() == pid })
	if i < 0 {
		tb.Fatalf("there is no worker with pid %d", pid)
	}
	return procs[i]
}

// lines waits until a file has n lines at least, and gives all.
func lines(tb testing.TB, path string, n int) []string {
	tb.Helper()
	var got []string
	until(tb, fmt.Sprintf("%d lines in %s", n, path), func() bool {
		got = linesNow(path)
		return len(got) >= n
	})
	return got
}

func linesNow(path string) []string {
	b, _ := os.ReadFile(path)
	return slices.Collect(strings.Lines(string(b)))
}

func touch(tb testing.TB, path string) {
	tb.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		tb.Fatal(err)
	}
}

type executor interface {
	Execute(context.Context, []byte, powerhose.Call) ([]byte, error)
}

// An outcome is what a call came to.
type outcome struct {
	out  string
	err  error
	took time.Duration
}

// later makes a call in a goroutine.
func later(ctx context.Context, e executor, job string, c powerhose.Call) <-chan outcome {
	done := make(chan outcome, 2)
	go func() {
		began := time.Now()
		out, err := e.Execute(ctx, []byte(job), c)
		done <- outcome{string(out), err, time.Since(began)}
	}()
	return done
}

func wait(tb testing.TB, done <-chan outcome) outcome {
	tb.Helper()
	select {
	case o := <-done:
		return o
	case <-time.After(2 * patience):
		tb.Fatal("a call does not end")
		return outcome{}
	}
}

// result waits for a result.
func result(tb testing.TB, done <-chan outcome) string {
	tb.Helper()
	o := wait(tb, done)
	if o.err != nil {
		tb.Fatal(o.err)
	}
	return o.out
}

// fails waits for an error that is another one.
func fails(tb testing.TB, done <-chan outcome, want error) (outcome, *powerhose.Error) {
	tb.Helper()
	o := wait(tb, done)
	var e *powerhose.Error
	if !errors.Is(o.err, want) || !errors.As(o.err, &e) {
		tb.Fatalf("%q, %v; want %v", o.out, o.err, want)
	}
	return o, e
}

// do makes a call that must have a result.
func do(tb testing.TB, e executor, job string) string {
	tb.Helper()
	return result(tb, later(tb.Context(), e, job, powerhose.Call{Deadline: patience, BusyWait: patience}))
}

// descriptors lists what a process has open, but not what the Go runtime opens
// for itself.
func descriptors(tb testing.TB, pid int) []string {
	tb.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err == nil && !strings.HasPrefix(target, "anon_inode:") && !strings.HasPrefix(target, "/proc/") {
			out = append(out, target)
		}
	}
	slices.Sort(out)
	return out
}

// dial connects to a socket, and says nothing yet.
func dial(tb testing.TB, address string) net.Conn {
	tb.Helper()
	nc, err := net.Dial("unix", address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		tb.Fatal(err)
	}
	return nc
}

// closes reads until the other side has closed.
func closes(tb testing.TB, r io.Reader) {
	tb.Helper()
	_, err := io.Copy(io.Discard, bufio.NewReader(r))
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		tb.Error("the connection does not end")
	}
}
