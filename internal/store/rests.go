package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// Expansion is what planning adds to a run: steps, places where it is looked at
// again, and the nodes of a drawing that it passed.
type Expansion struct {
	Steps  []StepPlan
	Rests  []workflow.Rest
	Passed []string
	// Answers are the ways that were taken where there are several.
	Answers map[string]workflow.Answer
}

// Resting is a run of a drawn workflow at a node whose time has come, with the
// world as it is now. Its run's row is locked.
type Resting struct {
	workflow.Rest
	Tenant  tenant.ID
	ID      uuid.UUID
	Run     uuid.UUID
	Patient uuid.UUID
	Lane    event.Lane
	// Epoch is the run's plan: what is added to it carries it.
	Epoch      int32
	Definition *workflow.Definition
	Now        time.Time
	Zone       *time.Location
	SendAt     workflow.Clock
	Calendar   *workflow.Calendar
	World      workflow.World
	// Payload is the trigger's; nil once it can no longer be opened.
	Payload []byte
	Passed  []string
	// Appointment is the run's as it stands, nil if it is about none; World and
	// Payload have it.
	Appointment *Appointment
}

// Onward is what becomes of a [Resting]: it goes on, or sleeps until Again.
type Onward struct {
	Expansion
	Outcome string
	Again   time.Time // if set, nothing else counts
}

// Runs first, as everywhere; then what rests in them.
const lockRestingRuns = `
SELECT e.tenant_id, e.id
FROM   workflow_executions e
WHERE  (e.tenant_id, e.id) IN (
         SELECT r.tenant_id, r.execution_id
         FROM   run_rests r JOIN tenants t ON t.id = r.tenant_id JOIN platform p ON p.singleton
         WHERE  r.wake_at <= (SELECT app_now()) AND t.paused_at IS NULL AND p.paused_at IS NULL
         ORDER  BY r.wake_at LIMIT $1)
ORDER  BY e.id
FOR    UPDATE SKIP LOCKED`

const selectResting = `
SELECT r.tenant_id, r.id, r.execution_id, r.node, r.due_at, coalesce(r.awaits, ''), (SELECT app_now()),
       r.plan_epoch <> e.plan_epoch OR e.status IN ('completed', 'failed') OR p.erased_at IS NOT NULL, e.plan_epoch, e.workflow_id, e.version, e.patient_id, e.trigger_id,
       e.execution_data -> 'passed', g.kind, t.time_zone, t.send_at, t.calendar, t.data_key, p.data_key,
       jsonb_strip_nulls(jsonb_build_object('gender', o.gender, 'external_id', o.external_id,
         'last_visit_date', o.last_visit_date, 'last_surgery_date', o.last_surgery_date)),
       coalesce((SELECT jsonb_object_agg(s.node, s.said) FROM (
         SELECT s.node, jsonb_build_object('delivered', bool_or(s.state = 'delivered'), 'sent', bool_or(s.state IN ('sent', 'delivered')),
                'failed', bool_and(s.state IN ('failed', 'parked', 'cancelled', 'skipped', 'expired'))) AS said
         FROM   steps s WHERE s.tenant_id = e.tenant_id AND s.execution_id = e.id GROUP BY s.node) s), '{}'),
       ` + currentAppointment + `
FROM   unnest($1::uuid[], $2::uuid[]) AS n (tenant_id, id)
JOIN   workflow_executions e ON e.tenant_id = n.tenant_id AND e.id = n.id
JOIN   run_rests r ON r.tenant_id = e.tenant_id AND r.execution_id = e.id AND r.wake_at <= (SELECT app_now())
JOIN   triggers g ON g.tenant_id = e.tenant_id AND g.id = e.trigger_id
JOIN   tenants t ON t.id = e.tenant_id
JOIN   patients p ON p.tenant_id = e.tenant_id AND p.id = e.patient_id
JOIN   patients o ON o.tenant_id = p.tenant_id AND o.id = coalesce(p.merged_into, p.id)
LEFT   JOIN appointments ap ON ap.tenant_id = e.tenant_id AND ap.id = e.appointment_id
ORDER  BY r.tenant_id, r.execution_id, r.due_at, r.id`

