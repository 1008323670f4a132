package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Execution is one run of a workflow with all its steps. Times are in the
// tenant's zone, and zero for what has not happened.
type Execution struct {
	ID           uuid.UUID
	Workflow     uuid.UUID
	WorkflowName string
	Version      int32
	Trigger      uuid.UUID
	Patient      uuid.UUID
	Appointment  uuid.UUID // zero: about none
	Campaign     uuid.UUID // zero: of none
	Status       string    // pending, running, completed, failed
	Reason       event.Reason
	PlanEpoch    int32
	// ExpectedSteps is what the run says it has; it is len(Steps).
	ExpectedSteps int32
	Data          json.RawMessage // a JSON object
	Started       time.Time
	Completed     time.Time
	Created       time.Time
	Steps         []ExecutionStep
}

// ExecutionStep is one step of a run as it stands.
type ExecutionStep struct {
	ID        uuid.UUID
	Node      string
	Channel   event.Channel
	Parent    uuid.UUID // the failed step that this one replaces; zero otherwise
	State     State
	Reason    event.Reason
	Attempt   int32
	Due       time.Time
	Expires   time.Time
	Sent      time.Time
	Delivered time.Time
}

// ExecutionQuery says which runs; zero values leave open.
type ExecutionQuery struct {
	Workflow uuid.UUID
	// Patient takes the runs of rows that were merged with its own too.
	Patient uuid.UUID
	Status  string
	// Cursor is the Next of the page before.
	Cursor string
	// Limit is the page's size; 0 means [DefaultPage], at most [MaxPage].
	Limit int
}

// One statement, so that a run and its steps are of the same moment. Ids are
// in the order of creation, and the primary key has them so.
const selectExecutions = `
WITH page AS (
  SELECT e.*, w.name
  FROM   workflow_executions e
  JOIN   workflows w ON w.tenant_id = e.tenant_id AND w.id = e.workflow_id
  WHERE  e.tenant_id = $1
  AND    ($2::uuid IS NULL OR e.workflow_id = $2)
  AND    ($3::uuid[] IS NULL OR e.patient_id = ANY ($3))
  AND    ($4::text IS NULL OR e.status = $4)
  AND    ($5::uuid IS NULL OR e.id < $5)
  ORDER  BY e.id DESC
  LIMIT  $6
)
SELECT ` + ofPage

const selectExecution = `
WITH page AS (
  SELECT e.*, w.name
  FROM   workflow_executions e
  JOIN   workflows w ON w.tenant_id = e.tenant_id AND w.id = e.workflow_id
  WHERE  e.tenant_id = $1 AND e.id = $2
)
SELECT ` + ofPage

// ofPage reads the runs of a page, each with its steps.
const ofPage = `e.id, e.workflow_id, e.name, e.version, e.trigger_id, e.patient_id, e.appointment_id, e.campaign_id,
       e.status, coalesce(e.reason, ''), e.plan_epoch, e.expected_steps, e.execution_data, e.started_at, e.completed_at, e.created_at,
       s.id, coalesce(s.node, ''), coalesce(s.channel, ''), s.parent_id, coalesce(s.state, ''), coalesce(s.reason, ''), coalesce(s.attempt, 0),
       s.due_at, s.expires_at, s.sent_at, s.delivered_at
FROM   page e
LEFT   JOIN steps s ON s.tenant_id = e.tenant_id AND s.execution_id = e.id
ORDER  BY e.id DESC, s.root_id, s.id`

const executionCursor = "cursor.workflow_executions"

// Executions returns one page of a tenant's runs, newest first. Errors wrap
// [ErrCursor], [ErrErased] or [ErrUnavailable] where that is what happened.
func (db *DB) Executions(ctx context.Context, id tenant.ID, q ExecutionQuery) (page Page[Execution], err error) {
	limit := pageSize(q.Limit)
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		v, err := db.viewer(ctx, tx, id)
		if err != nil {
			return err
		}
		after, err := v.position(executionCursor, q.Cursor)
		if err != nil {
			return err
		}
		patients, err := wanted(ctx, tx, id, q.Patient)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, selectExecutions, id, nullID(q.Workflow), patients, nullText(q.Status), nullID(after.id), limit+1)
		if err != nil {
			return err
		}
		runs, err := collectExecutions(rows, v)
		page = cut(runs, limit, func(e Execution) string { return v.cursor(executionCursor, position{id: e.ID}) })
		return err
	})
	if err != nil {
		return Page[Execution]{}, fmt.Errorf("store: executions: %w", err)
	}
	return page, nil
}

