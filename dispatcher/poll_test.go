package dispatcher

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/providers"
)

// shelf is the ledger as the poller sees it.
type shelf struct {
	mu       sync.Mutex
	polls    []store.Polling
	awaited  []store.Awaited
	asked    []string
	marked   []time.Time
	leases   int
	told     []event.Event
	failTell error
	failWait error
}

func (s *shelf) LeasePolls(context.Context, time.Duration, int) ([]store.Polling, error) {
	s.leases++
	return s.polls, nil
}

func (s *shelf) MarkPolled(_ context.Context, _ store.Polling, until time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marked = append(s.marked, until)
	return nil
}

func (s *shelf) Awaited(_ context.Context, _ tenant.ID, _ event.Channel, requests []string) ([]store.Awaited, error) {
	s.asked = requests
	return s.awaited, s.failWait
}

func (s *shelf) Publish(_ context.Context, events []event.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, events...)
	return s.failTell
}

// upToDate is a recorder with nothing before it.
type upToDate struct{ since time.Time }

func (u upToDate) Backlog(context.Context, string, string) (stream.Backlog, error) {
	return stream.Backlog{Since: u.since}, nil
}

func poller(s *shelf, g *gate) *Poller {
	return &Poller{Ledger: s, Backlog: upToDate{}, Publisher: s, Gateways: NewGateways(office{}, opened(g)), Logger: quiet}
}

func TestResultsSpeakForTheAttemptsTheyName(t *testing.T) {
	t.Parallel()
	a, b, c := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
	at := noon.Add(-time.Minute)
	s := &shelf{awaited: []store.Awaited{
		{Step: a, Attempt: 1, RequestID: "r1", Seq: 1},
		{Step: b, Attempt: 2, RequestID: "r1", Seq: 2},
		{Step: c, Attempt: 3, RequestID: "r2"},
		{Step: uuid.Must(uuid.NewV7()), Attempt: 1, RequestID: "r1", Seq: 3}, // the result is of another recipient
	}}
	got, err := poller(s, nil).match(t.Context(), store.Polling{Tenant: aClinic, Channel: event.SMS, Now: noon}, []providers.Result{
		{RequestID: "r1", Seq: 1, State: providers.Delivered, Code: "1000", At: at},
		{RequestID: "r1", Seq: 2, State: providers.Failed, Code: "3018", At: at},
		{RequestID: "r2", State: providers.Failed, Scope: providers.Policy},
		{RequestID: "r3", Seq: 1, State: providers.Pending},
		{RequestID: "r4", Seq: 1, State: providers.Unconfirmed, Code: "3005"},
		{RequestID: "r5", Seq: 1, State: providers.Delivered}, // nobody's, or settled long ago
	})
	if err != nil {
		t.Fatal(err)
	}
	delivery := func(step uuid.UUID, attempt int32, id string, seq int) event.Delivery {
		return event.Delivery{Tenant: aClinic, Step: step, Channel: event.SMS, Attempt: attempt, Source: event.Poll, RequestID: id, Seq: seq, At: at.UTC()}
	}
	first, second, third := delivery(a, 1, "r1", 1), delivery(b, 2, "r1", 2), delivery(c, 3, "r2", 0)
	first.Status, first.Code = event.Delivered, "1000"
	second.Status, second.Code, second.Reason = event.Failed, "3018", "rejected:3018"
	third.Status, third.Reason, third.At, third.Final = event.Failed, "rejected:other", noon.UTC(), true
	want := []*event.Delivery{&first, &second, &third}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"r1", "r1", "r2", "r5"}, s.asked); diff != "" {
		t.Errorf("asked the ledger for (-want +got):\n%s", diff)
	}
}

func TestNothingFinalAsksTheLedgerNothing(t *testing.T) {
	t.Parallel()
	s := new(shelf)
	got, err := poller(s, nil).match(t.Context(), store.Polling{}, []providers.Result{{RequestID: "r", State: providers.Pending}})
	if got != nil || err != nil || s.asked != nil {
		t.Errorf("match = %v, %v after asking for %v", got, err, s.asked)
	}
}

func TestPollReadsOverlappingWindowsWithinTheGatewaysLimit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		from     time.Time
		wantFrom time.Time
		wantTo   time.Time
		marked   time.Time
	}{
		{"recent", noon.Add(-15 * time.Second), noon.Add(-15*time.Second - overlap), noon.Add(time.Minute), noon},
		{"a_day_late", noon.Add(-24 * time.Hour), noon.Add(-24*time.Hour - overlap), noon.Add(-overlap), noon.Add(-overlap - time.Minute)},
		{"a_week_late", noon.Add(-7 * 24 * time.Hour), noon.Add(-7*24*time.Hour - overlap), noon.Add(-6*24*time.Hour - overlap), noon.Add(-6*24*time.Hour - overlap - time.Minute)},
	}
	for _, tt := range tests {
		var from, to time.Time
		g := &gate{results: func(f, u time.Time) ([]providers.Result, error) { from, to = f, u; return nil, nil }}
		s := new(shelf)
		if err := poller(s, g).poll(t.Context(), store.Polling{From: tt.from, Now: noon}); err != nil {
			t.Fatal(err)
		}
		if !from.Equal(tt.wantFrom) || !to.Equal(tt.wantTo) || to.Sub(from) > 24*time.Hour {
			t.Errorf("%s: asked from %s to %s, want %s to %s", tt.name, from, to, tt.wantFrom, tt.wantTo)
		}
		if len(s.marked) != 1 || !s.marked[0].Equal(tt.marked) || !s.marked[0].After(tt.from) {
			t.Errorf("%s: marked %v, want %s", tt.name, s.marked, tt.marked)
		}
	}
}

