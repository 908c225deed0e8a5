package watch

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

var circusDefaults = Policy{
	Respawn: true, Grace: 30 * time.Second, Attempts: 5, Window: 10 * time.Second,
	RetryIn: 7 * time.Second, MaxRests: 5, MaxRetry: 5, First: 100 * time.Millisecond, Max: 30 * time.Second,
}

func TestStepsAreTotal(t *testing.T) {
	for phase, row := range steps {
		for kind, st := range row {
			if st.next == nil {
				t.Errorf("steps has no entry for %s in phase %s", Kind(kind), Phase(phase))
			}
		}
	}
}

// TestNames fails when a constant is added and its name forgotten.
func TestNames(t *testing.T) {
	for p := range numPhases {
		if p.String() == "" {
			t.Errorf("phase %d has no name", p)
		}
	}
	for k := range numKinds {
		if k.String() == "" {
			t.Errorf("kind %d has no name", k)
		}
	}
	for d := range numDeeds {
		if d.String() == "" {
			t.Errorf("deed %d has no name", d)
		}
	}
}

func TestLives(t *testing.T) {
	f, err := os.Open("testdata/lives.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l := life{t: t}
	sc := bufio.NewScanner(f)
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		switch head, rest, _ := strings.Cut(line, ": "); {
		case line == "" || line[0] == '#':
		case head == "life":
			l.name, l.policy, l.state = rest, circusDefaults, State{}
		case head == "policy":
			l.policy = parsePolicy(t, rest)
		default:
			l.step(n, line)
		}
	}
	if l.steps < 60 {
		t.Errorf("testdata/lives.txt has %d steps, want them all read", l.steps)
	}
}

type life struct {
	t      *testing.T
	name   string
	policy Policy
	state  State
	steps  int
}

func (l *life) step(n int, line string) {
	l.t.Helper()
	left, want, ok := strings.Cut(line, "->")
	in := strings.Fields(left)
	if !ok || len(in) != 2 {
		l.t.Fatalf("lives.txt:%d: want TIME EVENT -> PHASE ACTIONS", n)
	}
	at, err := strconv.ParseFloat(in[0], 64)
	if err != nil {
		l.t.Fatalf("lives.txt:%d: %v", n, err)
	}
	name, well := strings.CutSuffix(in[1], ":0")
	s, acts := Next(l.policy, l.state, Event{Kind: kindOf(l.t, name), At: time.Duration(at * float64(time.Second)), OK: well})
	l.state = s
	l.steps++
	got := strings.TrimSpace(s.Phase.String() + " " + show(acts))
	if want = strings.Join(strings.Fields(want), " "); got != want {
		l.t.Errorf("lives.txt:%d: %s\n%s at %ss = %s, want %s", n, l.name, in[1], in[0], got, want)
	}
}

func show(acts []Action) string {
	out := make([]string, len(acts))
	for i, a := range acts {
		out[i] = a.Do.String()
		if a.Do == Arm {
			out[i] += " " + a.In.String()
		}
	}
	return strings.Join(out, ", ")
}

func kindOf(t *testing.T, name string) Kind {
	t.Helper()
	for k := range numKinds {
		if k.String() == name {
			return k
		}
	}
	t.Fatalf("no event is called %q", name)
	return 0
}

func parsePolicy(t *testing.T, text string) Policy {
	t.Helper()
	p := circusDefaults
	for _, f := range strings.Fields(text) {
		key, value, _ := strings.Cut(f, "=")
		number, _ := strconv.Atoi(value)
		length, _ := time.ParseDuration(value)
		switch key {
		case "respawn":
			p.Respawn = value == "yes"
		case "says_ready":
			p.SaysReady = value == "yes"
		case "attempts":
			p.Attempts = number
		case "max_retry":
			p.MaxRests = number
		case "max_exec":
			p.MaxRetry = number
		case "first":
			p.First = length
		case "max":
			p.Max = length
		default:
			t.Fatalf("no policy is called %q", key)
		}
	}
	return p
}

// A world is what surrounds a slot: whether its process lives, and whether a
// timer runs. Only events that can happen in a world are tried in it.
type world struct {
	state State
	alive bool
	armed bool
	now   time.Duration
}

// possible lists the events that can come in w. A process ends by itself at any
// time; an exec failure is the answer to a spawn and is tried by apply.
func (w world) possible() []Kind {
	kinds := []Kind{Start, Stop, Kill}
	if w.alive {
		kinds = append(kinds, Exit, Ready, Leave)
	}
	if w.armed {
		kinds = append(kinds, Timer)
	}
	return kinds
}

