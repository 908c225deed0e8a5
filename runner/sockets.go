package runner

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"appbundle/runner/internal/proc"
	"appbundle/schema"
)

// A bound is a socket of the configuration and what it is bound to; nil where
// each process binds its own (so_reuseport).
type bound struct {
	cfg schema.Socket
	l   *proc.Listener
}

// located gives s with its path below the run directory, where that is where it
// is meant.
func (r *Runner) located(s schema.Socket) schema.Socket {
	if s.Path != "" && !filepath.IsAbs(s.Path) {
		dir := r.cfg.RunDir
		if dir == "" {
			dir = r.cfg.Dir
		}
		s.Path = filepath.Join(dir, s.Path)
	}
	return s
}

// listen binds s.
func (r *Runner) listen(s schema.Socket) (*proc.Listener, error) {
	l, err := r.sys.Listen(r.located(s))
	if errors.Is(err, proc.ErrLongPath) {
		what := "path"
		if !filepath.IsAbs(s.Path) && r.cfg.RunDir != "" {
			what = "run directory"
		}
		return nil, fmt.Errorf("%w; choose a shorter %s", err, what)
	}
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, &AddressInUseError{Socket: s.Name, Err: err}
	}
	return l, err
}

// An AddressInUseError says that somebody else listens where a socket was to
// be bound.
type AddressInUseError struct {
	Socket string // its name
	Err    error  // the whole sentence
}

func (e *AddressInUseError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *AddressInUseError) Unwrap() error { return e.Err }

// Hint names the way to another address; there is one for the socket "app"
// only.
func (e *AddressInUseError) Hint() string {
	if !strings.EqualFold(e.Socket, "app") {
		return ""
	}
	return fmt.Sprintf("--bind HOST:PORT chooses another address for the socket %q", e.Socket)
}

func (r *Runner) bind(s schema.Socket) (*bound, error) {
	b := &bound{cfg: r.located(s)}
	if s.ReusePort {
		return b, nil
	}
	var err error
	b.l, err = r.listen(s)
	return b, err
}

// bindAll binds every socket of the configuration, at the start.
func (r *Runner) bindAll(sockets []schema.Socket) error {
	for _, s := range sockets {
		b, err := r.bind(s)
		if err != nil {
			return err
		}
		r.setSocket(s.Name, b)
	}
	return nil
}

// setSocket puts b in the place of the socket called name, which is closed; a
// nil b leaves none.
func (r *Runner) setSocket(name string, b *bound) {
	key := strings.ToLower(name)
	r.mu.Lock()
	old := r.sockets[key]
	delete(r.sockets, key)
	if b != nil {
		r.sockets[key] = b
	}
	r.mu.Unlock()
	if old != nil && old.l != nil {
		old.l.Close()
	}
}

func (r *Runner) socket(name string) *bound {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sockets[strings.ToLower(name)]
}

// socketFD gives the descriptor of a socket, or -1 for one that each process
// binds for itself.
func (r *Runner) socketFD(name string) int {
	if b := r.socket(name); b != nil && b.l != nil {
		return b.l.FD
	}
	return -1
}

// Sockets gives the addresses that the sockets are bound to, by their names.
func (r *Runner) Sockets() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]string{}
	for _, b := range r.sockets {
		if b.l != nil {
			out[b.cfg.Name] = b.l.Addr()
		}
	}
	return out
}
