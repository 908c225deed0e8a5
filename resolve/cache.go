package resolve

import (
	"context"
	"errors"
	"sync"
)

// A cache asks the Provider everything once, from a pool of goroutines, and
// keeps the answers for the whole of one run.
type cache struct {
	provider Provider
	slots    chan struct{}

	mu       sync.Mutex
	projects map[string]*future[*Project]
	metadata map[*File]*future[*Metadata]
	// wheels are those that told what a release requires. Other wheels of it are
	// taken to say the same.
	wheels map[*Release]*File

	running sync.WaitGroup
	stop    context.CancelFunc
	// spawn runs f at the side, with a context that ends when the cache is
	// closed; close waits for it.
	spawn func(f func(context.Context))
}

// A future is an answer that comes.
type future[T any] struct {
	done  chan struct{}
	value T
	err   error
}

// newCache makes a cache whose requests end with ctx, and at the latest when it
// is closed.
func newCache(ctx context.Context, p Provider, fetchers int) *cache {
	ctx, stop := context.WithCancel(ctx)
	c := &cache{
		provider: p,
		slots:    make(chan struct{}, fetchers),
		projects: make(map[string]*future[*Project]),
		metadata: make(map[*File]*future[*Metadata]),
		wheels:   make(map[*Release]*File),
		stop:     stop,
	}
	c.spawn = func(f func(context.Context)) {
		c.running.Go(func() { f(ctx) })
	}
	return c
}

// close ends what is still asked, and waits for it.
func (c *cache) close() {
	c.stop()
	c.running.Wait()
}

// ask gives the future of a question and starts it where it is new.
func ask[K comparable, T any](c *cache, m map[K]*future[T], key K, f func(context.Context) (T, error)) *future[T] {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a := m[key]; a != nil {
		return a
	}
	a := &future[T]{done: make(chan struct{})}
	m[key] = a
	c.spawn(func(ctx context.Context) {
		defer close(a.done)
		select {
		case c.slots <- struct{}{}:
			defer func() { <-c.slots }()
			a.value, a.err = f(ctx)
		case <-ctx.Done():
			a.err = context.Cause(ctx)
		}
	})
	return a
}

// wait gives the answer.
func (f *future[T]) wait(ctx context.Context) (T, error) {
	select {
	case <-f.done:
		return f.value, f.err
	default:
	}
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		var zero T
		return zero, context.Cause(ctx)
	}
}

// project asks for a project; a nil one is unknown.
func (c *cache) project(name string) *future[*Project] {
	return ask(c, c.projects, name, func(ctx context.Context) (*Project, error) {
		p, err := c.provider.Project(ctx, name)
		if errors.Is(err, ErrNotFound) {
			return nil, nil
		}
		return p, err
	})
}

// describe asks what a file says of its release.
func (c *cache) describe(name string, r *Release, f *File) *future[*Metadata] {
	if f.Wheel != nil {
		c.mu.Lock()
		if w := c.wheels[r]; w != nil {
			f = w
		}
		c.mu.Unlock()
	}
	return ask(c, c.metadata, f, func(ctx context.Context) (*Metadata, error) {
		return c.provider.Metadata(ctx, name, r, f)
	})
}

// described reports whether it was asked what a file says.
func (c *cache) described(f *File) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.metadata[f] != nil
}

// told records that a wheel told what its release requires.
func (c *cache) told(r *Release, f *File) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.Wheel != nil && c.wheels[r] == nil {
		c.wheels[r] = f
	}
}
