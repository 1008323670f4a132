package ingest

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// bucketLimit bounds how many webhooks, and how many tenants, are counted at
// one time.
const bucketLimit = 10_000

// limits holds the token buckets. Only calls that proved who they are take
// tokens: a stranger can neither spend a producer's budget nor learn from a
// 429 that a webhook exists.
type limits struct {
	tenantPerMinute int
	webhooks        buckets[uuid.UUID]
	tenants         buckets[tenant.ID]
}

func newLimits(tenantPerMinute int) *limits {
	return &limits{
		tenantPerMinute: tenantPerMinute,
		webhooks:        buckets[uuid.UUID]{m: map[uuid.UUID]*rate.Limiter{}},
		tenants:         buckets[tenant.ID]{m: map[tenant.ID]*rate.Limiter{}},
	}
}

// take takes a token of the webhook and one of its tenant. It returns how long
// to wait until there is one, 0 if there was.
func (l *limits) take(w *store.Webhook, now time.Time) time.Duration {
	if d := l.webhooks.take(w.ID, w.RatePerMinute, now); d > 0 {
		return d
	}
	return l.tenants.take(w.Tenant, l.tenantPerMinute, now)
}

// buckets holds a token bucket per key, each as large as a minute's worth.
type buckets[K comparable] struct {
	mu sync.Mutex
	m  map[K]*rate.Limiter
}

func (b *buckets[K]) take(key K, perMinute int, now time.Time) time.Duration {
	perMinute = max(perMinute, 1)
	limit := rate.Limit(float64(perMinute) / 60)
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.m[key]
	switch {
	case l == nil:
		if len(b.m) >= bucketLimit {
			b.evict(now)
		}
		l = rate.NewLimiter(limit, perMinute)
		b.m[key] = l
	case l.Burst() != perMinute:
		l.SetLimitAt(now, limit)
		l.SetBurstAt(now, perMinute)
	}
	if l.AllowN(now, 1) {
		return 0
	}
	return time.Duration((1 - l.TokensAt(now)) / float64(limit) * float64(time.Second))
}

// evict makes room: full buckets go, which say nothing, or else any one.
func (b *buckets[K]) evict(now time.Time) {
	for key, l := range b.m {
		if l.TokensAt(now) >= float64(l.Burst()) {
			delete(b.m, key)
		}
	}
	for key := range b.m {
		if len(b.m) < bucketLimit {
			return
		}
		delete(b.m, key)
	}
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