// apply feeds e to the slot and checks every invariant. Where a spawn is asked
// for, execs says whether it works.
func (w world) apply(t *testing.T, p Policy, e Event, execs bool) world {
	before := w.state
	announced := e.Kind == Exit && before.Announced(e.OK)
	if e.Kind == Exit {
		w.alive = false
	}
	if e.Kind == Timer {
		w.armed = false
	}
	s, acts := Next(p, w.state, e)
	w.state, w.now = s, e.At
	for _, a := range acts {
		switch a.Do {
		case Spawn:
			if w.alive {
				t.Fatalf("%s in %+v spawns while a process lives", e.Kind, before)
			}
			if !execs {
				return w.apply(t, p, Event{Kind: NoExec, At: e.At}, true)
			}
			w.alive = true
		case Terminate, Destroy:
			if !w.alive {
				t.Fatalf("%s in %+v asks for %s and nothing lives", e.Kind, before, a.Do)
			}
		case Arm:
			w.armed = true
			if a.In < 0 {
				t.Fatalf("%s in %+v arms %s", e.Kind, before, a.In)
			}
		case Disarm:
			w.armed = false
		}
	}
	if e.Kind == Timer && p.SaysReady && w.state.Phase == Up {
		t.Fatalf("%s in %+v makes a process up that said nothing", e.Kind, before)
	}
	if w.armed && p.SaysReady && w.state.Phase == Starting {
		t.Fatalf("%s in %+v leaves a timer to a process that says when it is up", e.Kind, before)
	}
	if announced && (w.state.Phase == Resting || w.state.Phase == Failed || w.state.Deaths > before.Deaths || w.state.Young > before.Young) {
		t.Fatalf("%s in %+v was announced, and counts: %+v", e.Kind, before, w.state)
	}
	if announced && before.Phase == Up && p.Respawn && e.At-before.Spawned <= Settled && w.state.Phase != Waiting {
		t.Fatalf("%s in %+v is replaced without a wait", e.Kind, before)
	}
	if (w.state.Leaving && !w.state.Ready) || (w.state.Ready && (!w.alive || w.state.Phase == Starting)) {
		t.Fatalf("%s in %+v leads to %+v: said by whom?", e.Kind, before, w.state)
	}
	if w.alive != w.state.Phase.Alive() {
		t.Fatalf("%s in %+v leads to %+v, and alive is %v", e.Kind, before, w.state, w.alive)
	}
	if w.armed && steps[w.state.Phase][Timer].name == "never" {
		t.Fatalf("%s in %+v leaves a timer in phase %s", e.Kind, before, w.state.Phase)
	}
	return w
}

// stops checks that Stop leads down, with a process that does nothing but die
// when it is killed.
func (w world) stops(t *testing.T, p Policy) {
	end := w.apply(t, p, Event{Kind: Stop, At: w.now}, true)
	if end.armed {
		end = end.apply(t, p, Event{Kind: Timer, At: end.now + p.Grace}, true)
	}
	if end.alive {
		end = end.apply(t, p, Event{Kind: Exit, At: end.now}, true)
	}
	if end.state.Phase != Down || end.alive || end.armed || end.state.Want {
		t.Fatalf("Stop in %+v ends in %+v, alive %v, armed %v", w.state, end.state, end.alive, end.armed)
	}
}

// TestInterleavings walks all orders of events nine deep, with short and long
// times between them and with execs that work and fail.
func TestInterleavings(t *testing.T) {
	policies := []Policy{circusDefaults, circusDefaults, circusDefaults, circusDefaults}
	policies[1].Attempts, policies[1].MaxRests, policies[1].MaxRetry = 2, 1, 2
	policies[2].Respawn = false
	policies[3].SaysReady = true
	for i, p := range policies {
		t.Run(fmt.Sprintf("policy %d", i), func(t *testing.T) {
			level := map[world]bool{{}: true}
			seen := map[world]bool{}
			for range 9 {
				next := map[world]bool{}
				for w := range level {
					w.stops(t, p)
					for _, kind := range w.possible() {
						for _, pause := range []time.Duration{0, 2 * time.Second, 11 * time.Second} {
							for _, well := range []bool{true, false} { // whether a spawn can be executed, and an exit has status 0
								n := w.apply(t, p, Event{Kind: kind, At: w.now + pause, OK: well}, well).rebase()
								if !seen[n] {
									seen[n], next[n] = true, true
								}
							}
						}
					}
				}
				level = next
			}
			t.Logf("%d different worlds", len(seen))
		})
	}
}

// rebase moves the origin of time to now, so that worlds that differ only in
// when they began are one.
func (w world) rebase() world {
	if w.state.Deaths == 0 {
		w.state.First = 0
	} else {
		w.state.First -= w.now
	}
	if w.alive {
		w.state.Spawned -= w.now
	} else {
		w.state.Spawned = 0
	}
	w.now = 0
	return w
}

func FuzzNext(f *testing.F) {
	f.Add([]byte{0, 0, 4, 1, 6, 200, 1, 0, 4, 9})
	f.Fuzz(func(t *testing.T, data []byte) {
		w := world{}
		for ; len(data) >= 2; data = data[2:] {
			kinds := w.possible()
			kind := kinds[int(data[0]>>1)%len(kinds)]
			w = w.apply(t, circusDefaults, Event{Kind: kind, At: w.now + time.Duration(data[1])*100*time.Millisecond, OK: data[0]&1 == 0}, data[0]&1 == 0)
		}
		w.stops(t, circusDefaults)
	})
}

func BenchmarkNext(b *testing.B) {
	s := State{Phase: Up}
	for i := 0; b.Loop(); i++ {
		s, _ = Next(circusDefaults, s, Event{Kind: Exit, At: time.Duration(i) * time.Minute})
		s.Phase = Up
	}
}
