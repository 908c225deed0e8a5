package zmq

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A foreign is a program that uses libzmq.
type foreign struct {
	name string
	argv []string
}

// foreigners are testdata/peer.py under pyzmq, which brings its own libzmq, and
// testdata/peer.cpp with that of the system.
func foreigners(t *testing.T) []foreign {
	t.Helper()
	python, err := filepath.Abs("../../out/servers/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(python); err != nil {
		t.Fatalf("%v; tools/setup test makes it", err)
	}
	if _, err := os.ReadFile("testdata/peer.cpp"); err != nil { // so that the go command runs this again where it changed
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "peer")
	out, err := exec.Command("g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-o", binary, "testdata/peer.cpp", "-lzmq").CombinedOutput()
	if err != nil {
		t.Fatalf("g++: %v\n%s; tools/setup test installs what it needs", err, out)
	}
	return []foreign{{"pyzmq", []string{python, "testdata/peer.py"}}, {"libzmq", []string{binary}}}
}

// A program is one that runs.
type program struct {
	t        *testing.T
	cmd      *exec.Cmd
	out      *bufio.Reader
	stderr   bytes.Buffer
	endpoint string
	waited   bool
}

// run starts a peer: its arguments, and the endpoint that it says it has.
func (f foreign) run(t *testing.T, args ...string) *program {
	t.Helper()
	argv := append(append([]string{}, f.argv...), args...)
	p := &program{t: t, cmd: exec.Command(argv[0], argv[1:]...)}
	p.cmd.Stderr = &p.stderr
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout = w
	err = p.cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		t.Fatal(err)
	}
	_ = r.SetReadDeadline(time.Now().Add(patience))
	p.out = bufio.NewReader(r)
	t.Cleanup(func() {
		if !p.waited {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait() // it was killed
		}
		r.Close()
	})
	p.endpoint = p.line()
	return p
}

func (p *program) line() string {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.fail(err)
	}
	return strings.TrimRight(line, "\n\x00")
}

func (p *program) fail(err error) {
	p.t.Helper()
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.waited = true
	p.t.Fatalf("%v: %v\n%s", p.cmd.Args, err, &p.stderr)
}

// ok waits until the program is content.
func (p *program) ok() {
	p.t.Helper()
	if line := p.line(); line != "ok" {
		p.fail(fmt.Errorf("%q where ok has to come", line))
	}
	err := p.cmd.Wait()
	p.waited = true
	if err != nil {
		p.t.Fatalf("%v: %v\n%s", p.cmd.Args, err, &p.stderr)
	}
}

// bodyOf is what the programs send as message i.
func bodyOf(i int) []byte {
	b := make([]byte, []int{0, 1, 100, 255, 256, 70000}[i%6])
	for j := range b {
		b[j] = byte((i + j) % 251)
	}
	return b
}

// ask sends to a program that echoes, as its mode "ask" does.
func ask(t *testing.T, d *Dealer, envelope ...[]byte) {
	t.Helper()
	window := 8
	if envelope != nil {
		window = 1
	}
	sent := 0
	for got := range 60 {
		for ; sent < min(60, got+window); sent++ {
			frames := append(append([][]byte{}, envelope...), fmt.Appendf(nil, "%d", sent), bodyOf(sent))
			if err := d.Send(soon(t), frames...); err != nil {
				t.Fatal(err)
			}
		}
		m := recv(t, d)
		frames := m.Frames[len(envelope):]
		if len(frames) != 2 || string(frames[0]) != fmt.Sprint(got) || !bytes.Equal(frames[1], bodyOf(got)) {
			t.Fatalf("echo %d is not what was sent", got)
		}
		m.Release()
	}
}

// echo answers until a peer says "ok".
func echo(t *testing.T, r *Router) {
	t.Helper()
	for {
		m := recv(t, r)
		if len(m.Frames) == 1 && string(m.Frames[0]) == "ok" || len(m.Frames) == 2 && string(m.Frames[1]) == "ok" {
			return
		}
		if err := r.Send(soon(t), m.From, m.Frames...); err != nil {
			t.Fatal(err)
		}
		m.Release()
	}
}

