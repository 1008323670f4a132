package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Days of another zone than the clinic's are not counted any more; should it go
// back there, they are counted anew.
const wakeStatDays = `
UPDATE message_stat_days d
SET    wake_at = CASE WHEN d.time_zone = t.time_zone THEN (SELECT app_now()) ELSE 'infinity' END
FROM   tenants t
WHERE  t.id = d.tenant_id AND d.wake_at IS DISTINCT FROM 'infinity' AND d.time_zone <> t.time_zone
OR     t.id = d.tenant_id AND d.wake_at = 'infinity' AND d.time_zone = t.time_zone`

// From a clinic's newest log back, a day with logs after the other, until one
// that is known: everything before it is known too. Each day is one look into
// the index.
const insertStatDays = `
WITH RECURSIVE back AS (
  SELECT t.id AS tenant_id, t.time_zone, l.day FROM tenants t
  CROSS  JOIN LATERAL (SELECT (a.claimed_at AT TIME ZONE t.time_zone)::date AS day FROM attempts a
                       WHERE a.tenant_id = t.id AND a.logged ORDER BY a.claimed_at DESC LIMIT 1) l
  UNION  ALL
  SELECT b.tenant_id, b.time_zone, l.day FROM back b
  CROSS  JOIN LATERAL (SELECT (a.claimed_at AT TIME ZONE b.time_zone)::date AS day FROM attempts a
                       WHERE a.tenant_id = b.tenant_id AND a.logged AND a.claimed_at < b.day::timestamp AT TIME ZONE b.time_zone
                       ORDER BY a.claimed_at DESC LIMIT 1) l
  WHERE  NOT EXISTS (SELECT FROM message_stat_days d WHERE d.tenant_id = b.tenant_id AND d.time_zone = b.time_zone AND d.day = b.day)
)
INSERT INTO message_stat_days (tenant_id, time_zone, day, wake_at)
SELECT b.tenant_id, b.time_zone, b.day, (SELECT app_now()) FROM back b
ON CONFLICT DO NOTHING`

const lockStatDay = `
SELECT d.tenant_id, d.day::text, d.time_zone, (SELECT app_now())
FROM   message_stat_days d
WHERE  d.wake_at <= (SELECT app_now())
ORDER  BY d.wake_at
LIMIT  1
FOR    UPDATE SKIP LOCKED`

