package store

import (
	"context"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
)

// volume is how many rows this process handled since it started.
type volume struct{ atomic.Int64 }

// plannedAt is the key of a connection's volume when it made its plans.
const plannedAt = "doctorsflow.planned_at"

// replan lets a connection's plans go when this process has handled twice as
// many rows since it made them. A plan made on empty tables takes any index for
// as good as the right one, and Postgres looks again only when it has analyzed
// the tables, up to a minute later: time enough for them to grow a thousandfold.
func (v *volume) replan(ctx context.Context, c *pgx.Conn) (bool, error) {
	data, now := c.PgConn().CustomData(), v.Load()
	then, _ := data[plannedAt].(int64)
	if now < 2*then+256 {
		return true, nil
	}
	if _, err := c.PgConn().Exec(ctx, "DISCARD PLANS").ReadAll(); err != nil {
		return false, nil // the pool takes another connection
	}
	data[plannedAt] = now
	return true, nil
}
