package powerhose

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"appbundle/internal/zmq"
	"appbundle/powerhose/internal/wire"
)

// A Handler does a job: what it returns is the result, or why there is none. The
// context ends when nobody waits for the result any more. An error that wraps
// [ErrRejected] says that the worker does not take such a job. What the handler
// panics with is the error of the job; the worker goes on.
type Handler func(ctx context.Context, job *Job) ([]byte, error)

// A MasterError says that a worker has no master any more: nobody answers, or
// the master does not want the worker.
type MasterError struct {
	Address string
	Err     error
}

func (e *MasterError) Error() string { return fmt.Sprintf("master %s: %v", e.Address, e.Err) }
func (e *MasterError) Unwrap() error { return e.Err }

// An abandoned is what a handler returns that has lost the job.
type abandoned struct{ err error }

func (e *abandoned) Error() string { return e.err.Error() }
func (e *abandoned) Unwrap() error { return e.err }

// Abandon makes an error with which a handler ends its worker as if the process
// had died: the job is lost and has no answer, and Serve returns err.
func Abandon(err error) error { return &abandoned{err} }

// A Worker does jobs for a master, one at a time.
type Worker struct {
	Master string // address of the master: a path, or tcp://HOST:PORT
	// Name of the worker, which no other of the master may have: letters, digits
	// and . _ + -. Empty is that of the program and the number of the process.
	Name string
	// Socket is the path of the worker's own socket; empty is NAME.sock beside that
	// of the master. For a master over TCP it is tcp://HOST:PORT, at which the master
	// reaches this worker, from an address of which it sees the worker come; port 0 is
	// one that is free.
	Socket string
	// Listen is where it listens, if that is not Socket: tcp://HOST:PORT behind a
	// translation of addresses, where * is every address of the host.
	Listen string
	Keys   *Keys    // over TCP: the own key, and that of the master alone
	Kinds  []string // that it takes; none is all of them
	Window int      // jobs that it may hold; 0 means 4

	// Limits after which the worker ends, to be replaced. It does so between two
	// jobs, and loses none. 0 is no limit.
	MaxJobs int
	MaxAge  time.Duration // shorter by up to a tenth at random, so that not all end at once
	MaxRSS  int64         // bytes of resident memory
	// Weigh gives the bytes for MaxRSS; nil is those of this process.
	Weigh func() int64

	MaxBody int64    // of a result; 0 is what the master says
	Admit   []uint32 // users whose process may be the master, beside our own
	Notify  string   // NOTIFY_SOCKET of the environment: it is told READY=1, BUSY=n/100 and, before Serve returns nil and ctx has not ended, STOPPING=1
	Log     func(line string)
}

// Serve does jobs for the master at an address, until ctx ends.
func Serve(ctx context.Context, address string, h Handler) error {
	return (&Worker{Master: address}).Serve(ctx, h)
}

// Serve does jobs until ctx ends, a limit is reached or the master asks the
// worker to end: then it gives back what it has not started, and the error is
// nil. A master that is lost is looked for again, ten times in some 13 s; a
// [*MasterError] says that it was not found, or that it refuses the worker.
func (w *Worker) Serve(ctx context.Context, h Handler) error {
	s, err := newServer(w, h)
	if err != nil {
		return err
	}
	return s.run(ctx)
}

const (
	// reconnects is how often a master is looked for.
	reconnects = 10
	// attachTime is how long the master may take for each step of a registration.
	attachTime = 2 * time.Second
)

// permanent are the refusals after which trying again is in vain.
var permanent = map[wire.Code]bool{wire.BadVersion: true, wire.BadSocket: true, wire.BadCredentials: true, wire.Malformed: true, wire.Broken: true}

