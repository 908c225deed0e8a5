package runner

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"appbundle/schema"
)

// A line of up to 64 KiB stays in one piece; of a longer one each piece but the
// last has a mark.
func TestLongLines(t *testing.T) {
	const most = 64 << 10
	for _, tt := range []struct {
		length int
		want   []int // lengths of the pieces, less the mark
	}{
		{0, []int{0}},
		{most - 1, []int{most - 1}},
		{most, []int{most}},
		{most + 1, []int{most, 1}},
		{2 * most, []int{most, most}},
		{3*most + 7, []int{most, most, most, 7}},
	} {
		t.Run(fmt.Sprint(tt.length), func(t *testing.T) {
			w := start(t, Config{Watchers: []schema.Watcher{script("web", fmt.Sprintf("line=%d", tt.length), "say=next", "hold")}})
			for i, n := range tt.want {
				want := strings.Repeat("x", n)
				if i < len(tt.want)-1 {
					want += " [split]"
				}
				if got := w.line("web.1 | "); got != want {
					t.Errorf("piece %d is of %d bytes and ends in %q, want %d and %q", i, len(got), tail(got), len(want), tail(want))
				}
			}
			if got := w.line("web.1 | "); got != "next" {
				t.Errorf("then comes %q, want the next line", tail(got))
			}
		})
	}
}

func tail(s string) string { return s[max(0, len(s)-12):] }

// What is not ended when its process is gone is a line as well, on each output
// its own.
func TestUnfinishedLine(t *testing.T) {
	c := script("web", "say=first", "raw=out", "err=trouble", "raw= and more", "exit=0")
	c.Respawn = false
	w := start(t, Config{Watchers: []schema.Watcher{c}})
	w.event(Ended, "web")
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
	if got := w.out.rest(); fmt.Sprintf("%q", got) != `["web.1 | first" "web.1 | out and more"]` {
		t.Errorf("stdout is %q", got)
	}
	if got := w.err.rest(); fmt.Sprintf("%q", got) != `["web.1 | trouble"]` {
		t.Errorf("stderr is %q", got)
	}
}

// Without prefixes, and without what is to go to /dev/null.
func TestNoPrefix(t *testing.T) {
	mute, half := script("mute", "say=mute", "err=mute", "exit=0"), script("half", "say=half", "err=half", "exit=0")
	mute.CloseStdout, mute.CloseStderr, half.CloseStderr = true, true, true
	w := start(t, Config{NoPrefix: true, Once: true, Watchers: []schema.Watcher{mute, half, script("both", "say=both", "err=both", "exit=0")}})
	if err := w.Wait(); err != nil {
		t.Errorf("Wait = %v", err)
	}
	out, errs := w.out.rest(), w.err.rest()
	if len(out) != 2 || out[0]+out[1] != "halfboth" && out[0]+out[1] != "bothhalf" {
		t.Errorf("stdout is %q, want both and half", out)
	}
	if fmt.Sprintf("%q", errs) != `["both"]` {
		t.Errorf("stderr is %q, want both", errs)
	}
}

// Many processes that write at the same time, and end at once, lose nothing and
// mix nothing: every line is whole, of one process, and in its order.
func TestLinesDoNotMix(t *testing.T) {
	const slots, lines = 4, 600
	w := start(t, Config{Once: true, Watchers: []schema.Watcher{pool("web", slots, fmt.Sprintf("fill=%d", lines))}})
	if err := w.Wait(); err != nil {
		t.Errorf("Wait = %v", err)
	}
	for _, tt := range []struct {
		name, fill string
		cycle      int
		got        []string
	}{{"out", "o", 200, w.out.rest()}, {"err", "e", 300, w.err.rest()}} {
		next := map[string]int{}
		for _, line := range tt.got {
			prefix, rest, _ := strings.Cut(line, " | ")
			n := next[prefix]
			next[prefix]++
			if want := fmt.Sprintf("%s %d %s", tt.name, n, strings.Repeat(tt.fill, n%tt.cycle)); rest != want {
				t.Fatalf("std%s has %q of %s, want %q", tt.name, rest, prefix, want)
			}
		}
		if len(next) != slots || len(tt.got) != slots*lines {
			t.Errorf("std%s has %d lines by %d processes, want %d by %d", tt.name, len(tt.got), len(next), slots*lines, slots)
		}
	}
}

// What a process writes while it is stopped is there when Stop returns.
func TestDrain(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		cfg.Watchers = []schema.Watcher{pool("web", 2, "await=SIGTERM", "fill=500", "raw=the end")}
		w := start(t, cfg)
		w.line("web.1 | awaiting")
		w.line("web.2 | awaiting")
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
		if out, errs := len(w.out.rest()), len(w.err.rest()); out != 2*501 || errs != 2*500 {
			t.Errorf("%d lines on stdout and %d on stderr, want 1002 and 1000", out, errs)
		}
	})
}

