package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/planner"
)

// draft changes the workflow's draft to these steps.
func (r *replans) draft(steps ...clinic.Step) store.WorkflowView {
	r.t.Helper()
	w, err := r.ChangeDraft(r.t.Context(), r.tenant, r.workflow, 0, func(w *clinic.Workflow) {
		w.Steps = steps
		w.NameSteps()
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return w
}

func (r *replans) publishing(p store.Publish) store.Published {
	r.t.Helper()
	p.Workflow, p.Hand = r.workflow, hand
	out, err := r.PublishWorkflow(r.t.Context(), r.tenant, p, planner.Again)
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

func TestTheNumbersBeforeAPublicationAreThoseAfterIt(t *testing.T) {
	t.Parallel()
	for _, policy := range []store.InFlight{store.KeepRuns, store.MigrateRuns, store.StopRuns} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			r := newReplans(t)
			runs := make([]uuid.UUID, 3)
			for i := range runs {
				run, due := r.begin()
				runs[i] = run
				if i == 0 {
					if _, err := r.ClaimSteps(t.Context(), due, claimAll); err != nil {
						t.Fatal(err)
					}
				}
			}
			// soon stays, later comes sooner, more is new, now goes.
			r.draft(clinic.Step{Node: "soon", Hours: new(1), Template: "care"}, clinic.Step{Node: "later", Hours: new(24), Template: "text"}, clinic.Step{Node: "more", Hours: new(72), Template: "text"})
			before := []string{r.shape(runs[0]), r.shape(runs[1])}
			tried := r.publishing(store.Publish{InFlight: policy, DryRun: true})
			if after := []string{r.shape(runs[0]), r.shape(runs[1])}; !slices.Equal(before, after) || r.count(`SELECT count(*) FROM workflow_versions WHERE workflow_id = $1`, r.workflow) != 1 {
				t.Fatalf("trying changed it: %v, %v", before, after)
			}
			done := r.publishing(store.Publish{InFlight: policy})
			if diff := cmp.Diff(tried, done); diff != "" {
				t.Errorf("said and done differ (-said +done):\n%s", diff)
			}
			want := map[store.InFlight]store.Replanned{
				store.KeepRuns:    {Runs: 3, Kept: 8},
				store.MigrateRuns: {Runs: 3, Kept: 3, Moved: 3, Added: 3, Cancelled: 2},
				store.StopRuns:    {Runs: 3, Cancelled: 8},
			}[policy]
			done.InFlight, want.InFlight = nil, nil
			if diff := cmp.Diff(want, done.Replanned); diff != "" || done.Version != 2 || !done.Fresh {
				t.Errorf("version %d, fresh %t (-want +got):\n%s", done.Version, done.Fresh, diff)
			}
			if policy != store.KeepRuns && len(tried.InFlight) != 1 {
				t.Errorf("in flight: %v", tried.InFlight)
			}
			// A run that begins now begins with the new version.
			run, _ := r.begin()
			if got := r.shape(run); !strings.Contains(got, "more") {
				t.Errorf("a new run has %s", got)
			}
			r.holds()
		})
	}
}

func TestARunKeepsTheTextsOfItsVersion(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	r.begin()
	file, err := r.WorkflowFile(t.Context(), r.tenant, r.workflow, store.FileOf{})
	if err != nil {
		t.Fatal(err)
	}
	was := file.Templates[0].SMSText
	file.Templates[0].SMSText = "#{환자명}님, 새 글"
	done, err := r.ImportWorkflow(t.Context(), r.tenant, file, store.ImportOptions{Publish: true, Hand: hand}, planner.Again)
	if err != nil || done.Version != 2 {
		t.Fatal(done, err)
	}
	for version, want := range map[int32]string{1: was, 2: "#{환자명}님, 새 글"} {
		f, err := r.WorkflowFile(t.Context(), r.tenant, r.workflow, store.FileOf{Version: version})
		if err != nil || f.Templates[0].SMSText != want {
			t.Errorf("version %d has %q (%v), want %q", version, f.Templates[0].SMSText, err, want)
		}
	}
	if n := r.count(`SELECT count(*) FROM workflow_executions WHERE workflow_id = $1 AND version = 1`, r.workflow); n != 1 {
		t.Errorf("%d runs are pinned to version 1", n)
	}
	// The template changed, and nobody published: a draft would, but no run does.
	file.Templates[0].SMSText = "#{환자명}님, 그 다음"
	file.Workflow.Steps = append(file.Workflow.Steps, clinic.Step{Node: "none", Type: "message", Day: new(1), Template: "none"})
	draft, err := r.ImportWorkflow(t.Context(), r.tenant, file, store.ImportOptions{Hand: hand}, planner.Again)
	if err != nil || len(draft.Problems) != 1 {
		t.Fatal(draft, err)
	}
	if f, err := r.WorkflowFile(t.Context(), r.tenant, r.workflow, store.FileOf{}); err != nil || f.Templates[0].SMSText != "#{환자명}님, 새 글" {
		t.Errorf("what is published became %q, %v", f.Templates[0].SMSText, err)
	}
	_, err = r.PublishWorkflow(t.Context(), r.tenant, store.Publish{Workflow: r.workflow, Hand: hand}, planner.Again)
	if invalid, ok := errors.AsType[*clinic.InvalidWorkflowError](err); !ok || len(invalid.Problems) != 1 || invalid.Problems[0].Node != "none" {
		t.Errorf("a draft with a problem was published, or: %v", err)
	}
}

