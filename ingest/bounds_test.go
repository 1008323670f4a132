package ingest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/store"
)

// every knows all webhooks, or none.
type every bool

func (e every) Webhook(_ context.Context, id uuid.UUID) (store.Webhook, error) {
	if !e {
		return store.Webhook{}, store.ErrNotFound
	}
	return store.Webhook{ID: id, Secrets: [][]byte{{1}}}, nil
}

func TestTheCacheOfWebhooksIsBounded(t *testing.T) {
	t.Parallel()
	for _, known := range []every{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c := newEndpoints(known, time.Second)
			c.limit = 200
			for i := range 2 * c.limit {
				if e, err := c.get(t.Context(), uuid.New(), time.Now(), anybody); err != nil || (e != nil) != bool(known) {
					t.Fatal(e, err)
				}
				if i == c.limit/2 {
					time.Sleep(2 * endpointTTL) // half of them are stale when room is needed
				}
			}
			if len(c.known) > c.limit || len(c.unknown) > c.limit {
				t.Errorf("%d known, %d unknown", len(c.known), len(c.unknown))
			}
		})
	}
}

func TestAnEmptySecretSignsNothing(t *testing.T) {
	t.Parallel()
	body := []byte("{}")
	anyone := newSigner(nil)
	e := &endpoint{all: prepare([][]byte{{}, nil}, nil)}
	var tmp scratch
	for _, s := range e.all {
		if string(s.sum(nil, nil, body)) == string(anyone.sum(nil, nil, body)) {
			t.Error("an empty secret verifies")
		}
	}
	sig := signature{legacy: "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"} // HMAC of nothing with nothing
	if sig.verifyLegacy(e.all, nil, &tmp) == "" {
		t.Error("an empty secret verifies")
	}
}
