package store_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

func TestLaterEventsOfAMergedRowAreTheOthers(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	from, into, _, _, _ := r.twice()
	r.exec(`UPDATE patients SET external_id = 'P-1' WHERE id = $1`, from)
	third, _ := r.begin()
	r.merge(from, into)
	r.merge(into, r.patientOf(third)) // and on
	for name, payload := range map[string]string{
		"the clinic's number": `{"type":"visit","patient":{"external_id":"P-1","name":"김하늘","phone":"010-0000-9999"}}`,
		"the phone":           body(number(1), "김하늘"),
		"the phone alone":     body(number(1), ""),
		"the one between":     body(number(2), "김하늘"),
	} {
		trigger := r.accept(r.call(name, payload))[0].TriggerID
		if _, err := r.PlanTriggers(t.Context(), []event.Trigger{{Tenant: r.tenant, ID: trigger}}, planning()); err != nil {
			t.Fatal(err)
		}
		var patient uuid.UUID
		r.scan(`SELECT coalesce(patient_id, '00000000-0000-0000-0000-000000000000') FROM triggers WHERE id = $1`, []any{trigger}, &patient)
		if patient != r.patientOf(third) {
			t.Errorf("%s: it is %s's", name, patient)
		}
	}
	if n := r.count(`SELECT count(*) FROM patients`); n != 3 {
		t.Errorf("%d patients", n)
	}
	if n := r.count(`SELECT count(*) FROM patients WHERE merged_into = $1`, r.patientOf(third)); n != 2 {
		t.Errorf("%d rows lead to who is left", n)
	}
	if again := r.merge(from, into); !again.Again || again.Into != r.patientOf(third) {
		t.Errorf("once more: %+v", again)
	}
}

// A family shares a phone: who is merged does not make the others ambiguous.
func TestRowsOfOnePersonAreOneCandidate(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	from, into, _, _, _ := r.twice()
	r.exec(`UPDATE patients SET phone_index = (SELECT phone_index FROM patients WHERE id = $1) WHERE id = $2`, into, from)
	ask := func(id string) (reason string) {
		trigger := r.accept(r.call(id, body(number(2), "김하늘")))[0].TriggerID
		if _, err := r.PlanTriggers(t.Context(), []event.Trigger{{Tenant: r.tenant, ID: trigger}}, planning()); err != nil {
			t.Fatal(err)
		}
		r.scan(`SELECT reason FROM triggers WHERE id = $1`, []any{trigger}, &reason)
		return reason
	}
	if got := ask("before"); got != "ambiguous_patient" {
		t.Errorf("before: %s", got)
	}
	r.merge(from, into)
	if got := ask("after"); got != "planned" {
		t.Errorf("after: %s", got)
	}
}

func TestWhatHappenedToAMergedRowIsFoundUnderTheOther(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	from, into, old, kept, due := r.twice()
	r.other(old)
	claims, err := r.ClaimSteps(t.Context(), due, claimAll)
	if err != nil || len(claims) != 2 {
		t.Fatal(claims, err)
	}
	r.merge(from, into)
	for _, who := range []uuid.UUID{into, from} {
		var found []uuid.UUID
		for _, e := range r.runs(store.ExecutionQuery{Patient: who}).Rows {
			found = append(found, e.ID)
		}
		if !slices.Equal(found, []uuid.UUID{kept, old}) {
			t.Errorf("runs %v", found)
		}
		if page := r.logs(store.LogQuery{Patient: who}); len(page.Rows) != 2 || page.Rows[0].Content != "text" || page.Rows[1].Content != "text" {
			t.Errorf("logs %+v", page.Rows)
		}
		if story, err := r.Why(t.Context(), r.tenant, who); err != nil || len(story.Triggers) != 2 {
			t.Errorf("why: %d triggers, %v", len(story.Triggers), err)
		}
	}
	if page := r.runs(store.ExecutionQuery{Patient: uuid.New()}); len(page.Rows) != 0 {
		t.Errorf("nobody has %d runs", len(page.Rows))
	}
	one, _ := phone.Parse(number(1), testNumbers)
	if page, err := r.FindPatients(t.Context(), r.tenant, store.PatientQuery{Phone: one}); err != nil || len(page.Rows) != 1 || page.Rows[0].MergedInto != into {
		t.Errorf("%+v, %v", page.Rows, err)
	}
	if _, list, _, err := r.Cohort(t.Context(), r.tenant, store.CohortQuery{Patients: []uuid.UUID{from}}); err != nil || len(list) != 1 || list[0].Patient != into {
		t.Errorf("simulated is %+v, %v", list, err)
	}
	_, list, _, err := r.Cohort(t.Context(), r.tenant, store.CohortQuery{Workflow: r.workflow, Patients: []uuid.UUID{into}})
	if err != nil || len(list) != 2 || list[0].Patient != into || list[0].Payload == nil || list[1].Payload == nil || list[0].To != list[1].To {
		t.Errorf("simulated runs are %+v, %v", list, err)
	}
}

