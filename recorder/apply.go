package recorder

import (
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// The kinds of anomaly.
const (
	// LateSuccess: a gateway reports delivered what it had reported failed.
	LateSuccess = "success_after_failure"
	// LateFailure: a gateway reports failed what it had reported delivered.
	LateFailure = "failure_after_success"
	// LateAcceptance: an acceptance came to light after we had concluded that
	// the gateway has none; D or V is too short.
	LateAcceptance = "acceptance_after_absence"
)

// Apply says what one piece of evidence changes about a step. It is pure and
// forward-only: evidence that comes late, twice or out of order never takes a
// step back, and a contradiction becomes an anomaly, not a change.
//
//	planned ─▶ claimed ─▶ sent ─▶ delivered
//	   ▲         │  └▶ unknown ─▶ (as claimed)
//	   └─────────┘ released: provably not written, or proven absent
func Apply(s store.StepNow, e event.Delivery, t store.Timing) store.Transition {
	switch e.Status {
	case event.Sent:
		return accepted(s, e, t)
	case event.Delivered:
		return delivered(s)
	case event.Failed:
		return failed(s, e, t)
	case event.Unknown:
		return unknown(s, e, t)
	case event.Released:
		return released(s, e)
	case event.Parked:
		if s.Attempt == e.Attempt && (s.State == store.StateClaimed || s.State == store.StateUnknown) {
			return store.Transition{State: store.StateParked, Reason: e.Reason, Finish: true}
		}
	case event.Skipped, event.Cancelled, event.Expired:
		if s.State == store.StatePlanned && s.Attempt == e.Attempt {
			return store.Transition{State: store.State(e.Status), Reason: e.Reason}
		}
	}
	return store.Transition{}
}

// open reports whether the gateway's acceptance is still news.
func open(s store.State) bool {
	return s == store.StatePlanned || s == store.StateClaimed || s == store.StateUnknown
}

// accepted: an ok of any attempt counts, also of an older one.
func accepted(s store.StepNow, e event.Delivery, t store.Timing) store.Transition {
	switch {
	case e.Reason == event.ReportTimeout:
		if s.State == store.StateSent && s.Reason == "" {
			return store.Transition{State: store.StateSent, Reason: e.Reason}
		}
	case open(s.State):
		// Reports come by themselves; after W the resolver asks for one.
		return store.Transition{State: store.StateSent, Finish: true, Queue: store.ResolveQueue, Wake: s.Now.Add(t.W)}
	case missed(s, e):
		return store.Transition{Anomaly: LateAcceptance, Finish: true}
	case s.State == store.StateParked:
		// A human has it, but the evidence is better than anything they have.
		return store.Transition{State: store.StateSent, Finish: true, Queue: store.ResolveQueue, Wake: s.Now.Add(t.W)}
	}
	return store.Transition{}
}

// missed reports whether the gateway accepted a request that the failure does
// not account for. What failed by a result names the request that it is about,
// and the acceptance of that one, come late or again, contradicts nothing;
// what failed because nothing was found names none, whatever its reason shows.
func missed(s store.StepNow, e event.Delivery) bool {
	if s.State != store.StateFailed || e.RequestID != "" && e.RequestID == s.RequestID {
		return false
	}
	return s.Reason == event.NotAccepted || s.Reason == event.FellBack || s.Attempt == e.Attempt && e.Source == event.Answer
}

func delivered(s store.StepNow) store.Transition {
	switch s.State {
	case store.StatePlanned, store.StateClaimed, store.StateUnknown, store.StateParked:
		return store.Transition{State: store.StateDelivered, Reason: event.ConfirmedByReport, Finish: true}
	case store.StateSent:
		return store.Transition{State: store.StateDelivered, Reason: event.ConfirmedByReport}
	case store.StateFailed:
		return store.Transition{Anomaly: LateSuccess}
	}
	return store.Transition{}
}

func failed(s store.StepNow, e event.Delivery, t store.Timing) store.Transition {
	fail := store.Transition{State: store.StateFailed, Reason: e.Reason, Finish: true}
	if s.Fallback && s.Channel == event.Kakao && !e.Final {
		fail.Fallback, fail.Reason = true, event.FellBack
	}
	switch e.Source {
	case event.Guard:
		if s.State == store.StatePlanned && s.Attempt == e.Attempt {
			fail.Finish = false
			return fail
		}
	case event.Answer:
		// A refusal speaks only for its own request.
		switch {
		case s.State != store.StateClaimed && s.State != store.StateUnknown || s.Attempt != e.Attempt:
			return store.Transition{}
		case !s.FirstIntent.Equal(s.ClaimedAt):
			un := unknown(s, e, t)
			un.State, un.Queue, un.Wake = store.StateUnknown, store.ResolveQueue, s.Now.Add(soon(t))
			return un
		}
		return fail
	default:
		switch s.State {
		case store.StateClaimed, store.StateUnknown, store.StateSent:
			fail.Finish = s.State != store.StateSent
			return fail
		case store.StateDelivered:
			return store.Transition{Anomaly: LateFailure}
		}
	}
	return store.Transition{}
}

func unknown(s store.StepNow, e event.Delivery, t store.Timing) store.Transition {
	cutOff := e.Source == event.Guard && s.State == store.StatePlanned
	if s.Attempt != e.Attempt || s.State != store.StateClaimed && !cutOff {
		return store.Transition{}
	}
	return store.Transition{State: store.StateUnknown, Finish: !cutOff, Queue: store.ResolveQueue, Wake: s.Now.Add(soon(t))}
}

// soon is when the gateway is first asked about an unknown outcome.
func soon(t store.Timing) time.Duration { return t.R / 5 }

// released puts the step back to sleep. Only the first request of a cycle
// opens the key window, so only when that one provably was not written, or
// the gateway says that it has none, does the next one open it anew.
func released(s store.StepNow, e event.Delivery) store.Transition {
	again := store.Transition{State: store.StatePlanned, Reason: e.Reason, Wake: e.RetryAt, Finish: true}
	switch {
	case s.Attempt != e.Attempt:
		return store.Transition{}
	case s.State == store.StateClaimed && e.Source == event.Answer:
		again.NewCycle = s.FirstIntent.Equal(s.ClaimedAt)
	case s.State == store.StateUnknown && e.Source == event.Query:
		again.NewCycle = true
	default:
		return store.Transition{}
	}
	if again.Wake.IsZero() {
		again.Wake = s.Now
	}
	if again.Wake.After(s.Expires) {
		again.Wake = s.Expires // to be ended then
	}
	return again
}
