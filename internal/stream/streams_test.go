package stream_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

func TestEnsureKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	c, _ := broker(t)
	publish(t, c, trigger())
	for range 2 {
		if err := c.Ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the message waits as before", func() bool { return backlog(t, c).Waiting == 1 })
}

func TestBacklogTellsWhatWaitsWhatIsInHandAndSinceWhen(t *testing.T) {
	t.Parallel()
	c, _ := broker(t)
	if b := backlog(t, c); b != (stream.Backlog{}) {
		t.Errorf("an empty stream has the backlog %+v", b)
	}
	// One that is done, so that the oldest is not the first of the stream.
	publish(t, c, trigger())
	done := make(chan struct{}, 1)
	stop := consume(t, c, planner(1), func(batch []*stream.Msg[event.Trigger]) {
		batch[0].Settle(nil)
		done <- struct{}{}
	})
	receive(t, done)
	stop()
	until(t, "it is done", func() bool { return backlog(t, c) == stream.Backlog{} })

	start := time.Now()
	publish(t, c, trigger())
	mid := time.Now()
	publish(t, c, triggers(2)...)
	until(t, "all are counted", func() bool { return backlog(t, c).Waiting == 3 })
	b := backlog(t, c)
	if b.Waiting != 3 || b.InHand != 0 || b.Since.Before(start.Add(-time.Millisecond)) || b.Since.After(mid) {
		t.Errorf("backlog %+v, want 3 waiting since between %s and %s", b, start, mid)
	}
	oldest := b.Since
	hold := make(chan struct{})
	got := make(chan struct{}, 3)
	stop = consume(t, c, planner(1), func(batch []*stream.Msg[event.Trigger]) {
		got <- struct{}{}
		<-hold
		batch[0].Settle(nil)
	})
	receive(t, got)
	until(t, "all are in hand", func() bool { return backlog(t, c).InHand == 3 })
	if b := backlog(t, c); b.Waiting != 0 || !b.Since.Equal(oldest) {
		t.Errorf("backlog %+v, want the same oldest %s", b, oldest)
	}
	close(hold)
	until(t, "all are done", func() bool { return backlog(t, c) == stream.Backlog{} })
	stop()
	if _, err := c.Backlog(t.Context(), stream.Triggers, "nobody"); err == nil {
		t.Error("a consumer that is not there has a backlog")
	}
}

func TestInFlightCountsEachTenantsLaneUntilAcknowledged(t *testing.T) {
	t.Parallel()
	c, _ := broker(t)
	a, b := tenant.NewID(), tenant.NewID()
	step := func(id tenant.ID, lane event.Lane) *event.Step {
		return &event.Step{Tenant: id, ID: uuid.Must(uuid.NewV7()), Lane: lane, Channel: event.SMS}
	}
	if got, err := c.InFlight(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("an empty stream holds %v, %v", got, err)
	}
	publish(t, c, step(a, event.Care))
	publish(t, c, step(a, event.Care), step(a, event.Bulk), step(b, event.Care), trigger())
	// Each message counts as one of the average size, which here is one step.
	full := uint64(1)
	want := map[string]uint64{step(a, event.Care).Subject(): 2 * full, step(a, event.Bulk).Subject(): full, step(b, event.Care).Subject(): full}
	got, err := c.InFlight(t.Context())
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("in flight, %v (-want +got):\n%s", err, diff)
	}
	settleOne(t, c)
	delete(want, step(a, event.Bulk).Subject())
	until(t, "an acknowledged step is in flight no more", func() bool {
		got, err := c.InFlight(t.Context())
		return err == nil && cmp.Equal(want, got)
	})
}

// settleOne acknowledges the only message of the bulk lane.
func settleOne(t *testing.T, c *stream.Conn) {
	t.Helper()
	bulk := stream.Consumer{Stream: stream.Steps, Name: stream.DispatcherConsumer(event.Bulk), Batch: 1}
	done := make(chan struct{}, 1)
	stop := consumeSteps(t, c, bulk, func(batch []*stream.Msg[event.Step]) {
		batch[0].Settle(nil)
		done <- struct{}{}
	})
	receive(t, done)
	stop()
}

func TestMarksTellWhereStreamsStandAndMakeThoseThatAreGone(t *testing.T) {
	t.Parallel()
	c, server := broker(t)
	publish(t, c, triggers(3)...)
	marks := func() map[string]stream.Mark {
		list, err := c.Marks(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]stream.Mark{}
		for _, mark := range list {
			m[mark.Stream] = mark
		}
		if len(m) != 3 {
			t.Fatalf("marks %v, want one of each stream", m)
		}
		return m
	}
	before := marks()
	if m := before[stream.Triggers]; m.LastSeq != 3 || m.Born.IsZero() {
		t.Errorf("mark %+v, want 3 messages", m)
	}
	if m := before[stream.Steps]; m.LastSeq != 0 {
		t.Errorf("mark %+v, want no message", m)
	}
	if diff := cmp.Diff(before, marks()); diff != "" {
		t.Errorf("marks moved by themselves:\n%s", diff)
	}
	if err := raw(t, server).DeleteStream(t.Context(), stream.Triggers); err != nil {
		t.Fatal(err)
	}
	if m := marks()[stream.Triggers]; m.LastSeq != 0 || !m.Born.After(before[stream.Triggers].Born) {
		t.Errorf("mark %+v of a stream that was made again after %+v", m, before[stream.Triggers])
	}
	publish(t, c, trigger())
}

// Release keeps a tenant's share by this estimate.
func TestInFlightEstimatesWhatGroupsCarry(t *testing.T) {
	t.Parallel()
	c, _ := broker(t)
	id := tenant.NewID()
	var list []event.Event
	for range 640 {
		list = append(list, &event.Step{Tenant: id, ID: uuid.Must(uuid.NewV7()), Lane: event.Care, Channel: event.Kakao, Lease: time.Now().UnixMilli()})
	}
	publish(t, c, list...)
	got, err := c.InFlight(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := got[list[0].(*event.Step).Subject()]; n < 480 || n > 800 {
		t.Errorf("%d steps are in flight, want about 640", n)
	}
}