// A server is a worker that runs.
type server struct {
	w           *Worker
	handler     Handler
	master      remote
	hello       []byte
	incarnation [16]byte
	listener    *zmq.Listener
	accepting   sync.WaitGroup
	wake        chan struct{} // holds one: look again
	begin       time.Time
	maxAge      time.Duration
	notify      *notifier

	mu      sync.Mutex
	session *session // the present one
	leaving wire.Code
	done    int // jobs
	checked time.Time
}

func newServer(w *Worker, h Handler) (_ *server, err error) {
	master, err := remoteOf(w.Master, w.Keys)
	if err != nil {
		return nil, err
	}
	name := w.Name
	if name == "" {
		name = fmt.Sprintf("%s-%d", safeName(filepath.Base(os.Args[0])), os.Getpid())
	}
	s := &server{w: w, handler: h, master: master, wake: make(chan struct{}, 1), begin: time.Now(), maxAge: math.MaxInt64}
	if w.MaxAge > 0 {
		s.maxAge = w.MaxAge - mathrand.N(w.MaxAge/10+1)
	}
	if _, err := rand.Read(s.incarnation[:]); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil && s.listener != nil {
			s.listener.Close()
		}
	}()
	path, err := s.place(name)
	if err != nil {
		return nil, err
	}
	window := w.Window
	defaults(&window, 4)
	hello := wire.Head{
		Type: wire.Hello, PID: own(), Incarnation: s.incarnation, Lowest: wire.Version, Highest: wire.Version, Window: uint8(min(max(window, 0), 255)),
		Name: []byte(name), Socket: []byte(path), Language: []byte(language()), Library: []byte("appbundle"),
	}
	for _, k := range w.Kinds {
		hello.Kinds = hello.Kinds.Add(k)
	}
	if s.hello, err = hello.Append(nil); err != nil {
		switch {
		case window < 1 || window > wire.MaxWindow:
			return nil, fmt.Errorf("window is %d; it can be 1 to %d", window, wire.MaxWindow)
		default:
			return nil, fmt.Errorf("worker %q with kinds %q: names and kinds are letters, digits and . _ + -, at most %d and %d; at most %d kinds: %w",
				name, w.Kinds, wire.MaxName, wire.MaxKind, wire.MaxKinds, err)
		}
	}
	if s.listener != nil {
		return s, nil
	}
	if err := ownDirectory(path); err != nil {
		return nil, err
	}
	if s.listener, err = zmq.Listen("ipc://"+path, 0o600); err != nil {
		return nil, err
	}
	return s, nil
}

// place is the socket that the master is told. Over TCP it is bound, for the port
// is known by that alone.
func (s *server) place(name string) (string, error) {
	w := s.w
	switch {
	case s.master.keys != nil && w.Socket == "":
		return "", fmt.Errorf("master %s: a worker over TCP needs a socket over TCP; give tcp://HOST:0, with the address at which the master reaches this worker", w.Master)
	case isTCP(w.Socket) != (s.master.keys != nil):
		return "", fmt.Errorf("master %s and socket %s: both are over TCP, or none", w.Master, w.Socket)
	case s.master.keys != nil:
		ln, socket, err := w.listenTCP()
		s.listener = ln
		return socket, err
	case w.Listen != "":
		return "", fmt.Errorf("listen %s: it is for a socket over TCP", w.Listen)
	case w.Socket != "":
		return placeOf(w.Socket)
	}
	return placeOf(filepath.Join(filepath.Dir(s.master.name), name+".sock"))
}

// safeName leaves what a name can have.
func safeName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._+-", r) {
			return r
		}
		return '-'
	}, s)
	return s[:min(len(s), 32)]
}

// language is ours, as HELLO has it.
func language() string {
	v := safeName("go-" + strings.TrimPrefix(runtime.Version(), "go"))
	return v[:min(len(v), wire.MaxLanguage)]
}

func (s *server) log(format string, args ...any) {
	if s.w.Log != nil {
		s.w.Log(fmt.Sprintf(format, args...))
	}
}

