package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Completed visits since a day for which a workflow in force has no run: the
// newest word of their end is opened again. What was planned since the sweep
// began was looked at, whatever came of it.
const sweepVisits = `
WITH missing AS MATERIALIZED (
  SELECT l.trigger_id
  FROM   appointments ap
  JOIN   patients p ON p.tenant_id = ap.tenant_id AND p.id = ap.patient_id AND p.erased_at IS NULL
  CROSS  JOIN LATERAL (
           SELECT v.trigger_id FROM appointment_events v
           WHERE  v.tenant_id = ap.tenant_id AND v.appointment_id = ap.id AND v.kind = 'completed'
           ORDER  BY v.sequence DESC, v.at DESC, v.event_id DESC LIMIT 1) l
  JOIN   triggers t ON t.tenant_id = ap.tenant_id AND t.id = l.trigger_id
  WHERE  ap.tenant_id = $1 AND ap.status = 'completed' AND ap.appointment_date >= $2::date
  AND    t.state <> 'pending' AND t.payload_key IS NOT NULL AND t.planned_at < $3
  AND    EXISTS (
           SELECT FROM workflows w
           WHERE  w.tenant_id = ap.tenant_id AND w.is_active AND w.version > 0 AND w.trigger_type = 'post_surgery'
           AND    (coalesce(w.target_surgery_type, '') = '' OR w.target_surgery_type = ap.surgery_type)
           AND    NOT EXISTS (SELECT FROM workflow_executions e WHERE e.tenant_id = ap.tenant_id AND e.appointment_id = ap.id AND e.workflow_id = w.id))
  LIMIT  $4
)
UPDATE triggers t
SET    state = 'pending', reason = NULL, wake_at = (SELECT app_now())
FROM   missing m
WHERE  t.tenant_id = $1 AND t.id = m.trigger_id AND t.state <> 'pending'`

const selectToday = `
SELECT (SELECT app_now()), ((SELECT app_now()) AT TIME ZONE t.time_zone)::date::text FROM tenants t WHERE t.id = $1 AND t.data_key IS NOT NULL`

// sweepBatch is how many visits one transaction opens again.
const sweepBatch = 500

// SweepVisits gives every completed visit of the last days, for which a
// workflow in force has no run, another look of the planner, and returns how
// many. What has run is left alone, so that it may be called at any time and by
// any number of copies.
func (db *DB) SweepVisits(ctx context.Context, id tenant.ID, days int) (opened int, err error) {
	var began time.Time
	var today string
	if err := unavailable(db.worker.QueryRow(ctx, selectToday, id).Scan(&began, &today)); err != nil {
		if errors.Is(err, pgx.ErrNoRows) {
			return 0, nil // the clinic was erased
		}
		return 0, fmt.Errorf("store: sweep: %w", err)
	}
	day, err := time.Parse(time.DateOnly, today)
	if err != nil {
		return 0, fmt.Errorf("store: sweep: %w", err)
	}
	for {
		n := 0
		err := db.asWorker(ctx, func(tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, sweepVisits, id, day.AddDate(0, 0, -days).Format(time.DateOnly), began, sweepBatch)
			n = int(tag.RowsAffected())
			return err
		})
		if err != nil {
			return opened, fmt.Errorf("store: sweep: %w", err)
		}
		if opened += n; n == 0 {
			return opened, nil
		}
	}
}

// A day begins to be swept at this time of the clinic's clocks: what its
// system told of the day before is there.
const insertSweeps = `
INSERT INTO sweeps (tenant_id, day, created_at)
SELECT t.id, ((SELECT app_now()) AT TIME ZONE t.time_zone)::date, (SELECT app_now()) FROM tenants t
WHERE  t.data_key IS NOT NULL AND ((SELECT app_now()) AT TIME ZONE t.time_zone)::time >= '09:00'
ON CONFLICT DO NOTHING`

const selectSweep = `SELECT s.tenant_id, s.day::text FROM sweeps s WHERE s.done_at IS NULL ORDER BY s.created_at LIMIT 1`

const finishSweep = `
UPDATE sweeps SET done_at = (SELECT app_now()), started = started + $3 WHERE tenant_id = $1 AND day = $2::date AND done_at IS NULL`

// SweepDaily sweeps one clinic whose day has begun and was not swept, and
// reports false where there is none. Whoever dies in between is followed by
// another copy, or by itself.
func (db *DB) SweepDaily(ctx context.Context, days int) (id tenant.ID, opened int, more bool, err error) {
	var day string
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		more = false
		if _, err := tx.Exec(ctx, insertSweeps); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, selectSweep).Scan(&id, &day)
		if more = err == nil; errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil || !more {
		return id, 0, false, wrapped("store: sweep", err)
	}
	if opened, err = db.SweepVisits(ctx, id, days); err != nil {
		return id, opened, false, err
	}
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, finishSweep, id, day, opened)
		return err
	})
	return id, opened, true, wrapped("store: sweep", err)
}

func wrapped(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
