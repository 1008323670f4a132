package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

func TestAMergeIsTriedDoneAndToldAgain(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.mine.message("010-0000-0001", store.StateClaimed)
	l.mine.message("010-0000-0002", store.StateSent)
	l.mine.message("010-0000-0003", store.StateSent)
	var logs logPage
	l.fetch("/api/message-logs", l.mine.keys[auth.Owner], &logs)
	third, into, from := logs.Data[0].PatientID, logs.Data[1].PatientID, logs.Data[2].PatientID
	path, doc := "/api/patients/{id}/merge", l.api.huma.OpenAPI()
	at := func(id uuid.UUID) string { return strings.Replace(path, "{id}", id.String(), 1) }
	type answer struct {
		Into       uuid.UUID   `json:"into"`
		DryRun     bool        `json:"dry_run"`
		Again      bool        `json:"again"`
		Final      bool        `json:"final"`
		Executions int         `json:"executions"`
		InFlight   []uuid.UUID `json:"in_flight"`
	}
	ask := func(body string) (a answer) {
		t.Helper()
		w := l.send(http.MethodPost, at(from), l.mine.keys[auth.Staff], body)
		if w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		validFor(t, doc, doc.Paths[path].Post, path, "200", w.Body.Bytes())
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	good := `{"into":"` + into.String() + `","reason":"told at the desk"}`
	for _, want := range []struct {
		body          string
		dryRun, again bool
	}{{strings.Replace(good, "{", `{"dry_run":true,`, 1), true, false}, {good, false, false}, {good, false, true}} {
		if a := ask(want.body); a.Into != into || a.DryRun != want.dryRun || a.Again != want.again || !a.Final || a.Executions != 1 || len(a.InFlight) != 1 {
			t.Errorf("%s: %+v", want.body, a)
		}
	}
	for _, who := range []uuid.UUID{from, into} {
		l.fetch("/api/message-logs?patient_id="+who.String(), l.mine.keys[auth.Owner], &logs)
		if len(logs.Data) != 2 {
			t.Errorf("%d messages of the two", len(logs.Data))
		}
	}
	if w := l.send(http.MethodPost, at(from), l.mine.keys[auth.Integration], good); w.Code != http.StatusForbidden {
		t.Errorf("a clinic system merges: %d", w.Code)
	}
	for _, tt := range []struct {
		of         uuid.UUID
		body, want string
		told       string
	}{
		{into, good, "invalid-payload /into=itself", ""},
		{from, `{"into":"` + third.String() + `"}`, "conflict", into.String()},
		{third, `{"into":"` + from.String() + `"}`, "conflict /into=merged", into.String()},
		{third, `{"into":"` + uuid.NewString() + `"}`, "not-found", ""},
		{uuid.New(), good, "not-found", ""},
		{third, `{}`, "invalid-payload /into=missing", ""},
		{third, `{"into":"P-1"}`, "invalid-payload /into=not-a-uuid", ""},
		{third, `{"into":null}`, "invalid-payload /into=not-a-string", ""},
		{third, `{"into":"` + into.String() + `","dry_run":"yes"}`, "invalid-payload /dry_run=not-a-boolean", ""},
		{third, `{"into":"` + into.String() + `","unmerge":true}`, "invalid-payload =unknown-field", ""},
		{third, `{"into":"` + into.String() + `","reason":"call 010-1234-5678"}`, "invalid-payload /reason=not-a-note", ""},
	} {
		w := l.send(http.MethodPost, at(tt.of), l.mine.keys[auth.Staff], tt.body)
		if got := problemOf(t, w); got != tt.want || !strings.Contains(w.Body.String(), tt.told) {
			t.Errorf("%s: %s (%s), want %s", tt.body, got, w.Body, tt.want)
		}
	}
	if _, err := l.db.ErasePatient(t.Context(), l.mine.tenant, third, "", store.Hand{Actor: "cli:test"}); err != nil {
		t.Fatal(err)
	}
	if got := problemOf(t, l.send(http.MethodPost, at(third), l.mine.keys[auth.Staff], good)); got != "conflict" {
		t.Errorf("an erased patient: %s", got)
	}
}
