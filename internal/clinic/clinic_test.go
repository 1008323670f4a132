package clinic_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/doctorsflow/doctorsflow/docs/examples"
	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

var testBands = phone.Options{AllowTestBands: true}

func unknown(string, string) bool { return false }

func parse(t testing.TB, s string) *clinic.File {
	t.Helper()
	f, err := clinic.Parse([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestDemoClinicPassesWhereTestNumbersAreAllowed(t *testing.T) {
	t.Parallel()
	f, err := clinic.Parse(examples.MisoDental)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Check(testBands, unknown); err != nil {
		t.Errorf("the demo clinic has problems: %v", err)
	}
	err = f.Check(phone.Options{}, unknown)
	if err == nil {
		t.Fatal("numbers of the simulator pass in production")
	}
	if n := strings.Count(err.Error(), phone.ErrTestBand.Error()); n != len(f.Patients) {
		t.Errorf("%d of %d test numbers are refused in production:\n%v", n, len(f.Patients), err)
	}
}

func TestDefaultsAreFilledIn(t *testing.T) {
	t.Parallel()
	f := parse(t, `
tenant: {slug: a, name: A}
accounts: [{channel: sms}]
templates: [{name: t}]
workflows: [{name: w, steps: [{template: t}, {template: t, node: named, type: survey}]}]
webhooks: [{name: h}]
`)
	yes, patient, kind := true, "/patient", "/type"
	want := &clinic.File{
		Tenant:    clinic.Tenant{Slug: "a", Name: "A", TimeZone: "Asia/Seoul", SendAt: &workflow.Clock{Hour: 10}},
		Accounts:  []clinic.Account{{Channel: event.SMS, Vendor: "nhn", RatePerSecond: 300}},
		Templates: []clinic.Template{{Name: "t", Class: workflow.CareFollowup}},
		Workflows: []clinic.Workflow{{
			Name: "w", TriggerType: "webhook", IsActive: &yes,
			Steps: []clinic.Step{{Node: "1", Type: "message", Template: "t"}, {Node: "named", Type: "survey", Template: "t"}},
		}},
		Webhooks: []clinic.Webhook{{
			Name: "h", Enabled: &yes, CreatePatients: &yes, PatientPointer: &patient, TypePointer: &kind, RatePerMinute: 6000,
		}},
	}
	if diff := cmp.Diff(want, f); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatTheFileSaysIsKept(t *testing.T) {
	t.Parallel()
	f := parse(t, `
tenant: {slug: a, name: A, time_zone: America/New_York, send_at: "07:30", quiet_hours: {from: "21:00", until: "08:00"}}
accounts: [{channel: kakao, vendor: simulator, rate_per_second: 5}]
templates: [{name: t, class: marketing}]
workflows: [{name: w, trigger_type: schedule, is_active: false, day_length: 2s, steps: [{template: t, minutes: 5, late: skip}]}]
webhooks: [{name: h, enabled: false, create_patients: false, patient_pointer: "", type_pointer: /event, rate_per_minute: 1}]
patients: [{external_id: "007", phone: "01012345670"}]
`)
	if q := f.Tenant.QuietHours; q == nil || q.From.Hour != 21 || q.Until.Hour != 8 || f.Tenant.SendAt.Minute != 30 {
		t.Errorf("tenant %+v", f.Tenant)
	}
	if a := f.Accounts[0]; a.Vendor != "simulator" || a.RatePerSecond != 5 {
		t.Errorf("account %+v", a)
	}
	w := f.Workflows[0]
	if f.Templates[0].Class != workflow.Marketing || *w.IsActive || w.TriggerType != "schedule" || time.Duration(w.DayLength) != 2*time.Second {
		t.Errorf("workflow %+v", w)
	}
	if s := w.Steps[0]; *s.Minutes != 5 || s.Late != workflow.LateSkip {
		t.Errorf("step %+v", s)
	}
	if h := f.Webhooks[0]; *h.Enabled || *h.CreatePatients || *h.PatientPointer != "" || *h.TypePointer != "/event" || h.RatePerMinute != 1 {
		t.Errorf("webhook %+v", h)
	}
	if p := f.Patients[0]; p.ExternalID != "007" || p.Phone != "01012345670" {
		t.Errorf("patient %+v", p)
	}
}

func TestDefinitionPinsTheTemplatesText(t *testing.T) {
	t.Parallel()
	f := parse(t, string(examples.MisoDental))
	templates := map[string]clinic.Template{}
	for _, tm := range f.Templates {
		templates[tm.Name] = tm
	}
	d, err := f.Workflows[0].Definition(templates)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Steps) != 3 || time.Duration(d.DayLength) != 2*time.Second || !d.IgnoreQuietHours || *d.Steps[2].Day != 3 {
		t.Errorf("definition %+v", d)
	}
	s, care := d.Steps[0], templates["수술 후 주의사항"]
	want := workflow.Message{
		Template: care.Name, Class: workflow.CareFollowup, KakaoCode: "SIM_OK_AFTERCARE", KakaoText: care.KakaoText,
		SMSTitle: care.SMSTitle, SMSText: care.SMSText, Variables: map[string]string{"시술명": "/appointment/surgery"},
	}
	if diff := cmp.Diff(want, s.Message); diff != "" || s.Node != "1" || s.Type != "care" {
		t.Errorf("step %s %s (-want +got):\n%s", s.Node, s.Type, diff)
	}
}

var place = regexp.MustCompile(`\[\d+:\d+\]`)

func TestParseIsStrictAndSaysWhere(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, file, where, says string }{
		{"unknown_key", "tenant:\n  slug: a\n  colour: A\n", "[3:3]", `"colour"`},
		{"unknown_key_in_a_list", "patients:\n  - {external_id: a, colour: b}\n", "[2:22]", `"colour"`},
		{"key_in_another_case", "Tenant: {}\n", "[1:1]", `"Tenant"`},
		{"doubled_key", "tenant:\n  slug: a\n  slug: b\n", "[3:3]", "already defined"},
		{"text_for_a_number", "workflows:\n  - steps: [{day: one}]\n", "[2:19]", "int"},
		{"number_too_large", "workflows:\n  - steps: [{day: 99999999999999999999}]\n", "[2:19]", "overflow"},
		{"text_for_a_switch", "webhooks:\n  - enabled: maybe\n", "[2:14]", "bool"},
		{"list_for_a_map", "tenant: []\n", "[1:9]", ""},
		{"broken_indent", "patients:\n  - external_id: a\n   name: b\n", "[3:4]", ""},
		{"tab", "tenant:\n\tslug: a\n", "[2:1]", ""},
		{"open_quote", "tenant:\n  name: \"a\n", "[2:9]", ""},
		{"time_of_day", "tenant: {send_at: \"0900\"}\n", "", "15:04"},
		{"duration", "workflows: [{day_length: 2}]\n", "", "90s"},
		{"octal_id", "patients:\n  - external_id: 010\n", "[2:18]", "put it in quotes"},
		{"octal_phone", "patients:\n  - phone: 01012345670\n", "[2:12]", "put it in quotes"},
		{"hexadecimal_id", "patients: [{external_id: 0x10}]\n", "[1:26]", "put it in quotes"},
		{"grouped_id", "patients: [{external_id: 1_000}]\n", "[1:26]", "put it in quotes"},
		{"signed_phone", "patients: [{phone: +821012345678}]\n", "[1:20]", "put it in quotes"},
		{"fraction_id", "patients: [{external_id: 1.50}]\n", "[1:26]", "put it in quotes"},
		{"key_is_a_number", "patients: [{external_id: a, 1: b}]\n", "[1:29]", "a key is text"},
		{"two_documents", "tenant: {slug: a}\n---\ntenant: {slug: b}\n", "", "several documents"},
		{"not_a_map", "[]\n", "[1:1]", ""},
		{"too_large", strings.Repeat("#", 4<<20+1), "", "4 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f, err := clinic.Parse([]byte(tt.file))
			if err == nil {
				t.Fatalf("it was read as %+v", f)
			}
			if got := place.FindString(err.Error()); got != tt.where || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %q, want %q at %s", err, tt.says, tt.where)
			}
		})
	}
}

func TestPlainNumbersAreReadAsWritten(t *testing.T) {
	t.Parallel()
	f := parse(t, "patients: [{external_id: 1001, phone: 821012345678}, {external_id: 0, phone: 010-1234-5678}]\n---\n")
	for i, want := range []string{"1001 821012345678", "0 010-1234-5678"} {
		if got := f.Patients[i].ExternalID + " " + f.Patients[i].Phone; got != want {
			t.Errorf("patient %d is %s, want %s", i, got, want)
		}
	}
}
