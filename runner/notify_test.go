package runner

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"appbundle/runner/internal/proc"
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
	if p := w.status("web"); p.Status != "" || time.Since(p.Started) < almostSettled {
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
