package zmq

import (
	"net"
	"os"

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
