package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/providers"
)

// drawer is the ledger as the confirmer sees it.
type drawer struct {
	leased   []store.PendingReport
	leases   int
	settled  []store.SettledReport
	told     []event.Event
	failTell error
	failKeep error
}

func (d *drawer) LeaseReports(context.Context, time.Duration, time.Duration, int, int) ([]store.PendingReport, error) {
	d.leases++
	return d.leased, nil
}

func (d *drawer) SettleReports(_ context.Context, list []store.SettledReport) error {
	if d.failKeep != nil {
		return d.failKeep
	}
	d.settled = append(d.settled, list...)
	return nil
}

func (d *drawer) PendingReports(context.Context) (int, time.Duration, error) {
	return len(d.leased), 0, nil
}

func (d *drawer) Publish(_ context.Context, events []event.Event) error {
	if d.failTell != nil {
		return d.failTell
	}
	d.told = append(d.told, events...)
	return nil
}

func confirmer(d *drawer, g *gate) *Confirmer {
	return &Confirmer{Ledger: d, Publisher: d, Gateways: NewGateways(office{}, opened(g)), Timing: timing, Every: time.Second, Logger: quiet}
}

// reported is a report of a failure of a message that a gateway accepted.
func reported() store.PendingReport {
	id := uuid.Must(uuid.NewV7())
	return store.PendingReport{
		Tenant: aClinic, Account: aRoot, HookID: id.String(), Says: store.SaysFailed, Code: "3019", Received: noon, Now: noon, Tries: 1, Named: true,
		Step: id, Root: id, Channel: event.Kakao, State: store.StateSent, Attempt: 2, FirstIntent: noon.Add(-time.Minute), SentBy: aRoot,
		RequestID: "r-" + id.String(), Seq: 1,
	}
}

// What becomes of a report follows from the gateway's answer alone; the
// evidence that is published is that answer.
func TestReportIsWeighedByTheGatewaysAnswer(t *testing.T) {
	t.Parallel()
	result := func(s providers.State, code string) []providers.Result {
		return []providers.Result{{RequestID: "r1", Seq: 1, State: s, Code: code, At: noon.Add(-time.Second)}}
	}
	down := fmt.Errorf("no: %w", providers.ErrUnavailable)
	tests := []struct {
		name   string
		change func(*store.PendingReport)
		found  []providers.Result
		err    error
		to     store.ReportState
		tells  event.Status
	}{
		{"failure_confirmed", nil, result(providers.Failed, "3019"), nil, store.ReportConfirmed, event.Failed},
		{"failure_refuted", nil, result(providers.Delivered, "1000"), nil, store.ReportRefuted, event.Delivered},
		{"failure_of_what_was_delivered_refuted", func(r *store.PendingReport) { r.State = store.StateDelivered }, result(providers.Delivered, "1000"), nil, store.ReportRefuted, ""},
		{"failure_of_what_was_delivered_confirmed", func(r *store.PendingReport) { r.State = store.StateDelivered }, result(providers.Failed, "3019"), nil, store.ReportConfirmed, event.Failed},
		{"delivery_confirmed", func(r *store.PendingReport) { r.Says = store.SaysDelivered }, result(providers.Delivered, "1000"), nil, store.ReportConfirmed, event.Delivered},
		{"delivery_refuted", func(r *store.PendingReport) { r.Says = store.SaysDelivered }, result(providers.Failed, "3018"), nil, store.ReportRefuted, event.Failed},
		{"not_yet_final", nil, result(providers.Pending, ""), nil, "", ""},
		{"not_yet_visible", nil, nil, nil, "", ""},
		{"not_confirmed_either", nil, result(providers.Unconfirmed, "3005"), nil, "", ""},
		{"never_final", func(r *store.PendingReport) { r.Now = noon.Add(timing.Quiet()) }, result(providers.Unconfirmed, "3005"), nil, store.ReportGivenUp, ""},
		{"never_visible", func(r *store.PendingReport) { r.Now = noon.Add(timing.Quiet()) }, nil, nil, store.ReportGivenUp, ""},
		{"cannot_be_asked", func(r *store.PendingReport) { r.Now = noon.Add(timing.UnknownDeadline - 1) }, nil, down, "", ""},
		{"could_never_be_asked", func(r *store.PendingReport) { r.Now = noon.Add(timing.UnknownDeadline) }, nil, down, store.ReportGivenUp, ""},
		{"request_under_way", func(r *store.PendingReport) { r.State = store.StateClaimed }, nil, errors.New("must not ask"), "", ""},
		{"of_nothing_we_sent", func(r *store.PendingReport) { r.SentBy = uuid.Nil }, nil, errors.New("must not ask"), store.ReportUnknown, ""},
		{"of_no_step", func(r *store.PendingReport) { r.Step = uuid.Nil }, nil, errors.New("must not ask"), store.ReportUnknown, ""},
		{"of_a_request_not_recorded_yet", func(r *store.PendingReport) { r.Step, r.Named = uuid.Nil, false }, nil, errors.New("must not ask"), "", ""},
		{"known_already", func(r *store.PendingReport) { r.State = store.StateFailed }, nil, errors.New("must not ask"), store.ReportConfirmed, ""},
	}
	for _, tt := range tests {
		r := reported()
		if tt.change != nil {
			tt.change(&r)
		}
		d := &drawer{leased: []store.PendingReport{r}}
		g := &gate{find: func(key string, from, to time.Time) ([]providers.Result, error) {
			if key != event.Key(r.Root, event.Kakao) || from.After(r.FirstIntent) || to.Before(r.Now) {
				t.Errorf("%s: asked for %s from %s to %s", tt.name, key, from, to)
			}
			return tt.found, tt.err
		}}
		if err := confirmer(d, g).pass(t.Context()); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if len(d.settled) != 1 || d.settled[0].To != tt.to || (tt.to == "") != d.settled[0].Again.After(r.Now) {
			t.Errorf("%s: settled %+v, want %q", tt.name, d.settled, tt.to)
		}
		if tt.tells == "" {
			if len(d.told) > 0 {
				t.Errorf("%s: told %+v", tt.name, d.told)
			}
			continue
		}
		want := &event.Delivery{
			Tenant: aClinic, Step: r.Step, Channel: event.Kakao, Attempt: 2, Status: tt.tells, Source: event.Report,
			RequestID: "r1", Seq: 1, Code: tt.found[0].Code, At: noon.Add(-time.Second).UTC(),
		}
		if tt.tells == event.Failed {
			want.Reason = event.Rejected(want.Code)
		}
		if diff := cmp.Diff([]event.Event{want}, d.told); diff != "" {
			t.Errorf("%s: told (-want +got):\n%s", tt.name, diff)
		}
	}
}