const insertRests = `
INSERT INTO run_rests (tenant_id, id, execution_id, node, due_at, awaits, wake_at, plan_epoch)
SELECT n.tenant_id, n.id, n.execution_id, n.node, n.due_at, n.awaits, coalesce(n.wake_at, (SELECT app_now())), n.plan_epoch
FROM   unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[], $6::text[], $7::int[], $8::timestamptz[])
       AS n (tenant_id, id, execution_id, node, due_at, awaits, plan_epoch, wake_at)`

// Whoever waits for the outcome of a message looks now.
const wakeWaits = `
UPDATE run_rests r
SET    wake_at = (SELECT app_now()), updated_at = (SELECT app_now())
WHERE  (r.tenant_id, r.execution_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[])) AND r.awaits IN ('delivered', 'failed') AND r.wake_at IS NOT NULL`

// queueWaits wakes the waits of runs in which a message was delivered or failed.
func queueWaits(batch *pgx.Batch, steps map[uuid.UUID]*settling) {
	var runs runSet
	for _, s := range steps {
		if s.moved && s.resting && (s.State == StateDelivered || s.State == StateFailed) {
			runs.add(s.Tenant, s.Run)
		}
	}
	if len(runs.ids) > 0 {
		batch.Queue(wakeWaits, runs.tenants, runs.ids)
	}
}

const endRests = `
UPDATE run_rests r
SET    wake_at = n.wake_at, outcome = n.outcome, updated_at = (SELECT app_now())
FROM   unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[]) AS n (tenant_id, id, wake_at, outcome)
WHERE  r.tenant_id = n.tenant_id AND r.id = n.id`

const growRuns = `
UPDATE workflow_executions e
SET    expected_steps = e.expected_steps + n.steps, resting = e.resting + n.rests,
       status = CASE WHEN n.steps > 0 AND e.status = 'pending' THEN 'running' ELSE e.status END,
       execution_data = CASE WHEN n.passed = '[]' THEN e.execution_data
         ELSE jsonb_set(e.execution_data, '{passed}', coalesce(e.execution_data -> 'passed', '[]') || n.passed::jsonb) END
         || CASE WHEN n.answers = '{}' THEN '{}' ELSE jsonb_build_object('answers', coalesce(e.execution_data -> 'answers', '{}') || n.answers::jsonb) END
FROM   unnest($1::uuid[], $2::uuid[], $3::int[], $4::int[], $5::text[], $6::text[]) AS n (tenant_id, id, steps, rests, passed, answers)
WHERE  e.tenant_id = n.tenant_id AND e.id = n.id`

// AdvanceRuns looks at up to limit runs of drawn workflows whose time has come,
// each locked, asks decide what becomes of them, and writes it: steps, rests
// and the run in one transaction. It returns the steps that are due already,
// leased to the caller to be published, and how many rests it looked at. Any
// number of copies may call it. decide must be pure.
func (db *DB) AdvanceRuns(ctx context.Context, limit int, decide func(*Resting) Onward) (due []event.Step, looked int, err error) {
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		due, looked = nil, 0
		resting, err := db.restingRuns(ctx, tx, limit)
		if err != nil || len(resting) == 0 {
			return err
		}
		looked = len(resting)
		due, err = db.advance(ctx, tx, resting, decide)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("store: advance runs: %w", err)
	}
	return due, looked, nil
}

