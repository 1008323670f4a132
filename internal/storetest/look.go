package storetest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Scan reads the only row of a statement, as the superuser.
func (u URLs) Scan(t testing.TB, sql string, args []any, into ...any) {
	t.Helper()
	u.look(t, func(ctx context.Context, c *pgx.Conn) error { return c.QueryRow(ctx, sql, args...).Scan(into...) })
}

// Exec runs a statement as the superuser: what no product role may do.
func (u URLs) Exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	u.look(t, func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, sql, args...)
		return err
	})
}

func (u URLs) look(t testing.TB, f func(context.Context, *pgx.Conn) error) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	c, err := pgx.Connect(ctx, u.Super)
	if err != nil {
		t.Fatalf("storetest: %v", err)
	}
	defer c.Close(ctx)
	if err := f(ctx, c); err != nil {
		t.Fatalf("storetest: %v", err)
	}
}
