package zmq

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// Each of these ends one link, or makes none, with an error that says what was
// wrong; the socket goes on.
func TestHostilePeer(t *testing.T) {
	long := func(n uint64, flags byte) []byte {
		return binary.BigEndian.AppendUint64([]byte{flags | flagLong}, n)
	}
	greet := greeting(1, "NULL")
	tests := []struct {
		name string
		send []byte // after nothing, or after a handshake
		open bool
		want string
	}{
		{"an unknown socket type", slices.Concat(greet, readyOf("FOO", "")), false,
			`socket types do not fit: ROUTER here, "FOO" there`},
		{"a READY without properties", slices.Concat(greet, appendCommand(nil, "READY", nil)), false,
			"the peer sent no socket type"},
		{"a READY with a cut property", slices.Concat(greet, appendCommand(nil, "READY", []byte("\x03ab"))), false,
			"the peer sent metadata that ends inside of a property"},
		{"a property that is longer than its command", slices.Concat(greet, appendCommand(nil, "READY", []byte("\x01a\xff\xff\xff\xff"))), false,
			`the peer sent property "a" of 4294967295 bytes, of which 0 are there`},
		{"two socket types", slices.Concat(greet, appendCommand(nil, "READY", slices.Concat(property("Socket-Type", "REQ"), property("SOCKET-TYPE", "DEALER")))), false,
			"the peer sent two socket types"},
		{"a REP", slices.Concat(greet, readyOf("REP", "")), false,
			`socket types do not fit: ROUTER here, "REP" there`},
		{"an identity of a ROUTER's own kind", slices.Concat(greet, readyOf("DEALER", "\x00abcd")), false,
			`not admitted: identity "\x00abcd" begins with a zero byte, as only those that a ROUTER gives do`},
		{"an identity of 256 bytes", slices.Concat(greet, readyOf("DEALER", strings.Repeat("i", 256))), false,
			"not admitted: identity of 256 bytes; at most 255 are possible"},
		{"metadata over the limit", slices.Concat(greet, appendCommand(nil, "READY", slices.Concat(property("Socket-Type", "REQ"), property("X-Long", strings.Repeat("x", 600))))), false,
			"the peer sent a command of 636 bytes where READY of at most 512 has to come"},
		{"a handshake command of 1 GiB", slices.Concat(greet, long(1<<30, flagCommand)), false,
			"the peer sent a command of 1073741824 bytes where READY of at most 512 has to come"},
		{"a message before READY", slices.Concat(greet, message("hello")), false,
			"the peer sent a message where READY has to come"},
		{"another command", slices.Concat(greet, appendCommand(nil, "HELLO", nil)), false,
			`the peer sent command "HELLO" where READY has to come`},
		{"a refusal", slices.Concat(greet, appendCommand(nil, "ERROR", []byte("\x04full"))), false,
			`refused by the peer: "full"`},
		{"ZMTP 1", []byte("\x01\x00"), false,
			"the peer sent 0x01 where a greeting begins: it does not speak ZMTP 3"},
		{"ZMTP 1 with a long identity", []byte("\xff\x00\x00\x00\x00\x00\x00\x00\x05\x00"), false,
			"the peer sent no signature: it speaks ZMTP 1 or something else"},
		{"ZMTP 2", []byte("\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x01"), false,
			"the peer sent version byte 1 of a greeting: it speaks ZMTP 2; only 3.0 and later are spoken here"},
		{"HTTP", []byte("GET / HTTP/1.1\r\n"), false,
			"the peer sent 0x47 where a greeting begins: it does not speak ZMTP 3"},
		{"PLAIN", greeting(0, "PLAIN"), false,
			`the peer sent mechanism "PLAIN"; here it is NULL`},
		{"CURVE where there is none", greeting(0, "CURVE"), false,
			`the peer sent mechanism "CURVE"; here it is NULL`},
		{"as-server that is no bit", func() []byte { g := greeting(1, "NULL"); g[32] = 2; return g }(), false,
			"the peer sent as-server 2 in its greeting; it is 0 or 1"},

		{"a frame of 2^62 bytes", long(1<<62, 0), true, "the peer sent a message of over 16777216 bytes"},
		{"a frame of 2^64-1 bytes", long(1<<64-1, 0), true, "the peer sent a message of over 16777216 bytes"},
		{"a frame of 10^11 bytes", long(1e11, 0), true, "the peer sent a message of over 16777216 bytes"},
		{"a frame of 1 GiB", long(1<<30, 0), true, "the peer sent a message of over 16777216 bytes"},
		{"frames that are too long together", slices.Concat(frame(flagMore, "x"), long(16<<20, 0)), true, "the peer sent a message of over 16777216 bytes"},
		{"endless frames", bytes.Repeat(frame(flagMore, ""), 65), true, "the peer sent more than 64 frames in a message"},
		{"reserved flags", []byte{8, 0}, true, "the peer sent a frame with reserved flags: 0x08"},
		{"a command with MORE", []byte{flagCommand | flagMore, 0}, true, "the peer sent a command with the flag MORE"},
		{"a command without a name", frame(flagCommand, ""), true, "the peer sent a command without a whole name"},
		{"a command whose name is cut", frame(flagCommand, "\x05PIN"), true, "the peer sent a command without a whole name"},
		{"a command of 1 GiB", long(1<<30, flagCommand), true, "the peer sent a command of 1073741824 bytes; at most 4096 are read"},
		{"a PING without its time", appendCommand(nil, "PING", []byte{0}), true, "the peer sent a PING of 1 bytes; it has 2 to 18"},
		{"a PING with a long context", appendCommand(nil, "PING", make([]byte, 19)), true, "the peer sent a PING of 19 bytes; it has 2 to 18"},
		{"an ERROR later", appendCommand(nil, "ERROR", []byte("\x03bye")), true, `refused by the peer: "bye"`},
	}
	leavesNothing(t)
	cfg, events := watched(SocketConfig{})
	r := newRouter(t, cfg)
	endpoint := bind(t, r, ipc(t))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := dialRaw(t, endpoint)
			kind := Refused
			if tt.open {
				p.shake(1, "DEALER", "")
				kind = Down
			}
			p.send(tt.send)
			e := events.await(t, kind)
			if e.Err == nil || e.Err.Error() != tt.want {
				t.Errorf("%s: %v, want %s", kind, e.Err, tt.want)
			}
			p.ends()
		})
	}
	works(t, r, endpoint)
}

