package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/failpoint"
	"github.com/doctorsflow/doctorsflow/internal/schedule"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

const selectDueSchedules = `
SELECT s.tenant_id, s.id, s.pattern, coalesce(s.time_zone, t.time_zone), t.time_zone, s.workflow_id, w.version, w.is_active AND w.version > 0, g.filter, s.missed, s.next_fire_at,
       t.data_key IS NULL, (SELECT app_now())
FROM   schedules s
JOIN   tenants t ON t.id = s.tenant_id
JOIN   workflows w ON w.tenant_id = s.tenant_id AND w.id = s.workflow_id
JOIN   segments g ON g.tenant_id = s.tenant_id AND g.id = s.segment_id
WHERE  s.enabled AND s.next_fire_at <= (SELECT app_now())
ORDER  BY s.next_fire_at LIMIT $1
FOR    UPDATE OF s SKIP LOCKED`

const insertFire = `
INSERT INTO batches (tenant_id, id, schedule_id, fire_at, as_of, workflow_id, version, filter, state, reason, created_at, updated_at, finished_at)
VALUES ($1, $2, $3, $4, $5::date, $6, $7, $8, $9, $10, (SELECT app_now()), (SELECT app_now()), CASE WHEN $9 <> 'running' THEN (SELECT app_now()) END)
ON CONFLICT DO NOTHING`

const moveSchedule = `UPDATE schedules SET next_fire_at = $3 WHERE tenant_id = $1 AND id = $2`

// The bounds of one look: schedules, fires of one that are made up for, fires
// of one that are told as missed, and how far back a schedule looks for the ones
// that it missed.
const (
	schedulesAtOnce = 20
	firesAtOnce     = 100
	missesTold      = 10
	longAbsence     = 31 * 24 * time.Hour
)

// FireSchedules fires every schedule that is due, and reports whether there were
// any. Postgres alone says what time it is, a schedule is held while it fires,
// and a fire is one row: any number of copies, clocks and restarts fire it once.
func (db *DB) FireSchedules(ctx context.Context) (fired int, err error) {
	type due struct {
		tenant                tenant.ID
		id, workflow          uuid.UUID
		pattern, zone, clinic string
		version               int32
		active, erased        bool
		filter                []byte
		missed                Missed
		next, now             time.Time
	}
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, selectDueSchedules, schedulesAtOnce)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (d due, err error) {
			return d, row.Scan(&d.tenant, &d.id, &d.pattern, &d.zone, &d.clinic, &d.workflow, &d.version, &d.active, &d.filter, &d.missed, &d.next, &d.erased, &d.now)
		})
		if err != nil {
			return err
		}
		if fired = len(list); fired == 0 {
			return nil
		}
		failpoint.Hit(failpoint.ScheduleFired)
		var batch pgx.Batch
		for _, d := range list {
			p, err := schedule.Parse(d.pattern)
			if err != nil || d.erased {
				// A pattern was checked when it was saved: another version of us wrote
				// it, or the clinic is gone.
				batch.Queue(moveSchedule, d.tenant, d.id, nil)
				continue
			}
			fires, skipped, next := firesOf(p, location(d.zone), d.next, d.now, d.missed)
			row := func(at time.Time, state string, reason event.Reason) {
				version := &d.version
				if d.version == 0 {
					version = nil
				}
				batch.Queue(insertFire, d.tenant, uuid.Must(uuid.NewV7()), d.id, at, at.In(location(d.clinic)).Format(time.DateOnly), d.workflow, version, d.filter, state, nullText(reason))
			}
			for _, at := range skipped {
				row(at, "skipped", event.Missed)
			}
			for _, at := range fires {
				if d.active {
					row(at, "running", "")
				} else {
					row(at, "skipped", event.WorkflowInactive)
				}
			}
			batch.Queue(moveSchedule, d.tenant, d.id, nullTime(next))
		}
		return tx.SendBatch(ctx, &batch).Close()
	})
	return fired, wrapped("store: fire schedules", err)
}

// firesOf says which fires since the first one that is due are made, which of
// the others are told as missed, and when it fires next. It is pure.
func firesOf(p schedule.Pattern, zone *time.Location, first, now time.Time, policy Missed) (fires, skipped []time.Time, next time.Time) {
	if past := now.Add(-longAbsence); first.Before(past) {
		skipped = append(skipped, first)
		first = p.Next(past, zone)
	}
	for at := first; ; at = p.Next(at, zone) {
		if at.IsZero() || at.After(now) || len(fires) == firesAtOnce {
			next = at
			break
		}
		if policy != MissedAll && len(fires) > 0 {
			skipped, fires = append(skipped, fires...), nil
		}
		if policy == MissedSkip && now.Sub(at) > onTime {
			skipped = append(skipped, at)
			continue
		}
		fires = append(fires, at)
	}
	if n := len(skipped) - missesTold; n > 0 {
		skipped = skipped[n:]
	}
	return fires, skipped, next
}
