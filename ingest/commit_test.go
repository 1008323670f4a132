package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/doctorsflow/doctorsflow/ingest"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// slow makes every commit take d, or as long as its context lasts.
func slow(d time.Duration) func(context.Context, []store.Accept) error {
	return func(ctx context.Context, _ []store.Accept) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
		}
	}
}

func TestRequestsShareCommits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{}, nil)
		w.before = slow(10 * time.Millisecond)
		ids := make([]string, 100)
		var all sync.WaitGroup
		for i := range ids {
			all.Go(func() {
				a := w.post(t, call{id: fmt.Sprint("evt-", i/2)}) // each id twice at once
				if a.status != 202 {
					t.Errorf("answered %d %s", a.status, a.body)
				}
				ids[i] = a.TriggerID
			})
		}
		all.Wait()
		w.stop()
		if n := len(w.commits); n > 4 {
			t.Errorf("100 requests took %d commits: %v", n, w.commits)
		}
		for i := 0; i < len(ids); i += 2 {
			if ids[i] != ids[i+1] {
				t.Errorf("one event became two triggers")
			}
		}
		if len(w.accepts) != 50 || len(w.events) != 50 {
			t.Errorf("%d triggers, %d published", len(w.accepts), len(w.events))
		}
	})
}

func TestALoneRequestDoesNotLinger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{}, nil)
		start := time.Now()
		if a := w.post(t, call{}); a.status != 202 || time.Since(start) != 0 {
			t.Errorf("answered %d after %v", a.status, time.Since(start))
		}
		w.stop()
	})
}

func TestABatchIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{Batch: 10, Committers: 1}, nil)
		w.before = slow(time.Millisecond)
		var all sync.WaitGroup
		for range 95 {
			all.Go(func() { w.post(t, call{}) })
		}
		all.Wait()
		w.stop()
		if n := slices.Max(w.commits); n != 10 {
			t.Errorf("commits of %v", w.commits)
		}
	})
}

func TestNoMore202sAndA503WithinTwoSecondsWhilePostgresIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{}, nil)
		if a := w.post(t, call{}); a.status != 202 { // the webhook is known
			t.Fatalf("answered %d", a.status)
		}
		release := make(chan struct{})
		w.before = func(context.Context, []store.Accept) error { <-release; return nil } // deaf to its context
		start := time.Now()
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				a := w.post(t, call{})
				if a.status != 503 || a.problem() != "unavailable" || a.header.Get("Retry-After") == "" {
					t.Errorf("answered %d %s", a.status, a.body)
				}
			})
		}
		all.Wait()
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("answered after %v", d)
		}
		close(release)
		synctest.Wait()
		if a := w.post(t, call{}); a.status != 202 {
			t.Errorf("after Postgres came back: %d", a.status)
		}
		w.stop()
	})
}

func TestA503WithinTwoSecondsWhenTheWebhookCannotBeLookedUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{}, nil)
		release := make(chan struct{})
		w.lookup = func(context.Context) error { <-release; return nil }
		start := time.Now()
		a := w.post(t, call{})
		if a.status != 503 || a.header.Get("Retry-After") == "" || time.Since(start) > 2*time.Second {
			t.Errorf("answered %d after %v", a.status, time.Since(start))
		}
		close(release)
		synctest.Wait()
		w.lookup = func(context.Context) error { return store.ErrUnavailable }
		if a := w.post(t, call{}); a.status != 503 {
			t.Errorf("answered %d", a.status)
		}
		w.lookup = nil
		if a := w.post(t, call{}); a.status != 202 {
			t.Errorf("after Postgres came back: %d", a.status)
		}
		w.stop()
	})
}

func TestUnknownOutcomeIsA503AndTheRepetitionADuplicate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ingest.Config{}, nil)
	var lost atomic.Bool
	w.before = func(ctx context.Context, calls []store.Accept) error { // commits, and the answer is lost
		if lost.Swap(true) {
			return nil
		}
		if _, err := w.AcceptTriggers(ctx, calls); err != nil {
			t.Error(err)
		}
		return store.ErrUnavailable
	}
	at := time.Now()
	if a := w.post(t, call{id: "evt-1", at: at}); a.status != 503 {
		t.Errorf("answered %d", a.status)
	}
	if a := w.post(t, call{id: "evt-1", at: at}); a.status != 202 || !*a.Duplicate {
		t.Errorf("the repetition was answered %d %s", a.status, a.body)
	}
}