func TestErasingEitherErasesBoth(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]func(from, into uuid.UUID) (uuid.UUID, string){
		"by the old id":     func(from, _ uuid.UUID) (uuid.UUID, string) { return from, "" },
		"by the old number": func(uuid.UUID, uuid.UUID) (uuid.UUID, string) { return uuid.Nil, "P-1" },
		"by the one left":   func(_, into uuid.UUID) (uuid.UUID, string) { return into, "" },
	} {
		r := newReplans(t)
		from, into, old, _, due := r.twice()
		r.exec(`UPDATE patients SET external_id = 'P-1' WHERE id = $1`, from)
		r.other(old)
		if claims, err := r.ClaimSteps(t.Context(), due[:1], claimAll); err != nil || len(claims) != 1 {
			t.Fatal(claims, err)
		}
		stray := r.accept(r.call("stray", `{"type":"visit","patient":{"external_id":"P-1 ","name":"x","phone":"1"},"note":"`+number(1)+`"}`))[0].TriggerID
		r.exec(`UPDATE triggers SET state = 'ignored', reason = 'unknown_patient' WHERE id = $1`, stray)
		r.merge(from, into)
		id, external := by(from, into)
		out, err := r.ErasePatient(t.Context(), r.tenant, id, external, hand)
		if err != nil || out.Patient != into || !slices.Equal(out.Merged, []uuid.UUID{from}) || out.Again || out.Cancelled != 5 || len(out.InFlight) != 1 || out.Strays != 1 {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
		if n := r.count(`SELECT count(*) FROM patients WHERE data_key IS NULL AND name IS NULL AND phone IS NULL AND phone_index IS NULL AND external_id IS NULL AND erased_at IS NOT NULL`); n != 2 {
			t.Errorf("%s: %d rows are erased", name, n)
		}
		if n := r.count(`SELECT count(*) FROM triggers WHERE payload_key IS NOT NULL`) + r.count(`SELECT count(*) FROM attempts WHERE content IS NOT NULL`); n != 0 {
			t.Errorf("%s: %d texts and payloads are left", name, n)
		}
		if again, err := r.ErasePatient(t.Context(), r.tenant, from, "", hand); err != nil || !again.Again {
			t.Errorf("%s: once more: %+v, %v", name, again, err)
		}
		if _, err := r.MergePatients(t.Context(), r.tenant, store.Merge{From: from, Into: into, Hand: hand}); err != nil {
			t.Errorf("%s: the same merge once more: %v", name, err)
		}
		r.holds()
	}
}

// Messages of both rows count together where the clinic caps them.
func TestWhatEitherRowWasSentCountsForBoth(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	r.exec(`UPDATE tenants SET frequency_caps = '{"care_followup": {"day": 5}}'`)
	from, into, old, _, due := r.twice()
	r.other(old)
	if claims, err := r.ClaimSteps(t.Context(), due, claimAll); err != nil || len(claims) != 2 {
		t.Fatal(claims, err)
	}
	r.merge(from, into)
	r.exec(`UPDATE steps SET due_at = now(), wake_at = now(), published = false WHERE state = 'planned'`)
	var all []event.Step
	for _, s := range r.lease(50) {
		all = append(all, s.Step)
	}
	var seen []int
	if _, err := r.ClaimSteps(t.Context(), all, func(c *store.Candidate) store.Decision {
		seen = append(seen, len(c.Recent))
		return claimAll(c)
	}); err != nil || !slices.Equal(seen, []int{2, 3, 4, 5}) {
		t.Errorf("what was sent lately: %v, %v", seen, err)
	}
	var recent []byte
	r.scan(`SELECT recent FROM patient_sendings WHERE patient_id = $1`, []any{into}, &recent)
	var list []json.RawMessage
	if err := json.Unmarshal(recent, &list); err != nil || len(list) != 6 {
		t.Errorf("%d messages count, %v", len(list), err)
	}
}

// Two bookings of one visit remind once; another visit's reminder stays.
func TestAVisitThatWasBookedTwiceIsRemindedOfOnce(t *testing.T) {
	t.Parallel()
	d := newDiary(t)
	d.apart = true
	at := starts(d.day(10, 14)) + `,"surgery_type":"임플란트"`
	for i, n := range []string{"A1", "A2", "A3"} {
		when := at
		if n == "A3" {
			when = starts(d.day(10, 16)) + `,"surgery_type":"임플란트"`
		}
		d.plan(d.tell(d.said(fmt.Sprint("e", i), "booked", n, 1, when)).Trigger)
	}
	var p [3]uuid.UUID
	for i := range p {
		d.scan(`SELECT patient_id FROM appointments WHERE external_id = $1`, []any{fmt.Sprint("A", i+1)}, &p[i])
	}
	first := d.merge(p[0], p[1])
	second := d.merge(p[2], p[1])
	if first.Cancelled != 2 || first.Appointments != 1 || second.Cancelled != 0 {
		t.Errorf("%+v, then %+v", first, second)
	}
	if got := d.steps("A1"); !strings.HasPrefix(got, "today cancelled merged") || d.rests("A1") != "" {
		t.Errorf("%s, rests %s", got, d.rests("A1"))
	}
	for _, n := range []string{"A2", "A3"} {
		if got := d.steps(n); !strings.HasPrefix(got, "today planned") || d.rests(n) == "" {
			t.Errorf("%s: %s, rests %s", n, got, d.rests(n))
		}
	}
	page, err := d.Appointments(t.Context(), d.tenant, store.AppointmentQuery{Patient: p[1]})
	if err != nil || len(page.Rows) != 3 {
		t.Errorf("%d appointments, %v", len(page.Rows), err)
	}
	// The source goes on naming the old number, and its appointment moves.
	out := d.tell(d.said("e9", "rescheduled", "A3", 2, starts(d.day(12, 9))))
	if out.Status != store.Accepted || out.Plans.Runs != 1 {
		t.Errorf("%+v", out)
	}
	d.plan(out.Trigger)
	d.tell(d.said("e10", "completed", "A3", 3, ""))
	var visit time.Time
	d.scan(`SELECT last_visit_date FROM patients WHERE id = $1`, []any{p[1]}, &visit)
	if want := d.day(12, 9).Format(time.DateOnly); visit.Format(time.DateOnly) != want {
		t.Errorf("the last visit was %s, want %s", visit, want)
	}
	if n := d.count(`SELECT count(*) FROM patients`); n != 3 {
		t.Errorf("%d patients", n)
	}
	d.holds()
}
