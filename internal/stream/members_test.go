package stream_test

import (
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
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// steps are n steps of one tenant, which share a message.
func steps(n int) (list []event.Event, ids map[uuid.UUID]bool) {
	clinic, ids := tenant.NewID(), map[uuid.UUID]bool{}
	for range n {
		e := &event.Step{Tenant: clinic, ID: uuid.Must(uuid.NewV7()), Lane: event.Care, Channel: event.Kakao}
		list, ids[e.ID] = append(list, e), true
	}
	return list, ids
}

func care(batch int) stream.Consumer {
	return stream.Consumer{Stream: stream.Steps, Name: stream.DispatcherConsumer(event.Care), Batch: batch}
}

func careBacklog(t *testing.T, c *stream.Conn) stream.Backlog {
	t.Helper()
	b, err := c.Backlog(t.Context(), stream.Steps, stream.DispatcherConsumer(event.Care))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEveryMemberOfEveryMessageIsHandled(t *testing.T) {
	t.Parallel()
	c, _ := broker(t)
	list, ids := steps(100)
	publish(t, c, list...)
	// 32 to a message.
	until(t, "4 messages wait", func() bool { return careBacklog(t, c).Waiting == 4 })
	got := make(chan uuid.UUID, 200)
	stop := consumeSteps(t, c, care(7), func(batch []*stream.Msg[event.Step]) {
		if len(batch) > 7 {
			t.Errorf("a batch of %d, want at most 7", len(batch))
		}
		for _, m := range batch {
			got <- m.Event.ID
			m.Settle(nil)
		}
	})
	defer stop()
	for range 100 {
		id := receive(t, got)
		if !ids[id] {
			t.Errorf("step %s came twice or is nobody's", id)
		}
		delete(ids, id)
	}
	until(t, "all are gone", func() bool { return careBacklog(t, c) == stream.Backlog{} })
}

func TestAMessageIsAcknowledgedWhenItsLastMemberIsSettled(t *testing.T) {
	t.Parallel()
	c, _ := broker(t)
	list, _ := steps(3)
	publish(t, c, list...)
	all := make(chan *stream.Msg[event.Step], 10)
	stop := consumeSteps(t, c, care(1), func(batch []*stream.Msg[event.Step]) { all <- batch[0] })
	defer stop()
	one, two, three := receive(t, all), receive(t, all), receive(t, all)
	one.Settle(nil)
	three.Settle(nil)
	if b := careBacklog(t, c); b.InHand != 1 {
		t.Errorf("backlog %+v with a member in hand, want its message", b)
	}
	two.Settle(nil)
	until(t, "it is gone", func() bool { return careBacklog(t, c) == stream.Backlog{} })
}

func TestOneMembersErrorBringsAllBackAndADiscardedOneDoesNot(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err   error
		comes uint64 // how often each member is delivered
	}{
		"error":   {errors.New("not yet"), 2},
		"retry":   {stream.Retry(0), 2},
		"discard": {stream.Discard("of no use"), 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _ := broker(t)
			list, ids := steps(3)
			poor := list[1].(*event.Step).ID
			publish(t, c, list...)
			var mu sync.Mutex
			seen := map[uuid.UUID]uint64{}
			stop := consumeSteps(t, c, care(10), func(batch []*stream.Msg[event.Step]) {
				mu.Lock()
				defer mu.Unlock()
				for _, m := range batch {
					seen[m.Event.ID]++
					if m.Deliveries != seen[m.Event.ID] {
						t.Errorf("delivery %d is counted as %d", seen[m.Event.ID], m.Deliveries)
					}
					if m.Event.ID == poor && m.Deliveries == 1 {
						m.Settle(tt.err)
					} else {
						m.Settle(nil)
					}
				}
			})
			defer stop()
			until(t, "all are gone", func() bool {
				mu.Lock()
				defer mu.Unlock()
				for id := range ids {
					if seen[id] < tt.comes {
						return false
					}
				}
				return careBacklog(t, c) == stream.Backlog{}
			})
			mu.Lock()
			defer mu.Unlock()
			for id := range ids {
				if seen[id] != tt.comes {
					t.Errorf("a member came %d times, want %d", seen[id], tt.comes)
				}
			}
		})
	}
}

