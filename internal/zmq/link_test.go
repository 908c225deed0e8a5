package zmq

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// opened is a link whose peer is raw; the link is served by the test.
func opened(t *testing.T, cfg Config) (*Link, *raw) {
	t.Helper()
	a, b := connPair(t)
	p := newRaw(t, b)
	p.send(greeting(1, "NULL"), readyOf("ROUTER", ""))
	cfg.Type = TypeDealer
	l, err := Open(t.Context(), a, false, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	p.skipGreeting()
	p.command()
	return l, p
}

func serve(l *Link, handle func(*Message)) <-chan error {
	end := make(chan error, 1)
	go func() { end <- l.Serve(handle) }()
	return end
}

// A write that fails stops writing and not reading: what the peer wrote before
// it died arrives, and then the error of the connection.
func TestFailedWriteKeepsReading(t *testing.T) {
	leavesNothing(t)
	l, p := opened(t, Config{})
	var got []string
	first, goOn := make(chan struct{}), make(chan struct{})
	end := serve(l, func(m *Message) {
		got = append(got, string(m.Frames[0]))
		if len(got) == 1 {
			close(first)
			<-goOn // the reader sees the rest after the write has failed
		}
	})
	if err := l.TrySend([]byte("unread")); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(soon(t)); err != nil {
		t.Fatal(err)
	}
	p.send(message("1"), message("2"), message("3"))
	<-first
	p.Conn.Close() // with something unread
	for deadline := time.Now().Add(patience); ; {
		if err := l.Send(soon(t), []byte("job")); err != nil {
			if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("Send to a dead peer = %v", err)
			}
			break
		}
		if err := l.Flush(soon(t)); err == nil && time.Now().After(deadline) {
			t.Fatal("writing to a dead peer never fails")
		}
	}
	close(goOn)
	err := <-end
	if want := []string{"1", "2", "3"}; !slices.Equal(got, want) {
		t.Errorf("received %q, want %q", got, want)
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Serve = %v, want %v", err, syscall.ECONNRESET)
	}
	if n := l.Unsent(); n != 1 {
		t.Errorf("%d messages unsent, want 1", n)
	}
	if err := l.TrySend([]byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("TrySend after Serve = %v", err)
	}
}

// CloseWrite writes what is queued, ends the stream, and goes on reading.
func TestCloseWrite(t *testing.T) {
	leavesNothing(t)
	l, p := opened(t, Config{})
	if err := l.TrySend([]byte("last"), []byte("words")); err != nil {
		t.Fatal(err)
	}
	l.CloseWrite()
	if err := l.TrySend([]byte("x")); err != ErrClosed {
		t.Errorf("TrySend after CloseWrite = %v, want %v", err, ErrClosed)
	}
	got := make(chan string, 1)
	end := serve(l, func(m *Message) { got <- string(m.Frames[0]) })
	all, err := io.ReadAll(p.in)
	if err != nil || !bytes.Equal(all, message("last", "words")) {
		t.Errorf("the peer read %q, %v", all, err)
	}
	p.send(message("answer"))
	if s := <-got; s != "answer" {
		t.Errorf("received %q", s)
	}
	p.Conn.Close()
	if err := <-end; err != nil {
		t.Errorf("Serve = %v", err)
	}
}

