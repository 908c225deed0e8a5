package conformance

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"appbundle/powerhose"
	"appbundle/powerhose/internal/wire"
)

func doubleAnswer(t *testing.T, _ language, f *fault) {
	m := newMaster(t, single)
	w := newRawWorker(t, m.Address(), "w")
	idle(t, m, 1)
	done := later(t.Context(), m, "job", powerhose.Call{})
	job, _ := w.work.want(wire.Job)
	end := f.from(t)
	w.work.send(wire.Head{Type: wire.Result, Number: job.Number, Run: 1}, "first")
	w.work.send(wire.Head{Type: wire.Result, Number: job.Number, Run: 1}, "second")
	if got := result(t, done); got != "first" {
		t.Errorf("result %q", got)
	}
	until(t, "the second answer", func() bool { return m.Status().Events.Duplicate == 1 })
	end()
	done = later(t.Context(), m, "next", powerhose.Call{})
	job, _ = w.work.want(wire.Job)
	w.work.send(wire.Head{Type: wire.Result, Number: job.Number, Run: 1}, "third")
	if got := result(t, done); got != "third" {
		t.Errorf("the next job has %q", got)
	}
}

func answerOfOther(t *testing.T, _ language, f *fault) {
	m := newMaster(t, single)
	a := newRawWorker(t, m.Address(), "a")
	idle(t, m, 1)
	first := later(t.Context(), m, "A", powerhose.Call{})
	a.work.want(wire.Job)
	b := newRawWorker(t, m.Address(), "b")
	until(t, "the second worker", func() bool { return len(m.Status().Workers) == 2 })
	second := later(t.Context(), m, "B", powerhose.Call{})
	job, _ := b.work.want(wire.Job)
	end := f.from(t)
	a.work.send(wire.Head{Type: wire.Result, Number: job.Number, Run: 1}, "not mine")
	a.reg.refused(wire.Broken)
	fails(t, first, powerhose.ErrWorkerLost)
	b.work.send(wire.Head{Type: wire.Result, Number: job.Number, Run: 1}, "mine")
	if got := result(t, second); got != "mine" {
		t.Errorf("result %q", got)
	}
	end()
	if s := m.Status(); s.Events.Stray != 1 || s.Events.Broken != 1 {
		t.Errorf("events %+v", s.Events)
	}
}

func neverAsked(t *testing.T, _ language, f *fault) {
	m := newMaster(t, single)
	w := newRawWorker(t, m.Address(), "w")
	idle(t, m, 1)
	end := f.from(t)
	w.work.send(wire.Head{Type: wire.Result, Number: 4711, Run: 1}, "")
	w.reg.refused(wire.Broken)
	end()
	idle(t, m, 0)
	if s := m.Status(); s.Events.Stray != 1 || s.Events.Broken != 1 {
		t.Errorf("events %+v", s.Events)
	}
}

func storm(t *testing.T, l language, f *fault) {
	m := newSeparate(t)
	do := func() { do(t, m, "echo") }
	w := l.start(t, m.address, "before")
	do()
	files, memory := len(descriptors(t, m.pid())), powerhose.ResidentBytes(m.pid())
	end := f.from(t)
	for i := range 1000 {
		if nc := dial(t, m.address); i%2 == 0 {
			nc.Close()
		}
	}
	l.start(t, m.address, "good")
	until(t, "a good worker", func() bool { return len(m.Status().Workers) == 2 })
	w.kill()
	do()
	// The good worker has as many as the one before had.
	until(t, "descriptors as before", func() bool { return len(descriptors(t, m.pid())) == files })
	end()
	if grown := powerhose.ResidentBytes(m.pid()) - memory; grown > 64<<20 { // with the race detector, which takes several times as much
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
}

func slowReader(t *testing.T, l language, f *fault) {
	const size = 1 << 20
	m := newSeparate(t, "GRACE=50ms", fmt.Sprint("MAXBODY=", size))
	newRawWorker(t, m.address, "slow")
	idle(t, m, 1)
	l.start(t, m.address, "fast")
	idle(t, m, 2)
	memory := powerhose.ResidentBytes(m.pid())
	end := f.from(t)
	big := string(make([]byte, size))
	// The slow one has been idle for longer, and has this job until the grace is over.
	fails(t, later(t.Context(), m, big, powerhose.Call{Deadline: time.Second}), powerhose.ErrTimeout)
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for range 25 {
				out, err := m.Execute(t.Context(), []byte(big), powerhose.Call{})
				if err != nil || string(out) != big {
					t.Errorf("%d bytes, %v", len(out), err)
				}
			}
		})
	}
	callers.Wait()
	idle(t, m, 1)
	end()
	if grown := powerhose.ResidentBytes(m.pid()) - memory; grown > 64<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
}

