package powerhose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"appbundle/powerhose/internal/dispatch"
)

// statusSuffix is what the socket of a master's status is called, behind the
// path of the master.
const statusSuffix = ".status"

// A Status is what a master is doing, and what it has done.
type Status struct {
	Format  int            `json:"format"` // 1
	Address string         `json:"address"`
	TCP     string         `json:"tcp,omitempty"` // where it listens for other hosts
	PID     int            `json:"pid"`
	Uptime  float64        `json:"uptime"` // seconds, as all times here
	State   string         `json:"state"`  // running, draining
	Workers []WorkerStatus `json:"workers"`
	Callers int            `json:"callers"` // processes
	Waiting int            `json:"waiting"` // calls without a worker
	Running int            `json:"running"` // jobs at workers
	Calls   CallCounts     `json:"calls"`
	Events  EventCounts    `json:"events"`
	Wait    Histogram      `json:"wait"` // of calls, for a worker
	Run     Histogram      `json:"run"`  // of jobs, in the worker
}

// A WorkerStatus is one worker.
type WorkerStatus struct {
	Name    string   `json:"name"`
	PID     int      `json:"pid"`               // on its host
	Address string   `json:"address,omitempty"` // over TCP: from where it came
	Key     string   `json:"key,omitempty"`     // over TCP: how its public key begins
	State   string   `json:"state"`             // joining, idle, busy, draining, closing
	Kinds   []string `json:"kinds,omitempty"`   // of jobs that it takes; none is all
	Window  int      `json:"window"`
	Jobs    int      `json:"jobs"`    // that it has
	Done    uint64   `json:"done"`    // answers
	Average float64  `json:"average"` // of its last jobs
	Age     float64  `json:"age"`     // since it registered
	Running float64  `json:"running"` // its present job
}

// CallCounts are the calls so far, and what they ended with.
type CallCounts struct {
	Total     uint64 `json:"total"`
	Results   uint64 `json:"results"`
	Errors    uint64 `json:"errors"` // of workers
	Busy      uint64 `json:"busy"`
	NoWorker  uint64 `json:"no_worker"`
	QueueFull uint64 `json:"queue_full"`
	Timeouts  uint64 `json:"timeouts"`
	Lost      uint64 `json:"lost"`
	Cancelled uint64 `json:"cancelled"`
	Drained   uint64 `json:"drained"`
}

// EventCounts are what happened to workers and between them.
type EventCounts struct {
	Registered uint64 `json:"registered"`
	Refused    uint64 `json:"refused"` // workers, and connections that did not become links
	Gone       uint64 `json:"gone"`    // workers that went by themselves, or died
	Closed     uint64 `json:"closed"`  // workers that the master closed
	Broken     uint64 `json:"broken"`  // of these, for not keeping to the protocol
	Malformed  uint64 `json:"malformed"`
	Repeated   uint64 `json:"repeated"`  // jobs that were given again after a loss
	Moved      uint64 `json:"moved"`     // jobs that were given again, never started
	Returned   uint64 `json:"returned"`  // jobs that a worker gave back
	Late       uint64 `json:"late"`      // answers for which nobody waited
	Duplicate  uint64 `json:"duplicate"` // second answers
	Stray      uint64 `json:"stray"`     // answers to what was not asked
}

// A Histogram counts times. A bucket has those that are at most Le seconds and
// are in no bucket before it; what is longer than all is counted in Count alone.
type Histogram struct {
	Buckets []Bucket `json:"buckets"`
	Count   uint64   `json:"count"`
	Sum     float64  `json:"sum"`
}

// A Bucket is one of a [Histogram].
type Bucket struct {
	Le    float64 `json:"le"`
	Count uint64  `json:"count"`
}

