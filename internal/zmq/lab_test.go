package zmq

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience is how long a test waits for what must come; it is only there to fail.
const patience = 60 * time.Second

// soon is a context with that patience.
func soon(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	tb.Cleanup(cancel)
	return ctx
}

// leavesNothing fails a test after which a descriptor or a goroutine is left.
func leavesNothing(tb testing.TB) {
	tb.Helper()
	files, goroutines := openFiles(tb), runtime.NumGoroutine()
	tb.Cleanup(func() {
		if now := openFiles(tb); !slices.Equal(now, files) {
			tb.Errorf("open descriptors: %q, want %q as before", now, files)
		}
		// A goroutine that has told others of its end may still be about to return.
		for deadline := time.Now().Add(patience); runtime.NumGoroutine() > goroutines; runtime.Gosched() {
			if time.Now().After(deadline) {
				buf := make([]byte, 1<<20)
				tb.Fatalf("%d goroutines, want %d as before:\n%s", runtime.NumGoroutine(), goroutines, buf[:runtime.Stack(buf, true)])
			}
		}
	})
}

// openFiles lists the descriptors of this process and what they are.
func openFiles(tb testing.TB) []string {
	tb.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		// The directory just read, and the runtime's own, are not ours.
		if err == nil && !strings.HasPrefix(target, "/proc/") && !strings.HasPrefix(target, "anon_inode:") {
			out = append(out, e.Name()+" "+target)
		}
	}
	return out
}

// shortDir is a directory whose name leaves room for a socket's.
func shortDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "zmq")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func ipc(tb testing.TB) string { return "ipc://" + filepath.Join(shortDir(tb), "s") }

// events are what a Monitor was told.
type events chan Event

func (e events) add(event Event) { e <- event }

// await gives the next event of a kind; others before it are left out.
func (e events) await(tb testing.TB, kind EventKind) Event {
	tb.Helper()
	timeout := time.After(patience)
	for {
		select {
		case event := <-e:
			if event.Kind == kind {
				return event
			}
		case <-timeout:
			tb.Fatalf("no event %q", kind)
		}
	}
}

// watched is a configuration that tells its events.
func watched(cfg SocketConfig) (SocketConfig, events) {
	e := make(events, 1000)
	cfg.Monitor = e.add
	return cfg, e
}

// closer closes a socket at the end of a test.
func closer(tb testing.TB, s interface{ Close() error }) {
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("Close = %v", err)
		}
	})
}

