package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Decided is what became of a parked step.
type Decided struct {
	Step  uuid.UUID
	State State // unknown: it is asked for; planned: it is sent again; failed: dropped
	// At and Expires are in the clinic's zone.
	At, Expires time.Time
}

// A decision takes the run's row as a change of plan does: no claim, fallback
// or opt-out passes it. The next statement sees what they guard.
const lockDecided = `
SELECT 1
FROM   steps s
JOIN   workflow_executions e ON e.tenant_id = s.tenant_id AND e.id = s.execution_id
JOIN   patients p ON p.tenant_id = e.tenant_id AND p.id = e.patient_id
WHERE  s.tenant_id = $1 AND s.id = $2
FOR    UPDATE OF e
FOR    SHARE OF p`

const selectStanding = `
SELECT s.execution_id, e.workflow_id, e.version, s.state, coalesce(s.reason, ''), s.channel, s.node, s.attempt, s.plan_epoch, e.plan_epoch,
       s.due_at, s.expires_at, (SELECT app_now()), s.late,
       s.state = 'unknown' AND coalesce(s.asked_at >= s.first_intent_at, false),
       t.time_zone, k.step_id IS NOT NULL, t.data_key IS NULL OR p.data_key IS NULL OR o.data_key IS NULL, coalesce(ap.status = 'cancelled', false), ac.id IS NOT NULL,
       ARRAY(SELECT coalesce(x.class, '*') FROM suppressions x WHERE x.tenant_id = s.tenant_id AND x.phone_index = o.phone_index
             AND x.lifted_at IS NULL AND (x.channel IS NULL OR x.channel = s.channel)),
       coalesce((SELECT c.granted FROM consents c WHERE c.tenant_id = s.tenant_id AND c.patient_id = o.id
                 AND c.purpose = 'marketing' AND c.channel = s.channel ORDER BY c.at DESC LIMIT 1), false), p.id
FROM   steps s
JOIN   workflow_executions e ON e.tenant_id = s.tenant_id AND e.id = s.execution_id
JOIN   patients p ON p.tenant_id = e.tenant_id AND p.id = e.patient_id
JOIN   patients o ON o.tenant_id = p.tenant_id AND o.id = coalesce(p.merged_into, p.id)
JOIN   tenants t ON t.id = s.tenant_id
LEFT   JOIN parked_steps k ON k.tenant_id = s.tenant_id AND k.step_id = s.id
LEFT   JOIN appointments ap ON ap.tenant_id = e.tenant_id AND ap.id = e.appointment_id
LEFT   JOIN provider_accounts ac ON ac.tenant_id = s.tenant_id AND ac.channel = s.channel AND ac.enabled
WHERE  s.tenant_id = $1 AND s.id = $2
FOR    UPDATE OF s`

const askStep = `
UPDATE steps
SET    state = 'unknown', reason = NULL, queue = 'resolve', wake_at = (SELECT app_now()), published = false,
       asked_at = (SELECT app_now()), updated_at = (SELECT app_now())
WHERE  tenant_id = $1 AND id = $2`

// The gateway's key stays the step's; only the cycle is new, as after a
// request that provably was not taken.
const resendStep = `
UPDATE steps
SET    state = 'planned', reason = NULL, queue = lane, wake_at = (SELECT app_now()), published = false, first_intent_at = NULL,
       due_at = CASE WHEN $3::interval > interval '0' THEN (SELECT app_now()) ELSE due_at END,
       expires_at = greatest(expires_at, (SELECT app_now()) + $3::interval), updated_at = (SELECT app_now())
WHERE  tenant_id = $1 AND id = $2
RETURNING expires_at`

const dropStep = `
UPDATE steps
SET    state = 'failed', reason = $3, queue = lane, wake_at = NULL, published = false, updated_at = (SELECT app_now())
WHERE  tenant_id = $1 AND id = $2`

