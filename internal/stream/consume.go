package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/doctorsflow/doctorsflow/internal/event"
)

// Msg is one delivered event. Its handler settles it exactly once.
type Msg[E any] struct {
	Event E
	// Deliveries counts from 1; more than 1 means that an earlier handler
	// did not settle it.
	Deliveries uint64
	// Stored is when the broker stored it.
	Stored time.Time

	from *delivered
}

// Settle answers the broker: nil acknowledges, [Retry] delivers it again after
// a while, [Discard] never again; any other error delivers it again with a
// growing delay. Events that came in one message are acknowledged, or come
// again, together.
func (m *Msg[E]) Settle(err error) {
	var again *retryError
	if d, ok := errors.AsType[*discardError](err); ok {
		m.from.log.Error("message discarded", "subject", m.from.msg.Subject(), "err", d)
		err = nil
		if m.from.members == 1 {
			err = d
		}
	} else if err != nil && !errors.As(err, &again) {
		m.from.log.Warn("message will be tried again", "subject", m.from.msg.Subject(), "deliveries", m.Deliveries, "err", err)
	}
	m.from.settle(err, m.Deliveries)
}

// delivered is one message of the broker, which may carry several events.
type delivered struct {
	msg     jetstream.Msg
	log     *slog.Logger
	members int

	mu   sync.Mutex
	left int
	err  error // the worst that any member met
}

func (d *delivered) settle(err error, deliveries uint64) {
	d.mu.Lock()
	_, gentle := errors.AsType[*retryError](err)
	if d.err == nil || err != nil && !gentle {
		d.err = err
	}
	d.left--
	left, err := d.left, d.err
	d.mu.Unlock()
	if left > 0 {
		return
	}
	var ack error
	if err == nil {
		ack = d.msg.Ack()
	} else if e, ok := errors.AsType[*discardError](err); ok {
		ack = d.msg.TermWithReason(e.reason)
	} else if e, ok := errors.AsType[*retryError](err); ok {
		ack = d.msg.NakWithDelay(e.after)
	} else {
		ack = d.msg.NakWithDelay(backoff(deliveries))
	}
	if ack != nil {
		d.log.Debug("settle", "subject", d.msg.Subject(), "err", ack)
	}
}

// backoff is 250 ms, 500 ms, 1 s, … up to 15 s.
func backoff(deliveries uint64) time.Duration {
	return min(15*time.Second, 250*time.Millisecond<<min(deliveries-1, 6))
}

type retryError struct{ after time.Duration }

func (e *retryError) Error() string { return fmt.Sprintf("again in %s", e.after) }

// Retry asks for the message again after d, without an entry in the log.
func Retry(d time.Duration) error { return &retryError{d} }

type discardError struct{ reason string }

func (e *discardError) Error() string { return e.reason }

// Discard ends the message for ever, with a reason of at most a line.
func Discard(reason string) error { return &discardError{reason} }

// Consumer says how a durable consumer is read.
type Consumer struct {
	Stream, Name string
	// Batch is the most messages that one call of the handler gets.
	Batch int
	// Linger is how long a worker waits for a batch to fill while messages
	// come thick and fast; one that comes alone is handled at once.
	Linger time.Duration
	// Patience is how long a worker waits for a batch to fill even when a
	// message comes alone, where nobody waits for what the handler does.
	Patience time.Duration
	// Workers is how many handlers run at a time; 0 means 1.
	Workers int
	// Buffer is how many messages may wait in this process; 0 means
	// 2 × Batch × Workers.
	Buffer int
}

// prefetch is how many messages this process holds before they are handled.
// Each is delivered again where that takes too long, and outside of TRIGGERS
// each carries up to maxGroup events.
func (c Consumer) prefetch() int {
	if c.Stream == Triggers {
		return max(64, c.Buffer)
	}
	return max(64, c.Buffer/maxGroup)
}

