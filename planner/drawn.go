package planner

import (
	"slices"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// Begun is what a run begins with: steps, and places of a drawing where it is
// looked at again.
type Begun struct {
	Steps  []Step
	Rests  []workflow.Rest
	Passed []string
	// Answers are the ways that a drawing's questions and splits took.
	Answers map[string]workflow.Answer
}

// Begin plans a definition of either notation. It is pure. Questions of a
// drawing are left to their time, those of now included: they see the world
// only when it is read for them (see [Advance]).
func Begin(d *workflow.Definition, f Facts) Begun { return begin(d, f, nil) }

// begin plans from the start, by the answers that were given already.
func begin(d *workflow.Definition, f Facts, answers map[string]workflow.Answer) Begun {
	v := d.Visual()
	if v == nil {
		return Begun{Steps: Plan(d, f)}
	}
	var from []workflow.Arrival
	for _, id := range v.Starts(f.Event, f.text) {
		from = append(from, workflow.Arrival{Node: id, At: f.from()})
	}
	// Before all time: every question lies ahead, were it due long ago.
	return walk(d, from, f, workflow.Moment{Answers: answers, Subject: f.Subject})
}

// Advance leads a run of a drawing on from where it rests. It is pure.
func Advance(r *store.Resting) store.Onward {
	f := Facts{At: r.At, Zone: r.Zone, SendAt: &r.SendAt, Calendar: r.Calendar, Lane: r.Lane, Payload: r.Payload}
	about(&f, r.Appointment)
	from, outcome := workflow.Arrival{Node: r.Node, At: r.At}, "reached"
	if r.Event != "" {
		switch {
		case happened(r, r.Event):
			from.Handle, from.At, outcome = "event", r.Now, "event"
		case r.Now.Before(r.At):
			return store.Onward{Again: r.At}
		default:
			from.Handle, outcome = "timeout", "timeout"
		}
	}
	been := make(map[string]bool, len(r.Passed))
	for _, id := range r.Passed {
		been[id] = true
	}
	plan := walk(r.Definition, []workflow.Arrival{from}, f, workflow.Moment{Now: r.Now, World: r.World, Subject: r.Patient.String(), Been: been})
	for i, rest := range plan.Rests {
		plan.Rests[i].Soon = rest.Event != "" && happened(r, rest.Event)
	}
	if from.Handle != "" {
		if plan.Answers == nil {
			plan.Answers = map[string]workflow.Answer{}
		}
		plan.Answers[r.Node] = workflow.Answer{Handle: from.Handle, At: from.At}
	}
	// What was planned at a node stands, whatever became of it: a run that was
	// planned anew may come by once more.
	plan.Steps = slices.DeleteFunc(plan.Steps, func(s Step) bool { return r.World.Happened[s.Node] != nil })
	return store.Onward{Expansion: expansion(plan), Outcome: outcome}
}

// happened reports whether an event that is waited for is so: of any message of
// the run.
func happened(r *store.Resting, event string) bool {
	for _, said := range r.World.Happened {
		if m, ok := said.(map[string]any); ok {
			if yes, _ := m[event].(bool); yes {
				return true
			}
		}
	}
	return false
}

func walk(d *workflow.Definition, from []workflow.Arrival, f Facts, m workflow.Moment) Begun {
	m.Zone, m.SendAt, m.Calendar = f.Zone, DefaultSendAt, f.Calendar
	for _, c := range []*workflow.Clock{f.SendAt, d.SendAt} {
		if c != nil {
			m.SendAt = *c
		}
	}
	m.Date = func(pointer string) (time.Time, bool) { return date(f.text(pointer), f.Zone) }
	w := workflow.Walk(d.Visual(), from, m)
	out := Begun{Rests: w.Rests, Passed: w.Passed, Answers: w.Answers}
	for _, a := range w.Messages {
		if s, ok := d.Step(a.Node); ok {
			out.Steps = append(out.Steps, planned(s, a.At, f))
		}
	}
	return out
}

func (f Facts) text(pointer string) string { return text(f.Payload, pointer) }

// date reads a day or an instant; a day begins at midnight in the zone.
func date(s string, zone *time.Location) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
