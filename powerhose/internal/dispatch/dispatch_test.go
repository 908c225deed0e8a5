package dispatch

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"appbundle/powerhose/internal/wire"
)

// A configuration that cannot be is refused, with the name of what is wrong.
func TestConfig(t *testing.T) {
	for want, cfg := range map[string]Config{
		"window is 17; it can be 1 to 16":            {Window: 17},
		"window is -1;":                              {Window: -1},
		"attempts is 256; it can be 1 to 255":        {MaxAttempts: 256},
		"waiting callers is -5;":                     {MaxWaiting: -5},
		"workers is 99999;":                          {MaxWorkers: 99999},
		"registrations a second is -1;":              {Rate: -1},
		"tries is 256;":                              {Tries: 256},
		"grace is -1s; it cannot be negative":        {Grace: -time.Second},
		"ping period is -1ns; it cannot be negative": {Period: -1},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%+v) = %v, want %s", cfg, err, want)
		}
	}
	if _, err := New(Config{}); err != nil {
		t.Error(err)
	}
}

func mustNew(t *testing.T, cfg Config) *Machine {
	t.Helper()
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func worker1(name string) Registration {
	return Registration{Name: name, Incarnation: [16]byte{1}, Lowest: 1, Highest: 1, Window: 1}
}

// What is told of a worker that is gone changes nothing.
func TestStaleHandle(t *testing.T) {
	m := mustNew(t, Config{})
	old, _ := m.Register(0, worker1("a"))
	m.Down(0, old, 0, true)
	h, _ := m.Register(0, worker1("b"))
	if h == old || h&0xffff != old&0xffff {
		t.Fatalf("handles %x and %x", old, h)
	}
	m.Actions()
	for name, event := range map[string]func(){
		"Attached": func() { m.Attached(0, old) },
		"Heard":    func() { m.Heard(0, old) },
		"Pong":     func() { m.Pong(0, old, nil) },
		"Leave":    func() { m.Leave(0, old) },
		"Retire":   func() { m.Retire(0, old) },
		"Bye":      func() { m.Bye(old) },
		"Fail":     func() { m.Fail(old, wire.Malformed) },
		"Result":   func() { m.Result(0, old, 5, 0) },
		"Returned": func() { m.Returned(0, old, 5) },
		"Progress": func() { m.Progress(0, old, 5) },
		"Down":     func() { m.Down(0, old, 0, true) },
		"none":     func() { m.Down(0, 0, 0, true) },
		"far":      func() { m.Down(0, 1<<16|77, 0, true) },
	} {
		event()
		check(t, m)
		if a := m.Actions(); len(a) > 0 {
			t.Errorf("%s of a worker that is gone: %+v", name, a)
		}
	}
	n := 0
	for i := range m.Workers(0) {
		if n++; i.State != "joining" {
			t.Errorf("worker %s is %s", i.Name, i.State)
		}
	}
	if n != 1 {
		t.Errorf("%d workers", n)
	}
}

// A handle is 0 never, also when its generation begins anew.
func TestGenerations(t *testing.T) {
	m := mustNew(t, Config{Rate: 1e6})
	seen := map[Worker]bool{}
	for i := range 1<<16 + 10 {
		h, code := m.Register(time.Duration(i)*time.Millisecond, worker1("a"))
		if code != wire.OK || h == 0 || i < 0xffff && seen[h] {
			t.Fatalf("registration %d: %x, %v", i, h, code)
		}
		seen[h] = true
		m.Down(time.Duration(i)*time.Millisecond, h, 0, true)
		m.Actions()
	}
}

// Job numbers begin anew as well, and are never 0.
func TestSequence(t *testing.T) {
	m := mustNew(t, Config{Seed: 1<<44 - 2})
	for range 4 {
		ticket, code := m.Submit(0, Call{})
		if code != wire.OK || ticket == 0 || ticket.Slot() != 0 {
			t.Errorf("ticket %x, %v", ticket, code)
		}
		if !m.Cancel(0, ticket) || m.Cancel(0, ticket) {
			t.Errorf("ticket %x can be cancelled not once", ticket)
		}
	}
	if m.Cancel(0, 0) || m.Cancel(0, 99) {
		t.Error("a ticket that never was can be cancelled")
	}
}

// There are 63 kinds at one time; one that nobody uses any more makes room.
func TestKinds(t *testing.T) {
	m := mustNew(t, Config{})
	var last Ticket
	for i := range maxKinds {
		ticket, code := m.Submit(0, Call{Kind: []byte("k" + strconv.Itoa(i))})
		if code != wire.OK {
			t.Fatalf("kind %d: %v", i, code)
		}
		last = ticket
	}
	if _, code := m.Submit(0, Call{Kind: []byte("more")}); code != wire.TooMany {
		t.Errorf("kind 64: %v", code)
	}
	r := worker1("w")
	r.Kinds = []string{"k0", "more"}
	if _, code := m.Register(0, r); code != wire.TooMany {
		t.Errorf("a worker with kind 64: %v", code)
	}
	m.Cancel(0, last)
	h, code := m.Register(0, r)
	if code != wire.OK {
		t.Fatalf("a worker with kind 63: %v", code)
	}
	if m.Attached(0, h); len(m.Actions()) != 2 { // the reply of last, and k0
		t.Error("the worker got no job")
	}
	m.Down(0, h, 1, true)
	if _, code := m.Submit(0, Call{Kind: []byte("again")}); code != wire.OK {
		t.Errorf("after the worker is gone: %v", code)
	}
	check(t, m)
}

// Workers that are closed and whose links do not end take room too, and it is
// limited.
func TestManyClosing(t *testing.T) {
	m := mustNew(t, Config{Rate: 1e6})
	n := 0
	for ; n <= maxWorkers; n++ {
		h, code := m.Register(time.Duration(n)*time.Millisecond, worker1("a"))
		if code != wire.OK {
			if code != wire.TooMany {
				t.Fatal(code)
			}
			break
		}
		m.Bye(h)
	}
	if n != maxWorkers {
		t.Errorf("%d workers were closing", n)
	}
}

// A machine that has nothing to do has nothing to wait for, and one that drains
// waits for its end.
func TestNext(t *testing.T) {
	m := mustNew(t, Config{})
	if at, ok := m.Next(); ok {
		t.Errorf("something is due at %v", at)
	}
	if _, code := m.Submit(0, Call{BusyWait: time.Hour, Deadline: time.Hour}); code != wire.OK {
		t.Fatal(code)
	}
	if at, ok := m.Next(); !ok || at != time.Hour {
		t.Errorf("Next = %v, %v", at, ok)
	}
	m.Drain(time.Second)
	if at, ok := m.Next(); !ok || at != 31*time.Second {
		t.Errorf("Next of a drain = %v, %v", at, ok)
	}
	m.Tick(31 * time.Second)
	if at, ok := m.Next(); ok {
		t.Errorf("something is due at %v", at)
	}
}

// In the steady state a job costs no memory.
func TestNoAllocation(t *testing.T) {
	m, workers := full(t, 4)
	now := time.Second
	round := func() {
		now += time.Millisecond
		for range 20 {
			if _, code := m.Submit(now, Call{Repeatable: true}); code != wire.OK {
				t.Fatal(code)
			}
		}
		for m.open > 0 {
			for _, h := range workers {
				if w := &m.workers[m.find(h)]; w.load > 0 {
					m.Result(now, h, m.jobs[w.queue[0]].number, 10*time.Microsecond)
				}
			}
			m.Actions()
		}
	}
	round()
	if got := testing.AllocsPerRun(100, round); got != 0 {
		t.Errorf("twenty jobs cost %v allocations", got)
	}
}

// Doing what is to be done may be an event, whose actions do not overwrite those
// that are being done.
func TestActionsWhileActing(t *testing.T) {
	m, workers := full(t, 2)
	for range 2 {
		if _, code := m.Submit(time.Second, Call{}); code != wire.OK {
			t.Fatal(code)
		}
	}
	first := m.Actions()
	var done []string
	for _, a := range first {
		done = append(done, a.Do.String())
		m.Fail(workers[0], wire.TooSlow)
		m.Fail(workers[1], wire.TooSlow)
	}
	for _, a := range m.Actions() {
		done = append(done, a.Do.String())
	}
	if got := strings.Join(done, " "); got != "send send close close" {
		t.Errorf("done: %s", got)
	}
}

// The histogram puts a time where its documentation says.
func TestHistogram(t *testing.T) {
	var h Histogram
	for d, bucket := range map[time.Duration]int{
		0: 0, 999: 0, time.Microsecond: 1, 2 * time.Microsecond: 2, 3999: 2, 4 * time.Microsecond: 3, time.Second: 20, 1000 * time.Hour: 31,
	} {
		before := h.Buckets[bucket]
		if h.add(d); h.Buckets[bucket] != before+1 {
			t.Errorf("%v is not in bucket %d: %v", d, bucket, h.Buckets)
		}
	}
}
