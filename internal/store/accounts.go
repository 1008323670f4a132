package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// Account is a tenant's gateway account with its credentials opened.
type Account struct {
	Tenant        tenant.ID
	ID            uuid.UUID
	Channel       event.Channel
	Vendor        string
	BaseURL       string
	Sender        string
	RatePerSecond int
	Credentials   Credentials
}

// Credentials are what a gateway wants to know; they are sealed at rest.
type Credentials struct {
	AppKey string `json:"app_key"`
	Secret string `json:"secret"`
}

const accountColumns = `a.tenant_id, a.id, a.channel, a.vendor, a.base_url, a.sender, a.rate_per_second, a.credentials, t.data_key`

const selectAccount = `
SELECT ` + accountColumns + `
FROM   provider_accounts a JOIN tenants t ON t.id = a.tenant_id
WHERE  a.tenant_id = $1 AND a.channel = $2 AND a.enabled`

// Account returns the tenant's account for a channel, or [ErrNotFound].
func (db *DB) Account(ctx context.Context, id tenant.ID, c event.Channel) (Account, error) {
	rows, err := db.worker.Query(ctx, selectAccount, id, c)
	if err != nil {
		return Account{}, fmt.Errorf("store: account: %w", unavailable(err))
	}
	a, err := pgx.CollectExactlyOneRow(rows, db.scanAccount)
	if err != nil {
		return Account{}, fmt.Errorf("store: account: %w", unavailable(notFound(err)))
	}
	return a, nil
}

func (db *DB) scanAccount(row pgx.CollectableRow) (a Account, err error) {
	var sealed, wrapped []byte
	if err := row.Scan(&a.Tenant, &a.ID, &a.Channel, &a.Vendor, &a.BaseURL, &a.Sender, &a.RatePerSecond, &sealed, &wrapped); err != nil {
		return a, err
	}
	key, err := db.unwrap(a.Tenant, wrapped)
	if err != nil {
		return a, err
	}
	plain, err := key.Open(sealed, column(a.Tenant, "provider_accounts", "credentials", a.ID))
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(plain, &a.Credentials)
}

const selectAccountByID = `
SELECT ` + accountColumns + `
FROM   provider_accounts a JOIN tenants t ON t.id = a.tenant_id
WHERE  a.tenant_id = $1 AND a.id = $2`

// AccountByID returns an account in use or replaced, or [ErrNotFound]: what
// was sent through it can only be asked of it.
func (db *DB) AccountByID(ctx context.Context, id tenant.ID, account uuid.UUID) (Account, error) {
	rows, err := db.worker.Query(ctx, selectAccountByID, id, account)
	if err != nil {
		return Account{}, fmt.Errorf("store: account: %w", unavailable(err))
	}
	a, err := pgx.CollectExactlyOneRow(rows, db.scanAccount)
	if err != nil {
		return Account{}, fmt.Errorf("store: account: %w", unavailable(notFound(err)))
	}
	return a, nil
}

// A replaced account is asked for as long as a report may come.
const leasePolls = `
UPDATE provider_accounts a
SET    polled_at = (SELECT app_now())
FROM  (SELECT tenant_id, id FROM provider_accounts
       WHERE (enabled OR updated_at > (SELECT app_now()) - interval '4 days') AND (polled_at IS NULL OR polled_at <= (SELECT app_now()) - $1::interval)
       ORDER BY polled_at NULLS FIRST LIMIT $2 FOR UPDATE SKIP LOCKED) due
WHERE  a.tenant_id = due.tenant_id AND a.id = due.id
RETURNING a.tenant_id, a.id, a.channel, coalesce(a.results_until, (SELECT app_now()) - interval '1 hour'), (SELECT app_now())`

// Polling is one account's turn to be asked for results.
type Polling struct {
	Tenant  tenant.ID
	Account uuid.UUID
	Channel event.Channel
	// From is how far results were read; Now is the database's time.
	From, Now time.Time
}

// LeasePolls returns accounts that nobody asked for results within every.
func (db *DB) LeasePolls(ctx context.Context, every time.Duration, limit int) ([]Polling, error) {
	rows, err := db.worker.Query(ctx, leasePolls, every, limit)
	if err != nil {
		return nil, fmt.Errorf("store: lease polls: %w", unavailable(err))
	}
	polls, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p Polling, err error) {
		return p, row.Scan(&p.Tenant, &p.Account, &p.Channel, &p.From, &p.Now)
	})
	if err != nil {
		return nil, fmt.Errorf("store: lease polls: %w", unavailable(err))
	}
	return polls, nil
}

const markPolled = `
UPDATE provider_accounts SET results_until = $3
WHERE  tenant_id = $1 AND id = $2 AND (results_until IS NULL OR results_until < $3)`

