package runner

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"appbundle/schema"
)

// pidsOf gives the pids of a watcher by Status.
func (w *world) pidsOf(name string) (out []int) {
	for _, st := range w.Status() {
		if st.Name == name {
			for _, p := range st.Processes {
				out = append(out, p.Pid)
			}
		}
	}
	return out
}

// A reload resizes what only changed its size, restarts what changed, starts
// what is new and stops what is gone, and does not touch the rest.
func TestReload(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		same, more, fewer := pool("same", 2, "pid=ready", "hold"), pool("more", 1, "pid=ready", "hold"), pool("fewer", 3, "pid=ready", "hold")
		changed, gone := script("changed", "pid=ready", "hold"), script("gone", "pid=ready", "hold")
		idle := script("idle", "hold")
		idle.Autostart = false
		cfg.Watchers = []schema.Watcher{same, more, fewer, changed, gone, idle}
		w := start(t, cfg)
		pid := map[string]int{}
		for _, name := range []string{"same.1", "same.2", "more.1", "fewer.1", "fewer.2", "fewer.3", "changed.1", "gone.1"} {
			pid[name] = w.pid(name + " | ready")
		}
		more.NumProcesses, fewer.NumProcesses, idle.NumProcesses = 3, 1, 2
		same.Line = 77 // a line that was moved is no change
		changed.Env = []schema.EnvVar{{Name: "A", Value: "1"}}
		fresh := script("fresh", "pid=ready", "hold")
		if err := w.Reload([]schema.Watcher{fresh, same, more, fewer, changed, idle}, nil); err != nil {
			t.Fatal(err)
		}
		w.pids.awaitEnd(t, pid["gone.1"])
		w.pids.awaitEnd(t, pid["changed.1"])
		w.pids.awaitEnd(t, pid["fewer.2"])
		w.pids.awaitEnd(t, pid["fewer.3"])
		pid["more.2"], pid["more.3"], pid["changed.1"], pid["fresh.1"] = w.pid("more.2 | ready"), w.pid("more.3 | ready"), w.pid("changed.1 | ready"), w.pid("fresh.1 | ready")
		for _, tt := range []struct {
			name string
			want []int
		}{
			{"fresh", []int{pid["fresh.1"]}},
			{"same", []int{pid["same.1"], pid["same.2"]}},
			{"more", []int{pid["more.1"], pid["more.2"], pid["more.3"]}},
			{"fewer", []int{pid["fewer.1"]}},
			{"changed", []int{pid["changed.1"]}},
			{"idle", nil},
		} {
			if got := w.pidsOf(tt.name); !slices.Equal(got, tt.want) {
				t.Errorf("%s has pids %v, want %v", tt.name, got, tt.want)
			}
		}
		var order []string
		for _, st := range w.Status() {
			order = append(order, st.Name)
		}
		if want := []string{"fresh", "same", "more", "fewer", "changed", "idle"}; !slices.Equal(order, want) {
			t.Errorf("Status has %q, want %q", order, want)
		}
		if n := w.count(Died); n != 0 {
			t.Errorf("%d processes died unasked", n)
		}
	})
}

// Growing and shrinking again and again leaves exactly the processes that are
// asked for.
func TestResize(t *testing.T) {
	c := pool("web", 2, "pid=ready", "hold")
	w := start(t, Config{Watchers: []schema.Watcher{c}})
	first, second := w.pid("web.1 | ready"), w.pid("web.2 | ready")
	for _, n := range []int{5, 1, 4, 0, 2, 7, 2} {
		c.NumProcesses = n
		if err := w.Reload([]schema.Watcher{c}, nil); err != nil {
			t.Fatal(err)
		}
	}
	w.pids.awaitEnd(t, first) // by the resize to 0
	w.pids.awaitEnd(t, second)
	for len(w.pidsOf("web")) != 2 || w.Status()[0].Want != 2 {
		w.events.await(t, "end of what is too much", func(e Event) bool { return e.Kind == Ended })
	}
}

// A slot that was to be started later, and is not asked for any more, is not
// started.
func TestResizeDuringWarmup(t *testing.T) {
	c := pool("web", 3, "tell=READY=1", "pid=ready", "hold")
	c.WarmupDelay = time.Hour
	w := start(t, Config{RunDir: filepath.Join(hostDir(t), "run"), Watchers: []schema.Watcher{c}})
	w.pid("web.1 | ready")
	c.NumProcesses = 1
	if err := w.Reload([]schema.Watcher{c}, nil); err != nil {
		t.Fatal(err)
	}
	st := w.Status() // the resize was done before
	if got := w.list()[0]; len(st) != 1 || st[0].Want != 1 || len(got.starting) != 0 {
		t.Errorf("Status = %+v, and %d slots are to be started", st, len(got.starting))
	}
	w.event(Settled, "")
}

