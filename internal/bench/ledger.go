package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Ledger reads what the pipeline planned and recorded, as app_worker.
type Ledger struct{ conn *pgx.Conn }

// OpenLedger connects to the worker's database. Close it after use.
func OpenLedger(ctx context.Context, url string) (*Ledger, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	return &Ledger{conn}, nil
}

// Close ends the connection.
func (l *Ledger) Close(ctx context.Context) error { return l.conn.Close(ctx) }

// Step is a step of a measured trigger, fallbacks excepted.
type Step struct {
	Root, Trigger uuid.UUID
	Node, State   string
	Due           time.Time
	// FellBack tells that Kakao refused it and an SMS follows.
	FellBack bool
}

const measuredSteps = `
SELECT s.root_id, e.trigger_id, s.node, s.state, s.due_at,
       EXISTS (SELECT FROM steps f WHERE f.tenant_id = s.tenant_id AND f.parent_id = s.id)
  FROM triggers t
  JOIN workflow_executions e ON e.tenant_id = t.tenant_id AND e.trigger_id = t.id
  JOIN steps s ON s.tenant_id = e.tenant_id AND s.execution_id = e.id
 WHERE t.event_id >= $1 || '-' AND t.event_id < $1 || '.' AND s.parent_id IS NULL`

// Steps returns the steps of the triggers of one load.
func (l *Ledger) Steps(ctx context.Context, prefix string) (list []Step, err error) {
	rows, err := l.conn.Query(ctx, measuredSteps, prefix)
	if err != nil {
		return nil, fmt.Errorf("bench: read steps: %w", err)
	}
	var s Step
	if _, err := pgx.ForEachRow(rows, []any{&s.Root, &s.Trigger, &s.Node, &s.State, &s.Due, &s.FellBack}, func() error {
		list = append(list, s)
		return nil
	}); err != nil {
		return nil, fmt.Errorf("bench: read steps: %w", err)
	}
	return list, nil
}

// Postmaster returns the process of the database server if it runs on this
// machine, and 0 otherwise.
func (l *Ledger) Postmaster() int {
	backend, err := readStat(int(l.conn.PgConn().PID()))
	if err != nil || backend.name != "postgres" {
		return 0
	}
	server, err := readStat(backend.parent)
	if err != nil || server.name != "postgres" {
		return 0
	}
	return server.pid
}

const sentSteps = `
SELECT s.root_id, s.channel, s.sent_at
  FROM triggers t
  JOIN workflow_executions e ON e.tenant_id = t.tenant_id AND e.trigger_id = t.id
  JOIN steps s ON s.tenant_id = e.tenant_id AND s.execution_id = e.id
 WHERE t.event_id >= $1 || '-' AND t.event_id < $1 || '.' AND s.sent_at IS NOT NULL`

// Sent returns what a gateway accepted of one load, at the time of its answer.
func (l *Ledger) Sent(ctx context.Context, prefix string) (list []Arrival, err error) {
	rows, err := l.conn.Query(ctx, sentSteps, prefix)
	if err != nil {
		return nil, fmt.Errorf("bench: read sent steps: %w", err)
	}
	var a Arrival
	if _, err := pgx.ForEachRow(rows, []any{&a.Root, &a.Channel, &a.At}, func() error {
		list = append(list, a)
		return nil
	}); err != nil {
		return nil, fmt.Errorf("bench: read sent steps: %w", err)
	}
	return list, nil
}

const openWork = `
SELECT (SELECT count(*) FROM steps WHERE due_at < app_now() + interval '1 hour' AND state IN ('planned', 'claimed', 'unknown'))
     + (SELECT count(*) FROM triggers WHERE state = 'pending')`

// Open returns how many triggers and steps still have to move within the hour.
func (l *Ledger) Open(ctx context.Context) (n int, err error) {
	if err := l.conn.QueryRow(ctx, openWork).Scan(&n); err != nil {
		return 0, fmt.Errorf("bench: count open work: %w", err)
	}
	return n, nil
}
