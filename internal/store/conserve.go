package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Conservation is the law's two sides for one tenant: nothing that was
// accepted is lost, nothing is counted twice.
type Conservation struct {
	Tenant tenant.ID
	Name   string

	Triggers, Planned, Ignored, PendingTriggers int64
	Runs                                        int64
	// Expected is what the runs say they have; Steps are the rows.
	Expected, Steps int64
	// RunsOff counts runs whose expected_steps differ from their rows: two
	// that cancel out in the sum are still two.
	RunsOff int64
	// PlannedWithoutRun counts planned triggers that started nothing.
	PlannedWithoutRun int64

	Delivered, Sent, Failed, Cancelled, Skipped, Expired, Parked, Pending int64
	// Unreasoned counts terminal steps without a reason.
	Unreasoned int64
	// UnsentLogs counts steps that were accepted without an attempt.
	UnsentLogs int64
	// Orphans counts rows without the row of the same tenant that they belong
	// to; foreign keys would cost too much where every message writes.
	Orphans int64
}

// Diff is how far the law is from holding; 0 means that it holds.
func (c Conservation) Diff() int64 {
	return abs(c.Triggers-c.Planned-c.Ignored-c.PendingTriggers) +
		abs(c.Expected-c.Steps) + c.RunsOff + c.PlannedWithoutRun +
		abs(c.Steps-c.Delivered-c.Sent-c.Failed-c.Cancelled-c.Skipped-c.Expired-c.Parked-c.Pending) +
		c.Unreasoned + c.UnsentLogs + c.Orphans
}

func abs(n int64) int64 {
	if n < 0 {
		return -n
	}
	return n
}

const conserve = `
SELECT t.id, t.name, tr.*, r.*, s.*, l.unsent, o.orphans
FROM   tenants t
CROSS  JOIN LATERAL (
  SELECT count(*), count(*) FILTER (WHERE x.state = 'planned'), count(*) FILTER (WHERE x.state = 'ignored'), count(*) FILTER (WHERE x.state = 'pending'),
         count(*) FILTER (WHERE x.state = 'planned' AND NOT EXISTS (
           SELECT FROM workflow_executions e WHERE e.tenant_id = x.tenant_id AND e.trigger_id = x.id))
  FROM   triggers x WHERE x.tenant_id = t.id) tr
CROSS  JOIN LATERAL (
  SELECT count(*), coalesce(sum(e.expected_steps), 0)::bigint,
         count(*) FILTER (WHERE e.expected_steps <> coalesce(n.rows, 0))
  FROM   workflow_executions e
  LEFT   JOIN (SELECT execution_id, count(*) AS rows FROM steps WHERE tenant_id = t.id GROUP BY 1) n ON n.execution_id = e.id
  WHERE  e.tenant_id = t.id) r
CROSS  JOIN LATERAL (
  SELECT count(*),
         count(*) FILTER (WHERE x.state = 'delivered'), count(*) FILTER (WHERE x.state = 'sent'), count(*) FILTER (WHERE x.state = 'failed'),
         count(*) FILTER (WHERE x.state = 'cancelled'), count(*) FILTER (WHERE x.state = 'skipped'), count(*) FILTER (WHERE x.state = 'expired'),
         count(*) FILTER (WHERE x.state = 'parked'), count(*) FILTER (WHERE x.state IN ('planned', 'claimed', 'unknown')),
         count(*) FILTER (WHERE x.state NOT IN ('planned', 'claimed', 'unknown', 'sent') AND x.reason IS NULL)
  FROM   steps x WHERE x.tenant_id = t.id) s
CROSS  JOIN LATERAL (
  SELECT count(*) AS unsent FROM steps x
  WHERE  x.tenant_id = t.id AND x.state IN ('sent', 'delivered')
  AND    NOT EXISTS (SELECT FROM attempts a WHERE a.tenant_id = x.tenant_id AND a.step_id = x.id)) l
CROSS  JOIN LATERAL (
  SELECT (SELECT count(*) FROM attempts a WHERE a.tenant_id = t.id AND NOT (
              EXISTS (SELECT FROM steps x WHERE x.tenant_id = a.tenant_id AND x.id = a.step_id)
          AND (a.account_id IS NULL OR EXISTS (SELECT FROM provider_accounts c WHERE c.tenant_id = a.tenant_id AND c.id = a.account_id))))
       + (SELECT count(*) FROM steps x WHERE x.tenant_id = t.id AND NOT (
              EXISTS (SELECT FROM workflow_executions e WHERE e.tenant_id = x.tenant_id AND e.id = x.execution_id)
          AND (x.root_id = x.id OR EXISTS (SELECT FROM steps r WHERE r.tenant_id = x.tenant_id AND r.id = x.root_id))
          AND (x.parent_id IS NULL OR EXISTS (SELECT FROM steps r WHERE r.tenant_id = x.tenant_id AND r.id = x.parent_id))))
       + (SELECT count(*) FROM parked_steps k WHERE k.tenant_id = t.id
          AND NOT EXISTS (SELECT FROM steps x WHERE x.tenant_id = k.tenant_id AND x.id = k.step_id))
       + (SELECT count(*) FROM gateway_reports g WHERE g.tenant_id = t.id AND g.step_id IS NOT NULL
          AND NOT EXISTS (SELECT FROM steps x WHERE x.tenant_id = g.tenant_id AND x.id = g.step_id))
       + (SELECT count(*) FROM webhook_executions x WHERE x.tenant_id = t.id AND NOT (
              EXISTS (SELECT FROM webhooks w WHERE w.tenant_id = x.tenant_id AND w.id = x.webhook_id)
          AND (x.trigger_id IS NULL OR EXISTS (SELECT FROM triggers g WHERE g.tenant_id = x.tenant_id AND g.id = x.trigger_id))))
       + (SELECT count(*) FROM workflow_executions e WHERE e.tenant_id = t.id AND NOT (
              EXISTS (SELECT FROM triggers x WHERE x.tenant_id = e.tenant_id AND x.id = e.trigger_id)
          AND EXISTS (SELECT FROM patients p WHERE p.tenant_id = e.tenant_id AND p.id = e.patient_id)
          AND EXISTS (SELECT FROM workflow_versions v WHERE v.tenant_id = e.tenant_id AND v.workflow_id = e.workflow_id AND v.version = e.version)))
       + (SELECT count(*) FROM triggers x WHERE x.tenant_id = t.id AND NOT (
              (x.webhook_id IS NULL OR EXISTS (SELECT FROM webhooks w WHERE w.tenant_id = x.tenant_id AND w.id = x.webhook_id))
          AND (x.patient_id IS NULL OR EXISTS (SELECT FROM patients p WHERE p.tenant_id = x.tenant_id AND p.id = x.patient_id)))) AS orphans) o
ORDER  BY t.slug`

