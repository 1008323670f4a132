package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Replay is one trigger to be looked at again.
type Replay struct {
	// Trigger is the trigger's id, or that of the webhook execution that it came
	// by.
	Trigger uuid.UUID
	// Workflow forces a run of it, whatever has run; zero forces nothing.
	Workflow uuid.UUID
	// Name tells a forced run from another one: the same name again is the same
	// run.
	Name string
	// FromNow counts a forced run's times from now, and not from the event.
	FromNow bool
	Hand
}

// Replayed is how a trigger stands after a replay.
type Replayed struct {
	Trigger uuid.UUID // the new one of a forced run
	// Opened says that the planner looks at it again; Again that a forced run of
	// this name was made before.
	Opened, Again bool
	State         string // pending, planned, ignored
	Reason        event.Reason
	Runs          []ReplayRun
}

// ReplayRun is a run that a trigger has.
type ReplayRun struct {
	ID, Workflow uuid.UUID
	Status       string
	Created      time.Time
}

// Errors of [DB.Replay].
var (
	// ErrPayloadGone means that what came is not readable any more: its patient
	// or the clinic was erased, or nothing of it was kept.
	ErrPayloadGone = errors.New("store: the payload is gone")
	// ErrNotPublished means that the named workflow has no version in force, or
	// is switched off.
	ErrNotPublished = errors.New("store: the workflow is not in force")
	// ErrNamed means that the name was given to a forced run of another workflow.
	ErrNamed = errors.New("store: the name is another forced run's")
	// ErrUnnamed means that a forced run has no name.
	ErrUnnamed = errors.New("store: a forced run needs a name")
)

const selectReplayed = `
SELECT t.id, t.kind, t.event_type, t.state, t.payload, t.payload_key, t.patient_id, p.data_key, t.webhook_id, t.received_at, coalesce(t.replay_of, t.id), c.data_key
FROM   triggers t
JOIN   tenants c ON c.id = t.tenant_id
LEFT   JOIN patients p ON p.tenant_id = t.tenant_id AND p.id = t.patient_id
WHERE  t.tenant_id = $1 AND t.id = coalesce((SELECT x.trigger_id FROM webhook_executions x WHERE x.tenant_id = $1 AND x.id = $2), $2)
FOR    UPDATE OF t`

const selectInForce = `SELECT EXISTS (SELECT FROM workflows w WHERE w.tenant_id = $1 AND w.id = $2 AND w.is_active AND w.version > 0)`

const selectForced = `SELECT t.id, t.only_workflow FROM triggers t WHERE t.tenant_id = $1 AND t.source = 'replay' AND t.event_id = $2`

const insertForced = `
INSERT INTO triggers (tenant_id, id, kind, source, event_id, event_type, body_hash, payload, payload_key, webhook_id, replay_of, only_workflow, wake_at, received_at)
VALUES ($1, $2, $3, 'replay', $4, $5, '', $6, $7, $8, $9, $10, (SELECT app_now()), CASE WHEN $11 THEN (SELECT app_now()) ELSE $12::timestamptz END)
ON CONFLICT DO NOTHING`

// Replay has the planner look at a trigger again: a workflow that has no run of
// it gets one if it starts on it now, and what has run is left alone. With a
// workflow and a name it makes another run of that workflow, whatever has run.
// Every guard of sending holds as ever. The change and its audit row are one
// transaction. Errors are [ErrNotFound], [ErrPayloadGone], [ErrNotPublished],
// [ErrUnnamed], [ErrNamed], [ErrNote] or wrap [ErrUnavailable].
func (db *DB) Replay(ctx context.Context, id tenant.ID, r Replay) (out Replayed, err error) {
	forced := r.Workflow != uuid.Nil
	if err := r.check(forced); err != nil {
		return out, err
	}
	if forced && r.Name == "" {
		return out, ErrUnnamed
	}
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		out = Replayed{}
		t, err := db.replayed(ctx, tx, id, r.Trigger)
		if err != nil {
			return err
		}
		out.Trigger = t.id
		action := "replay"
		if forced {
			action = "replay.force"
			err = db.force(ctx, tx, id, t, r, &out)
		} else {
			err = reopenOne(ctx, tx, id, t, &out)
		}
		if err != nil || !out.Opened {
			return err
		}
		detail := map[string]any{"origin": t.origin}
		if forced {
			detail["workflow"], detail["name"], detail["from_now"] = r.Workflow, r.Name, r.FromNow
		}
		var patients []uuid.UUID
		if t.patient != nil {
			patients = []uuid.UUID{*t.patient}
		}
		return audit(ctx, tx, id, AuditEntry{Hand: r.Hand, Action: action, Subject: "trigger", SubjectID: out.Trigger, Patients: patients, Detail: detail})
	})
	if err != nil {
		return Replayed{}, fmt.Errorf("store: replay: %w", err)
	}
	return db.ReplayOutcome(ctx, id, out)
}

