//go:build failpoint

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/failpoint"
	"github.com/doctorsflow/doctorsflow/internal/storetest"
)

// fhirServer has appointments and what happened to them, in order.
type fhirServer struct {
	mu        sync.Mutex
	resources map[string]string
	events    []string
}

func (f *fhirServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/")
	var since, until int
	if path == "Subscription/1/$events" {
		_, _ = fmt.Sscan(r.URL.Query().Get("eventsSinceNumber"), &since)
		_, _ = fmt.Sscan(r.URL.Query().Get("eventsUntilNumber"), &until)
		fmt.Fprint(w, f.notice("query-event", since, until))
		return
	}
	if f.resources[path] == "" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	fmt.Fprint(w, f.resources[path])
}

// notice is a notification of some events, by number.
func (f *fhirServer) notice(kind string, since, until int) string {
	var named []string
	for n := since; n <= until && n <= len(f.events); n++ {
		named = append(named, fmt.Sprintf(`{"eventNumber":"%d","focus":{"reference":%q}}`, n, f.events[n-1]))
	}
	return fmt.Sprintf(`{"resourceType":"Bundle","type":"subscription-notification","entry":[{"resource":{"resourceType":"SubscriptionStatus","type":%q,"eventsSinceSubscriptionStart":"%d","notificationEvent":[%s],"subscription":{"reference":"Subscription/1"}}}]}`,
		kind, len(f.events), strings.Join(named, ","))
}

// changed changes an appointment, and returns the notification of it.
func (f *fhirServer) changed(id, status string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, "Appointment/"+id)
	n := len(f.events)
	f.resources["Appointment/"+id] = fmt.Sprintf(`{"resourceType":"Appointment","id":%q,"meta":{"versionId":"%d","lastUpdated":"2026-11-24T10:%02d:00Z"},"status":%q,"start":"2030-12-01T10:00:00+09:00","participant":[{"actor":{"reference":"Patient/%s"}}]}`, id, n, n, status, id)
	f.resources["Patient/"+id] = fmt.Sprintf(`{"resourceType":"Patient","id":%q,"name":[{"text":"김하늘"}],"telecom":[{"system":"phone","value":"010-0000-%04s"}]}`, id, id)
	return f.notice("event-notification", n, n)
}

// TestKillAtANotice kills the program while a FHIR server notifies it, and
// loses every third notification. After the restart the ledger is where the
// server is.
func TestKillAtANotice(t *testing.T) {
	exe := built(t, "")
	for _, c := range []faultCase{{point: failpoint.NoticeKept, hit: 4}, {point: failpoint.GapRead, hit: 1}, {point: failpoint.ResourceRead, hit: 5}} {
		t.Run(c.name(), func(t *testing.T) {
			t.Parallel()
			l := newLane(t, exe)
			l.notice(t, c)
			command(t, "conserve", "--data", l.data)
		})
	}
}

func (l *lane) notice(t testing.TB, c faultCase) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	v, err := l.start(fmt.Sprintf("%s:%d", c.point, c.hit))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "clinic.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, "tenant: {slug: %s, name: 미소치과}\n", c.name()), 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, "apply", "-f", file, "--data", l.data)
	key := regexp.MustCompile(`dfk_[0-9A-Za-z]+`).FindString(command(t, "tenant", "key", c.name(), "--name", "emr", "--role", "integration", "--data", l.data))
	emr := &fhirServer{resources: map[string]string{}}
	server := httptest.NewServer(emr)
	defer server.Close()
	address := strings.TrimSpace(command(t, "tenant", "fhir", "create", "--tenant", c.name(), "--base-url", server.URL, "--public-url", "http://"+l.addr, "--data", l.data))
	var all sync.WaitGroup
	all.Go(func() {
		const visits = 6
		for round, status := range []string{"booked", "arrived", "fulfilled"} {
			for i := range visits {
				raw := emr.changed(fmt.Sprint(i+1), status)
				if (round*visits+i)%3 == 2 {
					continue // it is lost on its way
				}
				var said json.RawMessage
				if err := ask(ctx, http.MethodPost, address, key, raw, &said); err != nil {
					t.Error(err)
				}
			}
		}
		emr.mu.Lock()
		beat := emr.notice("heartbeat", 1, 0)
		emr.mu.Unlock()
		var said json.RawMessage
		if err := ask(ctx, http.MethodPost, address, key, beat, &said); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-v.ended:
	case <-time.After(time.Minute):
		t.Fatalf("%s was not hit %d times\n%s", c.point, c.hit, v.tail())
	}
	if !v.fired(c.point, c.hit) {
		t.Fatalf("the process ended by something else: %v\n%s", v.cmd.ProcessState, v.tail())
	}
	if _, err = l.start(""); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	where, err := readRunning(l.data)
	if err != nil {
		t.Fatal(err)
	}
	look := storetest.URLs{Super: where.WorkerURL}
	var completed, open, patients int
	// What the dead process had leased is free after two minutes; scaled by
	// nothing, so that the test waits for it.
	for completed < 6 || open > 0 {
		look.Scan(t, `SELECT (SELECT count(*) FROM appointments WHERE status = 'completed'), (SELECT count(*) FROM fhir_pending WHERE wake_at IS NOT NULL) + (SELECT count(*) FROM fhir_subscriptions WHERE wake_at IS NOT NULL),
			(SELECT count(*) FROM patients)`, nil, &completed, &open, &patients)
		if wait(ctx, 200*time.Millisecond); ctx.Err() != nil {
			t.Fatalf("%d of 6 appointments are completed, %d to be read", completed, open)
		}
	}
	if patients != 6 {
		t.Errorf("%d patients of 6", patients)
	}
}
