package api

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/intake"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// neverAsked is what only tests over a real ledger reach.
type neverAsked interface {
	OptOuts
	Merges
	intake.News
	Patients
	Templates
	Segments
	Schedules
	Campaigns
}

// fakeLedger knows one key, and answers as it is told.
type fakeLedger struct {
	neverAsked
	logs     func(context.Context, store.LogQuery) (store.Page[store.MessageLog], error)
	retry    func(uuid.UUID, store.Retry) (store.Decided, error)
	queues   []store.Queue
	now      time.Time
	ping     func(context.Context) error
	conserve func() ([]store.Conservation, error)
	waiting  map[event.Reason]int64
	audit    func(store.AuditEntry) error
	role     string // of the key
	scopes   string
}

var fakeKey = "dfk_" + strings.Repeat("0", 43)

func (f *fakeLedger) APIKeyByHash(_ context.Context, hash [sha256.Size]byte) (store.APIKey, error) {
	if want, _ := store.HashAPIKey(fakeKey); hash != want {
		return store.APIKey{}, store.ErrNotFound
	}
	return store.APIKey{Tenant: tenant.NewID(), ID: uuid.New(), Role: cmp.Or(f.role, "owner"), Scopes: f.scopes}, nil
}

func (f *fakeLedger) TenantOfIdentity(context.Context, string, string, string) (tenant.ID, error) {
	return tenant.NewID(), nil
}

func (f *fakeLedger) MessageLogs(ctx context.Context, _ tenant.ID, q store.LogQuery) (store.Page[store.MessageLog], error) {
	if f.logs == nil {
		return store.Page[store.MessageLog]{}, nil
	}
	return f.logs(ctx, q)
}

func (f *fakeLedger) Executions(context.Context, tenant.ID, store.ExecutionQuery) (store.Page[store.Execution], error) {
	return store.Page[store.Execution]{}, nil
}

func (f *fakeLedger) ExecutionPlan(context.Context, tenant.ID, uuid.UUID) (store.Execution, []store.StoryRest, []store.StoryClick, error) {
	return store.Execution{}, nil, nil, nil
}

func (f *fakeLedger) StopExecution(context.Context, tenant.ID, uuid.UUID, store.Hand) (store.Replanned, error) {
	return store.Replanned{Runs: 1}, nil
}

// Nothing of workflows is asked of a fake ledger but whether it may be asked.
func (f *fakeLedger) WorkflowPage(context.Context, tenant.ID, store.WorkflowQuery) (p store.Page[store.WorkflowView], err error) {
	return p, nil
}

func (f *fakeLedger) Workflow(context.Context, tenant.ID, uuid.UUID) (w store.WorkflowView, err error) {
	return w, nil
}

func (f *fakeLedger) CreateWorkflow(context.Context, tenant.ID, clinic.Workflow) (w store.WorkflowView, err error) {
	return w, nil
}

func (f *fakeLedger) ChangeDraft(context.Context, tenant.ID, uuid.UUID, int32, func(*clinic.Workflow)) (w store.WorkflowView, err error) {
	return w, nil
}

func (f *fakeLedger) PublishWorkflow(context.Context, tenant.ID, store.Publish, func(*store.Replanning) store.NewPlan) (p store.Published, err error) {
	return p, nil
}

func (f *fakeLedger) SwitchWorkflow(context.Context, tenant.ID, uuid.UUID, store.Switch, bool, store.Hand) (r store.Replanned, err error) {
	return r, nil
}

func (f *fakeLedger) WorkflowVersions(context.Context, tenant.ID, uuid.UUID, store.WorkflowQuery) (p store.Page[store.WorkflowVersion], err error) {
	return p, nil
}

func (f *fakeLedger) WorkflowFile(context.Context, tenant.ID, uuid.UUID, store.FileOf) (w clinic.WorkflowFile, err error) {
	return w, nil
}

func (f *fakeLedger) ImportWorkflow(context.Context, tenant.ID, clinic.WorkflowFile, store.ImportOptions, func(*store.Replanning) store.NewPlan) (i store.Imported, err error) {
	return i, nil
}

func (f *fakeLedger) Definition(context.Context, tenant.ID, uuid.UUID, int32) (*workflow.Definition, error) {
	return nil, store.ErrNotFound
}

func (f *fakeLedger) Cohort(context.Context, tenant.ID, store.CohortQuery) (store.Setting, []store.Subject, bool, error) {
	return store.Setting{}, nil, false, store.ErrNotFound
}

