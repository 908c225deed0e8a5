package cpp

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"appbundle/internal/zmq"
	"appbundle/powerhose/internal/wire"
)

// A tcpMaster is a master at a port of this host, on CURVE as it is in Go, with
// the files of keys for its worker.
type tcpMaster struct {
	*master
	ln          *zmq.Listener
	own         zmq.SecretKey
	worker      zmq.PublicKey
	workerZ85   string
	key, public string // files: the worker's secret, the master's public key
	links       chan *tcpLink
}

// A tcpLink is one end of a link over TCP.
type tcpLink struct {
	t  *testing.T
	l  *zmq.Link
	in chan [][]byte // closed at the end
}

func newTCPMaster(t *testing.T) *tcpMaster {
	t.Helper()
	m := &tcpMaster{master: newMaster(t), links: make(chan *tcpLink)}
	m.l.Close()
	m.welcome.Window = 1
	var masterPublic zmq.PublicKey
	var workerSecret zmq.SecretKey
	var errs [2]error
	masterPublic, m.own, errs[0] = zmq.GenerateKey()
	m.worker, workerSecret, errs[1] = zmq.GenerateKey()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	m.workerZ85 = workerSecret.Z85()
	m.key = m.file("worker.key", "# appbundle secret key\n"+m.workerZ85+"\n", 0o600)
	m.public = m.file("master.key.pub", "# appbundle public key\n"+masterPublic.String()+"\n", 0o644)
	return m
}

func (m *tcpMaster) file(name, text string, mode os.FileMode) string {
	m.t.Helper()
	path := filepath.Join(m.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask is
		m.t.Fatal(err)
	}
	return path
}

// serve listens for workers with one of the keys.
func (m *tcpMaster) serve(allow ...zmq.PublicKey) {
	m.t.Helper()
	ln, err := zmq.Listen("tcp://127.0.0.1:0", 0)
	if err != nil {
		m.t.Fatal(err)
	}
	m.ln = ln
	cfg := zmq.Config{Type: zmq.TypeRouter, Security: &zmq.CurveServer{Secret: m.own, Allow: allow}}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		if err := ln.Serve(ctx, cfg, func(l *zmq.Link) {
			defer context.AfterFunc(ctx, l.Close)()
			link := &tcpLink{m.t, l, make(chan [][]byte, 16)}
			select {
			case m.links <- link:
				link.read()
			case <-ctx.Done():
			}
		}); err != nil {
			m.t.Error(err)
		}
	})
	m.t.Cleanup(all.Wait)
	m.t.Cleanup(cancel)
}

// args are those of a worker of this master.
func (m *tcpMaster) args(more ...string) []string {
	return append([]string{"name=w", "retry=1", "master=" + m.ln.Endpoint(), "socket=tcp://127.0.0.1:0", "key=" + m.key, "master_key=" + m.public}, more...)
}

func (m *tcpMaster) start(args ...string) *process {
	m.t.Helper()
	return m.startCommand(exec.Command(built(m.t, programs.worker), m.args(args...)...))
}

// read takes what comes on a link, to its end.
func (l *tcpLink) read() {
	defer close(l.in)
	_ = l.l.Serve(func(m *zmq.Message) {
		var frames [][]byte
		for _, f := range m.Frames {
			frames = append(frames, bytes.Clone(f))
		}
		l.in <- frames
	})
}

func (l *tcpLink) send(h wire.Head, body ...byte) {
	l.t.Helper()
	frames := [][]byte{encode(l.t, &h)}
	if h.Type.HasBody() {
		frames = append(frames, body)
	}
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	if err := l.l.Send(ctx, frames...); err != nil {
		l.t.Fatalf("%v: %v", h.Type, err)
	}
}

func (l *tcpLink) recv(want wire.Type) (h wire.Head, head, body []byte) {
	l.t.Helper()
	select {
	case frames, ok := <-l.in:
		if !ok {
			l.t.Fatalf("the link ended; want %v", want)
		}
		if err := wire.Decode(frames[0], &h); err != nil || h.Type != want {
			l.t.Fatalf("got %v %v %q, want %v", h.Type, err, frames, want)
		}
		if len(frames) > 1 {
			body = frames[1]
		}
		return h, frames[0], body
	case <-time.After(patience):
		l.t.Fatalf("nothing came; want %v", want)
		return h, nil, nil
	}
}

