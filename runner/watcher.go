package runner

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"appbundle/internal/invariant"
	"appbundle/runner/internal/proc"
	"appbundle/runner/internal/watch"
	"appbundle/schema"
)

// A watcher keeps the processes of one command. Its goroutine, run, owns every
// field below inbox; others reach them through send.
type watcher struct {
	r     *Runner
	inbox chan func()
	done  chan struct{}  // closed when the watcher was stopped for good and nothing of it is left
	asked schema.Watcher // as the configuration has it
	sum   summary        // guarded by r.mu

	cfg      schema.Watcher
	child    *child // how a process is started
	policy   watch.Policy
	slots    []*slot // by wid, from 1
	starting []*slot // in the order of their start, when warmup_delay spreads it
	next     time.Time
	leftover []*leftover
	rolling  *rolling // while processes are replaced one after the other
	started  bool     // by the runner or by a command
	stopped  bool     // for good
}

// A slot is the place of one process.
type slot struct {
	wid     int
	state   watch.State
	timer   time.Time // zero when none is armed
	proc    *proc.Process
	started time.Time
	status  string // STATUS= of the process
	busy    string // BUSY= of the process
	ended   *proc.Status
	retired bool // numprocesses went below its wid
}

// A leftover is a tree whose main process has ended.
type leftover struct {
	slot  *slot
	tree  *proc.Tree
	until time.Time // then it is killed
	again time.Time // when to look again where nothing tells
	kill  bool
}

// lookAgain is how often a tree is looked at of which nothing tells when it has
// become empty: in a library that does not adopt, and after a kill.
const lookAgain = 50 * time.Millisecond

func (r *Runner) newWatcher(cfg schema.Watcher, sockets []schema.Socket, version string) (*watcher, error) {
	asked := cfg
	if r.cfg.Once {
		cfg.Respawn = false
	}
	child, err := r.newChild(cfg, sockets, version)
	if err != nil {
		return nil, &WatcherError{Watcher: cfg.Name, Err: err}
	}
	w := &watcher{r: r, asked: asked, cfg: cfg, child: child, inbox: make(chan func(), 16), done: make(chan struct{}), policy: watch.Policy{
		Respawn: cfg.Respawn, Grace: cfg.GracefulTimeout,
		Attempts: cfg.Flapping.Attempts, Window: cfg.Flapping.Window, RetryIn: cfg.Flapping.RetryIn, MaxRests: cfg.Flapping.MaxRetry,
		MaxRetry: cfg.MaxRetry, First: cfg.Backoff.First, Max: cfg.Backoff.Max,
	}}
	w.grow(cfg.NumProcesses)
	return w, nil
}

func (w *watcher) grow(n int) {
	for len(w.slots) < n {
		w.slots = append(w.slots, &slot{wid: len(w.slots) + 1})
	}
}

// send runs f in the watcher's goroutine; false says that the watcher is gone.
func (w *watcher) send(f func()) bool {
	select {
	case w.inbox <- f:
		return true
	case <-w.done:
		return false
	}
}

// run is the watcher's goroutine: commands, exits and notices come through
// inbox, and one timer stands for the earliest thing that waits for a time.
func (w *watcher) run() {
	defer close(w.done)
	timer := time.NewTimer(math.MaxInt64)
	defer timer.Stop()
	for !w.over() {
		timer.Reset(w.untilNext())
		select {
		case f := <-w.inbox:
			f()
		case <-timer.C:
			w.fire(time.Now())
		}
	}
	w.r.report(Event{Kind: Stopped, Watcher: w.cfg.Name, Text: "stopped"})
}

func (w *watcher) over() bool {
	return w.stopped && len(w.leftover) == 0 && !slices.ContainsFunc(w.slots, func(s *slot) bool { return s.state.Phase.Alive() })
}

// untilNext is the time to the earliest deadline.
func (w *watcher) untilNext() time.Duration {
	at := time.Time{}
	earlier := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	for _, s := range w.slots {
		earlier(s.timer)
	}
	for _, l := range w.leftover {
		earlier(l.until)
		earlier(l.again)
	}
	if w.rolling != nil {
		earlier(w.rolling.until)
	}
	if len(w.starting) > 0 {
		earlier(w.next)
	}
	if at.IsZero() {
		return math.MaxInt64
	}
	return max(0, time.Until(at))
}

// fire does what has become due.
func (w *watcher) fire(now time.Time) {
	for _, s := range w.slots {
		if !s.timer.IsZero() && !s.timer.After(now) {
			s.timer = time.Time{}
			w.event(s, watch.Timer)
		}
	}
	if len(w.starting) > 0 && !w.next.After(now) {
		w.startNext()
	}
	w.lateRoll(now)
	w.sweep()
}

// autostart is the start of the watcher with the runner. It returns when the
// first process is started: what comes next has a lower priority.
func (w *watcher) autostart() {
	begun := make(chan struct{})
	w.send(func() {
		defer close(begun)
		if w.cfg.Autostart {
			w.start()
		} else {
			w.summarize()
		}
	})
	select {
	case <-begun:
	case <-w.done:
	}
}

