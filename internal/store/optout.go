package store

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// A claim holds the patient's row FOR SHARE, so that after this one either the
// claim is committed (and in flight) or it will see the suppression.
// With whoever has the number come the rows that are of the same person.
const lockPatientsOfPhone = `
WITH roots AS (SELECT DISTINCT coalesce(merged_into, id) AS id FROM patients WHERE tenant_id = $1 AND phone_index = ANY ($2)),
     people AS (SELECT id FROM roots UNION SELECT m.id FROM roots r JOIN patients m ON m.tenant_id = $1 AND m.merged_into = r.id)
SELECT p.id FROM people n JOIN patients p ON p.tenant_id = $1 AND p.id = n.id ORDER BY p.id FOR UPDATE OF p`

// A merged row's number stands for the one that is written to.
const selectNumbersWrittenTo = `
SELECT DISTINCT o.phone_index
FROM   patients p JOIN patients o ON o.tenant_id = p.tenant_id AND o.id = p.merged_into
WHERE  p.tenant_id = $1 AND p.phone_index = ANY ($2) AND o.phone_index IS NOT NULL AND o.phone_index <> ALL ($2)`

const insertSuppression = `
INSERT INTO suppressions (tenant_id, id, phone_index, source, channel, class)
SELECT $1, $2, $3, $4, $5, $6
WHERE  NOT EXISTS (SELECT FROM suppressions WHERE tenant_id = $1 AND phone_index = $3 AND lifted_at IS NULL
                   AND channel IS NOT DISTINCT FROM $5 AND class IS NOT DISTINCT FROM $6)`

// suppress opts a number out and reports whether it was not before, and which
// patients have the number; the caller has it audited. indexes are all that a
// patient's row with the number may have: while the tenant's key is rotated,
// the opt-out stands under each.
func suppress(ctx context.Context, tx pgx.Tx, id tenant.ID, indexes [][]byte, o OptOut) (fresh bool, patients []uuid.UUID, err error) {
	if _, err := tx.Exec(ctx, shareFamilies, id); err != nil {
		return false, nil, err
	}
	rows, err := tx.Query(ctx, lockPatientsOfPhone, id, indexes)
	if err != nil {
		return false, nil, err
	}
	if patients, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID]); err != nil {
		return false, nil, err
	}
	if rows, err = tx.Query(ctx, selectNumbersWrittenTo, id, indexes); err != nil {
		return false, nil, err
	}
	more, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		return false, nil, err
	}
	indexes = slices.Concat(indexes, more)
	for _, index := range indexes {
		tag, err := tx.Exec(ctx, insertSuppression, id, uuid.Must(uuid.NewV7()), index, o.Source, nullText(string(o.Channel)), nullText(string(o.Class)))
		if err != nil {
			return false, nil, err
		}
		fresh = fresh || tag.RowsAffected() > 0
	}
	return fresh, patients, nil
}

const selectPastSuppressions = `
SELECT n.tenant_id, n.now, x.channel, x.class, x.source, x.created_at
FROM   unnest($1::uuid[], $2::bytea[], $3::bytea[]) AS n (tenant_id, past, now)
JOIN   suppressions x ON x.tenant_id = n.tenant_id AND x.phone_index = n.past AND x.lifted_at IS NULL`

const insertCarried = `
INSERT INTO suppressions (tenant_id, id, phone_index, channel, class, source, created_at)
SELECT $1, $2, $3, $4, $5, $6, $7
WHERE  NOT EXISTS (SELECT FROM suppressions WHERE tenant_id = $1 AND phone_index = $3 AND lifted_at IS NULL
                   AND channel IS NOT DISTINCT FROM $4 AND class IS NOT DISTINCT FROM $5)`

// carrying copies opt-outs to the index under which a patient's row is about
// to be written, from those under earlier keys of the tenant. A claim compares
// the row's index with the opt-outs' and sees both change at once. It is
// nothing for a tenant whose key was never rotated.
type carrying struct {
	tenants   []tenant.ID
	past, now [][]byte
}

func (c *carrying) add(id tenant.ID, keys *seal.TenantKeys, n phone.Number) {
	if n.IsZero() {
		return
	}
	for _, past := range keys.Past(indexPhone, n.E164()) {
		c.pair(id, past[:], phoneIndex(keys, n))
	}
}

func (c *carrying) pair(id tenant.ID, past, now []byte) {
	c.tenants, c.past, c.now = append(c.tenants, id), append(c.past, past), append(c.now, now)
}

func (c *carrying) carry(ctx context.Context, tx querier) error {
	if len(c.tenants) == 0 {
		return nil
	}
	type optOut struct {
		Tenant         tenant.ID
		Index          []byte
		Channel, Class *string
		Source         string
		Created        time.Time
	}
	rows, err := tx.Query(ctx, selectPastSuppressions, c.tenants, c.past, c.now)
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[optOut])
	if err != nil {
		return err
	}
	for _, o := range list {
		if _, err := tx.Exec(ctx, insertCarried, o.Tenant, uuid.Must(uuid.NewV7()), o.Index, o.Channel, o.Class, o.Source, o.Created); err != nil {
			return err
		}
	}
	return nil
}