// Logs do not vanish, so that no group does.
const insertStats = `
INSERT INTO message_stats (tenant_id, time_zone, day, workflow_id, channel, messages, sends, pending, sent, delivered, failed, fell_back, lateness, delivery)
SELECT $1, $3::text, $2::date, l.workflow_id, l.channel,
       count(*) FILTER (WHERE l.root), count(*), count(*) FILTER (WHERE l.state IN ('planned', 'claimed', 'unknown')),
       count(*) FILTER (WHERE l.state = 'sent'), count(*) FILTER (WHERE l.state = 'delivered'),
       count(*) FILTER (WHERE l.state NOT IN ('planned', 'claimed', 'unknown', 'sent', 'delivered')), count(*) FILTER (WHERE l.reason = 'fell_back'),
       ARRAY[count(*) FILTER (WHERE l.late <= 1), count(*) FILTER (WHERE l.late > 1 AND l.late <= 5), count(*) FILTER (WHERE l.late > 5 AND l.late <= 30),
             count(*) FILTER (WHERE l.late > 30 AND l.late <= 60), count(*) FILTER (WHERE l.late > 60 AND l.late <= 300),
             count(*) FILTER (WHERE l.late > 300 AND l.late <= 1800), count(*) FILTER (WHERE l.late > 1800 AND l.late <= 3600),
             count(*) FILTER (WHERE l.late > 3600 AND l.late <= 21600), count(*) FILTER (WHERE l.late > 21600 AND l.late <= 86400),
             count(*) FILTER (WHERE l.late > 86400)],
       ARRAY[count(*) FILTER (WHERE l.took <= 1), count(*) FILTER (WHERE l.took > 1 AND l.took <= 5), count(*) FILTER (WHERE l.took > 5 AND l.took <= 30),
             count(*) FILTER (WHERE l.took > 30 AND l.took <= 60), count(*) FILTER (WHERE l.took > 60 AND l.took <= 300),
             count(*) FILTER (WHERE l.took > 300 AND l.took <= 1800), count(*) FILTER (WHERE l.took > 1800 AND l.took <= 3600),
             count(*) FILTER (WHERE l.took > 3600 AND l.took <= 21600), count(*) FILTER (WHERE l.took > 21600 AND l.took <= 86400),
             count(*) FILTER (WHERE l.took > 86400)]
FROM  (SELECT e.workflow_id, s.channel, s.id = s.root_id AS root, s.state, s.reason,
              extract(epoch FROM s.sent_at - s.due_at) AS late, extract(epoch FROM s.delivered_at - s.sent_at) AS took
       FROM   attempts a
       JOIN   steps s ON s.tenant_id = a.tenant_id AND s.id = a.step_id
       JOIN   workflow_executions e ON e.tenant_id = s.tenant_id AND e.id = s.execution_id
       WHERE  a.tenant_id = $1 AND a.logged AND (a.attempt > 0 OR s.attempt = 0)
       AND    a.claimed_at >= $2::date::timestamp AT TIME ZONE $3::text AND a.claimed_at < ($2::date + 1)::timestamp AT TIME ZONE $3::text) l
GROUP  BY l.workflow_id, l.channel
ON CONFLICT (tenant_id, time_zone, day, workflow_id, channel) DO UPDATE
SET    messages = EXCLUDED.messages, sends = EXCLUDED.sends, pending = EXCLUDED.pending, sent = EXCLUDED.sent, delivered = EXCLUDED.delivered,
       failed = EXCLUDED.failed, fell_back = EXCLUDED.fell_back, lateness = EXCLUDED.lateness, delivery = EXCLUDED.delivery`

const finishStatDay = `
UPDATE message_stat_days SET counted_at = $4, wake_at = $5 WHERE tenant_id = $1 AND time_zone = $3 AND day = $2::date`

// recountAfter is how long a day's numbers may stand, by the days that it lies
// back: an outcome comes within minutes, a report within days, a verdict of a
// person about what was parked perhaps in weeks.
func recountAfter(days int) (wait time.Duration, again bool) {
	switch {
	case days <= 1:
		return time.Minute, true
	case days <= 3:
		return 15 * time.Minute, true
	case days <= 8:
		return 6 * time.Hour, true
	case days <= 65:
		return 24 * time.Hour, true
	}
	return 0, false
}

// CountStats counts one day of one clinic that is due, and reports false where
// none is. A day's count is not begun again before fifty times what it took.
// Any number of copies may count.
func (db *DB) CountStats(ctx context.Context) (counted bool, err error) {
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		counted = false
		var id uuid.UUID
		var day, zone string
		var now time.Time
		err := tx.QueryRow(ctx, lockStatDay).Scan(&id, &day, &zone, &now)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		counted = true
		began := time.Now()
		if _, err := tx.Exec(ctx, insertStats, id, day, zone); err != nil {
			return err
		}
		date, err := time.ParseInLocation(time.DateOnly, day, location(zone))
		if err != nil {
			return err
		}
		var wake *time.Time
		if wait, again := recountAfter(int(now.Sub(date).Hours() / 24)); again {
			wake = new(now.Add(max(wait, 50*time.Since(began))))
		}
		_, err = tx.Exec(ctx, finishStatDay, id, day, zone, now, wake)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("store: count a day: %w", err)
	}
	return counted, nil
}

// FindStatDays makes known the days that have logs.
func (db *DB) FindStatDays(ctx context.Context) error {
	err := db.asWorker(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, wakeStatDays); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, insertStatDays)
		return err
	})
	if err != nil {
		return fmt.Errorf("store: find days: %w", err)
	}
	return nil
}