// start starts every slot, warmup_delay apart.
func (w *watcher) start() {
	if w.stopped {
		return
	}
	w.started, w.starting = true, slices.Clone(w.slots)
	w.startNext()
	w.summarize() // where there is no slot no transition does it
}

func (w *watcher) startNext() {
	for len(w.starting) > 0 {
		s := w.starting[0]
		w.starting = w.starting[1:]
		w.event(s, watch.Start)
		if w.cfg.WarmupDelay > 0 {
			w.next = time.Now().Add(w.cfg.WarmupDelay)
			return
		}
	}
}

// stop stops the watcher for good.
func (w *watcher) stop(kill bool) {
	w.stopped, w.starting = true, nil
	w.endRoll(fmt.Errorf("%s: %w", w.cfg.Name, errStopped))
	kind := watch.Stop
	if kill {
		kind = watch.Kill
		for _, l := range w.leftover {
			l.until = time.Now()
		}
	}
	for _, s := range w.slots {
		w.event(s, kind)
	}
	w.sweep()
}

// resize changes the number of slots; the processes that stay are not touched.
// A watcher that was not started gets its slots and no process.
func (w *watcher) resize(n int) {
	if w.stopped || n == w.cfg.NumProcesses {
		return
	}
	w.cfg.NumProcesses = n
	for _, s := range w.slots[min(n, len(w.slots)):] {
		s.retired = true
		w.event(s, watch.Stop)
	}
	w.starting = slices.DeleteFunc(w.starting, func(s *slot) bool { return s.retired })
	had := len(w.slots)
	w.grow(n)
	for i, s := range w.slots[:n] {
		if fresh := s.retired || i >= had; fresh && w.started {
			w.event(s, watch.Start)
		}
		s.retired = false
	}
	w.dropRetired()
	w.summarize()
}

// dropRetired forgets slots that are not asked for any more and have ended.
func (w *watcher) dropRetired() {
	for n := len(w.slots); n > 0 && w.slots[n-1].retired && !w.slots[n-1].state.Phase.Alive(); n-- {
		w.slots = w.slots[:n-1]
	}
}

// event asks the policy what follows and does it.
func (w *watcher) event(s *slot, kind watch.Kind) { w.follow(s, watch.Event{Kind: kind}) }

func (w *watcher) follow(s *slot, e watch.Event) {
	e.At = w.r.now()
	before, policy := s.state.Phase, w.policy
	policy.SaysReady = w.saysReady()
	state, acts := watch.Next(policy, s.state, e)
	s.state = state
	for _, a := range acts {
		w.do(s, a)
	}
	w.announce(s, before)
}

func (w *watcher) do(s *slot, a watch.Action) {
	switch a.Do {
	case watch.Spawn:
		w.spawn(s)
	case watch.Terminate:
		w.terminate(s)
	case watch.Destroy:
		w.tell(s, Killed, "killed with everything below it")
		s.proc.Tree.Kill()
	case watch.Arm:
		s.timer = time.Now().Add(a.In)
	case watch.Disarm:
		s.timer = time.Time{}
	case watch.GiveUp:
		w.r.report(Event{Kind: GaveUp, Watcher: w.cfg.Name, WID: s.wid, Text: "gave up"})
	}
}

func (w *watcher) spawn(s *slot) {
	invariant.Check(s.proc == nil, "%s.%d: spawn while pid %d lives", w.cfg.Name, s.wid, pidOf(s.proc))
	s.status, s.busy, s.ended = "", "", nil
	p, err := w.child.start(s.wid, func(p *proc.Process, st proc.Status) {
		w.send(func() { w.exited(s, p, st) })
	})
	if err != nil {
		w.r.report(Event{Kind: NotFound, Watcher: w.cfg.Name, WID: s.wid, Text: "spawn: " + err.Error()})
		w.event(s, watch.NoExec)
		return
	}
	s.proc, s.started = p, time.Now()
	w.tell(s, Spawned, "started")
}

func (w *watcher) terminate(s *slot) {
	w.tell(s, Signaled, "gets "+proc.SignalName(w.cfg.StopSignal))
	if w.cfg.StopChildren {
		if err := s.proc.SignalChildren(w.cfg.StopSignal); err != nil {
			w.tell(s, Limited, err.Error())
		}
	}
	if err := s.proc.Signal(w.cfg.StopSignal); err != nil {
		w.tell(s, Limited, err.Error())
	}
}

// exited answers the end of a main process. Its replacement is started first,
// then what it left behind is looked at.
func (w *watcher) exited(s *slot, p *proc.Process, st proc.Status) {
	invariant.Check(s.proc == p, "%s.%d: exit of pid %d, but pid %d is the process", w.cfg.Name, s.wid, p.Pid, pidOf(s.proc))
	killed := s.state.Phase == watch.Killing
	kind, text := Died, st.String()
	if s.state.Phase == watch.Stopping || killed || !w.policy.Respawn {
		kind = Ended
	}
	if s.state.Announced(st.Success()) {
		kind, text = Ended, text+", as it had said"
	}
	w.tell(s, kind, text)
	s.proc, s.ended = nil, &st
	w.follow(s, watch.Event{Kind: watch.Exit, OK: st.Success()})
	w.left(s, p.Tree, killed)
	w.dropRetired()
}

