package zmq

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// unixCredentials reads SO_PEERCRED.
func unixCredentials(nc *net.UnixConn) (Credentials, error) {
	raw, err := nc.SyscallConn()
	if err != nil {
		return Credentials{}, err
	}
	var u *unix.Ucred
	var callErr error
	err = raw.Control(func(fd uintptr) {
		u, callErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err == nil {
		err = os.NewSyscallError("getsockopt", callErr)
	}
	if err != nil {
		return Credentials{}, err
	}
	return Credentials{Network: "unix", PID: int(u.Pid), UID: u.Uid, GID: u.Gid}, nil
}

// A nowait asks a connection for what it can do without waiting. One goroutine at
// a time may use it.
type nowait struct {
	raw  syscall.RawConn
	b    []byte
	n    int
	err  error
	set  [1]unix.PollFd
	try  func(fd uintptr) bool
	poll func(fd uintptr)
}

// writesNow is nil where that is not possible.
func writesNow(nc net.Conn) *nowait {
	c, ok := nc.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	w := &nowait{raw: raw}
	w.try = func(fd uintptr) bool {
		w.n, w.err = unix.Write(int(fd), w.b)
		return true
	}
	w.poll = func(fd uintptr) {
		w.set[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
		w.n, w.err = unix.Poll(w.set[:], 0)
	}
	return w
}

// arrived reports whether there is something to read, or the end. Where that
// cannot be asked it is false.
func (w *nowait) arrived() bool {
	return w != nil && w.raw.Control(w.poll) == nil && w.err == nil && w.n > 0
}

// write gives how many bytes the kernel took.
func (w *nowait) write(b []byte) (int, error) {
	w.b = b
	err := w.raw.Write(w.try)
	w.b = nil
	switch {
	case err != nil:
		return 0, err
	case w.err == unix.EAGAIN || w.err == unix.EINTR:
		return 0, nil
	case w.err != nil:
		return 0, os.NewSyscallError("write", w.err)
	}
	return w.n, nil
}
