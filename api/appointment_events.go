package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/edge"
	"github.com/doctorsflow/doctorsflow/internal/intake"
	"github.com/doctorsflow/doctorsflow/internal/problem"
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
		Description: "One event, or {\"events\": [ … ]} with 1 to 500 of them; each may be a CloudEvent 1.0 with these fields as its data. Fields are described by docs/appointments.md; what is wrong is answered per event by pointer and code.",
		Properties: map[string]*huma.Schema{
			"events":         text("1 to 500 events; then nothing else stands beside it."),
			"id":             text("The source's own id of the event, at most 200 characters: the same id again is a duplicate."),
			"type":           text("appointment.requested, .booked, .rescheduled, .edited, .checked_in, .completed, .no_show or .cancelled."),
			"status":         text("Instead of type, where the source knows only where the appointment stands: requested, scheduled, checked_in, completed, no_show or cancelled."),
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

// cloudBatch is a CloudEvents batch.
const (
	cloudStructured = "application/cloudevents+json"
	cloudBatch      = "application/cloudevents-batch+json"
)

// appointmentEventsInput has the context of a CloudEvent in binary mode in its
// headers.
type appointmentEventsInput struct {
	ContentType  string `header:"Content-Type" hidden:"true"`
	SpecVersion  string `header:"ce-specversion" doc:"1.0, where the body is the data of a CloudEvent in binary mode."`
	ID           string `header:"ce-id"`
	Source       string `header:"ce-source"`
	Type         string `header:"ce-type"`
	Subject      string `header:"ce-subject" doc:"The appointment, where the data do not name it."`
	Time         string `header:"ce-time"`
	Sequence     string `header:"ce-sequence"`
	SequenceType string `header:"ce-sequencetype"`
	Body         eventsBody
}

// context are the attributes that came in headers; nil for none.
func (in *appointmentEventsInput) context() map[string][]string {
	out := map[string][]string{}
	for name, value := range map[string]string{
		"ce-specversion": in.SpecVersion, "ce-id": in.ID, "ce-source": in.Source, "ce-type": in.Type, "ce-subject": in.Subject,
		"ce-time": in.Time, "ce-sequence": in.Sequence, "ce-sequencetype": in.SequenceType,
	} {
		if value != "" {
			out[name] = []string{value}
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// eventAnswers are the answers in the order of the events.
type eventAnswers struct {
	Body struct {
		Results []intake.Receipt `json:"results" nullable:"false"`
	}
}

// receiveAppointmentEvents keeps what a clinic's system says.
func receiveAppointmentEvents(desk *intake.Desk) (op operation[appointmentEventsInput, eventAnswers]) {
	op.Operation = huma.Operation{
		OperationID: "receive-appointment-events", Method: http.MethodPost, Path: "/api/appointments/events", Summary: "Tell what happened to appointments",
		Description: "One event, or up to 500 with an answer each. Accepted means kept: the appointment is changed, its open plans too, and nothing of an old plan is sent but what in_flight names. A single event that is rejected is answered as a problem. Send again whatever was not answered: the same id counts once.",
		Tags:        []string{"Appointments"}, MaxBodyBytes: maxAppointmentBody,
		RequestBody: &huma.RequestBody{Content: map[string]*huma.MediaType{
			cloudStructured: {Schema: &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Description: "A CloudEvent 1.0 whose type ends in appointment.booked or another, or in appointment.status."}},
			cloudBatch:      {Schema: &huma.Schema{Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}, MaxItems: new(maxAppointmentEvents)}},
		}},
	}
	op.more = []problem.Slug{problem.InvalidPayload}
	op.told = changes[eventAnswers]()
	op.do = func(ctx context.Context, by auth.Principal, in *appointmentEventsInput) (*eventAnswers, error) {
		out := new(eventAnswers)
		if context := in.context(); context != nil {
			a, err := desk.ReceiveBinary(ctx, by.Tenant, acting(ctx, by, ""), "", context, in.ContentType, in.Body.RawMessage)
			if err == nil && a.Status == intake.Rejected {
				err = rejected(ctx, a.Problems)
			}
			out.Body.Results = []intake.Receipt{a}
			return out, err
		}
		list, batch, faults := in.Body.split(edge.IsMedia(in.ContentType, cloudBatch))
		if len(faults) > 0 {
			return nil, rejected(ctx, faults)
		}
		out.Body.Results = make([]intake.Receipt, len(list))
		for i, raw := range list {
			a, err := desk.Receive(ctx, by.Tenant, acting(ctx, by, ""), raw)
			if err != nil {
				return nil, err // what was kept is a duplicate when it comes again
			}
			if out.Body.Results[i] = a; a.Status == intake.Rejected && !batch {
				return nil, rejected(ctx, a.Problems)
			}
		}
		return out, nil
	}
	return op
}

func rejected(ctx context.Context, faults []intake.Fault) error {
	var fields []problem.Field
	for _, f := range faults {
		fields = append(fields, problem.Field{Pointer: f.Pointer, Code: f.Code})
	}
	return newFailure(ctx, problem.New(problem.InvalidPayload).WithErrors(fields...))
}

// split takes the body apart into events.
func (b eventsBody) split(array bool) (list []json.RawMessage, batch bool, faults []intake.Fault) {
	if array {
		list, faults = listed(b.RawMessage, "")
		return list, true, faults
	}
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(b.RawMessage, &whole); err != nil || whole == nil {
		return nil, false, []intake.Fault{{Pointer: "", Code: "not-an-object"}}
	}
	events, batch := whole["events"]
	switch {
	case !batch:
		return []json.RawMessage{b.RawMessage}, false, nil
	case len(whole) > 1:
		return nil, true, []intake.Fault{{Pointer: "", Code: "unknown-field"}}
	}
	list, faults = listed(events, "/events")
	return list, true, faults
}

func listed(raw json.RawMessage, pointer string) (list []json.RawMessage, faults []intake.Fault) {
	code := ""
	switch {
	case json.Unmarshal(raw, &list) != nil:
		code = "not-an-array"
	case len(list) == 0:
		code = "too-few"
	case len(list) > maxAppointmentEvents:
		code = "too-many"
	default:
		return list, nil
	}
	return nil, []intake.Fault{{Pointer: pointer, Code: code}}
}
