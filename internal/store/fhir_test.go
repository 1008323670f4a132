package store_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/doctorsflow/doctorsflow/internal/store"
)

func TestNoEventIsTakenForHeardThatWasNot(t *testing.T) {
	t.Parallel()
	// Whatever is delivered, in whatever order and how often: what is below the
	// mark was delivered, and the highest that was heard of is never forgotten.
	rapid.Check(t, func(t *rapid.T) {
		delivered := map[int64]bool{}
		var last, highest int64
		for range rapid.IntRange(1, 30).Draw(t, "notifications") {
			n := store.FHIRNews{Events: -1}
			first := int64(rapid.IntRange(1, 20).Draw(t, "first"))
			count := int64(rapid.IntRange(0, 4).Draw(t, "count"))
			if rapid.Bool().Draw(t, "told") {
				n.Events = first + count
			}
			if count > 0 {
				n.First, n.Last, n.Unbroken = first, first+count-1, rapid.Bool().Draw(t, "unbroken")
			}
			if n.Unbroken {
				for e := n.First; e <= n.Last; e++ {
					delivered[e] = true
				}
			}
			was := highest
			last, highest = store.SettleFHIR(n, last, highest)
			for e := int64(1); e <= last; e++ {
				if !delivered[e] {
					t.Fatalf("%+v: event %d counts as heard", n, e)
				}
			}
			if highest < was || highest < n.Last || highest < n.Events || highest < last {
				t.Fatalf("%+v: %d after %d", n, highest, was)
			}
		}
	})
}

func TestAFHIRServersGapsAndResourcesAreLeasedUntilTheyAreSettled(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	s, err := l.CreateFHIRSource(t.Context(), l.tenant, store.FHIRSource{Name: "emr", BaseURL: "https://emr.example/fhir", Token: "secret-token", Source: "emr", Identifier: "urn:x"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.CreateFHIRSource(t.Context(), l.tenant, store.FHIRSource{Name: "emr", BaseURL: "https://x", Source: "emr"}); !errors.Is(err, store.ErrTaken) {
		t.Error(err)
	}
	todo, err := l.KeepFHIRNews(t.Context(), l.tenant, s.ID, store.FHIRNews{Subscription: "Subscription/1", First: 4, Last: 5, Unbroken: true, Events: 5, Fetch: []string{"Appointment/1", "Appointment/2"}})
	if err != nil || !todo {
		t.Fatal(todo, err)
	}
	gaps, err := l.LeaseFHIRGaps(t.Context(), 10)
	if err != nil || len(gaps) != 1 || gaps[0].Since != 1 || gaps[0].Until != 5 || gaps[0].Source.Token != "secret-token" || gaps[0].Source.Identifier != "urn:x" {
		t.Fatalf("%+v, %v", gaps, err)
	}
	if again, err := l.LeaseFHIRGaps(t.Context(), 10); len(again) != 0 || err != nil {
		t.Error("two copies are at one gap", again, err)
	}
	if err := l.FailFHIRGap(t.Context(), gaps[0], "the server answered 500", 0); err != nil {
		t.Fatal(err)
	}
	if gaps, err = l.LeaseFHIRGaps(t.Context(), 10); err != nil || len(gaps) != 1 || gaps[0].Tries != 2 {
		t.Fatalf("%+v, %v", gaps, err)
	}
	// Another event comes while the gap is read.
	if _, err := l.KeepFHIRNews(t.Context(), l.tenant, s.ID, store.FHIRNews{Subscription: "Subscription/1", Events: 6}); err != nil {
		t.Fatal(err)
	}
	if err := l.CloseFHIRGap(t.Context(), gaps[0], []string{"Appointment/2", "Encounter/3"}, false); err != nil {
		t.Fatal(err)
	}
	if gaps, err = l.LeaseFHIRGaps(t.Context(), 10); err != nil || len(gaps) != 1 || gaps[0].Since != 6 || gaps[0].Until != 6 {
		t.Fatalf("%+v, %v", gaps, err)
	}
	list, err := l.LeaseFHIRPending(t.Context(), 10)
	if err != nil || len(list) != 3 {
		t.Fatal(list, err)
	}
	slices.SortFunc(list, func(a, b store.FHIRFetch) int {
		return int(a.Reference[len(a.Reference)-1]) - int(b.Reference[len(b.Reference)-1])
	})
	// The first is named again while it is read: it is read again.
	if _, err := l.KeepFHIRNews(t.Context(), l.tenant, s.ID, store.FHIRNews{Subscription: "Subscription/1", Events: -1, Fetch: []string{"Appointment/1"}}); err != nil {
		t.Fatal(err)
	}
	later := time.Hour
	for i, again := range []*time.Duration{nil, nil, &later} {
		if err := l.SettleFHIRPending(t.Context(), list[i], "", again); err != nil {
			t.Fatal(err)
		}
	}
	if list, err = l.LeaseFHIRPending(t.Context(), 10); err != nil || len(list) != 1 || list[0].Reference != "Appointment/1" || list[0].Tries != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	heard, err := l.FHIRSubscriptions(t.Context(), l.tenant)
	if err != nil || len(heard) != 1 || heard[0].LastEvent != 5 || heard[0].Highest != 6 || heard[0].Pending != 2 {
		t.Errorf("%+v, %v", heard, err)
	}
	// It begins anew.
	if todo, err = l.KeepFHIRNews(t.Context(), l.tenant, s.ID, store.FHIRNews{Subscription: "Subscription/1", Events: 0, Begins: true}); err != nil || todo {
		t.Error(todo, err)
	}
	if _, err := l.RotateTenantKey(t.Context(), l.tenant); err != nil {
		t.Fatal(err)
	}
	if _, err := l.KeepFHIRNews(t.Context(), l.tenant, s.ID, store.FHIRNews{Subscription: "Subscription/1", Events: 1}); err != nil {
		t.Fatal(err)
	}
	if gaps, err = l.LeaseFHIRGaps(t.Context(), 10); err != nil || len(gaps) != 1 || gaps[0].Source.Token != "secret-token" {
		t.Fatalf("after a rotation: %+v, %v", gaps, err)
	}
	if err := l.RemoveFHIRSource(t.Context(), l.tenant, s.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := l.FHIRSourceByID(t.Context(), l.tenant, s.ID); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	if n := l.count(`SELECT count(*) FROM fhir_pending WHERE wake_at IS NOT NULL`) + l.count(`SELECT count(*) FROM fhir_subscriptions WHERE wake_at IS NOT NULL`); n != 0 {
		t.Errorf("%d rows of a removed server wait", n)
	}
}
