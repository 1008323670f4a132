// Package recorder is the only writer of outcomes: it applies delivery events
// to steps, attempts and message logs, and adds the SMS that follows a proven
// Kakao failure. It must not talk to a gateway or plan anything.
package recorder

import (
	"context"
	"errors"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/failpoint"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/stream"
)

// Ledger is where outcomes are written.
type Ledger interface {
	SettleDeliveries(ctx context.Context, events []event.Delivery, apply func(store.StepNow, event.Delivery) store.Transition) (fallbacks bool, err error)
}

// Recorder applies delivery events. It is safe for concurrent use.
type Recorder struct {
	Ledger Ledger
	// Hint wakes release for a fallback that is due at once.
	Hint   func()
	Timing store.Timing
}

// Handle applies a batch of events in one transaction and settles them. An
// event applied twice changes nothing the second time.
func (r *Recorder) Handle(ctx context.Context, batch []*stream.Msg[event.Delivery]) {
	events := make([]event.Delivery, len(batch))
	for i, m := range batch {
		events[i] = m.Event
	}
	fallbacks, err := r.Ledger.SettleDeliveries(ctx, events, r.apply)
	if err != nil && len(batch) > 1 && !errors.Is(err, store.ErrUnavailable) {
		// One event that cannot be applied must not hold its neighbours.
		for _, m := range batch {
			r.Handle(ctx, []*stream.Msg[event.Delivery]{m})
		}
		return
	}
	failpoint.Hit(failpoint.RecorderApplied)
	if fallbacks {
		failpoint.Hit(failpoint.RecorderFellBack)
		r.Hint()
	}
	for _, m := range batch {
		m.Settle(err)
	}
}

func (r *Recorder) apply(s store.StepNow, e event.Delivery) store.Transition {
	failpoint.Hit(failpoint.RecorderApplying)
	return Apply(s, e, r.Timing)
}
