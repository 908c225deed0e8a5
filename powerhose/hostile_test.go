package powerhose

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"appbundle/internal/zmq"
	"appbundle/powerhose/internal/wire"
)

// lines of a master's log.
type logged struct {
	mu  sync.Mutex
	all []string
}

func (l *logged) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, "\n")
}

// A job is answered once, whatever its worker says.
func TestAnswers(t *testing.T) {
	leavesNothing(t)
	m := newMaster(t, MasterConfig{})
	a := newRawWorker(t, m.Address(), "a")
	idle(t, m, 1)
	b := newRawWorker(t, m.Address(), "b")
	idle(t, m, 2)

	// A second answer is dropped, and the link stays.
	for _, body := range []string{"one", "two"} {
		done := later(t.Context(), m, body, Call{})
		w := a
		if body == "two" {
			w = b // the other one has been idle for longer
		}
		job, got := w.work.want(wire.Job)
		if got != body || job.Attempt != 1 || job.Left == 0 || job.Left > 30000 {
			t.Errorf("JOB %+v %q", job, got)
		}
		w.work.send(wire.Head{Type: wire.Result, Number: job.Number, Run: 5}, "first "+body)
		w.work.send(wire.Head{Type: wire.Result, Number: job.Number, Run: 5}, "second "+body)
		if o := want(t, done); o.err != nil || string(o.out) != "first "+body {
			t.Errorf("%q, %v", o.out, o.err)
		}
	}
	until(t, "both second answers", func() bool { return m.Status().Events.Duplicate == 2 })
	idle(t, m, 2)

	// What was given to another one is not ours to answer.
	first := later(t.Context(), m, "A", Call{})
	jobA, body := a.work.want(wire.Job)
	second := later(t.Context(), m, "B", Call{})
	jobB, _ := b.work.want(wire.Job)
	if body != "A" {
		t.Fatalf("a has %q", body)
	}
	a.work.send(wire.Head{Type: wire.Result, Number: jobB.Number}, "not mine")
	if code := a.reg.ends(); code != wire.Broken {
		t.Errorf("a is closed with code %d, want %d", code, wire.Broken)
	}
	a.work.ends()
	if o := want(t, first); !errors.Is(o.err, ErrWorkerLost) {
		t.Errorf("the job of the liar: %v", o.err)
	}
	b.work.send(wire.Head{Type: wire.Result, Number: jobB.Number}, "mine")
	if o := want(t, second); o.err != nil || string(o.out) != "mine" {
		t.Errorf("the job of the other: %q, %v", o.out, o.err)
	}
	if jobA.Number == jobB.Number {
		t.Error("two jobs have one number")
	}

	// Nor is what was never given.
	b.work.send(wire.Head{Type: wire.Result, Number: 4711}, "")
	if code := b.reg.ends(); code != wire.Broken {
		t.Errorf("b is closed with code %d, want %d", code, wire.Broken)
	}
	idle(t, m, 0)
	if s := m.Status(); s.Events.Stray != 2 || s.Events.Broken != 2 {
		t.Errorf("events %+v", s.Events)
	}
}

// A worker without code of ours speaks the whole protocol.
func TestRawWorker(t *testing.T) {
	m := newMaster(t, MasterConfig{Window: 2, Short: time.Hour})
	w := newRawWorker(t, m.Address(), "w")
	if w.welcome.Version != 1 || w.welcome.Window != 2 || w.welcome.Tries != 3 || w.welcome.Period != 5000 || w.welcome.MaxBody != 16<<20 {
		t.Errorf("WELCOME %+v", w.welcome)
	}
	idle(t, m, 1)
	w.reg.send(wire.Head{Type: wire.Ping, Number: 7}, "")
	if pong, _ := w.reg.want(wire.Pong); pong.Number != 7 {
		t.Errorf("PONG of %d", pong.Number)
	}
	done := later(t.Context(), m, "x", Call{})
	job, _ := w.work.want(wire.Job)
	w.work.send(wire.Head{Type: wire.Result, Number: job.Number, Run: 1}, "y")
	want(t, done)

	// CANCEL, RETURNED, DRAIN and BYE.
	ctx, cancel := context.WithCancel(t.Context())
	done = later(ctx, m, "gone", Call{})
	job, _ = w.work.want(wire.Job)
	cancel()
	if o := want(t, done); !errors.Is(o.err, context.Canceled) {
		t.Error(o.err)
	}
	if c, _ := w.work.want(wire.Cancel); c.Number != job.Number {
		t.Errorf("CANCEL of %d", c.Number)
	}
	w.work.send(wire.Head{Type: wire.Error, Number: job.Number, Code: wire.Cancelled, Run: 1}, "")
	done = later(t.Context(), m, "back", Call{BusyWait: patience, Deadline: patience})
	job, _ = w.work.want(wire.Job)
	w.work.send(wire.Head{Type: wire.Drain, Code: wire.MaxJobs}, "")
	w.work.send(wire.Head{Type: wire.Returned, Number: job.Number}, "")
	w.work.send(wire.Head{Type: wire.Bye, Code: wire.MaxJobs}, "")
	if h, _ := w.work.want(wire.Bye); h.Code != wire.Stop {
		t.Errorf("BYE with %d", h.Code)
	}
	w.work.Close()
	w.reg.Close()
	next := newRawWorker(t, m.Address(), "w2")
	job, body := next.work.want(wire.Job)
	if body != "back" || job.Attempt != 1 {
		t.Errorf("the job that came back: %q, attempt %d", body, job.Attempt)
	}
	next.work.send(wire.Head{Type: wire.Result, Number: job.Number}, "done")
	if o := want(t, done); o.err != nil {
		t.Error(o.err)
	}
}

