package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// Replanning is a run whose plan is made anew, its row locked: nothing of it
// is claimed meanwhile.
type Replanning struct {
	Tenant  tenant.ID
	Run     uuid.UUID
	Patient uuid.UUID
	Kind    event.Kind
	// Version and Definition are those of the new plan. A run stays with its own
	// where the new one is of the other notation, whose steps are not its steps.
	Version    int32
	Definition *workflow.Definition
	// Migrated says that the definition is not the one that the run had.
	Migrated  bool
	Received  time.Time // the event
	EventType string
	Payload   []byte // nil once it can no longer be opened
	Now       time.Time
	Zone      *time.Location
	SendAt    workflow.Clock
	Calendar  *workflow.Calendar
	Steps     []StandingStep
	// Appointment is the run's as it stands, nil if it is about none; Payload
	// has it. Answers are the ways that a drawn run took.
	Appointment *Appointment
	Answers     map[string]workflow.Answer
}

// StandingStep is a step of a run as its plan finds it.
type StandingStep struct {
	ID      uuid.UUID
	Node    string
	Channel event.Channel
	// Fallback says that it replaces a step that failed.
	Fallback bool
	State    State
	DueAt    time.Time
	Expires  time.Time
}

// NewPlan is the difference between a run's old plan and its new one, in steps
// that are planned: whatever it does not name is kept as it is. Steps in other
// states cannot be in it.
type NewPlan struct {
	Cancel []uuid.UUID
	Reason event.Reason // of what is cancelled
	Move   []MovedStep
	Add    []StepPlan
	// End ends what rests in the run, so that nothing is added later.
	End bool
	// Redrawn puts Rests in the place of what rests in a drawn run, and Passed in
	// that of what it passed.
	Redrawn bool
	Rests   []workflow.Rest
	Passed  []string
}

// MovedStep is a planned step's new time.
type MovedStep struct {
	ID             uuid.UUID
	DueAt, Expires time.Time
}

// Replan says which runs, and by what.
type Replan struct {
	// One of the five: a run, or every open run of a patient, of a workflow, of an
	// appointment or of a campaign.
	Run, Patient, Workflow, Appointment, Campaign uuid.UUID
	// Version is the published one that the runs go over to; 0: each stays with
	// its own. Runs that have it already are left alone.
	Version int32
	// Next is that version's definition where it is not published yet, for a
	// [Replan.DryRun].
	Next *workflow.Definition
	// Except leaves the runs of this version alone; 0: none.
	Except int32
	Hand
	// Action is the row of the audit log, such as run.stop.
	Action string
	// DryRun finds the difference and changes nothing.
	DryRun bool
}

// Replanned is what changed.
type Replanned struct {
	Runs, Kept, Moved, Added, Cancelled int
	// InFlight are steps whose request may be with a gateway: they cannot be
	// taken back.
	InFlight []uuid.UUID
}

// replanBatch is how many runs one transaction takes.
const replanBatch = 100

// A run that has ended may begin again: evidence comes late, and a human may
// decide about a parked step. One that is named is changed whatever it is, but
// what was stopped, or had nothing to send, has a reason and stays as it is.
const selectRunsToReplan = `
SELECT e.id FROM workflow_executions e
WHERE  e.tenant_id = $1 AND e.id > $5 AND e.reason IS NULL
AND    ($2::uuid IS NOT NULL OR e.status IN ('pending', 'running')
        OR EXISTS (SELECT FROM steps s WHERE s.tenant_id = e.tenant_id AND s.execution_id = e.id AND s.state = 'parked'))
AND    ($2::uuid IS NULL OR e.id = $2) AND ($3::uuid IS NULL OR e.patient_id = $3) AND ($4::uuid IS NULL OR e.workflow_id = $4)
AND    ($6::int = 0 OR e.version <> $6) AND ($8::uuid IS NULL OR e.appointment_id = $8) AND ($9::uuid IS NULL OR e.campaign_id = $9)
ORDER  BY e.id LIMIT $7
FOR    UPDATE`