// What is cut off in the middle is an error, what ends between messages is not.
func TestCutStream(t *testing.T) {
	leavesNothing(t)
	cfg, events := watched(SocketConfig{})
	r := newRouter(t, cfg)
	endpoint := bind(t, r, ipc(t))
	whole := slices.Concat(message("one", "two"), message(strings.Repeat("x", 300)))
	for n := range len(whole) + 1 {
		p := dialRaw(t, endpoint).shake(1, "DEALER", "")
		p.send(whole[:n])
		p.Conn.Close()
		err := events.await(t, Down).Err
		inOrder := n == 0 || n == 10 || n == len(whole)
		if inOrder != (err == nil) {
			t.Fatalf("after %d bytes of %d the link ends with %v", n, len(whole), err)
		}
	}
}

// A length takes no memory, only bytes do.
func TestLengthTakesNoMemory(t *testing.T) {
	leavesNothing(t)
	r := newRouter(t, SocketConfig{Config: Config{Limits: Limits{Message: 1<<31 - 1}}})
	endpoint := bind(t, r, ipc(t))
	p := dialRaw(t, endpoint).shake(1, "DEALER", "")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	p.send(binary.BigEndian.AppendUint64([]byte{flagLong}, 1<<30), make([]byte, 100<<10))
	works(t, r, endpoint)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 4<<20 {
		t.Errorf("a length of 1 GiB and 100 KiB took %d bytes of memory", took)
	}
}

// Limits that a caller sets hold, and what is just within them passes.
func TestLimits(t *testing.T) {
	leavesNothing(t)
	limits := Limits{Frames: 2, First: 1024, Message: 3000}
	tests := []struct {
		name string
		send []byte
		want string
	}{
		{"frames", message("a", "b", "c"), "the peer sent more than 2 frames in a message"},
		{"first frame", message(strings.Repeat("h", 1025)), "the peer sent a first frame of 1025 bytes; at most 1024 are read"},
		{"message", message(strings.Repeat("h", 1024), strings.Repeat("b", 1977)), "the peer sent a message of over 3000 bytes"},
	}
	cfg, events := watched(SocketConfig{Config: Config{Limits: limits}})
	r := newRouter(t, cfg)
	endpoint := bind(t, r, ipc(t))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := dialRaw(t, endpoint).shake(0, "DEALER", "")
			most := []string{strings.Repeat("h", 1024), strings.Repeat("b", 1976)}
			p.send(message(most...))
			wantText(t, r, most...)
			p.send(tt.send)
			if err := events.await(t, Down).Err; err == nil || err.Error() != tt.want {
				t.Errorf("down: %v, want %s", err, tt.want)
			}
		})
	}
}

// A peer that connects and says nothing, or one byte, delays nobody, and is
// dropped in time. The oldest goes when there are too many.
func TestSilentHandshake(t *testing.T) {
	leavesNothing(t)
	cfg, events := watched(SocketConfig{Config: Config{Handshake: 300 * time.Millisecond}})
	r := newRouter(t, cfg)
	endpoint := bind(t, r, ipc(t))
	silent, slow := dialRaw(t, endpoint), dialRaw(t, endpoint)
	slow.send([]byte{0xff})
	works(t, r, endpoint)
	for range 2 {
		if err := events.await(t, Refused).Err; err == nil || err.Error() != "no handshake within 300ms" {
			t.Errorf("refused: %v", err)
		}
	}
	silent.ends()
	slow.ends()

	cfg, events = watched(SocketConfig{Config: Config{Pending: 3, Handshake: patience}})
	r = newRouter(t, cfg)
	endpoint = bind(t, r, ipc(t))
	var crowd []*raw
	for range 10 {
		crowd = append(crowd, dialRaw(t, endpoint))
	}
	for _, p := range crowd[:7] {
		events.await(t, Refused)
		p.ends()
	}
	works(t, r, endpoint) // at the cost of the eighth
	crowd[7].ends()
	crowd[9].shake(1, "DEALER", "")
}

