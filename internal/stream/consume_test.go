package stream_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/streamtest"
)

func TestHandlerGetsWhatIsThereWithoutWaiting(t *testing.T) {
	t.Parallel()
	c, _ := broker(t)
	publish(t, c, triggers(25)...)
	sizes := make(chan int, 100)
	hold := sync.OnceFunc(func() {
		until(t, "the rest of the backlog is here", func() bool { return backlog(t, c).InHand == 25 })
	})
	stop := consume(t, c, planner(10), func(batch []*stream.Msg[event.Trigger]) {
		hold()
		for _, m := range batch {
			m.Settle(nil)
		}
		sizes <- len(batch)
	})
	defer stop()
	total := 0
	for total < 25 {
		n := receive(t, sizes)
		if n > 10 {
			t.Errorf("a batch of %d, want at most 10", n)
		}
		total += n
	}
	// A single one comes at once, however large a batch may be.
	start := time.Now()
	publish(t, c, trigger())
	if n := receive(t, sizes); n != 1 || time.Since(start) > 2*time.Second {
		t.Errorf("a batch of %d after %v, want the one event at once", n, time.Since(start))
	}
}

func TestUndecodableMessageIsEndedAndHoldsUpNobody(t *testing.T) {
	t.Parallel()
	n := streamtest.NATS(t)
	var log syncBuffer
	c := connect(t, n.InProcess(), slog.New(slog.NewTextHandler(&log, nil)))
	if err := c.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	js, good := raw(t, n.InProcess()), trigger()
	for _, payload := range []string{`{`, `null`, `{"kind":"webhook"}`, ``, "\x00"} {
		if _, err := js.Publish(t.Context(), "trigger.x.webhook", []byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, c, good)
	got := make(chan uuid.UUID, 10)
	stop := consume(t, c, planner(10), func(batch []*stream.Msg[event.Trigger]) {
		for _, m := range batch {
			m.Settle(nil)
			got <- m.Event.ID
		}
	})
	defer stop()
	if id := receive(t, got); id != good.ID {
		t.Errorf("handler got %v", id)
	}
	until(t, "all are gone", func() bool { b := backlog(t, c); return b.Waiting == 0 && b.InHand == 0 })
	if n := strings.Count(log.String(), "message discarded"); n != 5 {
		t.Errorf("%d discarded messages in the log, want 5:\n%s", n, log.String())
	}
}

// syncBuffer is a buffer that a logger of several goroutines may write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestSettlingSaysWhenAMessageComesAgain(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		settle []error         // the last one, nil or Discard, ends it
		after  []time.Duration // before each further delivery, at least
	}{
		{"acknowledged", []error{nil}, nil},
		{"discarded", []error{stream.Discard("of no use")}, nil},
		{"retried_at_once", []error{stream.Retry(0), nil}, []time.Duration{0}},
		{"retried_later", []error{stream.Retry(400 * time.Millisecond), nil}, []time.Duration{400 * time.Millisecond}},
		{"failed_twice", []error{errors.New("no"), errors.New("no"), nil}, []time.Duration{250 * time.Millisecond, 500 * time.Millisecond}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, _ := broker(t)
			publish(t, c, trigger())
			times := make(chan time.Time, 10)
			stop := consume(t, c, planner(1), func(batch []*stream.Msg[event.Trigger]) {
				m := batch[0]
				if m.Deliveries > uint64(len(tt.settle)) {
					t.Errorf("delivery %d of a message that was ended", m.Deliveries)
					return
				}
				times <- time.Now()
				m.Settle(tt.settle[m.Deliveries-1])
			})
			defer stop()
			last := receive(t, times)
			for i, want := range tt.after {
				at := receive(t, times)
				if got := at.Sub(last); got < want-20*time.Millisecond {
					t.Errorf("delivery %d after %v, want at least %v", i+2, got, want)
				}
				last = at
			}
			until(t, "it is gone", func() bool { b := backlog(t, c); return b == stream.Backlog{} })
		})
	}
}

// Whoever stops must not sit on what it fetched until the broker's patience
// ends: another copy gets it at once.
func TestStoppingGivesBackWhatNoHandlerHas(t *testing.T) {
	t.Parallel()
	c, _ := broker(t)
	publish(t, c, triggers(30)...)
	entered, leave := make(chan struct{}, 1), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- stream.Consume(ctx, c, planner(2), func(ctx context.Context, batch []*stream.Msg[event.Trigger]) {
			entered <- struct{}{}
			<-leave
			if ctx.Err() != nil {
				t.Error("stopping cancels a handler that runs")
			}
			for _, m := range batch {
				m.Settle(nil)
			}
		})
	}()
	receive(t, entered)
	until(t, "the first copy has fetched all", func() bool { return backlog(t, c).InHand == 30 })
	cancel()
	select {
	case err := <-done:
		t.Fatalf("Consume returned %v while its handler runs", err)
	default:
	}
	close(leave)
	if err := receive(t, done); err != nil {
		t.Fatalf("Consume = %v", err)
	}
	start, ids := time.Now(), make(chan uuid.UUID, 100)
	stop := consume(t, c, planner(10), func(batch []*stream.Msg[event.Trigger]) {
		for _, m := range batch {
			m.Settle(nil)
			ids <- m.Event.ID
		}
	})
	defer stop()
	seen := map[uuid.UUID]bool{}
	for len(seen) < 28 {
		seen[receive(t, ids)] = true
	}
	if d := time.Since(start); d > soon {
		t.Errorf("the other copy got them after %v", d)
	}
	until(t, "all are done", func() bool { b := backlog(t, c); return b == stream.Backlog{} })
}

func TestVanishedStreamIsMadeAgainAndConsumed(t *testing.T) {
	t.Parallel()
	c, server := broker(t)
	got := make(chan uuid.UUID, 10)
	stop := consume(t, c, planner(5), func(batch []*stream.Msg[event.Trigger]) {
		for _, m := range batch {
			m.Settle(nil)
			got <- m.Event.ID
		}
	})
	defer stop()
	before := trigger()
	publish(t, c, before)
	if id := receive(t, got); id != before.ID {
		t.Fatalf("got %v, want %v", id, before.ID)
	}
	js := raw(t, server)
	for _, name := range []string{stream.Triggers, stream.Steps, stream.Deliveries} {
		if err := js.DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	after := trigger()
	until(t, "publishing works again", func() bool { return c.Publish(t.Context(), []event.Event{after}) == nil })
	if id := receive(t, got); id != after.ID {
		t.Errorf("got %v, want %v", id, after.ID)
	}
	// Its own consumer noticed; the streams that nobody reads came with it.
	publish(t, c, &event.Step{Tenant: after.Tenant, ID: after.ID, Lane: event.Bulk, Channel: event.SMS})
}

func TestWorkersShareTheMessages(t *testing.T) {
	t.Parallel()
	c, _ := broker(t)
	publish(t, c, triggers(4)...)
	cfg := planner(1)
	cfg.Workers = 4
	var together sync.WaitGroup
	together.Add(4)
	handled := make(chan struct{}, 4)
	stop := consume(t, c, cfg, func(batch []*stream.Msg[event.Trigger]) {
		together.Done()
		together.Wait() // returns only if all four run at the same time
		batch[0].Settle(nil)
		handled <- struct{}{}
	})
	for range 4 {
		receive(t, handled)
	}
	stop()
}