func (s *server) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run serves masters, one after another, until there is a reason to end.
func (s *server) run(ctx context.Context) error {
	body := s.w.MaxBody
	if body == 0 {
		body = maxBody // what comes the master has judged; it is ours to trust, or not to serve
	}
	cfg := links(zmq.TypeRouter, body, 1, s.w.Admit)
	dial := s.master.dial(cfg)
	dial.Type = zmq.TypeDealer
	cfg = s.master.listen(cfg)
	listening, unlisten := context.WithCancel(context.WithoutCancel(ctx))
	s.accepting.Go(func() { _ = s.listener.Serve(listening, cfg, s.accept) })
	s.notify = notify(s.w.Notify)
	defer func() {
		unlisten()
		s.listener.Close()
		s.accepting.Wait()
		s.notify.close()
	}()
	// A wish to end is heard while a job runs too.
	stop := context.AfterFunc(ctx, func() { s.leave(wire.Stop) })
	defer stop()
	err := s.serveMasters(ctx, dial)
	if err == nil && ctx.Err() == nil { // a limit, or the master: somebody is to replace us
		s.notify.stopping()
	}
	return err
}

// serveMasters is run without what stays from master to master.
func (s *server) serveMasters(ctx context.Context, dial zmq.Config) error {
	for try := 1; ; try++ {
		if ctx.Err() != nil {
			return nil
		}
		held, err := s.serve(ctx, dial)
		var lost *MasterError
		if !errors.As(err, &lost) {
			return err
		}
		s.mu.Lock()
		leaving := s.leaving != 0
		s.mu.Unlock()
		if leaving {
			return nil
		}
		if held {
			try = 0
		}
		var no *refusedError
		if errors.As(err, &no) {
			if permanent[no.code] {
				return err
			}
			if no.code == wire.TooFast {
				try--
			}
		}
		if try >= reconnects {
			return err
		}
		s.log("%v; trying again", err)
		if !s.pause(ctx, backoff(max(try, 1))) {
			return nil
		}
	}
}

// backoff is how long to wait before the next of several tries.
func backoff(try int) time.Duration {
	d := min(100*time.Millisecond<<min(try-1, 10), 2*time.Second)
	return d - mathrand.N(d/5+1)
}

func (s *server) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// A refusedError is what the master says in REFUSED.
type refusedError struct {
	code wire.Code
	text string
}

func (e *refusedError) Error() string {
	if e.text != "" {
		return "the worker is refused: " + e.text
	}
	return fmt.Sprintf("the worker is refused with code %d", e.code)
}

// What there is to say of a master that is lost without REFUSED.
var (
	errEnded = errors.New("the link has ended")
	errBye   = errors.New("it is ending")
)

