package powerhose

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"appbundle/internal/zmq"
	"appbundle/powerhose/internal/wire"
)

// maxPath is the longest path of a Unix socket, in bytes.
const maxPath = 107

// placeOf is the path in an address: PATH, unix:PATH or ipc://PATH.
func placeOf(address string) (string, error) {
	path := address
	for _, prefix := range []string{"ipc://", "unix:"} {
		if rest, ok := strings.CutPrefix(address, prefix); ok {
			path = rest
			break
		}
	}
	switch {
	case isTCP(path):
		return "", fmt.Errorf("%s: give the path of a socket", address)
	case path == "" || path[0] == '@' || strings.IndexByte(path, 0) >= 0:
		return "", fmt.Errorf("address %q: give the path of a socket", address)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if len(path) > maxPath {
		return "", fmt.Errorf("%s: path of %d bytes; a Unix socket's has at most %d", path, len(path), maxPath)
	}
	return path, nil
}

// ownDirectory makes the directory of a socket, or says why it is not one in
// which sockets are ours alone.
func ownDirectory(socket string) error {
	dir := filepath.Dir(socket)
	err := os.Mkdir(dir, 0o700)
	if err == nil || !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if mode := info.Mode(); mode.Perm()&0o022 != 0 && mode&fs.ModeSticky == 0 {
		return fmt.Errorf("%s: others can replace sockets in it (mode %04o); chmod 700 %s", dir, mode.Perm(), dir)
	}
	return nil
}

// checkSocket says whether path can be the socket of a worker that runs as uid.
func checkSocket(path string, uid uint32) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("socket %q is not an absolute path", path)
	}
	if len(path) > maxPath {
		return fmt.Errorf("the path of the socket has %d bytes; a Unix socket's has at most %d", len(path), maxPath)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is not a socket", path)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != uid {
		return fmt.Errorf("socket %s belongs to uid %d, not to %d", path, st.Uid, uid)
	}
	return nil
}

// admit accepts processes of our own user and of those that are named.
func admit(users []uint32) func(zmq.Credentials) error {
	own := uint32(os.Geteuid())
	return func(c zmq.Credentials) error {
		if c.UID != own && !slices.Contains(users, c.UID) {
			return fmt.Errorf("pid %d runs as uid %d, not as %d", c.PID, c.UID, own)
		}
		return nil
	}
}

// maxPending is how many messages may wait for a peer, of whatever length.
const maxPending = 1 << 16

// links is how all links of ours are made.
func links(kind zmq.Type, body int64, window int, users []uint32) zmq.Config {
	return zmq.Config{
		Type:   kind,
		Admit:  admit(users),
		Limits: zmq.Limits{Frames: 2, First: wire.MaxHead, Message: min(wire.MaxHead+body, 1<<31-1)},
		Send:   zmq.Queue{Messages: maxPending, Bytes: int(2 * (body + wire.MaxHead) * int64(window))},
		// What the peer has not read when the link ends it must not start.
		Linger: time.Nanosecond,
	}
}

// decode reads a message: the head, and the body if its type has one.
func decode(m *zmq.Message, h *wire.Head) (body []byte, err error) {
	if err := wire.Decode(m.Frames[0], h); err != nil {
		return nil, err
	}
	frames := 1
	if h.Type.HasBody() {
		frames = 2
	}
	if len(m.Frames) != frames {
		return nil, fmt.Errorf("%s of %d frames; it has %d", h.Type, len(m.Frames), frames)
	}
	if frames == 2 {
		body = m.Frames[1]
	}
	return body, nil
}

// sendHead queues a message without a body.
func sendHead(l *zmq.Link, h *wire.Head) error {
	b, err := h.Append(nil)
	if err != nil {
		return err
	}
	return l.TrySend(b)
}
