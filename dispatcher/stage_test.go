package dispatcher

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/streamtest"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/providers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// book is a ledger in which every step is a sound candidate, but for what a
// test changes.
type book struct {
	mu       sync.Mutex
	change   func(*store.Candidate) // of each candidate
	gone     map[uuid.UUID]bool     // moved on: no candidate
	stolen   map[uuid.UUID]bool     // judged, and claimed by another
	fail     func(due []event.Step) error
	calls    [][]event.Step
	waits    []time.Time
	claims   int
	entered  time.Time // of the last claim
	contents []string
	slept    []time.Time // until when the early ones sleep
	reasons  []event.Reason
	restless int // how often putting them to sleep fails
}

func (b *book) SleepSteps(_ context.Context, list []store.Sleep) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.restless--; b.restless >= 0 {
		return store.ErrUnavailable
	}
	for _, s := range list {
		b.slept, b.reasons = append(b.slept, time.Now().Add(s.For)), append(b.reasons, s.Reason)
	}
	return nil
}

func (b *book) ClaimSteps(_ context.Context, due []event.Step, decide func(*store.Candidate) store.Decision) (claims []store.Claim, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entered, b.calls = time.Now(), append(b.calls, due)
	if b.fail != nil {
		if err := b.fail(due); err != nil {
			return nil, err
		}
	}
	for _, s := range due {
		if b.gone[s.ID] {
			continue
		}
		c := candidate()
		c.Step, c.Root, c.RunEpoch = s, s.ID, s.PlanEpoch
		if b.change != nil {
			b.change(c)
		}
		d := decide(c)
		if !d.Wait.IsZero() {
			b.waits = append(b.waits, d.Wait)
		}
		if d.Claim && !b.stolen[s.ID] {
			if b.gone == nil {
				b.gone = map[uuid.UUID]bool{}
			}
			b.gone[s.ID] = true
			b.claims, b.contents = b.claims+1, append(b.contents, d.Content)
			claims = append(claims, store.Claim{Tenant: s.Tenant, Step: s.ID, Attempt: s.Attempt + 1})
		}
	}
	return claims, nil
}

// gate is a gateway that keeps what it is sent and answers as it is told.
type gate struct {
	mu      sync.Mutex
	sent    []providers.Message
	limits  []time.Duration // each request's time, from its context
	now     int             // requests under way
	most    int
	answer  func(providers.Message) (providers.Receipt, error)
	find    func(key string, from, to time.Time) ([]providers.Result, error)
	results func(from, to time.Time) ([]providers.Result, error)
}

func (g *gate) Send(ctx context.Context, m providers.Message) (providers.Receipt, error) {
	g.mu.Lock()
	deadline, _ := ctx.Deadline()
	g.sent, g.limits = append(g.sent, m), append(g.limits, time.Until(deadline))
	g.now++
	g.most = max(g.most, g.now)
	answer := g.answer
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.now--
		g.mu.Unlock()
	}()
	if answer != nil {
		return answer(m)
	}
	return providers.Receipt{RequestID: "r1", Seq: 1}, nil
}

func (g *gate) Find(_ context.Context, key string, from, to time.Time) ([]providers.Result, error) {
	return g.find(key, from, to)
}

func (g *gate) Results(_ context.Context, from, to time.Time) ([]providers.Result, error) {
	return g.results(from, to)
}

func (g *gate) requests() []providers.Message {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.sent)
}

// office keeps one account for every tenant and channel.
type office struct {
	rate int
	err  error
}

func (o office) Account(_ context.Context, id tenant.ID, c event.Channel) (store.Account, error) {
	return store.Account{Tenant: id, Channel: c, Vendor: "test", RatePerSecond: o.rate}, o.err
}

func (o office) AccountByID(ctx context.Context, id tenant.ID, account uuid.UUID) (store.Account, error) {
	a, err := o.Account(ctx, id, event.Kakao)
	a.ID = account
	return a, err
}

func opened(g providers.Gateway) func(string, providers.Account) (providers.Gateway, error) {
	return func(string, providers.Account) (providers.Gateway, error) { return g, nil }
}

// stage is a dispatcher between a real broker, a book and a gate.
type stage struct {
	*Dispatcher
	t    *testing.T
	bus  *stream.Conn
	book *book
	gate *gate
}

