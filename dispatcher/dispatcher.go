package dispatcher

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/failpoint"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/providers"
)

// Ledger is where claims are made.
type Ledger interface {
	ClaimSteps(ctx context.Context, due []event.Step, decide func(*store.Candidate) store.Decision) ([]store.Claim, error)
	SleepSteps(ctx context.Context, steps []store.Sleep) error
}

// Publisher stores events on their streams.
type Publisher interface {
	Publish(ctx context.Context, events []event.Event) error
}

// Config is what a dispatcher needs.
type Config struct {
	Ledger    Ledger
	Publisher Publisher
	Gateways  *Gateways
	Timing    store.Timing
	// Slots is how many requests may be under way at once; 0 means 256.
	Slots  int
	Logger *slog.Logger
}

// Dispatcher claims due steps and sends them. It is safe for concurrent use.
type Dispatcher struct {
	Config
	slots   chan struct{}
	sending sync.WaitGroup
}

// New returns a dispatcher; it starts nothing.
func New(c Config) *Dispatcher {
	if c.Slots == 0 {
		c.Slots = 256
	}
	return &Dispatcher{Config: c, slots: make(chan struct{}, c.Slots)}
}

// work is one step on its way.
type work struct {
	step    event.Step
	settle  func(error) // of its message
	ticket  *ticket
	verdict verdict
	channel event.Channel
	account uuid.UUID
	attempt int32
	now     time.Time // the ledger's, when it was judged
}

// Handle claims a batch of due steps in one transaction and sends them; it
// returns when the claims are made, while the requests are still under way.
// Each message is settled when its outcome is stored. A batch larger than the
// slots that are free goes in parts.
func (d *Dispatcher) Handle(ctx context.Context, batch []*stream.Msg[event.Step]) {
	due := make([]*work, len(batch))
	for i, m := range batch {
		due[i] = &work{step: m.Event, settle: m.Settle, channel: m.Event.Channel}
	}
	d.handle(ctx, due)
}

func (d *Dispatcher) handle(ctx context.Context, due []*work) {
	for len(due) > 0 {
		var part []*work
		if part, due = d.admit(ctx, due); len(part) > 0 {
			d.claim(ctx, part)
		}
	}
}

// claim claims steps that hold a slot and a ticket each, and sends them.
func (d *Dispatcher) claim(ctx context.Context, batch []*work) {
	due := make([]event.Step, len(batch))
	byStep := make(map[uuid.UUID]*work, len(batch))
	for i, w := range batch {
		due[i] = w.step
		byStep[w.step.ID] = w
	}
	// The guard counts from before the claim's transaction: the database's
	// claimed_at is never earlier than this.
	begin := time.Now()
	failpoint.Hit(failpoint.DispatcherAdmitted)
	judged := map[uuid.UUID]bool{}
	claims, err := d.Ledger.ClaimSteps(ctx, due, func(c *store.Candidate) store.Decision {
		failpoint.Hit(failpoint.DispatcherClaiming)
		v := judge(c, d.Timing)
		byStep[c.ID].verdict, byStep[c.ID].account, judged[c.ID] = v, c.Account, true
		byStep[c.ID].now = c.Now
		if v.message != nil {
			return store.Decision{Claim: true, Content: v.message.content}
		}
		return store.Decision{Wait: v.wait, Reason: v.reason}
	})
	if err != nil && len(batch) > 1 && !errors.Is(err, store.ErrUnavailable) {
		// One poisonous step must not hold its neighbours: each for itself.
		for _, w := range batch {
			d.claim(ctx, []*work{w})
		}
		return
	}
	if err != nil {
		for _, w := range batch {
			w.ticket.report(untried, 0)
			d.release()
			w.settle(err)
		}
		return
	}
	claimed := make(map[uuid.UUID]bool, len(claims))
	for _, c := range claims {
		w := byStep[c.Step]
		w.attempt, claimed[c.Step] = c.Attempt, true
		d.sending.Go(func() {
			defer d.release()
			failpoint.Hit(failpoint.DispatcherClaimed)
			d.send(ctx, w, begin)
		})
	}
	var told []*work
	for id, w := range byStep {
		switch {
		case claimed[id]:
			continue
		case judged[id] && w.verdict.outcome != "":
			told = append(told, w)
		default:
			// It moved on without us, or went back to sleep.
			w.settle(nil)
		}
		w.ticket.report(untried, 0)
		d.release()
	}
	d.tell(ctx, told)
}

// Wait blocks until every request under way has its outcome stored.
func (d *Dispatcher) Wait() { d.sending.Wait() }

