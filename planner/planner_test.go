package planner_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/streamtest"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
	"github.com/doctorsflow/doctorsflow/planner"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// ledger fails for triggers that it is told to fail for, and gives one due
// step for each other.
type ledger struct {
	mu    sync.Mutex
	fail  map[uuid.UUID]error
	calls [][]event.Trigger
}

func (l *ledger) PlanTriggers(_ context.Context, ids []event.Trigger, _ store.Planning) (due []event.Step, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, ids)
	for _, id := range ids {
		if err := l.fail[id.ID]; err != nil {
			return nil, err
		}
		due = append(due, event.Step{Tenant: id.Tenant, ID: id.ID, Lane: event.Care, Channel: event.Kakao})
	}
	return due, nil
}

// publisher keeps what it is given, or refuses it.
type publisher struct {
	refuse error
	ids    []uuid.UUID
}

func (p *publisher) Publish(_ context.Context, events []event.Event) error {
	for _, e := range events {
		p.ids = append(p.ids, e.(*event.Step).ID)
	}
	return p.refuse
}

func trigger() *event.Trigger {
	return &event.Trigger{Tenant: tenant.NewID(), ID: uuid.Must(uuid.NewV7()), Kind: event.Webhook}
}

// handle gives the triggers to p in one batch through a real broker, and waits
// until left of them are unsettled.
func handle(t *testing.T, p *planner.Planner, left int, list ...*event.Trigger) {
	t.Helper()
	handleAfter(t, 0, p, left, list...)
}

