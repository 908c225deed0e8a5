package runner

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"appbundle/runner/internal/watch"
	"appbundle/schema"
)

// In each watcher one process at a time is replaced, and the next only when its
// replacement is up; all of them see the new version.
func TestRoll(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		web, job := pool("web", 3, "env", "tell=READY=1", "pid=ready", "hold"), pool("job", 2, "tell=READY=1", "pid=ready", "hold")
		once, idle := script("once", "say=done"), script("idle", "hold")
		once.Respawn, idle.Autostart = false, false
		cfg.Watchers, cfg.Version = []schema.Watcher{web, job, once, idle}, "1.0.0"
		w := start(t, cfg)
		w.event(Settled, "")
		w.line("once.1 | done")
		var before []int
		for _, name := range []string{"web.1", "web.2", "web.3", "job.1", "job.2"} {
			before = append(before, w.pid(name+" | ready"))
			w.events.await(t, name+" to be up", func(e Event) bool { return e.Kind == Ready && strings.HasPrefix(e.String(), name) })
		}
		w.line("web.1 | env APPBUNDLE_VERSION=1.0.0")
		seen := len(w.events.rest())
		web.NumProcesses = 4
		fresh := script("fresh", "tell=READY=1", "pid=ready", "hold")
		if err := w.Roll("2.0.0", []schema.Watcher{web, job, once, idle, fresh}, nil); err != nil {
			t.Fatal(err)
		}
		w.line("once.1 | done")
		for _, wid := range []int{1, 2, 3, 4} {
			w.line(fmt.Sprintf("web.%d | env APPBUNDLE_VERSION=2.0.0", wid))
		}
		w.pid("fresh.1 | ready")
		for _, pid := range before {
			w.pids.awaitEnd(t, pid)
		}
		if got := w.pidsOf("idle"); len(got) > 0 {
			t.Errorf("idle has pids %v, and was never started", got)
		}
		oneByOne(t, w.events.rest()[seen:])
	})
}

// oneByOne fails where a process was told to end while the one before it was not
// yet up again.
func oneByOne(t *testing.T, events []Event) {
	t.Helper()
	away := map[string]int{}
	for _, e := range events {
		switch e.Kind {
		case Signaled:
			if other := away[e.Watcher]; other != 0 {
				t.Errorf("%s, while %s.%d is not up yet", e, e.Watcher, other)
			}
			away[e.Watcher] = e.WID
		case Ready:
			if away[e.Watcher] == e.WID {
				away[e.Watcher] = 0
			}
		}
	}
}

// A release that does not come up takes one process of a watcher, and no more.
func TestRollOfWhatDoesNotComeUp(t *testing.T) {
	for _, tt := range []struct{ name, second string }{
		{"dies", "exit 3"},
		{"is no program", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := hostDir(t)
			release := func(text string) {
				t.Helper()
				if err := os.WriteFile(dir+"/new", []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(dir+"/new", dir+"/prog"); err != nil {
					t.Fatal(err)
				}
			}
			release("exec " + exe + " child tell=READY=1 pid=ready hold")
			web := pool("web", 3)
			web.Cmd = []string{dir + "/prog"}
			web.Backoff = schema.Backoff{First: patience, Max: patience}
			w := start(t, Config{RunDir: filepath.Join(dir, "run"), Watchers: []schema.Watcher{web}})
			first, second, third := w.pid("web.1 | ready"), w.pid("web.2 | ready"), w.pid("web.3 | ready")
			if tt.second != "" {
				release(tt.second)
				err := w.Roll("2", []schema.Watcher{web}, nil)
				if want := "web.1 does not come up; 2 processes of before go on"; err == nil || err.Error() != want {
					t.Errorf("Roll = %v, want %q", err, want)
				}
				w.pids.awaitEnd(t, first)
				if got, want := w.pidsOf("web"), []int{second, third}; !slices.Equal(got, want) {
					t.Errorf("pids %v, want %v", got, want)
				}
				// One that is right again replaces them all.
				release("exec " + exe + " child tell=READY=1 pid=again hold")
				if err := w.Roll("3", []schema.Watcher{web}, nil); err != nil {
					t.Fatal(err)
				}
				w.pid("web.3 | again")
				return
			}
			if err := os.Remove(dir + "/prog"); err != nil {
				t.Fatal(err)
			}
			if err := w.Roll("2", []schema.Watcher{web}, nil); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("Roll = %v, want that the program is not there", err)
			}
			if got, want := w.pidsOf("web"), []int{first, second, third}; !slices.Equal(got, want) {
				t.Errorf("pids %v, want %v", got, want)
			}
		})
	}
}

