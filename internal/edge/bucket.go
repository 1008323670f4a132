package edge

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// bucketLimit bounds how many keys [Buckets] counts at one time.
const bucketLimit = 10_000

// Buckets holds a token bucket per key, each as large as a minute's worth, for
// at most ten thousand keys, about 2 MB: when there are more, those that are
// full are forgotten, and then any. The zero value is ready, and safe for
// concurrent use.
type Buckets[K comparable] struct {
	mu sync.Mutex
	m  map[K]*rate.Limiter
}

// Take takes a token of key's bucket, which gets perMinute of them a minute,
// at least one. It returns how long to wait until there is one, 0 if there was.
func (b *Buckets[K]) Take(key K, perMinute int, now time.Time) time.Duration {
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
		if b.m == nil {
			b.m = map[K]*rate.Limiter{}
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

// Empty reports whether key's bucket has no token now. It takes none.
func (b *Buckets[K]) Empty(key K, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.m[key]
	return l != nil && l.TokensAt(now) < 1
}

// evict makes room for a tenth of the keys, so that a flood of new ones does
// not look through all of them each time: full buckets go, which say nothing,
// or else any.
func (b *Buckets[K]) evict(now time.Time) {
	for key, l := range b.m {
		if l.TokensAt(now) >= float64(l.Burst()) {
			delete(b.m, key)
		}
	}
	for key := range b.m {
		if len(b.m) <= bucketLimit-bucketLimit/10 {
			return
		}
		delete(b.m, key)
	}
}