const selectReplanning = `
SELECT e.id, e.workflow_id, e.version, e.patient_id, e.trigger_id, g.kind, g.event_type, g.received_at, (SELECT app_now()), t.time_zone, t.send_at, t.calendar, t.data_key, p.data_key,
       e.execution_data -> 'answers', ` + currentAppointment + `
FROM   workflow_executions e
JOIN   triggers g ON g.tenant_id = e.tenant_id AND g.id = e.trigger_id
JOIN   tenants t ON t.id = e.tenant_id
JOIN   patients p ON p.tenant_id = e.tenant_id AND p.id = e.patient_id
LEFT   JOIN appointments ap ON ap.tenant_id = e.tenant_id AND ap.id = e.appointment_id
WHERE  e.tenant_id = $1 AND e.id = ANY ($2)
ORDER  BY e.id`

const selectStandingSteps = `
SELECT s.execution_id, s.id, s.node, s.channel, s.parent_id IS NOT NULL, s.state, s.due_at, s.expires_at
FROM   steps s
WHERE  s.tenant_id = $1 AND s.execution_id = ANY ($2)
ORDER  BY s.execution_id, s.id
FOR    UPDATE`

// What is kept is published again: its message in STEPS is of the old plan, and
// a claim of that finds nothing. What waits for another reason goes on waiting.
const keepPlanned = `
UPDATE steps s
SET    plan_epoch = s.plan_epoch + 1, wake_at = CASE WHEN s.published THEN s.due_at ELSE s.wake_at END, published = false, updated_at = (SELECT app_now())
WHERE  s.tenant_id = $1 AND s.execution_id = ANY ($2) AND s.state = 'planned'`

const movePlanned = `
UPDATE steps s
SET    due_at = n.due_at, expires_at = n.expires_at, wake_at = n.due_at, queue = s.lane, reason = NULL
FROM   unnest($2::uuid[], $3::timestamptz[], $4::timestamptz[]) AS n (id, due_at, expires_at)
WHERE  s.tenant_id = $1 AND s.id = n.id AND s.state = 'planned'`

const cancelPlanned = `
UPDATE steps s
SET    state = 'cancelled', reason = n.reason, wake_at = NULL, published = false, updated_at = (SELECT app_now())
FROM   unnest($2::uuid[], $3::text[]) AS n (id, reason)
WHERE  s.tenant_id = $1 AND s.id = n.id AND s.state = 'planned'`

const endRestsOfRuns = `
WITH ended AS (
  UPDATE run_rests r SET wake_at = NULL, outcome = 'superseded', updated_at = (SELECT app_now())
  WHERE  r.tenant_id = $1 AND r.execution_id = ANY ($2) AND r.wake_at IS NOT NULL
  RETURNING r.execution_id
)
UPDATE workflow_executions e SET resting = e.resting - n.n
FROM  (SELECT execution_id, count(*)::int AS n FROM ended GROUP BY 1) n
WHERE  e.tenant_id = $1 AND e.id = n.execution_id`

// A rest that goes on is of the new plan.
const keepRests = `UPDATE run_rests SET plan_epoch = plan_epoch + 1 WHERE tenant_id = $1 AND execution_id = ANY ($2) AND wake_at IS NOT NULL`

const advanceEpochs = `
UPDATE workflow_executions e
SET    plan_epoch = e.plan_epoch + 1, expected_steps = e.expected_steps + n.added, version = n.version
FROM   unnest($2::uuid[], $3::int[], $4::int[]) AS n (id, added, version)
WHERE  e.tenant_id = $1 AND e.id = n.id
RETURNING e.id, e.plan_epoch`

