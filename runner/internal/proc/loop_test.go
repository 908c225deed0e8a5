package proc

import (
	"encoding/binary"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

func openLoop(tb testing.TB) *loop {
	tb.Helper()
	l, err := newLoop()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(l.close)
	return l
}

func eventfd(tb testing.TB) int {
	tb.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		tb.Fatal(err)
	}
	return fd
}

func set(tb testing.TB, fd int) {
	tb.Helper()
	if _, err := unix.Write(fd, binary.NativeEndian.AppendUint64(nil, 1)); err != nil {
		tb.Error(err)
	}
}

// Many who add, are called and remove at the same time lose no event and leave
// nothing.
func TestLoopChurn(t *testing.T) {
	leavesNothing(t)
	l := openLoop(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				fd := eventfd(t)
				var calls atomic.Int32
				called := make(chan struct{})
				key, err := l.add(fd, unix.EPOLLIN, func(uint32) {
					if calls.Add(1) == 1 {
						close(called)
					}
				})
				if err != nil {
					t.Error(err)
				}
				set(t, fd)
				<-called
				l.remove(key, fd)
				l.remove(key, fd) // a second one does nothing
				unix.Close(fd)
			}
		})
	}
	wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.handlers) != 1 {
		t.Errorf("%d handlers are left, want that of the wake-up", len(l.handlers))
	}
}

// An event that is in flight when its registration ends does not reach the next
// owner of the descriptor.
func TestLoopReuse(t *testing.T) {
	leavesNothing(t)
	l := openLoop(t)
	a, b := eventfd(t), eventfd(t)
	defer unix.Close(a)
	defer unix.Close(b)
	var keys [2]uint64
	fresh := make(chan struct{})
	var removed, wrong bool // of the loop's goroutine
	// Whoever of the two comes first replaces the other by one that is not ready.
	replace := func(self, fd, other int) func(uint32) {
		return func(uint32) {
			if removed {
				wrong = true
				return
			}
			removed = true
			l.remove(keys[self], fd)
			l.remove(keys[1-self], other)
			unix.Close(other)
			next := eventfd(t)
			if next != other {
				if err := unix.Dup3(next, other, unix.O_CLOEXEC); err != nil {
					t.Error(err)
				}
				unix.Close(next)
			}
			if _, err := l.add(other, unix.EPOLLIN|unix.EPOLLONESHOT, func(uint32) { close(fresh) }); err != nil {
				t.Error(err)
			}
			l.call(func() { set(t, other) }) // after all that was in flight
		}
	}
	armed := make(chan struct{})
	l.call(func() { // while the loop is here both become ready
		defer close(armed)
		var err error
		if keys[0], err = l.add(a, unix.EPOLLIN, replace(0, a, b)); err != nil {
			t.Error(err)
		}
		if keys[1], err = l.add(b, unix.EPOLLIN, replace(1, b, a)); err != nil {
			t.Error(err)
		}
		set(t, a)
		set(t, b)
	})
	<-armed
	<-fresh
	done := make(chan struct{})
	l.call(func() { close(done) })
	<-done
	if wrong {
		t.Error("the event of a registration that had ended was delivered")
	}
}

// Calls are made in their order, all of them, and none after the close.
func TestLoopCalls(t *testing.T) {
	leavesNothing(t)
	for range 50 {
		l, err := newLoop()
		if err != nil {
			t.Fatal(err)
		}
		var made []int // of the loop's goroutine until the close
		var asked int
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range 100 {
				if !l.call(func() { made = append(made, i) }) {
					break
				}
				asked++
			}
		})
		l.call(func() { l.call(func() {}) })
		l.close()
		wg.Wait()
		if len(made) != asked {
			t.Errorf("%d calls were made of %d", len(made), asked)
		}
		for i, got := range made {
			if got != i {
				t.Fatalf("call %d was number %d", i, got)
			}
		}
		if l.call(func() { t.Error("called after the close") }) {
			t.Error("call after the close says that it will be made")
		}
	}
}

// A call that was accepted is made, also where the close comes before it.
func TestLoopCallThenClose(t *testing.T) {
	leavesNothing(t)
	l := openLoop(t)
	busy, free := make(chan struct{}), make(chan struct{})
	l.call(func() { close(busy); <-free })
	<-busy
	made := false
	if !l.call(func() { made = true }) {
		t.Error("call says that it will not be made")
	}
	closed := make(chan struct{})
	go func() { l.close(); close(closed) }()
	for l.call(func() {}) { // until the close has begun
		runtime.Gosched()
	}
	close(free)
	<-closed
	if !made {
		t.Error("the call was not made")
	}
}

// A loop that is closed is nobody's any more, whatever its numbers are now.
func TestLoopClosed(t *testing.T) {
	leavesNothing(t)
	l := openLoop(t)
	fd := eventfd(t)
	defer unix.Close(fd)
	key, err := l.add(fd, unix.EPOLLIN, func(uint32) {})
	if err != nil {
		t.Fatal(err)
	}
	l.close()
	other := openLoop(t) // with the same descriptors
	called := make(chan struct{})
	if _, err := other.add(fd, unix.EPOLLIN|unix.EPOLLONESHOT, func(uint32) { close(called) }); err != nil {
		t.Fatal(err)
	}
	l.remove(key, fd)
	if _, err := l.add(fd, unix.EPOLLIN, func(uint32) {}); err == nil {
		t.Error("add after the close is no error")
	}
	l.close()
	set(t, fd)
	<-called
}

// What the kernel does not watch is an error, and no handler is kept.
func TestLoopRefuses(t *testing.T) {
	leavesNothing(t)
	l := openLoop(t)
	for _, fd := range []int{-1, 1 << 20} {
		if key, err := l.add(fd, unix.EPOLLIN, func(uint32) {}); err == nil {
			t.Errorf("add(%d) = %d", fd, key)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.handlers) != 1 {
		t.Errorf("%d handlers are left", len(l.handlers))
	}
}
