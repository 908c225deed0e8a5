package proc

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"appbundle/schema"
)

// socketDir makes a directory with a short path: a socket's may have 107 bytes.
func socketDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "ab")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func unixSocket(kind, path string) schema.Socket {
	return schema.Socket{Name: "web", Type: kind, Path: path, Umask: -1, Backlog: 16}
}

var networks = map[string]string{"stream": "unix", "dgram": "unixgram", "seqpacket": "unixpacket"}

// A Unix socket of each type: it answers, has its mode, replaces what nobody
// listens on and nothing else, and goes with its Listener.
func TestListenUnix(t *testing.T) {
	for kind, network := range networks {
		t.Run(kind, func(t *testing.T) {
			leavesNothing(t)
			l := newLab(t, false)
			path := filepath.Join(socketDir(t), "s")
			first, err := l.Listen(unixSocket(kind, path))
			if err != nil {
				t.Fatal(err)
			}
			checkSocket(t, first, 0o660)
			if conn, err := net.Dial(network, path); err != nil {
				t.Error(err)
			} else {
				conn.Close()
			}
			want := fmt.Sprintf("socket %q: %s: somebody listens there", "web", path)
			if second, err := l.Listen(unixSocket(kind, path)); err == nil || err.Error() != want {
				t.Errorf("Listen on a live one = %v, %v, want %s", second, err, want)
			}
			unix.Close(first.FD) // as its end does: the file is stale
			c := unixSocket(kind, path)
			c.Umask = 0o022
			second, err := l.Listen(c)
			if err != nil {
				t.Fatal(err)
			}
			checkSocket(t, second, 0o755)
			c.Replace, c.Umask = true, 0
			third, err := l.Listen(c) // although the second lives
			if err != nil {
				t.Fatal(err)
			}
			checkSocket(t, third, 0o777)
			second.Close()
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("the end of the second took the third's file: %v", err)
			}
			third.Close()
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the file is still there: %v", err)
			}
		})
	}
}

func checkSocket(tb testing.TB, l *Listener, mode os.FileMode) {
	tb.Helper()
	fi, err := os.Lstat(l.Addr())
	if err != nil {
		tb.Fatal(err)
	}
	if fi.Mode() != os.ModeSocket|mode {
		tb.Errorf("%s has mode %s, want %s", l.Addr(), fi.Mode(), mode)
	}
	fdFlags, err1 := unix.FcntlInt(uintptr(l.FD), unix.F_GETFD, 0)
	flags, err2 := unix.FcntlInt(uintptr(l.FD), unix.F_GETFL, 0)
	if err1 != nil || err2 != nil || fdFlags&unix.FD_CLOEXEC == 0 || flags&unix.O_NONBLOCK == 0 {
		tb.Errorf("its descriptor has flags %#x and %#x (%v, %v)", fdFlags, flags, err1, err2)
	}
}

// A live socket of another type is nobody's to replace, nor is what is no
// socket.
func TestListenRefused(t *testing.T) {
	leavesNothing(t)
	l := newLab(t, false)
	dir := socketDir(t)
	live, err := l.Listen(unixSocket("stream", filepath.Join(dir, "live")))
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", link); err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(dir, strings.Repeat("x", maxSocketPath-len(dir)-1))
	replace := func(s schema.Socket) schema.Socket { s.Replace = true; return s }
	for _, tt := range []struct {
		name string
		s    schema.Socket
		want string
	}{
		{"another type", unixSocket("dgram", live.Addr()), "protocol wrong type for socket"},
		{"a file", unixSocket("stream", file), file + " is there and is no socket"},
		{"a file, to be replaced", replace(unixSocket("stream", file)), file + " is there and is no socket"},
		{"a link", replace(unixSocket("stream", link)), link + " is there and is no socket"},
		{"no directory", unixSocket("stream", filepath.Join(dir, "none", "s")), "no such file or directory"},
		{"108 bytes", unixSocket("stream", long+"x"), "path of 108 bytes, at most 107 are possible"},
		{"no address", schema.Socket{Name: "web", Type: "stream", Host: "256.0.0.1", Backlog: 1}, "256.0.0.1"},
		{"a port that is taken", takenPort(t, l), "address already in use"},
	} {
		got, err := l.Listen(tt.s)
		if err == nil || !strings.HasPrefix(err.Error(), `socket "web": `) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Listen = %v, %v, want ... %s", tt.name, got, err, tt.want)
		}
	}
	if b, err := os.ReadFile(file); string(b) != "precious" {
		t.Errorf("the file has %q, %v", b, err)
	}
	longest, err := l.Listen(unixSocket("stream", long))
	if err != nil {
		t.Fatalf("a path of 107 bytes: %v", err)
	}
	checkSocket(t, longest, 0o660)
	longest.Close()
}

// takenPort gives a TCP socket that somebody listens on.
func takenPort(tb testing.TB, l *lab) schema.Socket {
	tb.Helper()
	s := schema.Socket{Name: "web", Type: "stream", Host: "127.0.0.1", Backlog: 1}
	taken, err := l.Listen(s)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(taken.Close)
	_, port, err := net.SplitHostPort(taken.Addr())
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := fmt.Sscan(port, &s.Port); err != nil {
		tb.Fatal(err)
	}
	return s
}

// Listen gives the umask back, also where it fails.
func TestListenUmask(t *testing.T) {
	leavesNothing(t)
	l := newLab(t, false)
	before := unix.Umask(0o027)
	defer unix.Umask(before)
	dir := socketDir(t)
	for _, path := range []string{filepath.Join(dir, "s"), filepath.Join(dir, "none", "s")} {
		if s, err := l.Listen(unixSocket("stream", path)); err == nil {
			s.Close()
		}
		if got := unix.Umask(0o027); got != 0o027 {
			t.Errorf("after Listen(%s) the umask is %#o", path, got)
		}
	}
}

// Sockets of the net: a port of the kernel's choice, shared where so_reuseport
// says so, blocking where it says that.
func TestListenNet(t *testing.T) {
	leavesNothing(t)
	l := newLab(t, false)
	for _, kind := range []string{"stream", "dgram"} {
		s := schema.Socket{Name: "web", Type: kind, Host: "127.0.0.1", Backlog: 16, ReusePort: true, Blocking: true}
		first, err := l.Listen(s)
		if err != nil {
			t.Fatal(err)
		}
		_, port, err := net.SplitHostPort(first.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(port, &s.Port); err != nil || s.Port == 0 {
			t.Fatalf("port %q: %v", port, err)
		}
		second, err := l.Listen(s)
		if err != nil {
			t.Fatalf("a second one with so_reuseport: %v", err)
		}
		if flags, err := unix.FcntlInt(uintptr(second.FD), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
			t.Errorf("flags %#x, %v: it does not block", flags, err)
		}
		first.Close()
		second.Close()
	}
}
