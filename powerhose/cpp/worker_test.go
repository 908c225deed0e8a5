package cpp

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"appbundle/powerhose/internal/wire"
)

// A worker says who it is, and is where it says.
func TestRegister(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	p := m.start("kind=sign", "kind=verify", "window=3")
	m.welcome.Window = 2
	reg, work, h := m.register()
	if int(h.PID) != p.cmd.Process.Pid || string(h.Name) != "w" || string(h.Socket) != p.socket || h.Window != 3 ||
		h.Lowest != 1 || h.Highest != 1 || fmt.Sprint(kindsOf(h)) != "[sign verify]" || string(h.Language) != "c++17" ||
		string(h.Library) != "powerhose-cpp-0.1.0" || h.Held.Len() != 0 {
		t.Errorf("HELLO = %+v", h)
	}
	if got := mode(t, p.socket); got != "Srw-------" {
		t.Errorf("the socket has mode %s", got)
	}
	reg.send(wire.Head{Type: wire.Ping, Number: 7})
	if pong, _ := reg.recv(wire.Pong); pong.Number != 7 || pong.Held.Len() != 0 || pong.Run != 0 {
		t.Errorf("PONG = %+v", pong)
	}
	// Pings of ZMTP are answered too, on both links; other commands are nothing.
	for _, l := range []*link{reg, work} {
		l.write("\x04\x05\x04NOPE" + "\x04\x0a\x04PING\x00\x00ctx")
		l.expect("\x04\x08\x04PONGctx", "PONG of ZMTP")
	}
	// There is one work link.
	second := m.dial(p.socket)
	second.ends()
	work.job(1, "first")
	work.result(1, "first")
	p.signal(syscall.SIGKILL)
	reg.ends()
	work.ends()
}

// Bodies are bytes.
func TestBodies(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	m.start()
	_, work, _ := m.register()
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	for n, size := range []int{0, 1, 255, 256, 1023, 1024, 65535, 65536, 65537, 100000, 1 << 20, 5<<20 + 1} {
		body := make([]byte, size)
		for i := range body {
			body[i] = byte(r.Uint32())
		}
		if size > 0 {
			body[0] = 0 // and not a word that the worker knows
		}
		number := uint64(n + 1)
		// Large ones are written while the answer is read: neither side holds them.
		done := make(chan error, 1)
		go func() {
			_, err := work.c.Write(message(t, &wire.Head{Type: wire.Job, Number: number, Left: 60000, Attempt: 1}, body))
			done <- err
		}()
		h, got := work.recv(wire.Result)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if h.Number != number || !bytes.Equal(got, body) {
			t.Fatalf("a body of %d random bytes (seed %d) came back as %d others, number %d", size, seed, len(got), h.Number)
		}
	}
	for n, body := range []string{"a\x00b\x00", "JOB:::1:::x", "PING", "\x00"} {
		work.job(uint64(100+n), body)
		work.result(uint64(100+n), body)
	}
	work.send(wire.Head{Type: wire.Job, Number: 200, Left: 60000, Attempt: 2, Flags: wire.FlagRepeatable, Kind: []byte("sign")}, []byte("about")...)
	work.result(200, "sign 2 1")
	work.send(wire.Head{Type: wire.Job, Number: 201, Left: 30000, Attempt: 1}, []byte("left")...)
	_, left := work.recv(wire.Result)
	if ms, err := strconv.Atoi(string(left)); err != nil || ms > 30000 || ms < 10000 {
		t.Errorf("%q ms are left of 30000", left)
	}
}

// A job may come in any pieces.
func TestPieces(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	m.start()
	_, work, _ := m.register()
	for _, b := range message(t, &wire.Head{Type: wire.Job, Number: 1, Left: 60000, Attempt: 1}, []byte("in pieces")) {
		work.write(string([]byte{b}))
	}
	work.result(1, "in pieces")
}

