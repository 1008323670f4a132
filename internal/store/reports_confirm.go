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

// ReportState is what became of a report.
type ReportState string

// The states that end the work on a report. Pending ones wait to be
// confirmed; noted ones said nothing final and are only kept.
const (
	ReportConfirmed ReportState = "confirmed" // the gateway says the same when asked, or we knew
	ReportRefuted   ReportState = "refuted"   // the gateway says the opposite when asked
	ReportUnknown   ReportState = "unknown"   // no message of this tenant was sent that it could speak of
	ReportGivenUp   ReportState = "given_up"  // the gateway said neither in time
)

// RefutedReport is the kind of the anomaly that a refuted report leaves.
const RefutedReport = "report_refuted"

// PendingReport is a report that is to be confirmed, with the step it speaks
// of as that stands now.
type PendingReport struct {
	Tenant   tenant.ID
	Account  uuid.UUID // that it came to
	HookID   string
	Says     ReportSays
	Code     string
	Received time.Time
	Tries    int
	Now      time.Time
	// Named tells that its grouping key is one of ours.
	Named bool

	// Step is zero where no step of this tenant fits.
	Step        uuid.UUID
	Root        uuid.UUID
	Channel     event.Channel
	State       State
	Attempt     int32
	FirstIntent time.Time
	// SentBy is the account of the last attempt, which alone can be asked;
	// zero where nothing was ever sent.
	SentBy uuid.UUID
	// RequestID and Seq are the attempt's as we know them, never the
	// report's; "" until the answer is recorded.
	RequestID string
	Seq       int
}

// leaseReports takes the turn of accounts, so that all copies together ask one
// gateway account no more often than that, and then their rows. The step is
// found by the grouping key, else by the request as our own attempt recorded
// it; both within the tenant.
const leaseReports = `
WITH due AS (
  SELECT a.tenant_id, a.id FROM provider_accounts a
  WHERE (a.confirmed_at IS NULL OR a.confirmed_at <= (SELECT app_now()) - $1::interval)
  AND   EXISTS (SELECT FROM gateway_reports g WHERE g.tenant_id = a.tenant_id AND g.account_id = a.id AND g.wake_at <= (SELECT app_now()))
  ORDER BY a.confirmed_at NULLS FIRST LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED
), turned AS (
  UPDATE provider_accounts a SET confirmed_at = (SELECT app_now()) FROM due WHERE a.tenant_id = due.tenant_id AND a.id = due.id
  RETURNING a.tenant_id, a.id, a.channel
), leased AS (
  UPDATE gateway_reports g SET wake_at = (SELECT app_now()) + $2::interval, tries = g.tries + 1
  FROM  (SELECT i.tenant_id, i.account_id, i.hook_id, t.channel FROM turned t CROSS JOIN LATERAL (
           SELECT r.tenant_id, r.account_id, r.hook_id FROM gateway_reports r
           WHERE  r.tenant_id = t.tenant_id AND r.account_id = t.id AND r.wake_at <= (SELECT app_now())
           ORDER  BY r.wake_at LIMIT $4 FOR UPDATE SKIP LOCKED) i) n
  WHERE  g.tenant_id = n.tenant_id AND g.account_id = n.account_id AND g.hook_id = n.hook_id
  RETURNING g.*, n.channel
)
SELECT l.tenant_id, l.account_id, l.hook_id, l.says, coalesce(l.code, ''), l.received_at, l.tries, (SELECT app_now()), l.root_id IS NOT NULL, l.channel,
       s.id, s.root_id, s.state, s.attempt, coalesce(s.first_intent_at, s.claimed_at), a.account_id, coalesce(a.request_id, ''), coalesce(a.request_seq, 0)
FROM   leased l
LEFT   JOIN LATERAL (
         SELECT k.* FROM steps k WHERE k.tenant_id = l.tenant_id AND k.id = l.root_id AND k.channel = l.channel
         UNION ALL
         SELECT f.* FROM steps f WHERE f.tenant_id = l.tenant_id AND f.parent_id = l.root_id AND f.channel = l.channel
         UNION ALL
         SELECT r.* FROM attempts p JOIN steps r ON r.tenant_id = p.tenant_id AND r.id = p.step_id
         WHERE  l.root_id IS NULL AND p.tenant_id = l.tenant_id AND p.request_id = l.request_id AND p.channel = l.channel
         AND    coalesce(p.request_seq, 1) = coalesce(l.request_seq, 1)
         LIMIT  1) s ON true
LEFT   JOIN attempts a ON a.tenant_id = s.tenant_id AND a.step_id = s.id AND a.attempt = s.attempt
ORDER  BY l.received_at, l.hook_id`

