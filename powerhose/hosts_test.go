package powerhose

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A master and its workers are on two hosts, with a network between them that
// delays, breaks connections and is cut for ten seconds. Every call has one answer,
// and the right one; no job is started twice that must not be; and afterwards all is
// as it was.
//
// The hosts are two network namespaces. Where they are not possible they are two
// loopback addresses, over which the cable itself cannot be pulled; the log says so.
func TestHosts(t *testing.T) {
	if os.Getenv("POWERHOSE_TEST_NEAR") != "" {
		near(t)
		return
	}
	var out []byte
	var err error
	for _, flags := range []uintptr{syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET, syscall.CLONE_NEWNET, 0} {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestHosts$", "-test.v")
		cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", fmt.Sprintf("POWERHOSE_TEST_NEAR=%t", flags != 0))
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: flags}
		if flags&syscall.CLONE_NEWUSER != 0 {
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
		runtime.LockOSThread() // Pdeathsig is of the thread
		out, err = cmd.CombinedOutput()
		runtime.UnlockOSThread()
		var ended *exec.ExitError
		if err == nil || errors.As(err, &ended) {
			break
		}
		t.Logf("namespaces %#x are not possible: %v", flags, err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// A farConfig tells the process on the other host what to do.
type farConfig struct {
	Dir     string
	Host    string    // its own
	Device  string    // empty is none
	Master  [2]string // directly, and through the bad network
	Sockets []string  // of workers behind the bad network
}

// A farState is what it tells.
type farState struct {
	Ports map[string]int  // of workers behind the bad network
	OK    [farCallers]int // results of each caller
}

const (
	farCallers = 3
	// The bad network.
	slowness = 25 * time.Millisecond
	cut      = 10 * time.Second
)

// near is the host of the master.
func near(t *testing.T) {
	nearHost, farHost := "127.0.0.2", "127.0.0.3"
	device := ""
	flags := uintptr(0)
	if os.Getenv("POWERHOSE_TEST_NEAR") == "true" {
		if err := setDevice("lo", "", true); err != nil {
			t.Fatal(err)
		}
		flags = syscall.CLONE_NEWNET
	}
	dir := shortDir(t)
	for _, name := range []string{"m", "w", "c"} {
		newKey(t, dir, name)
	}
	keys := readKeys(t, filepath.Join(dir, "m"), filepath.Join(dir, "w.pub"), filepath.Join(dir, "c.pub"))
	if err := os.WriteFile(filepath.Join(dir, "ledger"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// The process waits for its configuration, so that its network can be made.
	config := filepath.Join(dir, "config")
	if flags != 0 {
		if err := tryVeth(); err != nil {
			t.Logf("a pair of devices is not possible: %v", err)
			flags = 0
		}
	}
	far := startIn(t, flags, "POWERHOSE_TEST_FAR="+config)
	if flags != 0 {
		nearHost, farHost, device = "10.77.0.1", "10.77.0.2", "far0"
		if err := newVeth("near0", device, far.Process.Pid); err != nil {
			t.Fatal(err)
		}
		if err := setDevice("near0", nearHost, true); err != nil {
			t.Fatal(err)
		}
		t.Logf("master at %s, workers and callers at %s in another network namespace", nearHost, farHost)
	} else {
		t.Logf("no network namespaces: master at %s, workers and callers at %s, on one loopback device; the cable is not pulled", nearHost, farHost)
	}

	var log logged
	m := newMaster(t, MasterConfig{
		Listen: filepath.Join(dir, "run", "m"), TCP: tcpScheme + net.JoinHostPort(nearHost, "0"), Keys: keys, Log: log.add,
		Period: time.Second, Tries: 3,
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of the master:\n%s", &log)
		}
	})
	direct := strings.TrimPrefix(m.TCPAddress(), tcpScheme)
	front := newProxy(t, nearHost, direct, slowness)
	proxies := []*proxy{front}
	fc := farConfig{Dir: dir, Host: farHost, Device: device, Master: [2]string{m.TCPAddress(), tcpScheme + front.address()}}
	for range 2 {
		p := newProxy(t, nearHost, "", slowness)
		proxies = append(proxies, p)
		fc.Sockets = append(fc.Sockets, tcpScheme+p.address())
	}
	b, err := json.Marshal(fc)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, b, 0o600); err != nil {
		t.Fatal(err)
	}
	tell := func(line string) {
		t.Helper()
		if _, err := fmt.Fprintln(far.in, line); err != nil {
			t.Fatal(err)
		}
	}
	tell("begin")
	state := func() (s farState) {
		select {
		case <-far.exited:
			t.Fatalf("the other host has ended: %s", far.log.String())
		default:
		}
		nc, err := net.Dial("unix", filepath.Join(dir, "far"))
		if err != nil {
			return s
		}
		defer nc.Close()
		_ = json.NewDecoder(nc).Decode(&s)
		for name, port := range s.Ports {
			for i, socket := range fc.Sockets {
				if socket == name {
					proxies[1+i].aim(net.JoinHostPort(farHost, fmt.Sprint(port)))
				}
			}
		}
		return s
	}

	// Our own caller, beside those over there.
	local := &caller{name: "near"}
	stop, quit := context.WithCancel(context.Background())
	defer quit()
	var calling sync.WaitGroup
	calling.Go(func() { local.run(stop, m) })

	// more waits until every caller has n more results, and all workers are there.
	more := func(what string, n int) {
		t.Helper()
		begin, own := state().OK, local.ok.Load()
		until(t, what, func() bool {
			s := m.Status()
			if len(s.Workers) != 4 {
				state() // a port may be another
				return false
			}
			now := state().OK
			for i := range now {
				if now[i] < begin[i]+n {
					return false
				}
			}
			return local.ok.Load() >= own+int64(n)
		})
	}
	began := time.Now()
	phase := func(what string) {
		t.Logf("%5.1f s: %s", time.Since(began).Seconds(), what)
	}
	more("all workers and callers work over a slow network", 10)
	phase("all work over a slow network")

	for end := time.After(4 * time.Second); ; {
		select {
		case <-time.After(rand.N(200 * time.Millisecond)):
			proxies[rand.IntN(len(proxies))].drop()
			continue
		case <-end:
		}
		break
	}
	dropped := 0
	for _, p := range proxies {
		p.mu.Lock()
		dropped += p.dropped
		p.mu.Unlock()
	}
	if dropped < 10 {
		t.Errorf("%d connections were broken", dropped)
	}
	phase(fmt.Sprintf("%d connections were broken", dropped))
	more("all recover from broken connections", 5)
	phase("all work again")

	// The cable is pulled while a worker computes.
	busy := make(chan outcome, 1)
	go func() {
		out, err := m.Execute(context.Background(), nil, Call{Kind: "hold", Deadline: patience})
		busy <- outcome{out: out, err: err}
	}()
	until(t, "the job runs", func() bool {
		for _, w := range m.Status().Workers {
			if w.Name == "holder" && w.Running > 0 {
				return true
			}
		}
		return false
	})
	healed := time.After(cut)
	for _, p := range proxies {
		p.hold(true)
	}
	tell("down")
	phase("the network is cut")
	if device != "" {
		select {
		case o := <-busy:
			busy <- o
			if !errors.Is(o.err, ErrWorkerLost) {
				t.Errorf("the job of a worker that is out of reach: %q, %v", o.out, o.err)
			}
			phase(fmt.Sprintf("the job of a worker that is out of reach is lost: %v", o.err))
		case <-healed:
			t.Fatal("a worker that is out of reach is not missed, with a job, in 10 s")
		}
		<-healed
		for _, w := range m.Status().Workers {
			if w.State == "idle" {
				t.Errorf("worker %s counts as idle", w.Name)
			}
		}
	} else {
		<-healed
	}
	for _, p := range proxies {
		p.hold(false)
	}
	tell("up")
	phase("the network is there again")
	more("all recover from a network that was cut", 10)
	phase("all work again")

	quit()
	calling.Wait()
	if err := far.in.Close(); err != nil {
		t.Fatal(err)
	}
	if status := far.status(); status != 0 {
		t.Fatalf("the other host ends with status %d: %s", status, far.log.String())
	}
	want(t, busy)
	judge(t, m, dir, local)
}

// judge compares what callers were told with what workers have started.
func judge(t *testing.T, m *Master, dir string, local *caller) {
	t.Helper()
	answers := local.answers
	b, err := os.ReadFile(filepath.Join(dir, "answers"))
	if err == nil {
		var there []answer
		err = json.Unmarshal(b, &there)
		answers = append(answers, there...)
	}
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := os.ReadFile(filepath.Join(dir, "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	started := map[string]int{}
	for line := range strings.Lines(string(ledger)) {
		started[strings.TrimSpace(line)]++
	}
	outcomes := map[string]int{}
	for _, a := range answers {
		n := started[a.Job]
		outcomes[a.Outcome]++
		switch {
		case a.Wrong:
			t.Errorf("%s has the answer of another job", a.Job)
		case a.Outcome == "" && n == 0:
			t.Errorf("%s has a result, and nobody has started it", a.Job)
		case n > 1 && !a.Repeatable || n > 2:
			t.Errorf("%s was started %d times; repeatable is %t", a.Job, n, a.Repeatable)
		case n > 0 && !a.Started:
			t.Errorf("%s was started, and its caller is told that it was not: %s", a.Job, a.Outcome)
		}
	}
	t.Logf("%d calls; results and errors: %v", len(answers), outcomes)
	c := m.Status().Calls
	if sum := c.Results + c.Errors + c.Busy + c.NoWorker + c.QueueFull + c.Timeouts + c.Lost + c.Cancelled + c.Drained; sum != c.Total {
		t.Errorf("%d calls have %d answers: %+v", c.Total, sum, c)
	}
	if len(outcomes) == 1 {
		t.Errorf("all of %d calls end alike; that is not the network that this is about", len(answers))
	}
}

// A caller calls, one job after another, and keeps account.
type caller struct {
	name    string
	ok      atomic.Int64
	answers []answer
}

// An answer is what a call came to.
type answer struct {
	Job        string
	Repeatable bool
	Started    bool   // as far as the caller is told
	Outcome    string // empty is a result
	Wrong      bool
}

// run calls until ctx ends; the last call has its end too.
func (c *caller) run(ctx context.Context, e executor) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		a := answer{Job: fmt.Sprintf("%s-%d", c.name, n), Repeatable: n%2 == 0}
		body := append([]byte(a.Job+" "), bytes.Repeat([]byte{'x'}, rand.IntN(300))...)
		out, err := e.Execute(context.Background(), body, Call{Repeatable: a.Repeatable, Deadline: 2 * time.Second, BusyWait: time.Second})
		var no *Error
		switch {
		case err == nil:
			a.Wrong = string(out) != sum(body)
			a.Started = true
			c.ok.Add(1)
		case errors.As(err, &no):
			a.Outcome, a.Started = no.why().Error(), no.Started()
		default:
			a.Outcome = err.Error()
		}
		c.answers = append(c.answers, a)
		<-tick.C
	}
}

func sum(body []byte) string {
	s := sha256.Sum256(body)
	return hex.EncodeToString(s[:])
}

// farMain is the host of workers and callers.
func farMain(config string) int {
	if err := far(config); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func far(path string) error {
	in := bufio.NewScanner(os.Stdin)
	if !in.Scan() {
		return errors.New("no word of the other host")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var cfg farConfig
	if err := json.Unmarshal(b, &cfg); err != nil {
		return err
	}
	if cfg.Device != "" {
		if err := errors.Join(setDevice("lo", "", true), setDevice(cfg.Device, cfg.Host, true)); err != nil {
			return err
		}
	}
	keysOf := func(name string) (*Keys, error) {
		return ReadKeys(filepath.Join(cfg.Dir, name), filepath.Join(cfg.Dir, "m.pub"))
	}
	ledger, err := os.OpenFile(filepath.Join(cfg.Dir, "ledger"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer ledger.Close()
	work := func(_ context.Context, j *Job) ([]byte, error) {
		name, _, _ := strings.Cut(string(j.Body), " ")
		if _, err := fmt.Fprintln(ledger, name); err != nil {
			return nil, err
		}
		<-time.After(rand.N(5 * time.Millisecond))
		return []byte(sum(j.Body)), nil
	}
	// It computes until the network is about to be there again, and hears nothing.
	hold := func(context.Context, *Job) ([]byte, error) {
		<-time.After(cut - cut/10)
		return nil, nil
	}

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var state struct {
		sync.Mutex
		farState
		err error
	}
	state.Ports = map[string]int{}
	var all sync.WaitGroup
	fail := func(err error) {
		state.Lock()
		defer state.Unlock()
		state.err = errors.Join(state.err, err)
	}
	keys, err := keysOf("w")
	if err != nil {
		return err
	}
	// Two workers behind the bad network, and two that are reached directly.
	log := func(line string) { fmt.Fprintln(os.Stderr, line) }
	worker := func(w Worker, h Handler) {
		w.Keys, w.Log = keys, log
		all.Go(func() {
			for ctx.Err() == nil {
				if w.Listen != "" {
					ln, err := net.Listen("tcp", net.JoinHostPort(cfg.Host, "0"))
					if err != nil {
						fail(err)
						return
					}
					w.Listen = tcpScheme + ln.Addr().String()
					state.Lock()
					state.Ports[w.Socket] = ln.Addr().(*net.TCPAddr).Port
					state.Unlock()
					ln.Close()
				}
				err := w.Serve(ctx, h)
				if errors.Is(err, syscall.EADDRINUSE) && w.Listen != "" {
					continue // somebody else was faster
				}
				// A supervisor starts a worker again that has lost its master.
				if lost := new(*MasterError); errors.As(err, lost) {
					log(fmt.Sprintf("%s is started again: %v", w.Name, err))
					continue
				}
				if err != nil {
					fail(fmt.Errorf("%s: %w", w.Name, err))
				}
				return
			}
		})
	}
	own := tcpScheme + net.JoinHostPort(cfg.Host, "0")
	for i, socket := range cfg.Sockets {
		worker(Worker{Name: fmt.Sprint("slow-", i), Master: cfg.Master[1], Socket: socket, Listen: own}, work)
	}
	worker(Worker{Name: "quick", Master: cfg.Master[0], Socket: own}, work)
	worker(Worker{Name: "holder", Master: cfg.Master[0], Socket: own, Kinds: []string{"hold"}}, hold)

	if keys, err = keysOf("c"); err != nil {
		return err
	}
	calling, quit := context.WithCancel(ctx)
	defer quit()
	var there []*caller
	var calls sync.WaitGroup
	for i := range farCallers {
		r, err := ConnectKeys(cfg.Master[i%2], keys)
		if err != nil {
			return err
		}
		defer r.Close()
		c := &caller{name: fmt.Sprint("far-", i)}
		there = append(there, c)
		calls.Go(func() { c.run(calling, r) })
	}

	ln, err := net.Listen("unix", filepath.Join(cfg.Dir, "far"))
	if err != nil {
		return err
	}
	defer ln.Close()
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			state.Lock()
			for i, c := range there {
				state.OK[i] = int(c.ok.Load())
			}
			b, _ := json.Marshal(state.farState)
			state.Unlock()
			_, _ = nc.Write(b)
			nc.Close()
		}
	}()
	for in.Scan() {
		if cfg.Device == "" {
			continue
		}
		if err := setDevice(cfg.Device, "", in.Text() == "up"); err != nil {
			return err
		}
	}
	quit()
	calls.Wait()
	var answers []answer
	for _, c := range there {
		answers = append(answers, c.answers...)
	}
	if b, err = json.Marshal(answers); err == nil {
		err = os.WriteFile(filepath.Join(cfg.Dir, "answers"), b, 0o600)
	}
	cancel()
	all.Wait()
	return errors.Join(err, state.err)
}
