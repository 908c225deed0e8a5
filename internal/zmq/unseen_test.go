package zmq

import (
	"net"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// pair is a link and the plain connection at its other end. The link's messages
// go to handle.
func pair(t *testing.T, handle func(*Message)) (l *Link, peer *raw, ended <-chan error) {
	t.Helper()
	return pairOf(t, func(l *Link) error { return l.Serve(handle) })
}

func pairOf(t *testing.T, serve func(*Link) error) (l *Link, peer *raw, ended <-chan error) {
	t.Helper()
	ln, err := net.Listen("unix", filepath.Join(shortDir(t), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peers := make(chan *raw, 1)
	nc, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		other, err := ln.Accept()
		if err != nil {
			t.Error(err)
			close(peers)
			return
		}
		r := newRaw(t, other)
		if _, err := r.Write(append(greeting(1, "NULL"), readyOf("ROUTER", "")...)); err != nil {
			t.Error(err)
		}
		peers <- r
	}()
	l, err = Open(soon(t), nc, false, Config{Type: TypeDealer, Linger: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- serve(l) }()
	peer = <-peers
	peer.skipGreeting()
	peer.command()
	return l, peer, done
}

// What the kernel was never given the peer cannot have: behind a message that is
// stuck in its middle, and where the peer was gone before the first byte.
func TestUnseen(t *testing.T) {
	leavesNothing(t)
	l, peer, ended := pair(t, (*Message).Release)
	if err := l.TrySend([]byte("all of it")); err != nil {
		t.Fatal(err)
	}
	peer.frame()
	if err := l.TrySend(make([]byte, 4<<20)); err != nil { // more than the kernel takes
		t.Fatal(err)
	}
	peer.frameStart()
	for range 3 {
		if err := l.TrySend([]byte("behind it")); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	<-ended
	if l.Unsent() != 4 || l.Unseen() != 3 {
		t.Errorf("%d unsent, %d unseen; want 4, 3", l.Unsent(), l.Unseen())
	}

	// Serve reads, and does not see the end: the handler holds it up.
	in, out := make(chan bool), make(chan bool)
	l, peer, ended = pair(t, func(m *Message) {
		m.Release()
		in <- true
		<-out
	})
	peer.send(message("something"))
	<-in
	peer.Close()
	if err := l.TrySend([]byte("nobody reads this")); err != nil {
		t.Fatal(err)
	}
	for l.Flush(soon(t)) == nil {
		runtime.Gosched()
	}
	out <- true
	<-ended
	if l.Unsent() != 1 || l.Unseen() != 1 {
		t.Errorf("%d unsent, %d unseen to a peer that was gone; want 1, 1", l.Unsent(), l.Unseen())
	}
}

// Settled is false from the arrival of a message until it was handled, and of
// the end until Serve has seen it.
func TestSettled(t *testing.T) {
	leavesNothing(t)
	in, out := make(chan bool), make(chan bool)
	l, peer, ended := pair(t, func(m *Message) {
		m.Release()
		in <- true
		<-out
	})
	settles := func(what string) {
		t.Helper()
		for deadline := time.Now().Add(patience); !l.Settled(); runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatalf("not settled %s", what)
			}
		}
	}
	settles("before anything came")
	peer.send(message("one"), message("two"))
	for range 2 {
		<-in
		if l.Settled() {
			t.Error("settled while a message is being handled")
		}
		out <- true
	}
	settles("after all was handled")
	peer.send(frame(0, "half of it")[:5])
	settles("with half a message")
	peer.send(frame(0, "half of it")[5:])
	<-in
	peer.Close()
	if l.Settled() {
		t.Error("settled with an end that was not seen")
	}
	out <- true
	<-ended
	settles("after the end")
}
