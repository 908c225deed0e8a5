package guarded

import (
	"context"
	"errors"
	"sync"
	"time"
)

// CacheConfig is what a cache of fetched things does.
type CacheConfig[T any] struct {
	// Fetch gives what a name has, and for how long it is good: below 0 when nobody
	// said so.
	Fetch func(ctx context.Context, name string) (T, time.Duration, error)

	Least, Most time.Duration // how long a thing is fresh, whatever was said
	Unsaid      time.Duration // how long where nothing was said
	Stale       time.Duration // how old a thing may get while no new one can be had
	Pause       time.Duration // after a failure, and between fetches that Refresh asks for
	Size        int           // names
	Now         func() time.Time
}

// A Cache has what was fetched, by name. It is for many goroutines.
type Cache[T any] struct {
	cfg CacheConfig[T]

	mu      sync.Mutex
	entries map[string]*entry[T]
	closed  bool
	flights sync.WaitGroup
}

// An entry is what is known of a name.
type entry[T any] struct {
	value   T
	has     bool      // there is a value
	fetched time.Time // when the fetch of the value began
	expires time.Time // when the value is no longer fresh

	err   error     // of the last fetch, if it failed
	tried time.Time // when the last fetch began

	flight chan struct{} // closed when the running fetch is done; nil without one
	cancel func()
}

// NewCache makes an empty cache.
func NewCache[T any](cfg CacheConfig[T]) *Cache[T] {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Cache[T]{cfg: cfg, entries: map[string]*entry[T]{}}
}

// Close ends running fetches, and waits for their end. There are none after it.
func (c *Cache[T]) Close() {
	c.mu.Lock()
	c.closed = true
	for _, e := range c.entries {
		if e.flight != nil {
			e.cancel()
		}
	}
	c.mu.Unlock()
	c.flights.Wait()
}

// Get gives what a name has. A thing that is no longer fresh is given as long as it
// is not too old, while a new one is fetched behind the caller's back; a failure is
// given again for a while.
func (c *Cache[T]) Get(ctx context.Context, name string) (T, error) {
	c.mu.Lock()
	e, now := c.entry(name), c.cfg.Now()
	if e.has && now.Before(e.expires) {
		defer c.mu.Unlock()
		return e.value, nil
	}
	paused := e.err != nil && now.Before(e.tried.Add(c.cfg.Pause))
	if e.flight == nil && !paused {
		c.start(ctx, name, e, now)
	}
	if e.flight != nil && !c.usable(e, now) {
		return c.wait(ctx, e)
	}
	defer c.mu.Unlock()
	return c.result(e, now)
}

// Refresh gives what a name has after another fetch, unless there was one a short
// while ago.
func (c *Cache[T]) Refresh(ctx context.Context, name string) (T, error) {
	c.mu.Lock()
	e, now := c.entry(name), c.cfg.Now()
	if e.flight == nil && !now.Before(e.tried.Add(c.cfg.Pause)) {
		c.start(ctx, name, e, now)
	}
	if e.flight != nil {
		return c.wait(ctx, e)
	}
	defer c.mu.Unlock()
	return c.result(e, now)
}

// usable reports whether there is a value that is not too old.
func (c *Cache[T]) usable(e *entry[T], now time.Time) bool {
	return e.has && now.Before(e.fetched.Add(max(c.cfg.Stale, e.expires.Sub(e.fetched))))
}

// result is what there is after the last fetch.
func (c *Cache[T]) result(e *entry[T], now time.Time) (T, error) {
	if c.usable(e, now) {
		return e.value, nil
	}
	var none T
	if e.err == nil {
		return none, errors.New("nothing is fetched any more")
	}
	return none, e.err
}

// wait unlocks, and gives the result of the running fetch.
func (c *Cache[T]) wait(ctx context.Context, e *entry[T]) (T, error) {
	flight := e.flight
	c.mu.Unlock()
	select {
	case <-flight:
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.result(e, c.cfg.Now())
}

// start begins a fetch, which outlives the caller that it begins for: others wait
// for it too.
func (c *Cache[T]) start(ctx context.Context, name string, e *entry[T], now time.Time) {
	if c.closed {
		return
	}
	ctx, e.cancel = context.WithCancel(context.WithoutCancel(ctx))
	e.flight, e.tried = make(chan struct{}), now
	c.flights.Go(func() {
		value, age, err := c.cfg.Fetch(ctx, name)
		c.mu.Lock()
		defer c.mu.Unlock()
		e.cancel()
		if e.err = err; err == nil {
			if age < 0 {
				age = c.cfg.Unsaid
			}
			e.value, e.has, e.fetched = value, true, now
			e.expires = now.Add(min(max(age, c.cfg.Least), c.cfg.Most))
		}
		close(e.flight)
		e.flight = nil
	})
}

// entry finds or makes the entry of a name. Of too many the one goes that was fetched
// the longest time ago.
func (c *Cache[T]) entry(name string) *entry[T] {
	e, ok := c.entries[name]
	if ok {
		return e
	}
	if len(c.entries) >= c.cfg.Size {
		oldest := ""
		for n, e := range c.entries {
			if e.flight == nil && (oldest == "" || e.tried.Before(c.entries[oldest].tried)) {
				oldest = n
			}
		}
		delete(c.entries, oldest)
	}
	e = &entry[T]{}
	c.entries[name] = e
	return e
}

// A Memory has verdicts until they no longer hold, and forgets some earlier when
// there are too many: those that were not asked for the longest. It is for many
// goroutines.
type Memory[K comparable, V any] struct {
	size int

	mu       sync.Mutex
	new, old map[K]verdict[V] // new has at most half of size
}

type verdict[V any] struct {
	value V
	until time.Time
}

// NewMemory makes a memory of a number of verdicts.
func NewMemory[K comparable, V any](size int) *Memory[K, V] {
	return &Memory[K, V]{size: size, new: map[K]verdict[V]{}}
}

// Get gives the verdict on k, if there is one that holds now.
func (m *Memory[K, V]) Get(k K, now time.Time) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.new[k]
	if !ok {
		if v, ok = m.old[k]; ok {
			delete(m.old, k)
			m.put(k, v)
		}
	}
	if !ok || now.After(v.until) {
		var none V
		return none, false
	}
	return v.value, true
}

// Put remembers a verdict that holds until a time.
func (m *Memory[K, V]) Put(k K, value V, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.old, k)
	m.put(k, verdict[V]{value, until})
}

func (m *Memory[K, V]) put(k K, v verdict[V]) {
	if len(m.new) >= m.size/2 {
		m.old, m.new = m.new, map[K]verdict[V]{}
	}
	m.new[k] = v
}
