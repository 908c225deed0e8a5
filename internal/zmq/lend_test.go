package zmq

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// filled is a body of n equal bytes.
func filled(c byte, n int) []byte { return bytes.Repeat([]byte{c}, n) }

// wantBody reads a message of a head and a body of equal bytes.
func (r *raw) wantBody(head string, c byte, n int) {
	r.Helper()
	if flags, got := r.frame(); string(got) != head || flags&flagMore == 0 {
		r.Fatalf("head %.20q, want %q", got, head)
	}
	if _, got := r.frame(); len(got) != n || bytes.Count(got, []byte{c}) != n {
		r.Fatalf("the body of %s has %d bytes, %d of them %q; want %d", head, len(got), bytes.Count(got, []byte{c}), c, n)
	}
}

func queueBody(t *testing.T, l *Link, head string, body []byte, owner Owner) {
	t.Helper()
	if err := l.QueueBody([]byte(head), body, owner); err != nil {
		t.Fatal(err)
	}
}

// What was recalled may change, and arrives as it was: whether it was written, is
// being written, or waits.
func TestRecall(t *testing.T) {
	leavesNothing(t)
	const size = 1 << 20 // more than the kernel takes
	l, peer, ended := pair(t, (*Message).Release)
	var loans [3]Loan
	var bodies [3][]byte
	for i := range loans {
		bodies[i] = filled('a'+byte(i), size)
		queueBody(t, l, fmt.Sprint(i), bodies[i], &loans[i])
		l.Push()
	}
	if messages, n := l.Pending(); messages != 3 || n <= 2*size || n >= 3*size {
		t.Errorf("%d messages of %d bytes are pending", messages, n)
	}
	for i := range loans {
		if loans[i].uses.Load() != 1 {
			t.Errorf("loan %d: %d uses before", i, loans[i].uses.Load())
		}
		loans[i].Recall()
		clear(bodies[i])
		if loans[i].uses.Load() != 0 || loans[i].links != nil {
			t.Errorf("loan %d: %d uses after", i, loans[i].uses.Load())
		}
	}
	for i := range loans {
		peer.wantBody(fmt.Sprint(i), 'a'+byte(i), size)
	}
	// One that was written whole is not lent any more. A short one never was.
	queueBody(t, l, "4", bodies[0], &loans[0])
	queueBody(t, l, "5", bodies[0][:byReference-1], &loans[1])
	if loans[0].uses.Load() != 1 || loans[1].uses.Load() != 0 {
		t.Error("what is short is lent, or what is long is not")
	}
	l.Push()
	peer.wantBody("4", 0, size)
	peer.wantBody("5", 0, byReference-1)
	if err := l.Flush(soon(t)); err != nil {
		t.Fatal(err)
	}
	if loans[0].uses.Load() != 0 {
		t.Error("what is written is lent")
	}
	peer.Close()
	<-ended
}

// A recall waits for the system call that reads the memory.
func TestRecallWhileWriting(t *testing.T) {
	leavesNothing(t)
	l, _ := opened(t, Config{}) // nobody serves it
	var loan Loan
	body := filled('x', byReference)
	queueBody(t, l, "head", body, &loan)
	l.mu.Lock()
	l.calling = true
	l.mu.Unlock()
	recalled := make(chan bool)
	go func() {
		loan.Recall()
		close(recalled)
	}()
	for waits := false; !waits; runtime.Gosched() {
		l.mu.Lock()
		waits = len(l.wanted) == 1
		l.mu.Unlock()
	}
	select {
	case <-recalled:
		t.Fatal("recalled while it is being written")
	default:
	}
	l.mu.Lock()
	l.called(20, nil) // the head, and some of the body
	l.mu.Unlock()
	<-recalled
	clear(body)
	if _, n := l.Pending(); n != byReference-(20-15) || !bytes.Equal(l.out.buffers()[0], filled('x', n)) {
		t.Errorf("%d bytes are left", n)
	}
}

