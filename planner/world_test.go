package planner_test

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// lease is how long a published step of the world stays unclaimed.
const lease = time.Minute

// row is a planned step of the world.
type row struct {
	event.Step
	queue         string
	wake, expires time.Time
	again, ended  bool
	went          []time.Duration // since the world began
}

// world is the ledger and the broker as release sees them, in fake time.
type world struct {
	mu    sync.Mutex
	born  time.Time
	hints chan struct{}
	rows  []*row
	sent  []event.Event
	rooms []int // of each lease that was asked for
	asked int   // passes begun

	triggers     []event.Trigger
	inFlight     map[string]uint64
	unplanned    int // messages that the planner has not been given
	waiting      map[event.Lane]int
	back         map[string]bool // streams that lost messages
	woken, ticks int

	queuesErr, leaseErr, triggersErr, inFlightErr, backlogErr, publishErr, hintsErr, wakeErr error
}

func newWorld() *world {
	return &world{
		born: time.Now(), hints: make(chan struct{}), inFlight: map[string]uint64{}, waiting: map[event.Lane]int{}, back: map[string]bool{},
	}
}

// set changes the world between two moves of release.
func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// read looks at the world between two moves of release.
func read[T any](w *world, f func() T) T {
	w.mu.Lock()
	defer w.mu.Unlock()
	return f()
}

// add plans a step that is due after d.
func (w *world) add(id tenant.ID, lane event.Lane, d time.Duration) *row {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := &row{
		Step:  event.Step{Tenant: id, ID: uuid.Must(uuid.NewV7()), Lane: lane, Channel: event.Kakao},
		queue: string(lane), wake: time.Now().Add(d), expires: time.Now().Add(24 * time.Hour),
	}
	w.rows = append(w.rows, r)
	return r
}

func (w *world) times(r *row) []time.Duration {
	return read(w, func() []time.Duration { return slices.Clone(r.went) })
}

func (w *world) published() []event.Event {
	return read(w, func() []event.Event { return slices.Clone(w.sent) })
}

func (w *world) inFlightNow() map[string]uint64 {
	return read(w, func() map[string]uint64 { return maps.Clone(w.inFlight) })
}

// most is the most steps that any lease asked for.
func (w *world) most() int {
	return read(w, func() int { return slices.Max(append(w.rooms, 0)) })
}

// The ledger.

// Anchor implements planner.Broker.
func (w *world) Anchor(context.Context) error { return nil }

func (w *world) Queues(context.Context) (queues []store.Queue, now time.Time, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.rows {
		if !r.ended {
			queues = append(queues, store.Queue{Tenant: r.Tenant, Name: r.queue, Wake: r.wake})
		}
	}
	// One entry per queue, with its earliest time.
	slices.SortFunc(queues, func(a, b store.Queue) int { return a.Wake.Compare(b.Wake) })
	seen := map[string]bool{}
	queues = slices.DeleteFunc(queues, func(q store.Queue) bool {
		k := q.Tenant.String() + q.Name
		defer func() { seen[k] = true }()
		return seen[k]
	})
	return queues, time.Now(), w.queuesErr
}

func (w *world) LeaseSteps(_ context.Context, leases []store.Lease) (steps []store.Leased, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range leases {
		w.rooms = append(w.rooms, l.Room)
		for _, r := range w.rows {
			if l.Room == 0 || w.leaseErr != nil || r.ended || r.Tenant != l.Tenant || r.queue != l.Name || r.wake.After(time.Now()) {
				continue
			}
			l.Room--
			steps = append(steps, store.Leased{Step: r.Step, Again: r.again, Expired: !r.expires.After(time.Now())})
			r.wake, r.again = time.Now().Add(lease), true
		}
	}
	return steps, w.leaseErr
}

func (w *world) ExpireSteps(_ context.Context, expired []store.Leased) (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.rows {
		r.ended = r.ended || slices.ContainsFunc(expired, func(l store.Leased) bool { return l.ID == r.ID })
	}
	return int64(len(expired)), nil
}

func (w *world) LeaseTriggers(context.Context, int) (lost []event.Trigger, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if w.triggersErr == nil {
		lost, w.triggers = w.triggers, nil
	}
	return lost, w.triggersErr
}

func (w *world) FreeClaims(context.Context) error { return nil }

func (w *world) MarkStream(_ context.Context, m store.Watermark) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	back := w.back[m.Stream]
	delete(w.back, m.Stream)
	return back, nil
}

func (w *world) WakeAll(context.Context) (steps, triggers int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wakeErr != nil {
		return 0, 0, w.wakeErr
	}
	w.woken++
	for _, r := range w.rows {
		r.wake, r.again = time.Now(), false
	}
	return len(w.rows), 0, nil
}

func (w *world) TickClock(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ticks++
	return nil
}

// The broker.

func (w *world) Hints(context.Context) (<-chan struct{}, error) { return w.hints, w.hintsErr }

func (w *world) InFlight(context.Context) (map[string]uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.inFlight), w.inFlightErr
}

func (w *world) Backlog(_ context.Context, _, consumer string) (stream.Backlog, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range event.Lanes {
		if consumer == stream.DispatcherConsumer(l) {
			return stream.Backlog{Waiting: w.waiting[l]}, w.backlogErr
		}
	}
	return stream.Backlog{Waiting: w.unplanned}, nil
}

func (w *world) Marks(context.Context) ([]stream.Mark, error) {
	return []stream.Mark{{Stream: stream.Triggers}, {Stream: stream.Steps}}, nil
}

func (w *world) Publish(_ context.Context, events []event.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.publishErr != nil {
		return w.publishErr
	}
	w.sent = append(w.sent, events...)
	for _, e := range events {
		w.inFlight[e.Subject()]++
		for _, r := range w.rows {
			if s, ok := e.(*event.Step); ok && s.ID == r.ID {
				r.went = append(r.went, time.Since(w.born))
			}
		}
	}
	return nil
}
