package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/doctorsflow/doctorsflow/dispatcher"
	"github.com/doctorsflow/doctorsflow/ingest"
	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/local"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/storetest"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/streamtest"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/planner"
	"github.com/doctorsflow/doctorsflow/providers"
	"github.com/doctorsflow/doctorsflow/providers/nhn"
	"github.com/doctorsflow/doctorsflow/providers/simulator"
	"github.com/doctorsflow/doctorsflow/recorder"
)

// reportWorld is the whole path from a trigger to its reports, without the
// poll and the resolver: what ends there was reported by webhook and confirmed.
type reportWorld struct {
	t      *testing.T
	urls   storetest.URLs
	db     *store.DB
	bus    *stream.Conn
	sim    *simulator.Simulator
	simURL string
	door   string
	reg    *prometheus.Registry
	logged *lockedBuffer
	hook   simulator.Webhook // how every account's reports are told

	confirmer *dispatcher.Confirmer
}

// reportClinic is one tenant of the world.
type reportClinic struct {
	*reportWorld
	tenant  tenant.ID
	webhook uuid.UUID
	account map[event.Channel]uuid.UUID
	token   map[event.Channel]string
	n       int
}

var testPhones = phone.Options{AllowTestBands: true}

func newReportWorld(t *testing.T, c simulator.Config, hook simulator.Webhook) *reportWorld {
	t.Helper()
	c.Seed, c.Open = 1, true
	w := &reportWorld{t: t, urls: storetest.Database(t), sim: simulator.New(c), reg: prometheus.NewRegistry(), logged: new(lockedBuffer), hook: hook}
	log := slog.New(slog.NewTextHandler(w.logged, nil))
	timing := store.DefaultTiming.Scaled(20)
	var err error
	if w.db, err = store.Open(t.Context(), store.Config{APIURL: w.urls.API, WorkerURL: w.urls.Worker, Master: seal.NewKey(), Timing: timing}); err != nil {
		t.Fatal(err)
	}
	w.bus, err = stream.Connect(t.Context(), stream.Config{InProcess: streamtest.NATS(t).InProcess(), User: local.AppUser, Password: streamtest.Password, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.bus.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	gatewayServer := httptest.NewServer(w.sim)
	w.simURL = gatewayServer.URL
	mux := http.NewServeMux()
	ingest.NewReports(w.db, reportDecoders, nil, log, w.reg).Register(mux)
	door := httptest.NewServer(mux)
	w.door = door.URL

	client := nhn.HTTPClient(nhn.HTTPOptions{Timeout: timing.R})
	gateways := dispatcher.NewGateways(w.db, func(vendor string, a providers.Account) (providers.Gateway, error) {
		return openGateway(vendor, a, "", 1, client)
	})
	w.confirmer = &dispatcher.Confirmer{
		Ledger: w.db, Publisher: w.bus, Gateways: gateways, Timing: timing, Every: 20 * time.Millisecond, Logger: log, Metrics: dispatcher.NewConfirmMetrics(w.reg),
	}
	p := &planner.Planner{Ledger: w.db, Publisher: w.bus, Hint: w.bus.Hint, Phones: testPhones, Logger: log}
	release := &planner.Release{Clock: w.db, Broker: w.bus, Logger: log}
	d := dispatcher.New(dispatcher.Config{Ledger: w.db, Publisher: w.bus, Gateways: gateways, Timing: timing, Slots: 16, Logger: log})
	r := &recorder.Recorder{Ledger: w.db, Hint: w.bus.Hint, Timing: timing}

	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{
		w.sim.Run, release.Run, w.confirmer.Run,
		func(ctx context.Context) error {
			return stream.Consume(ctx, w.bus, stream.Consumer{Stream: stream.Triggers, Name: stream.PlannerConsumer, Batch: 16}, p.Handle)
		},
		func(ctx context.Context) error {
			err := stream.Consume(ctx, w.bus, stream.Consumer{Stream: stream.Steps, Name: stream.DispatcherConsumer(event.Care), Batch: 16}, d.Handle)
			d.Wait()
			return err
		},
		func(ctx context.Context) error {
			return stream.Consume(ctx, w.bus, stream.Consumer{Stream: stream.Deliveries, Name: stream.RecorderConsumer, Batch: 16}, r.Handle)
		},
	} {
		running.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		running.Wait()
		door.Close()
		gatewayServer.Close()
		client.CloseIdleConnections()
		w.bus.Close()
		w.db.Close()
		for _, v := range w.sim.Violations() {
			t.Errorf("the gateway's oracle: %+v", v)
		}
	})
	return w
}

// clinic applies a tenant whose accounts report to the door.
func (w *reportWorld) clinic(slug string) *reportClinic {
	w.t.Helper()
	f, err := clinic.Parse(fmt.Appendf(nil, `
tenant: {slug: %[1]s, name: 미소치과}
accounts:
  - {channel: kakao, vendor: nhn, base_url: %[2]q, app_key: %[1]s-kakao, secret: s, sender: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}
  - {channel: sms, vendor: nhn, base_url: %[2]q, app_key: %[1]s-sms, secret: s, sender: "15880000"}
templates:
  - {name: care, kakao_template_code: SIM_OK, kakao_text: "#{환자명}님", sms_text: "#{환자명}님"}
workflows:
  - {name: aftercare, ignore_quiet_hours: true, steps: [{seconds: 0, template: care}]}
webhooks:
  - {name: booking, workflow: aftercare}
`, slug, w.simURL))
	if err != nil {
		w.t.Fatal(err)
	}
	a, err := w.db.ApplyClinic(w.t.Context(), f, store.ApplyOptions{Phones: testPhones})
	if err != nil {
		w.t.Fatal(err)
	}
	c := &reportClinic{reportWorld: w, tenant: a.Tenant, webhook: a.Webhooks[0].ID, account: map[event.Channel]uuid.UUID{}, token: map[event.Channel]string{}}
	for _, acct := range a.Accounts {
		c.account[acct.Channel], c.token[acct.Channel] = acct.ID, acct.ReportToken
		hook := w.hook
		hook.URL, hook.Signature = w.door+"/api/reports/"+acct.ID.String(), acct.ReportToken
		if err := w.sim.SetWebhook(slug+"-"+string(acct.Channel), hook); err != nil {
			w.t.Fatal(err)
		}
	}
	return c
}

// visit accepts a trigger for a patient with the number and returns its id.
func (c *reportClinic) visit(number string) uuid.UUID {
	c.t.Helper()
	c.n++
	id := fmt.Sprintf("visit-%d", c.n)
	out, err := c.db.AcceptTriggers(c.t.Context(), []store.Accept{{
		Tenant: c.tenant, WebhookID: c.webhook, Source: "webhook:" + c.webhook.String(), EventID: id, EventType: "visit", Kind: event.Webhook,
		Body: visit(id, number), Received: time.Now(),
	}})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.bus.Publish(c.t.Context(), []event.Event{&event.Trigger{Tenant: c.tenant, ID: out[0].TriggerID, Kind: event.Webhook}}); err != nil {
		c.t.Fatal(err)
	}
	return out[0].TriggerID
}

// steps describes the trigger's steps, Kakao first: "kakao delivered, …".
func (c *reportClinic) steps(trigger uuid.UUID) (list []store.StoryStep, text string) {
	c.t.Helper()
	st, err := c.db.Why(c.t.Context(), c.tenant, trigger)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, s := range st.Triggers[0].Steps {
		if text != "" {
			text += ", "
		}
		text += string(s.Channel) + " " + string(s.State)
		if s.State == store.StateFailed {
			text += ":" + string(s.Reason)
		}
		list = append(list, s)
	}
	return list, text
}

// becomes waits until the trigger's steps are as described.
func (c *reportClinic) becomes(trigger uuid.UUID, want string) []store.StoryStep {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		list, got := c.steps(trigger)
		if got == want {
			return list
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("steps are %q, want %q; log:\n%s", got, want, c.logged)
		}
		wait(c.t.Context(), 10*time.Millisecond)
	}
}