// What is refused, and how.
func TestRefused(t *testing.T) {
	var log logged
	m := newMaster(t, MasterConfig{Log: log.add})
	dir := filepath.Dir(m.Address())
	other := newRawWorker(t, m.Address(), "other")
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	worker := startWorker(t, m.Address(), "process")
	idle(t, m, 2)
	old := hello("v", filepath.Join(dir, "other.sock"))
	old.Lowest, old.Highest = 2, 3
	stale, err := net.Listen("unix", filepath.Join(dir, "stale"))
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	sock, err := net.Listen("unix", filepath.Join(dir, "sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	old.Socket = []byte(filepath.Join(dir, "sock"))
	for _, tt := range []struct {
		name string
		h    wire.Head
		want wire.Code
	}{
		{"another worker's socket", hello("thief", filepath.Join(dir, "process.sock")), wire.BadSocket},
		{"a relative path", hello("r", "sock"), wire.BadSocket},
		{"a path of 200 bytes", hello("l", "/"+strings.Repeat("x", 199)), wire.BadSocket},
		{"a FIFO", hello("f", fifo), wire.BadSocket},
		{"a file that is not there", hello("n", filepath.Join(dir, "nothing")), wire.BadSocket},
		{"a socket at which nobody listens", hello("s", filepath.Join(dir, "stale")), wire.BadSocket},
		{"a version", old, wire.BadVersion},
		{"a name", func() wire.Head {
			h := hello("other", filepath.Join(dir, "sock"))
			h.Incarnation[0]++
			return h
		}(), wire.NameTaken},
		{"no HELLO", wire.Head{Type: wire.Ping, Number: 1}, wire.Malformed},
	} {
		r := rawDial(t, m.Address())
		r.send(tt.h, "")
		if code := r.ends(); code != tt.want {
			t.Errorf("%s: code %d, want %d", tt.name, code, tt.want)
		}
	}
	// The probe of the name: its holder lives.
	if h, _ := other.reg.want(wire.Ping); h.Number == 0 {
		t.Error("PING without a number")
	} else {
		other.reg.send(wire.Head{Type: wire.Pong, Number: h.Number}, "")
	}
	idle(t, m, 2)
	if got := log.String(); !strings.Contains(got, "speaks version 1") || !strings.Contains(got, `a worker with the name "other" is there`) {
		t.Errorf("log:\n%s", got)
	}
	// A worker that is refused for good says so, and ends.
	twin := startWorker(t, m.Address(), "process", "TRIES=1")
	if got := twin.status(); got != 3 && got != 69 { // its socket is taken before it can ask
		t.Errorf("a worker with a name that is taken ends with %d", got)
	}
	worker.kill()
	idle(t, m, 1)
	startWorker(t, m.Address(), "process")
	idle(t, m, 2)
}

// Bytes that are no protocol end one connection, and cost nothing.
func TestHostileBytes(t *testing.T) {
	var log logged
	m := newMaster(t, MasterConfig{Log: log.add, Handshake: 500 * time.Millisecond})
	good := newRawWorker(t, m.Address(), "good")
	idle(t, m, 1)
	long := func(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{2}, n) }
	before := memory()
	for name, b := range map[string][]byte{
		"HTTP":                 []byte("GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: something that is long enough\r\n\r\n"),
		"ZMTP 1":               {0x01, 0x00},
		"PLAIN":                append(greeting("PLAIN"), readyOf("DEALER")...),
		"another type":         append(greeting("NULL"), readyOf("FOO")...),
		"a REQ":                append(greeting("NULL"), readyOf("PUB")...),
		"half a property":      append(greeting("NULL"), 4, 8, 5, 'R', 'E', 'A', 'D', 'Y', 11, 'S'),
		"1 GiB":                append(append(greeting("NULL"), readyOf("DEALER")...), long(1<<30)...),
		"2^62":                 append(append(greeting("NULL"), readyOf("DEALER")...), long(1<<62)...),
		"2^63":                 append(append(greeting("NULL"), readyOf("DEALER")...), long(1<<63)...),
		"2^64-1":               append(append(greeting("NULL"), readyOf("DEALER")...), long(1<<64-1)...),
		"frames without end":   append(append(greeting("NULL"), readyOf("DEALER")...), bytes.Repeat([]byte{1, 1, 'x'}, 1000)...),
		"a head of 1025 bytes": append(append(greeting("NULL"), readyOf("DEALER")...), frameOf(0, make([]byte, 1025))...),
		"no head":              append(append(greeting("NULL"), readyOf("DEALER")...), frameOf(0, []byte("something else"))...),
		"HELLO and a body":     append(append(greeting("NULL"), readyOf("DEALER")...), append([]byte{1}, append(messageOf(t, hello("x", "/x"), "")[1:], 0, 0)...)...),
		"silence":              nil,
		"half a greeting":      greeting("NULL")[:20],
	} {
		nc, err := net.Dial("unix", m.Address())
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		_, _ = nc.Write(b) // the end may come before all of it is there
		_, err = io.Copy(io.Discard, nc)
		if late, ok := err.(net.Error); ok && late.Timeout() {
			t.Errorf("%s: the connection does not end", name)
		}
		nc.Close()
	}
	if grown := memory() - before; grown > 32<<20 {
		t.Errorf("memory grew by %d bytes", grown)
	}
	// The work link is judged as well.
	if _, err := good.work.Write(long(1 << 40)); err != nil {
		t.Fatal(err)
	}
	if code := good.reg.ends(); code != wire.Malformed {
		t.Errorf("a worker that sends a length of 1 TiB is closed with code %d", code)
	}
	idle(t, m, 0)
	newRawWorker(t, m.Address(), "next")
	idle(t, m, 1)
	if s := m.Status(); s.Events.Refused == 0 || s.Events.Malformed == 0 {
		t.Errorf("events %+v", s.Events)
	}
}

// Many that connect and say nothing keep no good worker out.
func TestStorm(t *testing.T) {
	leavesNothing(t)
	m := newMaster(t, MasterConfig{Handshake: 300 * time.Millisecond})
	files := len(openFiles(t))
	for i := range 300 {
		nc, err := net.Dial("unix", m.Address())
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			nc.Close()
		} else {
			t.Cleanup(func() { nc.Close() })
		}
	}
	w := newRawWorker(t, m.Address(), "good")
	idle(t, m, 1)
	until(t, "the silent ones to be closed", func() bool { return len(openFiles(t)) <= files+150+4 }) // our ends of them, and the worker's links
	w.reg.Close()
	idle(t, m, 0)
}

