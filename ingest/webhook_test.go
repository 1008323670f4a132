package ingest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/ingest"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

func TestAcceptedOnceThenDuplicateThenConflict(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ingest.Config{}, nil)
	one := w.post(t, call{id: "evt-1"})
	if one.status != 202 || one.Duplicate == nil || *one.Duplicate || one.header.Get("Content-Type") != "application/json" {
		t.Fatalf("first: %d %s", one.status, one.body)
	}
	two := w.post(t, call{id: "evt-1", at: time.Now().Add(-time.Minute)})
	if want := fmt.Sprintf(`{"trigger_id":%q,"duplicate":true}`, one.TriggerID); two.status != 202 || two.body != want {
		t.Errorf("same id and body: %d %s, want %s", two.status, two.body, want)
	}
	if three := w.post(t, call{id: "evt-1", body: strings.Replace(goodBody, "6789", "6780", 1)}); three.status != 409 || three.problem() != "idempotency-conflict" {
		t.Errorf("same id, other body: %d %s", three.status, three.body)
	}
	w.stop()
	if len(w.refused) != 0 {
		t.Error("a conflict, whose row the ledger wrote, was recorded again")
	}
	want := []store.Accept{{
		Tenant: w.hook.Tenant, WebhookID: w.hook.ID, Source: "webhook:" + w.hook.ID.String(),
		EventID: "evt-1", EventType: "surgery.completed", Kind: event.Webhook, Received: w.accepts[0].Received,
	}}
	if diff := cmp.Diff(want, w.accepts); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	trigger := &event.Trigger{Tenant: w.hook.Tenant, ID: uuid.MustParse(one.TriggerID), Kind: event.Webhook}
	if diff := cmp.Diff([]event.Event{trigger}, w.events); diff != "" {
		t.Errorf("published (-want +got):\n%s", diff)
	}
	for outcome, want := range map[string]float64{"accepted": 1, "duplicate": 1, "idempotency-conflict": 1} {
		if got := w.count(t, "calls_total", outcome); got != want {
			t.Errorf("counted %v %s", got, outcome)
		}
	}
}

func TestFormIsRefusedBeforeTheSignatureIsAsked(t *testing.T) {
	t.Parallel()
	twice := func(name, a, b string) func(*http.Request) {
		return func(r *http.Request) { r.Header[http.CanonicalHeaderKey(name)] = []string{a, b} }
	}
	tests := []struct {
		name    string
		call    call
		status  int
		problem string
	}{
		{"two_ids", call{change: twice("webhook-id", "a", "b")}, 400, "ambiguous-header"},
		{"two_timestamps", call{change: twice("webhook-timestamp", "1", "1")}, 400, "ambiguous-header"},
		{"two_signatures", call{change: twice("webhook-signature", "v1,a", "v1,b")}, 400, "ambiguous-header"},
		{"two_legacy_signatures", call{change: twice("x-webhook-signature", "a", "b")}, 400, "ambiguous-header"},
		{"two_authorizations", call{change: twice("authorization", "a", "b")}, 400, "ambiguous-header"},
		{"two_content_types", call{change: twice("content-type", "application/json", "text/plain")}, 400, "ambiguous-header"},
		{"no_content_type", call{change: func(r *http.Request) { r.Header.Del("Content-Type") }}, 415, "unsupported-media-type"},
		{"text", call{change: header("content-type", "text/plain")}, 415, "unsupported-media-type"},
		{"form", call{change: header("content-type", "application/x-www-form-urlencoded")}, 415, "unsupported-media-type"},
		{"almost_json", call{change: header("content-type", "application/jsonx")}, 415, "unsupported-media-type"},
		{"euc_kr", call{change: header("content-type", "application/json; charset=euc-kr")}, 415, "unsupported-media-type"},
		{"other_parameter", call{change: header("content-type", "application/json; profile=x")}, 415, "unsupported-media-type"},
		{"broken_content_type", call{change: header("content-type", "application/json;;=")}, 415, "unsupported-media-type"},
		{"gzip", call{change: header("content-encoding", "gzip")}, 415, "unsupported-media-type"},
		{"64_kib_and_one", call{body: strings.Repeat(" ", ingest.MaxBody+1)}, 413, "payload-too-large"},
		{"64_kib_and_one_of_unknown_length", call{body: strings.Repeat(" ", ingest.MaxBody+1), change: func(r *http.Request) { r.ContentLength = -1 }}, 413, "payload-too-large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ingest.Config{}, nil)
			a := w.post(t, tt.call)
			if a.status != tt.status || a.problem() != tt.problem || a.header.Get("Connection") != "close" {
				t.Errorf("answered %d %s, Connection %q", a.status, a.body, a.header.Get("Connection"))
			}
			tt.call.hook = uuid.Must(uuid.NewV7())
			if b := w.post(t, tt.call); b.status != a.status || b.problem() != a.problem() {
				t.Errorf("an unknown webhook answered %d %s", b.status, b.body)
			}
			w.stop()
			if len(w.refused) != 1 || w.refused[0].WebhookID != w.hook.ID || w.refused[0].Problem != tt.problem || w.refused[0].ResponseStatus != tt.status || w.refused[0].Body != nil {
				t.Errorf("recorded %+v", w.refused)
			}
		})
	}
}

