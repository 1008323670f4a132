package store_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

func TestAStepIsClaimedOnceByAnyNumberOfDispatchers(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	var due []event.Step
	for i := range 20 {
		due = append(due, l.planned(string(rune('a'+i)), "010-0000-0001"))
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	claims := 0
	for i := range 6 {
		all.Go(func() {
			mine := slices.Clone(due)
			if i%2 == 1 {
				slices.Reverse(mine)
			}
			got, err := l.ClaimSteps(t.Context(), mine, claimAll)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			claims += len(got)
			mu.Unlock()
		})
	}
	all.Wait()
	if claims != 20 {
		t.Errorf("%d claims of 20 steps", claims)
	}
	if n := l.count(`SELECT count(*) FROM attempts a JOIN steps s ON s.id = a.step_id WHERE a.attempt = 1 AND s.state = 'claimed' AND s.first_intent_at = s.claimed_at`); n != 20 {
		t.Errorf("%d attempts written before the request, want 20", n)
	}
	if n := l.count(`SELECT count(*) FROM message_logs WHERE status = 'pending' AND content IS NOT NULL AND metadata ? 'workflow_id' AND metadata ? 'execution_id'`); n != 20 {
		t.Errorf("%d pending log rows, want 20", n)
	}
}

func TestTheFenceAndTheEpochStopAClaim(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step := l.planned("e1", "010-0000-0001")
	for name, wrong := range map[string]event.Step{
		"old_attempt":  {Tenant: step.Tenant, ID: step.ID, Attempt: 1},
		"other_epoch":  {Tenant: step.Tenant, ID: step.ID, PlanEpoch: 1},
		"other_tenant": {Tenant: [16]byte{1}, ID: step.ID},
	} {
		if got, err := l.ClaimSteps(t.Context(), []event.Step{wrong}, claimAll); err != nil || len(got) != 0 {
			t.Errorf("%s: claims = %v, %v", name, got, err)
		}
	}
	l.exec(`UPDATE workflow_executions SET plan_epoch = 1`)
	_, err := l.ClaimSteps(t.Context(), []event.Step{step}, func(c *store.Candidate) store.Decision {
		if c.RunEpoch == c.PlanEpoch {
			t.Error("the candidate does not show that its plan was superseded")
		}
		return store.Decision{}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestACandidateShowsTheWorldAsItIsNow(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step := l.planned("e1", "010-0000-0001")
	look := func() (seen store.Candidate) {
		t.Helper()
		if _, err := l.ClaimSteps(t.Context(), []event.Step{step}, func(c *store.Candidate) store.Decision {
			seen = *c
			return store.Decision{}
		}); err != nil {
			t.Fatal(err)
		}
		return seen
	}
	c := look()
	if c.PatientName != "김하늘" || c.To.E164() != "+821000000001" || c.Clinic.Name != "미소치과" || c.Paused || c.Account == [16]byte{} || len(c.Suppressed) != 0 {
		t.Fatalf("candidate = %+v", c)
	}
	l.exec(`INSERT INTO suppressions (tenant_id, id, phone_index, class, source) SELECT tenant_id, gen_random_uuid(), phone_index, 'marketing', 'test' FROM patients`)
	l.exec(`INSERT INTO suppressions (tenant_id, id, phone_index, channel, source) SELECT tenant_id, gen_random_uuid(), phone_index, 'sms', 'test' FROM patients`)
	l.exec(`INSERT INTO consents (tenant_id, id, patient_id, channel, purpose, granted, method) SELECT tenant_id, gen_random_uuid(), id, 'kakao', 'marketing', true, 'paper' FROM patients`)
	l.exec(`UPDATE tenants SET paused_at = now(), quiet_from = '21:00', quiet_until = '08:00'`)
	l.exec(`UPDATE provider_accounts SET enabled = false WHERE channel = 'kakao'`)
	c = look()
	if !slices.Equal(c.Suppressed, []string{"marketing"}) || !c.Consented || !c.Paused || c.Account != [16]byte{} || !c.Clinic.Quiet || c.Clinic.QuietFrom.Hour != 21 {
		t.Errorf("candidate = %+v", c)
	}
}

func TestASleepingStepIsLeftToRelease(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step := l.planned("e1", "010-0000-0001")
	until := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	if _, err := l.ClaimSteps(t.Context(), []event.Step{step}, func(*store.Candidate) store.Decision { return store.Decision{Wait: until} }); err != nil {
		t.Fatal(err)
	}
	if n := l.count(`SELECT count(*) FROM steps WHERE id = $1 AND state = 'planned' AND wake_at = $2 AND NOT published AND attempt = 0`, step.ID, until); n != 1 {
		t.Error("the step does not sleep until the time asked for")
	}
}

// Whoever opts a patient out or changes a plan holds the row that a claim
// takes too: the claim comes before, and is in flight, or after, and sees it.
func TestAClaimWaitsForWhoeverChangesItsPlan(t *testing.T) {
	t.Parallel()
	for name, lock := range map[string]string{
		"plan":    `SELECT 1 FROM workflow_executions FOR UPDATE`,
		"opt_out": `SELECT 1 FROM patients FOR UPDATE`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLedger(t)
			step := l.planned("e1", "010-0000-0001")
			tx, err := l.super.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback(context.Background())
			if _, err := tx.Exec(t.Context(), lock); err != nil {
				t.Fatal(err)
			}
			seen := make(chan *store.Candidate, 1)
			var claiming sync.WaitGroup
			claiming.Go(func() {
				_, err := l.ClaimSteps(t.Context(), []event.Step{step}, func(c *store.Candidate) store.Decision {
					seen <- c
					return store.Decision{}
				})
				if err != nil {
					t.Error(err)
				}
			})
			l.untilBlocked(tx)
			select {
			case <-seen:
				t.Fatal("the claim passed a change that was under way")
			default:
			}
			if _, err := tx.Exec(t.Context(), `INSERT INTO suppressions (tenant_id, id, phone_index, source) SELECT tenant_id, gen_random_uuid(), phone_index, 'test' FROM patients`); err != nil {
				t.Fatal(err)
			}
			if err := tx.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			c := <-seen
			claiming.Wait()
			if !slices.Equal(c.Suppressed, []string{"*"}) {
				t.Errorf("the claim that waited sees %v, not the opt-out that it waited for", c.Suppressed)
			}
		})
	}
}

// untilBlocked waits until another session waits for tx.
func (l *ledger) untilBlocked(tx pgx.Tx) {
	l.t.Helper()
	var pid int
	if err := tx.QueryRow(l.t.Context(), `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
		l.t.Fatal(err)
	}
	for l.count(`SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))`, pid) == 0 {
		if l.t.Context().Err() != nil {
			l.t.Fatal("nobody waits for the lock")
		}
	}
}
