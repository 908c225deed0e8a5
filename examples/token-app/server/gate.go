package server

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"
)

// A Gate stands in front of something that takes time, such as cryptography: it
// lets so many in at once, in the order in which they came. Who would have to
// wait too long is told so at once, and need not wait to learn it.
type Gate struct {
	name  string
	slots int
	bound time.Duration
	now   func() time.Time

	mu      sync.Mutex
	inside  int
	waiting list.List // of chan struct{}, closed to let in
	mean    time.Duration
	refused uint64
}

// maxWaiting is how many may wait at a gate, however short their wait would be.
const maxWaiting = 4096

// A Busy says that a gate did not let somebody in.
type Busy struct {
	Gate string
	Wait time.Duration // as it was estimated, or was
}

// Error names the gate and the wait.
func (b *Busy) Error() string {
	return fmt.Sprintf("%s is busy: the wait is some %s", b.Gate, b.Wait.Round(time.Millisecond))
}

// NewGate makes a gate with a name for the metrics, through which slots may be at
// once, and at which nobody waits longer than bound. nil for now is time.Now.
func NewGate(name string, slots int, bound time.Duration, now func() time.Time) *Gate {
	if now == nil {
		now = time.Now
	}
	return &Gate{name: name, slots: max(slots, 1), bound: bound, now: now}
}

// Do calls f when there is room. The error is that of f, a *Busy, or that of ctx
// if it ends first.
func (g *Gate) Do(ctx context.Context, f func() error) error {
	if err := g.enter(ctx); err != nil {
		return err
	}
	began := g.now()
	defer func() { g.leave(g.now().Sub(began)) }()
	return f()
}

// estimate is how long the next one would have to wait, if all that are inside
// have just begun.
func (g *Gate) estimate() time.Duration {
	if g.inside < g.slots {
		return 0
	}
	return g.mean * time.Duration(g.waiting.Len()/g.slots+1)
}

func (g *Gate) enter(ctx context.Context) error {
	g.mu.Lock()
	if g.inside < g.slots {
		g.inside++
		g.mu.Unlock()
		return nil
	}
	if wait := g.estimate(); wait > g.bound || g.waiting.Len() >= maxWaiting {
		g.refused++
		g.mu.Unlock()
		return &Busy{g.name, wait}
	}
	turn := make(chan struct{})
	place := g.waiting.PushBack(turn)
	g.mu.Unlock()

	// The estimate is of the past: what is inside may be slower now.
	timer := time.NewTimer(g.bound)
	defer timer.Stop()
	var err error
	refused := uint64(0)
	select {
	case <-turn:
		return nil
	case <-timer.C:
		err, refused = &Busy{g.name, g.bound}, 1
	case <-ctx.Done():
		err = ctx.Err()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-turn:
		return nil // let in meanwhile
	default:
	}
	g.waiting.Remove(place)
	g.refused += refused
	return err
}

// leave gives the room to who waits longest.
func (g *Gate) leave(took time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	// One call that stalled, a worker that was killed for one, says little of the
	// next: it counts as twice the usual. Calls that are all slow are soon usual.
	took = min(took, g.bound)
	if g.mean == 0 {
		g.mean = took
	}
	g.mean += (min(took, 2*g.mean) - g.mean) / 16
	if first := g.waiting.Front(); first != nil {
		g.waiting.Remove(first)
		close(first.Value.(chan struct{}))
		return
	}
	g.inside--
}

// state is what the metrics show.
func (g *Gate) state() (inside, waiting int, mean time.Duration, refused uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inside, g.waiting.Len(), g.mean, g.refused
}