// A wire is a transport with its security, for us and for a program.
type wire struct {
	name     string
	endpoint func(testing.TB) string
	server   Security // for the side that binds
	client   Security
	toServer []string // options of a program on that side
	toClient []string
}

func wires(t *testing.T) []wire {
	t.Helper()
	serverPublic, serverSecret, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	clientPublic, clientSecret, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return []wire{
		{name: "NULL", endpoint: ipc},
		{
			name: "CURVE", endpoint: func(testing.TB) string { return "tcp://127.0.0.1:0" },
			server:   &CurveServer{Secret: serverSecret, Allow: []PublicKey{clientPublic}},
			client:   &CurveClient{Secret: clientSecret, Server: serverPublic},
			toServer: []string{"secret=" + serverSecret.Z85(), "public=" + serverPublic.String()},
			toClient: []string{"secret=" + clientSecret.Z85(), "public=" + clientPublic.String(), "server=" + serverPublic.String()},
		},
	}
}

// Each pair of types that we have a part in, both ways round, with real libzmq.
func TestInterop(t *testing.T) {
	leavesNothing(t)
	for _, f := range foreigners(t) {
		f.curveRefuses(t)
		for _, w := range wires(t) {
			server, client := SocketConfig{Config: Config{Security: w.server}}, SocketConfig{Config: Config{Security: w.client}}
			run := func(name string, test func(t *testing.T)) {
				t.Run(f.name+"/"+w.name+"/"+name, test)
			}
			asks := func(kind, how, endpoint string, options ...string) []string {
				return append([]string{"ask", kind, how, endpoint}, options...)
			}
			run("their DEALER dials our ROUTER", func(t *testing.T) {
				r := newRouter(t, server)
				p := f.run(t, asks("DEALER", "connect", bind(t, r, w.endpoint(t)), append(w.toClient, "identity=them")...)...)
				m := recv(t, r)
				if m.From != "them" {
					t.Errorf("from %q, want them", m.From)
				}
				if err := r.Send(soon(t), m.From, m.Frames...); err != nil {
					t.Fatal(err)
				}
				echo(t, r)
				p.ok()
			})
			run("their REQ dials our ROUTER, with heartbeats", func(t *testing.T) {
				cfg, events := watched(server)
				r := newRouter(t, cfg)
				p := f.run(t, asks("REQ", "connect", bind(t, r, w.endpoint(t)), append(w.toClient, "heartbeat=150")...)...)
				if minor := events.await(t, Up).Peer.Minor; minor != 1 {
					t.Errorf("libzmq speaks 3.%d, want 3.1", minor)
				}
				echo(t, r)
				p.ok()
				if e := events.await(t, Down); e.Err != nil {
					t.Errorf("down: %v", e.Err)
				}
			})
			run("our DEALER dials their ROUTER, with heartbeats", func(t *testing.T) {
				cfg := client
				cfg.Heartbeat = Heartbeat{Interval: 50 * time.Millisecond, Timeout: patience}
				d := newDealer(t, cfg)
				connect(t, d, f.run(t, append([]string{"echo", "ROUTER", "bind", wild(w.endpoint(t))}, w.toServer...)...).endpoint)
				ask(t, d)
				if !firstLink(d.socket).Alive(soon(t)) {
					t.Error("libzmq does not answer a PING")
				}
			})
			run("our DEALER dials their REP", func(t *testing.T) {
				d := newDealer(t, client)
				connect(t, d, f.run(t, append([]string{"echo", "REP", "bind", wild(w.endpoint(t))}, w.toServer...)...).endpoint)
				ask(t, d, nil)
			})
			run("their DEALER dials our DEALER", func(t *testing.T) {
				d := newDealer(t, server)
				f.run(t, append([]string{"echo", "DEALER", "connect", bind(t, d, w.endpoint(t))}, w.toClient...)...)
				ask(t, d)
			})
			run("their SUB dials our PUB", func(t *testing.T) {
				cfg, events := watched(server)
				pub := newPub(t, cfg)
				p := f.run(t, append([]string{"subscribe", "SUB", "connect", bind(t, pub, w.endpoint(t))}, w.toClient...)...)
				events.await(t, Subscribed)
				for i := range 60 {
					for _, topic := range []string{"a", "b"} {
						if err := pub.Send(fmt.Appendf(nil, "%s%d", topic, i), bodyOf(i)); err != nil {
							t.Fatal(err)
						}
					}
				}
				p.ok()
			})
			run("our SUB dials their PUB", func(t *testing.T) {
				sub := newSub(t, client)
				if err := sub.Subscribe("a"); err != nil {
					t.Fatal(err)
				}
				connect(t, sub, f.run(t, append([]string{"publish", "PUB", "bind", wild(w.endpoint(t))}, w.toServer...)...).endpoint)
				first := -1
				for i := range 30 {
					m := recv(t, sub)
					var n int
					if _, err := fmt.Sscan(string(m.Frames[1]), &n); err != nil {
						t.Fatal(err)
					}
					if first < 0 {
						first = n
					}
					if string(m.Frames[0]) != "a" || n != first+i || !bytes.Equal(m.Frames[2], bodyOf(n)) {
						t.Fatalf("published %q %d after %d", m.Frames[0], n, first)
					}
				}
			})
			run("their PUB is no peer of our DEALER", func(t *testing.T) {
				cfg := client
				if w.client == nil {
					cfg.Reconnect.First = time.Millisecond // which is not used
				}
				d := newDealer(t, cfg)
				p := f.run(t, append([]string{"publish", "PUB", "bind", wild(w.endpoint(t))}, w.toServer...)...)
				err := d.Connect(soon(t), p.endpoint)
				var types *TypeError
				if w.client != nil {
					// A CURVE server of libzmq closes before it says what it is.
					if err == nil || !strings.Contains(err.Error(), "the peer closed the connection during the handshake") {
						t.Errorf("Connect = %v", err)
					}
				} else if !errors.As(err, &types) || *types != (TypeError{TypeDealer, "PUB"}) {
					t.Errorf("Connect = %v, want that the types do not fit", err)
				}
			})
		}
	}
}

