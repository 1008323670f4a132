package store

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// ParkedStep is a step that waits for a human: what was tried, what is known,
// and until when it may be sent. Of the patient it holds the id alone. Times are in
// the clinic's zone, and zero for what has not happened.
type ParkedStep struct {
	Tenant       tenant.ID
	Clinic       string // the tenant's slug
	ID           uuid.UUID
	Root         uuid.UUID
	Run          uuid.UUID
	Patient      uuid.UUID
	Workflow     uuid.UUID
	WorkflowName string
	Node         string
	Channel      event.Channel
	Reason       event.Reason
	OnUnknown    workflow.OnUnknown
	// Attempts counts claims; each may have written a request.
	Attempts int32
	// Claimed is when the last of them was.
	Claimed time.Time
	// Code and RequestID are what a gateway said last; "" if it said nothing.
	Code, RequestID string
	Due             time.Time
	Expires         time.Time
	// Expired and Superseded say that it could not be sent again as it is: its
	// validity is over, its run's plan changed.
	Expired, Superseded bool
	Since               time.Time
	// Times is how often it was parked.
	Times int32
}

// ParkedQuery says which parked steps; zero values leave open.
type ParkedQuery struct {
	Reason   event.Reason
	Channel  event.Channel
	Workflow uuid.UUID
	// Before keeps those that were parked before this time.
	Before time.Time
	// Cursor is the Next of the page before.
	Cursor string
	// Limit is the page's size; 0 means [DefaultPage], at most [MaxPage].
	Limit int
}

const selectParked = `
SELECT p.tenant_id, t.slug, t.time_zone, s.id, s.root_id, s.execution_id, e.patient_id, e.workflow_id, w.name, s.node, s.channel, p.reason, s.on_unknown,
       s.attempt, s.claimed_at, coalesce(s.code, ''), coalesce(s.request_id, ''), s.due_at, s.expires_at,
       s.expires_at <= (SELECT app_now()), s.plan_epoch <> e.plan_epoch, p.parked_at, p.times
FROM   parked_steps p
JOIN   steps s ON s.tenant_id = p.tenant_id AND s.id = p.step_id
JOIN   workflow_executions e ON e.tenant_id = s.tenant_id AND e.id = s.execution_id
JOIN   workflows w ON w.tenant_id = e.tenant_id AND w.id = e.workflow_id
JOIN   tenants t ON t.id = p.tenant_id
WHERE  p.left_at IS NULL
AND    ($1::uuid IS NULL OR p.tenant_id = $1)
AND    ($2::text IS NULL OR p.reason = $2)
AND    ($3::text IS NULL OR p.channel = $3)
AND    ($4::uuid IS NULL OR e.workflow_id = $4)
AND    ($5::timestamptz IS NULL OR p.parked_at < $5)
AND    ($6::timestamptz IS NULL OR (p.parked_at, p.step_id) < ($6, $7))
ORDER  BY p.parked_at DESC, p.step_id DESC
LIMIT  $8`

const parkedCursor = "cursor.parked_steps"

// ParkedSteps returns one page of a tenant's parked steps, the latest parked
// first. Errors wrap [ErrCursor], [ErrErased] or [ErrUnavailable] where that
// is what happened.
func (db *DB) ParkedSteps(ctx context.Context, id tenant.ID, q ParkedQuery) (page Page[ParkedStep], err error) {
	limit := pageSize(q.Limit)
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		v, err := db.viewer(ctx, tx, id)
		if err != nil {
			return err
		}
		after, err := v.position(parkedCursor, q.Cursor)
		if err != nil {
			return err
		}
		rows, err := parked(ctx, tx, id, q, after, limit)
		page = cut(rows, limit, func(s ParkedStep) string {
			return v.cursor(parkedCursor, position{at: s.Since, id: s.ID})
		})
		return err
	})
	if err != nil {
		return Page[ParkedStep]{}, fmt.Errorf("store: parked steps: %w", err)
	}
	return page, nil
}

// AllParkedSteps is [DB.ParkedSteps] over every tenant, or over one, for those
// who run the platform. Its cursors are no secret and of no use to a tenant.
func (db *DB) AllParkedSteps(ctx context.Context, only tenant.ID, q ParkedQuery) (page Page[ParkedStep], err error) {
	limit := pageSize(q.Limit)
	after, err := plainPosition(q.Cursor)
	if err != nil {
		return page, fmt.Errorf("store: all parked steps: %w", err)
	}
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		if err := planFreely(ctx, tx); err != nil {
			return err
		}
		rows, err := parked(ctx, tx, only, q, after, limit)
		page = cut(rows, limit, func(s ParkedStep) string { return plainCursor(position{at: s.Since, id: s.ID}) })
		return err
	})
	if err != nil {
		return Page[ParkedStep]{}, fmt.Errorf("store: all parked steps: %w", err)
	}
	return page, nil
}

// parked reads up to limit+1 rows; a zero id is every tenant.
func parked(ctx context.Context, tx pgx.Tx, id tenant.ID, q ParkedQuery, after position, limit int) ([]ParkedStep, error) {
	rows, err := tx.Query(ctx, selectParked, nullID(uuid.UUID(id)), nullText(q.Reason), nullText(q.Channel), nullID(q.Workflow),
		nullTime(q.Before), nullTime(after.at), after.id, limit+1)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s ParkedStep, err error) {
		var zone string
		var claimed *time.Time
		if err := row.Scan(&s.Tenant, &s.Clinic, &zone, &s.ID, &s.Root, &s.Run, &s.Patient, &s.Workflow, &s.WorkflowName, &s.Node, &s.Channel, &s.Reason, &s.OnUnknown,
			&s.Attempts, &claimed, &s.Code, &s.RequestID, &s.Due, &s.Expires, &s.Expired, &s.Superseded, &s.Since, &s.Times); err != nil {
			return s, err
		}
		v := viewer{zone: location(zone)}
		s.Claimed, s.Due, s.Expires, s.Since = v.local(claimed), v.local(&s.Due), v.local(&s.Expires), v.local(&s.Since)
		return s, nil
	})
}

func plainCursor(p position) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(p.at.UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(append(b, p.id[:]...))
}

func plainPosition(cursor string) (p position, err error) {
	if cursor == "" {
		return p, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(b) != positionSize {
		return p, ErrCursor
	}
	return position{at: time.UnixMicro(int64(binary.BigEndian.Uint64(b))), id: uuid.UUID(b[8:])}, nil
}

const selectTenantOfStep = `SELECT t.id FROM tenants t JOIN steps s ON s.tenant_id = t.id AND s.id = $1`

// TenantOfStep returns whose step it is, or [ErrNotFound], for those who run
// the platform.
func (db *DB) TenantOfStep(ctx context.Context, step uuid.UUID) (id tenant.ID, err error) {
	if err := db.worker.QueryRow(ctx, selectTenantOfStep, step).Scan(&id); err != nil {
		return id, fmt.Errorf("store: tenant of step: %w", unavailable(notFound(err)))
	}
	return id, nil
}
