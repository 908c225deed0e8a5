package powerhose

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"appbundle/powerhose/internal/wire"
)

const lentSize = 1 << 20 // more than the kernel takes: something stays in the queue

// readSlowly reads a message whose beginning is there, and gives its body.
func (r *raw) readSlowly(t wire.Type, meanwhile func(h wire.Head)) string {
	r.Helper()
	_, b, err := r.frame()
	var h wire.Head
	if err == nil {
		err = wire.Decode(b, &h)
	}
	if err != nil || h.Type != t {
		r.Fatalf("%s, %v; want %s", h.Type, err, t)
	}
	meanwhile(h)
	_, b, err = r.frame()
	if err != nil {
		r.Fatal(err)
	}
	return string(b)
}

// A caller uses its memory again as soon as Execute has returned: also if that was
// because nobody waits any more, and of a worker that answers what it has not read.
func TestJobIsTheCallersAgain(t *testing.T) {
	leavesNothing(t)
	m := newMaster(t, MasterConfig{Grace: patience})
	for _, answers := range []bool{false, true} {
		w := newRawWorker(t, m.Address(), fmt.Sprint(answers))
		until(t, "the worker", func() bool { return m.Status().Workers[len(m.Status().Workers)-1].State == "idle" })
		job := bytes.Repeat([]byte{'j'}, lentSize)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() {
			_, err := m.Execute(ctx, job, Call{})
			for i := range job {
				job[i] = 'x'
			}
			done <- err
		}()
		body := w.work.readSlowly(wire.Job, func(h wire.Head) {
			if answers {
				w.work.send(wire.Head{Type: wire.Result, Number: h.Number, Run: 1}, "")
			} else {
				cancel()
			}
			if err := <-done; answers != (err == nil) || !answers && !errors.Is(err, context.Canceled) {
				t.Errorf("answered: %v; Execute = %v", answers, err)
			}
		})
		if body != strings.Repeat("j", lentSize) {
			t.Errorf("answered: %v; the worker has another job than the one that was given", answers)
		}
		w.reg.Close()
		w.work.Close()
		idle(t, m, 0)
	}
}

// The same for a master in another process, which is slow to read.
func TestJobIsTheCallersAgainSeparate(t *testing.T) {
	leavesNothing(t)
	m := newRawMaster(t)
	r, err := Connect(m.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	nc, err := m.ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	link := rawLink(t, nc, "ROUTER")
	link.want(wire.Hello)
	link.send(wire.Head{Type: wire.Welcome, Version: 1, Tries: 3, Period: 60000, MaxBody: lentSize, Incarnation: [16]byte{1}}, "")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		job := bytes.Repeat([]byte{'j'}, lentSize)
		_, err := r.Execute(ctx, job, Call{})
		for i := range job {
			job[i] = 'x'
		}
		done <- err
	}()
	body := link.readSlowly(wire.Call, func(wire.Head) {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Execute = %v", err)
		}
	})
	if body != strings.Repeat("j", lentSize) {
		t.Error("the master has another job than the one that was given")
	}
}

// worker is one in this process, until the end of the test.
func worker(t *testing.T, address, name string, h Handler) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- (&Worker{Master: address, Name: name}).Serve(ctx, h) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("worker %s: %v", name, err)
		}
	})
}

// Callers and workers that use one piece of memory for all jobs and results, while
// some callers do not wait for theirs: each body is that of its job, as far as the
// race detector sees too.
func TestReuse(t *testing.T) {
	const callers, each = 6, 40
	m := newMaster(t, MasterConfig{Listen: shortDir(t) + "/m"})
	for _, name := range []string{"a", "b"} {
		out := make([]byte, 300<<10)
		worker(t, m.Address(), name, func(_ context.Context, j *Job) ([]byte, error) {
			if n := bytes.Count(j.Body, j.Body[:1]); n != len(j.Body) {
				return nil, fmt.Errorf("%d of %d bytes are those of the job", n, len(j.Body))
			}
			for i := 0; i < len(j.Body); {
				i += copy(out[i:], j.Body[:min(4096, len(j.Body)-i)])
			}
			return out[:len(j.Body)], nil
		})
	}
	idle(t, m, 2)
	r, err := Connect(m.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			e := executor(m)
			if c%2 == 0 {
				e = r
			}
			job := make([]byte, 300<<10)
			for i := range each {
				n := 1 + (c*7919+i*104729)%len(job)
				piece := bytes.Repeat([]byte{byte(c*each + i)}, min(4096, n))
				for at := 0; at < n; {
					at += copy(job[at:n], piece)
				}
				ctx, cancel := context.WithCancel(t.Context())
				if i%3 == 0 {
					time.AfterFunc(time.Duration(i)*20*time.Microsecond, cancel)
				}
				got, err := e.Execute(ctx, job[:n], Call{BusyWait: patience, Deadline: patience})
				cancel()
				if err != nil && i%3 != 0 || err == nil && (len(got) != n || bytes.Count(got, piece[:1]) != n) {
					t.Errorf("caller %d, job %d of %d bytes: %d bytes, %v", c, i, n, len(got), err)
				}
			}
		})
	}
	all.Wait()
}
