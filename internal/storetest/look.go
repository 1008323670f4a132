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

// Look is one connection of the superuser, for tests that look often.
type Look struct {
	t testing.TB
	c *pgx.Conn
}

// Look connects until the test ends.
func (u URLs) Look(t testing.TB) *Look {
	t.Helper()
	c, err := pgx.Connect(t.Context(), u.Super)
	if err != nil {
		t.Fatalf("storetest: %v", err)
	}
	t.Cleanup(func() { _ = c.Close(context.WithoutCancel(t.Context())) })
	return &Look{t, c}
}

// Each calls row for every row of a statement, with the row scanned into into.
func (l *Look) Each(sql string, args, into []any, row func()) {
	l.t.Helper()
	rows, err := l.c.Query(l.t.Context(), sql, args...)
	if err != nil {
		l.t.Fatalf("storetest: %v", err)
	}
	if _, err := pgx.ForEachRow(rows, into, func() error { row(); return nil }); err != nil {
		l.t.Fatalf("storetest: %v", err)
	}
}
