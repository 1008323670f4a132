package ingest_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/doctorsflow/doctorsflow/ingest"
	"github.com/doctorsflow/doctorsflow/internal/edge"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// A producer behind the same router as an attacker is still heard, and the
// attacker learns nothing from being refused otherwise.
func TestAnAddressThatGuessesIsRefusedAndAProducerIsNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{Edge: edge.New(edge.Config{StrangersPerMinute: 10}, prometheus.NewRegistry())}, nil)
		if a := w.post(t, call{}); a.status != 202 {
			t.Fatalf("a producer: %d", a.status)
		}
		w.lookups = 0
		var refused [2]answer // of an id that exists, and of one that does not
		for i := range 40 {
			hook := w.hook.ID
			if i%2 == 1 {
				hook = uuid.Must(uuid.NewV7())
			}
			begin := time.Now()
			a := w.post(t, call{hook: hook, secret: ingest.NewSecret()})
			if want := 401; i < 10 && a.status != want || i >= 10 && a.status != 429 {
				t.Fatalf("guess %d: %d", i, a.status)
			}
			if took := time.Since(begin); took != 20*time.Millisecond {
				t.Errorf("guess %d was answered after %v: the time tells whether the webhook exists", i, took)
			}
			refused[i%2] = a
		}
		if refused[0].header.Get("Retry-After") == "" || refused[0].problem() != "rate-limited" || !alike(refused[0], refused[1]) {
			t.Errorf("the two are told apart: %+v %+v", refused[0], refused[1])
		}
		if w.lookups > 6 {
			t.Errorf("the ledger was asked %d times for ids that were guessed", w.lookups)
		}
		for range 5 {
			if a := w.post(t, call{}); a.status != 202 {
				t.Errorf("the producer is refused: %d", a.status)
			}
			time.Sleep(1500 * time.Millisecond) // longer than a webhook is believed
			w.post(t, call{hook: uuid.Must(uuid.NewV7())})
		}
		time.Sleep(12 * time.Second)
		if a := w.post(t, call{change: func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }}); a.status != 415 {
			t.Errorf("a mistake in its form, when the address has a token again: %d", a.status)
		}
		w.stop()
	})
}

// alike compares what a stranger sees, the request's id aside.
func alike(a, b answer) bool {
	cut := func(s string) string { return s[:max(strings.Index(s, "urn:req:"), 0)] }
	return a.status == b.status && cut(a.body) == cut(b.body) && a.header.Get("Content-Length") == b.header.Get("Content-Length")
}

// oneAccount knows one gateway account.
type oneAccount struct {
	id    uuid.UUID
	asked int
}

func (o *oneAccount) ReportAccount(_ context.Context, id uuid.UUID) (store.ReportAccount, error) {
	o.asked++
	if id != o.id {
		return store.ReportAccount{}, store.ErrNotFound
	}
	return store.ReportAccount{Tenant: tenant.NewID(), ID: id, Vendor: "nhn", Token: []byte("a-token-that-is-long")}, nil
}

func (o *oneAccount) KeepReports(context.Context, tenant.ID, uuid.UUID, []store.GatewayReport) (int, error) {
	return 0, nil
}

func TestAnAddressThatGuessesReportTokensIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		o := &oneAccount{id: uuid.Must(uuid.NewV7())}
		mux := http.NewServeMux()
		ingest.NewReports(o, nil, edge.New(edge.Config{StrangersPerMinute: 10}, reg), slog.New(slog.DiscardHandler), reg).Register(mux)
		post := func(id uuid.UUID, token string) int {
			r := httptest.NewRequest(http.MethodPost, "/api/reports/"+id.String(), strings.NewReader("{}"))
			r.Header.Set("X-Toast-Webhook-Signature", token)
			rec := httptest.NewRecorder()
			mux.ServeHTTP(rec, r)
			return rec.Code
		}
		if got := post(o.id, "a-token-that-is-long"); got == 401 || got == 429 {
			t.Fatalf("the gateway: %d", got)
		}
		o.asked = 0
		for i := range 30 {
			want := 401
			if i >= 10 {
				want = 429
			}
			if got := post(uuid.Must(uuid.NewV7()), "x"); got != want {
				t.Fatalf("guess %d: %d, want %d", i, got, want)
			}
		}
		if o.asked > 11 {
			t.Errorf("the ledger was asked %d times", o.asked)
		}
		if got := post(o.id, "a-token-that-is-long"); got == 401 || got == 429 {
			t.Errorf("the gateway from there: %d", got)
		}
	})
}
