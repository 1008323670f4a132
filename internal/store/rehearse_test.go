package store_test

import (
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

func (l *ledger) rehearsal() store.Rehearsal {
	l.t.Helper()
	r, err := l.Rehearsal(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return r
}

func TestTimePassesByHandAndNeverBack(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	ahead := l.rehearsal().Now.Add(96 * time.Hour).Truncate(time.Microsecond)
	for _, to := range []time.Time{ahead, ahead.Add(-time.Hour)} {
		if err := l.PassTime(t.Context(), to); err != nil {
			t.Fatal(err)
		}
		if now := l.rehearsal().Now; !now.Equal(ahead) {
			t.Errorf("after PassTime(%s) it is %s, want %s", to, now, ahead)
		}
	}
	if err := l.TickClock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := l.rehearsal().Now; !now.Equal(ahead) {
		t.Errorf("a tick moves the clock to %s", now)
	}
}

func TestRehearsalKnowsWhatMovesAndWhatWaits(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	if r := l.rehearsal(); r.Moving != 0 || !r.Next.IsZero() {
		t.Errorf("an empty ledger: %+v", r)
	}
	_, claim := l.claimed("e1", "010-0000-0001")
	if r := l.rehearsal(); r.Moving == 0 {
		t.Errorf("a request is under way: %+v", r)
	}
	l.settle(told(claim, event.Kakao, event.Sent, event.Answer))
	r := l.rehearsal()
	if wait := r.Next.Sub(r.Now); r.Moving != 0 || wait <= 0 || wait > 10*time.Minute {
		t.Errorf("it waits for its report, which is asked for after W at the latest: %+v", r)
	}
	l.settle(told(claim, event.Kakao, event.Failed, event.Poll))
	if r := l.rehearsal(); r.Moving != 1 || len(r.Anomalies) != 0 {
		t.Errorf("its fallback is due: %+v", r)
	}
	l.settle(told(claim, event.Kakao, event.Delivered, event.Poll))
	if r := l.rehearsal(); r.Anomalies[claim.Step] == "" {
		t.Errorf("its late success contradicts the failure: %+v", r)
	}
}

// What the gateway proved absent was lost as well, whatever became of it: the
// number of requests for one message is bounded.
func TestEveryAbsenceIsCounted(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step, claim := l.claimed("e1", "010-0000-0001")
	for want := 1; want <= 3; want++ {
		un := told(claim, event.Kakao, event.Unknown, event.Answer)
		un.RequestID, un.Seq = "", 0
		l.settle(un)
		l.exec(`UPDATE steps SET wake_at = now() WHERE state = 'unknown'`)
		list, err := l.LeaseUnresolved(t.Context(), []tenant.ID{l.tenant}, 0, 10)
		if err != nil || len(list) != 1 || list[0].Lost != want {
			t.Fatalf("unresolved = %+v, %v; want one that was lost %d times", list, err, want)
		}
		absent := told(claim, event.Kakao, event.Released, event.Query)
		absent.RequestID, absent.Seq, absent.RetryAt = "", 0, list[0].Now
		l.settle(absent)
		step.Attempt = claim.Attempt
		claims, err := l.ClaimSteps(t.Context(), []event.Step{step}, claimAll)
		if err != nil || len(claims) != 1 {
			t.Fatalf("claims = %v, %v; want one", claims, err)
		}
		claim = claims[0]
	}
}
