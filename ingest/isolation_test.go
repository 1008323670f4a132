package ingest_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/doctorsflow/doctorsflow/ingest"
	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/storetest"
	"github.com/doctorsflow/doctorsflow/providers/nhn"
)

const twoDoors = `
tenant: {slug: %s, name: 미소치과, phone: "02-555-0100"}
accounts:
  - {channel: kakao, vendor: nhn, base_url: "https://api.example.com", sender: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, app_key: k, secret: s, report_token: %s-long-enough-token}
templates:
  - {name: care, kakao_template_code: SIM_OK, kakao_text: "#{환자명}님", sms_text: "#{환자명}님"}
workflows:
  - name: aftercare
    steps: [{seconds: 0, template: care}]
webhooks:
  - {name: booking, workflow: aftercare}
`

// street is the doors of two clinics over a real ledger.
type street struct {
	*world // for its requests; its ledger only publishes
	db     *store.DB
	mux    *http.ServeMux
}

func newStreet(t *testing.T) (s *street, mine, other store.Applied) {
	t.Helper()
	urls := storetest.Database(t)
	db, err := store.Open(t.Context(), store.Config{APIURL: urls.API, WorkerURL: urls.Worker, Master: seal.NewKey()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	s = &street{world: newWorld(t, ingest.Config{}, nil), db: db, mux: http.NewServeMux()}
	log, reg := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	in := ingest.New(ingest.Config{}, db, db, s.ledger, log, reg)
	in.Register(s.mux)
	ingest.NewReports(db, map[string]ingest.ReportDecoder{"nhn": nhn.Reports}, nil, log, reg).Register(s.mux)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := in.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	apply := func(slug string) store.Applied {
		f, err := clinic.Parse(fmt.Appendf(nil, twoDoors, slug, slug))
		if err != nil {
			t.Fatal(err)
		}
		a, err := db.ApplyClinic(t.Context(), f, store.ApplyOptions{Phones: phone.Options{AllowTestBands: true}})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	return s, apply("mine"), apply("other")
}

// answered is an answer apart from the request's id, and the id asked for.
func (s *street) answered(r *http.Request, id uuid.UUID) string {
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, r)
	h := w.Header().Clone()
	request := cmp.Or(h.Get("X-Request-Id"), "none")
	h.Del("X-Request-Id")
	h.Del("Date")
	return strings.NewReplacer(request, "<request>", id.String(), "<asked>").Replace(fmt.Sprint(w.Code, " ", h, " ", w.Body))
}

// Whoever holds one clinic's secret cannot tell another clinic's address from
// one that nobody has; at its own address the same call is taken.
func TestADoorsSecretOpensNoOtherClinicsDoor(t *testing.T) {
	t.Parallel()
	s, mine, other := newStreet(t)
	hook, account := mine.Webhooks[0], mine.Accounts[0]
	doors := map[string]struct {
		own   uuid.UUID
		enter func(id uuid.UUID, nth string) *http.Request
	}{
		"webhooks": {hook.ID, func(id uuid.UUID, nth string) *http.Request {
			return s.request(call{id: nth, hook: id, secret: hook.Secret})
		}},
		"reports": {account.ID, func(id uuid.UUID, nth string) *http.Request {
			r := httptest.NewRequest(http.MethodPost, "/api/reports/"+id.String(), strings.NewReader(hooks(`{"hookId":"`+nth+`","requestId":"R1","resultCode":"1000"}`)))
			r.Header.Set("X-Toast-Webhook-Signature", account.ReportToken)
			return r
		}},
	}
	theirs := []uuid.UUID{uuid.UUID(other.Tenant), other.Webhooks[0].ID, other.Accounts[0].ID}
	for name, door := range doors {
		nobodys := uuid.Must(uuid.NewV7())
		want := s.answered(door.enter(nobodys, "e1"), nobodys)
		// The clinic's own ids of another kind are nothing here either.
		for _, id := range slices.Concat(theirs, []uuid.UUID{uuid.UUID(mine.Tenant)}) {
			for range 2 { // the second is answered from memory
				if got := s.answered(door.enter(id, "e1"), id); got != want {
					t.Errorf("%s: another clinic's is answered\n%s\nand one that nobody has\n%s", name, got, want)
				}
			}
		}
		if own := s.answered(door.enter(door.own, "e1"), door.own); !strings.HasPrefix(own, "20") || strings.HasPrefix(want, "20") {
			t.Errorf("%s: its own is answered %s, one that nobody has %s", name, own, want)
		}
	}
	list, err := s.db.Conserve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if want := map[bool]int64{true: 1, false: 0}[c.Tenant == mine.Tenant]; c.Triggers != want {
			t.Errorf("%d triggers of %s, want %d", c.Triggers, c.Tenant, want)
		}
	}
}
