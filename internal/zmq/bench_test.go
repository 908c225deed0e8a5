package zmq

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// linkPair is two links over a Unix socket pair of the benchmark's own, served
// until the end of the test.
func linkPair(tb testing.TB, client, server Config, onClient, onServer func(*Link, *Message)) (*Link, *Link) {
	tb.Helper()
	a, b := connPair(tb)
	type result struct {
		l   *Link
		err error
	}
	got := make(chan result)
	go func() {
		l, err := Open(context.Background(), b, true, server)
		got <- result{l, err}
	}()
	c, err := Open(context.Background(), a, false, client)
	if err != nil {
		tb.Fatal(err)
	}
	s := <-got
	if s.err != nil {
		tb.Fatal(s.err)
	}
	ends := make(chan error, 2)
	go func() { ends <- c.Serve(func(m *Message) { onClient(c, m) }) }()
	go func() { ends <- s.l.Serve(func(m *Message) { onServer(s.l, m) }) }()
	tb.Cleanup(func() {
		c.Close()
		s.l.Close()
		<-ends
		<-ends
	})
	return c, s.l
}

// connPair is two ends of a Unix connection.
func connPair(tb testing.TB) (client, server net.Conn) {
	tb.Helper()
	dir, err := os.MkdirTemp("", "zmq")
	if err != nil {
		tb.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ln, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		tb.Fatal(err)
	}
	defer ln.Close()
	a, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	b, err := ln.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// One message goes to and fro: what one job in flight costs.
func BenchmarkEcho(b *testing.B) {
	for _, size := range []struct {
		name   string
		n      int
		window int64
	}{{"100B/1", 100, 1}, {"100B/4", 100, 4}, {"100B/64", 100, 64}, {"100KB/1", 100 << 10, 1}, {"100KB/16", 100 << 10, 16}} {
		b.Run(size.name, func(b *testing.B) {
			head, body := make([]byte, 12), make([]byte, size.n)
			var left atomic.Int64
			left.Store(int64(b.N))
			done := make(chan struct{})
			var inFlight atomic.Int64
			c, _ := linkPair(b, Config{Type: TypeDealer}, Config{Type: TypeRouter}, func(l *Link, m *Message) {
				m.Release()
				if left.Add(-1) >= 0 {
					if err := l.TrySend(head, body); err != nil {
						b.Error(err)
					}
				} else if inFlight.Add(-1) == 0 {
					close(done)
				}
			}, func(l *Link, m *Message) {
				if err := l.TrySend(m.Frames...); err != nil {
					b.Error(err)
				}
				m.Release()
			})
			b.SetBytes(int64(size.n))
			b.ReportAllocs()
			b.ResetTimer()
			inFlight.Store(size.window)
			for range size.window {
				left.Add(-1)
				if err := c.TrySend(head, body); err != nil {
					b.Fatal(err)
				}
			}
			<-done
		})
	}
}

// The same through sockets: ROUTER and DEALER, with Handle and with Recv, NULL and
// CURVE.
func BenchmarkSockets(b *testing.B) {
	public, secret, err := GenerateKey()
	if err != nil {
		b.Fatal(err)
	}
	server, client := &CurveServer{Secret: secret, Allow: []PublicKey{public}}, &CurveClient{Secret: secret, Server: public}
	for _, tt := range []struct {
		name     string
		endpoint func(testing.TB) string
		server   Security
		client   Security
		handle   bool
	}{
		{"NULL/Handle", ipc, nil, nil, true},
		{"NULL/Recv", ipc, nil, nil, false},
		{"CURVE/Handle", func(testing.TB) string { return "tcp://127.0.0.1:0" }, server, client, true},
	} {
		b.Run(tt.name, func(b *testing.B) {
			var r *Router
			cfg := SocketConfig{Config: Config{Security: tt.server}}
			echo := func(m *Message) {
				if err := r.TrySend(m.From, m.Frames...); err != nil {
					b.Error(err)
				}
				m.Release()
			}
			if tt.handle {
				cfg.Handle = echo
			}
			r = newRouter(b, cfg)
			d := newDealer(b, SocketConfig{Config: Config{Security: tt.client}})
			connect(b, d, bind(b, r, tt.endpoint(b)))
			ctx, cancel := context.WithCancel(b.Context())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for !tt.handle {
					m, err := r.Recv(ctx)
					if err != nil {
						return
					}
					echo(m)
				}
			}()
			const window = 64
			body := make([]byte, 100)
			b.ReportAllocs()
			sent := 0
			for got := 0; b.Loop(); got++ {
				for ; sent < got+window; sent++ {
					if err := d.Send(ctx, body); err != nil {
						b.Fatal(err)
					}
				}
				m, err := d.Recv(ctx)
				if err != nil {
					b.Fatal(err)
				}
				m.Release()
			}
			cancel()
			<-ended
		})
	}
}

// One message for 100 subscribers, of which every tenth wants it.
func BenchmarkPublish(b *testing.B) {
	cfg, events := watched(SocketConfig{Config: Config{Linger: patience}})
	p := newPub(b, cfg)
	endpoint := bind(b, p, ipc(b))
	for i := range 100 {
		s := newSub(b, SocketConfig{Handle: func(m *Message) { m.Release() }})
		topic := "other"
		if i%10 == 0 {
			topic = "watcher."
		}
		if err := s.Subscribe(topic); err != nil {
			b.Fatal(err)
		}
		connect(b, s, endpoint)
		events.await(b, Subscribed)
	}
	topic, body := []byte("watcher.web.reap"), make([]byte, 200)
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Send(topic, body); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(p.Dropped())/float64(b.N), "dropped/op")
}
