package api

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

type logPage struct {
	Data       []messageLog `json:"data"`
	NextCursor *string      `json:"next_cursor"`
}

type runPage struct {
	Data       []execution `json:"data"`
	NextCursor *string     `json:"next_cursor"`
}

func (p logPage) ids() (ids []uuid.UUID) {
	for _, m := range p.Data {
		ids = append(ids, m.ID)
	}
	return ids
}

func (p runPage) steps() (ids []uuid.UUID) {
	for _, e := range p.Data {
		for _, s := range e.Steps {
			if s.ParentID == nil {
				ids = append(ids, s.ID)
			}
		}
	}
	return ids
}

func TestAMessageLogIsShownWhole(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step := l.mine.message("010-0000-1234", store.StateFailed)
	w := l.do(http.MethodGet, "/api/message-logs", l.mine.keys[auth.Viewer])
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	var page logPage
	l.fetch("/api/message-logs", l.mine.keys[auth.Viewer], &page)
	if len(page.Data) != 1 || page.NextCursor != nil {
		t.Fatalf("page = %s", w.Body)
	}
	got := page.Data[0]
	var runs runPage
	l.fetch("/api/workflows/executions", l.mine.keys[auth.Viewer], &runs)
	run := runs.Data[0]
	want := messageLog{
		ID: step, PatientID: run.PatientID, PatientName: new("김하늘"), PatientPhone: new("010****1234"),
		Channel: event.Kakao, Status: "failed", Content: new("안녕하세요"), ErrorMessage: new("rejected:3018"),
		Metadata:  logMetadata{WorkflowID: l.mine.workflow, ExecutionID: run.ID, StepID: step, RootID: step},
		CreatedAt: got.CreatedAt,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	if !strings.Contains(w.Body.String(), `+09:00"`) || strings.Contains(w.Body.String(), `Z"`) {
		t.Errorf("times are not the clinic's: %s", w.Body)
	}
	if run.ExpectedSteps != 2 || len(run.Steps) != 2 || run.WorkflowName != "aftercare" || run.Status == "" || string(run.ExecutionData) != "{}" {
		t.Errorf("run = %+v", run)
	}
	sms := run.Steps[1]
	if sms.Channel != event.SMS || sms.ParentID == nil || *sms.ParentID != step || sms.State != store.StatePlanned || sms.Reason != nil || sms.SentAt != nil {
		t.Errorf("the fallback = %+v", sms)
	}
}

func TestEveryFilterOfTheListsSelects(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	key := l.mine.keys[auth.Staff]
	states := []store.State{store.StateClaimed, store.StateSent, store.StateFailed, store.StateDelivered}
	ids := make([]uuid.UUID, len(states))
	for i, s := range states {
		ids[i] = l.mine.message(fmt.Sprintf("010-0000-000%d", i), s)
		l.other.message(fmt.Sprintf("010-0000-000%d", i), s)
	}
	var all logPage
	l.fetch("/api/message-logs", key, &all)
	if diff := cmp.Diff([]uuid.UUID{ids[3], ids[2], ids[1], ids[0]}, all.ids()); diff != "" {
		t.Fatalf("unfiltered (-want +got):\n%s", diff)
	}
	third, second := all.Data[1], all.Data[2]
	at := url.QueryEscape(third.CreatedAt.Format(time.RFC3339Nano))
	pick := func(at ...int) (out []uuid.UUID) {
		for _, i := range at {
			out = append(out, ids[i])
		}
		return out
	}
	for query, want := range map[string][]uuid.UUID{
		"status=pending":   pick(0),
		"status=sent":      pick(1),
		"status=failed":    pick(2),
		"status=delivered": pick(3),
		"channel=kakao":    pick(3, 2, 1, 0),
		"channel=sms":      nil,
		"patient_id=" + second.PatientID.String():             pick(1),
		"workflow_id=" + l.mine.workflow.String():             pick(3, 2, 1, 0),
		"execution_id=" + third.Metadata.ExecutionID.String(): pick(2),
		"from=" + at:                       pick(3, 2),
		"to=" + at:                         pick(1, 0),
		"from=" + at + "&status=delivered": pick(3),
		"limit=2":                          pick(3, 2),
		"patient_id=" + second.PatientID.String() + "&limit=1": pick(1),
	} {
		var page logPage
		if l.fetch("/api/message-logs?"+query, key, &page); cmp.Diff(want, page.ids()) != "" {
			t.Errorf("message-logs?%s = %v, want %v", query, page.ids(), want)
		}
	}
	for query, want := range map[string][]uuid.UUID{
		"":                 pick(3, 2, 1, 0),
		"status=pending":   nil,
		"status=failed":    nil,
		"status=completed": pick(3),
		"status=running":   pick(2, 1, 0),
		"patient_id=" + second.PatientID.String(): pick(1),
		"workflow_id=" + l.mine.workflow.String(): pick(3, 2, 1, 0),
		"limit=1": pick(3),
	} {
		var page runPage
		if l.fetch("/api/workflows/executions?"+query, key, &page); cmp.Diff(want, page.steps()) != "" {
			t.Errorf("executions?%s = %v, want %v", query, page.steps(), want)
		}
	}
}

func TestAnotherTenantsIDIsAnsweredLikeOneThatNobodyHas(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.mine.message("010-0000-0001", store.StateSent)
	l.other.message("010-0000-0001", store.StateSent)
	var theirs logPage
	l.fetch("/api/message-logs", l.other.keys[auth.Owner], &theirs)
	log := theirs.Data[0]
	for route, ids := range map[string]map[string]uuid.UUID{
		"/api/message-logs":         {"patient_id": log.PatientID, "workflow_id": log.Metadata.WorkflowID, "execution_id": log.Metadata.ExecutionID},
		"/api/workflows/executions": {"patient_id": log.PatientID, "workflow_id": log.Metadata.WorkflowID},
	} {
		for parameter, id := range ids {
			ask := func(id uuid.UUID) string {
				w := l.do(http.MethodGet, fmt.Sprintf("%s?%s=%s", route, parameter, id), l.mine.keys[auth.Owner])
				w.Header().Del("X-Request-Id")
				return fmt.Sprint(w.Code, w.Header(), w.Body)
			}
			other, random := ask(id), ask(uuid.Must(uuid.NewV7()))
			if other != random || !strings.HasPrefix(other, "200 ") || !strings.Contains(other, `"data":[]`) {
				t.Errorf("%s by %s: another tenant's is answered\n%s\nand one that nobody has\n%s", route, parameter, other, random)
			}
		}
	}
}

func TestPagesAreReadToTheEndAndCursorsAreNobodyElses(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	for range 5 {
		l.mine.message("010-0000-0001", store.StateSent)
		l.other.message("010-0000-0001", store.StateSent)
	}
	for _, route := range []string{"/api/message-logs", "/api/workflows/executions"} {
		seen, cursor, pages := map[uuid.UUID]bool{}, "", 0
		for {
			var page struct {
				Data       []struct{ ID uuid.UUID }
				NextCursor *string `json:"next_cursor"`
			}
			l.fetch(route+"?limit=2"+cursor, l.mine.keys[auth.Owner], &page)
			for _, row := range page.Data {
				seen[row.ID] = true
			}
			if pages++; page.NextCursor == nil {
				break
			}
			cursor = "&cursor=" + *page.NextCursor
		}
		if len(seen) != 5 || pages != 3 {
			t.Errorf("%s: %d rows on %d pages, want 5 on 3", route, len(seen), pages)
		}
	}
	var theirs, runs logPage
	l.fetch("/api/message-logs?limit=2", l.other.keys[auth.Owner], &theirs)
	l.fetch("/api/workflows/executions?limit=2", l.mine.keys[auth.Owner], &runs)
	var first string
	for name, cursor := range map[string]string{
		"another_tenants": *theirs.NextCursor, "another_lists": *runs.NextCursor, "forged": strings.Repeat("A", len(*theirs.NextCursor)), "nonsense": "x",
	} {
		w := l.do(http.MethodGet, "/api/message-logs?cursor="+cursor, l.mine.keys[auth.Owner])
		if got := problemOf(t, w); w.Code != http.StatusBadRequest || got != "invalid-parameter /query/cursor=not-a-cursor" {
			t.Errorf("%s cursor: %d %s", name, w.Code, got)
		}
		body := strings.ReplaceAll(w.Body.String(), w.Header().Get("X-Request-Id"), "")
		if first == "" {
			first = body
		}
		if body != first {
			t.Errorf("%s cursor is told from another bad one:\n%s\n%s", name, body, first)
		}
	}
}

func TestAKeyOpensNothingOnceItIsRevoked(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	plaintext, k, err := l.db.CreateAPIKey(t.Context(), l.mine.tenant, "test", "owner", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.db.RevokeAPIKey(t.Context(), l.mine.tenant, k.ID); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"", "x", plaintext, "dfk_" + strings.Repeat("0", 43)} {
		w := l.do(http.MethodGet, "/api/message-logs", key)
		if got := problemOf(t, w); w.Code != http.StatusUnauthorized || got != "unauthorized" || w.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%q: %d %s %v", key, w.Code, got, w.Header())
		}
	}
}

