package recorder_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/recorder"
)

// claimed is a step whose first request is out.
func claimed() step {
	s := step{StepNow: store.StepNow{State: store.StatePlanned, Channel: event.Kakao, Fallback: true, Now: now, Expires: now.Add(time.Hour)}}
	s.claim()
	return s
}

func told(status event.Status, source event.Source, attempt int32, reason event.Reason) event.Delivery {
	return event.Delivery{Status: status, Source: source, Attempt: attempt, Reason: reason, At: now}
}

// permutations calls f with every order of list.
func permutations(list []event.Delivery, f func([]event.Delivery)) {
	var permute func(int)
	permute = func(n int) {
		if n == len(list) {
			f(list)
			return
		}
		for i := n; i < len(list); i++ {
			list[n], list[i] = list[i], list[n]
			permute(n + 1)
			list[n], list[i] = list[i], list[n]
		}
	}
	permute(0)
}

func TestReportsInAnyOrderEndAlike(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		events []event.Delivery
		want   store.State
		reason event.Reason
	}{
		{"answered_and_reported_twice", []event.Delivery{
			told(event.Sent, event.Answer, 1, ""), told(event.Delivered, event.Report, 1, ""),
			told(event.Delivered, event.Poll, 1, ""), told(event.Sent, event.Query, 1, ""),
		}, store.StateDelivered, event.ConfirmedByReport},
		{"ambiguous_then_found", []event.Delivery{
			told(event.Unknown, event.Answer, 1, ""), told(event.Unknown, event.Query, 1, ""),
			told(event.Sent, event.Query, 1, ""), told(event.Sent, event.Answer, 1, ""),
		}, store.StateSent, ""},
		{"failed_by_several", []event.Delivery{
			told(event.Unknown, event.Answer, 1, ""), told(event.Failed, event.Report, 1, event.Rejected("3018")),
			told(event.Failed, event.Poll, 1, event.Rejected("3018")), told(event.Failed, event.Query, 1, event.Rejected("3018")),
		}, store.StateFailed, event.FellBack},
		{"refused_and_refused_again", []event.Delivery{
			told(event.Failed, event.Answer, 1, event.Rejected("-1")), told(event.Failed, event.Answer, 1, event.Rejected("-1")),
		}, store.StateFailed, event.FellBack},
	}
	for _, tt := range tests {
		permutations(tt.events, func(order []event.Delivery) {
			s := claimed()
			for _, e := range order {
				s.apply(e)
			}
			if s.State != tt.want || s.Reason != tt.reason || s.fallbacks > 1 || s.anomalies > 0 {
				t.Errorf("%s: %v ended %s (%s), %d fallbacks, %d anomalies; want %s (%s)", tt.name, order, s.State, s.Reason, s.fallbacks, s.anomalies, tt.want, tt.reason)
			}
		})
	}
}

// Five pieces of evidence about one request, in every order: they end alike
// unless they contradict each other, and then the contradiction is kept.
func TestEvidenceInAnyOrderIsConsistent(t *testing.T) {
	t.Parallel()
	pool := []event.Delivery{
		told(event.Sent, event.Answer, 1, ""), told(event.Sent, event.Query, 1, ""), told(event.Unknown, event.Answer, 1, ""),
		told(event.Unknown, event.Query, 1, ""), told(event.Sent, event.Query, 1, event.ReportTimeout),
		told(event.Delivered, event.Report, 1, ""), told(event.Delivered, event.Poll, 1, ""),
		told(event.Failed, event.Report, 1, event.Rejected("3018")), told(event.Failed, event.Poll, 1, event.Rejected("3018")),
		told(event.Failed, event.Query, 1, event.Rejected("3018")),
	}
	for i := range pool {
		pool[i].RequestID = "r1" // they all speak of the one request
	}
	rapid.Check(t, func(t *rapid.T) {
		events := rapid.SliceOfN(rapid.SampledFrom(pool), 5, 5).Draw(t, "events")
		has := func(status event.Status) bool {
			return slices.ContainsFunc(events, func(e event.Delivery) bool { return e.Status == status && e.Reason != event.ReportTimeout })
		}
		permutations(events, func(order []event.Delivery) {
			s := claimed()
			for _, e := range order {
				s.apply(e)
			}
			if s.fallbacks > 1 || (s.fallbacks == 1) != (s.State == store.StateFailed) {
				t.Fatalf("%v: %d fallbacks, %s", order, s.fallbacks, s.State)
			}
			switch {
			case has(event.Failed) && has(event.Delivered):
				if s.anomalies == 0 || s.State != store.StateFailed && s.State != store.StateDelivered {
					t.Fatalf("%v contradict each other: %s with %d anomalies", order, s.State, s.anomalies)
				}
			case has(event.Failed) && s.State != store.StateFailed,
				!has(event.Failed) && has(event.Delivered) && s.State != store.StateDelivered,
				!has(event.Failed) && !has(event.Delivered) && has(event.Sent) && s.State != store.StateSent:
				t.Fatalf("%v ended %s", order, s.State)
			case s.anomalies > 0:
				t.Fatalf("%v contradict nothing and left %d anomalies", order, s.anomalies)
			}
		})
	})
}

