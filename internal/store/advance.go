package store

import (
	"context"
	"encoding/json"
	"maps"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// The outcomes of a rest that are not the walk's.
const (
	restSuperseded = "superseded" // its run ended, or was planned anew
)

// advance writes what decide makes of each resting run.
func (db *DB) advance(ctx context.Context, tx pgx.Tx, resting []*Resting, decide func(*Resting) Onward) ([]event.Step, error) {
	var steps stepRows
	var rests restRows
	var ends endRows
	grown := map[uuid.UUID]*gain{}
	order := []uuid.UUID{}
	for _, r := range resting {
		g := grown[r.Run]
		if g == nil {
			g = &gain{tenant: r.Tenant}
			grown[r.Run], order = g, append(order, r.Run)
		}
		if r.Definition == nil {
			ends.add(r, time.Time{}, restSuperseded)
			g.rests--
			continue
		}
		// What an earlier rest of this run passed a moment ago counts.
		r.Passed = append(r.Passed, g.passed...)
		on := decide(r)
		if !on.Again.IsZero() {
			ends.add(r, on.Again, "")
			continue
		}
		ends.add(r, time.Time{}, on.Outcome)
		for _, s := range on.Steps {
			steps.add(r.Tenant, r.Run, r.Epoch, s, r.Now, db.timing.Lease)
		}
		for _, n := range on.Rests {
			rests.add(r.Tenant, r.Run, r.Epoch, n)
		}
		g.steps += len(on.Steps)
		g.rests += len(on.Rests) - 1
		g.passed = append(g.passed, on.Passed...)
		if g.answers == nil {
			g.answers = on.Answers
		} else {
			maps.Copy(g.answers, on.Answers)
		}
	}
	var batch pgx.Batch
	if len(steps.ids) > 0 {
		batch.Queue(insertSteps, steps.args()...)
	}
	if len(rests.ids) > 0 {
		batch.Queue(insertRests, rests.args()...)
	}
	batch.Queue(endRests, ends.tenants, ends.ids, ends.wakes, ends.outcomes)
	var g gainRows
	for _, run := range order {
		g.add(run, grown[run])
	}
	batch.Queue(growRuns, g.tenants, g.ids, g.steps, g.rests, g.passed, g.answers)
	// A run that walked to its end with nothing open is over.
	batch.Queue(settleRuns, g.tenants, g.ids)
	batch.Queue(settleEmptyRuns, g.tenants, g.ids)
	return steps.due, tx.SendBatch(ctx, &batch).Close()
}

// settleEmptyRuns ends runs that never had a step.
const settleEmptyRuns = `
UPDATE workflow_executions e
SET    status = 'completed', reason = 'no_steps', completed_at = (SELECT app_now())
FROM   unnest($1::uuid[], $2::uuid[]) AS n (tenant_id, id)
WHERE  e.tenant_id = n.tenant_id AND e.id = n.id AND e.status IN ('pending', 'running') AND e.resting = 0 AND e.expected_steps = 0`

// gain is what one run gains.
type gain struct {
	tenant       tenant.ID
	steps, rests int
	passed       []string
	answers      map[string]workflow.Answer
}

type gainRows struct {
	tenants      []tenant.ID
	ids          []uuid.UUID
	steps, rests []int32
	passed       []string
	answers      []string
}

func (r *gainRows) add(run uuid.UUID, g *gain) {
	passed, answers := []byte("[]"), []byte("{}")
	if len(g.passed) > 0 {
		passed, _ = json.Marshal(g.passed) // texts: it cannot fail
	}
	r.tenants, r.ids = append(r.tenants, g.tenant), append(r.ids, run)
	if len(g.answers) > 0 {
		answers, _ = json.Marshal(g.answers) // texts and times: it cannot fail
	}
	r.answers = append(r.answers, string(answers))
	r.steps, r.rests, r.passed = append(r.steps, int32(g.steps)), append(r.rests, int32(g.rests)), append(r.passed, string(passed))
}

type restRows struct {
	tenants   []tenant.ID
	ids, runs []uuid.UUID
	nodes     []string
	dueAts    []time.Time
	awaits    []*string
	wakes     []*time.Time
	epochs    []int32
}

func (r *restRows) add(id tenant.ID, run uuid.UUID, epoch int32, n workflow.Rest) {
	r.tenants, r.ids, r.runs = append(r.tenants, id), append(r.ids, uuid.Must(uuid.NewV7())), append(r.runs, run)
	r.nodes, r.dueAts, r.awaits = append(r.nodes, n.Node), append(r.dueAts, n.At), append(r.awaits, nullText(n.Event))
	r.epochs = append(r.epochs, epoch)
	wake := &n.At
	if n.Soon {
		wake = nil
	}
	r.wakes = append(r.wakes, wake)
}

func (r *restRows) args() []any {
	return []any{r.tenants, r.ids, r.runs, r.nodes, r.dueAts, r.awaits, r.epochs, r.wakes}
}

type endRows struct {
	tenants  []tenant.ID
	ids      []uuid.UUID
	wakes    []*time.Time
	outcomes []*string
}

func (r *endRows) add(rest *Resting, wake time.Time, outcome string) {
	r.tenants, r.ids = append(r.tenants, rest.Tenant), append(r.ids, rest.ID)
	r.wakes, r.outcomes = append(r.wakes, nullTime(wake)), append(r.outcomes, nullText(outcome))
}
