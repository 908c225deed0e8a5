// Package runner keeps processes alive: a supervisor that another Go program
// can use as a library and that `appbundle run` is made of.
//
//	w := runner.Workers("bin/worker", 3)
//	if err := w.Start(ctx); err != nil { ... }
//	defer w.Stop()
//
// # Who owns what
//
// Each watcher has one goroutine that owns all its state: its slots, their
// timers, what is left of processes that ended. Commands, exits and notices
// reach it through one channel, and what it does with them is decided by
// runner/internal/watch, a pure function. There is no lock over several
// watchers: one that takes its time to stop delays no other.
//
// # What is promised
//
//   - A slot never has two main processes at once.
//   - A main process that ends unasked is replaced at once if it lived longer
//     than a second, after a back-off if not, and after a rest if it flaps.
//   - A stop sends stop_signal to the main process, and KILL to its whole tree
//     after graceful_timeout. When a main process has ended, what it leaves
//     behind gets stop_signal, and KILL after graceful_timeout. A watcher has
//     stopped when nothing of it is left.
//   - Output arrives in whole lines, the last one included.
//   - The start is refused as a whole when a command, a user or a socket is
//     not there; what fails later is tried again, and reported.
//
// # Alone or under a guard
//
// A Runner in somebody's program ends its processes when it is told to. It
// cannot when that program is killed with KILL: for that [Guard] makes the
// program the child of a small process that ends everything below it. A program
// that uses Guard, resource limits or LISTEN_FDS calls [Init] first in main.
//
// The package reads no flags, and no environment variable but through
// [Config.Environ].
package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"appbundle/runner/internal/proc"
	"appbundle/schema"
)

// Init must be called first in main by a program that uses [Guard], resource
// limits or LISTEN_FDS: this program is executed again to do these things.
func Init() { proc.Init() }

// Guarded reports whether the calling process is the supervisor that a [Guard]
// started.
func Guarded() bool { return proc.Guarded() }

// Guard runs the calling program once more, with the arguments argv and the
// environment env, as the supervisor, and stays as its parent until it has ended.
// It forwards TERM, INT, HUP, QUIT, USR1 and USR2. When the supervisor has ended,
// by whatever cause, everything below it is killed. Guard returns the
// supervisor's exit status; an error says what ended it instead.
func Guard(argv, env []string) (status int, err error) { return proc.Guard(argv, env) }

// A Runner supervises watchers. Make one with [New] or [Workers]; its methods
// may be called from any goroutine.
type Runner struct {
	cfg   Config
	start time.Time // of the clock that policies see

	sys     *proc.System
	out     *proc.Output
	stdout  *proc.Sink
	stderr  *proc.Sink
	notify  *proc.NotifySocket
	cgroups *proc.Cgroups
	host    *hostDirs
	apart   atomic.Bool // watchers of several groups: only root's reach the notify socket

	mu       sync.Mutex // guards the fields below; never held while waiting
	state    runState
	watchers []*watcher        // in the order of the file
	sockets  map[string]*bound // by their lower-case names
	stopping chan struct{}     // closed when the first stop is asked for
	ended    chan struct{}     // closed when nothing is left
	outcome  error
	settled  bool // every autostarted watcher was up once

	reloading sync.Mutex // one Start, Reload, Roll or close at a time
	version   string     // of the app, that new processes see; guarded by reloading
}

type runState uint8

const (
	fresh runState = iota
	running
	over
)

// ErrStarted is returned by a second Start: a Runner is used once.
var ErrStarted = errors.New("the runner was started before")

// New makes a Runner. It starts nothing.
func New(cfg Config) (*Runner, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Runner{cfg: cfg, stopping: make(chan struct{}), ended: make(chan struct{}), sockets: map[string]*bound{}}, nil
}

// Workers makes a Runner of n processes of one command, which is split into
// words as a shell does. What is wrong with it Start says.
func Workers(cmd string, n int) *Runner {
	w := schema.DefaultWatcher("worker")
	w.NumProcesses, w.CopyEnv = n, true
	words, err := schema.SplitWords(cmd)
	w.Cmd = words
	cfg := Config{Name: "workers", Watchers: []schema.Watcher{w}}.withDefaults()
	cfg.bad = err
	return &Runner{cfg: cfg, stopping: make(chan struct{}), ended: make(chan struct{}), sockets: map[string]*bound{}}
}

