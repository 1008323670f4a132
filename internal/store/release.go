package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Queue is one tenant's work of one kind that waits for its time.
type Queue struct {
	Tenant tenant.ID
	// Name is a lane, or "resolve".
	Name string
	// Wake is the earliest time that anything in it wants.
	Wake time.Time
}

// ResolveQueue is the queue of steps whose outcome must be found out.
const ResolveQueue = "resolve"

// One index probe per tenant and queue, however many steps wait in each.
const selectQueues = `
WITH RECURSIVE queues AS (
  (SELECT tenant_id, queue, wake_at FROM steps WHERE wake_at IS NOT NULL ORDER BY tenant_id, queue, wake_at LIMIT 1)
  UNION ALL
  SELECT n.tenant_id, n.queue, n.wake_at
  FROM   queues q CROSS JOIN LATERAL (
    SELECT s.tenant_id, s.queue, s.wake_at FROM steps s
    WHERE  s.wake_at IS NOT NULL AND (s.tenant_id, s.queue) > (q.tenant_id, q.queue)
    ORDER  BY s.tenant_id, s.queue, s.wake_at LIMIT 1) n
)
SELECT q.tenant_id, q.queue, q.wake_at, (SELECT app_now())
FROM   queues q JOIN tenants t ON t.id = q.tenant_id JOIN platform p ON p.singleton
WHERE  q.queue = 'resolve' OR (t.paused_at IS NULL AND p.paused_at IS NULL)`

// Queues returns what waits in every queue that is not paused, and the
// database's time.
func (db *DB) Queues(ctx context.Context) (queues []Queue, now time.Time, err error) {
	rows, err := db.worker.Query(ctx, selectQueues)
	if err != nil {
		return nil, now, fmt.Errorf("store: queues: %w", unavailable(err))
	}
	queues, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (q Queue, err error) {
		return q, row.Scan(&q.Tenant, &q.Name, &q.Wake, &now)
	})
	if err != nil {
		return nil, now, fmt.Errorf("store: queues: %w", unavailable(err))
	}
	if now.IsZero() {
		err = db.worker.QueryRow(ctx, `SELECT app_now()`).Scan(&now)
	}
	return queues, now, unavailable(err)
}

// Lease is one queue's share of a round of release.
type Lease struct {
	Queue
	// Room is how many more steps may be in flight.
	Room int
}

// Leased is a due step that release may publish.
type Leased struct {
	event.Step
	// Again is set when it was published before and its lease ran out.
	Again bool
	// Expired is set when its validity is over: see [DB.ExpireSteps].
	Expired bool
	Run     uuid.UUID
}

// A row whose lease ran out while a dispatcher held it goes to the resolver's
// queue, which looks when the claim is stale; one whose request was accepted,
// when a report would be overdue.
const leaseSteps = `
WITH due AS (
  SELECT s.tenant_id, s.id, s.published
  FROM   unnest($1::uuid[], $2::text[], $3::int[]) AS q (tenant_id, queue, room)
  CROSS  JOIN LATERAL (
    SELECT i.tenant_id, i.id, i.published FROM steps i
    WHERE  i.tenant_id = q.tenant_id AND i.queue = q.queue AND i.wake_at <= (SELECT app_now())
    ORDER  BY i.wake_at
    LIMIT  q.room
    FOR    UPDATE SKIP LOCKED) s
)
UPDATE steps s
SET    wake_at = CASE s.state WHEN 'planned' THEN (SELECT app_now()) + $4::interval
                              WHEN 'claimed' THEN s.claimed_at + $5::interval
                              WHEN 'sent' THEN s.sent_at + $6::interval END,
       queue = CASE WHEN s.state IN ('claimed', 'sent') THEN 'resolve' ELSE s.queue END,
       published = true
FROM   due
WHERE  s.tenant_id = due.tenant_id AND s.id = due.id
RETURNING s.tenant_id, s.id, s.lane, s.channel, s.attempt, s.plan_epoch, s.wake_at, due.published, s.execution_id, s.expires_at <= (SELECT app_now()), s.state = 'planned'`

// LeaseSteps takes due steps of the given queues, at most each queue's room,
// and gives them a lease: until it ends no other copy of release takes them.
func (db *DB) LeaseSteps(ctx context.Context, leases []Lease) (steps []Leased, err error) {
	tenants, names, room := make([]tenant.ID, len(leases)), make([]string, len(leases)), make([]int32, len(leases))
	for i, l := range leases {
		tenants[i], names[i], room[i] = l.Tenant, l.Name, int32(l.Room)
	}
	// Rows that only go to the resolver's queue must not pass for an empty one.
	for moved := true; moved && len(steps) == 0 && err == nil; {
		moved, err = db.leaseOnce(ctx, &steps, tenants, names, room)
	}
	if err != nil {
		return nil, fmt.Errorf("store: lease steps: %w", unavailable(err))
	}
	return steps, nil
}

