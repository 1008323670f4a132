package recorder_test

import (
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/recorder"
)

var (
	now    = time.Date(2026, 3, 2, 1, 0, 0, 0, time.UTC)
	timing = store.DefaultTiming

	states = []store.State{
		store.StatePlanned, store.StateClaimed, store.StateUnknown, store.StateSent, store.StateDelivered,
		store.StateFailed, store.StateParked, store.StateCancelled, store.StateSkipped, store.StateExpired,
	}
	statuses = []event.Status{
		event.Sent, event.Delivered, event.Failed, event.Unknown, event.Released,
		event.Parked, event.Skipped, event.Cancelled, event.Expired,
	}
	sources = []event.Source{event.Answer, event.Report, event.Poll, event.Query, event.Guard}
	both    = []bool{false, true}
)

// current is the attempt of every step here; events speak for the one before,
// for it, and for one that the step does not know.
const current = 2

// everySituation calls f with every step that Apply can meet and every event
// that can meet it.
func everySituation(f func(s store.StepNow, e event.Delivery)) int {
	n := 0
	for _, s := range everyStep() {
		for _, e := range everyEvent() {
			f(s, e)
			n++
		}
	}
	return n
}

func everyStep() (steps []store.StepNow) {
	for _, state := range states {
		for _, reason := range reasonsOf(state) {
			for _, intent := range []time.Time{{}, now.Add(-time.Minute), now.Add(-time.Second)} {
				for _, channel := range []event.Channel{event.Kakao, event.SMS} {
					for _, fallback := range both {
						steps = append(steps, store.StepNow{
							State: state, Reason: reason, Channel: channel, Fallback: fallback, Attempt: current,
							FirstIntent: intent, ClaimedAt: now.Add(-time.Second), Expires: now.Add(time.Hour), Now: now,
						})
					}
				}
			}
		}
	}
	return steps
}

func reasonsOf(s store.State) []event.Reason {
	switch s {
	case store.StateSent:
		return []event.Reason{"", event.ReportTimeout}
	case store.StateFailed:
		return []event.Reason{event.FellBack, event.NotAccepted, event.Rejected("3018")}
	}
	return []event.Reason{""}
}

func everyEvent() (events []event.Delivery) {
	for _, status := range statuses {
		for _, source := range sources {
			for _, attempt := range []int32{current - 1, current, current + 1} {
				for _, reason := range []event.Reason{"", event.ReportTimeout, event.Rejected("3018")} {
					e := event.Delivery{Status: status, Source: source, Attempt: attempt, Reason: reason, At: now}
					events = append(events, e)
					switch status {
					case event.Failed:
						e.Final = true
						events = append(events, e)
					case event.Released:
						e.RetryAt = now.Add(time.Minute)
						events = append(events, e)
					}
				}
			}
		}
	}
	return events
}

