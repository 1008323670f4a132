package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// parked brings one message to where only a human can decide.
func (o *office) parked(number string) uuid.UUID {
	o.l.t.Helper()
	step := o.message(number, store.StateClaimed)
	e := event.Delivery{Tenant: o.tenant, Step: step, Channel: event.Kakao, Attempt: 1, Source: event.Query, Status: event.Parked, Reason: event.OutcomeUnknown, At: time.Now().UTC()}
	_, err := o.l.db.SettleDeliveries(o.l.t.Context(), []event.Delivery{e}, func(store.StepNow, event.Delivery) store.Transition {
		return store.Transition{State: store.StateParked, Reason: event.OutcomeUnknown, Finish: true}
	})
	if err != nil {
		o.l.t.Fatal(err)
	}
	return step
}

type parkedPage struct {
	Data       []parkedStep `json:"data"`
	NextCursor *string      `json:"next_cursor"`
}

func TestParkedMessagesAreListedForTheirClinicOnly(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	first, second := l.mine.parked("010-0000-1234"), l.mine.parked("010-0000-1235")
	w := l.do(http.MethodGet, "/api/parked-steps", l.mine.keys[auth.Viewer])
	valid(t, l.api.huma.OpenAPI(), "/api/parked-steps", "200", w.Body.Bytes())
	if body := w.Body.String(); !strings.Contains(body, `+09:00"`) || strings.Contains(body, `Z"`) || strings.Contains(body, "김하늘") || strings.Contains(body, "1234\"") || strings.Contains(body, "patient") {
		t.Errorf("times are not the clinic's, or it tells of the patient: %s", body)
	}
	var p parkedPage
	l.fetch("/api/parked-steps?limit=1&channel=kakao&reason=outcome_unknown&workflow_id="+l.mine.workflow.String(), l.mine.keys[auth.Viewer], &p)
	if len(p.Data) != 1 || p.Data[0].ID != second || p.NextCursor == nil || p.Data[0].Attempts != 1 || p.Data[0].OnUnknown != "park" {
		t.Fatalf("page = %+v", p)
	}
	l.fetch("/api/parked-steps?limit=1&cursor="+*p.NextCursor, l.mine.keys[auth.Viewer], &p)
	if len(p.Data) != 1 || p.Data[0].ID != first || p.NextCursor != nil {
		t.Errorf("next page = %+v", p)
	}
	for _, target := range []string{"/api/parked-steps?channel=sms", "/api/parked-steps?parked_before=2020-01-01T00:00:00Z"} {
		if l.fetch(target, l.mine.keys[auth.Viewer], &p); len(p.Data) != 0 {
			t.Errorf("%s lists %d", target, len(p.Data))
		}
	}
	if l.fetch("/api/parked-steps", l.other.keys[auth.Viewer], &p); len(p.Data) != 0 {
		t.Errorf("another clinic sees %+v", p.Data)
	}
}

