package runner

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"appbundle/schema"
)

// A party is a process that is told what to do as a child is, a guard with its
// supervisor or a supervisor alone, and everything below it.
type party struct {
	*world
	cmd   *exec.Cmd
	heard chan struct{} // closed when nobody holds its output any more
}

// newParty starts "guard" or "child" with steps. At the end of the test the
// party is killed, and nothing may be left of it.
func newParty(tb testing.TB, kind string, steps ...string) *party {
	tb.Helper()
	pids := &pids{fds: map[int]int{}}
	p := &party{world: &world{TB: tb, out: tap{newFeed[string](), pids}, pids: pids, events: newFeed[Event]()}, heard: make(chan struct{})}
	r, w, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		tb.Fatal(err)
	}
	defer null.Close()
	p.cmd = exec.Command(exe, append([]string{kind}, steps...)...)
	p.cmd.Stdout, p.cmd.Stderr = w, w
	p.cmd.ExtraFiles = []*os.File{null} // what a guard has inherited by chance is not handed on
	p.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0 halt_on_error=1")
	err = p.cmd.Start()
	w.Close()
	if err != nil {
		tb.Fatal(err)
	}
	go func() {
		defer close(p.heard)
		defer r.Close()
		for s := bufio.NewScanner(r); s.Scan(); {
			fmt.Fprintln(p.out, s.Text())
		}
	}()
	tb.Cleanup(p.end)
	return p
}

func (p *party) end() {
	p.Helper()
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
	p.silence()
	if left := p.pids.living(patience / 4); len(left) > 0 {
		p.Errorf("pids %v live; seen:\n%s", left, p.out.history())
	}
	p.pids.close()
}

// silence waits until the guard and the supervisor have ended.
func (p *party) silence() {
	p.Helper()
	select {
	case <-p.heard:
	case <-time.After(patience):
		p.Errorf("somebody still holds the output; seen:\n%s", p.out.history())
	}
}

// exit waits until the party's first process has ended, and gives how.
func (p *party) exit() string {
	p.Helper()
	timer := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		p.Fatal(err)
	}
	return p.cmd.ProcessState.String()
}

func (p *party) signal(sig unix.Signal) {
	p.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.Fatal(err)
	}
}

// parent waits for a line of "WATCHER.WID | LABEL pid=N ppid=M", holds M and
// gives both.
func (p *party) parent(prefix string) (pid, ppid int) {
	p.Helper()
	if _, err := fmt.Sscanf(p.line(prefix+" pid="), "%d ppid=%d", &pid, &ppid); err != nil {
		p.Fatal(err)
	}
	p.pids.hold(ppid)
	return pid, ppid
}

// runStep is the step of a supervisor.
func runStep(tb testing.TB, cfg Config) string {
	tb.Helper()
	b, err := json.Marshal(job{Name: cfg.Name, RunDir: cfg.RunDir, Watchers: cfg.Watchers, NoCgroups: cfg.noCgroups})
	if err != nil {
		tb.Fatal(err)
	}
	return "run=" + string(b)
}

// hidden are the ways in which a process leaves its parent: see spawnChild.
var hidden = []string{"", "setsid", "double", "doublesetsid", "doublesetsidbare"}

// hiding gives a watcher of a process that starts one of each kind, deaf ones if
// it says so.
func hiding(name string, deaf bool) schema.Watcher {
	var steps []string
	for _, kind := range hidden {
		if deaf {
			kind += ";deaf"
		}
		steps = append(steps, "spawn="+kind+";pid=leaf;hold")
	}
	return script(name, append(steps, "pid=main", "hold")...)
}

