package dispatch

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"appbundle/powerhose/internal/wire"
)

var (
	modelSeed  = flag.Uint64("model.seed", 0, "play the model with this seed alone; 0 is seeds of their own")
	modelRuns  = flag.Int("model.runs", 25, "seeds to play the model with")
	modelCalls = flag.Int("model.calls", 400, "calls of each run")
)

// TestModel plays masters, workers and callers with everything that happens to
// them: deaths, stops, cuts, late and double and wrong answers, cancels, slow
// links, recycling, restarts of the master. A model that is too simple to be
// wrong keeps count: it has each call and each start of its job.
func TestModel(t *testing.T) {
	if *modelSeed != 0 {
		newWorld(t, *modelSeed).play(*modelCalls)
		return
	}
	first := rand.Uint64()
	sum := tally{}
	for i := range *modelRuns {
		w := newWorld(t, first+uint64(i))
		w.play(*modelCalls)
		sum.add(w.tally)
	}
	t.Logf("seeds from %d: %v", first, sum)
	for _, what := range []string{
		"starts", "OK", "Application", "Busy", "NoWorker", "QueueFull", "Timeout", "Lost", "Cancelled",
		"moved", "repeated", "late", "duplicate", "stray", "returned", "in a window", "restart",
	} {
		if sum[what] == 0 && *modelRuns >= 20 {
			t.Errorf("in %d runs this never happened: %s", *modelRuns, what)
		}
	}
}

// A tally counts what happened in a run, so that it is seen that it does.
type tally map[string]uint64

func (t tally) add(other tally) {
	for what, n := range other {
		t[what] += n
	}
}

// of adds what a master counted.
func (t tally) of(c Counters) {
	t.add(tally{"moved": c.Moved, "repeated": c.Repeated, "late": c.Late, "duplicate": c.Duplicate, "stray": c.Stray, "returned": c.Returned})
}

var outcomes = map[wire.Code]string{
	wire.OK: "OK", wire.Application: "Application", wire.Rejected: "Rejected", wire.Busy: "Busy", wire.NoWorker: "NoWorker",
	wire.QueueFull: "QueueFull", wire.Timeout: "Timeout", wire.Lost: "Lost", wire.Cancelled: "Cancelled",
}

// A fate is a call as the model knows it.
type fate struct {
	id         int
	ticket     Ticket
	kind       string
	repeatable bool
	deadline   time.Duration
	busyWait   time.Duration
	waitEnd    time.Duration // while it waits
	starts     int           // of its job, by any worker
	replies    int
	code       wire.Code
	at         *link // where it is, as far as the master was told
	number     uint64
	forgotten  bool // its master was killed
}

// An item is a JOB on its way to a worker, or in it.
type item struct {
	call   *fate
	number uint64
}

// An answer is on its way back.
type answer struct {
	call   *fate
	number uint64
	what   string // result, error, returned, leave, bye
}

// A link is the two links between the master and a worker.
type link struct {
	worker   Worker
	p        *process
	attached bool
	leaving  bool     // as the master was told
	held     []uint64 // as the master was told
	jobs     []*item  // that the master gave and has no answer of, in order
	pending  []*item  // not written
	stuck    bool     // a write failed
	written  uint64
	back     []answer // written by the worker, not read
	ended    bool     // the worker's end is closed
	closing  bool     // the master was told to close it, or does
	wrong    bool     // the worker broke a rule here
}

// A process is a worker.
type process struct {
	name        string
	incarnation [16]byte
	kinds       []string
	window      int
	alive       bool
	stopped     bool
	leaving     bool
	said        bool // BYE
	link        *link
	cut         bool // its link was closed, and it has not noticed yet
	inbox       []*item
	cancelled   map[uint64]bool
	running     *item
	old         bool // what runs came over an earlier link
}

