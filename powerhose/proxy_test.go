package powerhose

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// A proxy is a bad network between two ends of TCP: everything arrives late and in
// small pieces, connections break, and at times nothing goes on at all.
type proxy struct {
	testing.TB
	ln      net.Listener
	delay   time.Duration // of each byte, one way
	tasks   sync.WaitGroup
	mu      sync.Mutex
	target  string
	pairs   map[[2]*net.TCPConn]bool
	held    chan struct{} // closed when it goes on; nil while nothing is held
	closed  bool
	dropped int
}

// newProxy listens at a host. Until there is a target it hangs up.
func newProxy(tb testing.TB, host, target string, delay time.Duration) *proxy {
	tb.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		tb.Fatal(err)
	}
	p := &proxy{TB: tb, ln: ln, target: target, delay: delay, pairs: map[[2]*net.TCPConn]bool{}}
	p.tasks.Go(p.accept)
	tb.Cleanup(func() {
		ln.Close()
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.hold(false)
		for p.drop() {
		}
		p.tasks.Wait()
	})
	return p
}

func (p *proxy) address() string { return p.ln.Addr().String() }

func (p *proxy) aim(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// hold stops everything, or lets it go on.
func (p *proxy) hold(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && p.held == nil:
		p.held = make(chan struct{})
	case !on && p.held != nil:
		close(p.held)
		p.held = nil
	}
}

// wait waits as long as everything is held.
func (p *proxy) wait() {
	p.mu.Lock()
	held := p.held
	p.mu.Unlock()
	if held != nil {
		<-held
	}
}

// drop breaks a connection, if there is one.
func (p *proxy) drop() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for pair := range p.pairs { // in no order
		p.dropped++
		p.cut(pair)
		return true
	}
	return false
}

// cut resets both ends.
func (p *proxy) cut(pair [2]*net.TCPConn) {
	delete(p.pairs, pair)
	for _, c := range pair {
		_ = c.SetLinger(0)
		c.Close()
	}
}

func (p *proxy) accept() {
	for {
		p.wait()
		nc, err := p.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			p.Errorf("proxy: %v", err)
			return
		}
		p.wait()
		p.mu.Lock()
		target := p.target
		p.mu.Unlock()
		p.tasks.Go(func() {
			far, err := net.DialTimeout("tcp", target, time.Second)
			if err != nil {
				nc.Close()
				return
			}
			pair := [2]*net.TCPConn{nc.(*net.TCPConn), far.(*net.TCPConn)}
			p.mu.Lock()
			if p.closed {
				p.cut(pair)
			} else {
				p.pairs[pair] = true
			}
			p.mu.Unlock()
			var both sync.WaitGroup
			both.Go(func() { p.pump(pair[0], pair[1]) })
			both.Go(func() { p.pump(pair[1], pair[0]) })
			both.Wait()
			p.mu.Lock()
			defer p.mu.Unlock()
			p.cut(pair)
		})
	}
}

// A piece is what is due at a time; nil is the end.
type piece struct {
	b   []byte
	due time.Time
}

// pump moves what comes from one end to the other.
func (p *proxy) pump(to, from *net.TCPConn) {
	pieces := make(chan piece, 1024)
	defer func() {
		for range pieces {
		}
	}()
	go func() {
		defer close(pieces)
		for {
			b := make([]byte, 1024)
			n, err := from.Read(b)
			if n > 0 {
				pieces <- piece{b[:n], time.Now().Add(p.delay)}
			}
			if err != nil {
				if err == io.EOF {
					pieces <- piece{nil, time.Now().Add(p.delay)}
				}
				return
			}
		}
	}()
	for piece := range pieces {
		<-time.After(time.Until(piece.due))
		p.wait()
		if piece.b == nil {
			_ = to.CloseWrite()
			return
		}
		for b := piece.b; len(b) > 0; {
			n := min(len(b), 1+rand.IntN(48))
			if _, err := to.Write(b[:n]); err != nil {
				from.Close()
				return
			}
			b = b[n:]
		}
	}
	to.Close() // the other end was reset
}
