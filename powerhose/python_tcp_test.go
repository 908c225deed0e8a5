package powerhose

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"appbundle/internal/zmq"
	"appbundle/powerhose/internal/wire"
)

// A tcpMaster is a master over TCP of a few lines, on CURVE as it is in Go: it
// gives what its callers ask for to its one worker.
type tcpMaster struct {
	*testing.T
	secret zmq.SecretKey

	mu      sync.Mutex
	work    *zmq.Link
	callers []asked // by the number of the job
	ready   chan struct{}
}

// asked is who waits for a job, and how he calls it.
type asked struct {
	link   *zmq.Link
	number uint64
}

func (m *tcpMaster) send(l *zmq.Link, h wire.Head, body []byte) {
	b, err := h.Append(nil)
	if err != nil {
		m.Error(err)
		return
	}
	frames := [][]byte{b}
	if h.Type.HasBody() {
		frames = append(frames, body)
	}
	if err := l.TrySend(frames...); err != nil {
		m.Errorf("%v: %v", h.Type, err)
	}
}

// serve reads a link to its end.
func (m *tcpMaster) serve(l *zmq.Link, handle func(h wire.Head, body []byte)) {
	_ = l.Serve(func(msg *zmq.Message) {
		var h wire.Head
		if err := wire.Decode(msg.Frames[0], &h); err != nil {
			m.Error(err)
			return
		}
		var body []byte
		if len(msg.Frames) > 1 {
			body = msg.Frames[1]
		}
		handle(h, body)
	})
}

var tcpWelcome = wire.Head{Type: wire.Welcome, Version: 1, Window: 1, Tries: 3, Period: 60000, MaxBody: 1 << 20, Incarnation: [16]byte{1}}

// peer is a worker or a caller.
func (m *tcpMaster) peer(ctx context.Context, l *zmq.Link) {
	var work sync.WaitGroup
	defer work.Wait()
	m.serve(l, func(h wire.Head, body []byte) {
		switch {
		case h.Type == wire.Hello:
			m.send(l, tcpWelcome, nil)
			if h.Window > 0 {
				socket := string(h.Socket)
				work.Go(func() { m.attach(ctx, socket, l.Peer().Key) })
			}
		case h.Type == wire.Call:
			m.mu.Lock()
			defer m.mu.Unlock()
			m.callers = append(m.callers, asked{l, h.Number})
			m.send(m.work, wire.Head{Type: wire.Job, Number: uint64(len(m.callers)), Left: h.Left, Attempt: 1}, body)
		}
	})
}

// attach makes the work link. Who listens there is asked for the key of the
// worker.
func (m *tcpMaster) attach(ctx context.Context, socket string, key zmq.PublicKey) {
	l, err := zmq.Dial(ctx, socket, zmq.Config{Type: zmq.TypeDealer, Security: &zmq.CurveClient{Secret: m.secret, Server: key}})
	if err != nil {
		m.Error(err)
		return
	}
	defer l.Close()
	m.send(l, tcpWelcome, nil)
	m.serve(l, func(h wire.Head, body []byte) {
		m.mu.Lock()
		defer m.mu.Unlock()
		switch h.Type {
		case wire.Hello:
			m.work = l
			close(m.ready)
		case wire.Result:
			to := m.callers[h.Number-1]
			m.send(to.link, wire.Head{Type: wire.Reply, Number: to.number, Attempt: 1, PID: 1, Name: []byte("w")}, body)
		case wire.Bye:
			m.send(l, wire.Head{Type: wire.Bye, Code: wire.Stop}, nil)
		}
	})
}

// pythonOverTCP has jobs done by a worker in Python for callers in Python, over
// TCP and through a master on internal/zmq.
func pythonOverTCP(t *testing.T, python string) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	masterKey, masterSecret, err := zmq.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	key, secret, err := zmq.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	file("jobs.py", "def work(job):\n    return job[::-1]\n", 0o600)
	ln, err := zmq.Listen("tcp://127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "POWERHOSE_MASTER="+ln.Endpoint(),
		"POWERHOSE_KEY="+file("key", secret.Z85()+"\n", 0o600), "POWERHOSE_MASTER_KEY="+file("master.key.pub", masterKey.String()+"\n", 0o644))

	ctx, cancel := context.WithCancel(t.Context())
	m := &tcpMaster{T: t, secret: masterSecret, ready: make(chan struct{})}
	var serving sync.WaitGroup
	serving.Go(func() {
		cfg := zmq.Config{Type: zmq.TypeRouter, Security: &zmq.CurveServer{Secret: masterSecret, Allow: []zmq.PublicKey{key}},
			Monitor: func(e zmq.Event) {
				if e.Kind == zmq.Refused {
					t.Errorf("refused: %v", e.Err)
				}
			}}
		if err := ln.Serve(ctx, cfg, func(l *zmq.Link) { m.peer(ctx, l) }); err != nil {
			t.Error(err)
		}
	})
	defer serving.Wait()
	defer cancel()

	soon, stop := context.WithTimeout(ctx, patience)
	defer stop()
	worker := exec.CommandContext(soon, python, "-W", "error", "-m", "powerhose", "jobs:work", "--name", "w", "--socket", "tcp://127.0.0.1:0")
	var log strings.Builder
	worker.Dir, worker.Env, worker.Stderr = dir, env, &log
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-m.ready:
	case <-soon.Done():
		_ = worker.Wait()
		t.Fatalf("the worker does not register:\n%s", log.String())
	}
	caller := exec.CommandContext(soon, python, "-W", "error", "-c", `
import asyncio, os, powerhose, powerhose.aio
bodies = [b"", b"abc", os.urandom(1 << 20)] + [b"%d" % i for i in range(50)]
with powerhose.JobRunner() as runner:
    assert [runner.execute(body) for body in bodies] == [body[::-1] for body in bodies]
async def main():
    async with powerhose.aio.JobRunner() as runner:
        assert [await runner.execute(body) for body in bodies] == [body[::-1] for body in bodies]
asyncio.run(main())
`)
	caller.Env = env
	if out, err := caller.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("the caller: %v\n%s", err, out)
	}
	if err := worker.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := worker.Wait(); err != nil {
		t.Errorf("the worker: %v\n%s", err, log.String())
	}
}
