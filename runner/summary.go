package runner

import (
	"slices"

	"appbundle/runner/internal/watch"
)

// A summary is what a watcher has come to, as far as it decides about the whole.
// It is guarded by the Runner's mu; the watcher writes it.
type summary struct {
	settled bool       // every slot was up at the same time once, or had ended for good
	alive   bool       // a slot is up
	lost    bool       // a slot has ended for good with another status than 0
	failed  bool       // every slot gave up
	over    bool       // every slot gave up or ended for good
	bad     *ExitError // a process that ended with another status than 0
}

// summarize looks at the slots after a transition and draws the conclusions for
// the whole.
func (w *watcher) summarize() {
	failed, over, up := len(w.slots) > 0, true, true
	alive, lost := false, false
	var bad *ExitError
	for _, s := range w.slots {
		p := s.state.Phase
		failed = failed && p == watch.Failed
		over = over && (p == watch.Failed || p == watch.Ended)
		up = up && (p == watch.Up || p == watch.Ended)
		alive = alive || p == watch.Up
		lost = lost || (p == watch.Ended && s.ended != nil && !s.ended.Success())
		if s.ended != nil && !s.ended.Success() && bad == nil {
			bad = &ExitError{Process: w.name(s), Status: s.ended.String()}
		}
	}
	if !w.cfg.Autostart {
		up, failed = true, false
	}
	w.r.conclude(w, func(sum *summary) {
		sum.settled = sum.settled || (up && len(w.starting) == 0)
		sum.alive, sum.lost = alive, lost
		sum.failed, sum.over, sum.bad = failed, over && w.cfg.Autostart, bad
	})
}

// conclude records what w has come to, and what follows.
func (r *Runner) conclude(w *watcher, record func(*summary)) {
	r.mu.Lock()
	record(&w.sum)
	settled := !r.settled && !slices.ContainsFunc(r.watchers, func(w *watcher) bool { return !w.sum.settled })
	r.settled = r.settled || settled
	// What has ended is not up, and where nothing runs nothing is.
	up := slices.ContainsFunc(r.watchers, func(w *watcher) bool { return w.sum.alive }) &&
		!slices.ContainsFunc(r.watchers, func(w *watcher) bool { return w.sum.lost })
	outcome, end := r.verdict()
	r.mu.Unlock()
	if settled && !r.isStopping() {
		if up {
			r.report(Event{Kind: Settled, Text: "every watcher is up"})
		}
		if outcome == nil { // the start is over, also where everything has done its work
			r.sendState("READY=1")
		}
	}
	if end {
		r.end(outcome)
	}
}

// verdict says whether there is nothing left to do, and what that means. Without
// Once that is when every watcher that was started with the runner, and that
// replaces what ends, gave up. The caller holds mu.
func (r *Runner) verdict() (outcome error, end bool) {
	var failed []string
	var bad *ExitError
	essential, over := 0, 0
	for _, w := range r.watchers {
		if !w.cfg.Autostart || !(w.cfg.Respawn || r.cfg.Once) {
			continue
		}
		essential++
		if w.sum.failed {
			failed = append(failed, w.cfg.Name)
		}
		if w.sum.over {
			over++
		}
		if bad == nil {
			bad = w.sum.bad
		}
	}
	switch {
	case essential == 0:
		return nil, false
	case len(failed) == essential:
		return &GaveUpError{Watchers: failed}, true
	case r.cfg.Once && over == essential && bad != nil:
		return bad, true
	}
	return nil, r.cfg.Once && over == essential
}

func (r *Runner) isRunning() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state == running && !r.isStopping()
}

func (r *Runner) isStopping() bool {
	select {
	case <-r.stopping:
		return true
	default:
		return false
	}
}
