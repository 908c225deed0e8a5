package pypi

import (
	"context"
	"errors"
	"sync"
)

// A memo computes a value once for a key, however many ask at the same time.
// Failures of the world are forgotten, so that whoever asks next may have more
// luck; answers are kept.
type memo[K comparable, V any] struct {
	answer func(error) bool // whether an error is an answer; nil means none is

	mu    sync.Mutex
	calls map[K]*call[V]
}

type call[V any] struct {
	done chan struct{}
	v    V
	err  error
}

func (m *memo[K, V]) do(ctx context.Context, key K, compute func(context.Context) (V, error)) (V, error) {
	for {
		c, mine := m.enter(key)
		if mine {
			m.run(ctx, key, c, compute)
			return c.v, c.err
		}
		select {
		case <-c.done:
		case <-ctx.Done():
			var zero V
			return zero, ctx.Err()
		}
		if !ended(c.err) || ctx.Err() != nil {
			return c.v, c.err
		}
		// Who computed it was called off, and we were not.
	}
}

// enter gives the call for key, and whether the caller is to make it.
func (m *memo[K, V]) enter(key K) (*call[V], bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.calls[key]; c != nil {
		return c, false
	}
	if m.calls == nil {
		m.calls = map[K]*call[V]{}
	}
	c := &call[V]{done: make(chan struct{}), err: errors.New("a panic")}
	m.calls[key] = c
	return c, true
}

// done gives the value of key where it is computed.
func (m *memo[K, V]) done(key K) (v V, ok bool) {
	m.mu.Lock()
	c := m.calls[key]
	m.mu.Unlock()
	if c == nil {
		return v, false
	}
	select {
	case <-c.done:
		return c.v, c.err == nil
	default:
		return v, false
	}
}

func (m *memo[K, V]) run(ctx context.Context, key K, c *call[V], compute func(context.Context) (V, error)) {
	defer close(c.done)
	defer func() {
		if c.err != nil && (m.answer == nil || !m.answer(c.err)) {
			m.mu.Lock()
			delete(m.calls, key)
			m.mu.Unlock()
		}
	}()
	c.v, c.err = compute(ctx)
}

func ended(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