func (l *tcpLink) ends() {
	l.t.Helper()
	select {
	case frames, ok := <-l.in:
		if ok {
			l.t.Fatalf("got %q, want the end of the link", frames)
		}
	case <-time.After(patience):
		l.t.Fatal("the link does not end")
	}
}

func (l *tcpLink) result(number uint64, job, want string) {
	l.t.Helper()
	l.send(wire.Head{Type: wire.Job, Number: number, Left: 60000, Attempt: 1}, []byte(job)...)
	if h, _, body := l.recv(wire.Result); h.Number != number || string(body) != want {
		l.t.Fatalf("RESULT of %d: %.80q; want that of %d: %.80q", h.Number, body, number, want)
	}
}

// registration waits for a worker, and reads its HELLO.
func (m *tcpMaster) registration() (reg *tcpLink, h wire.Head, hello []byte) {
	m.t.Helper()
	select {
	case reg = <-m.links:
		h, hello, _ = reg.recv(wire.Hello)
		return reg, h, hello
	case <-time.After(patience):
		m.t.Fatal("no worker comes")
		return nil, h, nil
	}
}

// dial makes a link to the socket of a worker that has a key.
func (m *tcpMaster) dial(socket string, secret zmq.SecretKey, worker zmq.PublicKey) (*tcpLink, error) {
	m.t.Helper()
	l, err := zmq.Dial(m.t.Context(), socket, zmq.Config{Type: zmq.TypeDealer, Security: &zmq.CurveClient{Secret: secret, Server: worker}})
	if err != nil {
		return nil, err
	}
	link := &tcpLink{m.t, l, make(chan [][]byte, 16)}
	var reading sync.WaitGroup
	reading.Go(link.read)
	m.t.Cleanup(reading.Wait)
	m.t.Cleanup(l.Close)
	return link, nil
}

func (m *tcpMaster) attach(h wire.Head, hello []byte) *tcpLink {
	m.t.Helper()
	work, err := m.dial(string(h.Socket), m.own, m.worker)
	if err != nil {
		m.t.Fatal(err)
	}
	work.send(m.welcome)
	if _, again, _ := work.recv(wire.Hello); !bytes.Equal(again, hello) {
		m.t.Fatalf("the work link begins with %q, want the HELLO of the registration", again)
	}
	return work
}

func (m *tcpMaster) register() (reg, work *tcpLink, h wire.Head, hello []byte) {
	m.t.Helper()
	reg, h, hello = m.registration()
	reg.send(m.welcome)
	return reg, m.attach(h, hello), h, hello
}

// A worker on another host has a port and a key, one job at a time, and all else
// as on this one.
func TestTCP(t *testing.T) {
	t.Parallel()
	m := newTCPMaster(t)
	m.serve(m.worker)
	p := m.start("window=7")
	reg, work, h, hello := m.register()
	host, port, err := net.SplitHostPort(strings.TrimPrefix(string(h.Socket), "tcp://"))
	if err != nil || host != "127.0.0.1" || port == "0" || h.Window != 1 || string(h.Name) != "w" || int(h.PID) != p.cmd.Process.Pid {
		t.Errorf("HELLO = %+v", h)
	}
	body := make([]byte, 5<<20+1)
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for i := range body {
		body[i] = byte(r.Uint32())
	}
	body[0] = 0 // and not a word that the worker knows
	for n, size := range []int{0, 1, 222, 223, 255, 256, 65536, len(body)} {
		work.result(uint64(n+1), string(body[:size]), string(body[:size]))
	}
	reg.send(wire.Head{Type: wire.Ping, Number: 7})
	if pong, _, _ := reg.recv(wire.Pong); pong.Number != 7 {
		t.Errorf("PONG = %+v", pong)
	}
	if !work.l.Alive(t.Context()) || !reg.l.Alive(t.Context()) {
		t.Error("a PING of ZMTP is not answered")
	}
	// Links to hosts that are out of reach end after period times tries.
	work.result(20, "outage", "15000 15000")
	// A child has nothing of it.
	work.result(21, "exec", "0\n")
	// There is one work link.
	if second, err := m.dial(string(h.Socket), m.own, m.worker); err == nil {
		second.ends()
	}
	// It comes back as who it was, at the port that it had.
	work.l.Close()
	reg.ends()
	_, work, _, again := m.register()
	if !bytes.Equal(again, hello) {
		t.Errorf("the second HELLO is %q, the first %q", again, hello)
	}
	work.result(1, "again", "again")
	p.signal(syscall.SIGTERM)
	work.recv(wire.Drain)
	work.recv(wire.Bye)
	work.send(wire.Head{Type: wire.Bye, Code: wire.Stop})
	p.exits(0, "leaves: SIGTERM")
}