type world struct {
	t     *testing.T
	seed  uint64
	rng   *rand.Rand
	now   time.Duration
	cfg   Config
	m     *Machine
	procs []*process
	links map[Worker]*link
	open  map[Ticket]*fate
	all   []*fate
	seen  map[uint64]bool // numbers of this master
	names int

	// What is being told to the machine.
	from      *link
	told      answer
	cancels   *fate
	quiet     bool // no more faults
	calls     int
	tally     tally
	log       []string
	withdrawn map[uint64]bool
	must      []uint64 // numbers that must be withdrawn
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), links: map[Worker]*link{}, tally: tally{}}
	w.cfg = Config{
		Window: 1 + w.rng.IntN(4), MaxAttempts: 1 + w.rng.IntN(3), MaxWaiting: 1 + w.rng.IntN(30), MaxWorkers: 8, Rate: 1e6,
		Grace: 20 * time.Millisecond, Handshake: 10 * time.Millisecond, DrainTime: 100 * time.Millisecond, Period: 10 * time.Millisecond,
	}
	w.master()
	return w
}

// master starts a new one.
func (w *world) master() {
	w.cfg.Seed = w.rng.Uint64()
	m, err := New(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.m, w.open, w.seen = m, map[Ticket]*fate{}, map[uint64]bool{}
}

func (w *world) fatal(format string, args ...any) {
	w.t.Helper()
	for _, line := range w.log[max(0, len(w.log)-60):] {
		w.t.Log(line)
	}
	w.t.Fatalf("seed %d at %v: %s (go test -run TestModel -model.seed=%d)", w.seed, w.now, fmt.Sprintf(format, args...), w.seed)
}

func (w *world) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%v ", w.now)+fmt.Sprintf(format, args...))
}

func (w *world) chance(oneIn int) bool { return w.rng.IntN(oneIn) == 0 }

// play makes so many calls, then lets everything end.
func (w *world) play(calls int) {
	for range 3 {
		w.spawn()
	}
	for w.calls < calls {
		w.pass(time.Duration(w.rng.Int64N(int64(200 * time.Microsecond))))
		w.step()
		w.look()
	}
	w.quiet = true
	for n := 0; len(w.open) > 0; n++ {
		if n > 100000 {
			w.fatal("%d calls have no reply: %+v", len(w.open), w.open)
		}
		w.pass(50 * time.Microsecond)
		w.step()
		w.look()
	}
	for _, l := range w.links {
		l.ended = true // all workers die, and those that had died
	}
	for len(w.links) > 0 {
		w.read()
		w.hangUp()
		w.pass(time.Millisecond)
	}
	for _, c := range w.all {
		if c.replies != 1 && !c.forgotten {
			w.fatal("call %d got %d replies", c.id, c.replies)
		}
	}
	if c := w.m.Counters(); c.InFlight != 0 || c.Waiting != 0 {
		w.fatal("at the end: %+v", c)
	}
	for i := range w.m.jobs {
		if w.m.jobs[i].state != unused {
			w.fatal("job %d is still there", i)
		}
	}
	for i := range w.m.Workers(w.now) {
		w.fatal("worker %s is still there", i.Name)
	}
	w.tally.of(w.m.Counters())
}

// pass lets time go by, and the timers with it.
func (w *world) pass(d time.Duration) {
	end := w.now + d
	for {
		at, ok := w.m.Next()
		if !ok || at > end {
			break
		}
		if at < w.now {
			w.fatal("a timer was due at %v", at)
		}
		w.now = at
		w.m.Tick(at)
		w.act()
	}
	w.now = end
}

// step lets something happen.
func (w *world) step() {
	p := w.procs[w.rng.IntN(len(w.procs))]
	for n := 0; n < 3 && p.running == nil && len(p.inbox) == 0; n++ {
		p = w.procs[w.rng.IntN(len(w.procs))]
	}
	switch n := w.rng.IntN(1000); {
	case n < 100 && !w.quiet:
		w.submit()
	case n < 104 && !w.quiet:
		w.cancel()
	case n < 330:
		w.write()
	case n < 600:
		w.work(p)
	case n < 850:
		w.read()
	case n < 880:
		w.hangUp()
	case n < 910:
		w.ping(p)
	case n < 912 && !w.quiet:
		w.kill(p)
	case n < 915 && !w.quiet:
		p.stopped = p.alive && !p.stopped
	case n < 917 && !w.quiet:
		w.walkOut(p)
	case n < 919 && !w.quiet:
		w.leave(p)
	case n < 920 && !w.quiet && w.chance(4):
		w.restart()
	case n < 921 && !w.quiet:
		if l := w.someLink(func(l *link) bool { return !l.closing }); l != nil && w.chance(2) {
			w.note("fail %s", l.p.name)
			code := []wire.Code{wire.TooSlow, wire.Malformed}[w.rng.IntN(2)]
			l.wrong = l.wrong || code == wire.Malformed
			w.m.Fail(l.worker, code)
			w.act()
		}
	case n < 985:
		w.connect(p)
	default:
		w.procs = slices.DeleteFunc(w.procs, func(p *process) bool { return !p.alive || p.said })
		if len(w.procs) < 6 || w.chance(5) {
			w.spawn()
		}
		p.stopped = p.stopped && !w.quiet
	}
}

