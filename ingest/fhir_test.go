package ingest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/ingest"
	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/fhir"
	"github.com/doctorsflow/doctorsflow/internal/intake"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/storetest"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// emr is a FHIR server: its resources, and the events of one subscription.
type emr struct {
	*httptest.Server
	mu        sync.Mutex
	resources map[string]string
	events    []string // what each is about; its number is its place, from 1
	mute      bool     // it knows no $events
	broken    int      // so many answers are 500
	asked     []string
	strangers int
}

func newEMR(t *testing.T) *emr {
	t.Helper()
	e := &emr{resources: map[string]string{"Patient/77": `{"resourceType":"Patient","id":"77","name":[{"text":"김하늘"}],"telecom":[{"system":"phone","value":"010-0000-0077"}]}`}}
	e.Server = httptest.NewServer(e)
	t.Cleanup(e.Close)
	return e
}

// visit changes a resource, and is an event of the subscription.
func (e *emr) visit(id, status, day string) (number int, resource string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events = append(e.events, "Appointment/"+id)
	n := len(e.events)
	resource = fmt.Sprintf(`{"resourceType":"Appointment","id":%q,"meta":{"versionId":"%d","lastUpdated":"2026-11-24T10:%02d:00Z"},"status":%q,"start":"2026-12-%sT10:00:00+09:00","participant":[{"actor":{"reference":"Patient/77"}}]}`, id, n, n, status, day)
	e.resources["Appointment/"+id] = resource
	return n, resource
}

