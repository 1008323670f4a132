package stream

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
)

// Grouped publishes what many goroutines publish at about the same time
// together, so that their events share messages: each call waits for others
// for as long as the linger. It is safe for concurrent use.
type Grouped struct {
	publish func(ctx context.Context, events []event.Event) error
	linger  time.Duration

	mu      sync.Mutex
	waiting []*groupedCall
	leading bool // some call publishes for all
}

type groupedCall struct {
	events []event.Event
	done   chan error // of capacity 1
}

// groupedTimeout bounds one publication: a caller may give up on it, the
// others must not wait for a broker that is gone.
const groupedTimeout = 10 * time.Second

// Grouped returns a publisher that lets a message fill for as long as linger.
func (c *Conn) Grouped(linger time.Duration) *Grouped {
	return &Grouped{publish: c.Publish, linger: linger}
}

// Publish is [Conn.Publish]. Its error may be that of another call's events.
func (g *Grouped) Publish(ctx context.Context, events []event.Event) error {
	for _, e := range events {
		// An event that cannot be published must not fail the others.
		if err := e.Validate(); err != nil {
			return fmt.Errorf("%w: %w", ErrPublish, err)
		}
	}
	call := &groupedCall{events, make(chan error, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, call)
	lead := !g.leading
	g.leading = true
	g.mu.Unlock()
	if lead {
		// Beside the caller, who may be cancelled.
		go g.lead()
	}
	select {
	case err := <-call.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrPublish, ctx.Err())
	}
}

// lead publishes for everybody until nobody waits.
func (g *Grouped) lead() {
	for {
		time.Sleep(g.linger)
		g.mu.Lock()
		calls := g.waiting
		g.waiting = nil
		if len(calls) == 0 {
			g.leading = false
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		var events []event.Event
		for _, c := range calls {
			events = append(events, c.events...)
		}
		ctx, cancel := context.WithTimeout(context.Background(), groupedTimeout)
		err := g.publish(ctx, events)
		cancel()
		for _, c := range calls {
			c.done <- err
		}
	}
}