const giveReasons = `
UPDATE workflow_executions e
SET    reason = n.reason,
       status = CASE WHEN e.expected_steps = 0 AND e.status IN ('pending', 'running') THEN 'completed' ELSE e.status END,
       completed_at = CASE WHEN e.expected_steps = 0 AND e.completed_at IS NULL THEN (SELECT app_now()) ELSE e.completed_at END
FROM   unnest($2::uuid[], $3::text[]) AS n (id, reason)
WHERE  e.tenant_id = $1 AND e.id = n.id`

// Replan makes the plans of runs anew, in the order run, steps that everybody
// keeps: again, which must be pure, says the difference, and it is applied under
// a new plan epoch, so that a claim, a retry or a fallback of the old plan does
// not send. When it returns, nothing of a superseded plan is sent but what
// [Replanned.InFlight] names. Many runs go in several transactions; broken off,
// the same call goes on. One run that is not there is [ErrNotFound], as is one
// of another tenant.
func (db *DB) Replan(ctx context.Context, id tenant.ID, r Replan, again func(*Replanning) NewPlan) (out Replanned, err error) {
	if err := r.check(false); err != nil {
		return out, err
	}
	for after, more := uuid.Nil, true; more; {
		var part Replanned
		err := db.asWorker(ctx, func(tx pgx.Tx) (err error) {
			part, after, more, err = db.replanSome(ctx, tx, id, r, after, again)
			if err == nil && r.DryRun {
				err = errDryRun
			}
			return err
		})
		if err != nil && !errors.Is(err, errDryRun) {
			return out, fmt.Errorf("store: replan: %w", err)
		}
		out.add(part)
	}
	if r.Run != uuid.Nil && out.Runs == 0 {
		return out, db.existsRun(ctx, id, r.Run)
	}
	return out, nil
}

const selectRunStatus = `SELECT status FROM workflow_executions WHERE tenant_id = $1 AND id = $2`

// existsRun tells a run in which there is nothing to change from none.
func (db *DB) existsRun(ctx context.Context, id tenant.ID, run uuid.UUID) error {
	err := db.inTenant(ctx, id, func(tx pgx.Tx) error {
		var status string
		return notFound(tx.QueryRow(ctx, selectRunStatus, id, run).Scan(&status))
	})
	if err != nil {
		return fmt.Errorf("store: replan: %w", err)
	}
	return nil
}

func (r *Replanned) add(o Replanned) {
	r.Runs, r.Kept, r.Moved, r.Added, r.Cancelled = r.Runs+o.Runs, r.Kept+o.Kept, r.Moved+o.Moved, r.Added+o.Added, r.Cancelled+o.Cancelled
	r.InFlight = append(r.InFlight, o.InFlight...)
}

func (db *DB) replanSome(ctx context.Context, tx pgx.Tx, id tenant.ID, r Replan, after uuid.UUID, again func(*Replanning) NewPlan) (out Replanned, last uuid.UUID, more bool, err error) {
	if err := planFreely(ctx, tx); err != nil {
		return out, after, false, err
	}
	rows, err := tx.Query(ctx, selectRunsToReplan, id, nullID(r.Run), nullID(r.Patient), nullID(r.Workflow), after, max(r.Version, r.Except), replanBatch, nullID(r.Appointment), nullID(r.Campaign))
	if err != nil {
		return out, after, false, err
	}
	runs, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil || len(runs) == 0 {
		return out, after, false, err
	}
	list, patients, err := db.replanning(ctx, tx, id, runs, r)
	if err != nil {
		return out, after, false, err
	}
	c := planChange{id: id, runs: runs}
	for _, p := range list {
		c.take(p, again(p))
	}
	if err := c.write(ctx, tx); err != nil {
		return out, after, false, err
	}
	err = audit(ctx, tx, id, AuditEntry{Hand: r.Hand, Action: r.Action, Subject: "workflow_execution", SubjectID: r.Run, Patients: patients, Detail: map[string]any{
		"runs": len(runs), "workflow": nullID(r.Workflow), "version": r.Version, "cancelled": c.out.Cancelled, "moved": c.out.Moved, "added": c.out.Added,
	}})
	return c.out, runs[len(runs)-1], len(runs) == replanBatch, err
}

