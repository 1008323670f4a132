// Package intake keeps what a clinic's system says of appointments and makes
// the receipt for it, whichever way in it came by. It must not know HTTP or
// NATS.
package intake

import (
	"bytes"
	"context"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/appointment"
	"github.com/doctorsflow/doctorsflow/internal/failpoint"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// The statuses of a [Receipt]. Accepted and duplicate mean that the event is
// kept; Unavailable that nothing is known, and that it has to come again.
const (
	Accepted    = "accepted"
	Duplicate   = "duplicate"
	Rejected    = "rejected"
	Unavailable = "unavailable"
)

// conflict is the code of other words under an id that was used.
const conflict = "idempotency-conflict"

// Fault is something that is wrong with an event.
type Fault struct {
	Pointer string `json:"pointer"`
	Code    string `json:"code"`
}

// Receipt is what became of one event. Its JSON is what a clinic's system
// reads, over HTTP and over NATS.
type Receipt struct {
	EventID       string      `json:"event_id"`
	Status        string      `json:"status" enum:"accepted,duplicate,rejected"`
	Problems      []Fault     `json:"problems,omitempty" doc:"Of what was rejected: where, and a code."`
	AppointmentID *uuid.UUID  `json:"appointment_id" format:"uuid" nullable:"true"`
	TriggerID     *uuid.UUID  `json:"trigger_id" format:"uuid" nullable:"true"`
	Late          bool        `json:"late" doc:"A newer event was known already: this one is kept, and changed nothing that the newer one had said."`
	Version       int32       `json:"version" doc:"How often the appointment has changed."`
	Moved         int         `json:"moved" doc:"Planned messages that have a new time."`
	Added         int         `json:"added"`
	Cancelled     int         `json:"cancelled" doc:"Planned messages that are not sent any more."`
	Kept          int         `json:"kept"`
	InFlight      []uuid.UUID `json:"in_flight" nullable:"false" doc:"Messages whose request may be with the gateway already: they cannot be taken back."`
}

// reject is the receipt of an event that is not kept.
func reject(id string, faults ...Fault) Receipt {
	return Receipt{EventID: id, Status: Rejected, Problems: faults, InFlight: []uuid.UUID{}}
}

// Ledger keeps events.
type Ledger interface {
	AcceptAppointmentEvent(ctx context.Context, id tenant.ID, e store.AppointmentEvent, again func(*store.Replanning) store.NewPlan) (store.AppointmentReceipt, error)
}

// Desk receives events. It is safe for concurrent use.
type Desk struct {
	Ledger Ledger
	// Again is how the planner makes a run's plan anew.
	Again  func(*store.Replanning) store.NewPlan
	Phones phone.Options
}

// Receive keeps one event in the product's own words, or says what is wrong
// with it. An error means that nothing is known: it wraps
// [store.ErrUnavailable] where the event may come again as it is.
func (d *Desk) Receive(ctx context.Context, id tenant.ID, by store.Hand, raw []byte) (Receipt, error) {
	return d.ReceiveAs(ctx, id, by, "", raw)
}

// ReceiveAs is [Desk.Receive] of an event of which its subject says what kind
// it is; "" is none.
func (d *Desk) ReceiveAs(ctx context.Context, id tenant.ID, by store.Hand, kind appointment.Kind, raw []byte) (Receipt, error) {
	e, problems := appointment.DecodeAs(bytes.TrimSpace(raw), kind)
	if len(problems) > 0 {
		return reject(e.ID, faults(problems)...), nil
	}
	return d.Keep(ctx, id, by, e)
}

// ReceiveBinary is [Desk.ReceiveAs] of a CloudEvent whose context is in headers;
// see [appointment.DecodeBinary].
func (d *Desk) ReceiveBinary(ctx context.Context, id tenant.ID, by store.Hand, kind appointment.Kind, header map[string][]string, contentType string, data []byte) (Receipt, error) {
	e, problems := appointment.DecodeBinary(header, contentType, bytes.TrimSpace(data), kind)
	if len(problems) > 0 {
		return reject(e.ID, faults(problems)...), nil
	}
	return d.Keep(ctx, id, by, e)
}

// ReceiveMessage is [Desk.ReceiveAs] of a message with headers, in whichever
// mode it has a CloudEvent, or none.
func (d *Desk) ReceiveMessage(ctx context.Context, id tenant.ID, by store.Hand, kind appointment.Kind, header map[string][]string, data []byte) (Receipt, error) {
	for name := range header {
		if appointment.IsCloudHeader(name) {
			return d.ReceiveBinary(ctx, id, by, kind, header, "", data)
		}
	}
	return d.ReceiveAs(ctx, id, by, kind, data)
}

func faults(list []appointment.Problem) (out []Fault) {
	for _, p := range list {
		out = append(out, Fault(p))
	}
	return out
}

// Keep keeps an event that was read already; see [Desk.Receive].
func (d *Desk) Keep(ctx context.Context, id tenant.ID, by store.Hand, e appointment.Event) (Receipt, error) {
	kept := store.AppointmentEvent{Event: e, Hand: by}
	if e.Patient.Phone != "" {
		n, err := phone.Parse(e.Patient.Phone, d.Phones)
		if err != nil {
			return reject(e.ID, Fault{"/patient/phone", "not-a-phone-number"}), nil
		}
		kept.To = n
	}
	failpoint.Hit(failpoint.ChangeTaken)
	r, err := d.Ledger.AcceptAppointmentEvent(ctx, id, kept, func(r *store.Replanning) store.NewPlan {
		failpoint.Hit(failpoint.ChangePlanning)
		return d.Again(r)
	})
	if err != nil {
		return Receipt{}, err
	}
	failpoint.Hit(failpoint.ChangeKept)
	switch r.Status {
	case store.Refused:
		return reject(e.ID, Fault{"/patient", string(r.Why)}), nil
	case store.Conflict:
		return reject(e.ID, Fault{"/id", conflict}), nil
	case store.Accepted, store.Duplicate:
	}
	var trigger *uuid.UUID
	if r.Trigger != uuid.Nil {
		trigger = &r.Trigger
	}
	return Receipt{
		EventID: e.ID, Status: string(r.Status), AppointmentID: &r.Appointment, TriggerID: trigger, Late: r.Late, Version: r.Version,
		Moved: r.Plans.Moved, Added: r.Plans.Added, Cancelled: r.Plans.Cancelled, Kept: r.Plans.Kept,
		InFlight: append([]uuid.UUID{}, r.Plans.InFlight...),
	}, nil
}
