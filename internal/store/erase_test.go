package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

var hand = store.Hand{Actor: "cli:test"}

func TestErasedPatientIsUnreadableAndGetsNothing(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step, _ := l.claimed("sent", number(1)) // one is out, one is planned for later
	kept := l.planned("other", number(2))
	var patient uuid.UUID
	l.scan(`SELECT e.patient_id FROM steps s JOIN workflow_executions e ON e.id = s.execution_id WHERE s.id = $1`, []any{step.ID}, &patient)
	l.exec(`UPDATE patients SET external_id = 'P-1' WHERE id = $1`, patient)
	l.optedOut(number(1))
	due := l.planned("due", number(1))

	begin := time.Now()
	done, err := l.ErasePatient(t.Context(), l.tenant, uuid.Nil, "P-1", hand)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("it took %v", took)
	}
	if done.Patient != patient || done.Cancelled != 3 || len(done.InFlight) != 1 || done.InFlight[0] != step.ID {
		t.Errorf("erased %+v; want 3 cancelled, and %s in flight", done, step.ID)
	}
	if state, reason := l.state(due.ID); state != "cancelled" || reason != string(event.PatientErased) {
		t.Errorf("a planned step is %s: %s", state, reason)
	}
	if claims, err := l.ClaimSteps(t.Context(), []event.Step{due, kept}, claimAll); err != nil || len(claims) != 1 || claims[0].Step != kept.ID {
		t.Errorf("claims after it: %v, %v; want the other patient's", claims, err)
	}
	if n := l.count(`SELECT count(*) FROM patients WHERE id = $1 AND num_nonnulls(data_key, name, phone, phone_index, phone_last4_index, email, birth_date, external_id) > 0`, patient); n != 0 {
		t.Error("the patient's row holds something yet")
	}
	if n := l.count(`SELECT count(*) FROM triggers WHERE patient_id = $1 AND num_nonnulls(payload, payload_key) > 0`, patient); n != 0 {
		t.Errorf("%d payloads are left", n)
	}
	if n := l.count(`SELECT count(*) FROM attempts a JOIN steps s ON s.id = a.step_id JOIN workflow_executions e ON e.id = s.execution_id WHERE e.patient_id = $1 AND a.content IS NOT NULL`, patient); n != 0 {
		t.Errorf("%d texts are left", n)
	}
	num, _ := phone.Parse(number(1), testNumbers)
	if page, err := l.FindPatients(t.Context(), l.tenant, store.PatientQuery{Phone: num}); err != nil || len(page.Rows) != 0 {
		t.Errorf("found %v, %v", page.Rows, err)
	}
	// The same again says so; a stranger is none.
	if again, err := l.ErasePatient(t.Context(), l.tenant, patient, "", hand); err != nil || !again.Again {
		t.Errorf("again: %+v, %v", again, err)
	}
	if _, err := l.ErasePatient(t.Context(), l.tenant, uuid.New(), "", hand); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a stranger: %v", err)
	}
	if n := l.count(`SELECT count(*) FROM audit_log WHERE action = 'patient.erase' AND subject_id = $1`, patient); n != 1 {
		t.Errorf("%d audit rows", n)
	}
	// An event told once more is known still, also after a rotation; who comes
	// back is another patient, and the opt-out of the number holds.
	if _, err := l.RotateTenantKey(t.Context(), l.tenant); err != nil {
		t.Fatal(err)
	}
	if r := l.accept(l.call("due", body(number(1), "김하늘")))[0]; r.Status != store.Duplicate {
		t.Errorf("the erased patient's event is %s", r.Status)
	}
	back := l.planned("back", number(1))
	if claims, err := l.ClaimSteps(t.Context(), []event.Step{back}, obey); err != nil || len(claims) != 0 {
		t.Errorf("the opt-out did not outlive the patient: %v, %v", claims, err)
	}
	l.holds()
}

