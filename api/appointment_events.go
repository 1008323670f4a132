package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/appointment"
	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/failpoint"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// Limits of one request with appointments' events.
const (
	maxAppointmentEvents = 500
	maxAppointmentBody   = 2 << 20 // bytes
)

// eventsBody is one event, or an object with a list of them: each is read by
// itself, so that one that is wrong refuses no other.
type eventsBody struct{ json.RawMessage }

// Schema implements [huma.SchemaProvider].
func (eventsBody) Schema(huma.Registry) *huma.Schema {
	text := func(doc string) *huma.Schema { return &huma.Schema{Description: doc} }
	return &huma.Schema{
		Type: huma.TypeObject, AdditionalProperties: true,
		Description: "One event, or {\"events\": [ … ]} with 1 to 500 of them. Fields are described by docs/appointments.md; what is wrong is answered per event by pointer and code.",
		Properties: map[string]*huma.Schema{
			"events":         text("1 to 500 events; then nothing else stands beside it."),
			"id":             text("The source's own id of the event, at most 200 characters: the same id again is a duplicate."),
			"type":           text("appointment.booked, .rescheduled, .edited, .checked_in, .completed, .no_show or .cancelled."),
			"source":         text("The system that numbers appointments; default clinic."),
			"sequence":       text("A number that grows with every event of the source: it settles the order."),
			"at":             text("When it happened (RFC 3339): it settles the order where there is no sequence."),
			"patient":        text("external_id, the clinic's own number; or phone, and name where several share it."),
			"appointment":    text("id; starts_at (RFC 3339), or date and time by the clinic's clocks; surgery_type."),
			"create_patient": text("false: a patient who is not known is not created."),
		},
		Examples: []any{json.RawMessage(`{"id":"evt-1","type":"appointment.booked","sequence":1,"patient":{"external_id":"P-1001"},"appointment":{"id":"A-77","starts_at":"2026-12-01T14:30:00+09:00"}}`)},
	}
}

type appointmentEventsInput struct{ Body eventsBody }

// eventFault is something that is wrong with an event.
type eventFault struct {
	Pointer string `json:"pointer"`
	Code    string `json:"code"`
}

func faultsOf(list []appointment.Problem) (out []eventFault) {
	for _, p := range list {
		out = append(out, eventFault(p))
	}
	return out
}

// eventAnswer is what became of one event.
type eventAnswer struct {
	EventID       string       `json:"event_id"`
	Status        string       `json:"status" enum:"accepted,duplicate,rejected"`
	Problems      []eventFault `json:"problems,omitempty" doc:"Of what was rejected: where, and a code."`
	AppointmentID *uuid.UUID   `json:"appointment_id" format:"uuid" nullable:"true"`
	TriggerID     *uuid.UUID   `json:"trigger_id" format:"uuid" nullable:"true"`
	Late          bool         `json:"late" doc:"A newer event was known already: this one is kept, and changed nothing that the newer one had said."`
	Version       int32        `json:"version" doc:"How often the appointment has changed."`
	Moved         int          `json:"moved" doc:"Planned messages that have a new time."`
	Added         int          `json:"added"`
	Cancelled     int          `json:"cancelled" doc:"Planned messages that are not sent any more."`
	Kept          int          `json:"kept"`
	InFlight      []uuid.UUID  `json:"in_flight" nullable:"false" doc:"Messages whose request may be with the gateway already: they cannot be taken back."`
}

// eventAnswers are the answers in the order of the events.
type eventAnswers struct {
	Body struct {
		Results []eventAnswer `json:"results" nullable:"false"`
	}
}

