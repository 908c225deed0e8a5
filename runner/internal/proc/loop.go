package proc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// A loop is an epoll instance and the one goroutine that waits on it. Handlers
// run in that goroutine, one at a time.
type loop struct {
	epfd, wake int
	done       chan struct{}

	mu       sync.Mutex
	last     uint64 // keys are never used twice: an event in flight cannot reach a later owner of its descriptor
	handlers map[uint64]func(events uint32)
	calls    []func()
	closed   bool
}

func newLoop() (*loop, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epfd)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	l := &loop{epfd: epfd, wake: wake, done: make(chan struct{}), handlers: map[uint64]func(uint32){}}
	if _, err := l.add(wake, unix.EPOLLIN, l.woken); err != nil {
		unix.Close(epfd)
		unix.Close(wake)
		return nil, err
	}
	go l.run()
	return l, nil
}

// add calls handle from the loop's goroutine whenever one of events holds for
// fd. The key names the registration.
func (l *loop) add(fd int, events uint32, handle func(events uint32)) (key uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	key = l.last
	l.handlers[key] = handle
	ev := unix.EpollEvent{Events: events, Fd: int32(uint32(key)), Pad: int32(uint32(key >> 32))}
	if err := unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		delete(l.handlers, key)
		return 0, fmt.Errorf("epoll_ctl: %w", err)
	}
	return key, nil
}

// remove ends a registration; the caller closes fd afterwards.
func (l *loop) remove(key uint64, fd int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.handlers[key] == nil {
		return
	}
	delete(l.handlers, key)
	// The descriptor is open and registered: nothing can go wrong that matters,
	// and an event in flight finds no handler.
	_ = unix.EpollCtl(l.epfd, unix.EPOLL_CTL_DEL, fd, nil)
}

// call runs f in the loop's goroutine, after what is being handled, or reports
// that it never will: the loop is closed.
func (l *loop) call(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.calls = append(l.calls, f)
	l.kick()
	return true
}

func (l *loop) kick() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	// An eventfd refuses a write only when its counter is full: it is readable
	// then, which is all that is wanted.
	_, _ = unix.Write(l.wake, one[:])
}

func (l *loop) woken(uint32) {
	var buf [8]byte
	_, _ = unix.Read(l.wake, buf[:]) // EAGAIN: somebody's kick was already answered
	l.catchUp()
}

// catchUp makes the calls that were asked for.
func (l *loop) catchUp() {
	l.mu.Lock()
	calls := l.calls
	l.calls = nil
	l.mu.Unlock()
	for _, f := range calls {
		f()
	}
}

func (l *loop) run() {
	defer close(l.done)
	var events [64]unix.EpollEvent
	for {
		n, err := unix.EpollWait(l.epfd, events[:], -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			panic(fmt.Sprintf("epoll_wait: %v", err)) // EBADF, EFAULT, EINVAL: a bug here
		}
		for _, ev := range events[:max(n, 0)] {
			l.mu.Lock()
			handle := l.handlers[uint64(uint32(ev.Fd))|uint64(uint32(ev.Pad))<<32]
			l.mu.Unlock()
			if handle != nil {
				handle(ev.Events)
			}
		}
		l.mu.Lock()
		closed := l.closed
		l.mu.Unlock()
		if closed {
			l.catchUp() // somebody may wait for them
			return
		}
	}
}

// close ends the goroutine and waits for it; a second one does nothing. It must
// not be called from a handler.
func (l *loop) close() {
	l.mu.Lock()
	again := l.closed
	if !again {
		l.closed = true
		l.kick()
	}
	l.mu.Unlock()
	<-l.done
	l.mu.Lock()
	defer l.mu.Unlock()
	if !again {
		unix.Close(l.epfd)
		unix.Close(l.wake)
		l.epfd = -1 // for an add or a remove that comes too late
	}
}
