package api

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/edge"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/storetest"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

var update = flag.Bool("update", false, "write api/openapi.yaml")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeBroker answers as it is told.
type fakeBroker struct {
	ping    error
	backlog stream.Backlog
	err     error
}

func (b *fakeBroker) Ping(context.Context) error { return b.ping }

func (b *fakeBroker) Backlog(context.Context, string, string) (stream.Backlog, error) {
	return b.backlog, b.err
}

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// server is the API on a mux, over any ledger.
type server struct {
	t   testing.TB
	api *API
	mux http.Handler // with the edge before it
	reg *prometheus.Registry
	log *lockedBuffer
}

// freely is an edge and rates that no test meets.
var freely = struct {
	edge  edge.Config
	rates Rates
}{edge.Config{StrangersPerMinute: 1_000_000}, Rates{Caller: 1_000_000, Tenant: 1_000_000}}

func serve(t testing.TB, db Ledger, broker Broker) *server {
	t.Helper()
	return serveAt(t, db, broker, freely.edge, freely.rates)
}

func serveAt(t testing.TB, db Ledger, broker Broker, c edge.Config, rates Rates) *server {
	t.Helper()
	s := &server{t: t, reg: prometheus.NewPedanticRegistry(), log: &lockedBuffer{}}
	mux, door := http.NewServeMux(), edge.New(c, s.reg)
	s.api = Register(mux, Config{
		DB: db, Broker: broker, Again: testAgain, Phones: testNumbers, Registry: s.reg, Routes: true, Edge: door, Rules: rules, Rates: rates, Logger: slog.New(slog.NewTextHandler(s.log, nil)),
	})
	s.mux = door.Handler(mux)
	return s
}

func (s *server) do(method, target, key string) *httptest.ResponseRecorder {
	s.t.Helper()
	return s.send(method, target, key, "")
}

// send sends a body as JSON, where there is one.
func (s *server) send(method, target, key, body string) *httptest.ResponseRecorder {
	s.t.Helper()
	return s.sendAs(method, target, key, "application/json", body)
}

func (s *server) sendAs(method, target, key, contentType, body string) *httptest.ResponseRecorder {
	s.t.Helper()
	return s.request(method, target, key, contentType, body, "*")
}

// matching sends a change of one version.
func (s *server) matching(method, target, key, body, tag string) *httptest.ResponseRecorder {
	s.t.Helper()
	return s.request(method, target, key, "application/json", body, tag)
}

func (s *server) request(method, target, key, contentType, body, tag string) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequest(method, "/", strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", contentType)
	}
	if method == http.MethodPatch {
		r.Header.Set("If-Match", tag)
	}
	path, query, _ := strings.Cut(target, "?")
	r.URL.Path, r.URL.RawQuery = path, query // as they come, however broken
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, r)
	return w
}

