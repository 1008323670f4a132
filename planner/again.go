package planner

import (
	"context"
	"log/slog"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Lookback is the part of the ledger that looks at triggers again.
type Lookback interface {
	ContinueReplay(ctx context.Context) (more bool, err error)
	SweepDaily(ctx context.Context, days int) (id tenant.ID, opened int, more bool, err error)
}

// Replayer goes on with replays of sources, and once a day gives the completed
// visits of each clinic another look. Any number of copies may run: where one
// stops, any goes on.
type Replayer struct {
	Ledger Lookback
	// Every is how often it looks; Days is how many days back a sweep goes.
	Every time.Duration
	Days  int
	// Hint wakes release, which publishes what was opened again.
	Hint   func()
	Logger *slog.Logger
}

// Run looks until ctx is done.
func (r *Replayer) Run(ctx context.Context) error {
	ticker := time.NewTicker(r.Every)
	defer ticker.Stop()
	for n := 0; ; n++ {
		if err := r.look(ctx, n%30 == 0); err != nil && ctx.Err() == nil {
			r.Logger.Warn("what is to be looked at again waits", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (r *Replayer) look(ctx context.Context, daily bool) error {
	for more := true; more && ctx.Err() == nil; r.Hint() {
		var err error
		if more, err = r.Ledger.ContinueReplay(ctx); err != nil {
			return err
		}
	}
	for more := daily; more && ctx.Err() == nil; r.Hint() {
		id, opened, again, err := r.Ledger.SweepDaily(ctx, r.Days)
		if err != nil {
			return err
		}
		if more = again; opened > 0 {
			r.Logger.Info("completed visits without a run of a workflow in force are planned", "tenant", id, "visits", opened)
		}
	}
	return nil
}
