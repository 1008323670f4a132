package store

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
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
	redrawn  []redrawnRun
	out      Replanned
}

type addedStep struct {
	run  uuid.UUID
	plan StepPlan
}

// redrawnRun is a drawn run whose way was laid out anew.
type redrawnRun struct {
	run    uuid.UUID
	rests  []workflow.Rest
	passed []string
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
	if p.Redrawn && !p.End {
		c.redrawn = append(c.redrawn, redrawnRun{r.Run, p.Rests, p.Passed})
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
	c.redraw(&batch, epochs)
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

const redrawRuns = `
UPDATE workflow_executions e
SET    resting = e.resting + n.rests, execution_data = jsonb_set(e.execution_data, '{passed}', n.passed::jsonb),
       status = CASE WHEN e.status = 'pending' AND e.expected_steps > 0 THEN 'running' ELSE e.status END
FROM   unnest($2::uuid[], $3::int[], $4::text[]) AS n (id, rests, passed)
WHERE  e.tenant_id = $1 AND e.id = n.id`

// redraw puts new rests in the place of the open ones.
func (c *planChange) redraw(batch *pgx.Batch, epochs map[uuid.UUID]int32) {
	if len(c.redrawn) == 0 {
		return
	}
	var rests restRows
	var runs runSet
	var counts []int32
	var passed []string
	for _, r := range c.redrawn {
		for _, n := range r.rests {
			rests.add(c.id, r.run, epochs[r.run], n)
		}
		b, _ := json.Marshal(append([]string{}, r.passed...)) // texts: it cannot fail
		counts, passed = append(counts, int32(len(r.rests))), append(passed, string(b))
		runs.add(c.id, r.run)
	}
	batch.Queue(endRestsOfRuns, c.id, runs.ids)
	batch.Queue(insertRests, rests.args()...)
	batch.Queue(redrawRuns, c.id, runs.ids, counts, passed)
	batch.Queue(settleEmptyRuns, runs.tenants, runs.ids)
}
