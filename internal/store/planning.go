package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// PendingTrigger is a trigger that waits for its plan, with its payload open.
type PendingTrigger struct {
	Tenant     tenant.ID
	ID         uuid.UUID
	Kind       event.Kind
	EventType  string
	ReceivedAt time.Time
	// Payload is nil when its key is gone.
	Payload []byte
	Zone    *time.Location
	SendAt  workflow.Clock
	// Calendar has the days on which the clinic works.
	Calendar *workflow.Calendar
	// Of the webhook it came by, if it did.
	WorkflowID     uuid.UUID
	PatientPointer string
	CreatePatients bool
	Routes         map[string][]uuid.UUID
	// Patient is whom it is about, once that is known: when it is expanded.
	Patient uuid.UUID
	// Of an appointment's event: the appointment as it stands, the workflows
	// that such events may start, and whether a newer event has undone this one.
	Appointment *Appointment
	Candidates  []CandidateWorkflow
	Undone      bool
	// Only is the workflow that a person named for it; zero: none was.
	Only uuid.UUID
}

// PatientRef is how a trigger names its patient: by our id, by the clinic's
// own number, or by phone and name.
type PatientRef struct {
	ID         uuid.UUID
	ExternalID string
	Phone      phone.Number
	Name       string
}

// Reading is what the planner understood of a trigger: whom it is about and
// which workflows it starts, or why it starts none.
type Reading struct {
	Ignored   event.Reason
	Patient   PatientRef
	Workflows []uuid.UUID
}

// StepPlan is one step to be written.
type StepPlan struct {
	Node     string
	Channel  event.Channel
	Lane     event.Lane
	Fallback bool
	DueAt    time.Time
	Expires  time.Time
	Late     workflow.Late
	// OnUnknown is what to do with an outcome that nobody can find out.
	OnUnknown workflow.OnUnknown
}

// Planning is the pure part of planning, handed into the transaction.
type Planning struct {
	Read   func(PendingTrigger) Reading
	Expand func(PendingTrigger, *workflow.Definition) Expansion
}

const selectPendingTriggers = `
SELECT t.tenant_id, t.id, t.kind, t.event_type, t.received_at, t.payload, t.payload_key,
       w.workflow_id, coalesce(w.patient_pointer, ''), coalesce(w.create_patients, false), coalesce(w.routes, '{}'),
       c.time_zone, c.send_at, c.calendar, c.data_key, t.planned_at IS NOT NULL, t.patient_id, p.data_key, t.replay_of, t.only_workflow, (SELECT app_now())
FROM   unnest($1::uuid[], $2::uuid[]) AS n (tenant_id, id)
JOIN   triggers t ON t.tenant_id = n.tenant_id AND t.id = n.id
JOIN   tenants c ON c.id = t.tenant_id
LEFT   JOIN patients p ON p.tenant_id = t.tenant_id AND p.id = t.patient_id
LEFT   JOIN webhooks w ON w.tenant_id = t.tenant_id AND w.id = t.webhook_id
WHERE  t.state = 'pending'
ORDER  BY t.tenant_id, t.id
FOR    UPDATE OF t`

const selectWorkflows = `
SELECT w.tenant_id, w.id, w.is_active, w.version
FROM   unnest($1::uuid[], $2::uuid[]) AS n (tenant_id, id)
JOIN   workflows w ON w.tenant_id = n.tenant_id AND w.id = n.id`

const insertExecutions = `
INSERT INTO workflow_executions (tenant_id, id, workflow_id, version, trigger_id, patient_id, status, reason, expected_steps, resting, execution_data, campaign_id, started_at, created_at, completed_at)
SELECT n.tenant_id, n.id, n.workflow_id, n.version, n.trigger_id, n.patient_id, n.status, n.reason, n.expected_steps, n.resting, n.execution_data,
       nullif(n.campaign_id, '00000000-0000-0000-0000-000000000000'), (SELECT app_now()), (SELECT app_now()), CASE WHEN n.status = 'completed' THEN (SELECT app_now()) END
FROM   unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int[], $5::uuid[], $6::uuid[], $7::text[], $8::text[], $9::int[], $10::int[], $11::jsonb[], $12::uuid[])
       AS n (tenant_id, id, workflow_id, version, trigger_id, patient_id, status, reason, expected_steps, resting, execution_data, campaign_id)`

