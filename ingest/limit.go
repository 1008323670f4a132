package ingest

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/doctorsflow/doctorsflow/internal/edge"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// limits holds the token buckets. Only calls that proved who they are take
// tokens: a stranger can neither spend a producer's budget nor learn from a
// 429 that a webhook exists.
type limits struct {
	tenantPerMinute int
	webhooks        edge.Buckets[uuid.UUID]
	tenants         edge.Buckets[tenant.ID]
}

func newLimits(tenantPerMinute int) *limits {
	return &limits{tenantPerMinute: tenantPerMinute}
}

// take takes a token of the webhook and one of its tenant. It returns how long
// to wait until there is one, 0 if there was.
func (l *limits) take(w *store.Webhook, now time.Time) time.Duration {
	if d := l.webhooks.Take(w.ID, w.RatePerMinute, now); d > 0 {
		return d
	}
	return l.tenants.Take(w.Tenant, l.tenantPerMinute, now)
}

// floorSlots bounds the requests that are held back at one time.
const floorSlots = 1024

// floor holds answers back until a fixed time has passed, so that the time
// says nothing about the reason. When too many are held, the next are let go
// at once, all alike.
type floor struct {
	least   time.Duration
	slots   chan struct{}
	skipped prometheus.Counter
}

func newFloor(least time.Duration, skipped prometheus.Counter) *floor {
	return &floor{least: least, slots: make(chan struct{}, floorSlots), skipped: skipped}
}

func (f *floor) wait(ctx context.Context, since time.Time) {
	d := f.least - time.Since(since)
	if d <= 0 {
		return
	}
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	default:
		f.skipped.Inc()
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
