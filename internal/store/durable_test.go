package store_test

import (
	"testing"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// What is lost with a machine's power must not have been told to anyone: the
// caller of a webhook, a gateway, or a stream that then forgets it.
func TestWhatTheWorldHeardIsOnDisk(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	// Tests run on a server that waits for no disk; these sessions do.
	l.urls.API += "&synchronous_commit=on"
	l.urls.Worker += "&synchronous_commit=on"
	l.DB = l.open(store.Timing{})
	at := func() (lsn string) { l.scan(`SELECT pg_current_wal_insert_lsn()`, nil, &lsn); return lsn }
	flushed := func(after string) bool {
		var ok bool
		l.scan(`SELECT pg_current_wal_flush_lsn() >= $1::pg_lsn`, []any{after}, &ok)
		return ok
	}
	before := at()
	trigger := l.accept(l.call("e1", body("010-0000-0001", "김하늘")))[0].TriggerID
	if !flushed(before) {
		t.Error("a call was accepted before the disk had it")
	}
	due, err := l.PlanTriggers(t.Context(), []event.Trigger{{Tenant: l.tenant, ID: trigger}}, planning())
	if err != nil {
		t.Fatal(err)
	}
	l.exec(`UPDATE steps SET wake_at = now() WHERE node = '2'`)
	l.lease(1)
	planned := at()
	claims, err := l.ClaimSteps(t.Context(), due, claimAll)
	if err != nil || len(claims) != 1 {
		t.Fatalf("%d claims, %v", len(claims), err)
	}
	if !flushed(planned) {
		t.Error("a step was claimed before the disk had its plan")
	}
	before = at()
	l.settle(told(claims[0], event.Kakao, event.Sent, event.Answer))
	if !flushed(before) {
		t.Error("an outcome was acknowledged before the disk had it")
	}
}
