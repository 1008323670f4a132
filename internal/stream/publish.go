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

// Publish stores every event, all of them under way at once, and waits for the
// broker's receipts.
func (c *Conn) Publish(ctx context.Context, events []event.Event) error {
	futures := make([]jetstream.PubAckFuture, 0, len(events))
	var failed error
	for _, e := range events {
		b, err := event.Encode(e)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrPublish, err)
		}
		msg := &nats.Msg{Subject: e.Subject(), Data: b}
		f, err := c.js.PublishMsgAsync(msg, jetstream.WithMsgID(e.MsgID()))
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