// handleAfter is handle of triggers that waited in the stream.
func handleAfter(t *testing.T, wait time.Duration, p *planner.Planner, left int, list ...*event.Trigger) {
	t.Helper()
	c, err := stream.Connect(t.Context(), stream.Config{InProcess: streamtest.NATS(t).InProcess(), User: "app", Password: streamtest.Password, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	events := make([]event.Event, len(list))
	for i := range list {
		events[i] = list[i]
	}
	if err := c.Publish(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	time.Sleep(wait) // the broker's clock is real
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var together []*stream.Msg[event.Trigger]
	cfg := stream.Consumer{Stream: stream.Triggers, Name: stream.PlannerConsumer, Batch: len(list)}
	err = stream.Consume(ctx, c, cfg, func(ctx context.Context, batch []*stream.Msg[event.Trigger]) {
		if together = append(together, batch...); len(together) == len(list) {
			p.Handle(ctx, together)
			cancel()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for range time.Tick(time.Millisecond) {
		b, err := c.Backlog(t.Context(), stream.Triggers, stream.PlannerConsumer)
		if err == nil && b.Waiting+b.InHand == left {
			return
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%d triggers wait and %d are in hand, %v; want %d in all", b.Waiting, b.InHand, err, left)
		}
	}
}

func TestDueStepsArePublishedAndReleaseIsWoken(t *testing.T) {
	t.Parallel()
	a, b := trigger(), trigger()
	pub, hints := new(publisher), 0
	handle(t, &planner.Planner{Ledger: new(ledger), Publisher: pub, Hint: func() { hints++ }, Logger: quiet}, 0, a, b)
	if !slices.Contains(pub.ids, a.ID) || !slices.Contains(pub.ids, b.ID) || hints == 0 {
		t.Errorf("published %v with %d hints, want %v and %v and a hint", pub.ids, hints, a.ID, b.ID)
	}
}

func TestPoisonousTriggerHoldsNoNeighbour(t *testing.T) {
	t.Parallel()
	good, poison, other := trigger(), trigger(), trigger()
	pub := new(publisher)
	l := &ledger{fail: map[uuid.UUID]error{poison.ID: errors.New("definition cannot be read")}}
	handle(t, &planner.Planner{Ledger: l, Publisher: pub, Hint: func() {}, Logger: quiet}, 1, good, poison, other)
	if !slices.Contains(pub.ids, good.ID) || !slices.Contains(pub.ids, other.ID) || slices.Contains(pub.ids, poison.ID) {
		t.Errorf("published %v, want %v and %v", pub.ids, good.ID, other.ID)
	}
}

// While Postgres is away every call waits for it: one is enough.
func TestBatchIsNotPlannedOneByOneWhilePostgresIsAway(t *testing.T) {
	t.Parallel()
	a, b := trigger(), trigger()
	away := fmt.Errorf("store: plan: %w", store.ErrUnavailable)
	l := &ledger{fail: map[uuid.UUID]error{a.ID: away, b.ID: away}}
	handle(t, &planner.Planner{Ledger: l, Publisher: new(publisher), Hint: func() {}, Logger: quiet}, 2, a, b)
	asked := 0
	for _, call := range l.calls {
		asked += len(call)
	}
	if asked != 2 {
		t.Errorf("the ledger was asked for %d triggers, want each of the 2 once", asked)
	}
}

// The plan is committed: planning it again would find nothing to do. Its steps
// go when their lease ends.
func TestTriggerIsDoneAlthoughItsStepsCouldNotBePublished(t *testing.T) {
	t.Parallel()
	pub := &publisher{refuse: stream.ErrPublish}
	l := new(ledger)
	handle(t, &planner.Planner{Ledger: l, Publisher: pub, Hint: func() {}, Logger: quiet}, 0, trigger())
	if len(pub.ids) != 1 || len(l.calls) != 1 {
		t.Errorf("published %d times, planned %d times; want once each", len(pub.ids), len(l.calls))
	}
}

// planning is what a planner hands into the ledger's transaction.
func planning(t *testing.T, phones phone.Options) store.Planning {
	t.Helper()
	var got store.Planning
	p := &planner.Planner{Ledger: ledgerFunc(func(p store.Planning) { got = p }), Hint: func() {}, Phones: phones, Logger: quiet}
	p.Handle(t.Context(), nil)
	return got
}

type ledgerFunc func(store.Planning)

func (f ledgerFunc) PlanTriggers(_ context.Context, _ []event.Trigger, p store.Planning) ([]event.Step, error) {
	f(p)
	return nil, nil
}

func TestPayloadSaysWhomItIsAboutAndWhatItStarts(t *testing.T) {
	t.Parallel()
	number := func(s string) phone.Number {
		n, err := phone.Parse(s, phone.Options{AllowTestBands: true})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	id, usual, special := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
	tests := []struct {
		name, payload string
		change        func(*store.PendingTrigger)
		want          store.Reading
	}{
		{"by_external_id", `{"patient":{"external_id":"P-1","name":"김하늘"}}`, nil, store.Reading{Patient: store.PatientRef{ExternalID: "P-1", Name: "김하늘"}}},
		{"by_phone", `{"patient":{"phone":"010-2345-6789"}}`, nil, store.Reading{Patient: store.PatientRef{Phone: number("010-2345-6789")}}},
		{"by_our_id", `{"patient":{"id":"` + id.String() + `"}}`, nil, store.Reading{Patient: store.PatientRef{ID: id}}},
		{"elsewhere", `{"who":{"external_id":"P-1"}}`, func(p *store.PendingTrigger) { p.PatientPointer = "/who" }, store.Reading{Patient: store.PatientRef{ExternalID: "P-1"}}},
		{"at_the_root", `{"external_id":"P-1"}`, func(p *store.PendingTrigger) { p.PatientPointer = "" }, store.Reading{Patient: store.PatientRef{ExternalID: "P-1"}}},
		{"nobody", `{}`, nil, store.Reading{Ignored: event.InvalidPatient}},
		{"null", `{"patient":null}`, nil, store.Reading{Ignored: event.InvalidPatient}},
		{"only_a_name", `{"patient":{"name":"김하늘"}}`, nil, store.Reading{Ignored: event.InvalidPatient, Patient: store.PatientRef{Name: "김하늘"}}},
		{"landline", `{"patient":{"external_id":"P-1","phone":"02-123-4567"}}`, nil, store.Reading{Ignored: event.InvalidPatient, Patient: store.PatientRef{ExternalID: "P-1"}}},
		{"test_number", `{"patient":{"phone":"010-0000-0000"}}`, nil, store.Reading{Ignored: event.InvalidPatient}},
		{"id_of_another_kind", `{"patient":{"id":"7"}}`, nil, store.Reading{Ignored: event.InvalidPatient}},
		{"routed", `{"patient":{"external_id":"P-1"}}`, func(p *store.PendingTrigger) { p.EventType = "special" }, store.Reading{
			Patient: store.PatientRef{ExternalID: "P-1"}, Workflows: []uuid.UUID{special, usual},
		}},
		{"nothing_starts", `{"patient":{"external_id":"P-1"}}`, func(p *store.PendingTrigger) { p.WorkflowID = uuid.Nil }, store.Reading{
			Ignored: event.NoWorkflow, Patient: store.PatientRef{ExternalID: "P-1"},
		}},
		// That no workflow wants it is the better reason: nothing is to be mended.
		{"nothing_starts_for_nobody", `{}`, func(p *store.PendingTrigger) { p.WorkflowID = uuid.Nil }, store.Reading{Ignored: event.NoWorkflow}},
	}
	read := planning(t, phone.Options{}).Read
	for _, tt := range tests {
		in := store.PendingTrigger{
			Payload: []byte(tt.payload), EventType: "other", WorkflowID: usual, PatientPointer: "/patient",
			Routes: map[string][]uuid.UUID{"special": {special, usual}, "none": {}},
		}
		if tt.change != nil {
			tt.change(&in)
		}
		if tt.want.Workflows == nil && tt.want.Ignored != event.NoWorkflow {
			tt.want.Workflows = []uuid.UUID{usual}
		}
		if diff := cmp.Diff(tt.want, read(in), cmp.Comparer(func(a, b phone.Number) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	in := store.PendingTrigger{Payload: []byte(`{"patient":{"phone":"010-0000-0000"}}`), WorkflowID: usual, PatientPointer: "/patient"}
	if got := planning(t, phone.Options{AllowTestBands: true}).Read(in); got.Ignored != "" {
		t.Errorf("a test number beside the simulator is ignored: %s", got.Ignored)
	}
}

func TestTriggerIsExpandedByItsOwnFacts(t *testing.T) {
	t.Parallel()
	expand := planning(t, phone.Options{}).Expand
	d := &workflow.Definition{Steps: []workflow.Step{
		{Node: "1", Day: new(1), Message: messages[2]},
		{Node: "2", Hours: new(1), Late: workflow.LateSkip, OnUnknown: workflow.Resend, Message: messages[0]},
	}}
	at := time.Date(2026, 3, 2, 5, 0, 0, 0, time.UTC)
	for kind, lane := range map[event.Kind]event.Lane{event.Webhook: event.Care, event.Appointment: event.Care, event.Cron: event.Bulk, event.Campaign: event.Bulk} {
		got := expand(store.PendingTrigger{Kind: kind, ReceivedAt: at, Zone: time.UTC, SendAt: workflow.Clock{Hour: 8}}, d).Steps
		day, hour := time.Date(2026, 3, 3, 8, 0, 0, 0, time.UTC), at.Add(time.Hour)
		want := []store.StepPlan{
			{Node: "1", Channel: event.Kakao, Lane: lane, Fallback: true, DueAt: day, Expires: day.Add(24 * time.Hour), Late: workflow.LateSend, OnUnknown: workflow.Park},
			{Node: "2", Channel: event.SMS, Lane: lane, DueAt: hour, Expires: hour.Add(24 * time.Hour), Late: workflow.LateSkip, OnUnknown: workflow.Resend},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", kind, diff)
		}
	}
}

func TestTriggersGiveWayOnceAndNotForLong(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		wait time.Duration
		want int
	}{"fresh": {0, 1}, "old": {2100 * time.Millisecond, 0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			poison := trigger()
			l := &ledger{fail: map[uuid.UUID]error{poison.ID: errors.New("definition cannot be read")}}
			yields := 0
			p := &planner.Planner{Ledger: l, Publisher: new(publisher), Hint: func() {}, Yield: func(context.Context) { yields++ }, Logger: quiet}
			handleAfter(t, tt.wait, p, 1, trigger(), poison, trigger())
			if yields != tt.want {
				t.Errorf("a batch gave way %d times, want %d", yields, tt.want)
			}
		})
	}
}
