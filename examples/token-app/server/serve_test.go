package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// serve runs a door at a port of its own until the function that it gives is
// called, which waits for its end.
func serve(t *testing.T, d *Door) (address string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Serve(ctx, l) }()
	done := false
	stop = func() error {
		cancel()
		if done {
			return nil
		}
		done = true
		return <-ended
	}
	t.Cleanup(func() { _ = stop() })
	return l.Addr().String(), stop
}

// connect opens a connection and writes a request for path to it.
func connect(t *testing.T, address, path string) (net.Conn, *bufio.Reader) {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
	return nc, bufio.NewReader(nc)
}

// A request that runs when the server is asked to end is answered.
func TestDoorFinishes(t *testing.T) {
	in, out := make(chan struct{}), make(chan struct{})
	d := &Door{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := r.Context().Deadline(); !ok {
			t.Error("the request has no deadline")
		}
		close(in)
		<-out
		fmt.Fprint(w, "done")
	})}
	address, stop := serve(t, d)
	_, answer := connect(t, address, "/")
	<-in
	ended := make(chan error)
	go func() { ended <- stop() }()
	for { // until it does not listen any more
		nc, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		nc.Close()
	}
	close(out)
	r, err := http.ReadResponse(answer, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(r.Body)
	if string(body) != "done" {
		t.Errorf("the answer is %q", body)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A request that does not end is given up after the grace.
func TestDoorGivesUp(t *testing.T) {
	in := make(chan struct{})
	d := &Door{Grace: time.Millisecond, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(in)
		<-r.Context().Done()
	})}
	address, stop := serve(t, d)
	connect(t, address, "/")
	<-in
	if err := stop(); err == nil || err.Error() != "requests were not finished in time" {
		t.Errorf("Serve = %v", err)
	}
}

// pipes is a listener at which connections are what somebody sends.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case nc := <-p.conns:
		return nc, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

// A connection beyond the maximum waits until another one ends.
func TestDoorMaximum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &pipes{conns: make(chan net.Conn, 2), done: make(chan struct{})}
		served := 0
		d := &Door{MaxConnections: 1, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ })}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _ = d.Serve(ctx, l) })
		var clients []net.Conn
		for range 2 {
			ours, theirs := net.Pipe()
			clients = append(clients, ours)
			l.conns <- theirs
			all.Go(func() { fmt.Fprint(ours, "GET / HTTP/1.1\r\nHost: x\r\n\r\n") })
			all.Go(func() { _, _ = io.Copy(io.Discard, ours) })
		}
		synctest.Wait()
		if served != 1 {
			t.Errorf("%d connections are served at once, want 1", served)
		}
		clients[0].Close()
		synctest.Wait()
		if served != 2 {
			t.Errorf("%d were served when one had ended, want 2", served)
		}
		clients[1].Close()
		cancel()
		all.Wait()
	})
}

// A head that is too big is refused, and what net/http would say of strangers'
// bytes is counted and not written.
func TestDoorHead(t *testing.T) {
	var broken atomic.Int32
	d := &Door{Broken: func() { broken.Add(1) }, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { panic("canary") })}
	address, _ := serve(t, d)
	nc, answer := connect(t, address, "/"+strings.Repeat("x", 40<<10))
	r, err := http.ReadResponse(answer, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d for a head of 40 KiB", r.StatusCode)
	}
	nc.Close()
	_, answer = connect(t, address, "/")
	if _, err := http.ReadResponse(answer, nil); err == nil {
		t.Error("a handler that broke has an answer")
	}
	if broken.Load() != 1 {
		t.Errorf("%d connections broke, want 1", broken.Load())
	}
}

// When one listener fails, the server ends with its error.
func TestDoorFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := (&Door{Handler: http.NotFoundHandler()}).Serve(t.Context(), l); err == nil {
		t.Error("a closed listener is served")
	}
}
