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

// Sleep is a due step that nobody claimed, and why it must wait.
type Sleep struct {
	event.Step
	// For is how long from now. A step whose validity ends sooner wakes then,
	// to be ended.
	For    time.Duration
	Reason event.Reason
}

const sleepUnclaimed = `
UPDATE steps s SET wake_at = least((SELECT app_now()) + n.delay, s.expires_at), reason = n.reason, published = false
FROM   unnest($1::uuid[], $2::uuid[], $3::int[], $4::interval[], $5::text[]) AS n (tenant_id, id, attempt, delay, reason)
WHERE  s.tenant_id = n.tenant_id AND s.id = n.id AND s.state = 'planned' AND s.attempt = n.attempt`

// SleepSteps puts steps that nobody claimed back to sleep, each for its time
// and with its reason; release lets them go again.
func (db *DB) SleepSteps(ctx context.Context, list []Sleep) error {
	n := len(list)
	tenants, ids, attempts := make([]tenant.ID, n), make([]uuid.UUID, n), make([]int32, n)
	delays, reasons := make([]time.Duration, n), make([]*string, n)
	for i, s := range list {
		tenants[i], ids[i], attempts[i] = s.Tenant, s.ID, s.Attempt
		delays[i], reasons[i] = s.For, nullText(s.Reason)
	}
	err := db.again(func() error {
		_, err := db.worker.Exec(ctx, sleepUnclaimed, tenants, ids, attempts, delays, reasons)
		return err
	})
	if err != nil {
		return fmt.Errorf("store: sleep steps: %w", unavailable(err))
	}
	return nil
}

const countWaiting = `
SELECT s.reason, count(*)
FROM   steps s
WHERE  s.wake_at IS NOT NULL AND s.state = 'planned' AND s.reason IS NOT NULL
GROUP  BY s.reason`

// Waiting counts the steps of all tenants that are due and wait, by reason. It
// reads every step that waits for anything: ask seldom.
func (db *DB) Waiting(ctx context.Context) (map[event.Reason]int64, error) {
	counts := map[event.Reason]int64{}
	err := pgx.BeginTxFunc(ctx, db.worker, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL statement_timeout = 0`); err != nil {
			return err
		}
		if err := planFreely(ctx, tx); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, countWaiting)
		if err != nil {
			return err
		}
		var reason event.Reason
		var n int64
		_, err = pgx.ForEachRow(rows, []any{&reason, &n}, func() error {
			counts[reason] = n
			return nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store: waiting: %w", unavailable(err))
	}
	return counts, nil
}
