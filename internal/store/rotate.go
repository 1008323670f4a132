package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Rotation is what a rotation of a tenant's key did.
type Rotation struct {
	// Resumed says that an earlier rotation had been broken off: it was
	// finished, and no further key made.
	Resumed bool
	// Secrets, Patients, Triggers and Calls count the rows that were written:
	// webhooks and gateway accounts, patients, triggers, refused calls.
	Secrets, Patients, Triggers, Calls int
	// Retired reports that opt-outs are left of numbers that no patient has:
	// the old index key of phone numbers is kept for them, and nothing else.
	Retired bool
}

// rotationBatch is how many rows are read at once, and at most written in one
// transaction.
const rotationBatch = 200

const replaceTenantKey = `UPDATE tenants SET data_key = $3 WHERE id = $1 AND data_key = $2`

// RotateTenantKey gives a tenant another key, while everything goes on:
// patients' and payloads' keys are wrapped anew, the tenant's own fields sealed
// anew, indexes and hashes recomputed. It may be broken off at any moment;
// another call finishes it. Errors wrap [ErrNotFound], [ErrErased] or
// [ErrUnavailable] where that is what happened.
//
// What a tenant has for a key is read by every transaction that uses it, so
// that a change of it reaches all of them; between two changes it waits until
// nobody works with what was before. So no transaction meets a row under a key
// that it does not know, and none writes under a key that is on its way out.
func (db *DB) RotateTenantKey(ctx context.Context, id tenant.ID) (r Rotation, err error) {
	first := true
	for {
		set, wrapped, err := db.keySet(ctx, id)
		if err != nil {
			return r, fmt.Errorf("store: rotate tenant key: %w", err)
		}
		if first {
			r.Resumed, first = !set.Next.IsZero() || !set.Old.IsZero(), false
		}
		done := false
		switch {
		case !set.Old.IsZero():
			done, err = db.moveRows(ctx, id, set, wrapped, &r)
		case !set.Next.IsZero():
			if err = db.awaitReaders(ctx); err == nil {
				err = db.replaceKeySet(ctx, id, wrapped, seal.KeySet{Key: set.Next, Old: set.Key, Retired: set.Retired}, "tenant_key.rotate")
			}
		default:
			err = db.replaceKeySet(ctx, id, wrapped, seal.KeySet{Key: set.Key, Next: seal.NewKey(), Retired: set.Retired}, "")
		}
		if errors.Is(err, errKeysMoved) {
			continue // another process is at it, too, or the master key changed
		}
		if err != nil || done {
			if err != nil {
				err = fmt.Errorf("store: rotate tenant key: %w", err)
			}
			return r, err
		}
	}
}

// errKeysMoved means that what a tenant has for a key is no longer what was
// read.
var errKeysMoved = errors.New("store: the tenant's keys changed meanwhile")

func (db *DB) keySet(ctx context.Context, id tenant.ID) (set seal.KeySet, wrapped []byte, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		return notFound(tx.QueryRow(ctx, selectTenantKey, id).Scan(&wrapped))
	})
	if err != nil {
		return set, nil, err
	}
	if wrapped == nil {
		return set, nil, ErrErased
	}
	if set, _, err = db.ring.Set(id, wrapped); err != nil {
		return set, nil, fmt.Errorf("tenant key: %w; is this the master key that the data was sealed with?", err)
	}
	return set, wrapped, nil
}

// replaceKeySet writes the set where it is still what was read. What it does is
// told to the audit log where action names it.
func (db *DB) replaceKeySet(ctx context.Context, id tenant.ID, was []byte, set seal.KeySet, action string) error {
	return db.inTenant(ctx, id, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, replaceTenantKey, id, was, db.ring.WrapSet(id, set))
		if err == nil && tag.RowsAffected() == 0 {
			err = errKeysMoved
		}
		if err != nil || action == "" {
			return err
		}
		return audit(ctx, tx, id, AuditEntry{Action: action, Subject: "tenant", SubjectID: uuid.UUID(id)})
	})
}

// Whoever uses a tenant's key has read it from this table in the same
// transaction, and holds a lock on the table until its end.
const selectReaders = `
SELECT DISTINCT l.virtualtransaction
FROM   pg_locks l
WHERE  l.locktype = 'relation' AND l.relation = 'tenants'::regclass AND l.pid <> pg_backend_pid()
AND    l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND    ($1::text[] IS NULL OR l.virtualtransaction = ANY ($1))`

