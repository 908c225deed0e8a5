package zmq

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"testing"
	"time"
)

// A script is a connection on which a peer has written everything it ever will.
type script struct {
	io.Reader
	written bytes.Buffer
}

func (s *script) Write(p []byte) (int, error)      { return s.written.Write(p) }
func (s *script) Close() error                     { return nil }
func (s *script) LocalAddr() net.Addr              { return &net.UnixAddr{Net: "unix"} }
func (s *script) RemoteAddr() net.Addr             { return &net.UnixAddr{Net: "unix"} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// A greeting that is refused in part is refused as a whole, with the same words.
func FuzzGreeting(f *testing.F) {
	f.Add(greeting(0, "NULL"))
	f.Add(greeting(1, "CURVE"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte("\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:min(len(b), greetingSize)]
		whole := checkGreeting(b, "NULL")
		for n := range b {
			if part := checkGreeting(b[:n], "NULL"); part != nil && (whole == nil || whole.Error() != part.Error()) {
				t.Fatalf("%d bytes: %v, all: %v", n, part, whole)
			}
		}
		if whole == nil && len(b) == greetingSize && (b[0] != 0xff || b[9] != 0x7f || b[10] < 3 || !bytes.HasPrefix(b[12:], []byte("NULL\x00"))) {
			t.Fatalf("accepted %x", b)
		}
	})
}

// Metadata that is accepted is the sum of its properties, and names a type.
func FuzzMetadata(f *testing.F) {
	f.Add(slices.Concat(property("Socket-Type", "DEALER"), property("Identity", "me")))
	f.Add([]byte("\x03ab"))
	f.Add([]byte("\x01a\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		size := 0
		err := parseMetadata(b, func(name string, value []byte) error {
			size += 1 + 4 + len(value)
			if name == "" {
				t.Fatal("a property without a name")
			}
			return nil
		})
		var p Peer
		parsed := p.parse(b)
		if err != nil && parsed == nil || size > len(b) {
			t.Fatalf("%x: %v, parsed as %+v", b, err, p)
		}
		release, err := (&Config{Type: TypeRouter}).vet(&p)
		if err == nil {
			release()
			if !slices.Contains(fits[TypeRouter], p.Type) || len(p.Identity) > 255 {
				t.Fatalf("accepted %+v", p)
			}
		}
	})
}

// A command that is accepted is written as it was.
func FuzzCommand(f *testing.F) {
	f.Add([]byte("\x04PING\x00\x00context"))
	f.Add([]byte("\x05ERROR\x03why"))
	f.Add([]byte("\x09SUBSCRIBEtopic"))
	f.Add([]byte("\x05PIN"))
	f.Fuzz(func(t *testing.T, b []byte) {
		name, body, err := splitCommand(b)
		if err != nil {
			return
		}
		if got := append(appendName(nil, name), body...); !bytes.Equal(got, b) {
			t.Fatalf("%x is read as %q %x", b, name, body)
		}
		if _, context, err := parsePing(body); err == nil && len(context) > 16 {
			t.Fatalf("a context of %d bytes", len(context))
		}
		_ = parseReason(body).Error()
	})
}

// Whatever a peer says from its greeting on, Open gives a link or an error, and
// takes no more from the connection than the handshake.
func FuzzHandshake(f *testing.F) {
	f.Add(slices.Concat(greeting(1, "NULL"), readyOf("DEALER", "me"), message("rest")), true)
	f.Add(slices.Concat(greeting(0, "NULL"), readyOf("FOO", "")), true)
	f.Add(slices.Concat(greeting(0, "NULL"), appendCommand(nil, "READY", nil)), false)
	f.Add(slices.Concat(greeting(0, "NULL"), appendCommand(nil, "ERROR", []byte("\x03why"))), false)
	f.Fuzz(func(t *testing.T, b []byte, server bool) {
		s := &script{Reader: bytes.NewReader(b)}
		l, err := Open(context.Background(), s, server, Config{Type: TypeRouter})
		if err != nil {
			return
		}
		rest := s.Reader.(*bytes.Reader).Len()
		if used := len(b) - rest; used < greetingSize || used > greetingSize+9+6+512 {
			t.Fatalf("a handshake of %d bytes", used)
		}
		if !slices.Contains(fits[TypeRouter], l.Peer().Type) {
			t.Fatalf("a link with %+v", l.Peer())
		}
	})
}

// fuzzLimits are small, so that a fuzzer finds them.
var fuzzLimits = Limits{Frames: 3, First: 40, Message: 100}

// readAll gives the messages that a link reads from b.
func readAll(t *testing.T, b []byte, s *session) (all [][][]byte, err error) {
	cfg, err := Config{Type: TypeRouter, Limits: fuzzLimits}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	l := newLink(&script{Reader: bytes.NewReader(b)}, cfg, Peer{}, s, nil)
	l.handle = func(m *Message) {
		size := 0
		for _, f := range m.Frames {
			size += len(f)
		}
		if len(m.Frames) == 0 || len(m.Frames) > fuzzLimits.Frames || size > int(fuzzLimits.Message) || len(m.Frames[0]) > int(fuzzLimits.First) {
			t.Fatalf("a message of %d frames and %d bytes is over the limits", len(m.Frames), size)
		}
		all = append(all, m.Clone())
		m.Release()
	}
	return all, l.read(0)
}

// What a link reads is what was written, and nothing over the limits.
func FuzzFrames(f *testing.F) {
	f.Add(message("head", "body"))
	f.Add(slices.Concat(message("one"), appendCommand(nil, "PING", []byte{0, 0}), message("two")))
	f.Add(binary.BigEndian.AppendUint64([]byte{flagLong}, 1<<62))
	f.Add(bytes.Repeat(frame(flagMore, ""), 5))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := readAll(t, b, nil)
		var again []byte
		for _, m := range all {
			var frames []string
			for _, f := range m {
				frames = append(frames, string(f))
			}
			again = append(again, message(frames...)...)
		}
		same, err2 := readAll(t, again, nil)
		if err2 != nil || len(same) != len(all) {
			t.Fatalf("%d messages are read again as %d, %v (at first: %v)", len(all), len(same), err2, err)
		}
		if err == nil && len(again) > len(b) {
			t.Fatalf("%d bytes are read as %d", len(b), len(again))
		}
	})
}

