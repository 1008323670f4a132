package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
)

// group is how many rows share a commit, or messages a publication.
const group = 128

// Not a temporary table: its rows would bypass the log that a commit waits for.
const (
	makeCeiling = `CREATE TABLE ceiling (tenant_id uuid, id uuid, state text, body text, PRIMARY KEY (tenant_id, id))`
	fillCeiling = `INSERT INTO ceiling (tenant_id, id, state, body) SELECT $1, n.id, 'planned', $3 FROM unnest($2::uuid[]) AS n (id)`
	dropCeiling = `DROP TABLE ceiling`
)

// PostgresCommits measures rows per second that are inserted in groups, each
// group one durable transaction, over four connections to a database of the
// bench's own.
func PostgresCommits(ctx context.Context, url string, rows int) (rate float64, err error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return 0, fmt.Errorf("bench: ceiling: %w", err)
	}
	cfg.MaxConns = 4
	cfg.ConnConfig.RuntimeParams["synchronous_commit"] = "on"
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return 0, fmt.Errorf("bench: ceiling: %w", err)
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, makeCeiling); err != nil {
		return 0, fmt.Errorf("bench: ceiling: %w", err)
	}
	defer func() {
		if _, derr := pool.Exec(context.WithoutCancel(ctx), dropCeiling); derr != nil {
			err = errors.Join(err, fmt.Errorf("bench: ceiling: %w", derr))
		}
	}()
	tenant, body := uuid.New(), strings.Repeat("x", 100)
	groups := max(1, rows/group)
	rate, err = each(ctx, groups, int(cfg.MaxConns), func(ctx context.Context, _ int) error {
		ids := make([]uuid.UUID, group)
		for i := range ids {
			ids[i] = uuid.Must(uuid.NewV7())
		}
		_, err := pool.Exec(ctx, fillCeiling, tenant, ids, body)
		return err
	})
	return rate * group, err
}
