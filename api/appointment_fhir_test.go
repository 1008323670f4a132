package api

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/intake"
)

func (o *office) tellFHIR(query string, doc string) (code int, out intake.FHIRReceipt, said string) {
	o.l.t.Helper()
	w := o.l.sendAs(http.MethodPost, "/api/appointments/fhir"+query, o.keys[auth.Integration], "application/fhir+json; fhirVersion=5.0", doc)
	if w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			o.l.t.Fatal(err)
		}
	}
	return w.Code, out, w.Body.String()
}

func TestAVisitInFHIRIsFollowedFromBookingToItsEnd(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	raw, err := os.ReadFile("../docs/examples/appointments/fhir.json")
	if err != nil {
		t.Fatal(err)
	}
	const query = "?source=emr&identifier=urn:oid:1.2.410.100110.10.41110041"
	booked := strings.Replace(string(raw), "010-1234-5678", "010-0000-0041", 1)
	moved := strings.NewReplacer(`"versionId": "1", "lastUpdated": "2026-11-24T09:00:00+09:00"`, `"versionId": "2", "lastUpdated": "2026-11-24T10:00:00+09:00"`, "2026-12-01T14:30", "2026-12-02T14:30").Replace(booked)
	const done = `{"resourceType":"Encounter","id":"E-9","meta":{"versionId":"1","lastUpdated":"2026-11-24T11:00:00+09:00"},"status":"finished","subject":{"reference":"Patient/77","identifier":{"system":"urn:oid:1.2.410.100110.10.41110041","value":"1005"}},"appointment":[{"reference":"Appointment/501"}],"period":{"start":"2026-12-02T14:41:00+09:00"}}`
	for i, c := range []struct {
		doc, status string
		late        bool
	}{{moved, "accepted", false}, {booked, "accepted", true}, {moved, "duplicate", false}, {done, "accepted", false}, {done, "duplicate", false}} {
		code, got, said := l.mine.tellFHIR(query, c.doc)
		if code != http.StatusOK || len(got.Resources) != 1 || got.Resources[0].Status != c.status || c.status == "accepted" && got.Resources[0].Late != c.late || len(got.Ignored) != 0 {
			t.Errorf("%d: %d %s, want %s", i, code, said, c.status)
		}
	}
	var p appointmentPage
	l.fetch("/api/appointments?status=completed", l.mine.keys[auth.Viewer], &p)
	if len(p.Data) != 1 || p.Data[0].Source != "emr" || p.Data[0].ExternalID != "501" || *p.Data[0].Date != "2026-12-02" || *p.Data[0].Time != "14:30" {
		t.Errorf("%+v", p.Data)
	}
	code, got, said := l.mine.tellFHIR("", `{"resourceType":"Bundle","type":"history","entry":[{"request":{"method":"DELETE","url":"Appointment/501"}},{"resource":{"resourceType":"Practitioner","id":"3"}}]}`)
	if code != http.StatusOK || got.Rejected != 1 || got.Resources[0].Reference != "Appointment/501" || len(got.Ignored) != 1 || got.Ignored[0] != (intake.IgnoredResources{ResourceType: "Practitioner", Count: 1}) {
		t.Error(code, said)
	}
	if code, _, said = l.mine.tellFHIR("", `{"id":"x"}`); code != http.StatusUnprocessableEntity || !strings.Contains(said, "/resourceType") {
		t.Error(code, said)
	}
}
