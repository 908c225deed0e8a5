package server

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// occupy sends n calls of a length through a gate.
func occupy(t *testing.T, g *Gate, n int, d time.Duration) *sync.WaitGroup {
	t.Helper()
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if err := g.Do(t.Context(), func() error { <-time.After(d); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	synctest.Wait()
	return &all
}

// Who would have to wait longer than the bound is told so at once; who would not
// waits for its turn.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate("crypto", 2, 100*time.Millisecond, nil)
		occupy(t, g, 2, 40*time.Millisecond).Wait()   // it learns what a call takes
		all := occupy(t, g, 2+4, 40*time.Millisecond) // the last two wait 80 ms

		began := time.Now()
		err := g.Do(t.Context(), func() error { t.Error("it was let in"); return nil })
		var busy *Busy
		if !errors.As(err, &busy) || busy.Wait != 120*time.Millisecond || time.Since(began) != 0 {
			t.Errorf("after %s: %v, want at once that the wait is 120ms", time.Since(began), err)
		}
		all.Wait()
		if got := time.Since(began); got != 120*time.Millisecond {
			t.Errorf("six calls of 40 ms took %s at two places, want 120ms", got)
		}
		if inside, waiting, _, refused := g.state(); inside != 0 || waiting != 0 || refused != 1 {
			t.Errorf("%d inside, %d waiting, %d refused at the end; want 0, 0, 1", inside, waiting, refused)
		}
	})
}

// One call that stalled turns nobody away who comes after it; calls that have all
// become slow do.
func TestGateStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate("crypto", 1, 100*time.Millisecond, nil)
		occupy(t, g, 1, 10*time.Millisecond).Wait()
		occupy(t, g, 1, time.Hour).Wait()
		occupy(t, g, 1+8, 10*time.Millisecond).Wait()

		for range 40 {
			occupy(t, g, 1, 90*time.Millisecond).Wait()
		}
		all := occupy(t, g, 1+1, 90*time.Millisecond)
		began := time.Now()
		var busy *Busy
		if err := g.Do(t.Context(), nil); !errors.As(err, &busy) || time.Since(began) != 0 {
			t.Errorf("behind two slow calls, after %s: %v, want busy at once", time.Since(began), err)
		}
		all.Wait()
	})
}

// A call that waits gives up when the bound is over, and when nobody waits for it.
func TestGateGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate("crypto", 1, 100*time.Millisecond, nil)
		all := occupy(t, g, 1, time.Hour)
		began := time.Now()
		var busy *Busy
		if err := g.Do(t.Context(), nil); !errors.As(err, &busy) || time.Since(began) != 100*time.Millisecond {
			t.Errorf("after %s: %v, want busy after 100ms", time.Since(began), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := g.Do(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v of a call whose time is over", err)
		}
		all.Wait()
		if err := g.Do(t.Context(), func() error { return nil }); err != nil {
			t.Errorf("an empty gate: %v", err)
		}
	})
}

// Calls are let in as they came.
func TestGateOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate("crypto", 1, time.Hour, nil)
		held := occupy(t, g, 1, time.Second)
		var all sync.WaitGroup
		var order []int
		for i := range 5 {
			all.Go(func() { _ = g.Do(t.Context(), func() error { order = append(order, i); return nil }) })
			synctest.Wait()
		}
		held.Wait()
		all.Wait()
		for i, at := range order {
			if i != at {
				t.Fatalf("they were let in as %d", order)
			}
		}
	})
}

// A call that panics leaves its place.
func TestGatePanic(t *testing.T) {
	g := NewGate("crypto", 1, time.Second, nil)
	func() {
		defer func() { _ = recover() }()
		_ = g.Do(t.Context(), func() error { panic("x") })
	}()
	if inside, _, _, _ := g.state(); inside != 0 {
		t.Errorf("%d are inside", inside)
	}
}

func TestGateMetrics(t *testing.T) {
	m := NewMetrics()
	g := NewGate("crypto", 3, time.Second, nil)
	m.Watch(g)
	var out bytes.Buffer
	if err := g.Do(t.Context(), func() error { m.write(&out); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# TYPE tokenapp_gate_inside gauge\ntokenapp_gate_inside{gate=\"crypto\"} 1\n",
		"# TYPE tokenapp_gate_refused_total counter\ntokenapp_gate_refused_total{gate=\"crypto\"} 0\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the metrics lack %q:\n%s", want, &out)
		}
	}
}
