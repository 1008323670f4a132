package planner

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/failpoint"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/stream"
)

// Clock is the part of the ledger that knows what is due.
type Clock interface {
	Queues(ctx context.Context) ([]store.Queue, time.Time, error)
	LeaseSteps(ctx context.Context, leases []store.Lease) ([]store.Leased, error)
	ExpireSteps(ctx context.Context, expired []store.Leased) (int64, error)
	LeaseTriggers(ctx context.Context, limit int) ([]event.Trigger, error)
	MarkStream(ctx context.Context, m store.Watermark) (wentBack bool, err error)
	WakeAll(ctx context.Context) (steps, triggers int, err error)
	TickClock(ctx context.Context) error
	FreeClaims(ctx context.Context) error
}

// Broker is what release asks of the streams.
type Broker interface {
	Publisher
	Hints(ctx context.Context) (<-chan struct{}, error)
	InFlight(ctx context.Context) (map[string]uint64, error)
	Backlog(ctx context.Context, stream, consumer string) (stream.Backlog, error)
	Marks(ctx context.Context) ([]stream.Mark, error)
	Anchor(ctx context.Context) error
}

// Release lets steps go when they are due. Any number of copies may run.
type Release struct {
	Clock  Clock
	Broker Broker
	// Tick is the backstop behind hints and exact sleeps; 0 means 100 ms.
	Tick time.Duration
	// Cap is how many steps one tenant may have in flight per lane; 0 means
	// 2,000.
	Cap    int
	Logger *slog.Logger

	// Of the one goroutine that releases.
	soughtTriggers time.Time
	counted        time.Time
	inFlight       map[string]uint64
}

// round is the most steps that one lease takes from one queue, so that the
// next tenant's turn comes soon.
const round = 500

// Run releases until ctx is done. It returns only with ctx, however long
// Postgres or the broker are away.
func (r *Release) Run(ctx context.Context) error {
	tick, capacity := r.Tick, r.Cap
	if tick == 0 {
		tick = 100 * time.Millisecond
	}
	if capacity == 0 {
		capacity = 2000
	}
	hints, err := r.Broker.Hints(ctx)
	if err != nil {
		return err
	}
	var guard sync.WaitGroup
	guard.Go(func() { r.guard(ctx) })
	defer guard.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-hints:
		case <-timer.C:
		}
		next, err := r.pass(ctx, capacity)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			failures++
			if failures == 1 || failures%50 == 0 {
				r.Logger.Warn("release waits", "failures", failures, "err", err)
			}
			next = min(2*time.Second, tick<<min(failures, 6))
		default:
			failures = 0
			next = min(next, tick)
		}
		timer.Reset(next)
	}
}

// enough is how long two answers serve that change slowly: which triggers were
// published and not planned, and how much is in flight.
const enough = 100 * time.Millisecond

// pass releases everything that is due and returns how long nothing will be.
func (r *Release) pass(ctx context.Context, capacity int) (time.Duration, error) {
	triggers := 0
	if time.Since(r.soughtTriggers) >= enough {
		var err error
		if triggers, err = r.triggers(ctx); err != nil {
			return 0, err
		}
		if triggers == 0 {
			r.soughtTriggers = time.Now()
		}
	}
	queues, now, err := r.Clock.Queues(ctx)
	if err != nil {
		return 0, err
	}
	next := time.Hour
	if triggers > 0 {
		next = 0
	}
	var due []store.Queue
	for _, q := range queues {
		if q.Name == store.ResolveQueue {
			continue
		}
		if q.Wake.After(now) {
			next = min(next, q.Wake.Sub(now))
			continue
		}
		due = append(due, q)
	}
	if len(due) == 0 {
		return next, nil
	}
	more, err := r.steps(ctx, due, capacity)
	if more {
		next = 0
	}
	return next, err
}