// Status says what the master is doing now.
func (m *Master) Status() *Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	c := m.machine.Counters()
	s := &Status{
		Format: 1, Address: m.path, TCP: m.TCPAddress(), PID: int(own()), Uptime: now.Seconds(), State: "running", Workers: []WorkerStatus{},
		Callers: m.count.callers, Waiting: c.Waiting, Running: c.InFlight,
		Calls: CallCounts{
			Total: c.Calls, Results: c.Results, Errors: c.Errors, Busy: c.Busy, NoWorker: c.NoWorker, QueueFull: c.QueueFull, Timeouts: c.Timeouts,
			Lost: c.Lost, Cancelled: c.Cancelled, Drained: c.Drained + c.Refused,
		},
		Events: EventCounts{
			Registered: c.Registered, Refused: c.RefusedWorkers + m.count.refused, Gone: c.Gone, Closed: c.Closed, Broken: c.BrokenWorkers,
			Malformed: m.count.malformed, Repeated: c.Repeated, Moved: c.Moved, Returned: c.Returned, Late: c.Late, Duplicate: c.Duplicate, Stray: c.Stray,
		},
		Wait: histogram(&c.Wait), Run: histogram(&c.Run),
	}
	if m.ending {
		s.State = "draining"
	}
	for w := range m.machine.Workers(now) {
		one := WorkerStatus{
			Name: w.Name, PID: int(w.PID), State: w.State, Window: w.Window, Jobs: w.Load, Done: w.Done, Average: w.Average.Seconds(),
			Age: (now - w.Since).Seconds(), Running: w.Running.Seconds(),
		}
		if p := m.workers[w.Worker]; p != nil {
			one.Kinds = p.kinds
			if p.overTCP() {
				one.Address, one.Key = p.who.Addr, p.reg.Peer().Key.String()[:keyPrefix]
			}
		}
		s.Workers = append(s.Workers, one)
	}
	slices.SortFunc(s.Workers, func(a, b WorkerStatus) int { return strings.Compare(a.Name, b.Name) })
	return s
}

// histogram leaves out what is behind the last bucket that has something.
func histogram(in *dispatch.Histogram) Histogram {
	out := Histogram{Buckets: []Bucket{}, Sum: in.Sum.Seconds()}
	last := -1
	for i, n := range in.Buckets {
		out.Count += n
		if n > 0 {
			last = i
		}
	}
	for i := range min(last+1, len(in.Buckets)-1) {
		// Index i has what is less than 2^i microseconds.
		out.Buckets = append(out.Buckets, Bucket{Le: float64(uint64(1)<<i) / 1e6, Count: in.Buckets[i]})
	}
	return out
}

