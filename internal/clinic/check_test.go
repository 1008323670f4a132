package clinic_test

import (
	"strings"
	"testing"

	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

const sound = `
tenant: {slug: a, name: A}
accounts: [{channel: kakao, vendor: simulator, sender: s}, {channel: sms, vendor: nhn, base_url: "https://sms.example", app_key: k, secret: s, sender: "15880000"}]
templates: [{name: t, sms_text: "#{환자명}"}]
workflows: [{name: w, steps: [{day: 0, template: t}]}]
webhooks: [{name: h, workflow: w, routes: {done: [w]}}]
patients: [{external_id: a, name: 김, phone: 010-2345-6789, birth_date: "1990-12-31"}]
`

func TestSoundFileHasNoProblem(t *testing.T) {
	t.Parallel()
	if err := parse(t, sound).Check(phone.Options{}, unknown); err != nil {
		t.Error(err)
	}
}

func TestEachProblemOfTheFileIsReportedOnce(t *testing.T) {
	t.Parallel()
	type F = clinic.File
	long := strings.Repeat("a", 101)
	tests := []struct {
		name   string
		change func(*F)
		says   string
	}{
		{"slug_missing", func(f *F) { f.Tenant.Slug = "" }, "tenant.slug"},
		{"slug_upper_case", func(f *F) { f.Tenant.Slug = "A" }, "tenant.slug"},
		{"slug_too_long", func(f *F) { f.Tenant.Slug = strings.Repeat("a", 64) }, "tenant.slug"},
		{"slug_starts_with_dash", func(f *F) { f.Tenant.Slug = "-a" }, "tenant.slug"},
		{"name_missing", func(f *F) { f.Tenant.Name = "" }, "tenant.name"},
		{"zone_unknown", func(f *F) { f.Tenant.TimeZone = "Asia/Busan" }, "tenant.time_zone"},
		{"zone_of_the_server", func(f *F) { f.Tenant.TimeZone = "Local" }, "tenant.time_zone"},
		{"zone_is_a_path", func(f *F) { f.Tenant.TimeZone = "../../etc/passwd" }, "tenant.time_zone"},
		{"zone_empty", func(f *F) { f.Tenant.TimeZone = "" }, "tenant.time_zone"},
		{"quiet_hours_empty", func(f *F) { f.Tenant.QuietHours = new(clinic.QuietHours) }, "tenant.quiet_hours"},
		{"window_of_no_class", func(f *F) {
			f.Tenant.SendWindows = map[workflow.Class][]workflow.Window{"sms": {{Until: workflow.Clock{Hour: 9}}}}
		}, "tenant.send_windows.sms: send windows are of"},
		{"window_of_no_day", func(f *F) {
			f.Tenant.SendWindows = map[workflow.Class][]workflow.Window{"all": {{Days: []string{"월"}, Until: workflow.Clock{Hour: 9}}}}
		}, "tenant.send_windows.all.0.days"},
		{"window_never_open", func(f *F) {
			f.Tenant.SendWindows = map[workflow.Class][]workflow.Window{"marketing": {{From: workflow.Clock{Hour: 22}, Until: workflow.Clock{Hour: 23}}}}
		}, "can never pass"},
		{"window_list_empty", func(f *F) {
			f.Tenant.SendWindows = map[workflow.Class][]workflow.Window{"all": {}}
		}, "tenant.send_windows.all"},
		{"workflow_window_empty", func(f *F) { f.Workflows[0].SendWindows = []workflow.Window{{}} }, "/send_windows/0"},
		{"cap_of_nothing", func(f *F) { f.Tenant.FrequencyCaps = workflow.Caps{"marketing": {}} }, "tenant.frequency_caps.marketing"},
		{"cap_of_auth", func(f *F) { f.Tenant.FrequencyCaps = workflow.Caps{"auth": {PerDay: 1}} }, "auth has none"},
		{"cap_negative", func(f *F) { f.Tenant.FrequencyCaps = workflow.Caps{"all": {PerDay: -1}} }, "tenant.frequency_caps.all"},
		{"cap_day_over_week", func(f *F) { f.Tenant.FrequencyCaps = workflow.Caps{"all": {PerDay: 3, PerWeek: 2}} }, "never counts"},
		{"calendar_day", func(f *F) { f.Tenant.Calendar = &workflow.Calendar{Closed: []string{"31.12.2026"}} }, "tenant.calendar.closed"},
		{"calendar_both", func(f *F) {
			f.Tenant.Calendar = &workflow.Calendar{Closed: []string{"2026-12-31"}, Open: []string{"2026-12-31"}}
		}, "both open and closed"},
		{"calendar_weekday", func(f *F) { f.Tenant.Calendar = &workflow.Calendar{WorkingDays: []string{"monday"}} }, "tenant.calendar.working_days"},
		{"calendar_country", func(f *F) { f.Tenant.Calendar = &workflow.Calendar{PublicHolidays: "JP"} }, "tenant.calendar.public_holidays"},
		{"account_channel", func(f *F) { f.Accounts[0].Channel = "email" }, "accounts[0].channel"},
		{"account_twice", func(f *F) { f.Accounts[1] = f.Accounts[0] }, "accounts[1]: there is another kakao account"},
		{"account_vendor", func(f *F) { f.Accounts[0].Vendor = "pigeon" }, "accounts[0].vendor"},
		{"account_sender", func(f *F) { f.Accounts[0].Sender = "" }, "accounts[0].sender"},
		{"account_rate", func(f *F) { f.Accounts[0].RatePerSecond = -1 }, "accounts[0].rate_per_second"},
		{"account_report_token_short", func(f *F) { f.Accounts[0].ReportToken = "changeme" }, "accounts[0].report_token"},
		{"account_report_token_header", func(f *F) { f.Accounts[0].ReportToken = strings.Repeat("a", 30) + "\n" }, "accounts[0].report_token"},
		{"account_url_missing", func(f *F) { f.Accounts[1].BaseURL = "" }, "accounts[1].base_url"},
		{"account_url_scheme", func(f *F) { f.Accounts[1].BaseURL = "ftp://sms.example" }, "accounts[1].base_url"},
		{"account_url_query", func(f *F) { f.Accounts[1].BaseURL = "https://sms.example?x" + "=1" }, "accounts[1].base_url"},
		{"account_url_broken", func(f *F) { f.Accounts[1].BaseURL = "https://a b\x7f" }, "accounts[1].base_url"},
		{"account_without_tls", func(f *F) { f.Accounts[1].BaseURL = "http://sms.example" }, "only over https"},
		{"account_key", func(f *F) { f.Accounts[1].AppKey = "" }, "app_key and secret"},
		{"account_secret", func(f *F) { f.Accounts[1].Secret = "" }, "app_key and secret"},
		{"template_name", func(f *F) { f.Templates = append(f.Templates, clinic.Template{}) }, "a template needs a name"},
		{"template_name_too_long", func(f *F) { f.Templates = append(f.Templates, clinic.Template{Name: long}) }, "a template needs a name"},
		{"template_twice", func(f *F) { f.Templates = append(f.Templates, f.Templates[0]) }, `template "t" is there twice`},
		{"workflow_name", func(f *F) { w := f.Workflows[0]; w.Name = "\n"; f.Workflows = append(f.Workflows, w) }, "a workflow needs a name"},
		{"workflow_twice", func(f *F) { f.Workflows = append(f.Workflows, f.Workflows[0]) }, `workflow "w" is there twice`},
		{"workflow_trigger", func(f *F) { f.Workflows[0].TriggerType = "moon" }, "trigger_type"},
		{"workflow_template", func(f *F) { f.Workflows[0].Steps[0].Template = "x" }, `no template named "x"`},
		{"workflow_definition", func(f *F) { f.Workflows[0].Steps[0].Day = nil }, `workflow "w"/steps/0: give exactly one`},
		{"webhook_name", func(f *F) { f.Webhooks[0].Name = "" }, "a webhook needs a name"},
		{"webhook_twice", func(f *F) { f.Webhooks = append(f.Webhooks, f.Webhooks[0]) }, `webhook "h" is there twice`},
		{"webhook_starts_nothing", func(f *F) { f.Webhooks[0].Workflow, f.Webhooks[0].Routes = "", nil }, "give workflow or routes"},
		{"webhook_workflow", func(f *F) { f.Webhooks[0].Workflow = "x" }, `no workflow named "x"`},
		{"webhook_route", func(f *F) { f.Webhooks[0].Routes["done"] = []string{"x"} }, `route done: there is no workflow named "x"`},
		{"webhook_event_type", func(f *F) { f.Webhooks[0].Routes["a b"] = nil }, `event type "a b"`},
		{"webhook_event_pointer", func(f *F) { f.Webhooks[0].EventIDPointer = "id" }, `"id" is not a JSON pointer`},
		{"webhook_patient_pointer", func(f *F) { f.Webhooks[0].PatientPointer = new("patient") }, `"patient" is not a JSON pointer`},
		{"webhook_type_pointer", func(f *F) { f.Webhooks[0].TypePointer = new("/a~2") }, `"/a~2" is not a JSON pointer`},
		{"webhook_rate", func(f *F) { f.Webhooks[0].RatePerMinute = -1 }, "rate_per_minute"},
		{"patient_id", func(f *F) { f.Patients[0].ExternalID = "" }, "patients[0].external_id"},
		{"patient_id_too_long", func(f *F) { f.Patients[0].ExternalID = long }, "patients[0].external_id"},
		{"patient_twice", func(f *F) { f.Patients = append(f.Patients, f.Patients[0]) }, "patients[1].external_id: another patient"},
		{"patient_name", func(f *F) { f.Patients[0].Name = "" }, "patients[0].name"},
		{"patient_phone", func(f *F) { f.Patients[0].Phone = "112" }, "patients[0].phone: phone: not a mobile number"},
		{"patient_test_number", func(f *F) { f.Patients[0].Phone = "010-0000-0000" }, "patients[0].phone: phone: 010-0 and 010-1 are test numbers"},
		{"patient_birth_date", func(f *F) { f.Patients[0].BirthDate = "31.12.1990" }, "patients[0].birth_date"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := parse(t, sound)
			tt.change(f)
			err := f.Check(phone.Options{}, unknown)
			if err == nil {
				t.Fatal("no problem found")
			}
			if list := strings.Split(err.Error(), "\n"); len(list) != 1 || !strings.Contains(list[0], tt.says) {
				t.Errorf("problems %q, want only %q", list, tt.says)
			}
		})
	}
}

