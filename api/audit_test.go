package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

func (f *fakeLedger) Audit(_ context.Context, _ tenant.ID, e store.AuditEntry) error {
	if f.audit == nil {
		return nil
	}
	return f.audit(e)
}

func (f *fakeLedger) AuditLog(context.Context, tenant.ID, store.AuditQuery) (store.Page[store.AuditRow], error) {
	return store.Page[store.AuditRow]{}, nil
}

func TestEveryOperationDeclaresWhatIsAudited(t *testing.T) {
	t.Parallel()
	s := serve(t, &fakeLedger{}, &fakeBroker{})
	n := 0
	for path, op := range operations(s.api.huma.OpenAPI()) {
		n++
		want := toldRead
		// A question may have a body.
		if op.Method != http.MethodGet && !slices.Contains([]string{"simulate-workflow", "count-segment", "preview-schedule", "search-patients"}, op.OperationID) {
			want = toldChange
		}
		if got := s.api.told[op.OperationID]; got != want {
			t.Errorf("%s %s declares %q, want %q", op.Method, path, got, want)
		}
	}
	if n != len(permissions) || n != len(s.api.told) {
		t.Errorf("%d operations are documented, %d permitted, %d declared", n, len(permissions), len(s.api.told))
	}
	for name, op := range map[string]operation[Paging, page[int]]{
		"nothing":                     {},
		"a read of nothing":           {told: telling[page[int]]{how: toldRead}},
		"a change that shows":         {told: telling[page[int]]{how: toldChange, shown: func(*page[int]) (int, []uuid.UUID) { return 0, nil }}},
		"a showing that is not named": {told: telling[page[int]]{shown: func(*page[int]) (int, []uuid.UUID) { return 0, nil }}},
	} {
		op.Operation = get("list-message-logs", "/api/x", "x", "x", "x")
		if why := panics(func() { register(s.api, op) }); !strings.Contains(why, "does not declare what the audit log keeps") {
			t.Errorf("an operation that declares %s is registered, or refused because %q", name, why)
		}
	}
}

func panics(f func()) (why string) {
	defer func() { why = fmt.Sprint(recover()) }()
	f()
	return ""
}

// audited returns the rows of a clinic's log, newest first.
func (o *office) audited() []store.AuditRow {
	o.l.t.Helper()
	page, err := o.l.db.AuditLog(o.l.t.Context(), o.tenant, store.AuditQuery{Limit: store.MaxPage})
	if err != nil {
		o.l.t.Fatal(err)
	}
	return page.Rows
}

