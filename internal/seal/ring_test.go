package seal_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

func TestRingOpensEachTenantsKeyForThatTenantOnly(t *testing.T) {
	t.Parallel()
	master := seal.NewKey()
	ring := seal.NewRing(master, 0, 0)
	a, b, key := tenant.NewID(), tenant.NewID(), seal.NewKey()
	wrapped := ring.Wrap(a, key)
	for range 2 { // unwrapped, then cached
		if got, err := ring.Tenant(a, wrapped); err != nil || got != key {
			t.Fatalf("Tenant: %v", err)
		}
	}
	if got, err := ring.Tenant(b, wrapped); !errors.Is(err, seal.ErrOpen) || !got.IsZero() {
		t.Errorf("a's key opened for b: %v", err)
	}
	if _, err := seal.NewRing(seal.NewKey(), 0, 0).Tenant(a, wrapped); !errors.Is(err, seal.ErrOpen) {
		t.Errorf("opened under another master: %v", err)
	}
	if keys, err := ring.Keys(b, wrapped); !errors.Is(err, seal.ErrOpen) || keys != nil {
		t.Errorf("a's keys opened for b: %v", err)
	}
}

func TestRingFollowsWhatIsStored(t *testing.T) {
	t.Parallel()
	ring, id := seal.NewRing(seal.NewKey(), time.Hour, 0), tenant.NewID()
	first, second := seal.NewKey(), seal.NewKey()
	wrapped := ring.Wrap(id, first)
	if got, err := ring.Tenant(id, wrapped); err != nil || got != first {
		t.Fatalf("first: %v", err)
	}
	if got, err := ring.Tenant(id, ring.Wrap(id, second)); err != nil || got != second {
		t.Errorf("replaced key: %v", err)
	}
	// A destroyed key (nothing, or garbage, is stored) is gone at once, cached
	// or not, and does not come back by itself.
	for _, gone := range [][]byte{nil, {}, make([]byte, seal.WrappedSize)} {
		if _, err := ring.Tenant(id, gone); !errors.Is(err, seal.ErrOpen) {
			t.Errorf("a destroyed key still opens: %v", err)
		}
	}
	// The caller may reuse its buffer.
	if _, err := ring.Tenant(id, wrapped); err != nil {
		t.Fatal(err)
	}
	clear(wrapped)
	if _, err := ring.Tenant(id, wrapped); !errors.Is(err, seal.ErrOpen) {
		t.Errorf("the cache shares the caller's bytes: %v", err)
	}
}

func TestRingHandsOutCiphersOfTheTenantsKey(t *testing.T) {
	t.Parallel()
	ring, id, key := seal.NewRing(seal.NewKey(), 0, 0), tenant.NewID(), seal.NewKey()
	wrapped := ring.Wrap(id, key)
	keys, err := ring.Keys(id, wrapped)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ring.Keys(id, wrapped)
	if err != nil || again != keys {
		t.Errorf("ciphers are made twice: %v", err)
	}
	aad := newAAD()
	if got, err := key.Open(keys.Seal([]byte("x"), aad), aad); err != nil || string(got) != "x" {
		t.Errorf("Open = %q, %v", got, err)
	}
	if keys.Index("f", "v") != seal.BlindIndex(key, "f", "v") {
		t.Error("the index is another key's")
	}
	ring.Forget(id)
	ring.Forget(id) // twice is no harm
	if got, err := key.Open(keys.Seal([]byte("x"), aad), aad); err != nil || string(got) != "x" {
		t.Errorf("forgetting broke work in progress: %q, %v", got, err)
	}
	if again, err := ring.Keys(id, wrapped); err != nil || again == keys {
		t.Errorf("a forgotten key was still cached: %v", err)
	}
}

func TestRingIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	ring := seal.NewRing(seal.NewKey(), time.Millisecond, 3)
	ids := make([]tenant.ID, 6)
	keys := make([]seal.Key, len(ids))
	wrapped := make([][]byte, len(ids))
	for i := range ids {
		ids[i], keys[i] = tenant.NewID(), seal.NewKey()
		wrapped[i] = ring.Wrap(ids[i], keys[i])
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for j := range 300 {
				i := (g + j) % len(ids)
				if got, err := ring.Tenant(ids[i], wrapped[i]); err != nil || got != keys[i] {
					t.Errorf("tenant %d: %v", i, err)
				}
				if j%50 == 0 {
					ring.Forget(ids[i])
				}
			}
		})
	}
	wg.Wait()
}

func TestRingKeepsKeysForSecondsAndNoMoreThanItsLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const ttl = 5 * time.Second
		ring := seal.NewRing(seal.NewKey(), ttl, 2)
		var ids [3]tenant.ID
		var wrapped [3][]byte
		for i := range ids {
			ids[i] = tenant.NewID()
			wrapped[i] = ring.Wrap(ids[i], seal.NewKey())
		}
		use := func(i int) {
			t.Helper()
			if _, err := ring.Tenant(ids[i], wrapped[i]); err != nil {
				t.Fatal(err)
			}
		}
		held := func(want int) {
			t.Helper()
			if got := ring.Held(); got != want {
				t.Errorf("%d keys held at %v, want %d", got, time.Now(), want)
			}
		}
		use(0)
		time.Sleep(2 * time.Second)
		use(1)
		use(0) // does not live longer for being used
		held(2)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		held(1) // nobody had to ask for it
		use(2)
		use(0)
		held(2)
		time.Sleep(ttl)
		synctest.Wait()
		held(0)
		use(0) // and the sweep starts again
		time.Sleep(ttl)
		synctest.Wait()
		held(0)
	})
}

func BenchmarkRing(b *testing.B) {
	ring, id := seal.NewRing(seal.NewKey(), 0, 0), tenant.NewID()
	wrapped := ring.Wrap(id, seal.NewKey())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ring.Tenant(id, wrapped); err != nil {
			b.Fatal(err)
		}
	}
}
