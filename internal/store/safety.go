package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const selectEnabledAccounts = `
SELECT ` + accountColumns + `
FROM   provider_accounts a JOIN tenants t ON t.id = a.tenant_id
WHERE  a.enabled AND t.data_key IS NOT NULL
ORDER  BY a.tenant_id, a.id
LIMIT  $1`

// EnabledAccounts returns up to limit accounts in use, of every tenant, with
// their credentials opened.
func (db *DB) EnabledAccounts(ctx context.Context, limit int) (list []Account, err error) {
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		if err := planFreely(ctx, tx); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, selectEnabledAccounts, limit)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, db.scanAccount)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store: accounts in use: %w", err)
	}
	return list, nil
}

const serverTime = `SELECT clock_timestamp()`

// ClockSkew returns how far Postgres' clock is ahead of this machine's. It is
// exact to half of the time that asking took.
func (db *DB) ClockSkew(ctx context.Context) (time.Duration, error) {
	var there time.Time
	before := time.Now()
	if err := db.any().QueryRow(ctx, serverTime).Scan(&there); err != nil {
		return 0, fmt.Errorf("store: clock: %w", unavailable(err))
	}
	took := time.Since(before)
	return there.Sub(before.Add(took / 2)), nil
}
