package store

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// unwrap opens a tenant's key; a tenant without one was erased.
func (db *DB) unwrap(id tenant.ID, wrapped []byte) (*seal.TenantKeys, error) {
	if wrapped == nil {
		return nil, ErrErased
	}
	keys, err := db.ring.Keys(id, wrapped)
	if err != nil {
		return nil, fmt.Errorf("store: tenant key: %w; is this the master key that the data was sealed with?", err)
	}
	return keys, nil
}

const selectTenantKey = `SELECT data_key FROM tenants WHERE id = $1`

// tenantKey returns the tenant's keys, inside a transaction that may read them.
func (db *DB) tenantKey(ctx context.Context, tx pgx.Tx, id tenant.ID) (*seal.TenantKeys, error) {
	var wrapped []byte
	if err := tx.QueryRow(ctx, selectTenantKey, id).Scan(&wrapped); err != nil {
		return nil, notFound(err)
	}
	return db.unwrap(id, wrapped)
}

// enter lets tx see one tenant's rows and returns the tenant's key, in one trip.
func (db *DB) enter(ctx context.Context, tx pgx.Tx, id tenant.ID) (*seal.TenantKeys, error) {
	var wrapped []byte
	var batch pgx.Batch
	batch.Queue(enterTenant, id.String())
	batch.Queue(selectTenantKey, id).QueryRow(func(row pgx.Row) error { return notFound(row.Scan(&wrapped)) })
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return nil, err
	}
	return db.unwrap(id, wrapped)
}

// patientKeyAAD binds a patient's wrapped key to the patient's row.
func patientKeyAAD(id tenant.ID, patient uuid.UUID) []byte {
	return column(id, "patients", "data_key", patient).Bytes()
}

func payloadKeyAAD(id tenant.ID, table string, row uuid.UUID) []byte {
	return column(id, table, "payload_key", row).Bytes()
}

func column(id tenant.ID, table, col string, row uuid.UUID) seal.AAD {
	return seal.AAD{Tenant: id, Table: table, Column: col, ID: row}
}

// blind is the keyed index of a value; the field's name separates indexes.
func blind(keys *seal.TenantKeys, field, value string) []byte {
	index := keys.Index(field, value)
	return index[:]
}
