package stream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/doctorsflow/doctorsflow/internal/event"
)

// The streams, and the durable consumers that share their work.
const (
	Triggers   = "TRIGGERS"
	Steps      = "STEPS"
	Deliveries = "DELIVERIES"

	PlannerConsumer  = "planner"
	RecorderConsumer = "recorder"
)

// DispatcherConsumer is the durable consumer of one lane.
func DispatcherConsumer(l event.Lane) string { return "dispatcher-" + string(l) }

// streams declares every stream. Where one role reads, a message is gone once
// acknowledged; where ops read too, it stays for a week.
func streams(replicas int) []jetstream.StreamConfig {
	return []jetstream.StreamConfig{
		{
			Name: Triggers, Subjects: []string{"trigger.>", anchorSubject(Triggers)}, Retention: jetstream.WorkQueuePolicy,
			Description: "ids of committed triggers, for the planner",
			Storage:     jetstream.FileStorage, Replicas: replicas, Duplicates: 2 * time.Minute, AllowDirect: true,
		},
		{
			Name: Steps, Subjects: []string{"step.due.>", anchorSubject(Steps)}, Retention: jetstream.WorkQueuePolicy,
			Description: "ids of due steps, for the dispatcher",
			Storage:     jetstream.FileStorage, Replicas: replicas, Duplicates: 2 * time.Minute, AllowDirect: true,
		},
		{
			Name: Deliveries, Subjects: []string{"delivery.>"}, Retention: jetstream.LimitsPolicy,
			Description: "evidence about attempts, for the recorder and for ops",
			Storage:     jetstream.FileStorage, Replicas: replicas, Duplicates: 2 * time.Minute, AllowDirect: true,
			MaxAge: 7 * 24 * time.Hour,
		},
	}
}

// consumers declares every durable consumer of a stream.
func consumers(stream string) []jetstream.ConsumerConfig {
	durable := func(name, filter string, wait time.Duration, pending int) jetstream.ConsumerConfig {
		return jetstream.ConsumerConfig{
			Durable: name, FilterSubject: filter, AckPolicy: jetstream.AckExplicitPolicy,
			AckWait: wait, MaxAckPending: pending, MaxDeliver: -1,
		}
	}
	switch stream {
	case Triggers:
		return []jetstream.ConsumerConfig{durable(PlannerConsumer, "trigger.>", 10*time.Second, 4096)}
	case Steps:
		var all []jetstream.ConsumerConfig
		for _, l := range event.Lanes {
			// A message handed out again while its request is under way
			// finds the step claimed and is acknowledged.
			all = append(all, durable(DispatcherConsumer(l), "step.due."+string(l)+".>", 20*time.Second, 4096))
		}
		return all
	case Deliveries:
		return []jetstream.ConsumerConfig{durable(RecorderConsumer, "delivery.>", 10*time.Second, 4096)}
	}
	return nil
}

// Ensure creates or updates every stream and durable consumer, and tries again
// until ctx ends: a cluster that several processes ask for its first stream at
// the same moment leaves some of them without an answer.
func (c *Conn) Ensure(ctx context.Context) error {
	for _, cfg := range streams(c.replicas) {
		for {
			try, cancel := context.WithTimeout(ctx, 3*time.Second)
			err := c.ensure(try, cfg)
			cancel()
			if err == nil {
				break
			}
			if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrTimeout) && !errors.Is(err, nats.ErrNoResponders) {
				return err
			}
			c.log.Warn("the broker gave no answer; asking again", "err", err)
			// Not all at the same moment again.
			select {
			case <-ctx.Done():
				return err
			case <-time.After(time.Duration(200+rand.IntN(800)) * time.Millisecond):
			}
		}
	}
	return nil
}

func (c *Conn) ensure(ctx context.Context, cfg jetstream.StreamConfig) error {
	s, err := c.js.CreateOrUpdateStream(ctx, cfg)
	if err != nil {
		return fmt.Errorf("stream: create %s: %w", cfg.Name, err)
	}
	for _, cc := range consumers(cfg.Name) {
		if _, err := s.CreateOrUpdateConsumer(ctx, cc); err != nil {
			return fmt.Errorf("stream: create consumer %s of %s: %w", cc.Durable, cfg.Name, err)
		}
	}
	return nil
}

// Mark is where a stream stands.
type Mark struct {
	Stream  string
	Born    time.Time
	LastSeq uint64
}

// Marks returns where every stream stands, creating those that are gone. A
// stream that is younger or lower than its last mark has lost messages.
func (c *Conn) Marks(ctx context.Context) ([]Mark, error) {
	var marks []Mark
	for _, cfg := range streams(c.replicas) {
		s, err := c.js.Stream(ctx, cfg.Name)
		if err != nil {
			if err := c.ensure(ctx, cfg); err != nil {
				return nil, err
			}
			if s, err = c.js.Stream(ctx, cfg.Name); err != nil {
				return nil, fmt.Errorf("stream: %s: %w", cfg.Name, err)
			}
		}
		info := s.CachedInfo()
		marks = append(marks, Mark{cfg.Name, info.Created, info.State.LastSeq})
	}
	return marks, nil
}

// Backlog is what a durable consumer has before it.
type Backlog struct {
	// Waiting was never delivered; InHand was, and is not acknowledged.
	Waiting, InHand int
	// Since is when the oldest unacknowledged message was stored; zero if
	// there is none.
	Since time.Time
}

// Backlog returns what waits for a durable consumer.
func (c *Conn) Backlog(ctx context.Context, stream, consumer string) (Backlog, error) {
	s, err := c.js.Stream(ctx, stream)
	if err != nil {
		return Backlog{}, fmt.Errorf("stream: %s: %w", stream, err)
	}
	cons, err := s.Consumer(ctx, consumer)
	if err != nil {
		return Backlog{}, fmt.Errorf("stream: consumer %s: %w", consumer, err)
	}
	info := cons.CachedInfo()
	b := Backlog{Waiting: int(info.NumPending), InHand: info.NumAckPending}
	if b.Waiting == 0 && b.InHand == 0 {
		return b, nil
	}
	msg, err := s.GetMsg(ctx, info.AckFloor.Stream+1, jetstream.WithGetMsgSubject(info.Config.FilterSubject))
	if err != nil {
		// Acknowledged meanwhile: count from now, which errs on the safe side
		// for whoever asks how old the oldest is.
		b.Since = info.TimeStamp
		return b, nil
	}
	b.Since = msg.Time
	return b, nil
}

// What a stored message of STEPS is large by: a step, and all else once.
const (
	stepSize    = 220
	messageSize = 200
)

// InFlight returns about how many steps each subject of STEPS holds that are
// not acknowledged: each message counts as one of the stream's average size.
func (c *Conn) InFlight(ctx context.Context) (map[string]uint64, error) {
	s, err := c.js.Stream(ctx, Steps)
	if err != nil {
		return nil, fmt.Errorf("stream: %s: %w", Steps, err)
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter("step.due.>"))
	if err != nil {
		return nil, fmt.Errorf("stream: %s: %w", Steps, err)
	}
	if info.State.Msgs == 0 {
		return info.State.Subjects, nil
	}
	average := info.State.Bytes / info.State.Msgs
	steps := min(maxGroup, max(1, (max(average, messageSize)-messageSize+stepSize/2)/stepSize))
	for subject := range info.State.Subjects {
		info.State.Subjects[subject] *= steps
	}
	return info.State.Subjects, nil
}
