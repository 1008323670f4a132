package bench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// JetStreamMessages measures messages per second that are published, stored
// in a file, consumed and acknowledged at the same time, over the product's
// own connection; its streams are made and must be empty.
func JetStreamMessages(ctx context.Context, c *stream.Conn, count int) (float64, error) {
	if err := c.Ensure(ctx); err != nil {
		return 0, err
	}
	groups := max(1, count/group)
	ctx, stop := context.WithTimeout(ctx, 2*time.Minute)
	defer stop()
	consuming, enough := context.WithCancel(ctx)
	var got atomic.Int64
	consumed := make(chan error, 1)
	go func() {
		consumed <- stream.Consume(consuming, c, stream.Consumer{Stream: stream.Triggers, Name: stream.PlannerConsumer, Batch: group, Workers: 2},
			func(_ context.Context, list []*stream.Msg[event.Trigger]) {
				for _, m := range list {
					m.Settle(nil)
				}
				if got.Add(int64(len(list))) >= int64(groups*group) {
					enough()
				}
			})
	}()
	begin := time.Now()
	clinic := tenant.NewID()
	_, err := each(ctx, groups, 4, func(ctx context.Context, _ int) error {
		list := make([]event.Event, group)
		for i := range list {
			list[i] = &event.Trigger{Tenant: clinic, ID: uuid.Must(uuid.NewV7()), Kind: event.Webhook}
		}
		return c.Publish(ctx, list)
	})
	if err != nil {
		enough()
	}
	if err := errors.Join(err, <-consumed); err != nil {
		return 0, err
	}
	if ctx.Err() != nil {
		return 0, fmt.Errorf("bench: ceiling: JetStream delivered %d of %d messages: %w", got.Load(), groups*group, ctx.Err())
	}
	return perSecond(groups*group, time.Since(begin)), nil
}
