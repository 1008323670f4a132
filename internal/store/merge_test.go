package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

func (r *replans) merge(from, into uuid.UUID) store.MergedPatients {
	r.t.Helper()
	out, err := r.MergePatients(r.t.Context(), r.tenant, store.Merge{From: from, Into: into, Hand: hand})
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// twice is two patients with a run each, and what of the runs is due.
func (r *replans) twice() (from, into, old, kept uuid.UUID, due []event.Step) {
	r.t.Helper()
	old, first := r.begin()
	kept, second := r.begin()
	return r.patientOf(old), r.patientOf(kept), old, kept, append(first, second...)
}

// other makes a run one of another day, so that nothing of it is double.
func (r *replans) other(run uuid.UUID) {
	r.t.Helper()
	r.exec(`UPDATE triggers SET received_at = received_at - interval '3 days' WHERE id = (SELECT trigger_id FROM workflow_executions WHERE id = $1)`, run)
}

// leased are the due messages of a run as release publishes them.
func (r *replans) leased(run uuid.UUID) (due []event.Step) {
	r.t.Helper()
	for _, s := range r.lease(50) {
		if s.Run == run {
			due = append(due, s.Step)
		}
	}
	return due
}

func TestWhatBothRowsWouldSendIsSentOnce(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	from, into, old, kept, due := r.twice()
	out := r.merge(from, into)
	want := store.MergedPatients{Into: into, Runs: 1, Open: 1, Cancelled: 3, InFlight: []uuid.UUID{}}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
	if got, want := r.shape(old), "now kakao cancelled merged 0 e1, soon kakao cancelled merged 1 e1, later sms cancelled merged 48 e1"; got != want {
		t.Errorf("steps %s, want %s", got, want)
	}
	if got, want := r.shape(kept), "now kakao planned 0 e0, soon kakao planned 1 e0, later sms planned 48 e0"; got != want {
		t.Errorf("steps %s, want %s", got, want)
	}
	claims, err := r.ClaimSteps(t.Context(), due, claimAll)
	if err != nil || len(claims) != 1 || claims[0].Step != due[1].ID {
		t.Errorf("%+v, %v; want the kept one's", claims, err)
	}
	again := r.merge(from, into)
	want.Again = true
	if diff := cmp.Diff(want, again); diff != "" {
		t.Error(diff)
	}
	if n := r.count(`SELECT count(*) FROM audit_log WHERE action = 'patient.merged' AND subject_id = $1 AND patients @> ARRAY[$1::uuid, $2]`, from, into); n != 1 {
		t.Errorf("%d rows in the audit log", n)
	}
	r.holds()
}

// Each message goes once, whichever row's run is further.
func TestWhatOneRowHasSentTheOtherDoesNotSend(t *testing.T) {
	t.Parallel()
	for name, claimed := range map[string]int{"the merged row's": 0, "the other's": 1} {
		r := newReplans(t)
		from, into, old, kept, due := r.twice()
		claims, err := r.ClaimSteps(t.Context(), due[claimed:claimed+1], claimAll)
		if err != nil || len(claims) != 1 {
			t.Fatal(claims, err)
		}
		out := r.merge(from, into)
		if out.Cancelled != 3 || !slices.Equal(out.InFlight, []uuid.UUID{due[claimed].ID}) {
			t.Errorf("%s: %+v", name, out)
		}
		if n := r.count(`SELECT count(*) FROM steps WHERE execution_id = ANY ($1) AND state = 'planned' AND node IN ('soon', 'later')`, []uuid.UUID{old, kept}); n != 2 {
			t.Errorf("%s: %d messages to come, want each once", name, n)
		}
		if more, err := r.ClaimSteps(t.Context(), due, claimAll); err != nil || len(more) != 0 {
			t.Errorf("%s: %+v, %v claimed though it is under way", name, more, err)
		}
		before := r.count(`SELECT count(*) FROM steps`)
		r.settle(told(claims[0], event.Kakao, event.Failed, event.Poll))
		if n := r.count(`SELECT count(*) FROM steps WHERE state = 'planned' AND parent_id IS NOT NULL`); n != claimed {
			t.Errorf("%s: %d fallbacks are planned, of %d steps before", name, n, before)
		}
		r.holds()
	}
}

func TestWhatIsNotProvedDoubleGoesOnToTheOthersNumber(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	from, into, old, _, due := r.twice()
	r.other(old)
	out := r.merge(from, into)
	if out.Cancelled != 0 || out.Open != 1 {
		t.Errorf("%+v", out)
	}
	if got, want := r.shape(old), "now kakao planned 0 e1, soon kakao planned 1 e1, later sms planned 48 e1"; got != want {
		t.Errorf("steps %s, want %s", got, want)
	}
	if claims, err := r.ClaimSteps(t.Context(), due[:1], claimAll); err != nil || len(claims) != 0 {
		t.Errorf("a message of the old plan was claimed: %+v, %v", claims, err)
	}
	var to phone.Number
	var patient uuid.UUID
	claims, err := r.ClaimSteps(t.Context(), r.leased(old), func(c *store.Candidate) store.Decision {
		to, patient = c.To, c.Patient
		return claimAll(c)
	})
	if want, _ := phone.Parse(number(2), testNumbers); err != nil || len(claims) != 1 || to != want || patient != into {
		t.Errorf("%d claims, %v, for %s", len(claims), err, patient)
	}
	// Its text is read with the key of the row that it is kept under.
	if page := r.logs(store.LogQuery{Patient: into}); len(page.Rows) != 1 || page.Rows[0].Content != "text" {
		t.Errorf("%+v", page.Rows)
	}
	r.holds()
}

// Two visits of a day whose texts say different things are two.
func TestMessagesThatQuoteDifferentThingsAreNotDouble(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		what      [2]string
		cancelled int
	}{"different": {[2]string{"11", "12"}, 0}, "the same": {[2]string{"11", "11"}, 1}} {
		r := newReplans(t)
		file := strings.Replace(fmt.Sprintf(replanClinic, `{node: now, seconds: 0, template: tooth, variables: {치아: /tooth}}`), "templates:\n", "templates:\n  - {name: tooth, sms_text: \"#{치아}\"}\n", 1)
		if _, err := r.apply(file, store.ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
		var patients [2]uuid.UUID
		for i, tooth := range tt.what {
			trigger := r.accept(r.call(fmt.Sprint(i), fmt.Sprintf(`{"tooth":%q,"patient":{"name":"김하늘","phone":%q}}`, tooth, number(i+1))))[0].TriggerID
			if _, err := r.PlanTriggers(t.Context(), []event.Trigger{{Tenant: r.tenant, ID: trigger}}, planning()); err != nil {
				t.Fatal(err)
			}
			r.scan(`SELECT patient_id FROM triggers WHERE id = $1`, []any{trigger}, &patients[i])
		}
		if out := r.merge(patients[0], patients[1]); out.Cancelled != tt.cancelled {
			t.Errorf("%s: %+v", name, out)
		}
	}
}

// What differs in the texts, or is of another day, workflow or version, is not
// the same thing.
func TestMessagesThatDifferAreNotDouble(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"another day":     `UPDATE triggers SET received_at = received_at - interval '3 days' WHERE id = (SELECT trigger_id FROM workflow_executions WHERE id = $1)`,
		"another event":   `UPDATE triggers SET event_type = 'visit.other' WHERE id = (SELECT trigger_id FROM workflow_executions WHERE id = $1)`,
		"another version": `UPDATE workflow_executions SET version = version - 1 WHERE id = $1`,
		"stopped":         `UPDATE workflow_executions SET reason = 'workflow_stopped' WHERE id = $1`,
		"other times":     `UPDATE steps SET due_at = due_at + interval '3 days' WHERE execution_id = $1`,
		"unreadable":      `UPDATE triggers SET payload_key = NULL WHERE id = (SELECT trigger_id FROM workflow_executions WHERE id = $1)`,
		"other nodes":     `UPDATE steps SET node = node || '2' WHERE execution_id = $1`,
	} {
		r := newReplans(t)
		r.publish(threeSteps + `, {node: last, hours: 72, template: text}`)
		from, into, _, kept, _ := r.twice()
		r.exec(change, kept)
		if out := r.merge(from, into); out.Cancelled != 0 {
			t.Errorf("%s: %+v", name, out)
		}
	}
}

