package conformance

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"appbundle/powerhose"
)

var (
	randomSeed = flag.Uint64("random.seed", 0, "play TestRandom with this seed; 0 is one of its own")
	randomJobs = flag.Int("random.jobs", 10000, "calls of TestRandom")
)

const (
	randomBody = 1 << 20          // the longest that the master takes
	randomLong = 30 * time.Second // the deadline of a call that is to have an answer: only one that was lost gets there
	attempts   = 2                // of a job that may be repeated
)

// TestRandom plays callers of four sorts, workers in three languages and a master,
// each in processes of their own, to whom everything happens that can: they are
// killed, stopped, asked to end and cut off, callers cancel, do not read, and have
// no time. What happens is a matter of the seed, when exactly is one of the
// machine.
//
// The workers keep a ledger of what they start. At the end it is compared with
// what each caller was told.
func TestRandom(t *testing.T) {
	seed := *randomSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-random.seed=%d -random.jobs=%d", seed, *randomJobs)
	g := newGame(t, seed, *randomJobs)
	// While nothing happens to master and callers, both have the same counts.
	g.act(*randomJobs/4, false)
	g.counts()
	g.act(*randomJobs, true)
	g.end()
	g.judge()
}

// A plan is a call as it is to be made. It depends on the seed and its number.
type plan struct {
	id         int
	op, arg    string
	size       int // of the body
	kind       string
	repeatable bool
	urgent     bool
	progress   bool
	deadline   time.Duration
	busyWait   time.Duration // for a worker
	cancel     time.Duration // after which the caller goes; 0 is not at all
}

// body is that of the job: what a worker reads, and then anything.
func (g *game) body(p *plan) []byte {
	if p.op == "empty" {
		return nil
	}
	head := fmt.Appendf(nil, "play %d %s %s ", p.id, p.op, p.arg)
	if rest := p.size - len(head); rest > 0 {
		at := p.id % (len(g.noise) - rest)
		head = append(head, g.noise[at:at+rest]...)
	}
	return head
}

// plan gives the call with a number.
func (g *game) plan(id int) plan {
	r := rand.New(rand.NewPCG(g.seed, uint64(id)))
	micros := func(n int) time.Duration { return time.Duration(1+r.IntN(n)) * time.Microsecond }
	p := plan{
		id: id, op: "-", arg: "-", size: r.IntN(200), repeatable: r.IntN(2) == 0, urgent: r.IntN(5) == 0, deadline: randomLong, busyWait: randomLong,
		kind: []string{"", "", "", "", "", "", "", "x", "x", "y"}[r.IntN(10)],
	}
	switch n := r.IntN(100); {
	case n < 3:
		p.size = r.IntN(64 << 10)
	case n < 4:
		p.size = 1 + r.IntN(randomBody)
	}
	switch n := r.IntN(1000); {
	case n < 500:
	case n < 700:
		p.op, p.arg = "nap", fmt.Sprint(r.IntN(4000))
	case n < 760:
		p.op = "echo"
		if n < 765 {
			p.size = min(p.size, randomBody-100)
		}
	case n < 780:
		p.op, p.size = "empty", 0
	case n < 795:
		p.op, p.cancel = "hold", 2*time.Millisecond+micros(50_000)
	case n < 805:
		p.op, p.deadline = "hold", 20*time.Millisecond+micros(100_000)
	case n < 820:
		p.op, p.arg, p.deadline = "nap", fmt.Sprint(r.IntN(6000)), time.Millisecond+micros(6000)
	case n < 840:
		p.cancel = micros(3000)
	case n < 860:
		p.op = "error"
	case n < 870:
		p.op = "reject"
	case n < 880:
		p.op = "break"
	case n < 900:
		p.op, p.progress = "progress", r.IntN(4) > 0
	case n < 905:
		p.op = "die"
	case n < 909:
		p.op, p.arg = "cut", []string{"reg", "work"}[r.IntN(2)]
	case n < 929:
		p.busyWait = []time.Duration{-1, micros(2000), micros(20_000)}[r.IntN(3)]
	case n < 932:
		p.size = randomBody + 1
	case n < 935:
		p.size = randomBody
	}
	return p
}

