package guarded

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A source counts its fetches, and gives the number of each until it is broken.
type source struct {
	age  time.Duration
	took time.Duration
	pass func(time.Duration)

	mu      sync.Mutex
	fetches int
	broken  error
}

func (s *source) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetches
}

func (s *source) fails(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = err
}

func (s *source) fetch(ctx context.Context, name string) (string, time.Duration, error) {
	s.mu.Lock()
	s.fetches++
	text, err := fmt.Sprint(name, s.fetches), s.broken
	s.mu.Unlock()
	select {
	case <-time.After(s.took):
	case <-ctx.Done():
		return "", 0, ctx.Err()
	}
	return text, s.age, err
}

// cached runs a test with a cache over a source, in time that the test makes pass.
func cached(t *testing.T, test func(t *testing.T, s *source, c *Cache[string])) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{age: time.Hour, took: time.Second, pass: func(d time.Duration) { time.Sleep(d) }}
		c := NewCache(CacheConfig[string]{
			Fetch: s.fetch, Least: 5 * time.Minute, Most: 24 * time.Hour, Unsaid: time.Hour,
			Stale: 48 * time.Hour, Pause: time.Minute, Size: 2,
		})
		defer c.Close()
		test(t, s, c)
	})
}

func wantGet(t *testing.T, get func(context.Context, string) (string, error), name, want string) {
	t.Helper()
	got, err := get(t.Context(), name)
	if err != nil {
		got = err.Error()
	}
	if got != want {
		t.Errorf("%s = %q, want %q", name, got, want)
	}
}

func TestCacheFresh(t *testing.T) {
	for _, tt := range []struct{ age, fresh time.Duration }{
		{time.Hour, time.Hour},
		{0, 5 * time.Minute},
		{-1, time.Hour},
		{1000 * time.Hour, 24 * time.Hour},
	} {
		cached(t, func(t *testing.T, s *source, c *Cache[string]) {
			s.age = tt.age
			wantGet(t, c.Get, "a", "a1")
			s.pass(tt.fresh - 2*time.Second) // a fetch takes a second, from which on it counts
			wantGet(t, c.Get, "a", "a1")
			synctest.Wait()
			if s.count() != 1 {
				t.Errorf("age %v: fetched again before %v", tt.age, tt.fresh)
			}
			s.pass(2 * time.Second)
			wantGet(t, c.Get, "a", "a1") // and the next is fetched behind the caller's back
			wantGet(t, c.Get, "a", "a1")
			s.pass(2 * time.Second)
			wantGet(t, c.Get, "a", "a2")
			if s.count() != 2 {
				t.Errorf("age %v: %d fetches, want 2", tt.age, s.count())
			}
		})
	}
}

func TestCacheOneFetchAtATime(t *testing.T) {
	cached(t, func(t *testing.T, s *source, c *Cache[string]) {
		done := make(chan string)
		impatient, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		go func() {
			_, err := c.Get(impatient, "a")
			done <- fmt.Sprint(err)
		}()
		synctest.Wait() // the fetch begins for the impatient one
		for range 9 {
			go func() {
				v, _ := c.Get(t.Context(), "a")
				done <- v
			}()
		}
		if got := <-done; got != context.DeadlineExceeded.Error() {
			t.Errorf("the impatient caller got %q", got)
		}
		for range 9 {
			if got := <-done; got != "a1" {
				t.Errorf("Get = %q, want a1", got)
			}
		}
	})
}

func TestCacheFailure(t *testing.T) {
	cached(t, func(t *testing.T, s *source, c *Cache[string]) {
		s.fails(errors.New("broken"))
		wantGet(t, c.Get, "a", "broken")
		s.pass(58 * time.Second)
		wantGet(t, c.Get, "a", "broken")
		if s.count() != 1 {
			t.Errorf("%d fetches within a minute of a failure", s.count())
		}
		s.pass(2 * time.Second)
		s.fails(nil)
		wantGet(t, c.Get, "a", "a2")
	})
}

func TestCacheStale(t *testing.T) {
	cached(t, func(t *testing.T, s *source, c *Cache[string]) {
		wantGet(t, c.Get, "a", "a1")
		s.fails(errors.New("broken"))
		for range 46 {
			s.pass(time.Hour)
			wantGet(t, c.Get, "a", "a1")
			wantGet(t, c.Get, "a", "a1")
		}
		if s.count() < 40 || s.count() > 47 {
			t.Errorf("%d fetches in 46 hours", s.count())
		}
		s.pass(2 * time.Hour)
		wantGet(t, c.Get, "a", "broken")
		s.pass(2 * time.Minute)
		s.fails(nil)
		next := fmt.Sprint("a", s.count()+1)
		wantGet(t, c.Get, "a", next)
	})
}

func TestCacheRefresh(t *testing.T) {
	cached(t, func(t *testing.T, s *source, c *Cache[string]) {
		wantGet(t, c.Refresh, "a", "a1")
		wantGet(t, c.Refresh, "a", "a1")
		s.pass(57 * time.Second)
		wantGet(t, c.Refresh, "a", "a1")
		s.pass(2 * time.Second)
		wantGet(t, c.Refresh, "a", "a2")
		s.pass(time.Minute)
		s.fails(errors.New("broken"))
		wantGet(t, c.Refresh, "a", "a2") // better an old one than none
		wantGet(t, c.Get, "a", "a2")
		if s.count() != 3 {
			t.Errorf("%d fetches, want 3", s.count())
		}
	})
}

func TestCacheSize(t *testing.T) {
	cached(t, func(t *testing.T, s *source, c *Cache[string]) {
		for _, name := range []string{"a", "b", "c"} {
			wantGet(t, c.Get, name, fmt.Sprint(name, s.count()+1))
			s.pass(time.Second)
		}
		wantGet(t, c.Get, "b", "b2")
		wantGet(t, c.Get, "a", "a4") // it was the oldest
		if len(c.entries) != 2 {
			t.Errorf("%d entries, want 2", len(c.entries))
		}
	})
}

func TestCacheClose(t *testing.T) {
	cached(t, func(t *testing.T, s *source, c *Cache[string]) {
		s.took = 24 * time.Hour
		done := make(chan error)
		go func() {
			_, err := c.Get(t.Context(), "a")
			done <- err
		}()
		synctest.Wait()
		begin := time.Now()
		c.Close()
		if err := <-done; !errors.Is(err, context.Canceled) || time.Since(begin) > 0 {
			t.Errorf("the one who waits gets %v after %v", err, time.Since(begin))
		}
		wantGet(t, c.Get, "b", "nothing is fetched any more")
	})
}

func TestMemory(t *testing.T) {
	now := time.Unix(1000, 0)
	m := NewMemory[int, string](100)
	m.Put(1, "one", now)
	if v, ok := m.Get(1, now); !ok || v != "one" {
		t.Errorf("Get = %q, %v at the last moment", v, ok)
	}
	if _, ok := m.Get(1, now.Add(1)); ok {
		t.Error("a verdict holds longer than it should")
	}
	until := now.Add(time.Hour)
	for i := range 1000 {
		m.Put(i, "x", until)
		if _, ok := m.Get(0, now); !ok {
			t.Fatalf("what is asked for is forgotten after %d others", i)
		}
	}
	if n := len(m.new) + len(m.old); n > 100 {
		t.Errorf("%d verdicts, want 100 at most", n)
	}
	if _, ok := m.Get(500, now); ok {
		t.Error("500 later ones did not drive a verdict out")
	}
	if _, ok := m.Get(999, now); !ok {
		t.Error("the last verdict is gone")
	}
}
