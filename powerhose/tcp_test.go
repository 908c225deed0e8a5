package powerhose

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"appbundle/internal/zmq"
	"appbundle/powerhose/internal/wire"
)

// A lab over TCP: the keys of a master, and of two peers that it admits.
type tcpLab struct {
	testing.TB
	dir  string
	keys *Keys // of the master
	log  logged
	m    *Master
}

// newTCPLab starts a master that admits the keys a and b.
func newTCPLab(tb testing.TB, cfg MasterConfig) *tcpLab {
	tb.Helper()
	l := &tcpLab{TB: tb, dir: shortDir(tb)}
	for _, name := range []string{"m", "a", "b", "c"} {
		newKey(tb, l.dir, name+".key")
	}
	l.keys = readKeys(tb, l.file("m.key"), l.file("a.key.pub"), l.file("b.key.pub"))
	if cfg.TCP == "" {
		cfg.TCP = "tcp://127.0.0.1:0"
	}
	cfg.Keys, cfg.Listen, cfg.Log = l.keys, l.file("m"), l.log.add
	l.m = newMaster(tb, cfg)
	return l
}

func (l *tcpLab) file(name string) string { return filepath.Join(l.dir, name) }

// peer has the keys of a peer of the master.
func (l *tcpLab) peer(name string) *Keys {
	return readKeys(l, l.file(name+".key"), l.file("m.key.pub"))
}

// echo answers a job with itself.
func echo(_ context.Context, j *Job) ([]byte, error) { return bytes.Clone(j.Body), nil }

// A served worker runs in this process.
type served struct {
	testing.TB
	stop context.CancelFunc
	end  chan error
	log  logged
}

// serve runs a worker until the end of the test.
func serve(tb testing.TB, w Worker, h Handler) *served {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &served{TB: tb, stop: cancel, end: make(chan error, 1)}
	w.Log = s.log.add
	go func() { s.end <- w.Serve(ctx, h) }()
	tb.Cleanup(func() {
		cancel()
		s.wait()
	})
	return s
}

// wait gives what the worker ended with.
func (s *served) wait() error {
	s.Helper()
	select {
	case err := <-s.end:
		s.end <- err
		return err
	case <-time.After(patience):
		s.Fatalf("the worker goes on: %s", &s.log)
		return nil
	}
}

func (l *tcpLab) worker(name, key string) Worker {
	return Worker{Master: l.m.TCPAddress(), Name: name, Socket: "tcp://127.0.0.1:0", Keys: l.peer(key)}
}

// connectKeys is a caller over TCP.
func (l *tcpLab) connect(key string) *JobRunner {
	l.Helper()
	r, err := ConnectKeys(l.m.TCPAddress(), l.peer(key))
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() {
		if err := r.Close(); err != nil {
			l.Errorf("Close: %v", err)
		}
	})
	return r
}

// Workers and callers over TCP and over Unix sockets have one master.
func TestTCP(t *testing.T) {
	leavesNothing(t)
	l := newTCPLab(t, MasterConfig{Window: 4, Short: time.Hour})
	far := l.worker("far", "a")
	far.Kinds = []string{"far"}
	serve(t, far, echo)
	serve(t, Worker{Master: l.m.Address(), Name: "near", Kinds: []string{"near"}}, echo)
	idle(t, l.m, 2)
	caller := l.connect("b")
	local := connect(t, l.m.Address())
	for _, n := range []int{0, 1, 100, 5000, 100_000, 3_000_000} {
		job := bytes.Repeat([]byte{byte(n)}, n)
		for _, e := range []executor{caller, local, l.m} {
			for _, kind := range []string{"far", "near"} {
				out, err := e.Execute(t.Context(), job, Call{Kind: kind, BusyWait: patience, Deadline: patience})
				if err != nil || !bytes.Equal(out, job) {
					t.Fatalf("%T, %s, %d bytes: %d bytes, %v", e, kind, n, len(out), err)
				}
			}
		}
	}
	s := l.m.Status()
	if s.TCP != l.m.TCPAddress() || len(s.Workers) != 2 || s.Callers != 2 {
		t.Fatalf("status %+v", s)
	}
	for _, w := range s.Workers {
		window, key, host := 4, "", ""
		if w.Name == "far" {
			window, key, host = 1, l.peer("a").Public()[:8], "127.0.0.1"
		}
		if w.Window != window || w.Key != key || hostOf(w.Address) != host {
			t.Errorf("status of %s: window %d, key %q, address %q; want %d, %q, %q", w.Name, w.Window, w.Key, w.Address, window, key, host)
		}
	}
	if want := fmt.Sprintf("worker %q (127.0.0.1, key %s…) registers", "far", l.peer("a").Public()[:8]); !strings.Contains(l.log.String(), want) {
		t.Errorf("the log is\n%s\nwant %s", &l.log, want)
	}
}

