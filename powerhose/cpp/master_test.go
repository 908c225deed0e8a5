package cpp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"appbundle/powerhose/internal/wire"
)

// patience is how long a test waits for what has to come.
const patience = 20 * time.Second

// A master is played by a test: it listens, and says what the test tells it.
type master struct {
	t       *testing.T
	dir     string
	path    string
	l       *net.UnixListener
	welcome wire.Head
}

func newMaster(t *testing.T) *master {
	t.Helper()
	m := &master{t: t, dir: scratch(t), welcome: wire.Head{Type: wire.Welcome, Version: 1, Window: 4, Tries: 3, Period: 5000, MaxBody: 16 << 20}}
	m.welcome.Incarnation[0] = 'm'
	m.path = filepath.Join(m.dir, "m")
	m.listen()
	return m
}

func (m *master) listen() {
	m.t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: m.path, Net: "unix"})
	if err != nil {
		m.t.Fatal(err)
	}
	m.l = l
	m.t.Cleanup(func() { l.Close() })
}

// A process is a worker that a test started.
type process struct {
	t              *testing.T
	cmd            *exec.Cmd
	socket         string
	stdout, stderr output
	gone           chan struct{} // closed when it has ended
}

// output is what a process writes, while it writes it.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// start starts the worker of the tests for this master.
func (m *master) start(args ...string) *process {
	m.t.Helper()
	base := []string{"master=" + m.path, "name=w", "socket=" + filepath.Join(m.dir, "s"), "retry=1"}
	return m.startCommand(exec.Command(built(m.t, programs.worker), append(base, args...)...))
}

