// Package dispatch decides what a powerhose master does: which worker gets
// which job, who waits and for how long, what becomes of the jobs of a worker
// that is gone, and who is told. It is a state machine without sockets,
// goroutines and clocks: what happens is told to a [Machine] by a method that
// has the time as its first argument, and what is to be done is read with
// [Machine.Actions] afterwards. The same events give the same actions.
//
// # What it promises
//
// Each call that [Machine.Submit] accepted gets exactly one [Reply]. A job
// that is not repeatable is started by at most one worker, as far as workers
// keep to three rules: they answer in order, they write the answer of one job
// before they start the next, and they start nothing that came over a link
// that is closed. A job that was certainly never started may always move to
// another worker; that is no repetition, and the caller does not see it.
//
// Certainly never started is a job of which not a byte was written; a job that
// the worker returned; and, where the worker's end of the link was closed by
// the worker or by its death and everything it had written was read, each but
// the first of the unanswered jobs. Where the master cut the link itself, the
// worker may live and read on: then each job that was written may have been
// started.
//
// A call that is refused with [wire.Busy], [wire.NoWorker], [wire.QueueFull] or
// [wire.Draining] was never started, and may be tried again whatever it does.
//
// # What it costs
//
// Finding a worker and finding the next caller take a constant time, and
// deadlines are in one heap. In the steady state nothing is allocated.
//
// A Machine is not safe for use by several goroutines at once.
package dispatch

import (
	"errors"
	"fmt"
	"time"

	"appbundle/powerhose/internal/wire"
)

// Bounds of what can be configured, and of what there can be at one time.
const (
	maxKinds   = 63 // distinct kinds, of workers and of calls together
	slotBits   = 20
	maxJobs    = 1 << slotBits
	slotMask   = maxJobs - 1
	maxWorkers = 1 << 15
	// probeWait is how long the holder of a name has to show that it lives when
	// another worker wants the name.
	probeWait = time.Second
	// longest is what a JOB can say, 49 days; a longer time is cut to it.
	longest = (1<<32 - 1) * time.Millisecond
	// maxReturns ends a job that workers keep giving back.
	maxReturns = 3
)

// A Config has the policy of a master. Its zero value is the default.
type Config struct {
	Window      int           // jobs that one worker may hold; 0 means 4, at most 16
	Short       time.Duration // jobs of this length are short: only behind them another may wait; 0 means 1 ms
	MaxAttempts int           // of a repeatable job; 0 means 2
	MaxWaiting  int           // callers that wait for a worker; 0 means 1024
	MaxWorkers  int           // 0 means 1024
	Rate        int           // registrations a second; 0 means 100

	Deadline  time.Duration // of a call that names none; 0 means 30 s
	BusyWait  time.Duration // of a call that names none; 0 means 1 s
	Grace     time.Duration // for a worker that has a job beyond its deadline; 0 means 5 s
	Handshake time.Duration // from a registration to an attached work link; 0 means 2 s
	DrainTime time.Duration // for a worker or a master that is ending; 0 means 30 s
	Period    time.Duration // between the pings of a worker; 0 means 5 s
	Tries     int           // periods of silence until an idle worker is given up; 0 means 3

	// Seed makes job numbers differ from those of the master before, of which
	// workers may still have some. It is drawn at random.
	Seed uint64
}

// fill puts the defaults in.
func (c *Config) fill() error {
	number := func(n *int, def, low, high int, name string) error {
		if *n == 0 {
			*n = def
		}
		if *n < low || *n > high {
			return fmt.Errorf("%s is %d; it can be %d to %d", name, *n, low, high)
		}
		return nil
	}
	span := func(d *time.Duration, def time.Duration, name string) error {
		if *d == 0 {
			*d = def
		}
		if *d < 0 {
			return fmt.Errorf("%s is %v; it cannot be negative", name, *d)
		}
		return nil
	}
	return errors.Join(
		number(&c.Window, 4, 1, wire.MaxWindow, "window"),
		number(&c.MaxAttempts, 2, 1, 255, "attempts"),
		number(&c.MaxWaiting, 1024, 1, maxJobs/4, "waiting callers"),
		number(&c.MaxWorkers, 1024, 1, maxWorkers/2, "workers"),
		number(&c.Rate, 100, 1, 1e6, "registrations a second"),
		number(&c.Tries, 3, 1, 255, "tries"),
		span(&c.Short, time.Millisecond, "short job"),
		span(&c.Deadline, 30*time.Second, "deadline"),
		span(&c.BusyWait, time.Second, "busy wait"),
		span(&c.Grace, 5*time.Second, "grace"),
		span(&c.Handshake, 2*time.Second, "handshake"),
		span(&c.DrainTime, 30*time.Second, "drain time"),
		span(&c.Period, 5*time.Second, "ping period"),
	)
}

// A Worker is the handle of a registered worker. 0 is none, and a handle is
// not given out again for a long time.
type Worker uint32

// A Ticket is the handle of a call. 0 is none. [Ticket.Slot] is a small number
// that no other open call has, for a table beside the machine.
type Ticket uint64

// Slot is the index that belongs to the ticket until its reply. Submit may give
// it away in the event that has led to the reply: who has a table calls Tick, and
// does what it leads to, before Submit.
func (t Ticket) Slot() int { return int(t & slotMask) }

// A Registration is what a worker says of itself.
type Registration struct {
	Name            string
	Incarnation     [16]byte
	PID             uint32
	Lowest, Highest uint8 // versions of the protocol
	Window          int   // jobs that it is willing to hold; at least 1
	Remote          bool  // on another host, where a reset can overtake data: it holds one job
	Kinds           []string
	Held            wire.Numbers // jobs of an earlier link that it has still
}