func TestContentTypeMaySayUTF8(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ingest.Config{}, nil)
	for _, ct := range []string{"application/json", "application/json; charset=utf-8", `Application/JSON;charset="UTF-8"`} {
		if a := w.post(t, call{change: header("content-type", ct)}); a.status != 202 {
			t.Errorf("%s: answered %d", ct, a.status)
		}
	}
	if a := w.post(t, call{change: header("content-encoding", "identity")}); a.status != 202 {
		t.Errorf("identity: answered %d", a.status)
	}
}

func TestPayloadIsJudgedWithPointers(t *testing.T) {
	t.Parallel()
	patient := func(s string) string { return `{"type":"t","patient":` + s + `}` }
	uid := uuid.Must(uuid.NewV7()).String()
	tests := []struct {
		name, body string
		status     int
		want       string // problem and pointer:code …
	}{
		{"not_json", `{"type":`, 400, "malformed-json"},
		{"bom", "\ufeff" + goodBody, 400, "malformed-json"},
		{"second_document", `{}{}`, 400, "malformed-json"},
		{"nan", `{"a":NaN}`, 400, "malformed-json"},
		{"comment", `{"a":1/**/}`, 400, "malformed-json"},
		{"single_quotes", `{'a':1}`, 400, "malformed-json"},
		{"doubled_key", `{"type":"a","type":"b"}`, 400, "duplicate-key"},
		{"doubled_key_but_for_case", `{"patient":{"phone":"010-2345-6789","Phone":"x"}}`, 400, "duplicate-key /patient/Phone:duplicate-key"},
		{"doubled_key_of_data", `{"patient":{"01023456789":1,"01023456789":2}}`, 400, "duplicate-key /patient/*:duplicate-key"},
		{"too_many_values", "[" + strings.Repeat("0,", 10_000) + "0]", 400, "too-many-values"},
		{"key_of_129", `{"` + strings.Repeat("a", 129) + `":1}`, 400, "too-long"},
		{"string_of_8193", `{"a":"` + strings.Repeat("a", 8193) + `"}`, 400, "too-long"},
		{"id_beyond_a_double", `{"type":"t","patient":{"external_id":"7"},"order":9007199254740993}`, 202, ""},
		{"too_deep", strings.Repeat("[", 33) + strings.Repeat("]", 33), 400, "json-too-deep"},
		{"far_too_deep", strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001), 400, "json-too-deep"},
		{"nul", `{"a":"\u0000"}`, 400, "invalid-text"},
		{"lone_surrogate", `{"a":"\ud800"}`, 400, "invalid-text"},
		{"invalid_utf8", "{\"a\":\"\xff\"}", 400, "invalid-text"},
		{"1e400", `{"a":1e400}`, 422, "out-of-range"},
		{"only_space", " \n", 422, "schema :empty"},
		{"null", `null`, 422, "schema :not-an-object"},
		{"array", `[]`, 422, "schema :not-an-object"},
		{"string", `"x"`, 422, "schema :not-an-object"},
		{"empty_object", `{}`, 422, "invalid-payload /type:required /patient:required"},
		{"no_patient", `{"type":"t"}`, 422, "invalid-payload /patient:required"},
		{"null_patient", patient(`null`), 422, "invalid-payload /patient:required"},
		{"patient_is_text", patient(`"kim"`), 422, "invalid-payload /patient:not-an-object"},
		{"patient_is_list", patient(`[]`), 422, "invalid-payload /patient:not-an-object"},
		{"nobody", patient(`{"name":"kim"}`), 422, "invalid-payload /patient:no-identifier"},
		{"nobody_by_null", patient(`{"id":null,"phone":null}`), 422, "invalid-payload /patient:no-identifier"},
		{"type_is_number", `{"type":1,"patient":{"external_id":"7"}}`, 422, "invalid-payload /type:not-a-string"},
		{"type_is_empty", `{"type":"","patient":{"external_id":"7"}}`, 422, "invalid-payload /type:invalid-type"},
		{"type_with_space", `{"type":"a b","patient":{"external_id":"7"}}`, 422, "invalid-payload /type:invalid-type"},
		{"type_in_korean", `{"type":"예약","patient":{"external_id":"7"}}`, 422, "invalid-payload /type:invalid-type"},
		{"type_of_65", `{"type":"` + strings.Repeat("a", 65) + `","patient":{"external_id":"7"}}`, 422, "invalid-payload /type:invalid-type"},
		{"type_of_64", `{"type":"` + strings.Repeat("a", 64) + `","patient":{"external_id":"7"}}`, 202, ""},
		{"type_escaped", `{"type":"\u0061.b","patient":{"external_id":"7"}}`, 202, ""},
		{"id", patient(`{"id":"` + uid + `"}`), 202, ""},
		{"id_upper", patient(`{"id":"` + strings.ToUpper(uid) + `"}`), 422, "invalid-payload /patient/id:not-a-uuid"},
		{"id_is_number", patient(`{"id":7}`), 422, "invalid-payload /patient/id:not-a-string"},
		{"external_id_empty", patient(`{"external_id":""}`), 422, "invalid-payload /patient/external_id:empty"},
		{"external_id_of_64", patient(`{"external_id":"` + strings.Repeat("가", 64) + `"}`), 202, ""},
		{"external_id_of_65", patient(`{"external_id":"` + strings.Repeat("가", 65) + `"}`), 422, "invalid-payload /patient/external_id:too-long"},
		{"external_id_with_newline", patient(`{"external_id":"a\nb"}`), 422, "invalid-payload /patient/external_id:control-character"},
		{"phone_with_country", patient(`{"phone":"+82 10-2345-6789"}`), 202, ""},
		{"phone_is_number", patient(`{"phone":1023456789}`), 422, "invalid-payload /patient/phone:not-a-string"},
		{"phone_is_landline", patient(`{"phone":"02-123-4567"}`), 422, "invalid-payload /patient/phone:not-mobile"},
		{"phone_is_emergency", patient(`{"phone":"119"}`), 422, "invalid-payload /patient/phone:not-mobile"},
		{"phone_is_text", patient(`{"phone":"O1O-2345-6789"}`), 422, "invalid-payload /patient/phone:invalid-phone"},
		{"phone_full_width", patient(`{"phone":"０１０２３４５６７８９"}`), 422, "invalid-payload /patient/phone:invalid-phone"},
		{"phone_empty", patient(`{"phone":""}`), 422, "invalid-payload /patient/phone:invalid-phone"},
		{"phone_abroad", patient(`{"phone":"+14155552671"}`), 422, "invalid-payload /patient/phone:foreign-number"},
		{"phone_of_the_simulator", patient(`{"phone":"010-0000-0000"}`), 422, "invalid-payload /patient/phone:test-number"},
		{"bad_phone_beside_a_good_id", patient(`{"external_id":"7","phone":"x"}`), 422, "invalid-payload /patient/phone:invalid-phone"},
		{"name_of_100", patient(`{"external_id":"7","name":"` + strings.Repeat("김", 100) + `"}`), 202, ""},
		{"name_of_101", patient(`{"external_id":"7","name":"` + strings.Repeat("김", 101) + `"}`), 422, "invalid-payload /patient/name:too-long"},
		{"name_empty", patient(`{"external_id":"7","name":""}`), 202, ""},
		{"name_is_object", patient(`{"external_id":"7","name":{}}`), 422, "invalid-payload /patient/name:not-a-string"},
		{"unknown_fields_are_welcome", `{"type":"t","patient":{"external_id":"7","x":1},"tenant_id":"b","state":{}}`, 202, ""},
		{
			"several", `{"type":1,"patient":{"id":"x","phone":"1588-1234"}}`, 422,
			"invalid-payload /type:not-a-string /patient/id:not-a-uuid /patient/phone:not-mobile",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ingest.Config{}, nil)
			a := w.post(t, call{id: "evt_1", body: tt.body})
			got := a.problem()
			if strings.Contains(tt.want, " ") {
				for _, e := range a.Errors {
					got += " " + e.Pointer + ":" + e.Code
				}
			}
			if a.status != tt.status || got != tt.want {
				t.Fatalf("answered %d %s, want %d %s: %s", a.status, got, tt.status, tt.want, a.body)
			}
			w.stop()
			if a.status == 202 {
				return
			}
			if len(w.accepts) != 0 || len(w.refused) != 1 || string(w.refused[0].Body) != tt.body || w.refused[0].EventID != "evt_1" {
				t.Errorf("kept %v, recorded %+v", w.accepts, w.refused)
			}
		})
	}
}