// TCP is for who has keys: what is missing is said before anything listens.
func TestTCPConfig(t *testing.T) {
	leavesNothing(t)
	dir := shortDir(t)
	one, _ := newKey(t, dir, "one")
	two, _ := newKey(t, dir, "two")
	keys, both := readKeys(t, one, two+".pub"), readKeys(t, one, one+".pub", two+".pub")
	const at = "tcp://127.0.0.1:0"
	for text, cfg := range map[string]MasterConfig{
		"tcp://127.0.0.1:0: over TCP everybody can ask; give the own key": {TCP: at},
		"keys are for a master that listens at tcp://":                    {Keys: keys},
		`"127.0.0.1:0" is not tcp://HOST:PORT`:                            {TCP: "127.0.0.1:0", Keys: keys},
		`"tcp://host" is not tcp://HOST:PORT`:                             {TCP: "tcp://host", Keys: keys},
		`"tcp://host:99999" is not tcp://HOST:PORT`:                       {TCP: "tcp://host:99999", Keys: keys},
	} {
		cfg.Listen = filepath.Join(dir, "run", "m")
		m, err := NewMaster(cfg)
		if err == nil {
			m.Close()
		}
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %s", err, text)
		}
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "run")); len(names) != 0 {
		t.Errorf("there is %q: the socket was bound before TCP was judged", names)
	}
	for text, w := range map[string]Worker{
		"over TCP everybody can ask; give the own key":                  {Master: "tcp://127.0.0.1:1", Socket: at},
		"keys are for a master at tcp://":                               {Master: dir + "/m", Keys: keys},
		"there are 2 public keys; that of the master alone is needed":   {Master: "tcp://127.0.0.1:1", Socket: at, Keys: both},
		"master " + dir + "/m and socket tcp://127.0.0.1:0: both are":   {Master: dir + "/m", Socket: at},
		"master tcp://127.0.0.1:1 and socket /w: both are":              {Master: "tcp://127.0.0.1:1", Socket: "/w", Keys: keys},
		"a worker over TCP needs a socket over TCP; give tcp://HOST:0":  {Master: "tcp://127.0.0.1:1", Keys: keys},
		"give the address and the port of the master":                   {Master: "tcp://*:1", Socket: at, Keys: keys},
		"tcp://h:0: give the address and the port of the master":        {Master: "tcp://h:0", Socket: at, Keys: keys},
		"socket tcp://*:7: the master cannot connect to every address":  {Master: "tcp://127.0.0.1:1", Socket: "tcp://*:7", Keys: keys},
		"socket tcp://0.0.0.0:7: the master cannot connect to every":    {Master: "tcp://127.0.0.1:1", Socket: "tcp://0.0.0.0:7", Keys: keys},
		"socket tcp://[::]:7: the master cannot connect to every":       {Master: "tcp://127.0.0.1:1", Socket: "tcp://[::]:7", Keys: keys},
		"socket tcp://:7: the master cannot connect to every":           {Master: "tcp://127.0.0.1:1", Socket: "tcp://:7", Keys: keys},
		"give the port that leads to tcp://*:9":                         {Master: "tcp://127.0.0.1:1", Socket: at, Listen: "tcp://*:9", Keys: keys},
		`listen: address "*:9" is not tcp://`:                           {Master: "tcp://127.0.0.1:1", Socket: "tcp://127.0.0.1:7", Listen: "*:9", Keys: keys},
		"listen tcp://*:9: it is for a socket over TCP":                 {Master: dir + "/m", Listen: "tcp://*:9"},
		`names and kinds are letters`:                                   {Master: "tcp://127.0.0.1:1", Socket: at, Name: "with space", Keys: keys},
		"socket tcp://no such host:0: lookup no such host":              {Master: "tcp://127.0.0.1:1", Socket: "tcp://no such host:0", Keys: keys},
		"tcp://192.0.2.1:0: cannot assign requested address":            {Master: "tcp://127.0.0.1:1", Socket: "tcp://192.0.2.1:0", Keys: keys},
		`socket: address "tcp://127.0.0.1:http" is not tcp://HOST:PORT`: {Master: "tcp://127.0.0.1:1", Socket: "tcp://127.0.0.1:http", Keys: keys},
	} {
		if err := w.Serve(t.Context(), nil); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %s", err, text)
		}
	}
	if _, err := Connect("tcp://127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "over TCP everybody can ask") {
		t.Errorf("Connect without keys = %v", err)
	}
	if _, err := ReadStatus(t.Context(), "tcp://127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "over TCP a master does not tell its status") {
		t.Errorf("ReadStatus = %v", err)
	}
	// A port that is taken leaves nothing of the master.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, err = NewMaster(MasterConfig{Listen: filepath.Join(dir, "m"), TCP: tcpScheme + ln.Addr().String(), Keys: keys})
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("NewMaster = %v", err)
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "m")); len(names) != 0 {
		t.Error("its Unix socket is left")
	}
}