func (m *master) startCommand(cmd *exec.Cmd) *process {
	m.t.Helper()
	p := &process{t: m.t, cmd: cmd, socket: filepath.Join(m.dir, "s"), gone: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.stdout, &p.stderr
	cmd.WaitDelay = patience
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	go func() {
		cmd.Wait()
		close(p.gone)
	}()
	m.t.Cleanup(func() {
		cmd.Process.Kill()
		<-p.gone
		if m.t.Failed() {
			m.t.Logf("the worker wrote:\n%s", p.stderr.String())
		}
	})
	return p
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// exits waits for the end of the worker. The last lines of its log must have
// want, and nothing is on its standard output.
func (p *process) exits(status int, want string) {
	p.t.Helper()
	select {
	case <-p.gone:
	case <-time.After(patience):
		p.t.Fatalf("the worker does not end; its log:\n%s", p.stderr.String())
	}
	if got := p.cmd.ProcessState.ExitCode(); got != status {
		p.t.Errorf("the worker ended with %v, want status %d; its log:\n%s", p.cmd.ProcessState, status, p.stderr.String())
	}
	if !strings.Contains(p.stderr.String(), want) {
		p.t.Errorf("the log does not have %q:\n%s", want, p.stderr.String())
	}
	if out := p.stdout.String(); out != "" {
		p.t.Errorf("the worker wrote %q to its standard output", out)
	}
}

// leaves ends an idle worker as its supervisor does.
func (p *process) leaves(work *link) {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	work.recv(wire.Drain)
	work.recv(wire.Bye)
	work.send(wire.Head{Type: wire.Bye, Code: wire.Stop})
	p.exits(0, "")
}

// A link is one end of a connection that speaks ZMTP.
type link struct {
	t *testing.T
	c *net.UnixConn
	r *bufio.Reader
}

func newLink(t *testing.T, c *net.UnixConn) *link {
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &link{t, c, bufio.NewReader(c)}
}

// greeting and the READYs are written out in docs/POWERHOSE.md.
const greeting = "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

const (
	readyDealer = "\x04\x29\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00"
	readyRouter = "\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06ROUTER"
)

func (l *link) write(s string) {
	l.t.Helper()
	if _, err := io.WriteString(l.c, s); err != nil {
		l.t.Fatalf("write: %v", err)
	}
}

func (l *link) expect(want, what string) {
	l.t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(l.r, got); err != nil {
		l.t.Fatalf("%s: %v", what, err)
	}
	if string(got) != want {
		l.t.Fatalf("%s: got %q, want %q", what, got, want)
	}
}

// shake is the handshake of a master: a ROUTER on the registration link, a
// DEALER on the work link.
func (l *link) shake(own, peers string) {
	l.t.Helper()
	l.write(greeting)
	l.expect(greeting, "greeting")
	l.write(own)
	l.expect(peers, "READY")
}

func frame(flag byte, b []byte) []byte {
	if len(b) < 256 {
		return append([]byte{flag, byte(len(b))}, b...)
	}
	return append(binary.BigEndian.AppendUint64([]byte{flag | 2}, uint64(len(b))), b...)
}

func encode(t *testing.T, h *wire.Head) []byte {
	t.Helper()
	b, err := h.Append(nil)
	if err != nil {
		t.Fatalf("%v: %v", h.Type, err)
	}
	return b
}

func message(t *testing.T, h *wire.Head, body []byte) []byte {
	t.Helper()
	if !h.Type.HasBody() {
		return frame(0, encode(t, h))
	}
	return append(frame(1, encode(t, h)), frame(0, body)...)
}

func (l *link) send(h wire.Head, body ...byte) {
	l.t.Helper()
	l.write(string(message(l.t, &h, body)))
}

// job sends a job with much time.
func (l *link) job(number uint64, body string) {
	l.t.Helper()
	l.send(wire.Head{Type: wire.Job, Number: number, Left: 60000, Attempt: 1}, []byte(body)...)
}

// read gives the bytes of the next message.
func (l *link) read() (head, body []byte, err error) {
	flag, head, err := l.frame()
	if err == nil && flag&1 != 0 {
		_, body, err = l.frame()
	}
	return head, body, err
}

func (l *link) frame() (flag byte, b []byte, err error) {
	if flag, err = l.r.ReadByte(); err != nil {
		return 0, nil, err
	}
	size := make([]byte, 1)
	if flag&2 != 0 {
		size = make([]byte, 8)
	}
	if _, err = io.ReadFull(l.r, size); err != nil {
		return 0, nil, err
	}
	b = make([]byte, binary.BigEndian.Uint64(append(make([]byte, 8-len(size)), size...)))
	_, err = io.ReadFull(l.r, b)
	return flag, b, err
}

// recv gives the next message, which has to be of this type.
func (l *link) recv(want wire.Type) (wire.Head, []byte) {
	l.t.Helper()
	head, body, err := l.read()
	if err != nil {
		l.t.Fatalf("waiting for %v: %v", want, err)
	}
	var h wire.Head
	if err := wire.Decode(head, &h); err != nil {
		l.t.Fatal(err)
	}
	if h.Type != want {
		l.t.Fatalf("got %v %+v %q, want %v", h.Type, h, body, want)
	}
	return h, body
}

// result wants the result of a job.
func (l *link) result(number uint64, want string) {
	l.t.Helper()
	h, body := l.recv(wire.Result)
	if h.Number != number || string(body) != want || h.Run == 0 {
		l.t.Fatalf("got RESULT of %d after %d us: %.80q; want that of %d: %.80q", h.Number, h.Run, body, number, want)
	}
}

// fails wants the error of a job.
func (l *link) fails(number uint64, code wire.Code, text string) []byte {
	l.t.Helper()
	h, body := l.recv(wire.Error)
	if h.Number != number || h.Code != code || string(h.Text) != text {
		l.t.Fatalf("got ERROR of %d: %d %q, want that of %d: %d %q", h.Number, h.Code, h.Text, number, code, text)
	}
	return body
}

// ends wants the end of a link. A worker that had not read everything resets
// it.
func (l *link) ends() {
	l.t.Helper()
	head, _, err := l.read()
	if err == nil {
		l.t.Fatalf("got %q, want the end of the link", head)
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		l.t.Fatalf("got %v, want the end of the link", err)
	}
}

// refuses wants REFUSED and the end.
func (l *link) refuses(code wire.Code) {
	l.t.Helper()
	h, _ := l.recv(wire.Refused)
	if h.Code != code {
		l.t.Fatalf("got REFUSED %d %q, want %d", h.Code, h.Text, code)
	}
	l.ends()
}

// registration waits for a worker, and reads its HELLO.
func (m *master) registration() (*link, wire.Head, []byte) {
	m.t.Helper()
	if err := m.l.SetDeadline(time.Now().Add(patience)); err != nil {
		m.t.Fatal(err)
	}
	c, err := m.l.AcceptUnix()
	if err != nil {
		m.t.Fatal(err)
	}
	l := newLink(m.t, c)
	l.shake(readyRouter, readyDealer)
	head, _, err := l.read()
	if err != nil {
		m.t.Fatalf("waiting for HELLO: %v", err)
	}
	var h wire.Head
	if err := wire.Decode(head, &h); err != nil || h.Type != wire.Hello {
		m.t.Fatalf("got %v %v, want HELLO", h.Type, err)
	}
	return l, h, head
}

func (m *master) dial(socket string) *link {
	m.t.Helper()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		m.t.Fatal(err)
	}
	return newLink(m.t, c)
}

// attach makes the work link.
func (m *master) attach(hello wire.Head, bytesOfHello []byte) *link {
	m.t.Helper()
	l := m.dial(string(hello.Socket))
	l.shake(readyDealer, readyRouter)
	l.send(m.welcome)
	head, _, err := l.read()
	if err != nil || !bytes.Equal(head, bytesOfHello) {
		m.t.Fatalf("the work link begins with %q, %v, want the HELLO of the registration", head, err)
	}
	return l
}

// register is a whole registration.
func (m *master) register() (reg, work *link, hello wire.Head) {
	m.t.Helper()
	reg, hello, b := m.registration()
	reg.send(m.welcome)
	return reg, m.attach(hello, b), hello
}

// A gate holds a job up until it is opened.
type gate struct {
	t    *testing.T
	path string
}

func newGate(t *testing.T) *gate {
	t.Helper()
	g := &gate{t, filepath.Join(scratch(t), "g")}
	if err := syscall.Mkfifo(g.path, 0o600); err != nil {
		t.Fatal(err)
	}
	// Whatever becomes of the test, nobody hangs at the gate.
	t.Cleanup(func() {
		if f, err := os.OpenFile(g.path, os.O_RDWR|syscall.O_NONBLOCK, 0); err == nil {
			f.Close()
		}
	})
	return g
}

// reached waits until the job is at the gate; what it returns lets it through.
func (g *gate) reached() (open func()) {
	g.t.Helper()
	// Opening a FIFO waits for the other side.
	done := make(chan *os.File, 1)
	go func() {
		f, err := os.OpenFile(g.path, os.O_WRONLY, 0)
		if err != nil {
			f = nil
		}
		done <- f
	}()
	select {
	case f := <-done:
		if f == nil {
			g.t.Fatal("the gate cannot be opened")
		}
		return func() { f.Close() }
	case <-time.After(patience):
		g.t.Fatal("the job does not come to the gate")
		return nil
	}
}

func (g *gate) job() string { return "gate " + g.path }

// kindsOf lists the kinds of a HELLO.
func kindsOf(h wire.Head) []string {
	var all []string
	for k := range h.Kinds.All() {
		all = append(all, string(k))
	}
	slices.Sort(all)
	return all
}

func mode(t *testing.T, path string) string {
	t.Helper()
	st, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(st.Mode())
}