// someLink is one for which this is so, or nil.
func (w *world) someLink(is func(*link) bool) *link {
	var all []*link
	for _, l := range w.links {
		if is(l) {
			all = append(all, l)
		}
	}
	if all == nil {
		return nil
	}
	slices.SortFunc(all, func(a, b *link) int { return int(a.worker) - int(b.worker) })
	return all[w.rng.IntN(len(all))]
}

var modelKinds = [][]string{nil, nil, {"x"}, {"x", "y"}}

func (w *world) spawn() {
	w.names++
	p := &process{name: fmt.Sprintf("w%d", w.rng.IntN(6)), alive: true, window: 1 + w.rng.IntN(4), kinds: modelKinds[w.rng.IntN(4)], cancelled: map[uint64]bool{}}
	p.incarnation[0], p.incarnation[1], p.incarnation[2] = byte(w.names), byte(w.names>>8), 1
	w.procs = append(w.procs, p)
	w.connect(p)
}

// connect registers a process that has no link.
func (w *world) connect(p *process) {
	if l := p.link; l != nil {
		if !p.alive || p.stopped || p.cut || l.attached || l.closing || l.ended {
			return
		}
		l.attached = true
		w.note("attach %s", p.name)
		w.from = l
		w.m.Attached(w.now, l.worker)
		w.act()
		return
	}
	if !p.alive || p.stopped || p.leaving {
		return
	}
	r := Registration{Name: p.name, Incarnation: p.incarnation, PID: uint32(w.names), Lowest: 1, Highest: 1, Window: p.window, Kinds: p.kinds}
	if p.running != nil {
		r.Held = r.Held.Add(p.running.number)
	}
	h, code := w.m.Register(w.now, r)
	w.note("register %s: %v %v", p.name, h, code)
	if code == wire.OK {
		l := &link{worker: h, p: p}
		if p.running != nil {
			l.held = []uint64{p.running.number}
		}
		if w.links[h] != nil {
			w.fatal("handle %v is given out twice", h)
		}
		p.link, w.links[h] = l, l
	}
	w.act()
	if p.link != nil && !w.chance(4) {
		w.connect(p)
	}
}

func (w *world) submit() {
	w.calls++
	c := &fate{
		id: w.calls, repeatable: w.chance(3), kind: []string{"", "", "x", "y"}[w.rng.IntN(4)],
		deadline: w.now + time.Duration(1+w.rng.IntN(60))*time.Millisecond, busyWait: time.Duration(1+w.rng.IntN(20)) * time.Millisecond,
	}
	c.waitEnd = min(c.deadline, w.now+c.busyWait)
	t, code := w.m.Submit(w.now, Call{Deadline: c.deadline - w.now, BusyWait: c.busyWait, Kind: []byte(c.kind), Repeatable: c.repeatable, Urgent: w.chance(4)})
	w.note("call %d %x repeatable=%v kind=%q: %v", c.id, t, c.repeatable, c.kind, code)
	if code != wire.OK {
		if code != wire.QueueFull || w.m.Counters().Waiting < w.cfg.MaxWaiting {
			w.fatal("call %d is refused: %v", c.id, code)
		}
		w.tally["QueueFull"]++
		return
	}
	c.ticket = t
	w.all = append(w.all, c)
	if w.open[t] != nil {
		w.fatal("ticket %x is given out twice", t)
	}
	w.open[t] = c
	w.act()
}

