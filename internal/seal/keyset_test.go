package seal_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

func TestKeySetOpensWithEveryKeyAndWritesWithTheFirst(t *testing.T) {
	t.Parallel()
	id, first, second := tenant.NewID(), seal.NewKey(), seal.NewKey()
	ring := seal.NewRing(seal.NewKey(), 0, 0)
	aad := newAAD()
	before := seal.NewTenantKeys(seal.KeySet{Key: first})
	after := seal.NewTenantKeys(seal.KeySet{Key: second})
	for name, set := range map[string]seal.KeySet{
		"announced": {Key: first, Next: second},
		"switched":  {Key: second, Old: first, Retired: []seal.Key{before.FieldKey("f")}},
	} {
		keys, err := ring.Keys(id, ring.WrapSet(id, set))
		if err != nil {
			t.Fatal(err)
		}
		child := seal.NewKey()
		for _, k := range []*seal.TenantKeys{before, after} {
			if got, err := keys.Open(k.Seal([]byte("x"), aad), aad); err != nil || string(got) != "x" {
				t.Errorf("%s: Open = %q, %v", name, got, err)
			}
			if got, err := keys.Unwrap(k.Wrap(child, aad.Bytes()), aad.Bytes()); err != nil || got != child {
				t.Errorf("%s: Unwrap: %v", name, err)
			}
			if !slices.Contains(keys.Indexes("f", "v"), k.Index("f", "v")) {
				t.Errorf("%s: an index is not searched", name)
			}
		}
		if got, err := set.Key.Open(keys.Seal([]byte("x"), aad), aad); err != nil || string(got) != "x" || keys.Indexes("f", "v")[0] != seal.BlindIndex(set.Key, "f", "v") {
			t.Errorf("%s: it does not write with the key in use: %v", name, err)
		}
	}
	retired := seal.NewTenantKeys(seal.KeySet{Key: second, Retired: []seal.Key{before.FieldKey("f")}})
	if past := retired.Past("f", "v"); len(past) != 1 || past[0] != before.Index("f", "v") {
		t.Error("a retired field's index is not the one that rows have")
	}
	if _, err := retired.Open(before.Seal([]byte("x"), aad), aad); !errors.Is(err, seal.ErrOpen) {
		t.Errorf("a retired index key opens a field: %v", err)
	}
}

func TestKeySetIsNoLongerOneOnceChanged(t *testing.T) {
	t.Parallel()
	id, ring := tenant.NewID(), seal.NewRing(seal.NewKey(), 0, 0)
	wrapped := ring.WrapSet(id, seal.KeySet{Key: seal.NewKey(), Old: seal.NewKey(), Retired: []seal.Key{seal.NewKey()}})
	if _, current, err := ring.Set(id, wrapped); err != nil || !current {
		t.Fatal(current, err)
	}
	for i := range wrapped {
		bad := bytes.Clone(wrapped)
		bad[i] ^= 1
		if _, _, err := ring.Set(id, bad); !errors.Is(err, seal.ErrOpen) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
		if _, _, err := ring.Set(id, wrapped[:i]); !errors.Is(err, seal.ErrOpen) && i != seal.WrappedSize && (i-seal.WrappedSize)%(seal.WrappedSize+1) != 0 {
			t.Fatalf("cut to %d: %v", i, err)
		}
	}
	if _, _, err := ring.Set(tenant.NewID(), wrapped); !errors.Is(err, seal.ErrOpen) {
		t.Errorf("opened for another tenant: %v", err)
	}
}

func TestRingLearnsARotatedMasterKeyWhenItNeedsIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		id, old, fresh := tenant.NewID(), seal.NewKey(), seal.NewKey()
		masters, asked := []seal.Key{old}, 0
		ring := seal.NewRing(old, 0, 0)
		if err := ring.Reload(func() ([]seal.Key, error) { asked++; return masters, nil }); err != nil {
			t.Fatal(err)
		}
		key := seal.NewKey()
		moved := seal.NewRing(fresh, 0, 0).Wrap(id, key)
		time.Sleep(time.Second)
		if _, err := ring.Tenant(id, moved); !errors.Is(err, seal.ErrOpen) {
			t.Errorf("opened before its master key was there: %v", err)
		}
		masters = []seal.Key{fresh, old}
		for range 100 {
			if _, err := ring.Tenant(id, moved); !errors.Is(err, seal.ErrOpen) {
				t.Fatalf("asked again at once: %v", err)
			}
		}
		time.Sleep(time.Second)
		if got, err := ring.Tenant(id, moved); err != nil || got != key {
			t.Errorf("not learnt: %v", err)
		}
		if _, current, err := ring.Set(id, seal.NewRing(old, 0, 0).Wrap(id, key)); err != nil || current {
			t.Errorf("the key before: current %t, %v", current, err)
		}
		if asked != 3 {
			t.Errorf("asked %d times, want 3", asked)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
	})
}
