package runner

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"appbundle/runner/internal/proc"
	"appbundle/runner/internal/watch"
	"appbundle/schema"
)

// status gives what Status says of the first process of a watcher.
func (w *world) status(name string) Process {
	w.Helper()
	for _, st := range w.Status() {
		if st.Name == name && len(st.Processes) > 0 {
			return st.Processes[0]
		}
	}
	w.Fatalf("no process of %q in %+v", name, w.Status())
	return Process{}
}

// READY makes a process up at once, and what it says of itself is kept. The
// watcher works through what it is told one by one, so that what Status gives
// after READY is what was said before.
func TestNotify(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		cfg.Watchers = []schema.Watcher{script("web", "tell=STATUS=warming up|BUSY=1/4", "tell=READY=1|STATUS=serving", "tell=X_OTHER=1", "hold")}
		w := start(t, cfg)
		w.event(Ready, "web")
		if p := w.status("web"); p.Phase != "up" || p.Status != "serving" || p.Busy != "1/4" {
			t.Errorf("Status = %+v, want it up, serving and 1/4 busy", p)
		}
	})
}

// What hostile children send is passed over, and their descriptors are
// closed: the end of the test counts ours.
func TestNotifyHostile(t *testing.T) {
	steps := []string{"tell=random", "tell=long", "tell=fds", "tell=STATUS=\xff\xfe", "tell=READY=0", "tell="}
	var many []string
	for range 50 {
		many = append(many, steps...)
	}
	w := start(t, Config{RunDir: filepath.Join(hostDir(t), "run"), Watchers: []schema.Watcher{script("web", append(many, "tell=READY=1", "hold")...)}})
	files := len(openFiles(t))
	w.event(Ready, "web")
	if p := w.status("web"); p.Status != "\uFFFD" {
		t.Errorf("STATUS is %q, want the last one with U+FFFD for what is no UTF-8", p.Status)
	}
	if now := len(openFiles(t)); now > files+8 {
		t.Errorf("%d descriptors are open, and %d were: those that were sent along?", now, files)
	}
}

// A grandchild may say how busy the process is, and not that it is ready.
func TestNotifyGrandchild(t *testing.T) {
	w := start(t, Config{RunDir: filepath.Join(hostDir(t), "run"), Watchers: []schema.Watcher{
		script("web", "spawn=;tell=READY=1;tell=BUSY=2/3|STATUS=from below;say=told;hold", "trap=SIGUSR1,0")}})
	w.line("web.1 | told")
	w.line("web.1 | trapping")
	w.event(Ready, "web") // what was told before is known by then
	p := w.status("web")
	if age := time.Since(p.Started); age < almostSettled {
		t.Errorf("the process was up at the age of %v: READY of a grandchild was believed", age)
	}
	if p.Busy != "2/3" || p.Status != "from below" {
		t.Errorf("Status = %+v, want what the grandchild said", p)
	}
}

// saying is a watcher whose processes are up when they say so, and not before.
func saying(name string, n int, steps ...string) schema.Watcher {
	w := pool(name, n, steps...)
	w.SaysReady = true
	return w
}

// Of a watcher that says when it is up, a process below the main one may say
// it, and age alone says nothing: a neighbour has settled meanwhile. A process
// that dies before has died young.
func TestSaysReady(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		web := saying("web", 1, "spawn=;pid=worker;await=SIGUSR1;tell=READY=1;hold", "pid=main", "hold")
		web.Backoff = schema.Backoff{First: patience, Max: patience}
		cfg.Watchers = []schema.Watcher{web, script("old", "hold")}
		w := start(t, cfg)
		main, worker := w.pid("web.1 | main"), w.pid("web.1 | worker")
		w.line("web.1 | awaiting SIGUSR1")
		w.event(Ready, "old") // a second has gone by
		if p := w.status("web"); p.Phase != "starting" || w.count(Settled) > 0 {
			t.Errorf("Status = %+v, want it starting: it has said nothing", p)
		}
		if err := unix.Kill(worker, unix.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		if e := w.event(Ready, "web"); e.Pid != main {
			t.Errorf("event %q, want one of pid %d", e, main)
		}
		w.event(Settled, "")
	})
}

