package dispatch

import (
	"math/bits"
	"slices"
	"time"

	"appbundle/powerhose/internal/wire"
)

// A phase is where a worker is.
type phase uint8

const (
	absent  phase = iota
	joining       // registered, its work link is not attached
	ready
	closing // its links are being closed; what it has written may still come
)

// A worker is one registration, until both of its links are gone.
type worker struct {
	handle      Worker
	name        string
	incarnation [16]byte
	pid         uint32
	mask        uint64 // kinds that it takes
	pool        *pool
	phase       phase
	leaving     bool  // it drains: no new job
	broken      bool  // it did not keep to the protocol: nothing it says counts
	counted     bool  // in its pool
	slow        bool  // its first job is not short, or it gave one back
	list        int8  // of its pool, or nobody
	prev, next  int32 // there
	window      uint8
	load        uint8     // jobs in queue
	orphans     uint8     // of them
	queue       [16]int32 // its jobs in the order of sending
	sent        uint64    // JOBs, ever
	done        uint64    // answers, ever
	average     time.Duration
	since       time.Duration // registered
	heard       time.Duration
	probe       time.Duration // it must be heard before; 0 is no such time
	leaveBy     time.Duration
	held        []uint64 // jobs of an earlier link
	recent      [16]uint64
	recentAt    uint8
}

// everyKind is the mask of a worker that names no kinds: jobs without one too.
const everyKind = ^uint64(0)

// A pool is the workers that take the same kinds.
type pool struct {
	mask    uint64
	workers int32 // that are counted
	members int
	lists   [wire.MaxWindow]list // by load, of those that can take one more
	idle    int32
}

// Register takes a worker, or says why not. The owner has checked before that
// the socket is the worker's own; it answers with WELCOME, dials, and tells
// Attached when the worker has answered there.
func (m *Machine) Register(now time.Duration, r Registration) (Worker, wire.Code) {
	m.Tick(now)
	code, mask := m.admit(now, &r), everyKind
	if code == wire.OK && len(r.Kinds) > 0 {
		mask, code = m.takeKinds(r.Kinds)
	}
	if code != wire.OK {
		m.count.RefusedWorkers++
		return 0, code
	}
	var at int32
	if n := len(m.freeWorker); n > 0 {
		at = m.freeWorker[n-1]
		m.freeWorker = m.freeWorker[:n-1]
	} else {
		at = int32(len(m.workers))
		m.workers = append(m.workers, worker{})
	}
	w := &m.workers[at]
	generation := w.handle>>16 + 1
	*w = worker{
		handle: max(generation&0xffff, 1)<<16 | Worker(at),
		name:   r.Name, incarnation: r.Incarnation, pid: r.PID, mask: mask, pool: m.pool(mask),
		phase: joining, list: nobody, prev: nobody, next: nobody,
		window: uint8(max(1, min(r.Window, m.cfg.Window))), since: now, heard: now,
	}
	if r.Remote {
		w.window = 1
	}
	for i := range min(r.Held.Len(), wire.MaxWindow) {
		w.held = append(w.held, r.Held.At(i))
	}
	w.pool.members++
	m.names[w.name] = at
	m.live++
	m.count.Registered++
	m.timers.set(^at, now+m.cfg.Handshake)
	return w.handle, wire.OK
}

// takeKinds is the mask of these kinds, each of which is counted once.
func (m *Machine) takeKinds(kinds []string) (uint64, wire.Code) {
	var mask uint64
	for _, k := range kinds {
		bit, ok := m.kind([]byte(k))
		if !ok {
			m.dropKinds(mask)
			return 0, wire.TooMany
		}
		if mask&(1<<bit) != 0 {
			m.dropKind(bit) // it is named twice
		}
		mask |= 1 << bit
	}
	return mask, wire.OK
}

func (m *Machine) dropKinds(mask uint64) {
	if mask == everyKind {
		return
	}
	for ; mask != 0; mask &= mask - 1 {
		m.dropKind(bits.TrailingZeros64(mask))
	}
}