// decide makes a decision and says how it was answered.
func (o *office) decide(step uuid.UUID, what, body string) string {
	o.l.t.Helper()
	path := "/api/parked-steps/{id}/" + what
	w := o.l.send(http.MethodPost, strings.Replace(path, "{id}", step.String(), 1), o.keys[auth.Staff], body)
	doc := o.l.api.huma.OpenAPI()
	validFor(o.l.t, doc, doc.Paths[path].Post, path, fmt.Sprint(w.Code), w.Body.Bytes())
	if w.Code != http.StatusOK {
		return fmt.Sprint(w.Code, " ", problemOf(o.l.t, w))
	}
	var d struct {
		ID    uuid.UUID
		State string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || d.ID != step || !strings.Contains(w.Body.String(), "+09:00") {
		o.l.t.Errorf("answer %s, %v", w.Body, err)
	}
	return "200 " + d.State
}

func TestADecisionIsCarriedOutOnce(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	ask, again, drop := l.mine.parked("010-0000-0001"), l.mine.parked("010-0000-0002"), l.mine.parked("010-0000-0003")
	for _, s := range []struct {
		step             uuid.UUID
		what, body, want string
	}{
		{ask, "retry", `{}`, "200 unknown"},
		{ask, "retry", `{"mode":"ask"}`, "409 conflict =already-retried"},
		{again, "retry", `{"mode":"resend"}`, "422 invalid-payload /reason=not-a-note"},
		{again, "retry", `{"mode":"resend","reason":"asked support"}`, "409 conflict /accept_duplicate=may-be-duplicate"},
		{again, "retry", `{"mode":"resend","reason":"asked support","accept_duplicate":true,"extend_minutes":60}`, "200 planned"},
		{again, "retry", `{"mode":"resend","reason":"asked support","accept_duplicate":true}`, "409 conflict =already-retried"},
		{again, "drop", `{"reason":"x"}`, "409 conflict =already-retried"},
		{drop, "drop", `{"reason":"not needed any more"}`, "200 failed"},
		{drop, "drop", `{"reason":"not needed any more"}`, "409 conflict =already-dropped"},
		{drop, "retry", `{}`, "409 conflict =already-dropped"},
		{uuid.New(), "retry", `{}`, "404 not-found"},
		{uuid.New(), "drop", `{"reason":"x"}`, "404 not-found"},
	} {
		if got := l.mine.decide(s.step, s.what, s.body); got != s.want {
			t.Errorf("%s %s: %s, want %s", s.what, s.body, got, s.want)
		}
	}
	if log := l.log.String(); log != "" {
		t.Errorf("logged: %s", log)
	}
}

func TestAnotherClinicsParkedMessageIsNotThere(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step := l.mine.parked("010-0000-0001")
	for _, what := range []string{"retry", "drop"} {
		if got := l.other.decide(step, what, `{"reason":"x"}`); got != "404 not-found" {
			t.Errorf("%s: %s", what, got)
		}
	}
	if got := l.mine.decide(step, "drop", `{"reason":"x"}`); got != "200 failed" {
		t.Errorf("its own clinic: %s", got)
	}
}

func TestADecisionThatIsNotUnderstoodReachesNobody(t *testing.T) {
	t.Parallel()
	s := serve(t, &fakeLedger{retry: func(uuid.UUID, store.Retry) (store.Decided, error) {
		t.Error("the ledger was asked")
		return store.Decided{}, nil
	}}, &fakeBroker{})
	for body, want := range map[string]string{
		"":                                      "400 bad-request",
		"{":                                     "400 malformed-json =malformed-json",
		`{"mode":"ask"}{}`:                      "400 malformed-json =malformed-json",
		`{"mode":"ask","mode":"resend"}`:        "400 duplicate-key /mode=duplicate-key",
		`{"mode":"ask","MODE":"resend"}`:        "400 duplicate-key /MODE=duplicate-key",
		"[]":                                    "422 invalid-payload =not-an-object",
		`{"mode":"send"}`:                       "422 invalid-payload /mode=not-in-list",
		`{"mode":7}`:                            "422 invalid-payload /mode=not-a-string",
		`{"mode":"ask","extend_minutes":5}`:     "422 invalid-payload /mode=not-resend",
		`{"accept_duplicate":true}`:             "422 invalid-payload /mode=not-resend",
		`{"mode":"resend","extend_minutes":-1}`: "422 invalid-payload /extend_minutes=too-small",
		`{"mode":"resend","extend_minutes":10081}`:        "422 invalid-payload /extend_minutes=too-large",
		`{"reason":"` + strings.Repeat("가", 201) + `"}`:   "422 invalid-payload /reason=too-long",
		`{"accept_duplicates":true}`:                      "422 invalid-payload =unknown-field",
		`{"reason":"` + strings.Repeat("x", 5<<10) + `"}`: "413 payload-too-large",
	} {
		w := s.send(http.MethodPost, "/api/parked-steps/"+one+"/retry", fakeKey, body)
		if got := fmt.Sprint(w.Code, " ", problemOf(t, w)); got != want {
			t.Errorf("%.60s: %s, want %s", body, got, want)
		}
	}
	for target, want := range map[string]string{
		"/api/parked-steps/x/retry":                            "404 not-found",
		"/api/parked-steps/" + strings.ToUpper(one) + "/retry": "404 not-found",
		"/api/parked-steps/" + one + "/retry?force=1":          "400 invalid-parameter /query=unknown-parameter",
		"/api/parked-steps/" + one + "/resend":                 "404 not-found",
		"/api/parked-steps/" + one:                             "404 not-found",
	} {
		w := s.send(http.MethodPost, target, fakeKey, `{}`)
		if got := fmt.Sprint(w.Code, " ", problemOf(t, w)); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
}
