package dispatcher

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/failpoint"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
	"github.com/doctorsflow/doctorsflow/providers"
)

// Unresolved is the part of the ledger that knows whose outcome is missing.
type Unresolved interface {
	Queues(ctx context.Context) ([]store.Queue, time.Time, error)
	LeaseUnresolved(ctx context.Context, tenants []tenant.ID, retry time.Duration, limit int) ([]store.Unresolved, error)
}

// Backlog tells whether the recorder still has old evidence before it.
type Backlog interface {
	Backlog(ctx context.Context, stream, consumer string) (stream.Backlog, error)
}

// maxCycles is how often a request that the gateway proves it never had is
// made again.
const maxCycles = 5

// Resolver finds out what became of claims without an answer. Any number of
// copies may run.
type Resolver struct {
	Ledger    Unresolved
	Backlog   Backlog
	Publisher Publisher
	Gateways  *Gateways
	Timing    store.Timing
	Logger    *slog.Logger
}

// Run looks for missing outcomes until ctx is done.
func (r *Resolver) Run(ctx context.Context) error {
	// Often enough for the scaled clocks of a simulator, rarely enough not to
	// be felt with a real one.
	every := max(50*time.Millisecond, min(2*time.Second, r.Timing.R/5))
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if err := r.pass(ctx, every); err != nil && ctx.Err() == nil {
			r.Logger.Warn("resolver waits", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (r *Resolver) pass(ctx context.Context, retry time.Duration) error {
	queues, now, err := r.Ledger.Queues(ctx)
	if err != nil {
		return err
	}
	var tenants []tenant.ID
	for _, q := range queues {
		if q.Name == store.ResolveQueue && !q.Wake.After(now) {
			tenants = append(tenants, q.Tenant)
		}
	}
	if len(tenants) == 0 {
		return nil
	}
	list, err := r.Ledger.LeaseUnresolved(ctx, tenants, retry, 32)
	if err != nil || len(list) == 0 {
		return err
	}
	behind, err := r.Backlog.Backlog(ctx, stream.Deliveries, stream.RecorderConsumer)
	if err != nil {
		return err
	}
	var asking sync.WaitGroup
	events := make([]event.Event, len(list))
	for i, u := range list {
		asking.Go(func() {
			if d := r.resolve(ctx, u, behind); d != nil {
				events[i] = d
			}
		})
	}
	asking.Wait()
	found := events[:0]
	for _, e := range events {
		if e != nil {
			found = append(found, e)
		}
	}
	if len(found) == 0 {
		return nil
	}
	failpoint.Hit(failpoint.ResolverAsked)
	err = r.Publisher.Publish(ctx, found)
	failpoint.Hit(failpoint.ResolverPublished)
	return err
}

// resolve returns the evidence about one step, or nil if there is none yet.
func (r *Resolver) resolve(ctx context.Context, u store.Unresolved, behind stream.Backlog) *event.Delivery {
	d := &event.Delivery{
		Tenant: u.Tenant, Step: u.Step, Channel: u.Channel, Attempt: u.Attempt, Source: event.Query, At: time.Now().UTC(),
	}
	if u.State == store.StateClaimed {
		// The answer may only not have been recorded yet.
		if !behind.Since.IsZero() && behind.Since.Before(u.ClaimedAt.Add(r.Timing.StaleClaim())) {
			return nil
		}
		if u.Now.Before(u.ClaimedAt.Add(r.Timing.StaleClaim())) {
			return nil
		}
		d.Status = event.Unknown
		return d
	}
	result, found, err := r.ask(ctx, u)
	switch {
	case err != nil && u.State == store.StateSent:
		return reportTimeout(d, u, r.Timing)
	case errors.Is(err, errHeld):
		return nil // its breaker has said so for all
	case err != nil:
		if r.overdue(u) {
			r.Logger.Error("the outcome of a request cannot be found out", "tenant", u.Tenant, "step", u.Step, "channel", u.Channel, "then", u.OnUnknown, "err", err)
			return giveUp(d, u)
		}
		r.Logger.Warn("gateway cannot be asked", "tenant", u.Tenant, "step", u.Step, "channel", u.Channel, "err", err)
		return nil
	case found:
		return evidence(d, u, result, r.Timing)
	case u.State == store.StateSent:
		return reportTimeout(d, u, r.Timing)
	case u.Now.Before(u.ClaimedAt.Add(r.Timing.Quiet())):
		// Absent counts only after the quiet period.
		return nil
	case u.Lost >= maxCycles || !u.Now.Before(u.Expires):
		d.Status, d.Reason = event.Failed, event.NotAccepted
		return d
	}
	d.Status, d.RetryAt = event.Released, u.Now
	return d
}

// giveUp does what the step's author chose for an outcome that nobody can
// find out. Only park cannot send twice.
func giveUp(d *event.Delivery, u store.Unresolved) *event.Delivery {
	switch {
	case u.OnUnknown == workflow.Resend && u.Lost < maxCycles && u.Now.Before(u.Expires):
		d.Status, d.RetryAt = event.Released, u.Now
	case u.OnUnknown == workflow.Fallback && u.Channel == event.Kakao:
		d.Status, d.Reason = event.Failed, event.OutcomeUnknown
	default:
		d.Status, d.Reason = event.Parked, event.OutcomeUnknown
	}
	return d
}

// overdue reports whether an outcome has been missing for so long that it is
// given up unless the gateway answers now.
func (r *Resolver) overdue(u store.Unresolved) bool {
	since := u.FirstIntent
	if u.Asked.After(since) {
		since = u.Asked // a human had it asked for again
	}
	return u.State == store.StateUnknown && u.Now.After(since.Add(r.Timing.UnknownDeadline))
}

// ask looks the step's key up at the gateway.
func (r *Resolver) ask(ctx context.Context, u store.Unresolved) (providers.Result, bool, error) {
	reach := r.Gateways.of
	if r.overdue(u) {
		// It is given up by this answer: it is worth asking, whatever became
		// of other questions.
		reach = r.Gateways.bare
	}
	gateway, err := reach(ctx, u.Tenant, u.Account)
	if err != nil {
		return providers.Result{}, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timing.R)
	defer cancel()
	results, err := gateway.Find(ctx, event.Key(u.Root, u.Channel), u.FirstIntent.Add(-time.Minute), u.Now.Add(time.Minute))
	if err != nil || len(results) == 0 {
		return providers.Result{}, false, err
	}
	return telling(results), true, nil
}

// telling picks the result that decides: a message that arrived, or may still,
// outweighs any later one that failed.
func telling(results []providers.Result) providers.Result {
	for _, state := range []providers.State{providers.Delivered, providers.Pending, providers.Unconfirmed} {
		for _, r := range results {
			if r.State == state {
				return r
			}
		}
	}
	return results[0]
}

// evidence says in the gateway's words what became of the message.
func evidence(d *event.Delivery, u store.Unresolved, res providers.Result, t store.Timing) *event.Delivery {
	d.RequestID, d.Seq, d.Code = res.RequestID, res.Seq, res.Code
	if !res.At.IsZero() {
		d.At = res.At.UTC()
	}
	switch res.State {
	case providers.Delivered:
		d.Status = event.Delivered
	case providers.Failed:
		d.Status, d.Reason, d.Final = event.Failed, event.Rejected(res.Code), res.Scope == providers.Policy
	default:
		if u.State == store.StateSent {
			return reportTimeout(d, u, t)
		}
		d.Status = event.Sent
	}
	return d
}

// reportTimeout ends the wait for a report that never came, and only that.
func reportTimeout(d *event.Delivery, u store.Unresolved, t store.Timing) *event.Delivery {
	if u.Now.Before(u.SentAt.Add(t.ReportTimeout)) {
		return nil
	}
	d.Status, d.Reason = event.Sent, event.ReportTimeout
	return d
}
