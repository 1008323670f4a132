package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// say sends a body as the owner and reads the answer.
func (o *office) say(method, path, body string, into any) (code int, said string) {
	o.l.t.Helper()
	w := o.l.send(method, path, o.keys[auth.Owner], body)
	if into != nil && w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			o.l.t.Fatal(err)
		}
	}
	return w.Code, w.Body.String()
}

func (o *office) must(method, path, body string, into any) {
	o.l.t.Helper()
	if code, said := o.say(method, path, body, into); code != http.StatusOK {
		o.l.t.Fatalf("%s %s: %d %s", method, path, code, said)
	}
}

// refusedAt sends what must be refused, and compares where and why.
func (o *office) refusedAt(method, path, body string, status int, pointer, code string) {
	o.l.t.Helper()
	got, said := o.say(method, path, body, nil)
	if got != status || !strings.Contains(said, fmt.Sprintf("%q", pointer)) || !strings.Contains(said, fmt.Sprintf("%q", code)) {
		o.l.t.Errorf("%s %s %s: %d %s; want %d %s %s", method, path, body, got, said, status, pointer, code)
	}
}

func TestACampaignFromItsTemplateToItsCounts(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	o := l.mine
	for i := range 3 {
		o.tellTable("", "text/csv", fmt.Appendf(nil, "예약번호,차트번호,환자명,휴대폰,예약일,상태,시술명\nA-%d,P-%d,김하늘,010-0000-004%d,2026-12-0%d,예약완료,임플란트\n", i, i, i, i+1))
	}
	var template, segment, campaign struct{ ID, Status string }
	o.must(http.MethodPost, "/api/templates", `{"name":"가을 검진","sms_text":"#{환자명}님, 검진 안내드립니다."}`, &template)
	o.must(http.MethodPost, "/api/segments", `{"name":"예약 있음","filter":{"upcoming_appointment":true}}`, &segment)
	var count struct{ Patients int }
	o.must(http.MethodPost, "/api/segments/count", `{"filter":{"upcoming_appointment":true},"as_of":"2026-12-02"}`, &count)
	if count.Patients != 2 {
		t.Errorf("%d patients", count.Patients)
	}
	o.must(http.MethodPost, "/api/campaigns", fmt.Sprintf(`{"name":"가을","template_id":%q,"segment_id":%q}`, template.ID, segment.ID), &campaign)
	if campaign.Status != "draft" {
		t.Errorf("%+v", campaign)
	}
	o.must(http.MethodPost, "/api/campaigns/"+campaign.ID+"/execute", `{"reason":"autumn"}`, &campaign)
	if campaign.Status != "running" {
		t.Errorf("%+v", campaign)
	}
	for more := true; more; {
		var err error
		if _, more, err = l.db.PlanBatch(t.Context(), func(p store.PendingTrigger, d *workflow.Definition) store.Expansion {
			due := p.ReceivedAt
			return store.Expansion{Steps: []store.StepPlan{{Node: d.Steps[0].Node, Channel: event.SMS, Lane: event.Bulk, DueAt: due, Expires: due.Add(time.Hour), Late: workflow.LateSend}}}
		}); err != nil {
			t.Fatal(err)
		}
	}
	var d struct {
		Progress struct {
			State             string
			Patients, Started int
		}
		Runs     []runCount
		Messages []channelCount
	}
	o.must(http.MethodGet, "/api/campaigns/"+campaign.ID, "", &d)
	if d.Progress.State != "done" || d.Progress.Patients != 3 || d.Progress.Started != 3 || len(d.Messages) != 1 || d.Messages[0] != (channelCount{"sms", "planned", 3}) || d.Runs[0] != (runCount{"running", 3}) {
		t.Errorf("%+v", d)
	}
	o.must(http.MethodPost, "/api/campaigns/"+campaign.ID+"/pause", `{}`, &campaign)
	o.must(http.MethodPost, "/api/campaigns/"+campaign.ID+"/resume", `{}`, &campaign)
	var cancelled struct {
		Status    string
		Cancelled int
	}
	o.must(http.MethodPost, "/api/campaigns/"+campaign.ID+"/cancel", `{}`, &cancelled)
	if cancelled.Status != "cancelled" || cancelled.Cancelled != 3 {
		t.Errorf("%+v", cancelled)
	}
	o.refusedAt(http.MethodPost, "/api/campaigns/"+campaign.ID+"/execute", `{}`, http.StatusConflict, "/status", "cancelled")
	o.refusedAt(http.MethodPost, "/api/campaigns", `{"name":"x"}`, http.StatusUnprocessableEntity, "/template_id", "missing")
	o.refusedAt(http.MethodPost, "/api/campaigns", fmt.Sprintf(`{"name":"x","template_id":%q,"workflow_id":%q,"segment_id":%q}`, template.ID, o.workflow, segment.ID), http.StatusUnprocessableEntity, "/template_id", "with-workflow-id")
	o.refusedAt(http.MethodPost, "/api/campaigns", fmt.Sprintf(`{"name":"x","template_id":%q,"target_patients":[]}`, template.ID), http.StatusUnprocessableEntity, "/target_patients", "too-few")
	o.refusedAt(http.MethodPost, "/api/segments", `{"name":"x","filter":{"last_visit":{}}}`, http.StatusUnprocessableEntity, "/filter/last_visit", "too-few")
	o.refusedAt(http.MethodPost, "/api/segments", `{"name":"예약 있음","filter":{}}`, http.StatusConflict, "/name", "name-taken")
	o.refusedAt(http.MethodPost, "/api/segments/count", `{"filter":{},"as_of":"2026-13-01"}`, http.StatusUnprocessableEntity, "/as_of", "not-a-date")
	o.refusedAt(http.MethodPost, "/api/templates", `{"name":"빈 것"}`, http.StatusUnprocessableEntity, "/steps/0/template", "/problems/invalid-workflow")
}