// serve registers, and does jobs until the end of the registration. Held says
// that it lasted for a ping period. The error is nil if the worker is to end, and
// a *MasterError if the master is lost.
func (s *server) serve(ctx context.Context, cfg zmq.Config) (held bool, err error) {
	lost := func(err error) error { return &MasterError{s.master.name, err} }
	reg, err := zmq.Dial(ctx, s.master.endpoint, cfg)
	if err != nil {
		if ctx.Err() != nil {
			return false, nil
		}
		return false, lost(err)
	}
	n := &session{s: s, reg: reg, answered: make(chan struct{}), watch: make(chan struct{}, 1), heard: time.Now()}
	s.mu.Lock()
	s.session = n
	s.mu.Unlock()
	n.links.Go(func() {
		_ = reg.Serve(n.registration)
		s.mu.Lock()
		defer s.mu.Unlock()
		n.end()
	})
	defer func() {
		s.mu.Lock()
		n.end()
		s.session = nil
		s.mu.Unlock()
		close(n.watch)
		n.links.Wait()
	}()
	n.links.Go(n.watchJobs)
	if err := reg.TrySend(s.hello); err != nil {
		return false, lost(err)
	}
	began := time.Now()
	attach := time.NewTimer(attachTime)
	defer attach.Stop()
	ping := time.NewTimer(time.Hour)
	defer ping.Stop()
	pinging := false
	period := time.Duration(0)
	pings := uint64(0)
	for {
		s.mu.Lock()
		if n.attached && !pinging {
			pinging = true
			attach.Stop()
			period = max(time.Duration(n.welcome.Period)*time.Millisecond, time.Millisecond)
			ping.Reset(period)
			s.notify.ready()
			s.log("registered with the master at %s", s.master.name)
		}
		if n.over && n.running != nil {
			s.mu.Unlock()
			<-s.wake // what runs is finished
			continue
		}
		if n.failed != nil {
			s.mu.Unlock()
			return true, n.failed
		}
		if n.over {
			refused, text := n.refused, n.text
			bye, left := n.bye, n.left && n.bye
			s.mu.Unlock()
			held := period > 0 && time.Since(began) >= period
			switch {
			case left:
				return held, nil
			case ctx.Err() != nil:
				return held, nil
			case refused.Type != 0:
				return held, lost(&refusedError{refused.Code, text})
			case bye:
				return held, lost(errBye)
			}
			return held, lost(errEnded)
		}
		if s.leaving != 0 && n.attached {
			n.leave()
			if n.running == nil && len(n.jobs) == 0 {
				n.send(&wire.Head{Type: wire.Bye, Code: s.leaving}, nil)
				s.mu.Unlock()
				s.farewell(n)
				return true, nil
			}
		} else if s.leaving != 0 && !n.attached {
			s.mu.Unlock()
			return true, nil // there is nothing to give back
		}
		s.mu.Unlock()
		select {
		case <-s.wake:
		case <-attach.C:
			return false, lost(fmt.Errorf("it did not answer within %v", attachTime))
		case <-ping.C:
			s.mu.Lock()
			busy, silence := n.running != nil, time.Since(n.heard)
			s.mu.Unlock()
			if busy {
				silence = 0 // it owes no sign of life to a worker that gives none
			}
			if silence >= period*time.Duration(n.welcome.Tries) {
				return true, lost(fmt.Errorf("it is silent for %v", silence.Round(time.Millisecond)))
			}
			ping.Reset(period)
			if busy {
				continue
			}
			s.check(time.Now(), 0)
			pings++
			_ = sendHead(reg, &wire.Head{Type: wire.Ping, Number: pings})
		}
	}
}

// farewell waits for the answer to BYE.
func (s *server) farewell(n *session) {
	t := time.NewTimer(attachTime)
	defer t.Stop()
	for {
		s.mu.Lock()
		over := n.over
		s.mu.Unlock()
		if over {
			return
		}
		select {
		case <-s.wake:
		case <-t.C:
			return
		}
	}
}

// check notes jobs that were done, and ends the worker that has reached a limit.
func (s *server) check(now time.Time, jobs int) {
	s.mu.Lock()
	s.done += jobs
	done := s.done
	weigh := s.w.MaxRSS > 0 && now.Sub(s.checked) >= weighing
	if weigh {
		s.checked = now
	}
	s.mu.Unlock()
	switch {
	case s.w.MaxJobs > 0 && done >= s.w.MaxJobs:
		s.leave(wire.MaxJobs)
	case now.Sub(s.begin) >= s.maxAge:
		s.leave(wire.MaxAge)
	case weigh && s.weigh() > s.w.MaxRSS:
		s.leave(wire.MaxRSS)
	}
}

// weighing is how often the memory of the process is looked at.
const weighing = 100 * time.Millisecond

func (s *server) weigh() int64 {
	if s.w.Weigh != nil {
		return s.w.Weigh()
	}
	return ResidentBytes(os.Getpid())
}

// ResidentBytes is the resident memory of a process, or 0 where that cannot be
// known.
func ResidentBytes(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	fields := bytes.Fields(b)
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize())
}
