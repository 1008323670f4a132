package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/singleflight"

	"github.com/doctorsflow/doctorsflow/internal/store"
)

// Endpoints finds the configuration of a webhook.
type Endpoints interface {
	// Webhook returns store.ErrNotFound if there is none, and
	// store.ErrUnavailable if that could not be found out.
	Webhook(ctx context.Context, id uuid.UUID) (store.Webhook, error)
}

const (
	// endpointTTL is how long an answer is believed: a webhook that was
	// disabled, rotated or made is so everywhere within it.
	endpointTTL = time.Second
	// endpointLimit bounds each half of the cache.
	endpointLimit = 10_000
	// lookups bounds the questions at Postgres at one time, for webhooks seen
	// before and for strangers' ids apart, so that a flood of invented ids
	// cannot keep a real webhook waiting.
	lookups = 4
)

// endpoint is a webhook's configuration with its keys ready.
type endpoint struct {
	store.Webhook
	source     string    // of its triggers
	all        []*signer // the current secret's first
	fetched    time.Time
	refreshing atomic.Bool
}

// signers returns the keys that are valid now.
func (e *endpoint) signers(now time.Time) []*signer {
	if len(e.all) > 1 && !now.Before(e.PreviousExpires) {
		return e.all[:1]
	}
	return e.all
}

// endpoints is a cache in front of [Endpoints].
type endpoints struct {
	from     Endpoints
	deadline time.Duration
	flight   singleflight.Group
	seen     chan struct{} // a slot per question about a webhook seen before
	stranger chan struct{} // and about any other id
	limit    int           // of known, and of unknown

	mu      sync.RWMutex
	known   map[uuid.UUID]*endpoint // stale ones too, for their keys and their lane
	unknown map[uuid.UUID]time.Time
}

func newEndpoints(from Endpoints, deadline time.Duration) *endpoints {
	return &endpoints{
		from: from, deadline: deadline, limit: endpointLimit,
		seen: make(chan struct{}, lookups), stranger: make(chan struct{}, lookups),
		known: map[uuid.UUID]*endpoint{}, unknown: map[uuid.UUID]time.Time{},
	}
}

// anybody is asked for: nobody is wary of us.
func anybody() bool { return false }

// get returns the webhook, or nil if there is none; to a caller of whom wary is
// true, also if it was never seen.
func (c *endpoints) get(ctx context.Context, id uuid.UUID, now time.Time, wary func() bool) (*endpoint, error) {
	c.mu.RLock()
	e, absent := c.known[id], c.unknown[id]
	c.mu.RUnlock()
	if now.Sub(absent) < endpointTTL || e == nil && wary() {
		return nil, nil
	}
	if e != nil && now.Sub(e.fetched) < endpointTTL {
		// One caller renews a busy webhook before it is stale, and the others
		// need not wait for Postgres every second.
		if now.Sub(e.fetched) < endpointTTL/2 || !e.refreshing.CompareAndSwap(false, true) {
			return e, nil
		}
		if renewed, err := c.ask(ctx, id, e); err == nil {
			return renewed, nil
		}
		return e, nil
	}
	return c.ask(ctx, id, e)
}

// ask asks once for all who want to know the same.
func (c *endpoints) ask(ctx context.Context, id uuid.UUID, old *endpoint) (*endpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, c.deadline)
	defer cancel()
	shared := context.WithoutCancel(ctx)
	answer := c.flight.DoChan(string(id[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(shared, c.deadline)
		defer cancel()
		return c.fetch(ctx, id, old)
	})
	select {
	case r := <-answer:
		e, _ := r.Val.(*endpoint)
		return e, r.Err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: no answer about a webhook in time", store.ErrUnavailable)
	}
}

func (c *endpoints) fetch(ctx context.Context, id uuid.UUID, old *endpoint) (*endpoint, error) {
	lane := c.stranger
	if old != nil {
		lane = c.seen
	}
	select {
	case lane <- struct{}{}:
		defer func() { <-lane }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: too many questions about webhooks", store.ErrUnavailable)
	}
	asked := time.Now() // the answer is at least this fresh
	w, err := c.from.Webhook(ctx, id)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrErased):
		delete(c.known, id)
		if len(c.unknown) >= c.limit {
			clear(c.unknown)
		}
		c.unknown[id] = asked
		return nil, nil
	case err != nil:
		return nil, err
	}
	delete(c.unknown, id)
	if len(c.known) >= c.limit && c.known[id] == nil {
		c.evict(asked)
	}
	e := &endpoint{Webhook: w, source: "webhook:" + id.String(), fetched: asked, all: prepare(w.Secrets, old)}
	c.known[id] = e
	return e, nil
}

// evict makes room: every stale webhook goes, or else any one.
func (c *endpoints) evict(now time.Time) {
	for id, e := range c.known {
		if now.Sub(e.fetched) >= endpointTTL {
			delete(c.known, id)
		}
	}
	for id := range c.known {
		if len(c.known) < c.limit {
			return
		}
		delete(c.known, id)
	}
}

// prepare keeps the old signers of unchanged secrets, for their spare hashes.
// In place of an empty secret, with which anyone could sign, stands one that
// nobody knows.
func prepare(secrets [][]byte, old *endpoint) []*signer {
	signers := make([]*signer, 0, len(secrets))
	for _, secret := range secrets {
		if len(secret) == 0 {
			secret = NewSecret()
		}
		s := newSigner(secret)
		if old != nil {
			for _, o := range old.all {
				if bytes.Equal(o.secret, secret) {
					s = o
				}
			}
		}
		signers = append(signers, s)
	}
	return signers
}
