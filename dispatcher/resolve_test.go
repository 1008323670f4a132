package dispatcher

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
	"github.com/doctorsflow/doctorsflow/providers"
)

// unresolved is a step whose last request was claimed d before now.
func unresolved(state store.State, d time.Duration) store.Unresolved {
	return store.Unresolved{
		Tenant: aClinic, Step: aTour, Root: aRoot, Channel: event.Kakao, State: state, Attempt: 1,
		FirstIntent: noon.Add(-d), ClaimedAt: noon.Add(-d), SentAt: noon.Add(-d), Expires: noon.Add(24 * time.Hour), Now: noon,
	}
}

func TestMissingOutcomeIsWhatTheGatewaySays(t *testing.T) {
	t.Parallel()
	type U = store.Unresolved
	type D = event.Delivery
	const (
		claimed, unknown, sent = store.StateClaimed, store.StateUnknown, store.StateSent
	)
	stale, still, timeout, deadline := timing.StaleClaim(), timing.Quiet(), timing.ReportTimeout, timing.UnknownDeadline
	found := func(s providers.State) []providers.Result {
		return []providers.Result{
			{RequestID: "r2", Seq: 3, State: s, Code: "3018", At: noon.Add(-time.Second)},
			{RequestID: "r1", Seq: 1, State: providers.Failed, Code: "older"},
		}
	}
	evidence := func(s event.Status, r event.Reason) *D {
		return &D{Status: s, Reason: r, RequestID: "r2", Seq: 3, Code: "3018", At: noon.Add(-time.Second).UTC()}
	}
	away := errors.New("gateway is away")
	tests := []struct {
		name   string
		u      U
		change func(*U)
		behind time.Time // since when the recorder's oldest event waits
		found  []providers.Result
		err    error
		want   *D
	}{
		{name: "claim_may_still_be_out", u: unresolved(claimed, stale-1)},
		{name: "claim_is_stale", u: unresolved(claimed, stale), want: &D{Status: event.Unknown}},
		{name: "its_answer_may_wait_for_the_recorder", u: unresolved(claimed, time.Hour), behind: noon.Add(-time.Hour + stale - 1)},
		{name: "what_waits_is_too_young_to_be_its_answer", u: unresolved(claimed, time.Hour), behind: noon.Add(-time.Hour + stale), want: &D{Status: event.Unknown}},

		{name: "under_way", u: unresolved(unknown, time.Minute), found: found(providers.Pending), want: evidence(event.Sent, "")},
		{name: "unconfirmed", u: unresolved(unknown, time.Minute), found: found(providers.Unconfirmed), want: evidence(event.Sent, "")},
		{name: "delivered", u: unresolved(unknown, time.Minute), found: found(providers.Delivered), want: evidence(event.Delivered, "")},
		{name: "failed", u: unresolved(unknown, time.Minute), found: found(providers.Failed), want: evidence(event.Failed, "rejected:3018")},
		{
			name: "failed_by_a_rule", u: unresolved(unknown, time.Minute), found: []providers.Result{{RequestID: "r2", State: providers.Failed, Scope: providers.Policy, Code: "3022"}},
			want: &D{Status: event.Failed, Reason: "rejected:3022", RequestID: "r2", Code: "3022", Final: true},
		},
		{name: "delivered_however_late", u: unresolved(unknown, 10*deadline), found: found(providers.Delivered), want: evidence(event.Delivered, "")},

		{name: "absence_does_not_count_yet", u: unresolved(unknown, still-1)},
		{name: "absent", u: unresolved(unknown, still), want: &D{Status: event.Released, RetryAt: noon}},
		{
			name: "absence_counts_from_the_last_claim", u: unresolved(unknown, time.Hour),
			change: func(u *U) { u.ClaimedAt = noon.Add(-still + 1) },
		},
		{name: "absent_too_often", u: unresolved(unknown, still), change: func(u *U) { u.Lost = 5 }, want: &D{Status: event.Failed, Reason: event.NotAccepted}},
		{name: "absent_once_less", u: unresolved(unknown, still), change: func(u *U) { u.Lost, u.Attempt = 4, 9 }, want: &D{Status: event.Released, RetryAt: noon, Attempt: 9}},
		{name: "absent_and_expired", u: unresolved(unknown, still), change: func(u *U) { u.Expires = noon }, want: &D{Status: event.Failed, Reason: event.NotAccepted}},

		{name: "gateway_cannot_be_asked", u: unresolved(unknown, deadline), err: away},
		{name: "gateway_could_not_be_asked_for_too_long", u: unresolved(unknown, deadline+1), err: away, want: &D{Status: event.Parked, Reason: event.OutcomeUnknown}},
		{name: "author_chose_park", u: unresolved(unknown, deadline+1), err: away, change: func(u *U) { u.OnUnknown = workflow.Park }, want: &D{Status: event.Parked, Reason: event.OutcomeUnknown}},
		{name: "author_chose_resend", u: unresolved(unknown, deadline+1), err: away, change: func(u *U) { u.OnUnknown = workflow.Resend }, want: &D{Status: event.Released, RetryAt: noon}},
		{
			name: "resent_too_often", u: unresolved(unknown, deadline+1), err: away, change: func(u *U) { u.OnUnknown, u.Lost = workflow.Resend, 5 },
			want: &D{Status: event.Parked, Reason: event.OutcomeUnknown},
		},
		{
			name: "nothing_is_resent_when_expired", u: unresolved(unknown, deadline+1), err: away, change: func(u *U) { u.OnUnknown, u.Expires = workflow.Resend, noon },
			want: &D{Status: event.Parked, Reason: event.OutcomeUnknown},
		},
		{name: "author_chose_fallback", u: unresolved(unknown, deadline+1), err: away, change: func(u *U) { u.OnUnknown = workflow.Fallback }, want: &D{Status: event.Failed, Reason: event.OutcomeUnknown}},
		{name: "no_choice_before_the_deadline", u: unresolved(unknown, deadline), err: away, change: func(u *U) { u.OnUnknown = workflow.Fallback }},
		{
			name: "what_may_arrive_outweighs_a_later_failure", u: unresolved(unknown, time.Minute), found: []providers.Result{
				{RequestID: "r3", State: providers.Failed, Code: "3018"}, {RequestID: "r2", State: providers.Pending}, {RequestID: "r1", State: providers.Delivered, Code: "1000"},
			},
			want: &D{Status: event.Delivered, RequestID: "r1", Code: "1000"},
		},

		{name: "report_is_awaited", u: unresolved(sent, timeout-1), found: found(providers.Pending)},
		{name: "report_is_overdue", u: unresolved(sent, timeout), found: found(providers.Pending), want: evidence(event.Sent, event.ReportTimeout)},
		{name: "report_is_never_certain", u: unresolved(sent, timeout), found: found(providers.Unconfirmed), want: evidence(event.Sent, event.ReportTimeout)},
		{name: "sent_is_delivered", u: unresolved(sent, time.Hour), found: found(providers.Delivered), want: evidence(event.Delivered, "")},
		{name: "sent_has_failed", u: unresolved(sent, time.Hour), found: found(providers.Failed), want: evidence(event.Failed, "rejected:3018")},
		{name: "sent_is_not_found", u: unresolved(sent, timeout-1)},
		{name: "sent_was_never_found", u: unresolved(sent, timeout), want: &D{Status: event.Sent, Reason: event.ReportTimeout}},
		{name: "sent_cannot_be_asked_for", u: unresolved(sent, time.Hour), err: away},
		{name: "sent_could_never_be_asked_for", u: unresolved(sent, timeout), err: away, want: &D{Status: event.Sent, Reason: event.ReportTimeout}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.change != nil {
				tt.change(&tt.u)
			}
			g := &gate{find: func(key string, from, to time.Time) ([]providers.Result, error) {
				if tt.u.State == claimed || key != event.Key(aRoot, event.Kakao) || from.After(tt.u.FirstIntent) || to.Before(tt.u.Now) {
					t.Errorf("asked for %s from %s to %s", key, from, to)
				}
				return tt.found, tt.err
			}}
			r := &Resolver{Gateways: NewGateways(office{}, opened(g)), Timing: timing, Logger: quiet}
			got := r.resolve(t.Context(), tt.u, stream.Backlog{Since: tt.behind})
			if tt.want == nil || got == nil {
				if got != tt.want {
					t.Errorf("got %+v, want %+v", got, tt.want)
				}
				return
			}
			tt.want.Tenant, tt.want.Step, tt.want.Channel, tt.want.Source = aClinic, aTour, event.Kakao, event.Query
			if tt.want.Attempt == 0 {
				tt.want.Attempt = 1
			}
			if tt.want.At.IsZero() {
				tt.want.At = got.At
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if err := got.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

// watch is the ledger and the recorder's backlog as the resolver sees them.
type watch struct {
	mu      sync.Mutex
	queues  []store.Queue
	list    []store.Unresolved
	err     error
	leased  [][]tenant.ID
	told    []event.Event
	refused error
}

func (w *watch) Queues(context.Context) ([]store.Queue, time.Time, error) {
	return w.queues, noon, w.err
}

func (w *watch) LeaseUnresolved(_ context.Context, tenants []tenant.ID, _ time.Duration, _ int) ([]store.Unresolved, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leased = append(w.leased, tenants)
	return w.list, nil
}

func (w *watch) Backlog(_ context.Context, from, name string) (stream.Backlog, error) {
	if from != stream.Deliveries || name != stream.RecorderConsumer {
		return stream.Backlog{}, errors.New("not the recorder's")
	}
	return stream.Backlog{}, w.refused
}

func (w *watch) Publish(_ context.Context, events []event.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, events...)
	return nil
}

func TestResolverLooksOnlyWhereSomethingIsDue(t *testing.T) {
	t.Parallel()
	due, later, lane := tenant.NewID(), tenant.NewID(), tenant.NewID()
	queues := []store.Queue{
		{Tenant: due, Name: store.ResolveQueue, Wake: noon}, {Tenant: later, Name: store.ResolveQueue, Wake: noon.Add(1)}, {Tenant: lane, Name: "care", Wake: noon},
	}
	run := func(w *watch) error {
		g := &gate{find: func(string, time.Time, time.Time) ([]providers.Result, error) { return nil, nil }}
		r := &Resolver{Ledger: w, Backlog: w, Publisher: w, Gateways: NewGateways(office{}, opened(g)), Timing: timing, Logger: quiet}
		return r.pass(t.Context(), time.Second)
	}
	w := &watch{queues: queues, list: []store.Unresolved{
		unresolved(store.StateUnknown, time.Hour), unresolved(store.StateUnknown, time.Second), unresolved(store.StateClaimed, time.Hour),
	}}
	if err := run(w); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]tenant.ID{{due}}, w.leased); diff != "" {
		t.Errorf("leased (-want +got):\n%s", diff)
	}
	if len(w.told) != 2 {
		t.Errorf("told %v, want two of three", w.told)
	}
	for name, quietly := range map[string]*watch{
		"nothing_due": {queues: queues[1:]}, "nothing_leased": {queues: queues}, "nothing_found": {queues: queues, list: w.list[1:2]},
	} {
		if err := run(quietly); err != nil || len(quietly.told) != 0 {
			t.Errorf("%s: %v, told %v", name, err, quietly.told)
		}
	}
	// Without the recorder's backlog nothing may be concluded of a claim.
	blind := &watch{queues: queues, list: w.list, refused: errors.New("no broker")}
	if err := run(blind); !errors.Is(err, blind.refused) || len(blind.told) != 0 {
		t.Errorf("without a broker: %v, told %v", err, blind.told)
	}
}

func TestResolverLooksOftenAndEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &watch{queues: []store.Queue{{Tenant: aClinic, Name: store.ResolveQueue, Wake: noon}}}
		r := &Resolver{Ledger: w, Backlog: w, Publisher: w, Gateways: NewGateways(office{}, opened(new(gate))), Timing: timing, Logger: quiet}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second+1)
		defer cancel()
		if err := r.Run(ctx); err != nil || len(w.leased) != 11 {
			t.Errorf("Run = %v after %d looks, want one at once and one every 2 s", err, len(w.leased))
		}
	})
}