const insertSteps = `
INSERT INTO steps (tenant_id, id, execution_id, node, root_id, channel, lane, queue, fallback, due_at, expires_at, late, wake_at, published, on_unknown, plan_epoch, created_at, updated_at)
SELECT n.tenant_id, n.id, n.execution_id, n.node, n.id, n.channel, n.lane, n.lane, n.fallback, n.due_at, n.expires_at, n.late, n.wake_at, n.published, n.on_unknown, n.plan_epoch, (SELECT app_now()), (SELECT app_now())
FROM   unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::bool[], $8::timestamptz[], $9::timestamptz[], $10::text[], $11::timestamptz[], $12::bool[], $13::text[], $14::int[])
       AS n (tenant_id, id, execution_id, node, channel, lane, fallback, due_at, expires_at, late, wake_at, published, on_unknown, plan_epoch)`

const settleTriggers = `
UPDATE triggers t
SET    state = n.state, reason = n.reason, patient_id = coalesce(n.patient_id, t.patient_id), payload_key = coalesce(n.payload_key, t.payload_key),
       wake_at = NULL, planned_at = (SELECT app_now())
FROM   unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::bytea[]) AS n (tenant_id, id, state, reason, patient_id, payload_key)
WHERE  t.tenant_id = n.tenant_id AND t.id = n.id`

// planned is one trigger on its way through a planning transaction.
type planned struct {
	PendingTrigger
	tenantKey  *seal.TenantKeys
	payloadKey seal.Key
	reading    Reading
	patient    *patientKey
	runs       int
	// again says that it was planned before; ran that it has runs of then;
	// hadRun that it, or its visit, has. origin is what it was made of.
	again, ran, hadRun bool
	origin             uuid.UUID
}

