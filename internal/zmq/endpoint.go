package zmq

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxPath is the longest path of a Unix socket, in bytes: the kernel's sun_path
// without its zero byte.
const maxPath = 107

// splitEndpoint gives network and address of ipc://PATH or tcp://HOST:PORT,
// where * is every address of the host.
func splitEndpoint(endpoint string) (network, address string, err error) {
	scheme, rest, ok := strings.Cut(endpoint, "://")
	switch {
	case ok && scheme == "ipc":
		if len(rest) > maxPath {
			return "", "", fmt.Errorf("%s: path of %d bytes; a Unix socket's has at most %d", endpoint, len(rest), maxPath)
		}
		if rest == "" || rest[0] == '@' {
			return "", "", fmt.Errorf("%s: a Unix socket needs a path; abstract names have no permissions", endpoint)
		}
		return "unix", rest, nil
	case ok && scheme == "tcp":
		host, port, err := net.SplitHostPort(rest)
		if err != nil {
			return "", "", fmt.Errorf("%s: not tcp://HOST:PORT", endpoint)
		}
		if host == "*" {
			host = ""
		}
		return "tcp", net.JoinHostPort(host, port), nil
	}
	return "", "", fmt.Errorf("endpoint %q is neither ipc://PATH nor tcp://HOST:PORT", endpoint)
}

// Dial connects to an endpoint and makes a link. Errors are those of [Open], or
// that nobody listens; each names the endpoint.
func Dial(ctx context.Context, endpoint string, cfg Config) (*Link, error) {
	full, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return dial(ctx, endpoint, full)
}

func dial(ctx context.Context, endpoint string, cfg *Config) (*Link, error) {
	network, address, err := splitEndpoint(endpoint)
	if err != nil {
		return nil, err
	}
	if err := cfg.checkTransport(network, endpoint); err != nil {
		return nil, err
	}
	nc, err := (&net.Dialer{Timeout: cfg.Handshake}).DialContext(ctx, network, address)
	if err == nil {
		var l *Link
		if l, err = open(ctx, nc, false, cfg); err == nil {
			return l, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", endpoint, cause(err))
}

// bindUnix listens at path. Who binds holds the lock of PATH.lock for as long as
// it listens; the socket gets its name when it can be connected to, and takes the
// place of one that nobody listens at. remove takes the file away, if it is still
// ours, and then the lock.
func bindUnix(path string, mode fs.FileMode) (ln *net.UnixListener, remove func(), err error) {
	lock := path + ".lock"
	unlock, err := takeLock(lock)
	if err != nil {
		return nil, nil, err
	}
	if unlock == nil {
		if err := probe(path); err != nil {
			return nil, nil, err // with the pid of who has it
		}
		return nil, nil, fmt.Errorf("%s: in use: another process holds %s", path, filepath.Base(lock))
	}
	defer func() {
		if err != nil {
			unlock()
		}
	}()
	if err := probe(path); err != nil {
		return nil, nil, err
	}

	// A name beside the last one, through the directory's descriptor, for with its
	// directory it may be longer than the kernel takes.
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, nil, err
	}
	defer dir.Close()
	digest := sha256.Sum256([]byte(filepath.Base(path)))
	temporary := fmt.Sprintf("/proc/self/fd/%d/.bind.%x", dir.Fd(), digest[:8])
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err // of who was killed here: we have the lock
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var chmodErr error
		// The file begins with the mode of its socket: it is at no time open to more.
		err := raw.Control(func(fd uintptr) { chmodErr = unix.Fchmod(int(fd), uint32(mode)) })
		return errors.Join(err, chmodErr)
	}}
	bound, err := config.Listen(context.Background(), "unix", temporary)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, cause(err))
	}
	ln = bound.(*net.UnixListener)
	ln.SetUnlinkOnClose(false)
	own, err := os.Lstat(temporary)
	if err == nil {
		err = os.Chmod(temporary, mode)
	}
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		ln.Close()
		_ = os.Remove(temporary)
		return nil, nil, err
	}
	return ln, func() {
		if now, err := os.Lstat(path); err == nil && os.SameFile(own, now) {
			_ = os.Remove(path)
		}
		unlock()
	}, nil
}

// takeLock takes the lock of a file that it makes, and that unlock removes; unlock
// is nil if another process has it. Who opens the file just before it is removed
// locks one that nobody else finds, and makes it anew.
func takeLock(path string) (unlock func(), err error) {
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			if err == unix.EWOULDBLOCK {
				return nil, nil
			}
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		ours, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		isThere := func() bool {
			there, err := os.Lstat(path)
			return err == nil && os.SameFile(ours, there)
		}
		if isThere() {
			return func() {
				if isThere() {
					_ = os.Remove(path) // while it is locked
				}
				f.Close()
			}, nil
		}
		f.Close()
	}
}

// probe is an error unless path is free, or a socket that nobody listens at.
func probe(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s: there is something that is not a socket; remove it, or choose another path", path)
	}
	nc, err := net.DialTimeout("unix", path, time.Second)
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: in use: %w", path, cause(err))
	}
	defer nc.Close()
	if c, err := credentials(nc); err == nil {
		return fmt.Errorf("%s: in use: pid %d listens", path, c.PID)
	}
	return fmt.Errorf("%s: in use", path)
}
