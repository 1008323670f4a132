package planner

import (
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// DefaultSendAt is the local time of day steps where neither the workflow nor
// the clinic says otherwise.
var DefaultSendAt = workflow.Clock{Hour: 10}

// DefaultExpiry is how long a step stays valid where its author did not say.
const DefaultExpiry = 24 * time.Hour

// Facts is what a plan depends on besides the definition: the same facts give
// the same plan, today, in a simulation, and when it is computed again.
type Facts struct {
	// At is when the event happened; days are counted from its local date.
	At time.Time
	// Zone is the clinic's.
	Zone *time.Location
	// SendAt is the clinic's own default; the zero value means 10:00.
	SendAt *workflow.Clock
	// Calendar has the days on which the clinic works.
	Calendar *workflow.Calendar
	// Lane is bulk for campaigns.
	Lane event.Lane
	// Event is the name of what happened, which chooses among the triggers of
	// a drawing, and Payload what was said of it.
	Event   string
	Payload []byte
	// Subject is whom a split is stable for: the patient's id.
	Subject string
	// From is what days and delays are counted from, where that is not At.
	From time.Time
	// Known is when the time of what it is about was last heard of, where that
	// is after At: what was due before that keeps its whole validity.
	Known time.Time
}

// from is where counting begins.
func (f Facts) from() time.Time {
	if f.From.IsZero() {
		return f.At
	}
	return f.From
}

// Step is one planned message.
type Step struct {
	Node     string
	Channel  event.Channel
	Lane     event.Lane
	Fallback bool // an SMS may follow a proven Kakao failure
	DueAt    time.Time
	Expires  time.Time
	Late     workflow.Late
	// OnUnknown is the author's choice for an outcome that nobody can find out.
	OnUnknown workflow.OnUnknown
}

// Plan expands a definition into timed steps, in the definition's order. It is
// pure: the executor and the simulator call this one function.
func Plan(d *workflow.Definition, f Facts) []Step {
	steps := make([]Step, 0, len(d.Steps))
	for _, s := range d.Steps {
		steps = append(steps, planned(s, dueAt(d, s, f), f))
	}
	return steps
}

// planned is a step of the definition with its time.
func planned(s workflow.Step, due time.Time, f Facts) Step {
	p := Step{
		Node: s.Node, Lane: f.Lane, DueAt: due, Late: s.Late, OnUnknown: s.OnUnknown,
		Channel:  event.SMS,
		Fallback: s.Message.HasKakao() && s.Message.HasSMS(),
	}
	if s.Message.HasKakao() {
		p.Channel = event.Kakao
	}
	if p.Lane == "" {
		p.Lane = event.Care
	}
	if p.Late == "" {
		p.Late = workflow.LateSend
	}
	if p.OnUnknown == "" {
		p.OnUnknown = workflow.Park
	}
	expiry := time.Duration(s.ExpiresAfter)
	if expiry == 0 {
		expiry = DefaultExpiry
	}
	// A step that was due before its trigger was known keeps its whole
	// validity: it is late, not void.
	p.Expires = later(due, later(f.At, f.Known)).Add(expiry)
	return p
}

func dueAt(d *workflow.Definition, s workflow.Step, f Facts) time.Time {
	if delay, ok := s.Delay(); ok {
		return f.from().Add(delay)
	}
	days := 0
	switch {
	case s.Day != nil:
		days = *s.Day
	case s.BusinessDays != nil:
		days = *s.BusinessDays
	}
	if d.DayLength != 0 {
		return f.from().Add(time.Duration(days) * time.Duration(d.DayLength))
	}
	at := DefaultSendAt
	for _, c := range []*workflow.Clock{f.SendAt, d.SendAt, s.SendAt} {
		if c != nil {
			at = *c
		}
	}
	if s.BusinessDays != nil {
		days = f.Calendar.Add(f.from(), *s.BusinessDays, f.Zone)
	}
	return at.On(f.from(), days, f.Zone)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