func newRouter(tb testing.TB, cfg SocketConfig) *Router {
	tb.Helper()
	s, err := NewRouter(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	closer(tb, s)
	return s
}

func newDealer(tb testing.TB, cfg SocketConfig) *Dealer {
	tb.Helper()
	s, err := NewDealer(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	closer(tb, s)
	return s
}

func newPub(tb testing.TB, cfg SocketConfig) *Pub {
	tb.Helper()
	s, err := NewPub(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	closer(tb, s)
	return s
}

func newSub(tb testing.TB, cfg SocketConfig) *Sub {
	tb.Helper()
	s, err := NewSub(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	closer(tb, s)
	return s
}

type binder interface {
	Bind(string) (string, error)
	Connect(context.Context, string) error
}

func bind(tb testing.TB, s binder, endpoint string) string {
	tb.Helper()
	endpoint, err := s.Bind(endpoint)
	if err != nil {
		tb.Fatal(err)
	}
	return endpoint
}

func connect(tb testing.TB, s binder, endpoint string) {
	tb.Helper()
	if err := s.Connect(soon(tb), endpoint); err != nil {
		tb.Fatal(err)
	}
}

// firstLink is the link of the peer that has been there for longest.
func firstLink(s *socket) *Link {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.members[0].link
}

type receiver interface {
	Recv(context.Context) (*Message, error)
}

func recv(tb testing.TB, s receiver) *Message {
	tb.Helper()
	m, err := s.Recv(soon(tb))
	if err != nil {
		tb.Fatalf("Recv: %v", err)
	}
	return m
}

// wantText receives one message and compares its frames.
func wantText(tb testing.TB, s receiver, want ...string) *Message {
	tb.Helper()
	m := recv(tb, s)
	var got []string
	for _, f := range m.Frames {
		got = append(got, string(f))
	}
	if !slices.Equal(got, want) {
		tb.Fatalf("received %q, want %q", got, want)
	}
	return m
}

// A raw is a peer that sends what a test wants.
type raw struct {
	testing.TB
	net.Conn
	in *bufio.Reader
}

func dialRaw(tb testing.TB, endpoint string) *raw {
	tb.Helper()
	network, address, err := splitEndpoint(endpoint)
	if err != nil {
		tb.Fatal(err)
	}
	nc, err := net.Dial(network, address)
	if err != nil {
		tb.Fatal(err)
	}
	return newRaw(tb, nc)
}

func newRaw(tb testing.TB, nc net.Conn) *raw {
	tb.Helper()
	tb.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		tb.Fatal(err)
	}
	return &raw{tb, nc, bufio.NewReader(nc)}
}

// greeting is one of ZMTP 3.minor.
func greeting(minor byte, mechanism string) []byte {
	b := make([]byte, greetingSize)
	b[0], b[9], b[10], b[11] = 0xff, 0x7f, 3, minor
	copy(b[12:32], mechanism)
	return b
}

// property is one of a READY.
func property(name, value string) []byte {
	b := appendName(nil, name)
	b = binary.BigEndian.AppendUint32(b, uint32(len(value)))
	return append(b, value...)
}

func readyOf(typ, identity string) []byte {
	return appendCommand(nil, "READY", slices.Concat(property("Socket-Type", typ), property("Identity", identity)))
}

func (r *raw) send(parts ...[]byte) {
	r.Helper()
	if _, err := r.Write(slices.Concat(parts...)); err != nil {
		r.Fatalf("write: %v", err)
	}
}

// shake shakes hands with a listener.
func (r *raw) shake(minor byte, typ, identity string) *raw {
	r.Helper()
	r.send(greeting(minor, "NULL"), readyOf(typ, identity))
	r.skipGreeting()
	if name, body := r.command(); name != "READY" {
		r.Fatalf("%s %q where READY has to come", name, body)
	}
	return r
}

func (r *raw) skipGreeting() {
	r.Helper()
	var b [greetingSize]byte
	if _, err := io.ReadFull(r.in, b[:]); err != nil {
		r.Fatalf("greeting: %v", err)
	}
}

// frame reads one frame.
func (r *raw) frame() (flags byte, body []byte) {
	r.Helper()
	flags, n, err := readHeader(r.in)
	if err != nil {
		r.Fatalf("frame: %v", err)
	}
	body = make([]byte, n)
	if _, err := io.ReadFull(r.in, body); err != nil {
		r.Fatalf("frame: %v", err)
	}
	return flags, body
}

// frameStart reads the first byte of a frame.
func (r *raw) frameStart() {
	r.Helper()
	if _, err := r.in.ReadByte(); err != nil {
		r.Fatalf("frame: %v", err)
	}
}

func (r *raw) command() (name string, body []byte) {
	r.Helper()
	flags, b := r.frame()
	if flags&flagCommand == 0 {
		r.Fatalf("message %q where a command has to come", b)
	}
	name, body, err := splitCommand(b)
	if err != nil {
		r.Fatal(err)
	}
	return name, body
}

// ends reads until the connection does.
func (r *raw) ends() {
	r.Helper()
	_, err := io.Copy(io.Discard, r.in)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		r.Fatal("the connection does not end")
	}
}

func frame(flags byte, body string) []byte {
	return append(appendHeader(nil, flags, len(body)), body...)
}

// message is a whole one.
func message(frames ...string) []byte {
	var b []byte
	for i, f := range frames {
		flags := byte(flagMore)
		if i == len(frames)-1 {
			flags = 0
		}
		b = append(b, frame(flags, f)...)
	}
	return b
}

// works fails unless a new peer of the router can talk to it.
func works(tb testing.TB, r *Router, endpoint string) {
	tb.Helper()
	d := newDealer(tb, SocketConfig{})
	connect(tb, d, endpoint)
	want := bytes.Repeat([]byte("still here "), 20)
	if err := d.Send(soon(tb), want); err != nil {
		tb.Fatal(err)
	}
	m := recv(tb, r)
	if err := r.Send(soon(tb), m.From, m.Frames[0]); err != nil {
		tb.Fatal(err)
	}
	if got := recv(tb, d).Frames[0]; !bytes.Equal(got, want) {
		tb.Fatalf("echo = %q, want %q", got, want)
	}
}

var pid, uid, gid = os.Getpid(), uint32(os.Geteuid()), uint32(os.Getegid())
