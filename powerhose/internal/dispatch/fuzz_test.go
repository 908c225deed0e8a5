package dispatch

import (
	"testing"
	"time"

	"appbundle/powerhose/internal/wire"
)

// Whatever is told, in whatever order, by whomever: the tables stay whole, each
// call has at most one reply, and at the end of a drain exactly one.
func FuzzMachine(f *testing.F) {
	f.Add([]byte("\x00\x00\x01\x00\x02\x00\x05\x00\x09\x00"))
	f.Add([]byte("\x00\x00\x01\x00\x00\x01\x01\x01\x02\x00\x02\x01\x02\x02\x0b\x05\x05\x01\x06\x00\x07\x01\x08\x00\x09\x00"))
	f.Fuzz(func(t *testing.T, script []byte) {
		m, err := New(Config{MaxWaiting: 4, MaxWorkers: 3, Grace: 10, Handshake: 10, Period: 10, DrainTime: 100, Deadline: 50, BusyWait: 20, Short: 20})
		if err != nil {
			t.Fatal(err)
		}
		var (
			now     time.Duration
			workers = []Worker{0}
			numbers = []uint64{1}
			open    = map[Ticket]bool{}
			tickets = []Ticket{0}
			stopped = 0
		)
		read := func() {
			for _, a := range m.Actions() {
				switch a.Do {
				case Send:
					if !open[a.Ticket] {
						t.Fatalf("ticket %x is sent and not open", a.Ticket)
					}
					numbers = append(numbers, a.Number)
				case Reply:
					if !open[a.Ticket] {
						t.Fatalf("ticket %x has a reply and is not open", a.Ticket)
					}
					delete(open, a.Ticket)
				case Stopped:
					stopped++
				}
			}
		}
		for ; len(script) >= 2; script = script[2:] {
			x := int(script[1])
			w, n := workers[x%len(workers)], numbers[x/4%len(numbers)]
			switch script[0] % 16 {
			case 0:
				var held wire.Numbers
				if x&8 != 0 {
					held = held.Add(n)
				}
				h, code := m.Register(now, Registration{
					Name: string(rune('a' + x&1)), Incarnation: [16]byte{byte(x)}, Lowest: 1, Highest: 1, Window: x, Held: held,
					Kinds: [][]string{nil, {"x"}, {"x", "y"}, {"y", "y"}}[x>>4&3],
				})
				if code == wire.OK {
					workers = append(workers, h)
				}
			case 1:
				m.Attached(now, w)
			case 2, 3, 4:
				ticket, code := m.Submit(now, Call{Repeatable: x&1 != 0, Urgent: x&2 != 0, Progress: x&4 != 0, Kind: []byte([]string{"", "", "x", "y"}[x>>3&3])})
				if code == wire.OK {
					if open[ticket] {
						t.Fatalf("ticket %x twice", ticket)
					}
					open[ticket] = true
					tickets = append(tickets, ticket)
				}
			case 5, 6:
				m.Result(now, w, n, time.Duration(x))
			case 7:
				m.Error(now, w, n, wire.Code(x), 0)
			case 8:
				m.Returned(now, w, n)
			case 9:
				m.Down(now, w, uint64(x>>2), x&2 != 0)
			case 10:
				m.Progress(now, w, n)
				m.Heard(now, w)
			case 11:
				now += time.Duration(x)
				m.Tick(now)
			case 12:
				if ticket := tickets[x%len(tickets)]; m.Cancel(now, ticket) != open[ticket] {
					t.Fatalf("cancel of ticket %x, open %v", ticket, open[ticket])
				}
			case 13:
				m.Pong(now, w, wire.Numbers(nil).Add(n))
			case 14:
				if x&1 != 0 {
					m.Leave(now, w)
				} else {
					m.Retire(now, w)
				}
			case 15:
				switch {
				case x == 255:
					m.Drain(now)
				case x&1 != 0:
					m.Bye(w)
				default:
					m.Fail(w, wire.Malformed)
				}
			}
			read()
			check(t, m)
		}
		m.Drain(now)
		read()
		for range 1000 {
			at, ok := m.Next()
			if !ok {
				break
			}
			m.Tick(at)
			read()
			check(t, m)
		}
		if len(open) > 0 || stopped != 1 {
			t.Fatalf("after a drain %d calls are open, stopped %d times", len(open), stopped)
		}
		for _, w := range workers {
			m.Down(now+time.Hour, w, 0, true)
			read()
			check(t, m)
		}
		for i := range m.jobs {
			if m.jobs[i].state != unused {
				t.Fatalf("job %d is still there", i)
			}
		}
		for i := range m.Workers(now) {
			t.Fatalf("worker %s is still there", i.Name)
		}
		if len(m.kinds) > 0 || len(m.pools) > 0 || len(m.timers.heap) > 0 {
			t.Fatalf("%d kinds, %d pools, %d timers are still there", len(m.kinds), len(m.pools), len(m.timers.heap))
		}
	})
}
