package ingest_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/doctorsflow/doctorsflow/ingest"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/providers/nhn"
)

const reportToken = "a-token-of-a-gateway"

// shelf keeps reports of one account.
type shelf struct {
	mu      sync.Mutex
	account store.ReportAccount
	lookups int
	kept    []store.GatewayReport
	fail    error // of KeepReports
	away    error // of ReportAccount
}

func (s *shelf) ReportAccount(_ context.Context, id uuid.UUID) (store.ReportAccount, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lookups++
	switch {
	case s.away != nil:
		return store.ReportAccount{}, s.away
	case id != s.account.ID:
		return store.ReportAccount{}, store.ErrNotFound
	}
	return s.account, nil
}

func (s *shelf) KeepReports(_ context.Context, id tenant.ID, account uuid.UUID, list []store.GatewayReport) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil || id != s.account.Tenant || account != s.account.ID {
		return 0, s.fail
	}
	s.kept = append(s.kept, list...)
	return len(list), nil
}

type reportDoor struct {
	*shelf
	mux    *http.ServeMux
	reg    *prometheus.Registry
	logged *syncBuffer
}

func newReportDoor(c event.Channel) *reportDoor {
	d := &reportDoor{
		shelf: &shelf{account: store.ReportAccount{Tenant: tenant.NewID(), ID: uuid.Must(uuid.NewV7()), Channel: c, Vendor: "nhn", Token: []byte(reportToken)}},
		mux:   http.NewServeMux(), reg: prometheus.NewRegistry(), logged: new(syncBuffer),
	}
	ingest.NewReports(d.shelf, map[string]ingest.ReportDecoder{"nhn": nhn.Reports}, nil, slog.New(slog.NewTextHandler(d.logged, nil)), d.reg).Register(d.mux)
	return d
}

func (d *reportDoor) post(body string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/api/reports/"+d.account.ID.String(), strings.NewReader(body))
	r.Header.Set("X-Toast-Webhook-Signature", reportToken)
	if change != nil {
		change(r)
	}
	rec := httptest.NewRecorder()
	d.mux.ServeHTTP(rec, r)
	return rec
}

func hooks(list string) string { return `{"event":"MESSAGE_RESULT_UPDATE","hooks":[` + list + `]}` }

// A key of ours names its step, on its own channel; any other key names
// nothing. What is not final is only noted.
func TestReportsAreKeptAsTheyWereTold(t *testing.T) {
	t.Parallel()
	d := newReportDoor(event.Kakao)
	root := uuid.Must(uuid.NewV7())
	rec := d.post(hooks(`
		{"hookId":"a","requestId":"R1","recipientSeq":2,"resultCode":"1000","recipientGroupingKey":"`+event.Key(root, event.Kakao)+`"},
		{"hookId":"b","requestId":"R1","resultCode":"3019","recipientGropuingKey":"`+event.Key(root, event.Kakao)+`"},
		{"hookId":"c","requestId":"R1","resultCode":"3005","recipientGroupingKey":"`+event.Key(root, event.SMS)+`"},
		{"hookId":"d","recipientGroupingKey":"another system's","resultCode":"3018"},
		{"requestId":"R1","resultCode":"3018"}`), nil)
	if rec.Code != http.StatusOK || rec.Body.String() != `{"kept":4,"duplicates":0}` {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	want := []store.GatewayReport{
		{HookID: "a", Root: root, RequestID: "R1", Seq: 2, Says: store.SaysDelivered, Code: "1000"},
		{HookID: "b", Root: root, RequestID: "R1", Seq: 1, Says: store.SaysFailed, Code: "3019"},
		{HookID: "c", RequestID: "R1", Seq: 1, Says: store.SaysNoted, Code: "3005"},
		{HookID: "d", Says: store.SaysFailed, Code: "3018"},
	}
	if diff := cmp.Diff(want, d.kept, cmpopts.IgnoreFields(store.GatewayReport{}, "At")); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	for outcome, want := range map[string]float64{"kept": 4, "duplicate": 0, "unusable": 1} {
		if got := counted(t, d.reg, "doctorsflow_reports_received_total", outcome); got != want {
			t.Errorf("%v %s, want %v", got, outcome, want)
		}
	}
}

// Only a commit is answered with a 2xx.
func TestReportThatWasNotCommittedIsToldAgain(t *testing.T) {
	t.Parallel()
	d := newReportDoor(event.Kakao)
	d.fail = store.ErrUnavailable
	one := hooks(`{"hookId":"a","requestId":"R1","resultCode":"1000"}`)
	if rec := d.post(one, nil); rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v", rec.Code, rec.Header())
	}
	d.fail = nil
	if rec := d.post(one, nil); rec.Code != http.StatusOK || len(d.kept) != 1 {
		t.Errorf("%d, kept %v", rec.Code, d.kept)
	}
	fresh := newReportDoor(event.Kakao)
	fresh.away = store.ErrUnavailable
	if rec := fresh.post(one, nil); rec.Code != http.StatusServiceUnavailable || len(fresh.kept) != 0 {
		t.Errorf("without the ledger: %d", rec.Code)
	}
}

