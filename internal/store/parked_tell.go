package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// ParkedNotice says that a step was parked.
type ParkedNotice struct {
	Tenant  tenant.ID
	Step    uuid.UUID
	Channel event.Channel
	Reason  event.Reason
	Since   time.Time
	Times   int32
}

const selectUntold = `
SELECT p.tenant_id, p.step_id, p.channel, p.reason, p.parked_at, p.times
FROM   parked_steps p
WHERE  p.told_at IS NULL
ORDER  BY p.tenant_id, p.step_id
LIMIT  $1
FOR    UPDATE SKIP LOCKED`

const markTold = `
UPDATE parked_steps p SET told_at = (SELECT app_now())
FROM   unnest($1::uuid[], $2::uuid[]) AS n (tenant_id, id)
WHERE  p.tenant_id = n.tenant_id AND p.step_id = n.id`

// TellParked calls tell for each step that was parked and not told of yet, and
// returns how many, at most limit. A step is told of once, and again only if
// the caller died, or Postgres went away, before that was kept.
func (db *DB) TellParked(ctx context.Context, limit int, tell func(ParkedNotice)) (n int, err error) {
	err = pgx.BeginFunc(ctx, db.worker, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, selectUntold, limit)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ParkedNotice])
		if err != nil || len(list) == 0 {
			return err
		}
		tenants, ids := make([]tenant.ID, len(list)), make([]uuid.UUID, len(list))
		for i, p := range list {
			tenants[i], ids[i] = p.Tenant, p.Step
			tell(p)
		}
		n = len(list)
		_, err = tx.Exec(ctx, markTold, tenants, ids)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("store: tell parked: %w", unavailable(err))
	}
	return n, nil
}

// ParkedCount is how many steps are parked for one reason on one channel.
type ParkedCount struct {
	Channel event.Channel
	Reason  event.Reason
	Steps   int64
	// Oldest is how long the first of them has been.
	Oldest time.Duration
}

const countParked = `
SELECT p.channel, p.reason, count(*), (SELECT app_now()) - min(p.parked_at)
FROM   parked_steps p
WHERE  p.left_at IS NULL
GROUP  BY p.channel, p.reason`

// CountParked counts the parked steps of all tenants.
func (db *DB) CountParked(ctx context.Context) ([]ParkedCount, error) {
	rows, err := db.worker.Query(ctx, countParked)
	if err != nil {
		return nil, fmt.Errorf("store: count parked: %w", unavailable(err))
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ParkedCount])
	if err != nil {
		return nil, fmt.Errorf("store: count parked: %w", unavailable(err))
	}
	return list, nil
}
