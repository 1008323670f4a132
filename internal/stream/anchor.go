package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// An anchor is a message that nobody consumes. A work queue that becomes empty
// throws its file away and makes another one, which the server does, at little
// load, for each and every message: a sixth of the process's CPU time at 200
// triggers a second, and journal commits that Postgres then waits for. With a
// message left the file stays. A file holds 8 MB, so the anchor has to move on
// with the stream.

// anchorReach is after how many messages an anchor is laid anew: 1,000 of the
// largest groups fill about one file.
const anchorReach = 1000

func anchorSubject(stream string) string { return "anchor." + stream }

// Anchor keeps the files of the work queues from being made anew for every
// message. It is to be called every few seconds; any number of copies may.
func (c *Conn) Anchor(ctx context.Context) error {
	for _, cfg := range streams(c.replicas) {
		if cfg.Retention != jetstream.WorkQueuePolicy {
			continue
		}
		if err := c.anchor(ctx, cfg.Name); err != nil {
			return fmt.Errorf("stream: anchor of %s: %w", cfg.Name, err)
		}
	}
	return nil
}

func (c *Conn) anchor(ctx context.Context, stream string) error {
	s, err := c.js.Stream(ctx, stream)
	if err != nil {
		return err
	}
	subject := anchorSubject(stream)
	switch last, err := s.GetLastMsgForSubject(ctx, subject); {
	case errors.Is(err, jetstream.ErrMsgNotFound):
	case err != nil:
		return err
	case s.CachedInfo().State.LastSeq-last.Sequence < anchorReach:
		return nil
	}
	// The old one goes first: a queue that has nothing else just now then starts
	// a new file, of which the server keeps less in memory.
	if err := s.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
		return err
	}
	_, err = c.js.Publish(ctx, subject, nil)
	return err
}
