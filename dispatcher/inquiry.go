package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/doctorsflow/doctorsflow/providers"
)

// errHeld is the answer to a query that was not made, because those before it
// failed. Nothing may be concluded from it.
var errHeld = fmt.Errorf("dispatcher: not asked, for its queries fail: %w", providers.ErrUnavailable)

// inquiry is a gateway whose queries have a breaker of their own: its lists
// may be away while it sends, and a query that hangs holds up everybody's. It
// is safe for concurrent use.
type inquiry struct {
	providers.Gateway

	mu      sync.Mutex
	breaker *breaker
}

func newInquiry(g providers.Gateway, c breakerConfig) *inquiry {
	return &inquiry{Gateway: g, breaker: newBreaker(c)}
}

// Find implements [providers.Gateway].
func (q *inquiry) Find(ctx context.Context, key string, from, to time.Time) ([]providers.Result, error) {
	return q.ask(ctx, func() ([]providers.Result, error) { return q.Gateway.Find(ctx, key, from, to) })
}

// Results implements [providers.Gateway].
func (q *inquiry) Results(ctx context.Context, from, to time.Time) ([]providers.Result, error) {
	return q.ask(ctx, func() ([]providers.Result, error) { return q.Gateway.Results(ctx, from, to) })
}

func (q *inquiry) ask(ctx context.Context, query func() ([]providers.Result, error)) ([]providers.Result, error) {
	q.mu.Lock()
	try, ok := q.breaker.allow(time.Now())
	q.mu.Unlock()
	if !ok {
		return nil, errHeld
	}
	h := untried
	defer func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.breaker.report(time.Now(), try, h, 0)
	}()
	results, err := query()
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
	case errors.Is(err, providers.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		h = down
	default:
		h = well
	}
	return results, err
}

// idle reports whether its breaker is closed.
func (q *inquiry) idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.breaker.shut
}
