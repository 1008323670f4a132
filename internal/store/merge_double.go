package store

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/appointment"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/strictjson"
)

// mergingRun is a run of one of two rows that become one patient.
type mergingRun struct {
	*Replanning
	workflow uuid.UUID
	gone     bool // of the row that is merged
	open     bool
}

// alike reports whether two runs tell the same person of the same thing: of one
// workflow and version, begun by the same kind of event, and about the same
// appointment, or else about the same day with the same values in their texts.
// A drawn run that asks must have been answered alike, and only an appointment
// vouches for the answers to come.
func (a *mergingRun) alike(b *mergingRun) bool {
	if a.workflow != b.workflow || a.Version != b.Version || a.Kind != b.Kind || a.EventType != b.EventType {
		return false
	}
	if a.Appointment != nil && b.Appointment != nil {
		return a.Appointment.alike(b.Appointment) && maps.Equal(a.Answers, b.Answers)
	}
	return a.Appointment == nil && b.Appointment == nil && a.Definition.Visual() == nil &&
		sameDay(a.Received, b.Received, a.Zone) && a.sameValues(b)
}

// alike reports whether two appointments are one that was booked twice: both
// stand at the same time of the same day, for the same thing.
func (a *Appointment) alike(b *Appointment) bool {
	return a.ID == b.ID || a.Date != "" && a.Time != "" && a.Date == b.Date && a.Time == b.Time && a.Surgery == b.Surgery &&
		a.Status == b.Status && a.Status != appointment.HasCancelled
}

// sameValues compares what the events say where texts quote them. An event
// that can no longer be read proves nothing.
func (a *mergingRun) sameValues(b *mergingRun) bool {
	if a.Payload == nil || b.Payload == nil {
		return false
	}
	for _, s := range a.Definition.Steps {
		for _, pointer := range s.Message.Variables {
			x, _ := strictjson.Lookup(a.Payload, pointer)
			y, _ := strictjson.Lookup(b.Payload, pointer)
			if !bytes.Equal(x, y) {
				return false
			}
		}
	}
	return true
}

func sameDay(a, b time.Time, zone *time.Location) bool {
	return a.In(zone).Format(time.DateOnly) == b.In(zone).Format(time.DateOnly)
}

var (
	onItsWay = []State{StateClaimed, StateUnknown, StateSent, StateDelivered}
	toCome   = append([]State{StatePlanned}, onItsWay...)
)

// doubled are the planned messages that the other run sends on the same day, in
// one of these states.
func (a *mergingRun) doubled(b *mergingRun, states []State) (ids []uuid.UUID) {
	for _, s := range a.Steps {
		if s.State == StatePlanned && slices.ContainsFunc(b.Steps, func(t StandingStep) bool {
			return t.Node == s.Node && slices.Contains(states, t.State) && sameDay(t.DueAt, s.DueAt, a.Zone)
		}) {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// undouble says what becomes of the runs: each of the merged row is matched with
// at most one of the other's. What both still plan goes out under the row that
// goes on; what one has sent, or is sending, the other does not send again. What
// is not proved to be double stays. Plans are by run; a run that is not in it is
// left alone.
func undouble(runs []*mergingRun) map[uuid.UUID]NewPlan {
	plans := map[uuid.UUID]NewPlan{}
	matched := map[uuid.UUID]bool{}
	for _, a := range runs {
		if !a.gone {
			continue
		}
		if a.open {
			plans[a.Run] = NewPlan{Reason: event.Merged}
		}
		for _, b := range runs {
			if b.gone || matched[b.Run] || !a.open && !b.open || !a.alike(b) {
				continue
			}
			matched[b.Run] = true
			if mine := a.doubled(b, toCome); a.open {
				plans[a.Run] = NewPlan{Reason: event.Merged, Cancel: mine, End: a.ends(mine)}
			}
			if theirs := b.doubled(a, onItsWay); len(theirs) > 0 {
				plans[b.Run] = NewPlan{Reason: event.Merged, Cancel: theirs, End: b.Definition.Visual() == nil && b.ends(theirs)}
			}
			break
		}
	}
	return plans
}

// ends reports whether nothing of a run is left to come once these are
// cancelled. A drawn one that only rests is the other's shadow.
func (a *mergingRun) ends(cancelled []uuid.UUID) bool {
	for _, s := range a.Steps {
		if s.State == StatePlanned && !slices.Contains(cancelled, s.ID) {
			return false
		}
	}
	return len(cancelled) > 0 || a.Definition.Visual() != nil
}