// hostile sends what no peer would to a separate master, which closes the link
// and lives on with as much memory as before.
func hostile(t *testing.T, l language, f *fault, all ...[]byte) {
	m := newSeparate(t)
	l.start(t, m.address, "w")
	do(t, m, "echo")
	memory := powerhose.ResidentBytes(m.pid())
	for _, b := range all {
		end := f.from(t)
		nc := dial(t, m.address)
		_, _ = nc.Write(slices.Concat(greeting("NULL"), ready("DEALER"), b)) // the end may come before all of it is there
		closes(t, nc)
		end()
	}
	if grown := powerhose.ResidentBytes(m.pid()) - memory; grown > 16<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	do(t, m, "echo")
	if s := m.Status(); s.Events.Malformed+s.Events.Refused < uint64(len(all)) || s.PID != m.pid() {
		t.Errorf("%d links were closed: %+v", len(all), s.Events)
	}
}

func long(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{2}, n) }

func hugeFrame(t *testing.T, l language, f *fault) { hostile(t, l, f, long(1<<30)) }

func impossibleFrames(t *testing.T, l language, f *fault) {
	hostile(t, l, f, long(1<<62), long(1<<63), long(1<<64-1))
}

func endlessMore(t *testing.T, l language, f *fault) {
	hostile(t, l, f, bytes.Repeat([]byte{1, 1, 'x'}, 1<<20))
}

func badGreeting(t *testing.T, l language, f *fault) {
	var log struct {
		sync.Mutex
		lines int
	}
	m := newMaster(t, powerhose.MasterConfig{Log: func(line string) {
		log.Lock()
		defer log.Unlock()
		if strings.Contains(line, "refused") || strings.Contains(line, "closed") {
			log.lines++
		}
	}})
	l.join(t, m, m.Address(), 1)
	null, plain := greeting("NULL"), greeting("PLAIN")
	second := greeting("NULL")
	second[10] = 1
	for name, b := range map[string][]byte{
		"HTTP":              []byte("GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: something that is long enough\r\n\r\n"),
		"ZMTP 1":            append([]byte{1, 0}, make([]byte, 64)...),
		"ZMTP 2":            second,
		"PLAIN":             append(plain, ready("DEALER")...),
		"a foreign type":    append(null, ready("FOO")...),
		"no type":           slices.Concat(null, []byte("\x04\x06\x05READY")),
		"half a property":   slices.Concat(null, []byte("\x04\x08\x05READY\x0bS")),
		"a subscriber's":    append(null, ready("SUB")...),
		"a frame, no READY": slices.Concat(null, []byte("\x00\x01x")),
	} {
		before := m.Status().Events.Refused
		end := f.from(t)
		nc := dial(t, m.Address())
		_, _ = nc.Write(b)
		closes(t, nc)
		until(t, name+" to be counted", func() bool { return m.Status().Events.Refused == before+1 })
		end()
	}
	idle(t, m, 1)
	do(t, m, "echo")
	log.Lock()
	defer log.Unlock()
	// One line in a second of a process and a kind at most: here all are of one.
	if log.lines == 0 {
		t.Error("the log has nothing of it")
	}
}

func foreignUser(t *testing.T, l language, f *fault) {
	m := newMaster(t, powerhose.MasterConfig{})
	l.join(t, m, m.Address(), 1)
	if os.Geteuid() != 0 {
		// Only root can be somebody else; what is left is that the directory is
		// closed to others.
		info, err := os.Stat(filepath.Dir(m.Address()))
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("the directory of the socket: %v, %v", info.Mode(), err)
		}
		return
	}
	for path, mode := range map[string]os.FileMode{built.dir: 0o711, filepath.Dir(m.Address()): 0o711, m.Address(): 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	type answer struct {
		n   int
		err error
	}
	read := make(chan answer)
	end := f.from(t)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		keep := ^uintptr(0)
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, keep, 65534, keep); errno != 0 {
			read <- answer{-1, errno}
			return
		}
		fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err == nil {
			err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: m.Address()})
		}
		n := -1
		if err == nil {
			n, err = syscall.Read(fd, make([]byte, 100))
			syscall.Close(fd)
		}
		read <- answer{n, err}
	}()
	a := <-read
	if a.n > 0 || a.err != nil && a.err != syscall.ECONNRESET {
		t.Errorf("another user reads %d bytes, %v", a.n, a.err)
	}
	end()
	until(t, "it to be counted", func() bool { return m.Status().Events.Refused == 1 })
	do(t, m, "echo")
}

