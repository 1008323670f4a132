package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Rehearsal is how far the ledger is, for a caller that lets time pass by
// hand beside a gateway simulator that it moves as well.
type Rehearsal struct {
	// Now is the ledger's time.
	Now time.Time
	// Moving counts what is under way or due: while it is not 0, letting time
	// pass would make requests late that are not.
	Moving int64
	// Next is the earliest time that anything waits for, which may have come;
	// zero: nothing waits.
	Next time.Time
	// Anomalies are the kinds of contradictions, by step.
	Anomalies map[uuid.UUID]string
}

// A report whose account had its turn at this very instant waits for the next.
const selectRehearsal = `
SELECT app_now(),
       (SELECT count(*) FROM triggers WHERE state = 'pending')
       + (SELECT count(*) FROM gateway_reports g JOIN provider_accounts a ON a.tenant_id = g.tenant_id AND a.id = g.account_id
          WHERE g.wake_at <= app_now() AND (a.confirmed_at IS NULL OR a.confirmed_at < app_now()))
       + count(*) FILTER (WHERE state = 'claimed' OR state = 'planned' AND published OR wake_at <= app_now()),
       least(min(wake_at) FILTER (WHERE wake_at > app_now()), (SELECT min(wake_at) FROM gateway_reports))
FROM   steps
WHERE  wake_at IS NOT NULL OR state = 'claimed'`

const selectAnomalyKinds = `SELECT step_id, kind FROM anomalies WHERE step_id IS NOT NULL ORDER BY id`

// Rehearsal tells how far the ledger is.
func (db *DB) Rehearsal(ctx context.Context) (r Rehearsal, err error) {
	var next *time.Time
	if err := db.worker.QueryRow(ctx, selectRehearsal).Scan(&r.Now, &r.Moving, &next); err != nil {
		return r, fmt.Errorf("store: rehearsal: %w", unavailable(err))
	}
	if next != nil {
		r.Next = *next
	}
	rows, err := db.worker.Query(ctx, selectAnomalyKinds)
	if err != nil {
		return r, fmt.Errorf("store: rehearsal: %w", unavailable(err))
	}
	r.Anomalies = map[uuid.UUID]string{}
	var step uuid.UUID
	var kind string
	if _, err := pgx.ForEachRow(rows, []any{&step, &kind}, func() error {
		r.Anomalies[step] = kind
		return nil
	}); err != nil {
		return r, fmt.Errorf("store: rehearsal: %w", unavailable(err))
	}
	return r, nil
}

const passTime = `UPDATE platform SET clock_high_water = $1 WHERE clock_high_water < $1`

// PassTime moves the ledger's clock forward to t, where it stands still until
// the server's clock comes after it. The clock never goes back: what is sent
// through a real gateway afterwards would carry wrong times, so that this is
// for ledgers that only ever saw a simulator.
func (db *DB) PassTime(ctx context.Context, t time.Time) error {
	if _, err := db.worker.Exec(ctx, passTime, t); err != nil {
		return fmt.Errorf("store: pass time: %w", unavailable(err))
	}
	return nil
}