// receiveAppointmentEvents keeps what a clinic's system says.
func receiveAppointmentEvents(db Appointments, again Again, phones phone.Options) (op operation[appointmentEventsInput, eventAnswers]) {
	op.Operation = huma.Operation{
		OperationID: "receive-appointment-events", Method: http.MethodPost, Path: "/api/appointments/events", Summary: "Tell what happened to appointments",
		Description: "One event, or up to 500 with an answer each. Accepted means kept: the appointment is changed, its open plans too, and nothing of an old plan is sent but what in_flight names. A single event that is rejected is answered as a problem. Send again whatever was not answered: the same id counts once.",
		Tags:        []string{"Appointments"}, MaxBodyBytes: maxAppointmentBody,
	}
	op.more = []problem.Slug{problem.InvalidPayload}
	op.told = changes[eventAnswers]()
	op.do = func(ctx context.Context, by auth.Principal, in *appointmentEventsInput) (*eventAnswers, error) {
		list, batch, faults := in.Body.split()
		if len(faults) > 0 {
			return nil, rejected(ctx, faults)
		}
		out := new(eventAnswers)
		out.Body.Results = make([]eventAnswer, len(list))
		for i, raw := range list {
			a, err := receive(ctx, db, again, phones, by, raw)
			if err != nil {
				return nil, err // what was kept is a duplicate when it comes again
			}
			if out.Body.Results[i] = a; a.Status == "rejected" && !batch {
				return nil, rejected(ctx, a.Problems)
			}
		}
		return out, nil
	}
	return op
}

func rejected(ctx context.Context, faults []eventFault) error {
	var fields []problem.Field
	for _, f := range faults {
		fields = append(fields, problem.Field{Pointer: f.Pointer, Code: f.Code})
	}
	return newFailure(ctx, problem.New(problem.InvalidPayload).WithErrors(fields...))
}

// split takes the body apart into events.
func (b eventsBody) split() (list []json.RawMessage, batch bool, faults []eventFault) {
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(b.RawMessage, &whole); err != nil || whole == nil {
		return nil, false, []eventFault{{Pointer: "", Code: "not-an-object"}}
	}
	events, batch := whole["events"]
	switch {
	case !batch:
		return []json.RawMessage{b.RawMessage}, false, nil
	case len(whole) > 1:
		return nil, true, []eventFault{{Pointer: "", Code: "unknown-field"}}
	case json.Unmarshal(events, &list) != nil:
		return nil, true, []eventFault{{Pointer: "/events", Code: "not-an-array"}}
	case len(list) == 0:
		return nil, true, []eventFault{{Pointer: "/events", Code: "too-few"}}
	case len(list) > maxAppointmentEvents:
		return nil, true, []eventFault{{Pointer: "/events", Code: "too-many"}}
	}
	return list, true, nil
}

// receive keeps one event, or says what is wrong with it.
func receive(ctx context.Context, db Appointments, again Again, phones phone.Options, by auth.Principal, raw []byte) (eventAnswer, error) {
	raw = bytes.TrimSpace(raw)
	e, problems := appointment.Decode(raw)
	faults := faultsOf(problems)
	out := eventAnswer{EventID: e.ID, Status: "rejected", Problems: faults, InFlight: []uuid.UUID{}}
	if len(faults) > 0 {
		return out, nil
	}
	kept := store.AppointmentEvent{Event: e, Hand: acting(ctx, by, "")}
	if e.Patient.Phone != "" {
		n, err := phone.Parse(e.Patient.Phone, phones)
		if err != nil {
			out.Problems = []eventFault{{Pointer: "/patient/phone", Code: "not-a-phone-number"}}
			return out, nil
		}
		kept.To = n
	}
	failpoint.Hit(failpoint.ChangeTaken)
	r, err := db.AcceptAppointmentEvent(ctx, by.Tenant, kept, func(r *store.Replanning) store.NewPlan {
		failpoint.Hit(failpoint.ChangePlanning)
		return again(r)
	})
	if err != nil {
		return out, err
	}
	failpoint.Hit(failpoint.ChangeKept)
	switch r.Status {
	case store.Refused:
		out.Problems = []eventFault{{Pointer: "/patient", Code: string(r.Why)}}
		return out, nil
	case store.Conflict:
		out.Problems = []eventFault{{Pointer: "/id", Code: "idempotency-conflict"}}
		return out, nil
	case store.Accepted, store.Duplicate:
	}
	out.Status, out.Late, out.Version = string(r.Status), r.Late, r.Version
	out.AppointmentID, out.TriggerID = &r.Appointment, &r.Trigger
	out.Moved, out.Added, out.Cancelled, out.Kept = r.Plans.Moved, r.Plans.Added, r.Plans.Cancelled, r.Plans.Kept
	out.InFlight = append(out.InFlight, r.Plans.InFlight...)
	return out, nil
}
