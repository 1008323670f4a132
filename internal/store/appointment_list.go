package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// AppointmentRow is an appointment with its times in the tenant's zone.
type AppointmentRow struct {
	Appointment
	Starts time.Time // zero while no time of day is known
}

// AppointmentQuery says which appointments; zero values leave open.
type AppointmentQuery struct {
	Patient uuid.UUID
	Status  string
	// Cursor is the Next of the page before.
	Cursor string
	// Limit is the page's size; 0 means [DefaultPage], at most [MaxPage].
	Limit int
}

const selectAppointments = `
SELECT ` + currentAppointment + `
FROM   appointments ap
WHERE  ap.tenant_id = $1 AND ($2::uuid[] IS NULL OR ap.patient_id = ANY ($2)) AND ($3::text IS NULL OR ap.status = $3) AND ($4::uuid IS NULL OR ap.id < $4)
ORDER  BY ap.id DESC
LIMIT  $5`

const selectAppointment = `SELECT ` + currentAppointment + ` FROM appointments ap WHERE ap.tenant_id = $1 AND ap.id = $2`

const selectAppointmentEvents = `
SELECT v.event_id, v.kind, v.sequence, v.at, v.late, v.trigger_id, v.received_at, t.state, coalesce(t.reason, '')
FROM   appointment_events v
JOIN   triggers t ON t.tenant_id = v.tenant_id AND t.id = v.trigger_id
WHERE  v.tenant_id = $1 AND v.appointment_id = $2
ORDER  BY v.sequence, v.at, v.event_id`

const appointmentCursor = "cursor.appointments"

// AppointmentHeard is one event of an appointment, and what it started.
type AppointmentHeard struct {
	EventID  string
	Kind     string
	Sequence int64
	At       time.Time
	Late     bool
	Trigger  uuid.UUID
	Received time.Time
	// State and Reason are the trigger's: pending, planned or ignored, and why.
	State, Reason string
}

// Appointments returns one page of a tenant's appointments, the last one heard
// of for the first time first. Errors wrap [ErrCursor], [ErrErased] or
// [ErrUnavailable] where that is what happened.
func (db *DB) Appointments(ctx context.Context, id tenant.ID, q AppointmentQuery) (page Page[AppointmentRow], err error) {
	limit := pageSize(q.Limit)
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		v, err := db.viewer(ctx, tx, id)
		if err != nil {
			return err
		}
		after, err := v.position(appointmentCursor, q.Cursor)
		if err != nil {
			return err
		}
		patients, err := wanted(ctx, tx, id, q.Patient)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, selectAppointments, id, patients, nullText(q.Status), nullID(after.id), limit+1)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (a AppointmentRow, err error) {
			return v.appointment(row)
		})
		page = cut(list, limit, func(a AppointmentRow) string { return v.cursor(appointmentCursor, position{id: a.ID}) })
		return err
	})
	if err != nil {
		return Page[AppointmentRow]{}, fmt.Errorf("store: appointments: %w", err)
	}
	return page, nil
}

// AppointmentByID returns one appointment with its events in their source's
// order. Errors wrap [ErrNotFound], [ErrErased] or [ErrUnavailable].
func (db *DB) AppointmentByID(ctx context.Context, id tenant.ID, appointment uuid.UUID) (a AppointmentRow, heard []AppointmentHeard, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		v, err := db.viewer(ctx, tx, id)
		if err != nil {
			return err
		}
		if a, err = v.appointment(tx.QueryRow(ctx, selectAppointment, id, appointment)); err != nil {
			return notFound(err)
		}
		rows, err := tx.Query(ctx, selectAppointmentEvents, id, appointment)
		if err != nil {
			return err
		}
		heard, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (h AppointmentHeard, err error) {
			err = row.Scan(&h.EventID, &h.Kind, &h.Sequence, &h.At, &h.Late, &h.Trigger, &h.Received, &h.State, &h.Reason)
			h.At, h.Received = v.local(&h.At), v.local(&h.Received)
			return h, err
		})
		return err
	})
	if err != nil {
		return a, nil, fmt.Errorf("store: appointment: %w", err)
	}
	return a, heard, nil
}

func (v viewer) appointment(row pgx.Row) (a AppointmentRow, err error) {
	var found *Appointment
	if err := row.Scan(&found); err != nil {
		return a, err
	}
	a.Appointment = *found
	if w := a.When(); w != nil && w.Time != nil {
		a.Starts = w.Starts(v.zone).In(v.zone)
	}
	a.Moved, a.Created, a.Updated = v.local(&a.Moved), v.local(&a.Created), v.local(&a.Updated)
	return a, nil
}
