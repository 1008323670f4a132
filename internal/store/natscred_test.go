package store_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

func (l *ledger) natsCredential(id tenant.ID, expires time.Time) (string, store.NATSCredential) {
	l.t.Helper()
	secret, c, err := l.CreateNATSCredential(l.t.Context(), id, "EMR", expires)
	if err != nil {
		l.t.Fatal(err)
	}
	return secret, c
}

func TestANATSCredentialIsShownOnceAndKeptAsItsHash(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	expires := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	secret, made := l.natsCredential(l.tenant, expires)
	if !regexp.MustCompile(`^dfn_[0-9A-Za-z]{43}$`).MatchString(secret) {
		t.Errorf("secret %q", secret)
	}
	found, err := l.CheckNATSCredential(t.Context(), made.ID, secret)
	if err != nil || found.Tenant != l.tenant || found.ID != made.ID || !found.Expires.Equal(expires) {
		t.Errorf("found %+v, %v; made %+v", found, err, made)
	}
	if strings.Contains(l.everyColumn(), secret) {
		t.Error("the secret lies in the database")
	}
	list, err := l.NATSCredentials(t.Context(), l.tenant)
	if err != nil || len(list) != 1 || list[0].Name != "EMR" || list[0].LastUsed.IsZero() || !list[0].Revoked.IsZero() {
		t.Errorf("list %+v, %v; want one that was used", list, err)
	}
	for _, wrong := range []string{"", "dfn_", secret[:len(secret)-1], secret + "0", strings.ToLower(secret)} {
		if _, err := l.CheckNATSCredential(t.Context(), made.ID, wrong); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("with another secret: %v, want ErrNotFound", err)
		}
	}
}

func TestDeadNATSCredentialsAreNotFoundAndNotLive(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"revoked": `UPDATE nats_credentials SET revoked_at = now() WHERE id = $1`,
		"expired": `UPDATE nats_credentials SET expires_at = now() WHERE id = $1`,
		"erased":  `UPDATE tenants SET data_key = NULL WHERE id = (SELECT tenant_id FROM nats_credentials WHERE id = $1)`,
		"gone":    `DELETE FROM nats_credentials WHERE id = $1`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLedger(t)
			secret, c := l.natsCredential(l.tenant, time.Time{})
			if live, err := l.LiveNATSCredentials(t.Context(), []store.NATSCredential{c}); err != nil || !live[c.ID] {
				t.Fatalf("before: live %v, %v", live, err)
			}
			l.exec(change, c.ID)
			if _, err := l.CheckNATSCredential(t.Context(), c.ID, secret); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("check: %v, want ErrNotFound", err)
			}
			if live, err := l.LiveNATSCredentials(t.Context(), []store.NATSCredential{c}); err != nil || len(live) != 0 {
				t.Errorf("live %v, %v; want none", live, err)
			}
		})
	}
}

func TestANATSCredentialBelongsToItsTenant(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	other, _ := l.clinic("other")
	secret, c := l.natsCredential(l.tenant, time.Time{})
	if err := l.RevokeNATSCredential(t.Context(), other, c.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("another tenant revokes it: %v, want ErrNotFound", err)
	}
	if list, err := l.NATSCredentials(t.Context(), other); err != nil || len(list) != 0 {
		t.Errorf("another tenant sees %+v, %v", list, err)
	}
	swapped := c
	swapped.Tenant = other
	if live, err := l.LiveNATSCredentials(t.Context(), []store.NATSCredential{swapped}); err != nil || len(live) != 0 {
		t.Errorf("live for another tenant: %v, %v", live, err)
	}
	if _, err := l.CheckNATSCredential(t.Context(), c.ID, secret); err != nil {
		t.Errorf("after another tenant's revocation: %v", err)
	}
	for range 2 {
		if err := l.RevokeNATSCredential(t.Context(), l.tenant, c.ID); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := l.CreateNATSCredential(t.Context(), tenant.ID(uuid.Must(uuid.NewV7())), "EMR", time.Time{}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("for a tenant that does not exist: %v, want ErrNotFound", err)
	}
	for name, expires := range map[string]time.Time{"": {}, strings.Repeat("x", 101): {}, "a\x00": {}, "late": time.Now().Add(-time.Minute)} {
		if _, _, err := l.CreateNATSCredential(t.Context(), l.tenant, name, expires); err == nil {
			t.Errorf("a credential named %q until %v was made", name, expires)
		}
	}
}

func TestTheWorkerCannotReadNATSSecrets(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.natsCredential(l.tenant, time.Time{})
	worker := connect(t, l.urls.Worker)
	var n int
	if err := worker.QueryRow(t.Context(), `SELECT count(secret_hash) FROM nats_credentials`).Scan(&n); err == nil {
		t.Errorf("app_worker read %d hashes", n)
	}
	api := connect(t, l.urls.API)
	if err := api.QueryRow(t.Context(), `SELECT count(*) FROM nats_credentials`).Scan(&n); err != nil || n != 0 {
		t.Errorf("app_api without a tenant sees %d, %v", n, err)
	}
}