func (db *DB) restingRuns(ctx context.Context, tx pgx.Tx, limit int) (out []*Resting, err error) {
	rows, err := tx.Query(ctx, lockRestingRuns, limit)
	if err != nil {
		return nil, err
	}
	var runs runSet
	var id tenant.ID
	var run uuid.UUID
	if _, err := pgx.ForEachRow(rows, []any{&id, &run}, func() error { runs.add(id, run); return nil }); err != nil || len(runs.ids) == 0 {
		return nil, err
	}
	type found struct {
		*Resting
		over                  bool
		workflow, trigger     uuid.UUID
		version               int32
		tenantKey, patientKey []byte
	}
	public, err := db.publicHolidays(ctx, tx)
	if err != nil {
		return nil, err
	}
	rows, err = tx.Query(ctx, selectResting, runs.tenants, runs.ids)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (found, error) {
		r := new(Resting)
		f := found{Resting: r}
		var passed, patient, happened, calendar []byte
		var kind event.Kind
		var zone string
		var sendAt pgtype.Time
		err := row.Scan(&r.Tenant, &r.ID, &r.Run, &r.Node, &r.At, &r.Event, &r.Now, &f.over, &r.Epoch, &f.workflow, &f.version, &r.Patient, &f.trigger,
			&passed, &kind, &zone, &sendAt, &calendar, &f.tenantKey, &f.patientKey, &patient, &happened, &r.Appointment)
		if err != nil {
			return f, err
		}
		r.Zone, r.SendAt, r.Lane = location(zone), clock(sendAt), kind.Lane()
		if r.Calendar, err = public.calendar(calendar); err != nil {
			return f, err
		}
		if passed != nil {
			if err := json.Unmarshal(passed, &r.Passed); err != nil {
				return f, fmt.Errorf("run's passed nodes: %w", err)
			}
		}
		if err := json.Unmarshal(patient, &r.World.Patient); err != nil {
			return f, err
		}
		return f, json.Unmarshal(happened, &r.World.Happened)
	})
	if err != nil {
		return nil, err
	}
	var following runSet
	for _, f := range list {
		if f.over {
			out = append(out, f.Resting) // without a definition: it is only ended
			continue
		}
		if f.Definition, err = db.definition(ctx, tx, f.Tenant, f.workflow, f.version); err != nil {
			return nil, err
		}
		if f.Payload, err = db.restingPayload(ctx, tx, f.Tenant, f.Patient, f.trigger, f.tenantKey, f.patientKey); err != nil {
			return nil, err
		}
		f.Payload, f.World.Appointment = f.Appointment.over(f.Payload, f.Zone), f.Appointment.Fields(f.Zone)
		if f.Payload != nil {
			if err := json.Unmarshal(f.Payload, &f.World.Trigger); err != nil {
				f.World.Trigger = nil // a payload that is no object says nothing
			}
		}
		if f.Definition.Follows() {
			following.add(f.Tenant, f.Run)
		}
		out = append(out, f.Resting)
	}
	return out, clicks(ctx, tx, following, out)
}

// restingPayload is nil where the patient or the payload was erased.
func (db *DB) restingPayload(ctx context.Context, tx pgx.Tx, id tenant.ID, patient, trigger uuid.UUID, tenantKey, patientKey []byte) ([]byte, error) {
	if tenantKey == nil || patientKey == nil {
		return nil, nil
	}
	tk, err := db.unwrap(id, tenantKey)
	if err != nil {
		return nil, err
	}
	key, err := tk.Unwrap(patientKey, patientKeyAAD(id, patient))
	if err != nil {
		return nil, err
	}
	var sealed, wrapped []byte
	if err := tx.QueryRow(ctx, selectPayload, id, trigger).Scan(&sealed, &wrapped); err != nil {
		return nil, err
	}
	if wrapped == nil {
		return nil, nil
	}
	payloadKey, err := seal.Unwrap(key, wrapped, payloadKeyAAD(id, "triggers", trigger))
	if err != nil {
		return nil, nil // as in openPayload: what can no longer be opened is missing
	}
	b, err := payloadKey.Open(sealed, column(id, "triggers", "payload", trigger))
	if err != nil {
		return nil, nil
	}
	return b, nil
}
