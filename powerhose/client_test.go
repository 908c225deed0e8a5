package powerhose

import (
	"errors"
	"testing"
	"time"

	"appbundle/internal/zmq"
)

// A call that finds a link which has ended, before the client has noticed, waits for
// the next one as it does where there is none.
func TestLinkThatHasJustEnded(t *testing.T) {
	m := newMaster(t, MasterConfig{})
	to, err := remoteOf(m.Address(), nil)
	if err != nil {
		t.Fatal(err)
	}
	dial := func() *zmq.Link {
		l, err := zmq.Dial(t.Context(), to.endpoint, to.dial(links(zmq.TypeDealer, maxBody, 1, nil)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(l.Close)
		return l
	}
	c := &client{master: to, change: make(chan struct{}), calls: map[uint64]*reply{}}
	old, next := dial(), dial()
	c.welcome(old, maxBody)
	old.Close()
	const wait = 20 * time.Millisecond
	began := time.Now()
	if _, _, err := c.send(t.Context(), replies.Get().(*reply), nil, &Call{BusyWait: wait}); err == nil || !errors.Is(err, ErrNoMaster) || time.Since(began) < wait {
		t.Errorf("%v after %v, want %v after %v", err, time.Since(began), ErrNoMaster, wait)
	}

	c.welcome(old, maxBody)
	type sent struct {
		link *zmq.Link
		err  *Error
	}
	done := make(chan sent, 1)
	go func() {
		l, _, err := c.send(t.Context(), replies.Get().(*reply), nil, &Call{BusyWait: patience})
		done <- sent{l, err}
	}()
	until(t, "the end of the link", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.link == nil
	})
	c.welcome(next, maxBody)
	if got := <-done; got.link != next || got.err != nil {
		t.Errorf("send = %v, %v, want the next link", got.link, got.err)
	}
}