// wild is an endpoint as libzmq wants it where it chooses the port.
func wild(endpoint string) string { return strings.Replace(endpoint, ":0", ":*", 1) }

// curveRefuses: libzmq clients with a key that is not on the list, or with a wrong one of the
// server, do not come in; nor do we to a server that is another.
func (f foreign) curveRefuses(t *testing.T) {
	w, stranger := wires(t)[1], wires(t)[1]
	for _, tt := range []struct {
		name    string
		options []string
		want    string
	}{
		{"not on the list", append(append([]string{}, stranger.toClient[:2]...), w.toClient[2]), "is not on the list"},
		{"another server", stranger.toClient, "a box that does not open"},
		{"no CURVE", nil, "the peer closed the connection during the handshake"}, // as soon as it saw ours
	} {
		t.Run(f.name+"/"+tt.name, func(t *testing.T) {
			cfg, events := watched(SocketConfig{Config: Config{Security: w.server}})
			r := newRouter(t, cfg)
			f.run(t, append([]string{"ask", "DEALER", "connect", bind(t, r, w.endpoint(t))}, tt.options...)...)
			if e := events.await(t, Refused); e.Err == nil || !strings.Contains(e.Err.Error(), tt.want) {
				t.Errorf("refused: %v, want %q in it", e.Err, tt.want)
			}
		})
	}
	t.Run(f.name+"/we at another server", func(t *testing.T) {
		p := f.run(t, append([]string{"echo", "ROUTER", "bind", "tcp://127.0.0.1:*"}, w.toServer...)...)
		d := newDealer(t, SocketConfig{Config: Config{Security: stranger.client, Handshake: 500 * time.Millisecond}})
		if err := d.Connect(soon(t), p.endpoint); err == nil {
			t.Error("Connect to another server than the expected = nil")
		}
	})
}
