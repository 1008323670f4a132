package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// querier is what a piece of a transaction needs, whoever began it.
type querier interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// pipeline is a transaction whose begin travels with its first batch and whose
// commit with its last: two trips to the server where there would be four.
type pipeline struct {
	conn        *pgxpool.Conn
	open, ended bool
}

// asPipeline runs f in a transaction over all tenants, as asWorker does. f's
// first statement is a batch. f ends with finish, or leaves the commit to
// asPipeline.
func (db *DB) asPipeline(ctx context.Context, f func(*pipeline) error) error {
	return unavailable(db.again(func() error {
		conn, err := db.worker.Acquire(ctx)
		if err != nil {
			return err
		}
		defer conn.Release()
		p := &pipeline{conn: conn}
		if err := f(p); err != nil {
			p.rollback(ctx)
			return err
		}
		if p.open && !p.ended {
			_, err = conn.Exec(ctx, "commit")
		}
		return err
	}))
}

// SendBatch sends a batch, the first one after a begin.
func (p *pipeline) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if !p.open {
		var begin pgx.Batch
		begin.Queue("begin")
		b.QueuedQueries = append(begin.QueuedQueries, b.QueuedQueries...)
		p.open = true
	}
	return p.conn.SendBatch(ctx, b)
}

// finish sends the last batch and commits.
func (p *pipeline) finish(ctx context.Context, b *pgx.Batch) error {
	b.Queue("commit")
	err := p.SendBatch(ctx, b).Close()
	p.ended = err == nil
	return err
}

// rollback ends what f began. A connection on which that fails is not idle,
// and the pool closes it.
func (p *pipeline) rollback(ctx context.Context) {
	if !p.open || p.ended || p.conn.Conn().IsClosed() || p.conn.Conn().PgConn().TxStatus() == 'I' {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_, _ = p.conn.Exec(ctx, "rollback")
}

func (p *pipeline) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return p.conn.Exec(ctx, sql, args...)
}

func (p *pipeline) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return p.conn.Query(ctx, sql, args...)
}

func (p *pipeline) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return p.conn.QueryRow(ctx, sql, args...)
}
