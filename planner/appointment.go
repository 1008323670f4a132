package planner

import (
	"slices"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/appointment"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// afterwards are the events from which days are counted from the visit itself,
// whenever its end was reported.
var afterwards = []string{appointment.Completed.Type()}

// about adds to the facts what they have of the appointment as it stands.
func about(f *Facts, a *store.Appointment) {
	if a == nil {
		return
	}
	f.Known = a.Moved
	if starts := a.Begins(f.Zone); slices.Contains(afterwards, f.Event) && !starts.IsZero() {
		f.From = starts
	}
}

// readAppointment finds the workflows that an event starts: those that name
// it, and of them those for its surgery. An event that a newer one has undone
// starts none.
func readAppointment(t store.PendingTrigger) (r store.Reading) {
	if t.Appointment == nil {
		r.Ignored = event.NoWorkflow
		return r
	}
	r.Patient.ID = t.Appointment.Patient
	read := func(pointer string) string { return text(t.Payload, pointer) }
	for _, w := range t.Candidates {
		switch {
		case w.Surgery != "" && w.Surgery != t.Appointment.Surgery:
		case w.TriggerType == t.EventType, w.TriggerType == "post_surgery" && t.EventType == appointment.Completed.Type(), w.TriggerType == "appointment" && w.Definition.Visual() != nil:
			if v := w.Definition.Visual(); v == nil || len(v.Starts(t.EventType, read)) > 0 {
				r.Workflows = append(r.Workflows, w.ID)
			}
		}
	}
	if t.Only != uuid.Nil {
		r.Workflows = []uuid.UUID{t.Only} // whatever it waits for otherwise
	}
	switch {
	case t.Undone && t.Only == uuid.Nil:
		r.Ignored = event.Superseded
	case len(r.Workflows) == 0:
		r.Ignored = event.NoWorkflow
	}
	return r
}

// over reports whether what was meant for before a visit comes too late: the
// visit is over, or was missed, and the run did not begin with that.
func over(r *store.Replanning) bool {
	if r.Appointment == nil {
		return false
	}
	status := r.Appointment.Status
	return (status == appointment.HasCompleted || status == appointment.HasNotShown) &&
		r.EventType != appointment.Completed.Type() && r.EventType != appointment.NoShow.Type()
}
