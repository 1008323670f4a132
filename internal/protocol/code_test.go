package protocol

import (
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/recorder"
)

// situation is all that decides what a piece of news does to a step.
type situation struct {
	status        status
	step, attempt int8
	open, first   bool // a cycle is open; it has only the last claim
	named         bool
	what          news
}

// compared is the recorded protocol, in which every decision of the model's
// recorder is held against the code's.
type compared struct {
	Recorded
	t    *testing.T
	seen map[situation]bool
}

func (c compared) Moves(s Ledger, to func(Ledger, Move)) {
	for at, told := range s.told {
		for what := news(1); what < lastNews; what <<= 1 {
			if told&what == 0 {
				continue
			}
			// What speaks of the message and not of an attempt comes with the
			// number of whichever the teller looked at.
			from, last := at, at
			if what >= found {
				from, last = 1, int(s.attempt)
			}
			for attempt := from; attempt <= last; attempt++ {
				c.compare(s, what, int8(attempt))
			}
		}
	}
	c.Recorded.Moves(s, to)
}

var began = time.Date(2026, 3, 2, 1, 0, 0, 0, time.UTC)

func at(tick int8) time.Time {
	if tick < 0 {
		return time.Time{}
	}
	return began.Add(time.Duration(tick) * time.Second)
}

// states are the model's in the ledger's words.
var states = map[status]store.State{
	planned: store.StatePlanned, claimed: store.StateClaimed, unknown: store.StateUnknown, sent: store.StateSent,
	delivered: store.StateDelivered, failed: store.StateFailed, parked: store.StateParked, expired: store.StateExpired,
}

// events are the model's news as they are published. What the gateway itself
// says of a message comes by three ways.
var events = map[news][]event.Delivery{
	taken:         {{Status: event.Sent, Source: event.Answer, RequestID: "r"}},
	rejected:      {{Status: event.Failed, Source: event.Answer, Reason: event.Rejected("-1000")}},
	ambiguous:     {{Status: event.Unknown, Source: event.Answer}},
	notWritten:    {{Status: event.Released, Source: event.Answer}},
	stale:         {{Status: event.Unknown, Source: event.Query}},
	absent:        {{Status: event.Released, Source: event.Query}},
	gone:          {{Status: event.Failed, Source: event.Query, Reason: event.NotAccepted}},
	unsolved:      {{Status: event.Parked, Source: event.Query, Reason: event.OutcomeUnknown}},
	tooLate:       {{Status: event.Expired, Source: event.Guard, Reason: event.TimePassed}},
	found:         {{Status: event.Sent, Source: event.Query, RequestID: "r"}},
	saidDelivered: byAllWays(event.Delivery{Status: event.Delivered, RequestID: "r"}),
	saidFailed:    byAllWays(event.Delivery{Status: event.Failed, RequestID: "r", Reason: event.Rejected("3018")}),
}

func byAllWays(e event.Delivery) (list []event.Delivery) {
	for _, source := range []event.Source{event.Query, event.Poll, event.Report} {
		e.Source = source
		list = append(list, e)
	}
	return list
}

func (c compared) compare(s Ledger, what news, attempt int8) {
	k := situation{s.status, s.attempt, attempt, s.intent >= 0, s.intent == s.claim, s.named, what}
	if c.seen[k] {
		return
	}
	c.seen[k] = true
	now := store.StepNow{
		State: states[s.status], Channel: event.Kakao, Fallback: true, Attempt: int32(s.attempt),
		FirstIntent: at(s.intent), ClaimedAt: at(s.claim), Now: at(s.now), Expires: at(c.Expires),
	}
	if s.status == failed {
		now.Reason = event.FellBack
	}
	if s.named {
		now.RequestID = "r"
	}
	for _, e := range events[what] {
		e.Attempt = int32(attempt)
		got, model := recorder.Apply(now, e, store.DefaultTiming), c.apply(s, what, attempt)
		want := change{moves: got.State != "", newCycle: got.NewCycle, fallback: got.Fallback, anomaly: got.Anomaly != ""}
		if want.moves {
			for st, name := range states {
				if name == got.State {
					want.to = st
				}
			}
		}
		if model != want {
			c.t.Errorf("%s of attempt %d (%s) at a step that is %s, attempt %d: the recorder does %+v, the model %+v",
				heard[what], attempt, e.Source, now.State, s.attempt, want, model)
		}
	}
}

