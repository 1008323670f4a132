package simulator

import (
	"sync"
	"time"
)

// buckets are the token buckets of the app keys, in virtual time.
type buckets struct {
	mu sync.Mutex
	m  map[string]*bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

// allow takes a token of an app key's bucket.
func (b *buckets) allow(app string, now time.Time, r *Rules) bool {
	if r.RPS == 0 {
		return true
	}
	burst := max(float64(r.Burst), 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	k, ok := b.m[app]
	if !ok {
		k = &bucket{tokens: burst, at: now}
		b.m[app] = k
	}
	if d := now.Sub(k.at); d > 0 {
		k.tokens = min(burst, k.tokens+d.Seconds()*r.RPS)
		k.at = now
	}
	if k.tokens < 1 {
		if r.Penalty {
			k.tokens = 0
		}
		return false
	}
	k.tokens--
	return true
}

func (b *buckets) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.m = make(map[string]*bucket)
}

// quotas count accepted messages per calendar period.
type quotas struct {
	mu sync.Mutex
	m  map[string]*quota
}

type quota struct {
	period string
	used   int
}

// take counts n against the quota of who in a period and reports whether they
// fit; limit 0 is no quota.
func (q *quotas) take(who, period string, n, limit int) bool {
	if limit == 0 {
		return true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	u, ok := q.m[who]
	if !ok || u.period != period {
		u = &quota{period: period}
		q.m[who] = u
	}
	if u.used+n > limit {
		return false
	}
	u.used += n
	return true
}

func (q *quotas) reset() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.m = make(map[string]*quota)
}
