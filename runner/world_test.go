package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"appbundle/runner/internal/watch"
	"appbundle/schema"
)

// patience is how long a test waits for what must come. It is only there to
// fail.
const patience = time.Minute

// A feed holds what was seen and not yet asked for.
type feed[T any] struct {
	mu   sync.Mutex
	all  []T
	seen []string // everything, for the message of a failure
	more chan struct{}
}

func newFeed[T any]() *feed[T] { return &feed[T]{more: make(chan struct{})} }

func (f *feed[T]) add(v T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, v)
	if f.seen = append(f.seen, fmt.Sprint(v)); len(f.seen) > 60 {
		f.seen = f.seen[len(f.seen)-60:]
	}
	close(f.more)
	f.more = make(chan struct{})
}

// take gives the first one that matches and forgets it.
func (f *feed[T]) take(match func(T) bool) (v T, ok bool, more <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := slices.IndexFunc(f.all, match); i >= 0 {
		v, ok = f.all[i], true
		f.all = slices.Delete(f.all, i, i+1)
	}
	return v, ok, f.more
}

func (f *feed[T]) await(tb testing.TB, what string, match func(T) bool) T {
	tb.Helper()
	deadline := time.After(patience)
	for {
		v, ok, more := f.take(match)
		if ok {
			return v
		}
		select {
		case <-more:
		case <-deadline:
			tb.Fatalf("no %s; seen:\n%s", what, f.history())
		}
	}
}

func (f *feed[T]) history() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.seen, "\n")
}

// rest gives all that nobody asked for.
func (f *feed[T]) rest() []T {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.all)
}

// A tap is a writer that splits what it gets into lines. Every pid that a child
// prints is held by a pidfd until it was seen to end.
type tap struct {
	*feed[string]
	pids *pids
}

func (w tap) Write(b []byte) (int, error) {
	if len(b) == 0 || b[len(b)-1] != '\n' {
		w.add("TORN: " + string(b))
		return len(b), nil
	}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		if m := pidPattern.FindStringSubmatch(line); m != nil {
			w.pids.hold(number32(m[1]))
		}
		w.add(line)
	}
	return len(b), nil
}

var pidPattern = regexp.MustCompile(`\bpid=(\d+)`)

func number32(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// pids are processes that must have ended at the end.
type pids struct {
	mu  sync.Mutex
	fds map[int]int // pidfds by pid
}

func (p *pids) hold(pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.fds[pid]; ok {
		return
	}
	if fd, err := unix.PidfdOpen(pid, 0); err == nil { // ESRCH: it has ended
		p.fds[pid] = fd
	}
}

// living lists those that live after at most the time d.
func (p *pids) living(d time.Duration) []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []int
	for pid, fd := range p.fds {
		if !ended(fd, d) {
			out = append(out, pid)
		}
	}
	return out
}

func (p *pids) close() {
	for pid, fd := range p.fds {
		if !ended(fd, 0) {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		unix.Close(fd)
	}
	clear(p.fds)
}

// ended reports whether the process of a pidfd ends within d.
func ended(fd int, d time.Duration) bool {
	for deadline := time.Now().Add(d); ; {
		pfd := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(pfd, int(max(0, time.Until(deadline)).Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			return n == 1
		}
	}
}

// awaitEnd waits until the process has ended; its pid is held already.
func (p *pids) awaitEnd(tb testing.TB, pid int) {
	tb.Helper()
	p.mu.Lock()
	fd, ok := p.fds[pid]
	p.mu.Unlock()
	if ok && !ended(fd, patience) {
		tb.Fatalf("pid %d still lives", pid)
	}
}

// A world is a Runner under test, and what is seen of it. When the test ends
// the Runner is stopped, and no process, descriptor or goroutine may be left.
type world struct {
	testing.TB
	*Runner
	out, err tap
	events   *feed[Event]
	pids     *pids
}

// hostDir makes a directory with a short path: a socket's may have 107 bytes.
func hostDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "ab")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

var names int // tests of this package run one after the other

// testName gives a name that no other test of this host uses at the same time.
func testName() string {
	names++
	return fmt.Sprintf("t%d-%d", os.Getpid(), names)
}

// newWorld makes a world of cfg and does not start it.
func newWorld(tb testing.TB, cfg Config) *world {
	tb.Helper()
	w := prepare(tb, &cfg)
	r, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	w.Runner = r
	return w
}

// prepare fills cfg in and makes the world around it.
func prepare(tb testing.TB, cfg *Config) *world {
	tb.Helper()
	w := &world{TB: tb, events: newFeed[Event](), pids: &pids{fds: map[int]int{}}}
	w.out, w.err = tap{newFeed[string](), w.pids}, tap{newFeed[string](), w.pids}
	if cfg.Name == "" {
		cfg.Name = testName()
	}
	if cfg.Stdout == nil {
		cfg.Stdout = w.out
	}
	if cfg.Stderr == nil {
		cfg.Stderr = w.err
	}
	if cfg.Environ == nil {
		cfg.Environ = []string{}
	}
	report := cfg.Report
	cfg.Report = func(e Event) {
		if e.Pid != 0 && e.Kind == Spawned {
			w.pids.hold(e.Pid)
		}
		w.events.add(e)
		if report != nil {
			report(e)
		}
	}
	files, goroutines := openFiles(tb), runtime.NumGoroutine()
	tb.Cleanup(func() { w.end(files, goroutines) })
	return w
}

// end stops the Runner and looks for what is left.
func (w *world) end(files []string, goroutines int) {
	w.Helper()
	if w.Runner != nil {
		stopped := make(chan struct{})
		go func() { w.Stop(); close(stopped) }()
		select {
		case <-stopped:
		case <-time.After(patience):
			w.Fatalf("Stop does not return; status %+v, events:\n%s", w.Status(), w.events.history())
		}
	}
	// What is dead for us may take the kernel another moment.
	if left := w.pids.living(patience / 4); len(left) > 0 {
		w.Errorf("pids %v live after Stop; events:\n%s", left, w.events.history())
	}
	w.pids.close()
	if w.Runner != nil && w.cfg.Adopt {
		dropOrphans(w)
	}
	if w.Runner != nil && w.cgroups != nil {
		if _, err := os.Stat(w.cgroups.Dir()); err == nil {
			w.Errorf("%s is still there", w.cgroups.Dir())
		}
	}
	if now := openFiles(w); !slices.Equal(now, files) {
		w.Errorf("open descriptors: %q, want %q as before", now, files)
	}
	awaitGoroutines(w, goroutines)
}

// dropOrphans makes the test's process an ordinary one again.
func dropOrphans(tb testing.TB) {
	tb.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0); err != nil {
		tb.Fatal(err)
	}
	for {
		if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); pid <= 0 && !errors.Is(err, unix.EINTR) {
			return
		}
	}
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
		if err == nil && !strings.HasPrefix(target, "/proc/") { // that is the directory just read
			out = append(out, e.Name()+" "+target)
		}
	}
	return out
}