// leaseOnce reports whether it handed steps to the resolver.
func (db *DB) leaseOnce(ctx context.Context, steps *[]Leased, tenants []tenant.ID, names []string, room []int32) (moved bool, err error) {
	err = db.again(func() error {
		moved, *steps = false, (*steps)[:0]
		rows, err := db.worker.Query(ctx, leaseSteps, tenants, names, room, db.timing.Lease, db.timing.StaleClaim(), db.timing.W)
		if err != nil {
			return err
		}
		var l Leased
		var planned bool
		var wake *time.Time
		_, err = pgx.ForEachRow(rows, []any{&l.Tenant, &l.ID, &l.Lane, &l.Channel, &l.Attempt, &l.PlanEpoch, &wake, &l.Again, &l.Run, &l.Expired, &planned}, func() error {
			if planned {
				l.Lease = wake.UnixMilli()
				*steps = append(*steps, l)
			}
			moved = moved || !planned
			return nil
		})
		return err
	})
	return moved, err
}

const lockRuns = `
SELECT e.tenant_id, e.id
FROM   workflow_executions e
WHERE  (e.tenant_id, e.id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))
ORDER  BY e.id
FOR    NO KEY UPDATE`

const expireSteps = `
WITH expired AS (
  UPDATE steps s
  SET    state = 'expired', reason = $3, wake_at = NULL, updated_at = (SELECT app_now())
  WHERE  (s.tenant_id, s.execution_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))
  AND    s.state = 'planned' AND s.expires_at <= (SELECT app_now())
  RETURNING s.tenant_id, s.id
)
SELECT count(*) FROM expired`

// settleRuns closes every run whose steps are all terminal. The caller holds
// the runs' rows, so two that end the last two steps see each other.
const settleRuns = `
UPDATE workflow_executions e
SET    status = CASE WHEN r.bad > 0 AND r.good = 0 THEN 'failed' ELSE 'completed' END,
       completed_at = (SELECT app_now())
FROM  (SELECT s.tenant_id, s.execution_id,
              count(*) FILTER (WHERE s.state IN ('planned', 'claimed', 'unknown') OR s.state = 'sent' AND s.reason IS NULL) AS open,
              count(*) FILTER (WHERE s.state = 'parked' OR s.state = 'failed' AND s.reason <> 'fell_back') AS bad,
              count(*) FILTER (WHERE s.state IN ('delivered', 'sent')) AS good
       FROM   steps s
       WHERE  (s.tenant_id, s.execution_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))
       GROUP  BY s.tenant_id, s.execution_id) r
WHERE  e.tenant_id = r.tenant_id AND e.id = r.execution_id AND r.open = 0 AND e.resting = 0 AND e.status IN ('pending', 'running')`

// ExpireSteps ends the planned steps of these runs whose validity is over,
// and closes runs that end by it. It returns how many steps it ended.
func (db *DB) ExpireSteps(ctx context.Context, expired []Leased) (n int64, err error) {
	var runs runSet
	for _, l := range expired {
		runs.add(l.Tenant, l.Run)
	}
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockRuns, runs.tenants, runs.ids); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, expireSteps, runs.tenants, runs.ids, string(event.TimePassed)).Scan(&n); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, settleRuns, runs.tenants, runs.ids)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("store: expire steps: %w", err)
	}
	return n, nil
}

// runSet is a set of runs as two parallel columns.
type runSet struct {
	tenants []tenant.ID
	ids     []uuid.UUID
	seen    map[uuid.UUID]bool
}

func (s *runSet) add(id tenant.ID, run uuid.UUID) {
	if s.seen == nil {
		s.seen = map[uuid.UUID]bool{}
	}
	if !s.seen[run] {
		s.seen[run] = true
		s.tenants, s.ids = append(s.tenants, id), append(s.ids, run)
	}
}

const leaseTriggers = `
UPDATE triggers t
SET    wake_at = (SELECT app_now()) + $2::interval
FROM  (SELECT tenant_id, id FROM triggers WHERE wake_at <= (SELECT app_now()) ORDER BY wake_at LIMIT $1 FOR UPDATE SKIP LOCKED) due
WHERE  t.tenant_id = due.tenant_id AND t.id = due.id AND t.state = 'pending'
RETURNING t.tenant_id, t.id, t.kind, t.wake_at`

// LeaseTriggers returns pending triggers that nobody seems to be planning.
func (db *DB) LeaseTriggers(ctx context.Context, limit int) ([]event.Trigger, error) {
	rows, err := db.worker.Query(ctx, leaseTriggers, limit, db.timing.Lease)
	if err != nil {
		return nil, fmt.Errorf("store: lease triggers: %w", unavailable(err))
	}
	triggers, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t event.Trigger, err error) {
		var wake time.Time
		err = row.Scan(&t.Tenant, &t.ID, &t.Kind, &wake)
		t.Lease = wake.UnixMilli()
		return t, err
	})
	if err != nil {
		return nil, fmt.Errorf("store: lease triggers: %w", unavailable(err))
	}
	return triggers, nil
}

