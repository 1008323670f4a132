package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// newRing returns the ring with the master keys.
func newRing(c Config) (*seal.Ring, error) {
	if c.Masters == nil {
		return seal.NewRing(c.Master, 0, 0), nil
	}
	keys, err := c.Masters()
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, ErrWrongMaster
	}
	ring := seal.NewRing(keys[0], 0, 0)
	return ring, ring.Reload(c.Masters)
}

// ErrWrongMaster means that the data was sealed under another master key.
var ErrWrongMaster = errors.New("store: this is not the master key that the data was sealed with; bring back the one from the backup (MASTER_KEY_FILE, or master.key in the data folder)")

const selectTenantKeys = `SELECT id, data_key FROM tenants WHERE data_key IS NOT NULL ORDER BY id`

// checkMaster opens one tenant's key, before a wrong master key can be taken
// for erased patients. One that does not open says nothing of the others.
func (db *DB) checkMaster(ctx context.Context) error {
	if db.worker == nil {
		return nil
	}
	rows, err := db.worker.Query(ctx, selectTenantKeys)
	if err != nil {
		return fmt.Errorf("store: check the master key: %w", unavailable(err))
	}
	var id tenant.ID
	var wrapped []byte
	n, opened := 0, false
	if _, err := pgx.ForEachRow(rows, []any{&id, &wrapped}, func() error {
		n++
		if !opened {
			_, err := db.unwrap(id, wrapped)
			opened = err == nil
		}
		return nil
	}); err != nil {
		return fmt.Errorf("store: check the master key: %w", unavailable(err))
	}
	if n > 0 && !opened {
		return ErrWrongMaster
	}
	return nil
}

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

// notErased is [ErrErased] for a tenant whose key was destroyed: a credential of
// it would open nothing. One that does not exist is [ErrNotFound].
func notErased(ctx context.Context, tx pgx.Tx, id tenant.ID) error {
	var wrapped []byte
	if err := tx.QueryRow(ctx, selectTenantKey, id).Scan(&wrapped); err != nil {
		return notFound(err)
	}
	if wrapped == nil {
		return ErrErased
	}
	return nil
}

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

// blind is the keyed index of a value to be written; the field's name separates
// indexes.
func blind(keys *seal.TenantKeys, field, value string) []byte {
	index := keys.Index(field, value)
	return index[:]
}

// blinds are the indexes that a row with the value may have: while the
// tenant's key is rotated, one under each key.
func blinds(keys *seal.TenantKeys, field, value string) [][]byte {
	return byteSlices(keys.Indexes(field, value))
}

func byteSlices(indexes [][seal.IndexSize]byte) (out [][]byte) {
	for _, index := range indexes {
		out = append(out, index[:])
	}
	return out
}