// awaitGoroutines waits until there are no more than want: one that has
// told others of its end may still be about to return.
func awaitGoroutines(tb testing.TB, want int) {
	tb.Helper()
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > want; runtime.Gosched() {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			tb.Fatalf("%d goroutines, want %d as before:\n%s", runtime.NumGoroutine(), want, buf[:runtime.Stack(buf, true)])
		}
	}
}

// start makes and starts a world.
func start(tb testing.TB, cfg Config) *world {
	tb.Helper()
	w := newWorld(tb, cfg)
	if err := w.Start(context.Background()); err != nil {
		tb.Fatal(err)
	}
	return w
}

// line waits for a line of the children's stdout that starts with prefix, and
// gives the rest of it.
func (w *world) line(prefix string) string {
	w.Helper()
	got := w.out.await(w, fmt.Sprintf("line %q...", prefix), func(s string) bool { return strings.HasPrefix(s, prefix) })
	return got[len(prefix):]
}

// pid waits for a line of "WATCHER.WID | LABEL pid=N" and gives N.
func (w *world) pid(prefix string) int {
	w.Helper()
	rest := w.line(prefix + " pid=")
	n, _, _ := strings.Cut(rest, " ")
	return number32(n)
}

// event waits for an event of a kind.
func (w *world) event(kind EventKind, watcher string) Event {
	w.Helper()
	return w.events.await(w, fmt.Sprintf("event %s of %q", kind, watcher), func(e Event) bool {
		return e.Kind == kind && e.Watcher == watcher
	})
}

// count counts the events of a kind that nobody asked for.
func (w *world) count(kind EventKind) (n int) {
	for _, e := range w.events.rest() {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

func kill(tb testing.TB, pid int) {
	tb.Helper()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		tb.Fatalf("kill -9 %d: %v", pid, err)
	}
}

// exe is the test binary.
var exe = func() string {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return path
}()

// script gives a watcher whose processes perform steps. It replaces what ends at
// once and never gives up, and is patient with what is to end.
func script(name string, steps ...string) schema.Watcher {
	w := schema.DefaultWatcher(name)
	w.Cmd = append([]string{exe, "child"}, steps...)
	w.GracefulTimeout = 10 * patience
	w.Flapping.Attempts = 0
	w.Backoff = schema.Backoff{}
	return w
}

// pool is a child watcher of n processes.
func pool(name string, n int, steps ...string) schema.Watcher {
	w := script(name, steps...)
	w.NumProcesses = n
	return w
}

// A way is how a Runner finds what belongs to a process.
type way struct {
	name      string
	noCgroups bool
}

// everyWay runs f with what the host offers and without cgroups.
func everyWay(t *testing.T, f func(t *testing.T, cfg Config)) {
	for _, way := range []way{{"host", false}, {"descendants", true}} {
		t.Run(way.name, func(t *testing.T) {
			f(t, Config{RunDir: filepath.Join(hostDir(t), "run"), Adopt: true, noCgroups: way.noCgroups})
		})
	}
}

// copyExe copies the test binary to where every user may execute it.
func copyExe(tb testing.TB, dir string) string {
	tb.Helper()
	b, err := os.ReadFile(exe)
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(dir, "prog")
	if err := os.WriteFile(path, b, 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.Chmod(path, 0o755); err != nil {
		tb.Fatal(err)
	}
	return path
}

// almostSettled is less than the age at which a process is up that does not say
// READY: that counts from before the start, which the test cannot see.
const almostSettled = watch.Settled * 9 / 10

// closeAtEnd closes what a test opened after the worlds that it makes later have
// counted the descriptors.
func closeAtEnd(tb testing.TB, c io.Closer) {
	tb.Helper()
	tb.Cleanup(func() { c.Close() })
}