// The guard hands signals on, and gives the status of its supervisor.
func TestGuardForwards(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGQUIT} {
			t.Run(unix.SignalName(sig), func(t *testing.T) {
				cfg := cfg
				cfg.Name, cfg.Watchers = testName(), []schema.Watcher{script("web", "fds", "pid=main", "hold")}
				p := newParty(t, "guard", runStep(t, cfg))
				if got := p.line("web.1 | fds="); got != "[]" {
					t.Errorf("the child inherits descriptors %s from the guard", got)
				}
				main, supervisor := p.parent("web.1 | main")
				if got, err := unix.Getpgid(supervisor); err != nil || got != supervisor {
					t.Errorf("the supervisor is in process group %d, %v; want its own: a Ctrl-C would reach it twice", got, err)
				}
				for _, other := range []unix.Signal{unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2} {
					p.signal(other)
					p.line("got " + unix.SignalName(other))
				}
				p.signal(sig)
				p.line("got " + unix.SignalName(sig))
				p.line(fmt.Sprintf("signaled web.1: pid %d gets SIGTERM", main))
				p.line("supervised: <nil>")
				if got := p.exit(); got != "exit status 0" {
					t.Errorf("the guard ended with %s, want 0", got)
				}
			})
		}
	})
}

// Where a sandbox keeps clone3 from the supervisor, and with it the cgroup of each
// process, it runs without them.
func TestNoClone(t *testing.T) {
	cfg := Config{Name: testName(), RunDir: filepath.Join(hostDir(t), "run"), Watchers: []schema.Watcher{script("web", "pid=main", "hold")}}
	p := newParty(t, "guard", "bar", runStep(t, cfg))
	p.line("limited no cgroup (")
	p.parent("web.1 | main")
	p.signal(unix.SIGTERM)
	p.line("supervised: <nil>")
	if got := p.exit(); got != "exit status 0" {
		t.Errorf("the guard ended with %s, want 0", got)
	}
}

// The status of the supervisor is the guard's, and what it leaves is ended.
func TestGuardStatus(t *testing.T) {
	p := newParty(t, "guard", "spawn=doublesetsidbare;deaf;pid=leaf;hold", "spawn=;deaf;pid=leaf;hold", "await=SIGHUP", "exit=7")
	p.pid("leaf")
	p.pid("leaf")
	p.line("awaiting")
	p.signal(unix.SIGHUP)
	if got := p.exit(); got != "exit status 7" {
		t.Errorf("the guard ended with %s, want 7", got)
	}
}

// When the supervisor is killed the guard ends all, however it hid, and says
// so. The next start finds nothing to do.
func TestSupervisorKilled(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		cfg.Name, cfg.Watchers = testName(), []schema.Watcher{hiding("web", true), hiding("db", true)}
		p := newParty(t, "guard", runStep(t, cfg))
		var supervisor int
		for _, w := range cfg.Watchers {
			for range hidden {
				p.pid(w.Name + ".1 | leaf")
			}
			_, supervisor = p.parent(w.Name + ".1 | main")
		}
		kill(t, supervisor)
		p.line(fmt.Sprintf("guard: the supervisor (pid %d) was killed by SIGKILL; everything below it was ended", supervisor))
		if got := p.exit(); got != "exit status 1" {
			t.Errorf("the guard ended with %s, want 1", got)
		}
		p.silence()
		if left := p.pids.living(0); len(left) > 0 {
			t.Errorf("the guard has ended and pids %v live", left)
		}
		cfg.Watchers = []schema.Watcher{script("web", "pid=ready", "hold")}
		w := start(t, cfg)
		w.pid("web.1 | ready")
		if n := w.count(Ended); n != 0 {
			t.Errorf("the next start ended something; events:\n%s", w.events.history())
		}
	})
}

// When the guard is killed the supervisor stops all, also what hid from its
// watchers, and ends.
func TestGuardKilled(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		cfg.Name, cfg.Watchers = testName(), []schema.Watcher{hiding("web", false), hiding("deaf", true)}
		cfg.Watchers[1].GracefulTimeout = 0
		p := newParty(t, "guard", runStep(t, cfg))
		for _, w := range cfg.Watchers {
			for range hidden {
				p.pid(w.Name + ".1 | leaf")
			}
			p.parent(w.Name + ".1 | main")
		}
		p.signal(unix.SIGKILL)
		if got := p.exit(); got != "signal: killed" {
			t.Errorf("the guard ended with %s", got)
		}
		p.line("stopped the guard is gone: stopping")
		p.line("supervised: <nil>")
	})
}