// WritePrometheus writes the status in the text format of Prometheus.
func (s *Status) WritePrometheus(w io.Writer) error {
	var b strings.Builder
	one := func(name, kind, help string, value any) {
		fmt.Fprintf(&b, "# HELP powerhose_%s %s\n# TYPE powerhose_%s %s\npowerhose_%s %v\n", name, help, name, kind, name, value)
	}
	type labelled struct {
		label string
		n     uint64
	}
	several := func(name, help, label string, values []labelled) {
		fmt.Fprintf(&b, "# HELP powerhose_%s %s\n# TYPE powerhose_%s counter\n", name, help, name)
		for _, v := range values {
			fmt.Fprintf(&b, "powerhose_%s{%s=%q} %d\n", name, label, v.label, v.n)
		}
	}
	one("uptime_seconds", "gauge", "Time since the master started.", s.Uptime)
	one("callers", "gauge", "Processes that are connected as callers.", s.Callers)
	one("calls_waiting", "gauge", "Calls that wait for a worker.", s.Waiting)
	one("jobs_running", "gauge", "Jobs at workers.", s.Running)
	states := map[string]uint64{}
	for _, w := range s.Workers {
		states[w.State]++
	}
	b.WriteString("# HELP powerhose_workers Workers that are registered.\n# TYPE powerhose_workers gauge\n")
	for _, state := range []string{"joining", "idle", "busy", "draining", "closing"} {
		fmt.Fprintf(&b, "powerhose_workers{state=%q} %d\n", state, states[state])
	}
	c, e := &s.Calls, &s.Events
	one("calls_submitted_total", "counter", "Calls.", c.Total)
	several("calls_total", "Calls by what they ended with.", "outcome", []labelled{
		{"result", c.Results}, {"error", c.Errors}, {"busy", c.Busy}, {"no_worker", c.NoWorker}, {"queue_full", c.QueueFull}, {"timeout", c.Timeouts},
		{"lost", c.Lost}, {"cancelled", c.Cancelled}, {"drained", c.Drained},
	})
	several("workers_total", "Workers by what happened to them.", "event", []labelled{
		{"registered", e.Registered}, {"refused", e.Refused}, {"gone", e.Gone}, {"closed", e.Closed}, {"broken", e.Broken},
	})
	several("jobs_given_again_total", "Jobs that were given to another worker.", "why", []labelled{{"repeated", e.Repeated}, {"moved", e.Moved}})
	several("answers_dropped_total", "Answers of workers for which nobody waited.", "why", []labelled{
		{"late", e.Late}, {"duplicate", e.Duplicate}, {"stray", e.Stray},
	})
	one("jobs_returned_total", "counter", "Jobs that a worker gave back.", e.Returned)
	one("malformed_total", "counter", "Peers that were closed for what they sent.", e.Malformed)
	b.WriteString("# HELP powerhose_worker_jobs_total Answers of a worker.\n# TYPE powerhose_worker_jobs_total counter\n")
	for _, w := range s.Workers {
		fmt.Fprintf(&b, "powerhose_worker_jobs_total{worker=%q} %d\n", w.Name, w.Done)
	}
	b.WriteString("# HELP powerhose_worker_kind Kinds of jobs that a worker takes, where * is every kind.\n# TYPE powerhose_worker_kind gauge\n")
	for _, w := range s.Workers {
		kinds := w.Kinds
		if len(kinds) == 0 {
			kinds = []string{"*"}
		}
		for _, kind := range kinds {
			fmt.Fprintf(&b, "powerhose_worker_kind{worker=%q,kind=%q} 1\n", w.Name, kind)
		}
	}
	for _, h := range []struct {
		name, help string
		h          *Histogram
	}{
		{"wait_seconds", "Time that a call waited for a worker.", &s.Wait},
		{"run_seconds", "Time that a job took in its worker.", &s.Run},
	} {
		fmt.Fprintf(&b, "# HELP powerhose_%s %s\n# TYPE powerhose_%s histogram\n", h.name, h.help, h.name)
		sum := uint64(0)
		for _, k := range h.h.Buckets {
			sum += k.Count
			fmt.Fprintf(&b, "powerhose_%s_bucket{le=\"%g\"} %d\n", h.name, k.Le, sum)
		}
		fmt.Fprintf(&b, "powerhose_%s_bucket{le=\"+Inf\"} %d\npowerhose_%s_sum %g\npowerhose_%s_count %d\n", h.name, h.h.Count, h.name, h.h.Sum, h.name, h.h.Count)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// statusTime is how long a reader of a status has.
const statusTime = 2 * time.Second

// listenStatus binds the socket of the status. The master's own is locked by
// now: whatever is there is left of one that is gone.
func listenStatus(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		ln.Close()
		return nil, err
	}
	return ln, nil
}

// serveStatus writes the status to who connects, and hangs up. Who may connect
// the mode of the socket says.
func (m *Master) serveStatus() {
	for {
		nc, err := m.status.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// No descriptors: there will be some again.
			select {
			case <-m.ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		_ = nc.SetDeadline(time.Now().Add(statusTime))
		b, err := json.Marshal(m.Status())
		if err == nil {
			_, _ = nc.Write(append(b, '\n'))
		}
		nc.Close()
	}
}

// ReadStatus asks the master at an address what it is doing.
func ReadStatus(ctx context.Context, address string) (*Status, error) {
	if isTCP(address) {
		return nil, fmt.Errorf("%s: over TCP a master does not tell its status; ask at the path of its socket, on its host", address)
	}
	path, err := placeOf(address)
	if err != nil {
		return nil, err
	}
	nc, err := (&net.Dialer{Timeout: statusTime}).DialContext(ctx, "unix", path+statusSuffix)
	if err != nil {
		return nil, fmt.Errorf("%w at %s: %w", ErrNoMaster, path, callError(err))
	}
	defer nc.Close()
	end := time.Now().Add(statusTime)
	if soon, ok := ctx.Deadline(); ok && soon.Before(end) {
		end = soon
	}
	if err := nc.SetDeadline(end); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(nc, 16<<20))
	s := new(Status)
	if err == nil {
		err = json.Unmarshal(b, s)
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("master %s does not answer", path)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path+statusSuffix, err)
	}
	return s, nil
}

// callError takes the addresses off an error of the network.
func callError(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		err = call.Err
	}
	return err
}
