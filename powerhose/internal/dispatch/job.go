package dispatch

import (
	"math/bits"
	"time"

	"appbundle/internal/invariant"
	"appbundle/powerhose/internal/wire"
)

// nobody is the index of no job and of no worker.
const nobody = -1

// A state is where a job is.
type state uint8

const (
	unused   state = iota
	waiting        // for a worker
	given          // to a worker
	orphaned       // given to a worker, and the caller has its reply
)

// A job is a call that was accepted, until both the caller has its reply and
// no worker has the job.
type job struct {
	ticket   Ticket
	number   uint64 // of this sending; 0 while no worker has it
	order    uint64 // of arrival
	ordinal  uint64 // of the JOBs of its worker's link
	arrived  time.Duration
	deadline time.Duration
	busyWait time.Duration
	wait     time.Duration // until it was sent first
	began    time.Duration // when it became the first of its worker
	worker   int32         // index
	last     Worker        // that had it
	pid      uint32        // of it
	prev     int32
	next     int32
	state    state
	kind     uint8
	urgent   uint8
	attempt  uint8 // 0 until it is sent
	lost     bool  // with its worker: the next sending is another attempt
	returns  uint8
	repeat   bool
	progress bool
}

// A list is the ends of a chain of jobs or workers.
type list struct{ head, tail int32 }

// Submit takes a call. The code is OK, and then a Reply with the ticket will
// come; or it says why there is no ticket: the master drains, too many wait, or
// there are too many kinds.
func (m *Machine) Submit(now time.Duration, c Call) (Ticket, wire.Code) {
	m.Tick(now)
	m.count.Calls++
	if m.draining {
		m.count.Refused++
		return 0, wire.Draining
	}
	kind, ok := 0, true
	if len(c.Kind) > 0 {
		if kind, ok = m.kind(c.Kind); !ok {
			m.count.Refused++
			return 0, wire.TooMany
		}
	}
	w := m.pick(now, 1<<kind)
	if w == nobody && m.waits >= m.cfg.MaxWaiting {
		m.dropKind(kind)
		m.count.QueueFull++
		return 0, wire.QueueFull
	}
	i := m.alloc()
	j := &m.jobs[i]
	m.order++
	*j = job{
		order: m.order, arrived: now, worker: nobody, prev: nobody, next: nobody,
		kind: uint8(kind), repeat: c.Repeatable, progress: c.Progress, state: waiting,
		deadline: now + orDefault(c.Deadline, m.cfg.Deadline), busyWait: orDefault(c.BusyWait, m.cfg.BusyWait),
	}
	if c.Urgent {
		j.urgent = 1
	}
	j.ticket = Ticket(m.fresh(i))
	m.open++
	if w != nobody {
		m.assign(now, i, w)
	} else {
		m.queue(now, i)
	}
	return j.ticket, wire.OK
}

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return max(0, min(d, longest))
}

// Cancel answers a caller that does not want to wait any longer. It reports
// whether the call was open; if so its Reply has the code Cancelled.
func (m *Machine) Cancel(now time.Duration, t Ticket) bool {
	m.Tick(now)
	i := int32(t.Slot())
	if int(i) >= len(m.jobs) || m.jobs[i].ticket != t {
		return false
	}
	switch j := &m.jobs[i]; j.state {
	case waiting:
		m.unqueue(i)
		m.reply(now, j, wire.Cancelled, 0)
		m.free(i)
	case given:
		m.reply(now, j, wire.Cancelled, m.ran(now, i))
		m.orphan(now, i)
	default:
		return false
	}
	return true
}

// alloc takes a slot.
func (m *Machine) alloc() int32 {
	i := m.freeJob
	if i == nobody {
		m.jobs = append(m.jobs, job{})
		return int32(len(m.jobs) - 1)
	}
	m.freeJob = m.jobs[i].next
	return i
}

// free gives a slot back.
func (m *Machine) free(i int32) {
	j := &m.jobs[i]
	if invariant.Enabled && j.state == unused {
		invariant.Check(false, "job %d is freed twice", i)
	}
	m.timers.stop(i)
	m.dropKind(int(j.kind))
	*j = job{next: m.freeJob}
	m.freeJob = i
	m.stopIfIdle()
}

// fresh is a number that the slot has not had for as long as anybody could
// remember: 44 bits of sequence.
func (m *Machine) fresh(slot int32) uint64 {
	if m.sequence++; m.sequence == 1<<(64-slotBits) {
		m.sequence = 1
	}
	return m.sequence<<slotBits | uint64(slot)
}

// kind is the bit of a kind, which is made if there is room, and counted.
func (m *Machine) kind(name []byte) (int, bool) {
	k, known := m.kinds[string(name)]
	if !known {
		for k = 1; k <= maxKinds && m.kindRefs[k] > 0; k++ {
		}
		if k > maxKinds {
			return 0, false
		}
		m.kindName[k] = string(name)
		m.kinds[m.kindName[k]] = k
	}
	m.kindRefs[k]++
	return k, true
}

// dropKind counts down, and forgets a kind that nobody uses.
func (m *Machine) dropKind(k int) {
	if k == 0 {
		return
	}
	if m.kindRefs[k]--; m.kindRefs[k] == 0 {
		delete(m.kinds, m.kindName[k])
		m.kindName[k] = ""
	}
}

