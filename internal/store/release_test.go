package store_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// dueNow plans n triggers and puts every first step to sleep until now.
func (l *ledger) dueNow(n int) {
	l.t.Helper()
	for i := range n {
		l.planned(fmt.Sprint("due", i), fmt.Sprintf("010-0000-%04d", i))
	}
	l.exec(`UPDATE steps SET wake_at = now(), published = false WHERE node = '1'`)
}

func (l *ledger) lease(room int) []store.Leased {
	l.t.Helper()
	steps, err := l.LeaseSteps(l.t.Context(), []store.Lease{{Queue: store.Queue{Tenant: l.tenant, Name: "care"}, Room: room}})
	if err != nil {
		l.t.Fatal(err)
	}
	return steps
}

func TestAStepIsLeasedToOneCopyAtATime(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.dueNow(30)
	var all sync.WaitGroup
	var mu sync.Mutex
	times := map[uuid.UUID]int{}
	for range 5 {
		all.Go(func() {
			for range 10 {
				for _, s := range l.lease(7) {
					mu.Lock()
					times[s.ID]++
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	for id, n := range times {
		if n != 1 {
			t.Errorf("step %s was leased %d times", id, n)
		}
	}
	if len(times) != 30 {
		t.Errorf("%d steps were leased, want 30", len(times))
	}
}

func TestALeaseKeepsToItsRoomAndTellsWhenItIsAgain(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.dueNow(5)
	if got := l.lease(3); len(got) != 3 || got[0].Again || got[0].Lease == 0 || got[0].Channel != event.Kakao {
		t.Fatalf("first lease: %+v", got)
	}
	if got := l.lease(10); len(got) != 2 {
		t.Fatalf("second lease: %d steps, want the other 2", len(got))
	}
	l.exec(`UPDATE steps SET wake_at = now() WHERE published AND node = '1'`)
	for _, s := range l.lease(10) {
		if !s.Again {
			t.Errorf("step %s came after its lease ran out and is not marked Again", s.ID)
		}
	}
	l.exec(`UPDATE steps SET wake_at = now(), expires_at = now() - interval '1 s' WHERE node = '1'`)
	expired := l.lease(10)
	if len(expired) != 5 || !expired[0].Expired {
		t.Fatalf("expired lease: %+v", expired)
	}
	if n, err := l.ExpireSteps(t.Context(), expired); err != nil || n != 5 {
		t.Fatalf("ExpireSteps = %d, %v", n, err)
	}
	if n := l.count(`SELECT count(*) FROM steps WHERE state = 'expired' AND reason = 'time_passed' AND wake_at IS NULL`); n != 5 {
		t.Errorf("%d expired steps, want 5", n)
	}
	l.holds()
}

func TestQueuesSayWhatIsDueAndLeaveOutWhatIsPaused(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.dueNow(3)
	names := func() (n int, earliest time.Duration) {
		t.Helper()
		queues, now, err := l.Queues(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range queues {
			n, earliest = n+1, q.Wake.Sub(now)
		}
		return n, earliest
	}
	if n, earliest := names(); n != 1 || earliest > 0 {
		t.Fatalf("%d queues, earliest in %s; want one that is due", n, earliest)
	}
	for _, id := range []uuid.UUID{uuid.Nil, uuid.UUID(l.tenant)} {
		if err := l.Pause(t.Context(), [16]byte(id), true, "test"); err != nil {
			t.Fatal(err)
		}
		if n, _ := names(); n != 0 {
			t.Errorf("%d queues of a paused tenant", n)
		}
		if err := l.Pause(t.Context(), [16]byte(id), false, ""); err != nil {
			t.Fatal(err)
		}
	}
	if n, _ := names(); n != 1 {
		t.Errorf("%d queues after resuming, want 1", n)
	}
}

func TestTheDatabaseClockNeverStepsBack(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	// What a clock that steps back by an hour leaves behind.
	l.exec(`UPDATE platform SET clock_high_water = now() + interval '1 hour'`)
	_, now, err := l.Queues(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if ahead := time.Until(now); ahead < 59*time.Minute {
		t.Errorf("app_now() is %s ahead, want an hour: it went back with the clock", ahead)
	}
	if err := l.TickClock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := l.count(`SELECT count(*) FROM platform WHERE clock_high_water > now() + interval '59 min'`); n != 1 {
		t.Error("TickClock took the mark back")
	}
}

func TestAStreamThatWentBackIsNoticed(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.planned("e1", "010-0000-0001")
	born := time.Now().Truncate(time.Microsecond).Add(789 * time.Nanosecond)
	for i, c := range []struct {
		m     store.Watermark
		later bool // more than another copy's older look explains
		back  bool
	}{
		{store.Watermark{Stream: "STEPS", Born: born, LastSeq: 10}, false, false},
		{store.Watermark{Stream: "STEPS", Born: born, LastSeq: 10}, true, false},
		{store.Watermark{Stream: "STEPS", Born: born, LastSeq: 12}, false, false},
		{store.Watermark{Stream: "STEPS", Born: born, LastSeq: 11}, false, false}, // an older look
		{store.Watermark{Stream: "STEPS", Born: born, LastSeq: 12}, false, false},
		{store.Watermark{Stream: "STEPS", Born: born, LastSeq: 11}, true, true},
		{store.Watermark{Stream: "STEPS", Born: born, LastSeq: 11}, true, false},
		{store.Watermark{Stream: "STEPS", Born: born.Add(time.Second), LastSeq: 11}, false, true},
		{store.Watermark{Stream: "STEPS", Born: born.Add(time.Second), LastSeq: 11}, false, false},
	} {
		if c.later {
			l.exec(`UPDATE stream_watermarks SET updated_at = updated_at - interval '1 minute'`)
		}
		if back, err := l.MarkStream(t.Context(), c.m); err != nil || back != c.back {
			t.Errorf("mark %d: back = %v, %v; want %v", i, back, err, c.back)
		}
	}
	steps, triggers, err := l.WakeAll(t.Context())
	if err != nil || steps != 1 || triggers != 0 {
		t.Fatalf("WakeAll = %d, %d, %v", steps, triggers, err)
	}
	if got := l.lease(10); len(got) != 1 || got[0].Again {
		t.Errorf("after WakeAll: %+v, want the step as if never published", got)
	}
}

func TestPendingTriggersAreFoundAgain(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	r := l.accept(l.call("e1", body("010-0000-0001", "김하늘")))[0]
	if got, err := l.LeaseTriggers(t.Context(), 10); err != nil || len(got) != 0 {
		t.Fatalf("at once: %v, %v; ingest publishes it itself", got, err)
	}
	l.exec(`UPDATE triggers SET wake_at = now()`)
	got, err := l.LeaseTriggers(t.Context(), 10)
	if err != nil || len(got) != 1 || got[0].ID != r.TriggerID || got[0].Kind != event.Webhook {
		t.Fatalf("LeaseTriggers = %v, %v", got, err)
	}
	if again, _ := l.LeaseTriggers(t.Context(), 10); len(again) != 0 {
		t.Error("leased twice")
	}
}

func TestSentStepsDoNotPassForAnEmptyQueue(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	for i := range 6 {
		_, claim := l.claimed(fmt.Sprint("s", i), fmt.Sprintf("010-0000-%04d", i))
		l.settle(told(claim, event.Kakao, event.Sent, event.Answer))
	}
	l.exec(`UPDATE steps SET wake_at = now() - interval '1 s' WHERE state = 'sent'`)
	l.exec(`UPDATE steps SET wake_at = now(), published = false WHERE state = 'planned'`)
	if got := l.lease(3); len(got) != 3 {
		t.Errorf("%d steps were leased behind six that were sent, want 3", len(got))
	}
}
