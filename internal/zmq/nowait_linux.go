package zmq

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"appbundle/internal/invariant"
)

// A nowait asks a connection for what it can do at once, by system calls of which
// the scheduler is not told, since they do not wait. If it were told, each one
// after a pause would wake its monitor thread, which then looks every 20 µs
// whether the call still goes on. One goroutine at a time may use it.
type nowait struct {
	raw    syscall.RawConn
	push   func(fd uintptr) bool // of a Link: for raw.Write
	drain  func(fd uintptr) bool
	get    func(fd uintptr) bool
	poll   func(fd uintptr)
	iovs   [maxVectors]unix.Iovec
	loaded int // of them
	set    [1]unix.PollFd
	never  unix.Timespec
	p      []byte
	n      int
	errno  syscall.Errno
}

// newNowait is nil where that is not possible.
func newNowait(nc net.Conn) *nowait {
	c, ok := nc.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	w := &nowait{raw: raw}
	w.get = func(fd uintptr) bool {
		w.call(unix.SYS_READ, fd, unsafe.Pointer(unsafe.SliceData(w.p)), len(w.p))
		return w.errno != unix.EAGAIN
	}
	w.poll = func(fd uintptr) {
		w.set[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
		n, _, errno := syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&w.set)), 1, uintptr(unsafe.Pointer(&w.never)), 0, 0, 0)
		w.n, w.errno = int(n), errno
	}
	return w
}

func (w *nowait) call(trap, fd uintptr, p unsafe.Pointer, n int) {
	for {
		done, _, errno := syscall.RawSyscall(trap, fd, uintptr(p), uintptr(n))
		if w.n, w.errno = int(done), errno; errno != unix.EINTR {
			return
		}
	}
}

// arrived reports whether there is something to read, or the end. Where that
// cannot be asked it is false.
func (w *nowait) arrived() bool {
	return w != nil && w.raw.Control(w.poll) == nil && w.errno == 0 && w.n > 0
}

// Read is that of the connection.
func (w *nowait) Read(p []byte) (int, error) {
	w.p = p
	err := w.raw.Read(w.get)
	w.p = nil
	switch {
	case err != nil:
		return 0, err
	case w.errno != 0:
		return 0, os.NewSyscallError("read", w.errno)
	case w.n == 0:
		return 0, io.EOF
	}
	if invariant.Enabled {
		order.Lock()
		copy(p[:w.n], p[:w.n])
		order.Unlock()
	}
	return w.n, nil
}

// load notes what the next write is to write.
func (w *nowait) load(chunks []chunk) {
	w.loaded = min(len(chunks), maxVectors)
	for i, c := range chunks[:w.loaded] {
		w.iovs[i].Base = unsafe.SliceData(c.b)
		w.iovs[i].SetLen(len(c.b))
	}
}

// write gives how many bytes the kernel took. That it takes none now is no error.
func (w *nowait) write(fd uintptr) (int, error) {
	size := 0
	for _, v := range w.iovs[:w.loaded] {
		size += int(v.Len)
		if invariant.Enabled {
			look(unsafe.Slice(v.Base, v.Len))
		}
	}
	if w.loaded == 1 {
		w.call(unix.SYS_WRITE, fd, unsafe.Pointer(w.iovs[0].Base), size)
	} else {
		w.call(unix.SYS_WRITEV, fd, unsafe.Pointer(&w.iovs), w.loaded)
	}
	for i := range w.iovs[:w.loaded] {
		w.iovs[i].Base = nil
	}
	switch w.errno {
	case 0:
		return w.n, nil
	case unix.EAGAIN:
		return 0, nil
	}
	return 0, os.NewSyscallError("write", w.errno)
}

// order is for the race detector, which does not see what these system calls do:
// that they read and write memory, and that what is read was written before.
var order sync.Mutex

// look reads b.
func look(b []byte) {
	order.Lock()
	defer order.Unlock()
	var some [4096]byte
	for len(b) > 0 {
		b = b[copy(some[:], b):]
	}
}
