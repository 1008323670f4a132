package planner

import (
	"context"
	"log/slog"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/failpoint"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// Audiences is the part of the ledger that starts workflows for many.
type Audiences interface {
	FireSchedules(ctx context.Context) (fired int, err error)
	StartCampaigns(ctx context.Context) (started int, err error)
	PlanBatch(ctx context.Context, expand func(store.PendingTrigger, *workflow.Definition) store.Expansion) (planned int, more bool, err error)
	FinishCampaigns(ctx context.Context) error
}

// Batches fires schedules and campaigns that are due and plans for their
// audiences, a thousand patients at a time. Any number of copies may run: where
// one stops, any goes on.
type Batches struct {
	Ledger Audiences
	// Every is how often it looks.
	Every time.Duration
	// Hint wakes release, which lets go what is due.
	Hint func()
	// Yield, if set, is called before each batch and returns when this process
	// has time for it.
	Yield  func(ctx context.Context)
	Logger *slog.Logger
}

// Run looks until ctx is done.
func (b *Batches) Run(ctx context.Context) error {
	ticker := time.NewTicker(b.Every)
	defer ticker.Stop()
	for n := 0; ; n++ {
		if err := b.look(ctx, n%5 == 0); err != nil && ctx.Err() == nil {
			b.Logger.Warn("schedules and campaigns wait", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (b *Batches) look(ctx context.Context, finish bool) error {
	if _, err := b.Ledger.FireSchedules(ctx); err != nil {
		return err
	}
	if _, err := b.Ledger.StartCampaigns(ctx); err != nil {
		return err
	}
	for more := true; more && ctx.Err() == nil; {
		if b.Yield != nil {
			b.Yield(ctx)
		}
		planned, again, err := b.Ledger.PlanBatch(ctx, Expand)
		if err != nil {
			return err
		}
		if more = again; planned > 0 {
			failpoint.Hit(failpoint.BatchKept)
			b.Hint()
		}
	}
	if !finish {
		return nil
	}
	return b.Ledger.FinishCampaigns(ctx)
}