// What comes to a watcher after its stop starts nothing.
func TestResizeAfterStop(t *testing.T) {
	w := start(t, Config{Watchers: []schema.Watcher{script("web", "deaf", "pid=ready", "hold")}})
	w.pid("web.1 | ready")
	web := w.list()[0]
	stopped := make(chan error)
	go func() { stopped <- w.Stop() }()
	w.event(Signaled, "web")
	web.send(func() { web.resize(5) })
	web.send(web.start)
	if err := w.Kill(); err != nil {
		t.Error(err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if n := w.count(Spawned); n != 1 {
		t.Errorf("%d starts, want 1", n)
	}
}

// A configuration that this host cannot have is refused, and nothing has
// changed.
func TestReloadRefused(t *testing.T) {
	dir := hostDir(t)
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, busy)
	taken := tcp("more")
	taken.Port = busy.Addr().(*net.TCPAddr).Port
	web := script("web", "serve=$(circus.sockets.web)")
	missing := script("other")
	missing.Cmd = []string{"./none"}
	w := start(t, Config{Dir: dir, Watchers: []schema.Watcher{web}, Sockets: []schema.Socket{tcp("web")}})
	w.line("web.1 | serving")
	before := w.pidsOf("web")
	for _, tt := range []struct {
		name     string
		watchers []schema.Watcher
		sockets  []schema.Socket
		want     string
	}{
		{"command", []schema.Watcher{missing}, []schema.Socket{tcp("web"), file("extra", dir+"/extra")}, `watcher "other": ./none: no such file or directory`},
		{"socket", []schema.Watcher{web}, []schema.Socket{file("extra", dir+"/extra"), taken}, fmt.Sprintf(`socket "more": listen tcp %s: bind: address already in use`, busy.Addr())},
		{"reference", []schema.Watcher{web}, nil, `watcher "web": there is no socket "web"`},
		{"names", []schema.Watcher{web, web}, []schema.Socket{tcp("web")}, `two watchers are called "web"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := openFiles(t)
			if err := w.Reload(tt.watchers, tt.sockets); err == nil || err.Error() != tt.want {
				t.Errorf("Reload = %v, want %s", err, tt.want)
			}
			if now := openFiles(t); !slices.Equal(now, files) {
				t.Errorf("open descriptors: %q, want %q as before", now, files)
			}
			if got := w.pidsOf("web"); !slices.Equal(got, before) {
				t.Errorf("pids %v, want %v as before", got, before)
			}
			if got := ask(t, "tcp", w.Sockets()["web"]); got != before[0] {
				t.Errorf("pid %d answers, want %d", got, before[0])
			}
		})
	}
}

// A socket that changed, came or went restarts those who inherit it, and nobody
// else.
func TestReloadSockets(t *testing.T) {
	dir := hostDir(t)
	plain := script("plain", "pid=ready", "hold")
	a, b := script("a", "serve=$(circus.sockets.a)"), script("b", "serve=$(circus.sockets.b)")
	all := script("all", "fds", "hold")
	all.UseSockets = true
	sa, sb := file("a", dir+"/a"), file("b", dir+"/b")
	w := start(t, Config{Watchers: []schema.Watcher{plain, a, b, all}, Sockets: []schema.Socket{sa, sb}})
	w.line("a.1 | serving " + dir + "/a")
	w.line("b.1 | serving " + dir + "/b")
	w.line("all.1 | fds=[3 4]")
	w.pid("plain.1 | ready")
	pids := map[string]int{}
	check := func(what string, restarted ...string) {
		t.Helper()
		for _, name := range []string{"plain", "a", "b", "all"} {
			got := w.pidsOf(name)
			if len(got) != 1 {
				t.Fatalf("%s: %s has pids %v", what, name, got)
			}
			if was := pids[name]; was != 0 && (was != got[0]) != slices.Contains(restarted, name) {
				t.Errorf("%s: %s went from pid %d to %d; %q should restart", what, name, was, got[0], restarted)
			}
			pids[name] = got[0]
		}
	}
	check("start")
	reload := func(sockets ...schema.Socket) {
		t.Helper()
		if err := w.Reload([]schema.Watcher{plain, a, b, all}, sockets); err != nil {
			t.Fatal(err)
		}
	}
	reload(sa, sb)
	check("nothing changed")
	sb.Backlog = 7
	reload(sa, sb)
	w.line("b.1 | serving " + dir + "/b")
	w.line("all.1 | fds=[3 4]")
	check("backlog of b", "b", "all")
	sa.Path = dir + "/moved"
	reload(sa, sb)
	w.line("a.1 | serving " + dir + "/moved")
	w.line("all.1 | fds=[3 4]")
	check("path of a", "a", "all")
	if got := ask(t, "unix", dir+"/moved"); got != pids["a"] {
		t.Errorf("pid %d answers at the new path, want %d", got, pids["a"])
	}
	if _, err := net.Dial("unix", dir+"/a"); err == nil {
		t.Error("somebody answers at the old path")
	}
	reload(sa, sb, file("c", dir+"/c"))
	w.line("all.1 | fds=[3 4 5]")
	check("a third one", "all")
	// A new name for an old address: the old one has to go first.
	renamed := sb
	renamed.Name, b.Cmd[len(b.Cmd)-1] = "bb", "serve=$(circus.sockets.bb)"
	reload(sa, renamed)
	w.line("b.1 | serving " + dir + "/b")
	w.line("all.1 | fds=[3 4]")
	check("a new name", "b", "all")
	if got := ask(t, "unix", dir+"/b"); got != pids["b"] {
		t.Errorf("pid %d answers, want %d", got, pids["b"])
	}
}

// Where a changed socket cannot be bound again, after all, the reload says so,
// and its users do not start with something else in its place. The next reload
// mends it.
func TestReloadLosesSocket(t *testing.T) {
	dir := hostDir(t)
	if err := os.Mkdir(dir+"/sub", 0o755); err != nil {
		t.Fatal(err)
	}
	web, inetd := script("web", "serve=$(circus.sockets.s)"), script("inetd", "serve=0")
	inetd.StdinSocket, inetd.MaxRetry, web.MaxRetry = "s", 1, 1
	s := file("s", "sub/s") // without a run directory it is the app's
	watchers := []schema.Watcher{web, inetd, script("other", "pid=ready", "hold")}
	w := start(t, Config{Dir: dir, Watchers: watchers, Sockets: []schema.Socket{s}})
	w.line("web.1 | serving " + dir + "/sub/s")
	w.line("inetd.1 | serving " + dir + "/sub/s")
	other := w.pid("other.1 | ready")
	if err := os.Rename(dir+"/sub", dir+"/moved"); err != nil {
		t.Fatal(err)
	}
	s.Backlog = 7
	want := fmt.Sprintf(`socket "s": listen unix %s/sub/s: bind: no such file or directory`, dir)
	if err := w.Reload(watchers, []schema.Socket{s}); err == nil || err.Error() != want {
		t.Errorf("Reload = %v, want %s", err, want)
	}
	for _, name := range []string{"web", "inetd"} {
		if e := w.event(NotFound, name); e.Text != `spawn: socket "s" is not bound` {
			t.Errorf("event %q", e)
		}
		w.event(GaveUp, name)
	}
	if err := os.Rename(dir+"/moved", dir+"/sub"); err != nil {
		t.Fatal(err)
	}
	if err := w.Reload(watchers, []schema.Socket{s}); err != nil {
		t.Fatal(err)
	}
	w.line("web.1 | serving " + dir + "/sub/s")
	w.line("inetd.1 | serving " + dir + "/sub/s")
	if got := w.pidsOf("other"); !slices.Equal(got, []int{other}) {
		t.Errorf("who has no socket has pids %v, want %d as before", got, other)
	}
}

// One watcher that takes for ever to stop delays nothing in another, and a stop
// that comes in the middle of a reload ends both.
func TestSlowStop(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		slow, quick := script("slow", "deaf", "pid=ready", "hold"), script("quick", "pid=ready", "hold")
		cfg.Watchers = []schema.Watcher{slow, quick}
		cfg.Sockets = []schema.Socket{tcp("web")}
		w := start(t, cfg)
		w.pid("slow.1 | ready")
		pid := w.pid("quick.1 | ready")
		slow.MaxRetry = 9
		reloaded := make(chan error)
		go func() {
			reloaded <- w.Reload([]schema.Watcher{slow, quick}, []schema.Socket{file("new", filepath.Join(hostDir(t), "s"))})
		}()
		w.event(Signaled, "slow")
		for range 3 {
			kill(t, pid)
			pid = w.pid("quick.1 | ready")
		}
		stopped := make(chan error)
		go func() { stopped <- w.Stop() }()
		w.event(Signaled, "quick")
		if err := w.Kill(); err != nil {
			t.Errorf("Kill = %v", err)
		}
		if err := <-stopped; err != nil {
			t.Errorf("Stop = %v", err)
		}
		if err := <-reloaded; err == nil || err.Error() != "stopped while it reloaded" {
			t.Errorf("Reload = %v, want that it was stopped", err)
		}
		if err := w.Reload(cfg.Watchers, nil); err == nil || err.Error() != "the runner is not running" {
			t.Errorf("Reload after Stop = %v", err)
		}
	})
}

// A Runner that was not started has nothing to reload.
func TestReloadBeforeStart(t *testing.T) {
	w := newWorld(t, Config{Watchers: []schema.Watcher{script("web", "hold")}})
	if err := w.Reload(w.cfg.Watchers, []schema.Socket{tcp("web")}); err == nil || err.Error() != "the runner is not running" {
		t.Errorf("Reload = %v", err)
	}
}

// Many stops meet many reloads: whatever comes first, nothing is left.
func TestReloadMeetsStop(t *testing.T) {
	dir := hostDir(t)
	for i := range 20 {
		c := pool("web", 1, "hold")
		w := newWorld(t, Config{Watchers: []schema.Watcher{c}})
		if err := w.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for n := range 4 {
				c.NumProcesses, c.MaxRetry = n, n/2
				_ = w.Reload([]schema.Watcher{c}, []schema.Socket{file("s", fmt.Sprintf("%s/%d.%d", dir, i, n))}) // may be refused
			}
		}()
		if i%2 == 0 {
			w.event(Spawned, "web")
		}
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
		<-done
	}
}