// replanning reads what the new plans depend on.
func (db *DB) replanning(ctx context.Context, tx pgx.Tx, id tenant.ID, runs []uuid.UUID, r Replan) (list []*Replanning, patients []uuid.UUID, err error) {
	type found struct {
		*Replanning
		workflow, patient, trigger uuid.UUID
		tenantKey, patientKey      []byte
	}
	public, err := db.publicHolidays(ctx, tx)
	if err != nil {
		return nil, nil, err
	}
	rows, err := tx.Query(ctx, selectReplanning, id, runs)
	if err != nil {
		return nil, nil, err
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (found, error) {
		f := found{Replanning: &Replanning{Tenant: id}}
		var zone string
		var sendAt pgtype.Time
		var calendar []byte
		err := row.Scan(&f.Run, &f.workflow, &f.Version, &f.patient, &f.trigger, &f.Kind, &f.EventType, &f.Received, &f.Now, &zone, &sendAt, &calendar, &f.tenantKey, &f.patientKey, &f.Answers, &f.Appointment)
		f.Zone, f.SendAt = location(zone), clock(sendAt)
		if err == nil {
			f.Calendar, err = public.calendar(calendar)
		}
		return f, err
	})
	if err != nil {
		return nil, nil, err
	}
	byRun := map[uuid.UUID]*Replanning{}
	for _, f := range all {
		if f.Definition, err = db.definition(ctx, tx, id, f.workflow, f.Version); err != nil {
			return nil, nil, err
		}
		if r.Version != 0 {
			next := r.Next
			if next == nil {
				if next, err = db.definition(ctx, tx, id, f.workflow, r.Version); err != nil {
					return nil, nil, err
				}
			}
			if (next.Visual() == nil) == (f.Definition.Visual() == nil) {
				f.Migrated, f.Version, f.Definition = f.Version != r.Version, r.Version, next
			}
		}
		if f.Payload, err = db.restingPayload(ctx, tx, id, f.patient, f.trigger, f.tenantKey, f.patientKey); err != nil {
			return nil, nil, err
		}
		f.Patient = f.patient
		f.Payload = f.Appointment.over(f.Payload, f.Zone)
		list, patients, byRun[f.Run] = append(list, f.Replanning), append(patients, f.patient), f.Replanning
	}
	rows, err = tx.Query(ctx, selectStandingSteps, id, runs)
	if err != nil {
		return nil, nil, err
	}
	var run uuid.UUID
	var s StandingStep
	_, err = pgx.ForEachRow(rows, []any{&run, &s.ID, &s.Node, &s.Channel, &s.Fallback, &s.State, &s.DueAt, &s.Expires}, func() error {
		byRun[run].Steps = append(byRun[run].Steps, s)
		return nil
	})
	return list, patients, err
}

// Stop is the plan of a run that is stopped: nothing more is sent.
func Stop(reason event.Reason) func(*Replanning) NewPlan {
	return func(r *Replanning) NewPlan {
		p := NewPlan{Reason: reason, End: true}
		for _, s := range r.Steps {
			p.Cancel = append(p.Cancel, s.ID)
		}
		return p
	}
}

// StopExecution stops one run: what is planned is cancelled, and what is under
// way is named. A run that is over, or was stopped, stays as it is. by has to
// say why. Errors are [ErrNote] or wrap [ErrNotFound] or [ErrUnavailable].
func (db *DB) StopExecution(ctx context.Context, id tenant.ID, run uuid.UUID, by Hand) (Replanned, error) {
	if err := by.check(true); err != nil {
		return Replanned{}, err
	}
	return db.Replan(ctx, id, Replan{Run: run, Hand: by, Action: "run.stop"}, Stop(event.WorkflowStopped))
}