const wakeAll = `
WITH s AS (UPDATE steps SET wake_at = (SELECT app_now()), published = false WHERE state = 'planned' AND published AND wake_at IS NOT NULL RETURNING 1),
     t AS (UPDATE triggers SET wake_at = (SELECT app_now()) WHERE state = 'pending' RETURNING 1)
SELECT (SELECT count(*) FROM s), (SELECT count(*) FROM t)`

// WakeAll ends every lease, because the broker lost what it held: what should
// be moving is published again. It returns how many steps and triggers.
func (db *DB) WakeAll(ctx context.Context) (steps, triggers int, err error) {
	err = db.again(func() error { return db.worker.QueryRow(ctx, wakeAll).Scan(&steps, &triggers) })
	if err != nil {
		return 0, 0, fmt.Errorf("store: wake all: %w", unavailable(err))
	}
	return steps, triggers, nil
}

const tickClock = `UPDATE platform SET clock_high_water = clock_timestamp() WHERE clock_high_water < clock_timestamp()`

// TickClock moves the high-water mark that keeps app_now() from stepping back.
func (db *DB) TickClock(ctx context.Context) error {
	_, err := db.worker.Exec(ctx, tickClock)
	return unavailable(err)
}

const freeClaims = `
UPDATE steps s
SET    queue = 'resolve', wake_at = CASE s.state WHEN 'claimed' THEN s.claimed_at + $1::interval ELSE s.sent_at + $2::interval END
FROM   platform p CROSS JOIN tenants t CROSS JOIN unnest(ARRAY['care', 'bulk']) AS q (queue)
WHERE  (t.paused_at IS NOT NULL OR p.paused_at IS NOT NULL)
AND    s.tenant_id = t.id AND s.queue = q.queue AND s.wake_at <= (SELECT app_now()) AND s.state IN ('claimed', 'sent')`

// FreeClaims hands the stale claims and the sent steps of paused tenants to
// the resolver: finding out what became of a request sends nothing.
func (db *DB) FreeClaims(ctx context.Context) error {
	err := db.again(func() error {
		_, err := db.worker.Exec(ctx, freeClaims, db.timing.StaleClaim(), db.timing.W)
		return err
	})
	if err != nil {
		return fmt.Errorf("store: free claims: %w", unavailable(err))
	}
	return nil
}

// Watermark is where a stream stood when it was last looked at.
type Watermark struct {
	Stream  string
	Born    time.Time
	LastSeq uint64
}

// Two copies look at different moments, so that a mark may come late. One that
// is lower by a hair's time counts only when it still is after settle.
const markStream = `
INSERT INTO stream_watermarks AS w (stream, born_at, last_seq) VALUES ($1, $2, $3)
ON CONFLICT (stream) DO UPDATE
SET born_at = EXCLUDED.born_at,
    last_seq = CASE WHEN w.born_at = EXCLUDED.born_at AND w.updated_at > (SELECT app_now()) - $4::interval THEN greatest(w.last_seq, EXCLUDED.last_seq) ELSE EXCLUDED.last_seq END,
    updated_at = CASE WHEN w.born_at = EXCLUDED.born_at AND EXCLUDED.last_seq < w.last_seq AND w.updated_at > (SELECT app_now()) - $4::interval THEN w.updated_at ELSE (SELECT app_now()) END
RETURNING (SELECT o.born_at FROM stream_watermarks o WHERE o.stream = $1), (SELECT o.last_seq FROM stream_watermarks o WHERE o.stream = $1),
          coalesce((SELECT o.updated_at > (SELECT app_now()) - $4::interval FROM stream_watermarks o WHERE o.stream = $1), false)`

// settle is how long a lower mark may be another copy's older look.
const settle = 10 * time.Second

// MarkStream keeps where a stream stands and reports whether it went back
// since the last mark: born again, or with a lower last sequence.
func (db *DB) MarkStream(ctx context.Context, m Watermark) (wentBack bool, err error) {
	var born *time.Time
	var last *int64
	var recent bool
	if err := db.worker.QueryRow(ctx, markStream, m.Stream, m.Born, int64(m.LastSeq), settle).Scan(&born, &last, &recent); err != nil {
		return false, fmt.Errorf("store: mark stream: %w", unavailable(err))
	}
	if born == nil {
		return false, nil
	}
	return !born.Equal(m.Born.Truncate(time.Microsecond)) || int64(m.LastSeq) < *last && !recent, nil
}