// A worker names a socket at the address from which it comes.
func TestTCPSocket(t *testing.T) {
	for _, test := range []struct{ socket, from, want, err string }{
		{"tcp://10.0.0.2:7", "10.0.0.2:555", "tcp://10.0.0.2:7", ""},
		{"tcp://[::ffff:10.0.0.2]:7", "10.0.0.2:555", "tcp://10.0.0.2:7", ""},
		{"tcp://[fd00::2]:7", "[fd00::2]:555", "tcp://[fd00::2]:7", ""},
		{"tcp://[fe80::2]:7", "[fe80::2%eth0]:555", "tcp://[fe80::2%eth0]:7", ""},
		{"tcp://10.0.0.2:7", "127.0.0.1:555", "tcp://10.0.0.2:7", ""}, // a tunnel
		{"tcp://127.0.0.3:7", "127.0.0.1:555", "tcp://127.0.0.3:7", ""},
		{"tcp://10.0.0.3:7", "10.0.0.2:555", "", "socket tcp://10.0.0.3:7 is at another address than the worker, which comes from 10.0.0.2"},
		{"tcp://127.0.0.1:7", "10.0.0.2:555", "", "is at another address"},
		{"tcp://[::1]:7", "10.0.0.2:555", "", "is at another address"},
		{"tcp://0.0.0.0:7", "10.0.0.2:555", "", "is at another address"},
		{"tcp://[fe80::2%eth0]:7", "[fe80::2%eth0]:555", "", "with an IP address and a port"},
		{"tcp://localhost:7", "127.0.0.1:555", "", "with an IP address and a port"},
		{"tcp://10.0.0.2:0", "10.0.0.2:555", "", "with an IP address and a port"},
		{"tcp://10.0.0.2", "10.0.0.2:555", "", "with an IP address and a port"},
		{"/run/w.sock", "10.0.0.2:555", "", "as that of a worker over TCP has to be"},
		{"10.0.0.2:7", "10.0.0.2:555", "", "as that of a worker over TCP has to be"},
	} {
		got, err := checkTCPSocket(test.socket, test.from)
		if got != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("checkTCPSocket(%s, %s) = %q, %v; want %q, %s", test.socket, test.from, got, err, test.want, test.err)
		}
	}
}

