package powerhose

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"appbundle/powerhose/internal/wire"
)

// A rawMaster is a master that is made of bytes, with one worker.
type rawMaster struct {
	testing.TB
	ln        net.Listener
	reg, work *raw
	hello     []byte
	welcome   wire.Head
	socket    string
}

func newRawMaster(tb testing.TB) *rawMaster {
	tb.Helper()
	ln, err := net.Listen("unix", filepath.Join(shortDir(tb), "m"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { ln.Close() })
	return &rawMaster{TB: tb, ln: ln}
}

// register takes the registration of the next worker.
func (m *rawMaster) register() wire.Head {
	m.Helper()
	nc, err := m.ln.Accept()
	if err != nil {
		m.Fatal(err)
	}
	m.reg = rawLink(m, nc, "ROUTER")
	_, b, err := m.reg.frame()
	if err != nil {
		m.Fatal(err)
	}
	var h wire.Head
	if err := wire.Decode(b, &h); err != nil || h.Type != wire.Hello {
		m.Fatalf("%s, %v", h.Type, err)
	}
	m.hello, m.socket = b, string(h.Socket)
	m.welcome = wire.Head{Type: wire.Welcome, Version: 1, Window: 4, Tries: 3, Period: 60000, MaxBody: 1 << 20, Incarnation: [16]byte{1, 2, 3}}
	return h
}

// attach makes the work link.
func (m *rawMaster) attach() {
	m.Helper()
	m.work = rawDial(m, m.socket)
	m.work.send(m.welcome, "")
	if _, b, err := m.work.frame(); err != nil || !bytes.Equal(b, m.hello) {
		m.Fatalf("HELLO %q, %v; want %q", b, err, m.hello)
	}
}

func job(n uint64, left uint32) wire.Head {
	return wire.Head{Type: wire.Job, Number: n, Left: left, Attempt: 1}
}

// A worker keeps the rules on which "at most once" stands.
func TestRawMaster(t *testing.T) {
	m := newRawMaster(t)
	w := startWorker(t, m.ln.Addr().String(), "w", "WINDOW=3")
	h := m.register()
	if h.PID != uint32(w.Process.Pid) || h.Window != 3 || string(h.Name) != "w" || h.Lowest != 1 || h.Highest != 1 || h.Incarnation == [16]byte{} {
		t.Errorf("HELLO %+v", h)
	}
	// Only the master that was registered with is let in, and once.
	m.reg.send(m.welcome, "")
	other := m.welcome
	other.Incarnation[5]++
	foreign := rawDial(t, m.socket)
	foreign.send(other, "")
	foreign.ends()
	m.attach()
	second := rawDial(t, m.socket)
	second.send(m.welcome, "")
	second.ends()

	// What is cancelled or late is not started, and answers come in the order of
	// jobs: all that is there is read first.
	file := filepath.Join(t.TempDir(), "started")
	var b []byte
	b = append(b, messageOf(t, job(1, 10000), "echo one")...)
	b = append(b, messageOf(t, job(2, 10000), "mark 2 "+file)...)
	b = append(b, messageOf(t, job(3, 0), "mark 3 "+file)...)
	b = append(b, messageOf(t, wire.Head{Type: wire.Cancel, Number: 2}, "")...)
	b = append(b, messageOf(t, wire.Head{Type: wire.Cancel, Number: 99}, "")...)
	m.work.write(b)
	if h, body := m.work.want(wire.Result); h.Number != 1 || body != "echo one" || h.Run == 0 {
		t.Errorf("RESULT %d %q, run %d", h.Number, body, h.Run)
	}
	for n, code := range map[uint64]wire.Code{2: wire.Cancelled} {
		if h, _ := m.work.want(wire.Error); h.Number != n || h.Code != code {
			t.Errorf("ERROR %d of job %d, want %d of %d", h.Code, h.Number, code, n)
		}
	}
	if h, _ := m.work.want(wire.Error); h.Number != 3 || h.Code != wire.Expired {
		t.Errorf("ERROR %d of job %d, want %d of 3", h.Code, h.Number, wire.Expired)
	}
	if b, err := os.ReadFile(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("started: %q, %v", b, err)
	}

	// While a job runs the link is read: CANCEL reaches it, PING is answered.
	m.work.send(job(4, 60000), "hold x "+file)
	lines(t, file, 1)
	m.reg.send(wire.Head{Type: wire.Ping, Number: 8}, "")
	if h, _ := m.reg.want(wire.Pong); h.Number != 8 || h.Held.Len() != 1 || h.Held.At(0) != 4 {
		t.Errorf("PONG %d with %d jobs", h.Number, h.Held.Len())
	}
	m.work.send(wire.Head{Type: wire.Cancel, Number: 4}, "")
	if h, _ := m.work.want(wire.Error); h.Number != 4 || h.Code != wire.Cancelled {
		t.Errorf("ERROR %d of job %d", h.Code, h.Number)
	}
	// Also the jobs that come meanwhile are done, in order.
	flag := filepath.Join(t.TempDir(), "flag")
	os.Remove(file)
	m.work.send(job(5, 60000), "until "+flag+" "+file)
	lines(t, file, 1)
	m.work.send(job(6, 60000), "echo six")
	m.work.send(job(7, 60000), "echo seven")
	until(t, "three jobs to be there", func() bool {
		m.reg.send(wire.Head{Type: wire.Ping, Number: 9}, "")
		h, _ := m.reg.want(wire.Pong)
		return h.Held.Len() == 3
	})
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for n := uint64(5); n <= 7; n++ {
		if h, _ := m.work.want(wire.Result); h.Number != n {
			t.Errorf("RESULT of %d, want %d", h.Number, n)
		}
	}

	// What came over a link that has ended is not started. The worker registers
	// again, with the same incarnation.
	os.Remove(file)
	os.Remove(flag)
	m.work.send(job(9, 60000), "until "+flag+" "+file)
	lines(t, file, 1)
	m.work.send(job(10, 60000), "mark 10 "+file)
	m.work.Close()
	m.reg.ends() // it closes the other link at once
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again := m.register()
	if again.Incarnation != h.Incarnation {
		t.Error("another incarnation")
	}
	if got := lines(t, file, 1); len(got) != 1 {
		t.Errorf("started over a link that has ended: %q", got)
	}
	m.reg.send(m.welcome, "")
	m.attach()

	// DRAIN: what is not started comes back, then BYE.
	os.Remove(flag)
	os.Remove(file)
	m.work.send(job(11, 60000), "until "+flag+" "+file)
	lines(t, file, 1)
	m.work.send(job(12, 60000), "echo never")
	m.work.send(wire.Head{Type: wire.Drain, Code: wire.Stop}, "")
	seen := map[wire.Type]uint64{}
	for range 2 {
		h, _, err := m.work.read()
		if err != nil {
			t.Fatal(err)
		}
		seen[h.Type] = h.Number
	}
	if _, drained := seen[wire.Drain]; !drained || seen[wire.Returned] != 12 {
		t.Errorf("after DRAIN: %v", seen)
	}
	m.work.send(job(13, 60000), "echo late")
	if h, _ := m.work.want(wire.Returned); h.Number != 13 {
		t.Errorf("RETURNED %d", h.Number)
	}
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if h, _ := m.work.want(wire.Result); h.Number != 11 {
		t.Errorf("RESULT %d", h.Number)
	}
	m.work.want(wire.Bye)
	m.work.send(wire.Head{Type: wire.Bye, Code: wire.Stop}, "")
	if got := w.status(); got != 0 {
		t.Errorf("the worker ends with %d", got)
	}
}

// What came over a link that has ended is not started either while the end has not
// been handled yet.
func TestEndedNow(t *testing.T) {
	m := newRawMaster(t)
	begun, goOn := make(chan int), make(chan struct{})
	s, err := newServer(&Worker{Master: m.ln.Addr().String(), Name: "w", Window: 2}, func(context.Context, *Job) ([]byte, error) {
		begun <- 1
		<-goOn
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	end := make(chan error)
	go func() { end <- s.run(ctx) }()
	m.register()
	m.reg.send(m.welcome, "")
	m.attach()
	m.work.send(job(1, 60000), "")
	<-begun
	m.work.send(job(2, 60000), "")
	until(t, "the second job", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.session.jobs) == 1
	})
	s.mu.Lock() // the end cannot be handled
	n := s.session
	m.work.Close()
	until(t, "the end", n.work.Ended)
	if n.next() != nil {
		t.Error("the second job is started")
	}
	s.mu.Unlock()
	stop()
	close(goOn)
	if err := <-end; err != nil {
		t.Error(err)
	}
}

// A worker that is refused for good ends with 69.
func TestRefusedWorker(t *testing.T) {
	m := newRawMaster(t)
	w := startWorker(t, m.ln.Addr().String(), "w")
	m.register()
	m.reg.send(wire.Head{Type: wire.Refused, Code: wire.TooMany}, "")
	m.reg.Close()
	m.register() // it tries again
	m.reg.send(wire.Head{Type: wire.Refused, Code: wire.BadVersion, Text: []byte("only 7")}, "")
	if got := w.status(); got != 69 || !bytes.Contains([]byte(w.log.String()), []byte("only 7")) {
		t.Errorf("status %d: %s", got, w.log.String())
	}
}

// When the master closes a link, what was written counts as started, and what
// was not goes to another worker.
func TestOverdueWindow(t *testing.T) {
	for _, size := range []int{10, 1 << 20} {
		m := newMaster(t, MasterConfig{Window: 2, Short: time.Hour, Grace: 50 * time.Millisecond})
		w := newRawWorker(t, m.Address(), "w")
		idle(t, m, 1)
		done := later(t.Context(), m, "quick", Call{})
		j, _ := w.work.want(wire.Job)
		w.work.send(wire.Head{Type: wire.Result, Number: j.Number, Run: 1}, "")
		want(t, done)
		body := string(make([]byte, size)) // the long one does not fit into the socket
		a := later(t.Context(), m, body, Call{Deadline: time.Second})
		until(t, "a job", func() bool { return m.Status().Running == 1 })
		b := later(t.Context(), m, "behind it", Call{Deadline: patience, BusyWait: patience})
		until(t, "two jobs", func() bool { return m.Status().Running == 2 })
		if o := want(t, a); !errors.Is(o.err, ErrTimeout) {
			t.Errorf("%d bytes: %v", size, o.err)
		}
		if size == 10 {
			if o := want(t, b); !errors.Is(o.err, ErrWorkerLost) {
				t.Errorf("a job that was written: %v", o.err)
			}
			continue
		}
		until(t, "the worker to be gone", func() bool { return len(m.Status().Workers) == 0 })
		next := newRawWorker(t, m.Address(), "next")
		j, got := next.work.want(wire.Job)
		if got != "behind it" || j.Attempt != 1 {
			t.Errorf("JOB %q, attempt %d", got, j.Attempt)
		}
		next.work.send(wire.Head{Type: wire.Result, Number: j.Number, Run: 1}, "")
		if o := want(t, b); o.err != nil {
			t.Errorf("a job that was not written: %v", o.err)
		}
	}
}

// A worker that the master asks to end announces its end to the supervisor; one
// that is asked by a signal does not, for who has asked knows.
func TestDrainAnnounced(t *testing.T) {
	for name, want := range map[string]string{"drain": "READY=1 STOPPING=1 END=1", "signal": "READY=1 END=1"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(shortDir(t), "n")
			nc, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			m := newRawMaster(t)
			w := startWorker(t, m.ln.Addr().String(), "w", "NOTIFY_SOCKET="+path)
			m.register()
			m.reg.send(m.welcome, "")
			m.attach()
			if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 100)
			n, err := nc.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			said := []string{string(b[:n])}
			if name == "drain" {
				m.work.send(wire.Head{Type: wire.Drain, Code: wire.Stop}, "")
			} else if err := w.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			m.work.want(wire.Drain)
			m.work.want(wire.Bye)
			m.work.send(wire.Head{Type: wire.Bye, Code: wire.Stop}, "")
			if got := w.status(); got != 0 {
				t.Errorf("status %d, want 0", got)
			}
			if _, err := nc.WriteToUnix([]byte("END=1"), &net.UnixAddr{Name: path, Net: "unixgram"}); err != nil {
				t.Fatal(err)
			}
			for said[len(said)-1] != "END=1" {
				n, err := nc.Read(b)
				if err != nil {
					t.Fatal(err)
				}
				if text := string(b[:n]); !strings.HasPrefix(text, "BUSY=") {
					said = append(said, text)
				}
			}
			if got := strings.Join(said, " "); got != want {
				t.Errorf("it says %s, want %s", got, want)
			}
		})
	}
}
