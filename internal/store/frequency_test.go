package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// capped is what the dispatcher's guard makes of a clinic's caps.
func capped(c *store.Candidate) store.Decision {
	step, _ := c.Definition.Step(c.Node)
	if c.Counted {
		return store.Decision{Claim: true, Content: "text"}
	}
	if at, held := c.Clinic.Caps.Next(c.Now, step.Message.Class, c.Clinic.Zone, c.Recent); held {
		return store.Decision{Wait: at, Reason: event.FrequencyCap}
	}
	return store.Decision{Claim: true, Content: "text"}
}

func (r *replans) cap(caps string) {
	r.exec(`UPDATE tenants SET frequency_caps = $1::jsonb`, caps)
}

// ofOnePatient begins runs and gives all of them to one patient.
func (r *replans) ofOnePatient(runs int) (due [][]event.Step) {
	r.t.Helper()
	var first uuid.UUID
	for i := range runs {
		run, steps := r.begin()
		if i == 0 {
			first = r.patientOf(run)
		}
		r.exec(`UPDATE workflow_executions SET patient_id = $1 WHERE id = $2`, first, run)
		r.exec(`UPDATE patients SET data_key = (SELECT data_key FROM patients WHERE id = $1) WHERE id = $1`, first)
		due = append(due, steps)
	}
	return due
}

// Ten copies claim ten workflows' messages of one patient at once: the cap's
// number go, and the others wait for another day.
func TestTwoClaimsNeverBothTakeTheLastOfACap(t *testing.T) {
	t.Parallel()
	for range 5 {
		r := newReplans(t)
		r.cap(`{"all": {"per_day": 3}}`)
		due := r.ofOnePatient(10)
		var all sync.WaitGroup
		var mu sync.Mutex
		claimed := 0
		for _, steps := range due {
			all.Go(func() {
				claims, err := r.ClaimSteps(t.Context(), steps, capped)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				claimed += len(claims)
				mu.Unlock()
			})
		}
		all.Wait()
		if claimed != 3 {
			t.Errorf("%d were claimed, want 3", claimed)
		}
		if n := r.count(`SELECT count(*) FROM steps WHERE state = 'planned' AND node = 'now' AND reason = 'frequency_cap' AND wake_at > now()`); n != 7 {
			t.Errorf("%d wait for another day, want 7", n)
		}
		r.holds()
	}
}

// A batch counts what it claims itself; other patients have caps of their own.
func TestABatchCountsItsOwnClaims(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	r.cap(`{"care_followup": {"per_week": 2}}`)
	var batch []event.Step
	for _, steps := range r.ofOnePatient(5) {
		batch = append(batch, steps...)
	}
	_, others := r.begin()
	claims, err := r.ClaimSteps(t.Context(), append(batch, others...), capped)
	if err != nil || len(claims) != 3 {
		t.Errorf("%d were claimed, %v; want 2 of the one and 1 of the other", len(claims), err)
	}
}

// A fallback and a message that is sent again are what was counted already.
func TestAMessageIsCountedOnceHoweverOftenItIsSent(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	r.cap(`{"all": {"per_day": 1}}`)
	run, due := r.begin()
	claims, err := r.ClaimSteps(t.Context(), due, capped)
	if err != nil || len(claims) != 1 {
		t.Fatal(claims, err)
	}
	r.settle(told(claims[0], event.Kakao, event.Failed, event.Poll))
	var sms event.Step
	r.scan(`SELECT tenant_id, id, lane, channel, plan_epoch FROM steps WHERE execution_id = $1 AND parent_id IS NOT NULL`, []any{run}, &sms.Tenant, &sms.ID, &sms.Lane, &sms.Channel, &sms.PlanEpoch)
	if claims, err = r.ClaimSteps(t.Context(), []event.Step{sms}, capped); err != nil || len(claims) != 1 {
		t.Errorf("the SMS that replaces it: %v, %v", claims, err)
	}
	if n := r.count(`SELECT jsonb_array_length(recent) FROM patient_sendings`); n != 1 {
		t.Errorf("%d sendings are kept, want 1", n)
	}
}