// fewest is how many situations the smallest world leads to; a comparison of
// fewer compares nothing.
const fewest = 120

// explore visits every state, and where the recorder is modelled, compares it
// with the code's wherever it decides.
func explore(t *testing.T, v Variant) Report {
	t.Helper()
	m, ok := v.model.(Recorded)
	if !ok {
		return v.Explore()
	}
	c := compared{m, t, map[situation]bool{}}
	r := Explore(c)
	t.Logf("the recorder was compared in %d situations", len(c.seen))
	if len(c.seen) < fewest {
		t.Errorf("compared in %d situations, want at least %d", len(c.seen), fewest)
	}
	return r
}

// assume says which of the model's assumptions a set of numbers breaks.
func assume(t store.Timing) (broken []string) {
	lastClaim := t.W - t.G - t.D - t.Slack // after the first of its cycle
	for _, a := range []struct {
		holds bool
		says  string
	}{
		{t.R > 0 && t.G > 0 && t.D > 0 && t.V > 0 && t.W > 0 && t.Slack > 0, "every number is positive"},
		{lastClaim > 0, "a key can be used twice at all"},
		{lastClaim+t.G+t.D < t.W, "the last request under a key arrives while the key is remembered"},
		{t.StaleClaim() == t.R+t.G+t.D, "a stale claim has been answered, told and left the wire"},
		{t.Quiet() == t.G+t.D+t.V, "after the quiet period nothing is on the wire and all is visible"},
		{t.Quiet() < t.W, "a second cycle begins while the first one's key is remembered"},
		{t.G <= t.R, "a request that may still be written has not been given up"},
	} {
		if !a.holds {
			broken = append(broken, a.says)
		}
	}
	return broken
}

func TestSettingsMeetTheModelsAssumptions(t *testing.T) {
	t.Parallel()
	for _, scale := range []float64{1, 1.5, 2, 3, 7, 20, 60, 100, 333.3, 999, 1000} {
		timing := store.DefaultTiming.Scaled(scale)
		for _, broken := range assume(timing) {
			t.Errorf("--time-scale=%g: not so: %s", scale, broken)
		}
		if timing.UnknownDeadline <= timing.StaleClaim()+timing.Quiet() {
			t.Errorf("--time-scale=%g: a step is parked after %s, before its gateway could be asked", scale, timing.UnknownDeadline)
		}
	}
	for what, change := range map[string]func(*store.Timing){
		"no slack":       func(t *store.Timing) { t.Slack = 0 },
		"a short window": func(t *store.Timing) { t.W = 40 * time.Second },
		"a long guard":   func(t *store.Timing) { t.G = 11 * time.Second },
		"a slow query":   func(t *store.Timing) { t.V = t.W },
	} {
		timing := store.DefaultTiming
		if change(&timing); assume(timing) == nil {
			t.Errorf("%s passes", what)
		}
	}
}

// The model's own numbers meet the assumptions too: it is a small copy of the
// real world, not another one. A tick is its slack, for its cut-off is strict.
func TestModelMeetsItsOwnAssumptions(t *testing.T) {
	t.Parallel()
	for _, m := range []Recorded{recorded, long(NoGap, Faults{}), thrice(Faults{}), brief(Faults{})} {
		s := func(tick int8) time.Duration { return time.Duration(tick) * time.Second }
		timing := store.Timing{R: s(m.R), G: s(m.G), D: s(m.D), V: s(m.V), W: s(m.W), Slack: time.Second}
		for _, broken := range assume(timing) {
			t.Errorf("not so: %s", broken)
		}
		if got := m.stale(Ledger{State: State{claim: 3}}); s(got-3) != timing.StaleClaim() {
			t.Errorf("a claim of tick 3 is stale at %d", got)
		}
		if s(m.Horizon-m.Expires+1) < timing.Quiet() {
			t.Errorf("the last claim of tick %d is not quiet at the horizon %d", m.Expires-1, m.Horizon)
		}
	}
}