// MarkPolled keeps how far an account's results were read.
func (db *DB) MarkPolled(ctx context.Context, p Polling, until time.Time) error {
	if _, err := db.worker.Exec(ctx, markPolled, p.Tenant, p.Account, until); err != nil {
		return fmt.Errorf("store: mark polled: %w", unavailable(err))
	}
	return nil
}

// Awaited is an attempt that a gateway accepted and whose step is still open.
type Awaited struct {
	Step      uuid.UUID
	Attempt   int32
	RequestID string
	Seq       int
}

const selectAwaited = `
SELECT a.step_id, a.attempt, a.request_id, coalesce(a.request_seq, 0)
FROM   attempts a
JOIN   steps s ON s.tenant_id = a.tenant_id AND s.id = a.step_id
WHERE  a.tenant_id = $1 AND a.channel = $2 AND a.request_id = ANY ($3) AND s.state IN ('claimed', 'unknown', 'sent')`

// Awaited returns which of these requests still wait for a report.
func (db *DB) Awaited(ctx context.Context, id tenant.ID, c event.Channel, requests []string) ([]Awaited, error) {
	rows, err := db.worker.Query(ctx, selectAwaited, id, c, requests)
	if err != nil {
		return nil, fmt.Errorf("store: awaited: %w", unavailable(err))
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (a Awaited, err error) {
		return a, row.Scan(&a.Step, &a.Attempt, &a.RequestID, &a.Seq)
	})
	if err != nil {
		return nil, fmt.Errorf("store: awaited: %w", unavailable(err))
	}
	return list, nil
}

// Unresolved is a step whose outcome must be found out.
type Unresolved struct {
	Tenant      tenant.ID
	Step        uuid.UUID
	Root        uuid.UUID
	Channel     event.Channel
	State       State
	Attempt     int32
	FirstIntent time.Time
	ClaimedAt   time.Time
	SentAt      time.Time
	// Asked is when a human had it asked for again; zero: nobody did.
	Asked   time.Time
	Expires time.Time
	Now     time.Time
	// Account is the one that the last request was made with: only it can
	// say what became of it.
	Account uuid.UUID
	// Lost counts requests whose outcome was not known at first.
	Lost      int
	OnUnknown workflow.OnUnknown
}

const leaseUnresolved = `
UPDATE steps s
SET    wake_at = (SELECT app_now()) + greatest($2::interval, least(((SELECT app_now()) - s.claimed_at) / 2,
                 CASE s.state WHEN 'sent' THEN interval '6 hours' ELSE interval '10 minutes' END))
FROM  (SELECT s.tenant_id, s.id
       FROM  (SELECT DISTINCT tenant_id FROM unnest($1::uuid[]) AS t (tenant_id)) q
       CROSS JOIN LATERAL (
         SELECT i.tenant_id, i.id FROM steps i
         WHERE  i.tenant_id = q.tenant_id AND i.queue = 'resolve' AND i.wake_at <= (SELECT app_now())
         ORDER  BY i.wake_at LIMIT $3 FOR UPDATE SKIP LOCKED) s) due
WHERE  s.tenant_id = due.tenant_id AND s.id = due.id
RETURNING s.tenant_id, s.id, s.root_id, s.channel, s.state, s.attempt, coalesce(s.first_intent_at, s.claimed_at), s.claimed_at,
          coalesce(s.sent_at, s.claimed_at), s.expires_at, (SELECT app_now()), s.on_unknown,
          coalesce((SELECT a.account_id FROM attempts a WHERE a.tenant_id = s.tenant_id AND a.step_id = s.id AND a.attempt = s.attempt),
                   '00000000-0000-0000-0000-000000000000'),
          (SELECT count(*) FROM attempts a WHERE a.tenant_id = s.tenant_id AND a.step_id = s.id
           AND (a.outcome = 'unknown' OR a.outcome = 'released' AND a.source = 'query')), s.asked_at`

// LeaseUnresolved returns steps of these tenants whose outcome is to be looked
// for now, and puts off the next look by at least retry, the longer the older
// the claim.
func (db *DB) LeaseUnresolved(ctx context.Context, tenants []tenant.ID, retry time.Duration, limit int) (list []Unresolved, err error) {
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, leaseUnresolved, tenants, retry, limit)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (u Unresolved, err error) {
			var asked *time.Time
			err = row.Scan(&u.Tenant, &u.Step, &u.Root, &u.Channel, &u.State, &u.Attempt, &u.FirstIntent, &u.ClaimedAt, &u.SentAt, &u.Expires, &u.Now,
				&u.OnUnknown, &u.Account, &u.Lost, &asked)
			if asked != nil {
				u.Asked = *asked
			}
			return u, err
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store: lease unresolved: %w", err)
	}
	return list, nil
}
