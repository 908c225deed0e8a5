package runner

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"appbundle/schema"
)

// shell gives a watcher of n processes of a shell: where there are many that is
// smaller than the test binary.
func shell(name string, n int, text string) schema.Watcher {
	w := pool(name, n)
	w.Cmd = []string{"sh", "-c", text}
	return w
}

// held counts the descriptors of the Runner and the entries of its cgroup: all
// but the pidfds by which the test holds what it has seen.
func (w *world) held() (files, entries int) {
	w.Helper()
	w.pids.mu.Lock()
	defer w.pids.mu.Unlock()
	files = len(openFiles(w)) - len(w.pids.fds)
	if w.cgroups != nil {
		all, err := os.ReadDir(w.cgroups.Dir())
		if err != nil {
			w.Fatal(err)
		}
		entries = len(all)
	}
	return files, entries
}

// Hundreds of restarts, some of them with something that is left behind, cost
// no descriptor and no cgroup.
func TestManyRestarts(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		const restarts = 500
		stay := filepath.Join(hostDir(t), "stay")
		write := func() {
			t.Helper()
			if err := os.WriteFile(stay, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		write()
		cfg.Watchers = []schema.Watcher{shell("web", 2, fmt.Sprintf("if test -e %q; then echo stays; exec sleep 1000; fi; if test $APPBUNDLE_WID = 1; then sleep 1000 & fi", stay))}
		w := start(t, cfg)
		stays := func() {
			t.Helper()
			w.line("web.1 | stays")
			w.line("web.2 | stays")
		}
		stays()
		pids := []int{w.event(Spawned, "web").Pid, w.event(Spawned, "web").Pid}
		files, entries := w.held()
		if err := os.Remove(stay); err != nil {
			t.Fatal(err)
		}
		for _, pid := range pids {
			kill(t, pid)
		}
		for range restarts {
			w.event(Died, "web")
		}
		write()
		stays()
		for deadline := time.Now().Add(patience); ; runtime.Gosched() {
			f, e := w.held()
			if f == files && e <= entries { // a cgroup may have a longer name than before, or be gone
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d descriptors and %d entries of the cgroup after %d restarts, %d and %d before: %q", f, e, restarts, files, entries, openFiles(t))
			}
		}
	})
}

// Two hundred processes are started, killed all at once, replaced and stopped.
func TestManyProcesses(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		const n = 200
		cfg.Watchers = []schema.Watcher{shell("web", n, "exec sleep 1000")}
		w := start(t, cfg)
		pids, slots := map[int]bool{}, map[int]int{}
		for range n {
			e := w.event(Spawned, "web")
			pids[e.Pid] = true
			slots[e.WID]++
		}
		if len(pids) != n || len(slots) != n {
			t.Fatalf("%d pids in %d slots, want %d", len(pids), len(slots), n)
		}
		for pid := range pids {
			kill(t, pid)
		}
		for range n {
			e := w.event(Spawned, "web")
			if pids[e.Pid] {
				t.Errorf("pid %d twice", e.Pid)
			}
			slots[e.WID]++
		}
		for wid, starts := range slots {
			if starts != 2 {
				t.Errorf("%d starts in slot %d, want 2", starts, wid)
			}
		}
		if st := w.Status()[0]; len(st.Processes) != n || st.Failed != 0 {
			t.Errorf("%d processes live and %d slots gave up, want %d and 0", len(st.Processes), st.Failed, n)
		}
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
		if got := w.count(Signaled); got != n {
			t.Errorf("%d processes were asked to end, want %d", got, n)
		}
	})
}
