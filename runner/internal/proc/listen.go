package proc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"appbundle/schema"
)

// maxSocketPath is the size of sun_path less its final NUL (unix(7)).
const maxSocketPath = 107

// ErrLongPath says that a socket's path does not fit; the user of Listen knows
// what makes it so long.
var ErrLongPath = fmt.Errorf("at most %d are possible", maxSocketPath)

// A Listener is a bound socket that children inherit.
type Listener struct {
	Name string
	FD   int
	path string // of a Unix socket's file, "" for none
	ino  uint64 // of that file
	addr net.Addr
}

// Addr is what it is bound to.
func (l *Listener) Addr() string { return l.addr.String() }

// Listen binds s. A Unix socket's file that nobody listens on any more is
// replaced; one that somebody does listen on is an error, unless s says
// Replace. The descriptor is not inherited by chance: it is close-on-exec.
func (s *System) Listen(c schema.Socket) (*Listener, error) {
	s.mu.Lock() // the umask is the whole process': nobody may fork while it is another
	defer s.mu.Unlock()
	network, address := socketAddress(c)
	if c.Path != "" {
		if len(c.Path) > maxSocketPath {
			return nil, fmt.Errorf("socket %q: path of %d bytes, %w", c.Name, len(c.Path), ErrLongPath)
		}
		if err := clearStale(c, network); err != nil {
			return nil, fmt.Errorf("socket %q: %w", c.Name, err)
		}
		umask := c.Umask
		if umask < 0 {
			umask = 0o117
		}
		defer unix.Umask(unix.Umask(umask))
	}
	l := &Listener{Name: c.Name, FD: -1, path: c.Path}
	if err := l.bind(c, network, address); err != nil {
		return nil, fmt.Errorf("socket %q: %w", c.Name, err)
	}
	return l, nil
}

func socketAddress(c schema.Socket) (network, address string) {
	if c.Path != "" {
		return map[string]string{"stream": "unix", "dgram": "unixgram", "seqpacket": "unixpacket"}[c.Type], c.Path
	}
	network = map[string]string{"stream": "tcp", "dgram": "udp"}[c.Type]
	if c.IPv6 {
		network += "6"
	}
	return network, net.JoinHostPort(c.Host, strconv.Itoa(c.Port))
}

// clearStale removes a socket file that nobody answers on.
func clearStale(c schema.Socket, network string) error {
	fi, err := os.Lstat(c.Path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if fi.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s is there and is no socket", c.Path)
	}
	if !c.Replace {
		if conn, err := net.Dial(network, c.Path); err == nil {
			conn.Close()
			return fmt.Errorf("%s: somebody listens there", c.Path)
		} else if !errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
	}
	return os.Remove(c.Path)
}

// bind makes the socket through package net, which knows addresses, and keeps
// a descriptor of its own.
func (l *Listener) bind(c schema.Socket, network, address string) error {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		if !c.ReusePort {
			return nil
		}
		var err error
		if ctlErr := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}); ctlErr != nil {
			return ctlErr
		}
		return err
	}}
	var sock syscall.Conn
	if c.Type == "dgram" {
		pc, err := lc.ListenPacket(context.Background(), network, address)
		if err != nil {
			return err
		}
		defer pc.Close()
		l.addr, sock = pc.LocalAddr(), pc.(syscall.Conn)
	} else {
		nl, err := lc.Listen(context.Background(), network, address)
		if err != nil {
			return err
		}
		defer nl.Close()
		if u, ok := nl.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		l.addr, sock = nl.Addr(), nl.(syscall.Conn)
	}
	raw, err := sock.SyscallConn()
	if err != nil {
		return err
	}
	if ctlErr := raw.Control(func(fd uintptr) { err = l.keep(int(fd), c) }); ctlErr != nil {
		return ctlErr
	}
	return err
}

func (l *Listener) keep(fd int, c schema.Socket) error {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return err
	}
	err = unix.SetNonblock(own, !c.Blocking)
	if err == nil && c.Type != "dgram" {
		err = unix.Listen(own, c.Backlog) // once more: net knows no backlog
	}
	if err == nil && l.path != "" {
		var st unix.Stat_t
		err = unix.Lstat(l.path, &st)
		l.ino = st.Ino
	}
	if err != nil {
		unix.Close(own)
		return err
	}
	l.FD = own
	return nil
}

// Close closes the socket and removes its file, if it is still that file.
func (l *Listener) Close() {
	unix.Close(l.FD)
	var st unix.Stat_t
	if l.path != "" && unix.Lstat(l.path, &st) == nil && st.Ino == l.ino {
		_ = os.Remove(l.path)
	}
}
