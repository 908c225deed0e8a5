package dispatch

import (
	"strconv"
	"testing"
	"time"

	"appbundle/powerhose/internal/wire"
)

// full is a machine with workers that have shown to be quick.
func full(b testing.TB, workers int) (*Machine, []Worker) {
	m, err := New(Config{})
	if err != nil {
		b.Fatal(err)
	}
	var all []Worker
	for i := range workers {
		w, code := m.Register(time.Duration(i)*20*time.Millisecond, Registration{
			Name: "w" + strconv.Itoa(i), Incarnation: [16]byte{byte(i), byte(i >> 8), 1}, Lowest: 1, Highest: 1, Window: 4,
		})
		if code != wire.OK {
			b.Fatal(code)
		}
		m.Attached(0, w)
		all = append(all, w)
	}
	m.Actions()
	return m, all
}

// BenchmarkJobs has so many callers that always have a call open, and workers
// that answer in turn: the callers beyond the windows wait.
func BenchmarkJobs(b *testing.B) {
	for _, size := range []struct{ workers, callers int }{{1, 1}, {4, 4}, {4, 16}, {4, 64}, {64, 1024}} {
		b.Run(strconv.Itoa(size.workers)+"x"+strconv.Itoa(size.callers), func(b *testing.B) {
			m, _ := full(b, size.workers)
			now := time.Duration(size.workers) * 20 * time.Millisecond
			type sent struct {
				worker Worker
				number uint64
			}
			var flying [1 << 12]sent // a ring
			first, last := 0, 0
			replies := 0
			read := func() {
				for _, a := range m.Actions() {
					switch a.Do {
					case Send:
						flying[last%len(flying)] = sent{a.Worker, a.Number}
						last++
					case Reply:
						if a.Code != wire.OK {
							b.Fatal(a)
						}
						replies++
					}
				}
			}
			for range size.callers {
				m.Submit(now, Call{})
			}
			read()
			b.ReportAllocs()
			for b.Loop() {
				now += time.Microsecond
				s := flying[first%len(flying)]
				first++
				m.Result(now, s.worker, s.number, 50*time.Microsecond)
				m.Submit(now, Call{})
				read()
			}
			if replies != b.N {
				b.Fatalf("%d replies for %d jobs", replies, b.N)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mjobs/s")
		})
	}
}