// When the peer ends the stream, what is queued is still written to it.
func TestHalfClosedPeer(t *testing.T) {
	leavesNothing(t)
	l, p := opened(t, Config{Linger: patience})
	body := bytes.Repeat([]byte("x"), 1<<20)
	for range 3 {
		if err := l.TrySend(body); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Conn.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	end := serve(l, func(*Message) {})
	for range 3 {
		if _, got := p.frame(); !bytes.Equal(got, body) {
			t.Error("a message arrives changed")
		}
	}
	p.ends()
	if err := <-end; err != nil || l.Unsent() != 0 {
		t.Errorf("Serve = %v, %d unsent", err, l.Unsent())
	}

	// It has Linger to read them.
	l, p = opened(t, Config{Linger: time.Millisecond})
	if err := l.TrySend(body); err != nil {
		t.Fatal(err)
	}
	if err := p.Conn.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := <-serve(l, func(*Message) {}); err != nil || l.Unsent() != 1 {
		t.Errorf("Serve = %v, %d unsent, want 1", err, l.Unsent())
	}
}

// Close ends Serve and whoever waits, also where nobody serves.
func TestCloseLink(t *testing.T) {
	leavesNothing(t)
	l, _ := opened(t, Config{Send: Queue{Messages: 1}})
	end := serve(l, func(*Message) {})
	stuck(t, func() error { return l.TrySend(make([]byte, 1<<20)) })
	waits := make(chan error)
	go func() { waits <- l.Send(context.Background(), []byte("x")) }()
	go func() { waits <- l.Flush(context.Background()) }()
	l.Close()
	if err := <-end; err != nil {
		t.Errorf("Serve = %v", err)
	}
	for range 2 {
		if err := <-waits; err == nil {
			t.Error("what waited for a link that was closed has no error")
		}
	}

	l, _ = opened(t, Config{Send: Queue{Messages: 1}})
	if err := l.TrySend([]byte("x")); err != nil {
		t.Fatal(err)
	}
	go func() { waits <- l.Send(context.Background(), []byte("x")) }()
	l.Close()
	if err := <-waits; err != ErrClosed {
		t.Errorf("Send on a link that nobody served = %v, want %v", err, ErrClosed)
	}
}

// A context ends a handshake, and Flush.
func TestContextEndsHandshake(t *testing.T) {
	leavesNothing(t)
	a, _ := connPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, a, false, Config{Type: TypeDealer}); !errors.Is(err, context.Canceled) {
		t.Errorf("Open = %v", err)
	}
	l, _ := opened(t, Config{})
	if err := l.TrySend([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Flush = %v", err)
	}
	if err := l.TrySend(); err == nil || err.Error() != "a message has at least one frame" {
		t.Errorf("TrySend of nothing = %v", err)
	}
}

// What a link knows of its peer.
func TestPeer(t *testing.T) {
	leavesNothing(t)
	r := newRouter(t, SocketConfig{Config: Config{Identity: "srv"}})
	endpoint := bind(t, r, ipc(t))
	l, err := Dial(t.Context(), endpoint, Config{Type: TypeDealer})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	want := Peer{Credentials: Credentials{Network: "unix", PID: pid, UID: uid, GID: gid}, Type: "ROUTER", Identity: "srv", Minor: 1}
	if got := l.Peer(); got != want {
		t.Errorf("Peer = %+v, want %+v", got, want)
	}
	cfg, events := watched(SocketConfig{})
	r = newRouter(t, cfg)
	endpoint = bind(t, r, ipc(t))
	p := dialRaw(t, endpoint).shake(1, "REQ", "asks")
	p.send(message("", "who am I"))
	want.Type, want.Identity = "REQ", "asks"
	if got := wantText(t, r, "", "who am I").Peer; *got != want {
		t.Errorf("a message of %+v, want %+v", *got, want)
	}
	events.await(t, Up)
	for _, tt := range []struct{ major, minor, want byte }{{3, 0, 0}, {3, 1, 1}, {3, 2, 2}, {4, 0, 1}} {
		p := dialRaw(t, endpoint)
		g := greeting(tt.minor, "NULL")
		g[10] = tt.major
		p.send(g, readyOf("DEALER", ""))
		if got := events.await(t, Up).Peer.Minor; got != int(tt.want) {
			t.Errorf("%d.%d: Minor = %d, want %d", tt.major, tt.minor, got, tt.want)
		}
	}
}

// A greeting that comes byte by byte is one too, and property names have no case.
func TestSlowGreeting(t *testing.T) {
	leavesNothing(t)
	r := newRouter(t, SocketConfig{})
	p := dialRaw(t, bind(t, r, ipc(t)))
	ready := appendCommand(nil, "READY", slices.Concat(property("SOCKET-type", "DEALER"), property("x-other", "?"), property("identity", "slow")))
	for _, b := range slices.Concat(greeting(0, "NULL"), ready, message("hello")) {
		p.send([]byte{b})
	}
	if m := wantText(t, r, "hello"); m.From != "slow" {
		t.Errorf("from %q", m.From)
	}
}

// Who listens is alone, however many come and go at the same time, and the last
// one leaves nothing.
func TestListenInTurn(t *testing.T) {
	leavesNothing(t)
	endpoint := ipc(t)
	path := strings.TrimPrefix(endpoint, "ipc://")
	var listening, had atomic.Int32
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 300 {
				unlock, err := takeLock(path + ".lock")
				if err != nil {
					t.Error(err)
				}
				if unlock == nil {
					runtime.Gosched()
					continue
				}
				if n := listening.Add(1); n != 1 {
					t.Errorf("%d have the lock at one time", n)
				}
				had.Add(1)
				runtime.Gosched()
				listening.Add(-1)
				unlock()
			}
		})
	}
	all.Wait()
	if had.Load() < 100 {
		t.Errorf("only %d have had the lock", had.Load())
	}
	ln, err := Listen(endpoint, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 0 {
		t.Errorf("there is left %v, %v", left, err)
	}
}

