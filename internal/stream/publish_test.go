package stream_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

func TestEveryEventReachesItsConsumerAsItWas(t *testing.T) {
	t.Parallel()
	c, _ := broker(t)
	tr := trigger()
	care := &event.Step{Tenant: tr.Tenant, ID: tr.ID, Lane: event.Care, Channel: event.Kakao}
	bulk := &event.Step{Tenant: tr.Tenant, ID: tr.ID, Lane: event.Bulk, Channel: event.SMS, Attempt: 1, PlanEpoch: 2, Lease: 3}
	delivery := &event.Delivery{
		Tenant: tr.Tenant, Step: tr.ID, Channel: event.SMS, Attempt: 1, Status: event.Failed, Reason: event.Rejected("3018"),
		Source: event.Poll, RequestID: "r", Seq: 1, Code: "3018", At: time.Now().UTC().Round(0), Final: true,
	}
	publish(t, c, tr, care, bulk, delivery)
	first[event.Trigger](t, c, stream.Triggers, stream.PlannerConsumer, *tr)
	first[event.Step](t, c, stream.Steps, stream.DispatcherConsumer(event.Care), *care)
	first[event.Step](t, c, stream.Steps, stream.DispatcherConsumer(event.Bulk), *bulk)
	first[event.Delivery](t, c, stream.Deliveries, stream.RecorderConsumer, *delivery)
}

// first checks the first message of a consumer.
func first[E any, P interface {
	*E
	event.Event
}](t *testing.T, c *stream.Conn, from, name string, want E) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	n := 0
	err := stream.Consume[E, P](ctx, c, stream.Consumer{Stream: from, Name: name, Batch: 10}, func(_ context.Context, batch []*stream.Msg[E]) {
		defer cancel()
		for _, m := range batch {
			n++
			if diff := cmp.Diff(want, m.Event); diff != "" {
				t.Errorf("%s (-want +got):\n%s", from, diff)
			}
			if m.Deliveries != 1 || time.Since(m.Stored) > time.Minute {
				t.Errorf("%s: delivery %d of a message stored at %s", from, m.Deliveries, m.Stored)
			}
			m.Settle(nil)
		}
	})
	if err != nil || n != 1 {
		t.Errorf("%s gave %d messages, %v; want 1", name, n, err)
	}
}

func TestPublishedMeansStored(t *testing.T) {
	t.Parallel()
	c, server := broker(t)
	publish(t, c, triggers(500)...)
	s, err := raw(t, server).Stream(t.Context(), stream.Triggers)
	if err != nil {
		t.Fatal(err)
	}
	if n := s.CachedInfo().State.Msgs; n != 500 {
		t.Errorf("%d of 500 events are stored", n)
	}
}

func TestOneEventPublishedTwiceIsStoredOnce(t *testing.T) {
	t.Parallel()
	c, _ := broker(t)
	e := trigger()
	publish(t, c, e, e)
	publish(t, c, e)
	marks, err := c.Marks(t.Context())
	if err != nil || marks[0].Stream != stream.Triggers || marks[0].LastSeq != 1 {
		t.Errorf("marks %+v, %v; want one trigger", marks, err)
	}
}

func TestWhatIsNotStoredIsAnError(t *testing.T) {
	t.Parallel()
	c, server := broker(t)
	publish(t, c) // nothing is nothing
	bad := &event.Step{Tenant: tenant.NewID(), ID: uuid.Must(uuid.NewV7()), Lane: "x.>", Channel: event.SMS}
	if err := c.Publish(t.Context(), []event.Event{trigger(), bad}); !errors.Is(err, stream.ErrPublish) || !errors.Is(err, event.ErrInvalid) {
		t.Errorf("an invalid event: %v", err)
	}
	if err := raw(t, server).DeleteStream(t.Context(), stream.Triggers); err != nil {
		t.Fatal(err)
	}
	if err := c.Publish(t.Context(), triggers(3)); !errors.Is(err, stream.ErrPublish) {
		t.Errorf("a stream that is gone: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Publish(ended, triggers(1)); !errors.Is(err, stream.ErrPublish) || !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
	c.Close()
	if err := c.Publish(t.Context(), triggers(1)); !errors.Is(err, stream.ErrPublish) {
		t.Errorf("a closed connection: %v", err)
	}
}