// Whoever comes to the port of a worker gets nothing, and the master gets
// through.
func TestTCPStrangers(t *testing.T) {
	t.Parallel()
	m := newTCPMaster(t)
	m.serve(m.worker)
	p := m.start("handshake=20000")
	reg, h, hello := m.registration()
	reg.send(m.welcome)
	address := strings.TrimPrefix(string(h.Socket), "tcp://")
	comes := func(first string) {
		t.Helper()
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := c.Write([]byte(first)); err != nil {
			t.Fatal(err)
		}
	}
	comes("GET / HTTP/1.1\r\n\r\n")
	comes(greeting + readyDealer)
	_, other, err := zmq.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.dial(string(h.Socket), other, m.worker)
	if want := "client key " + other.Public().String() + " is not that of the master"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a master with another key gets %v, want %q", err, want)
	}
	if _, err := m.dial(string(h.Socket), m.own, other.Public()); err == nil || !strings.Contains(err.Error(), "closed the connection") {
		t.Errorf("a master that takes it for another worker gets %v", err)
	}
	for range 10 { // who says nothing does not keep the master out
		comes("")
	}
	work := m.attach(h, hello)
	work.result(1, "here", "here")
	p.signal(syscall.SIGTERM)
	work.recv(wire.Drain)
	work.recv(wire.Bye)
	work.send(wire.Head{Type: wire.Bye, Code: wire.Stop})
	p.exits(0, "")
	for _, want := range []string{"does not speak ZMTP", "the peer wants the mechanism NULL; this link is CURVE", "is not that of the master", "a box does not open"} {
		if !strings.Contains(p.stderr.String(), want) {
			t.Errorf("the log does not have %q:\n%s", want, p.stderr.String())
		}
	}
}

// A worker that the master does not let in says why, and ends.
func TestTCPRefused(t *testing.T) {
	t.Parallel()
	m := newTCPMaster(t)
	other, _, err := zmq.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	m.serve(other)
	m.start().exits(69, ": the peer refuses the link: not admitted: client key "+m.worker.String()+" is not on the list")
	m.start("master_key="+m.file("other.pub", other.String(), 0o644)).exits(69, "the peer closed the link in the handshake: it has another key")

	null, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := null.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				_, _ = c.Write([]byte(greeting + readyRouter))
				_, _ = c.Read(make([]byte, 200))
			})
		}
	})
	t.Cleanup(all.Wait)
	t.Cleanup(func() { null.Close() })
	m.start("master=tcp://"+null.Addr().String()).exits(69, "the peer wants the mechanism NULL; this link is CURVE")
}

