package zmq

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// A Listener accepts peers at one endpoint.
type Listener struct {
	ln       net.Listener
	endpoint string
	remove   func() // the socket file
	once     sync.Once
}

// Listen binds ipc://PATH or tcp://HOST:PORT. The file of a Unix socket gets the
// permissions mode; 0 means 0600. A file there that nobody listens at is
// replaced; a live one is an error that names its process. While it listens,
// PATH.lock is locked; that file stays.
func Listen(endpoint string, mode fs.FileMode) (*Listener, error) {
	network, address, err := splitEndpoint(endpoint)
	if err != nil {
		return nil, err
	}
	if network == "unix" {
		if mode == 0 {
			mode = 0o600
		}
		ln, remove, err := bindUnix(address, mode)
		if err != nil {
			return nil, err
		}
		return &Listener{ln: ln, endpoint: endpoint, remove: remove}, nil
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", endpoint, cause(err))
	}
	return NewListener(ln), nil
}

// NewListener accepts at a listener that somebody else has bound. A socket file
// stays.
func NewListener(ln net.Listener) *Listener {
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	scheme := map[string]string{"unix": "ipc"}[ln.Addr().Network()]
	if scheme == "" {
		scheme = ln.Addr().Network()
	}
	return &Listener{ln: ln, endpoint: scheme + "://" + ln.Addr().String()}
}

// Inherit accepts at a listening descriptor, such as one that a supervisor
// passed on. It makes its own of it: f may be closed.
func Inherit(f *os.File) (*Listener, error) {
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d is no listening socket: %w", f.Fd(), cause(err))
	}
	return NewListener(ln), nil
}

// Endpoint is where peers find it: of tcp with the port that was taken.
func (ln *Listener) Endpoint() string { return ln.endpoint }

// Close ends accepting, and takes a socket file away that Listen has made.
func (ln *Listener) Close() error {
	var err error
	ln.once.Do(func() {
		// The file first: a successor that finds a socket asks who listens.
		if ln.remove != nil {
			ln.remove()
		}
		err = ln.ln.Close()
	})
	return err
}

// Serve accepts peers, and calls handle with the link of each, in a goroutine of
// its own; handle calls [Link.Serve]. Connections that did not become links are
// told to Config.Monitor.
//
// Serve returns when the listener is closed or ctx ends, after all handlers have:
// what they wait for is theirs to end.
func (ln *Listener) Serve(ctx context.Context, cfg Config, handle func(*Link)) error {
	full, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	return ln.serve(ctx, full, handle)
}

func (ln *Listener) serve(ctx context.Context, cfg *Config, handle func(*Link)) error {
	if err := cfg.checkTransport(ln.ln.Addr().Network(), ln.endpoint); err != nil {
		ln.Close()
		return err
	}
	defer ln.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	var (
		all     sync.WaitGroup
		mu      sync.Mutex
		shaking []net.Conn // the oldest first
		tasks   int        // handshakes, also those that were dropped, and peers
		peers   int
	)
	full := fmt.Errorf("there are %d peers; more are not admitted", cfg.Peers)
	defer all.Wait()
	defer cancel() // handshakes end with the listener
	for delay := time.Duration(0); ; {
		nc, err := ln.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			// No descriptors, most likely: there may be some again.
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			cfg.tell(Event{Kind: Refused, Endpoint: ln.endpoint, Err: fmt.Errorf("accept: %w", cause(err))})
			if !pause(ctx, delay) {
				return nil
			}
			continue
		}
		delay = 0
		mu.Lock()
		if peers >= cfg.Peers || tasks >= cfg.Peers+2*cfg.Pending {
			mu.Unlock()
			nc.Close()
			cfg.tell(Event{Kind: Refused, Endpoint: ln.endpoint, Err: full})
			continue
		}
		if len(shaking) >= cfg.Pending {
			shaking[0].Close() // its handshake fails, and removes it
			shaking = shaking[1:]
		}
		shaking = append(shaking, nc)
		tasks++
		mu.Unlock()
		all.Go(func() {
			who, _ := credentials(nc) // an error comes again in open
			l, err := open(ctx, nc, true, cfg)
			mu.Lock()
			if i := slices.Index(shaking, nc); i >= 0 {
				shaking = slices.Delete(shaking, i, i+1)
			}
			if err == nil && peers >= cfg.Peers { // others were faster
				l.Close()
				err = full
			}
			if err == nil {
				peers++
			}
			mu.Unlock()
			if err != nil {
				cfg.tell(Event{Kind: Refused, Endpoint: ln.endpoint, Peer: Peer{Credentials: who}, Err: cause(err)})
			} else {
				handle(l)
				l.Close()
			}
			mu.Lock()
			defer mu.Unlock()
			tasks--
			if err == nil {
				peers--
			}
		})
	}
}

// pause waits, and reports whether ctx still goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