// Conserve counts both sides of the law for every tenant in one snapshot.
func (db *DB) Conserve(ctx context.Context) (list []Conservation, err error) {
	opts := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, db.worker, opts, func(tx pgx.Tx) error {
		// A big ledger takes its time, and nobody waits for it but the caller.
		if _, err := tx.Exec(ctx, `SET LOCAL statement_timeout = 0`); err != nil {
			return err
		}
		if err := planFreely(ctx, tx); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, conserve)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (c Conservation, err error) {
			return c, row.Scan(&c.Tenant, &c.Name,
				&c.Triggers, &c.Planned, &c.Ignored, &c.PendingTriggers, &c.PlannedWithoutRun,
				&c.Runs, &c.Expected, &c.RunsOff,
				&c.Steps, &c.Delivered, &c.Sent, &c.Failed, &c.Cancelled, &c.Skipped, &c.Expired, &c.Parked, &c.Pending, &c.Unreasoned,
				&c.UnsentLogs, &c.Orphans)
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store: conserve: %w", unavailable(err))
	}
	return list, nil
}

const setPlatformPause = `UPDATE platform SET paused_at = CASE WHEN $1 THEN coalesce(paused_at, (SELECT app_now())) END, paused_reason = $2`

const setTenantPause = `UPDATE tenants SET paused_at = CASE WHEN $2 THEN coalesce(paused_at, (SELECT app_now())) END, paused_reason = $3 WHERE id = $1`

// Pause stops every new claim of a tenant, or of everybody with the zero id;
// requests under way finish. Resuming lets what is due go at once.
func (db *DB) Pause(ctx context.Context, id tenant.ID, paused bool, reason string) error {
	err := db.asWorker(ctx, func(tx pgx.Tx) error {
		entry := AuditEntry{Hand: Hand{Note: reason}, Action: "send.resume", Subject: "tenant", SubjectID: uuid.UUID(id)}
		if paused {
			entry.Action = "send.pause"
		}
		if id.IsZero() {
			if _, err := tx.Exec(ctx, setPlatformPause, paused, nullText(reason)); err != nil {
				return err
			}
			entry.Subject = "platform"
			return auditAll(ctx, tx, entry)
		}
		tag, err := tx.Exec(ctx, setTenantPause, id, paused, nullText(reason))
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return ErrNotFound
		}
		return audit(ctx, tx, id, entry)
	})
	if errors.Is(err, ErrNotFound) {
		return err
	}
	if err != nil {
		return fmt.Errorf("store: pause: %w", err)
	}
	return nil
}
