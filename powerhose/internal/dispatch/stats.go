package dispatch

import (
	"iter"
	"math/bits"
	"time"

	"appbundle/powerhose/internal/wire"
)

// Counters are what a machine has done so far, and two that say what is now.
type Counters struct {
	Calls     uint64 // submitted
	Refused   uint64 // of them, since the master drains or there are too many kinds
	QueueFull uint64 // of them, since too many wait

	Results   uint64 // replies with a result
	Errors    uint64 // with an error of the worker
	Busy      uint64
	NoWorker  uint64
	Timeouts  uint64
	Lost      uint64
	Cancelled uint64
	Drained   uint64

	Repeated  uint64 // jobs sent again after their worker was lost
	Moved     uint64 // jobs sent to another worker that were never started
	Returned  uint64 // given back by a worker
	Late      uint64 // answers for which nobody waited any more
	Duplicate uint64 // second answers
	Stray     uint64 // answers to what their worker was not given

	Registered     uint64
	RefusedWorkers uint64
	BrokenWorkers  uint64 // that did not keep to the protocol
	Closed         uint64 // workers that the master closed, for any reason
	Gone           uint64 // workers that went by themselves, or died

	InFlight int // jobs at workers
	Waiting  int // callers

	Wait Histogram // of jobs that were sent, until they were
	Run  Histogram // as the worker measured it
}

func (c *Counters) outcome(code wire.Code) {
	switch code {
	case wire.OK:
		c.Results++
	case wire.Busy:
		c.Busy++
	case wire.NoWorker:
		c.NoWorker++
	case wire.Timeout:
		c.Timeouts++
	case wire.Lost:
		c.Lost++
	case wire.Cancelled:
		c.Cancelled++
	case wire.Draining:
		c.Drained++
	default:
		c.Errors++
	}
}

// A Histogram counts times: at index n those of less than 2^n microseconds and
// not of less than half of that, the last one all that are longer.
type Histogram struct {
	Buckets [32]uint64
	Sum     time.Duration
}

func (h *Histogram) add(d time.Duration) {
	h.Buckets[min(bits.Len64(uint64(d/time.Microsecond)), len(h.Buckets)-1)]++
	h.Sum += d
}

// Counters returns a copy.
func (m *Machine) Counters() Counters {
	c := m.count
	c.Waiting = m.waits
	return c
}

// An Info is what there is to tell of a worker.
type Info struct {
	Worker  Worker
	Name    string
	PID     uint32
	State   string // joining, idle, busy, draining, closing
	Window  int
	Load    int           // jobs that it has
	Done    uint64        // answers
	Average time.Duration // of its recent jobs
	Since   time.Duration // registered
	Running time.Duration // its first job
}

// Workers gives all workers.
func (m *Machine) Workers(now time.Duration) iter.Seq[Info] {
	return func(yield func(Info) bool) {
		for i := range m.workers {
			w := &m.workers[i]
			info := Info{Worker: w.handle, Name: w.name, PID: w.pid, Window: int(w.window), Load: int(w.load), Done: w.done, Average: w.average, Since: w.since}
			switch {
			case w.phase == absent:
				continue
			case w.phase == joining:
				info.State = "joining"
			case w.phase == closing:
				info.State = "closing"
			case w.leaving:
				info.State = "draining"
			case w.load > 0 || len(w.held) > 0:
				info.State = "busy"
			default:
				info.State = "idle"
			}
			if w.load > 0 {
				info.Running = now - m.jobs[w.queue[0]].began
			}
			if !yield(info) {
				return
			}
		}
	}
}