// An answer is with the kernel before the next job is started, and answers come
// in the order of the jobs.
func TestWindow(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	m.start()
	_, work, _ := m.register()
	one, two := newGate(t), newGate(t)
	work.job(1, one.job())
	work.job(2, two.job())
	work.job(3, "three")
	work.job(4, "four")
	one.reached()()
	open := two.reached()
	work.result(1, "opened") // the second is running
	open()
	work.result(2, "opened")
	work.result(3, "three")
	work.result(4, "four")

	// More than was granted is not taken.
	three := newGate(t)
	work.job(10, three.job())
	open = three.reached()
	for n := range uint64(5) {
		work.job(11+n, "too many")
	}
	open()
	work.result(10, "opened")
	work.refuses(wire.Broken)

	// A job behind an answer that cannot be written is not started. A link that
	// ends then settles it.
	_, work, _ = m.register()
	file := filepath.Join(m.dir, "touched")
	work.write(string(message(t, &wire.Head{Type: wire.Job, Number: 30, Left: 60000, Attempt: 1}, []byte("big 10000000"))) +
		string(message(t, &wire.Head{Type: wire.Job, Number: 31, Left: 60000, Attempt: 1}, []byte("touch "+file))))
	if _, err := io.CopyN(io.Discard, work.r, 1<<20); err != nil {
		t.Fatal(err)
	}
	last := work.c
	time.AfterFunc(100*time.Millisecond, func() { last.Close() })
	_, work, _ = m.register()
	work.job(32, "after")
	work.result(32, "after")
	if _, err := os.Lstat(file); !os.IsNotExist(err) {
		t.Errorf("a job was started before the answer to the one before it was written: %v", err)
	}
}

// Jobs that were cancelled or came too late are not started; one that runs is
// told.
func TestCancel(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	m.start()
	reg, work, _ := m.register()
	cancel := func(n uint64) { work.send(wire.Head{Type: wire.Cancel, Number: n}) }
	g := newGate(t)
	work.job(1, g.job())
	open := g.reached()
	work.job(2, "cancelled")
	work.send(wire.Head{Type: wire.Job, Number: 3, Left: 0, Attempt: 1}, []byte("too late")...)
	work.job(4, "good")
	cancel(2)
	cancel(77)
	open()
	work.result(1, "opened")
	work.fails(2, wire.Cancelled, "cancelled")
	work.fails(3, wire.Expired, "the deadline was over before the job was started")
	work.result(4, "good")

	work.send(wire.Head{Type: wire.Job, Number: 5, Left: 60000, Attempt: 1, Flags: wire.FlagProgress}, []byte("wait")...)
	if h, body := work.recv(wire.Progress); h.Number != 5 || string(body) != "waits" {
		t.Errorf("PROGRESS of %d: %q", h.Number, body)
	}
	// A handler that asks whether it is cancelled answers pings meanwhile.
	work.job(6, "behind")
	reg.send(wire.Head{Type: wire.Ping, Number: 9})
	if pong, _ := reg.recv(wire.Pong); pong.Number != 9 || pong.Held.Len() < 1 || pong.Held.At(0) != 5 {
		t.Errorf("PONG of a busy worker = %+v", pong)
	}
	cancel(5)
	work.fails(5, wire.Cancelled, "cancelled")
	work.result(6, "behind")
	// Nobody cancelled this one, whatever the handler says.
	work.job(7, "claims-cancelled")
	work.fails(7, wire.Application, "cancelled")
}

// What goes wrong in a handler is the answer of its job, and no more.
func TestErrors(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	m.welcome.MaxBody = 1000
	p := m.start("log=throws")
	_, work, _ := m.register()
	for n, c := range []struct {
		body string
		code wire.Code
		text string
	}{
		{"throw", wire.Application, "no � way"},
		{"throw-long", wire.Application, strings.Repeat("x", 512)},
		{"throw-int", wire.Panic, "the handler threw something that is no std::exception"},
		{"reject", wire.Rejected, "not here"},
		{"big 1001", wire.Application, "the result has 1001 bytes; the master takes at most 1000 (its --max-body)"},
		{"fail", wire.Application, "failed"},
	} {
		work.job(uint64(n+1), c.body)
		if detail := work.fails(uint64(n+1), c.code, c.text); c.body == "fail" && string(detail) != "\x00detail" {
			t.Errorf("the detail is %q", detail)
		}
	}
	work.job(50, "big 1000")
	work.result(50, strings.Repeat("b", 1000))
	p.leaves(work)
}