func staleSocket(t *testing.T, l language, f *fault) {
	first := newSeparate(t)
	first.kill()
	if _, err := os.Lstat(first.address); err != nil {
		t.Fatalf("nothing is left of a master that was killed: %v", err)
	}
	end := f.from(t)
	first.listen(t)
	_, err := powerhose.NewMaster(powerhose.MasterConfig{Listen: first.address})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", first.pid())) {
		t.Errorf("a second master beside pid %d: %v", first.pid(), err)
	}
	end()
	l.start(t, first.address, "w")
	do(t, first, "echo")
}

func mixed(t *testing.T, _ language, f *fault) {
	const jobs = 10000
	m := newMaster(t, powerhose.MasterConfig{})
	for _, l := range languages {
		l.start(t, m.Address(), l.name)
	}
	idle(t, m, len(languages))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	end := f.from(t)
	var all sync.WaitGroup
	for i := range 2 {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		all.Go(func() {
			body := make([]byte, 100_000)
			for i := range body {
				body[i] = byte(random.Uint32())
			}
			for range jobs / 2 {
				// A piece of the random bytes, with a new beginning and some zeros.
				at := random.IntN(len(body))
				job := body[at : at+random.IntN(len(body)-at+1)]
				if len(job) > 8 {
					binary.BigEndian.PutUint64(job, random.Uint64())
					job[random.IntN(len(job))] = 0
				}
				out, err := m.Execute(t.Context(), job, powerhose.Call{})
				if err != nil || !bytes.Equal(out, job) {
					t.Errorf("a job of %d bytes has %d bytes, %v", len(job), len(out), err)
					return
				}
			}
		})
	}
	all.Wait()
	end()
	for _, w := range m.Status().Workers {
		t.Logf("%s: %d jobs", w.Name, w.Done)
		if w.Done < jobs/5 {
			t.Errorf("%s did %d of %d jobs", w.Name, w.Done, jobs)
		}
	}
}

var leakRounds = flag.Int("leak.rounds", 5, "masters that the workers of the case leak outlive")

func leak(t *testing.T, _ language, f *fault) {
	address := filepath.Join(scratch(t), "m")
	files, goroutines := descriptors(t, os.Getpid()), runtime.NumGoroutine()
	end := f.from(t)
	for range 100 {
		m, err := powerhose.NewMaster(powerhose.MasterConfig{Listen: address, Deadline: patience, BusyWait: patience, Handshake: patience, Rate: 10000})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var workers sync.WaitGroup
		for i := range 2 {
			w := powerhose.Worker{Master: address, Name: fmt.Sprint("w", i)}
			workers.Go(func() {
				if err := w.Serve(ctx, work); err != nil {
					t.Error(err)
				}
			})
		}
		for range 100 {
			do(t, m, "echo")
		}
		cancel()
		workers.Wait()
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	end()
	until(t, fmt.Sprintf("%d goroutines, as before", goroutines), func() bool { return runtime.NumGoroutine() <= goroutines })
	if now := descriptors(t, os.Getpid()); len(now) != len(files) {
		t.Errorf("descriptors %q, want %q as before", now, files)
	}
	left, err := os.ReadDir(filepath.Dir(address))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		if !strings.HasSuffix(e.Name(), ".lock") {
			t.Errorf("%s is left", e.Name())
		}
	}

	// Processes in each language, over the lives of several masters. A link that has
	// held for a period is no try in vain.
	var procs []*proc
	var before []int
	for i := range *leakRounds {
		m, err := powerhose.NewMaster(powerhose.MasterConfig{
			Listen: address, Deadline: patience, BusyWait: patience, Handshake: patience, Period: 20 * time.Millisecond, Tries: 255,
		})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			for _, l := range languages {
				procs = append(procs, l.start(t, address, l.name))
			}
		}
		idle(t, m, len(languages))
		for range 100 {
			do(t, m, "echo")
		}
		var now []int
		for _, p := range procs {
			now = append(now, len(descriptors(t, p.pid())))
		}
		if before != nil && !slices.Equal(now, before) {
			t.Errorf("the workers have %v descriptors, want %v as before", now, before)
		}
		before = now
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