// A worker that does not read is closed at its limit, and holds up nobody.
func TestSlowReader(t *testing.T) {
	m := newMaster(t, MasterConfig{MaxBody: 1 << 20, Window: 1, Grace: 50 * time.Millisecond})
	newRawWorker(t, m.Address(), "slow")
	idle(t, m, 1)
	startWorker(t, m.Address(), "fast")
	idle(t, m, 2)
	big := string(make([]byte, 1<<20))
	late := 0
	for range 30 {
		o := want(t, later(t.Context(), m, big, Call{Deadline: time.Second, BusyWait: patience}))
		if errors.Is(o.err, ErrTimeout) {
			late++
		} else if o.err != nil || len(o.out) != 1<<20 {
			t.Fatal(o.err)
		}
	}
	if late != 1 {
		t.Errorf("%d jobs were not answered, want the one of the slow worker", late)
	}
	idle(t, m, 1)
}

// Who may be a peer.
func TestAdmit(t *testing.T) {
	own := uint32(os.Geteuid())
	f := admit([]uint32{own + 1})
	for _, tt := range []struct {
		uid uint32
		ok  bool
	}{{own, true}, {own + 1, true}, {own + 2, false}} {
		if err := f(zmq.Credentials{Network: "unix", PID: 7, UID: tt.uid}); (err == nil) != tt.ok {
			t.Errorf("uid %d: %v", tt.uid, err)
		}
	}
	// Root is somebody else too.
	if err := admit(nil)(zmq.Credentials{Network: "unix", UID: own + 5}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("not as %d", own)) {
		t.Errorf("another user: %v", err)
	}
	if own != 0 {
		return // only root can be somebody else
	}
	var log logged
	m := newMaster(t, MasterConfig{Log: log.add})
	for _, path := range []string{filepath.Dir(m.Address()), m.Address()} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	type result struct {
		n   int
		err error
	}
	read := make(chan result)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		keep := ^uintptr(0)
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, keep, 65534, keep); errno != 0 {
			read <- result{0, errno}
			return
		}
		fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		if err == nil {
			err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: m.Address()})
		}
		n := 0
		if err == nil {
			n, err = syscall.Read(fd, make([]byte, 100))
			syscall.Close(fd)
		}
		read <- result{n, err}
	}()
	if r := <-read; r.n != 0 || r.err != nil && r.err != syscall.ECONNRESET {
		t.Errorf("another user reads %d bytes, %v", r.n, r.err)
	}
	until(t, "a line in the log", func() bool { return strings.Contains(log.String(), "runs as uid 65534") })
}

