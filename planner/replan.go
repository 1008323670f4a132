package planner

import (
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// Again is the plan of a run made anew from its event, by the definition that
// it has now. It is pure. A node that was sent, or whose time was decided, is
// not sent again; a node that is not in the definition any more is cancelled; a
// new one is added, unless its validity is over already. A drawn run keeps its
// plan: which way it went was decided on the way.
func Again(r *store.Replanning) store.NewPlan {
	p := store.NewPlan{Reason: event.Superseded}
	if r.Definition.Visual() != nil {
		return p
	}
	lane := event.Care
	if r.Kind == event.Campaign {
		lane = event.Bulk
	}
	wanted := map[string]Step{}
	plan := Plan(r.Definition, Facts{At: r.Received, Zone: r.Zone, SendAt: &r.SendAt, Calendar: r.Calendar, Lane: lane, Event: r.EventType, Payload: r.Payload})
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
		case !want.DueAt.Equal(s.DueAt) || !want.Expires.Equal(s.Expires):
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