func (w *world) cancel() {
	if len(w.all) == 0 {
		return
	}
	c := w.all[len(w.all)-1-w.rng.IntN(min(len(w.all), 20))]
	if c.forgotten {
		return
	}
	w.note("cancel %d", c.id)
	w.cancels = c
	was := c.replies
	if w.m.Cancel(w.now, c.ticket) != (was == 0) {
		w.fatal("cancel of call %d with %d replies is %v", c.id, was, was > 0)
	}
	w.act()
	if c.replies != 1 {
		w.fatal("a cancelled call has %d replies", c.replies)
	}
	w.cancels = nil
}

// write moves one JOB from the master to a worker.
func (w *world) write() {
	l := w.someLink(func(l *link) bool { return len(l.pending) > 0 && !l.stuck && !l.closing })
	if l == nil {
		return
	}
	i := l.pending[0]
	if l.ended {
		l.stuck = true
		if w.chance(2) {
			l.written++ // a part of it went before the error came
		}
		return
	}
	l.pending = l.pending[1:]
	l.written++
	l.p.inbox = append(l.p.inbox, i)
}

// work lets a worker start or end a job.
func (w *world) work(p *process) {
	if !p.alive || p.stopped {
		return
	}
	if p.cut && w.chance(3) {
		// It sees that its link is gone: what it has not started it never will.
		p.inbox, p.cut, p.link, p.old = nil, false, nil, p.running != nil
		return
	}
	back := func(a answer) {
		if l := p.link; l != nil && !l.ended && !p.cut {
			l.back = append(l.back, a)
		}
	}
	if i := p.running; i != nil {
		p.running = nil
		what := []string{"result", "result", "error"}[w.rng.IntN(3)]
		if p.old {
			p.old = false
			if !w.chance(3) {
				return
			} // else it does not keep to the rule that such answers are not sent
		}
		back(answer{i.call, i.number, what})
		if w.chance(20) {
			back(answer{i.call, i.number, what})
		}
		if w.chance(300) && len(w.all) > 0 {
			c := w.all[w.rng.IntN(len(w.all))]
			if c.number != i.number && !slices.ContainsFunc(p.inbox, func(i *item) bool { return i.call == c }) {
				back(answer{c, c.number, "result"})
			}
		}
		return
	}
	if len(p.inbox) == 0 {
		if p.leaving && !p.said && p.link != nil {
			p.said = true
			back(answer{what: "bye"})
		}
		return
	}
	i := p.inbox[0]
	p.inbox = p.inbox[1:]
	switch {
	case p.cancelled[i.number] && w.chance(2):
		back(answer{i.call, i.number, "returned"})
	case p.leaving && p.said:
	case p.leaving || w.chance(50):
		back(answer{i.call, i.number, "returned"})
	default:
		w.start(p, i)
	}
}

// start counts what the whole test is about.
func (w *world) start(p *process, i *item) {
	w.note("%s starts %d %x", p.name, i.call.id, i.number)
	c := i.call
	p.running = i
	c.starts++
	w.tally["starts"]++
	switch {
	case !c.repeatable && c.starts > 1:
		w.fatal("call %d is not repeatable and was started %d times", c.id, c.starts)
	case c.starts > w.cfg.MaxAttempts && !c.forgotten:
		w.fatal("call %d was started %d times, of %d", c.id, c.starts, w.cfg.MaxAttempts)
	case c.replies > 0 && (c.code == wire.Busy || c.code == wire.NoWorker):
		w.fatal("call %d was said to be busy and is started", c.id)
	}
}

