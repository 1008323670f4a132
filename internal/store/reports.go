package store

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// ReportAccount is a gateway account as the door of its report webhook needs
// it.
type ReportAccount struct {
	Tenant  tenant.ID
	ID      uuid.UUID
	Channel event.Channel
	Vendor  string
	// Token is what each of the gateway's calls must carry; nil: none is
	// taken.
	Token []byte
}

const lookupReportAccount = `SELECT tenant_id FROM lookup_report_account($1)`

const selectReportAccount = `SELECT channel, vendor, report_token FROM provider_accounts WHERE tenant_id = $1 AND id = $2`

// ReportAccount returns an account, in use or replaced, with its token opened;
// [ErrNotFound] when there is none, or [ErrUnavailable].
func (db *DB) ReportAccount(ctx context.Context, id uuid.UUID) (ReportAccount, error) {
	a := ReportAccount{ID: id}
	if err := db.api.QueryRow(ctx, lookupReportAccount, id).Scan(&a.Tenant); err != nil {
		return ReportAccount{}, unavailable(notFound(err))
	}
	err := db.inTenant(ctx, a.Tenant, func(tx pgx.Tx) error {
		key, err := db.tenantKey(ctx, tx, a.Tenant)
		if err != nil {
			return err
		}
		var sealed []byte
		if err := tx.QueryRow(ctx, selectReportAccount, a.Tenant, id).Scan(&a.Channel, &a.Vendor, &sealed); err != nil {
			return notFound(err)
		}
		token, err := openToken(key, sealed, a.Tenant, id)
		if token != "" {
			a.Token = []byte(token)
		}
		return err
	})
	if err != nil {
		return ReportAccount{}, fmt.Errorf("store: report account: %w", err)
	}
	return a, nil
}

// ReportSays is what a gateway's report claims.
type ReportSays string

// The claims. Noted is anything that is not final.
const (
	SaysDelivered ReportSays = "delivered"
	SaysFailed    ReportSays = "failed"
	SaysNoted     ReportSays = "noted"
)

// GatewayReport is one report as it was told.
type GatewayReport struct {
	HookID string
	// Root is the step that the grouping key names; zero where the key is
	// not one of ours.
	Root      uuid.UUID
	RequestID string
	Seq       int
	Says      ReportSays
	Code      string
	At        time.Time
}

const insertReports = `
INSERT INTO gateway_reports (tenant_id, account_id, hook_id, root_id, request_id, request_seq, says, state, code, said_at, wake_at)
SELECT $1, $2, n.hook_id, n.root_id, n.request_id, n.request_seq, n.says,
       CASE WHEN n.says = 'noted' THEN 'noted' ELSE 'pending' END, n.code, n.said_at,
       CASE n.says WHEN 'failed' THEN (SELECT app_now()) WHEN 'delivered' THEN (SELECT app_now()) + $10::interval END
FROM   unnest($3::text[], $4::uuid[], $5::text[], $6::int[], $7::text[], $8::text[], $9::timestamptz[])
       AS n (hook_id, root_id, request_id, request_seq, says, code, said_at)
ON CONFLICT (tenant_id, account_id, hook_id) DO NOTHING`

// crowd is how many reports at once are many. Then those of delivery, which
// nothing waits for, are left to the poll for a while: it reads a thousand
// results with one question, and they are found confirmed.
const crowd = 8

// KeepReports commits reports of one account; those that are there already,
// by their hook's id, are left as they are. It returns how many were new.
func (db *DB) KeepReports(ctx context.Context, id tenant.ID, account uuid.UUID, list []GatewayReport) (kept int, err error) {
	n := len(list)
	hooks, says := make([]string, n), make([]string, n)
	roots := make([]uuid.UUID, n)
	requests, codes := make([]*string, n), make([]*string, n)
	seqs, ats := make([]int32, n), make([]*time.Time, n)
	for i, r := range list {
		hooks[i], roots[i], says[i], seqs[i] = r.HookID, r.Root, string(r.Says), int32(r.Seq)
		requests[i], codes[i], ats[i] = nullText(r.RequestID), nullText(r.Code), nullTime(r.At)
	}
	linger := time.Duration(0)
	if n > crowd {
		linger = 2 * db.timing.R
	}
	err = db.again(func() error {
		return db.inTenant(ctx, id, func(tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, insertReports, id, account, hooks, nullIDs(roots), requests, seqs, says, codes, ats, linger)
			kept = int(tag.RowsAffected())
			return err
		})
	})
	if err != nil {
		return 0, fmt.Errorf("store: keep reports: %w", err)
	}
	return kept, nil
}

// ReportDoor is where one account's reports go, and with which token.
type ReportDoor struct {
	Account uuid.UUID
	AppKey  string
	Token   string
}

const selectReportDoors = `
SELECT a.tenant_id, a.id, a.credentials, a.report_token, t.data_key
FROM   provider_accounts a JOIN tenants t ON t.id = a.tenant_id
WHERE  a.vendor = $1 AND a.report_token IS NOT NULL AND t.data_key IS NOT NULL AND a.updated_at > $2`

// ReportDoors returns a vendor's accounts that were made or changed after a
// time, which is how the built-in simulator learns where to report.
func (db *DB) ReportDoors(ctx context.Context, vendor string, after time.Time) (doors []ReportDoor, err error) {
	rows, err := db.worker.Query(ctx, selectReportDoors, vendor, after)
	if err != nil {
		return nil, fmt.Errorf("store: report doors: %w", unavailable(err))
	}
	var id tenant.ID
	var account uuid.UUID
	var credentials, token, wrapped []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &account, &credentials, &token, &wrapped}, func() error {
		key, err := db.unwrap(id, wrapped)
		if err != nil {
			return err
		}
		c, cerr := openCredentials(key, credentials, id, account)
		plain, terr := openToken(key, token, id, account)
		doors = append(doors, ReportDoor{Account: account, AppKey: c.AppKey, Token: plain})
		return errors.Join(cerr, terr)
	})
	if err != nil {
		return nil, fmt.Errorf("store: report doors: %w", unavailable(err))
	}
	return doors, nil
}

// AppliedAccount is a gateway account of the file.
type AppliedAccount struct {
	Channel event.Channel
	Vendor  string
	// ID is part of the address of the account's report webhook.
	ID uuid.UUID
	// ReportToken is set only when this apply made or took one: it is shown
	// once and kept sealed.
	ReportToken string
}

// reportToken is the token that the file gives, the one that the same account
// has, or a new one.
func reportToken(given string, have, want map[string]string) string {
	switch {
	case given != "":
		return given
	case have["report_token"] != "" && !otherAccount(have, want):
		return have["report_token"]
	}
	return rand.Text()
}

func openToken(key *seal.TenantKeys, sealed []byte, id tenant.ID, account uuid.UUID) (string, error) {
	if sealed == nil {
		return "", nil
	}
	plain, err := key.Open(sealed, column(id, "provider_accounts", "report_token", account))
	return string(plain), err
}

func openCredentials(key *seal.TenantKeys, sealed []byte, id tenant.ID, account uuid.UUID) (c Credentials, err error) {
	plain, err := key.Open(sealed, column(id, "provider_accounts", "credentials", account))
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(plain, &c)
}