// Whatever comes, in whatever order and however often, with claims in between:
// one fallback at most, nothing leaves an end, and no success without evidence.
func TestAnySequenceKeepsThePromise(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := claimed()
		s.Fallback = rapid.Bool().Draw(t, "fallback")
		var history []event.Delivery
		var proven [2]bool // accepted, delivered
		for range rapid.IntRange(1, 30).Draw(t, "length") {
			if rapid.IntRange(0, 3).Draw(t, "claim") == 0 {
				s.claim()
				continue
			}
			e := told(rapid.SampledFrom(statuses).Draw(t, "status"), rapid.SampledFrom(sources).Draw(t, "source"),
				s.Attempt-int32(rapid.IntRange(0, 1).Draw(t, "older")), event.Rejected("3018"))
			e.Final = rapid.IntRange(0, 4).Draw(t, "final") == 0
			if len(history) > 0 && rapid.Bool().Draw(t, "again") {
				e = rapid.SampledFrom(history).Draw(t, "old")
			}
			history = append(history, e)
			proven[0] = proven[0] || e.Status == event.Sent
			proven[1] = proven[1] || e.Status == event.Delivered
			before := s
			s.apply(e)
			if ended(before.State) && s.State != before.State && !(before.State == store.StateParked && (proven[0] || proven[1])) {
				t.Fatalf("%s became %s by %+v", before.State, s.State, e)
			}
			if s.State == store.StateSent && !proven[0] || s.State == store.StateDelivered && !proven[1] {
				t.Fatalf("%s without evidence after %v", s.State, history)
			}
		}
		if s.fallbacks > 1 || s.fallbacks > 0 && (!s.Fallback || s.State != store.StateFailed) {
			t.Fatalf("%d fallbacks of a step that ended %s after %v", s.fallbacks, s.State, history)
		}
	})
}

func ended(s store.State) bool { return event.Status(s).Terminal() }

func TestContradictionsAreNamed(t *testing.T) {
	t.Parallel()
	at := func(state store.State, reason event.Reason) store.StepNow {
		s := claimed()
		s.State, s.Reason = state, reason
		return s.StepNow
	}
	failedBy := func(request string, reason event.Reason) store.StepNow {
		s := at(store.StateFailed, reason)
		s.RequestID = request
		return s
	}
	of := func(request string, e event.Delivery) event.Delivery {
		e.RequestID = request
		return e
	}
	tests := []struct {
		name string
		s    store.StepNow
		e    event.Delivery
		want store.Transition
	}{
		{"delivered_after_failed", at(store.StateFailed, event.FellBack), told(event.Delivered, event.Report, 1, ""), store.Transition{Anomaly: recorder.LateSuccess}},
		{"failed_after_delivered", at(store.StateDelivered, ""), told(event.Failed, event.Poll, 1, event.Rejected("1")), store.Transition{Anomaly: recorder.LateFailure}},
		{"accepted_after_absence", at(store.StateFailed, event.NotAccepted), told(event.Sent, event.Poll, 1, ""), store.Transition{Anomaly: recorder.LateAcceptance, Finish: true}},
		{"accepted_after_fallback", at(store.StateFailed, event.FellBack), told(event.Sent, event.Answer, 1, ""), store.Transition{Anomaly: recorder.LateAcceptance, Finish: true}},
		{"accepted_after_an_absence_that_fell_back", at(store.StateFailed, event.FellBack), of("r1", told(event.Sent, event.Query, 1, "")), store.Transition{Anomaly: recorder.LateAcceptance, Finish: true}},
		{"accepted_after_its_own_failure", failedBy("r1", event.FellBack), of("r1", told(event.Sent, event.Answer, 1, "")), store.Transition{}},
		{"accepted_again_after_its_own_failure", failedBy("r1", event.Rejected("3018")), of("r1", told(event.Sent, event.Answer, 1, "")), store.Transition{}},
		{"another_accepted_after_a_failure", failedBy("r1", event.FellBack), of("r2", told(event.Sent, event.Query, 1, "")), store.Transition{Anomaly: recorder.LateAcceptance, Finish: true}},
		{"refused_after_delivered_is_no_news", at(store.StateDelivered, ""), told(event.Failed, event.Answer, 1, event.Rejected("1")), store.Transition{}},
	}
	for _, tt := range tests {
		if got := recorder.Apply(tt.s, tt.e, timing); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// A refusal after an earlier request of the same cycle is found out, soon.
func TestRefusalAfterAnEarlierWriteIsFoundOut(t *testing.T) {
	t.Parallel()
	s := claimed()
	s.apply(event.Delivery{Status: event.Unknown, Source: event.Answer, Attempt: 1, At: now})
	// A retry within the key's window keeps the first intent.
	s.State = store.StatePlanned
	s.claim()
	got := s.apply(told(event.Failed, event.Answer, 2, event.Rejected("-1")))
	want := store.Transition{State: store.StateUnknown, Finish: true, Queue: store.ResolveQueue, Wake: s.Now.Add(timing.R / 5)}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
