package store_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

func TestATriggerIsPlannedOnceByAnyNumberOfPlanners(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	var ids []event.Trigger
	for i := range 40 {
		r := l.accept(l.call(fmt.Sprint("e", i), body(fmt.Sprintf("010-0000-%04d", i%7), "김하늘")))[0]
		ids = append(ids, event.Trigger{Tenant: l.tenant, ID: r.TriggerID, Kind: event.Webhook})
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	due := 0
	for range 6 {
		all.Go(func() {
			for range 20 {
				steps, err := l.PlanTriggers(t.Context(), ids, planning())
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				due += len(steps)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if due != 40 {
		t.Errorf("%d steps were handed out as due, want 40: one per trigger, once", due)
	}
	if n := l.count(`SELECT count(*) FROM steps`); n != 80 {
		t.Errorf("%d steps, want 80", n)
	}
	if n := l.count(`SELECT count(*) FROM patients`); n != 7 {
		t.Errorf("%d patients, want 7: the same number and name is the same patient", n)
	}
	l.holds()
}

func TestPatientsAreMatchedAndNeverMergedByGuess(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	plan := func(id, payload string) (state, reason string, patients int) {
		t.Helper()
		r := l.accept(l.call(id, payload))[0]
		if _, err := l.PlanTriggers(t.Context(), []event.Trigger{{Tenant: l.tenant, ID: r.TriggerID}}, planning()); err != nil {
			t.Fatal(err)
		}
		l.scan(`SELECT state, reason FROM triggers WHERE id = $1`, []any{r.TriggerID}, &state, &reason)
		return state, reason, l.count(`SELECT count(*) FROM patients`)
	}
	for i, c := range []struct {
		payload, state, reason string
		patients               int
	}{
		{body("010-0000-0001", "김하늘"), "planned", "planned", 1},
		{body("010-0000-0001", "김하늘"), "planned", "planned", 1}, // the same
		{body("010-0000-0001", ""), "planned", "planned", 1},    // only one has the number
		{body("010-0000-0001", "김바다"), "planned", "planned", 2}, // a family shares it
		{body("010-0000-0001", ""), "ignored", "ambiguous_patient", 2},
		{`{"patient":{"phone":"010-0000-0001","external_id":"P-1","name":"김하늘"}}`, "planned", "planned", 3}, // the clinic's number decides
		{`{"patient":{"phone":"010-0000-0009","external_id":"P-1"}}`, "planned", "planned", 3},
		{`{"patient":{"phone":"02-555-0100"}}`, "ignored", "invalid_patient", 3},
		{`{}`, "ignored", "invalid_patient", 3},
	} {
		state, reason, patients := plan(fmt.Sprint("e", i), c.payload)
		if state != c.state || reason != c.reason || patients != c.patients {
			t.Errorf("case %d: %s/%s with %d patients, want %s/%s with %d", i, state, reason, patients, c.state, c.reason, c.patients)
		}
	}
	l.exec(`UPDATE webhooks SET create_patients = false`)
	if state, reason, _ := plan("stranger", body("010-0000-0777", "새환자")); state != "ignored" || reason != "unknown_patient" {
		t.Errorf("unknown patient: %s/%s", state, reason)
	}
	l.exec(`UPDATE workflows SET is_active = false`)
	if state, reason, _ := plan("off", `{"patient":{"phone":"010-0000-0001","external_id":"P-1"}}`); state != "ignored" || reason != "workflow_inactive" {
		t.Errorf("inactive workflow: %s/%s", state, reason)
	}
	l.holds()
}

func TestPlanningReKeysThePayloadToThePatient(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.planned("e1", "010-0000-0001")
	var before []byte
	l.scan(`SELECT payload_key FROM triggers`, nil, &before)
	// Destroying the patient's key makes the payload unreadable: a step that
	// needs it finds the patient erased.
	l.exec(`UPDATE patients SET data_key = NULL`)
	l.exec(`UPDATE steps SET wake_at = now(), published = false`)
	var step event.Step
	l.scan(`SELECT tenant_id, id, lane, channel FROM steps WHERE node = '1'`, nil, &step.Tenant, &step.ID, &step.Lane, &step.Channel)
	erased := false
	if _, err := l.ClaimSteps(t.Context(), []event.Step{step}, func(c *store.Candidate) store.Decision {
		erased = c.Erased
		return store.Decision{}
	}); err != nil {
		t.Fatal(err)
	}
	if !erased {
		t.Error("a patient without a key is not seen as erased")
	}
}

func TestATriggerOfAnErasedTenantIsAccountedFor(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	r := l.accept(l.call("e1", body("010-0000-0001", "김하늘")))[0]
	l.exec(`UPDATE tenants SET data_key = NULL`)
	if _, err := l.PlanTriggers(t.Context(), []event.Trigger{{Tenant: l.tenant, ID: r.TriggerID}}, planning()); err != nil {
		t.Fatal(err)
	}
	var state, reason string
	l.scan(`SELECT state, reason FROM triggers`, nil, &state, &reason)
	if state != "ignored" || reason != string(event.PayloadGone) {
		t.Errorf("%s/%s, want ignored/%s", state, reason, event.PayloadGone)
	}
	l.holds()
}
