package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// because is a hand with a reason.
var because = store.Hand{Actor: "cli:test", Note: "told at the desk"}

func (r *replans) patientOf(run uuid.UUID) (id uuid.UUID) {
	r.t.Helper()
	r.scan(`SELECT patient_id FROM workflow_executions WHERE id = $1`, []any{run}, &id)
	return id
}

func TestAnOptOutCancelsWhatIsPlannedAndNamesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	run, due := r.begin()
	other, _ := r.begin()
	claims, err := r.ClaimSteps(t.Context(), due, claimAll)
	if err != nil || len(claims) != 1 {
		t.Fatal(claims, err)
	}
	patient := r.patientOf(run)
	out, err := r.OptOut(t.Context(), r.tenant, patient, store.OptOut{Source: "api"}, hand)
	if err != nil || out.Again || len(out.Patients) != 1 || out.Cancelled != 2 || len(out.InFlight) != 1 || out.InFlight[0] != due[0].ID {
		t.Errorf("%+v, %v", out, err)
	}
	if got, want := r.shape(run), "now kakao claimed 0 e0, soon kakao cancelled opted_out 1 e1, later sms cancelled opted_out 48 e1"; got != want {
		t.Errorf("steps %s, want %s", got, want)
	}
	if got := r.shape(other); got != "now kakao planned 0 e0, soon kakao planned 1 e0, later sms planned 48 e0" {
		t.Errorf("another's steps %s", got)
	}
	// What was under way and failed is followed by no text.
	r.settle(told(claims[0], event.Kakao, event.Failed, event.Poll))
	if n := r.count(`SELECT count(*) FROM steps WHERE execution_id = $1 AND state = 'planned'`, run); n != 0 {
		t.Errorf("%d steps are planned", n)
	}
	if again, err := r.OptOut(t.Context(), r.tenant, patient, store.OptOut{Source: "api"}, hand); err != nil || !again.Again || again.Cancelled != 0 {
		t.Errorf("once more: %+v, %v", again, err)
	}
	if n := r.count(`SELECT count(*) FROM suppressions`); n != 1 {
		t.Errorf("%d opt-outs stand", n)
	}
	if n := r.count(`SELECT count(*) FROM audit_log WHERE action = 'patient.opt_out' AND patients = ARRAY[$1::uuid]`, patient); n != 1 {
		t.Errorf("%d rows in the audit log", n)
	}
	r.holds()
}

// Whoever died between the opt-out and its cancellations left nothing that can
// be sent, and the same call goes on.
func TestAnOptOutThatWasBrokenOffHoldsAndGoesOn(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	run, _ := r.begin()
	n, err := phone.Parse(number(r.patients), testNumbers)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.SuppressNumber(t.Context(), r.tenant, n); err != nil {
		t.Fatal(err)
	}
	out, err := r.OptOut(t.Context(), r.tenant, r.patientOf(run), store.OptOut{Source: "api"}, hand)
	if err != nil || !out.Again || out.Cancelled != 3 {
		t.Errorf("%+v, %v; want the rest done", out, err)
	}
	r.holds()
}

func TestAnOptOutHoldsForItsChannelAndClassOnly(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		o         store.OptOut
		cancelled int
	}{
		{store.OptOut{}, 3},
		{store.OptOut{Channel: event.SMS}, 1},
		{store.OptOut{Channel: event.Kakao}, 2},
		{store.OptOut{Class: workflow.Marketing}, 0},
		{store.OptOut{Class: workflow.CareFollowup}, 3},
		{store.OptOut{Channel: event.SMS, Class: workflow.CareFollowup}, 1},
	} {
		r := newReplans(t)
		run, _ := r.begin()
		tt.o.Source = "api"
		out, err := r.OptOut(t.Context(), r.tenant, r.patientOf(run), tt.o, hand)
		if err != nil || out.Cancelled != tt.cancelled || out.Kept != 3-tt.cancelled {
			t.Errorf("%+v: %+v, %v; want %d cancelled", tt.o, out, err, tt.cancelled)
		}
		list, err := r.OptOuts(t.Context(), r.tenant, r.patientOf(run))
		if err != nil || len(list) != 1 || list[0].Channel != tt.o.Channel || list[0].Class != tt.o.Class || list[0].Source != "api" {
			t.Errorf("opt-outs %+v, %v", list, err)
		}
	}
}