// RetryParked has a parked step's outcome asked for again, or sends it again,
// and reopens its run. The decision, its effect and its audit row are one
// transaction: what follows is found in the ledger by the resolver and by
// release, so that nothing has to survive but the commit. Errors are a
// [RefusedError], [ErrNotFound], [ErrNote] or wrap [ErrUnavailable].
func (db *DB) RetryParked(ctx context.Context, id tenant.ID, step uuid.UUID, r Retry) (Decided, error) {
	if r.Extend < 0 || r.Extend > MaxExtend || r.Extend > 0 && !r.Resend {
		return Decided{}, fmt.Errorf("store: retry parked: extend by up to %v, and only to send again", MaxExtend)
	}
	action := "parked.ask"
	if r.Resend {
		action = "parked.resend"
	}
	return db.decide(ctx, id, step, decision{Hand: r.Hand, action: action, needsNote: r.Resend, make: func(s *standing) (State, error) {
		if err := s.held(!r.Resend); err != nil || !r.Resend {
			return StateUnknown, err
		}
		return StatePlanned, s.sendable(r)
	}, extend: r.Extend})
}

// DropParked gives a parked step up: it has failed for good, and no other
// channel is tried. Errors are those of [DB.RetryParked].
func (db *DB) DropParked(ctx context.Context, id tenant.ID, step uuid.UUID, by Hand) (Decided, error) {
	return db.decide(ctx, id, step, decision{Hand: by, action: "parked.drop", needsNote: true, make: func(s *standing) (State, error) {
		return StateFailed, s.held(false)
	}})
}

type decision struct {
	Hand
	action    string
	needsNote bool
	extend    time.Duration
	// make says where the step goes; an error changes nothing.
	make func(*standing) (State, error)
}

func (db *DB) decide(ctx context.Context, id tenant.ID, step uuid.UUID, d decision) (out Decided, err error) {
	if err := d.check(d.needsNote); err != nil {
		return out, err
	}
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		s, run, err := db.standing(ctx, tx, id, step)
		if err != nil {
			return err
		}
		to, err := d.make(s)
		if err != nil {
			return err
		}
		out = Decided{Step: step, State: to, At: s.now.In(s.zone), Expires: s.expires.In(s.zone)}
		entry, err := AuditEntry{Hand: d.Hand, Action: d.action, Subject: "step", SubjectID: step, Patients: []uuid.UUID{s.patient}, Detail: map[string]any{
			"attempt": s.attempt, "was": s.state, "reason": s.reason, "is": to, "due_at": s.due, "expires_at": s.expires, "extend": d.extend.String(),
		}}.row(ctx, id)
		if err != nil {
			return err
		}
		tenants, runs := []tenant.ID{id}, []uuid.UUID{run}
		var batch pgx.Batch
		switch to {
		case StateUnknown:
			batch.Queue(askStep, id, step)
		case StatePlanned:
			batch.Queue(resendStep, id, step, d.extend).QueryRow(func(row pgx.Row) error {
				err := row.Scan(&out.Expires)
				out.Expires = out.Expires.In(s.zone)
				return err
			})
		default:
			batch.Queue(dropStep, id, step, string(event.Dropped))
		}
		batch.Queue(reopenRuns, tenants, runs)
		batch.Queue(settleRuns, tenants, runs)
		batch.Queue(insertAudit, entry...)
		return tx.SendBatch(ctx, &batch).Close()
	})
	if _, refused := errors.AsType[*RefusedError](err); refused || err == nil {
		return out, err
	}
	return Decided{}, fmt.Errorf("store: decide a parked step: %w", err)
}

func (db *DB) standing(ctx context.Context, tx pgx.Tx, id tenant.ID, step uuid.UUID) (s *standing, run uuid.UUID, err error) {
	if _, err := tx.Exec(ctx, lockDecided, id, step); err != nil {
		return nil, run, err
	}
	s = new(standing)
	var wf uuid.UUID
	var version int32
	var zone string
	if err := tx.QueryRow(ctx, selectStanding, id, step).Scan(&run, &wf, &version, &s.state, &s.reason, &s.channel, &s.node, &s.attempt, &s.epoch, &s.runEpoch,
		&s.due, &s.expires, &s.now, &s.late, &s.asked, &zone, &s.known, &s.erased, &s.cancelled, &s.account, &s.suppressed, &s.consented, &s.patient); err != nil {
		return nil, run, notFound(err)
	}
	s.zone = location(zone)
	definition, err := db.definition(ctx, tx, id, wf, version)
	if err != nil {
		return nil, run, err
	}
	if def, ok := definition.Step(s.node); ok {
		s.class = def.Message.Class
	}
	return s, run, nil
}
