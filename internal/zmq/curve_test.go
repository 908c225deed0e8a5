package zmq

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/nacl/box"
	"golang.org/x/crypto/nacl/secretbox"
)

// curvePair is a server's socket and a client's key, over TCP.
func curvePair(t *testing.T) (server, client SocketConfig) {
	w := wires(t)[1]
	return SocketConfig{Config: Config{Security: w.server}}, SocketConfig{Config: Config{Security: w.client}}
}

// Messages of all sizes pass, in frames, and the server knows the client's key.
func TestCurve(t *testing.T) {
	leavesNothing(t)
	server, client := curvePair(t)
	server, events := watched(server)
	r := newRouter(t, server)
	d := newDealer(t, client)
	connect(t, d, bind(t, r, "tcp://127.0.0.1:0"))
	if got, want := events.await(t, Up).Peer.Key, client.Security.(*CurveClient).Secret.Public(); got != want {
		t.Errorf("the client's key is %v, want %v", got, want)
	}
	for _, n := range []int{0, 1, 200, 255, 256, maxCommand - 1, maxCommand, maxCommand + 1, 65536, 300000} {
		want := bytes.Repeat([]byte{byte(n)}, n)
		if err := d.Send(soon(t), want, nil, want); err != nil {
			t.Fatal(err)
		}
		m := recv(t, r)
		if len(m.Frames) != 3 || !bytes.Equal(m.Frames[0], want) || len(m.Frames[1]) != 0 || !bytes.Equal(m.Frames[2], want) {
			t.Fatalf("frames of %d bytes arrive changed", n)
		}
		if err := r.Send(soon(t), m.From, m.Frames[2]); err != nil {
			t.Fatal(err)
		}
		m.Release()
		if got := recv(t, d); !bytes.Equal(got.Frames[0], want) {
			t.Fatalf("an answer of %d bytes arrives changed", n)
		}
	}
	if !firstLink(d.socket).Alive(soon(t)) {
		t.Error("a PING in a box is not answered")
	}
}

// Which end listens does not decide who is the server.
func TestCurveServerDials(t *testing.T) {
	leavesNothing(t)
	server, client := curvePair(t)
	r, d := newRouter(t, client), newDealer(t, server)
	connect(t, d, bind(t, r, "tcp://127.0.0.1:0"))
	if err := d.Send(soon(t), []byte("x")); err != nil {
		t.Fatal(err)
	}
	wantText(t, r, "x")
}

// What is refused is told inside of the handshake, types with both names.
func TestCurveRefuses(t *testing.T) {
	leavesNothing(t)
	server, client := curvePair(t)
	server, events := watched(server)
	r := newRouter(t, server)
	endpoint := bind(t, r, "tcp://127.0.0.1:0")
	sub := newSub(t, client)
	err := sub.Connect(soon(t), endpoint)
	if want := endpoint + `: refused by the peer: "socket types do not fit: ROUTER and \"SUB\""`; err == nil || err.Error() != want {
		t.Errorf("Connect = %v, want %s", err, want)
	}
	events.await(t, Refused)
	_, stranger := curvePair(t)
	strange := stranger.Security.(*CurveClient)
	strange.Server = client.Security.(*CurveClient).Server
	err = newDealer(t, stranger).Connect(soon(t), endpoint)
	want := fmt.Sprintf("%s: refused by the peer: %q", endpoint, "not admitted: client key "+strange.Secret.Public().String()+" is not on the list")
	if err == nil || err.Error() != want {
		t.Errorf("Connect of a stranger = %v, want %s", err, want)
	}
	events.await(t, Refused)
}

// Every byte of the handshake counts, on one side or the other, but for what pads
// HELLO.
func TestCurveTampered(t *testing.T) {
	leavesNothing(t)
	w := wires(t)[1]
	var sizes []int
	if c, s := between(t, w, func(_ int, b []byte) { sizes = append(sizes, len(b)) }); c != nil || s != nil {
		t.Fatalf("the handshake ends with %v, %v", c, s)
	}
	if len(sizes) != 4 || sizes[0] != 200 || sizes[1] != 168 {
		t.Fatalf("the handshake has commands of %v bytes, want four, the first of 200 and 168", sizes)
	}
	for step, n := range sizes {
		for at := step; at < n; at += 9 {
			if step == 0 && at >= 8 && at < 80 {
				continue
			}
			c, s := between(t, w, func(i int, b []byte) {
				if i == step {
					b[at] ^= 0x20
				}
			})
			if c == nil && s == nil {
				t.Errorf("byte %d of command %d may be another", at, step)
			}
		}
	}
}