// PROGRESS is sent to who wants it, and dropped where nobody reads.
func TestProgress(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	m.start()
	_, work, _ := m.register()
	work.job(1, "progress 3")
	work.result(1, "0")
	const many = 200000
	work.send(wire.Head{Type: wire.Job, Number: 2, Left: 60000, Attempt: 1, Flags: wire.FlagProgress}, []byte(fmt.Sprint("progress ", many))...)
	g := newGate(t)
	work.job(3, g.job())
	got := 0
	for last := many + 1; ; got++ {
		head, body, err := work.read()
		if err != nil {
			t.Fatal(err)
		}
		var h wire.Head
		if err := wire.Decode(head, &h); err != nil {
			t.Fatal(err)
		}
		if h.Type == wire.Result {
			if string(body) != strconv.Itoa(got) {
				t.Errorf("%d came, %s were sent", got, body)
			}
			break
		}
		n, err := strconv.Atoi(string(body))
		if err != nil || h.Type != wire.Progress || h.Number != 2 || n >= last {
			t.Fatalf("%v of %d after %d: %q", h.Type, h.Number, last, body)
		}
		last = n
	}
	if got == 0 {
		t.Error("nothing came")
	}
	g.reached()()
	work.result(3, "opened")
}

// SIGTERM: what runs is answered, the rest goes back, also what still comes.
func TestDrain(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	p := m.start()
	_, work, _ := m.register()
	g := newGate(t)
	work.job(1, g.job())
	open := g.reached()
	work.job(2, "never")
	work.job(3, "never")
	p.signal(syscall.SIGTERM)
	open()
	work.result(1, "opened")
	if h, _ := work.recv(wire.Drain); h.Code != wire.Stop || string(h.Text) != "SIGTERM" {
		t.Errorf("DRAIN = %d %q", h.Code, h.Text)
	}
	// They had not been read when the signal was seen, or they had.
	var returned []uint64
	said := false
	for len(returned) < 2 || !said {
		head, _, err := work.read()
		if err != nil {
			t.Fatal(err)
		}
		var h wire.Head
		if err := wire.Decode(head, &h); err != nil {
			t.Fatal(err)
		}
		switch h.Type {
		case wire.Returned:
			returned = append(returned, h.Number)
		case wire.Bye:
			said = h.Code == wire.Stop
		default:
			t.Fatalf("got %v", h.Type)
		}
	}
	if fmt.Sprint(returned) != "[2 3]" {
		t.Errorf("RETURNED %d", returned)
	}
	work.job(4, "never")
	if h, _ := work.recv(wire.Returned); h.Number != 4 {
		t.Errorf("RETURNED %d", h.Number)
	}
	work.send(wire.Head{Type: wire.Bye, Code: wire.Stop})
	p.exits(0, "leaves: SIGTERM")
	work.ends()
	if _, err := os.Lstat(p.socket); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// A handler that asks whether it is cancelled lets the signal be seen: what
// waits goes back at once, and the farewell comes after the answer.
func TestDrainBusy(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	p := m.start()
	_, work, _ := m.register()
	work.send(wire.Head{Type: wire.Job, Number: 1, Left: 60000, Attempt: 1, Flags: wire.FlagProgress}, []byte("wait")...)
	work.recv(wire.Progress)
	work.job(2, "never")
	p.signal(syscall.SIGTERM)
	for seen := map[wire.Type]bool{}; len(seen) < 2; {
		head, _, err := work.read()
		if err != nil {
			t.Fatal(err)
		}
		var h wire.Head
		if err := wire.Decode(head, &h); err != nil || h.Type != wire.Drain && h.Type != wire.Returned {
			t.Fatalf("got %v %v", h.Type, err)
		}
		seen[h.Type] = true
	}
	work.send(wire.Head{Type: wire.Cancel, Number: 1})
	work.fails(1, wire.Cancelled, "cancelled")
	work.recv(wire.Bye)
	work.send(wire.Head{Type: wire.Bye, Code: wire.Stop})
	p.exits(0, "leaves: SIGTERM")
}

// There are other reasons to leave, and masters that do not answer.
func TestLeave(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		args []string
		job  string // that is done before
		do   func(p *process, work *link)
		code wire.Code
	}{
		{"jobs", []string{"max_jobs=2"}, "one more", nil, wire.MaxJobs},
		{"age", []string{"max_age=1"}, "", nil, wire.MaxAge},
		{"size", []string{"max_rss=600000000"}, "grow 600000000", nil, wire.MaxRSS},
		{"master", nil, "", func(_ *process, work *link) { work.send(wire.Head{Type: wire.Drain, Code: wire.Stop}) }, wire.Stop},
		{"interrupt", nil, "", func(p *process, _ *link) { p.signal(os.Interrupt) }, wire.Stop},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newMaster(t)
			p := m.start(c.args...)
			_, work, _ := m.register()
			if c.name != "age" {
				work.job(1, "one")
				work.result(1, "one")
			}
			switch {
			case c.job != "":
				work.job(2, c.job)
				work.recv(wire.Result)
			case c.do != nil:
				c.do(p, work)
			}
			if h, _ := work.recv(wire.Drain); h.Code != c.code {
				t.Errorf("DRAIN %d %q, want %d", h.Code, h.Text, c.code)
			}
			if h, _ := work.recv(wire.Bye); h.Code != c.code {
				t.Errorf("BYE %d, want %d", h.Code, c.code)
			}
			work.send(wire.Head{Type: wire.Bye, Code: wire.Stop})
			p.exits(0, "leaves: ")
		})
	}
	t.Run("no-farewell", func(t *testing.T) {
		t.Parallel()
		m := newMaster(t)
		p := m.start("drain=1")
		m.register()
		p.signal(syscall.SIGTERM)
		p.exits(0, "the master did not say farewell in time")
	})
	t.Run("link-ends", func(t *testing.T) {
		t.Parallel()
		m := newMaster(t)
		p := m.start()
		_, work, _ := m.register()
		p.signal(syscall.SIGTERM)
		work.recv(wire.Drain)
		work.c.Close()
		p.exits(0, "leaves: SIGTERM")
	})
	t.Run("not-registered", func(t *testing.T) {
		t.Parallel()
		m := newMaster(t)
		p := m.start()
		m.registration()
		p.signal(syscall.SIGTERM)
		p.exits(0, "leaves: SIGTERM")
	})
	t.Run("no-master", func(t *testing.T) {
		t.Parallel()
		m := newMaster(t)
		p := m.start("retry=1000000")
		reg, _, _ := m.registration()
		m.l.Close()
		reg.c.Close()
		for !strings.Contains(p.stderr.String(), "closed the link") {
			select {
			case <-p.gone:
				t.Fatal("the worker ended")
			default:
			}
		}
		p.signal(syscall.SIGTERM)
		p.exits(0, "")
	})
}