// Senders that use their memory again at once, beside each other: the race
// detector looks on.
func TestLoansRace(t *testing.T) {
	leavesNothing(t)
	const senders, each = 4, 60
	l, peer, ended := pair(t, (*Message).Release)
	var all sync.WaitGroup
	for s := range senders {
		all.Go(func() {
			body := make([]byte, 200<<10)
			var loan Loan
			for i := range each {
				c := byte(s*each + i)
				for j := 0; j < len(body); j += 1024 {
					copy(body[j:], filled(c, 1024))
				}
				size := (i + 1) * len(body) / each
				queueBody(t, l, string([]byte{c}), body[:size], &loan)
				l.Push()
				if i%3 > 0 {
					loan.Recall()
				} else if err := l.Flush(soon(t)); err != nil {
					t.Error(err)
				}
				loan.Recall()
			}
		})
	}
	var left [senders]int
	for range senders * each {
		_, head := peer.frame()
		s, i := int(head[0])/each, int(head[0])%each
		if _, b := peer.frame(); i != left[s] || len(b) != (i+1)*(200<<10)/each || bytes.Count(b, head) != len(b) {
			t.Fatalf("sender %d, message %d of %d bytes is not what was sent", s, i, len(b))
		}
		left[s]++
	}
	all.Wait()
	peer.Close()
	<-ended
}

// A message whose body another link has to write is not used again before that.
func TestForward(t *testing.T) {
	leavesNothing(t)
	const size, count = 100 << 10, 40
	out, to, outEnded := pair(t, (*Message).Release)
	queued := make(chan bool, count)
	in, from, inEnded := pair(t, func(m *Message) {
		if err := out.QueueBody(m.Frames[0], m.Frames[1], m); err != nil {
			t.Error(err)
		}
		m.Release()
		out.Push()
		queued <- true
	})
	for i := range count {
		from.send(message(fmt.Sprint(i), strings.Repeat(string(rune('A'+i)), size)))
		<-queued
	}
	for i := range count {
		to.wantBody(fmt.Sprint(i), 'A'+byte(i), size)
	}
	// What is not written when a link ends is given back too.
	m := newMessage()
	body := m.reserve(4 << 20)
	m.add(body)
	queueBody(t, out, "never", body, m)
	out.Push()
	out.Close()
	<-outEnded
	if uses := m.uses.Load(); uses != 1 {
		t.Errorf("%d uses of a message whose link has ended, want ours", uses)
	}
	m.Release()
	in.Close()
	<-inEnded
}

// Bodies that are not copied count as those that are: for the mark, and when it
// is to be said what the peer cannot have.
func TestUnseenLoans(t *testing.T) {
	leavesNothing(t)
	const size = 1 << 20
	l, p := opened(t, Config{Send: Queue{Bytes: 4*size + 100}})
	end := serve(l, (*Message).Release)
	var loan Loan
	body := filled('x', size)
	queueBody(t, l, "0", body, &loan)
	l.Push()
	p.wantBody("0", 'x', size)
	if err := l.Flush(soon(t)); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		queueBody(t, l, fmt.Sprint(i+1), body, &loan)
	}
	if err := l.QueueBody(nil, body, &loan); err != ErrFull {
		t.Errorf("above the mark: %v", err)
	}
	l.Push()
	p.wantBody("1", 'x', size)
	p.frameStart() // of the second one
	l.Close()
	<-end
	if l.Unsent() != 3 || l.Unseen() != 2 || loan.uses.Load() != 0 {
		t.Errorf("%d unsent, %d unseen, lent %d times; want 3, 2, 0", l.Unsent(), l.Unseen(), loan.uses.Load())
	}
}

