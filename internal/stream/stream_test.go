package stream_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/streamtest"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const user = "app" // of a server from streamtest

// soon is longer than anything here takes, and shorter than any AckWait: what
// is delivered again within it was given back, not timed out.
const soon = 8 * time.Second

var quiet = slog.New(slog.DiscardHandler)

// broker is a server of the test's own with every stream.
func broker(t *testing.T) (*stream.Conn, nats.InProcessConnProvider) {
	t.Helper()
	n := streamtest.NATS(t)
	c := connect(t, n.InProcess(), quiet)
	if err := c.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c, n.InProcess()
}

func connect(t *testing.T, server nats.InProcessConnProvider, log *slog.Logger) *stream.Conn {
	t.Helper()
	c, err := stream.Connect(t.Context(), stream.Config{InProcess: server, User: user, Password: streamtest.Password, Name: t.Name(), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// raw is the way around package stream.
func raw(t *testing.T, server nats.InProcessConnProvider) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(server), nats.UserInfo(user, streamtest.Password))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func trigger() *event.Trigger {
	return &event.Trigger{Tenant: tenant.NewID(), ID: uuid.Must(uuid.NewV7()), Kind: event.Webhook}
}

func triggers(n int) []event.Event {
	list := make([]event.Event, n)
	for i := range list {
		list[i] = trigger()
	}
	return list
}

func publish(t *testing.T, c *stream.Conn, events ...event.Event) {
	t.Helper()
	if err := c.Publish(t.Context(), events); err != nil {
		t.Fatal(err)
	}
}

// planner is how the tests read TRIGGERS.
func planner(batch int) stream.Consumer {
	return stream.Consumer{Stream: stream.Triggers, Name: stream.PlannerConsumer, Batch: batch}
}

// consume runs a consumer of TRIGGERS until stop, which waits for its end.
func consume(t *testing.T, c *stream.Conn, cfg stream.Consumer, h func([]*stream.Msg[event.Trigger])) (stop func()) {
	t.Helper()
	return run(t, func(ctx context.Context) error {
		return stream.Consume(ctx, c, cfg, func(_ context.Context, batch []*stream.Msg[event.Trigger]) { h(batch) })
	})
}

// consumeSteps is [consume] of STEPS.
func consumeSteps(t *testing.T, c *stream.Conn, cfg stream.Consumer, h func([]*stream.Msg[event.Step])) (stop func()) {
	t.Helper()
	return run(t, func(ctx context.Context) error {
		return stream.Consume(ctx, c, cfg, func(_ context.Context, batch []*stream.Msg[event.Step]) { h(batch) })
	})
}

func run(t *testing.T, f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := receive(t, done); err != nil {
			t.Errorf("Consume = %v", err)
		}
	})
}

// receive waits for a value as long as the test may take.
func receive[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(soon):
		t.Fatal("nothing came")
	}
	return v
}

// until waits for something that the broker comes to in its own time.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(soon)
	for range time.Tick(5 * time.Millisecond) {
		if holds() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("not reached: " + what)
		}
	}
}

// backlog is the planner's. A broker counts what it stored in its own time.
func backlog(t *testing.T, c *stream.Conn) stream.Backlog {
	t.Helper()
	b, err := c.Backlog(t.Context(), stream.Triggers, stream.PlannerConsumer)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
