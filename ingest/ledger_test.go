package ingest_test

import (
	"context"
	"sync"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

type triggerKey struct {
	tenant        tenant.ID
	source, event string
}

type row struct {
	id   uuid.UUID
	body string
}

// ledger is an in-memory ledger: a trigger is unique per tenant, source and
// event id. before, if set, runs first in each commit and may fail it.
type ledger struct {
	mu       sync.Mutex
	webhooks map[uuid.UUID]store.Webhook
	lookups  int
	rows     map[triggerKey]row
	commits  []int // calls in each commit
	accepts  []store.Accept
	refused  []store.RefusedCall
	events   []event.Event
	before   func(ctx context.Context, calls []store.Accept) error
	lookup   func(ctx context.Context) error
	publish  func(ctx context.Context) error
}

func (l *ledger) AcceptTriggers(ctx context.Context, calls []store.Accept) ([]store.AcceptResult, error) {
	if l.before != nil {
		if err := l.before(ctx, calls); err != nil {
			return nil, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commits = append(l.commits, len(calls))
	results := make([]store.AcceptResult, len(calls))
	for i, c := range calls {
		k := triggerKey{c.Tenant, c.Source, c.EventID}
		if c.EventID == "" {
			k.event = "body:" + string(c.Body)
		}
		r, ok := l.rows[k]
		switch {
		case !ok:
			r = row{uuid.Must(uuid.NewV7()), string(c.Body)}
			l.rows[k] = r
			c.Body = nil // it is the caller's again
			l.accepts = append(l.accepts, c)
			results[i] = store.AcceptResult{TriggerID: r.id, Status: store.Accepted}
		case r.body == string(c.Body):
			results[i] = store.AcceptResult{TriggerID: r.id, Status: store.Duplicate}
		default:
			results[i] = store.AcceptResult{TriggerID: r.id, Status: store.Conflict}
		}
	}
	return results, nil
}

func (l *ledger) RecordRefused(_ context.Context, calls []store.RefusedCall) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused = append(l.refused, calls...)
	return nil
}

func (l *ledger) Webhook(ctx context.Context, id uuid.UUID) (store.Webhook, error) {
	if l.lookup != nil {
		if err := l.lookup(ctx); err != nil {
			return store.Webhook{}, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lookups++
	if w, ok := l.webhooks[id]; ok {
		return w, nil
	}
	return store.Webhook{}, store.ErrNotFound
}

func (l *ledger) Publish(ctx context.Context, events []event.Event) error {
	if l.publish != nil {
		if err := l.publish(ctx); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, events...)
	return nil
}
