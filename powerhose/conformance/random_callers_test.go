package conformance

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"time"

	"appbundle/powerhose/internal/wire"
)

// ends has the word for each code of a REPLY.
var ends = map[wire.Code]string{
	wire.OK: "ok", wire.Application: "application", wire.Rejected: "rejected", wire.Panic: "panic", wire.Cancelled: "cancelled", wire.Busy: "busy",
	wire.NoWorker: "no worker", wire.QueueFull: "queue full", wire.Timeout: "timeout", wire.Lost: "lost", wire.Draining: "draining", wire.TooBig: "too big",
}

// A wireCaller is a caller made of bytes: no library hides from it what the
// master says.
type wireCaller struct {
	*game
	*peer
	open    map[uint64]*call
	bodies  map[uint64][]byte
	goes    map[uint64]time.Time // when a call is to be cancelled
	number  uint64
	leaving bool // the master drains
	heard   chan message
	closed  chan struct{}
}

type message struct {
	head wire.Head
	body string
}

// hail connects to the master as a caller.
func (g *game) hail() (*wireCaller, error) {
	nc, err := net.Dial("unix", g.address)
	if err != nil {
		return nil, err
	}
	c := &wireCaller{
		game: g, peer: &peer{g, nc, bufio.NewReader(nc)}, open: map[uint64]*call{}, bodies: map[uint64][]byte{}, goes: map[uint64]time.Time{},
		heard: make(chan message), closed: make(chan struct{}),
	}
	h := wire.Head{Type: wire.Hello, PID: 1, Incarnation: [16]byte{1}, Lowest: 1, Highest: 1}
	hello, err := h.Append(nil)
	if err == nil {
		_, err = nc.Write(append(append(greeting("NULL"), ready("DEALER")...), frame(0, hello)...))
	}
	if err == nil {
		_, err = io.ReadFull(c.in, make([]byte, 64))
	}
	if err == nil {
		_, _, err = c.frame()
	}
	if err == nil {
		h, _, err = c.peer.read()
	}
	if err == nil && h.Type != wire.Welcome {
		err = fmt.Errorf("%s (%d)", h.Type, h.Code)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	go c.listen()
	return c, nil
}

// listen reads one message after another, as they are taken.
func (c *wireCaller) listen() {
	defer close(c.closed)
	for {
		h, body, err := c.peer.read()
		if err != nil {
			return
		}
		select {
		case c.heard <- message{h, body}:
		case <-c.stop:
			return
		}
	}
}

// call sends a CALL. It is false where the link has ended.
func (c *wireCaller) call(k *call) bool {
	c.number++
	body := c.body(&k.plan)
	h := wire.Head{Type: wire.Call, Number: c.number, Left: uint32((k.deadline + time.Millisecond - 1).Milliseconds()), BusyWait: uint32(max(k.busyWait, 0).Milliseconds()), Kind: []byte(k.kind)}
	for flag, is := range map[uint8]bool{wire.FlagRepeatable: k.repeatable, wire.FlagUrgent: k.urgent, wire.FlagProgress: k.progress} {
		if is {
			h.Flags |= flag
		}
	}
	b, err := h.Append(nil)
	if err != nil {
		c.fail("CALL %d: %v", k.id, err)
		return false
	}
	k.began = time.Now()
	c.open[c.number], c.bodies[c.number] = k, body
	if k.cancel > 0 {
		c.goes[c.number] = k.began.Add(k.cancel)
	}
	_, err = c.Write(append(frame(1, b), frame(0, body)...))
	return err == nil
}

// message notes what the master says. It is false where that cannot be.
func (c *wireCaller) message(m message) bool {
	k := c.open[m.head.Number]
	switch m.head.Type {
	case wire.Reply:
		if k == nil {
			c.fail("a caller has REPLY %d (code %d), and no such call is open", m.head.Number, m.head.Code)
			return false
		}
		k.ended, k.end = time.Now(), ends[m.head.Code]
		k.pid, k.attempt, k.text = int(m.head.PID), int(m.head.Attempt), string(m.head.Text)
		if k.end == "ok" {
			pid, attempt, err := k.result(c.bodies[m.head.Number], []byte(m.body))
			if k.bad = err; err == nil && k.op != "empty" && (pid != k.pid || attempt != k.attempt) {
				k.bad = fmt.Errorf("REPLY of pid %d in attempt %d, and the worker was pid %d in attempt %d", k.pid, k.attempt, pid, attempt)
			}
		}
		switch m.head.Code {
		case wire.Busy, wire.NoWorker, wire.QueueFull, wire.Draining, wire.TooBig, wire.TooMany:
		default:
			k.maybe = k.attempt > 0
		}
		c.forget(m.head.Number)
		c.breathe(k)
	case wire.Progress:
		if k == nil || !k.progress {
			c.fail("a caller has PROGRESS %d %q, which it did not want", m.head.Number, m.body)
			return false
		}
		k.said = append(k.said, m.body)
	case wire.Drain:
		c.leaving = true
	case wire.Ping, wire.Pong:
	case wire.Refused:
		return false
	default:
		c.fail("a caller has %s", m.head.Type)
		return false
	}
	return true
}

func (c *wireCaller) forget(number uint64) {
	delete(c.open, number)
	delete(c.bodies, number)
	delete(c.goes, number)
}

// cancel sends the CANCELs whose time has come.
func (c *wireCaller) cancel() {
	for number, at := range c.goes {
		if at.Before(time.Now()) {
			delete(c.goes, number)
			h := wire.Head{Type: wire.Cancel, Number: number}
			if b, err := h.Append(nil); err == nil {
				_, _ = c.Write(frame(0, b))
			}
		}
	}
}

// next takes what the master says next. It is false at the end of the link.
func (c *wireCaller) next() bool {
	tick := time.NewTimer(time.Millisecond)
	defer tick.Stop()
	var due <-chan time.Time
	if len(c.goes) > 0 {
		due = tick.C
	}
	select {
	case m := <-c.heard:
		return c.message(m)
	case <-due:
		c.cancel()
		return true
	case <-c.closed:
		return false
	case <-c.stop:
		return false
	}
}

// over is the end of the link: what became of the open calls is not known.
func (c *wireCaller) over(end string) {
	c.Close()
	for _, k := range c.open {
		k.ended, k.end, k.maybe, k.local = time.Now(), end, true, true
	}
	for {
		select {
		case <-c.heard:
		case <-c.closed:
			return
		}
	}
}

// wires makes calls over links of bytes, several at a time.
func (g *game) wires(r *rand.Rand) {
	for g.more() {
		c, err := g.hail()
		if err != nil {
			g.rest(20 * time.Millisecond)
			continue
		}
		for alive := true; alive; alive = len(c.open) > 0 && c.next() {
			for len(c.open) < 6 && !c.leaving && alive {
				id, ok := g.take()
				if !ok {
					break
				}
				k := &g.calls[id]
				k.plan, k.by = g.plan(id), "wire"
				alive = c.call(k)
			}
			if r.IntN(300) == 0 {
				g.rest(time.Duration(r.IntN(100)) * time.Millisecond) // it does not read
			}
		}
		c.over("master lost")
	}
}

// sluggard makes calls with much to read, and does not read for so long that the
// master loses its patience.
func (g *game) sluggard() {
	c, err := g.hail()
	if err != nil {
		return
	}
	for range 24 {
		id, ok := g.take()
		if !ok {
			break
		}
		k := &g.calls[id]
		k.plan, k.by = g.plan(id), "sluggard"
		k.op, k.arg, k.size, k.progress, k.deadline, k.cancel = "echo", "-", randomBody/2, false, randomLong, 0
		if !c.call(k) {
			break
		}
	}
	g.rest(2 * time.Second)
	for len(c.open) > 0 && c.next() {
	}
	c.over("unread")
}

// pythonCallers are the modes of testdata/callers.py.
var pythonCallers = []string{"threads", "eventloop"}

// pythons makes calls from a process in Python, which is started again when it is
// killed.
func (g *game) pythons(mode string) {
	for g.more() {
		source, err := filepath.Abs("../python/src")
		if err != nil {
			g.fail("%v", err)
			return
		}
		out, said := io.Pipe()
		p, err := launch(g, said, []string{python(g), "testdata/callers.py", mode},
			"POWERHOSE_MASTER="+g.address, "PYTHONPATH="+source, "PYTHONPYCACHEPREFIX="+built.dir)
		if err != nil {
			g.fail("%v", err)
			return
		}
		go func() {
			<-p.exited
			said.Close()
		}()
		g.mu.Lock()
		g.scripts[mode] = p
		g.mu.Unlock()
		g.dictate(mode, p, bufio.NewScanner(out))
		g.mu.Lock()
		delete(g.scripts, mode)
		g.mu.Unlock()
		_ = p.in.Close()
		<-p.exited
		if code := p.ProcessState.ExitCode(); code > 0 || p.said() != "" {
			g.fail("the caller %s, pid %d: %v\n%s", mode, p.pid(), p.ProcessState, p.said())
		}
	}
}

// dictate tells a process which calls to make, eight at a time, and notes what it
// says of them.
func (g *game) dictate(mode string, p *proc, out *bufio.Scanner) {
	open := map[int]*call{}
	tell := func() {
		for len(open) < 8 {
			id, ok := g.take()
			if !ok {
				return
			}
			k := &g.calls[id]
			k.plan, k.by, k.caller, k.began = g.plan(id), mode, p.pid(), time.Now()
			if k.cancel > 0 && mode == "threads" { // there a caller cannot go
				k.deadline, k.cancel = k.cancel, 0
			}
			open[id] = k
			flag := map[bool]int{true: 1}
			fmt.Fprintf(p.in, "%d %s %s %d %s %d %d %d %g %g %g\n", id, k.op, k.arg, k.size, cmp.Or(k.kind, "-"), flag[k.repeatable], flag[k.urgent], flag[k.progress],
				k.deadline.Seconds(), max(k.busyWait, 0).Seconds(), k.cancel.Seconds())
		}
	}
	for tell(); len(open) > 0 && out.Scan(); tell() {
		// id, end, pid, attempt, whether it can have been started, then the rest
		line := strings.SplitN(out.Text(), "\t", 7)
		var id int
		if _, err := fmt.Sscan(line[0], &id); err != nil || len(line) != 7 || open[id] == nil {
			g.fail("%s says %q", mode, out.Text())
			return
		}
		k := open[id]
		delete(open, id)
		k.ended, k.end, k.maybe, k.text = time.Now(), line[1], line[4] == "1", line[6]
		_, _ = fmt.Sscan(line[2], &k.pid)
		_, _ = fmt.Sscan(line[3], &k.attempt)
		k.local = k.end == "cancelled" || k.end == "timeout" && k.pid == 0 || k.end == "too big" || k.end == "master lost" || k.end == "no master"
		if line[5] != "" {
			k.bad = errors.New(line[5])
		}
		g.breathe(k)
	}
	for _, k := range open {
		k.ended, k.end, k.maybe, k.local = time.Now(), "killed", true, true
	}
}
