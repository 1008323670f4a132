package store_test

import (
	"testing"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

func TestEachParkingIsToldOnceAndCounted(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step, claim := l.parked("e1", "010-0000-0001")
	l.parked("e2", "010-0000-0002")
	var told []store.ParkedNotice
	tell := func(p store.ParkedNotice) { told = append(told, p) }
	if n, err := l.TellParked(t.Context(), 1, tell); n != 1 || err != nil {
		t.Fatalf("TellParked = %d, %v", n, err)
	}
	for range 2 {
		if _, err := l.TellParked(t.Context(), 100, tell); err != nil {
			t.Fatal(err)
		}
	}
	if len(told) != 2 || told[0].Tenant != l.tenant || told[0].Channel != event.Kakao || told[0].Reason != event.OutcomeUnknown || told[0].Since.IsZero() {
		t.Fatalf("told %+v, want two", told)
	}
	counts, err := l.CountParked(t.Context())
	if err != nil || len(counts) != 1 || counts[0].Steps != 2 || counts[0].Oldest <= 0 || counts[0].Channel != event.Kakao {
		t.Errorf("CountParked = %+v, %v", counts, err)
	}
	// One that left before anybody was told is told of all the same.
	if _, err := l.RetryParked(t.Context(), l.tenant, step.ID, store.Retry{Hand: staff}); err != nil {
		t.Fatal(err)
	}
	l.settle(event.Delivery{
		Tenant: claim.Tenant, Step: step.ID, Channel: event.Kakao, Attempt: claim.Attempt, Status: event.Parked, Reason: event.OutcomeUnknown, Source: event.Query,
	})
	if _, err := l.DropParked(t.Context(), l.tenant, step.ID, staff); err != nil {
		t.Fatal(err)
	}
	told = nil
	if _, err := l.TellParked(t.Context(), 100, tell); err != nil || len(told) != 1 || told[0].Step != step.ID || told[0].Times != 2 {
		t.Errorf("told %+v, %v", told, err)
	}
	if counts, err = l.CountParked(t.Context()); err != nil || len(counts) != 1 || counts[0].Steps != 1 {
		t.Errorf("CountParked = %+v, %v", counts, err)
	}
}

func TestTheAuditLogIsOnlyAddedTo(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step, _ := l.parked("e1", "010-0000-0001")
	if _, err := l.DropParked(t.Context(), l.tenant, step.ID, staff); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{l.urls.API, l.urls.Worker} {
		c := connect(t, url)
		for _, sql := range []string{`UPDATE audit_log SET purpose = ''`, `DELETE FROM audit_log`, `TRUNCATE audit_log`, `DELETE FROM parked_steps`} {
			if _, err := c.Exec(t.Context(), sql); err == nil {
				t.Errorf("%s is allowed", sql)
			}
		}
	}
}
