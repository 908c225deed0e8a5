package conformance

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A begin is one line of the ledger.
type begin struct {
	pid, attempt int
	repeatable   bool
	kind         string
	at           time.Time
	how          string // of a job that waits to be told that nobody waits: told, over
	over         time.Time
}

// books reads the ledgers: the starts of each job, and the jobs of each process.
func (g *game) books() (starts map[int][]*begin, jobs map[int][]int) {
	starts, jobs = map[int][]*begin{}, map[int][]int{}
	files, err := filepath.Glob(g.ledgers + "/*")
	if err != nil || len(files) < len(g.slots) {
		g.Fatalf("%d ledgers, %v", len(files), err)
	}
	for _, file := range files {
		for _, line := range linesNow(file) {
			f := strings.Fields(line)
			number := func(i int) int {
				n, err := strconv.Atoi(f[i])
				if err != nil {
					g.Fatalf("%s: %q", file, line)
				}
				return n
			}
			id, pid, at := number(1), number(2), time.Unix(0, int64(number(len(f)-1)))
			if f[0] == "S" {
				starts[id] = append(starts[id], &begin{pid: pid, attempt: number(3), repeatable: f[4] == "1", kind: strings.Trim(f[5], "-"), at: at})
				jobs[pid] = append(jobs[pid], id)
				continue
			}
			for _, s := range starts[id] {
				if s.pid == pid && s.how == "" {
					s.how, s.over = f[3], at
				}
			}
		}
	}
	return starts, jobs
}

// judge compares what callers were told with what workers did.
func (g *game) judge() {
	starts, jobs := g.books()
	tally := map[string]int{}
	var slowest time.Duration
	for i := range g.calls {
		c := &g.calls[i]
		if c.end == "" {
			g.fail("call %d was not made", i)
			continue
		}
		tally[c.end]++
		slowest = max(slowest, c.ended.Sub(c.began))
		if why := g.wrong(c, starts[i], jobs); why != "" {
			var lines []string
			for _, s := range starts[i] {
				lines = append(lines, fmt.Sprintf("%+v", *s))
			}
			g.fail("call %d of %s: %s\n%+v\n%s", i, c.by, why, c.plan, strings.Join(lines, "\n"))
			g.Logf("it ended with %q of pid %d in attempt %d after %v, started %v: %s", c.end, c.pid, c.attempt, c.ended.Sub(c.began), c.maybe, c.text)
		}
		for _, s := range starts[i] {
			tally["started"]++
			if s.attempt > 1 {
				tally["started again"]++
			}
			if s.how != "" {
				tally[s.how]++
			}
		}
	}
	for _, e := range g.events {
		who := "worker or caller"
		if e.pid == 0 {
			who = "master"
		}
		tally[e.what+" of a "+who]++
	}
	g.Logf("%d calls, %d processes of workers, the slowest call %v: %v", len(g.calls), len(jobs), slowest, tally)
	for _, what := range []string{
		"ok", "application", "rejected", "panic", "busy", "timeout", "lost", "cancelled", "too big", "started again", "told",
		"master lost", "draining", "killed", "kill of a master", "drain of a master", "stop of a master", "stop of a worker or caller",
	} {
		if tally[what] == 0 && len(g.calls) >= 50000 {
			g.fail("in %d calls this never happened: %s", len(g.calls), what)
		}
	}
	if ok := tally["ok"]; ok < len(g.calls)/2 {
		g.fail("%d of %d calls have a result", ok, len(g.calls))
	}
}

// during reports whether something was done to a process in a span of time.
func (g *game) during(pid int, from, to time.Time, what ...string) bool {
	return slices.ContainsFunc(g.events, func(e event) bool {
		return e.pid == pid && !e.at.After(to) && !e.over.Before(from) && slices.Contains(what, e.what)
	})
}

