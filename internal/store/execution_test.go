package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

func (l *ledger) runs(q store.ExecutionQuery) store.Page[store.Execution] {
	l.t.Helper()
	page, err := l.Executions(l.t.Context(), l.tenant, q)
	if err != nil {
		l.t.Fatal(err)
	}
	return page
}

func runIDs(runs []store.Execution) (ids []uuid.UUID) {
	for _, r := range runs {
		ids = append(ids, r.ID)
	}
	return ids
}

func TestExecutionsShowARunWithAllItsSteps(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step, claim := l.claimed("e1", "010-0019-0001")
	l.settle(told(claim, event.Kakao, event.Failed, event.Report)) // and so a fallback
	page := l.runs(store.ExecutionQuery{})
	if len(page.Rows) != 1 || page.Next != "" {
		t.Fatalf("%d runs, next %q; want one and no next page", len(page.Rows), page.Next)
	}
	run := page.Rows[0]
	if int(run.ExpectedSteps) != len(run.Steps) || len(run.Steps) != 3 {
		t.Fatalf("expected_steps = %d, steps = %+v; want 3: two of the plan and a fallback", run.ExpectedSteps, run.Steps)
	}
	for what, at := range map[string]time.Time{"created": run.Created, "started": run.Started, "due": run.Steps[0].Due, "expires": run.Steps[0].Expires} {
		if _, offset := at.Zone(); at.IsZero() || offset != 9*60*60 {
			t.Errorf("%s = %v, want a time in Seoul", what, at)
		}
	}
	var trigger, patient uuid.UUID
	l.scan(`SELECT id, patient_id FROM triggers`, nil, &trigger, &patient)
	want := store.Execution{
		ID: run.ID, Workflow: l.workflow, WorkflowName: "aftercare", Version: 1, Trigger: trigger, Patient: patient,
		Status: run.Status, ExpectedSteps: 3, Data: []byte(`{}`), Started: run.Started, Created: run.Created, Steps: run.Steps,
	}
	if diff := cmp.Diff(want, run); diff != "" {
		t.Errorf("run (-want +got):\n%s", diff)
	}
	if run.Status != "running" && run.Status != "pending" {
		t.Errorf("status = %q", run.Status)
	}
	byChannel := map[event.Channel][]store.ExecutionStep{}
	for _, s := range run.Steps {
		byChannel[s.Channel] = append(byChannel[s.Channel], s)
	}
	kakao, sms := byChannel[event.Kakao][0], byChannel[event.SMS][0]
	if kakao.ID != step.ID || kakao.State != store.StateFailed || kakao.Reason != event.FellBack || kakao.Attempt != 1 || kakao.Parent != uuid.Nil {
		t.Errorf("the first step = %+v", kakao)
	}
	if sms.Parent != step.ID || sms.State != store.StatePlanned || sms.Reason != "" || !sms.Sent.IsZero() {
		t.Errorf("its fallback = %+v", sms)
	}
}

func TestARunWithoutStepsIsListed(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.planned("e1", "010-0000-0001")
	l.exec(`DELETE FROM steps`)
	if page := l.runs(store.ExecutionQuery{}); len(page.Rows) != 1 || len(page.Rows[0].Steps) != 0 {
		t.Errorf("runs = %+v, want one without steps", page.Rows)
	}
}

func TestEveryExecutionFilterSelects(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	statuses := []string{"pending", "running", "completed", "failed"}
	ids := make([]uuid.UUID, len(statuses))
	for i, status := range statuses {
		step := l.planned(fmt.Sprint("e", i), fmt.Sprintf("010-0000-000%d", i))
		l.scan(`SELECT execution_id FROM steps WHERE id = $1`, []any{step.ID}, &ids[i])
		l.exec(`UPDATE workflow_executions SET status = $2 WHERE id = $1`, ids[i], status)
	}
	var patient uuid.UUID
	l.scan(`SELECT patient_id FROM workflow_executions WHERE id = $1`, []any{ids[1]}, &patient)
	all := []uuid.UUID{ids[3], ids[2], ids[1], ids[0]}
	for _, tt := range []struct {
		name string
		q    store.ExecutionQuery
		want []uuid.UUID
	}{
		{"none", store.ExecutionQuery{}, all},
		{"pending", store.ExecutionQuery{Status: "pending"}, ids[:1]},
		{"running", store.ExecutionQuery{Status: "running"}, ids[1:2]},
		{"completed", store.ExecutionQuery{Status: "completed"}, ids[2:3]},
		{"failed", store.ExecutionQuery{Status: "failed"}, ids[3:]},
		{"patient", store.ExecutionQuery{Patient: patient}, ids[1:2]},
		{"workflow", store.ExecutionQuery{Workflow: l.workflow}, all},
		{"other_workflow", store.ExecutionQuery{Workflow: uuid.New()}, nil},
		{"both_must_hold", store.ExecutionQuery{Status: "failed", Patient: patient}, nil},
	} {
		if diff := cmp.Diff(tt.want, runIDs(l.runs(tt.q).Rows)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	var paged []uuid.UUID
	for q := (store.ExecutionQuery{Limit: 3}); ; {
		page := l.runs(q)
		paged = append(paged, runIDs(page.Rows)...)
		if q.Cursor = page.Next; q.Cursor == "" {
			break
		}
	}
	if diff := cmp.Diff(all, paged); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
}
