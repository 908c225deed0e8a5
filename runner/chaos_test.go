package runner

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"appbundle/schema"
)

// Deaths, reloads and questions in any order: a slot never has two processes,
// and in the end there is what was asked for last.
func TestChaos(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		rnd := rand.New(rand.NewPCG(seed, 0))
		var w *world
		var mu sync.Mutex
		last := map[string]int{}
		cfg.Report = func(e Event) {
			if e.Kind != Spawned {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			slot := fmt.Sprintf("%s.%d", e.Watcher, e.WID)
			if pid := last[slot]; slices.Contains(w.pids.living(0), pid) {
				t.Errorf("%s: pid %d starts while pid %d lives", slot, e.Pid, pid)
			}
			last[slot] = e.Pid
		}
		watchers := []schema.Watcher{shell("a", 3, "exec sleep 1000"), shell("b", 1, "sleep 1000 & exec sleep 1000"), shell("c", 2, "exit 1")}
		cfg.Watchers = slices.Clone(watchers)
		w = newWorld(t, cfg)
		if err := w.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 150 {
			i := rnd.IntN(len(watchers))
			switch rnd.IntN(5) {
			case 0:
				watchers[i].NumProcesses = rnd.IntN(5)
			case 1:
				watchers[i].MaxRetry = rnd.IntN(3) // this is a change, and decides nothing here
			case 2:
				rnd.Shuffle(len(watchers), func(i, j int) { watchers[i], watchers[j] = watchers[j], watchers[i] })
			case 3:
				w.Status()
				continue
			default:
				for _, pid := range w.pidsOf(watchers[i].Name) {
					_ = unix.Kill(pid, unix.SIGKILL) // ESRCH: it has ended
				}
				continue
			}
			next := slices.Clone(watchers[rnd.IntN(2):]) // sometimes without the first one
			wg.Go(func() {
				if err := w.Reload(next, nil); err != nil {
					t.Errorf("Reload = %v", err)
				}
			})
		}
		wg.Wait()
		if err := w.Reload(watchers, nil); err != nil {
			t.Fatal(err)
		}
		for i, st := range w.Status() {
			if c := watchers[i]; st.Name != c.Name || st.Want != c.NumProcesses || st.Failed != 0 {
				t.Errorf("Status has %+v, want %s with %d", st, c.Name, c.NumProcesses)
			}
			for st.Name != "c" && len(w.pidsOf(st.Name)) != st.Want {
				w.events.await(t, "start or end", func(e Event) bool { return e.Watcher == st.Name })
			}
		}
	})
}
