package runner

import (
	"fmt"
	"time"

	"appbundle/runner/internal/proc"
)

// An EventKind is what an Event tells of.
type EventKind string

// The kinds of events.
const (
	Spawned  EventKind = "spawned"  // a process was started
	NotFound EventKind = "noexec"   // a process could not be executed
	Ready    EventKind = "ready"    // a process is up
	Died     EventKind = "died"     // a process ended unasked
	Ended    EventKind = "ended"    // a process ended as it was asked to, as it had said, or once and for all
	Signaled EventKind = "signaled" // a process was asked to end
	Killed   EventKind = "killed"   // a process that would not end was killed
	Leftover EventKind = "leftover" // what a process left behind was asked to end, or killed
	Resting  EventKind = "resting"  // a slot flaps
	GaveUp   EventKind = "gave-up"  // a slot will start no process any more
	Stopped  EventKind = "stopped"  // a watcher, or the whole, has stopped or is about to
	Changed  EventKind = "changed"  // a reload changed, added or removed a watcher
	Settled  EventKind = "settled"  // every watcher was up for the first time
	Limited  EventKind = "limited"  // something cannot be done on this host
)

// An Event is something that happened. Watcher is "" for what concerns all.
type Event struct {
	Kind    EventKind
	Time    time.Time
	Watcher string
	WID     int
	Pid     int
	Text    string // the rest of the sentence
}

// String gives the event as a line for people.
func (e Event) String() string {
	var who string
	switch {
	case e.Watcher != "" && e.WID != 0:
		who = fmt.Sprintf("%s.%d: ", e.Watcher, e.WID)
	case e.Watcher != "":
		who = e.Watcher + ": "
	}
	if e.Pid != 0 {
		return fmt.Sprintf("%spid %d %s", who, e.Pid, e.Text)
	}
	return who + e.Text
}

// report tells the world. Every transition passes here.
func (r *Runner) report(e Event) {
	e.Time = time.Now()
	r.cfg.Report(e)
}

// A Process is a main process as Status gives it.
type Process struct {
	WID     int
	Pid     int
	Started time.Time
	Phase   string
	// Status is what the process said of itself (STATUS=), and Busy how busy it
	// said to be (BUSY=n/m); "" where it said nothing.
	Status string
	Busy   string
}

// A WatcherStatus is a watcher as Status gives it.
type WatcherStatus struct {
	Name      string
	Want      int       // processes asked for
	Processes []Process // those that live, by wid
	Failed    int       // slots that gave up
	Leftover  int       // trees that are being ended
}

// Status gives the watchers of this moment, in the order of the file.
func (r *Runner) Status() []WatcherStatus {
	var out []WatcherStatus
	for _, w := range r.list() {
		got := make(chan WatcherStatus, 1)
		if !w.send(func() { got <- w.status() }) {
			continue
		}
		select {
		case st := <-got:
			out = append(out, st)
		case <-w.done:
		}
	}
	return out
}

// sendState tells the supervisor of our supervisor; there may be none.
func (r *Runner) sendState(text string) {
	socket, _ := r.cfg.environ("NOTIFY_SOCKET")
	if socket == "" || r.cfg.RunDir == "" {
		return
	}
	if err := proc.SendNotify(socket, text); err != nil {
		r.report(Event{Kind: Limited, Text: err.Error()})
	}
}