func TestEveryReadIsAuditedOnceWithWhoseDataItWas(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.mine.message("010-0000-0001", store.StateSent)
	l.mine.message("010-0000-0002", store.StateFailed)
	var shown struct {
		Data []struct {
			PatientID uuid.UUID `json:"patient_id"`
		}
	}
	l.fetch("/api/message-logs", l.mine.keys[auth.Owner], &shown)
	for path, op := range operations(l.api.huma.OpenAPI()) {
		if op.Method != http.MethodGet || strings.Contains(path, "{") || shownBy[op.OperationID] != "" || op.OperationID == "export-patients" {
			continue // of what is no list, its own test says so
		}
		before := len(l.mine.audited())
		var list struct{ Data []json.RawMessage }
		l.fetch(path+"?limit=7", l.mine.keys[auth.Owner], &list)
		rows := l.mine.audited()
		if len(rows) != before+1 {
			t.Fatalf("%s: %d rows of the audit log, want 1", path, len(rows)-before)
		}
		r := rows[0]
		var detail struct {
			Rows    int
			Filters map[string]any
		}
		if err := json.Unmarshal(r.Detail, &detail); err != nil {
			t.Fatal(err)
		}
		if r.Action != "read" || r.Subject != op.OperationID || !strings.HasPrefix(r.Actor, "key:") || r.From != "192.0.2.1" || detail.Rows != len(list.Data) || detail.Filters["limit"] != 7.0 {
			t.Errorf("%s: the audit log has %+v", path, r)
		}
		if op.OperationID == "list-message-logs" || op.OperationID == "list-executions" {
			for _, m := range shown.Data {
				if !slices.Contains(r.Patients, m.PatientID) {
					t.Errorf("%s: patient %s was shown, and the audit log has %v", path, m.PatientID, r.Patients)
				}
			}
		}
	}
	if n := len(l.other.audited()); n > 1+len(l.other.keys) {
		t.Errorf("another clinic's log has %d rows", n)
	}
	v, err := l.db.VerifyAudit(t.Context(), l.mine.tenant, 0, nil)
	if err != nil || len(v.Faults) != 0 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestWhatCannotBeAuditedIsNotShown(t *testing.T) {
	t.Parallel()
	told := false
	s := serve(t, &fakeLedger{
		logs: func(context.Context, store.LogQuery) (store.Page[store.MessageLog], error) {
			return store.Page[store.MessageLog]{Rows: []store.MessageLog{{ID: uuid.New(), Patient: uuid.New(), PatientName: "김하늘", Content: "안녕하세요"}}}, nil
		},
		audit: func(store.AuditEntry) error { told = true; return errors.New("disk full") },
	}, &fakeBroker{})
	w := s.do(http.MethodGet, logs, fakeKey)
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(), "하") || !told {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestWhatIsAuditedOfAQueryIsNeverFreeText(t *testing.T) {
	t.Parallel()
	type input struct {
		Search  string    `query:"q"`
		Phones  []string  `query:"phone"`
		Status  string    `query:"status" enum:"sent"`
		Patient queryID   `query:"patient_id"`
		From    time.Time `query:"from"`
		Body    struct{ Name string }
		Paging
	}
	id, at := uuid.MustParse(one), time.Unix(1, 0)
	in := &input{Search: "김하늘", Phones: []string{"01000000001"}, Status: "sent", Patient: queryID(id), From: at, Paging: Paging{Limit: 5, Cursor: "x"}}
	in.Body.Name = "김하늘"
	want := map[string]any{"q": "given", "phone": "given", "status": "sent", "patient_id": id, "from": at, "limit": 5, "cursor": "given"}
	if diff := cmp.Diff(want, filters(in)); diff != "" {
		t.Errorf("filters (-want +got):\n%s", diff)
	}
}

func TestWhyACallerLooksIsKept(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	get := func(purpose string) int {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, logs, nil)
		r.Header.Set("Authorization", "Bearer "+l.mine.keys[auth.Staff])
		r.Header.Set("X-Purpose", purpose)
		l.mux.ServeHTTP(w, r)
		return w.Code
	}
	if code := get("월간 점검"); code != http.StatusOK {
		t.Fatal(code)
	}
	if r := l.mine.audited()[0]; r.Purpose != "월간 점검" {
		t.Errorf("the audit log has %+v", r)
	}
	before := len(l.mine.audited())
	for _, bad := range []string{"for 010-1234-5678", strings.Repeat("x", 201), "two\tparts"} {
		if code := get(bad); code != http.StatusBadRequest {
			t.Errorf("%q: %d", bad, code)
		}
	}
	if n := len(l.mine.audited()) - before; n != 0 {
		t.Errorf("%d rows of refused requests", n)
	}
}

func TestTheAuditLogIsTheOwnersAlone(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	for _, role := range auth.Roles {
		want := http.StatusForbidden
		if role == auth.Owner {
			want = http.StatusOK
		}
		if w := l.do(http.MethodGet, "/api/audit-log", l.mine.keys[role]); w.Code != want {
			t.Errorf("%s: %d, want %d", role, w.Code, want)
		}
	}
}

func TestTheAuditLogIsPagedAndFiltered(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	patient := uuid.Must(uuid.NewV7())
	for i := range 5 {
		e := store.AuditEntry{Hand: store.Hand{Actor: fmt.Sprintf("user:u%d", i%2)}, Action: "export", Subject: "x"}
		if i == 3 {
			e.Patients = []uuid.UUID{patient}
		}
		if err := l.db.Audit(t.Context(), l.mine.tenant, e); err != nil {
			t.Fatal(err)
		}
	}
	type list struct {
		Data []struct {
			Seq    int64
			Actor  string
			Action string
		}
		NextCursor string `json:"next_cursor"`
	}
	var seqs []int64
	for cursor := ""; ; {
		var page list
		l.fetch("/api/audit-log?action=export&limit=2"+cursor, l.mine.keys[auth.Owner], &page)
		for _, r := range page.Data {
			seqs = append(seqs, r.Seq)
		}
		if page.NextCursor == "" {
			break
		}
		cursor = "&cursor=" + page.NextCursor
	}
	if len(seqs) != 5 || !slices.IsSortedFunc(seqs, func(a, b int64) int { return int(b - a) }) {
		t.Errorf("pages have %v", seqs)
	}
	for query, want := range map[string]int{
		"actor=user:u1": 2, "patient_id=" + patient.String(): 1, "action=export&from=2999-01-01T00:00:00Z": 0, "action=export&to=2999-01-01T00:00:00Z": 5,
	} {
		var page list
		if l.fetch("/api/audit-log?"+query, l.mine.keys[auth.Owner], &page); len(page.Data) != want {
			t.Errorf("?%s: %d rows, want %d", query, len(page.Data), want)
		}
	}
	if got := problemOf(t, l.do(http.MethodGet, "/api/audit-log?actor=x", l.mine.keys[auth.Owner])); got != "invalid-parameter /query/actor=wrong-form" {
		t.Error(got)
	}
}
