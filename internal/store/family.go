package store

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Who merges or erases a clinic's patients waits for everybody who refuses
// messages for one or does the same, so that nobody acts on rows that became
// one meanwhile. It is taken before any row.
const (
	lockFamilies  = `SELECT pg_advisory_xact_lock(hashtextextended($1::uuid::text, 25))`
	shareFamilies = `SELECT pg_advisory_xact_lock_shared(hashtextextended($1::uuid::text, 25))`
)

// The row that goes on comes first.
const selectFamily = `
WITH root AS (SELECT coalesce(merged_into, id) AS id FROM patients WHERE tenant_id = $1 AND id = $2)
SELECT id FROM (SELECT id, 0 AS place FROM root
                UNION ALL
                SELECT m.id, 1 FROM root r JOIN patients m ON m.tenant_id = $1 AND m.merged_into = r.id) f
ORDER  BY place, id`

// familyOf is every row of the person that a row is of: first the one that goes
// on, then those that were merged into it. It is empty for nobody.
func familyOf(ctx context.Context, tx pgx.Tx, id tenant.ID, patient uuid.UUID) ([]uuid.UUID, error) {
	rows, err := tx.Query(ctx, selectFamily, id, patient)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}

// wanted is the family as a list's filter: nil leaves it open, and who is not
// there has nothing.
func wanted(ctx context.Context, tx pgx.Tx, id tenant.ID, patient uuid.UUID) ([]uuid.UUID, error) {
	if patient == uuid.Nil {
		return nil, nil
	}
	family, err := familyOf(ctx, tx, id, patient)
	return orNone(family), err
}