func TestPointersSayWhereThingsAre(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, patient, typ, body string
		workflow                 bool
		status                   int
		wantType                 string
	}{
		{"elsewhere", "/data/client", "/event/name", `{"event":{"name":"x"},"data":{"client":{"external_id":"1"}}}`, false, 202, "x"},
		{"flat", "", "/kind", `{"kind":"x","phone":"010-2345-6789"}`, false, 202, "x"},
		{"in_a_list", "/patients/0", "/type", `{"type":"x","patients":[{"external_id":"1"}]}`, false, 202, "x"},
		{"no_type_but_one_workflow", "/patient", "/type", `{"patient":{"external_id":"1"}}`, true, 202, ""},
		{"no_type_pointer", "/patient", "", `{"type":1,"patient":{"external_id":"1"}}`, false, 202, ""},
		{"no_type", "/patient", "/type", `{"patient":{"external_id":"1"}}`, false, 422, ""},
		{"bad_type_beside_one_workflow", "/patient", "/type", `{"type":1,"patient":{"external_id":"1"}}`, true, 422, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ingest.Config{}, func(h *store.Webhook) {
				h.PatientPointer, h.TypePointer = tt.patient, tt.typ
				if tt.workflow {
					h.WorkflowID = uuid.Must(uuid.NewV7())
				}
			})
			a := w.post(t, call{body: tt.body})
			if a.status != tt.status {
				t.Fatalf("answered %d %s", a.status, a.body)
			}
			if a.status == 202 && w.accepts[0].EventType != tt.wantType {
				t.Errorf("type %q, want %q", w.accepts[0].EventType, tt.wantType)
			}
		})
	}
}

