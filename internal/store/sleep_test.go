package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

func TestWaitingStepSaysWhyUntilItIsClaimed(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step := l.planned("e1", "010-0000-0001")
	if err := l.SleepSteps(t.Context(), []store.Sleep{{Step: step, For: time.Minute, Reason: event.GatewayDown}}); err != nil {
		t.Fatal(err)
	}
	const asleep = `SELECT count(*) FROM steps WHERE id = $1 AND state = 'planned' AND reason = $2 AND NOT published AND attempt = 0
		AND wake_at BETWEEN app_now() + interval '55 seconds' AND app_now() + interval '1 minute'`
	if n := l.count(asleep, step.ID, string(event.GatewayDown)); n != 1 {
		t.Error("the step does not sleep for the time and the reason given")
	}
	waiting, err := l.Waiting(t.Context())
	if diff := cmp.Diff(map[event.Reason]int64{event.GatewayDown: 1}, waiting); diff != "" || err != nil {
		t.Errorf("waiting (-want +got), %v:\n%s", err, diff)
	}
	claims, err := l.ClaimSteps(t.Context(), []event.Step{step}, func(*store.Candidate) store.Decision { return store.Decision{Claim: true, Content: "x"} })
	if err != nil || len(claims) != 1 {
		t.Fatalf("%d claims, %v", len(claims), err)
	}
	if n := l.count(`SELECT count(*) FROM steps WHERE id = $1 AND state = 'claimed' AND reason IS NULL`, step.ID); n != 1 {
		t.Error("a claimed step still says why it waited")
	}
	// It moved on: a late word does not put it back.
	if err := l.SleepSteps(t.Context(), []store.Sleep{{Step: step, For: time.Minute, Reason: event.RateLimited}}); err != nil {
		t.Fatal(err)
	}
	if n := l.count(`SELECT count(*) FROM steps WHERE id = $1 AND reason IS NOT NULL`, step.ID); n != 0 {
		t.Error("a claimed step was put to sleep")
	}
}

func TestSleeperWakesToBeEnded(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step := l.planned("e1", "010-0000-0001")
	l.exec(`UPDATE steps SET expires_at = app_now() + interval '1 hour'`)
	if err := l.SleepSteps(t.Context(), []store.Sleep{{Step: step, For: 20 * time.Hour, Reason: event.GatewayThrottled}}); err != nil {
		t.Fatal(err)
	}
	if n := l.count(`SELECT count(*) FROM steps WHERE id = $1 AND wake_at = expires_at`, step.ID); n != 1 {
		t.Error("the step sleeps past the end of its validity")
	}
}

func TestStepInQuietHoursSaysSo(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step := l.planned("e1", "010-0000-0001")
	until := time.Now().Add(time.Hour)
	_, err := l.ClaimSteps(t.Context(), []event.Step{step}, func(*store.Candidate) store.Decision {
		return store.Decision{Wait: until, Reason: event.QuietHours}
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := l.count(`SELECT count(*) FROM steps WHERE id = $1 AND reason = $2`, step.ID, string(event.QuietHours)); n != 1 {
		t.Error("the step does not say that it waits for quiet hours to end")
	}
}

func TestStepOfAPausedClinicSaysSo(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step := l.planned("e1", "010-0000-0001")
	reason := func() event.Reason {
		t.Helper()
		st, err := l.Why(t.Context(), l.tenant, step.ID)
		if err != nil {
			t.Fatal(err)
		}
		return st.Triggers[0].Steps[0].Reason
	}
	if got := reason(); got != "" {
		t.Errorf("reason %q, want none", got)
	}
	if err := l.Pause(t.Context(), l.tenant, true, "holiday"); err != nil {
		t.Fatal(err)
	}
	if got := reason(); got != event.Paused {
		t.Errorf("while the clinic is paused: reason %q", got)
	}
	if err := l.Pause(t.Context(), l.tenant, false, ""); err != nil {
		t.Fatal(err)
	}
	if err := l.SleepSteps(t.Context(), []store.Sleep{{Step: step, For: time.Minute, Reason: event.GatewayDown}}); err != nil {
		t.Fatal(err)
	}
	if got := reason(); got != event.GatewayDown {
		t.Errorf("while its gateway is down: reason %q", got)
	}
}