// Who has no key, another one, or another one of the master, is told so, and so
// is the log of the master.
func TestTCPStrangers(t *testing.T) {
	l := newTCPLab(t, MasterConfig{Handshake: 500 * time.Millisecond})
	// The log has one line of a kind a second of each address.
	refused := func(what string, try func() error, want, log string) {
		t.Helper()
		until(t, what+" in the log: "+log, func() bool {
			err := try()
			if err == nil {
				t.Fatalf("%s: a result", what)
			}
			return strings.Contains(err.Error(), want) && strings.Contains(l.log.String(), log)
		})
	}
	call := func(keys *Keys) func() error {
		return func() error {
			r, err := ConnectKeys(l.m.TCPAddress(), keys)
			if err != nil {
				return err
			}
			defer r.Close()
			_, err = r.Execute(t.Context(), nil, Call{BusyWait: 200 * time.Millisecond})
			if !errors.Is(err, ErrNoMaster) {
				t.Errorf("%v is not ErrNoMaster", err)
			}
			return err
		}
	}
	stranger := l.peer("c")
	refused("a key that is not admitted", call(stranger), "client key "+stranger.Public()+" is not on the list",
		"a connection of 127.0.0.1 is refused: not admitted: client key "+stranger.Public()+" is not on the list")
	refused("another key of the master", call(readKeys(t, l.file("a.key"), l.file("b.key.pub"))), "its key may be another than the one that we have of it",
		"a connection of 127.0.0.1 is refused: the peer sent a box that does not open: a wrong key")

	// NULL, and what is no ZMTP, and nothing.
	for i, stranger := range []struct{ sent, log string }{
		{string(greeting("NULL")), `the peer sent mechanism "NULL"; here it is CURVE`},
		{"GET / HTTP/1.1\r\n\r\n", "the peer sent 0x47 where a greeting begins: it does not speak ZMTP 3"},
		{string(greeting("CURVE")), "no handshake within 500ms"},
		{string(greeting("CURVE")[:9]), "no handshake within 500ms"},
	} {
		from := fmt.Sprintf("127.0.0.%d", 10+i)
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		nc, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(l.m.TCPAddress(), tcpScheme))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := io.WriteString(nc, stranger.sent); err != nil {
			t.Fatal(err)
		}
		log := "a connection of " + from + " is refused: " + stranger.log
		until(t, "in the log: "+log, func() bool { return strings.Contains(l.log.String(), log) })
		hungUp(t, nc)
	}

	// Nor does a worker let in others than its master.
	serve(t, l.worker("w", "a"), echo)
	idle(t, l.m, 1)
	do(t, l.m, "x", Call{BusyWait: patience, Deadline: patience})
}

// hungUp waits until the other end closes a connection.
func hungUp(tb testing.TB, nc net.Conn) {
	tb.Helper()
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		tb.Fatal(err)
	}
	_, err := io.Copy(io.Discard, nc)
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		tb.Fatalf("the connection of %s goes on", nc.LocalAddr())
	}
}

// While strangers fill the queue of handshakes, those who have a key come
// through.
func TestTCPCrowd(t *testing.T) {
	l := newTCPLab(t, MasterConfig{Handshake: time.Second})
	var crowd []net.Conn
	for i := range 200 {
		nc, err := net.Dial("tcp", strings.TrimPrefix(l.m.TCPAddress(), tcpScheme))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		crowd = append(crowd, nc)
		if i%2 == 0 {
			if _, err := nc.Write(greeting("CURVE")[:1+i%64]); err != nil {
				t.Fatal(err)
			}
		}
	}
	serve(t, l.worker("w", "a"), echo)
	idle(t, l.m, 1)
	do(t, l.connect("b"), "x", Call{BusyWait: patience, Deadline: patience})
	// The crowd is gone after the time of a handshake, also one of which a byte
	// comes at a time.
	slow, err := net.Dial("tcp", strings.TrimPrefix(l.m.TCPAddress(), tcpScheme))
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i, b := range greeting("CURVE") {
		if _, err := slow.Write([]byte{b}); err != nil {
			break
		}
		if i == 40 {
			t.Fatal("a handshake of 4 s is waited for")
		}
		<-tick.C
	}
	for _, nc := range crowd {
		hungUp(t, nc)
	}
	do(t, l.connect("b"), "y", Call{BusyWait: patience, Deadline: patience})
}