// The socket file: its mode, who replaces it, who does not, and who removes it.
func TestBindUnix(t *testing.T) {
	leavesNothing(t)
	endpoint := ipc(t)
	path := strings.TrimPrefix(endpoint, "ipc://")
	ln, err := Listen(endpoint, 0)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("the socket's mode is %v, %v", info.Mode(), err)
	}
	_, err = Listen(endpoint, 0)
	if want := fmt.Sprintf("%s: in use: pid %d listens", path, os.Getpid()); err == nil || err.Error() != want {
		t.Errorf("Listen twice = %v, want %s", err, want)
	}
	// Who has the lock may not listen yet, or not any more.
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	_, err = Listen(endpoint, 0)
	if want := path + ": in use: another process holds s.lock"; err == nil || err.Error() != want {
		t.Errorf("Listen beside the lock = %v, want %s", err, want)
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	if err := ln.Close(); err != nil {
		t.Errorf("Close once more = %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Close the file is there: %v", err)
	}

	// What listens without the lock is found by asking.
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Listen(endpoint, 0)
	if want := path + ": in use: pid "; err == nil || !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), " listens") {
		t.Errorf("Listen where somebody listens = %v", err)
	}
	other.(*net.UnixListener).SetUnlinkOnClose(false)
	other.Close()

	// It left its file: nobody listens there. Somebody else was killed before its
	// socket had its name.
	digest := sha256.Sum256([]byte("s"))
	half := fmt.Sprintf("%s.bind.%x", strings.TrimSuffix(path, "s"), digest[:8])
	if err := os.WriteFile(half, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err = Listen(endpoint, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode() != os.ModeSocket|0o660 {
		t.Errorf("the socket's mode is %v, %v", info.Mode(), err)
	}
	// Somebody's else file stays at Close.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("Close removed a file that is not its own: %v", err)
	}
	_, err = Listen(endpoint, 0)
	if want := path + ": there is something that is not a socket; remove it, or choose another path"; err == nil || err.Error() != want {
		t.Errorf("Listen at a file = %v, want %s", err, want)
	}
	if entries, err := os.ReadDir(strings.TrimSuffix(path, "/s")); err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v, %v, want the file alone", entries, err)
	}
}

// A path of 107 bytes is bound, though the name it is made under is longer.
func TestLongPath(t *testing.T) {
	leavesNothing(t)
	dir := shortDir(t)
	path := dir + "/" + strings.Repeat("s", maxPath-len(dir)-1)
	r := newRouter(t, SocketConfig{})
	works(t, r, bind(t, r, "ipc://"+path))
}

// An inherited descriptor is listened at, and its file is not removed.
func TestInherit(t *testing.T) {
	leavesNothing(t)
	path := shortDir(t) + "/s"
	bound, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	bound.SetUnlinkOnClose(false)
	f, err := bound.File()
	if err != nil {
		t.Fatal(err)
	}
	bound.Close()
	ln, err := Inherit(f)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if want := "ipc://" + path; ln.Endpoint() != want {
		t.Errorf("Endpoint = %s, want %s", ln.Endpoint(), want)
	}
	r, err := NewRouter(SocketConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Accept(ln); err != nil {
		t.Fatal(err)
	}
	works(t, r, ln.Endpoint())
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the file of an inherited socket is removed: %v", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if _, err := Inherit(null); err == nil || !strings.Contains(err.Error(), "is no listening socket") {
		t.Errorf("Inherit(/dev/null) = %v", err)
	}
}

// Links without a socket: the listener's goroutine for each, ended by its context.
func TestListenerServe(t *testing.T) {
	leavesNothing(t)
	ln, err := Listen(ipc(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() {
		served <- ln.Serve(ctx, Config{Type: TypeRouter}, func(l *Link) {
			_ = l.Serve(func(m *Message) {
				if err := l.TrySend(m.Frames...); err != nil {
					t.Error(err)
				}
				m.Release()
			})
		})
	}()
	l, err := Dial(t.Context(), ln.Endpoint(), Config{Type: TypeDealer})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	end := serve(l, func(m *Message) { got <- string(m.Frames[0]); m.Release() })
	if err := l.TrySend([]byte("echo")); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "echo" {
		t.Errorf("echo = %q", s)
	}
	silent := dialRaw(t, ln.Endpoint())
	cancel()
	silent.ends()
	l.CloseWrite()
	if err := <-end; err != nil {
		t.Errorf("Serve = %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Listener.Serve = %v", err)
	}
	if err := ln.Serve(t.Context(), Config{}, nil); err == nil {
		t.Error("Serve without a type = nil")
	}
}
