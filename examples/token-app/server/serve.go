package server

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// A Door says how requests come in.
type Door struct {
	Handler        http.Handler
	MaxConnections int           // 0 means 4096
	Timeout        time.Duration // of a request, 0 means 30 s
	Grace          time.Duration // for requests when the server ends, 0 means 25 s
	// Broken is told of connections that go wrong before they are requests; nil
	// is not.
	Broken func()
}

// Serve answers what comes in at the listeners until ctx ends, then finishes what
// it has. The listeners are closed. What nobody accepts meanwhile waits in the
// sockets, for whoever else has them.
func (d *Door) Serve(ctx context.Context, listeners ...net.Listener) error {
	timeout := orElse(d.Timeout, 30*time.Second)
	srv := &http.Server{
		Handler:           d.bounded(timeout),
		MaxHeaderBytes:    32 << 10,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       timeout,
		WriteTimeout:      timeout + 5*time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          log.New(counting(d.Broken), "", 0),
	}
	limit := make(chan struct{}, orElse(d.MaxConnections, 4096))
	failed := make(chan error, len(listeners))
	var serving sync.WaitGroup
	for _, l := range listeners {
		serving.Go(func() { failed <- srv.Serve(&limited{Listener: l, free: limit, done: make(chan struct{})}) })
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), orElse(d.Grace, 25*time.Second))
	defer cancel()
	if late := srv.Shutdown(grace); late != nil {
		srv.Close()
		if err == nil {
			err = errors.New("requests were not finished in time")
		}
	}
	serving.Wait()
	return err
}

// bounded gives each request a deadline.
func (d *Door) bounded(timeout time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		d.Handler.ServeHTTP(w, r.WithContext(ctx))
	})
}

func orElse[T int | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// counting makes a writer that counts what net/http would have written: its lines
// quote what strangers send.
func counting(f func()) io.Writer { return counter(f) }

type counter func()

func (c counter) Write(b []byte) (int, error) {
	if c != nil {
		c()
	}
	return len(b), nil
}

// A limited listener accepts while there is room. Who comes later waits in the
// socket.
type limited struct {
	net.Listener
	free chan struct{}
	once sync.Once
	done chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.free <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	nc, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &counted{Conn: nc, free: l.free}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type counted struct {
	net.Conn
	free chan struct{}
	once sync.Once
}

func (c *counted) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { <-c.free })
	return err
}
