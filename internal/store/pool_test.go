package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// errGaveUp is a caller's own.
var errGaveUp = errors.New("gave up")

// endings are the ways in which a transaction of a tenant ends, and whether it
// may have been without an error.
var endings = map[string]struct {
	end func(ctx context.Context, cancel context.CancelFunc, tx pgx.Tx) error
	ok  bool
}{
	"commit":   {func(context.Context, context.CancelFunc, pgx.Tx) error { return nil }, true},
	"rollback": {func(context.Context, context.CancelFunc, pgx.Tx) error { return errGaveUp }, false},
	"error in the middle": {func(ctx context.Context, _ context.CancelFunc, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `SELECT 1 / 0`)
		return err
	}, false},
	"error that nobody looked at": {func(ctx context.Context, _ context.CancelFunc, tx pgx.Tx) error {
		_, _ = tx.Exec(ctx, `SELECT 1 / 0`)
		return nil
	}, false},
	"cancelled in the middle": {func(ctx context.Context, cancel context.CancelFunc, tx pgx.Tx) error {
		cancel()
		_, err := tx.Exec(ctx, `SELECT pg_sleep(10)`)
		return err
	}, false},
	"cancelled before the commit": {func(_ context.Context, cancel context.CancelFunc, _ pgx.Tx) error { cancel(); return nil }, false},
	"statement timeout": {func(ctx context.Context, _ context.CancelFunc, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL statement_timeout = 1`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `SELECT pg_sleep(10)`)
		return err
	}, false},
	"panic": {func(context.Context, context.CancelFunc, pgx.Tx) error { panic(errGaveUp) }, false},
}

// However a transaction ends, the next user of its connection starts without a
// tenant, and sees its own rows only.
func TestAConnectionKeepsNothingOfItsLastTenant(t *testing.T) {
	t.Parallel()
	l, a, b := twoClinics(t)
	db, err := store.Open(t.Context(), store.Config{APIURL: l.urls.API, APIConns: 1, Master: l.master})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	left := func(name string) {
		t.Helper()
		var id string
		if err := db.APIPool().QueryRow(t.Context(), `SELECT coalesce(current_setting('app.tenant', true), '')`).Scan(&id); err != nil || id != "" {
			t.Errorf("after %s: the connection still has tenant %q, %v", name, id, err)
		}
		var seen int
		if err := db.APIPool().QueryRow(t.Context(), `SELECT count(*) FROM patients`).Scan(&seen); err != nil || seen != 0 {
			t.Errorf("after %s: a stranger sees %d patients, %v", name, seen, err)
		}
	}
	for name, how := range endings {
		if err := visit(t, db, a, how.end); (err == nil) != how.ok {
			t.Errorf("%s: %v", name, err)
		}
		left(name)
	}
	var users sync.WaitGroup
	for i, id := range []tenant.ID{a, b, a, b, a, b} {
		users.Go(func() {
			for name, how := range endings { // in another order each time
				if err := visit(t, db, id, how.end); (err == nil) != how.ok {
					t.Errorf("user %d: %s: %v", i, name, err)
				}
				left("others")
			}
		})
	}
	users.Wait()
	if n := db.APIPool().Stat().MaxConns(); n != 1 {
		t.Errorf("%d connections, want the one that all shared", n)
	}
}

// visit looks around as a tenant, and leaves in the way that it is told.
func visit(t *testing.T, db *store.DB, id tenant.ID, end func(context.Context, context.CancelFunc, pgx.Tx) error) (err error) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return db.InTenant(ctx, id, func(tx pgx.Tx) error {
		var own, others int
		err := tx.QueryRow(ctx, `SELECT count(*) FILTER (WHERE tenant_id = $1), count(*) FILTER (WHERE tenant_id <> $1) FROM patients`, id).Scan(&own, &others)
		if err != nil || own != 1 || others != 0 {
			t.Errorf("inside: %d patients of its own and %d of others, %v; want 1 and 0", own, others, err)
		}
		return end(ctx, cancel, tx)
	})
}
