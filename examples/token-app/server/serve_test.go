package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
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

// A connection beyond the maximum waits until another one ends.
func TestDoorMaximum(t *testing.T) {
	var served atomic.Int32
	d := &Door{MaxConnections: 1, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, served.Add(1))
	})}
	address, _ := serve(t, d)
	first, answer := connect(t, address, "/")
	if _, err := http.ReadResponse(answer, nil); err != nil {
		t.Fatal(err)
	}
	_, second := connect(t, address, "/")
	if n := served.Load(); n != 1 {
		t.Errorf("%d requests were served over one connection", n)
	}
	first.Close()
	if _, err := http.ReadResponse(second, nil); err != nil {
		t.Fatal(err)
	}
	if n := served.Load(); n != 2 {
		t.Errorf("%d requests were served, want 2", n)
	}
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
