package store

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

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

// InTenant is how every operation of one tenant reaches Postgres.
func (db *DB) InTenant(ctx context.Context, id tenant.ID, f func(pgx.Tx) error) error {
	return db.inTenant(ctx, id, f)
}

// APIPool is the connections that tenants share.
func (db *DB) APIPool() *pgxpool.Pool { return db.api }

// SuppressNumber opts a number out of everything.
func (db *DB) SuppressNumber(ctx context.Context, id tenant.ID, n phone.Number) error {
	return db.inTenant(ctx, id, func(tx pgx.Tx) error {
		keys, err := db.tenantKey(ctx, tx, id)
		if err != nil {
			return err
		}
		_, _, err = suppress(ctx, tx, id, phoneIndexes(keys, n), OptOut{Source: "test"})
		return err
	})
}

// FillPatients registers n patients, and returns their ids in order.
func (db *DB) FillPatients(ctx context.Context, id tenant.ID, n int, number func(int) phone.Number) (ids []uuid.UUID, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		keys, err := db.tenantKey(ctx, tx, id)
		if err != nil {
			return err
		}
		for from := 0; from < n; from += 5000 {
			var rows patientRows
			for i := from; i < min(n, from+5000); i++ {
				ids = append(ids, rows.add(id, keys, PatientRef{Name: "김하늘", Phone: number(i)}).id)
			}
			if _, err := tx.Exec(ctx, insertPatients, rows.args()...); err != nil {
				return err
			}
		}
		return nil
	})
	return ids, err
}

// FiresOf is what a schedule makes of the time that has passed.
var FiresOf = firesOf

// SettleFHIR moves a subscription's marks by news.
func SettleFHIR(n FHIRNews, last, highest int64) (int64, int64) { return n.settle(last, highest) }