func newStage(t *testing.T, change func(*Config)) *stage {
	t.Helper()
	bus, err := stream.Connect(t.Context(), stream.Config{InProcess: streamtest.NATS(t).InProcess(), User: "app", Password: streamtest.Password, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bus.Close)
	if err := bus.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, bus: bus, book: new(book), gate: new(gate)}
	c := Config{Ledger: s.book, Publisher: bus, Gateways: NewGateways(office{rate: 100_000}, opened(s.gate)), Timing: timing, Logger: quiet}
	if change != nil {
		change(&c)
	}
	s.Dispatcher = New(c)
	return s
}

// play publishes the steps and consumes them, batch at a time, until done
// holds; then it waits for requests under way.
func (s *stage) play(batch int, done func() bool, steps ...*event.Step) {
	s.t.Helper()
	s.playWith(s.Handle, stream.Consumer{Batch: batch, Workers: 2}, done, steps...)
}

func (s *stage) playWith(h func(context.Context, []*stream.Msg[event.Step]), cfg stream.Consumer, done func() bool, steps ...*event.Step) {
	s.t.Helper()
	events := make([]event.Event, len(steps))
	for i := range steps {
		events[i] = steps[i]
	}
	if err := s.bus.Publish(s.t.Context(), events); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 15*time.Second)
	defer cancel()
	var handled atomic.Int32
	go func() {
		defer cancel()
		for range time.Tick(2 * time.Millisecond) {
			// A broker counts what it stored in its own time: nothing waiting
			// means nothing before everything was seen.
			if ctx.Err() != nil || int(handled.Load()) >= len(steps) && done() {
				return
			}
		}
	}()
	cfg.Stream, cfg.Name = stream.Steps, stream.DispatcherConsumer(event.Care)
	over := make(chan error, 1)
	go func() {
		err := stream.Consume(ctx, s.bus, cfg, func(ctx context.Context, batch []*stream.Msg[event.Step]) {
			h(ctx, batch)
			handled.Add(int32(len(batch)))
		})
		s.Wait()
		over <- err
	}()
	select {
	case err := <-over:
		if err != nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			s.t.Fatalf("not done in time: %v", err)
		}
	case <-time.After(20 * time.Second):
		s.t.Fatal("a handler or a request never ends")
	}
}

// handleTogether gives all the steps to the dispatcher in one batch, once.
func (s *stage) handleTogether(done func() bool, steps ...*event.Step) {
	s.t.Helper()
	var all []*stream.Msg[event.Step]
	handle := s.Handle
	s.playWith(func(ctx context.Context, batch []*stream.Msg[event.Step]) {
		if all = append(all, batch...); len(all) == len(steps) {
			handle(ctx, all)
		}
	}, stream.Consumer{Batch: 1}, done, steps...)
}

// settled holds when the broker has nothing of the care lane any more.
func (s *stage) settled() bool {
	b, err := s.bus.Backlog(context.WithoutCancel(s.t.Context()), stream.Steps, stream.DispatcherConsumer(event.Care))
	return err == nil && b == stream.Backlog{}
}

// told returns what was published about steps: n events, and no more.
func (s *stage) told(n int) (events []event.Delivery) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 15*time.Second)
	defer cancel()
	marks, err := s.bus.Marks(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, m := range marks {
		if m.Stream == stream.Deliveries && m.LastSeq != uint64(n) {
			s.t.Fatalf("%d events were told, want %d", m.LastSeq, n)
		}
	}
	if n == 0 {
		return nil
	}
	cfg := stream.Consumer{Stream: stream.Deliveries, Name: stream.RecorderConsumer, Batch: 1}
	err = stream.Consume(ctx, s.bus, cfg, func(_ context.Context, batch []*stream.Msg[event.Delivery]) {
		for _, m := range batch {
			m.Settle(nil)
			if events = append(events, m.Event); len(events) == n {
				cancel()
			}
		}
	})
	if err != nil || len(events) < n {
		s.t.Fatalf("read %d of %d events, %v", len(events), n, err)
	}
	return events[:n]
}

func dueStep() *event.Step {
	return &event.Step{Tenant: tenant.NewID(), ID: uuid.Must(uuid.NewV7()), Lane: event.Care, Channel: event.Kakao, PlanEpoch: 1}
}