// A master that goes is looked for, under the same incarnation; what was not
// started is forgotten, and the answer to what runs is for nobody.
func TestReconnect(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"work", "registration", "bye", "refused"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			m := newMaster(t)
			p := m.start()
			reg, work, first := m.register()
			g := newGate(t)
			work.job(1, g.job())
			open := g.reached()
			work.job(2, "never started")
			switch end {
			case "work":
				work.c.Close()
			case "registration":
				reg.c.Close()
			case "bye":
				work.send(wire.Head{Type: wire.Bye, Code: wire.Stop})
			case "refused":
				reg.send(wire.Head{Type: wire.Refused, Code: wire.Broken})
			}
			open()
			m.welcome.Incarnation[0]++ // another master
			_, again, second := m.register()
			if first.Incarnation != second.Incarnation || second.Held.Len() != 0 {
				t.Errorf("HELLO = %+v, then %+v", first, second)
			}
			if end == "registration" {
				// The work link was whole: nothing may have come over it but what ran.
				if head, _, err := work.read(); err == nil {
					var h wire.Head
					if err := wire.Decode(head, &h); err != nil || h.Number != 1 {
						t.Errorf("got %+v %v after the end of the registration", h, err)
					}
				}
			}
			again.job(3, "three")
			again.result(3, "three")
			p.leaves(again)
		})
	}
}

