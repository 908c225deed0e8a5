package runner

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"appbundle/schema"
)

// Reload makes watchers and sockets the configuration of a running Runner. What
// did not change is not touched; where only numprocesses changed the pool is
// resized; what changed is stopped and started with its new keys; what is
// new is started, and what is gone is stopped. A watcher that inherits a
// socket that changed counts as changed.
//
// The new configuration is tried against the host first: when it is refused
// nothing has changed. Reload returns when the watchers that it stops are down.
func (r *Runner) Reload(watchers []schema.Watcher, sockets []schema.Socket) error {
	return r.change(watchers, sockets, nil)
}

// change makes a configuration that of the runner; of a release it also
// replaces what did not change.
func (r *Runner) change(watchers []schema.Watcher, sockets []schema.Socket, release *string) error {
	r.reloading.Lock()
	defer r.reloading.Unlock()
	cfg := r.cfg
	cfg.Watchers, cfg.Sockets = watchers, sockets
	if err := cfg.validate(); err != nil {
		return err
	}
	if !r.isRunning() {
		return errors.New("the runner is not running")
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err == nil {
		// sd_notify(3): RELOADING=1 needs the time it was said.
		r.sendState(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", ts.Nano()/1000))
	}
	defer r.sendState("READY=1")
	p, err := r.plan(watchers, sockets, release)
	if err != nil {
		return err
	}
	err = r.apply(p)
	if release != nil {
		err = errors.Join(err, roll(p))
	}
	return err
}

// A plan is what a reload will do.
type plan struct {
	keep    []*watcher // in the order of the new file, with those of add
	stop    []*watcher
	add     []*watcher
	resize  map[*watcher]int
	rebind  []schema.Socket   // changed, at an address that is taken by the old one
	bound   map[string]*bound // new or changed, and bound already
	release []string
	roll    map[*watcher]*child // what processes of a kept one become
}

func (r *Runner) plan(watchers []schema.Watcher, sockets []schema.Socket, release *string) (_ *plan, err error) {
	p := &plan{resize: map[*watcher]int{}, bound: map[string]*bound{}, roll: map[*watcher]*child{}}
	defer func() {
		if err != nil {
			p.drop()
		}
	}()
	changed, err := r.planSockets(p, sockets)
	if err != nil {
		return nil, err
	}
	version := r.version
	if release != nil {
		version = *release
	}
	p.stop = r.list()
	for _, cfg := range watchers {
		old := r.find(cfg.Name)
		if old != nil && sameWatcher(old.asked, cfg) && !usesAny(old.child, changed) {
			p.stop = slices.DeleteFunc(p.stop, func(w *watcher) bool { return w == old })
			p.keep = append(p.keep, old)
			p.resize[old] = cfg.NumProcesses
			if release != nil {
				if p.roll[old], err = r.newChild(cfg, sockets, version); err != nil {
					return nil, &WatcherError{Watcher: cfg.Name, Err: err}
				}
			}
			continue
		}
		w, err := r.newWatcher(cfg, sockets, version)
		if err != nil {
			return nil, err
		}
		p.keep, p.add = append(p.keep, w), append(p.add, w)
	}
	r.version = version
	return p, nil
}

// planSockets binds what can be bound while the old sockets are open, and gives
// the lower-case names of those that changed.
func (r *Runner) planSockets(p *plan, sockets []schema.Socket) (changed []string, err error) {
	names := map[string]bool{}
	var fresh []schema.Socket
	for _, s := range sockets {
		key := strings.ToLower(s.Name)
		names[key] = true
		old := r.socket(s.Name)
		if old != nil && sameJSON(old.cfg, r.located(s)) {
			continue
		}
		changed, fresh = append(changed, key), append(fresh, s)
	}
	r.mu.Lock()
	for key := range r.sockets {
		if !names[key] {
			changed, p.release = append(changed, key), append(p.release, key)
		}
	}
	r.mu.Unlock()
	for _, s := range fresh {
		if r.holds(changed, r.located(s)) {
			p.rebind = append(p.rebind, s)
			continue
		}
		if p.bound[strings.ToLower(s.Name)], err = r.bind(s); err != nil {
			return nil, err
		}
	}
	return changed, nil
}

// holds reports whether one of the sockets called names has the address of s.
func (r *Runner) holds(names []string, s schema.Socket) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		old := r.socket(name)
		return old != nil && sameAddress(old.cfg, s)
	})
}

func (p *plan) drop() {
	for _, b := range p.bound {
		if b != nil && b.l != nil {
			b.l.Close()
		}
	}
}

func sameAddress(a, b schema.Socket) bool {
	return a.Path == b.Path && a.Host == b.Host && a.Port == b.Port
}

func (r *Runner) apply(p *plan) error {
	for _, w := range p.stop {
		w.send(func() { w.stop(false) })
	}
	for _, w := range p.stop {
		<-w.done
	}
	for _, name := range p.release {
		r.setSocket(name, nil)
	}
	for name, b := range p.bound {
		r.setSocket(name, b)
	}
	var failed []error
	for _, s := range p.rebind {
		r.setSocket(s.Name, nil)
		b, err := r.bind(s)
		if err != nil {
			failed = append(failed, err) // its watchers report that they cannot start
			continue
		}
		r.setSocket(s.Name, b)
	}
	if !r.adopt(p.keep, p.add) {
		return errors.New("stopped while it reloaded")
	}
	if err := r.share(); err != nil {
		failed = append(failed, err)
	}
	for w, n := range p.resize {
		w.send(func() { w.resize(n) })
	}
	for _, w := range p.stop {
		r.report(Event{Kind: Changed, Watcher: w.cfg.Name, Text: "stopped by the reload"})
	}
	for _, w := range p.add {
		r.report(Event{Kind: Changed, Watcher: w.cfg.Name, Text: "started by the reload"})
		w.autostart()
	}
	return errors.Join(failed...)
}

// adopt makes keep the watchers of the runner and starts the goroutines of the
// new ones, unless a stop came first.
func (r *Runner) adopt(keep, added []*watcher) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isStopping() {
		return false
	}
	r.watchers = keep
	for _, w := range added {
		go w.run()
	}
	return true
}

func (r *Runner) find(name string) *watcher {
	for _, w := range r.list() {
		if strings.EqualFold(w.asked.Name, name) {
			return w
		}
	}
	return nil
}

func usesAny(c *child, names []string) bool {
	if c.cfg.UseSockets && len(names) > 0 {
		return true
	}
	for _, s := range c.socks {
		if slices.Contains(names, strings.ToLower(s.Name)) {
			return true
		}
	}
	return slices.Contains(names, strings.ToLower(c.cfg.StdinSocket))
}

// sameWatcher compares everything but the place in the file and the number of
// processes.
func sameWatcher(a, b schema.Watcher) bool {
	a.NumProcesses, b.NumProcesses = 0, 0
	return sameJSON(a, b)
}

// sameJSON compares the values of two configurations: their positions in the
// file are not part of their JSON.
func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