// A report is settled only after its evidence is stored, so that a crash
// between the two asks again instead of losing it.
func TestReportIsSettledAfterItsEvidenceIsStored(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	g := &gate{find: func(string, time.Time, time.Time) ([]providers.Result, error) {
		return []providers.Result{{RequestID: "r1", State: providers.Failed, Code: "3019", At: noon}}, nil
	}}
	d := &drawer{leased: []store.PendingReport{reported()}, failTell: broken}
	if err := confirmer(d, g).pass(t.Context()); !errors.Is(err, broken) || len(d.settled) != 0 {
		t.Errorf("without the broker: %v, settled %v", err, d.settled)
	}
	d.failTell, d.failKeep = nil, broken
	if err := confirmer(d, g).pass(t.Context()); !errors.Is(err, broken) || len(d.told) != 1 {
		t.Errorf("without the ledger: %v, told %v", err, d.told)
	}
	d.failKeep = nil
	if err := confirmer(d, g).pass(t.Context()); err != nil || len(d.told) != 2 || len(d.settled) != 1 || !cmp.Equal(d.told[0], d.told[1]) {
		t.Errorf("then: %v, told %v, settled %v", err, d.told, d.settled)
	}
}

// One account is asked about so many messages in its turn, failures first; the
// rest is left to the poll, and what it leaves is read from the list.
func TestQuestionsAreBounded(t *testing.T) {
	t.Parallel()
	const many = 5 * confirmAsks
	var mu sync.Mutex
	var keys []string
	lists := 0
	d := new(drawer)
	g := &gate{
		find: func(key string, _, _ time.Time) ([]providers.Result, error) {
			mu.Lock()
			defer mu.Unlock()
			keys = append(keys, key)
			return []providers.Result{{RequestID: "r", State: providers.Delivered, Code: "1000", At: noon}}, nil
		},
		results: func(time.Time, time.Time) (list []providers.Result, _ error) {
			lists++
			for _, r := range d.leased[2:] { // the first has no result yet
				list = append(list, providers.Result{RequestID: r.RequestID, Seq: r.Seq, State: providers.Delivered, Code: "1000", At: noon})
			}
			return list, nil
		},
	}
	for i := range many {
		r := reported()
		if r.Says = store.SaysDelivered; i == many-1 {
			r.Says = store.SaysFailed
		}
		d.leased = append(d.leased, r, r) // told twice, asked once
	}
	urgent := event.Key(d.leased[2*many-1].Root, event.Kakao)
	if err := confirmer(d, g).pass(t.Context()); err != nil || len(keys) != confirmAsks || lists != 0 || len(d.settled) != 2*many {
		t.Errorf("%v: %d questions and %d lists, %d reports settled", err, len(keys), lists, len(d.settled))
	}
	if !slices.Contains(keys, urgent) {
		t.Error("the failure, which came last, was left to the poll")
	}
	for i := range d.leased {
		d.leased[i].Received = noon.Add(-2 * timing.R)
	}
	keys, d.settled, d.told = nil, nil, nil
	if err := confirmer(d, g).pass(t.Context()); err != nil || lists != 1 || len(keys) != 1 || len(d.settled) != 2*many {
		t.Errorf("%v: %d questions and %d lists, %d reports settled; want 1, 1 and all", err, len(keys), lists, len(d.settled))
	}
}

func TestReportsAreAskedForLessAndLessOften(t *testing.T) {
	t.Parallel()
	var last time.Duration
	for tries := range 100 {
		d := again(tries, timing)
		if d < last || d > timing.V || d <= 0 {
			t.Fatalf("after %d tries again in %s, before in %s", tries, d, last)
		}
		last = d
	}
	if last < time.Minute {
		t.Errorf("never less often than every %s", last)
	}
}

func TestConfirmerEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := new(drawer)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second+1)
		defer cancel()
		if err := confirmer(d, nil).Run(ctx); err != nil || d.leases != 5 {
			t.Errorf("Run = %v after %d passes, want 5", err, d.leases)
		}
	})
}
