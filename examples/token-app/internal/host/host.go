// Package host is the agreement between a process and the supervisor that starts
// it: sockets that it is handed open, and a socket at which it says how it is.
//
// Both come through the environment, as systemd has them: LISTEN_FDS, LISTEN_PID
// and LISTEN_FDNAMES, and NOTIFY_SOCKET.
package host

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// firstFD is the first descriptor that may be handed over.
const firstFD = 3

// maxFDs is how many are taken.
const maxFDs = 64

// Sockets are those that were handed over, by their names.
type Sockets struct {
	Names     []string
	Listeners []net.Listener
}

// Inherited takes the sockets that the environment says are handed over, and
// gives nothing where LISTEN_PID is another process: they are not for us.
func Inherited(getenv func(string) string, pid int) (*Sockets, error) {
	s := &Sockets{}
	if getenv("LISTEN_FDS") == "" || getenv("LISTEN_PID") != strconv.Itoa(pid) {
		return s, nil
	}
	n, err := strconv.Atoi(getenv("LISTEN_FDS"))
	if err != nil || n < 0 || n > maxFDs {
		return nil, fmt.Errorf("LISTEN_FDS=%q is not a number from 0 to %d", getenv("LISTEN_FDS"), maxFDs)
	}
	names := strings.Split(getenv("LISTEN_FDNAMES"), ":")
	for i := range n {
		name := ""
		if i < len(names) {
			name = names[i]
		}
		f := os.NewFile(uintptr(firstFD+i), name)
		l, err := net.FileListener(f) // a copy, closed on exec
		f.Close()
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("descriptor %d, which LISTEN_FDS hands over, is not a socket that listens: %w", firstFD+i, err)
		}
		s.Names = append(s.Names, name)
		s.Listeners = append(s.Listeners, l)
	}
	return s, nil
}

// Take removes and gives the sockets with a name.
func (s *Sockets) Take(name string) []net.Listener {
	var taken, rest []net.Listener
	var names []string
	for i, l := range s.Listeners {
		if s.Names[i] == name {
			taken = append(taken, l)
			continue
		}
		rest, names = append(rest, l), append(names, s.Names[i])
	}
	s.Listeners, s.Names = rest, names
	return taken
}

// Close closes them.
func (s *Sockets) Close() {
	for _, l := range s.Listeners {
		l.Close()
	}
}

// maxSocketPath is what a Unix socket's path may have.
const maxSocketPath = 107

// Listen listens at HOST:PORT or unix:PATH. A socket file that nobody listens at
// any more is replaced.
func Listen(address string) (net.Listener, error) {
	path, ok := strings.CutPrefix(address, "unix:")
	if !ok {
		return net.Listen("tcp", address)
	}
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("%s: the path of a socket has %d bytes at most, and this one %d", path, maxSocketPath, len(path))
	}
	l, err := net.Listen("unix", path)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return l, err
	}
	info, err := os.Lstat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil {
		if info.Mode().Type() != fs.ModeSocket {
			return nil, fmt.Errorf("%s: there is a file that is no socket; remove it", path)
		}
		nc, err := net.DialTimeout("unix", path, time.Second)
		if err == nil {
			nc.Close()
			return nil, fmt.Errorf("%s: somebody listens there already", path)
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return net.Listen("unix", path)
}

// Notify tells the supervisor something, such as READY=1. Where there is none,
// or it does not listen, nothing is said.
func Notify(socket, text string) {
	if socket == "" {
		return
	}
	if strings.HasPrefix(socket, "@") {
		socket = "\x00" + socket[1:]
	}
	nc, err := net.Dial("unixgram", socket)
	if err != nil {
		return
	}
	defer nc.Close()
	_, _ = nc.Write([]byte(text))
}