func (f *fakeLedger) ParkedSteps(context.Context, tenant.ID, store.ParkedQuery) (store.Page[store.ParkedStep], error) {
	return store.Page[store.ParkedStep]{}, nil
}

func (f *fakeLedger) RetryParked(_ context.Context, _ tenant.ID, step uuid.UUID, r store.Retry) (store.Decided, error) {
	if f.retry == nil {
		return store.Decided{Step: step, State: store.StateUnknown}, nil
	}
	return f.retry(step, r)
}

func (f *fakeLedger) DropParked(_ context.Context, _ tenant.ID, step uuid.UUID, _ store.Hand) (store.Decided, error) {
	return store.Decided{Step: step, State: store.StateFailed}, nil
}

func (f *fakeLedger) Ping(ctx context.Context) error {
	if f.ping == nil {
		return nil
	}
	return f.ping(ctx)
}

func (f *fakeLedger) Queues(context.Context) ([]store.Queue, time.Time, error) {
	return f.queues, f.now, nil
}

func (f *fakeLedger) Conserve(context.Context) ([]store.Conservation, error) {
	if f.conserve == nil {
		return nil, nil
	}
	return f.conserve()
}

func (f *fakeLedger) Waiting(context.Context) (map[event.Reason]int64, error) { return f.waiting, nil }

const logs = "/api/message-logs"

func TestAQueryThatIsNotUnderstoodIsRefused(t *testing.T) {
	t.Parallel()
	s := serve(t, &fakeLedger{logs: func(context.Context, store.LogQuery) (store.Page[store.MessageLog], error) {
		t.Error("the ledger was asked")
		return store.Page[store.MessageLog]{}, nil
	}}, &fakeBroker{})
	for query, want := range map[string]string{
		"limit=0":                            "/query/limit=too-small",
		"limit=-1":                           "/query/limit=too-small",
		"limit=201":                          "/query/limit=too-large",
		"limit=many":                         "/query/limit=not-an-integer",
		"limit=1.5":                          "/query/limit=not-an-integer",
		"limit=99999999999999999999":         "/query/limit=not-an-integer",
		"limit=1&limit=2":                    "/query/limit=repeated",
		"limit=":                             "/query/limit=empty",
		"patient_id=":                        "/query/patient_id=empty",
		"patient_id=x":                       "/query/patient_id=not-a-uuid",
		"patient_id=" + uuid.Nil.String():    "/query/patient_id=not-a-uuid",
		"patient_id={" + one + "}":           "/query/patient_id=not-a-uuid",
		"patient_id=" + one[:35]:             "/query/patient_id=not-a-uuid",
		"patient_id=" + strings.ToUpper(one): "/query/patient_id=not-a-uuid",
		"workflow_id=1":                      "/query/workflow_id=not-a-uuid",
		"execution_id=1":                     "/query/execution_id=not-a-uuid",
		"status=SENT":                        "/query/status=not-in-list",
		"status=sent,failed":                 "/query/status=not-in-list",
		"channel=email":                      "/query/channel=not-in-list",
		"from=yesterday":                     "/query/from=not-a-date-time",
		"from=2026-11-01":                    "/query/from=not-a-date-time",
		"from=2026-11-01T00:00:00+09:00":     "/query/from=not-a-date-time", // the + is a space
		"to=1":                               "/query/to=not-a-date-time",
		"cursor=" + strings.Repeat("A", 257): "/query/cursor=too-long",
		"stauts=sent":                        "/query=unknown-parameter",
		"Status=sent":                        "/query=unknown-parameter",
		"tenant_id=" + one:                   "/query=unknown-parameter",
		"status[]=sent":                      "/query=unknown-parameter",
		"%zz":                                "/query=malformed",
		"status=sent;channel=sms":            "/query=malformed",
		"limit=0&status=x&a=1":               "/query=unknown-parameter",
		"limit=0&status=x":                   "/query/limit=too-small /query/status=not-in-list",
		"a=1&b=2&limit=":                     "/query=unknown-parameter /query/limit=empty",
	} {
		w := s.do(http.MethodGet, logs+"?"+query, fakeKey)
		if got := problemOf(t, w); w.Code != http.StatusBadRequest || got != "invalid-parameter "+want {
			t.Errorf("?%s: %d %s, want %s", query, w.Code, got, want)
		}
	}
}