// ServeHTTP answers reads, searches and $events.
func (e *emr) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/fhir/")
	e.asked = append(e.asked, path)
	if r.Header.Get("Authorization") != "Bearer emr-token" {
		e.strangers++
	}
	w.Header().Set("Content-Type", "application/fhir+json")
	switch {
	case e.broken > 0:
		e.broken--
		w.WriteHeader(http.StatusInternalServerError)
	case path == "Subscription/1/$events" && !e.mute:
		since, _ := strconv.Atoi(r.URL.Query().Get("eventsSinceNumber"))
		until, _ := strconv.Atoi(r.URL.Query().Get("eventsUntilNumber"))
		fmt.Fprint(w, notice("query-event", len(e.events), e.named(since, until)))
	case path == "Appointment":
		page := r.URL.Query().Get("page")
		var entries []string
		for ref, resource := range e.resources {
			if strings.HasPrefix(ref, path) && (ref < "Appointment/5") == (page == "") {
				entries = append(entries, `{"resource":`+resource+`}`)
			}
		}
		next := ""
		if page == "" {
			next = `,"link":[{"relation":"self","url":"x"},{"relation":"next","url":"` + e.URL + `/fhir/Appointment?page=2"}]`
		}
		fmt.Fprintf(w, `{"resourceType":"Bundle","type":"searchset"%s,"entry":[%s]}`, next, strings.Join(entries, ","))
	case e.resources[path] != "":
		fmt.Fprint(w, e.resources[path])
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// named are events as a status tells them.
func (e *emr) named(since, until int) (list []string) {
	for n := since; n <= until && n <= len(e.events); n++ {
		list = append(list, fmt.Sprintf(`{"eventNumber":"%d","focus":{"reference":%q}}`, n, e.events[n-1]))
	}
	return list
}

func notice(kind string, events int, named []string, resources ...string) string {
	more := ""
	for _, r := range resources {
		more += `,{"resource":` + r + `}`
	}
	return fmt.Sprintf(`{"resourceType":"Bundle","type":"subscription-notification","entry":[{"resource":{"resourceType":"SubscriptionStatus","type":%q,"eventsSinceSubscriptionStart":"%d","notificationEvent":[%s],"subscription":{"reference":"Subscription/1"}}}%s]}`,
		kind, events, strings.Join(named, ","), more)
}

// ear is a clinic that hears an emr.
type ear struct {
	t      *testing.T
	db     *store.DB
	tenant tenant.ID
	source uuid.UUID
	desk   *intake.Desk
	reader *ingest.FHIR
	urls   storetest.URLs
}

func newEar(t *testing.T, e *emr) *ear {
	t.Helper()
	h := &ear{t: t, urls: storetest.Database(t)}
	var err error
	if h.db, err = store.Open(t.Context(), store.Config{APIURL: h.urls.API, WorkerURL: h.urls.Worker, Master: seal.NewKey()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.db.Close)
	f, err := clinic.Parse([]byte(`tenant: {slug: miso, name: 미소치과}`))
	if err != nil {
		t.Fatal(err)
	}
	a, err := h.db.ApplyClinic(t.Context(), f, store.ApplyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h.tenant = a.Tenant
	s, err := h.db.CreateFHIRSource(t.Context(), h.tenant, store.FHIRSource{Name: "emr", BaseURL: e.URL + "/fhir", Token: "emr-token", Source: "emr"})
	if err != nil {
		t.Fatal(err)
	}
	h.source = s.ID
	h.desk = &intake.Desk{Ledger: h.db, Again: func(*store.Replanning) store.NewPlan { return store.NewPlan{} }, Phones: phone.Options{AllowTestBands: true}}
	h.reader = &ingest.FHIR{Ledger: h.db, Desk: h.desk, Client: fhir.New(), Every: 20 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)}
	return h
}

func (h *ear) hear(raw string) intake.Notice {
	h.t.Helper()
	out, wrong, err := h.desk.ReceiveNotification(h.t.Context(), h.tenant, store.Hand{Actor: "key:test"}, h.db, h.source, []byte(raw))
	if err != nil || len(wrong) > 0 {
		h.t.Fatal(wrong, err)
	}
	return out
}

// stands are the clinic's appointments as they stand, once nothing is to be
// read.
func (h *ear) stands(want string) {
	h.t.Helper()
	var got string
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var open int
		h.urls.Scan(h.t, `SELECT (SELECT count(*) FROM fhir_pending WHERE wake_at IS NOT NULL) + (SELECT count(*) FROM fhir_subscriptions WHERE wake_at IS NOT NULL)`, nil, &open)
		h.urls.Scan(h.t, `SELECT coalesce(string_agg(external_id || ' ' || status || ' ' || to_char(appointment_date, 'DD'), ', ' ORDER BY external_id), '') FROM appointments`, nil, &got)
		if open == 0 && got == want {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%q, %d to be read; want %q", got, open, want)
		}
	}
}

func (h *ear) runs() (stop func()) {
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(done)
		_ = h.reader.Run(ctx) // nil once it is cancelled
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	h.t.Cleanup(stop)
	return stop
}

func TestASubscriptionIsHeardWithItsGaps(t *testing.T) {
	t.Parallel()
	e := newEMR(t)
	h := newEar(t, e)
	h.runs()
	if out := h.hear(notice("handshake", 0, nil)); out.Type != "handshake" || out.Todo {
		t.Errorf("%+v", out)
	}
	// Its resource is in it, and its patient is not: the server is asked.
	_, booked := e.visit("1", "booked", "01")
	if out := h.hear(notice("event-notification", 1, e.named(1, 1), booked)); out.Rejected != 1 || out.Fetch != 1 || !out.Todo {
		t.Errorf("%+v", out)
	}
	h.stands("1 scheduled 01")
	// The patient is known: nothing is to be asked for.
	_, moved := e.visit("1", "booked", "02")
	if out := h.hear(notice("event-notification", 2, e.named(2, 2), moved)); out.Accepted != 1 || out.Todo {
		t.Errorf("%+v", out)
	}
	if out := h.hear(notice("event-notification", 2, e.named(2, 2), moved)); out.Duplicate != 1 || out.Todo {
		t.Errorf("again: %+v", out)
	}
	// Events 3 to 5 are lost, two of them about one appointment; 6 names its resource only. Meanwhile the server
	// stumbles.
	e.visit("2", "booked", "03")
	e.visit("1", "cancelled", "02")
	e.visit("2", "booked", "03")
	e.visit("3", "booked", "05")
	e.mu.Lock()
	e.broken = 1
	e.mu.Unlock()
	if out := h.hear(notice("event-notification", 6, e.named(6, 6))); out.Fetch != 1 || !out.Todo {
		t.Errorf("%+v", out)
	}
	h.stands("1 cancelled 02, 2 scheduled 03, 3 scheduled 05")
	// A heartbeat tells of what was never heard.
	e.visit("3", "fulfilled", "05")
	if out := h.hear(notice("heartbeat", 7, nil)); !out.Todo {
		t.Errorf("%+v", out)
	}
	h.stands("1 cancelled 02, 2 scheduled 03, 3 completed 05")
	// An event that says nothing but its number.
	e.visit("2", "noshow", "03")
	h.hear(notice("event-notification", 8, []string{`{"eventNumber":"8"}`}))
	h.stands("1 cancelled 02, 2 no_show 03, 3 completed 05")
	heard, err := h.db.FHIRSubscriptions(t.Context(), h.tenant)
	if err != nil || len(heard) != 1 || heard[0].LastEvent != 8 || heard[0].Highest != 8 || heard[0].Error != "" || heard[0].Pending != 0 {
		t.Errorf("%+v, %v", heard, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.strangers > 0 {
		t.Errorf("%d questions without the token", e.strangers)
	}
}

func TestAServerThatCannotTellItsEventsIsSearched(t *testing.T) {
	t.Parallel()
	e := newEMR(t)
	e.mute = true
	h := newEar(t, e)
	h.runs()
	h.hear(notice("handshake", 0, nil))
	e.visit("1", "booked", "01")
	e.visit("7", "booked", "07") // on the second page
	h.hear(notice("heartbeat", 2, nil))
	h.stands("1 scheduled 01, 7 scheduled 07")
	// What is not there any more is told, and not asked for for ever.
	e.visit("8", "booked", "08")
	e.mu.Lock()
	delete(e.resources, "Appointment/8")
	e.mu.Unlock()
	h.hear(notice("event-notification", 3, []string{`{"eventNumber":"3","focus":{"reference":"Appointment/8"}}`}))
	h.stands("1 scheduled 01, 7 scheduled 07")
	var why string
	h.urls.Scan(t, `SELECT error FROM fhir_pending WHERE reference = 'Appointment/8'`, nil, &why)
	if why != "gone" {
		t.Error(why)
	}
}

func TestAServersTokenGoesNowhereElse(t *testing.T) {
	t.Parallel()
	heard := make(chan string, 1)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { heard <- r.Header.Get("Authorization") }))
	defer other.Close()
	for name, answer := range map[string]http.HandlerFunc{
		"a redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) },
		"a next page": func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(map[string]any{"resourceType": "Bundle", "link": []any{map[string]string{"relation": "next", "url": other.URL}}})
		},
	} {
		s := httptest.NewServer(answer)
		err := fhir.New().Changed(t.Context(), fhir.Server{BaseURL: s.URL, Token: "emr-token"}, "Appointment", time.Now(), func([]byte) (string, error) { return other.URL, nil })
		s.Close()
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	select {
	case got := <-heard:
		t.Errorf("another server was asked, with %q", got)
	default:
	}
	for base, ok := range map[string]bool{"https://emr.example.com/fhir": true, "http://127.0.0.1:8080/fhir": true, "http://emr.example.com": false, "https://u:p@emr.example.com": false, "https://emr.example.com?x=1": false, "file:///etc": false} {
		if err := fhir.CheckBase(base); (err == nil) != ok {
			t.Errorf("%s: %v", base, err)
		}
	}
}
