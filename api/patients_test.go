package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/doctorsflow/doctorsflow/internal/auth"
)

func TestAPatientIsCreatedFoundChangedAndErased(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	o := l.mine
	var p patientRow
	o.must(http.MethodPost, "/api/patients", `{"external_id":"P-1","name":"김하늘","phone":"010-0000-0051","birth_date":"1958-03-01","gender":"female"}`, &p)
	if p.Name != "김하늘" || *p.Phone != "01000000051" || *p.BirthDate != "1958-03-01" || p.Email != nil {
		t.Errorf("%+v", p)
	}
	var second patientRow
	o.must(http.MethodPost, "/api/patients", `{"name":"김바다","phone":"010-0000-0051"}`, &second)
	for query, want := range map[string]string{"": "김바다 김하늘", "?external_id=P-1": "김하늘", "?external_id=P-2": "", `{"phone":"01000000051"}`: "김하늘 김바다", `{"last4":"0051","name":"하늘"}`: "김하늘", `{"last4":"9999"}`: ""} {
		var list struct{ Data []patientRow }
		if strings.HasPrefix(query, "{") {
			o.must(http.MethodPost, "/api/patients/search", query, &list)
		} else {
			o.must(http.MethodGet, "/api/patients"+query, "", &list)
		}
		var names []string
		for _, one := range list.Data {
			names = append(names, one.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%q: %s, want %s", query, got, want)
		}
	}
	o.refusedAt(http.MethodPost, "/api/patients/search", `{"name":"김"}`, http.StatusUnprocessableEntity, "/phone", "missing")
	o.refusedAt(http.MethodPost, "/api/patients/search", `{"last4":"0051","phone":"01000000051"}`, http.StatusUnprocessableEntity, "/last4", "with-phone")
	o.refusedAt(http.MethodPost, "/api/patients", `{"external_id":"P-1","name":"x"}`, http.StatusConflict, "/external_id", "taken")
	o.refusedAt(http.MethodPost, "/api/patients", `{}`, http.StatusUnprocessableEntity, "/external_id", "missing")
	o.refusedAt(http.MethodPost, "/api/patients", `{"name":"x","phone":"02-555-0100"}`, http.StatusUnprocessableEntity, "/phone", "not-a-phone-number")
	o.refusedAt(http.MethodPatch, "/api/patients/"+p.ID.String(), `{"birth_date":"01.03.1958"}`, http.StatusUnprocessableEntity, "/birth_date", "not-a-date")

	w := l.do(http.MethodGet, "/api/patients/"+p.ID.String(), o.keys[auth.Viewer])
	tag := w.Header().Get("ETag")
	if tag == "" {
		t.Fatal(w.Header())
	}
	o.must(http.MethodPatch, "/api/patients/"+p.ID.String(), `{"phone":"","email":"sky@example.com"}`, &p)
	if p.Phone != nil || *p.Email != "sky@example.com" || p.Name != "김하늘" {
		t.Errorf("%+v", p)
	}
	r := l.matching(http.MethodPatch, "/api/patients/"+p.ID.String(), o.keys[auth.Staff], `{"name":"x"}`, tag)
	if r.Code != http.StatusPreconditionFailed {
		t.Errorf("an old version: %d", r.Code)
	}
	var count struct{ Patients int }
	o.must(http.MethodPost, "/api/segments/count", `{"filter":{"birthday":{"in_days":0}},"as_of":"2027-03-01"}`, &count)
	if count.Patients != 0 {
		t.Errorf("%d without a number are meant", count.Patients)
	}
	o.must(http.MethodPatch, "/api/patients/"+p.ID.String(), `{"phone":"010-0000-0052"}`, nil)
	if o.must(http.MethodPost, "/api/segments/count", `{"filter":{"birthday":{"in_days":0}},"as_of":"2027-03-01"}`, &count); count.Patients != 1 {
		t.Errorf("%d have their birthday", count.Patients)
	}
	var erased struct{ Again bool }
	o.must(http.MethodDelete, "/api/patients/"+p.ID.String(), "", &erased)
	if code, _ := o.say(http.MethodGet, "/api/patients/"+p.ID.String(), "", nil); code != http.StatusNotFound || erased.Again {
		t.Error(code, erased)
	}
}

func TestAConsentIsTheLastWord(t *testing.T) {
	t.Parallel()
	o := newLedger(t).mine
	var p patientRow
	o.must(http.MethodPost, "/api/patients", `{"name":"김하늘","phone":"010-0000-0053"}`, &p)
	path := "/api/patients/" + p.ID.String() + "/consents"
	var said consent
	for _, granted := range []string{"true", "false", "true"} {
		o.must(http.MethodPost, path, `{"channel":"sms","purpose":"marketing","granted":`+granted+`,"method":"form","text_version":"2026-1"}`, &said)
	}
	var list struct{ Data []consent }
	o.must(http.MethodGet, path, "", &list)
	if len(list.Data) != 3 || list.Data[0].ID != said.ID || !list.Data[0].Granted || list.Data[1].Granted {
		t.Errorf("%+v", list.Data)
	}
	var count struct{ Patients int }
	if o.must(http.MethodPost, "/api/segments/count", `{"filter":{"marketing_consent":"sms"}}`, &count); count.Patients != 1 {
		t.Errorf("%d have consented", count.Patients)
	}
	o.refusedAt(http.MethodPost, path, `{"channel":"sms","purpose":"marketing","granted":true,"method":"김하늘 called"}`, http.StatusUnprocessableEntity, "/method", "wrong-form")
}

func TestPatientsAreImportedWithAReportPerRow(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	o := l.mine
	take := func(query, table string) (out struct {
		Created, Updated, Unchanged, Rejected int
		Rows                                  []importedRow
	},
	) {
		w := l.sendAs(http.MethodPost, "/api/patients/import"+query, o.keys[auth.Staff], "text/csv", table)
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != http.StatusOK {
			t.Fatal(w.Code, w.Body)
		}
		return out
	}
	const table = "차트번호,환자명,휴대폰,생년월일\nP-1,김하늘,010-0000-0061,1958-03-01\n,이바다,010-0000-0062,\nP-3,박산,02-555-0100,\n"
	if out := take("?dry_run=true", table); out.Created != 2 || out.Rejected != 1 {
		t.Errorf("%+v", out)
	}
	if out := take("", table); out.Created != 2 || out.Rejected != 1 || out.Rows[2].Line != 4 || out.Rows[2].Problems[0].Code != "not-a-phone-number" {
		t.Errorf("%+v", out)
	}
	if out := take("", table); out.Unchanged != 2 || out.Rejected != 1 {
		t.Errorf("again: %+v", out)
	}
	if out := take("", "차트번호,이메일\nP-1,sky@example.com\n"); out.Updated != 1 {
		t.Errorf("%+v", out)
	}
	w := l.do(http.MethodGet, "/api/patients/export", o.keys[auth.Owner])
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/csv") || !strings.Contains(w.Body.String(), "P-1,김하늘,01000000061,sky@example.com,1958-03-01") {
		t.Fatal(w.Code, w.Header(), w.Body)
	}
	if rows := o.audited(); rows[0].Subject != "export-patients" || len(rows[0].Patients) != 2 {
		t.Errorf("the audit log has %+v", rows[0])
	}
	if out := take("", w.Body.String()); out.Unchanged != 2 || out.Created+out.Updated+out.Rejected > 0 {
		t.Errorf("what was exported: %+v", out)
	}
	o.must(http.MethodPost, "/api/patients", `{"name":"이바다","phone":"010-0000-0062"}`, nil)
	if out := take("", "이름,연락처\n이바다,010-0000-0062\n"); out.Rejected != 1 || out.Rows[0].Problems[0].Code != "ambiguous" {
		t.Errorf("%+v", out)
	}
}