// There are no more peers than allowed, and room again when one goes.
func TestTooManyPeers(t *testing.T) {
	leavesNothing(t)
	cfg, events := watched(SocketConfig{Config: Config{Peers: 2}})
	r := newRouter(t, cfg)
	endpoint := bind(t, r, ipc(t))
	first := dialRaw(t, endpoint).shake(1, "DEALER", "")
	dialRaw(t, endpoint).shake(1, "DEALER", "")
	events.await(t, Up)
	events.await(t, Up)
	dialRaw(t, endpoint).ends()
	if err := events.await(t, Refused).Err; err == nil || err.Error() != "there are 2 peers; more are not admitted" {
		t.Errorf("refused: %v", err)
	}
	first.Conn.Close()
	events.await(t, Down)
	d := newDealer(t, SocketConfig{Config: Config{}, Reconnect: Reconnect{First: time.Millisecond}})
	connect(t, d, endpoint)
}

// Who is not admitted is not read.
func TestAdmission(t *testing.T) {
	leavesNothing(t)
	asked := make(chan Credentials, 10)
	cfg, events := watched(SocketConfig{Config: Config{Admit: func(c Credentials) error {
		asked <- c
		return errors.New("nobody is")
	}}})
	r := newRouter(t, cfg)
	endpoint := bind(t, r, ipc(t))
	p := dialRaw(t, endpoint)
	if _, err := p.Conn.Read(make([]byte, 1)); err == nil {
		t.Error("a peer that is not admitted is greeted")
	}
	want := Credentials{Network: "unix", PID: pid, UID: uid, GID: gid}
	if got := <-asked; got != want {
		t.Errorf("credentials %+v, want %+v", got, want)
	}
	e := events.await(t, Refused)
	if e.Err.Error() != "not admitted: nobody is" || e.Peer.Credentials != want {
		t.Errorf("refused: %v, %+v", e.Err, e.Peer)
	}
	d := newDealer(t, SocketConfig{})
	err := d.Connect(soon(t), endpoint)
	if err == nil || !strings.Contains(err.Error(), "it may not admit us") {
		t.Errorf("Connect = %v", err)
	}
}

// By default others than ourselves and root are not admitted.
func TestAdmitOwn(t *testing.T) {
	for _, tt := range []struct {
		uid uint32
		ok  bool
	}{{uid, true}, {0, true}, {uid + 1, false}} {
		if err := admitOwn(Credentials{Network: "unix", UID: tt.uid, PID: 7}); (err == nil) != tt.ok {
			t.Errorf("admitOwn(uid %d) = %v", tt.uid, err)
		}
	}
}

// The listener tells the dialling side why, by ERROR.
func TestVet(t *testing.T) {
	leavesNothing(t)
	cfg, events := watched(SocketConfig{Config: Config{Vet: func(p Peer) error {
		if p.Identity != "good" {
			return fmt.Errorf("%q is not good", p.Identity)
		}
		return nil
	}}})
	r := newRouter(t, cfg)
	endpoint := bind(t, r, ipc(t))
	err := newDealer(t, SocketConfig{Config: Config{Identity: "bad"}}).Connect(soon(t), endpoint)
	want := endpoint + `: refused by the peer: "not admitted: \"bad\" is not good"`
	if err == nil || err.Error() != want {
		t.Errorf("Connect = %v, want %s", err, want)
	}
	events.await(t, Refused)
	connect(t, newDealer(t, SocketConfig{Config: Config{Identity: "good"}}), endpoint)
}

// Who makes us answer and does not read is ended, and takes little memory until
// then.
func TestPingFlood(t *testing.T) {
	leavesNothing(t)
	cfg, events := watched(SocketConfig{})
	r := newRouter(t, cfg)
	endpoint := bind(t, r, ipc(t))
	p := dialRaw(t, endpoint).shake(1, "DEALER", "")
	pings := bytes.Repeat(appendCommand(nil, "PING", make([]byte, 18)), 1000)
	for sent := 0; ; sent += len(pings) {
		if sent > 16<<20 {
			t.Fatalf("%d bytes of PINGs are answered, and nobody reads", sent)
		}
		if _, err := p.Write(pings); err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Fatal("a flood of PINGs is not ended")
			}
			break
		}
	}
	if err := events.await(t, Down).Err; err == nil || err.Error() != "the peer sent commands, and does not read the answers" {
		t.Errorf("down: %v", err)
	}
}