func TestAClinicWithoutCapsKeepsNoSendings(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	_, due := r.begin()
	if claims, err := r.ClaimSteps(t.Context(), due, func(c *store.Candidate) store.Decision {
		if c.Recent != nil || c.Counted {
			t.Errorf("candidate %+v", c)
		}
		return capped(c)
	}); err != nil || len(claims) != 1 {
		t.Fatal(claims, err)
	}
	if n := r.count(`SELECT count(*) FROM patient_sendings`); n != 0 {
		t.Errorf("%d rows", n)
	}
}

// What no cap remembers any more goes when something new comes.
func TestOldSendingsGo(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	r.cap(`{"all": {"per_day": 2}}`)
	run, due := r.begin()
	old := fmt.Sprintf(`[{"Root": %q, "Class": "marketing", "At": %q}]`, uuid.New(), time.Now().Add(-2*workflow.CapMemory-time.Minute).Format(time.RFC3339))
	r.exec(`INSERT INTO patient_sendings (tenant_id, patient_id, recent) VALUES ($1, $2, $3::jsonb)`, r.tenant, r.patientOf(run), old)
	if claims, err := r.ClaimSteps(t.Context(), due, capped); err != nil || len(claims) != 1 {
		t.Fatal(claims, err)
	}
	if n := r.count(`SELECT jsonb_array_length(recent) FROM patient_sendings`); n != 1 {
		t.Errorf("%d sendings are kept, want the new one", n)
	}
}

func TestHolidaysAreTheReleasesAndWhatWasTold(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	find := func(day string) string {
		t.Helper()
		list, err := r.Holidays(t.Context(), "KR")
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range list {
			if h.Day == day {
				return h.Name
			}
		}
		return ""
	}
	if find("2026-12-25") != "성탄절" || find("2026-12-24") != "" {
		t.Errorf("%q, %q", find("2026-12-25"), find("2026-12-24"))
	}
	if n, err := r.TellHolidays(t.Context(), "KR", map[string]string{"2026-12-24": "임시공휴일", "2026-12-25": ""}, hand); err != nil || n != 2 {
		t.Fatal(n, err)
	}
	if find("2026-12-25") != "" || find("2026-12-24") != "임시공휴일" {
		t.Errorf("%q, %q", find("2026-12-25"), find("2026-12-24"))
	}
	if n, err := r.TellHolidays(t.Context(), "KR", map[string]string{"2026-12-24": "임시공휴일"}, hand); err != nil || n != 0 {
		t.Errorf("told again: %d, %v", n, err)
	}
	for _, days := range []map[string]string{{"24.12.2026": "x"}, {"2026-12-24": "a\nb"}, {"1999-01-01": "x"}} {
		if _, err := r.TellHolidays(t.Context(), "KR", days, hand); !errors.Is(err, store.ErrHoliday) {
			t.Errorf("%v: %v", days, err)
		}
	}
	if _, err := r.TellHolidays(t.Context(), "kr", nil, hand); !errors.Is(err, store.ErrHoliday) {
		t.Error(err)
	}
	if n := r.count(`SELECT count(*) FROM audit_log WHERE action = 'holidays.tell'`); n != 1 {
		t.Errorf("%d rows in the audit log", n)
	}
	// Plans keep to them: two working days from before the told one.
	r.publish(`{node: next, business_days: 1, template: care}`)
	var zoned time.Time
	run, _ := r.begin()
	r.scan(`SELECT due_at AT TIME ZONE 'Asia/Seoul' FROM steps WHERE execution_id = $1`, []any{run}, &zoned)
	if d := zoned.Weekday(); d == time.Saturday || d == time.Sunday || zoned.Hour() != 10 {
		t.Errorf("the next working day is %s", zoned)
	}
}
