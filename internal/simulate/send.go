package simulate

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// account stands for whatever account the clinic has.
var account = uuid.UUID{1}

// send is a due step's turn: the guards judge it, and a gateway accepts it.
func (r *run) send(s *step, now time.Time) {
	c := &store.Candidate{
		Node: s.Node, DueAt: s.Due, Expires: s.plan.Expires, Late: s.plan.Late, Now: now, Patient: r.s.Patient,
		Suppressed: r.s.OptedOut[s.Channel], Consented: r.s.Consented[s.Channel], Clinic: r.m.Setting.Clinic,
		Erased: r.s.Erased, Recent: *r.sent, Counted: s.Fallback, Definition: r.m.Definition, PatientName: r.s.Name, To: r.s.To, Payload: r.s.Payload,
	}
	c.Tenant, c.Channel, c.Lane = r.m.Tenant, s.Channel, s.plan.Lane
	if slices.Contains(r.m.Setting.Channels, s.Channel) {
		c.Account = account
	}
	known, _ := r.m.Definition.Step(s.Node)
	if known.Message.Follow != "" {
		c.Link = store.SampleLink
	}
	s.Class = known.Message.Class
	v := r.m.Rules.Judge(c, r.m.Timing)
	switch {
	case !v.Wait.IsZero() && v.Wait.After(now):
		s.wake, s.Reason, s.Held = v.Wait, v.Reason, v.Reason
	case v.Outcome != "":
		r.settle(s, event.Delivery{Status: v.Outcome, Reason: v.Reason, Source: event.Guard}, now)
	default:
		s.wake, s.Reason, s.Title, s.Text = time.Time{}, "", v.Title, v.Text
		s.State, s.At = store.StateClaimed, now
		if !s.Fallback && len(r.m.Setting.Caps) > 0 {
			*r.sent = append(*r.sent, workflow.Sending{Class: s.Class, At: now})
		}
		r.settle(s, event.Delivery{Status: event.Sent, Source: event.Answer, RequestID: "simulated"}, now)
		if r.m.Assume.outcome(s.Node, s.Channel) != Unreported {
			s.settled = now.Add(r.m.Assume.after())
		}
	}
}

// report is what comes back of a step that a gateway accepted.
func (r *run) report(s *step, now time.Time) {
	d := event.Delivery{Status: event.Delivered, Source: event.Report, RequestID: "simulated"}
	if r.m.Assume.outcome(s.Node, s.Channel) == Failed {
		d.Status, d.Reason = event.Failed, "rejected"
	}
	r.settle(s, d, now)
	if known, _ := r.m.Definition.Step(s.Node); known.Message.Follow == "" || r.m.Assume.Nodes[s.Node] != Clicked || r.clicked[s.Node] || r.s.Erased {
		return
	}
	if r.clicked == nil {
		r.clicked = map[string]bool{}
	}
	r.clicked[s.Node] = true
	for _, w := range r.rests {
		if w.Outcome == "" && w.Event == workflow.Clicked {
			w.wake = now
		}
	}
}

// settle concludes from evidence, by the recorder's rules.
func (r *run) settle(s *step, d event.Delivery, now time.Time) {
	t := r.m.Rules.Settle(store.StepNow{
		Tenant: r.m.Tenant, Node: s.Node, Lane: s.plan.Lane, Channel: s.Channel, State: s.State, Reason: s.Reason,
		Fallback: s.plan.Fallback, Expires: s.plan.Expires, Now: now, ClaimedAt: s.At, FirstIntent: s.At, RequestID: s.request,
	}, d, r.m.Timing)
	if t.State == "" {
		return
	}
	if s.At.IsZero() {
		s.At = now
	}
	s.State, s.Reason, s.wake, s.request = t.State, t.Reason, time.Time{}, d.RequestID
	if t.Fallback {
		p := s.plan
		p.Channel, p.Fallback, p.DueAt, p.Late = event.SMS, false, now, workflow.LateSend
		r.steps = append(r.steps, &step{Step: Step{Node: s.Node, Channel: event.SMS, Fallback: true, State: store.StatePlanned, Due: now}, plan: p, wake: now})
	}
	if s.State == store.StateDelivered || s.State == store.StateFailed {
		for _, w := range r.rests {
			if w.Outcome == "" && (w.Event == "delivered" || w.Event == "failed") {
				w.wake = now
			}
		}
	}
}
