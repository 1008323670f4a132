package api

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/intake"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Appointments is the part of the ledger that has appointments.
type Appointments interface {
	Appointments(ctx context.Context, id tenant.ID, q store.AppointmentQuery) (store.Page[store.AppointmentRow], error)
	AppointmentByID(ctx context.Context, id tenant.ID, appointment uuid.UUID) (store.AppointmentRow, []store.AppointmentHeard, error)
	intake.Ledger
}

// shownAppointment is a row of appointments.
type shownAppointment struct {
	ID          uuid.UUID  `json:"id" format:"uuid"`
	PatientID   uuid.UUID  `json:"patient_id" format:"uuid"`
	Source      string     `json:"source" doc:"The system that numbers it."`
	ExternalID  string     `json:"external_id" doc:"That system's number of it."`
	Date        *string    `json:"appointment_date" doc:"By the clinic's clocks; null while none is known."`
	Time        *string    `json:"appointment_time" doc:"15:04; null where only the day is known."`
	StartsAt    *time.Time `json:"starts_at" doc:"Date and time in the clinic's zone, like every time."`
	Status      string     `json:"status" enum:"requested,scheduled,checked_in,completed,cancelled,no_show"`
	SurgeryType *string    `json:"surgery_type"`
	Version     int32      `json:"version" doc:"How often it changed."`
	CreatedAt   time.Time  `json:"created_at"`
	UpdatedAt   time.Time  `json:"updated_at"`
}

func showAppointment(a store.AppointmentRow) shownAppointment {
	out := shownAppointment{
		ID: a.ID, PatientID: a.Patient, Source: a.Source, ExternalID: a.ExternalID, Date: orNull(a.Date), StartsAt: whenOrNull(a.Starts),
		Status: string(a.Status), SurgeryType: orNull(a.Surgery), Version: a.Version, CreatedAt: a.Created, UpdatedAt: a.Updated,
	}
	if w := a.When(); w != nil && w.Time != nil {
		out.Time = new(w.Time.String())
	}
	return out
}

type listAppointmentsInput struct {
	PatientID queryID `query:"patient_id"`
	Status    string  `query:"status" enum:"requested,scheduled,checked_in,completed,cancelled,no_show"`
	Paging
}

// listAppointments serves appointments as they stand.
func listAppointments(db Appointments) (op operation[listAppointmentsInput, page[shownAppointment]]) {
	op.Operation = get("list-appointments", "/api/appointments", "List appointments",
		"Every appointment as its events add up to, in their source's order.", "Appointments")
	op.told = shows(func(a shownAppointment) uuid.UUID { return a.PatientID })
	op.do = func(ctx context.Context, by auth.Principal, in *listAppointmentsInput) (*page[shownAppointment], error) {
		list, err := db.Appointments(ctx, by.Tenant, store.AppointmentQuery{Patient: uuid.UUID(in.PatientID), Status: in.Status, Cursor: in.Cursor, Limit: in.Limit})
		if err != nil {
			return nil, err
		}
		return newPage(list.Rows, list.Next, showAppointment), nil
	}
	return op
}

// heardEvent is one event of an appointment.
type heardEvent struct {
	EventID    string    `json:"event_id"`
	Type       string    `json:"type"`
	Sequence   int64     `json:"sequence" doc:"The source's own; 0: it gave none."`
	At         time.Time `json:"at" doc:"When it happened, as the source says; else when it came."`
	Late       bool      `json:"late" doc:"A newer event was known already when it came."`
	TriggerID  uuid.UUID `json:"trigger_id" format:"uuid"`
	State      string    `json:"state" enum:"pending,planned,ignored" doc:"What it started: planned is one run or more."`
	Reason     *string   `json:"reason"`
	ReceivedAt time.Time `json:"received_at"`
}

// oneAppointment is an appointment with its history.
type oneAppointment struct {
	Body struct {
		Appointment shownAppointment `json:"appointment"`
		Events      []heardEvent     `json:"events" nullable:"false" doc:"In their source's order."`
	}
}

type appointmentInput struct {
	ID queryID `path:"id"`
	// Purpose is why the caller looks.
	Purpose string `header:"X-Purpose" maxLength:"200" doc:"Why, for the audit log; one line, without names or long numbers."`
}

// getAppointment serves one appointment with everything that was heard of it.
func getAppointment(db Appointments) (op operation[appointmentInput, oneAppointment]) {
	op.Operation = get("get-appointment", "/api/appointments/{id}", "Read an appointment",
		"One appointment as it stands, and every event that was heard of it, late ones too.", "Appointments")
	op.more = []problem.Slug{problem.NotFound}
	op.told = telling[oneAppointment]{how: toldRead, shown: func(a *oneAppointment) (int, []uuid.UUID) { return 1, []uuid.UUID{a.Body.Appointment.PatientID} }}
	op.do = func(ctx context.Context, by auth.Principal, in *appointmentInput) (*oneAppointment, error) {
		a, heard, err := db.AppointmentByID(ctx, by.Tenant, uuid.UUID(in.ID))
		if err != nil {
			return nil, err
		}
		out := new(oneAppointment)
		out.Body.Appointment, out.Body.Events = showAppointment(a), make([]heardEvent, len(heard))
		for i, h := range heard {
			out.Body.Events[i] = heardEvent{h.EventID, "appointment." + h.Kind, h.Sequence, h.At, h.Late, h.Trigger, h.State, orNull(h.Reason), h.Received}
		}
		return out, nil
	}
	return op
}
