package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Story is everything that is known about a set of triggers and their steps.
type Story struct {
	Tenant   tenant.ID
	Clinic   string
	Zone     *time.Location
	Triggers []StoryTrigger
}

// StoryTrigger is one trigger with the steps it implies.
type StoryTrigger struct {
	ID        uuid.UUID
	Kind      event.Kind
	EventType string
	Received  time.Time
	State     string
	Reason    event.Reason
	Patient   uuid.UUID
	// PatientName is opened for the reader; it is "" where the key is gone.
	PatientName string
	Steps       []StoryStep
	Runs        []StoryRun
}

// StoryRun is a run of a drawn workflow: the nodes it passed, in order, and
// where it rests.
type StoryRun struct {
	ID       uuid.UUID
	Workflow string
	Status   string
	Passed   []string
	Rests    []StoryRest
	Clicks   []StoryClick
}

// StoryClick is the first time that the link of a node's message was opened.
type StoryClick struct {
	Node string
	At   time.Time
}

// StoryRest is a node at which a run rested or rests.
type StoryRest struct {
	Node string
	// Until is when it is reached, or given up; Event what is waited for, "" for
	// nothing but the time.
	Until time.Time
	Event string
	// Outcome is reached, event, timeout or superseded; "" while it rests.
	Outcome string
}

// StoryStep is one step with its evidence.
type StoryStep struct {
	ID        uuid.UUID
	Root      uuid.UUID
	Parent    uuid.UUID // zero: not a fallback
	Workflow  string
	Node      string
	Channel   event.Channel
	State     State
	Reason    event.Reason
	DueAt     time.Time
	SentAt    time.Time
	Delivered time.Time
	Attempt   int32
	RequestID string
	Code      string
	Updated   time.Time
}

const selectStoryTenant = `
SELECT t.name, t.time_zone, t.paused_at IS NOT NULL OR p.paused_at IS NOT NULL
FROM   tenants t CROSS JOIN platform p
WHERE  t.id = $1`

const storyTriggerColumns = `
SELECT t.id, t.kind, t.event_type, t.received_at, t.state, coalesce(t.reason, ''), t.patient_id, p.data_key, p.name
FROM   triggers t
LEFT   JOIN patients p ON p.tenant_id = t.tenant_id AND p.id = t.patient_id`

const selectStories = storyTriggerColumns + `
WHERE  t.tenant_id = $1
ORDER  BY t.id DESC
LIMIT  $2`

// Each arm finds its few rows by an index of its own: one condition with an OR
// for each of them would look at every trigger that the clinic ever had. A
// trigger that was planned is found by its run.
const selectWhyTriggers = `
WITH family (id) AS (
  SELECT coalesce(a.merged_into, a.id) FROM patients a WHERE a.tenant_id = $1 AND a.id = $2
  UNION
  SELECT f.id FROM patients a JOIN patients f ON f.tenant_id = a.tenant_id AND f.merged_into = coalesce(a.merged_into, a.id)
  WHERE  a.tenant_id = $1 AND a.id = $2
), subject (id) AS (
  SELECT $2::uuid
  UNION
  SELECT e.trigger_id FROM steps s JOIN workflow_executions e ON e.tenant_id = s.tenant_id AND e.id = s.execution_id
  WHERE  s.tenant_id = $1 AND s.id = $2
  UNION
  SELECT e.trigger_id FROM workflow_executions e WHERE e.tenant_id = $1 AND e.id = $2
  UNION
  SELECT e.trigger_id FROM family f CROSS JOIN LATERAL (
    SELECT n.trigger_id FROM workflow_executions n WHERE n.tenant_id = $1 AND n.patient_id = f.id ORDER BY n.created_at DESC LIMIT $3) AS e
  UNION
  SELECT t.id FROM family f CROSS JOIN LATERAL (
    SELECT n.id FROM triggers n WHERE n.tenant_id = $1 AND n.patient_id = f.id AND n.state <> 'planned' ORDER BY n.id DESC LIMIT $3) AS t
  UNION
  SELECT v.trigger_id FROM appointment_events v WHERE v.tenant_id = $1 AND v.appointment_id = $2
)` + storyTriggerColumns + `
JOIN   subject s ON s.id = t.id
WHERE  t.tenant_id = $1
ORDER  BY t.id DESC
LIMIT  $3`

