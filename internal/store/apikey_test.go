package store_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

func (l *ledger) apiKey(role string, expires time.Time) (string, store.APIKey) {
	l.t.Helper()
	plaintext, k, err := l.CreateAPIKey(l.t.Context(), l.tenant, "test", role, expires)
	if err != nil {
		l.t.Fatal(err)
	}
	return plaintext, k
}

func (l *ledger) byKey(plaintext string) (store.APIKey, error) {
	l.t.Helper()
	hash, ok := store.HashAPIKey(plaintext)
	if !ok {
		l.t.Fatal("this is no key")
	}
	return l.APIKeyByHash(l.t.Context(), hash)
}

func TestAnAPIKeyIsShownOnceAndKeptAsItsHash(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	expires := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	plaintext, made := l.apiKey("staff", expires)
	if !regexp.MustCompile(`^dfk_[0-9A-Za-z]{43}$`).MatchString(plaintext) || !strings.HasPrefix(plaintext, made.Prefix) {
		t.Errorf("key %q with prefix %q", plaintext, made.Prefix)
	}
	found, err := l.byKey(plaintext)
	if err != nil {
		t.Fatal(err)
	}
	if found.ID != made.ID || found.Tenant != l.tenant || found.Role != "staff" || found.Name != "test" || !found.Expires.Equal(expires) || !found.Created.Equal(made.Created) {
		t.Errorf("found %+v, made %+v", found, made)
	}
	if dump := l.everyColumn(); strings.Contains(dump, plaintext) || strings.Contains(dump, plaintext[len(made.Prefix):]) {
		t.Error("the key lies in the database")
	}
	if again, _ := l.apiKey("staff", time.Time{}); again == plaintext {
		t.Error("two keys are the same")
	}
}

func TestRevokedExpiredUnknownAndErasedKeysAreNotFound(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"revoked": `UPDATE api_keys SET revoked_at = now() WHERE id = $1`,
		"expired": `UPDATE api_keys SET expires_at = now() WHERE id = $1`,
		"unknown": `DELETE FROM api_keys WHERE id = $1`,
		"erased":  `UPDATE tenants SET data_key = NULL WHERE id = (SELECT tenant_id FROM api_keys WHERE id = $1)`,
	} {
		l := newLedger(t)
		plaintext, k := l.apiKey("owner", time.Time{})
		if _, err := l.byKey(plaintext); err != nil {
			t.Fatalf("%s: before: %v", name, err)
		}
		l.exec(change, k.ID)
		if got, err := l.byKey(plaintext); !errors.Is(err, store.ErrNotFound) || got != (store.APIKey{}) {
			t.Errorf("%s: %+v, %v; want ErrNotFound and nothing else", name, got, err)
		}
	}
}

func TestTheLastUseOfAKeyIsNotedOnceAMinute(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	plaintext, k := l.apiKey("viewer", time.Time{})
	use := func() (at time.Time) {
		t.Helper()
		if _, err := l.byKey(plaintext); err != nil {
			t.Fatal(err)
		}
		l.scan(`SELECT last_used_at FROM api_keys WHERE id = $1`, []any{k.ID}, &at)
		return at
	}
	first := use()
	if since := time.Since(first).Abs(); since > time.Minute {
		t.Errorf("first use was noted as %v away from now", since)
	}
	if again := use(); !again.Equal(first) {
		t.Errorf("a second use within the minute was written: %v, then %v", first, again)
	}
	l.exec(`UPDATE api_keys SET last_used_at = now() - interval '61 seconds' WHERE id = $1`, k.ID)
	if later := use(); later.Before(first) {
		t.Errorf("a use after a minute was not noted: %v", later)
	}
}

func TestKeysThatMakeNoSenseAreNotMade(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	for _, tt := range []struct {
		name          string
		tenant        tenant.ID
		keyName, role string
		expires       time.Time
		want          string
	}{
		{"no_name", l.tenant, "", "owner", time.Time{}, "name it"},
		{"long_name", l.tenant, strings.Repeat("가", 101), "owner", time.Time{}, "name it"},
		{"name_with_nul", l.tenant, "a\x00", "owner", time.Time{}, "name it"},
		{"name_not_utf8", l.tenant, "a\xff", "owner", time.Time{}, "name it"},
		{"role", l.tenant, "x", "root", time.Time{}, "owner, staff, viewer or integration"},
		{"expired", l.tenant, "x", "owner", time.Now().Add(-time.Second), "a time to come"},
		{"unknown_tenant", tenant.NewID(), "x", "owner", time.Time{}, store.ErrNotFound.Error()},
	} {
		plaintext, k, err := l.CreateAPIKey(t.Context(), tt.tenant, tt.keyName, tt.role, tt.expires)
		if err == nil || !strings.Contains(err.Error(), tt.want) || plaintext != "" || k != (store.APIKey{}) {
			t.Errorf("%s: %q, %+v, %v; want an error that says %q", tt.name, plaintext, k, err, tt.want)
		}
	}
	if n := l.count(`SELECT count(*) FROM api_keys`); n != 0 {
		t.Errorf("%d keys were made", n)
	}
}

func TestOnlyWhatLooksLikeAKeyIsLookedUp(t *testing.T) {
	t.Parallel()
	digits := strings.Repeat("aZ0", 14) + "1"
	for s, want := range map[string]bool{
		"dfk_" + digits:            true,
		"":                         false,
		"dfk_":                     false,
		digits:                     false,
		"dfk_" + digits[1:]:        false,
		"dfk_" + digits + "0":      false,
		"DFK_" + digits:            false,
		"dfk_" + digits[1:] + "-":  false,
		"dfk_" + digits[1:] + "\n": false,
		"dfk_" + digits[3:] + "가":  false,
		" dfk_" + digits:           false,
	} {
		if _, ok := store.HashAPIKey(s); ok != want {
			t.Errorf("HashAPIKey(%s): ok = %v, want %v", fmt.Sprintf("%q", s), ok, want)
		}
	}
}

func TestOnlyItsOwnTenantRevokesAKey(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	other := l.beside("other")
	plaintext, k := l.apiKey("owner", time.Time{})
	if err := l.RevokeAPIKey(t.Context(), other.tenant, k.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("by another tenant: %v, want ErrNotFound", err)
	}
	if _, err := l.byKey(plaintext); err != nil {
		t.Fatalf("another tenant revoked it: %v", err)
	}
	for range 2 {
		if err := l.RevokeAPIKey(t.Context(), l.tenant, k.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := l.byKey(plaintext); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("after it was revoked: %v, want ErrNotFound", err)
		}
	}
}
