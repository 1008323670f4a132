// Package appointment is what a clinic's system says of an appointment: its
// events as they are written on the wire, and the state that they add up to in
// whatever order they come. It knows nothing of workflows, patients' records or
// how anything is stored.
package appointment

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// Kind says what happened to an appointment.
type Kind string

// The kinds of event.
const (
	Requested   Kind = "requested" // somebody wishes for it; nobody has confirmed it
	Booked      Kind = "booked"
	Rescheduled Kind = "rescheduled"
	Edited      Kind = "edited" // anything but its status
	CheckedIn   Kind = "checked_in"
	Completed   Kind = "completed"
	NoShow      Kind = "no_show"
	Cancelled   Kind = "cancelled"
)

// Kinds lists every kind.
var Kinds = []Kind{Requested, Booked, Rescheduled, Edited, CheckedIn, Completed, NoShow, Cancelled}

// Prefix comes before a kind in the name of an event: appointment.booked.
const Prefix = "appointment."

// Type is the event's name on the wire.
func (k Kind) Type() string { return Prefix + string(k) }

// Status is where an appointment stands.
type Status string

// The statuses.
const (
	HasRequested Status = "requested"
	Scheduled    Status = "scheduled"
	HasCheckedIn Status = "checked_in"
	HasCompleted Status = "completed"
	HasNotShown  Status = "no_show"
	HasCancelled Status = "cancelled"
)

// Statuses lists every status.
var Statuses = []Status{HasRequested, Scheduled, HasCheckedIn, HasCompleted, HasNotShown, HasCancelled}

// Status is what an event of the kind makes of an appointment; "" leaves it.
func (k Kind) Status() Status {
	switch k {
	case Requested:
		return HasRequested
	case Booked, Rescheduled:
		return Scheduled
	case CheckedIn:
		return HasCheckedIn
	case Completed:
		return HasCompleted
	case NoShow:
		return HasNotShown
	case Cancelled:
		return HasCancelled
	case Edited:
	}
	return ""
}

// Rank is an event's place in its source's own order: by sequence where there
// is one, else by time, else by id. An event with a sequence is newer than any
// without.
type Rank struct {
	Sequence int64
	At       time.Time
	ID       string
}

// Compare orders ranks, the older first.
func (r Rank) Compare(o Rank) int {
	return cmp.Or(cmp.Compare(r.Sequence, o.Sequence), r.At.Compare(o.At), strings.Compare(r.ID, o.ID))
}

// Change is what one event says of an appointment; what is nil it leaves.
type Change struct {
	Rank
	Kind Kind
	// Stands is the status that the source said, where it says how things stand
	// and not what happened: it holds whatever kind was made of it.
	Stands  Status
	When    *When
	Surgery *string
}

func (c Change) status() Status {
	if c.Stands != "" {
		return c.Stands
	}
	return c.Kind.Status()
}

// When is a date, and a time of day if one is known, as the clinic's clocks
// show them.
type When struct {
	Date string // 2006-01-02
	Time *workflow.Clock
}

// State is what an appointment's events add up to.
type State struct {
	Status  Status
	When    *When
	Surgery string
	// Last is the newest event's rank.
	Last Rank
}

// Fold adds changes up in their source's order, whatever order they came in.
// Of each thing the newest word holds.
func Fold(changes []Change) State {
	ordered := slices.SortedFunc(slices.Values(changes), func(a, b Change) int { return a.Compare(b.Rank) })
	s := State{Status: Scheduled}
	for _, c := range ordered {
		if to := c.status(); to != "" {
			s.Status = to
		}
		if c.When != nil {
			s.When = c.When
		}
		if c.Surgery != nil {
			s.Surgery = *c.Surgery
		}
		s.Last = c.Rank
	}
	return s
}

// At is an instant as a clinic's clocks show it, to the minute.
func At(t time.Time, zone *time.Location) *When {
	l := t.In(zone)
	return &When{Date: l.Format(time.DateOnly), Time: &workflow.Clock{Hour: l.Hour(), Minute: l.Minute()}}
}

// Starts is when it begins in a zone; without a time of day, when its day does.
// It is the zero time where no date is known.
func (w *When) Starts(zone *time.Location) time.Time {
	if w == nil {
		return time.Time{}
	}
	day, err := time.ParseInLocation(time.DateOnly, w.Date, zone)
	if err != nil {
		return time.Time{}
	}
	if w.Time == nil {
		return workflow.Clock{}.On(day.Add(12*time.Hour), 0, zone)
	}
	return w.Time.On(day.Add(12*time.Hour), 0, zone)
}

// Same reports whether two say the same.
func (w *When) Same(o *When) bool {
	if w == nil || o == nil {
		return w == o
	}
	return w.Date == o.Date && (w.Time == o.Time || w.Time != nil && o.Time != nil && *w.Time == *o.Time)
}