// admit decides on a registration by what is known before.
func (m *Machine) admit(now time.Duration, r *Registration) wire.Code {
	if m.draining {
		return wire.Draining
	}
	step := time.Second / time.Duration(m.cfg.Rate)
	if m.allowed = max(m.allowed, now); m.allowed-now > time.Second-step {
		return wire.TooFast
	}
	m.allowed += step
	if r.Lowest > wire.Version || r.Highest < wire.Version {
		return wire.BadVersion
	}
	if at, taken := m.names[r.Name]; taken {
		switch w := &m.workers[at]; {
		case w.phase == closing:
		case w.incarnation == r.Incarnation:
			m.close(at, wire.Replaced)
		default:
			m.challenge(now, at)
			return wire.NameTaken
		}
	}
	if m.live >= m.cfg.MaxWorkers || len(m.workers) == maxWorkers && len(m.freeWorker) == 0 {
		return wire.TooMany
	}
	return wire.OK
}

// challenge asks the holder of a name whether it lives.
func (m *Machine) challenge(now time.Duration, at int32) {
	w := &m.workers[at]
	if w.phase == ready && w.load == 0 && w.probe == 0 {
		w.probe = now + probeWait
		m.do(Action{Do: Ask, Worker: w.handle})
		m.timers.set(^at, m.due(w))
	}
}

// pool is the one with this mask. Those that take fewer kinds come first, so
// that a job goes to a specialist while one is free.
func (m *Machine) pool(mask uint64) *pool {
	for _, p := range m.pools {
		if p.mask == mask {
			return p
		}
	}
	p := &pool{mask: mask}
	for i := range p.lists {
		p.lists[i] = list{nobody, nobody}
	}
	at, _ := slices.BinarySearchFunc(m.pools, p, func(a, b *pool) int {
		return bits.OnesCount64(a.mask) - bits.OnesCount64(b.mask)
	})
	m.pools = slices.Insert(m.pools, at, p)
	return p
}

// find is the index of a worker, or nobody: its handle may be out of date.
func (m *Machine) find(h Worker) int32 {
	if at := int32(h & 0xffff); int(at) < len(m.workers) && h != 0 && m.workers[at].handle == h && m.workers[at].phase != absent {
		return at
	}
	return nobody
}

// Attached says that the work link of a worker is up and that the worker has
// proved to be the one that registered.
func (m *Machine) Attached(now time.Duration, h Worker) {
	m.Tick(now)
	at := m.find(h)
	if at == nobody || m.workers[at].phase != joining {
		return
	}
	m.workers[at].phase = ready
	m.hear(now, at)
	m.timers.set(^at, m.due(&m.workers[at]))
	m.refill(now, at)
}

// Heard says that a worker sent something that is no answer: a PING.
func (m *Machine) Heard(now time.Duration, h Worker) {
	m.Tick(now)
	if at := m.find(h); at != nobody {
		m.hear(now, at)
		if w := &m.workers[at]; len(w.held) > 0 && w.phase == ready {
			m.do(Action{Do: Ask, Worker: h})
		}
	}
}

// Pong says that a worker sent a PONG, and which jobs it has.
func (m *Machine) Pong(now time.Duration, h Worker, held wire.Numbers) {
	m.Tick(now)
	at := m.find(h)
	if at == nobody {
		return
	}
	m.hear(now, at)
	w := &m.workers[at]
	if len(w.held) == 0 {
		return
	}
	w.held = slices.DeleteFunc(w.held, func(n uint64) bool {
		for i := range held.Len() {
			if held.At(i) == n {
				return false
			}
		}
		w.remember(n) // should an answer come nevertheless, it is known
		return true
	})
	m.refill(now, at)
}

func (m *Machine) hear(now time.Duration, at int32) {
	w := &m.workers[at]
	w.heard, w.probe = now, 0
}

// due is when a worker is to be looked at next. While it is busy its silence
// means nothing.
func (m *Machine) due(w *worker) time.Duration {
	at := w.heard + m.cfg.Period*time.Duration(m.cfg.Tries)
	if w.probe > 0 {
		at = min(at, w.probe)
	}
	if w.leaving {
		at = min(at, w.leaveBy)
	}
	return at
}

