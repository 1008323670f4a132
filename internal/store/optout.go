package store

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// A claim holds the patient's row FOR SHARE, so that after this one either the
// claim is committed (and in flight) or it will see the suppression.
const lockPatientsOfPhone = `SELECT id FROM patients WHERE tenant_id = $1 AND phone_index = $2 ORDER BY id FOR UPDATE`

const insertSuppression = `
INSERT INTO suppressions (tenant_id, id, phone_index, source)
SELECT $1, $2, $3, $4
WHERE  NOT EXISTS (SELECT FROM suppressions WHERE tenant_id = $1 AND phone_index = $3 AND channel IS NULL AND class IS NULL AND lifted_at IS NULL)`

// suppress opts a number out of everything and reports whether it was not
// before, and which patients have the number. The caller has it audited.
func suppress(ctx context.Context, tx pgx.Tx, id tenant.ID, phoneIndex []byte, source string) (fresh bool, patients []uuid.UUID, err error) {
	rows, err := tx.Query(ctx, lockPatientsOfPhone, id, phoneIndex)
	if err != nil {
		return false, nil, err
	}
	if patients, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID]); err != nil {
		return false, nil, err
	}
	tag, err := tx.Exec(ctx, insertSuppression, id, uuid.Must(uuid.NewV7()), phoneIndex, source)
	return tag.RowsAffected() > 0, patients, err
}