const one = "01890a5d-ac96-774b-bcce-b302099a8057"

func TestWhatIsAskedForReachesTheLedger(t *testing.T) {
	t.Parallel()
	var got store.LogQuery
	s := serve(t, &fakeLedger{logs: func(_ context.Context, q store.LogQuery) (store.Page[store.MessageLog], error) {
		got = q
		return store.Page[store.MessageLog]{}, nil
	}}, &fakeBroker{})
	for query, want := range map[string]store.LogQuery{
		"":              {Limit: 50},
		"limit=200":     {Limit: 200},
		"status=sent":   {Limit: 50, Status: "sent"},
		"channel=kakao": {Limit: 50, Channel: "kakao"},
		"cursor=abc":    {Limit: 50, Cursor: "abc"},
		"patient_id=" + one + "&workflow_id=" + one + "&execution_id=" + one: {Limit: 50, Patient: uuid.MustParse(one), Workflow: uuid.MustParse(one), Execution: uuid.MustParse(one)},
		"from=2026-11-01T00:00:00Z&to=2026-11-02T00:00:00.5Z":                {Limit: 50, From: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 11, 2, 0, 0, 0, 5e8, time.UTC)},
	} {
		if w := s.do(http.MethodGet, logs+"?"+query, fakeKey); w.Code != http.StatusOK || got != want {
			t.Errorf("?%s: %d, asked %+v, want %+v", query, w.Code, got, want)
		}
	}
	offset := s.do(http.MethodGet, logs+"?from=2026-11-01T00:00:00%2B09:00", fakeKey)
	if offset.Code != http.StatusOK || !got.From.Equal(time.Date(2026, 10, 31, 15, 0, 0, 0, time.UTC)) {
		t.Errorf("an encoded offset: %d, from %v", offset.Code, got.From)
	}
}

func TestHostileRequestsAreNeitherEchoedNorOurFault(t *testing.T) {
	t.Parallel()
	s := serve(t, &fakeLedger{}, &fakeBroker{})
	const canary = "canary7731"
	values := []string{
		canary, canary + "%00", "%00" + canary, "%ff%fe" + canary, "%c0%80" + canary, "<script>" + canary, `%22"` + canary, "'%20OR%201=1--" + canary,
		"../../" + canary, "${" + canary + "}", "{{" + canary + "}}", "%F0%9F%92%A9" + canary, "%E2%80%AE" + canary, strings.Repeat("9", 5000) + canary, "1e9" + canary, "0x1" + canary,
		"-0" + canary, "NaN" + canary, "%0d%0aX-Injected:%20" + canary, "[]" + canary, "null" + canary, "%25" + canary, "a%2Cb" + canary, "+" + canary, "9999-99-99T99:99:99Z" + canary,
	}
	names := []string{"limit", "cursor", "status", "channel", "patient_id", "workflow_id", "execution_id", "from", "to", canary, "__proto__", "limit[]", "%00", "%ff"}
	n := 0
	for _, name := range names {
		for _, value := range values {
			if name == "cursor" {
				continue // judged by the ledger
			}
			n++
			w := s.do(http.MethodGet, logs+"?"+name+"="+value, fakeKey)
			if w.Code != http.StatusBadRequest || strings.Contains(w.Body.String(), canary) || w.Header().Get("X-Injected") != "" {
				t.Errorf("%s=%s: %d %v %s", name, value, w.Code, w.Header(), w.Body)
			}
		}
	}
	for _, path := range []string{
		"/api", "/api/", "/api/nothing", "/api/message-logs/", "/api/message-logs/" + canary, "/api/" + canary, "/" + canary, "/",
		"/api/MESSAGE-LOGS", "/problems/", "/api/message-logs%00", "/api/workflow",
	} {
		n++
		w := s.do(http.MethodGet, path, fakeKey)
		if got := problemOf(t, w); w.Code != http.StatusNotFound || got != "not-found" || strings.Contains(w.Body.String(), canary) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", canary} {
		n++
		w := s.do(method, logs, fakeKey)
		if got := problemOf(t, w); w.Code != http.StatusMethodNotAllowed || got != "method-not-allowed" || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d %s %v", method, w.Code, got, w.Header())
		}
	}
	if n < 200 {
		t.Errorf("only %d hostile requests", n)
	}
	if log := s.log.String(); log != "" {
		t.Errorf("logged: %s", log)
	}
}

