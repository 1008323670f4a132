package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// FoundPatient is a patient, opened for their clinic. Its number shows itself
// masked; see [phone.Number].
type FoundPatient struct {
	ID         uuid.UUID
	ExternalID string
	Name       string
	Phone      phone.Number
	MergedInto uuid.UUID // the patient that this one became; zero: none
}

// PatientQuery finds patients by their whole number or by its last four
// digits: exactly one of them.
type PatientQuery struct {
	Phone phone.Number
	Last4 string
	// Name, if set, keeps patients whose name has it in it. Names are sealed,
	// so that it is compared after opening: a page may then have few rows, or
	// none, and yet another after it.
	Name string
	// Cursor is the Next of the page before.
	Cursor string
	// Limit is the page's size; 0 means [DefaultPage], at most [MaxPage].
	Limit int
}

// ErrQuery means that a search names no number, or two.
var ErrQuery = errors.New("store: search by a whole number, or by its last four digits")

// While the tenant's key is rotated a row has one of two indexes, and never
// both.
const (
	searchByPhone = `
SELECT p.id, coalesce(p.external_id, ''), p.data_key, p.name, p.phone, p.merged_into
FROM   unnest($2::bytea[]) AS n (value)
CROSS  JOIN LATERAL (
         SELECT * FROM patients
         WHERE  tenant_id = $1 AND phone_index = n.value AND erased_at IS NULL AND id > $3
         ORDER  BY id LIMIT $4) p
ORDER  BY p.id LIMIT $4`
	searchByLast4 = `
SELECT p.id, coalesce(p.external_id, ''), p.data_key, p.name, p.phone, p.merged_into
FROM   unnest($2::bytea[]) AS n (value)
CROSS  JOIN LATERAL (
         SELECT * FROM patients
         WHERE  tenant_id = $1 AND phone_last4_index = n.value AND erased_at IS NULL AND id > $3
         ORDER  BY id LIMIT $4) p
ORDER  BY p.id LIMIT $4`
)

const patientCursor = "cursor.patients"

// FindPatients returns one page of the patients with a number, in the order in
// which they were first known. Errors wrap [ErrQuery], [ErrCursor], [ErrErased]
// or [ErrUnavailable] where that is what happened.
func (db *DB) FindPatients(ctx context.Context, id tenant.ID, q PatientQuery) (page Page[FoundPatient], err error) {
	if q.Phone.IsZero() == (q.Last4 == "") || q.Last4 != "" && !fourDigits(q.Last4) {
		return page, fmt.Errorf("store: find patients: %w", ErrQuery)
	}
	limit := pageSize(q.Limit)
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		v, err := db.viewer(ctx, tx, id)
		if err != nil {
			return err
		}
		after, err := v.position(patientCursor, q.Cursor)
		if err != nil {
			return err
		}
		sql, indexes := searchByPhone, phoneIndexes(v.keys, q.Phone)
		if q.Last4 != "" {
			sql, indexes = searchByLast4, blinds(v.keys, indexLast4, q.Last4)
		}
		rows, err := tx.Query(ctx, sql, id, indexes, after.id, limit+1)
		if err != nil {
			return err
		}
		all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p FoundPatient, err error) {
			var wrapped, name, number []byte
			var into *uuid.UUID
			if err := row.Scan(&p.ID, &p.ExternalID, &wrapped, &name, &number, &into); err != nil {
				return p, err
			}
			p.MergedInto = orNil(into)
			key, err := v.keys.Unwrap(wrapped, patientKeyAAD(id, p.ID))
			if err != nil {
				return p, nil // what does not open must not hide the others
			}
			p.Name, _ = openText(key, name, column(id, "patients", "name", p.ID))
			if e164, err := openText(key, number, column(id, "patients", "phone", p.ID)); err == nil && e164 != "" {
				p.Phone, _ = phone.FromE164(e164)
			}
			return p, nil
		})
		page = cut(all, limit, func(p FoundPatient) string { return v.cursor(patientCursor, position{id: p.ID}) })
		return err
	})
	if err != nil {
		return Page[FoundPatient]{}, fmt.Errorf("store: find patients: %w", err)
	}
	page.Rows = named(page.Rows, q.Name)
	return page, nil
}

func named(rows []FoundPatient, name string) (fit []FoundPatient) {
	name = strings.ToLower(strings.TrimSpace(name))
	for _, p := range rows {
		if strings.Contains(strings.ToLower(p.Name), name) {
			fit = append(fit, p)
		}
	}
	return fit
}

func fourDigits(s string) bool {
	return len(s) == 4 && strings.Trim(s, "0123456789") == ""
}
