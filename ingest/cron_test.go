package ingest_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/doctorsflow/doctorsflow/ingest"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// swept answers with what it was asked for.
type swept struct {
	clinics []tenant.ID
	asked   []tenant.ID
	err     error
	hold    chan struct{} // nil, or what a sweep waits for
	began   chan struct{}
}

func (s *swept) Tenants(context.Context) ([]store.TenantRow, error) {
	var out []store.TenantRow
	for _, id := range s.clinics {
		out = append(out, store.TenantRow{ID: id})
	}
	return out, nil
}

func (s *swept) SweepVisits(_ context.Context, id tenant.ID, days int) (int, error) {
	if s.hold != nil {
		close(s.began)
		<-s.hold
	}
	s.asked = append(s.asked, id)
	return days, s.err
}

const cronSecret = "kV9x2mQ7r8bT4zN1pL5wY3cH6dJ0fGsA"

func newCron(s *swept, query bool) *http.ServeMux {
	mux := http.NewServeMux()
	c := &ingest.Cron{Ledger: s, Secret: cronSecret, InQuery: query, Days: 30, Hint: func() {}, Logger: slog.New(slog.DiscardHandler)}
	c.Register(mux)
	return mux
}

func callCron(mux http.Handler, method, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, http.NoBody)
	for _, h := range headers {
		r.Header.Add("Authorization", h)
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w
}

func TestACronServiceRunsTheSweepWithItsSecretAlone(t *testing.T) {
	t.Parallel()
	s := &swept{clinics: []tenant.ID{tenant.NewID(), tenant.NewID()}}
	for _, c := range []struct {
		name    string
		query   bool
		target  string
		headers []string
		want    int
	}{
		{"header", true, "/api/cron/trigger", []string{"Bearer " + cronSecret}, 200},
		{"header, other case", true, "/api/cron/trigger", []string{"bearer " + cronSecret}, 200},
		{"query", true, "/api/cron/trigger?key=" + cronSecret, nil, 200},
		{"query, switched off", false, "/api/cron/trigger?key=" + cronSecret, nil, 401},
		{"header beside a query", false, "/api/cron/trigger?key=x", []string{"Bearer " + cronSecret}, 200},
		{"nothing", true, "/api/cron/trigger", nil, 401},
		{"empty", true, "/api/cron/trigger?key=", []string{"Bearer "}, 401},
		{"two headers", true, "/api/cron/trigger", []string{"Bearer " + cronSecret, "Bearer x"}, 401},
		{"two keys", true, "/api/cron/trigger?key=x&key=" + cronSecret, nil, 401},
		{"wrong header, good query", true, "/api/cron/trigger?key=" + cronSecret, []string{"Bearer x"}, 401},
		{"a part of it", true, "/api/cron/trigger", []string{"Bearer " + cronSecret[:31]}, 401},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if w := callCron(newCron(s, c.query), method, c.target, c.headers...); w.Code != c.want {
				t.Errorf("%s %s: %d %s", method, c.name, w.Code, w.Body)
			}
		}
	}
	w := callCron(newCron(s, true), http.MethodPost, "/api/cron/trigger", "Bearer "+cronSecret)
	var out struct {
		Success               bool
		Clinics, Opened, Days int
	}
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || !out.Success || out.Clinics != 2 || out.Opened != 60 || out.Days != 30 {
		t.Errorf("%s, %v", w.Body, err)
	}
	none := &ingest.Cron{Ledger: s, InQuery: true, Logger: slog.New(slog.DiscardHandler)}
	mux := http.NewServeMux()
	none.Register(mux)
	if w := callCron(mux, http.MethodGet, "/api/cron/trigger?key="); w.Code != http.StatusUnauthorized {
		t.Errorf("without a secret: %d", w.Code)
	}
}

func TestASweepThatFailsIsAskedForAgain(t *testing.T) {
	t.Parallel()
	s := &swept{clinics: []tenant.ID{tenant.NewID()}, err: store.ErrUnavailable}
	if w := callCron(newCron(s, true), http.MethodGet, "/api/cron/trigger", "Bearer "+cronSecret); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestTwoSweepsDoNotRunBesideOneAnother(t *testing.T) {
	t.Parallel()
	s := &swept{clinics: []tenant.ID{tenant.NewID()}, hold: make(chan struct{}), began: make(chan struct{})}
	mux := newCron(s, true)
	first := make(chan int)
	go func() { first <- callCron(mux, http.MethodGet, "/api/cron/trigger", "Bearer "+cronSecret).Code }()
	<-s.began
	if w := callCron(mux, http.MethodGet, "/api/cron/trigger", "Bearer "+cronSecret); w.Code != http.StatusConflict {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	close(s.hold)
	if code := <-first; code != http.StatusOK {
		t.Errorf("the first: %d", code)
	}
}
