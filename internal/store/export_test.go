package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// What the tests outside of the package look at.
var (
	AsWritten   = asWritten
	RegisterIDs = registerIDs
	PlanFreely  = planFreely
)

// Settled waits for what the ledger does in the background.
func (db *DB) Settled() { db.handled.working.Wait() }

// OptOut opts a number out of everything.
func (db *DB) OptOut(ctx context.Context, id tenant.ID, n phone.Number) error {
	return db.inTenant(ctx, id, func(tx pgx.Tx) error {
		keys, err := db.tenantKey(ctx, tx, id)
		if err != nil {
			return err
		}
		_, err = suppress(ctx, tx, id, phoneIndexes(keys, n), "test")
		return err
	})
}