// Consume hands batches to h until ctx is done; it then takes no more, gives
// back what no handler has, and waits for the handlers that run. Handlers get
// a context that ctx does not cancel.
func Consume[E any, P interface {
	*E
	event.Event
}](ctx context.Context, c *Conn, cfg Consumer, h func(context.Context, []*Msg[E])) error {
	cfg.Workers = max(1, cfg.Workers)
	if cfg.Buffer == 0 {
		cfg.Buffer = 2 * cfg.Batch * cfg.Workers
	}
	queue := make(chan *Msg[E], cfg.Buffer)
	var workers sync.WaitGroup
	for range cfg.Workers {
		workers.Go(func() {
			busy := false
			for first := range queue {
				batch := gather(queue, first, cfg, busy)
				busy = len(batch) >= max(2, cfg.Batch/8)
				if ctx.Err() != nil {
					for _, m := range batch {
						m.Settle(Retry(0))
					}
					continue
				}
				h(context.WithoutCancel(ctx), batch)
			}
		})
	}
	for ctx.Err() == nil {
		if err := pull[E, P](ctx, c, cfg, queue); err != nil && ctx.Err() == nil {
			c.log.Warn("consumer starts again", "stream", cfg.Stream, "consumer", cfg.Name, "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(500 * time.Millisecond):
			}
			if err := c.Ensure(ctx); err != nil && ctx.Err() == nil {
				c.log.Warn("streams are not there", "err", err)
			}
		}
	}
	close(queue)
	workers.Wait()
	return nil
}

// gather collects a batch: what is there, and after a batch that showed a
// stream of messages, what comes while it lingers.
func gather[E any](queue <-chan *Msg[E], first *Msg[E], cfg Consumer, busy bool) []*Msg[E] {
	batch := append(make([]*Msg[E], 0, cfg.Batch), first)
	wait := cfg.Patience
	if busy {
		wait = max(wait, cfg.Linger)
	}
	var linger <-chan time.Time
	for len(batch) < cfg.Batch {
		select {
		case m, ok := <-queue:
			if !ok {
				return batch
			}
			batch = append(batch, m)
			continue
		default:
		}
		if wait == 0 {
			return batch
		}
		if linger == nil {
			linger = time.After(wait)
		}
		select {
		case m, ok := <-queue:
			if !ok {
				return batch
			}
			batch = append(batch, m)
		case <-linger:
			return batch
		}
	}
	return batch
}

// pull fills queue until ctx is done or the consumer has to be looked up again.
func pull[E any, P interface {
	*E
	event.Event
}](ctx context.Context, c *Conn, cfg Consumer, queue chan<- *Msg[E]) error {
	cons, err := c.js.Consumer(ctx, cfg.Stream, cfg.Name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cc, err := cons.Consume(func(msg jetstream.Msg) {
		for _, m := range decode[E, P](c, msg) {
			queue <- m
		}
	}, jetstream.PullMaxMessages(cfg.prefetch()), jetstream.PullHeartbeat(5*time.Second),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
			// While every worker is busy this process reads no heartbeats.
			if errors.Is(err, jetstream.ErrNoHeartbeat) && len(queue) == cap(queue) {
				return
			}
			// Anything else means that the consumer, the stream or the server
			// may be another one now.
			cancel(err)
		}))
	if err != nil {
		return err
	}
	<-ctx.Done()
	// What this process fetched and no worker has yet goes through the queue,
	// to be given back there.
	cc.Drain()
	<-cc.Closed()
	return context.Cause(ctx)
}

// decode returns a message's events. What is not valid is discarded here.
func decode[E any, P interface {
	*E
	event.Event
}](c *Conn, msg jetstream.Msg) []*Msg[E] {
	deliveries, stored := uint64(1), time.Time{}
	if meta, err := msg.Metadata(); err == nil {
		deliveries, stored = meta.NumDelivered, meta.Timestamp
	}
	events, invalid, err := event.DecodeGroup[E, P](msg.Data())
	from := &delivered{msg: msg, log: c.log, members: len(events), left: len(events)}
	if len(events) == 0 {
		from.members, from.left = 1, 1
		(&Msg[E]{from: from, Deliveries: deliveries}).Settle(Discard(err.Error()))
		return nil
	}
	if invalid > 0 {
		c.log.Error("events discarded", "subject", msg.Subject(), "events", invalid, "err", err)
	}
	all := make([]*Msg[E], len(events))
	for i := range events {
		all[i] = &Msg[E]{Event: events[i], Deliveries: deliveries, Stored: stored, from: from}
	}
	return all
}