// A release whose processes live and never say that they are up takes one
// process and ends the rolling; the one after it is not kept waiting, and a
// process that does come up then is up.
func TestRollOfWhatNeverSaysReady(t *testing.T) {
	dir := hostDir(t)
	mode := func(steps string) {
		t.Helper()
		if err := os.WriteFile(dir+"/new", []byte("#!/bin/sh\nexec "+exe+" child "+steps+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(dir+"/new", dir+"/prog"); err != nil {
			t.Fatal(err)
		}
	}
	mode("tell=READY=1 pid=ready hold")
	web := saying("web", 3)
	web.Cmd = []string{dir + "/prog"}
	w := start(t, Config{RunDir: filepath.Join(dir, "run"), Watchers: []schema.Watcher{web}, comeUp: watch.Settled / 10})
	first, second, third := w.pid("web.1 | ready"), w.pid("web.2 | ready"), w.pid("web.3 | ready")
	w.event(Settled, "")
	w.events.await(t, "web.1 to be up", func(e Event) bool { return e.Kind == Ready && e.WID == 1 })
	mode("pid=late await=SIGUSR1 tell=READY=1 hold")
	err := w.Roll("2", []schema.Watcher{web}, nil)
	if want := "web.1 does not come up (not ready after 100ms); 2 processes of before go on"; err == nil || err.Error() != want {
		t.Errorf("Roll = %v, want %q", err, want)
	}
	w.pids.awaitEnd(t, first)
	late := w.pid("web.1 | late")
	w.line("web.1 | awaiting SIGUSR1")
	if got, want := w.pidsOf("web"), []int{late, second, third}; !slices.Equal(got, want) {
		t.Errorf("pids %v, want %v", got, want)
	}
	if err := unix.Kill(late, unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	w.events.await(t, "web.1 to be up", func(e Event) bool { return e.Kind == Ready && e.Pid == late })
}

// A replacement may take as long as a minute or graceful_timeout says.
func TestRollPatience(t *testing.T) {
	for _, tt := range []struct{ graceful, want time.Duration }{
		{30 * time.Second, time.Minute},
		{10 * time.Minute, 10 * time.Minute},
	} {
		w := &watcher{r: &Runner{}, cfg: schema.Watcher{GracefulTimeout: tt.graceful}}
		if got := w.patience(); got != tt.want {
			t.Errorf("with graceful_timeout %s: %s, want %s", tt.graceful, got, tt.want)
		}
	}
}

// A stop does not wait for what is being replaced.
func TestStopDuringRoll(t *testing.T) {
	web := pool("web", 2, "deaf", "pid=ready", "hold")
	w := start(t, Config{Watchers: []schema.Watcher{web}})
	w.pid("web.1 | ready")
	w.pid("web.2 | ready")
	rolled := make(chan error)
	go func() { rolled <- w.Roll("2", []schema.Watcher{web}, nil) }()
	w.event(Signaled, "web")
	if err := w.Kill(); err != nil {
		t.Error(err)
	}
	if err := <-rolled; !errors.Is(err, errStopped) {
		t.Errorf("Roll = %v, want %v", err, errStopped)
	}
}