// storyTriggersShown is how many triggers a story tells, the newest of them.
const storyTriggersShown = 100

const selectStorySteps = `
SELECT e.trigger_id, s.id, s.root_id, s.parent_id, w.name, s.node, s.channel, s.state, coalesce(s.reason, ''),
       s.due_at, s.sent_at, s.delivered_at, s.attempt, coalesce(s.request_id, ''), coalesce(s.code, ''), s.updated_at
FROM   workflow_executions e
JOIN   steps s ON s.tenant_id = e.tenant_id AND s.execution_id = e.id
JOIN   workflows w ON w.tenant_id = e.tenant_id AND w.id = e.workflow_id
WHERE  e.tenant_id = $1 AND e.trigger_id = ANY ($2)
ORDER  BY e.trigger_id DESC, s.root_id, s.id`

// Stories tells everything about one tenant, newest trigger first, at most
// 100 triggers.
func (db *DB) Stories(ctx context.Context, id tenant.ID) (Story, error) {
	st, err := db.story(ctx, id, nil)
	if errors.Is(err, ErrNotFound) {
		return st, nil
	}
	return st, err
}

// Why tells the story of a patient, an appointment, a trigger, a run or a step of
// one tenant, newest trigger first, or [ErrNotFound].
func (db *DB) Why(ctx context.Context, id tenant.ID, subject uuid.UUID) (Story, error) {
	return db.story(ctx, id, &subject)
}

func (db *DB) story(ctx context.Context, id tenant.ID, subject *uuid.UUID) (Story, error) {
	st := Story{Tenant: id}
	err := db.inTenant(ctx, id, func(tx pgx.Tx) error {
		key, err := db.tenantKey(ctx, tx, id)
		if err != nil {
			return err
		}
		var zone string
		var paused bool
		if err := tx.QueryRow(ctx, selectStoryTenant, id).Scan(&st.Clinic, &zone, &paused); err != nil {
			return notFound(err)
		}
		st.Zone = location(zone)
		if st.Triggers, err = storyTriggers(ctx, tx, id, key, subject); err != nil {
			return err
		}
		if len(st.Triggers) == 0 {
			return ErrNotFound
		}
		if err := storySteps(ctx, tx, id, st.Triggers, paused); err != nil {
			return err
		}
		return storyRuns(ctx, tx, id, st.Triggers)
	})
	if err != nil {
		return st, fmt.Errorf("store: why: %w", err)
	}
	return st, nil
}

func storyTriggers(ctx context.Context, tx pgx.Tx, id tenant.ID, key *seal.TenantKeys, subject *uuid.UUID) ([]StoryTrigger, error) {
	sql, args := selectStories, []any{id, storyTriggersShown}
	if subject != nil {
		sql, args = selectWhyTriggers, []any{id, *subject, storyTriggersShown}
	}
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (t StoryTrigger, err error) {
		var patient *uuid.UUID
		var wrapped, name []byte
		if err := row.Scan(&t.ID, &t.Kind, &t.EventType, &t.Received, &t.State, &t.Reason, &patient, &wrapped, &name); err != nil {
			return t, err
		}
		if patient == nil {
			return t, nil
		}
		t.Patient = *patient
		if own, err := key.Unwrap(wrapped, patientKeyAAD(id, t.Patient)); err == nil {
			t.PatientName, _ = openText(own, name, column(id, "patients", "name", t.Patient))
		}
		return t, nil
	})
}

