package dispatcher

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/failpoint"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/providers"
)

// Polls is the part of the ledger that knows which results were read.
type Polls interface {
	LeasePolls(ctx context.Context, every time.Duration, limit int) ([]store.Polling, error)
	MarkPolled(ctx context.Context, p store.Polling, until time.Time) error
	Awaited(ctx context.Context, id tenant.ID, c event.Channel, requests []string) ([]store.Awaited, error)
}

// overlap is read again at each poll: message-results count in minutes, and a
// report may be there before the answer to its request is recorded.
const overlap = 2 * time.Minute

// ahead is asked for beyond now, for a gateway whose clock runs before ours.
const ahead = time.Minute

// maxWindow is the longest window that message-results take (NHN SMS v3.0).
const maxWindow = 24 * time.Hour

// Poller asks every account for results: the backstop behind report webhooks.
type Poller struct {
	Ledger    Polls
	Publisher Publisher
	Gateways  *Gateways
	Backlog   Backlog
	// Every is how often one account is asked; 0 means 15 s.
	Every  time.Duration
	Logger *slog.Logger
}

// Run polls until ctx is done.
func (p *Poller) Run(ctx context.Context) error {
	if p.Every == 0 {
		p.Every = 15 * time.Second
	}
	ticker := time.NewTicker(min(p.Every, time.Second))
	defer ticker.Stop()
	for {
		polls, err := p.Ledger.LeasePolls(ctx, p.Every, 64)
		if err != nil && ctx.Err() == nil {
			p.Logger.Warn("poller waits", "err", err)
		}
		var all sync.WaitGroup
		for _, poll := range polls {
			all.Go(func() {
				if err := p.poll(ctx, poll); err != nil && ctx.Err() == nil {
					p.Logger.Warn("results not read", "tenant", poll.Tenant, "channel", poll.Channel, "err", err)
				}
			})
		}
		all.Wait()
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (p *Poller) poll(ctx context.Context, poll store.Polling) error {
	gateway, err := p.Gateways.of(ctx, poll.Tenant, poll.Account)
	if err != nil {
		return err
	}
	from, to := poll.From.Add(-overlap), poll.Now
	if to.Sub(from) > maxWindow-ahead {
		to = from.Add(maxWindow - ahead)
	}
	// A result can be matched only when the answer to its request is recorded:
	// what the recorder has still before it is read again.
	behind, err := p.Backlog.Backlog(ctx, stream.Deliveries, stream.RecorderConsumer)
	if err != nil {
		return err
	}
	until := to
	if !behind.Since.IsZero() && behind.Since.Before(until) {
		until = behind.Since
	}
	results, err := gateway.Results(ctx, from, to.Add(ahead))
	if err != nil {
		return err
	}
	events, err := p.match(ctx, poll, results)
	if err != nil {
		return err
	}
	if len(events) > 0 {
		failpoint.Hit(failpoint.PollerRead)
		if err := p.publish(ctx, events); err != nil {
			return err
		}
		failpoint.Hit(failpoint.PollerPublished)
	}
	return p.Ledger.MarkPolled(ctx, poll, until)
}

// portion is how many results are published at a time.
const portion = 128

// publish tells of failures at once, since an SMS waits for them, and spreads
// the rest over half the time until the next poll: thousands of results at once
// would hold up the recorder, and what is being sent, for no one's good.
func (p *Poller) publish(ctx context.Context, events []*event.Delivery) error {
	slices.SortStableFunc(events, func(a, b *event.Delivery) int {
		return cmp.Compare(urgency(a), urgency(b))
	})
	pause := p.Every / 2 / time.Duration(len(events)/portion+1)
	for chunk := range slices.Chunk(events, portion) {
		if err := p.Publisher.Publish(ctx, asEvents(chunk)); err != nil {
			return err
		}
		if len(chunk) < portion || chunk[portion-1].Status == event.Failed {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	return nil
}

func urgency(d *event.Delivery) int {
	if d.Status == event.Failed {
		return 0
	}
	return 1
}

func asEvents(list []*event.Delivery) []event.Event {
	events := make([]event.Event, len(list))
	for i, d := range list {
		events[i] = d
	}
	return events
}

type requestKey struct {
	id  string
	seq int
}

// match finds which results speak for a step that still waits.
func (p *Poller) match(ctx context.Context, poll store.Polling, results []providers.Result) ([]*event.Delivery, error) {
	final := map[requestKey]providers.Result{}
	var ids []string
	for _, r := range results {
		if r.State == providers.Delivered || r.State == providers.Failed {
			final[requestKey{r.RequestID, r.Seq}] = r
			ids = append(ids, r.RequestID)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	awaited, err := p.Ledger.Awaited(ctx, poll.Tenant, poll.Channel, ids)
	if err != nil {
		return nil, err
	}
	var events []*event.Delivery
	for _, a := range awaited {
		r, ok := final[requestKey{a.RequestID, a.Seq}]
		if !ok {
			continue
		}
		d := &event.Delivery{
			Tenant: poll.Tenant, Step: a.Step, Channel: poll.Channel, Attempt: a.Attempt, Status: event.Delivered,
			Source: event.Poll, RequestID: r.RequestID, Seq: r.Seq, Code: r.Code, At: r.At.UTC(),
		}
		if r.At.IsZero() {
			d.At = poll.Now.UTC()
		}
		if r.State == providers.Failed {
			d.Status, d.Reason, d.Final = event.Failed, event.Rejected(r.Code), r.Scope == providers.Policy
		}
		events = append(events, d)
	}
	return events, nil
}