// report tells one report as NHN would, and returns the status of the answer.
func (c *reportClinic) report(ch event.Channel, hooks ...map[string]any) (status int, body string) {
	c.t.Helper()
	product := map[event.Channel]string{event.Kakao: "KakaoTalk Bizmessage", event.SMS: "SMS"}[ch]
	b, err := json.Marshal(map[string]any{"hooksId": "x", "productName": product, "event": "MESSAGE_RESULT_UPDATE", "hooks": hooks})
	if err != nil {
		c.t.Fatal(err)
	}
	return c.post(c.account[ch].String(), c.token[ch], b)
}

func (w *reportWorld) post(account, token string, body []byte) (status int, answer string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.door+"/api/reports/"+account, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("X-Toast-Webhook-Signature", token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		w.t.Fatal(err)
	}
	return res.StatusCode, b.String()
}

// reports waits until none is pending and counts those in a state.
func (w *reportWorld) reports(state string, want int) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		var pending, n int
		w.urls.Scan(w.t, `SELECT count(*) FILTER (WHERE state = 'pending'), count(*) FILTER (WHERE state = $1) FROM gateway_reports`, []any{state}, &pending, &n)
		if pending == 0 && n == want {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%d reports %s and %d pending, want %d and 0; log:\n%s", n, state, pending, want, w.logged)
		}
		wait(w.t.Context(), 10*time.Millisecond)
	}
}

// settled is the metric of settled reports by outcome.
func (w *reportWorld) settled(outcome string) float64 {
	w.t.Helper()
	families, err := w.reg.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "doctorsflow_reports_settled_total" && m.GetLabel()[0].GetValue() == outcome {
				return m.GetCounter().GetValue()
			}
		}
	}
	return -1
}

func (w *reportWorld) anomalies() (kinds string) {
	w.t.Helper()
	w.urls.Scan(w.t, `SELECT coalesce(string_agg(kind, ', ' ORDER BY id), '') FROM anomalies`, nil, &kinds)
	return kinds
}

func (w *reportWorld) holds() {
	w.t.Helper()
	list, err := w.db.Conserve(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range list {
		if c.Diff() != 0 {
			w.t.Errorf("conservation is off by %d: %+v", c.Diff(), c)
		}
	}
}

// texts counts the texts that the gateway accepted.
func (w *reportWorld) texts() (n int) {
	for _, e := range w.sim.Ledger() {
		if e.Channel == "sms" {
			n++
		}
	}
	return n
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
