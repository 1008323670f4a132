package dispatcher

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/providers"
)

const (
	// confirmAsks is how many messages of one account are asked for one by
	// one in a pass. The others are left to the poll for a while; what it did
	// not settle either is then read from the list of results.
	confirmAsks = 16
	// confirmAtOnce is how many of these are under way at a time.
	confirmAtOnce = 4
)

// confirm asks one account about its reports: one by one, or, where many have
// been waiting, from its list of results.
func (c *Confirmer) confirm(ctx context.Context, k asked, reports []store.PendingReport) (done []confirmation) {
	gateway, err := c.Gateways.of(ctx, k.tenant, k.account)
	if err != nil {
		c.Logger.Warn("gateway cannot be asked about reports", "tenant", k.tenant, "account", k.account, "waiting", len(reports), "err", err)
		for _, r := range reports {
			done = append(done, c.weigh(r, nil, err))
		}
		return done
	}
	var stale, rest []store.PendingReport // left to the poll before, and not
	for _, r := range reports {
		if !r.Now.Before(r.Received.Add(2 * c.Timing.R)) {
			stale = append(stale, r)
		} else {
			rest = append(rest, r)
		}
	}
	if len(stale) <= confirmAsks {
		return c.oneByOne(ctx, gateway, reports)
	}
	listed := c.listed(ctx, gateway, stale)
	for _, r := range stale {
		// By our own record of the request, never by the report's word.
		if res, ok := listed[requestKey{r.RequestID, r.Seq}]; ok && r.RequestID != "" {
			done = append(done, c.weigh(r, []providers.Result{res}, nil))
		} else {
			rest = append(rest, r)
		}
	}
	return append(done, c.oneByOne(ctx, gateway, rest)...)
}

// listed reads the final results of the time in which the reports came.
func (c *Confirmer) listed(ctx context.Context, g providers.Gateway, reports []store.PendingReport) map[requestKey]providers.Result {
	first, now := reports[0].Received, reports[0].Now
	for _, r := range reports {
		if r.Received.Before(first) {
			first = r.Received
		}
	}
	from := first.Add(-overlap)
	if now.Sub(from) > time.Hour {
		from = now.Add(-time.Hour) // older ones are asked for one by one
	}
	ctx, cancel := context.WithTimeout(ctx, 3*c.Timing.R)
	defer cancel()
	results, err := g.Results(ctx, from, now.Add(ahead))
	if err != nil {
		c.Logger.Warn("results not read", "tenant", reports[0].Tenant, "channel", reports[0].Channel, "err", err)
		return nil
	}
	final := make(map[requestKey]providers.Result, len(results))
	for _, r := range results {
		if r.State == providers.Delivered || r.State == providers.Failed {
			final[requestKey{r.RequestID, r.Seq}] = r
		}
	}
	return final
}

// oneByOne asks by our own keys, first about failures, which a patient waits
// for. Reports about one message share a question.
func (c *Confirmer) oneByOne(ctx context.Context, g providers.Gateway, reports []store.PendingReport) (done []confirmation) {
	slices.SortStableFunc(reports, func(a, b store.PendingReport) int { return strings.Compare(string(b.Says), string(a.Says)) })
	byStep := map[uuid.UUID][]store.PendingReport{}
	var steps []uuid.UUID
	for _, r := range reports {
		switch {
		case byStep[r.Step] != nil:
		case len(steps) == confirmAsks:
			done = append(done, c.later(r, 2*c.Timing.R))
			continue
		default:
			steps = append(steps, r.Step)
		}
		byStep[r.Step] = append(byStep[r.Step], r)
	}
	var mu sync.Mutex
	var asking sync.WaitGroup
	slots := make(chan struct{}, confirmAtOnce)
	for _, id := range steps {
		slots <- struct{}{}
		asking.Go(func() {
			defer func() { <-slots }()
			r := byStep[id][0]
			ctx, cancel := context.WithTimeout(ctx, c.Timing.R)
			defer cancel()
			results, err := g.Find(ctx, event.Key(r.Root, r.Channel), r.FirstIntent.Add(-time.Minute), r.Now.Add(time.Minute))
			mu.Lock()
			defer mu.Unlock()
			for _, r := range byStep[id] {
				done = append(done, c.weigh(r, results, err))
			}
		})
	}
	asking.Wait()
	return done
}

// weigh says what the gateway's answer makes of a report. The evidence that is
// published is the gateway's answer, whatever the report said.
func (c *Confirmer) weigh(r store.PendingReport, results []providers.Result, err error) confirmation {
	switch {
	case err != nil && r.Now.Before(r.Received.Add(c.Timing.UnknownDeadline)):
		return c.settle(r, "")
	case err != nil:
		return c.settle(r, store.ReportGivenUp)
	}
	state, res := providers.Pending, providers.Result{}
	if len(results) > 0 {
		res = telling(results)
		state = res.State
	}
	if state != providers.Delivered && state != providers.Failed {
		// It may be shown only after V; then the resolver and the poll are
		// left to find it.
		if r.Now.Before(r.Received.Add(c.Timing.Quiet())) {
			return c.settle(r, "")
		}
		return c.settle(r, store.ReportGivenUp)
	}
	s := c.settle(r, store.ReportConfirmed)
	if (state == providers.Delivered) != (r.Says == store.SaysDelivered) {
		s.To, s.Refuting = store.ReportRefuted, res.Code
	}
	s.event = &event.Delivery{
		Tenant: r.Tenant, Step: r.Step, Channel: r.Channel, Attempt: r.Attempt, Status: event.Delivered,
		Source: event.Report, RequestID: res.RequestID, Seq: res.Seq, Code: res.Code, At: res.At.UTC(),
	}
	if res.At.IsZero() {
		s.event.At = r.Now.UTC()
	}
	if state == providers.Failed {
		s.event.Status, s.event.Reason, s.event.Final = event.Failed, event.Rejected(res.Code), res.Scope == providers.Policy
	}
	if (state == providers.Delivered && r.State == store.StateDelivered) || (state == providers.Failed && r.State == store.StateFailed) {
		s.event = nil // it is no news
	}
	return s
}