// result says what is wrong with a result, and whose it is.
func (p *plan) result(body, out []byte) (pid, attempt int, err error) {
	if p.op == "empty" {
		if len(out) != 0 {
			return 0, 0, fmt.Errorf("an empty job has %d bytes", len(out))
		}
		return 0, 0, nil
	}
	text, echo, _ := strings.Cut(string(out), "\n")
	var id, n int
	var sum uint32
	if _, err := fmt.Sscanf(text, "%d %d %d %x %d", &id, &pid, &attempt, &sum, &n); err != nil {
		return 0, 0, fmt.Errorf("%.100q: %v", text, err)
	}
	switch {
	case id != p.id:
		return 0, 0, fmt.Errorf("the result of job %d", id)
	case n != len(body) || sum != crc32.ChecksumIEEE(body):
		return 0, 0, fmt.Errorf("the worker had %d bytes with %08x", n, sum)
	case p.op == "echo" && echo != string(body):
		return 0, 0, fmt.Errorf("%d bytes come back of %d", len(echo), len(body))
	}
	return pid, attempt, nil
}

// A call is a plan, and what came of it.
type call struct {
	plan
	by           string
	caller       int // the process, if it is another one
	began, ended time.Time
	end          string // in a word; empty is a call that was not made
	maybe        bool   // it was said that a worker can have started it
	local        bool   // the master did not say so
	attempt, pid int
	said         []string // by PROGRESS
	text         string   // of an error
	bad          error    // what is wrong at first sight
}

// An event is something that was done to somebody, from its begin to its end.
type event struct {
	what     string // kill, stop, drain
	pid      int    // 0 is the master
	at, over time.Time
}

// A game is one run.
type game struct {
	testing.TB
	seed    uint64
	address string
	ledgers string
	noise   []byte
	calls   []call

	next, limit atomic.Int64 // number of a call
	failed      atomic.Bool
	slots       []*slot
	stop        chan struct{}
	keepers     sync.WaitGroup

	mu       sync.Mutex
	master   *proc
	expected *proc            // a master that may end
	scripts  map[string]*proc // callers in Python
	all      []*proc          // masters and workers
	events   []event
}

// A slot is a worker that is started again.
type slot struct {
	language
	name, kinds string

	mu sync.Mutex
	*proc
}

func (s *slot) now() *proc {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

func newGame(tb testing.TB, seed uint64, jobs int) *game {
	g := &game{TB: tb, seed: seed, address: filepath.Join(scratch(tb), "m"), ledgers: scratch(tb), calls: make([]call, jobs), stop: make(chan struct{}), scripts: map[string]*proc{}}
	r := rand.New(rand.NewPCG(seed, 1<<40))
	g.noise = make([]byte, randomBody+64<<10)
	for i := range g.noise {
		g.noise[i] = byte(r.Uint32())
	}
	tb.Cleanup(g.kill)
	if !g.listen() {
		g.FailNow()
	}
	for i, l := range languages {
		g.slots = append(g.slots, &slot{language: l, name: l.name}, &slot{language: l, name: l.name + "-2", kinds: []string{"x", "x y", "y"}[i]})
	}
	for i, s := range g.slots {
		argv, env := s.command(tb)
		r := rand.New(rand.NewPCG(seed, 1<<41+uint64(i)))
		g.keepers.Go(func() { g.keep(s, argv, env, r) })
	}
	g.calm()
	return g
}

// fail says what is wrong, and ends the game.
func (g *game) fail(format string, args ...any) {
	g.failed.Store(true)
	g.Errorf("seed %d: "+format, append([]any{g.seed}, args...)...)
}

// kill ends what there is still, whatever happened.
func (g *game) kill() {
	if g.Failed() {
		g.failed.Store(true)
	}
	select {
	case <-g.stop:
	default:
		close(g.stop)
	}
	for _, s := range g.slots {
		if p := s.now(); p != nil {
			p.kill()
		}
	}
	if g.master != nil {
		g.release()
		g.master.kill()
	}
	g.keepers.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.scripts {
		p.kill()
	}
	if g.Failed() {
		for _, e := range g.events {
			g.Logf("%s %s of pid %d until %s", e.at.Format("05.000000"), e.what, e.pid, e.over.Format("05.000000"))
		}
		for _, p := range g.all {
			g.Logf("pid %d %q:\n%s", p.pid(), p.Env[len(os.Environ()):], p.said())
		}
	}
}

// keepLog keeps what a process says until the end.
func (g *game) keepLog(p *proc) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all = append(g.all, p)
}

// note keeps what was done to a process: from at until now.
func (g *game) note(what string, pid int, at time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.events = append(g.events, event{what, pid, at, time.Now()})
}

