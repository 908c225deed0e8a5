package dispatch

import (
	"slices"
	"time"

	"appbundle/powerhose/internal/wire"
)

// Result says that a worker sent a RESULT: of the job with this number, which
// ran so long; 0 is not known. If a Reply follows it has the code OK, and the
// body belongs to it.
func (m *Machine) Result(now time.Duration, h Worker, number uint64, run time.Duration) {
	m.answer(now, h, number, wire.OK, run)
}

// Error says that a worker sent an ERROR. If a Reply follows it has the code
// Rejected, Panic, Timeout if the worker found that the deadline was over, or
// else Application.
func (m *Machine) Error(now time.Duration, h Worker, number uint64, code wire.Code, run time.Duration) {
	switch code {
	case wire.Application, wire.Rejected, wire.Panic:
	case wire.Expired:
		code = wire.Timeout
	default: // the codes of a master are promises that a worker cannot make
		code = wire.Application
	}
	m.answer(now, h, number, code, run)
}

func (m *Machine) answer(now time.Duration, h Worker, number uint64, code wire.Code, run time.Duration) {
	at, i := m.claim(now, h, number)
	if i == nobody {
		return
	}
	w, j := &m.workers[at], &m.jobs[i]
	if w.queue[0] != i {
		// The first job may not have been started, or this one too early:
		// nothing is known any more of what the worker did.
		m.count.Stray++
		m.fail(at, wire.Broken)
		return
	}
	if run <= 0 {
		run = max(now-j.began, 1)
	}
	if code == wire.OK || code == wire.Application || code == wire.Panic {
		w.average = (3*w.average + run) / 4
		if w.done == 0 {
			w.average = run
		}
		m.count.Run.add(run)
	}
	w.done++
	w.slow = false
	m.take(now, at, 0)
	if j.state == orphaned {
		m.count.Late++
	} else {
		m.reply(now, j, code, run)
	}
	m.free(i)
	m.refill(now, at)
}

// Returned says that a worker gave a job back that it had not started.
func (m *Machine) Returned(now time.Duration, h Worker, number uint64) {
	at, i := m.claim(now, h, number)
	if i == nobody {
		return
	}
	w, j := &m.workers[at], &m.jobs[i]
	w.slow = true // until its next answer it gets no job to wait behind another
	m.count.Returned++
	m.take(now, at, slices.Index(w.queue[:w.load], i))
	j.returns++
	switch {
	case j.state == orphaned:
		m.free(i)
	case j.returns > maxReturns:
		m.reply(now, j, wire.Rejected, 0)
		m.free(i)
	default:
		m.count.Moved++
		m.again(now, i)
	}
	m.refill(now, at)
}

// Progress says that a worker sent a PROGRESS. It returns the call to which the
// body goes, or 0.
func (m *Machine) Progress(now time.Duration, h Worker, number uint64) Ticket {
	m.Tick(now)
	at := m.find(h)
	if at == nobody {
		return 0
	}
	m.hear(now, at)
	w := &m.workers[at]
	if i := m.slot(at, number); i != nobody && !w.broken {
		if j := &m.jobs[i]; j.state == given && j.progress && w.queue[0] == i {
			return j.ticket
		}
	}
	return 0
}

// slot is the job that a worker has under this number, or nobody.
func (m *Machine) slot(at int32, number uint64) int32 {
	i := int32(number & slotMask)
	if int(i) < len(m.jobs) && m.jobs[i].number == number && m.jobs[i].worker == at && m.jobs[i].state >= given {
		return i
	}
	return nobody
}

// claim finds the job of an answer. An answer to anything else is counted and
// dropped; a worker that answers what it was never given is closed, since
// nothing that it says can be trusted.
func (m *Machine) claim(now time.Duration, h Worker, number uint64) (at, i int32) {
	m.Tick(now)
	at = m.find(h)
	if at == nobody {
		m.count.Late++
		return nobody, nobody
	}
	m.hear(now, at)
	w := &m.workers[at]
	if w.broken {
		m.count.Stray++
		return at, nobody
	}
	if i = m.slot(at, number); i != nobody {
		return at, i
	}
	switch {
	case slices.Contains(w.recent[:], number):
		m.count.Duplicate++
	case slices.Contains(w.held, number):
		m.count.Late++
	default:
		m.count.Stray++
		m.fail(at, wire.Broken)
	}
	return at, nobody
}

// take removes the job at n from its worker.
func (m *Machine) take(now time.Duration, at int32, n int) {
	w := &m.workers[at]
	i := w.queue[n]
	j := &m.jobs[i]
	copy(w.queue[n:w.load], w.queue[n+1:w.load])
	w.load--
	m.count.InFlight--
	w.remember(j.number)
	if j.state == orphaned {
		w.orphans--
	}
	j.worker = nobody
	m.place(at)
	if n > 0 || w.load == 0 {
		return
	}
	head := w.queue[0]
	m.jobs[head].began = now
	if m.jobs[head].state == orphaned {
		m.timers.set(head, max(now, m.jobs[head].deadline)+m.cfg.Grace)
	}
}
