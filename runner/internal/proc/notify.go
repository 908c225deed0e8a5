package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// maxNotify is the size of the longest notification that is read, in bytes.
const maxNotify = 4096

// A Notice is one datagram of the sd_notify protocol: the assignments in it, by
// the process that sent it.
type Notice struct {
	Pid  int
	Vars map[string]string
}

// A NotifySocket is where children say READY=1 and the like.
type NotifySocket struct {
	sys  *System
	key  uint64
	path string
	got  func(Notice)

	mu sync.Mutex // guards fd
	fd int        // -1 when it is closed
}

// maxQueued is how many notices are read at an exit; the kernel keeps fewer for
// a socket (net.unix.max_dgram_qlen), and those that come meanwhile may be many.
const maxQueued = 4096

// ListenNotify makes the socket at path, in the place of one that was left
// there, and calls got from the System's loop for each notice. The kernel says
// who sent it (SCM_CREDENTIALS).
func (s *System) ListenNotify(path string, mode os.FileMode, got func(Notice)) (*NotifySocket, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("%s: a socket path of %d bytes, at most %d are possible; choose a shorter run directory", path, len(path), maxSocketPath)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	n := &NotifySocket{sys: s, fd: fd, path: path, got: got}
	if err := n.open(mode); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notify = n
	return n, nil
}

func (n *NotifySocket) open(mode os.FileMode) error {
	if err := unix.SetsockoptInt(n.fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		return err
	}
	if err := unix.Bind(n.fd, &unix.SockaddrUnix{Name: n.path}); err != nil {
		return err
	}
	if err := os.Chmod(n.path, mode); err != nil {
		return err
	}
	key, err := n.sys.loop.add(n.fd, unix.EPOLLIN, func(uint32) { n.read() })
	n.key = key
	return err
}

// drain hears what was said before an exit, for the exit may be seen first. The
// process is not reaped yet: its number is no other's.
func (n *NotifySocket) drain() {
	for range maxQueued {
		if !n.read() {
			return
		}
	}
}

// read hears one notice; false says that there was none. Only the System's loop
// calls it, so that notices keep their order.
func (n *NotifySocket) read() bool {
	pid, vars, ok := n.receive()
	if pid != 0 {
		n.got(Notice{Pid: pid, Vars: vars})
	}
	return ok
}

// receive takes a datagram from the socket; one that is no notice has the pid 0.
func (n *NotifySocket) receive() (pid int, vars map[string]string, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var buf [maxNotify]byte
	oob := make([]byte, unix.CmsgSpace(unix.SizeofUcred)+unix.CmsgSpace(16*4))
	size, oobn, flags, _, err := unix.Recvmsg(n.fd, buf[:], oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil { // it is empty, or closed
		return 0, nil, false
	}
	pid = sender(oob[:oobn])
	if pid == 0 || flags&unix.MSG_TRUNC != 0 {
		return 0, nil, true
	}
	return pid, parseNotice(buf[:size]), true
}

// sender gives the pid in the control messages. Descriptors that a hostile
// child sends along are closed.
func sender(oob []byte) (pid int) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0
	}
	for _, m := range msgs {
		if cred, err := unix.ParseUnixCredentials(&m); err == nil {
			pid = int(cred.Pid)
		}
		if fds, err := unix.ParseUnixRights(&m); err == nil {
			for _, fd := range fds {
				unix.Close(fd)
			}
		}
	}
	return pid
}

// parseNotice reads newline-separated NAME=VALUE lines; what is not one is
// passed over, as sd_notify(3) asks of receivers.
func parseNotice(b []byte) map[string]string {
	vars := map[string]string{}
	for line := range strings.Lines(string(b)) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if ok && name != "" {
			vars[name] = value
		}
	}
	return vars
}

// Close removes the socket.
func (n *NotifySocket) Close() {
	n.sys.mu.Lock()
	n.sys.notify = nil
	n.sys.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sys.loop.remove(n.key, n.fd)
	unix.Close(n.fd)
	n.fd = -1
	_ = os.Remove(n.path) // the run directory may be gone already
}

// Leader gives the pid of the process of ours that pid is, or descends from, or
// 0. It follows parents, so it is exact while those live.
func (s *System) Leader(pid int) int {
	for range 64 {
		s.mu.Lock()
		p := s.byPid[pid]
		s.mu.Unlock()
		if p != nil {
			return pid
		}
		st, ok := readStat(pid)
		if !ok || st.ppid <= 1 {
			return 0
		}
		pid = st.ppid
	}
	return 0
}

// SendNotify sends an sd_notify text to the socket of our own supervisor, a path
// or, with a leading @, an abstract name.
func SendNotify(socket, text string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, []byte(text), unix.MSG_NOSIGNAL, &unix.SockaddrUnix{Name: socket}); err != nil {
		return fmt.Errorf("notify %s: %w", socket, err)
	}
	return nil
}
