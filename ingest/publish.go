package ingest

import (
	"context"
	"log/slog"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/failpoint"
)

// Publisher puts committed triggers in motion.
type Publisher interface {
	// Publish returns when the events are stored. An event that was not
	// published is found in the ledger and published later by release.
	Publish(ctx context.Context, events []event.Event) error
}

// announcer publishes after the commits, beside them: a slow or absent
// JetStream delays no answer.
type announcer struct {
	publisher Publisher
	queue     *queue[[]event.Event] // each of one commit
	timeout   time.Duration
	outage    *outage
	metrics   *metrics
}

const (
	announceQueue = 256  // commits
	announceBatch = 1000 // events, which is what JetStream takes in one atomic batch
)

func newAnnouncer(p Publisher, timeout time.Duration, log *slog.Logger, m *metrics) *announcer {
	return &announcer{
		publisher: p, queue: newQueue[[]event.Event](announceQueue), timeout: timeout,
		outage: &outage{log: log, what: "publication of triggers"}, metrics: m,
	}
}

// add queues events, or leaves them to release.
func (a *announcer) add(events []event.Event) {
	if !a.queue.put(events) {
		a.metrics.unpublished.Add(float64(len(events)))
	}
}

// run publishes until the queue is closed and empty. What is left in a closed
// queue after a failure is not tried: release does that, and the process is to
// stop.
func (a *announcer) run() {
	var commits [][]event.Event
	var events []event.Event
	failed := false
	for {
		commits = a.queue.gather(commits[:0], announceQueue)
		if len(commits) == 0 {
			return
		}
		for i, more := range commits {
			events = append(events, more...)
			if i+1 < len(commits) && len(events)+len(commits[i+1]) <= announceBatch {
				continue
			}
			if failed && a.queue.isClosed() {
				a.metrics.unpublished.Add(float64(len(events)))
			} else {
				failed = !a.publish(events)
			}
			clear(events)
			events = events[:0]
		}
		clear(commits)
	}
}

func (a *announcer) publish(events []event.Event) bool {
	ctx, cancel := context.WithTimeout(context.Background(), a.timeout)
	defer cancel()
	failpoint.Hit(failpoint.IngestAnswered)
	err := a.publisher.Publish(ctx, events)
	failpoint.Hit(failpoint.IngestPublished)
	a.outage.report(err)
	if err != nil {
		a.metrics.unpublished.Add(float64(len(events)))
	}
	return err == nil
}