func TestAPoisonousMemberHoldsNoNeighbour(t *testing.T) {
	t.Parallel()
	n := streamtest.NATS(t)
	var log syncBuffer
	c := connect(t, n.InProcess(), slog.New(slog.NewTextHandler(&log, nil)))
	if err := c.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	list, ids := steps(2)
	b, err := event.EncodeGroup(list)
	if err != nil {
		t.Fatal(err)
	}
	poisoned := strings.Replace(string(b), "},{", `},{"id":1},null,{`, 1)
	if _, err := raw(t, n.InProcess()).Publish(t.Context(), list[0].Subject(), []byte(poisoned)); err != nil {
		t.Fatal(err)
	}
	got := make(chan uuid.UUID, 10)
	stop := consumeSteps(t, c, care(10), func(batch []*stream.Msg[event.Step]) {
		for _, m := range batch {
			got <- m.Event.ID
			m.Settle(nil)
		}
	})
	defer stop()
	for range 2 {
		if id := receive(t, got); !ids[id] {
			t.Errorf("handler got %s", id)
		}
	}
	until(t, "the message is gone", func() bool { return careBacklog(t, c) == stream.Backlog{} })
	if s := log.String(); strings.Count(s, "events discarded") != 1 || !strings.Contains(s, "events=2") {
		t.Errorf("the log does not count the two that were left out once:\n%s", s)
	}
}

// Whoever stops in the middle of a message gives all of it back: its members
// cannot come one by one.
func TestStoppingInTheMiddleOfAMessageGivesItBack(t *testing.T) {
	t.Parallel()
	c, _ := broker(t)
	list, ids := steps(20)
	publish(t, c, list...)
	ctx, cancel := context.WithCancel(t.Context())
	cfg := care(1)
	cfg.Buffer = 64
	err := stream.Consume(ctx, c, cfg, func(_ context.Context, batch []*stream.Msg[event.Step]) {
		cancel() // with the others in this process
		batch[0].Settle(nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan uuid.UUID, 100)
	stop := consumeSteps(t, c, care(10), func(batch []*stream.Msg[event.Step]) {
		for _, m := range batch {
			got <- m.Event.ID
			m.Settle(nil)
		}
	})
	defer stop()
	for len(ids) > 0 {
		delete(ids, receive(t, got))
	}
	until(t, "all are gone", func() bool { return careBacklog(t, c) == stream.Backlog{} })
}

func TestManyCallersEventsAreAllStoredInFewMessages(t *testing.T) {
	t.Parallel()
	c, server := broker(t)
	g := c.Grouped(time.Millisecond)
	list, ids := steps(200)
	var callers sync.WaitGroup
	for _, e := range list {
		callers.Go(func() {
			if err := g.Publish(t.Context(), []event.Event{e}); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	s, err := raw(t, server).Stream(t.Context(), stream.Steps)
	if err != nil {
		t.Fatal(err)
	}
	if n := s.CachedInfo().State.Msgs; n < 7 || n > 100 {
		t.Errorf("200 events took %d messages", n)
	}
	got := make(chan uuid.UUID, 300)
	stop := consumeSteps(t, c, care(50), func(batch []*stream.Msg[event.Step]) {
		for _, m := range batch {
			got <- m.Event.ID
			m.Settle(nil)
		}
	})
	defer stop()
	for len(ids) > 0 {
		delete(ids, receive(t, got))
	}
	c.Close()
	if err := g.Publish(t.Context(), []event.Event{list[0]}); !errors.Is(err, stream.ErrPublish) {
		t.Errorf("a closed connection: %v, want ErrPublish", err)
	}
}