// What is wrong with addresses and keys is said before a byte is sent.
func TestTCPPlaces(t *testing.T) {
	t.Parallel()
	m := newTCPMaster(t)
	m.serve(m.worker)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	text := m.workerZ85
	hint := ": give tcp://HOST:PORT, the address at which the master reaches this worker; port 0 is one that is free"
	type refused struct {
		arg    string
		status int
		want   string
	}
	cases := []refused{
		{"master=tcp://h", 2, "tcp://h: not tcp://HOST:PORT"},
		{"master=tcp://h:0", 2, "tcp://h:0: a master has a port"},
		{"master=" + m.path, 2, m.path + ": a Unix socket has no keys"},
		{"socket=", 2, "a worker of " + m.ln.Endpoint() + " needs a socket" + hint},
		{"socket=" + m.path, 2, "cannot reach this socket" + hint},
		{"socket=tcp://127.0.0.1", 2, "tcp://127.0.0.1: not tcp://HOST:PORT"},
		{"listen=tcp://*:0", 2, "tcp://127.0.0.1:0: give the port that leads to tcp://*:0"},
		{"listen=/run/x", 2, "/run/x: not tcp://HOST:PORT"},
		{"key=", 2, "TCP needs a key; set POWERHOSE_KEY"},
		{"master_key=", 2, "TCP needs the key of the master; set POWERHOSE_MASTER_KEY"},
		{"socket=tcp://192.0.2.1:0", 3, "tcp://192.0.2.1:0: Cannot assign requested address"},
		{"socket=tcp://" + taken.Addr().String(), 3, "Address already in use; give each worker a port of its own, or 0 for a free one"},
		{"key=" + m.dir + "/none", 3, "key file " + m.dir + "/none: No such file or directory"},
		{"key=" + m.dir, 3, "key file " + m.dir + ": is no regular file"},
		{"key=" + m.file("open", text, 0o640), 3, "has mode 0640, others can read it; chmod 600 " + m.dir + "/open"},
		{"key=" + m.file("short", text[1:], 0o600), 3, "short: 39 characters; a key has 40; a secret key is 40 characters of Z85 and a newline"},
		{"key=" + m.file("digit", "~"+text[1:], 0o600), 3, "a character that Z85 does not have"},
		{"key=" + m.file("high", "%%%%%"+text[5:], 0o600), 3, "five characters that are more than 32 bits"},
		{"key=" + m.file("zeros", strings.Repeat("0", 40), 0o600), 3, "a key of zeros"},
		{"key=" + m.file("x.pub", text, 0o600), 3, "x.pub: that is the name of a public key; give the file of the secret one, as " + m.dir + "/x"},
		{"key=" + m.file("wrong", "# appbundle public key\n"+text, 0o600), 3, "wrong: it says that it has a public key; give the file of the secret one"},
		{"master_key=" + m.key, 3, "worker.key:1: it says that it has a secret key; give the file of the public key of the master"},
		{"master_key=" + m.file("empty", "# nothing\n\n", 0o644), 3, "no key; it is to have the public key of the master"},
		{"master_key=" + m.file("two", m.worker.String()+" # ours\n\n"+m.worker.String(), 0o644), 3, "two:3: a second key; a master has one"},
		{"master_key=" + m.file("behind", m.worker.String()+" x", 0o644), 3, "behind:1: something behind the key"},
		{"master_key=" + m.file("written", m.worker.String(), 0o646), 3, "has mode 0646, others can write it; chmod 644 "},
		{"master_key=" + m.file("secret", text, 0o600), 3, "the own secret key; it is to have the public key of the master"},
	}
	for _, host := range []string{"*", "0.0.0.0", "0", "[::]"} {
		cases = append(cases, refused{"socket=tcp://" + host + ":0", 2, "that is every address of this host" + hint})
	}
	for _, c := range cases {
		p := m.start(c.arg)
		p.exits(c.status, c.want)
		if strings.Contains(p.stderr.String(), text[8:20]) {
			t.Errorf("%s: the log shows the secret key:\n%s", c.arg, p.stderr.String())
		}
	}
	if os.Getuid() == 0 {
		path := m.file("foreign", text, 0o600)
		if err := os.Chown(path, 4242, 4242); err != nil {
			t.Fatal(err)
		}
		m.start("key="+path).exits(3, "belongs to user 4242; chown 0 "+path)
	}
	m.start("socket=s", "key=", "master_key=", "master="+m.path, "listen=tcp://*:0").exits(2, "listen is for a socket over TCP")
	m.start("key=", "master_key=", "master="+m.path).exits(2, "the master is at a Unix socket, "+m.path+"; so is its worker")
}

// A worker behind a translation of addresses tells another address than that at
// which it listens; files of keys may be named by the environment.
func TestTCPListen(t *testing.T) {
	t.Parallel()
	m := newTCPMaster(t)
	m.serve(m.worker)
	cmd := exec.Command(built(t, programs.worker), m.args("key=", "master_key=", "socket=tcp://192.0.2.7:4711", "listen=tcp://*:0")...)
	cmd.Env = append(os.Environ(), "POWERHOSE_KEY="+m.key, "POWERHOSE_MASTER_KEY="+m.public)
	m.startCommand(cmd)
	if _, h, _ := m.registration(); string(h.Socket) != "tcp://192.0.2.7:4711" {
		t.Errorf("the master is told %s", h.Socket)
	}
}