// Start binds the sockets and starts every watcher with autostart, those with
// the highest priority first. An error means that nothing is left running. When
// ctx ends everything is stopped as by [Runner.Stop].
func (r *Runner) Start(ctx context.Context) error {
	r.mu.Lock()
	if r.state != fresh {
		r.mu.Unlock()
		return ErrStarted
	}
	r.state, r.start = running, time.Now()
	r.mu.Unlock()
	r.reloading.Lock()
	defer r.reloading.Unlock()
	if err := r.open(); err != nil {
		r.close()
		r.finish(err)
		return err
	}
	forget := context.AfterFunc(ctx, r.askStop)
	r.launch()
	go func() {
		r.reap()
		forget()
	}()
	return nil
}

// open takes hold of everything that a start needs and that may be refused.
func (r *Runner) open() (err error) {
	if err := r.cfg.validate(); err != nil {
		return err
	}
	if r.host, err = openHost(r.cfg); err != nil {
		return err
	}
	if r.sys, err = proc.New(r.cfg.Adopt, r.orphaned); err != nil {
		return err
	}
	if err := r.sys.WatchGuard(r.guardGone); err != nil {
		return err
	}
	if r.out, err = proc.NewOutput(); err != nil {
		return err
	}
	r.stdout = r.sink("stdout", r.cfg.Stdout)
	r.stderr = r.sink("stderr", r.cfg.Stderr)
	if r.cfg.RunDir != "" {
		if r.notify, err = r.sys.ListenNotify(r.notifyPath(), 0o660, r.noticed); err != nil {
			return err
		}
		r.openCgroups()
	}
	if err := r.bindAll(r.cfg.Sockets); err != nil {
		return err
	}
	r.version = r.cfg.Version
	var watchers []*watcher
	for _, c := range r.cfg.Watchers {
		w, err := r.newWatcher(c, r.cfg.Sockets, r.version)
		if err != nil {
			return err
		}
		watchers = append(watchers, w)
	}
	r.mu.Lock()
	r.watchers = watchers
	r.mu.Unlock()
	return r.share()
}

// openCgroups takes the exact way to find a tree where the host offers it, and
// says once what is less exact where it does not.
func (r *Runner) openCgroups() {
	if r.cfg.noCgroups {
		return
	}
	c, ended, err := proc.OpenCgroups("appbundle-" + r.cfg.Name)
	if ended > 0 {
		r.report(Event{Kind: Ended, Text: fmt.Sprintf("ended %d processes that an earlier supervisor left", ended)})
	}
	if err != nil {
		r.report(Event{Kind: Limited, Text: fmt.Sprintf("no cgroup (%v): a process that leaves its session and its environment is ended only with the supervisor", err)})
		return
	}
	r.cgroups = c
}

// launch starts the goroutines of the watchers, and their processes by
// priority, with the pause that the configuration asks for between them.
func (r *Runner) launch() {
	for _, w := range r.watchers {
		go w.run()
	}
	order := slices.Clone(r.watchers)
	slices.SortStableFunc(order, func(a, b *watcher) int { return b.cfg.Priority - a.cfg.Priority })
	if r.cfg.WarmupDelay == 0 {
		for _, w := range order {
			w.autostart()
		}
		return
	}
	go func() {
		for _, w := range order {
			w.autostart()
			select {
			case <-time.After(r.cfg.WarmupDelay):
			case <-r.stopping:
				return
			}
		}
	}()
}

// reap waits until a stop was asked for and every watcher is down, and closes
// what open opened.
func (r *Runner) reap() {
	<-r.stopping
	r.sendState("STOPPING=1")
	for _, w := range r.list() {
		w.send(func() { w.stop(false) })
	}
	for _, w := range r.list() {
		<-w.done
	}
	r.reloading.Lock() // one that came before the stop holds what close gives back
	defer r.reloading.Unlock()
	r.close()
	r.finish(nil)
}

func (r *Runner) finish(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == over {
		return
	}
	r.state = over
	if r.outcome == nil {
		r.outcome = err
	}
	close(r.ended)
}

