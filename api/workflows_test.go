package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// workflowAnswer is what tests read of an answer about a workflow.
type workflowAnswer struct {
	ID           string
	Name         string
	IsActive     bool `json:"is_active"`
	Notation     string
	Version      *int32
	DraftVersion int32 `json:"draft_version"`
	HasDraft     bool  `json:"has_draft"`
	Fresh        bool
	Steps        []struct{ Node, Template string }
	Problems     []drawnProblem
	VisualData   json.RawMessage `json:"visual_data"`
	Changes      []importChange
	Underway
	etag string
}

// edit calls a route about workflows as staff, which must answer so.
func (o *office) edit(method, path, ifMatch, body string, status int) (a workflowAnswer) {
	o.l.t.Helper()
	r := httptest.NewRequest(method, "/api/workflows"+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+o.keys[auth.Staff])
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if ifMatch != "" {
		r.Header.Set("If-Match", ifMatch)
	}
	w := httptest.NewRecorder()
	o.l.mux.ServeHTTP(w, r)
	if w.Code != status {
		o.l.t.Fatalf("%s %s: %d %s, want %d", method, path, w.Code, w.Body, status)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		o.l.t.Fatalf("%s %s: %v in %s", method, path, err, w.Body)
	}
	a.etag = w.Header().Get("ETag")
	return a
}

func TestADraftIsSavedWithItsProblemsAndPublishedWithoutAny(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	w := l.mine.edit(http.MethodPost, "", "", `{"name":"애프터케어","steps":[{"day":1,"template":"care"},{"day":-1,"template":"none"}]}`, 200)
	if w.Version != nil || !w.HasDraft || w.etag != `"1"` || len(w.Problems) != 1 || w.Problems[0].Node != "2" || w.Problems[0].Pointer != "/steps/1/template" || w.Problems[0].Korean == "" || w.Problems[0].English == "" {
		t.Fatalf("%+v", w)
	}
	at := "/" + w.ID
	if p := l.mine.edit(http.MethodPost, at+"/publish", "", `{}`, 422); len(p.Problems) != 1 || p.Problems[0] != w.Problems[0] {
		t.Errorf("publishing is refused with %+v", p.Problems)
	}
	w = l.mine.edit(http.MethodPatch, at, w.etag, `{"steps":[{"day":1,"template":"care"}],"send_at":"11:30"}`, 200)
	if len(w.Problems) != 0 || w.etag != `"2"` {
		t.Fatalf("%+v", w)
	}
	if p := l.mine.edit(http.MethodPost, at+"/publish", `"1"`, `{}`, 412); p.Version != nil {
		t.Error("a draft that nobody meant was published")
	}
	if p := l.mine.edit(http.MethodPost, at+"/publish", w.etag, `{"dry_run":true}`, 200); !p.DryRun || *p.Version != 1 || !p.Fresh {
		t.Errorf("tried: %+v", p)
	}
	if w = l.mine.edit(http.MethodGet, at, "", "", 200); w.Version != nil || w.etag != `"2"` {
		t.Errorf("trying changed it: %+v", w)
	}
	if p := l.mine.edit(http.MethodPost, at+"/publish", w.etag, `{"reason":"first"}`, 200); p.DryRun || *p.Version != 1 || !p.Fresh {
		t.Errorf("published: %+v", p)
	}
	if p := l.mine.edit(http.MethodPost, at+"/publish", "", `{}`, 200); *p.Version != 1 || p.Fresh {
		t.Errorf("published twice: %+v", p)
	}
	if w = l.mine.edit(http.MethodGet, at, "", "", 200); *w.Version != 1 || w.HasDraft || w.Steps[0].Template != "care" {
		t.Errorf("%+v", w)
	}
	for body, want := range map[string]string{
		`{"name":"aftercare"}`:                       "409 conflict /name=name-taken",
		`{"name":" "}`:                               "422 invalid-payload /name=wrong-form",
		`{"name":"a\u0007"}`:                         "422 invalid-payload /name=wrong-form",
		`{"send_at":"25:00"}`:                        "422 invalid-payload /send_at=wrong-form",
		`{"day_length":"soon"}`:                      "422 invalid-payload /day_length=not-a-duration",
		`{"steps":[{"expires_after":"x"}]}`:          "422 invalid-payload /steps/0/expires_after=not-a-duration",
		`{"steps":[{"day":1.5}]}`:                    "422 invalid-payload /steps/0/day=not-an-integer",
		`{"steps":[{"colour":1}]}`:                   "422 invalid-payload /steps/0=unknown-field",
		`{"trigger_type":"moon"}`:                    "422 invalid-payload /trigger_type=not-in-list",
		`{"is_active":true}`:                         "422 invalid-payload =unknown-field",
		`{"visual_data":{"a":1,"a":2}}`:              "400 duplicate-key /visual_data/a=duplicate-key",
		`{"name":"` + strings.Repeat("가", 40) + `"}`: "422 invalid-payload /name=wrong-form",
	} {
		a := l.send(http.MethodPatch, "/api/workflows"+at, l.mine.keys[auth.Staff], body)
		if got := fmt.Sprint(a.Code, " ", problemOf(t, a)); got != want {
			t.Errorf("%.60s: %s, want %s", body, got, want)
		}
	}
	if got := l.mine.edit(http.MethodPatch, at, "", `{}`, 428); got.etag != "" {
		t.Error("a change without If-Match was made")
	}
	for _, stale := range []string{`"1"`, "3", `W/"3"`, "x", `"99999999999"`} {
		l.mine.edit(http.MethodPatch, at, stale, `{}`, 412)
	}
	rows := l.mine.audited()
	for _, action := range []string{"workflow.create", "workflow.draft", "workflow.publish"} {
		if i := slices.IndexFunc(rows, func(r store.AuditRow) bool { return r.Action == action }); i < 0 || rows[i].SubjectID.String() != w.ID || !strings.HasPrefix(rows[i].Actor, "key:") {
			t.Errorf("the audit log does not tell of %s", action)
		}
	}
}