// read tells the machine one thing that a worker wrote.
func (w *world) read() {
	l := w.someLink(func(l *link) bool { return len(l.back) > 0 })
	if l == nil {
		return
	}
	a := l.back[0]
	l.back = l.back[1:]
	w.note("read %s of %s: %x", a.what, l.p.name, a.number)
	at := slices.IndexFunc(l.jobs, func(i *item) bool { return i.number == a.number })
	w.from, w.told = l, a
	if at < 0 {
		w.told = answer{} // it must change nothing for any caller
	}
	if at >= 0 && !l.wrong {
		i := l.jobs[at]
		if at == 0 || a.what == "returned" {
			l.jobs = slices.Delete(l.jobs, at, at+1)
			i.call.at, i.call.waitEnd = nil, min(i.call.deadline, w.now+i.call.busyWait)
		}
	}
	broken := w.m.count.BrokenWorkers
	switch a.what {
	case "result":
		w.m.Result(w.now, l.worker, a.number, time.Duration(w.rng.IntN(1500))*time.Microsecond)
	case "error":
		w.m.Error(w.now, l.worker, a.number, wire.Application, 0)
	case "returned":
		w.m.Returned(w.now, l.worker, a.number)
	case "leave":
		l.leaving = true
		w.m.Leave(w.now, l.worker)
	case "bye":
		w.m.Bye(l.worker)
	}
	l.wrong = l.wrong || w.m.count.BrokenWorkers > broken
	w.act()
	w.told = answer{}
}

func (w *world) kill(p *process) {
	if !p.alive {
		return
	}
	w.note("kill %s", p.name)
	p.alive, p.inbox, p.running = false, nil, nil
	if p.link != nil {
		p.link.ended = true
		p.link = nil
	}
}

// walkOut is a worker that closes its links, since it thinks that the master
// is gone.
func (w *world) walkOut(p *process) {
	if !p.alive || p.stopped || p.link == nil || p.cut {
		return
	}
	w.note("%s walks out", p.name)
	p.link.ended = true
	p.link, p.inbox, p.old = nil, nil, p.running != nil
	w.connect(p) // most often before the master has seen the end
}

func (w *world) leave(p *process) {
	if p.alive && !p.stopped && !p.leaving && p.link != nil && !p.cut && !p.link.ended {
		p.leaving = true
		p.link.back = append(p.link.back, answer{what: "leave"})
	}
}

func (w *world) ping(p *process) {
	l := p.link
	if !p.alive || p.stopped || l == nil || p.cut || l.ended || p.running != nil && !p.old {
		return
	}
	w.from = l
	w.m.Heard(w.now, l.worker)
	w.act()
	var held wire.Numbers
	if p.running != nil {
		held = held.Add(p.running.number)
	} else {
		l.held = nil
	}
	w.m.Pong(w.now, l.worker, held)
	w.act()
}

// hangUp tells the machine that a link is gone.
func (w *world) hangUp() {
	l := w.someLink(func(l *link) bool { return l.closing || l.ended && len(l.back) == 0 })
	if l == nil {
		return
	}
	ended := l.ended && len(l.back) == 0
	if l.closing && !ended {
		if len(l.back) > 0 && w.chance(2) {
			return // is read first
		}
		if l.p.link == l {
			l.p.cut = true
		}
	}
	w.note("down %s %v written %d ended %v", l.p.name, l.worker, l.written, ended)
	delete(w.links, l.worker)
	for _, i := range l.jobs {
		i.call.at, i.call.waitEnd = nil, min(i.call.deadline, w.now+i.call.busyWait)
	}
	w.from = l
	w.m.Down(w.now, l.worker, l.written, ended)
	w.act()
}

// restart kills the master.
func (w *world) restart() {
	w.note("the master is killed")
	for _, c := range w.open {
		c.forgotten = true
	}
	for _, c := range w.all {
		c.forgotten = c.forgotten || c.replies == 0
	}
	for _, l := range w.links {
		if l.p.link == l {
			l.p.cut = true
		}
	}
	clear(w.links)
	w.tally["restart"]++
	w.tally.of(w.m.Counters())
	w.master()
}

// act does what the machine wants, and judges it.
func (w *world) act() {
	w.withdrawn = map[uint64]bool{}
	w.must = nil
	for _, a := range w.m.Actions() {
		switch a.Do {
		case Send:
			w.send(a)
		case Reply:
			w.reply(a)
		case Withdraw:
			w.withdrawn[a.Number] = true
			if l := w.links[a.Worker]; l != nil && !l.ended && l.p.link == l {
				l.p.cancelled[a.Number] = true
			}
		case Close:
			w.note("close %v: %v", a.Worker, a.Code)
			w.links[a.Worker].closing = true
		}
	}
	for _, n := range w.must {
		if !w.withdrawn[n] {
			w.fatal("job %x was not withdrawn", n)
		}
	}
}

