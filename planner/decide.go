package planner

import (
	"context"
	"log/slog"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/failpoint"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// Runs is the part of the ledger in which runs of drawn workflows rest.
type Runs interface {
	AdvanceRuns(ctx context.Context, limit int, decide func(*store.Resting) store.Onward) (due []event.Step, looked int, err error)
}

// Decider leads runs of drawn workflows on when their time has come. Any number
// of copies may run.
type Decider struct {
	Ledger    Runs
	Publisher Publisher
	// Hint wakes release for what was planned ahead.
	Hint func()
	// Tick is how often it looks; 0 means 250 ms.
	Tick   time.Duration
	Logger *slog.Logger
}

// decided is the most runs that one transaction leads on.
const decided = 200

// Run decides until ctx is done, however long Postgres is away.
func (d *Decider) Run(ctx context.Context) error {
	tick := d.Tick
	if tick == 0 {
		tick = 250 * time.Millisecond
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		next := tick
		switch n, err := d.pass(ctx); {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			failures++
			if failures == 1 || failures%50 == 0 {
				d.Logger.Warn("drawn workflows wait", "failures", failures, "err", err)
			}
			next = min(5*time.Second, tick<<min(failures, 5))
		default:
			failures = 0
			if n == decided {
				next = 0
			}
		}
		timer.Reset(next)
	}
}

// pass leads on what is due. A step whose publication fails is released when
// its lease ends.
func (d *Decider) pass(ctx context.Context) (int, error) {
	due, looked, err := d.Ledger.AdvanceRuns(ctx, decided, func(r *store.Resting) store.Onward {
		failpoint.Hit(failpoint.DeciderDeciding)
		return Advance(r)
	})
	if err != nil || looked == 0 {
		return looked, err
	}
	if len(due) > 0 {
		events := make([]event.Event, len(due))
		for i := range due {
			failpoint.Hit(failpoint.DeciderDecided)
			events[i] = &due[i]
		}
		if err := d.Publisher.Publish(ctx, events); err != nil {
			d.Logger.Warn("due steps wait for release", "steps", len(events), "err", err)
		}
	}
	d.Hint()
	return looked, nil
}