// One that dies before it has said that it is up waits for its back-off,
// however old it is.
func TestSaysReadyAndDies(t *testing.T) {
	web := saying("web", 1, "pid=main", "hold")
	web.Backoff = schema.Backoff{First: patience, Max: patience}
	w := start(t, Config{RunDir: filepath.Join(hostDir(t), "run"), Watchers: []schema.Watcher{web, script("old", "hold")}})
	main := w.pid("web.1 | main")
	w.event(Ready, "old")
	kill(t, main)
	w.event(Died, "web")
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
	if got := w.count(Spawned); got != 2 {
		t.Errorf("%d starts, want one of each watcher: it died young", got)
	}
}

// Who cannot say that it is up is up when it has settled: without a notify
// socket, or with another one.
func TestSaysReadyToNobody(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
		env  []schema.EnvVar
	}{
		{"library", Config{}, nil},
		{"other socket", Config{RunDir: filepath.Join(hostDir(t), "run")}, []schema.EnvVar{{Name: "NOTIFY_SOCKET", Value: "/nowhere"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			web := saying("web", 1, "hold")
			web.Env = tt.env
			tt.cfg.Watchers = []schema.Watcher{web}
			start(t, tt.cfg).event(Ready, "web")
		})
	}
}

// Where watchers of several groups keep a user from the notify socket, his
// processes cannot say it either; root's can.
func TestSaysReadyApart(t *testing.T) {
	for _, tt := range []struct {
		cred  *syscall.Credential
		apart bool
		want  bool
	}{
		{nil, false, true},
		{nil, true, true},
		{&syscall.Credential{Uid: 1}, false, true},
		{&syscall.Credential{Uid: 1}, true, false},
	} {
		w := &watcher{r: &Runner{}, cfg: schema.Watcher{SaysReady: true}, child: &child{notifies: true, cred: tt.cred}}
		w.r.apart.Store(tt.apart)
		if got := w.saysReady(); got != tt.want {
			t.Errorf("as %+v, groups apart %v: %v, want %v", tt.cred, tt.apart, got, tt.want)
		}
	}
}

// once is a watcher whose slot gives up at the first death.
func once(name string, steps ...string) schema.Watcher {
	w := script(name, steps...)
	w.Flapping = schema.Flapping{Attempts: 1, Window: time.Hour}
	return w
}

// A process that is ready, says that it is leaving and ends with status 0 is
// replaced for ever: it has not died. Nor does it spin.
func TestAnnouncedEnd(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		cfg.Watchers = []schema.Watcher{once("web", "tell=READY=1", "tell=STOPPING=1", "exit=0")}
		w := start(t, cfg)
		var before time.Time
		for range 4 {
			e := w.event(Spawned, "web")
			if !before.IsZero() && e.Time.Sub(before) < watch.Breath {
				t.Errorf("the replacement came after %v", e.Time.Sub(before))
			}
			before = e.Time
			if e := w.event(Ended, "web"); e.Text != "exit status 0, as it had said" {
				t.Errorf("event %q", e)
			}
		}
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
		if n := w.count(Died) + w.count(Resting) + w.count(GaveUp); n != 0 {
			t.Errorf("%d events tell of a death", n)
		}
	})
}

// Any other end is a death, whatever was said.
func TestAnnouncedInVain(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps []string
	}{
		{"with another status", []string{"tell=READY=1", "tell=STOPPING=1", "exit=1"}},
		{"by a signal", []string{"tell=READY=1", "tell=STOPPING=1", "die"}},
		{"never ready", []string{"tell=STOPPING=1", "exit=0"}},
		{"ready afterwards", []string{"tell=STOPPING=1", "tell=READY=1", "exit=0"}},
		{"no announcement", []string{"tell=READY=1", "exit=0"}},
		{"STOPPING=0", []string{"tell=READY=1", "tell=STOPPING=0", "exit=0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := start(t, Config{RunDir: filepath.Join(hostDir(t), "run"), Watchers: []schema.Watcher{once("web", tt.steps...)}})
			w.event(Died, "web")
			var gaveUp *GaveUpError
			if err := w.Wait(); !errors.As(err, &gaveUp) {
				t.Errorf("Wait = %v, want a GaveUpError", err)
			}
		})
	}
}