func (w *world) send(a Action) {
	l, c := w.links[a.Worker], w.open[a.Ticket]
	w.note("send %x as %x to %v", a.Ticket, a.Number, a.Worker)
	switch {
	case l == nil || l.closing || !l.attached || l.leaving:
		w.fatal("a job is sent to worker %v: %+v", a.Worker, l)
	case c == nil:
		w.fatal("job %x is sent and its call is not open", a.Number)
	case c.at != nil:
		w.fatal("call %d is at two workers", c.id)
	case w.seen[a.Number]:
		w.fatal("number %x is used again", a.Number)
	case len(l.jobs) >= min(l.p.window, w.cfg.Window):
		w.fatal("%d jobs at a worker of window %d", len(l.jobs), l.p.window)
	case !takes(l, c):
		w.fatal("kind %q for %v", c.kind, l.p.kinds)
	case a.Left != c.deadline-w.now || a.Left <= 0:
		w.fatal("%v left, and not %v", a.Left, c.deadline-w.now)
	}
	if len(l.jobs) > 0 {
		w.tally["in a window"]++
		for _, other := range w.links {
			if w.idle(other) && takes(other, c) {
				w.fatal("call %d waits behind another while %s is idle", c.id, other.p.name)
			}
		}
	}
	w.seen[a.Number] = true
	c.at, c.number = l, a.Number
	i := &item{c, a.Number}
	l.jobs = append(l.jobs, i)
	l.pending = append(l.pending, i)
}

func takes(l *link, c *fate) bool {
	return l.p.kinds == nil || slices.Contains(l.p.kinds, c.kind)
}

func (w *world) idle(l *link) bool {
	return l.attached && !l.closing && !l.leaving && len(l.held) == 0 && len(l.jobs) == 0
}

func (w *world) reply(a Action) {
	c := w.open[a.Ticket]
	w.note("reply %x: %v", a.Ticket, a.Code)
	if c == nil {
		w.fatal("a reply for ticket %x, which has none to come", a.Ticket)
	}
	delete(w.open, a.Ticket)
	c.replies++
	c.code = a.Code
	w.tally[outcomes[a.Code]]++
	switch a.Code {
	case wire.OK, wire.Application:
		if w.told.call != c || (w.told.what == "result") != (a.Code == wire.OK) || w.from.wrong {
			w.fatal("call %d is answered by %+v", c.id, w.told)
		}
	case wire.Cancelled:
		if w.cancels != c {
			w.fatal("call %d was not cancelled", c.id)
		}
	case wire.Timeout:
		if w.now != c.deadline || c.at == nil {
			w.fatal("call %d with deadline %v timed out: %+v", c.id, c.deadline, c)
		}
	case wire.Busy, wire.NoWorker:
		if w.now != c.waitEnd || c.at != nil || c.starts > 0 {
			w.fatal("call %d is said to be busy: %+v", c.id, c)
		}
	case wire.Lost:
		if c.number == 0 || c.at != nil {
			w.fatal("call %d is said to be lost: %+v", c.id, c)
		}
	case wire.Rejected:
		if w.told.what != "returned" {
			w.fatal("call %d is said to be rejected: %+v", c.id, c)
		}
	default:
		w.fatal("call %d ends with %v", c.id, a.Code)
	}
	if l := c.at; l != nil && !l.closing && (a.Code == wire.Timeout || a.Code == wire.Cancelled) {
		w.must = append(w.must, c.number)
	}
}

// look compares what is with what must be.
func (w *world) look() {
	check(w.t, w.m)
	waits := 0
	for _, c := range w.open {
		if w.now > c.deadline || c.at == nil && w.now > c.waitEnd {
			w.fatal("call %d should have ended: %+v", c.id, c)
		}
		if c.at != nil {
			continue
		}
		waits++
		for _, l := range w.links {
			if w.idle(l) && takes(l, c) {
				w.fatal("call %d waits while %s is idle", c.id, l.p.name)
			}
		}
	}
	if got := w.m.Counters().Waiting; got != waits {
		w.fatal("%d wait, and not %d", got, waits)
	}
}
