package zmq

import (
	"bytes"
	"fmt"
	"testing"
)

// What is queued is written by Push, in order, whatever the kernel takes at once.
func TestPush(t *testing.T) {
	leavesNothing(t)
	l, peer, ended := pair(t, (*Message).Release)
	big := bytes.Repeat([]byte("big"), 1<<20) // more than the kernel takes
	for i := range 3 {
		for _, m := range [][]byte{fmt.Appendf(nil, "small %d", i), big} {
			if err := l.Queue(m); err != nil {
				t.Fatal(err)
			}
			if i > 0 {
				l.Push()
			}
		}
		if i == 0 {
			l.Push()
		}
	}
	for i := range 3 {
		if _, b := peer.frame(); string(b) != fmt.Sprintf("small %d", i) {
			t.Fatalf("%.20q, want small %d", b, i)
		}
		if _, b := peer.frame(); !bytes.Equal(b, big) {
			t.Fatal("a big message is not what was sent")
		}
	}
	if err := l.Flush(soon(t)); err != nil {
		t.Error(err)
	}

	// Of a message that is stuck in its middle the peer has something, of the next
	// ones nothing, also if they are in the same write.
	for range 3 {
		if err := l.Queue(big); err != nil {
			t.Fatal(err)
		}
	}
	l.Push()
	peer.frameStart()
	l.Close()
	<-ended
	if l.Unsent() != 3 || l.Unseen() != 2 {
		t.Errorf("%d unsent, %d unseen; want 3, 2", l.Unsent(), l.Unseen())
	}
}

// Quiet runs when all that has arrived was handled, in the place of the reader;
// if it is overtaken somebody else reads.
func TestServeQuiet(t *testing.T) {
	leavesNothing(t)
	var got []string
	quiet, goOn := make(chan []string), make(chan bool)
	first := make(chan bool)
	l, peer, ended := pairOf(t, func(l *Link) error {
		return l.ServeQuiet(func(m *Message) {
			got = append(got, string(m.Frames[0]))
			if len(got) == 1 {
				<-first
			}
			m.Release()
		}, func() bool {
			quiet <- got
			return <-goOn
		})
	})
	peer.send(message("1"), message("2"))
	peer.send(message("3"))
	close(first)
	if now := <-quiet; len(now) != 3 {
		t.Errorf("quiet after %q, with more to read", now)
	}
	goOn <- true // it wants to be called again
	if now := <-quiet; len(now) != 3 {
		t.Errorf("quiet again after %q", now)
	}
	peer.send(message("4"))
	goOn <- true
	if now := <-quiet; len(now) != 4 {
		t.Errorf("quiet after %q, with more to read", now)
	}
	if l.Settled() {
		t.Error("settled while quiet runs")
	}
	if !l.Overtake() || l.Overtake() {
		t.Error("quiet is not overtaken once")
	}
	peer.send(message("5"))
	if now := <-quiet; len(now) != 5 {
		t.Errorf("the reader that overtook has %q", now)
	}
	goOn <- false // one of the two
	goOn <- false
	peer.Close()
	if err := <-ended; err != nil {
		t.Errorf("ServeQuiet = %v", err)
	}
	if l.Overtake() {
		t.Error("something was overtaken after the end")
	}
}

// More is true in the handler if the next message is there, all of it.
func TestMore(t *testing.T) {
	leavesNothing(t)
	got, first := make(chan bool), make(chan bool)
	n := 0
	_, peer, ended := pairOf(t, func(l *Link) error {
		return l.Serve(func(m *Message) {
			m.Release()
			if n++; n == 1 {
				<-first
			}
			got <- l.More()
		})
	})
	long := string(bytes.Repeat([]byte("x"), 300))
	third := message("3", long)
	peer.send(message("1"), message("2", long), third[:len(third)-1])
	close(first)
	for i, want := range []bool{true, false} {
		if more := <-got; more != want {
			t.Errorf("after message %d: More = %v, want %v", i+1, more, want)
		}
	}
	peer.send(third[len(third)-1:], frame(flagCommand, "\x04NEXT"), message("4"))
	if <-got {
		t.Error("More before a command")
	}
	if <-got {
		t.Error("More after the last message")
	}
	peer.Close()
	if err := <-ended; err != nil {
		t.Errorf("Serve = %v", err)
	}
}
