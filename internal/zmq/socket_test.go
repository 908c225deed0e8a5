package zmq

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// stuck fills the queue of a peer that does not read.
func stuck(tb testing.TB, send func() error) (accepted int) {
	tb.Helper()
	for deadline := time.Now().Add(patience); ; accepted++ {
		if err := send(); err != nil {
			if !errors.Is(err, ErrFull) {
				tb.Fatalf("send to a peer that does not read: %v", err)
			}
			return accepted
		}
		if time.Now().After(deadline) {
			tb.Fatal("the queue of a peer that does not read never fills")
		}
	}
}

// A DEALER gives each message to one peer, in turn.
func TestDealerTakesTurns(t *testing.T) {
	leavesNothing(t)
	var routers []*Router
	d := newDealer(t, SocketConfig{})
	for range 2 {
		r := newRouter(t, SocketConfig{})
		connect(t, d, bind(t, r, ipc(t)))
		routers = append(routers, r)
	}
	for i := range 10 {
		if err := d.Send(soon(t), []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	var got []byte
	for _, r := range routers {
		for range 5 {
			got = append(got, recv(t, r).Frames[0][0])
		}
		r.inbox.mu.Lock()
		if n := len(r.inbox.ready); n != 0 {
			t.Error("a peer has more than its half")
		}
		r.inbox.mu.Unlock()
	}
	slices.Sort(got)
	if want := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}; !bytes.Equal(got, want) {
		t.Errorf("received %v, want %v", got, want)
	}
}

// A DEALER without a live peer says so, and waits for one if asked to. Of three
// peers of which two go, the third gets all.
func TestDealerPeersGo(t *testing.T) {
	leavesNothing(t)
	cfg, events := watched(SocketConfig{})
	d := newDealer(t, cfg)
	if err := d.TrySend([]byte("x")); err != ErrNoPeer {
		t.Errorf("TrySend without peers = %v, want %v", err, ErrNoPeer)
	}
	endpoint := bind(t, d, ipc(t))
	var peers []*raw
	for range 3 {
		peers = append(peers, dialRaw(t, endpoint).shake(1, "ROUTER", ""))
		events.await(t, Up)
	}
	for _, p := range peers[:2] {
		p.Conn.Close()
		events.await(t, Down)
	}
	for i := range 20 {
		want := fmt.Sprint(i)
		if err := d.Send(soon(t), []byte(want)); err != nil {
			t.Fatal(err)
		}
		if _, got := peers[2].frame(); string(got) != want {
			t.Fatalf("the last peer got %q, want %q", got, want)
		}
	}
	peers[2].Conn.Close()
	events.await(t, Down)
	for range 20 {
		if err := d.TrySend([]byte("x")); err != ErrNoPeer {
			t.Fatalf("TrySend after the last peer went = %v, want %v", err, ErrNoPeer)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Send(ctx, []byte("x")); !errors.Is(err, ErrNoPeer) || !errors.Is(err, context.Canceled) {
		t.Errorf("Send without peers = %v", err)
	}
	sent := make(chan error)
	go func() { sent <- d.Send(soon(t), []byte("late")) }()
	p := dialRaw(t, endpoint).shake(1, "ROUTER", "")
	if _, got := p.frame(); string(got) != "late" {
		t.Errorf("a peer that came later got %q", got)
	}
	if err := <-sent; err != nil {
		t.Errorf("Send = %v", err)
	}
}

// An identity that nobody has is an error, also of one that was there.
func TestRouterUnknownPeer(t *testing.T) {
	leavesNothing(t)
	cfg, events := watched(SocketConfig{})
	r := newRouter(t, cfg)
	endpoint := bind(t, r, ipc(t))
	err := r.TrySend("nobody", []byte("x"))
	if want := `no peer has this identity: "nobody"`; !errors.Is(err, ErrUnknownPeer) || err.Error() != want {
		t.Errorf("TrySend = %v, want %s", err, want)
	}
	p := dialRaw(t, endpoint).shake(1, "DEALER", "gone")
	events.await(t, Up)
	if err := r.Send(soon(t), "gone", []byte("x")); err != nil {
		t.Fatal(err)
	}
	p.Conn.Close()
	events.await(t, Down)
	if err := r.Send(soon(t), "gone", []byte("x")); !errors.Is(err, ErrUnknownPeer) {
		t.Errorf("Send to a peer that went = %v", err)
	}
}

// A peer without an identity gets one that nobody can choose, and REQ's
// delimiter is a frame as others are; a message without it arrives too.
func TestRouterNamesPeers(t *testing.T) {
	leavesNothing(t)
	r := newRouter(t, SocketConfig{})
	endpoint := bind(t, r, ipc(t))
	seen := map[string]bool{}
	for range 3 {
		p := dialRaw(t, endpoint).shake(0, "REQ", "")
		p.send(message("", "job"))
		m := wantText(t, r, "", "job")
		if len(m.From) != 5 || m.From[0] != 0 || seen[m.From] {
			t.Errorf("a peer without identity is %q", m.From)
		}
		seen[m.From] = true
		if err := r.TrySend(m.From, nil, []byte("done")); err != nil {
			t.Fatal(err)
		}
		if flags, body := p.frame(); flags != flagMore || len(body) != 0 {
			t.Errorf("the delimiter came as %#x %q", flags, body)
		}
		if flags, body := p.frame(); flags != 0 || string(body) != "done" {
			t.Errorf("the answer came as %#x %q", flags, body)
		}
		p.send(message("no delimiter"))
		wantText(t, r, "no delimiter")
	}
}

// While a peer lives nobody takes its identity; when it does not answer it loses
// it.
func TestSecondIdentity(t *testing.T) {
	leavesNothing(t)
	cfg, events := watched(SocketConfig{})
	r := newRouter(t, cfg)
	endpoint := bind(t, r, ipc(t))
	first := newDealer(t, SocketConfig{Config: Config{Identity: "worker"}})
	connect(t, first, endpoint)
	events.await(t, Up)
	thief := newDealer(t, SocketConfig{Config: Config{Identity: "worker"}, Reconnect: Reconnect{First: time.Millisecond}})
	err := thief.Connect(soon(t), endpoint)
	if want := endpoint + `: refused by the peer: "not admitted: identity \"worker\" is taken"`; err == nil || err.Error() != want {
		t.Errorf("Connect of the second = %v, want %s", err, want)
	}
	var admission *AdmissionError
	if e := events.await(t, Refused); !errors.As(e.Err, &admission) {
		t.Errorf("refused: %v", e.Err)
	}
	if err := r.Send(soon(t), "worker", []byte("job")); err != nil {
		t.Fatal(err)
	}
	wantText(t, first, "job")

	silent := dialRaw(t, endpoint).shake(1, "DEALER", "stopped")
	events.await(t, Up)
	second := newDealer(t, SocketConfig{Config: Config{Identity: "stopped"}})
	connect(t, second, endpoint)
	if name, _ := silent.command(); name != "PING" {
		t.Errorf("the first holder was asked by %s", name)
	}
	silent.ends()
	if e := events.await(t, Down); e.Err == nil || e.Err.Error() != "another peer has its identity, and it does not answer" {
		t.Errorf("down: %v", e.Err)
	}
	events.await(t, Up)
	if err := r.Send(soon(t), "stopped", []byte("job")); err != nil {
		t.Fatal(err)
	}
	wantText(t, second, "job")
}

// A peer that waits for us is alive, though its PONG is not read.
func TestBusyPeerKeepsIdentity(t *testing.T) {
	leavesNothing(t)
	handling, goOn := make(chan struct{}), make(chan struct{})
	cfg, events := watched(SocketConfig{Handle: func(m *Message) {
		m.Release()
		close(handling)
		<-goOn
	}})
	r := newRouter(t, cfg)
	endpoint := bind(t, r, ipc(t))
	p := dialRaw(t, endpoint).shake(1, "DEALER", "busy")
	p.send(message("work"))
	<-handling
	dialRaw(t, endpoint).send(greeting(1, "NULL"), readyOf("DEALER", "busy"))
	if err := events.await(t, Refused).Err; err == nil || err.Error() != `not admitted: identity "busy" is taken` {
		t.Errorf("refused: %v", err)
	}
	close(goOn)
}

// A peer that does not read delays nobody, is bounded, and makes its sender wait
// as long as it wants to.
func TestSlowPeer(t *testing.T) {
	leavesNothing(t)
	cfg, events := watched(SocketConfig{Config: Config{Send: Queue{Messages: 10}, Linger: time.Millisecond}})
	r, err := NewRouter(cfg)
	if err != nil {
		t.Fatal(err)
	}
	endpoint := bind(t, r, ipc(t))
	dialRaw(t, endpoint).shake(1, "DEALER", "slow")
	events.await(t, Up)
	big := make([]byte, 1<<20) // more than the kernel takes: none is ever written
	accepted := stuck(t, func() error { return r.TrySend("slow", big) })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := r.Send(ctx, "slow", big); !errors.Is(err, ErrFull) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Send to a full peer = %v", err)
	}
	works(t, r, endpoint)
	if accepted != 10 {
		t.Errorf("%d messages were accepted, want the mark of 10", accepted)
	}
	if err := r.Close(); err == nil || !strings.Contains(err.Error(), "messages were not sent within 1ms") {
		t.Errorf("Close with a peer that does not read = %v", err)
	}
	for {
		if e := events.await(t, Down); e.Peer.Identity == "slow" {
			if e.Unsent != 10 {
				t.Errorf("%d messages unsent, want the 10 that were queued", e.Unsent)
			}
			break
		}
	}
}

// Send goes on as soon as there is room again: none is lost, the order stays.
func TestSendWaitsForRoom(t *testing.T) {
	leavesNothing(t)
	r := newRouter(t, SocketConfig{Receive: Queue{Messages: 5}})
	d := newDealer(t, SocketConfig{Config: Config{Send: Queue{Messages: 5}}})
	connect(t, d, bind(t, r, ipc(t)))
	const n = 300
	sent := make(chan error, 1)
	body := make([]byte, 10<<10)
	go func() {
		for i := range n {
			if err := d.Send(soon(t), fmt.Appendf(nil, "%d", i), body); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range n {
		m := recv(t, r)
		if want := fmt.Sprint(i); string(m.Frames[0]) != want || len(m.Frames[1]) != len(body) {
			t.Fatalf("message %q, want %q", m.Frames[0], want)
		}
		m.Release()
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

// The bound in bytes holds, and a message that is longer enters an empty queue.
func TestQueueOfBytes(t *testing.T) {
	leavesNothing(t)
	a, b := connPair(t)
	p := newRaw(t, b)
	p.send(greeting(1, "NULL"), readyOf("ROUTER", ""))
	l, err := Open(t.Context(), a, false, Config{Type: TypeDealer, Send: Queue{Bytes: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.TrySend(make([]byte, 5000)); err != nil { // nobody serves: it stays
		t.Errorf("TrySend of a long message into an empty queue = %v", err)
	}
	if err := l.TrySend([]byte("x")); err != ErrFull {
		t.Errorf("TrySend over the bound = %v, want %v", err, ErrFull)
	}
}

// A peer that floods us does not hide one that says little, and has to wait at
// its mark.
func TestFairReceive(t *testing.T) {
	leavesNothing(t)
	cfg, events := watched(SocketConfig{Receive: Queue{Messages: 50}})
	r := newRouter(t, cfg)
	endpoint := bind(t, r, ipc(t))
	loud, err := NewDealer(SocketConfig{Config: Config{Send: Queue{Messages: 10}, Linger: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	connect(t, loud, endpoint)
	events.await(t, Up)
	stuck(t, func() error { return loud.TrySend(make([]byte, 1000)) })
	quiet := dialRaw(t, endpoint).shake(1, "DEALER", "quiet")
	quiet.send(message("1"), message("2"))
	var at []int
	for i := 0; len(at) < 2; i++ {
		if m := recv(t, r); m.From == "quiet" {
			at = append(at, i)
		}
	}
	// The quiet peer's may still be on their way when Recv begins: what counts is
	// that from the first one on it has every second turn.
	if at[1]-at[0] > 2 {
		t.Errorf("the quiet peer's messages were %d apart", at[1]-at[0])
	}
	_ = loud.Close() // says what was not sent; that is another test's
}

// PING is answered with its context, whatever version the peer speaks; commands
// that nobody knows are left out, also between frames.
func TestCommands(t *testing.T) {
	leavesNothing(t)
	r := newRouter(t, SocketConfig{})
	endpoint := bind(t, r, ipc(t))
	for minor := range byte(3) {
		p := dialRaw(t, endpoint).shake(minor, "DEALER", "")
		p.send(appendCommand(nil, "PING", []byte("\x00\x00context")), frame(flagMore, "head"),
			appendCommand(nil, "WHAT", []byte("ever")), appendCommand(nil, "PING", []byte{0, 1}), frame(0, "tail"))
		wantText(t, r, "head", "tail")
		for _, want := range []string{"context", ""} {
			if name, body := p.command(); name != "PONG" || string(body) != want {
				t.Errorf("3.%d: answer %s %q, want PONG %q", minor, name, body, want)
			}
		}
	}
}

// A long length for a short frame is legal.
func TestLongForm(t *testing.T) {
	leavesNothing(t)
	r := newRouter(t, SocketConfig{})
	p := dialRaw(t, bind(t, r, ipc(t))).shake(1, "DEALER", "")
	p.send([]byte{flagLong, 0, 0, 0, 0, 0, 0, 0, 2, 'o', 'k'})
	wantText(t, r, "ok")
}

// Frames of every size around the borders of the encodings and of the memory
// that they take.
func TestSizes(t *testing.T) {
	leavesNothing(t)
	r := newRouter(t, SocketConfig{})
	d := newDealer(t, SocketConfig{})
	connect(t, d, bind(t, r, ipc(t)))
	for _, n := range []int{0, 1, 255, 256, 257, 1023, 1024, 1025, 65535, 65536, 65537, 131071, 131072, 131073, 262143, 262144, 262145, 1<<20 + 1} {
		want := make([]byte, n)
		for i := range want {
			want[i] = byte(i * 7)
		}
		if err := d.Send(soon(t), want, nil, want); err != nil {
			t.Fatal(err)
		}
		m := recv(t, r)
		if len(m.Frames) != 3 || !bytes.Equal(m.Frames[0], want) || len(m.Frames[1]) != 0 || !bytes.Equal(m.Frames[2], want) {
			t.Fatalf("frames of %d bytes arrive changed", n)
		}
		kept := m.Clone()
		m.Release()
		if !bytes.Equal(kept[2], want) {
			t.Fatalf("a clone of %d bytes changes with its message", n)
		}
	}
}

// Our heartbeat ends a silent peer, and keeps one that answers.
func TestHeartbeat(t *testing.T) {
	leavesNothing(t)
	cfg, events := watched(SocketConfig{Config: Config{Heartbeat: Heartbeat{Interval: 20 * time.Millisecond, Timeout: 400 * time.Millisecond}}})
	r := newRouter(t, cfg)
	endpoint := bind(t, r, ipc(t))
	alive := dialRaw(t, endpoint).shake(1, "DEALER", "alive")
	for range 10 {
		if name, _ := alive.command(); name != "PING" {
			t.Fatalf("%s where PING has to come", name)
		}
		alive.send(appendCommand(nil, "PONG", nil))
	}
	dialRaw(t, endpoint).shake(1, "DEALER", "dead")
	for {
		e := events.await(t, Down)
		if !errors.Is(e.Err, ErrSilent) {
			t.Fatalf("down: %v, want %v", e.Err, ErrSilent)
		}
		if e.Peer.Identity == "dead" {
			break
		}
	}
}

// Types that do not fit are an error on both sides with both names, and nobody
// tries again.
func TestTypesDoNotFit(t *testing.T) {
	leavesNothing(t)
	cfg, events := watched(SocketConfig{})
	r := newRouter(t, cfg)
	endpoint := bind(t, r, ipc(t))
	var tries atomic.Int32
	sub := newSub(t, SocketConfig{
		Config:    Config{Monitor: func(Event) { tries.Add(1) }},
		Reconnect: Reconnect{First: time.Millisecond},
	})
	err := sub.Connect(soon(t), endpoint)
	if want := endpoint + `: refused by the peer: "socket types do not fit: ROUTER and \"SUB\""`; err == nil || err.Error() != want {
		t.Errorf("Connect = %v, want %s", err, want)
	}
	var types *TypeError
	if e := events.await(t, Refused); !errors.As(e.Err, &types) || *types != (TypeError{TypeRouter, "SUB"}) {
		t.Errorf("refused: %v", e.Err)
	}
	if n := tries.Load(); n != 0 {
		t.Errorf("the socket tried again %d times", n)
	}

	// A listener that sends READY before it looks at ours is judged by us.
	ln, err := net.Listen("unix", shortDir(t)+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		if nc, err := ln.Accept(); err == nil {
			_, _ = nc.Write(slices.Concat(greeting(1, "NULL"), readyOf("REP", "")))
			_, _ = nc.Read(make([]byte, 1000))
			nc.Close()
		}
	}()
	r2 := newRouter(t, SocketConfig{Reconnect: Reconnect{First: time.Millisecond}})
	err = r2.Connect(soon(t), "ipc://"+ln.Addr().String())
	if !errors.As(err, &types) || *types != (TypeError{TypeRouter, "REP"}) {
		t.Errorf("Connect = %v", err)
	}
}

// A dialling socket comes back, under load, as often as its listener does.
func TestReconnectUnderLoad(t *testing.T) {
	leavesNothing(t)
	endpoint := ipc(t)
	cfg, events := watched(SocketConfig{Config: Config{Send: Queue{Messages: 20}, Linger: time.Millisecond}, Reconnect: Reconnect{First: time.Millisecond, Max: 5 * time.Millisecond}})
	d, err := NewDealer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for lives := range 5 {
		r, err := NewRouter(SocketConfig{Config: Config{Linger: time.Millisecond}, Receive: Queue{Messages: 3}})
		if err != nil {
			t.Fatal(err)
		}
		bind(t, r, endpoint)
		if lives == 0 {
			connect(t, d, endpoint)
			for range 3 {
				load.Go(func() {
					for ctx.Err() == nil {
						if err := d.Send(ctx, make([]byte, 20<<10)); err != nil && ctx.Err() == nil {
							t.Errorf("Send: %v", err)
							return
						}
					}
				})
			}
		}
		events.await(t, Up)
		for range 20 {
			recv(t, r).Release()
		}
		_ = r.Close() // what its own peers did not take is not of interest
		events.await(t, Down)
	}
	cancel()
	load.Wait()
	_ = d.Close()
}

// A dialling socket may be there first; without Reconnect it is told at once.
func TestConnectBeforeBind(t *testing.T) {
	leavesNothing(t)
	endpoint := ipc(t)
	err := newDealer(t, SocketConfig{}).Connect(soon(t), endpoint)
	if err == nil || err.Error() != endpoint+": no such file or directory" {
		t.Errorf("Connect to nobody = %v", err)
	}
	cfg, events := watched(SocketConfig{Reconnect: Reconnect{First: time.Millisecond}})
	d := newDealer(t, cfg)
	connected := make(chan error)
	go func() { connected <- d.Connect(soon(t), endpoint) }()
	events.await(t, Retrying)
	r := newRouter(t, SocketConfig{})
	bind(t, r, endpoint)
	if err := <-connected; err != nil {
		t.Errorf("Connect = %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cfg, events = watched(SocketConfig{Reconnect: Reconnect{First: time.Hour}})
	go func() { connected <- newDealer(t, cfg).Connect(ctx, ipc(t)) }()
	events.await(t, Retrying)
	cancel()
	if err := <-connected; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("Connect until ctx ends = %v", err)
	}
	cfg.Reconnect = Reconnect{First: time.Millisecond, Tries: 3}
	if err := newDealer(t, cfg).Connect(soon(t), ipc(t)); err == nil {
		t.Error("Connect with three tries = nil")
	}
}

// The pauses double up to the longest, less what is random.
func TestPauses(t *testing.T) {
	r := Reconnect{First: 100 * time.Millisecond, Max: 2 * time.Second, Jitter: 0.2}
	for n, want := range []time.Duration{100, 200, 400, 800, 1600, 2000, 2000} {
		want *= time.Millisecond
		if got := r.pause(n, 0); got != want {
			t.Errorf("pause(%d, 0) = %v, want %v", n, got, want)
		}
		if got := r.pause(n, 1); got != want*8/10 {
			t.Errorf("pause(%d, 1) = %v, want %v", n, got, want*8/10)
		}
	}
	if got := r.pause(1000, 0); got != r.Max {
		t.Errorf("pause(1000, 0) = %v, want %v", got, r.Max)
	}
}

// Close lets everybody go, writes what is queued, and leaves nothing.
func TestClose(t *testing.T) {
	leavesNothing(t)
	cfg, events := watched(SocketConfig{})
	p, err := NewPub(cfg)
	if err != nil {
		t.Fatal(err)
	}
	endpoint := bind(t, p, ipc(t))
	sub := newSub(t, SocketConfig{})
	if err := sub.Subscribe(""); err != nil {
		t.Fatal(err)
	}
	connect(t, sub, endpoint)
	events.await(t, Subscribed)
	for i := range 1000 {
		if err := p.Send(fmt.Appendf(nil, "%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	for i := range 1000 {
		wantText(t, sub, fmt.Sprint(i)).Release()
	}
	if err := p.Send([]byte("x")); err != ErrClosed {
		t.Errorf("Send after Close = %v, want %v", err, ErrClosed)
	}
	if err := p.Close(); err != nil {
		t.Errorf("Close once more = %v", err)
	}
	if _, err := p.Bind(ipc(t)); err != ErrClosed {
		t.Errorf("Bind after Close = %v, want %v", err, ErrClosed)
	}
	_, address, _ := splitEndpoint(endpoint)
	if nc, err := net.Dial("unix", address); err == nil {
		nc.Close()
		t.Error("after Close somebody still listens")
	}
}

// What waits when a socket is closed is told; unread messages keep nobody.
func TestCloseWhileWaiting(t *testing.T) {
	leavesNothing(t)
	cfg, events := watched(SocketConfig{Config: Config{Linger: time.Millisecond, Send: Queue{Messages: 1}}, Receive: Queue{Messages: 1}})
	r, err := NewRouter(cfg)
	if err != nil {
		t.Fatal(err)
	}
	endpoint := bind(t, r, ipc(t))
	p := dialRaw(t, endpoint).shake(1, "DEALER", "p")
	events.await(t, Up)
	stuck(t, func() error { return r.TrySend("p", make([]byte, 1<<20)) })
	waiting := make(chan error)
	go func() { waiting <- r.Send(context.Background(), "p", make([]byte, 1<<20)) }()
	d, err := NewDealer(SocketConfig{})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := d.Recv(context.Background())
		waiting <- err
	}()
	go func() { waiting <- d.Send(context.Background(), []byte("x")) }()
	p.send(bytes.Repeat(message("unread"), 10))
	_ = r.Close() // says what was not sent; that is another test's
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	for range 3 {
		if err := <-waiting; !errors.Is(err, ErrClosed) && !errors.Is(err, ErrUnknownPeer) {
			t.Errorf("what waits for a socket that is closed gets %v", err)
		}
	}
}

// Recv and Send end with their contexts, and the socket goes on.
func TestContextEnds(t *testing.T) {
	leavesNothing(t)
	r := newRouter(t, SocketConfig{})
	endpoint := bind(t, r, ipc(t))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := r.Recv(ctx)
		done <- err
	}()
	cancel()
	if err := <-done; err != context.Canceled {
		t.Errorf("Recv = %v", err)
	}
	works(t, r, endpoint)
}

// A subscriber that does not read loses messages, is counted, and takes nothing
// from others, neither time nor memory.
func TestSlowSubscriber(t *testing.T) {
	leavesNothing(t)
	cfg, events := watched(SocketConfig{Config: Config{Send: Queue{Messages: 100}, Linger: time.Millisecond}})
	p, err := NewPub(cfg)
	if err != nil {
		t.Fatal(err)
	}
	endpoint := bind(t, p, ipc(t))
	slow := dialRaw(t, endpoint).shake(0, "SUB", "")
	slow.send(message("\x01"))
	events.await(t, Subscribed)
	sub := newSub(t, SocketConfig{})
	if err := sub.Subscribe("t"); err != nil {
		t.Fatal(err)
	}
	connect(t, sub, endpoint)
	events.await(t, Subscribed)
	const n = 1000
	body := make([]byte, 10<<10)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools hold goes with the second
	runtime.ReadMemStats(&before)
	for i := range n {
		if err := p.Send([]byte("topic"), body); err != nil {
			t.Fatal(err)
		}
		if i%50 == 49 {
			for range 50 {
				recv(t, sub).Release()
			}
		}
	}
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if took := int64(after.HeapAlloc) - int64(before.HeapAlloc); took > 4<<20 {
		t.Errorf("a subscriber that does not read took %d bytes", took)
	}
	if got := p.Dropped(); got < n/2 || got > n-100 {
		t.Errorf("%d messages of %d dropped, want all but what the kernel and the queue hold", got, n)
	}
	if err := p.Close(); err == nil {
		t.Error("Close with a subscriber that does not read = nil")
	}
	for {
		if e := events.await(t, Down); e.Dropped > 0 {
			if e.Dropped != p.Dropped() {
				t.Errorf("the slow peer lost %d, all together %d", e.Dropped, p.Dropped())
			}
			break
		}
	}
}

// Both forms of subscriptions work, with the version's or not; junk between them
// is left out; each asks as often as it is taken back.
func TestSubscriptions(t *testing.T) {
	leavesNothing(t)
	cfg, events := watched(SocketConfig{})
	p := newPub(t, cfg)
	endpoint := bind(t, p, ipc(t))
	peer := dialRaw(t, endpoint).shake(1, "SUB", "")
	peer.send(bytes.Repeat(message("junk"), 20), bytes.Repeat(message("\x01a", "b"), 20), message(""),
		message("\x01a"), appendCommand(nil, "SUBSCRIBE", []byte("bc")), message("\x01a"), message("\x01last"))
	for events.await(t, Subscribed).Topic != "last" {
	}
	if got := p.Junk(); got != 41 {
		t.Errorf("%d messages were junk, want 41", got)
	}
	publish := func() {
		t.Helper()
		for _, topic := range []string{"a", "b", "bc", "bcd", "x", "", "last"} {
			if err := p.Send([]byte(topic)); err != nil {
				t.Fatal(err)
			}
		}
	}
	expect := func(want ...string) {
		t.Helper()
		for _, w := range append(want, "last") {
			if _, got := peer.frame(); string(got) != w {
				t.Fatalf("published %q, want %q", got, w)
			}
		}
	}
	publish()
	expect("a", "bc", "bcd")
	peer.send(message("\x00a"), appendCommand(nil, "CANCEL", []byte("bc")), message("\x00never"), message("\x01again"))
	for events.await(t, Subscribed).Topic != "again" {
	}
	publish()
	expect("a")
	peer.send(message("\x00a"), message("\x01"))
	for events.await(t, Subscribed).Topic != "" {
	}
	publish()
	expect("a", "b", "bc", "bcd", "x", "")
}

// The topics of one peer are bounded.
func TestTooManyTopics(t *testing.T) {
	leavesNothing(t)
	cfg, events := watched(SocketConfig{})
	p := newPub(t, cfg)
	peer := dialRaw(t, bind(t, p, ipc(t))).shake(1, "SUB", "")
	var all []byte
	for i := range 600 {
		all = append(all, message(fmt.Sprintf("\x01%02000d", i))...)
	}
	_, _ = peer.Write(all) // which may end in the middle
	if err := events.await(t, Down).Err; err == nil || err.Error() != "the peer sent subscriptions of over 1048576 bytes" {
		t.Errorf("down: %v", err)
	}
}

// Nor does a SUB ask for more than that, and it goes on with what it has.
func TestSubscribeTooMuch(t *testing.T) {
	leavesNothing(t)
	sub := newSub(t, SocketConfig{})
	if err := sub.Subscribe(strings.Repeat("t", maxTopics-64)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := sub.Subscribe(""); err == nil || err.Error() != "subscriptions of over 1048576 bytes" {
			t.Errorf("Subscribe to too much = %v", err)
		}
	}
	if err := sub.Unsubscribe(strings.Repeat("t", maxTopics-64)); err != nil {
		t.Fatal(err)
	}
	if err := sub.Subscribe("t"); err != nil {
		t.Errorf("Subscribe when there is room again = %v", err)
	}
}

// A SUB asks in the form that its peer knows, again after a reconnect, and does
// not hear what it no longer wants.
func TestSubscriber(t *testing.T) {
	leavesNothing(t)
	cfg, events := watched(SocketConfig{})
	sub := newSub(t, cfg)
	endpoint := bind(t, sub, ipc(t))
	for _, topic := range []string{"b", "a", "b"} {
		if err := sub.Subscribe(topic); err != nil {
			t.Fatal(err)
		}
	}
	old := dialRaw(t, endpoint).shake(0, "PUB", "")
	for _, want := range []string{"\x01a", "\x01b"} {
		if flags, got := old.frame(); flags != 0 || string(got) != want {
			t.Errorf("3.0: %#x %q, want %q", flags, got, want)
		}
	}
	current := dialRaw(t, endpoint).shake(1, "XPUB", "")
	for _, want := range []string{"a", "b"} {
		if name, got := current.command(); name != "SUBSCRIBE" || string(got) != want {
			t.Errorf("3.1: %s %q, want %q", name, got, want)
		}
	}
	events.await(t, Up)
	events.await(t, Up)
	if err := sub.Unsubscribe("b"); err != nil {
		t.Fatal(err)
	}
	current.send(message("beta"))
	wantText(t, sub, "beta")
	if err := sub.Unsubscribe("b"); err != nil {
		t.Fatal(err)
	}
	if name, got := current.command(); name != "CANCEL" || string(got) != "b" {
		t.Errorf("%s %q, want CANCEL of b", name, got)
	}
	if _, got := old.frame(); string(got) != "\x00b" {
		t.Errorf("%q, want the end of b", got)
	}
	current.send(message("beta"), message("alpha", "x"))
	wantText(t, sub, "alpha", "x")
}

// A configuration that would be unsafe or senseless is an error before anything
// is opened.
func TestConfiguration(t *testing.T) {
	leavesNothing(t)
	public, secret, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	dealer := func(cfg Config) error {
		_, err := NewDealer(SocketConfig{Config: cfg})
		return err
	}
	plain := newDealer(t, SocketConfig{})
	_, bindErr := plain.Bind("tcp://127.0.0.1:0")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"bind tcp without CURVE", bindErr, "tcp://127.0.0.1:0: over tcp only CURVE is possible; set Config.Security"},
		{"connect tcp without CURVE", plain.Connect(ctx, "tcp://127.0.0.1:1"), "tcp://127.0.0.1:1: over tcp only CURVE is possible; set Config.Security"},
		{"inherit tcp without CURVE", plain.Accept(NewListener(ln)), "tcp://" + address + ": over tcp only CURVE is possible; set Config.Security"},
		{"no clients", dealer(Config{Security: &CurveServer{Secret: secret}}), "the CURVE server allows no client; name their public keys"},
		{"no secret", dealer(Config{Security: &CurveServer{Allow: []PublicKey{public}}}), "the CURVE server has no secret key"},
		{"no server", dealer(Config{Security: &CurveClient{Secret: secret}}), "the CURVE client does not know the key of its server"},
		{"no own key", dealer(Config{Security: &CurveClient{Server: public}}), "the CURVE client has no secret key"},
		{"long identity", dealer(Config{Identity: strings.Repeat("i", 256)}), "identity of 256 bytes; at most 255 are possible"},
		{"message limit", dealer(Config{Limits: Limits{Message: 1 << 31}}), "message limit of 2147483648 bytes is not from 1 to 2147483647"},
		{"long path", plain.Connect(ctx, "ipc://"+strings.Repeat("p", 108)), "ipc://" + strings.Repeat("p", 108) + ": path of 108 bytes; a Unix socket's has at most 107"},
		{"abstract name", plain.Connect(ctx, "ipc://@x"), "ipc://@x: a Unix socket needs a path; abstract names have no permissions"},
		{"no path", plain.Connect(ctx, "ipc://"), "ipc://: a Unix socket needs a path; abstract names have no permissions"},
		{"no port", plain.Connect(ctx, "tcp://host"), "tcp://host: not tcp://HOST:PORT"},
		{"other transport", plain.Connect(ctx, "pgm://x"), `endpoint "pgm://x" is neither ipc://PATH nor tcp://HOST:PORT`},
		{"no frames", plain.TrySend(), "there is no peer"},
	}
	for _, tt := range tests {
		if tt.err == nil || tt.err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, tt.err, tt.want)
		}
	}
	if _, err := Dial(ctx, "ipc:///x", Config{Type: "REP"}); err == nil || err.Error() != `socket type "REP" is not one of DEALER, PUB, ROUTER, SUB` {
		t.Errorf("Dial as REP = %v", err)
	}
}

// An identity of 255 bytes works.
func TestLongIdentity(t *testing.T) {
	leavesNothing(t)
	r := newRouter(t, SocketConfig{})
	id := strings.Repeat("i", 255)
	d := newDealer(t, SocketConfig{Config: Config{Identity: id}})
	connect(t, d, bind(t, r, ipc(t)))
	if err := d.Send(soon(t), []byte("x")); err != nil {
		t.Fatal(err)
	}
	if m := wantText(t, r, "x"); m.From != id {
		t.Errorf("from %q", m.From)
	}
}

// One socket binds several endpoints and dials others, also of its own kind.
func TestManyEndpoints(t *testing.T) {
	leavesNothing(t)
	a, b := newRouter(t, SocketConfig{Config: Config{Identity: "a"}}), newRouter(t, SocketConfig{Config: Config{Identity: "b"}})
	first, second := bind(t, a, ipc(t)), bind(t, a, ipc(t))
	connect(t, b, first)
	if err := b.Send(soon(t), "a", []byte("from b")); err != nil {
		t.Fatal(err)
	}
	if m := wantText(t, a, "from b"); m.From != "b" {
		t.Errorf("from %q, want b", m.From)
	}
	works(t, a, second)
}