func TestEveryAnswerHasTheSecurityHeaders(t *testing.T) {
	t.Parallel()
	s := serve(t, &fakeLedger{}, &fakeBroker{})
	for _, target := range []string{logs, logs + "?x=1", "/api/docs", "/api/openapi.yaml", "/nothing", "/problems/conflict", "/healthz", "/readyz", "/metrics"} {
		for _, key := range []string{"", fakeKey} {
			w := s.do(http.MethodGet, target, key)
			for name, want := range map[string]string{
				"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store",
			} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s: %s = %q, want %q", target, name, got, want)
				}
			}
			if csp := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none';") || !strings.Contains(csp, "frame-ancestors 'none'") {
				t.Errorf("%s: policy %q", target, csp)
			}
			if w.Header().Get("X-Request-Id") == "" || w.Header().Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s: %v", target, w.Header())
			}
		}
	}
	w := s.do(http.MethodGet, "/problems/conflict", "")
	if w.Code != http.StatusFound || w.Header().Get("Location") != "/api/docs#problems" {
		t.Errorf("a problem's type leads to %d %v", w.Code, w.Header())
	}
}

func TestWhatTheLedgerCannotDoIsTold(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err    error
		status int
		want   string
		retry  string
		logged bool
	}{
		{store.ErrCursor, 400, "invalid-parameter /query/cursor=not-a-cursor", "", false},
		{store.ErrNotFound, 404, "not-found", "", false},
		{store.ErrErased, 404, "not-found", "", false},
		{store.ErrUnavailable, 503, "unavailable", "5", false},
		{errors.New("canary7731"), 500, "internal", "", true},
	} {
		s := serve(t, &fakeLedger{logs: func(context.Context, store.LogQuery) (store.Page[store.MessageLog], error) {
			return store.Page[store.MessageLog]{}, fmt.Errorf("store: %w", tt.err)
		}}, &fakeBroker{})
		w := s.do(http.MethodGet, logs, fakeKey)
		if got := problemOf(t, w); w.Code != tt.status || got != tt.want || w.Header().Get("Retry-After") != tt.retry || strings.Contains(w.Body.String(), "canary") {
			t.Errorf("%v: %d %s %v", tt.err, w.Code, got, w.Header())
		}
		if logged := strings.Contains(s.log.String(), "an operation failed"); logged != tt.logged || strings.Contains(s.log.String(), fakeKey) {
			t.Errorf("%v: logged %q", tt.err, s.log.String())
		}
	}
}

func TestAPanicIsAnswered(t *testing.T) {
	t.Parallel()
	s := serve(t, &fakeLedger{logs: func(context.Context, store.LogQuery) (store.Page[store.MessageLog], error) {
		panic("010-1234-5678")
	}}, &fakeBroker{})
	w := s.do(http.MethodGet, logs, fakeKey)
	if got := problemOf(t, w); w.Code != http.StatusInternalServerError || got != "internal" {
		t.Errorf("%d %s", w.Code, got)
	}
	if log := s.log.String(); !strings.Contains(log, "an operation panicked") || !strings.Contains(log, "http_test.go") || strings.Contains(log, "010-1234") {
		t.Errorf("logged: %s", log)
	}
}

func TestAHalfAnswerIsCutOff(t *testing.T) {
	t.Parallel()
	s := serve(t, &fakeLedger{}, &fakeBroker{})
	op := get("list-message-logs", logs, "", "", "")
	h := s.api.observe(&op, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"data":[`))
		panic("x")
	}))
	defer func() {
		if err, ok := recover().(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("recovered %v, want http.ErrAbortHandler", err)
		}
	}()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, logs, nil))
}

func TestRequestsAreMeasured(t *testing.T) {
	t.Parallel()
	s := serve(t, &fakeLedger{}, &fakeBroker{})
	s.do(http.MethodGet, logs, fakeKey)
	s.do(http.MethodGet, logs, "")
	w := s.do(http.MethodGet, "/metrics", "")
	for _, want := range []string{
		`doctorsflow_api_request_seconds_count{operation="list-message-logs",status="200"} 1`,
		`doctorsflow_api_request_seconds_count{operation="list-message-logs",status="401"} 1`,
	} {
		if !bytes.Contains(w.Body.Bytes(), []byte(want)) {
			t.Errorf("metrics do not have %s", want)
		}
	}
}