func TestWhoSaidNoUnderEitherRowIsNotSentTo(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	from, into, old, kept, _ := r.twice()
	r.other(old)
	if _, err := r.OptOut(t.Context(), r.tenant, from, store.OptOut{Class: workflow.Marketing, Source: "api"}, hand); err != nil {
		t.Fatal(err)
	}
	for patient, said := range map[uuid.UUID][2]bool{from: {true, false}, into: {false, true}} { // kakao, sms
		for i, channel := range []string{"kakao", "sms"} {
			r.exec(`INSERT INTO consents (tenant_id, id, patient_id, channel, purpose, granted, method, at) VALUES ($1, gen_random_uuid(), $2, $3, 'marketing', $4, 'paper', now() - interval '1 day')`, r.tenant, patient, channel, said[i])
		}
	}
	out := r.merge(from, into)
	if out.OptOuts != 1 || out.Refusals != 1 {
		t.Errorf("%+v", out)
	}
	refused := func(what string, classes ...string) {
		t.Helper()
		for _, run := range []uuid.UUID{old, kept} {
			r.exec(`UPDATE steps SET due_at = now(), wake_at = now(), published = false WHERE execution_id = $1 AND state = 'planned'`, run)
			seen := 0
			if _, err := r.ClaimSteps(t.Context(), r.leased(run), func(c *store.Candidate) store.Decision {
				seen++
				if slices.Sort(c.Suppressed); !slices.Equal(c.Suppressed, classes) || c.Consented {
					t.Errorf("%s: refused are %v, consented %t", what, c.Suppressed, c.Consented)
				}
				return store.Decision{}
			}); err != nil || seen != 3 {
				t.Errorf("%s: %d candidates, %v", what, seen, err)
			}
		}
	}
	refused("merged", "marketing")
	// Whoever says no by the old row or the old number later has said it.
	if _, err := r.OptOut(t.Context(), r.tenant, from, store.OptOut{Class: workflow.Auth, Source: "api"}, hand); err != nil {
		t.Fatal(err)
	}
	refused("by the old row", "auth", "marketing")
	old1, _ := phone.Parse(number(1), testNumbers)
	if err := r.SuppressNumber(t.Context(), r.tenant, old1); err != nil {
		t.Fatal(err)
	}
	refused("by the old number", "*", "auth", "marketing")
	list, err := r.OptOuts(t.Context(), r.tenant, from)
	other, _ := r.OptOuts(t.Context(), r.tenant, into)
	if err != nil || len(list) != 3 || !cmp.Equal(list, other) {
		t.Errorf("%+v and %+v, %v", list, other, err)
	}
}