// What is refused is refused before its body is read, and always alike.
func TestStrangersLearnNothing(t *testing.T) {
	t.Parallel()
	d := newReportDoor(event.Kakao)
	noToken := newReportDoor(event.Kakao)
	noToken.account.Token = nil
	var first string
	for name, post := range map[string]func() *httptest.ResponseRecorder{
		"no_token": func() *httptest.ResponseRecorder {
			return d.post("{", func(r *http.Request) { r.Header = http.Header{} })
		},
		"wrong_token": func() *httptest.ResponseRecorder {
			return d.post(strings.Repeat("x", 2<<20), func(r *http.Request) { r.Header.Set("X-Toast-Webhook-Signature", "x") })
		},
		"two_tokens": func() *httptest.ResponseRecorder {
			return d.post("{", func(r *http.Request) { r.Header.Add("X-Toast-Webhook-Signature", reportToken) })
		},
		"in_the_query": func() *httptest.ResponseRecorder {
			return d.post("{", func(r *http.Request) { r.Header = http.Header{}; r.URL.RawQuery = "token=" + reportToken })
		},
		"other_account": func() *httptest.ResponseRecorder {
			return d.post("{", func(r *http.Request) { r.URL.Path = "/api/reports/" + uuid.NewString() })
		},
		"not_an_account": func() *httptest.ResponseRecorder {
			return d.post("{", func(r *http.Request) { r.URL.Path = "/api/reports/x" })
		},
		"takes_none": func() *httptest.ResponseRecorder { return noToken.post("{", nil) },
		"takes_none_empty": func() *httptest.ResponseRecorder {
			return noToken.post("{", func(r *http.Request) { r.Header.Set("X-Toast-Webhook-Signature", "") })
		},
	} {
		began := time.Now()
		rec := post()
		body, _, _ := strings.Cut(rec.Body.String(), `"instance"`)
		if first == "" {
			first = body
		}
		if rec.Code != http.StatusUnauthorized || body != first || time.Since(began) < 20*time.Millisecond {
			t.Errorf("%s: %d %s after %s", name, rec.Code, body, time.Since(began))
		}
	}
	if len(d.kept)+len(noToken.kept) != 0 {
		t.Error("something was kept")
	}
	if s := d.logged.String(); strings.Contains(s, reportToken) {
		t.Errorf("the log holds the token:\n%s", s)
	}
}

func TestAccountIsLookedUpOnceForManyCalls(t *testing.T) {
	t.Parallel()
	d := newReportDoor(event.SMS)
	var calls sync.WaitGroup
	for range 50 {
		calls.Go(func() {
			if rec := d.post(hooks(""), nil); rec.Code != http.StatusOK {
				t.Errorf("%d %s", rec.Code, rec.Body)
			}
		})
	}
	if calls.Wait(); d.lookups > 3 {
		t.Errorf("%d look-ups", d.lookups)
	}
}

func TestReportBodyIsBounded(t *testing.T) {
	t.Parallel()
	d := newReportDoor(event.SMS)
	for name, tt := range map[string]struct {
		body   string
		change func(*http.Request)
		want   int
	}{
		"announced":  {strings.Repeat(" ", 1<<20+1), nil, http.StatusRequestEntityTooLarge},
		"streamed":   {strings.Repeat(" ", 1<<20+1), func(r *http.Request) { r.ContentLength = -1 }, http.StatusRequestEntityTooLarge},
		"compressed": {hooks(""), func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, http.StatusUnsupportedMediaType},
		"too_many":   {hooks(strings.Repeat("7,", nhn.MaxReports) + "7"), nil, http.StatusRequestEntityTooLarge},
		"garbage":    {"{]", nil, http.StatusBadRequest},
		"fits":       {hooks("") + strings.Repeat(" ", 1<<20-len(hooks(""))), nil, http.StatusOK},
	} {
		if rec := d.post(tt.body, tt.change); rec.Code != tt.want || len(d.kept) != 0 {
			t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
		}
	}
}

func TestVendorWithoutAWebhookIsToldSo(t *testing.T) {
	t.Parallel()
	d := newReportDoor(event.SMS)
	d.account.Vendor = "pigeon"
	if rec := d.post(hooks(""), nil); rec.Code != http.StatusInternalServerError || !strings.Contains(d.logged.String(), "no decoder") {
		t.Errorf("%d, log %s", rec.Code, d.logged)
	}
}

func counted(t *testing.T, reg *prometheus.Registry, name, outcome string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == outcome {
				return m.GetCounter().GetValue()
			}
		}
	}
	return -1
}