// awaitReaders waits for the end of every transaction that may have read a
// tenant's key before now.
func (db *DB) awaitReaders(ctx context.Context) error {
	var before []string
	for {
		rows, err := db.api.Query(ctx, selectReaders, before)
		if err != nil {
			return unavailable(err)
		}
		if before, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			return unavailable(err)
		}
		if len(before) == 0 {
			return nil
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

const selectOrphanSuppressions = `
SELECT EXISTS (SELECT FROM suppressions s WHERE s.tenant_id = $1 AND s.lifted_at IS NULL
               AND NOT EXISTS (SELECT FROM patients p WHERE p.tenant_id = s.tenant_id AND p.phone_index = s.phone_index))`

// moveRows brings every row under the new key and then forgets the old one.
func (db *DB) moveRows(ctx context.Context, id tenant.ID, set seal.KeySet, wrapped []byte, r *Rotation) (done bool, err error) {
	if err := db.awaitReaders(ctx); err != nil {
		return false, err
	}
	m := &mover{
		db: db, id: id, wrapped: wrapped, was: seal.NewTenantKeys(seal.KeySet{Key: set.Old}), is: seal.NewTenantKeys(seal.KeySet{Key: set.Key}),
	}
	for _, pass := range []struct {
		batch func(context.Context, pgx.Tx, uuid.UUID) (moved, error)
		count *int
	}{{m.accounts, &r.Secrets}, {m.webhooks, &r.Secrets}, {m.fhirSources, &r.Secrets}, {m.patients, &r.Patients}, {m.optOuts, nil}, {m.triggers, &r.Triggers}, {m.calls, &r.Calls}} {
		n, err := m.all(ctx, pass.batch)
		if pass.count != nil {
			*pass.count += n
		}
		if err != nil {
			return false, err
		}
	}
	next := seal.KeySet{Key: set.Key}
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error { return tx.QueryRow(ctx, selectOrphanSuppressions, id).Scan(&r.Retired) })
	if err != nil {
		return false, err
	}
	if r.Retired {
		next.Retired = append(set.Retired, m.was.FieldKey(indexPhone))
	}
	err = db.replaceKeySet(ctx, id, wrapped, next, "")
	return err == nil, err
}

// mover moves one tenant's rows from one key to another.
type mover struct {
	db      *DB
	id      tenant.ID
	wrapped []byte
	was, is *seal.TenantKeys
}

// moved is what became of a batch of rows.
type moved struct {
	last          uuid.UUID // the last row's id; zero: there was none
	needed, wrote int
}

// all repeats a batch over the whole table until no row is left under the old
// key: those that somebody held are met again.
func (m *mover) all(ctx context.Context, batch func(context.Context, pgx.Tx, uuid.UUID) (moved, error)) (n int, err error) {
	for {
		held := 0
		for after := uuid.Nil; ; {
			var b moved
			err := m.db.again(func() error {
				return m.db.inTenant(ctx, m.id, func(tx pgx.Tx) (err error) {
					var now []byte
					if err := tx.QueryRow(ctx, selectTenantKey, m.id).Scan(&now); err != nil {
						return err
					}
					if !bytes.Equal(now, m.wrapped) {
						return errKeysMoved
					}
					b, err = batch(ctx, tx, after)
					return err
				})
			})
			if err != nil {
				return n, err
			}
			n, held = n+b.wrote, held+b.needed-b.wrote
			if b.last == uuid.Nil {
				break
			}
			after = b.last
		}
		if held == 0 {
			return n, nil
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return n, err
		}
	}
}

// rewrap returns a key that was wrapped under the old key wrapped under the
// new; ok is false for one that was not.
func (m *mover) rewrap(wrapped, aad []byte) (out []byte, ok bool) {
	if _, err := m.is.Unwrap(wrapped, aad); err == nil {
		return wrapped, false
	}
	key, err := m.was.Unwrap(wrapped, aad)
	if err != nil {
		return wrapped, false
	}
	return m.is.Wrap(key, aad), true
}

// reseal does for a field what rewrap does for a key.
func (m *mover) reseal(sealed []byte, aad seal.AAD) (out []byte, ok bool) {
	if _, err := m.is.Open(sealed, aad); err == nil {
		return sealed, false
	}
	plain, err := m.was.Open(sealed, aad)
	if err != nil {
		return sealed, false
	}
	return m.is.Seal(plain, aad), true
}
