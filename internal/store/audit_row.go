package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// AuditRow is one row of a tenant's audit log.
type AuditRow struct {
	Seq       int64 // 1, 2, 3 … per tenant
	ID        uuid.UUID
	At        time.Time // in the clinic's zone
	Actor     string
	From      string // an address; "" where there is none
	Action    string
	Subject   string
	SubjectID uuid.UUID // zero: none
	Patients  []uuid.UUID
	Purpose   string
	Detail    json.RawMessage // a JSON object
	PrevHash  []byte
	Hash      []byte

	encoding int16
}

// AuditQuery says which rows; zero values leave open.
type AuditQuery struct {
	Actor   string
	Action  string
	Patient uuid.UUID
	// From (inclusive) and To (exclusive) bound when it was done.
	From, To time.Time
	// Cursor is the Next of the page before.
	Cursor string
	// Limit is the page's size; 0 means [DefaultPage], at most [MaxPage].
	Limit int
}

const auditColumns = `seq, id, at, actor, from_addr, action, subject, subject_id, patients, purpose, detail::text, prev_hash, hash, encoding`

const auditWanted = `
FROM   audit_log
WHERE  tenant_id = $1
AND    ($2::text IS NULL OR actor = $2)
AND    ($3::text IS NULL OR action = $3)
AND    ($4::uuid IS NULL OR $4 = ANY (patients))
AND    ($5::timestamptz IS NULL OR at >= $5)
AND    ($6::timestamptz IS NULL OR at < $6)`

const selectAudit = `SELECT ` + auditColumns + auditWanted + `
AND    ($7::bigint IS NULL OR seq < $7)
ORDER  BY seq DESC
LIMIT  $8`

func (q *AuditQuery) args(id tenant.ID) []any {
	return []any{id, nullText(q.Actor), nullText(q.Action), nullID(q.Patient), nullTime(q.From), nullTime(q.To)}
}

func scanAudit(row pgx.CollectableRow) (r AuditRow, err error) {
	var subject *uuid.UUID
	var detail string
	err = row.Scan(&r.Seq, &r.ID, &r.At, &r.Actor, &r.From, &r.Action, &r.Subject, &subject, &r.Patients, &r.Purpose, &detail, &r.PrevHash, &r.Hash, &r.encoding)
	r.SubjectID, r.Detail = orNil(subject), json.RawMessage(detail)
	return r, err
}

const auditCursor = "cursor.audit_log"

// AuditLog returns one page of a tenant's audit log, newest first. Errors wrap
// [ErrCursor], [ErrErased] or [ErrUnavailable] where that is what happened.
func (db *DB) AuditLog(ctx context.Context, id tenant.ID, q AuditQuery) (page Page[AuditRow], err error) {
	limit := pageSize(q.Limit)
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		v, err := db.viewer(ctx, tx, id)
		if err != nil {
			return err
		}
		after, err := v.position(auditCursor, q.Cursor)
		if err != nil {
			return err
		}
		var before *int64
		if q.Cursor != "" {
			seq := after.at.UnixMicro() // this list's position is a number
			before = &seq
		}
		rows, err := tx.Query(ctx, selectAudit, append(q.args(id), before, limit+1)...)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, scanAudit)
		for i := range list {
			list[i].At = list[i].At.In(v.zone)
		}
		page = cut(list, limit, func(r AuditRow) string {
			return v.cursor(auditCursor, position{at: time.UnixMicro(r.Seq)})
		})
		return err
	})
	if err != nil {
		return Page[AuditRow]{}, fmt.Errorf("store: audit log: %w", err)
	}
	return page, nil
}

const countAudit = `SELECT count(*), coalesce(max(seq), 0)` + auditWanted

const selectAuditOldest = `SELECT ` + auditColumns + auditWanted + `
AND    seq > $7 AND seq <= $8
ORDER  BY seq
LIMIT  1000`

// ExportAudit calls emit for each row of a tenant's audit log, oldest first.
// That it was exported is itself in the log before the first row is given out;
// the row that says so is not among them.
func (db *DB) ExportAudit(ctx context.Context, id tenant.ID, q AuditQuery, emit func(AuditRow) error) error {
	var rows, last int64
	var zone *time.Location
	err := db.inTenant(ctx, id, func(tx pgx.Tx) (err error) {
		if zone, err = zoneOf(ctx, tx, id); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, countAudit, q.args(id)...).Scan(&rows, &last); err != nil {
			return err
		}
		return audit(ctx, tx, id, AuditEntry{Action: "export", Subject: "audit-log", Detail: map[string]any{
			"rows": rows, "last_seq": last, "from": nullTime(q.From), "to": nullTime(q.To),
		}})
	})
	for after := int64(0); err == nil && after < last; {
		var page []AuditRow
		err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
			res, err := tx.Query(ctx, selectAuditOldest, append(q.args(id), after, last)...)
			if err != nil {
				return err
			}
			page, err = pgx.CollectRows(res, scanAudit)
			return err
		})
		if err != nil || len(page) == 0 {
			break
		}
		for _, r := range page {
			r.At = r.At.In(zone)
			if err := emit(r); err != nil {
				return err
			}
		}
		after = page[len(page)-1].Seq
	}
	if err != nil {
		return fmt.Errorf("store: export the audit log: %w", err)
	}
	return nil
}

const cutAudit = `SELECT cut_audit($1, $2)`

// CutAudit removes a tenant's rows of before a time, which is at least a year
// ago, from the beginning of its chain, and returns how many, at most 10,000 at
// a time. A row at the end then says where the chain begins.
func (db *DB) CutAudit(ctx context.Context, id tenant.ID, before time.Time) (removed int64, err error) {
	err = db.asWorker(ctx, func(tx pgx.Tx) error { return tx.QueryRow(ctx, cutAudit, id, before).Scan(&removed) })
	if err != nil {
		return 0, fmt.Errorf("store: cut the audit log: %w", err)
	}
	return removed, nil
}

const selectZone = `SELECT time_zone FROM tenants WHERE id = $1`

func zoneOf(ctx context.Context, tx pgx.Tx, id tenant.ID) (*time.Location, error) {
	var name string
	if err := tx.QueryRow(ctx, selectZone, id).Scan(&name); err != nil {
		return nil, notFound(err)
	}
	return location(name), nil
}

// Zone returns a clinic's time zone, or [ErrNotFound].
func (db *DB) Zone(ctx context.Context, id tenant.ID) (zone *time.Location, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) (err error) {
		zone, err = zoneOf(ctx, tx, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store: zone: %w", err)
	}
	return zone, nil
}