// The four commands of a CURVE handshake, and what is in their boxes.
func FuzzCurveHandshake(f *testing.F) {
	f.Add(make([]byte, helloSize))
	f.Add(make([]byte, welcomeSize))
	f.Add(make([]byte, initiateBase+30))
	f.Add(make([]byte, readyBase))
	own, peer := [32]byte{1}, [32]byte{2}
	public := [32]byte(SecretKey(peer).Public())
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, _, err := openHello(b, &own); err == nil {
			t.Fatal("a HELLO without the key is accepted")
		}
		if _, _, err := openWelcome(b, &public, &own); err == nil {
			t.Fatal("a WELCOME without the key is accepted")
		}
		s := newSession(&public, &own, true)
		if _, err := openReady(b, s); err == nil {
			t.Fatal("a READY without the key is accepted")
		}
		cookie := make([]byte, cookieSize)
		if _, _, err := openInitiate(b, cookie, s, &public, &own, PublicKey{}); err == nil {
			t.Fatal("an INITIATE without the key is accepted")
		}
		// A client that has the keys of the connection may put anything into it.
		inside := slices.Concat(cookie, make([]byte, 8))
		inside[cookieSize+7] = 1
		inside = sealedWith(inside, b, shortNonce("CurveZMQINITIATE", 1), s)
		if _, _, err := openInitiate(inside, cookie, newSession(&public, &own, true), &public, &own, PublicKey{}); err == nil {
			t.Fatal("an INITIATE without a vouch is accepted")
		}
	})
}

// Frames in boxes: what is not in a box of the peer is refused, and what is
// follows the limits.
func FuzzCurveMessages(f *testing.F) {
	f.Add([]byte("\x05\x00hello\x06\x01 world"), true)
	f.Add([]byte("\x0a\x02\x04PING\x00\x00\x00"), true)
	f.Add([]byte("\xff\x04"), true)
	f.Add(message(string(make([]byte, boxed))), false)
	a, b := [32]byte{1}, [32]byte{2}
	pa, pb := [32]byte(SecretKey(a).Public()), [32]byte(SecretKey(b).Public())
	f.Fuzz(func(t *testing.T, data []byte, inside bool) {
		sender, receiver := newSession(&pb, &a, false), newSession(&pa, &b, true)
		stream := data
		if inside {
			stream = nil
			for len(data) >= 2 {
				n := min(int(data[0]), len(data)-2)
				stream = sender.seal(stream, data[1], data[2:2+n])
				data = data[2+n:]
			}
		}
		if all, err := readAll(t, stream, receiver); !inside && len(stream) > 0 && (err == nil || len(all) > 0) {
			t.Fatalf("%x is read without a box: %q", stream, all)
		}
	})
}

// A key that is accepted is written as it was.
func FuzzKey(f *testing.F) {
	public, _, err := GenerateKey()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(public.String())
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := ParsePublicKey(s); err == nil && k.String() != s {
			t.Fatalf("%q is read as %s", s, k)
		}
	})
}

// An endpoint that is accepted has a network and an address.
func FuzzEndpoint(f *testing.F) {
	f.Add("ipc:///run/app/ctl.sock")
	f.Add("tcp://*:5555")
	f.Add("tcp://[::1]:0")
	f.Fuzz(func(t *testing.T, s string) {
		network, address, err := splitEndpoint(s)
		if err == nil && (network == "unix" && (address == "" || len(address) > maxPath) || network != "unix" && network != "tcp") {
			t.Fatalf("%q is %s %q", s, network, address)
		}
	})
}
