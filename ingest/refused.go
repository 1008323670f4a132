package ingest

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/store"
)

// refusedPerMinute is how many refused calls of one webhook are recorded in a
// minute; the others are only counted. A stranger who knows an address cannot
// fill its history faster.
const refusedPerMinute = 60

const (
	refusedQueue = 1024
	refusedBatch = 256
	earlyQueue   = 64
)

// refusals records refused calls to known webhooks, beside the answers.
type refusals struct {
	ledger    Ledger
	endpoints *endpoints
	timeout   time.Duration
	rows      *queue[store.RefusedCall]
	early     *queue[earlyRefusal]
	outage    *outage
	metrics   *metrics

	mu      sync.Mutex
	minute  time.Time
	written map[uuid.UUID]int // rows of each webhook in this minute
}

// earlyRefusal is a call that was refused by its form, before anyone looked
// whether there is such a webhook.
type earlyRefusal struct {
	id       uuid.UUID
	status   int
	reason   reason
	received time.Time
}

func newRefusals(ledger Ledger, e *endpoints, timeout time.Duration, log *slog.Logger, m *metrics) *refusals {
	return &refusals{
		ledger: ledger, endpoints: e, timeout: timeout,
		rows: newQueue[store.RefusedCall](refusedQueue), early: newQueue[earlyRefusal](earlyQueue),
		outage: &outage{log: log, what: "record of refused calls"}, metrics: m,
		written: map[uuid.UUID]int{},
	}
}

// add records a call soon. body is copied; it is nil unless the signature was
// good.
func (f *refusals) add(row store.RefusedCall, body []byte) {
	if !f.allow(row.WebhookID, row.Received) {
		f.metrics.unrecorded.Inc()
		return
	}
	if body != nil {
		row.Body = append([]byte{}, body...)
	}
	if !f.rows.put(row) {
		f.metrics.unrecorded.Inc()
	}
}

// addEarly records a call if there turns out to be such a webhook.
func (f *refusals) addEarly(r earlyRefusal) {
	if !f.early.put(r) {
		f.metrics.unrecorded.Inc()
	}
}

func (f *refusals) allow(id uuid.UUID, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := now.Truncate(time.Minute); m.After(f.minute) {
		f.minute = m
		clear(f.written)
	}
	f.written[id]++
	return f.written[id] <= refusedPerMinute
}

// run records until close and until all is written.
func (f *refusals) run() {
	var resolving sync.WaitGroup
	resolving.Go(f.resolve)
	var rows []store.RefusedCall
	for {
		rows = f.rows.gather(rows[:0], refusedBatch)
		if len(rows) == 0 {
			break
		}
		ctx, cancel := context.WithTimeout(context.Background(), f.timeout)
		err := f.ledger.RecordRefused(ctx, rows)
		cancel()
		f.outage.report(err)
		if err != nil {
			f.metrics.unrecorded.Add(float64(len(rows)))
		}
		clear(rows)
	}
	resolving.Wait()
}

// resolve looks the early refusals' webhooks up, one at a time, and none any
// more when Postgres is away while the process wants to stop. It closes the
// queue of rows, which it is the last to write to.
func (f *refusals) resolve() {
	defer f.rows.close()
	var batch []earlyRefusal
	failed := false
	for {
		batch = f.early.gather(batch[:0], 1)
		if len(batch) == 0 {
			return
		}
		if failed && f.early.isClosed() {
			f.metrics.unrecorded.Inc()
			continue
		}
		r := batch[0]
		e, err := f.endpoints.get(context.Background(), r.id, time.Now(), anybody)
		failed = err != nil
		switch {
		case err != nil:
			f.metrics.unrecorded.Inc()
		case e != nil:
			f.add(store.RefusedCall{
				Tenant: e.Tenant, WebhookID: e.ID, ResponseStatus: r.status, Problem: string(r.reason), Received: r.received,
			}, nil)
		}
	}
}

// close lets no more in and makes run return.
func (f *refusals) close() { f.early.close() }
