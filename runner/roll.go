package runner

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"appbundle/runner/internal/watch"
	"appbundle/schema"
)

// Roll is a [Runner.Reload] that goes on to replace every process: of a new
// release of the app, whose version processes see from now on. In each watcher
// one process at a time is stopped and started, and the next one only when its
// replacement is up, or has done its work; the sockets stay open.
//
// A replacement that ends before it is up, or is not up after a minute
// (graceful_timeout, where that is longer), ends the rolling of its watcher: what
// was not replaced yet goes on as it was, and the error says so. The replacement
// is treated as any process is that starts. Roll returns when all that can be
// was replaced.
func (r *Runner) Roll(version string, watchers []schema.Watcher, sockets []schema.Socket) error {
	return r.change(watchers, sockets, &version)
}

// A rolling is the replacement of the processes of a watcher, one after the
// other. It belongs to the watcher's goroutine.
type rolling struct {
	left  []*slot
	now   *slot     // the one that is being replaced
	asked bool      // its process was told to stop, and another one to start
	until time.Time // when its replacement must be up; zero while there is none
	done  chan<- error
}

var errStopped = errors.New("stopped while its processes were replaced")

// roll replaces the processes of all that a plan keeps.
func roll(p *plan) error {
	type begun struct {
		w    *watcher
		done chan error
	}
	var all []begun
	for _, w := range p.keep {
		if c := p.roll[w]; c != nil {
			b := begun{w, make(chan error, 1)}
			w.send(func() { w.roll(c, b.done) })
			all = append(all, b)
		}
	}
	var failed []error
	for _, b := range all {
		select {
		case err := <-b.done:
			failed = append(failed, err)
		case <-b.w.done: // stopped for good
			failed = append(failed, fmt.Errorf("%s: %w", b.w.cfg.Name, errStopped))
		}
	}
	return errors.Join(failed...)
}

// roll makes c that of which processes are started, and replaces those that
// there are. done gets one answer.
func (w *watcher) roll(c *child, done chan<- error) {
	if w.stopped {
		done <- fmt.Errorf("%s: %w", w.cfg.Name, errStopped)
		return
	}
	w.child = c
	if !w.started {
		done <- nil
		return
	}
	w.starting = nil
	w.rolling = &rolling{left: append([]*slot(nil), w.slots...), done: done}
	w.rollNext()
}

// rollNext replaces the next process.
func (w *watcher) rollNext() {
	r := w.rolling
	if len(r.left) == 0 {
		w.endRoll(nil)
		return
	}
	r.now, r.left, r.asked = r.left[0], r.left[1:], false
	r.until = time.Time{}
	if !r.now.retired {
		w.event(r.now, watch.Stop)
		w.event(r.now, watch.Start)
	}
	r.asked = true
	w.judgeRoll(r.now)
}

// judgeRoll looks at what has become of the process that is being replaced.
func (w *watcher) judgeRoll(s *slot) {
	r := w.rolling
	if r == nil || r.now != s || !r.asked {
		return
	}
	switch phase := s.state.Phase; {
	case phase == watch.Starting:
		r.until = s.started.Add(w.patience())
	case phase == watch.Ended && !s.ended.Success(), phase == watch.Waiting, phase == watch.Resting, phase == watch.Failed:
		w.endRoll(fmt.Errorf("%s does not come up; %d processes of before go on", w.name(s), w.unrolled()))
	case phase == watch.Up, phase == watch.Ended, phase == watch.Down && s.retired:
		w.rollNext()
	}
}

// lateRoll ends a rolling whose process takes too long to come up: a release
// that never does must not keep the next one, that mends it, waiting.
func (w *watcher) lateRoll(now time.Time) {
	if r := w.rolling; r != nil && !r.until.IsZero() && !r.until.After(now) {
		w.endRoll(fmt.Errorf("%s does not come up (not ready after %s); %d processes of before go on", w.name(r.now), w.patience(), w.unrolled()))
	}
}

// patience is how long a replacement may take to be up.
func (w *watcher) patience() time.Duration {
	return cmp.Or(w.r.cfg.comeUp, max(time.Minute, w.cfg.GracefulTimeout))
}

// unrolled counts the processes that were not replaced.
func (w *watcher) unrolled() (n int) {
	for _, s := range w.rolling.left {
		if s.state.Phase.Alive() {
			n++
		}
	}
	return n
}

func (w *watcher) endRoll(err error) {
	if w.rolling == nil {
		return
	}
	done := w.rolling.done
	w.rolling = nil
	done <- err
}
