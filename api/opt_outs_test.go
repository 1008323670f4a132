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

func TestAnOptOutIsToldShownAndLifted(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.mine.message("010-0000-0001", store.StateClaimed)
	var logs logPage
	l.fetch("/api/message-logs", l.mine.keys[auth.Owner], &logs)
	patient := logs.Data[0].PatientID
	path, doc := "/api/patients/{id}/opt-outs", l.api.huma.OpenAPI()
	target := strings.Replace(path, "{id}", patient.String(), 1)

	w := l.send(http.MethodPost, target, l.mine.keys[auth.Integration], `{"class":"marketing","reason":"told at the desk"}`)
	validFor(t, doc, doc.Paths[path].Post, path, "200", w.Body.Bytes())
	var done struct {
		Again    bool        `json:"again"`
		Patients int         `json:"patients"`
		InFlight []uuid.UUID `json:"in_flight"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &done); err != nil || w.Code != http.StatusOK || done.Again || done.Patients != 1 || len(done.InFlight) != 1 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w = l.do(http.MethodGet, target, l.mine.keys[auth.Viewer])
	validFor(t, doc, doc.Paths[path].Get, path, "200", w.Body.Bytes())
	var list struct {
		Data []struct {
			ID      string  `json:"id"`
			Channel *string `json:"channel"`
			Class   *string `json:"class"`
			Source  string  `json:"source"`
		} `json:"data"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || len(list.Data) != 1 || list.Data[0].Channel != nil || *list.Data[0].Class != "marketing" || list.Data[0].Source != "api" {
		t.Fatalf("%s", w.Body)
	}
	lift := target + "/" + list.Data[0].ID + "/lift"
	for body, want := range map[string]string{`{}`: "invalid-payload /reason=missing", `{"reason":"call 010-1234-5678"}`: "invalid-payload /reason=not-a-note"} {
		if got := problemOf(t, l.send(http.MethodPost, lift, l.mine.keys[auth.Staff], body)); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	if w := l.send(http.MethodPost, lift, l.mine.keys[auth.Integration], `{"reason":"wants them"}`); w.Code != http.StatusForbidden {
		t.Errorf("a clinic system lifts an opt-out: %d", w.Code)
	}
	if w := l.send(http.MethodPost, lift, l.mine.keys[auth.Staff], `{"reason":"wants them again"}`); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if got := problemOf(t, l.send(http.MethodPost, lift, l.mine.keys[auth.Staff], `{"reason":"wants them again"}`)); got != "not-found" {
		t.Errorf("lifted twice: %s", got)
	}
	for body, want := range map[string]string{
		`{"channel":"fax"}`: "invalid-payload /channel=not-in-list", `{"class":"all"}`: "invalid-payload /class=not-in-list",
		`{"reason":"call 010-1234-5678"}`: "invalid-payload /reason=not-a-note",
	} {
		if got := problemOf(t, l.send(http.MethodPost, target, l.mine.keys[auth.Staff], body)); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	if _, err := l.db.ErasePatient(t.Context(), l.mine.tenant, patient, "", store.Hand{Actor: "cli:test"}); err != nil {
		t.Fatal(err)
	}
	if got := problemOf(t, l.send(http.MethodPost, target, l.mine.keys[auth.Staff], `{}`)); !strings.HasPrefix(got, "conflict") {
		t.Errorf("a patient without a number: %s", got)
	}
}
