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

// arrived reports whether there is something to read from a connection, or its
// end. Of one that cannot be asked it is false.
func arrived(nc net.Conn) bool {
	c, ok := nc.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	there := false
	_ = raw.Control(func(fd uintptr) {
		set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(set, 0)
		there = n > 0 && err == nil
	})
	return there
}