// keep starts a worker again and again.
func (g *game) keep(s *slot, argv, env []string, r *rand.Rand) {
	for n := 0; ; n++ {
		own := []string{
			"POWERHOSE_MASTER=" + g.address, "NAME=" + s.name, "KINDS=" + s.kinds, "WINDOW=4", fmt.Sprint("MAXJOBS=", 200+r.IntN(800)),
			fmt.Sprintf("LEDGER=%s/%s.%d", g.ledgers, s.name, n),
		}
		p, err := launch(g, nil, argv, slices.Concat(env, own)...)
		if err != nil {
			g.fail("%s: %v", s.name, err)
			return
		}
		g.keepLog(p)
		s.mu.Lock()
		s.proc = p
		s.mu.Unlock()
		select {
		case <-p.exited:
		case <-g.stop:
			p.signal(syscall.SIGTERM)
			<-p.exited
		}
		state := p.ProcessState.Sys().(syscall.WaitStatus)
		ended := state.Exited() && state.ExitStatus() == 0 || state.Signal() == syscall.SIGKILL || state.Signal() == syscall.SIGTERM
		if !ended || strings.Contains(p.said(), "DATA RACE") {
			g.fail("%s, pid %d: %v:\n%s", s.name, p.pid(), p.ProcessState, p.said())
			return
		}
		select {
		case <-g.stop:
			return
		default:
		}
	}
}

// listen starts a master. It is false where that is not possible.
func (g *game) listen() bool {
	p, err := launch(g, nil, []string{"/proc/self/exe"}, "CONFORMANCE_MASTER="+g.address, "WINDOW=4", "SHORT=5ms", "PERIOD=200ms", "TRIES=25", "GRACE=4s",
		"MAXWAITING=55", "DRAINTIME=2s", fmt.Sprint("MAXBODY=", randomBody))
	if err != nil {
		g.fail("the master: %v", err)
		return false
	}
	g.keepLog(p)
	g.mu.Lock()
	g.master = p
	g.mu.Unlock()
	g.keepers.Go(func() {
		<-p.exited
		g.mu.Lock()
		expected := g.expected == p
		g.mu.Unlock()
		if wrong := regexp.MustCompile("DATA RACE|keep to the protocol|is no message").MatchString(p.said()); wrong || !expected {
			g.fail("the master, pid %d: %v:\n%s", p.pid(), p.ProcessState, p.said())
		}
	})
	for !strings.Contains(p.said(), "listens") {
		if !p.alive() || !g.rest(time.Millisecond) {
			return false
		}
	}
	return true
}

// rest lets time pass. It is false when the game is over.
func (g *game) rest(d time.Duration) bool {
	select {
	case <-time.After(d):
	case <-g.stop:
	}
	return !g.failed.Load()
}

// take gives the number of the next call. It is false at the end of the act.
func (g *game) take() (int, bool) {
	if !g.more() {
		return 0, false
	}
	id := g.next.Add(1) - 1
	return int(id), id < g.limit.Load()
}

func (g *game) more() bool { return g.next.Load() < g.limit.Load() && !g.failed.Load() }

// act makes calls until so many were made. Mischief is to masters and callers
// too.
func (g *game) act(limit int, mischief bool) {
	g.next.Store(min(g.next.Load(), g.limit.Load()))
	g.limit.Store(int64(limit))
	stream := func(n int) *rand.Rand {
		if mischief {
			n += 1000
		}
		return rand.New(rand.NewPCG(g.seed, 1<<42+uint64(n)))
	}
	var callers, chaos sync.WaitGroup
	for range 3 {
		runner, err := powerhose.Connect(g.address)
		if err != nil {
			g.Fatal(err)
		}
		defer runner.Close()
		for range 8 {
			callers.Go(func() { g.caller(runner) })
		}
	}
	for i := range 4 {
		r := stream(i)
		callers.Go(func() { g.wires(r) })
	}
	for _, kind := range pythonCallers {
		callers.Go(func() { g.pythons(kind) })
	}
	chaos.Go(func() { g.chaos(stream(100), mischief) })
	callers.Wait()
	chaos.Wait()
	g.calm()
	if g.failed.Load() {
		g.FailNow()
	}
}

