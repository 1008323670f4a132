package planner

import (
	"slices"

	"github.com/doctorsflow/doctorsflow/internal/appointment"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// Again is the plan of a run made anew from its event, by the definition that
// it has now. It is pure. A node that was sent, or whose time was decided, is
// not sent again; a node that is not in the definition any more is cancelled; a
// new one is added, unless its validity is over already. A drawn run keeps the
// ways that it took, as far as the definition still has them; what was asked is
// not asked again. The times of one about an appointment follow that. Where
// the appointment was cancelled, nothing is left but what began with that.
func Again(r *store.Replanning) store.NewPlan {
	p := store.NewPlan{Reason: event.Superseded}
	switch {
	case r.Appointment == nil && r.Definition.Visual() != nil && !r.Migrated:
		return p // nothing that its times depend on has changed
	case r.Appointment != nil && r.Appointment.Status == appointment.HasCancelled && r.EventType != appointment.Cancelled.Type():
		return store.Stop(event.AppointmentCancelled)(r)
	}
	wanted := map[string]Step{}
	f := Facts{At: r.Received, Zone: r.Zone, SendAt: &r.SendAt, Calendar: r.Calendar, Lane: r.Kind.Lane(), Event: r.EventType, Payload: r.Payload, Subject: r.Patient.String()}
	about(&f, r.Appointment)
	begun := begin(r.Definition, f, r.Answers)
	plan := begun.Steps
	if r.Definition.Visual() != nil {
		p.Redrawn, p.Rests, p.Passed = true, begun.Rests, begun.Passed
	}
	if starts := r.Appointment.Begins(r.Zone); over(r) && !starts.IsZero() {
		plan = slices.DeleteFunc(plan, func(s Step) bool { return s.DueAt.Before(starts) })
	}
	for _, s := range plan {
		wanted[s.Node] = s
	}
	stands := map[string]bool{}
	for _, s := range r.Steps {
		if s.State != store.StatePlanned {
			stands[s.Node] = true
		}
	}
	for _, s := range r.Steps {
		if s.State != store.StatePlanned {
			continue
		}
		want, still := wanted[s.Node]
		switch {
		case !still:
			p.Cancel = append(p.Cancel, s.ID)
		case s.Fallback: // due since Kakao failed
		case want.Channel != s.Channel: // another channel is another step
			p.Cancel = append(p.Cancel, s.ID)
			continue
		case !want.DueAt.Equal(s.DueAt) || !want.Expires.Equal(s.Expires) && !p.Redrawn: // on its way, a drawn step's validity began later
			p.Move = append(p.Move, store.MovedStep{ID: s.ID, DueAt: want.DueAt, Expires: want.Expires})
		}
		stands[s.Node] = true
	}
	for _, s := range plan {
		if !stands[s.Node] && s.Expires.After(r.Now) {
			p.Add = append(p.Add, store.StepPlan(s))
		}
	}
	return p
}