func pidOf(p *proc.Process) int {
	if p == nil {
		return 0
	}
	return p.Pid
}

func (w *watcher) tell(s *slot, kind EventKind, text string) {
	w.r.report(Event{Kind: kind, Watcher: w.cfg.Name, WID: s.wid, Pid: pidOf(s.proc), Text: text})
}

// announce reports what a transition has come to, and what follows from it for
// the whole.
func (w *watcher) announce(s *slot, before watch.Phase) {
	if s.state.Phase == before {
		return
	}
	switch s.state.Phase {
	case watch.Up:
		w.tell(s, Ready, "is up")
	case watch.Resting:
		w.r.report(Event{Kind: Resting, Watcher: w.cfg.Name, WID: s.wid, Text: fmt.Sprintf("flaps: next try in %s", w.policy.RetryIn)})
	}
	if !w.stopped {
		w.summarize()
	}
	w.judgeRoll(s)
}

// name gives WATCHER.WID.
func (w *watcher) name(s *slot) string { return fmt.Sprintf("%s.%d", w.cfg.Name, s.wid) }

// saysReady reports whether a process is not up before it, or one that it
// started, says so: where it can.
func (w *watcher) saysReady() bool {
	return w.cfg.SaysReady && w.child.notifies && (w.child.cred == nil || !w.r.apart.Load())
}

// noticed takes what a process said on the notify socket. READY counts from a
// main process only, unless saysReady, and STOPPING always; BUSY and STATUS from
// any of its tree.
func (w *watcher) noticed(leader int, n proc.Notice) {
	for _, s := range w.slots {
		if pidOf(s.proc) != leader {
			continue
		}
		if v, ok := n.Vars["STATUS"]; ok {
			s.status = strings.ToValidUTF8(v, "\uFFFD")
		}
		if v, ok := n.Vars["BUSY"]; ok {
			s.busy = strings.ToValidUTF8(v, "\uFFFD")
		}
		if n.Vars["READY"] == "1" && (n.Pid == leader || w.saysReady()) {
			w.event(s, watch.Ready)
		}
		if n.Vars["STOPPING"] == "1" && n.Pid == leader {
			w.event(s, watch.Leave)
		}
	}
}

// left looks at what the process of s left behind, and asks it to end.
func (w *watcher) left(s *slot, t *proc.Tree, kill bool) {
	if t.Empty() {
		return
	}
	l := &leftover{slot: s, tree: t, until: time.Now().Add(w.cfg.GracefulTimeout), kill: kill}
	w.leftover = append(w.leftover, l)
	if err := t.Notify(func() { w.send(w.sweep) }); err != nil {
		l.again = time.Now().Add(lookAgain)
	}
	if !kill {
		if n := t.Signal(w.cfg.StopSignal); n > 0 {
			w.r.report(Event{Kind: Leftover, Watcher: w.cfg.Name, WID: s.wid,
				Text: fmt.Sprintf("left %d processes behind: they get %s", n, proc.SignalName(w.cfg.StopSignal))})
		}
	}
	w.sweep()
}

// sweep goes through the leftovers: those that are gone are forgotten, those
// whose time is up are killed.
func (w *watcher) sweep() {
	now := time.Now()
	w.leftover = slices.DeleteFunc(w.leftover, func(l *leftover) bool {
		if l.tree.Empty() {
			return true
		}
		if !l.kill && !l.until.After(now) {
			l.kill = true
			w.r.report(Event{Kind: Leftover, Watcher: w.cfg.Name, WID: l.slot.wid, Text: "what it left behind is killed"})
		}
		if l.kill {
			l.tree.Kill()
			l.until = time.Time{}
			l.again = now.Add(lookAgain) // a tree that forks while it is killed needs a second look
		} else if !l.again.IsZero() || (!l.tree.Exact() && !w.r.cfg.Adopt) {
			l.again = now.Add(lookAgain)
		}
		return false
	})
}

func (w *watcher) status() WatcherStatus {
	st := WatcherStatus{Name: w.cfg.Name, Want: w.cfg.NumProcesses, Leftover: len(w.leftover)}
	for _, s := range w.slots {
		if s.proc != nil {
			st.Processes = append(st.Processes, Process{WID: s.wid, Pid: s.proc.Pid, Started: s.started,
				Phase: s.state.Phase.String(), Status: s.status, Busy: s.busy})
		}
		if s.state.Phase == watch.Failed {
			st.Failed++
		}
	}
	return st
}

// unix.Signal is what schema's StopSignal is; this line fails to compile where
// it is not.
var _ unix.Signal = schema.Watcher{}.StopSignal
