package runner

import (
	"fmt"
	"syscall"
)

// A Program is what the processes of a watcher are made of.
type Program struct {
	Path       string   // of the file that is executed, absolute
	Env        []string // complete, of the first process
	Credential *syscall.Credential
}

// Program gives the program of a watcher, for a caller that has to ask it
// something. Nothing is started; an error says what is not there.
func (r *Runner) Program(watcher string) (*Program, error) {
	for _, w := range r.cfg.Watchers {
		if w.Name != watcher {
			continue
		}
		c, err := r.newChild(w, r.cfg.Sockets, r.cfg.Version)
		if err != nil {
			return nil, &WatcherError{Watcher: watcher, Err: err}
		}
		return &Program{Path: c.path, Env: c.env(1), Credential: c.cred}, nil
	}
	return nil, fmt.Errorf("there is no watcher %q", watcher)
}