// A socket that a dead master has left is replaced; that of a live one is not.
func TestStaleSocket(t *testing.T) {
	address := shortDir(t) + "/m"
	p := startMaster(t, address)
	if _, err := NewMaster(MasterConfig{Listen: address}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second master: %v", err)
	}
	if _, err := ReadStatus(t.Context(), address); err != nil {
		t.Errorf("the first one does not answer any more: %v", err)
	}
	p.kill()
	if _, err := os.Lstat(address); err != nil {
		t.Fatal("nothing is left of the master that was killed")
	}
	m := newMaster(t, MasterConfig{Listen: address})
	startWorker(t, address, "w")
	idle(t, m, 1)
}

func TestConfig(t *testing.T) {
	dir := shortDir(t)
	for text, cfg := range map[string]MasterConfig{
		"window is 17":               {Listen: dir + "/m", Window: 17},
		"give the path":              {},
		"of 108 bytes":               {Listen: "/" + strings.Repeat("x", 107)},
		"has at most 100":            {Listen: "/" + strings.Repeat("x", 100)},
		"over TCP":                   {Listen: "tcp://127.0.0.1:1"},
		"longest body of -1":         {Listen: dir + "/m", MaxBody: -1},
		"no such file":               {Listen: dir + "/a/b/m"},
		"cannot be negative":         {Listen: dir + "/m", Deadline: -1},
		"chmod 700 " + dir + "/open": {Listen: dir + "/open/m"},
	} {
		if strings.Contains(text, "open") {
			if err := os.Mkdir(dir+"/open", 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(dir+"/open", 0o777); err != nil {
				t.Fatal(err)
			}
		}
		m, err := NewMaster(cfg)
		if err == nil {
			m.Close()
		}
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: %v, want %q", cfg, err, text)
		}
	}
	for text, w := range map[string]Worker{
		"window is 17":    {Master: dir + "/m", Window: 17},
		"names and kinds": {Master: dir + "/m", Name: "with space"},
		"of 119 bytes":    {Master: dir + "/m", Socket: "/" + strings.Repeat("x", 118)},
	} {
		if err := w.Serve(t.Context(), nil); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: %v, want %q", w, err, text)
		}
	}
}

// Answers that a worker has written count, whichever of its links ends first.
func TestLastAnswer(t *testing.T) {
	m := newMaster(t, MasterConfig{})
	for range 20 {
		w := newRawWorker(t, m.Address(), "w")
		idle(t, m, 1)
		done := later(t.Context(), m, "x", Call{})
		j, _ := w.work.want(wire.Job)
		w.reg.Close()
		w.work.want(wire.Bye) // the master has seen that end
		w.work.send(wire.Head{Type: wire.Result, Number: j.Number, Run: 1}, "y")
		w.work.Close()
		if o := want(t, done); o.err != nil || string(o.out) != "y" {
			t.Fatalf("%q, %v", o.out, o.err)
		}
		idle(t, m, 0)
	}
}

// Who answers at a worker's socket has to be the worker that registered.
func TestForeignHello(t *testing.T) {
	m := newMaster(t, MasterConfig{})
	path := filepath.Join(filepath.Dir(m.Address()), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	reg := rawDial(t, m.Address())
	h := hello("w", path)
	reg.send(h, "")
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	work := rawLink(t, nc, "ROUTER")
	work.want(wire.Welcome)
	h.Incarnation[3]++
	work.send(h, "")
	if code := reg.ends(); code != wire.Malformed {
		t.Errorf("closed with code %d", code)
	}
	idle(t, m, 0)
}

// A call that comes when others are due does not get the reply of one of them.
func TestSlots(t *testing.T) {
	m := newMaster(t, MasterConfig{})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 300 {
				if _, err := m.Execute(t.Context(), nil, Call{BusyWait: 50 * time.Microsecond}); !errors.Is(err, ErrNoWorker) {
					t.Errorf("without a worker: %v", err)
				}
			}
		})
	}
	all.Wait()
}