var anyPlace = regexp.MustCompile(`\{[a-z_]+\}`)

func TestEveryRoleMayDoWhatTheTableSaysAndNoMore(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	want := map[string]map[auth.Role]int{
		"/api/message-logs":         {auth.Owner: 200, auth.Staff: 200, auth.Viewer: 200, auth.Integration: 403},
		"/api/workflows/executions": {auth.Owner: 200, auth.Staff: 200, auth.Viewer: 200, auth.Integration: 200},
		"/api/parked-steps":         {auth.Owner: 200, auth.Staff: 200, auth.Viewer: 200, auth.Integration: 403},
		"/api/audit-log":            {auth.Owner: 200, auth.Staff: 403, auth.Viewer: 403, auth.Integration: 403},
		"/api/appointments":         {auth.Owner: 200, auth.Staff: 200, auth.Viewer: 200, auth.Integration: 200},
		"/api/appointments/events":  {auth.Owner: 422, auth.Staff: 422, auth.Viewer: 403, auth.Integration: 422},
		"/api/appointments/{id}":    {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 404, auth.Integration: 404},
		// Whoever is let in finds no such run, or step.
		"/api/workflows/executions/{id}/plan": {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 404, auth.Integration: 404},
		// Its body is looked at first.
		"/api/workflows/{id}/simulate":                  {auth.Owner: 422, auth.Staff: 422, auth.Viewer: 403, auth.Integration: 403},
		"/api/workflows/executions/{id}/stop":           {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 403, auth.Integration: 403},
		"GET /api/patients/{id}/opt-outs":               {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 404, auth.Integration: 404},
		"POST /api/patients/{id}/opt-outs":              {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 403, auth.Integration: 404},
		"/api/patients/{id}/opt-outs/{opt_out_id}/lift": {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 403, auth.Integration: 403},
		"/api/parked-steps/{id}/retry":                  {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 403, auth.Integration: 403},
		"/api/parked-steps/{id}/drop":                   {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 403, auth.Integration: 403},
		"/api/workflows/{id}/versions":                  {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 404, auth.Integration: 403},
		"/api/workflows/{id}/export":                    {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 404, auth.Integration: 403},
		"/api/workflows/{id}/publish":                   {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 403, auth.Integration: 403},
		"/api/workflows/{id}/activate":                  {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 403, auth.Integration: 403},
		"/api/workflows/{id}/deactivate":                {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 403, auth.Integration: 403},
		"DELETE /api/workflows/{id}":                    {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 403, auth.Integration: 403},
		"GET /api/workflows/{id}":                       {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 404, auth.Integration: 403},
		"GET /api/workflows":                            {auth.Owner: 200, auth.Staff: 200, auth.Viewer: 200, auth.Integration: 403},
		"/api/triggers/{id}/replay":                     {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 403, auth.Integration: 403},
		"GET /api/replays":                              {auth.Owner: 200, auth.Staff: 200, auth.Viewer: 200, auth.Integration: 403},
		"POST /api/replays":                             {auth.Owner: 422, auth.Staff: 403, auth.Viewer: 403, auth.Integration: 403},
		"/api/replays/{id}":                             {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 404, auth.Integration: 403},
		"/api/replays/{id}/cancel":                      {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 403, auth.Integration: 403},
		"/api/message-logs/stats":                       {auth.Owner: 200, auth.Staff: 200, auth.Viewer: 200, auth.Integration: 403},
		"GET /api/segments":                             {auth.Owner: 200, auth.Staff: 200, auth.Viewer: 200, auth.Integration: 403},
		"POST /api/segments":                            {auth.Owner: 422, auth.Staff: 422, auth.Viewer: 403, auth.Integration: 403},
		"GET /api/segments/{id}":                        {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 404, auth.Integration: 403},
		"PATCH /api/segments/{id}":                      {auth.Owner: 422, auth.Staff: 422, auth.Viewer: 403, auth.Integration: 403},
		"DELETE /api/segments/{id}":                     {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 403, auth.Integration: 403},
		"GET /api/schedules":                            {auth.Owner: 200, auth.Staff: 200, auth.Viewer: 200, auth.Integration: 403},
		"POST /api/schedules":                           {auth.Owner: 422, auth.Staff: 422, auth.Viewer: 403, auth.Integration: 403},
		"GET /api/schedules/{id}":                       {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 404, auth.Integration: 403},
		"PATCH /api/schedules/{id}":                     {auth.Owner: 422, auth.Staff: 422, auth.Viewer: 403, auth.Integration: 403},
		"DELETE /api/schedules/{id}":                    {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 403, auth.Integration: 403},
		"GET /api/campaigns":                            {auth.Owner: 200, auth.Staff: 200, auth.Viewer: 200, auth.Integration: 403},
		"POST /api/campaigns":                           {auth.Owner: 422, auth.Staff: 422, auth.Viewer: 403, auth.Integration: 403},
		"GET /api/campaigns/{id}":                       {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 404, auth.Integration: 403},
		"PATCH /api/campaigns/{id}":                     {auth.Owner: 422, auth.Staff: 422, auth.Viewer: 403, auth.Integration: 403},
		"GET /api/templates":                            {auth.Owner: 200, auth.Staff: 200, auth.Viewer: 200, auth.Integration: 403},
		"POST /api/templates":                           {auth.Owner: 422, auth.Staff: 422, auth.Viewer: 403, auth.Integration: 403},
		"GET /api/templates/{id}":                       {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 404, auth.Integration: 403},
		"PATCH /api/templates/{id}":                     {auth.Owner: 422, auth.Staff: 422, auth.Viewer: 403, auth.Integration: 403},
		"DELETE /api/templates/{id}":                    {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 403, auth.Integration: 403},
		"/api/segments/count":                           {auth.Owner: 422, auth.Staff: 422, auth.Viewer: 422, auth.Integration: 403},
		"/api/schedules/preview":                        {auth.Owner: 422, auth.Staff: 422, auth.Viewer: 422, auth.Integration: 403},
		"/api/campaigns/{id}/execute":                   {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 403, auth.Integration: 403},
		"/api/campaigns/{id}/pause":                     {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 403, auth.Integration: 403},
		"/api/campaigns/{id}/resume":                    {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 403, auth.Integration: 403},
		"/api/campaigns/{id}/cancel":                    {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 403, auth.Integration: 403},
		"/api/patients/search":                          {auth.Owner: 422, auth.Staff: 422, auth.Viewer: 422, auth.Integration: 422},
		"GET /api/patients":                             {auth.Owner: 200, auth.Staff: 200, auth.Viewer: 200, auth.Integration: 200},
		"POST /api/patients":                            {auth.Owner: 422, auth.Staff: 422, auth.Viewer: 403, auth.Integration: 422},
		"GET /api/patients/{id}":                        {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 404, auth.Integration: 404},
		"PATCH /api/patients/{id}":                      {auth.Owner: 422, auth.Staff: 422, auth.Viewer: 403, auth.Integration: 422},
		"DELETE /api/patients/{id}":                     {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 403, auth.Integration: 403},
		"/api/patients/import":                          {auth.Owner: 415, auth.Staff: 415, auth.Viewer: 403, auth.Integration: 403},
		"/api/patients/export":                          {auth.Owner: 200, auth.Staff: 403, auth.Viewer: 403, auth.Integration: 403},
		"GET /api/patients/{id}/consents":               {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 404, auth.Integration: 404},
		"POST /api/patients/{id}/consents":              {auth.Owner: 422, auth.Staff: 422, auth.Viewer: 403, auth.Integration: 422},
		// Whoever is let in has said something that is not understood.
		"/api/fhir/{id}/notifications": {auth.Owner: 404, auth.Staff: 404, auth.Viewer: 403, auth.Integration: 404},
		"/api/appointments/fhir":       {auth.Owner: 422, auth.Staff: 422, auth.Viewer: 403, auth.Integration: 422},
		"/api/appointments/csv":        {auth.Owner: 415, auth.Staff: 415, auth.Viewer: 403, auth.Integration: 415},
		"PATCH /api/workflows/{id}":    {auth.Owner: 422, auth.Staff: 422, auth.Viewer: 403, auth.Integration: 403},
		"POST /api/workflows":          {auth.Owner: 422, auth.Staff: 422, auth.Viewer: 403, auth.Integration: 403},
		"/api/patients/{id}/merge":     {auth.Owner: 422, auth.Staff: 422, auth.Viewer: 403, auth.Integration: 403},
		"/api/workflows/import":        {auth.Owner: 422, auth.Staff: 422, auth.Viewer: 403, auth.Integration: 403},
	}
	known := map[string]bool{}
	for path, op := range operations(l.api.huma.OpenAPI()) {
		known[op.OperationID] = true
		for _, role := range auth.Roles {
			body := ""
			if op.RequestBody != nil {
				body = `{"reason":"x"}`
			}
			may := want[path]
			if may == nil {
				may = want[op.Method+" "+path]
			}
			w := l.send(op.Method, anyPlace.ReplaceAllString(path, one), l.mine.keys[role], body)
			if w.Code != may[role] {
				t.Errorf("%s %s as %s: %d, want %d", op.Method, path, role, w.Code, may[role])
			}
			if w.Code == http.StatusForbidden && problemOf(t, w) != "forbidden" {
				t.Errorf("%s as %s: %s", path, role, w.Body)
			}
		}
	}
	for id := range permissions {
		if !known[id] {
			t.Errorf("permissions has a row for %q, which is no operation", id)
		}
	}
	if len(known) != len(permissions) {
		t.Errorf("%d operations, %d rows", len(known), len(permissions))
	}
}