// Where a message begins and ends decides, and not what else was in the write.
func TestUnseenBoundary(t *testing.T) {
	for n, want := range map[int][2]int{0: {2, 2}, 1: {2, 1}, 14: {2, 1}, byReference + 14: {2, 1}, byReference + 15: {1, 1}, byReference + 16: {1, 0}} {
		l, _ := opened(t, Config{})
		var loan Loan
		for range 2 {
			queueBody(t, l, "head", filled('x', byReference), &loan) // 15 bytes and the body
		}
		l.took(n)
		l.Close()
		end := serve(l, (*Message).Release)
		<-end
		if got := [2]int{l.Unsent(), l.Unseen()}; got != want {
			t.Errorf("after %d bytes: %d unsent, %d unseen; want %v", n, got[0], got[1], want)
		}
	}
}

// What is sealed is a copy.
func TestCurveLendsNothing(t *testing.T) {
	leavesNothing(t)
	public, secret, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	server := Config{Type: TypeRouter, Security: &CurveServer{Secret: secret, Allow: []PublicKey{public}}}
	got := make(chan string, 1)
	client, _ := linkPair(t, Config{Type: TypeDealer, Security: &CurveClient{Secret: secret, Server: public}}, server,
		func(*Link, *Message) {}, func(_ *Link, m *Message) { got <- string(m.Frames[1]); m.Release() })
	var loan Loan
	body := filled('x', 3*byReference)
	queueBody(t, client, "head", body, &loan)
	if loan.uses.Load() != 0 {
		t.Error("it is lent")
	}
	clear(body)
	client.Push()
	if s := <-got; s != strings.Repeat("x", 3*byReference) {
		t.Errorf("%d bytes arrive, beginning %.10q", len(s), s)
	}
}

// Frames of every length come as they were sent, in whatever pieces.
func TestLengths(t *testing.T) {
	leavesNothing(t)
	sizes := []int{0, 1, 255, 256, byReference - 1, byReference, byReference + readAhead, firstRead - 1, firstRead, firstRead + 1, 3 * firstRead, 1<<18 + 1, 1 << 20}
	got := make(chan [2]int)
	_, peer, ended := pair(t, func(m *Message) {
		bad := 0
		for i, f := range m.Frames {
			bad += len(f) - bytes.Count(f, []byte{byte('a' + i)})
		}
		got <- [2]int{len(m.Frames[1]), bad}
		m.Release()
	})
	var stream []byte
	var want []int
	for _, a := range sizes {
		for _, b := range []int{a, 10, a} {
			stream = append(stream, message(strings.Repeat("a", a), strings.Repeat("b", b))...)
			want = append(want, b)
		}
	}
	stream = append(stream, message("a", strings.Repeat("b", Reused+1))...)
	want = append(want, Reused+1)
	go func() {
		for piece := 1; len(stream) > 0; piece = piece*5%300_007 + 1 {
			n := min(piece, len(stream))
			if _, err := peer.Write(stream[:n]); err != nil {
				t.Error(err)
				return
			}
			stream = stream[n:]
		}
	}()
	for i, n := range want {
		if g := <-got; g != [2]int{n, 0} {
			t.Fatalf("message %d has a body of %d bytes, %d of them wrong; want %d", i, g[0], g[1], n)
		}
	}
	peer.Close()
	<-ended
}

// A peer that has sent a long body once is not believed a longer one.
func TestSecondLength(t *testing.T) {
	leavesNothing(t)
	got := make(chan bool, 1)
	l, peer := opened(t, Config{Limits: Limits{Message: 1 << 30}})
	ended := serve(l, func(m *Message) { m.Release(); got <- true })
	for range 2 {
		peer.send(message(strings.Repeat("x", 1<<20)))
		<-got
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	peer.send(binary.BigEndian.AppendUint64([]byte{flagLong}, 1<<29), make([]byte, 100<<10))
	for !l.Settled() { // not before all of it has been read
		runtime.Gosched()
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 8<<20 {
		t.Errorf("a length of 512 MiB and 100 KiB took %d bytes of memory", took)
	}
	peer.Close()
	<-ended
}