// close gives back what open took, whatever part of it that was.
func (r *Runner) close() {
	r.mu.Lock()
	for _, b := range r.sockets {
		if b.l != nil {
			b.l.Close()
		}
	}
	clear(r.sockets)
	r.mu.Unlock()
	if r.sys != nil && r.cfg.Adopt {
		// Who hid from every watcher was adopted all the same. A guard would end
		// it, but there may be none, or none any more.
		proc.EndDescendants()
	}
	if r.notify != nil {
		r.notify.Close()
	}
	if r.out != nil {
		r.out.Close()
	}
	if r.sys != nil {
		r.sys.Close()
	}
	if r.cgroups != nil {
		r.cgroups.Close()
	}
	r.host.close()
}

// askStop asks for the stop of everything and returns at once.
func (r *Runner) askStop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.stopping:
	default:
		close(r.stopping)
	}
}

// Stop stops every watcher gracefully and all at once, and returns when nothing
// is left. A Runner that was never started has nothing to stop.
func (r *Runner) Stop() error {
	r.mu.Lock()
	if r.state == fresh {
		r.state = over
		close(r.ended)
	}
	r.mu.Unlock()
	r.askStop()
	return r.Wait()
}

// Kill ends everything at once, also when a Stop is under way, and returns when
// nothing is left.
func (r *Runner) Kill() error {
	for _, w := range r.list() {
		w.send(func() { w.stop(true) })
	}
	return r.Stop()
}

// Wait returns when nothing is left: nil after a Stop, a [*GaveUpError] when
// every watcher gave up, and for a Runner that runs [Config.Once] an
// [*ExitError] when a process ended with another status than 0.
func (r *Runner) Wait() error {
	<-r.ended
	return r.outcome
}

// Done is closed when nothing is left.
func (r *Runner) Done() <-chan struct{} { return r.ended }

// list gives the watchers of this moment.
func (r *Runner) list() []*watcher {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.watchers)
}

// end stops everything because of what a watcher has come to.
func (r *Runner) end(outcome error) {
	r.mu.Lock()
	if r.outcome == nil {
		r.outcome = outcome
	}
	r.mu.Unlock()
	r.askStop()
}

// guardGone answers the death of the guard: without it nobody would end what is
// below a supervisor that dies too.
func (r *Runner) guardGone() {
	r.report(Event{Kind: Stopped, Text: "the guard is gone: stopping"})
	r.askStop()
}

// orphaned is called when an adopted process was reaped: a tree may be empty.
func (r *Runner) orphaned() {
	for _, w := range r.list() {
		w.send(w.sweep)
	}
}

// sink makes the place where one of the children's outputs goes.
func (r *Runner) sink(name string, w io.Writer) *proc.Sink {
	return &proc.Sink{
		W: w,
		Fail: func(err error) {
			until := "from here on"
			if proc.Passing(err) {
				until = "until that is over"
			}
			r.report(Event{Kind: Limited, Text: fmt.Sprintf("%s: %v; output is thrown away %s", name, err, until)})
		},
		Back: func(lines, size int) {
			r.report(Event{Kind: Limited, Text: fmt.Sprintf("%s: can be written again; %d lines (%d bytes) were lost", name, lines, size)})
		},
	}
}

// noticed hands a notice to the watcher whose process sent it, or is the
// ancestor of who sent it.
func (r *Runner) noticed(n proc.Notice) {
	leader := r.sys.Leader(n.Pid)
	if leader == 0 {
		return
	}
	for _, w := range r.list() {
		w.send(func() { w.noticed(leader, n) })
	}
}

// now is the time that policies see.
func (r *Runner) now() time.Duration { return time.Since(r.start) }

// A WatcherError says what of a watcher is not there on this host.
type WatcherError struct {
	Watcher string
	Err     error
}

func (e *WatcherError) Error() string { return fmt.Sprintf("watcher %q: %v", e.Watcher, e.Err) }

// Unwrap gives the cause.
func (e *WatcherError) Unwrap() error { return e.Err }

// A GaveUpError says that no watcher is left that would start a process.
type GaveUpError struct {
	Watchers []string
}

func (e *GaveUpError) Error() string {
	if len(e.Watchers) == 1 {
		return fmt.Sprintf("watcher %q gave up", e.Watchers[0])
	}
	return fmt.Sprintf("every watcher gave up: %q", e.Watchers)
}

// An ExitError says how a process ended that ran once.
type ExitError struct {
	Process string // WATCHER.WID
	Status  string // "exit status 3"
}

func (e *ExitError) Error() string { return e.Process + " ended with " + e.Status }
