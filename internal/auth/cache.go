package auth

import (
	"crypto/sha256"
	"maps"
	"sync"
	"time"
)

const (
	// cacheTTL bounds how long a revoked key is still good.
	cacheTTL = 5 * time.Second
	// cacheSize bounds the memory; only keys that are good take some.
	cacheSize = 10_000
)

// cache remembers verified keys by their hashes. What was refused is not
// remembered: a key made a moment ago works at once, and guessing fills
// nothing. The zero cache is empty.
type cache struct {
	mu sync.Mutex
	m  map[[sha256.Size]byte]remembered
}

type remembered struct {
	principal Principal
	until     time.Time
}

// get returns whom a key speaks for, if ok; seen tells that it was good once.
func (c *cache) get(hash [sha256.Size]byte, now time.Time) (p Principal, seen, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, seen := c.m[hash]
	return e.principal, seen, seen && now.Before(e.until)
}

// put keeps p for the TTL from asked on, or until the key itself expires.
func (c *cache) put(hash [sha256.Size]byte, p Principal, asked, expires time.Time) {
	until := asked.Add(cacheTTL)
	if !expires.IsZero() && expires.Before(until) {
		until = expires
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.m) >= cacheSize {
		maps.DeleteFunc(c.m, func(_ [sha256.Size]byte, e remembered) bool { return !asked.Before(e.until) })
	}
	if c.m == nil || len(c.m) >= cacheSize {
		c.m = map[[sha256.Size]byte]remembered{}
	}
	c.m[hash] = remembered{p, until}
}
