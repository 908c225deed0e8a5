package powerhose

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"appbundle/powerhose/internal/wire"
)

// A raw is a peer of a master that is made of bytes: a link of it.
type raw struct {
	testing.TB
	net.Conn
	in *bufio.Reader
}

// rawLink shakes hands over a connection.
func rawLink(tb testing.TB, nc net.Conn, typ string) *raw {
	tb.Helper()
	tb.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		tb.Fatal(err)
	}
	r := &raw{tb, nc, bufio.NewReader(nc)}
	r.write(greeting("NULL"))
	r.write(readyOf(typ))
	if _, err := io.ReadFull(r.in, make([]byte, 64)); err != nil {
		tb.Fatalf("greeting: %v", err)
	}
	if flags, _, err := r.frame(); err != nil || flags != 4 {
		tb.Fatalf("READY: flags %d, %v", flags, err)
	}
	return r
}

func greeting(mechanism string) []byte {
	b := make([]byte, 64)
	b[0], b[8], b[9], b[10] = 0xff, 1, 0x7f, 3
	copy(b[12:], mechanism)
	return b
}

func readyOf(typ string) []byte {
	body := append([]byte("\x05READY\x0bSocket-Type"), 0, 0, 0, byte(len(typ)))
	body = append(body, typ...)
	return append([]byte{4, byte(len(body))}, body...)
}

func rawDial(tb testing.TB, address string) *raw {
	tb.Helper()
	nc, err := net.Dial("unix", address)
	if err != nil {
		tb.Fatal(err)
	}
	return rawLink(tb, nc, "DEALER")
}

func (r *raw) write(b []byte) {
	r.Helper()
	if _, err := r.Write(b); err != nil {
		r.Fatalf("write: %v", err)
	}
}

func frameOf(flags byte, b []byte) []byte {
	if len(b) < 256 {
		return append([]byte{flags, byte(len(b))}, b...)
	}
	return append(binary.BigEndian.AppendUint64([]byte{flags | 2}, uint64(len(b))), b...)
}

// messageOf is a head, and a body if its type has one.
func messageOf(tb testing.TB, h wire.Head, body string) []byte {
	tb.Helper()
	b, err := h.Append(nil)
	if err != nil {
		tb.Fatal(err)
	}
	if !h.Type.HasBody() {
		return frameOf(0, b)
	}
	return append(frameOf(1, b), frameOf(0, []byte(body))...)
}

func (r *raw) send(h wire.Head, body string) {
	r.Helper()
	r.write(messageOf(r, h, body))
}

func (r *raw) frame() (flags byte, b []byte, err error) {
	if flags, err = r.in.ReadByte(); err != nil {
		return 0, nil, err
	}
	size := make([]byte, 1)
	if flags&2 != 0 {
		size = make([]byte, 8)
	}
	if _, err := io.ReadFull(r.in, size); err != nil {
		return 0, nil, err
	}
	n := uint64(size[0])
	if flags&2 != 0 {
		n = binary.BigEndian.Uint64(size)
	}
	b = make([]byte, n)
	_, err = io.ReadFull(r.in, b)
	return flags, b, err
}

// read gives the next message, or the end.
func (r *raw) read() (h wire.Head, body string, err error) {
	flags, b, err := r.frame()
	if err != nil {
		return h, "", err
	}
	if err := wire.Decode(b, &h); err != nil {
		return h, "", err
	}
	if flags&1 != 0 {
		_, b, err = r.frame()
		body = string(b)
	}
	return h, body, err
}

// want reads a message of a type.
func (r *raw) want(t wire.Type) (wire.Head, string) {
	r.Helper()
	h, body, err := r.read()
	if err != nil || h.Type != t {
		r.Fatalf("%s (code %d, %q), %v; want %s", h.Type, h.Code, h.Text, err, t)
	}
	return h, body
}

// ends reads until the end of the link, and gives the code of a REFUSED.
func (r *raw) ends() (code wire.Code) {
	r.Helper()
	for {
		h, _, err := r.read()
		var late net.Error
		switch {
		case errors.As(err, &late) && late.Timeout():
			r.Fatal("the link does not end")
		case err != nil:
			return code
		case h.Type == wire.Refused:
			code = h.Code
		}
	}
}

// A rawWorker is registered, with both links.
type rawWorker struct {
	reg, work *raw
	welcome   wire.Head
}

// hello is a registration of this process.
func hello(name, socket string) wire.Head {
	h := wire.Head{Type: wire.Hello, PID: own(), Lowest: 1, Highest: 1, Window: 4, Name: []byte(name), Socket: []byte(socket)}
	copy(h.Incarnation[:], name+"0123456789abcdef")
	return h
}

// newRawWorker registers with a master.
func newRawWorker(tb testing.TB, address, name string) *rawWorker {
	tb.Helper()
	path := filepath.Join(filepath.Dir(address), name+".sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		tb.Fatal(err)
	}
	defer ln.Close()
	w := &rawWorker{reg: rawDial(tb, address)}
	h := hello(name, path)
	w.reg.send(h, "")
	w.welcome, _ = w.reg.want(wire.Welcome)
	nc, err := ln.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	w.work = rawLink(tb, nc, "ROUTER")
	again, _ := w.work.want(wire.Welcome)
	if again.Incarnation != w.welcome.Incarnation || again.Incarnation == [16]byte{} {
		tb.Fatalf("incarnations %x and %x", w.welcome.Incarnation, again.Incarnation)
	}
	w.work.send(h, "")
	return w
}

// memory is the resident memory of this process.
func memory() int64 { return ResidentBytes(os.Getpid()) }