// After ten tries in vain a worker ends. They count anew after a registration
// that has held.
func TestMasterless(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	m.welcome.Period = 1
	m.welcome.Tries = 255
	p := m.start()
	tries := func(n int) {
		t.Helper()
		for range n {
			reg, _, _ := m.registration()
			reg.c.Close()
		}
	}
	tries(10)
	reg, work, _ := m.register()
	reg.recv(wire.Ping) // it has held for a period
	work.c.Close()
	tries(10)
	select {
	case <-p.gone:
	case <-time.After(patience):
		t.Error("the worker tries an eleventh time")
	}
	p.exits(69, "no master at "+m.path+" after 10 tries")
}

// There may be no master at all.
func TestNoMaster(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	m.l.Close()
	m.start().exits(69, m.path+": No such file or directory")
}

// Some refusals are for ever.
func TestRefused(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	for _, code := range []wire.Code{wire.BadVersion, wire.BadSocket, wire.BadCredentials, wire.Malformed, wire.Broken} {
		p := m.start()
		reg, _, _ := m.registration()
		reg.send(wire.Head{Type: wire.Refused, Code: code, Text: []byte("no")})
		p.exits(69, fmt.Sprintf("the master refuses this worker with code %d: no", code))
	}
	p := m.start()
	for _, code := range []wire.Code{wire.NameTaken, wire.TooMany, wire.Draining} {
		reg, _, _ := m.registration()
		reg.send(wire.Head{Type: wire.Refused, Code: code})
		reg.ends()
	}
	// A master that is there and busy is no try in vain.
	for range 12 {
		reg, _, _ := m.registration()
		reg.send(wire.Head{Type: wire.Refused, Code: wire.TooFast})
		reg.ends()
	}
	m.register()
	p.signal(syscall.SIGKILL)

	// A master may choose what was not offered.
	m = newMaster(t)
	p = m.start()
	reg, _, _ := m.registration()
	m.welcome.Version = 2
	reg.send(m.welcome)
	reg.refuses(wire.BadVersion)
	p.exits(69, "the master chose version 2; this worker speaks 1")
}

// An idle worker pings, and a master that says nothing is lost.
func TestSilence(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	m.welcome.Period, m.welcome.Tries = 20, 255
	p := m.start("handshake=600")
	reg, work, _ := m.register()
	for n := range uint64(6) {
		h, _ := reg.recv(wire.Ping)
		if h.Number != n+1 {
			t.Errorf("PING %d, want %d", h.Number, n+1)
		}
		reg.send(wire.Head{Type: wire.Pong, Number: h.Number})
	}
	work.c.Close()
	// A job takes longer than any patience: the worker was busy, not the
	// master silent. The job comes with the welcome, before patience begins.
	m.welcome.Tries = 5
	reg, hello, b := m.registration()
	reg.send(m.welcome)
	work = m.dial(string(hello.Socket))
	work.shake(readyDealer, readyRouter)
	g := newGate(t)
	work.write(string(message(t, &m.welcome, nil)) + string(message(t, &wire.Head{Type: wire.Job, Number: 1, Left: 60000, Attempt: 1}, []byte(g.job()))))
	if head, _, err := work.read(); err != nil || !bytes.Equal(head, b) {
		t.Fatalf("got %q, %v, want HELLO", head, err)
	}
	time.AfterFunc(150*time.Millisecond, g.reached())
	work.result(1, "opened")
	pings := uint64(0)
	for {
		if _, _, err := reg.read(); err != nil {
			break
		}
		pings++
	}
	if pings != 4 {
		t.Errorf("%d PINGs in 5 periods without an answer, want 4", pings)
	}
	work.ends()
	// Nor does it wait for a welcome, or for the work link, for long.
	m.registration()
	reg, _, _ = m.registration()
	reg.send(m.welcome)
	reg.ends()
	m.register()
	p.signal(syscall.SIGKILL)
	<-p.gone
	for _, want := range []string{"the master is silent", "did not answer in time", "did not connect to " + p.socket + " in time"} {
		if !strings.Contains(p.stderr.String(), want) {
			t.Errorf("the log does not have %q", want)
		}
	}
}

