package conformance

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"appbundle/powerhose/internal/wire"
)

// A peer is one end of a link, made of bytes: it says what no worker of ours
// would.
type peer struct {
	testing.TB
	net.Conn
	in *bufio.Reader
}

// greeting is the beginning of a link, as somebody says it who has this
// mechanism.
func greeting(mechanism string) []byte {
	b := make([]byte, 64)
	b[0], b[8], b[9], b[10] = 0xff, 1, 0x7f, 3
	copy(b[12:], mechanism)
	return b
}

// ready is what a socket of a type says of itself.
func ready(socketType string) []byte {
	b := append([]byte("\x05READY\x0bSocket-Type\x00\x00\x00"), byte(len(socketType)))
	b = append(b, socketType...)
	return append([]byte{4, byte(len(b))}, b...)
}

func shake(tb testing.TB, nc net.Conn, socketType string) *peer {
	tb.Helper()
	p := &peer{tb, nc, bufio.NewReader(nc)}
	p.write(append(greeting("NULL"), ready(socketType)...))
	if _, err := io.ReadFull(p.in, make([]byte, 64)); err != nil {
		tb.Fatalf("greeting: %v", err)
	}
	if flags, _, err := p.frame(); err != nil || flags != 4 {
		tb.Fatalf("READY: flags %d, %v", flags, err)
	}
	return p
}

func (p *peer) write(b []byte) {
	p.Helper()
	if _, err := p.Write(b); err != nil {
		p.Fatal(err)
	}
}

func (p *peer) frame() (flags byte, b []byte, err error) {
	if flags, err = p.in.ReadByte(); err != nil {
		return 0, nil, err
	}
	size := make([]byte, 8)
	if flags&2 != 0 {
		_, err = io.ReadFull(p.in, size)
	} else {
		size[7], err = p.in.ReadByte()
	}
	if err != nil {
		return 0, nil, err
	}
	b = make([]byte, binary.BigEndian.Uint64(size))
	_, err = io.ReadFull(p.in, b)
	return flags, b, err
}

// frame is a frame in bytes.
func frame(flags byte, b []byte) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{flags | 2}, uint64(len(b))), b...)
}

func (p *peer) send(h wire.Head, body string) {
	p.Helper()
	b, err := h.Append(nil)
	if err != nil {
		p.Fatal(err)
	}
	if !h.Type.HasBody() {
		p.write(frame(0, b))
		return
	}
	p.write(append(frame(1, b), frame(0, []byte(body))...))
}

func (p *peer) read() (h wire.Head, body string, err error) {
	flags, b, err := p.frame()
	if err != nil {
		return h, "", err
	}
	if err := wire.Decode(b, &h); err != nil {
		return h, "", err
	}
	if flags&1 != 0 {
		_, b, err = p.frame()
		body = string(b)
	}
	return h, body, err
}

// want reads a message of a type.
func (p *peer) want(t wire.Type) (wire.Head, string) {
	p.Helper()
	h, body, err := p.read()
	if err != nil || h.Type != t {
		p.Fatalf("%s (code %d, %q), %v; want %s", h.Type, h.Code, h.Text, err, t)
	}
	return h, body
}

// refused reads until the end of the link, which must have been announced.
func (p *peer) refused(want wire.Code) (text string) {
	p.Helper()
	var last wire.Head
	for {
		h, _, err := p.read()
		if err != nil {
			if last.Type != wire.Refused || last.Code != want {
				p.Errorf("closed (%v) after %s with code %d %q, want REFUSED with %d", err, last.Type, last.Code, last.Text, want)
			}
			return string(last.Text)
		}
		last = h
	}
}

// hello is the registration of this process.
func hello(name, socket string) wire.Head {
	h := wire.Head{Type: wire.Hello, PID: uint32(os.Getpid()), Lowest: 1, Highest: 1, Window: 4, Name: []byte(name), Socket: []byte(socket)}
	copy(h.Incarnation[:], name+"0123456789abcdef")
	return h
}

// A rawWorker is registered, with both links.
type rawWorker struct{ reg, work *peer }

func newRawWorker(tb testing.TB, address, name string) rawWorker {
	tb.Helper()
	path := filepath.Join(filepath.Dir(address), name+".sock")
	ln := listen(tb, path)
	w := rawWorker{reg: shake(tb, dial(tb, address), "DEALER")}
	h := hello(name, path)
	w.reg.send(h, "")
	w.reg.want(wire.Welcome)
	w.work = ln.accept()
	w.work.want(wire.Welcome)
	w.work.send(h, "")
	return w
}

// A listener is a socket at which masters and workers of bytes listen.
type listener struct {
	testing.TB
	*net.UnixListener
}

func listen(tb testing.TB, path string) listener {
	tb.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { ln.Close() })
	if err := ln.SetDeadline(time.Now().Add(patience)); err != nil {
		tb.Fatal(err)
	}
	return listener{tb, ln}
}

func (l listener) accept() *peer {
	l.Helper()
	nc, err := l.Accept()
	if err != nil {
		l.Fatal(err)
	}
	return l.greet(nc)
}

func (l listener) greet(nc net.Conn) *peer {
	l.Helper()
	l.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		l.Fatal(err)
	}
	return shake(l, nc, "ROUTER")
}

// worker is a master's part of a registration.
func (l listener) worker() rawWorker {
	l.Helper()
	p := l.accept()
	p.want(wire.Hello)
	return l.attach(p)
}

// attach is what follows the HELLO of a worker. Its socket is beside that of the
// master.
func (l listener) attach(reg *peer) rawWorker {
	l.Helper()
	h := wire.Head{Type: wire.Welcome, Version: 1, Window: 4, Tries: 3, Period: 60000, MaxBody: 1 << 20, Incarnation: [16]byte{1}}
	reg.send(h, "")
	work := shake(l, dial(l, filepath.Join(filepath.Dir(l.Addr().String()), "w.sock")), "DEALER")
	work.send(h, "")
	work.want(wire.Hello)
	return rawWorker{reg, work}
}