// A grandchild cannot announce the end of the process above it.
func TestAnnouncedByGrandchild(t *testing.T) {
	w := start(t, Config{RunDir: filepath.Join(hostDir(t), "run"), Watchers: []schema.Watcher{
		once("web", "tell=READY=1", "pid=main", "spawn=;tell=STOPPING=1;say=told;hold", "trap=SIGUSR1,0")}})
	main := w.pid("web.1 | main")
	w.line("web.1 | told")
	w.line("web.1 | trapping")
	if err := unix.Kill(main, unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	e := w.events.await(t, "the end", func(e Event) bool { return e.Kind == Died || e.Kind == Ended })
	if e.Kind != Died || e.Text != "exit status 0" {
		t.Fatalf("event %s %q, want a death", e.Kind, e)
	}
	w.event(GaveUp, "web")
}

// A stranger's notices are nobody's.
func TestNotifyStranger(t *testing.T) {
	run := filepath.Join(hostDir(t), "run")
	w := start(t, Config{RunDir: run, Watchers: []schema.Watcher{script("web", "trap=SIGUSR1,0")}})
	w.line("web.1 | trapping")
	c, err := net.Dial("unixgram", filepath.Join(run, "notify.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("READY=1\nSTATUS=stranger")); err != nil {
		t.Fatal(err)
	}
	w.event(Ready, "web")
	if p := w.status("web"); p.Status != "" || time.Since(p.Started) < almostSettled/2 {
		t.Errorf("Status = %+v, up at the age of %v: a stranger was believed", p, time.Since(p.Started))
	}
}

// The Runner tells its own supervisor what it does.
func TestNotifyUpwards(t *testing.T) {
	dir := hostDir(t)
	path := filepath.Join(dir, "up")
	up, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, up)
	if err := up.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	next := func() string {
		t.Helper()
		buf := make([]byte, 4096)
		n, err := up.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	cfg := Config{RunDir: filepath.Join(dir, "run"), Environ: []string{"NOTIFY_SOCKET=" + path},
		Watchers: []schema.Watcher{script("web", "tell=READY=1", "hold"), script("db", "tell=READY=1", "hold")}}
	w := start(t, cfg)
	if got := next(); got != "READY=1" {
		t.Errorf("said %q first, want READY=1", got)
	}
	if err := w.Reload(cfg.Watchers[:1], nil); err != nil {
		t.Fatal(err)
	}
	if got := next(); !strings.HasPrefix(got, "RELOADING=1\nMONOTONIC_USEC=") {
		t.Errorf("said %q, want RELOADING=1", got)
	}
	if got := next(); got != "READY=1" {
		t.Errorf("said %q after the reload, want READY=1", got)
	}
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
	if got := next(); got != "STOPPING=1" {
		t.Errorf("said %q, want STOPPING=1", got)
	}
	if err := proc.SendNotify(path, "the end"); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "the end" {
		t.Errorf("said %q too", got)
	}
}

// Where nobody listens upstairs the Runner says so and goes on.
func TestNotifyNobody(t *testing.T) {
	dir := hostDir(t)
	w := start(t, Config{RunDir: filepath.Join(dir, "run"), Environ: []string{"NOTIFY_SOCKET=" + dir + "/none"}, noCgroups: true,
		Watchers: []schema.Watcher{script("web", "tell=READY=1", "hold")}})
	if e := w.event(Limited, ""); e.Text != "notify "+dir+"/none: no such file or directory" {
		t.Errorf("event %q", e)
	}
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
}
