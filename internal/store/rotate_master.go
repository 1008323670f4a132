package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// RewrapTenantKeys wraps every tenant's key by the first of the master keys,
// each in a transaction of its own, and returns how many it wrote. It may be
// broken off at any moment; another call goes on. Once it returned 0, the
// other master keys open nothing. A tenant whose key opens with none of them
// is an error, after all others are done.
func (db *DB) RewrapTenantKeys(ctx context.Context) (n int, err error) {
	rows, err := db.worker.Query(ctx, selectTenantKeys)
	if err != nil {
		return 0, fmt.Errorf("store: rewrap tenant keys: %w", unavailable(err))
	}
	type tenantKey struct {
		ID      tenant.ID
		Wrapped []byte
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[tenantKey])
	if err != nil {
		return 0, fmt.Errorf("store: rewrap tenant keys: %w", unavailable(err))
	}
	var strange []error
	for _, t := range list {
		set, current, err := db.ring.Set(t.ID, t.Wrapped)
		switch {
		case err != nil:
			strange = append(strange, fmt.Errorf("store: the key of tenant %s: %w", t.ID, err))
			continue
		case current:
			continue
		}
		switch err := db.replaceKeySet(ctx, t.ID, t.Wrapped, set, "master_key.rotate"); {
		case errors.Is(err, errKeysMoved): // it is met again
		case err != nil:
			return n, fmt.Errorf("store: rewrap tenant keys: %w", err)
		}
		n++
	}
	return n, errors.Join(strange...)
}