// A worker has its own socket: one that names that of another gets nothing, and
// the other goes on.
func TestTCPImpostor(t *testing.T) {
	l := newTCPLab(t, MasterConfig{})
	victim := l.worker("victim", "a")
	victim.Kinds = []string{"secret"}
	serve(t, victim, echo)
	idle(t, l.m, 1)
	var socket string
	l.m.mu.Lock()
	for _, p := range l.m.workers {
		var h wire.Head
		if err := wire.Decode(p.hello, &h); err != nil {
			t.Error(err)
		}
		socket = string(h.Socket)
	}
	l.m.mu.Unlock()

	thief := l.worker("thief", "b")
	thief.Socket, thief.Listen = socket, "tcp://127.0.0.1:0"
	s := serve(t, thief, func(context.Context, *Job) ([]byte, error) {
		t.Error("the thief has a job")
		return nil, nil
	})
	until(t, "the thief is refused", func() bool {
		return strings.Contains(s.log.String(), "the worker is refused: the master does not reach it at "+socket)
	})
	if !strings.Contains(l.log.String(), `worker "thief" (127.0.0.1, key `) {
		t.Errorf("the log is %s", &l.log)
	}
	if got := do(t, l.m, "x", Call{Kind: "secret", BusyWait: patience, Deadline: patience}); got != "x" {
		t.Errorf("the victim answers %q", got)
	}
}

// The socket of a worker is of the kind of its link to the master.
func TestTCPBadSocket(t *testing.T) {
	l := newTCPLab(t, MasterConfig{})
	r := rawDial(t, l.m.Address())
	r.send(hello("unix", "tcp://127.0.0.1:7"), "")
	if h, _ := r.want(wire.Refused); h.Code != wire.BadSocket || string(h.Text) != "the socket of a worker over a Unix socket is a path" {
		t.Errorf("REFUSED %d %q", h.Code, h.Text)
	}
	keys := l.peer("a")
	for _, socket := range []string{l.file("w.sock"), "tcp://localhost:7"} {
		link, err := zmq.Dial(t.Context(), l.m.TCPAddress(), zmq.Config{
			Type: zmq.TypeDealer, Security: &zmq.CurveClient{Secret: keys.secret, Server: keys.admitted[0]},
		})
		if err != nil {
			t.Fatal(err)
		}
		h := hello("tcp", socket)
		if err := sendHead(link, &h); err != nil {
			t.Fatal(err)
		}
		var got wire.Head
		if err := link.Serve(func(m *zmq.Message) {
			defer m.Release()
			_, err = decode(m, &got)
			link.Close()
		}); err != nil {
			t.Fatal(err)
		}
		if err != nil || got.Type != wire.Refused || got.Code != wire.BadSocket {
			t.Errorf("%s: %s %d, %v", socket, got.Type, got.Code, err)
		}
	}
}

