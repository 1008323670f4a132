package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/telemetry"
)

// Health is the part of the ledger that says how it is.
type Health interface {
	Ping(ctx context.Context) error
	Queues(ctx context.Context) (queues []store.Queue, now time.Time, err error)
	Conserve(ctx context.Context) ([]store.Conservation, error)
	Waiting(ctx context.Context) (map[event.Reason]int64, error)
}

// Broker is the part of the streams that says how they are.
type Broker interface {
	Ping(ctx context.Context) error
	Backlog(ctx context.Context, stream, consumer string) (stream.Backlog, error)
}

// Check is one thing that readiness asks for. It is given one second.
type Check struct {
	Name string
	// Essential says that the process is of no use while the check fails:
	// /readyz then answers 503. Otherwise it answers 200 and "degraded": taken
	// out of service, we could not even accept.
	Essential bool
	Run       func(ctx context.Context) error
}

// builtIn are the checks of every process. Only Postgres is essential: what it
// keeps is published when JetStream is back.
func builtIn(db Health, broker Broker) []Check {
	return []Check{
		{Name: "postgres", Essential: true, Run: db.Ping},
		{Name: "jetstream", Run: broker.Ping},
		{Name: "lag", Run: func(ctx context.Context) error { return lag(ctx, db, broker) }},
	}
}

// tooLate is how long something due may wait before we say so.
const tooLate = time.Minute

// lag fails where something that should be moving is not: in the ledger, which
// nobody reads when no planner runs, or in a stream that nobody consumes.
func lag(ctx context.Context, db Health, broker Broker) error {
	queues, now, err := db.Queues(ctx)
	if err != nil {
		return err
	}
	for _, q := range queues {
		if late := now.Sub(q.Wake); late > tooLate {
			return fmt.Errorf("api: the oldest of queue %s has been due for %v", q.Name, late.Round(time.Second))
		}
	}
	consumers := [][2]string{{stream.Triggers, stream.PlannerConsumer}, {stream.Deliveries, stream.RecorderConsumer}}
	for _, l := range event.Lanes {
		consumers = append(consumers, [2]string{stream.Steps, stream.DispatcherConsumer(l)})
	}
	for _, c := range consumers {
		b, err := broker.Backlog(ctx, c[0], c[1])
		if err != nil {
			return err
		}
		if late := time.Since(b.Since); !b.Since.IsZero() && late > tooLate {
			return fmt.Errorf("api: the oldest message for %s has waited for %v", c[1], late.Round(time.Second))
		}
	}
	return nil
}

// conserved fails where the conservation law does not hold, or is not known.
func (a *API) conserved(context.Context) error {
	counts, at, err := a.conservation.Last()
	switch {
	case err != nil:
		return err
	case at.IsZero():
		return errors.New("api: the ledger has not been counted yet")
	case counts.Diff != 0:
		return fmt.Errorf("api: conservation is off by %d", counts.Diff)
	}
	return nil
}

// gateways fails where steps wait for a gateway, as far as is known. Others are
// sent meanwhile.
func (a *API) gateways(context.Context) error {
	counts, _, _ := a.conservation.Last() // that it was not counted is said by conserved
	down, throttled := counts.Waiting[string(event.GatewayDown)], counts.Waiting[string(event.GatewayThrottled)]
	if down+throttled == 0 {
		return nil
	}
	return fmt.Errorf("api: steps wait for a gateway: %d gateway_down, %d gateway_throttled", down, throttled)
}

// count sums up all tenants: metrics name none.
func count(db Health) func(context.Context) (telemetry.Counts, error) {
	return func(ctx context.Context) (telemetry.Counts, error) {
		list, err := db.Conserve(ctx)
		if err != nil {
			return telemetry.Counts{}, err
		}
		waiting, err := db.Waiting(ctx)
		if err != nil {
			return telemetry.Counts{}, err
		}
		n := telemetry.Counts{
			Waiting:  map[string]int64{},
			Triggers: map[string]int64{"planned": 0, "ignored": 0, "pending": 0},
			Steps: map[string]int64{
				"pending": 0, "sent": 0, "delivered": 0, "failed": 0, "parked": 0, "cancelled": 0, "skipped": 0, "expired": 0,
			},
		}
		for _, r := range []event.Reason{event.GatewayDown, event.GatewayThrottled, event.RateLimited, event.QuietHours, event.SendWindow, event.FrequencyCap, event.Paused} {
			n.Waiting[string(r)] = waiting[r]
		}
		for _, c := range list {
			n.Triggers["planned"] += c.Planned
			n.Triggers["ignored"] += c.Ignored
			n.Triggers["pending"] += c.PendingTriggers
			n.Steps["pending"] += c.Pending
			n.Steps["sent"] += c.Sent
			n.Steps["delivered"] += c.Delivered
			n.Steps["failed"] += c.Failed
			n.Steps["parked"] += c.Parked
			n.Steps["cancelled"] += c.Cancelled
			n.Steps["skipped"] += c.Skipped
			n.Steps["expired"] += c.Expired
			n.Runs += c.Runs
			n.Diff += c.Diff()
		}
		return n, nil
	}
}
