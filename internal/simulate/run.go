package simulate

import (
	"context"
	"encoding/json"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// Cohort simulates every subject, on all processors; runs are in the order of
// the subjects. Where the clinic caps what a patient gets, runs of one patient
// share the cap. It ends early, with ctx's error, when ctx is done.
func (m *Machine) Cohort(ctx context.Context, subjects []store.Subject) ([]Run, error) {
	runs := make([]Run, len(subjects))
	groups := m.groups(subjects)
	next := make(chan int)
	var wg sync.WaitGroup
	const chunk = 64
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for from := range next {
				for _, group := range groups[from:min(from+chunk, len(groups))] {
					m.together(subjects, group, runs)
				}
			}
		})
	}
	for i := 0; i < len(groups) && ctx.Err() == nil; i += chunk {
		next <- i
	}
	close(next)
	wg.Wait()
	return runs, ctx.Err()
}

// groups are the subjects, by their places, whose runs depend on one another.
func (m *Machine) groups(subjects []store.Subject) [][]int {
	groups := make([][]int, 0, len(subjects))
	first := map[uuid.UUID]int{}
	for i := range subjects {
		if len(m.Setting.Caps) > 0 {
			if g, again := first[subjects[i].Patient]; again {
				groups[g] = append(groups[g], i)
				continue
			}
			first[subjects[i].Patient] = len(groups)
		}
		groups = append(groups, []int{i})
	}
	return groups
}

// together simulates the runs of one patient, one instant after the other.
func (m *Machine) together(subjects []store.Subject, group []int, out []Run) {
	sent := slices.Clone(subjects[group[0]].Recent)
	runs := make([]*run, len(group))
	for i, at := range group {
		runs[i] = m.begin(&subjects[at], &sent)
	}
	for {
		var first *run
		var now time.Time
		for _, r := range runs {
			if at, ok := r.next(); ok && (first == nil || at.Before(now)) {
				first, now = r, at
			}
		}
		if first == nil || now.After(m.Until) {
			break
		}
		first.pass(now)
	}
	for i, r := range runs {
		out[group[i]] = r.told()
	}
}

func (m *Machine) begin(s *store.Subject, sent *[]workflow.Sending) *run {
	r := &run{m: m, s: s, sent: sent, lane: event.Care}
	if s.Kind == event.Campaign {
		r.lane = event.Bulk
	}
	r.world = workflow.World{Patient: s.Facts}
	if json.Unmarshal(s.Payload, &r.world.Trigger) != nil {
		r.world.Trigger = nil
	}
	kind := s.Kind
	if kind == "" {
		kind = event.Webhook
	}
	r.grow(m.Rules.Plan(store.PendingTrigger{
		Tenant: m.Tenant, Kind: kind, EventType: s.Event, ReceivedAt: s.At, Payload: s.Payload,
		Zone: m.Setting.Zone, SendAt: m.Setting.SendAt, Calendar: m.Setting.Calendar,
		Patient: s.Patient, Appointment: s.Appointment,
	}, m.Definition), s.At)
	return r
}

// run is a run in memory.
type run struct {
	m      *Machine
	s      *store.Subject
	sent   *[]workflow.Sending // of the patient, by any run
	lane   event.Lane
	world  workflow.World
	steps  []*step
	rests  []*rest
	passed []string
	// clicked are the nodes whose links were opened.
	clicked map[string]bool
}

type step struct {
	Step
	plan    store.StepPlan
	wake    time.Time // zero: nothing is left to do
	settled time.Time // zero: no report is on its way
	request string
}

type rest struct {
	Rest
	wake time.Time
}

// next is the next instant at which anything happens.
func (r *run) next() (at time.Time, ok bool) {
	see := func(t time.Time) {
		if !t.IsZero() && (!ok || t.Before(at)) {
			at, ok = t, true
		}
	}
	for _, s := range r.steps {
		see(s.wake)
		see(s.settled)
	}
	for _, w := range r.rests {
		see(w.wake)
	}
	return at, ok
}