// Who connects and is not the master is closed, and the master is served.
func TestStrangers(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	p := m.start()
	reg, hello, b := m.registration()
	silent := m.dial(p.socket)
	reg.send(m.welcome)
	plain := strings.Replace(greeting, "NULL", "PLAI", 1)
	old := strings.Replace(greeting, "\x7f\x03", "\x7f\x01", 1)
	other := m.welcome
	other.Incarnation[0]++
	for _, c := range []struct{ name, ready, rest, log string }{
		{"http", "GET / HTTP/1.1\r\nHost: worker\r\n\r\n", "", "does not speak ZMTP 3"},
		{"mechanism", plain, "", "the mechanism PLAI"},
		{"version", old, "", "does not speak ZMTP 3"},
		{"type", greeting + readyRouter, "", "the peer is a socket of the type ROUTER; this is a ROUTER, which talks to a DEALER"},
		{"no-type", greeting + "\x04\x06\x05READY", "", "of the type (none)"},
		{"cut-property", greeting + "\x04\x16\x05READY\x0bSocket-Type\x00\x00\x00\x06", "", "READY ends inside of a property"},
		{"long-command", greeting + "\x06\x00\x00\x00\x00\x00\x00\x02\x01", "", "a command has 513 bytes"},
		{"no-ready", greeting + "\x00\x01x", "", "a message came before READY"},
		{"other-master", greeting + readyDealer, string(message(t, &other, nil)), "the first message must be the WELCOME"},
		{"job-first", greeting + readyDealer, string(message(t, &wire.Head{Type: wire.Job, Number: 1, Left: 1, Attempt: 1}, []byte("x"))), "a body has 1 bytes; at most 0"},
	} {
		l := m.dial(p.socket)
		l.write(c.ready + c.rest)
		l.expect(greeting, "greeting")
		for {
			if _, err := l.r.ReadByte(); err != nil {
				break
			}
		}
		for !strings.Contains(p.stderr.String(), c.log) {
			select {
			case <-p.gone:
				t.Fatalf("%s: the worker ended", c.name)
			case <-time.After(time.Millisecond):
			}
		}
	}
	work := m.attach(hello, b)
	silent.expect(greeting, "greeting")
	silent.ends()
	work.job(1, "one")
	work.result(1, "one")
}

// A master that breaks the protocol is told so, and looked for again.
func TestMalformed(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	m.welcome.MaxBody = 4 << 30
	m.welcome.Period, m.welcome.Tries = 1, 255
	m.start()
	job := encode(t, &wire.Head{Type: wire.Job, Number: 1, Left: 60000, Attempt: 1})
	cancel := encode(t, &wire.Head{Type: wire.Cancel, Number: 1})
	for _, c := range []struct {
		name, bytes string
		code        wire.Code
	}{
		{"magic", "\x00\x02XX", wire.Malformed},
		{"type", string(frame(0, []byte("PH\x01\xff\x00\x00\x00\x00\x00\x00\x00\x01"))), wire.Malformed},
		{"no-body", string(frame(0, job)), wire.Malformed},
		{"body", string(frame(1, cancel)), wire.Malformed},
		{"three-frames", string(frame(1, job)) + string(frame(1, nil)), wire.Broken},
		{"long-head", string(frame(0, make([]byte, 1025))), wire.Broken},
		{"2-gib", string(frame(1, job)) + "\x02\x00\x00\x00\x00\x80\x00\x00\x00", wire.Broken},
		{"2-to-62", string(frame(1, job)) + "\x02\x40\x00\x00\x00\x00\x00\x00\x00", wire.Broken},
		{"2-to-64", string(frame(0, cancel)) + "\x02\xff\xff\xff\xff\xff\xff\xff\xff", wire.Broken},
		{"flags", "\x08\x00", wire.Broken},
		{"command-inside", string(frame(1, job)) + "\x04\x05\x04PING", wire.Broken},
		{"long-ping", "\x04\x18\x04PING\x00\x00" + strings.Repeat("x", 17), wire.Broken},
		{"result", string(message(t, &wire.Head{Type: wire.Result, Number: 1}, nil)), wire.Broken},
		{"hello-twice", string(message(t, &m.welcome, nil)), wire.Broken},
		{"job-twice", strings.Repeat(string(message(t, &wire.Head{Type: wire.Job, Number: 1, Left: 60000, Attempt: 1}, []byte("twice"))), 2), wire.Broken},
	} {
		reg, work, _ := m.register()
		reg.recv(wire.Ping) // so that tries count anew
		work.write(c.bytes)
		head, _, err := work.read()
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var h wire.Head
		if err := wire.Decode(head, &h); err != nil || h.Type != wire.Refused || h.Code != c.code || len(h.Text) == 0 {
			t.Errorf("%s: got %v %d %q, want REFUSED %d", c.name, h.Type, h.Code, h.Text, c.code)
		}
		work.ends()
	}
	// The registration link too.
	reg, work, _ := m.register()
	reg.send(m.welcome)
	work.ends()
	reg, _, _ = m.registration()
	reg.write("\x00\x02XX")
	reg.refuses(wire.Malformed)
	reg, _, _ = m.registration()
	none := m.welcome
	none.Window = 0
	reg.send(none)
	reg.refuses(wire.Broken)
	m.register()
}