// What a process left behind is still heard, under the name of its slot, while
// its replacement runs.
func TestOutputOfLeftover(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		cfg.Watchers = []schema.Watcher{script("web", "spawn=doublesetsid;deaf;pid=leaf;trap=SIGUSR1,0", "pid=main", "hold")}
		w := start(t, cfg)
		main, leaf := w.pid("web.1 | main"), w.pid("web.1 | leaf")
		w.line("web.1 | trapping")
		kill(t, main)
		w.event(Leftover, "web")
		if next := w.pid("web.1 | main"); next == main {
			t.Fatalf("pid %d twice", next)
		}
		if err := unix.Kill(leaf, unix.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		w.line("web.1 | got SIGUSR1")
		w.pids.awaitEnd(t, leaf)
		if err := w.Kill(); err != nil { // the second leaf is as deaf
			t.Error(err)
		}
	})
}

// A broken writer takes space bytes and fails then. It counts bytes, because
// how many calls bring them is the scheduler's affair.
type brokenWriter struct {
	mu    sync.Mutex
	space int
}

func (w *brokenWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(b), w.space)
	if w.space -= n; n < len(b) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

// A writer that fails holds up nobody: that is said once, what is written then
// is lost, and the other output goes on.
func TestBrokenWriter(t *testing.T) {
	w := start(t, Config{Stdout: &brokenWriter{space: 2000}, Watchers: []schema.Watcher{pool("web", 2, "fill=300", "err=done", "hold")}})
	if e := w.event(Limited, ""); e.Text != "stdout: no space left on device; output is thrown away from here on" {
		t.Errorf("event %q", e)
	}
	for wid := 1; wid <= 2; wid++ {
		w.err.await(t, "end of stderr", func(s string) bool { return s == fmt.Sprintf("web.%d | done", wid) })
	}
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
	if n := w.count(Limited); n != 0 {
		t.Errorf("it was said %d times more", n)
	}
}

// A full disk takes nothing until there is space.
type fullDisk struct {
	tap
	space atomic.Bool
}

func (w *fullDisk) Write(b []byte) (int, error) {
	if !w.space.Load() {
		return 0, &os.PathError{Op: "write", Path: "log", Err: unix.ENOSPC}
	}
	return w.tap.Write(b)
}

// Output comes again when a full disk has space again; both is said once.
func TestFullDisk(t *testing.T) {
	disk := &fullDisk{tap: tap{newFeed[string](), nil}}
	w := start(t, Config{Stderr: disk, Watchers: []schema.Watcher{
		script("web", "err=one", "await=SIGUSR1", "err=two", "await=SIGUSR1", "err=three", "hold")}})
	pid := w.event(Spawned, "web").Pid
	for i := range 2 {
		w.line("web.1 | awaiting")
		w.Runner.out.Drain()
		disk.space.Store(i == 1)
		if err := unix.Kill(pid, unix.SIGUSR1); err != nil {
			t.Fatal(err)
		}
	}
	disk.await(t, "line", func(s string) bool { return s == "web.1 | three" })
	for _, want := range []string{
		"stderr: write log: no space left on device; output is thrown away until that is over",
		"stderr: can be written again; 2 lines (24 bytes) were lost",
	} {
		if e := w.event(Limited, ""); e.Text != want {
			t.Errorf("event %q, want %q", e, want)
		}
	}
	if n := w.count(Limited) + len(disk.rest()); n != 0 {
		t.Errorf("%d events and lines more", n)
	}
}

// A slow writer waits in each call until it is released.
type slowWriter struct {
	tap
	entered, release chan struct{}
	once             sync.Once
}

func (w *slowWriter) Write(b []byte) (int, error) {
	w.once.Do(func() { close(w.entered) })
	<-w.release
	return w.tap.Write(b)
}

// A reader of ours that is slow holds up those who write, and neither their
// supervision nor what others say on the notify socket.
func TestSlowWriter(t *testing.T) {
	slow := &slowWriter{tap: tap{feed: newFeed[string]()}, entered: make(chan struct{}), release: make(chan struct{})}
	w := start(t, Config{RunDir: hostDir(t) + "/run", Stdout: slow, Watchers: []schema.Watcher{
		script("loud", "fill=3000", "err=done", "exit=3"), script("quiet", "tell=READY=1", "hold")}})
	<-slow.entered
	for range 5 {
		kill(t, w.event(Spawned, "quiet").Pid)
		w.event(Died, "quiet")
	}
	w.event(Ready, "quiet")
	kill(t, w.event(Spawned, "loud").Pid)
	w.event(Spawned, "loud")
	close(slow.release)
	if e := w.event(Died, "loud"); e.Text != "killed by SIGKILL" {
		t.Errorf("event %q, want the death of who was held up", e)
	}
	if e := w.event(Died, "loud"); e.Text != "exit status 3" {
		t.Errorf("event %q, want the end of who was read", e)
	}
}
