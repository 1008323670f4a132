package recorder_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/streamtest"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/recorder"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func broker(t *testing.T) *stream.Conn {
	t.Helper()
	c, err := stream.Connect(t.Context(), stream.Config{
		InProcess: streamtest.NATS(t).InProcess(), User: "app", Password: streamtest.Password, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// settle hands the events to r in one batch, and waits until left of them are
// unsettled.
func settle(t *testing.T, c *stream.Conn, r *recorder.Recorder, left int, events ...*event.Delivery) {
	t.Helper()
	list := make([]event.Event, len(events))
	for i, e := range events {
		list[i] = e
	}
	if err := c.Publish(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var together []*stream.Msg[event.Delivery]
	err := stream.Consume(ctx, c, stream.Consumer{Stream: stream.Deliveries, Name: stream.RecorderConsumer, Batch: len(events)},
		func(ctx context.Context, batch []*stream.Msg[event.Delivery]) {
			if together = append(together, batch...); len(together) == len(events) {
				r.Handle(ctx, together)
				cancel()
			}
		})
	if err != nil {
		t.Fatal(err)
	}
	// The broker reads acknowledgements in its own time.
	deadline := time.Now().Add(5 * time.Second)
	for range time.Tick(time.Millisecond) {
		b, err := c.Backlog(t.Context(), stream.Deliveries, stream.RecorderConsumer)
		if err == nil && b.Waiting+b.InHand == left {
			return
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%d events are waiting and %d in hand, %v; want %d in all", b.Waiting, b.InHand, err, left)
		}
	}
}

// ledger fails for events that it is told to fail for.
type ledger struct {
	mu        sync.Mutex
	fail      map[uuid.UUID]error
	calls     [][]event.Delivery
	fallbacks bool
}

func (l *ledger) SettleDeliveries(_ context.Context, events []event.Delivery, _ func(store.StepNow, event.Delivery) store.Transition) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, events)
	for _, e := range events {
		if err := l.fail[e.Step]; err != nil {
			return false, err
		}
	}
	return l.fallbacks, nil
}

// applied is the events of the calls that succeeded.
func (l *ledger) applied() (steps []uuid.UUID) {
	for _, call := range l.calls {
		if !slices.ContainsFunc(call, func(e event.Delivery) bool { return l.fail[e.Step] != nil }) {
			for _, e := range call {
				steps = append(steps, e.Step)
			}
		}
	}
	return steps
}

func sent() *event.Delivery {
	return &event.Delivery{
		Tenant: tenant.NewID(), Step: uuid.Must(uuid.NewV7()), Channel: event.Kakao, Attempt: 1, Status: event.Sent, Source: event.Answer, At: now,
	}
}

func TestEventThatCannotBeAppliedHoldsNoNeighbour(t *testing.T) {
	t.Parallel()
	c := broker(t)
	good, poison, other := sent(), sent(), sent()
	l := &ledger{fail: map[uuid.UUID]error{poison.Step: errors.New("no such column")}}
	r := &recorder.Recorder{Ledger: l, Hint: func() { t.Error("hinted without a fallback") }, Timing: timing}
	settle(t, c, r, 1, good, poison, other) // the poisonous one alone comes again
	if got := l.applied(); !slices.Contains(got, good.Step) || !slices.Contains(got, other.Step) {
		t.Errorf("applied %v, want its neighbours", got)
	}
}

// While Postgres is away every call waits for it: one is enough.
func TestBatchIsNotTriedOneByOneWhilePostgresIsAway(t *testing.T) {
	t.Parallel()
	c := broker(t)
	a, b := sent(), sent()
	away := fmt.Errorf("store: settle: %w", store.ErrUnavailable)
	l := &ledger{fail: map[uuid.UUID]error{a.Step: away, b.Step: away}}
	settle(t, c, &recorder.Recorder{Ledger: l, Hint: func() {}, Timing: timing}, 2, a, b)
	handled := 0
	for _, call := range l.calls {
		handled += len(call)
	}
	if handled != 2 {
		t.Errorf("the ledger was asked for %d events, want each of the 2 once", handled)
	}
}

func TestFallbackWakesRelease(t *testing.T) {
	t.Parallel()
	hints := 0
	l := &ledger{fallbacks: true}
	settle(t, broker(t), &recorder.Recorder{Ledger: l, Hint: func() { hints++ }, Timing: timing}, 0, sent())
	if hints != 1 {
		t.Errorf("%d hints, want 1", hints)
	}
}
