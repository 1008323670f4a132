package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/doctorsflow/doctorsflow/internal/event"
)

// ErrPublish is wrapped by every error of [Conn.Publish]: at least one event
// may not be stored. Publishing all of them again is safe.
var ErrPublish = errors.New("stream: not every event was stored")

// maxGroup is how many events one message may carry. A message is delivered
// again as a whole, so that a group is no larger than what pays.
const maxGroup = 32

// Publish stores every event, all of them under way at once, and waits for the
// broker's receipts. Steps of one lane and tenant, and deliveries of one
// subject, share messages.
func (c *Conn) Publish(ctx context.Context, events []event.Event) error {
	groups := groupBySubject(events)
	futures := make([]jetstream.PubAckFuture, 0, len(groups))
	var failed error
	for _, g := range groups {
		b, err := event.EncodeGroup(g)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrPublish, err)
		}
		msg := &nats.Msg{Subject: g[0].Subject(), Data: b}
		f, err := c.js.PublishMsgAsync(msg, jetstream.WithMsgID(event.GroupMsgID(g)))
		if err != nil {
			failed = err
			break
		}
		futures = append(futures, f)
	}
	for _, f := range futures {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			failed = err
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrPublish, ctx.Err())
		}
	}
	if failed != nil {
		return fmt.Errorf("%w: %w", ErrPublish, failed)
	}
	return nil
}

// groupBySubject puts events into groups, in their order. Triggers stay alone:
// each is planned, and may fail, by itself.
func groupBySubject(events []event.Event) [][]event.Event {
	if len(events) == 1 {
		return [][]event.Event{events}
	}
	groups := make([][]event.Event, 0, 1+len(events)/maxGroup)
	open := map[string]int{} // subject -> its group that has room
	for _, e := range events {
		if _, alone := e.(*event.Trigger); alone {
			groups = append(groups, []event.Event{e})
			continue
		}
		subject := e.Subject()
		at, ok := open[subject]
		if !ok || len(groups[at]) == maxGroup {
			at = len(groups)
			open[subject] = at
			groups = append(groups, nil)
		}
		groups[at] = append(groups[at], e)
	}
	return groups
}
