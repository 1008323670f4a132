package simulator

import (
	"math"
	"time"
)

// event is something that happens at a virtual time.
type event struct {
	due   int64  // virtual, nanoseconds since 1970
	order uint64 // first scheduled, first done, among equals
	do    func(due int64)
}

func (e *event) before(f *event) bool {
	return e.due < f.due || e.due == f.due && e.order < f.order
}

// agenda is the heap of all events to come. Guarded by Simulator.mu.
type agenda struct {
	heap []event
	n    uint64
}

func (a *agenda) push(due int64, do func(int64)) {
	a.n++
	a.heap = append(a.heap, event{due, a.n, do})
	h, i := a.heap, len(a.heap)-1
	for i > 0 && h[i].before(&h[(i-1)/2]) {
		h[i], h[(i-1)/2] = h[(i-1)/2], h[i]
		i = (i - 1) / 2
	}
}

func (a *agenda) pop() event {
	h := a.heap
	top, last := h[0], len(h)-1
	h[0], h[last] = h[last], event{}
	h = h[:last]
	for i := 0; ; {
		small := i
		for _, k := range [2]int{2*i + 1, 2*i + 2} {
			if k < last && h[k].before(&h[small]) {
				small = k
			}
		}
		if small == i {
			break
		}
		h[i], h[small] = h[small], h[i]
		i = small
	}
	a.heap = h
	return top
}

// next is when the earliest event is due, math.MaxInt64 if none is.
func (a *agenda) next() int64 {
	if len(a.heap) == 0 {
		return math.MaxInt64
	}
	return a.heap[0].due
}

const (
	// settleBatch is how many events are done before senders get a turn.
	settleBatch = 256
	// settleEvery keeps Run from waking up for each of many close events.
	settleEvery = time.Millisecond
)

// schedule has do called, with mu held, once the virtual time is due. mu is
// held.
func (s *Simulator) schedule(due int64, do func(int64)) {
	s.agenda.push(due, do)
	s.nextDue.Store(s.agenda.next())
	if due < s.armed.Load() {
		s.clock.poke()
	}
}

// settle does everything that is due. Run calls it in time; queries and sends
// call it first, so that what they see is true without Run as well.
func (s *Simulator) settle() {
	now := s.clock.now().UnixNano()
	for s.nextDue.Load() <= now {
		s.mu.Lock()
		for n := 0; n < settleBatch && s.agenda.next() <= now; n++ {
			e := s.agenda.pop()
			e.do(e.due)
		}
		s.nextDue.Store(s.agenda.next())
		s.mu.Unlock()
	}
}

// untilNext returns how long to wait on the wall clock for the next event, a
// long time if there is none or time stands still.
func (s *Simulator) untilNext() time.Duration {
	next := s.nextDue.Load()
	s.armed.Store(next)
	// An event that was pushed between the two lines is seen here.
	if n := s.nextDue.Load(); n < next {
		next = n
	}
	if next == math.MaxInt64 {
		return time.Hour
	}
	d, ok := s.clock.wall(time.Unix(0, next).Sub(s.clock.now()))
	if !ok {
		return time.Hour
	}
	return max(d, settleEvery)
}