const selectRests = `
SELECT r.node, r.due_at, coalesce(r.awaits, ''), coalesce(r.outcome, '') FROM run_rests r WHERE r.tenant_id = $1 AND r.execution_id = $2 ORDER BY r.id`

const selectClicked = `
SELECT l.node, l.clicked_at FROM links l WHERE l.tenant_id = $1 AND l.execution_id = $2 AND l.clicked_at IS NOT NULL ORDER BY l.clicked_at`

// ExecutionPlan returns one run with its steps, where it rests or rested, and
// which links of it were opened.
// Errors wrap [ErrNotFound], [ErrErased] or [ErrUnavailable].
func (db *DB) ExecutionPlan(ctx context.Context, id tenant.ID, run uuid.UUID) (e Execution, rests []StoryRest, clicks []StoryClick, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		v, err := db.viewer(ctx, tx, id)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, selectExecution, id, run)
		if err != nil {
			return err
		}
		found, err := collectExecutions(rows, v)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return ErrNotFound
		}
		e = found[0]
		if rows, err = tx.Query(ctx, selectRests, id, run); err != nil {
			return err
		}
		rests, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r StoryRest, err error) {
			err = row.Scan(&r.Node, &r.Until, &r.Event, &r.Outcome)
			r.Until = v.local(&r.Until)
			return r, err
		})
		if err != nil {
			return err
		}
		if rows, err = tx.Query(ctx, selectClicked, id, run); err != nil {
			return err
		}
		clicks, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (c StoryClick, err error) {
			err = row.Scan(&c.Node, &c.At)
			c.At = v.local(&c.At)
			return c, err
		})
		return err
	})
	if err != nil {
		return e, nil, nil, fmt.Errorf("store: execution: %w", err)
	}
	return e, rests, clicks, nil
}

// collectExecutions folds rows of steps into their runs.
func collectExecutions(rows pgx.Rows, v viewer) ([]Execution, error) {
	var (
		runs                                     []Execution
		e                                        Execution
		s                                        ExecutionStep
		appointment, campaign, step, parent      *uuid.UUID
		completed, due, expires, sent, delivered *time.Time
	)
	_, err := pgx.ForEachRow(rows, []any{
		&e.ID, &e.Workflow, &e.WorkflowName, &e.Version, &e.Trigger, &e.Patient, &appointment, &campaign,
		&e.Status, &e.Reason, &e.PlanEpoch, &e.ExpectedSteps, &e.Data, &e.Started, &completed, &e.Created,
		&step, &s.Node, &s.Channel, &parent, &s.State, &s.Reason, &s.Attempt, &due, &expires, &sent, &delivered,
	}, func() error {
		if len(runs) == 0 || runs[len(runs)-1].ID != e.ID {
			run := e
			run.Appointment, run.Campaign = orNil(appointment), orNil(campaign)
			run.Data = append(json.RawMessage(nil), e.Data...)
			run.Started, run.Completed, run.Created = v.local(&e.Started), v.local(completed), v.local(&e.Created)
			runs = append(runs, run)
		}
		if step == nil {
			return nil
		}
		s.ID, s.Parent = *step, orNil(parent)
		s.Due, s.Expires, s.Sent, s.Delivered = v.local(due), v.local(expires), v.local(sent), v.local(delivered)
		run := &runs[len(runs)-1]
		run.Steps = append(run.Steps, s)
		return nil
	})
	return runs, err
}

// orNil is the id, or the zero id for NULL.
func orNil(id *uuid.UUID) uuid.UUID {
	if id == nil {
		return uuid.Nil
	}
	return *id
}