// LeaseReports returns reports that are due to be confirmed, of up to accounts
// accounts whose turn was at least every ago, and of each up to rows. They are
// due again after the lease, unless they are settled or put off before.
func (db *DB) LeaseReports(ctx context.Context, every, lease time.Duration, accounts, rows int) (list []PendingReport, err error) {
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		res, err := tx.Query(ctx, leaseReports, every, lease, accounts, rows)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(res, scanPendingReport)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store: lease reports: %w", err)
	}
	return list, nil
}

func scanPendingReport(row pgx.CollectableRow) (p PendingReport, err error) {
	var step, root, by *uuid.UUID
	var state *State
	var attempt *int32
	var intent *time.Time
	err = row.Scan(&p.Tenant, &p.Account, &p.HookID, &p.Says, &p.Code, &p.Received, &p.Tries, &p.Now, &p.Named, &p.Channel,
		&step, &root, &state, &attempt, &intent, &by, &p.RequestID, &p.Seq)
	if err != nil || step == nil {
		return p, err
	}
	p.Step, p.Root, p.State, p.Attempt = *step, *root, *state, *attempt
	if intent != nil {
		p.FirstIntent = *intent
	}
	if by != nil {
		p.SentBy = *by
	}
	return p, nil
}

// SettledReport ends or puts off the work on a leased report.
type SettledReport struct {
	PendingReport
	// To is what became of it; "" puts it off until Again.
	To    ReportState
	Again time.Time
	// Refuting is the code that the gateway gave where the report was refuted.
	Refuting string
}

const settleReports = `
UPDATE gateway_reports g
SET    state = coalesce(n.state, g.state), wake_at = n.wake_at, step_id = coalesce(n.step_id, g.step_id),
       settled_at = CASE WHEN n.state IS NOT NULL THEN (SELECT app_now()) END
FROM   unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::timestamptz[])
       AS n (tenant_id, account_id, hook_id, step_id, state, wake_at)
WHERE  g.tenant_id = n.tenant_id AND g.account_id = n.account_id AND g.hook_id = n.hook_id AND g.state = 'pending'
RETURNING g.account_id, g.hook_id`

const insertRefutedReport = `INSERT INTO anomalies (tenant_id, id, step_id, kind, detail) VALUES ($1, $2, $3, $4, $5)`

// SettleReports writes what became of leased reports, once. A refuted one
// leaves an anomaly in the same transaction.
func (db *DB) SettleReports(ctx context.Context, list []SettledReport) error {
	n := len(list)
	tenants, hooks := make([]tenant.ID, n), make([]string, n)
	accounts, steps := make([]uuid.UUID, n), make([]uuid.UUID, n)
	states, wakes := make([]*string, n), make([]*time.Time, n)
	refuted := map[reportID]SettledReport{}
	for i, r := range list {
		tenants[i], accounts[i], hooks[i], steps[i] = r.Tenant, r.Account, r.HookID, r.Step
		if states[i] = nullText(r.To); r.To == "" {
			wakes[i] = &r.Again
		}
		if r.To == ReportRefuted {
			refuted[reportID{r.Account, r.HookID}] = r
		}
	}
	err := db.asWorker(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, settleReports, tenants, accounts, hooks, nullIDs(steps), states, wakes)
		if err != nil {
			return err
		}
		done, err := pgx.CollectRows(rows, pgx.RowToStructByPos[reportID])
		if err != nil {
			return err
		}
		for _, id := range done {
			r, ok := refuted[id]
			if !ok {
				continue
			}
			detail := map[string]any{"state": r.State, "report": r.Says, "code": r.Code, "gateway_code": r.Refuting}
			if _, err := tx.Exec(ctx, insertRefutedReport, r.Tenant, uuid.Must(uuid.NewV7()), r.Step, RefutedReport, detail); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("store: settle reports: %w", err)
	}
	return nil
}

type reportID struct {
	Account uuid.UUID
	Hook    string
}

const countPendingReports = `
SELECT count(*), coalesce(extract(epoch FROM (SELECT app_now()) - min(received_at)), 0)::float8 FROM gateway_reports WHERE wake_at IS NOT NULL`

// PendingReports returns how many reports wait to be confirmed, and for how
// long the oldest has.
func (db *DB) PendingReports(ctx context.Context) (n int, oldest time.Duration, err error) {
	var seconds float64
	if err := db.worker.QueryRow(ctx, countPendingReports).Scan(&n, &seconds); err != nil {
		return 0, 0, fmt.Errorf("store: pending reports: %w", unavailable(err))
	}
	return n, time.Duration(seconds * float64(time.Second)), nil
}
