package store

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// planChange collects what one transaction changes.
type planChange struct {
	id       tenant.ID
	runs     []uuid.UUID
	grown    []int32 // by runs
	versions []int32 // by runs
	ended    []uuid.UUID
	why      []string // by ended
	cancel   []uuid.UUID
	reasons  []string
	move     []uuid.UUID
	dues     []time.Time
	expiries []time.Time
	added    []addedStep
	out      Replanned
}

type addedStep struct {
	run  uuid.UUID
	plan StepPlan
}

// take adds one run's difference. What it names and is not planned any more is
// left alone: it was sent, or is over.
func (c *planChange) take(r *Replanning, p NewPlan) {
	planned := map[uuid.UUID]bool{}
	for _, s := range r.Steps {
		switch s.State {
		case StatePlanned:
			planned[s.ID] = true
		case StateClaimed, StateUnknown:
			c.out.InFlight = append(c.out.InFlight, s.ID)
		}
	}
	kept := len(planned)
	for _, id := range p.Cancel {
		if planned[id] {
			c.cancel, c.reasons = append(c.cancel, id), append(c.reasons, string(p.Reason))
			c.out.Cancelled++
			kept--
		}
	}
	for _, m := range p.Move {
		if planned[m.ID] && !slices.Contains(p.Cancel, m.ID) {
			c.move, c.dues, c.expiries = append(c.move, m.ID), append(c.dues, m.DueAt), append(c.expiries, m.Expires)
			c.out.Moved++
			kept--
		}
	}
	for _, s := range p.Add {
		c.added = append(c.added, addedStep{r.Run, s})
	}
	if p.End {
		c.ended, c.why = append(c.ended, r.Run), append(c.why, string(p.Reason))
	}
	c.grown, c.versions = append(c.grown, int32(len(p.Add))), append(c.versions, r.Version)
	c.out.Runs, c.out.Kept, c.out.Added = c.out.Runs+1, c.out.Kept+kept, c.out.Added+len(p.Add)
}

// write applies the difference: first every planned step goes under the new
// epoch, then some are moved or cancelled, and some come.
func (c *planChange) write(ctx context.Context, tx pgx.Tx) error {
	epochs := map[uuid.UUID]int32{}
	rows, err := tx.Query(ctx, advanceEpochs, c.id, c.runs, c.grown, c.versions)
	if err != nil {
		return err
	}
	var run uuid.UUID
	var epoch int32
	if _, err := pgx.ForEachRow(rows, []any{&run, &epoch}, func() error { epochs[run] = epoch; return nil }); err != nil {
		return err
	}
	var batch pgx.Batch
	batch.Queue(keepPlanned, c.id, c.runs)
	if len(c.move) > 0 {
		batch.Queue(movePlanned, c.id, c.move, c.dues, c.expiries)
	}
	if len(c.cancel) > 0 {
		batch.Queue(cancelPlanned, c.id, c.cancel, c.reasons)
	}
	if len(c.added) > 0 {
		// Released like what was planned ahead, the due ones at once.
		var steps stepRows
		for _, a := range c.added {
			steps.add(c.id, a.run, epochs[a.run], a.plan, time.Time{}, 0)
		}
		batch.Queue(insertSteps, steps.args()...)
	}
	batch.Queue(keepRests, c.id, c.runs)
	if len(c.ended) > 0 {
		batch.Queue(endRestsOfRuns, c.id, c.ended)
	}
	tenants := make([]tenant.ID, len(c.runs))
	for i := range tenants {
		tenants[i] = c.id
	}
	batch.Queue(settleRuns, tenants, c.runs)
	if len(c.ended) > 0 {
		batch.Queue(giveReasons, c.id, c.ended, c.why)
	}
	return tx.SendBatch(ctx, &batch).Close()
}