// TestErasureAndClaimsNeverPass runs both at once: whatever was claimed is
// named in flight, and nothing is claimed afterwards.
func TestErasureAndClaimsNeverPass(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	for n := range 15 {
		var steps []event.Step
		for i := range 3 {
			steps = append(steps, l.planned(fmt.Sprint(n, "-", i), number(n)))
		}
		var patient uuid.UUID
		l.scan(`SELECT e.patient_id FROM steps s JOIN workflow_executions e ON e.id = s.execution_id WHERE s.id = $1`, []any{steps[0].ID}, &patient)
		claimed := make(chan int, len(steps))
		for _, s := range steps {
			go func() {
				claims, err := l.ClaimSteps(t.Context(), []event.Step{s}, func(c *store.Candidate) store.Decision {
					return store.Decision{Claim: !c.Erased, Content: "text"}
				})
				if err != nil {
					t.Error(err)
				}
				claimed <- len(claims)
			}()
		}
		done, err := l.ErasePatient(t.Context(), l.tenant, patient, "", hand)
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		for range steps {
			total += <-claimed
		}
		if total != len(done.InFlight) {
			t.Errorf("%d claimed, %d named in flight", total, len(done.InFlight))
		}
	}
	l.holds()
}

func TestErasedTenantIsUnreadableAndCounted(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	for n := range 30 {
		l.planned(fmt.Sprint("e", n), number(n))
	}
	pending := l.accept(l.call("pending", body(number(40), "김하늘")))[0].TriggerID
	key, _, err := l.CreateAPIKey(t.Context(), l.tenant, "x", "owner", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	other, webhook := l.clinic("other")
	begin := time.Now()
	done, err := l.EraseTenant(t.Context(), l.tenant, hand)
	if err != nil || done.Cancelled != 60 || done.InFlight != 0 {
		t.Fatalf("erased %+v, %v; want 60 cancelled", done, err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	hash, _ := store.HashAPIKey(key)
	if _, err := l.APIKeyByHash(t.Context(), hash); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an API key: %v", err)
	}
	if _, err := l.Webhook(t.Context(), l.webhook); !errors.Is(err, store.ErrErased) {
		t.Errorf("a webhook: %v", err)
	}
	if _, err := l.AcceptTriggers(t.Context(), []store.Accept{l.call("late", body(number(1), "x"))}); !errors.Is(err, store.ErrErased) {
		t.Errorf("a call: %v", err)
	}
	if _, err := l.PlanTriggers(t.Context(), []event.Trigger{{Tenant: l.tenant, ID: pending}}, planning()); err != nil {
		t.Errorf("what was pending: %v", err)
	}
	if n := l.count(`SELECT count(*) FROM patients WHERE tenant_id = $1 AND num_nonnulls(data_key, name, phone, phone_index, phone_last4_index) > 0`, l.tenant); n != 0 {
		t.Errorf("%d patients hold something", n)
	}
	if n := l.count(`SELECT count(*) FROM tenants WHERE id = $1 AND data_key IS NOT NULL`, l.tenant); n != 0 {
		t.Error("the tenant's key is there")
	}
	if _, err := l.EraseTenant(t.Context(), l.tenant, hand); err != nil {
		t.Errorf("again: %v", err)
	}
	if _, err := l.Webhook(t.Context(), webhook); err != nil {
		t.Errorf("another tenant %s: %v", other, err)
	}
	l.holds()
}

func TestPatientsAreFoundByNumber(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	for i, p := range []struct{ number, name string }{{"010-0000-5678", "김하늘"}, {"010-0000-5678", "김바다"}, {"010-0001-5678", "이하늘"}, {"010-0001-5679", "박하늘"}} {
		trigger := l.accept(l.call(fmt.Sprint("e", i), strings.Replace(body(p.number, p.name), `"name"`, fmt.Sprintf(`"external_id":"P-%d","name"`, i), 1)))[0].TriggerID
		if _, err := l.PlanTriggers(t.Context(), []event.Trigger{{Tenant: l.tenant, ID: trigger}}, planning()); err != nil {
			t.Fatal(err)
		}
	}
	whole := func(s string) store.PatientQuery {
		n, err := phone.Parse(s, testNumbers)
		if err != nil {
			t.Fatal(err)
		}
		return store.PatientQuery{Phone: n}
	}
	for _, tt := range []struct {
		name string
		q    store.PatientQuery
		want string
	}{
		{"as_dialled", whole("010-0000-5678"), "P-0 P-1"},
		{"from_abroad", whole("+82 10 0001 5678"), "P-2"},
		{"nobodys", whole("010-0009-5678"), ""},
		{"last4", store.PatientQuery{Last4: "5678"}, "P-0 P-1 P-2"},
		{"last4_and_name", store.PatientQuery{Last4: "5678", Name: "하늘"}, "P-0 P-2"},
	} {
		var got []string
		for q, again := tt.q, true; again; {
			q.Limit = 2
			page, err := l.FindPatients(t.Context(), l.tenant, q)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range page.Rows {
				got = append(got, p.ExternalID)
			}
			q.Cursor, again = page.Next, page.Next != ""
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, got, tt.want)
		}
	}
	other, _ := l.clinic("other")
	if page, err := l.FindPatients(t.Context(), other, whole("010-0000-5678")); err != nil || len(page.Rows) != 0 {
		t.Errorf("another tenant finds %v, %v", page.Rows, err)
	}
	for name, q := range map[string]store.PatientQuery{"nothing": {}, "letters": {Last4: "56x8"}, "three": {Last4: "567"}, "both": {Last4: "5678", Phone: whole("010-0000-5678").Phone}} {
		if _, err := l.FindPatients(t.Context(), l.tenant, q); !errors.Is(err, store.ErrQuery) {
			t.Errorf("%s: %v, want ErrQuery", name, err)
		}
	}
}

// What the chain tells of sends holds on after their texts were emptied, if it
// tells of the erasure too, and of nobody else's.
func TestTheAuditChainHoldsAfterAnErasure(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	steps := l.sent(3)
	patientOf := func(step uuid.UUID) (patient uuid.UUID) {
		l.scan(`SELECT e.patient_id FROM steps s JOIN workflow_executions e ON e.id = s.execution_id WHERE s.id = $1`, []any{step}, &patient)
		return patient
	}
	if _, err := l.ErasePatient(t.Context(), l.tenant, patientOf(steps[0]), "", hand); err != nil {
		t.Fatal(err)
	}
	v, faults := l.verify(nil)
	if len(faults) != 0 || v.Sends != 3 {
		t.Fatalf("after an erasure: %d sends, faults %q", v.Sends, faults)
	}
	l.tamper(fmt.Sprintf(`UPDATE attempts SET content = '\x00' WHERE step_id = '%s'`, steps[0]))
	if _, faults := l.verify(nil); len(faults) != 1 || !strings.Contains(faults[0], "content was changed") {
		t.Errorf("another text for the erased patient: %q", faults)
	}
	l.tamper(fmt.Sprintf(`UPDATE attempts SET content = NULL WHERE step_id IN ('%s', '%s')`, steps[0], steps[1]))
	if _, faults := l.verify(nil); len(faults) != 1 || !strings.Contains(faults[0], steps[1].String()) {
		t.Errorf("a text emptied of a patient who was not erased: %q", faults)
	}
	// An erasure that only the table tells of is a fault of the chain itself.
	l.tamper(fmt.Sprintf(`UPDATE audit_log SET subject_id = '%s' WHERE action = 'patient.erase'`, patientOf(steps[1])))
	if _, faults := l.verify(nil); len(faults) == 0 || !strings.Contains(strings.Join(faults, "\n"), "was changed: its hash") {
		t.Errorf("an invented erasure: %q", faults)
	}
}

func TestTheAuditChainHoldsAfterATenantIsErased(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.sent(3)
	l.audited(2)
	before, _ := l.verify(nil)
	if _, err := l.EraseTenant(t.Context(), l.tenant, hand); err != nil {
		t.Fatal(err)
	}
	l.seal()
	after, faults := l.verify(before.Head)
	if len(faults) != 0 || after.Sends != 3 || after.Last <= before.Last {
		t.Errorf("%+v, faults %q", after, faults)
	}
}

// TestAnIgnoredEventGoesWithItsPatient has an event that starts nothing, and
// tells of a patient all the same.
func TestAnIgnoredEventGoesWithItsPatient(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step := l.planned("sent", number(1))
	var patient, whose uuid.UUID
	l.scan(`SELECT e.patient_id FROM steps s JOIN workflow_executions e ON e.id = s.execution_id WHERE s.id = $1`, []any{step.ID}, &patient)
	p := planning()
	read := p.Read
	p.Read = func(t store.PendingTrigger) store.Reading {
		r := read(t)
		r.Ignored, r.Workflows = event.NoWorkflow, nil
		return r
	}
	known := l.accept(l.call("ignored", body(number(1), "김하늘")))[0].TriggerID
	other := l.accept(l.call("stranger", body(number(2), "이서준")))[0].TriggerID
	if due, err := l.PlanTriggers(t.Context(), []event.Trigger{{Tenant: l.tenant, ID: known}, {Tenant: l.tenant, ID: other}}, p); err != nil || len(due) != 0 {
		t.Fatalf("due %v, %v", due, err)
	}
	var state, reason string
	l.scan(`SELECT state, reason, patient_id FROM triggers WHERE id = $1`, []any{known}, &state, &reason, &whose)
	if state != "ignored" || reason != string(event.NoWorkflow) || whose != patient {
		t.Errorf("it is %s: %s, of %s; want it to be ignored, of %s", state, reason, whose, patient)
	}
	if n := l.count(`SELECT count(*) FROM patients`) + l.count(`SELECT count(*) FROM triggers WHERE id = $1 AND patient_id IS NOT NULL`, other); n != 1 {
		t.Error("an ignored event made a patient")
	}
	if _, err := l.ErasePatient(t.Context(), l.tenant, patient, "", hand); err != nil {
		t.Fatal(err)
	}
	l.holds()
	// Even whoever holds the clinic's key opens it no more.
	l.exec(`UPDATE triggers SET state = 'pending', reason = NULL, wake_at = now(), planned_at = NULL WHERE id = $1`, known)
	p.Read = func(t store.PendingTrigger) store.Reading {
		l.t.Errorf("its payload opens: %s", t.Payload)
		return read(t)
	}
	_, err := l.PlanTriggers(t.Context(), []event.Trigger{{Tenant: l.tenant, ID: known}}, p)
	if l.scan(`SELECT reason FROM triggers WHERE id = $1`, []any{known}, &reason); err != nil || reason != string(event.PayloadGone) {
		t.Errorf("it is %s, %v", reason, err)
	}
}

func TestAnErasedClinicGetsNoCredentials(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	if _, err := l.EraseTenant(t.Context(), l.tenant, hand); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.CreateAPIKey(t.Context(), l.tenant, "late", "owner", time.Time{}); !errors.Is(err, store.ErrErased) {
		t.Errorf("an API key: %v", err)
	}
	if _, _, err := l.CreateNATSCredential(t.Context(), l.tenant, "late", time.Time{}); !errors.Is(err, store.ErrErased) {
		t.Errorf("a NATS credential: %v", err)
	}
	if _, err := l.AddIdentity(t.Context(), l.tenant, store.Identity{Issuer: "https://issuer.example", Kind: store.User, Subject: "user_1"}); !errors.Is(err, store.ErrErased) {
		t.Errorf("an identity: %v", err)
	}
	if list, err := l.Tenants(t.Context()); err != nil || len(list) != 1 || !list[0].Erased {
		t.Errorf("the list has %+v, %v; want one, erased", list, err)
	}
}
