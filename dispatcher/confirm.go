package dispatcher

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/failpoint"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Reports is the part of the ledger that keeps what gateways reported.
type Reports interface {
	LeaseReports(ctx context.Context, every, lease time.Duration, accounts, rows int) ([]store.PendingReport, error)
	SettleReports(ctx context.Context, list []store.SettledReport) error
	PendingReports(ctx context.Context) (n int, oldest time.Duration, err error)
}

const (
	// confirmAccounts and confirmRows, of each account, bound one pass.
	confirmAccounts = 16
	confirmRows     = 4096
)

// Confirmer asks gateways whether what their webhooks reported is so, and
// publishes what they say. Any number of copies may run; together they take
// one account's turn no more often than Every.
type Confirmer struct {
	Ledger    Reports
	Publisher Publisher
	Gateways  *Gateways
	Timing    store.Timing
	// Every is how often one account is asked; 0 means 1 s.
	Every   time.Duration
	Logger  *slog.Logger
	Metrics *ConfirmMetrics
}

// Run confirms until ctx is done.
func (c *Confirmer) Run(ctx context.Context) error {
	if c.Every == 0 {
		c.Every = time.Second
	}
	ticker := time.NewTicker(min(c.Every, 250*time.Millisecond))
	defer ticker.Stop()
	var counted time.Time
	for {
		if err := c.pass(ctx); err != nil && ctx.Err() == nil {
			c.Logger.Warn("reports wait to be confirmed", "err", err)
		}
		if time.Since(counted) >= countReportsEvery {
			counted = time.Now()
			if n, oldest, err := c.Ledger.PendingReports(ctx); err == nil {
				c.Metrics.waiting(n, oldest)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// asked names an account whose gateway is asked.
type asked struct {
	tenant  tenant.ID
	account uuid.UUID
}

// pass confirms what is due, once. What is not settled when it ends, or when
// the process does, is due again after the lease.
func (c *Confirmer) pass(ctx context.Context) error {
	list, err := c.Ledger.LeaseReports(ctx, c.Every, c.Timing.Lease, confirmAccounts, confirmRows)
	if err != nil || len(list) == 0 {
		return err
	}
	var done []confirmation
	ask := map[asked][]store.PendingReport{}
	for _, r := range list {
		if to, known := foregone(r, c.Timing); known {
			done = append(done, c.settle(r, to))
			continue
		}
		if r.State == store.StateClaimed {
			// The request is under way: its own answer comes first, or the
			// claim grows stale.
			done = append(done, c.later(r, c.Every))
			continue
		}
		k := asked{r.Tenant, r.SentBy}
		ask[k] = append(ask[k], r)
	}
	// One slow gateway keeps nobody's answers back for long, and no report is
	// asked about twice because its lease ended meanwhile.
	asking, cancel := context.WithTimeout(ctx, c.Timing.Lease/2)
	defer cancel()
	var mu sync.Mutex
	var accounts sync.WaitGroup
	for k, reports := range ask {
		accounts.Go(func() {
			found := c.confirm(asking, k, reports)
			mu.Lock()
			defer mu.Unlock()
			done = append(done, found...)
		})
	}
	accounts.Wait()
	return c.keep(ctx, done)
}

// confirmation is what became of one report, with the evidence to publish.
type confirmation struct {
	store.SettledReport
	event *event.Delivery
}

func (c *Confirmer) settle(r store.PendingReport, to store.ReportState) confirmation {
	s := confirmation{SettledReport: store.SettledReport{PendingReport: r, To: to}}
	if to == "" {
		s.Again = r.Now.Add(again(r.Tries, c.Timing))
	}
	return s
}

// later puts a report off.
func (c *Confirmer) later(r store.PendingReport, by time.Duration) confirmation {
	s := c.settle(r, "")
	s.Again = r.Now.Add(by)
	return s
}

// keep publishes first and settles then: a report is done with only when its
// evidence is stored.
func (c *Confirmer) keep(ctx context.Context, done []confirmation) error {
	var events []event.Event
	settled := make([]store.SettledReport, len(done))
	for i, d := range done {
		settled[i] = d.SettledReport
		if d.event != nil {
			events = append(events, d.event)
		}
	}
	if len(events) > 0 {
		failpoint.Hit(failpoint.ConfirmerAsked)
		if err := c.Publisher.Publish(ctx, events); err != nil {
			return err
		}
		failpoint.Hit(failpoint.ConfirmerPublished)
	}
	if err := c.Ledger.SettleReports(ctx, settled); err != nil {
		return err
	}
	for _, s := range settled {
		c.Metrics.settled(s.To)
	}
	return nil
}

// foregone says what becomes of a report without asking the gateway; "" puts
// it off.
func foregone(r store.PendingReport, t store.Timing) (to store.ReportState, known bool) {
	switch {
	case r.Step == uuid.Nil && r.Named:
		return store.ReportUnknown, true
	case r.Step == uuid.Nil:
		// The answer that names its request may not be recorded yet.
		if r.Now.Before(r.Received.Add(2 * t.StaleClaim())) {
			return "", true
		}
		return store.ReportUnknown, true
	case r.SentBy == uuid.Nil:
		return store.ReportUnknown, true // nothing was ever sent
	case r.State == store.StateDelivered && r.Says == store.SaysDelivered, r.State == store.StateFailed && r.Says == store.SaysFailed:
		return store.ReportConfirmed, true
	}
	return "", false
}

// again is 1 s, 2 s, 4 s, … up to two minutes, in the gateway's time.
func again(tries int, t store.Timing) time.Duration {
	return min(t.V, t.R/10<<min(max(tries-1, 0), 7))
}
