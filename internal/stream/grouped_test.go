package stream

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

const linger = 5 * time.Millisecond

// bus is a broker that a test holds back. It keeps what each publication
// carried, and when.
type bus struct {
	hold chan error // one answer for each publication; nil: none waits

	mu   sync.Mutex
	got  [][]event.Event
	when []time.Duration
	born time.Time
}

// grouped runs f in a bubble, and fails where a goroutine stays that nobody
// waits for.
func grouped(t *testing.T, f func(*testing.T, *bus, *Grouped)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bus{hold: make(chan error), born: time.Now()}
		f(t, b, &Grouped{publish: b.publish, linger: linger})
		time.Sleep(linger)
	})
}

func (b *bus) publish(ctx context.Context, events []event.Event) error {
	b.mu.Lock()
	b.got, b.when = append(b.got, slices.Clone(events)), append(b.when, time.Since(b.born))
	b.mu.Unlock()
	if b.hold == nil {
		return nil
	}
	select {
	case err := <-b.hold:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *bus) sizes() (n []int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, events := range b.got {
		n = append(n, len(events))
	}
	return n
}

func aStep() event.Event {
	return &event.Step{Tenant: tenant.NewID(), ID: uuid.Must(uuid.NewV7()), Lane: event.Care, Channel: event.SMS}
}

// calls starts n callers of one event each, of which ctx is the context.
func calls(ctx context.Context, g *Grouped, n int) <-chan error {
	errs := make(chan error, n)
	for range n {
		go func() { errs <- g.Publish(ctx, []event.Event{aStep()}) }()
	}
	synctest.Wait()
	return errs
}

// underWay starts a caller and returns when its publication is under way.
func underWay(ctx context.Context, g *Grouped) <-chan error {
	errs := calls(ctx, g, 1)
	time.Sleep(linger)
	synctest.Wait()
	return errs
}

func wantEach(t *testing.T, errs <-chan error, n int, want error) {
	t.Helper()
	for range n {
		if err := <-errs; !errors.Is(err, want) {
			t.Errorf("a caller was told %v, want %v", err, want)
		}
	}
}

func TestACallThatComesAloneIsPublishedAfterTheLinger(t *testing.T) {
	t.Parallel()
	grouped(t, func(t *testing.T, b *bus, g *Grouped) {
		b.hold = nil
		for range 3 {
			if err := g.Publish(t.Context(), []event.Event{aStep(), aStep()}); err != nil {
				t.Fatal(err)
			}
		}
		if got := b.sizes(); !slices.Equal(got, []int{2, 2, 2}) || time.Since(b.born) != 3*linger {
			t.Errorf("publications of %v events after %v, want each call's own after the linger", got, time.Since(b.born))
		}
	})
}

func TestCallsDuringAPublicationShareTheNext(t *testing.T) {
	t.Parallel()
	grouped(t, func(t *testing.T, b *bus, g *Grouped) {
		first := underWay(t.Context(), g)
		next := calls(t.Context(), g, 40)
		if got := b.sizes(); !slices.Equal(got, []int{1}) {
			t.Fatalf("publications of %v events while the first is under way", got)
		}
		b.hold <- nil
		wantEach(t, first, 1, nil)
		b.hold <- nil
		wantEach(t, next, 40, nil)
		synctest.Wait()
		// Who comes while it lingers goes along.
		b.hold = nil
		one := calls(t.Context(), g, 1)
		time.Sleep(linger / 2)
		another := calls(t.Context(), g, 1)
		wantEach(t, one, 1, nil)
		wantEach(t, another, 1, nil)
		if got := b.sizes(); !slices.Equal(got, []int{1, 40, 2}) {
			t.Errorf("publications of %v events, want 1, 40 and 2", got)
		}
	})
}

func TestAnInvalidEventFailsOnlyItsOwnCaller(t *testing.T) {
	t.Parallel()
	grouped(t, func(t *testing.T, b *bus, g *Grouped) {
		first := underWay(t.Context(), g)
		others := calls(t.Context(), g, 5)
		for _, bad := range []event.Event{
			&event.Step{}, &event.Delivery{},
			&event.Delivery{
				Tenant: tenant.NewID(), Step: uuid.New(), Channel: event.SMS, Status: event.Sent, Source: event.Answer,
				At: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), // JSON has no form for it
			},
		} {
			if err := g.Publish(t.Context(), []event.Event{aStep(), bad}); !errors.Is(err, ErrPublish) || !errors.Is(err, event.ErrInvalid) {
				t.Errorf("%+v: %v, want ErrPublish and ErrInvalid", bad, err)
			}
		}
		b.hold <- nil
		b.hold <- nil
		wantEach(t, first, 1, nil)
		wantEach(t, others, 5, nil)
		for _, events := range b.got {
			if _, err := event.EncodeGroup(events); err != nil {
				t.Errorf("a publication cannot be encoded: %v", err)
			}
		}
	})
}

func TestACancelledCallerLosesNobodysEvents(t *testing.T) {
	t.Parallel()
	grouped(t, func(t *testing.T, b *bus, g *Grouped) {
		leader, stopLeader := context.WithCancel(t.Context())
		waiter, stopWaiter := context.WithCancel(t.Context())
		led := underWay(leader, g)
		gone, kept := calls(waiter, g, 3), calls(t.Context(), g, 3)
		stopLeader()
		stopWaiter()
		wantEach(t, led, 1, context.Canceled)
		wantEach(t, gone, 3, ErrPublish)
		synctest.Wait()
		b.hold <- nil // the first publication goes on without its caller
		b.hold <- nil
		wantEach(t, kept, 3, nil)
		if got := b.sizes(); !slices.Equal(got, []int{1, 6}) {
			t.Errorf("publications of %v events, want 1 and 6", got)
		}
	})
}

func TestABrokersErrorReachesEveryCallerOfItsPublication(t *testing.T) {
	t.Parallel()
	grouped(t, func(t *testing.T, b *bus, g *Grouped) {
		first := underWay(t.Context(), g)
		failed := calls(t.Context(), g, 10)
		b.hold <- nil
		wantEach(t, first, 1, nil)
		b.hold <- ErrPublish
		wantEach(t, failed, 10, ErrPublish)
		after := calls(t.Context(), g, 2)
		b.hold <- nil
		wantEach(t, after, 2, nil)
	})
}

// A broker that says nothing holds nobody for ever, and not the next call.
func TestABrokerThatSaysNothingIsGivenUp(t *testing.T) {
	t.Parallel()
	grouped(t, func(t *testing.T, b *bus, g *Grouped) {
		start := time.Now()
		first := underWay(t.Context(), g)
		second := calls(t.Context(), g, 2)
		wantEach(t, first, 1, context.DeadlineExceeded)
		if d := time.Since(start); d != groupedTimeout+linger {
			t.Errorf("the first was told after %v, want %v", d, groupedTimeout+linger)
		}
		b.hold <- nil
		wantEach(t, second, 2, nil)
	})
}
