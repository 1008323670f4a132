package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// movedSteps says which steps the timers' load planned.
const movedSteps = `
  FROM triggers t
  JOIN workflow_executions e ON e.tenant_id = t.tenant_id AND e.trigger_id = t.id
 WHERE t.event_id >= $1 || '-' AND t.event_id < $1 || '.'
   AND s.tenant_id = e.tenant_id AND s.execution_id = e.id AND s.state = 'planned'`

const (
	countPlanned = `SELECT count(*) FROM steps s, LATERAL (SELECT 1` + movedSteps + `) AS ours`
	moveSteps    = `
UPDATE steps s SET due_at = n.at, wake_at = n.at, expires_at = n.at + interval '1 day'
  FROM (SELECT s.tenant_id, s.id, $2::timestamptz + $3::interval * random() AS at FROM steps s, LATERAL (SELECT 1` + movedSteps + `) AS ours) AS n
 WHERE s.tenant_id = n.tenant_id AND s.id = n.id`
)

// Planned returns how many steps of a load's triggers wait for their time.
func (l *Ledger) Planned(ctx context.Context, prefix string) (n int, err error) {
	if err := l.conn.QueryRow(ctx, countPlanned, prefix).Scan(&n); err != nil {
		return 0, fmt.Errorf("bench: count planned steps: %w", err)
	}
	return n, nil
}

// Move makes a load's waiting steps due at a time, spread evenly over what
// follows it.
func (l *Ledger) Move(ctx context.Context, prefix string, at time.Time, spread time.Duration) error {
	if _, err := l.conn.Exec(ctx, moveSteps, prefix, at, spread); err != nil {
		return fmt.Errorf("bench: move steps: %w", err)
	}
	return nil
}

const (
	someVersion = `
SELECT w.tenant_id, w.id, w.version, p.id
  FROM tenants t
  JOIN workflows w ON w.tenant_id = t.id AND w.name = $2
  JOIN LATERAL (SELECT id FROM patients p WHERE p.tenant_id = t.id LIMIT 1) AS p ON true
 WHERE t.slug = $1`
	addTriggers = `
INSERT INTO triggers (tenant_id, id, kind, source, event_id, event_type, body_hash, state, reason, patient_id, planned_at)
SELECT $1, n.id, 'webhook', 'bench', n.id::text, 'pending', '\x00', 'planned', 'planned', $3, app_now() FROM unnest($2::uuid[]) AS n (id)`
	addRuns = `
INSERT INTO workflow_executions (tenant_id, id, workflow_id, version, trigger_id, patient_id, status, expected_steps)
SELECT $1, n.id, $3, $4, n.trigger_id, $5, 'running', $6 FROM unnest($2::uuid[], $7::uuid[]) AS n (id, trigger_id)`
	addSteps = `
INSERT INTO steps (tenant_id, id, execution_id, node, root_id, channel, due_at, expires_at, wake_at, fallback)
SELECT $1, n.id, n.execution_id, n.node, n.id, 'kakao', n.due, n.due + interval '1 day', n.due, true
  FROM (SELECT u.id, u.execution_id, u.node, app_now() + interval '2 days' + interval '360 days' * random() AS due
          FROM unnest($2::uuid[], $3::uuid[], $4::text[]) AS u (id, execution_id, node)) AS n`
)

const (
	stepsPerRun  = 10
	runsPerGroup = 100
)

// AddPending adds runs of a clinic's workflow whose steps lie days to a year
// ahead, at least steps of them, and says how many it added. They are whole:
// the conservation law holds over them.
func (l *Ledger) AddPending(ctx context.Context, slug, workflow string, steps int) (added int, err error) {
	var clinic, flow, patient uuid.UUID
	var version int
	err = l.conn.QueryRow(ctx, someVersion, slug, workflow).Scan(&clinic, &flow, &version, &patient)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("bench: the clinic %s has no workflow %s", slug, workflow)
	}
	if err != nil {
		return 0, fmt.Errorf("bench: add pending steps: %w", err)
	}
	for added < steps {
		triggers, runs := newIDs(runsPerGroup), newIDs(runsPerGroup)
		ids := newIDs(runsPerGroup * stepsPerRun)
		of, nodes := make([]uuid.UUID, len(ids)), make([]string, len(ids))
		for i := range ids {
			of[i], nodes[i] = runs[i/stepsPerRun], fmt.Sprint("pending-", i%stepsPerRun)
		}
		err := pgx.BeginFunc(ctx, l.conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, addTriggers, clinic, triggers, patient); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, addRuns, clinic, runs, flow, version, patient, stepsPerRun, triggers); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, addSteps, clinic, ids, of, nodes)
			return err
		})
		if err != nil {
			return added, fmt.Errorf("bench: add pending steps: %w", err)
		}
		added += len(ids)
	}
	return added, nil
}

// newIDs makes ids in order, as the pipeline's are.
func newIDs(n int) []uuid.UUID {
	ids := make([]uuid.UUID, n)
	for i := range ids {
		ids[i] = uuid.Must(uuid.NewV7())
	}
	return ids
}