// A job of which the master says how long it is, and no more, costs nothing;
// and a master that does not read is given up.
func TestSlowMaster(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	m.welcome.Period, m.welcome.Tries = 50, 2
	p := m.start()
	_, work, _ := m.register()
	work.write(string(frame(1, encode(t, &wire.Head{Type: wire.Job, Number: 1, Left: 60000, Attempt: 1}))) + "\x02\x00\x00\x00\x00\x01\x00\x00\x00half")
	work.c.Close()
	reg, work, _ := m.register()
	work.job(1, "big 10000000")
	_, again, _ := m.register()
	again.job(1, "one")
	again.result(1, "one")
	reg.c.Close()
	p.signal(syscall.SIGKILL)
	<-p.gone
	if want := "the master does not read"; !strings.Contains(p.stderr.String(), want) {
		t.Errorf("the log does not have %q", want)
	}
}

// The socket is in a directory that nobody else can look into, under a lock,
// and replaces what nobody listens on.
func TestPlaces(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	first := m.start()
	_, work, _ := m.register()
	m.start().exits(3, fmt.Sprintf("%s: process %d listens here", first.socket, first.cmd.Process.Pid))
	work.job(1, "still here")
	work.result(1, "still here")
	first.signal(syscall.SIGKILL)
	<-first.gone
	second := m.start() // what is left of the first is no obstacle
	_, work, _ = m.register()
	if got := mode(t, second.socket); got != "Srw-------" {
		t.Errorf("the socket has mode %s", got)
	}
	// One that is not its own any more stays.
	if err := os.Remove(second.socket); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", second.socket)
	if err != nil {
		t.Fatal(err)
	}
	second.leaves(work)
	if _, err := os.Lstat(second.socket); err != nil {
		t.Errorf("another's socket was removed: %v", err)
	}
	m.start().exits(3, fmt.Sprintf("process %d listens here", os.Getpid())) // without a lock
	l.Close()

	dir := filepath.Join(m.dir, "new")
	third := m.start("socket=" + dir + "/s")
	m.register()
	if got := mode(t, dir); got != "drwx------" {
		t.Errorf("the directory has mode %s", got)
	}
	third.signal(syscall.SIGKILL)
	<-third.gone
	if err := os.Chmod(dir, 0o710); err != nil {
		t.Fatal(err)
	}
	m.start("socket="+dir+"/s").exits(3, dir+": others can look into it; chmod 700 "+dir)
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.start("socket="+file).exits(3, file+": is there, and is no socket")
	m.start("socket="+file+"/s").exits(3, file+": is no directory")
	m.start("socket=@s").exits(2, "@s: give the path of a socket")
	if text, err := os.ReadFile(file); err != nil || string(text) != "kept" {
		t.Errorf("the file is %q, %v", text, err)
	}

	// Relative paths are of the working directory, and the master is told absolute ones.
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(here, m.dir)
	if err != nil {
		t.Fatal(err)
	}
	fourth := m.start("master=unix:./"+relative+"/"+filepath.Base(m.path), "socket="+relative+"/s")
	_, work, hello := m.register()
	if got := string(hello.Socket); !filepath.IsAbs(got) || filepath.Clean(got) != filepath.Join(m.dir, "s") {
		t.Errorf("the master is told %s, want %s", got, filepath.Join(m.dir, "s"))
	}
	fourth.leaves(work)

	long := filepath.Join(m.dir, strings.Repeat("l", 107))
	m.start("socket="+long).exits(2, fmt.Sprintf("at most 107 bytes, this one %d", len(long)))
	m.start("master=").exits(2, "set POWERHOSE_MASTER")
	m.start("name=a b").exits(2, `"a b" is no name`)
	m.start("kind=a/b").exits(2, `"a/b" is no kind`)
	m.start("window=17").exits(2, "a window is from 1 to 16, not 17")
}