// workerDue looks at a worker.
func (m *Machine) workerDue(now time.Duration, at int32) {
	w := &m.workers[at]
	switch due := m.due(w); {
	case w.phase == joining:
		m.close(at, wire.Silent)
	case w.leaving && now >= w.leaveBy:
		m.close(at, wire.Overdue)
	case now < due:
		m.timers.set(^at, due)
	case w.load > 0:
		w.probe = 0
		next := now + m.cfg.Period*time.Duration(m.cfg.Tries)
		if w.leaving {
			next = min(next, w.leaveBy)
		}
		m.timers.set(^at, next)
	default:
		m.close(at, wire.Silent)
	}
}

// Leave says that a worker sent DRAIN: it takes no new job, and will answer or
// return those it has.
func (m *Machine) Leave(now time.Duration, h Worker) {
	m.Tick(now)
	if at := m.find(h); at != nobody {
		m.leave(now, at)
	}
}

// Retire asks a worker to end when it has done what it has.
func (m *Machine) Retire(now time.Duration, h Worker) {
	m.Tick(now)
	at := m.find(h)
	if at == nobody || m.workers[at].leaving || m.workers[at].phase != ready {
		return
	}
	m.do(Action{Do: TellDrain, Worker: h})
	m.leave(now, at)
}

func (m *Machine) leave(now time.Duration, at int32) {
	w := &m.workers[at]
	if w.leaving || w.phase == closing {
		return
	}
	w.leaving, w.leaveBy = true, now+m.cfg.DrainTime
	m.hear(now, at)
	if w.phase == ready {
		m.timers.set(^at, m.due(w))
	}
	m.place(at)
}

// Bye says that a worker ends by itself: it sent BYE, or one of its links is
// over.
func (m *Machine) Bye(h Worker) {
	if at := m.find(h); at != nobody {
		m.close(at, wire.Stop)
	}
}

// Fail says that a worker did not keep to the protocol. Its links are closed,
// and what it says from now on does not count, except where it is TooSlow: one
// that does not read what is written to it may have answered well.
func (m *Machine) Fail(h Worker, code wire.Code) {
	at := m.find(h)
	switch {
	case at == nobody:
	case code == wire.TooSlow:
		m.close(at, code)
	default:
		m.fail(at, code)
	}
}

func (m *Machine) fail(at int32, code wire.Code) {
	w := &m.workers[at]
	if !w.broken {
		w.broken = true
		m.count.BrokenWorkers++
	}
	m.close(at, code)
}

// close ends a worker. Its jobs are settled by Down.
func (m *Machine) close(at int32, code wire.Code) {
	w := &m.workers[at]
	if w.phase == closing {
		return
	}
	w.phase = closing
	m.live--
	if code == wire.Stop {
		m.count.Gone++
	} else {
		m.count.Closed++
	}
	m.place(at)
	m.timers.stop(^at)
	m.do(Action{Do: Close, Worker: w.handle, Code: code})
}

// Down says that both links of a worker are gone, and that nothing more will be
// told of it. Written counts the JOBs of which at least a byte was written; the
// others cannot have been seen. Ended says that the worker's end was closed by
// the worker or by its death, and that everything it had written was read and
// told; it is false where the master closed the link first.
func (m *Machine) Down(now time.Duration, h Worker, written uint64, ended bool) {
	m.Tick(now)
	at := m.find(h)
	if at == nobody {
		return
	}
	w := &m.workers[at]
	if w.phase != closing {
		w.phase = closing
		m.live--
		m.count.Gone++
		m.place(at)
		m.timers.stop(^at)
	}
	queue, load, broken, running := w.queue, w.load, w.broken, time.Duration(0)
	if load > 0 {
		running = now - m.jobs[queue[0]].began
	}
	m.count.InFlight -= int(load)
	if m.names[w.name] == at {
		delete(m.names, w.name)
	}
	m.dropKinds(w.mask)
	if w.pool.members--; w.pool.members == 0 {
		m.pools = slices.DeleteFunc(m.pools, func(p *pool) bool { return p == w.pool })
	}
	*w = worker{handle: w.handle, list: nobody}
	m.freeWorker = append(m.freeWorker, at)
	for n, i := range queue[:load] {
		j := &m.jobs[i]
		j.worker = nobody
		started := j.ordinal <= written && (n == 0 || !ended || broken)
		switch {
		case j.state == orphaned:
			m.free(i)
		case !started:
			m.count.Moved++
			m.again(now, i)
		case j.repeat && int(j.attempt) < m.cfg.MaxAttempts && now < j.deadline:
			j.lost = true
			m.count.Repeated++
			m.again(now, i)
		default:
			m.reply(now, j, wire.Lost, running)
			m.free(i)
		}
		running = 0 // of the others nothing is known
	}
}

