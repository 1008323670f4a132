package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/intake"
)

func cloudEvent(t *testing.T, id, kind, data string) ce.Event {
	t.Helper()
	e := ce.New()
	e.SetID(id)
	e.SetSource("/emr/miso")
	e.SetType("com.example.appointment." + kind)
	e.SetTime(time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC))
	e.SetExtension("comexampletrace", "00-x")
	if err := e.SetData(ce.ApplicationJSON, json.RawMessage(data)); err != nil {
		t.Fatal(err)
	}
	return e
}

// post sends what the SDK wrote into req.
func (l *ledger) post(t *testing.T, write func(context.Context, *http.Request) error) (int, []intake.Receipt, string) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/appointments/events", http.NoBody)
	if err := write(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+l.mine.keys[auth.Integration])
	w := httptest.NewRecorder()
	l.mux.ServeHTTP(w, req)
	body, _ := io.ReadAll(w.Body)
	var out struct{ Results []intake.Receipt }
	if w.Code == http.StatusOK {
		if err := json.Unmarshal(body, &out); err != nil {
			t.Fatal(err)
		}
	}
	return w.Code, out.Results, string(body)
}

const bookedData = `{"patient":{"external_id":"P-50","name":"김하늘","phone":"010-0000-0001"},"appointment":{"id":"A-50","starts_at":"2026-12-01T14:30:00+09:00"}}`

// The official SDK is the producer: an event of it counts once, whichever mode
// it is sent in.
func TestCloudEventsAreTakenInEveryMode(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	e := cloudEvent(t, "1", "booked", bookedData)
	send := func(mode func(context.Context) context.Context) func(context.Context, *http.Request) error {
		return func(ctx context.Context, r *http.Request) error {
			return cehttp.WriteRequest(mode(ctx), binding.ToMessage(&e), r)
		}
	}
	code, got, said := l.post(t, send(binding.WithForceBinary))
	if code != http.StatusOK || len(got) != 1 || got[0].Status != intake.Accepted || got[0].EventID != "/emr/miso#1" {
		t.Fatal(code, said)
	}
	if code, got, said = l.post(t, send(binding.WithForceStructured)); code != http.StatusOK || got[0].Status != intake.Duplicate {
		t.Error(code, said)
	}
	batch := []ce.Event{e, cloudEvent(t, "2", "status", `{"status":"cancelled","appointment":{"id":"A-50"}}`), cloudEvent(t, "3", "vanished", bookedData)}
	code, got, said = l.post(t, func(_ context.Context, r *http.Request) error {
		b, err := json.Marshal(batch)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
		r.Header.Set("Content-Type", ce.ApplicationCloudEventsBatchJSON)
		return err
	})
	if code != http.StatusOK || len(got) != 3 || got[0].Status != intake.Duplicate || got[1].Status != intake.Accepted || got[1].Version != 2 || got[2].Status != intake.Rejected {
		t.Error(code, said)
	}
}

func TestAWrongCloudEventIsAProblem(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	header := func(set ...string) func(context.Context, *http.Request) error {
		return func(_ context.Context, r *http.Request) error {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(bookedData)), int64(len(bookedData))
			for i := 0; i < len(set); i += 2 {
				r.Header.Add(set[i], set[i+1])
			}
			return nil
		}
	}
	for name, c := range map[string]struct {
		write func(context.Context, *http.Request) error
		code  int
		want  string
	}{
		"no id":           {header("Content-Type", "application/json", "ce-specversion", "1.0", "ce-source", "emr", "ce-type", "appointment.booked"), 422, `"/id"`},
		"two ids":         {header("Content-Type", "application/json", "ce-specversion", "1.0", "ce-id", "1", "ce-id", "2"), 400, "ambiguous-header"},
		"no batch":        {header("Content-Type", ce.ApplicationCloudEventsBatchJSON), 422, "not-an-array"},
		"another type":    {header("Content-Type", "application/xml"), 415, "media types that the operation's documentation lists"},
		"another charset": {header("Content-Type", ce.ApplicationCloudEventsJSON+"; charset=euc-kr"), 415, "UTF-8"},
	} {
		if code, _, said := l.post(t, c.write); code != c.code || !strings.Contains(said, c.want) {
			t.Errorf("%s: %d %s", name, code, said)
		}
	}
}