func TestWorkflowOfTheLedgerMayBeReferredTo(t *testing.T) {
	t.Parallel()
	f := parse(t, sound)
	f.Workflows, f.Webhooks[0].Workflow = nil, "old"
	f.Webhooks[0].Routes["done"] = []string{"old"}
	err := f.Check(phone.Options{}, func(kind, name string) bool { return kind == "workflow" && name == "old" })
	if err != nil {
		t.Error(err)
	}
}

func TestLocalGatewayNeedsNoTLS(t *testing.T) {
	t.Parallel()
	for _, u := range []string{"http://127.0.0.1:8081", "http://localhost", "http://[::1]:9", "https://x"} {
		f := parse(t, sound)
		f.Accounts[1].BaseURL = u
		if err := f.Check(phone.Options{}, unknown); err != nil {
			t.Errorf("%s: %v", u, err)
		}
	}
}

// The same problems in the same order, so that two runs can be compared.
func TestProblemsComeInOneOrder(t *testing.T) {
	t.Parallel()
	first := ""
	for range 20 {
		f := parse(t, sound)
		for _, r := range []string{"a", "b", "c", "d", "e", "f"} {
			f.Webhooks[0].Routes[r] = []string{"x"}
		}
		f.Templates[0].Class, f.Accounts[0].Channel = workflow.Marketing, event.SMS
		got := f.Check(phone.Options{}, unknown).Error()
		if first == "" {
			first = got
		}
		if got != first {
			t.Fatalf("problems in another order:\n%s\nthan\n%s", got, first)
		}
	}
}