func TestWhatIsUnderWayIsToldBeforeAndAfter(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.mine.planned("010-0000-0001")
	step := l.mine.message("010-0000-0002", store.StateClaimed)
	at := "/" + l.mine.workflow.String()
	w := l.mine.edit(http.MethodGet, at, "", "", 200)
	l.mine.edit(http.MethodPatch, at, w.etag, `{"steps":[{"day":1,"template":"care"}]}`, 200)
	for _, tt := range []struct {
		body            string
		runs, cancelled int
	}{
		{`{"dry_run":true}`, 2, 0},
		{`{"dry_run":true,"in_flight":"migrate"}`, 2, 0},
		{`{"dry_run":true,"in_flight":"stop"}`, 2, 1},
		{`{"in_flight":"stop","reason":"x"}`, 2, 1},
		{`{"in_flight":"stop"}`, 0, 0},
	} {
		p := l.mine.edit(http.MethodPost, at+"/publish", "", tt.body, 200)
		if p.Runs != tt.runs || p.Cancelled != tt.cancelled {
			t.Errorf("%s: %+v", tt.body, p.Underway)
		}
		if tt.cancelled > 0 && !slices.Contains(p.InFlight, step) {
			t.Errorf("%s does not name what is in flight: %+v", tt.body, p.Underway)
		}
	}
	l.mine.planned("010-0000-0003")
	for _, tt := range []struct {
		path, body string
		cancelled  int
		active     bool
	}{
		{"/deactivate", `{"dry_run":true}`, 1, true},
		{"/deactivate", `{"reason":"휴진"}`, 1, false},
		{"/deactivate", `{}`, 0, false},
		{"/activate", `{"dry_run":true}`, 0, false},
		{"/activate", `{}`, 0, true},
	} {
		if p := l.mine.edit(http.MethodPost, at+tt.path, "", tt.body, 200); p.Cancelled != tt.cancelled {
			t.Errorf("%s %s: %+v", tt.path, tt.body, p.Underway)
		}
		if w = l.mine.edit(http.MethodGet, at, "", "", 200); w.IsActive != tt.active {
			t.Errorf("after %s %s it is active: %t", tt.path, tt.body, w.IsActive)
		}
	}
	l.mine.planned("010-0000-0004")
	if p := l.mine.edit(http.MethodDelete, at, "", "", 200); p.Cancelled != 1 {
		t.Errorf("deleted: %+v", p.Underway)
	}
	l.mine.edit(http.MethodPatch, at, "*", `{}`, 409)
	l.mine.edit(http.MethodPost, at+"/publish", "", `{}`, 409)
	var list struct{ Data []struct{ ID string } }
	for state, want := range map[string]int{"used": 0, "deleted": 1} {
		if l.fetch("/api/workflows?state="+state, l.mine.keys[auth.Viewer], &list); len(list.Data) != want {
			t.Errorf("%s: %+v", state, list.Data)
		}
	}
	reasons := map[string]int{}
	var runs struct {
		Data []struct {
			Steps []struct{ State, Reason string }
		}
	}
	l.fetch("/api/workflows/executions", l.mine.keys[auth.Owner], &runs)
	for _, r := range runs.Data {
		for _, s := range r.Steps {
			reasons[s.State+" "+s.Reason]++
		}
	}
	if reasons["cancelled workflow_stopped"] != 3 {
		t.Errorf("steps are %v", reasons)
	}
}