func TestAScheduleShowsItsNextTenFires(t *testing.T) {
	t.Parallel()
	o := newLedger(t).mine
	var preview struct {
		TimeZone string `json:"time_zone"`
		Fires    []time.Time
	}
	o.must(http.MethodPost, "/api/schedules/preview", `{"pattern":"0 10 * * MON","after":"2026-11-24T12:00:00Z"}`, &preview)
	if preview.TimeZone != "Asia/Seoul" || len(preview.Fires) != 10 || preview.Fires[0].Format(time.RFC3339) != "2026-11-30T10:00:00+09:00" {
		t.Errorf("%+v", preview)
	}
	var segment, sched struct{ ID string }
	o.must(http.MethodPost, "/api/segments", `{"name":"생일","filter":{"birthday":{"in_days":0}}}`, &segment)
	body := fmt.Sprintf(`{"name":"생일","pattern":"0 0 9 * * *","workflow_id":%q,"segment_id":%q,"missed":"all"}`, o.workflow, segment.ID)
	o.must(http.MethodPost, "/api/schedules", body, &sched)
	var d scheduleDetail
	o.must(http.MethodGet, "/api/schedules/"+sched.ID, "", &d)
	if len(d.NextFires) != 10 || !d.NextFires[0].Equal(*d.NextFireAt) || d.NextFires[9].Sub(d.NextFires[0]) != 9*24*time.Hour || d.Missed != "all" || !d.Enabled {
		t.Errorf("%+v", d)
	}
	o.must(http.MethodPatch, "/api/schedules/"+sched.ID, `{"enabled":false}`, nil)
	o.must(http.MethodGet, "/api/schedules/"+sched.ID, "", &d)
	if d.NextFireAt != nil || len(d.NextFires) != 0 {
		t.Errorf("%+v", d)
	}
	o.refusedAt(http.MethodPost, "/api/schedules", body, http.StatusConflict, "/name", "name-taken")
	o.refusedAt(http.MethodDelete, "/api/segments/"+segment.ID, "", http.StatusConflict, "", "in-use")
	for pattern, code := range map[string]string{"soon": "wrong-form", "* * * * * *": "too-often", "0 9 31 2 *": "never-fires"} {
		o.refusedAt(http.MethodPost, "/api/schedules/preview", fmt.Sprintf(`{"pattern":%q}`, pattern), http.StatusUnprocessableEntity, "/pattern", code)
	}
	o.refusedAt(http.MethodPost, "/api/schedules/preview", `{"pattern":"@daily","time_zone":"Local"}`, http.StatusUnprocessableEntity, "/time_zone", "unknown")
	o.must(http.MethodDelete, "/api/schedules/"+sched.ID, "", nil)
	if code, _ := o.say(http.MethodGet, "/api/schedules/"+sched.ID, "", nil); code != http.StatusNotFound {
		t.Error(code)
	}
}

func TestATemplateWithATriggerIsASmallWorkflow(t *testing.T) {
	t.Parallel()
	o := newLedger(t).mine
	var made templateRow
	o.must(http.MethodPost, "/api/templates", `{"name":"사후 안내","trigger_type":"post_surgery","trigger_value":3,"trigger_unit":"days","messages":[{"sms_text":"3일째입니다."},{"sms_text":"2주째입니다.","delay":11}]}`, &made)
	flows := func() (row WorkflowRow, detail workflowDetail) {
		var p struct{ Data []WorkflowRow }
		o.must(http.MethodGet, "/api/workflows", "", &p)
		for _, w := range p.Data {
			if w.Name == "템플릿: 사후 안내" {
				o.must(http.MethodGet, "/api/workflows/"+w.ID.String(), "", &detail)
				return w, detail
			}
		}
		t.Fatalf("%+v", p.Data)
		return row, detail
	}
	w, d := flows()
	if !w.IsActive || w.TriggerType != "post_surgery" || *w.Version != 1 || len(d.Steps) != 2 || *d.Steps[0].Day != 3 || *d.Steps[1].Day != 14 {
		t.Errorf("%+v %+v", w, d.Steps)
	}
	o.must(http.MethodPatch, "/api/templates/"+made.ID.String(), `{"trigger_value":5}`, &made)
	if w, d := flows(); *w.Version != 2 || *d.Steps[0].Day != 5 || *made.TriggerValue != 5 {
		t.Errorf("%+v %+v", w, d.Steps)
	}
	o.must(http.MethodDelete, "/api/templates/"+made.ID.String(), "", &made)
	if w, _ := flows(); w.IsActive || made.IsActive {
		t.Errorf("%+v", w)
	}
	o.must(http.MethodPatch, "/api/templates/"+made.ID.String(), `{"is_active":true,"trigger_type":""}`, &made)
	if w, _ := flows(); w.IsActive || made.TriggerType != nil {
		t.Errorf("%+v %+v", w, made)
	}
	o.refusedAt(http.MethodPost, "/api/templates", `{"name":"사후 안내","sms_text":"x"}`, http.StatusConflict, "/name", "name-taken")
}