// admit takes a slot and a ticket for each message. A step that gets no ticket
// goes back to sleep in the ledger with the reason, unclaimed, each until a
// time of its own: kept here, one clinic's backlog would fill the line for
// all. It waits for a first slot only: waiting for more while it holds some
// could wait for itself. The rest of the batch, for which no slot is free, is
// the caller's to try again.
func (d *Dispatcher) admit(ctx context.Context, batch []*work) (admitted, rest []*work) {
	var early []*work
	var sleeps []store.Sleep
	defer func() {
		if len(early) == 0 {
			return
		}
		err := d.Ledger.SleepSteps(ctx, sleeps)
		failpoint.Hit(failpoint.DispatcherSlept)
		for _, w := range early {
			w.settle(err)
		}
	}()
	seen := make(map[uuid.UUID]event.Step, len(batch))
	for i, w := range batch {
		if other, twice := seen[w.step.ID]; twice {
			// The same fence: the other one decides. Another one: either may be
			// the one that counts, and this one comes again when that is known.
			if other.Attempt == w.step.Attempt && other.PlanEpoch == w.step.PlanEpoch {
				w.settle(nil)
			} else {
				w.settle(stream.Retry(time.Second))
			}
			continue
		}
		if !d.slot(len(admitted) == 0) {
			return admitted, batch[i:]
		}
		ticket, wait := d.Gateways.enter(ctx, w.step.Tenant, w.step.Channel, cap(d.slots)-len(d.slots))
		if !wait.until.IsZero() {
			d.release()
			early = append(early, w)
			sleeps = append(sleeps, store.Sleep{Step: w.step, For: time.Until(wait.until), Reason: wait.reason})
			continue
		}
		seen[w.step.ID], w.ticket = w.step, ticket
		admitted = append(admitted, w)
	}
	return admitted, nil
}

// slot takes a slot, and reports false when none is free and it may not wait.
func (d *Dispatcher) slot(wait bool) bool {
	if wait {
		d.slots <- struct{}{}
		return true
	}
	select {
	case d.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

func (d *Dispatcher) release() { <-d.slots }

// tell publishes what the guards decided about steps that are not sent.
func (d *Dispatcher) tell(ctx context.Context, told []*work) {
	if len(told) == 0 {
		return
	}
	events := make([]event.Event, len(told))
	for i, w := range told {
		e := w.step
		events[i] = &event.Delivery{
			Tenant: e.Tenant, Step: e.ID, Channel: e.Channel, Attempt: e.Attempt,
			Status: w.verdict.outcome, Reason: w.verdict.reason, Source: event.Guard, At: time.Now().UTC(),
		}
	}
	err := d.Publisher.Publish(ctx, events)
	failpoint.Hit(failpoint.DispatcherTold)
	for _, w := range told {
		w.settle(err)
	}
}

// send makes one request and stores what came of it.
func (d *Dispatcher) send(ctx context.Context, w *work, begin time.Time) {
	e := w.step
	out := &event.Delivery{Tenant: e.Tenant, Step: e.ID, Channel: w.channel, Attempt: w.attempt, Source: event.Answer}
	h, after := untried, time.Duration(0)
	gateway, err := d.Gateways.of(ctx, e.Tenant, w.account)
	if err == nil {
		m := w.verdict.message.Message
		m.WriteBy = begin.Add(d.Timing.G)
		late := !time.Now().Before(m.WriteBy) // our own doing
		reqCtx, cancel := context.WithTimeout(ctx, d.Timing.R)
		var receipt providers.Receipt
		receipt, err = gateway.Send(reqCtx, m)
		cancel()
		failpoint.Hit(failpoint.DispatcherAnswered)
		out.RequestID, out.Seq = receipt.RequestID, receipt.Seq
		if !late && ctx.Err() == nil {
			h, after = healthOf(err)
		}
	} else {
		err = &providers.SendError{Kind: providers.NotWritten, Err: err}
	}
	if w.ticket.of(w.account) {
		w.ticket.report(h, after)
	} else {
		w.ticket.report(untried, 0) // the account in use has just changed
	}
	// By the ledger's clock, which decides when a retry is due.
	out.At = w.now.Add(time.Since(begin)).UTC()
	classify(out, err)
	if out.Status == event.Released {
		out.Reason = h.reason()
	}
	if err != nil && out.Status != event.Failed {
		d.Logger.Warn("request not accepted", "tenant", e.Tenant, "step", e.ID, "channel", w.channel, "attempt", w.attempt, "outcome", out.Status, "err", err)
	}
	err = d.publish(ctx, out)
	failpoint.Hit(failpoint.DispatcherPublished)
	w.settle(err)
}

// publish stores one outcome, trying for as long as another copy would wait
// anyway: a lost outcome costs a query at the gateway.
func (d *Dispatcher) publish(ctx context.Context, out *event.Delivery) error {
	deadline := time.Now().Add(d.Timing.D)
	for {
		err := d.Publisher.Publish(ctx, []event.Event{out})
		if err == nil || errors.Is(err, event.ErrInvalid) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(250 * time.Millisecond)
	}
}

// classify turns the gateway's evidence into a status (reliability.md §5.3
// rule 5): only what is proven counts, everything else is unknown.
func classify(out *event.Delivery, err error) {
	if err == nil {
		out.Status = event.Sent
		return
	}
	e, ok := errors.AsType[*providers.SendError](err)
	if !ok {
		out.Status = event.Unknown
		return
	}
	out.Code = e.Code
	switch e.Kind {
	case providers.NotWritten, providers.Throttled:
		out.Status = event.Released
		out.RetryAt = out.At.Add(max(e.After, retryDelay(out.Attempt)))
	case providers.Rejected:
		out.Status, out.Reason = event.Failed, event.Rejected(e.Code)
		out.Final = e.Scope == providers.Policy
	default:
		out.Status = event.Unknown
	}
}

// retryDelay is 1 s, 2 s, 4 s, … up to a minute.
func retryDelay(attempt int32) time.Duration {
	return min(time.Minute, time.Second<<min(max(attempt-1, 0), 6))
}