// A worker that is told nothing but its master has a name and a socket of its
// own, and leaves neither.
func TestDefaults(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	cmd := exec.Command(built(t, programs.worker))
	cmd.Env = append(os.Environ(), "POWERHOSE_MASTER="+m.path)
	p := m.startCommand(cmd)
	_, work, h := m.register()
	name := fmt.Sprint("worker-", p.cmd.Process.Pid)
	if string(h.Name) != name || string(h.Socket) != filepath.Join(m.dir, name+".sock") || len(h.Kinds) > 0 || h.Window != 4 {
		t.Errorf("HELLO = %+v", h)
	}
	p.leaves(work)
	left, err := os.ReadDir(m.dir)
	if err != nil || len(left) != 1 || left[0].Name() != "m" {
		t.Errorf("the worker left %v, %v", left, err)
	}
}

// Only a master of the own user, or of one that is named, is talked to; nobody
// else is sent or read a byte.
func TestAdmission(t *testing.T) {
	t.Parallel()
	user := os.Getuid()
	m := newMaster(t)
	// The worker that believes to be somebody else after one look at itself.
	p := m.start("own_looks=1")
	c, err := m.l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	newLink(t, c).ends()
	m.l.Close()
	p.exits(69, fmt.Sprintf("%s: process %d of user %d is not admitted", m.path, os.Getpid(), user))

	m = newMaster(t)
	p = m.start("own_looks=2", "handshake=600")
	reg, _, _ := m.registration()
	reg.send(m.welcome)
	m.dial(p.socket).ends()
	reg.ends()
	m.l.Close()
	p.exits(69, fmt.Sprintf("%s: process %d of user %d is not admitted", p.socket, os.Getpid(), user))

	m = newMaster(t)
	m.start("own_looks=1", fmt.Sprint("user=", user))
	_, work, _ := m.register()
	work.job(1, "one")
	work.result(1, "one")
}

// A child has nothing of the worker, whether it is forked or executed, and the
// death of the worker is seen at once though a child lives.
func TestChildren(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	p := m.start()
	reg, work, _ := m.register()
	work.job(1, "exec")
	work.result(1, "0\n")
	work.job(2, "fork-and-return")
	work.result(2, "1")
	g := newGate(t)
	work.job(3, "fork "+g.path)
	_, body := work.recv(wire.Result)
	var child, mine, its int
	if _, err := fmt.Sscan(string(body), &child, &mine, &its); err != nil {
		t.Fatal(err)
	}
	// Two links, the listener and its lock, and two ends of a pipe for signals.
	if its != mine-6 {
		t.Errorf("the worker has %d descriptors, its child %d", mine, its)
	}
	open := g.reached()
	p.signal(syscall.SIGKILL)
	reg.ends()
	work.ends()
	open()
}

// The supervisor is told when a worker is ready, how busy it is, and that it
// leaves; many short jobs are one message.
func TestNotify(t *testing.T) {
	t.Parallel()
	m := newMaster(t)
	path := filepath.Join(m.dir, "n")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(built(t, programs.worker), "master="+m.path, "name=w", "socket="+filepath.Join(m.dir, "s"))
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+path)
	m.startCommand(cmd)
	says := func(want string) {
		t.Helper()
		b := make([]byte, 100)
		n, err := c.Read(b)
		if err != nil || string(b[:n]) != want {
			t.Errorf("got %q, %v, want %q", b[:n], err, want)
		}
	}
	_, work, _ := m.register()
	says("READY=1\nBUSY=0/1")
	g := newGate(t)
	work.job(1, g.job())
	open := g.reached()
	says("BUSY=1/1")
	open()
	work.result(1, "opened")
	says("BUSY=0/1")
	work.job(2, "short")
	work.result(2, "short")
	says("BUSY=1/1")
	says("BUSY=0/1")
	work.send(wire.Head{Type: wire.Drain, Code: wire.Stop})
	work.recv(wire.Drain)
	says("STOPPING=1")
}