// chaos does something to somebody again and again.
func (g *game) chaos(r *rand.Rand, mischief bool) {
	var sluggards sync.WaitGroup
	defer sluggards.Wait()
	for {
		for at := g.next.Load() + 10 + r.Int64N(60); g.next.Load() < at; {
			if !g.more() || !g.rest(time.Millisecond) {
				return
			}
		}
		n := r.IntN(100)
		for !mischief && n >= 66 {
			n = r.IntN(100)
		}
		switch d := time.Duration(1+r.IntN(300)) * time.Millisecond; {
		case n < 27:
			g.worker(r, func(p *proc) { g.strike(p, "kill", syscall.SIGKILL) })
		case n < 52:
			g.worker(r, func(p *proc) { g.pause(p, p.pid(), d) })
		case n < 66:
			g.worker(r, func(p *proc) { g.strike(p, "drain", syscall.SIGTERM) })
		case n < 71:
			at := time.Now()
			g.release()
			g.master.kill()
			if !g.listen() {
				return
			}
			g.note("kill", 0, at)
		case n < 74:
			at := time.Now()
			g.release()
			_ = g.master.in.Close()
			<-g.master.exited
			if got := g.master.ProcessState.ExitCode(); got != 0 {
				g.fail("the master, pid %d, was to drain, and ends with %d", g.master.pid(), got)
			}
			if !g.listen() {
				return
			}
			g.note("drain", 0, at)
		case n < 80:
			g.pause(g.master, 0, d)
		case n < 92:
			if p := g.script(r); p != nil {
				g.pause(p, p.pid(), d)
			}
		case n < 95:
			if p := g.script(r); p != nil {
				g.strike(p, "kill", syscall.SIGKILL)
			}
		default:
			sluggards.Go(g.sluggard)
		}
	}
}

// release allows the master to end.
func (g *game) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expected = g.master
}

// worker does something to one of the workers.
func (g *game) worker(r *rand.Rand, do func(*proc)) {
	if p := g.slots[r.IntN(len(g.slots))].now(); p != nil && p.alive() {
		do(p)
	}
}

// script is one of the callers that are processes.
func (g *game) script(r *rand.Rand) *proc {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.scripts[pythonCallers[r.IntN(len(pythonCallers))]]
}

func (g *game) strike(p *proc, what string, s syscall.Signal) {
	at := time.Now()
	p.signal(s)
	g.note(what, p.pid(), at)
}

// pause stops a process for a while.
func (g *game) pause(p *proc, pid int, d time.Duration) {
	at := time.Now()
	p.signal(syscall.SIGSTOP)
	g.rest(d)
	p.signal(syscall.SIGCONT)
	g.note("stop", pid, at)
}

// calm waits until all workers are there and have nothing to do.
func (g *game) calm() {
	for end := time.Now().Add(patience); ; g.rest(5 * time.Millisecond) {
		s, err := powerhose.ReadStatus(context.Background(), g.address)
		if err == nil && s.Waiting == 0 && s.Running == 0 && len(s.Workers) == len(g.slots) &&
			!slices.ContainsFunc(s.Workers, func(w powerhose.WorkerStatus) bool { return w.State != "idle" }) {
			return
		}
		if time.Now().After(end) {
			g.fail("it does not become calm: %+v, %v", s, err)
		}
		if g.failed.Load() {
			g.FailNow()
		}
	}
}

// end asks everybody to end.
func (g *game) end() {
	close(g.stop)
	for _, s := range g.slots {
		p := s.now()
		if got := p.status(); got != 0 {
			g.fail("%s, pid %d: status %d:\n%s", s.name, p.pid(), got, p.said())
		}
	}
	g.release()
	_ = g.master.in.Close()
	if got := g.master.status(); got != 0 {
		g.fail("the master, pid %d, ends with %d:\n%s", g.master.pid(), got, g.master.said())
	}
	g.keepers.Wait()
	left, err := os.ReadDir(filepath.Dir(g.address))
	if err != nil {
		g.Fatal(err)
	}
	for _, e := range left {
		// Of workers that were killed and have come back nothing is left either, but
		// for a socket that has not had its name yet.
		if !strings.HasSuffix(e.Name(), ".lock") && !strings.HasPrefix(e.Name(), ".bind.") {
			g.fail("%s is left", e.Name())
		}
	}
}

