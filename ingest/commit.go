package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/failpoint"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// Ledger keeps calls.
type Ledger interface {
	// AcceptTriggers commits all calls in one transaction, or none, together
	// with their rows of the webhook's history. The results are in the order
	// of the calls. Several calls may carry the same event; one of them is the
	// first. It keeps nothing of a call after it returned. After
	// store.ErrUnavailable it is not known whether they were committed.
	AcceptTriggers(ctx context.Context, calls []store.Accept) ([]store.AcceptResult, error)
	// RecordRefused adds rows to the webhooks' histories.
	RecordRefused(ctx context.Context, calls []store.RefusedCall) error
}

// call is one request on its way to the ledger. It is used again, unless its
// request gave up while a commit still held it.
type call struct {
	body    []byte
	scratch scratch
	accept  store.Accept
	state   atomic.Int32
	done    chan outcome // of capacity 1: a commit never waits for a request
	timer   *time.Timer
}

// The states of a call.
const (
	waiting   int32 = iota // in the queue
	taken                  // in a commit
	abandoned              // answered 503 while waiting
)

type outcome struct {
	result store.AcceptResult
	err    error
}

func newCall() *call {
	c := &call{body: make([]byte, 0, 4<<10), done: make(chan outcome, 1), timer: time.NewTimer(time.Hour)}
	c.timer.Stop()
	return c
}

// errFull means that the queue had no room, or takes no more.
var errFull = errors.New("ingest: too many calls are waiting")

// committer commits many requests at a time. A request that comes while
// nothing is in flight is committed at once and alone; those that come during
// a commit wait for its end and go together.
type committer struct {
	ledger   Ledger
	queue    *queue[*call]
	batch    int
	deadline time.Duration
	accepted func([]event.Event) // told after the requests have been answered
	outage   *outage
	metrics  *metrics
	flooded  atomic.Int64 // Unix nanoseconds until which calls are taken for a flood
}

// flood is how many calls in one commit are one, and how long it is taken to
// last after them.
const (
	floodSize = 12
	floodTime = 100 * time.Millisecond
)

func newCommitter(c Config, ledger Ledger, accepted func([]event.Event), log *slog.Logger, m *metrics) *committer {
	return &committer{
		ledger: ledger, queue: newQueue[*call](c.Queue), batch: c.Batch, deadline: c.Deadline,
		accepted: accepted, outage: &outage{log: log, what: "commit of triggers"}, metrics: m,
	}
}

// do waits until c is committed or until the deadline. reusable tells whether
// the committer has let go of c.
func (m *committer) do(c *call, deadline time.Time) (o outcome, reusable bool) {
	c.state.Store(waiting)
	if !m.queue.put(c) {
		return outcome{err: errFull}, true
	}
	c.timer.Reset(time.Until(deadline))
	select {
	case o = <-c.done:
		c.timer.Stop()
		return o, true
	case <-c.timer.C:
		// Whether or not it was taken: nothing may be concluded.
		c.state.CompareAndSwap(waiting, abandoned)
		return outcome{err: fmt.Errorf("%w: no commit in time", store.ErrUnavailable)}, false
	}
}

// run commits until the queue is closed and empty.
func (m *committer) run() {
	var calls []*call
	var accepts []store.Accept
	for {
		calls = m.queue.gather(calls[:0], m.batch)
		if len(calls) == 0 {
			return
		}
		// Whoever was answered 503 will send again; there is nobody to tell.
		live := calls[:0]
		for _, c := range calls {
			if c.state.CompareAndSwap(waiting, taken) {
				live = append(live, c)
				accepts = append(accepts, c.accept)
			}
		}
		m.mark(len(live))
		if len(live) > 0 {
			m.commit(live, accepts)
		}
		m.mark(len(live))
		clear(calls)
		clear(accepts)
		accepts = accepts[:0]
	}
}

// mark notes a flood.
func (m *committer) mark(calls int) {
	if calls >= floodSize {
		m.flooded.Store(time.Now().Add(floodTime).UnixNano())
	}
}

// commit commits the calls together. If the ledger refuses them for a reason
// of their own, it commits the halves, so that one call cannot fail others.
func (m *committer) commit(calls []*call, accepts []store.Accept) {
	start := time.Now()
	failpoint.Hit(failpoint.IngestTaken)
	ctx, cancel := context.WithTimeout(context.Background(), m.deadline)
	results, err := m.ledger.AcceptTriggers(ctx, accepts)
	cancel()
	if err == nil && len(results) != len(accepts) {
		err = fmt.Errorf("ingest: %d results for %d calls", len(results), len(accepts))
	}
	m.metrics.commitSeconds.Observe(time.Since(start).Seconds())
	m.outage.report(err)
	if err != nil {
		if n := len(calls) / 2; n > 0 && !unavailable(err) {
			m.commit(calls[:n], accepts[:n])
			m.commit(calls[n:], accepts[n:])
			return
		}
		for _, c := range calls {
			c.done <- outcome{err: err}
		}
		return
	}
	m.metrics.commitSize.Observe(float64(len(calls)))
	failpoint.Hit(failpoint.IngestCommitted)
	for i, c := range calls {
		c.done <- outcome{result: results[i]} // from here on, c belongs to its request
	}
	m.announce(accepts, results)
}

// announce passes on the triggers that are new.
func (m *committer) announce(accepts []store.Accept, results []store.AcceptResult) {
	events := make([]event.Event, 0, len(results))
	triggers := make([]event.Trigger, len(results))
	for i, r := range results {
		if r.Status == store.Accepted {
			triggers[i] = event.Trigger{Tenant: accepts[i].Tenant, ID: r.TriggerID, Kind: accepts[i].Kind}
			events = append(events, &triggers[i])
		}
	}
	if len(events) > 0 {
		m.accepted(events)
	}
}

func unavailable(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