func TestAFileThatSwitchesAWorkflowOffStopsWhatIsPlanned(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	r.begin()
	file, err := r.WorkflowFile(t.Context(), r.tenant, r.workflow, store.FileOf{})
	if err != nil {
		t.Fatal(err)
	}
	file.Workflow.IsActive = new(false)
	for _, tt := range []struct {
		dry  bool
		want int
	}{{true, 3}, {false, 3}, {false, 0}} {
		done, err := r.ImportWorkflow(t.Context(), r.tenant, file, store.ImportOptions{Publish: true, DryRun: tt.dry, Hand: hand}, planner.Again)
		if err != nil || done.Cancelled != tt.want || done.Fresh {
			t.Errorf("%+v: %+v, %v", tt, done.Published, err)
		}
	}
	if n := r.count(`SELECT count(*) FROM steps WHERE reason = 'workflow_stopped'`); n != 3 {
		t.Errorf("%d steps are stopped", n)
	}
	r.holds()
}

// Of those who change one draft at once, one wins and the others are told.
func TestNoChangeOfADraftIsLost(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	seen := r.draft(clinic.Step{Day: new(1), Template: "text"}).DraftVersion
	var wg sync.WaitGroup
	results := make([]error, 8)
	for i := range results {
		wg.Go(func() {
			_, results[i] = r.ChangeDraft(t.Context(), r.tenant, r.workflow, seen, func(w *clinic.Workflow) { w.TargetSurgeryType = fmt.Sprint(i) })
		})
	}
	wg.Wait()
	won := 0
	for _, err := range results {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, store.ErrDraftMoved):
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d changes of one draft were made", won)
	}
	if _, err := r.PublishWorkflow(t.Context(), r.tenant, store.Publish{Workflow: r.workflow, Seen: seen, Hand: hand}, planner.Again); !errors.Is(err, store.ErrDraftMoved) {
		t.Errorf("a draft that nobody saw was published: %v", err)
	}
}

func TestAClinicHasABoundedNumberOfWorkflows(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	r.exec(`INSERT INTO workflows (tenant_id, id, name, trigger_type) SELECT $1, gen_random_uuid(), 'w' || n, 'webhook' FROM generate_series(1, $2 - (SELECT count(*)::int FROM workflows WHERE tenant_id = $1)) n`, r.tenant, store.MaxWorkflows)
	_, err := r.CreateWorkflow(t.Context(), r.tenant, clinic.Workflow{Name: "one more", TriggerType: "webhook"})
	if !errors.Is(err, store.ErrTooMany) {
		t.Errorf("one more: %v", err)
	}
	r.exec(`DELETE FROM workflows WHERE tenant_id = $1 AND name = 'w2'`, r.tenant)
	if _, err = r.CreateWorkflow(t.Context(), r.tenant, clinic.Workflow{Name: "days", TriggerType: "webhook"}); !errors.Is(err, store.ErrNameTaken) {
		t.Errorf("a name that is taken: %v", err)
	}
	w, err := r.CreateWorkflow(t.Context(), r.tenant, clinic.Workflow{Name: "the last", TriggerType: "webhook"})
	if err != nil || w.Version != 0 || len(w.Problems) == 0 {
		t.Errorf("%+v, %v", w, err)
	}
}
