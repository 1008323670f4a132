package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Postgres must read our own encoding as it reads pgx's.
func TestIDsReachPostgresAsTheyAre(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	c, plain := connect(t, l.urls.Worker), connect(t, l.urls.Worker)
	store.RegisterIDs(c.TypeMap())

	var many []uuid.UUID
	for range 1000 {
		many = append(many, uuid.New())
	}
	tenants := []tenant.ID{tenant.NewID(), tenant.ID(many[0])}
	for name, arg := range map[string]any{
		"ids: nil": []uuid.UUID(nil), "ids: none": []uuid.UUID{}, "ids: one": many[:1], "ids: many": many, "ids: zero": []uuid.UUID{{}},
		"tenants: nil": []tenant.ID(nil), "tenants: none": []tenant.ID{}, "tenants: two": tenants,
		"with gaps": []*uuid.UUID{&many[0], nil, &many[1]}, "pgx's own": []pgtype.UUID{{Bytes: many[0], Valid: true}, {}},
		"texts": []string{many[0].String()}, "bytes": [][16]byte{many[0]}, "nothing": nil,
	} {
		var got, want *string
		var back, wantBack []*uuid.UUID
		const sql = `SELECT $1::uuid[]::text || ' ' || coalesce(array_ndims($1)::text, '-') || ' ' || coalesce(array_lower($1, 1)::text, '-'), $1::uuid[]`
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec} {
			if _, known := arg.([]tenant.ID); mode == pgx.QueryExecModeExec && (known || arg == nil) {
				continue // it has no type to tell Postgres
			}
			err := c.QueryRow(t.Context(), sql, mode, arg).Scan(&got, &back)
			wantErr := plain.QueryRow(t.Context(), sql, mode, arg).Scan(&want, &wantBack)
			if err != nil || wantErr != nil {
				if mode == pgx.QueryExecModeCacheStatement || (err == nil) != (wantErr == nil) {
					t.Errorf("%s, %v: %v; pgx by itself: %v", name, mode, err, wantErr)
				}
				continue
			}
			if diff := cmp.Diff(want, got) + cmp.Diff(wantBack, back); diff != "" {
				t.Errorf("%s, %v (-pgx +ours):\n%s", name, mode, diff)
			}
		}
	}
	for name, arg := range map[string]any{
		"id": many[0], "tenant": tenant.ID(many[0]), "pointer": &many[0], "text": many[0].String(), "no pointer": (*uuid.UUID)(nil),
	} {
		var got *uuid.UUID
		if err := c.QueryRow(t.Context(), `SELECT $1::uuid`, arg).Scan(&got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name == "no pointer" && got != nil || name != "no pointer" && (got == nil || *got != many[0]) {
			t.Errorf("%s came back as %v", name, got)
		}
	}
	// As a column among others, as every batch has it.
	var n int
	err := c.QueryRow(t.Context(), `SELECT count(*) FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS n (a, b, c) WHERE a = b AND c = a::text`,
		many[:2], []tenant.ID{tenant.ID(many[0]), tenant.ID(many[1])}, []string{many[0].String(), many[1].String()}).Scan(&n)
	if err != nil || n != 2 {
		t.Errorf("%d of 2 rows are the same in every column, %v", n, err)
	}
}
