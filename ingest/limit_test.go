package ingest_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/ingest"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

func TestOverTheRateIs429UntilRetryAfter(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name            string
		webhook, tenant int
	}{{"of_the_webhook", 6, 1000}, {"of_the_tenant", 1000, 6}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, ingest.Config{TenantPerMinute: tt.tenant}, func(h *store.Webhook) { h.RatePerMinute = tt.webhook })
				for i := range 6 {
					if a := w.post(t, call{}); a.status != 202 {
						t.Fatalf("call %d: answered %d", i, a.status)
					}
				}
				commits, start := len(w.commits), time.Now()
				a := w.post(t, call{})
				if a.status != 429 || a.problem() != "rate-limited" || a.header.Get("Retry-After") != "10" || time.Since(start) != 0 {
					t.Errorf("answered %d %s, Retry-After %s", a.status, a.body, a.header.Get("Retry-After"))
				}
				if len(w.commits) != commits {
					t.Error("a refused call was committed")
				}
				time.Sleep(10 * time.Second)
				if a := w.post(t, call{}); a.status != 202 {
					t.Errorf("after Retry-After: %d", a.status)
				}
				if a := w.post(t, call{}); a.status != 429 {
					t.Errorf("and one more: %d", a.status)
				}
				w.stop()
				if len(w.refused) != 2 || w.refused[0].Problem != "rate-limited" || w.refused[0].Body == nil {
					t.Errorf("recorded %+v", w.refused)
				}
			})
		})
	}
}

func TestAStrangerCannotSpendAProducersRate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ingest.Config{Floor: time.Nanosecond}, func(h *store.Webhook) { h.RatePerMinute = 2 })
	for range 50 {
		if a := w.post(t, call{secret: ingest.NewSecret()}); a.status != 401 {
			t.Fatalf("a 401 became a %d, which tells that the webhook exists", a.status)
		}
	}
	if a := w.post(t, call{}); a.status != 202 {
		t.Errorf("the producer is refused: %d", a.status)
	}
}

func TestAChangedRateHolds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{}, func(h *store.Webhook) { h.RatePerMinute = 1 })
		w.post(t, call{})
		if a := w.post(t, call{}); a.status != 429 {
			t.Errorf("answered %d", a.status)
		}
		h := w.hook
		h.RatePerMinute = 600
		w.webhooks[h.ID] = h
		time.Sleep(time.Second + time.Second/2)
		for range 5 {
			if a := w.post(t, call{}); a.status != 202 && a.status != 429 {
				t.Errorf("answered %d", a.status)
			}
			time.Sleep(time.Second / 10)
		}
		if a := w.post(t, call{}); a.status != 202 {
			t.Errorf("at the new rate: %d", a.status)
		}
		w.stop()
	})
}

func TestTheHistoryOfRefusalsIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{}, nil)
		time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute)))
		for range 100 {
			w.post(t, call{secret: ingest.NewSecret()})
		}
		synctest.Wait()
		if n, lost := len(w.refused), w.count(t, "unrecorded_total", ""); n != 60 || lost != 40 {
			t.Errorf("%d rows and %v counted in one minute", n, lost)
		}
		time.Sleep(time.Minute)
		w.post(t, call{secret: ingest.NewSecret()})
		w.stop()
		if len(w.refused) != 61 {
			t.Errorf("%d rows a minute later", len(w.refused))
		}
	})
}

func TestAFloodAsksPostgresOnceASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{}, nil)
		w.lookup = func(context.Context) error { time.Sleep(5 * time.Millisecond); return nil }
		for _, hook := range []uuid.UUID{w.hook.ID, uuid.Must(uuid.NewV7())} {
			w.lookups = 0
			var all sync.WaitGroup
			for range 200 {
				all.Go(func() { w.post(t, call{hook: hook}) })
			}
			all.Wait()
			w.post(t, call{hook: hook})
			if w.lookups != 1 {
				t.Errorf("%d questions", w.lookups)
			}
		}
		w.stop()
	})
}

func TestABusyWebhookIsRenewedBeforeItIsStale(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{}, nil)
		w.post(t, call{})
		w.lookup = func(context.Context) error { time.Sleep(50 * time.Millisecond); return nil }
		time.Sleep(700 * time.Millisecond)
		var all sync.WaitGroup
		var mu sync.Mutex
		waited := 0
		for range 50 {
			all.Go(func() {
				start := time.Now()
				w.post(t, call{})
				mu.Lock()
				defer mu.Unlock()
				if time.Since(start) > 0 {
					waited++
				}
			})
		}
		all.Wait()
		if waited != 1 || w.lookups != 2 {
			t.Errorf("%d waited, %d questions", waited, w.lookups)
		}
		w.stop()
	})
}

func TestChangesOfAWebhookHoldWithinASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{}, nil)
		late := uuid.Must(uuid.NewV7())
		if a, b := w.post(t, call{}), w.post(t, call{hook: late}); a.status != 202 || b.status != 401 {
			t.Fatalf("answered %d and %d", a.status, b.status)
		}
		made := w.hook
		made.ID = late
		w.webhooks[late] = made
		delete(w.webhooks, w.hook.ID)
		time.Sleep(time.Second)
		if a, b := w.post(t, call{}), w.post(t, call{hook: late}); a.status != 401 || b.status != 202 {
			t.Errorf("a second later: %d and %d", a.status, b.status)
		}
		w.stop()
	})
}

func TestInventedIDsDoNotDelayARealWebhook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{}, nil)
		w.post(t, call{})
		w.lookup = func(context.Context) error { time.Sleep(100 * time.Millisecond); return nil }
		time.Sleep(2 * time.Second) // stale
		var all sync.WaitGroup
		for range 40 {
			all.Go(func() { w.post(t, call{hook: uuid.Must(uuid.NewV7())}) })
		}
		time.Sleep(50 * time.Millisecond)
		start := time.Now()
		if a := w.post(t, call{}); a.status != http.StatusAccepted || time.Since(start) != 100*time.Millisecond {
			t.Errorf("answered %d after %v", a.status, time.Since(start))
		}
		all.Wait()
		w.stop()
	})
}

func TestTenantsHaveTheirOwnRates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ingest.Config{TenantPerMinute: 2}, nil)
	quiet := w.hook
	quiet.ID, quiet.Tenant = uuid.Must(uuid.NewV7()), tenant.NewID()
	w.webhooks[quiet.ID] = quiet
	for range 10 {
		w.post(t, call{})
	}
	if a := w.post(t, call{hook: quiet.ID}); a.status != 202 {
		t.Errorf("the quiet tenant is answered %d", a.status)
	}
}

func TestAFloodOfBadSignaturesIsNotHeldBackWithoutBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{}, nil)
		w.post(t, call{})
		bad := ingest.NewSecret()
		var all sync.WaitGroup
		for range 1100 {
			all.Go(func() {
				if a := w.post(t, call{secret: bad}); a.status != 401 {
					t.Errorf("answered %d", a.status)
				}
			})
		}
		all.Wait()
		w.stop()
		if n := w.count(t, "floor_skipped_total", ""); n != 1100-1024 {
			t.Errorf("%v were let go early", n)
		}
	})
}
