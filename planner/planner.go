package planner

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/failpoint"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/strictjson"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// Ledger is where plans are written.
type Ledger interface {
	PlanTriggers(ctx context.Context, ids []event.Trigger, p store.Planning) (due []event.Step, err error)
}

// Publisher stores events on their streams.
type Publisher interface {
	Publish(ctx context.Context, events []event.Event) error
}

// Planner plans triggers. It is safe for concurrent use.
type Planner struct {
	Ledger    Ledger
	Publisher Publisher
	// Hint wakes release, whose next due time may have come closer.
	Hint func()
	// Yield, if set, is called before each batch and returns when this process
	// has time for it.
	Yield func(ctx context.Context)
	// Phones says which numbers are patients'.
	Phones phone.Options
	Logger *slog.Logger
}

// Handle plans a batch of triggers in one transaction, publishes the steps
// that are due already, and settles the messages. A step whose publication
// fails is released when its lease ends.
func (p *Planner) Handle(ctx context.Context, batch []*stream.Msg[event.Trigger]) {
	// What has waited for long gives way no more: a flood without end must not
	// outgrow the planner.
	if p.Yield != nil && time.Since(batch[0].Stored) < longWait {
		p.Yield(ctx)
	}
	p.plan(ctx, batch)
}

// longWait is how long a trigger gives way to calls.
const longWait = 2 * time.Second

func (p *Planner) plan(ctx context.Context, batch []*stream.Msg[event.Trigger]) {
	ids := make([]event.Trigger, len(batch))
	for i, m := range batch {
		ids[i] = m.Event
	}
	due, err := p.Ledger.PlanTriggers(ctx, ids, p.Planning())
	if err != nil && len(batch) > 1 && !errors.Is(err, store.ErrUnavailable) {
		// One poisonous trigger must not hold its neighbours: each for itself.
		for _, m := range batch {
			p.plan(ctx, []*stream.Msg[event.Trigger]{m})
		}
		return
	}
	failpoint.Hit(failpoint.PlannerPlanned)
	if err == nil && len(due) > 0 {
		events := make([]event.Event, len(due))
		for i := range due {
			events[i] = &due[i]
		}
		if err := p.Publisher.Publish(ctx, events); err != nil {
			p.Logger.Warn("due steps wait for release", "steps", len(events), "err", err)
		}
	}
	failpoint.Hit(failpoint.PlannerPublished)
	for _, m := range batch {
		m.Settle(err)
	}
	failpoint.Hit(failpoint.PlannerSettled)
	p.Hint()
}

// Expand plans what a trigger starts: one workflow's steps, and the places of a
// drawing where its run rests. It is pure.
func Expand(t store.PendingTrigger, d *workflow.Definition) store.Expansion {
	failpoint.Hit(failpoint.PlannerPlanning)
	f := Facts{At: t.ReceivedAt, Zone: t.Zone, SendAt: &t.SendAt, Calendar: t.Calendar, Event: t.EventType, Payload: t.Payload, Subject: t.Patient.String()}
	f.Lane = t.Kind.Lane()
	about(&f, t.Appointment)
	return expansion(Begin(d, f))
}

// expansion is what the ledger keeps of a plan.
func expansion(p Begun) store.Expansion {
	out := store.Expansion{Steps: make([]store.StepPlan, len(p.Steps)), Rests: p.Rests, Passed: p.Passed, Answers: p.Answers}
	for i, s := range p.Steps {
		out.Steps[i] = store.StepPlan(s)
	}
	return out
}

// read finds in a trigger's payload whom it is about and what it starts.
func (p *Planner) read(t store.PendingTrigger) (r store.Reading) {
	if t.Kind == event.Appointment {
		return readAppointment(t)
	}
	r.Workflows = t.Routes[t.EventType]
	if t.Only != uuid.Nil {
		r.Workflows = []uuid.UUID{t.Only}
	}
	if len(r.Workflows) == 0 && t.WorkflowID != uuid.Nil {
		r.Workflows = []uuid.UUID{t.WorkflowID}
	}
	ref, ok := p.patient(t)
	switch r.Patient = ref; {
	case len(r.Workflows) == 0:
		r.Ignored = event.NoWorkflow
	case !ok:
		r.Ignored = event.InvalidPatient
	}
	return r
}

func (p *Planner) patient(t store.PendingTrigger) (ref store.PatientRef, ok bool) {
	ref.ExternalID = text(t.Payload, t.PatientPointer+"/external_id")
	ref.Name = text(t.Payload, t.PatientPointer+"/name")
	if s := text(t.Payload, t.PatientPointer+"/id"); s != "" {
		id, err := uuid.Parse(s)
		if err != nil {
			return ref, false
		}
		ref.ID = id
	}
	if s := text(t.Payload, t.PatientPointer+"/phone"); s != "" {
		n, err := phone.Parse(s, p.Phones)
		if err != nil {
			return ref, false
		}
		ref.Phone = n
	}
	return ref, ref.ID != uuid.Nil || ref.ExternalID != "" || !ref.Phone.IsZero()
}

// text returns the text at pointer, or "".
func text(b []byte, pointer string) string {
	s, _ := strictjson.LookupText(b, pointer)
	return s
}

// Planning is the planner's part of planning, as it is handed to the ledger.
func (p *Planner) Planning() store.Planning { return store.Planning{Read: p.read, Expand: Expand} }