func TestAFullQueueIsA503AtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{Queue: 3, Committers: 1, Batch: 1}, nil)
		w.before = slow(time.Second / 10)
		var all sync.WaitGroup
		var mu sync.Mutex
		got := map[int]int{}
		for range 10 {
			all.Go(func() {
				start := time.Now()
				a := w.post(t, call{})
				if a.status == 503 && (a.problem() != "overloaded" || a.header.Get("Retry-After") != "1" || time.Since(start) != 0) {
					t.Errorf("answered %s after %v", a.body, time.Since(start))
				}
				mu.Lock()
				defer mu.Unlock()
				got[a.status]++
			})
		}
		all.Wait()
		if got[202] < 3 || got[503] < 6 || got[202]+got[503] != 10 {
			t.Errorf("answers: %v", got)
		}
		w.stop()
	})
}

func TestOneBadCallDoesNotFailTheOthers(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]int{errors.New("check constraint"): 500, store.ErrErased: 401, store.ErrNotFound: 401} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, ingest.Config{Committers: 1}, nil)
			wait := slow(time.Millisecond)
			w.before = func(ctx context.Context, calls []store.Accept) error {
				if slices.ContainsFunc(calls, func(c store.Accept) bool { return c.EventID == "bad" }) {
					return fmt.Errorf("store: accept: %w", err)
				}
				return wait(ctx, calls)
			}
			var all sync.WaitGroup
			for i := range 40 {
				all.Go(func() {
					id, status := fmt.Sprint("good-", i), 202
					if i == 17 {
						id, status = "bad", want
					}
					if a := w.post(t, call{id: id}); a.status != status {
						t.Errorf("%s: answered %d %s", id, a.status, a.body)
					}
				})
			}
			all.Wait()
			w.stop()
			if len(w.accepts) != 39 {
				t.Errorf("kept %d", len(w.accepts))
			}
		})
	}
}

func TestShutdownCommitsAndPublishesWhatWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{Batch: 5}, nil)
		w.before = slow(100 * time.Millisecond)
		var all sync.WaitGroup
		for range 40 {
			all.Go(func() {
				if a := w.post(t, call{}); a.status != 202 {
					t.Errorf("answered %d %s", a.status, a.body)
				}
			})
		}
		for range 3 {
			all.Go(func() { w.post(t, call{secret: ingest.NewSecret()}) })
		}
		synctest.Wait() // all are waiting
		time.Sleep(30 * time.Millisecond)
		w.stop()
		all.Wait()
		if len(w.accepts) != 40 || len(w.events) != 40 || len(w.refused) != 3 {
			t.Errorf("kept %d, published %d, recorded %d", len(w.accepts), len(w.events), len(w.refused))
		}
		if a := w.post(t, call{}); a.status != 503 || a.header.Get("Retry-After") == "" {
			t.Errorf("after the shutdown: %d %s", a.status, a.body)
		}
	})
}

func TestShutdownEndsWhilePostgresIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{Batch: 2}, nil)
		w.before = slow(time.Hour)
		var all sync.WaitGroup
		for range 40 {
			all.Go(func() { w.post(t, call{}) })
		}
		synctest.Wait()
		start := time.Now()
		w.stop()
		if d := time.Since(start); d > 4*time.Second {
			t.Errorf("stopped after %v", d)
		}
		all.Wait()
	})
}

func TestPublicationChangesNoAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{}, nil)
		for name, publish := range map[string]func(context.Context) error{
			"fails": func(context.Context) error { return errors.New("no responders") },
			"hangs": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		} {
			synctest.Wait()
			w.publish = publish
			start := time.Now()
			for range 300 {
				if a := w.post(t, call{}); a.status != 202 {
					t.Fatalf("%s: answered %d", name, a.status)
				}
			}
			if d := time.Since(start); d != 0 {
				t.Errorf("%s: 300 answers took %v", name, d)
			}
		}
		w.stop()
		if got := w.count(t, "unpublished_total", ""); got != 600 {
			t.Errorf("%v left to release", got)
		}
		if n := strings.Count(w.logged.String(), "out of reach"); n != 1 {
			t.Errorf("one outage was logged %d times", n)
		}
	})
}