// queue lets a job wait: behind those that came before it, which is at the end
// unless it was given to a worker already.
func (m *Machine) queue(now time.Duration, i int32) {
	j := &m.jobs[i]
	j.state, j.worker, j.number = waiting, nobody, 0
	l := &m.waiting[j.urgent][j.kind]
	before := l.tail
	if before != nobody && m.jobs[before].order > j.order {
		before = nobody
		for next := l.head; m.jobs[next].order < j.order; next = m.jobs[next].next {
			before = next
		}
	}
	after := l.head
	if before != nobody {
		after = m.jobs[before].next
		m.jobs[before].next = i
	} else {
		l.head = i
	}
	if after != nobody {
		m.jobs[after].prev = i
	} else {
		l.tail = i
	}
	j.prev, j.next = before, after
	m.nonEmpty[j.urgent] |= 1 << j.kind
	m.waits++
	m.timers.set(i, min(j.deadline, now+j.busyWait))
}

// unqueue takes a job out of its queue.
func (m *Machine) unqueue(i int32) {
	j := &m.jobs[i]
	l := &m.waiting[j.urgent][j.kind]
	if j.prev != nobody {
		m.jobs[j.prev].next = j.next
	} else {
		l.head = j.next
	}
	if j.next != nobody {
		m.jobs[j.next].prev = j.prev
	} else {
		l.tail = j.prev
	}
	j.prev, j.next = nobody, nobody
	if l.head == nobody {
		m.nonEmpty[j.urgent] &^= 1 << j.kind
	}
	m.waits--
}

// first is the job that waits longest of those that a worker with this mask
// takes, urgent ones before others.
func (m *Machine) first(mask uint64) int32 {
	for p := 1; p >= 0; p-- {
		best := int32(nobody)
		for set := m.nonEmpty[p] & mask; set != 0; set &= set - 1 {
			i := m.waiting[p][bits.TrailingZeros64(set)].head
			if best == nobody || m.jobs[i].order < m.jobs[best].order {
				best = i
			}
		}
		if best != nobody {
			return best
		}
	}
	return nobody
}

// again gives a job that is at no worker to another one, or lets it wait.
func (m *Machine) again(now time.Duration, i int32) {
	if w := m.pick(now, 1<<m.jobs[i].kind); w != nobody {
		m.assign(now, i, w)
		return
	}
	m.queue(now, i)
}

// assign sends a job to a worker.
func (m *Machine) assign(now time.Duration, i, at int32) {
	j, w := &m.jobs[i], &m.workers[at]
	if j.attempt == 0 {
		j.attempt = 1
		j.number = uint64(j.ticket)
		j.wait = now - j.arrived
		m.count.Wait.add(j.wait)
	} else {
		if j.lost {
			j.attempt++
			j.lost = false
		}
		// An answer to the sending before is not one to this.
		j.number = m.fresh(i)
	}
	w.sent++
	j.state, j.worker, j.last, j.pid, j.ordinal = given, at, w.handle, w.pid, w.sent
	if w.load == 0 {
		j.began = now
	}
	w.queue[w.load] = i
	w.load++
	m.count.InFlight++
	m.timers.set(i, j.deadline)
	m.place(at)
	m.do(Action{Do: Send, Worker: w.handle, Ticket: j.ticket, Number: j.number, Attempt: j.attempt, Left: j.deadline - now})
}

// reply tells the caller. It is called once for each job.
func (m *Machine) reply(now time.Duration, j *job, code wire.Code, run time.Duration) {
	if invariant.Enabled && j.state != waiting && j.state != given {
		invariant.Check(false, "ticket %d is answered twice", j.ticket)
	}
	a := Action{Do: Reply, Ticket: j.ticket, Number: j.number, Code: code, Attempt: j.attempt, Worker: j.last, PID: j.pid, Wait: j.wait, Run: run}
	if j.attempt == 0 {
		a.Wait = now - j.arrived
	}
	if j.state == waiting {
		a.Busy, a.Workers = m.busy(1 << j.kind)
	}
	m.open--
	m.count.outcome(code)
	m.do(a)
}

// unserved is the code of a job that found no worker: code, unless an earlier
// attempt of it was started.
func (m *Machine) unserved(j *job, code wire.Code) wire.Code {
	if j.attempt > 1 || j.lost {
		return wire.Lost
	}
	return code
}

// ran is how long a job has been running, as far as the master can know.
func (m *Machine) ran(now time.Duration, i int32) time.Duration {
	if j := &m.jobs[i]; m.workers[j.worker].queue[0] == i {
		return now - j.began
	}
	return 0
}

// orphan is what remains of a job whose caller has its reply: its worker is
// told, and is busy with it until it answers.
func (m *Machine) orphan(now time.Duration, i int32) {
	j := &m.jobs[i]
	w := &m.workers[j.worker]
	j.state = orphaned
	w.orphans++
	if w.queue[0] == i {
		m.timers.set(i, max(now, j.deadline)+m.cfg.Grace)
	} else {
		m.timers.stop(i) // the jobs before it have their own
	}
	m.place(j.worker)
	if w.phase == ready {
		m.do(Action{Do: Withdraw, Worker: w.handle, Number: j.number})
	}
	m.stopIfIdle()
}

// jobDue ends a wait, a job that takes too long, or the worker that does not
// let go of it.
func (m *Machine) jobDue(now time.Duration, i int32) {
	switch j := &m.jobs[i]; j.state {
	case waiting:
		code := wire.Busy
		if _, all := m.busy(1 << j.kind); all == 0 {
			code = wire.NoWorker
		}
		m.unqueue(i)
		m.reply(now, j, m.unserved(j, code), 0)
		m.free(i)
	case given:
		m.reply(now, j, wire.Timeout, m.ran(now, i))
		m.orphan(now, i)
	case orphaned:
		m.timers.stop(i)
		m.close(j.worker, wire.Overdue)
	}
}