// fetch gets a list, which must be there.
func (s *server) fetch(target, key string, into any) {
	s.t.Helper()
	w := s.do(http.MethodGet, target, key)
	if w.Code != http.StatusOK {
		s.t.Fatalf("GET %s: %d %s", target, w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		s.t.Fatalf("GET %s: %v in %s", target, err, w.Body)
	}
}

// problemOf returns the problem's type and errors as "type pointer=code …".
func problemOf(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	var p struct {
		Type     string
		Status   int
		Instance string
		Errors   []struct{ Pointer, Code string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	if w.Header().Get("Content-Type") != "application/problem+json" || p.Status != w.Code || p.Instance != "urn:req:"+w.Header().Get("X-Request-Id") {
		t.Errorf("not a whole problem document: %d %v %s", w.Code, w.Header(), w.Body)
	}
	out := strings.TrimPrefix(p.Type, "/problems/")
	for _, e := range p.Errors {
		out += " " + e.Pointer + "=" + e.Code
	}
	return out
}

// ledger is a server over a database of its own, with two clinics in it.
type ledger struct {
	*server
	db          *store.DB
	mine, other *office
}

// office is one clinic, with a key of each role.
type office struct {
	l        *ledger
	tenant   tenant.ID
	webhook  uuid.UUID
	workflow uuid.UUID
	keys     map[auth.Role]string
	events   int
}

func newLedger(t testing.TB) *ledger {
	t.Helper()
	urls := storetest.Database(t)
	db, err := store.Open(t.Context(), store.Config{APIURL: urls.API, WorkerURL: urls.Worker, Master: seal.NewKey()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	l := &ledger{server: serve(t, db, &fakeBroker{}), db: db}
	l.mine, l.other = l.office("mine"), l.office("other")
	return l
}

const clinicFile = `
tenant: {slug: %s, name: 미소치과, phone: "02-555-0100"}
accounts:
  - {channel: kakao, vendor: simulator, sender: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}
  - {channel: sms, vendor: simulator, sender: "15880000"}
templates:
  - {name: care, kakao_template_code: SIM_OK, kakao_text: "#{환자명}님", sms_text: "#{환자명}님"}
workflows:
  - name: aftercare
    steps: [{seconds: 0, template: care}]
webhooks:
  - {name: booking, workflow: aftercare}
`

var testNumbers = phone.Options{AllowTestBands: true}

func (l *ledger) office(slug string) *office {
	l.t.Helper()
	f, err := clinic.Parse(fmt.Appendf(nil, clinicFile, slug))
	if err != nil {
		l.t.Fatal(err)
	}
	a, err := l.db.ApplyClinic(l.t.Context(), f, store.ApplyOptions{Phones: testNumbers})
	if err != nil {
		l.t.Fatal(err)
	}
	o := &office{l: l, tenant: a.Tenant, webhook: a.Webhooks[0].ID, keys: map[auth.Role]string{}}
	w, err := l.db.Webhook(l.t.Context(), o.webhook)
	if err != nil {
		l.t.Fatal(err)
	}
	o.workflow = w.WorkflowID
	for _, role := range auth.Roles {
		if o.keys[role], _, err = l.db.CreateAPIKey(l.t.Context(), o.tenant, "test", string(role), time.Time{}); err != nil {
			l.t.Fatal(err)
		}
	}
	return o
}

// message brings one message for this number to a state, and returns its step.
func (o *office) message(number string, state store.State) uuid.UUID {
	o.l.t.Helper()
	ctx, db := o.l.t.Context(), o.l.db
	check := func(err error) {
		o.l.t.Helper()
		if err != nil {
			o.l.t.Fatal(err)
		}
	}
	o.events++
	accepted, err := db.AcceptTriggers(ctx, []store.Accept{{
		Tenant: o.tenant, WebhookID: o.webhook, Source: "webhook:" + o.webhook.String(), EventID: fmt.Sprint("e", o.events),
		EventType: "visit", Kind: event.Webhook, Body: []byte(`{}`), Received: time.Now(),
	}})
	check(err)
	to, err := phone.Parse(number, testNumbers)
	check(err)
	due, err := db.PlanTriggers(ctx, []event.Trigger{{Tenant: o.tenant, ID: accepted[0].TriggerID}}, store.Planning{
		Read: func(t store.PendingTrigger) store.Reading {
			return store.Reading{Patient: store.PatientRef{Phone: to, Name: "김하늘"}, Workflows: []uuid.UUID{t.WorkflowID}}
		},
		Expand: func(t store.PendingTrigger, d *workflow.Definition) store.Expansion {
			return store.Expansion{Steps: []store.StepPlan{{
				Node: d.Steps[0].Node, Channel: event.Kakao, Lane: event.Care, Fallback: true,
				DueAt: t.ReceivedAt, Expires: t.ReceivedAt.Add(time.Hour), Late: workflow.LateSend,
			}}}
		},
	})
	check(err)
	if len(due) != 1 {
		o.l.t.Fatalf("%d due steps, want 1", len(due))
	}
	if state == store.StatePlanned {
		return due[0].ID
	}
	claims, err := db.ClaimSteps(ctx, due, func(*store.Candidate) store.Decision { return store.Decision{Claim: true, Content: "안녕하세요"} })
	check(err)
	if state == store.StateClaimed {
		return due[0].ID
	}
	e := event.Delivery{Tenant: o.tenant, Step: due[0].ID, Channel: event.Kakao, Attempt: claims[0].Attempt, Source: event.Answer, Status: event.Sent, RequestID: "r1", Seq: 1, Code: "1000", At: time.Now().UTC()}
	change := store.Transition{State: state, Finish: true}
	switch state {
	case store.StateDelivered:
		e.Status, change.Reason = event.Delivered, event.ConfirmedByReport
	case store.StateFailed:
		e.Status, e.Code, change.Reason, change.Fallback = event.Failed, "3018", event.FellBack, true
	}
	_, err = db.SettleDeliveries(ctx, []event.Delivery{e}, func(store.StepNow, event.Delivery) store.Transition { return change })
	check(err)
	return due[0].ID
}