// between lets a client and a server shake hands, hands each command to see,
// and gives their errors.
func between(t *testing.T, w wire, see func(i int, command []byte)) (client, server error) {
	t.Helper()
	var inner [2]net.Conn
	for i, cfg := range []Config{{Type: TypeDealer, Security: w.client}, {Type: TypeRouter, Security: w.server}} {
		a, b := connPair(t)
		defer b.Close()
		inner[i] = b
		end := make(chan error, 1)
		go func() {
			l, err := Open(context.Background(), a, i == 1, cfg)
			if err == nil {
				l.Close()
			}
			end <- err
		}()
		defer func() {
			b.Close()
			if err := <-end; i == 0 {
				client = err
			} else {
				server = err
			}
		}()
	}
	var g [greetingSize]byte
	for i := range inner {
		if _, err := io.ReadFull(inner[i], g[:]); err != nil {
			t.Fatal(err)
		}
		_, _ = inner[1-i].Write(g[:])
	}
	for i := range 4 {
		from := inner[i%2]
		flags, n, err := readHeader(bufio.NewReaderSize(&exact{from}, 16))
		if err != nil {
			return
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(from, b); err != nil {
			return
		}
		see(i, b)
		if _, err := inner[1-i%2].Write(append(appendHeader(nil, flags, len(b)), b...)); err != nil {
			return
		}
	}
	return
}

// What a client with a key may not put into its boxes.
func TestCurveHostilePeer(t *testing.T) {
	leavesNothing(t)
	server, client := curvePair(t)
	server.Limits = Limits{Message: 10000, Frames: 3}
	server, events := watched(server)
	r := newRouter(t, server)
	endpoint := bind(t, r, "tcp://127.0.0.1:0")
	boxOf := func(flags byte, n int) func(*session) []byte {
		return func(s *session) []byte { return s.seal(nil, flags, make([]byte, n)) }
	}
	command := func(name string, n int) func(*session) []byte {
		return func(s *session) []byte {
			return s.seal(nil, boxCommand, append(appendName(nil, name), make([]byte, n)...))
		}
	}
	for _, tt := range []struct {
		name string
		send func(*session) []byte
		want string
	}{
		{"a frame without a box", func(*session) []byte { return message(strings.Repeat("x", 100)) }, "the peer sent a frame that is no MESSAGE of CURVE"},
		{"a short frame", func(*session) []byte { return message("x") }, "the peer sent a frame of 1 bytes that is no MESSAGE of CURVE"},
		{"a command outside of a box", func(*session) []byte { return appendCommand(nil, "PING", []byte{0, 0}) }, "the peer sent a frame of 7 bytes that is no MESSAGE of CURVE"},
		{"a frame of 2^62 bytes", func(*session) []byte { return binary.BigEndian.AppendUint64([]byte{flagLong}, 1<<62) }, "the peer sent a message of over 10000 bytes"},
		{"a long message", boxOf(0, 10001), "the peer sent a message of over 10000 bytes"},
		{"frames that are long together", func(s *session) []byte { return append(boxOf(flagMore, 6000)(s), boxOf(0, 6000)(s)...) }, "the peer sent a message of over 10000 bytes"},
		{"short frames that are long together", func(s *session) []byte {
			return slices.Concat(boxOf(flagMore, 4000)(s), boxOf(flagMore, 4000)(s), boxOf(flagMore, 4000)(s))
		}, "the peer sent a message of over 10000 bytes"},
		{"many frames", func(s *session) []byte {
			return slices.Concat(boxOf(flagMore, 1)(s), boxOf(flagMore, 1)(s), boxOf(flagMore, 1)(s), boxOf(0, 1)(s))
		}, "the peer sent more than 3 frames in a message"},
		{"reserved flags", boxOf(4, 1), "the peer sent flags 0x04 in a box"},
		{"a command with MORE", boxOf(flagMore|boxCommand, 1), "the peer sent flags 0x03 in a box"},
		{"a long command", command("PING", 5000), "the peer sent a command of 5005 bytes; at most 4095 are read"},
		{"a bad PING", command("PING", 1), "the peer sent a PING of 1 bytes; it has 2 to 18"},
		{"something twice", func(s *session) []byte { b := boxOf(0, 1)(s); return append(b, b...) }, "the peer sent nonce 3 after 3: something is sent again"},
		{"a changed box", func(s *session) []byte { b := boxOf(0, 1)(s); b[len(b)-1]++; return b }, "the peer sent a box that does not open: a wrong key, or somebody between"},
		{"a box for the other direction", func(s *session) []byte {
			b := append(appendHeader(nil, 0, boxed), messageName...)
			b = binary.BigEndian.AppendUint64(b, 9)
			return secretbox.Seal(b, []byte{0}, shortNonce("CurveZMQMESSAGES", 9), &s.key)
		}, "the peer sent a box that does not open: a wrong key, or somebody between"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := Dial(t.Context(), endpoint, Config{Type: TypeDealer, Security: client.Security})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if _, err := l.nc.Write(tt.send(l.session)); err != nil {
				t.Fatal(err)
			}
			if e := events.await(t, Down); e.Err == nil || e.Err.Error() != tt.want {
				t.Errorf("down: %v, want %s", e.Err, tt.want)
			}
		})
	}
	// Commands between frames are legal, however many.
	l, err := Dial(t.Context(), endpoint, Config{Type: TypeDealer, Security: client.Security})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	all := boxOf(flagMore, 5)(l.session)
	for range 1000 {
		all = append(all, command("WHAT", 4000)(l.session)...)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := l.nc.Write(append(all, boxOf(0, 6)(l.session)...)); err != nil {
		t.Fatal(err)
	}
	for m := recv(t, r); ; m = recv(t, r) { // what came before its error is still there
		if len(m.Frames) == 2 && len(m.Frames[0]) == 5 && len(m.Frames[1]) == 6 {
			break
		}
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 2<<20 {
		t.Errorf("commands between frames took %d bytes", took)
	}
}

// Keys are written as libzmq writes them. The vector is that of RFC 32, its length
// doubled twice for a key.
func TestKeys(t *testing.T) {
	public, secret, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	if secret.Public() != public {
		t.Error("the public half is another")
	}
	if got, err := ParsePublicKey(public.String()); err != nil || got != public {
		t.Errorf("ParsePublicKey(%s) = %v, %v", public, got, err)
	}
	if got, err := ParseSecretKey(secret.Z85()); err != nil || got != secret {
		t.Errorf("ParseSecretKey = %v", err)
	}
	if s := fmt.Sprintf("%v %+v %#v %s", secret, secret, secret, secret); strings.Contains(s, secret.Z85()) || strings.Count(s, "(secret key)") != 4 {
		t.Errorf("a secret key is printed as %s", s)
	}
	hello := bytes.Repeat([]byte{0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b}, 4)
	if got, want := PublicKey(hello).String(), strings.Repeat("HelloWorld", 4); got != want {
		t.Errorf("Z85 = %s, want %s", got, want)
	}
	for _, tt := range []struct{ text, want string }{
		{"short", "public key: 5 characters; a key has 40"},
		{strings.Repeat(" ", 40), "public key: there is a character that Z85 does not have"},
		{strings.Repeat("#", 40), "public key: five characters are more than 32 bits"},
	} {
		if _, err := ParsePublicKey(tt.text); err == nil || err.Error() != tt.want {
			t.Errorf("ParsePublicKey(%q) = %v, want %s", tt.text, err, tt.want)
		}
	}
	if _, err := ParseSecretKey("x" + secret.Z85()); err == nil || strings.Contains(err.Error(), secret.Z85()) {
		t.Errorf("ParseSecretKey of too much = %v", err)
	}
}

// sealedWith appends a box of what a peer with the session's key wants.
func sealedWith(b, plain []byte, nonce *[24]byte, s *session) []byte {
	return secretbox.Seal(b, plain, nonce, &s.key)
}

// A client vouches for its ephemeral key at one server: what it said to another
// is worth nothing here.
func TestCurveVouch(t *testing.T) {
	keys := func() ([32]byte, [32]byte) {
		public, secret, err := GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		return public, [32]byte(secret)
	}
	own, _ := keys()
	other, _ := keys()
	long, longSecret := keys()
	ephemeral, ephemeralSecret := keys()
	serverEphemeral, serverSecret := keys()
	cookie := make([]byte, cookieSize)
	for _, tt := range []struct {
		name      string
		key       [32]byte // that is vouched for
		server    [32]byte
		by        [32]byte
		wantError bool
	}{
		{"right", ephemeral, own, longSecret, false},
		{"another server", ephemeral, other, longSecret, true},
		{"another ephemeral key", other, own, longSecret, true},
		{"another client", ephemeral, own, ephemeralSecret, true},
	} {
		nonce := make([]byte, 16)
		plain := slices.Concat(long[:], nonce)
		plain = box.Seal(plain, slices.Concat(tt.key[:], tt.server[:]), longNonce("VOUCH---", nonce), &serverEphemeral, &tt.by)
		plain = append(plain, "metadata"...)
		client := newSession(&serverEphemeral, &ephemeralSecret, false)
		initiate := binary.BigEndian.AppendUint64(slices.Clone(cookie), 2)
		initiate = sealedWith(initiate, plain, shortNonce("CurveZMQINITIATE", 2), client)
		server := newSession(&ephemeral, &serverSecret, true)
		key, metadata, err := openInitiate(initiate, cookie, server, &ephemeral, &serverSecret, own)
		if (err != nil) != tt.wantError || err == nil && (key != long || string(metadata) != "metadata") {
			t.Errorf("%s: %v, %q, %v", tt.name, key, metadata, err)
		}
	}
}