func TestAWorkflowGoesOutAndInAsAFile(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	at := "/api/workflows/" + l.mine.workflow.String()
	w := l.do(http.MethodGet, at+"/export", l.mine.keys[auth.Viewer])
	file := w.Body.String()
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/yaml; charset=utf-8" || w.Header().Get("Content-Disposition") != "attachment; filename=workflow.yaml; filename*=UTF-8''aftercare.yaml" || !strings.HasPrefix(file, "workflow:\n  name: aftercare\n") {
		t.Fatalf("%d %v %s", w.Code, w.Header(), file)
	}
	send := func(o *office, status int, fields string) workflowAnswer {
		t.Helper()
		text, err := json.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		return o.edit(http.MethodPost, "/import", "", `{"file":`+string(text)+fields+`}`, status)
	}
	unchanged := func(a workflowAnswer) bool {
		return !slices.ContainsFunc(a.Changes, func(c importChange) bool { return c.Action != "unchanged" })
	}
	if a := send(l.mine, 200, `,"publish":true`); !unchanged(a) || a.Fresh || a.ID != l.mine.workflow.String() {
		t.Errorf("what was exported changes something: %+v", a)
	}
	file = strings.Replace(file, "name: aftercare", "name: 새 안내", 1)
	if a := send(l.mine, 200, `,"publish":true,"dry_run":true`); unchanged(a) || *a.Version != 1 {
		t.Errorf("tried: %+v", a)
	}
	a := send(l.mine, 200, `,"publish":true,"reason":"from git"`)
	if unchanged(a) || *a.Version != 1 || !a.Fresh {
		t.Errorf("imported: %+v", a)
	}
	if again := send(l.mine, 200, `,"publish":true`); !unchanged(again) || again.ID != a.ID || again.Fresh {
		t.Errorf("the same again: %+v", again)
	}
	file = strings.Replace(file, "seconds: 0", "seconds: -1", 1)
	if p := send(l.mine, 422, `,"publish":true`); len(p.Problems) != 1 || p.Problems[0].Pointer != "/steps/0" {
		t.Errorf("%+v", p.Problems)
	}
	if d := send(l.mine, 200, ``); len(d.Problems) != 1 || d.ID != a.ID || *d.Version != 1 {
		t.Errorf("a draft with a problem: %+v", d)
	}
	for query, want := range map[string]string{
		"?version=1": "seconds: 0", "?draft=true": "seconds: -1", "?format=json": `"seconds": 0`, "?version=2": "not-found", "?version=1&draft=true": "not-with-version",
	} {
		if w := l.do(http.MethodGet, "/api/workflows/"+a.ID+"/export"+query, l.mine.keys[auth.Staff]); !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
	for _, bad := range []string{"", "{", "workflow: {name: a, colour: red}", "tenant: {slug: a}", "workflow: {name: \"a\\0\"}", "workflow: {name: a, target_surgery_type: \"a\\0\"}", "&a [*a]", strings.Repeat("[", 9000)} {
		if file = bad; bad != "" {
			if p := send(l.mine, 422, ``); len(p.Problems) != 1 || p.Problems[0].Pointer != "/file" || p.Problems[0].Korean == "" {
				t.Errorf("%.30q: %+v", bad, p.Problems)
			}
		}
	}
	rows := l.mine.audited()
	if i := slices.IndexFunc(rows, func(r store.AuditRow) bool { return r.Action == "workflow.publish" && r.Purpose == "from git" }); i < 0 {
		t.Error("the audit log does not tell of the import")
	}
}

// planned brings one message for this number to where it waits for its time.
func (o *office) planned(number string) uuid.UUID {
	o.l.t.Helper()
	return o.message(number, store.StatePlanned)
}