func storySteps(ctx context.Context, tx pgx.Tx, id tenant.ID, triggers []StoryTrigger, paused bool) error {
	ids := make([]uuid.UUID, len(triggers))
	byID := map[uuid.UUID]*StoryTrigger{}
	for i := range triggers {
		ids[i], byID[triggers[i].ID] = triggers[i].ID, &triggers[i]
	}
	rows, err := tx.Query(ctx, selectStorySteps, id, ids)
	if err != nil {
		return err
	}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (s StoryStep, err error) {
		var trigger uuid.UUID
		var parent *uuid.UUID
		var sent, delivered *time.Time
		if err := row.Scan(&trigger, &s.ID, &s.Root, &parent, &s.Workflow, &s.Node, &s.Channel, &s.State, &s.Reason,
			&s.DueAt, &sent, &delivered, &s.Attempt, &s.RequestID, &s.Code, &s.Updated); err != nil {
			return s, err
		}
		if parent != nil {
			s.Parent = *parent
		}
		if sent != nil {
			s.SentAt = *sent
		}
		if delivered != nil {
			s.Delivered = *delivered
		}
		if paused && s.State == StatePlanned {
			s.Reason = event.Paused
		}
		t := byID[trigger]
		t.Steps = append(t.Steps, s)
		return s, nil
	})
	return err
}

const selectStoryRuns = `
SELECT e.trigger_id, e.id, w.name, e.status, e.execution_data -> 'passed',
       coalesce((SELECT jsonb_agg(jsonb_build_object('Node', r.node, 'Until', r.due_at, 'Event', r.awaits, 'Outcome', r.outcome) ORDER BY r.id)
                 FROM run_rests r WHERE r.tenant_id = e.tenant_id AND r.execution_id = e.id), '[]'),
       coalesce((SELECT jsonb_agg(jsonb_build_object('Node', l.node, 'At', l.clicked_at) ORDER BY l.clicked_at)
                 FROM links l WHERE l.tenant_id = e.tenant_id AND l.execution_id = e.id AND l.clicked_at IS NOT NULL), '[]')
FROM   workflow_executions e
JOIN   workflows w ON w.tenant_id = e.tenant_id AND w.id = e.workflow_id
WHERE  e.tenant_id = $1 AND e.trigger_id = ANY ($2) AND e.execution_data ? 'passed'
ORDER  BY e.id`

// storyRuns adds the ways of drawn workflows.
func storyRuns(ctx context.Context, tx pgx.Tx, id tenant.ID, triggers []StoryTrigger) error {
	ids := make([]uuid.UUID, len(triggers))
	byID := map[uuid.UUID]*StoryTrigger{}
	for i := range triggers {
		ids[i], byID[triggers[i].ID] = triggers[i].ID, &triggers[i]
	}
	rows, err := tx.Query(ctx, selectStoryRuns, id, ids)
	if err != nil {
		return err
	}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r StoryRun, err error) {
		var trigger uuid.UUID
		var passed, rests, clicks []byte
		if err := row.Scan(&trigger, &r.ID, &r.Workflow, &r.Status, &passed, &rests, &clicks); err != nil {
			return r, err
		}
		if err := errors.Join(json.Unmarshal(passed, &r.Passed), json.Unmarshal(rests, &r.Rests), json.Unmarshal(clicks, &r.Clicks)); err != nil {
			return r, err
		}
		byID[trigger].Runs = append(byID[trigger].Runs, r)
		return r, nil
	})
	return err
}

const lookupTenant = `SELECT id FROM lookup_tenant($1)`

// TenantBySlug finds a tenant by its short name, or [ErrNotFound].
func (db *DB) TenantBySlug(ctx context.Context, slug string) (id tenant.ID, err error) {
	if err := db.api.QueryRow(ctx, lookupTenant, slug).Scan(&id); err != nil {
		return id, fmt.Errorf("store: tenant: %w", unavailable(notFound(err)))
	}
	return id, nil
}

// TenantRow is one tenant in a list.
type TenantRow struct {
	ID     tenant.ID
	Slug   string
	Name   string
	Paused bool
	Erased bool
}

// Tenants lists every tenant, for the operator's commands.
func (db *DB) Tenants(ctx context.Context) ([]TenantRow, error) {
	rows, err := db.worker.Query(ctx, `SELECT id, slug, name, paused_at IS NOT NULL, data_key IS NULL FROM tenants ORDER BY slug`)
	if err != nil {
		return nil, fmt.Errorf("store: tenants: %w", unavailable(err))
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[TenantRow])
	if err != nil {
		return nil, fmt.Errorf("store: tenants: %w", unavailable(err))
	}
	return list, nil
}