// The invariants, each a sentence of the design; every one must hold in every
// situation.
var invariants = []struct {
	says  string
	holds func(s store.StepNow, e event.Delivery, got store.Transition) bool
}{
	{"what is terminal stays", func(s store.StepNow, _ event.Delivery, got store.Transition) bool {
		switch s.State {
		case store.StateDelivered, store.StateFailed, store.StateCancelled, store.StateSkipped, store.StateExpired:
			return got.State == ""
		}
		return true
	}},
	{"what is parked moves by evidence of success only", func(s store.StepNow, e event.Delivery, got store.Transition) bool {
		return s.State != store.StateParked || got.State == "" || e.Status == event.Sent || e.Status == event.Delivered
	}},
	{"what was sent is never asked for again", func(s store.StepNow, _ event.Delivery, got store.Transition) bool {
		if s.State != store.StateSent {
			return true
		}
		return got.State == "" || got.State == store.StateDelivered || got.State == store.StateFailed ||
			got.State == store.StateSent && got.Reason == event.ReportTimeout && s.Reason == ""
	}},
	{"sent needs an acceptance, delivered a report of it", func(_ store.StepNow, e event.Delivery, got store.Transition) bool {
		return (got.State != store.StateSent || e.Status == event.Sent) && (got.State != store.StateDelivered || e.Status == event.Delivered)
	}},
	{"failed needs evidence of failure", func(_ store.StepNow, e event.Delivery, got store.Transition) bool {
		return got.State != store.StateFailed || e.Status == event.Failed
	}},
	{"a fallback follows a definite failure of Kakao, where it is allowed", func(s store.StepNow, e event.Delivery, got store.Transition) bool {
		return !got.Fallback || s.Channel == event.Kakao && s.Fallback && !e.Final && e.Status == event.Failed && got.State == store.StateFailed
	}},
	{"a failure that may fall back does, and says so", func(s store.StepNow, e event.Delivery, got store.Transition) bool {
		if got.State != store.StateFailed {
			return !got.Fallback
		}
		allowed := s.Channel == event.Kakao && s.Fallback && !e.Final
		return got.Fallback == allowed && (got.Reason == event.FellBack) == allowed && (allowed || got.Reason == e.Reason)
	}},
	{"unknown never falls back", func(s store.StepNow, e event.Delivery, got store.Transition) bool {
		return e.Status != event.Unknown || !got.Fallback && got.State != store.StateFailed
	}},
	{"only the current attempt is released, from claimed by its answer or from unknown by a query", func(s store.StepNow, e event.Delivery, got store.Transition) bool {
		if got.State != store.StatePlanned {
			return true
		}
		return e.Status == event.Released && e.Attempt == s.Attempt &&
			(s.State == store.StateClaimed && e.Source == event.Answer || s.State == store.StateUnknown && e.Source == event.Query)
	}},
	{"the window is forgotten only when nothing of the cycle was written", func(s store.StepNow, e event.Delivery, got store.Transition) bool {
		return !got.NewCycle || got.State == store.StatePlanned && (e.Source == event.Query || s.FirstIntent.Equal(s.ClaimedAt))
	}},
	{"what is proven absent opens a new window", func(s store.StepNow, e event.Delivery, got store.Transition) bool {
		return got.State != store.StatePlanned || e.Source != event.Query || got.NewCycle
	}},
	{"what is released keeps its reason, and wakes no later than its validity ends", func(s store.StepNow, e event.Delivery, got store.Transition) bool {
		return got.State != store.StatePlanned || got.Reason == e.Reason && !got.Wake.After(s.Expires)
	}},
	{"a refusal speaks for its own request only", func(s store.StepNow, e event.Delivery, got store.Transition) bool {
		if e.Status != event.Failed || e.Source != event.Answer {
			return true
		}
		open := s.State == store.StateClaimed || s.State == store.StateUnknown
		switch {
		case e.Attempt != s.Attempt || !open:
			return got == store.Transition{}
		case !s.FirstIntent.Equal(s.ClaimedAt):
			return got.State == store.StateUnknown && !got.Fallback
		}
		return got.State == store.StateFailed
	}},
	{"the guards' word counts for a planned step of the same attempt", func(s store.StepNow, e event.Delivery, got store.Transition) bool {
		switch e.Status {
		case event.Skipped, event.Cancelled, event.Expired:
			return got.State == "" || s.State == store.StatePlanned && s.Attempt == e.Attempt && got.Reason == e.Reason
		case event.Failed:
			return e.Source != event.Guard || got.State == "" || s.State == store.StatePlanned && s.Attempt == e.Attempt && !got.Finish
		case event.Unknown:
			return got.State == "" || s.Attempt == e.Attempt && (s.State == store.StateClaimed || e.Source == event.Guard && s.State == store.StatePlanned && !got.Finish)
		}
		return true
	}},
	{"a contradiction is kept and changes nothing", func(_ store.StepNow, _ event.Delivery, got store.Transition) bool {
		return got.Anomaly == "" || got.State == "" && !got.Fallback && !got.NewCycle && got.Wake.IsZero()
	}},
	{"an acceptance or a delivery is never without effect on an open step", func(s store.StepNow, e event.Delivery, got store.Transition) bool {
		switch s.State {
		case store.StatePlanned, store.StateClaimed, store.StateUnknown, store.StateParked:
		default:
			return true
		}
		return e.Status != event.Delivered && (e.Status != event.Sent || e.Reason == event.ReportTimeout) || got.State != "" && got.Finish
	}},
	{"what is not terminal is looked at again, what is terminal is not and has a reason", func(s store.StepNow, e event.Delivery, got store.Transition) bool {
		switch got.State {
		case "":
			return true
		case store.StateUnknown:
			return got.Queue == store.ResolveQueue && got.Wake.After(s.Now)
		case store.StateSent:
			if got.Reason == event.ReportTimeout {
				return got.Wake.IsZero()
			}
			return got.Queue == store.ResolveQueue && got.Wake.Equal(s.Now.Add(timing.W))
		case store.StatePlanned:
			return got.Queue == "" && !got.Wake.Before(s.Now) && (e.RetryAt.IsZero() || got.Wake.Equal(e.RetryAt))
		}
		return got.Wake.IsZero() && got.Queue == "" && (got.Reason != "" || e.Reason == "")
	}},
}

func TestInvariantsHoldInEverySituation(t *testing.T) {
	t.Parallel()
	broken := map[string]bool{}
	n := everySituation(func(s store.StepNow, e event.Delivery) {
		got := recorder.Apply(s, e, timing)
		for _, inv := range invariants {
			if !broken[inv.says] && !inv.holds(s, e, got) {
				broken[inv.says] = true
				t.Errorf("not so: %s\nstep  %+v\nevent %+v\ngot   %+v", inv.says, s, e, got)
			}
		}
	})
	if n < 70_000 {
		t.Errorf("only %d situations", n)
	}
}

// An event that was applied and is delivered again changes nothing: no state,
// no second fallback, no shorter window.
func TestApplyingTwiceIsApplyingOnce(t *testing.T) {
	t.Parallel()
	failures := 0
	everySituation(func(s store.StepNow, e event.Delivery) {
		once := step{StepNow: s}
		once.apply(e)
		twice := once
		twice.apply(e)
		if once.StepNow != twice.StepNow || twice.fallbacks > once.fallbacks {
			if failures++; failures < 4 {
				t.Errorf("event %+v\nmade %+v\nthen %+v", e, once, twice)
			}
		}
	})
}

// step is a step as the ledger would keep it.
type step struct {
	store.StepNow
	fallbacks, anomalies int
}

func (s *step) apply(e event.Delivery) store.Transition {
	t := recorder.Apply(s.StepNow, e, timing)
	if t.Anomaly != "" {
		s.anomalies++
	}
	if t.State == "" {
		return t
	}
	s.State, s.Reason = t.State, t.Reason
	if e.RequestID != "" {
		s.RequestID = e.RequestID
	}
	if t.NewCycle {
		s.FirstIntent = time.Time{}
	}
	if t.Fallback {
		s.fallbacks++
	}
	return t
}

// claim is what ClaimSteps does to a planned step.
func (s *step) claim() {
	if s.State != store.StatePlanned {
		return
	}
	s.Now = s.Now.Add(time.Second)
	s.State, s.Attempt, s.ClaimedAt = store.StateClaimed, s.Attempt+1, s.Now
	if s.FirstIntent.IsZero() {
		s.FirstIntent = s.Now
	}
}
