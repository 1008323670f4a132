package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// run is the clinic's newest run.
func (o *office) run() string {
	o.l.t.Helper()
	var list struct{ Data []struct{ ID string } }
	o.l.fetch("/api/workflows/executions?limit=1", o.keys[auth.Owner], &list)
	return list.Data[0].ID
}

func TestAPlanShowsWhatBecameOfARunAndIsAudited(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.mine.message("010-0000-0001", store.StateDelivered)
	path, doc := "/api/workflows/executions/{id}/plan", l.api.huma.OpenAPI()
	target := strings.Replace(path, "{id}", l.mine.run(), 1)
	before := len(l.mine.audited())
	w := l.do(http.MethodGet, target, l.mine.keys[auth.Viewer])
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	valid(t, doc, path, "200", w.Body.Bytes())
	var p struct {
		Execution struct {
			PatientID uuid.UUID `json:"patient_id"`
			Steps     []struct{ Node, State string }
		}
		Rests []any
	}
	l.fetch(target, l.mine.keys[auth.Viewer], &p)
	if len(p.Execution.Steps) != 1 || p.Execution.Steps[0].State != "delivered" || p.Rests == nil {
		t.Errorf("%+v", p)
	}
	rows := l.mine.audited()
	if len(rows) != before+2 || rows[0].Action != "read" || rows[0].Subject != "get-execution-plan" || !slices.Contains(rows[0].Patients, p.Execution.PatientID) {
		t.Errorf("the audit log has %+v", rows[0])
	}
	for id, want := range map[string]string{uuid.NewString(): "not-found", "x": "not-found"} {
		w := l.do(http.MethodGet, strings.Replace(path, "{id}", id, 1), l.mine.keys[auth.Owner])
		if got := problemOf(t, w); w.Code != http.StatusNotFound || got != want {
			t.Errorf("%s: %d %s", id, w.Code, got)
		}
		valid(t, doc, path, "404", w.Body.Bytes())
	}
}

func TestAStoppedRunIsTold(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step := l.mine.message("010-0000-0001", store.StateClaimed)
	path, doc := "/api/workflows/executions/{id}/stop", l.api.huma.OpenAPI()
	run := l.mine.run()
	target := strings.Replace(path, "{id}", run, 1)
	for body, want := range map[string]string{
		"{}": "invalid-payload /reason=missing", `{"reason":""}`: "invalid-payload /reason=too-short", `{"reason":"call 010-1234-5678"}`: "invalid-payload /reason=not-a-note",
	} {
		if got := problemOf(t, l.send(http.MethodPost, target, l.mine.keys[auth.Staff], body)); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	w := l.send(http.MethodPost, target, l.mine.keys[auth.Staff], `{"reason":"moved away"}`)
	validFor(t, doc, doc.Paths[path].Post, path, "200", w.Body.Bytes())
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), step.String()) {
		t.Errorf("%d %s, want step %s in flight", w.Code, w.Body, step)
	}
	var p struct {
		Execution struct {
			Reason    string
			PlanEpoch int `json:"plan_epoch"`
		}
	}
	l.fetch("/api/workflows/executions/"+run+"/plan", l.mine.keys[auth.Viewer], &p)
	if p.Execution.Reason != "workflow_stopped" || p.Execution.PlanEpoch != 1 {
		t.Errorf("%+v", p)
	}
	rows := l.mine.audited()
	if at := slices.IndexFunc(rows, func(r store.AuditRow) bool { return r.Action == "run.stop" }); at < 0 || rows[at].Purpose != "moved away" || rows[at].SubjectID.String() != run {
		t.Errorf("the audit log does not tell of it: %+v", rows)
	}
	if w := l.send(http.MethodPost, target, l.mine.keys[auth.Staff], `{"reason":"again"}`); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"cancelled":0`) {
		t.Errorf("once more: %d %s", w.Code, w.Body)
	}
}