// Bad handshakes and boxes are refused, each for its reason, and a length takes no
// memory.
func TestCurveHostile(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(built(t, programs.bytes), "hostile").CombinedOutput()
	if err != nil {
		t.Fatalf("bytes hostile: %v\n%s", err, out)
	}
	want, err := os.ReadFile("testdata/hostile.txt")
	if err != nil {
		t.Fatal(err)
	}
	if string(out) != string(want) {
		t.Errorf("bytes hostile says\n%swant, as in testdata/hostile.txt,\n%s", out, want)
	}
}

// Whatever somebody between two links does, what one receives is what the other
// has sent, or less.
func TestCurveBetween(t *testing.T) {
	t.Parallel()
	seed := strconv.FormatInt(time.Now().UnixNano(), 10)
	if out, err := exec.Command(built(t, programs.bytes), "between", seed, "500").CombinedOutput(); err != nil {
		t.Errorf("bytes between %s 500: %v\n%s", seed, err, out)
	}
}

// Keys are written as libzmq and Go write them.
func TestZ85(t *testing.T) {
	t.Parallel()
	public, _, err := zmq.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	rfc := "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6" // of RFC 32
	for text, want := range map[string]string{public.String(): public.String(), rfc: rfc, rfc[1:]: "39 characters; a key has 40"} {
		if got := ask(t, []string{"z85 =" + hex.EncodeToString([]byte(text))}); got[0] != want {
			t.Errorf("%s: got %s, want %s", text, got[0], want)
		}
	}
}

// An address has a host and a port, and IPv6 is in brackets.
func TestAddresses(t *testing.T) {
	t.Parallel()
	const wrong = ": not tcp://HOST:PORT, with an IPv6 address as in tcp://[::1]:7000"
	cases := map[string]string{
		"a.example:7": "a.example 7", "127.0.0.1:0": "127.0.0.1 0", "[::1]:65535": "::1 65535", "[fe80::1%eth0]:1": "fe80::1%eth0 1",
		strings.Repeat("x", 250) + ":1": ": an address has at most 255 bytes",
	}
	for _, bad := range []string{"", "h", ":1", "h:", "h:x", "h:65536", "h:99999999999999999999", "h:-1", "h: 1", "::1:1", "[::1]", "[::1:1", "[h]:1", "h/x:1", "u@h:1", "h\x00:1"} {
		cases[bad] = wrong[strings.LastIndex(wrong, ": "):]
	}
	var lines, want []string
	for address, w := range cases {
		lines = append(lines, "split ="+hex.EncodeToString([]byte("tcp://"+address)))
		want = append(want, w)
	}
	for i, got := range ask(t, lines) {
		if got != want[i] {
			t.Errorf("%s: got %q, want %q", lines[i], got, want[i])
		}
	}
}

// The master may be one of libzmq, as it is in Python and in C++.
func TestLibzmqCurve(t *testing.T) {
	t.Parallel()
	python, err := filepath.Abs("../../out/servers/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(scratch(t), "master")
	if err := read("testdata/master.cpp", "testdata/master.py"); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("g++", append(strict[:len(strict):len(strict)], "-o", program, "testdata/master.cpp", "-lzmq")...).CombinedOutput(); err != nil {
		t.Fatalf("g++: %v; tools/setup test installs what it needs\n%s", err, out)
	}
	for name, argv := range map[string][]string{"pyzmq": {python, "testdata/master.py"}, "C++": {program}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newTCPMaster(t)
			env := []string{"SECRET=" + m.own.Z85(), "PUBLIC=" + m.own.Public().String(), "WORKER=" + m.worker.String()}
			playLibzmq(t, m.welcome, argv, env, "tcp://127.0.0.1:*", func(endpoint string) *process {
				return m.startCommand(exec.Command(built(t, programs.worker), "name=w", "retry=50", "master="+endpoint,
					"socket=tcp://127.0.0.1:0", "key="+m.key, "master_key="+m.public))
			})
		})
	}
}