func TestAnOptOutHoldsForEverybodyWithTheNumberUntilItIsLifted(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	parent, _ := r.begin()
	child, _ := r.begin()
	r.exec(`UPDATE patients SET phone_index = (SELECT phone_index FROM patients WHERE id = $1) WHERE id = $2`, r.patientOf(parent), r.patientOf(child))
	out, err := r.OptOut(t.Context(), r.tenant, r.patientOf(parent), store.OptOut{Source: "cli"}, hand)
	if err != nil || len(out.Patients) != 2 || out.Cancelled != 6 {
		t.Fatalf("%+v, %v", out, err)
	}
	list, err := r.OptOuts(t.Context(), r.tenant, r.patientOf(parent))
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	lift := func(id tenant.ID, patient, optOut uuid.UUID, by store.Hand) error {
		return r.LiftOptOut(t.Context(), id, patient, optOut, by)
	}
	if err := lift(r.tenant, r.patientOf(parent), list[0].ID, store.Hand{Actor: "test"}); !errors.Is(err, store.ErrNote) {
		t.Errorf("without a reason: %v", err)
	}
	if err := lift(r.tenant, r.patientOf(parent), uuid.New(), because); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what is not there: %v", err)
	}
	if err := lift(r.tenant, r.patientOf(parent), list[0].ID, because); err != nil {
		t.Error(err)
	}
	if err := lift(r.tenant, r.patientOf(parent), list[0].ID, because); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("lifted twice: %v", err)
	}
	if list, err := r.OptOuts(t.Context(), r.tenant, r.patientOf(parent)); err != nil || len(list) != 0 {
		t.Errorf("it stands: %+v, %v", list, err)
	}
	if n := r.count(`SELECT count(*) FROM steps WHERE state = 'cancelled'`); n != 6 {
		t.Errorf("%d steps are cancelled, want what was", n)
	}
	r.exec(`UPDATE patients SET phone = NULL`)
	if _, err := r.OptOut(t.Context(), r.tenant, r.patientOf(parent), store.OptOut{}, hand); !errors.Is(err, store.ErrNoNumber) {
		t.Errorf("without a number: %v", err)
	}
	if _, err := r.OptOut(t.Context(), r.tenant, uuid.New(), store.OptOut{}, hand); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
}

// Claims and opt-outs race; whatever was claimed is named, and nothing is
// claimed after the answer.
func TestOptOutsAndClaimsNeverPass(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	for range 30 {
		run, due := r.begin()
		claimed := make(chan int, 1)
		var all sync.WaitGroup
		all.Go(func() {
			claims, err := r.ClaimSteps(t.Context(), due, claimAll)
			if err != nil {
				t.Error(err)
			}
			claimed <- len(claims)
		})
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		out, err := r.OptOut(t.Context(), r.tenant, r.patientOf(run), store.OptOut{Source: "api"}, hand)
		if err != nil {
			t.Fatal(err)
		}
		all.Wait()
		if n := <-claimed; n != len(out.InFlight) || n+out.Cancelled != 3 {
			t.Errorf("%d claimed; %+v", n, out)
		}
	}
	r.holds()
}

// A file that opts patients out cancels what is planned for them.
func TestAFileThatOptsOutCancelsWhatIsPlanned(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	run, _ := r.begin()
	file := fmt.Sprintf(replanClinic, threeSteps) + fmt.Sprintf("patients:\n  - {external_id: P-1, name: 김하늘, phone: %q, opted_out: true}\n", number(r.patients))
	tried, err := r.apply(file, store.ApplyOptions{DryRun: true})
	if err != nil || tried.OptedOut.Cancelled != 0 {
		t.Fatalf("%+v, %v", tried, err)
	}
	done, err := r.apply(file, store.ApplyOptions{})
	if err != nil || done.OptedOut.Cancelled != 3 {
		t.Errorf("%+v, %v; the run is %s", done, err, r.shape(run))
	}
	if again, err := r.apply(file, store.ApplyOptions{}); err != nil || again.OptedOut.Runs != 0 {
		t.Errorf("once more: %+v, %v", again, err)
	}
	r.holds()
}