// replayable is a trigger as it is kept.
type replayable struct {
	id, origin       uuid.UUID
	kind             event.Kind
	eventType, state string
	patient, webhook *uuid.UUID
	received         time.Time
	keys             *seal.TenantKeys
	payload          []byte // nil: it cannot be read any more
}

func (db *DB) replayed(ctx context.Context, tx pgx.Tx, id tenant.ID, trigger uuid.UUID) (t replayable, err error) {
	var payload, wrapped, patientKey, tenantKey []byte
	if err := tx.QueryRow(ctx, selectReplayed, id, trigger).Scan(&t.id, &t.kind, &t.eventType, &t.state, &payload, &wrapped, &t.patient, &patientKey,
		&t.webhook, &t.received, &t.origin, &tenantKey); err != nil {
		return t, notFound(err)
	}
	if wrapped == nil || tenantKey == nil || t.patient != nil && patientKey == nil {
		return t, nil
	}
	if t.keys, err = db.unwrap(id, tenantKey); err != nil {
		return t, err
	}
	var key seal.Key
	if t.patient == nil {
		key, err = t.keys.Unwrap(wrapped, payloadKeyAAD(id, "triggers", t.id))
	} else {
		key, err = db.underPatient(t.keys, id, *t.patient, patientKey, wrapped, t.id)
	}
	if err != nil {
		return t, err
	}
	t.payload, err = key.Open(payload, column(id, "triggers", "payload", t.id))
	return t, err
}

func reopenOne(ctx context.Context, tx pgx.Tx, id tenant.ID, t replayable, out *Replayed) error {
	if t.payload == nil {
		return ErrPayloadGone
	}
	opened, err := collectIDs(tx.Query(ctx, reopenTriggers, id, []uuid.UUID{t.id}))
	out.Opened = opened[t.id]
	return err
}

// force makes a trigger of its own of what came, for one workflow.
func (db *DB) force(ctx context.Context, tx pgx.Tx, id tenant.ID, t replayable, r Replay, out *Replayed) error {
	var inForce bool
	if err := tx.QueryRow(ctx, selectInForce, id, r.Workflow).Scan(&inForce); err != nil {
		return err
	}
	if !inForce {
		return ErrNotPublished
	}
	eventID, only := t.origin.String()+"#"+r.Name, uuid.Nil
	err := tx.QueryRow(ctx, selectForced, id, eventID).Scan(&out.Trigger, &only)
	switch {
	case err == nil && only != r.Workflow:
		return ErrNamed
	case err == nil:
		out.Again = true
		return nil
	case !errors.Is(err, pgx.ErrNoRows):
		return err
	case t.payload == nil:
		return ErrPayloadGone
	}
	out.Trigger = uuid.Must(uuid.NewV7())
	own := seal.NewKey()
	// Who makes it takes the origin's row first, so that nobody else makes one of
	// the name between the look and the insert.
	tag, err := tx.Exec(ctx, insertForced, id, out.Trigger, string(t.kind), eventID, t.eventType,
		own.Seal(t.payload, column(id, "triggers", "payload", out.Trigger)), t.keys.Wrap(own, payloadKeyAAD(id, "triggers", out.Trigger)),
		t.webhook, t.origin, r.Workflow, r.FromNow, t.received)
	out.Opened = err == nil && tag.RowsAffected() == 1
	return err
}

const selectReplayOutcome = `
SELECT t.state, coalesce(t.reason, ''), ARRAY(
  SELECT jsonb_build_object('ID', e.id, 'Workflow', e.workflow_id, 'Status', e.status, 'Created', e.created_at)
  FROM   workflow_executions e WHERE e.tenant_id = t.tenant_id AND e.trigger_id = t.id ORDER BY e.created_at, e.id)
FROM   triggers t WHERE t.tenant_id = $1 AND t.id = $2`

// ReplayOutcome returns how a trigger stands now.
func (db *DB) ReplayOutcome(ctx context.Context, id tenant.ID, r Replayed) (Replayed, error) {
	err := db.inTenant(ctx, id, func(tx pgx.Tx) error {
		v, err := db.viewer(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, selectReplayOutcome, id, r.Trigger).Scan(&r.State, &r.Reason, &r.Runs); err != nil {
			return notFound(err)
		}
		for i, run := range r.Runs {
			r.Runs[i].Created = run.Created.In(v.zone)
		}
		return nil
	})
	if err != nil {
		return r, fmt.Errorf("store: replay: %w", err)
	}
	return r, nil
}
