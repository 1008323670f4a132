package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/seal"
)

// reading is a transaction that has read the tenant's key and goes on.
func (l *ledger) reading() (end func()) {
	l.t.Helper()
	c := connect(l.t, l.urls.API)
	tx, err := c.Begin(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	if _, err := tx.Exec(l.t.Context(), `SELECT set_config('app.tenant', $1, true)`, l.tenant.String()); err != nil {
		l.t.Fatal(err)
	}
	var key []byte
	if err := tx.QueryRow(l.t.Context(), `SELECT data_key FROM tenants WHERE id = $1`, l.tenant).Scan(&key); err != nil {
		l.t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(l.t.Context()); err != nil && !errors.Is(err, pgx.ErrTxClosed) {
			l.t.Error(err)
		}
	}
}

// stays waits until the tenant's keys are as fit says, and checks that they
// then stay so.
func (l *ledger) stays(what string, fit func(seal.KeySet) bool) {
	l.t.Helper()
	ring := seal.NewRing(l.master, 0, 0)
	ctx, cancel := context.WithTimeout(l.t.Context(), 10*time.Second)
	defer cancel()
	for seen := 0; seen < 50; {
		set, _, err := ring.Set(l.tenant, l.wrapped())
		if err != nil {
			l.t.Fatal(err)
		}
		switch {
		case fit(set):
			seen++
		case seen > 0:
			l.t.Fatalf("%s: the rotation went on although somebody works with what was before", what)
		}
		var waited string
		if err := l.super.QueryRow(ctx, `SELECT pg_sleep(0.005)::text`).Scan(&waited); err != nil {
			l.t.Fatalf("%s: not reached: %v", what, err)
		}
	}
}

func TestRotationWaitsForWhoeverReadTheKeyBefore(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.planned("e1", number(1))
	patientKey := func() (b []byte) { l.scan(`SELECT data_key FROM patients`, nil, &b); return b }
	before := patientKey()
	first := l.reading()
	done := make(chan error, 1)
	go func() { _, err := l.RotateTenantKey(context.Background(), l.tenant); done <- err }()
	l.stays("announced", func(s seal.KeySet) bool { return !s.Next.IsZero() })
	second := l.reading()
	first()
	l.stays("switched", func(s seal.KeySet) bool { return !s.Old.IsZero() })
	if string(patientKey()) != string(before) {
		t.Error("a patient's key went over while somebody may still write under the old one")
	}
	second()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if string(patientKey()) == string(before) {
		t.Error("the patient's key did not go over")
	}
}
