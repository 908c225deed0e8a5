package dispatch

import "time"

// A timer is when something is due: of the job at the index id, or of the
// worker at the index ^id.
type timer struct {
	at time.Duration
	id int32
}

// timers is a heap, four wide: shallow, and the four are in one cache line.
// where has the place of each job and of each worker in it, or nobody.
type timers struct {
	heap           []timer
	jobs, machines []int32
}

func (t *timers) next() (time.Duration, bool) {
	if len(t.heap) == 0 {
		return 0, false
	}
	return t.heap[0].at, true
}

// place is where the index of a timer in the heap is kept.
func (t *timers) place(id int32) *int32 {
	s, i := &t.jobs, id
	if id < 0 {
		s, i = &t.machines, ^id
	}
	for int(i) >= len(*s) {
		*s = append(*s, nobody)
	}
	return &(*s)[i]
}

// set arms or moves a timer.
func (t *timers) set(id int32, at time.Duration) {
	p := t.place(id)
	i := int(*p)
	if i < 0 {
		t.heap = append(t.heap, timer{})
		t.up(len(t.heap)-1, timer{at, id})
		return
	}
	if at < t.heap[i].at {
		t.up(i, timer{at, id})
	} else {
		t.down(i, timer{at, id})
	}
}

// stop disarms a timer, if it is armed.
func (t *timers) stop(id int32) {
	p := t.place(id)
	i := int(*p)
	if i < 0 {
		return
	}
	*p = nobody
	last := len(t.heap) - 1
	x := t.heap[last]
	t.heap = t.heap[:last]
	if i == last {
		return
	}
	if i > 0 && x.at < t.heap[(i-1)/4].at {
		t.up(i, x)
	} else {
		t.down(i, x)
	}
}

// up puts x where i is or above.
func (t *timers) up(i int, x timer) {
	for i > 0 {
		parent := (i - 1) / 4
		if t.heap[parent].at <= x.at {
			break
		}
		t.put(i, t.heap[parent])
		i = parent
	}
	t.put(i, x)
}

// down puts x where i is or below.
func (t *timers) down(i int, x timer) {
	for {
		first := 4*i + 1
		if first >= len(t.heap) {
			break
		}
		least := first
		for c := first + 1; c < min(first+4, len(t.heap)); c++ {
			if t.heap[c].at < t.heap[least].at {
				least = c
			}
		}
		if t.heap[least].at >= x.at {
			break
		}
		t.put(i, t.heap[least])
		i = least
	}
	t.put(i, x)
}

func (t *timers) put(i int, x timer) {
	t.heap[i] = x
	*t.place(x.id) = int32(i)
}