// PlanTriggers plans every trigger of ids that is still pending, waiting for
// whoever holds one: patient, runs and steps in one transaction. It returns
// the steps that are due already, leased to the caller to be published.
func (db *DB) PlanTriggers(ctx context.Context, ids []event.Trigger, p Planning) (due []event.Step, err error) {
	db.handle(len(ids))
	err = db.asPipeline(ctx, func(tx *pipeline) error {
		due = nil
		triggers, now, err := db.pendingTriggers(ctx, tx, ids)
		if err != nil || len(triggers) == 0 {
			return err
		}
		if err := db.appointmentsOf(ctx, tx, triggers); err != nil {
			return err
		}
		for _, t := range triggers {
			if t.Payload == nil {
				t.reading.Ignored = event.PayloadGone
				continue
			}
			t.reading = p.Read(t.PendingTrigger)
		}
		if err := db.resolvePatients(ctx, tx, triggers); err != nil {
			return err
		}
		if err := runsThere(ctx, tx, triggers); err != nil {
			return err
		}
		due, err = db.writePlans(ctx, tx, triggers, p.Expand, now)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store: plan triggers: %w", err)
	}
	return due, nil
}

func (db *DB) pendingTriggers(ctx context.Context, tx querier, ids []event.Trigger) ([]*planned, time.Time, error) {
	tenants, wanted := make([]tenant.ID, len(ids)), make([]uuid.UUID, len(ids))
	for i, id := range ids {
		tenants[i], wanted[i] = id.Tenant, id.ID
	}
	public, err := db.publicHolidays(ctx, tx)
	if err != nil {
		return nil, time.Time{}, err
	}
	var now time.Time
	var triggers []*planned
	scan := func(row pgx.CollectableRow) (*planned, error) {
		t := new(planned)
		var payload, wrapped, tenantWrapped, routes, calendar []byte
		var patientWrapped []byte
		var workflowID, patientID, origin, only *uuid.UUID
		var zone string
		var sendAt pgtype.Time
		var err error
		if err := row.Scan(&t.Tenant, &t.ID, &t.Kind, &t.EventType, &t.ReceivedAt, &payload, &wrapped, &workflowID,
			&t.PatientPointer, &t.CreatePatients, &routes, &zone, &sendAt, &calendar, &tenantWrapped,
			&t.again, &patientID, &patientWrapped, &origin, &only, &now); err != nil {
			return nil, err
		}
		if workflowID != nil {
			t.WorkflowID = *workflowID
		}
		if only != nil {
			t.Only = *only
		}
		if t.origin = t.ID; origin != nil {
			t.origin = *origin
		}
		t.Zone, t.SendAt = location(zone), clock(sendAt)
		if t.Calendar, err = public.calendar(calendar); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(routes, &t.Routes); err != nil {
			return nil, fmt.Errorf("webhook routes: %w", err)
		}
		// Only a destroyed key means that the payload is gone. Any other failure
		// to open, such as a wrong master key, must leave the trigger pending.
		if tenantWrapped == nil || wrapped == nil {
			return t, nil
		}
		if t.tenantKey, err = db.unwrap(t.Tenant, tenantWrapped); err != nil {
			return nil, err
		}
		if patientID == nil {
			t.payloadKey, err = t.tenantKey.Unwrap(wrapped, payloadKeyAAD(t.Tenant, "triggers", t.ID))
		} else if patientWrapped == nil {
			return t, nil // with the patient's key the payload went
		} else {
			t.payloadKey, err = db.underPatient(t.tenantKey, t.Tenant, *patientID, patientWrapped, wrapped, t.ID)
		}
		if err != nil {
			return nil, err
		}
		t.Payload, err = t.payloadKey.Open(payload, column(t.Tenant, "triggers", "payload", t.ID))
		return t, err
	}
	var batch pgx.Batch
	batch.Queue(selectPendingTriggers, tenants, wanted).Query(func(rows pgx.Rows) (err error) {
		triggers, err = pgx.CollectRows(rows, scan)
		return err
	})
	err = tx.SendBatch(ctx, &batch).Close()
	return triggers, now, err
}

type workflowKey struct {
	tenant tenant.ID
	id     uuid.UUID
}

type publishedWorkflow struct {
	active  bool
	version int32
}

func workflowsOf(ctx context.Context, tx querier, triggers []*planned) (map[workflowKey]publishedWorkflow, error) {
	found := map[workflowKey]publishedWorkflow{}
	var tenants []tenant.ID
	var ids []uuid.UUID
	for _, t := range triggers {
		for _, id := range t.reading.Workflows {
			k := workflowKey{t.Tenant, id}
			if _, ok := found[k]; !ok {
				found[k] = publishedWorkflow{}
				tenants, ids = append(tenants, t.Tenant), append(ids, id)
			}
		}
	}
	rows, err := tx.Query(ctx, selectWorkflows, tenants, ids)
	if err != nil {
		return nil, err
	}
	var k workflowKey
	var w publishedWorkflow
	_, err = pgx.ForEachRow(rows, []any{&k.tenant, &k.id, &w.active, &w.version}, func() error {
		found[k] = w
		return nil
	})
	return found, err
}

func (db *DB) writePlans(ctx context.Context, tx *pipeline, triggers []*planned, expand func(PendingTrigger, *workflow.Definition) Expansion, now time.Time) ([]event.Step, error) {
	workflows, err := workflowsOf(ctx, tx, triggers)
	if err != nil {
		return nil, err
	}
	var runs runRows
	var steps stepRows
	var rests restRows
	var settled triggerSettlements
	for _, t := range triggers {
		reason := t.reading.Ignored
		for i, id := range t.reading.Workflows {
			if slices.Contains(t.reading.Workflows[:i], id) {
				continue // a route may name a workflow twice; it runs once
			}
			if t.patient == nil || t.reading.Ignored != "" {
				break
			}
			w := workflows[workflowKey{t.Tenant, id}]
			if !w.active || w.version == 0 {
				reason = event.NoWorkflow
				if w.version > 0 {
					reason = event.WorkflowInactive
				}
				continue
			}
			d, err := db.definition(ctx, tx, t.Tenant, id, w.version)
			if err != nil {
				return nil, err
			}
			t.Patient = t.patient.id
			plan := expand(t.PendingTrigger, d)
			run := runs.add(t, id, w.version, plan)
			for _, s := range plan.Steps {
				steps.add(t.Tenant, run, 0, s, now, db.timing.Lease)
			}
			for _, r := range plan.Rests {
				rests.add(t.Tenant, run, 0, r)
			}
			t.runs++
		}
		if t.runs == 0 && t.hadRun {
			reason = event.AlreadyRan
		}
		if t.runs == 0 && reason == "" {
			reason = event.NoWorkflow
		}
		settled.add(t, reason)
	}
	var batch pgx.Batch
	if len(runs.ids) > 0 {
		batch.Queue(insertExecutions, runs.args()...)
	}
	queueAppointmentRuns(&batch, triggers)
	if len(steps.ids) > 0 {
		batch.Queue(insertSteps, steps.args()...)
	}
	if len(rests.ids) > 0 {
		batch.Queue(insertRests, rests.args()...)
	}
	batch.Queue(settleTriggers, settled.args()...)
	return steps.due, tx.finish(ctx, &batch)
}

type runRows struct {
	tenants                            []tenant.ID
	ids, workflows, triggers, patients []uuid.UUID
	campaigns                          []uuid.UUID // zero: of none
	versions, expected, resting        []int32
	statuses, data                     []string
	reasons                            []*string
}

func (r *runRows) add(t *planned, workflowID uuid.UUID, version int32, plan Expansion) uuid.UUID {
	id := uuid.Must(uuid.NewV7())
	r.tenants, r.ids = append(r.tenants, t.Tenant), append(r.ids, id)
	r.workflows, r.triggers, r.patients = append(r.workflows, workflowID), append(r.triggers, t.ID), append(r.patients, t.patient.id)
	r.campaigns = append(r.campaigns, uuid.Nil)
	r.versions, r.expected = append(r.versions, version), append(r.expected, int32(len(plan.Steps)))
	status, reason, data := "running", (*string)(nil), "{}"
	switch {
	case len(plan.Steps) > 0:
	case len(plan.Rests) > 0:
		status = "pending"
	default:
		status, reason = "completed", new(string(event.NothingDue))
	}
	if len(plan.Passed) > 0 {
		kept := map[string]any{"passed": plan.Passed}
		if len(plan.Answers) > 0 {
			kept["answers"] = plan.Answers
		}
		b, _ := json.Marshal(kept) // texts and times: it cannot fail
		data = string(b)
	}
	r.resting, r.data = append(r.resting, int32(len(plan.Rests))), append(r.data, data)
	r.statuses, r.reasons = append(r.statuses, status), append(r.reasons, reason)
	return id
}

func (r *runRows) args() []any {
	return []any{r.tenants, r.ids, r.workflows, r.versions, r.triggers, r.patients, r.statuses, r.reasons, r.expected, r.resting, r.data, r.campaigns}
}

type stepRows struct {
	tenants                                 []tenant.ID
	ids, runs                               []uuid.UUID
	nodes, channels, lanes, lates, unknowns []string
	fallbacks, published                    []bool
	dueAts, expires, wakes                  []time.Time
	epochs                                  []int32
	due                                     []event.Step
}

func (r *stepRows) add(id tenant.ID, run uuid.UUID, epoch int32, s StepPlan, now time.Time, lease time.Duration) {
	step, wake := uuid.Must(uuid.NewV7()), s.DueAt
	publish := !s.DueAt.After(now) && s.Expires.After(now)
	if publish {
		wake = now.Add(lease)
		r.due = append(r.due, event.Step{Tenant: id, ID: step, Lane: s.Lane, Channel: s.Channel, PlanEpoch: epoch})
	}
	r.tenants, r.ids, r.runs = append(r.tenants, id), append(r.ids, step), append(r.runs, run)
	r.nodes, r.channels, r.lanes = append(r.nodes, s.Node), append(r.channels, string(s.Channel)), append(r.lanes, string(s.Lane))
	r.fallbacks, r.lates, r.published = append(r.fallbacks, s.Fallback), append(r.lates, string(s.Late)), append(r.published, publish)
	if s.OnUnknown == "" {
		s.OnUnknown = workflow.Park
	}
	r.unknowns, r.epochs = append(r.unknowns, string(s.OnUnknown)), append(r.epochs, epoch)
	r.dueAts, r.expires, r.wakes = append(r.dueAts, s.DueAt), append(r.expires, s.Expires), append(r.wakes, wake)
}

func (r *stepRows) args() []any {
	return []any{r.tenants, r.ids, r.runs, r.nodes, r.channels, r.lanes, r.fallbacks, r.dueAts, r.expires, r.lates, r.wakes, r.published, r.unknowns, r.epochs}
}

type triggerSettlements struct {
	tenants       []tenant.ID
	ids, patients []uuid.UUID
	states        []string
	reasons       []string
	keys          [][]byte
}

func (s *triggerSettlements) add(t *planned, reason event.Reason) {
	state, patient, key := "ignored", uuid.Nil, []byte(nil)
	if t.runs > 0 || t.ran {
		state, reason = "planned", event.Planned
	}
	if t.patient != nil {
		// From here on erasing the patient makes the payload unreadable too.
		patient = t.patient.id
		key = seal.Wrap(t.patient.key, t.payloadKey, payloadKeyAAD(t.Tenant, "triggers", t.ID))
	}
	s.tenants, s.ids, s.patients = append(s.tenants, t.Tenant), append(s.ids, t.ID), append(s.patients, patient)
	s.states, s.reasons, s.keys = append(s.states, state), append(s.reasons, string(reason)), append(s.keys, key)
}

func (s *triggerSettlements) args() []any {
	return []any{s.tenants, s.ids, s.states, s.reasons, nullIDs(s.patients), s.keys}
}