// A supervisor without a guard that is killed leaves its processes. The next
// one of its name ends them first where there are cgroups, and starts in any
// case.
func TestStale(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		cfg.Name, cfg.Watchers = testName(), []schema.Watcher{hiding("web", true)}
		p := newParty(t, "child", runStep(t, cfg))
		for range hidden {
			p.pid("web.1 | leaf")
		}
		old, _ := p.parent("web.1 | main")
		p.signal(unix.SIGKILL)
		p.exit()
		p.silence()
		cfg.Watchers = []schema.Watcher{script("web", "pid=ready", "hold")}
		w := start(t, cfg)
		if w.pid("web.1 | ready") == old {
			t.Errorf("pid %d twice", old)
		}
		if w.cgroups == nil { // nobody can tell whose they are
			if left := p.pids.living(0); len(left) != len(hidden)+1 {
				t.Errorf("pids %v live, want the %d that were left", left, len(hidden)+1)
			}
			p.killAll()
			return
		}
		if e := w.event(Ended, ""); e.Text != fmt.Sprintf("ended %d processes that an earlier supervisor left", len(hidden)+1) {
			t.Errorf("event %q", e)
		}
		if left := p.pids.living(0); len(left) > 0 {
			t.Errorf("pids %v live after the start", left)
		}
	})
}

// killAll kills every process that a test holds.
func (w *world) killAll() {
	w.Helper()
	for _, pid := range w.pids.living(0) {
		kill(w, pid)
	}
}

// One that hides from its watcher, where there is no cgroup and more than one
// slot it could be of, is ended with the Runner that adopted it.
func TestStopEndsHidden(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		cfg.Watchers = []schema.Watcher{script("web", "spawn=doublesetsidbare;deaf;pid=leaf;hold", "pid=main", "hold"), script("db", "pid=main", "hold")}
		cfg.Watchers[0].GracefulTimeout = 0
		w := start(t, cfg)
		leaf := w.pid("web.1 | leaf")
		kill(t, w.pid("web.1 | main"))
		w.pid("db.1 | main")
		w.pid("web.1 | main")
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
		w.pids.awaitEnd(t, leaf)
	})
}

// Who hides from its watcher is not taken for another watcher's either: a helper
// that left its parent lives on when a neighbour dies, also without the
// variables that would tell whose it is.
func TestHiddenIsNobodyElses(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		web, db := script("web", "await=SIGUSR1", "spawn=doublesetsid;pid=leaf;hold", "hold"), script("db", "pid=main", "hold")
		web.BareEnv, db.BareEnv = true, true
		cfg.Watchers = []schema.Watcher{web, db}
		w := start(t, cfg)
		w.line("web.1 | awaiting")
		kill(t, w.pid("db.1 | main"))
		main := w.pid("db.1 | main") // it is the younger one, and older than the helper
		if err := unix.Kill(w.event(Spawned, "web").Pid, unix.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		leaf := w.pid("web.1 | leaf")
		kill(t, main)
		w.pid("db.1 | main")
		w.event(Died, "db")
		w.event(Died, "db")
		w.Status() // after it has looked at what was left
		if n := w.count(Leftover); n != 0 || !slices.Contains(w.pids.living(0), leaf) {
			t.Errorf("the helper of a neighbour was ended; events:\n%s", w.events.history())
		}
	})
}

// Tools that show processes by their names show a supervisor as one.
func TestSupervisorName(t *testing.T) {
	p := newParty(t, "guard", "comm", "exit=0")
	if got := p.line("comm="); got != "appbundle-super" {
		t.Errorf("the supervisor is called %q", got)
	}
}