// A result is matched by the request that its answer names: where the answer
// still waits for the recorder, the result must be read again.
func TestPollIsMarkedNoFurtherThanTheRecorderHasCome(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ since, want time.Time }{
		"nothing_waits": {time.Time{}, noon}, "answers_wait": {noon.Add(-3 * time.Second), noon.Add(-3 * time.Second)}, "clocks_differ": {noon.Add(time.Second), noon},
	} {
		s := new(shelf)
		p := poller(s, &gate{results: func(time.Time, time.Time) ([]providers.Result, error) { return nil, nil }})
		p.Backlog = upToDate{since: tt.since}
		if err := p.poll(t.Context(), store.Polling{From: noon.Add(-time.Minute), Now: noon}); err != nil || len(s.marked) != 1 || !s.marked[0].Equal(tt.want) {
			t.Errorf("%s: %v, marked %v, want %s", name, err, s.marked, tt.want)
		}
	}
}

// What could not be read, matched or told is read again.
func TestPollIsMarkedOnlyWhenEverythingWasTold(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	final := []providers.Result{{RequestID: "r", State: providers.Delivered}}
	for name, tt := range map[string]struct {
		s   *shelf
		err error
	}{
		"gateway": {new(shelf), broken}, "ledger": {&shelf{failWait: broken}, nil},
		"broker": {&shelf{failTell: broken, awaited: []store.Awaited{{Step: aRoot, Attempt: 1, RequestID: "r"}}}, nil},
	} {
		g := &gate{results: func(time.Time, time.Time) ([]providers.Result, error) { return final, tt.err }}
		if err := poller(tt.s, g).poll(t.Context(), store.Polling{Tenant: aClinic, Channel: event.SMS, From: noon, Now: noon}); !errors.Is(err, broken) || len(tt.s.marked) != 0 {
			t.Errorf("%s: %v, marked %v; want it read again", name, err, tt.s.marked)
		}
	}
}

func TestPollerAsksEveryLeasedAccountAndEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{polls: []store.Polling{{Tenant: tenant.NewID(), From: noon, Now: noon}, {Tenant: tenant.NewID(), From: noon, Now: noon}}}
		g := &gate{results: func(time.Time, time.Time) ([]providers.Result, error) { return nil, nil }}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second+1)
		defer cancel()
		if err := poller(s, g).Run(ctx); err != nil || s.leases != 6 || len(s.marked) != 12 {
			t.Errorf("Run = %v after %d leases and %d polls, want 6 and 12", err, s.leases, len(s.marked))
		}
	})
}

// An SMS waits for a failure; nobody waits for the other thousands, which would
// hold up what is being sent.
func TestFailuresAreToldAtOnceAndTheRestLittleByLittle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const all, failed = 10*portion + 7, 3
		s := new(shelf)
		var results []providers.Result
		for i := range all {
			id := strconv.Itoa(i)
			r := providers.Result{RequestID: id, State: providers.Delivered, Code: "1000", At: noon}
			if i >= all-failed {
				r.State, r.Code = providers.Failed, "3018"
			}
			results = append(results, r)
			s.awaited = append(s.awaited, store.Awaited{Step: uuid.Must(uuid.NewV7()), Attempt: 1, RequestID: id})
		}
		p := poller(s, &gate{results: func(time.Time, time.Time) ([]providers.Result, error) { return results, nil }})
		p.Every = 20 * time.Second
		done := make(chan error, 1)
		start := time.Now()
		go func() {
			done <- p.poll(t.Context(), store.Polling{Tenant: aClinic, Channel: event.SMS, From: noon, Now: noon})
		}()
		synctest.Wait()
		s.mu.Lock()
		first := s.told
		s.mu.Unlock()
		if len(first) != portion {
			t.Errorf("%d were told at once, want %d", len(first), portion)
		}
		for i, e := range first[:failed] {
			if e.(*event.Delivery).Status != event.Failed {
				t.Errorf("number %d is no failure", i)
			}
		}
		if err := <-done; err != nil || len(s.told) != all || len(s.marked) != 1 {
			t.Errorf("%v: told of %d, marked %d times", err, len(s.told), len(s.marked))
		}
		if took := time.Since(start); took < 5*time.Second || took > 10*time.Second {
			t.Errorf("it took %v, want up to half the time until the next poll", took)
		}
	})
}