// A Call is a job as its caller wants it done.
type Call struct {
	Deadline   time.Duration // from now; 0 is the configured one
	BusyWait   time.Duration // for a worker; 0 is the configured one, less than 0 is not at all
	Kind       []byte        // empty is a job for workers that take all kinds
	Repeatable bool
	Progress   bool
	Urgent     bool // before the calls that wait and are not urgent
}

// A Do is what an [Action] is.
type Do uint8

// What there is to do.
const (
	Send      Do = 1 + iota // Worker, Ticket, Number, Attempt, Left: write a JOB
	Withdraw                // Worker, Number: write a CANCEL
	Reply                   // Ticket, Code and what is known of the run: tell the caller
	Ask                     // Worker: write a PING
	TellDrain               // Worker: write a DRAIN
	Close                   // Worker, Code: end both links, tell Down afterwards
	Stopped                 // after Drain: nobody waits any more, write BYE to all and end
)

var doNames = [...]string{Send: "send", Withdraw: "withdraw", Reply: "reply", Ask: "ask", TellDrain: "drain", Close: "close", Stopped: "stopped"}

// String is one word.
func (d Do) String() string { return doNames[d] }

// An Action is one thing for the owner of the machine to do. Actions about one
// worker are done in their order.
type Action struct {
	Do      Do
	Attempt uint8 // Send, Reply: 1 is the first, 0 in a Reply is never sent
	Code    wire.Code
	Worker  Worker // in a Reply: the one that had the job last; it may be gone
	PID     uint32 // Reply
	Ticket  Ticket
	Number  uint64        // of the JOB
	Left    time.Duration // Send: until the deadline
	Wait    time.Duration // Reply: until a worker had it for the first time
	Run     time.Duration // Reply: in the worker
	Busy    int           // Reply to a call that waited: workers that are not idle, of those
	Workers int           // that take such a job
}

// New returns a machine without workers. The error says which number of the
// configuration cannot be.
func New(cfg Config) (*Machine, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	m := &Machine{
		cfg:      cfg,
		sequence: cfg.Seed & (1<<(64-slotBits) - 1),
		names:    map[string]int32{},
		kinds:    map[string]int{},
		freeJob:  nobody,
	}
	for p := range m.waiting {
		for k := range m.waiting[p] {
			m.waiting[p][k] = list{nobody, nobody}
		}
	}
	return m, nil
}

// A Machine is the table of a master. Each method is an event; the actions that
// it leads to are read with Actions before the next one or later.
type Machine struct {
	cfg     Config
	actions []Action
	read    []Action // what Actions returned
	timers  timers

	jobs     []job
	freeJob  int32
	sequence uint64
	order    uint64 // of arrival
	open     int    // calls without a reply

	workers    []worker
	freeWorker []int32
	live       int // workers that are not closing
	names      map[string]int32
	pools      []*pool // those with fewer kinds first

	kinds    map[string]int // its bit
	kindName [maxKinds + 1]string
	kindRefs [maxKinds + 1]int

	waiting  [2][maxKinds + 1]list // urgent ones are the second
	nonEmpty [2]uint64             // kinds of which somebody waits
	waits    int

	allowed time.Duration // the registrations so far, at the allowed rate, end here

	draining, stopped bool
	drainBy           time.Duration

	count Counters
}

// Actions returns what is to be done, in order, since it was last called. The
// slice is good until the next call of Actions: what is done may lead to events.
func (m *Machine) Actions() []Action {
	m.actions, m.read = m.read[:0], m.actions
	return m.read
}

func (m *Machine) do(a Action) { m.actions = append(m.actions, a) }

// Next is when Tick is to be called; false says that there is nothing to wait
// for.
func (m *Machine) Next() (time.Duration, bool) {
	at, ok := m.timers.next()
	if m.draining && !m.stopped && (!ok || m.drainBy < at) {
		return m.drainBy, true
	}
	return at, ok
}

// Tick does what is due. Every other event does so too before anything else: what
// was due before it happens before it. Time does not go back.
func (m *Machine) Tick(now time.Duration) {
	for {
		at, ok := m.timers.next()
		if !ok || at > now {
			break
		}
		if id := m.timers.heap[0].id; id >= 0 {
			m.jobDue(now, id)
		} else {
			m.workerDue(now, ^id)
		}
	}
	if m.draining && !m.stopped && now >= m.drainBy {
		m.giveUp(now)
	}
}

// Drain ends the master: new calls and workers are refused, calls that were
// accepted are served for as long as a drain may take. Stopped is the last
// action.
func (m *Machine) Drain(now time.Duration) {
	m.Tick(now)
	if m.draining {
		return
	}
	m.draining, m.drainBy = true, now+m.cfg.DrainTime
	m.stopIfIdle()
}

// End is a Drain whose time is over: all callers are answered at once.
func (m *Machine) End(now time.Duration) {
	m.Drain(now)
	if !m.stopped {
		m.drainBy = now
		m.giveUp(now)
	}
}

// stopIfIdle ends a drain when the last caller has its reply.
func (m *Machine) stopIfIdle() {
	if m.draining && !m.stopped && m.open == 0 {
		m.stopped = true
		m.do(Action{Do: Stopped})
	}
}

// giveUp ends a drain that took too long.
func (m *Machine) giveUp(now time.Duration) {
	for i := range m.jobs {
		switch j := &m.jobs[i]; j.state {
		case waiting:
			m.unqueue(int32(i))
			m.reply(now, j, m.unserved(j, wire.Draining), 0)
			m.free(int32(i))
		case given:
			m.reply(now, j, wire.Lost, m.ran(now, int32(i)))
			m.orphan(now, int32(i))
		}
	}
}