// steps leases and publishes one round of every due queue.
func (r *Release) steps(ctx context.Context, due []store.Queue, capacity int) (more bool, err error) {
	inFlight, err := r.flying(ctx)
	if err != nil {
		return false, err
	}
	// A shuffled order shares what several copies and a batch's end leave.
	rand.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
	var leases []store.Lease
	for _, q := range due {
		probe := event.Step{Tenant: q.Tenant, Lane: event.Lane(q.Name)}
		room := min(round, capacity-int(inFlight[probe.Subject()]))
		if room > 0 {
			leases = append(leases, store.Lease{Queue: q, Room: room})
		}
	}
	if len(leases) == 0 {
		return false, nil
	}
	leased, err := r.Clock.LeaseSteps(ctx, leases)
	if err != nil || len(leased) == 0 {
		return false, err
	}
	failpoint.Hit(failpoint.ReleaseLeased)
	idle := r.idleLanes(ctx, leased)
	var events []event.Event
	var expired []store.Leased
	for i, l := range leased {
		switch {
		case l.Expired:
			expired = append(expired, l)
		case !l.Again || idle[l.Lane]:
			events = append(events, &leased[i].Step)
		}
	}
	if len(expired) > 0 {
		if _, err := r.Clock.ExpireSteps(ctx, expired); err != nil {
			return false, err
		}
	}
	if len(events) > 0 {
		if err := r.Broker.Publish(ctx, events); err != nil {
			return false, err
		}
		failpoint.Hit(failpoint.ReleasePublished)
	}
	for _, e := range events {
		r.inFlight[e.Subject()]++
	}
	return true, nil
}

// flying returns how many steps are in flight: as the broker counted them a
// moment ago, and what was added since.
func (r *Release) flying(ctx context.Context) (map[string]uint64, error) {
	if r.inFlight != nil && time.Since(r.counted) < enough {
		return r.inFlight, nil
	}
	counts, err := r.Broker.InFlight(ctx)
	if err != nil {
		return nil, err
	}
	if counts == nil {
		counts = map[string]uint64{}
	}
	r.inFlight, r.counted = counts, time.Now()
	return counts, nil
}

// idleLanes says in which lanes a step whose lease ran out may be published
// again: only there where the consumer has nothing waiting, since otherwise
// its message is most likely still in the line.
func (r *Release) idleLanes(ctx context.Context, leased []store.Leased) map[event.Lane]bool {
	idle := map[event.Lane]bool{}
	for _, l := range leased {
		if _, asked := idle[l.Lane]; !l.Again || asked {
			continue
		}
		b, err := r.Broker.Backlog(ctx, stream.Steps, stream.DispatcherConsumer(l.Lane))
		idle[l.Lane] = err == nil && b.Waiting == 0
	}
	return idle
}

func (r *Release) triggers(ctx context.Context) (int, error) {
	lost, err := r.Clock.LeaseTriggers(ctx, round)
	if err != nil || len(lost) == 0 {
		return 0, err
	}
	// While messages wait for the planner, these are most likely among them.
	if b, err := r.Broker.Backlog(ctx, stream.Triggers, stream.PlannerConsumer); err != nil || b.Waiting > 0 {
		return 0, err
	}
	failpoint.Hit(failpoint.ReleaseFound)
	events := make([]event.Event, len(lost))
	for i := range lost {
		events[i] = &lost[i]
	}
	return len(lost), r.Broker.Publish(ctx, events)
}

// guard keeps the database's clock from stepping back and notices a stream
// that lost messages.
func (r *Release) guard(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	lost := false
	for n := 0; ; n++ {
		if err := r.Clock.TickClock(ctx); err != nil && !errors.Is(err, store.ErrUnavailable) && ctx.Err() == nil {
			r.Logger.Warn("clock mark", "err", err)
		}
		if n%5 == 0 {
			if err := r.Clock.FreeClaims(ctx); err != nil && ctx.Err() == nil {
				r.Logger.Warn("claims of paused clinics", "err", err)
			}
			var err error
			if lost, err = r.watch(ctx, lost); err != nil && ctx.Err() == nil {
				r.Logger.Warn("stream marks", "err", err)
			}
			if err := r.Broker.Anchor(ctx); err != nil && ctx.Err() == nil {
				r.Logger.Debug("stream anchors", "err", err) // slower, not wrong
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// watch compares the streams with their marks and wakes what is in flight when
// one went back. lost says that an earlier look found so and could not wake it;
// what watch returns is for the next look.
func (r *Release) watch(ctx context.Context, lost bool) (bool, error) {
	marks, err := r.Broker.Marks(ctx)
	if err != nil {
		return lost, err
	}
	for _, m := range marks {
		back, err := r.Clock.MarkStream(ctx, store.Watermark(m))
		if err != nil {
			return lost, err
		}
		if back {
			r.Logger.Error("stream went back: what is in flight is published again", "stream", m.Stream, "last_seq", m.LastSeq)
		}
		lost = lost || back
	}
	if !lost {
		return false, nil
	}
	steps, triggers, err := r.Clock.WakeAll(ctx)
	if err != nil {
		return true, err
	}
	r.Logger.Info("in flight work is published again", "steps", steps, "triggers", triggers)
	return false, nil
}