// place puts a worker into the list that it belongs to now.
func (m *Machine) place(at int32) {
	w := &m.workers[at]
	counted := w.phase == ready && !w.leaving
	if counted != w.counted {
		w.counted = counted
		if counted {
			w.pool.workers++
		} else {
			w.pool.workers--
		}
	}
	want := int8(nobody)
	if counted && w.orphans == 0 && len(w.held) == 0 {
		if w.load == 0 {
			want = 0
		} else if w.load < w.window && w.average > 0 && w.average < m.cfg.Short && !w.slow {
			want = int8(w.load)
		}
	}
	if want == w.list {
		return
	}
	if w.list >= 0 {
		l := &w.pool.lists[w.list]
		if w.prev != nobody {
			m.workers[w.prev].next = w.next
		} else {
			l.head = w.next
		}
		if w.next != nobody {
			m.workers[w.next].prev = w.prev
		} else {
			l.tail = w.prev
		}
		if w.list == 0 {
			w.pool.idle--
		}
	}
	w.list, w.prev, w.next = want, nobody, nobody
	if want < 0 {
		return
	}
	l := &w.pool.lists[want]
	w.prev = l.tail
	if l.tail != nobody {
		m.workers[l.tail].next = at
	} else {
		l.head = at
	}
	l.tail = at
	if want == 0 {
		w.pool.idle++
	}
}

// pick is the worker for a job of this kind, or nobody: the one that has been
// idle for longest; where none is idle, the least loaded of those with nothing
// but short jobs.
func (m *Machine) pick(now time.Duration, bit uint64) int32 {
	for load := range m.cfg.Window {
		for _, p := range m.pools {
			if p.mask&bit == 0 {
				continue
			}
			for {
				at := p.lists[load].head
				if at == nobody {
					break
				}
				if load == 0 || m.short(now, at) {
					return at
				}
			}
		}
	}
	return nobody
}

// short reports whether the first job of a worker has not been running for
// long. If it has, the worker gets no second one until it answers.
func (m *Machine) short(now time.Duration, at int32) bool {
	w := &m.workers[at]
	if now-m.jobs[w.queue[0]].began < m.cfg.Short {
		return true
	}
	w.slow = true
	m.place(at)
	return false
}

// refill gives a worker what waits for it. Where somebody waits no other worker
// is free.
func (m *Machine) refill(now time.Duration, at int32) {
	m.place(at)
	for m.workers[at].list >= 0 {
		i := m.first(m.workers[at].mask)
		if i == nobody || m.workers[at].load > 0 && !m.short(now, at) {
			return
		}
		m.unqueue(i)
		m.assign(now, i, at)
	}
}

// busy counts the workers that take a kind, and those of them that are not
// idle.
func (m *Machine) busy(bit uint64) (busy, all int) {
	for _, p := range m.pools {
		if p.mask&bit != 0 {
			all += int(p.workers)
			busy += int(p.workers - p.idle)
		}
	}
	return busy, all
}

// remember keeps the numbers of the last jobs that a worker was done with.
func (w *worker) remember(number uint64) {
	w.recent[w.recentAt%uint8(len(w.recent))] = number
	w.recentAt++
}
