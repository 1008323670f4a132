package ingest

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"github.com/doctorsflow/doctorsflow/internal/store"
)

// headerReportToken carries, as it is, the text that was typed into NHN's
// console (TOAST-DOCS/SMS ko/webhook.md); it is no signature of anything.
const headerReportToken = "X-Toast-Webhook-Signature"

// reportDoor is an account with its token ready to compare.
type reportDoor struct {
	store.ReportAccount
	token   [sha256.Size]byte
	open    bool
	fetched time.Time
}

// stranger stands in for accounts that do not exist.
var stranger = new(reportDoor)

// admits reports whether a call with these values of the token's header comes
// through the door. It does the same work for every door and every value.
func (d *reportDoor) admits(values []string) bool {
	given := ""
	if len(values) == 1 {
		given = values[0]
	}
	sum := sha256.Sum256([]byte(given))
	equal := subtle.ConstantTimeCompare(sum[:], d.token[:])
	return equal == 1 && d.open && given != ""
}

// reportDoors is a cache in front of [ReportLedger].
type reportDoors struct {
	from     ReportLedger
	deadline time.Duration
	flight   singleflight.Group
	seen     chan struct{} // a slot per question about an account seen before
	strange  chan struct{} // and about any other id

	mu    sync.Mutex
	known map[uuid.UUID]*reportDoor
}

func newReportDoors(from ReportLedger, deadline time.Duration) *reportDoors {
	return &reportDoors{
		from: from, deadline: deadline, seen: make(chan struct{}, lookups), strange: make(chan struct{}, lookups),
		known: map[uuid.UUID]*reportDoor{},
	}
}

// get returns the account's door, or one that admits nobody; to a caller of
// whom wary is true, also if the account was never seen.
func (c *reportDoors) get(ctx context.Context, id uuid.UUID, now time.Time, wary func() bool) (*reportDoor, error) {
	c.mu.Lock()
	d := c.known[id]
	c.mu.Unlock()
	if d != nil && now.Sub(d.fetched) < endpointTTL {
		return d, nil
	}
	if d == nil && wary() {
		return stranger, nil
	}
	lane := c.strange
	if d != nil && d.open {
		lane = c.seen
	}
	shared := context.WithoutCancel(ctx)
	answer := c.flight.DoChan(string(id[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(shared, c.deadline)
		defer cancel()
		select {
		case lane <- struct{}{}:
			defer func() { <-lane }()
		case <-ctx.Done():
			return stranger, fmt.Errorf("%w: too many questions about accounts", store.ErrUnavailable)
		}
		return c.fetch(ctx, id)
	})
	select {
	case r := <-answer:
		return r.Val.(*reportDoor), r.Err
	case <-ctx.Done():
		return stranger, fmt.Errorf("%w: no answer about an account in time", store.ErrUnavailable)
	}
}

func (c *reportDoors) fetch(ctx context.Context, id uuid.UUID) (*reportDoor, error) {
	d := &reportDoor{fetched: time.Now()} // the answer is at least this fresh
	a, err := c.from.ReportAccount(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrErased):
	case err != nil:
		return stranger, err
	default:
		d.ReportAccount, d.open, d.token = a, len(a.Token) > 0, sha256.Sum256(a.Token)
		d.Token = nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= endpointLimit {
		clear(c.known)
	}
	c.known[id] = d
	return d, nil
}

// reportMetrics counts. No label holds an account or anything that a caller
// can choose.
type reportMetrics struct {
	calls        *prometheus.CounterVec
	reports      *prometheus.CounterVec
	kept         prometheus.Counter
	duplicate    prometheus.Counter
	unusable     prometheus.Counter
	floorSkipped prometheus.Counter
}

func newReportMetrics() *reportMetrics {
	vec := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "doctorsflow_" + name, Help: help}, []string{"outcome"})
	}
	m := &reportMetrics{
		calls:        vec("report_calls_total", "Calls of gateways' report webhooks by what became of them."),
		reports:      vec("reports_received_total", "Reports in accepted calls: kept, duplicate, or unusable (without an id)."),
		floorSkipped: prometheus.NewCounter(prometheus.CounterOpts{Name: "doctorsflow_report_floor_skipped_total", Help: "Refused report calls answered early because too many were held back."}),
	}
	m.kept, m.duplicate, m.unusable = m.reports.WithLabelValues("kept"), m.reports.WithLabelValues("duplicate"), m.reports.WithLabelValues("unusable")
	return m
}

func (m *reportMetrics) register(reg prometheus.Registerer) {
	reg.MustRegister(m.calls, m.reports, m.floorSkipped)
}