// wrong says what must not be, if anything.
func (g *game) wrong(c *call, starts []*begin, jobs map[int][]int) string {
	if c.bad != nil {
		return c.bad.Error()
	}
	// Starts. A caller in Python makes a call that may be repeated again when its
	// master is lost, or when it was cut off since it did not read.
	calls := 1
	if c.repeatable && (c.by == "threads" || c.by == "eventloop") {
		for _, e := range g.events {
			if !e.at.After(c.ended) && !e.over.Before(c.began) && (e.pid == 0 || e.what == "stop") {
				calls++
			}
		}
	}
	tried := map[int]int{}
	for _, s := range starts {
		tried[s.attempt]++
		switch {
		case s.repeatable != c.repeatable || s.kind != c.kind:
			return "it came to a worker as another one"
		case s.attempt > 1 && !c.repeatable || s.attempt > attempts || s.attempt < 1:
			return fmt.Sprintf("it was begun in attempt %d", s.attempt)
		case tried[s.attempt] > calls:
			return fmt.Sprintf("attempt %d was begun %d times", s.attempt, tried[s.attempt])
		case s.how == "over" && !g.during(s.pid, s.at, s.over, "stop", "drain") && !g.during(0, s.at, s.over, "kill", "drain", "stop"):
			return "nobody waited, and the worker was not told"
		case s.how == "told" && c.end == "ok":
			return "somebody waited, and the worker was told that nobody does"
		}
	}
	if !c.maybe && len(starts) > 0 {
		return fmt.Sprintf("it was begun, and %q says that it was not", c.end)
	}

	// What it came to.
	took := c.ended.Sub(c.began)
	if took > c.deadline+patience/2 {
		return fmt.Sprintf("it took %v", took)
	}
	by := func(op string) string {
		if c.op != op || len(starts) == 0 {
			return fmt.Sprintf("it cannot end with %q", c.end)
		}
		return ""
	}
	masterWas := func(what ...string) bool { return g.during(0, c.began, c.ended, what...) }
	switch c.end {
	case "ok":
		if c.op == "empty" {
			return ""
		}
		if !slices.ContainsFunc(starts, func(s *begin) bool { return s.pid == c.pid && s.attempt == c.attempt }) {
			return "its result is of a worker that never had it"
		}
		if c.op == "error" || c.op == "reject" || c.op == "break" || c.op == "die" {
			return "it cannot have a result"
		}
	case "application":
		return by("error")
	case "rejected":
		if len(starts) == 0 {
			return "" // it was given back too often
		}
		return by("reject")
	case "panic":
		return by("break")
	case "busy", "no worker":
		if c.busyWait == randomLong && c.deadline == randomLong {
			return "there are workers, and it waited for none"
		}
	case "queue full":
	case "too big":
		if c.size <= randomBody {
			return "it is not too big"
		}
	case "timeout":
		if c.unanswered() {
			return "it was not answered"
		}
		if took < c.deadline && c.by == "go" {
			return fmt.Sprintf("its time was over after %v", took)
		}
	case "cancelled":
		if c.cancel == 0 {
			return "nobody cancelled it"
		}
	case "lost":
		// Its worker was killed, killed or cut itself, or was closed since it was
		// stopped or did not let go; or the master had drained for long enough.
		accident := masterWas("drain") || c.op == "die" || c.op == "cut" || slices.ContainsFunc(g.events, func(e event) bool { return e.pid == c.pid }) ||
			slices.ContainsFunc(jobs[c.pid], func(id int) bool { op := g.calls[id].op; return op == "die" || op == "cut" })
		if !accident {
			return fmt.Sprintf("pid %d was said to be lost", c.pid)
		}
		if c.op == "die" && c.repeatable && !strings.Contains(c.text, fmt.Sprintf("%x", sha256.Sum256(g.body(&c.plan)))) && (c.by == "go" || c.by == "wire") {
			return "the error does not have the digest: " + c.text
		}
	case "draining":
		if !masterWas("drain") {
			return "the master was not to drain"
		}
	case "master lost", "no master":
		if c.end == "no master" && min(c.busyWait, c.deadline) < randomLong {
			return "" // a runner may not be connected yet
		}
		// A caller that is slow to see the end of its link may have used it still.
		if !g.during(0, c.began.Add(-5*time.Second), c.ended, "kill", "drain", "stop") && !g.during(c.caller, c.began, c.ended, "stop") {
			return "the master was there"
		}
	case "unread", "killed": // the caller is gone, or did not listen
	default:
		return "what is that?"
	}
	if c.said != nil && !slices.IsSorted(c.said) {
		return fmt.Sprintf("progress came as %q", c.said)
	}
	return ""
}