// pass lets everything of one instant happen, in the order of the ledger.
func (r *run) pass(now time.Time) {
	due := func(t time.Time) bool { return !t.IsZero() && !t.After(now) }
	for _, s := range slices.Clone(r.steps) {
		if due(s.settled) {
			s.settled = time.Time{}
			r.report(s, now)
		}
	}
	var asked []*rest
	for _, w := range r.rests {
		if due(w.wake) {
			asked = append(asked, w)
		}
	}
	if len(asked) > 0 {
		r.advance(asked, now)
		return // what it added comes first
	}
	for _, s := range slices.Clone(r.steps) {
		if due(s.wake) {
			r.send(s, now)
		}
	}
}

func (r *run) advance(asked []*rest, now time.Time) {
	slices.SortStableFunc(asked, func(a, b *rest) int { return a.At.Compare(b.At) })
	world := r.world
	world.Happened, world.Appointment = r.happened(), r.s.Appointment.Fields(r.m.Setting.Zone)
	for _, w := range asked {
		w.wake = time.Time{}
		if r.s.Erased {
			w.Outcome, w.Left = "superseded", now
			continue
		}
		on := r.m.Rules.Advance(&store.Resting{
			Rest: w.Rest.Rest, Tenant: r.m.Tenant, Patient: r.s.Patient, Lane: r.lane, Definition: r.m.Definition, Now: now,
			Zone: r.m.Setting.Zone, SendAt: r.m.Setting.SendAt, Calendar: r.m.Setting.Calendar, World: world, Payload: r.s.Payload, Passed: slices.Clone(r.passed),
			Appointment: r.s.Appointment,
		})
		if !on.Again.IsZero() {
			w.wake = latest(on.Again, now)
			continue
		}
		w.Outcome, w.Left = on.Outcome, now
		r.grow(on.Expansion, now)
	}
}

// grow adds what a walk found. What is due already wakes now.
func (r *run) grow(e store.Expansion, now time.Time) {
	for _, p := range e.Steps {
		s := &step{Step: Step{Node: p.Node, Channel: p.Channel, State: store.StatePlanned, Due: p.DueAt}, plan: p, wake: latest(p.DueAt, now)}
		r.steps = append(r.steps, s)
	}
	for _, n := range e.Rests {
		wake := latest(n.At, now)
		if n.Soon {
			wake = now
		}
		r.rests = append(r.rests, &rest{Rest: Rest{Rest: n}, wake: wake})
	}
	r.passed = append(r.passed, e.Passed...)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// happened is what expressions see of the run's messages, as the ledger sums
// it up.
func (r *run) happened() map[string]any {
	all := map[string]any{}
	for _, s := range r.steps {
		said, _ := all[s.Node].(map[string]any)
		if said == nil {
			said = map[string]any{"delivered": false, "sent": false, "failed": true}
			if r.m.Definition.Follows() {
				said[workflow.Clicked] = r.clicked[s.Node]
			}
			all[s.Node] = said
		}
		switch s.State {
		case store.StateDelivered:
			said["delivered"], said["sent"], said["failed"] = true, true, false
		case store.StateSent:
			said["sent"], said["failed"] = true, false
		case store.StateFailed, store.StateParked, store.StateCancelled, store.StateSkipped, store.StateExpired:
		default:
			said["failed"] = false
		}
	}
	return all
}

func (r *run) told() Run {
	out := Run{Subject: r.s, Passed: r.passed}
	for _, s := range r.steps {
		out.Steps = append(out.Steps, s.Step)
	}
	slices.SortStableFunc(out.Steps, func(a, b Step) int { return a.shown().Compare(b.shown()) })
	for _, w := range r.rests {
		out.Rests = append(out.Rests, w.Rest)
	}
	return out
}

// shown is when a step happened, or is to.
func (s Step) shown() time.Time {
	if s.At.IsZero() {
		return s.Due
	}
	return s.At
}