// A worker that can be reached nowhere is told where the master has tried.
func TestTCPUnreachable(t *testing.T) {
	l := newTCPLab(t, MasterConfig{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := l.worker("w", "a")
	w.Socket, w.Listen = tcpScheme+ln.Addr().String(), "tcp://127.0.0.1:0"
	ln.Close() // nobody listens there
	s := serve(t, w, echo)
	until(t, "the worker knows", func() bool {
		return strings.Contains(s.log.String(), "the master does not reach it at "+w.Socket+": connection refused; trying again")
	})
}

// Who is taken off the list is closed at once; others go on.
func TestTCPReadmit(t *testing.T) {
	l := newTCPLab(t, MasterConfig{})
	off := serve(t, l.worker("off", "a"), echo)
	idle(t, l.m, 1)
	on := l.worker("on", "b")
	on.Kinds = []string{"on"}
	serve(t, on, echo)
	idle(t, l.m, 2)
	caller := l.connect("a")
	do(t, caller, "x", Call{Kind: "on", BusyWait: patience, Deadline: patience})
	before := l.m.Status().Calls.Results

	fewer := readKeys(t, l.file("m.key"), l.file("b.key.pub"), l.file("c.key.pub"))
	if err := l.m.Readmit(fewer); err != nil {
		t.Fatal(err)
	}
	err := off.wait()
	var lost *MasterError
	if !errors.As(err, &lost) || !strings.Contains(err.Error(), notAdmitted) {
		t.Errorf("the worker ends with %v", err)
	}
	_, err = caller.Execute(t.Context(), nil, Call{Kind: "on", BusyWait: 100 * time.Millisecond})
	if err == nil {
		t.Error("the caller is served")
	}
	idle(t, l.m, 1)
	if got := l.m.Status().Calls.Results; got != before {
		t.Errorf("%d results, want %d as before", got, before)
	}
	do(t, l.connect("c"), "y", Call{Kind: "on", BusyWait: patience, Deadline: patience})

	for text, keys := range map[string]*Keys{"the own key of the master is another": readKeys(t, l.file("c.key"), l.file("b.key.pub")), "changes with a new start": nil} {
		if err := l.m.Readmit(keys); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("Readmit = %v, want %s", err, text)
		}
	}
	if err := newMaster(t, MasterConfig{}).Readmit(fewer); err == nil {
		t.Error("a master without TCP takes keys")
	}
}

// A key that is taken off the list between the handshake and the registration
// does not register.
func TestTCPReadmitBetween(t *testing.T) {
	l := newTCPLab(t, MasterConfig{})
	keys := l.peer("a")
	link, err := zmq.Dial(t.Context(), l.m.TCPAddress(), zmq.Config{
		Type: zmq.TypeDealer, Security: &zmq.CurveClient{Secret: keys.secret, Server: keys.admitted[0]},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.m.Readmit(readKeys(t, l.file("m.key"), l.file("b.key.pub"))); err != nil {
		t.Fatal(err)
	}
	h := wire.Head{Type: wire.Hello, PID: own(), Lowest: 1, Highest: 1}
	h.Incarnation[0] = 1
	if err := sendHead(link, &h); err != nil {
		t.Fatal(err)
	}
	var got wire.Head
	_ = link.Serve(func(m *zmq.Message) {
		defer m.Release()
		_, err = decode(m, &got)
		link.Close()
	})
	if err != nil || got.Type != wire.Refused || got.Code != wire.BadCredentials {
		t.Errorf("%s %d, %v", got.Type, got.Code, err)
	}
}

// What a peer says that was refused counts no more.
func TestRefusedTalksOn(t *testing.T) {
	leavesNothing(t)
	m := newMaster(t, MasterConfig{})
	socket := filepath.Join(filepath.Dir(m.Address()), "w.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	r := rawDial(t, m.Address())
	r.write(append(messageOf(t, wire.Head{Type: wire.Ping, Number: 1}, ""), messageOf(t, hello("w", socket), "")...))
	if code := r.ends(); code != wire.Malformed {
		t.Errorf("refused with code %d, want %d", code, wire.Malformed)
	}
	// A worker that registers after it is known when it was read.
	serve(t, Worker{Master: m.Address(), Name: "other"}, echo)
	idle(t, m, 1)
	if n := m.Status().Events.Registered; n != 1 {
		t.Errorf("%d workers have registered, want 1", n)
	}
}