func TestTestNumbersAreAllowedWhereTheSimulatorIs(t *testing.T) {
	t.Parallel()
	c := ingest.Config{}
	c.Phone.AllowTestBands = true
	w := newWorld(t, c, nil)
	if a := w.post(t, call{body: `{"type":"t","patient":{"phone":"010-0019-0000"}}`}); a.status != 202 {
		t.Errorf("answered %d %s", a.status, a.body)
	}
}

func TestNothingOfTheInputIsEchoedOrLogged(t *testing.T) {
	t.Parallel()
	const canary = "카나리아7319"
	w := newWorld(t, ingest.Config{}, nil)
	for _, body := range []string{
		`{"type":"` + canary + `","patient":{"name":"` + strings.Repeat(canary, 30) + `","phone":"` + canary + `"}}`,
		`{"` + canary + `":1,"` + canary + `":2}`,
		`{"` + canary + `":"\u0000"}`,
		canary,
	} {
		a := w.post(t, call{body: body, change: header("X-Request-Id", canary)})
		if a.status < 400 || strings.Contains(a.body, canary) || strings.Contains(fmt.Sprint(a.header), canary) {
			t.Errorf("answered %d %v %s", a.status, a.header, a.body)
		}
	}
	if a := w.post(t, call{path: "/api/webhooks/" + canary}); strings.Contains(a.body, canary) {
		t.Errorf("answered %s", a.body)
	}
	w.before = func(_ context.Context, _ []store.Accept) error { return store.ErrUnavailable }
	w.post(t, call{body: `{"type":"t","patient":{"external_id":"` + canary + `"}}`})
	w.stop()
	if l := w.logged.String(); l == "" || strings.Contains(l, canary) || strings.Contains(l, "6789") {
		t.Errorf("logged %s", l)
	}
}

func TestSpoofedHeadersChangeNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ingest.Config{}, nil)
	a := w.post(t, call{change: func(r *http.Request) {
		for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Tenant-Id", "X-User-Id", "X-HTTP-Method-Override"} {
			r.Header.Set(name, "DELETE")
		}
	}})
	if a.status != 202 || w.accepts[0].Tenant != w.hook.Tenant {
		t.Errorf("answered %d for %v", a.status, w.accepts)
	}
}

func TestUnauthorizedAnswersTakeTheSameTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const floor = 20 * time.Millisecond
		w := newWorld(t, ingest.Config{}, nil)
		w.lookup = func(context.Context) error { time.Sleep(7 * time.Millisecond); return nil }
		stranger := uuid.Must(uuid.NewV7())
		took := func(c call) time.Duration {
			start := time.Now()
			if a := w.post(t, c); a.status != 401 {
				t.Errorf("answered %d", a.status)
			}
			return time.Since(start)
		}
		for range 2 { // asked and cached
			for name, d := range map[string]time.Duration{
				"bad signature":    took(call{secret: ingest.NewSecret()}),
				"stale":            took(call{at: time.Now().Add(-time.Hour)}),
				"unknown endpoint": took(call{hook: stranger}),
				"not an id":        took(call{path: "/api/webhooks/x"}),
			} {
				if d != floor {
					t.Errorf("%s took %v, not %v", name, d, floor)
				}
			}
		}
		start := time.Now()
		w.post(t, call{})
		if d := time.Since(start); d != 0 {
			t.Errorf("a good call was held back for %v", d)
		}
		w.stop()
	})
}

func TestWrongMethodIs405(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ingest.Config{}, nil)
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodTrace, "BREW"} {
		r := w.request(call{})
		r.Method = method
		rec := httptest.NewRecorder()
		w.mux.ServeHTTP(rec, r)
		if rec.Code != 405 || !slices.Equal(rec.Header()["Allow"], []string{"POST"}) {
			t.Errorf("%s: answered %d, Allow %v", method, rec.Code, rec.Header()["Allow"])
		}
	}
}
