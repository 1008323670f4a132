package ingest_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"

	"github.com/doctorsflow/doctorsflow/ingest"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const goodBody = `{"type":"surgery.completed","patient":{"phone":"010-2345-6789","name":"김환자"},"extra":[1,{"a":null}]}`

// world is an Ingest with an in-memory ledger and one webhook.
type world struct {
	*ledger
	ingest *ingest.Ingest
	mux    *http.ServeMux
	reg    *prometheus.Registry
	logged *syncBuffer
	hook   store.Webhook
	stop   func() // ends Run and waits for it
}

func newWorld(tb testing.TB, c ingest.Config, change func(*store.Webhook)) *world {
	tb.Helper()
	hook := store.Webhook{
		Tenant: tenant.NewID(), ID: uuid.Must(uuid.NewV7()), Enabled: true,
		Secrets: [][]byte{ingest.NewSecret()}, PatientPointer: "/patient", TypePointer: "/type", RatePerMinute: 1_000_000,
	}
	if change != nil {
		change(&hook)
	}
	w := &world{
		ledger: &ledger{webhooks: map[uuid.UUID]store.Webhook{hook.ID: hook}, rows: map[triggerKey]row{}},
		hook:   hook, mux: http.NewServeMux(), reg: prometheus.NewRegistry(), logged: new(syncBuffer),
	}
	w.ingest = ingest.New(c, w.ledger, w.ledger, w.ledger, slog.New(slog.NewTextHandler(w.logged, nil)), w.reg)
	w.ingest.Register(w.mux)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.ingest.Run(ctx); err != nil {
			tb.Errorf("Run: %v", err)
		}
	})
	w.stop = func() { cancel(); running.Wait() }
	tb.Cleanup(w.stop)
	return w
}

// call describes a request; the zero call is a good one.
type call struct {
	id, body  string
	at        time.Time
	hook      uuid.UUID
	secret    []byte
	path      string
	change    func(*http.Request)
	signature string // instead of a good one
}

func (w *world) request(c call) *http.Request {
	if c.id == "" {
		c.id = "evt_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	}
	if c.body == "" {
		c.body = goodBody
	}
	if c.at.IsZero() {
		c.at = time.Now()
	}
	if c.hook == uuid.Nil {
		c.hook = w.hook.ID
	}
	if c.secret == nil {
		c.secret = w.hook.Secrets[0]
	}
	if c.path == "" {
		c.path = "/api/webhooks/" + c.hook.String()
	}
	if c.signature == "" {
		c.signature = sign(c.secret, c.id, c.at, c.body)
	}
	r := httptest.NewRequest(http.MethodPost, c.path, strings.NewReader(c.body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("webhook-id", c.id)
	r.Header.Set("webhook-timestamp", strconv.FormatInt(c.at.Unix(), 10))
	r.Header.Set("webhook-signature", c.signature)
	if c.change != nil {
		c.change(r)
	}
	return r
}

type answer struct {
	status    int
	header    http.Header
	body      string
	Type      string `json:"type"`
	TriggerID string `json:"trigger_id"`
	Duplicate *bool  `json:"duplicate"`
	Errors    []struct{ Pointer, Code string }
}

func (w *world) post(tb testing.TB, c call) answer {
	tb.Helper()
	return w.send(tb, w.request(c))
}

func (w *world) send(tb testing.TB, r *http.Request) answer {
	tb.Helper()
	rec := httptest.NewRecorder()
	w.mux.ServeHTTP(rec, r)
	a := answer{status: rec.Code, header: rec.Header(), body: rec.Body.String()}
	if err := json.Unmarshal(rec.Body.Bytes(), &a); err != nil {
		tb.Fatalf("answer is not JSON: %v: %s", err, a.body)
	}
	return a
}

func (a answer) problem() string { return strings.TrimPrefix(a.Type, "/problems/") }

// count returns the value of a counter, or the number of a histogram's
// observations, with the outcome label if one is given.
func (w *world) count(tb testing.TB, name, outcome string) float64 {
	tb.Helper()
	families, err := w.reg.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "doctorsflow_ingest_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			if outcome == "" || m.GetLabel()[0].GetValue() == outcome {
				return m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}

// sign makes a signature with the public library.
func sign(secret []byte, id string, at time.Time, body string) string {
	lib, err := standardwebhooks.NewWebhook(ingest.EncodeSecret(secret))
	if err != nil {
		panic(err)
	}
	s, err := lib.Sign(id, at, []byte(body))
	if err != nil {
		panic(err)
	}
	return s
}

func signLegacy(secret []byte, body string) string {
	h := hmac.New(sha256.New, secret)
	_, _ = io.WriteString(h, body)
	return hex.EncodeToString(h.Sum(nil))
}

// signText signs what the library would not.
func signText(secret []byte, text string) string {
	h := hmac.New(sha256.New, secret)
	_, _ = io.WriteString(h, text)
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// legacy replaces the signature by the original's.
func legacy(signature string) func(*http.Request) {
	return func(r *http.Request) {
		for _, h := range []string{"webhook-id", "webhook-timestamp", "webhook-signature"} {
			r.Header.Del(h)
		}
		r.Header.Set("x-webhook-signature", signature)
	}
}

// body replaces the body after signing.
func body(s string) func(*http.Request) {
	return func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(s)), int64(len(s))
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
