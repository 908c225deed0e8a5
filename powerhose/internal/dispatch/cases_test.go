package dispatch

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"appbundle/powerhose/internal/wire"
)

var update = flag.Bool("update", false, "write what the machine does into testdata")

// Each file of testdata has cases: what happens, a line each with its time, and
// below it, indented, what the machine does and when. Lines with # are for
// people. The names of those that are cases of the whole protocol too are the
// same there.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var all strings.Builder
		for n, block := range strings.Split(string(text), "\n== ") {
			if n == 0 {
				all.WriteString(block)
				continue
			}
			title, _, _ := strings.Cut(block, ":")
			t.Run(title, func(t *testing.T) {
				got := play(t, block)
				all.WriteString("\n== " + got)
				if got != strings.TrimRight(block, "\n")+"\n" && !*update {
					t.Errorf("%s: got\n%s\nwant\n%s", name, got, block)
				}
			})
		}
		if *update {
			if err := os.WriteFile(name, []byte(all.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A script plays one case.
type script struct {
	t       *testing.T
	m       *Machine
	cfg     Config
	out     strings.Builder
	workers map[string]Worker
	names   map[Worker]string
	pids    uint32
	tickets map[string]Ticket
	calls   map[Ticket]string
	numbers map[string]uint64 // of job@1, job@2 … and of job, the newest
	sent    map[Worker]uint64
	args    map[string]string
}

// play runs a case and returns its text as it should be.
func play(t *testing.T, block string) string {
	s := &script{
		t: t, workers: map[string]Worker{}, names: map[Worker]string{}, pids: 1000, tickets: map[string]Ticket{}, calls: map[Ticket]string{},
		numbers: map[string]uint64{}, sent: map[Worker]uint64{}, cfg: Config{Seed: 41},
	}
	for n, line := range strings.Split(strings.TrimRight(block, "\n"), "\n") {
		switch {
		case strings.HasPrefix(line, "  "):
			continue // is written anew
		case n == 0 || line == "" || line[0] == '#':
			fmt.Fprintln(&s.out, line)
		default:
			fmt.Fprintln(&s.out, line)
			s.line(strings.Fields(line))
		}
	}
	for i := range s.m.jobs {
		if s.m.jobs[i].state == waiting {
			t.Errorf("%s is still waiting at the end", s.calls[s.m.jobs[i].ticket])
		}
	}
	check(t, s.m)
	return strings.TrimRight(s.out.String(), "\n") + "\n"
}

func (s *script) span(key string) time.Duration {
	text := s.args[key]
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		s.t.Fatalf("%s: %v", key, err)
	}
	return d
}

func (s *script) integer(key string, def int) int {
	if s.args[key] == "" {
		return def
	}
	n, err := strconv.Atoi(s.args[key])
	if err != nil {
		s.t.Fatalf("%s: %v", key, err)
	}
	return n
}

func (s *script) list(key string) []string {
	return slices.DeleteFunc(strings.Split(s.args[key], ","), func(x string) bool { return x == "" })
}

func (s *script) has(key string) bool { _, ok := s.args[key]; return ok }

// line plays one event: a time, a word and its arguments.
func (s *script) line(words []string) {
	s.args = map[string]string{}
	var plain []string
	for _, w := range words {
		key, value, ok := strings.Cut(w, "=")
		if ok || key == "repeatable" || key == "urgent" || key == "progress" && len(plain) > 1 && plain[1] == "call" || key == "remote" || key == "cut" {
			s.args[key] = value
			continue
		}
		plain = append(plain, w)
	}
	if plain[0] == "config" {
		s.cfg.Window, s.cfg.MaxAttempts, s.cfg.MaxWaiting = s.integer("window", 0), s.integer("attempts", 0), s.integer("waiting", 0)
		s.cfg.MaxWorkers, s.cfg.Rate, s.cfg.Grace = s.integer("workers", 0), s.integer("rate", 0), s.span("grace")
		s.cfg.Handshake = s.span("handshake")
		return
	}
	if s.m == nil {
		m, err := New(s.cfg)
		if err != nil {
			s.t.Fatal(err)
		}
		s.m = m
	}
	now, err := time.ParseDuration(plain[0])
	if err != nil {
		s.t.Fatal(err)
	}
	for {
		at, ok := s.m.Next()
		if !ok || at > now {
			break
		}
		s.m.Tick(at)
		s.actions(at)
	}
	what, args := plain[1], append(plain[2:], "", "")
	w := s.workers[args[0]]
	number, known := s.numbers[args[1]]
	if strings.HasPrefix(args[1], "#") {
		number, err = strconv.ParseUint(args[1][1:], 10, 64)
		known = err == nil
	}
	if slices.Contains([]string{"result", "error", "returned", "progress"}, what) && !known {
		s.t.Fatalf("%q: no such job", words)
	}
	if slices.Contains([]string{"attach", "ping", "pong", "leave", "retire", "bye", "fail", "down"}, what) && w == 0 {
		s.t.Fatalf("%q: no such worker", words)
	}
	var held wire.Numbers
	for _, j := range s.list("held") {
		held = held.Add(s.numbers[j])
	}
	switch what {
	case "up", "worker":
		s.register(now, args[0], held)
		if w := s.workers[args[0]]; what == "up" && w != 0 {
			s.m.Attached(now, w)
		}
	case "attach":
		s.m.Attached(now, w)
	case "call":
		s.call(now, args[0])
	case "cancel":
		if !s.m.Cancel(now, s.tickets[args[0]]) {
			s.say(now, "nothing to cancel")
		}
	case "result":
		s.m.Result(now, w, number, s.span("run"))
	case "error":
		s.m.Error(now, w, number, wire.Code(s.integer("code", int(wire.Application))), s.span("run"))
	case "returned":
		s.m.Returned(now, w, number)
	case "progress":
		if t := s.m.Progress(now, w, number); t != 0 {
			s.say(now, "progress %s", s.calls[t])
		} else {
			s.say(now, "dropped")
		}
	case "ping":
		s.m.Heard(now, w)
	case "pong":
		s.m.Pong(now, w, held)
	case "leave":
		s.m.Leave(now, w)
	case "retire":
		s.m.Retire(now, w)
	case "bye":
		s.m.Bye(w)
	case "fail":
		s.m.Fail(w, map[string]wire.Code{"slow": wire.TooSlow, "malformed": wire.Malformed}[args[1]])
	case "down":
		s.m.Down(now, w, uint64(s.integer("written", int(s.sent[w]))), !s.has("cut"))
	case "drain":
		s.m.Drain(now)
	case "until":
	case "restart":
		s.cfg.Seed += 1 << 20
		s.m, err = New(s.cfg)
		if err != nil {
			s.t.Fatal(err)
		}
		clear(s.workers)
	case "show":
		s.show(now, plain[2:])
	default:
		s.t.Fatalf("what does %q mean?", words)
	}
	s.actions(now)
	check(s.t, s.m)
}

func (s *script) register(now time.Duration, name string, held wire.Numbers) {
	low, high, _ := strings.Cut(cmp.Or(s.args["versions"], "1-1"), "-")
	lowest, _ := strconv.Atoi(low)
	highest, _ := strconv.Atoi(high)
	s.pids++
	r := Registration{
		Name: cmp.Or(s.args["name"], name), PID: s.pids, Lowest: uint8(lowest), Highest: uint8(highest), Window: s.integer("window", 1),
		Remote: s.has("remote"), Kinds: s.list("kinds"), Held: held,
	}
	copy(r.Incarnation[:], cmp.Or(s.args["incarnation"], name))
	w, code := s.m.Register(now, r)
	if code != wire.OK {
		s.say(now, "refused %s", codes[code])
		return
	}
	s.workers[name], s.names[w] = w, name
}

func (s *script) call(now time.Duration, name string) {
	t, code := s.m.Submit(now, Call{
		Deadline: s.span("deadline"), BusyWait: s.span("wait"), Kind: []byte(s.args["kind"]), Repeatable: s.has("repeatable"),
		Urgent: s.has("urgent"), Progress: s.has("progress"),
	})
	if code != wire.OK {
		s.say(now, "refused %s", codes[code])
		return
	}
	s.tickets[name], s.calls[t] = t, name
}

func (s *script) say(at time.Duration, format string, args ...any) {
	fmt.Fprintf(&s.out, "  %v %s\n", at, fmt.Sprintf(format, args...))
}

// actions writes what the machine wants.
func (s *script) actions(at time.Duration) {
	for _, a := range s.m.Actions() {
		name, worker := s.calls[a.Ticket], s.names[a.Worker]
		switch a.Do {
		case Send:
			n := 1
			for s.numbers[fmt.Sprintf("%s@%d", name, n)] != 0 {
				n++
			}
			s.numbers[fmt.Sprintf("%s@%d", name, n)], s.numbers[name] = a.Number, a.Number
			s.sent[a.Worker]++
			s.say(at, "send %s to %s, attempt %d, %v left", name, worker, a.Attempt, a.Left)
		case Withdraw:
			for job, number := range s.numbers {
				if number == a.Number && !strings.Contains(job, "@") {
					s.say(at, "withdraw %s from %s", job, worker)
				}
			}
		case Reply:
			line := fmt.Sprintf("reply %s: %s", name, codes[a.Code])
			if a.Attempt > 0 {
				line += fmt.Sprintf(", attempt %d at %s (%d), ran %v", a.Attempt, worker, a.PID, a.Run)
			}
			if a.Code == wire.Busy || a.Code == wire.NoWorker {
				line += fmt.Sprintf(", %d of %d busy", a.Busy, a.Workers)
			}
			s.say(at, "%s", line)
		case Close:
			s.say(at, "close %s: %s", worker, codes[a.Code])
		case Ask, TellDrain:
			s.say(at, "%s %s", a.Do, worker)
		case Stopped:
			s.say(at, "stopped")
		}
	}
}

// show writes counters, or the workers.
func (s *script) show(now time.Duration, what []string) {
	c := s.m.Counters()
	values := map[string]any{
		"late": c.Late, "duplicate": c.Duplicate, "stray": c.Stray, "lost": c.Lost, "moved": c.Moved, "repeated": c.Repeated,
		"returned": c.Returned, "results": c.Results, "registered": c.Registered, "gone": c.Gone, "closed": c.Closed, "broken": c.BrokenWorkers,
		"waiting": c.Waiting, "in-flight": c.InFlight, "errors": c.Errors, "calls": c.Calls, "refused": c.Refused, "full": c.QueueFull,
		"refused-workers": c.RefusedWorkers, "timeouts": c.Timeouts, "cancelled": c.Cancelled, "busy": c.Busy, "no-worker": c.NoWorker, "drained": c.Drained,
	}
	var line []string
	for _, name := range what {
		if name == "workers" {
			for i := range s.m.Workers(now) {
				s.say(now, "%s %s, %d of %d, %d done, %v average", i.Name, i.State, i.Load, i.Window, i.Done, i.Average)
			}
			continue
		}
		v, ok := values[name]
		if !ok {
			s.t.Fatalf("no counter %q", name)
		}
		line = append(line, fmt.Sprintf("%s %d", name, v))
	}
	if line != nil {
		s.say(now, "%s", strings.Join(line, ", "))
	}
}

var codes = map[wire.Code]string{
	wire.OK: "result", wire.Application: "application error", wire.Rejected: "rejected", wire.Cancelled: "cancelled", wire.Panic: "panic",
	wire.Busy: "busy", wire.NoWorker: "no worker", wire.QueueFull: "queue full", wire.Timeout: "timeout", wire.Lost: "worker lost",
	wire.Draining: "draining", wire.BadVersion: "bad version", wire.NameTaken: "name taken", wire.TooMany: "too many", wire.TooFast: "too fast",
	wire.Malformed: "malformed", wire.Broken: "broken", wire.TooSlow: "too slow", wire.Silent: "silent", wire.Overdue: "overdue",
	wire.Replaced: "replaced", wire.Stop: "stop",
}

// check looks at what must be true of a machine between two events.
func check(t testing.TB, m *Machine) {
	t.Helper()
	open, flying, waits := 0, 0, 0
	for i := range m.jobs {
		j := &m.jobs[i]
		if j.state == waiting || j.state == given {
			open++
		}
		switch j.state {
		case waiting:
			waits++
			for k := range m.workers {
				if w := &m.workers[k]; w.mask&(1<<j.kind) != 0 && w.phase == ready && !w.leaving && w.load == 0 && len(w.held) == 0 {
					t.Fatalf("job %d waits and worker %q is idle", i, w.name)
				}
			}
		case given, orphaned:
			flying++
			if !slices.Contains(m.workers[j.worker].queue[:m.workers[j.worker].load], int32(i)) {
				t.Fatalf("job %d is not at its worker", i)
			}
		}
		armed := int(i) < len(m.timers.jobs) && m.timers.jobs[i] != nobody
		want := j.state == waiting || j.state == given || j.state == orphaned && m.workers[j.worker].queue[0] == int32(i) && m.workers[j.worker].phase == ready
		if armed != want && !(j.state == orphaned && m.workers[j.worker].phase == closing) {
			t.Fatalf("job %d in state %d has a timer: %v", i, j.state, armed)
		}
	}
	if open != m.open || flying != m.count.InFlight || waits != m.waits {
		t.Fatalf("open %d, in flight %d, waiting %d; the machine says %d, %d, %d", open, flying, waits, m.open, m.count.InFlight, m.waits)
	}
	for _, x := range m.timers.heap {
		if at := *m.timers.place(x.id); m.timers.heap[at] != x {
			t.Fatalf("timer %v is not where it is said to be", x)
		}
	}
	for i := range m.timers.heap {
		if i > 0 && m.timers.heap[i].at < m.timers.heap[(i-1)/4].at {
			t.Fatalf("timer %d is before its parent", i)
		}
	}
	listed := 0
	for _, p := range m.pools {
		if p.members == 0 {
			t.Fatalf("a pool without workers")
		}
		for load, l := range p.lists {
			for at, prev := l.head, int32(nobody); at != nobody; prev, at = at, m.workers[at].next {
				listed++
				w := &m.workers[at]
				if int(w.list) != load || w.prev != prev || int(w.load) != load || w.phase != ready || w.leaving || w.orphans > 0 || w.pool != p {
					t.Fatalf("worker %q is in a wrong list", w.name)
				}
				if w.next == nobody && l.tail != at {
					t.Fatalf("list %d has a wrong end", load)
				}
			}
		}
	}
	for i := range m.workers {
		w := &m.workers[i]
		if w.phase == absent {
			continue
		}
		if w.list >= 0 {
			listed--
		}
		orphans := 0
		for _, j := range w.queue[:w.load] {
			if m.jobs[j].state == orphaned {
				orphans++
			}
		}
		if orphans != int(w.orphans) || w.load > w.window {
			t.Fatalf("worker %q has %d jobs of %d, %d orphans, and says %d", w.name, w.load, w.window, orphans, w.orphans)
		}
	}
	if listed != 0 {
		t.Fatalf("lists and workers differ by %d", listed)
	}
}