// An opt-out of the one who is left cancels what the merged row's runs planned.
func TestAnOptOutReachesTheRunsOfAMergedRow(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	from, into, old, _, _ := r.twice()
	r.other(old)
	r.merge(from, into)
	out, err := r.OptOut(t.Context(), r.tenant, into, store.OptOut{Source: "api"}, hand)
	if err != nil || out.Cancelled != 6 {
		t.Errorf("%+v, %v", out, err)
	}
	r.holds()
}

func TestAMergeIsRefusedWhereItIsNotOneOfTwo(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	one, two, _, _, _ := r.twice()
	three, four, _, _, _ := r.twice()
	r.merge(one, two)
	if _, err := r.ErasePatient(t.Context(), r.tenant, four, "", hand); err != nil {
		t.Fatal(err)
	}
	there, _ := r.clinic("other")
	var merged *store.MergedError
	for name, tt := range map[string]struct {
		in         store.Merge
		is         error
		survivor   uuid.UUID
		otherPlace bool
	}{
		"itself":             {in: store.Merge{From: two, Into: two}, is: store.ErrMergeItself},
		"nobody":             {in: store.Merge{From: uuid.New(), Into: two}, is: store.ErrNotFound},
		"into nobody":        {in: store.Merge{From: two, Into: uuid.New()}, is: store.ErrNotFound},
		"of another clinic":  {in: store.Merge{From: three, Into: two}, is: store.ErrNotFound, otherPlace: true},
		"into an erased one": {in: store.Merge{From: two, Into: four}, is: store.ErrMergeErased},
		"an erased one":      {in: store.Merge{From: four, Into: two}, is: store.ErrMergeErased},
		"one who was merged": {in: store.Merge{From: one, Into: three}, survivor: two},
		"into a merged one":  {in: store.Merge{From: three, Into: one}, survivor: two},
		"back":               {in: store.Merge{From: two, Into: one}, survivor: two},
	} {
		tt.in.Hand = hand
		id := r.tenant
		if tt.otherPlace {
			id = there
		}
		_, err := r.MergePatients(t.Context(), id, tt.in)
		switch {
		case tt.is != nil && !errors.Is(err, tt.is):
			t.Errorf("%s: %v", name, err)
		case tt.is == nil && (!errors.As(err, &merged) || merged.Into != tt.survivor):
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.MergePatients(t.Context(), r.tenant, store.Merge{From: three, Into: two, Hand: store.Hand{Actor: "cli:test", Note: "010-1234-5678"}}); !errors.Is(err, store.ErrNote) {
		t.Errorf("a note with a number: %v", err)
	}
	r.exec(`UPDATE patients SET phone = NULL WHERE id = $1`, two)
	if _, err := r.MergePatients(t.Context(), r.tenant, store.Merge{From: three, Into: two, Hand: hand}); !errors.Is(err, store.ErrNoNumber) {
		t.Errorf("into one without a number: %v", err)
	}
}

// A dry run says what the merge then does, and changes nothing.
func TestADryMergeChangesNothing(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	from, into, _, _, due := r.twice()
	if _, err := r.ClaimSteps(t.Context(), due[:1], claimAll); err != nil {
		t.Fatal(err)
	}
	if _, err := r.OptOut(t.Context(), r.tenant, from, store.OptOut{Class: workflow.Marketing, Source: "api"}, hand); err != nil {
		t.Fatal(err)
	}
	before := r.everyColumn()
	dry, err := r.MergePatients(t.Context(), r.tenant, store.Merge{From: from, Into: into, Hand: hand, DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if r.everyColumn() != before {
		t.Error("a dry run changed something")
	}
	if diff := cmp.Diff(dry, r.merge(from, into)); diff != "" || dry.Cancelled == 0 || len(dry.InFlight) != 1 || dry.OptOuts != 1 {
		t.Errorf("%+v: %s", dry, diff)
	}
}