// counts compares what the master has counted with what the callers were told.
func (g *game) counts() {
	s, err := powerhose.ReadStatus(g.Context(), g.address)
	if err != nil {
		g.Fatal(err)
	}
	var told, unsure uint64 // calls that the master had; those of which it may have told something else
	mine := map[string]uint64{}
	for i := range g.calls {
		switch c := &g.calls[i]; {
		case c.end == "" || c.end == "too big": // the machine is not asked
		case c.local:
			told++
			unsure++
		default:
			told++
			mine[c.end]++
		}
	}
	for _, n := range []struct {
		what         string
		master, mine uint64
	}{
		{"results", s.Calls.Results, mine["ok"]},
		{"errors", s.Calls.Errors, mine["application"] + mine["rejected"] + mine["panic"]},
		{"busy", s.Calls.Busy, mine["busy"]},
		{"no worker", s.Calls.NoWorker, mine["no worker"]},
		{"queue full", s.Calls.QueueFull, mine["queue full"]},
		{"timeouts", s.Calls.Timeouts, mine["timeout"]},
		{"lost", s.Calls.Lost, mine["lost"]},
		{"cancelled", s.Calls.Cancelled, mine["cancelled"]},
		{"drained", s.Calls.Drained, 0},
	} {
		if n.master < n.mine || n.master > n.mine+unsure {
			g.fail("%s: the master counts %d, the callers %d, and %d may be any", n.what, n.master, n.mine, unsure)
		}
	}
	c := &s.Calls
	if sum := c.Results + c.Errors + c.Busy + c.NoWorker + c.QueueFull + c.Timeouts + c.Lost + c.Cancelled + c.Drained; c.Total > told || c.Total+unsure < told || sum != c.Total {
		g.fail("the master counts %d calls with %d ends, the callers %d: %+v, %v", c.Total, sum, told, s.Calls, mine)
	}
	// A worker that dies before its socket is reached counts as broken.
	if e := &s.Events; e.Malformed+e.Duplicate+e.Stray > 0 {
		g.fail("a worker does not keep to the protocol: %+v\n%s", s.Events, g.master.said())
	}
	g.Logf("%d calls without mischief: %+v, %+v", told, s.Calls, s.Events)
}

// caller makes calls with a runner.
func (g *game) caller(runner *powerhose.JobRunner) {
	for id, ok := g.take(); ok; id, ok = g.take() {
		c := &g.calls[id]
		c.plan, c.by = g.plan(id), "go"
		body := g.body(&c.plan)
		ctx, cancel := context.WithCancel(context.Background())
		goes := time.AfterFunc(cmp.Or(c.cancel, 2*patience), cancel)
		how := powerhose.Call{Deadline: c.deadline, BusyWait: c.busyWait, Kind: c.kind, Urgent: c.urgent, Repeatable: c.repeatable}
		if c.progress {
			how.Progress = func(b []byte) { c.said = append(c.said, string(b)) }
		}
		c.began = time.Now()
		out, err := runner.Execute(ctx, body, how)
		c.ended = time.Now()
		goes.Stop()
		cancel()
		c.told(body, out, err)
		g.breathe(c)
	}
}

// breathe waits a moment where there is no master that takes calls.
func (g *game) breathe(c *call) {
	if c.unanswered() {
		g.fail("call %d of %s was not answered: %s", c.id, c.by, c.text)
	}
	switch c.end {
	case "draining":
		g.rest(500 * time.Millisecond)
	case "no master", "queue full", "master lost":
		g.rest(100 * time.Millisecond)
	}
}

// unanswered says that there was time enough.
func (c *call) unanswered() bool { return c.end == "timeout" && c.deadline == randomLong }

var words = map[error]string{
	powerhose.ErrApplication: "application", powerhose.ErrRejected: "rejected", powerhose.ErrPanic: "panic", powerhose.ErrBusy: "busy",
	powerhose.ErrNoWorker: "no worker", powerhose.ErrQueueFull: "queue full", powerhose.ErrTimeout: "timeout", powerhose.ErrWorkerLost: "lost",
	powerhose.ErrDraining: "draining", powerhose.ErrTooBig: "too big", powerhose.ErrCancelled: "cancelled",
	powerhose.ErrMasterLost: "master lost", powerhose.ErrNoMaster: "no master",
}

// told notes what Execute has returned.
func (c *call) told(body, out []byte, err error) {
	if err == nil {
		c.end, c.maybe = "ok", true
		c.pid, c.attempt, c.bad = c.result(body, out)
		return
	}
	var e *powerhose.Error
	if !errors.As(err, &e) {
		c.end, c.bad = "error", err
		return
	}
	for reason, word := range words {
		if errors.Is(err, reason) {
			c.end = word
		}
	}
	c.text, c.pid, c.attempt, c.maybe = e.Error(), e.PID, e.Attempt, e.Started()
	// A cancelled call is over for its caller before the master knows.
	c.local = c.end == "cancelled" || c.end == "timeout" && c.pid == 0 || c.end == "too big" || c.end == "no master" || c.end == "master lost"
	if c.end == "application" && string(e.Detail) != fmt.Sprint("detail of ", c.id) {
		c.bad = fmt.Errorf("the detail is %q", e.Detail)
	}
}
