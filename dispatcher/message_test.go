package dispatcher

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/doctorsflow/doctorsflow/docs/examples"
	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
	"github.com/doctorsflow/doctorsflow/providers"
)

var samePhone = cmp.Comparer(func(a, b phone.Number) bool { return a == b })

func TestKakaoCarriesItsTemplateAndOnlyItsVariables(t *testing.T) {
	t.Parallel()
	c := candidate()
	got, err := render(c, *textOf(c))
	if err != nil {
		t.Fatal(err)
	}
	want := providers.Message{
		Key: aRoot.String() + ":kakao", Group: aClinic.String() + ":" + aTour.String(), To: patient, TemplateCode: "CARE",
		Variables: map[string]string{"환자명": "김하늘", "시술명": "임플란트"},
	}
	if d := cmp.Diff(want, got.Message, samePhone); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if got.content != "김하늘님, 임플란트 안내" {
		t.Errorf("kept as %q", got.content)
	}
}

func TestSMSCarriesItsTextUnderTheRootsKey(t *testing.T) {
	t.Parallel()
	c := candidate()
	c.Channel = event.SMS
	c.ID[15]++ // a fallback is another step of the same root
	got, err := render(c, *textOf(c))
	if err != nil {
		t.Fatal(err)
	}
	want := providers.Message{
		Key: aRoot.String() + ":sms", Group: aClinic.String() + ":" + aTour.String(), To: patient,
		Title: "안내", Body: "[미소치과] 김하늘님 임플란트 02-555-0100",
	}
	if d := cmp.Diff(want, got.Message, samePhone); d != "" || got.content != want.Body {
		t.Errorf("kept as %q (-want +got):\n%s", got.content, d)
	}
	if len(got.Group) > 100 || len(got.Key) > 100 {
		t.Errorf("key of %d and group of %d bytes, want at most 100", len(got.Key), len(got.Group))
	}
}

func TestVariablesHaveTheirValue(t *testing.T) {
	t.Parallel()
	mapped := func(pointer string) workflow.Message {
		return workflow.Message{SMSText: "#{x}", Variables: map[string]string{"x": pointer}}
	}
	tests := []struct {
		name   string
		text   workflow.Message
		change func(*store.Candidate)
		want   string // "" for no message
	}{
		{"patient_in_korean", workflow.Message{SMSText: "#{환자명}"}, nil, "김하늘"},
		{"patient_in_english", workflow.Message{SMSText: "#{patient}"}, nil, "김하늘"},
		{"clinic_in_korean", workflow.Message{SMSText: "#{병원명}"}, nil, "미소치과"},
		{"clinic_in_english", workflow.Message{SMSText: "#{clinic}"}, nil, "미소치과"},
		{"phone_in_korean", workflow.Message{SMSText: "#{병원전화}"}, nil, "02-555-0100"},
		{"phone_in_english", workflow.Message{SMSText: "#{clinic_phone}"}, nil, "02-555-0100"},
		{"mapped_text", mapped("/appointment/surgery"), nil, "임플란트"},
		{"mapped_number", mapped("/appointment/count"), nil, "3"},
		{"mapping_before_built_in", workflow.Message{SMSText: "#{환자명}", Variables: map[string]string{"환자명": "/appointment/surgery"}}, nil, "임플란트"},
		{"no_variable", workflow.Message{SMSText: "안내"}, nil, "안내"},
		{"several_times", workflow.Message{SMSText: "#{환자명}, #{환자명}"}, nil, "김하늘, 김하늘"},

		{"not_mapped", workflow.Message{SMSText: "#{x}"}, nil, ""},
		{"mapped_to_nothing", mapped("/appointment/doctor"), nil, ""},
		{"mapped_to_null", mapped("/appointment/none"), nil, ""},
		{"mapped_to_a_switch", mapped("/appointment/yes"), nil, ""},
		{"mapped_to_a_list", mapped("/appointment/list"), nil, ""},
		{"mapped_to_a_map", mapped("/appointment"), nil, ""},
		{"mapped_to_an_empty_text", mapped("/empty"), nil, ""},
		{"mapping_that_fails_is_not_built_in", workflow.Message{SMSText: "#{환자명}", Variables: map[string]string{"환자명": "/none"}}, nil, ""},
		{"payload_unreadable", mapped("/appointment/surgery"), func(c *store.Candidate) { c.Payload = nil }, ""},
		{"blank_value", mapped("/appointment/surgery"), func(c *store.Candidate) { c.Payload = []byte(`{"appointment":{"surgery":" \u200b "}}`) }, ""},
		{"no_name", workflow.Message{SMSText: "#{환자명}"}, func(c *store.Candidate) { c.PatientName = "" }, ""},
		{"no_clinic_phone", workflow.Message{SMSText: "#{병원전화}"}, func(c *store.Candidate) { c.Clinic.Phone = "" }, ""},
		{"emoji_in_a_name", workflow.Message{SMSText: "#{환자명}"}, func(c *store.Candidate) { c.PatientName = "김🙂" }, ""},
		{"syllable_of_no_handset", workflow.Message{SMSText: "#{환자명}"}, func(c *store.Candidate) { c.PatientName = "똠" }, ""},
		{"placeholder_in_a_name", workflow.Message{SMSText: "#{환자명}"}, func(c *store.Candidate) { c.PatientName = "#{병원명}" }, ""},
		{"escape_in_a_name", workflow.Message{SMSText: "#{환자명}"}, func(c *store.Candidate) { c.PatientName = "\x1b[2J" }, ""},
		{"too_long", workflow.Message{SMSText: "#{환자명}"}, func(c *store.Candidate) { c.PatientName = strings.Repeat("가", 1001) }, ""},
		{"broken_template", workflow.Message{SMSText: "#{환자명"}, nil, ""},
		{"no_text_for_the_channel", workflow.Message{KakaoText: "안내"}, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := candidate()
			c.Channel = event.SMS
			if tt.change != nil {
				tt.change(c)
			}
			got, err := render(c, tt.text)
			if err == nil && (tt.want == "" || got.Body != tt.want || got.content != tt.want) {
				t.Errorf("rendered %q, want %q", got.Body, tt.want)
			}
			if err != nil && tt.want != "" {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if err != nil && (strings.Contains(err.Error(), "김") || strings.Contains(err.Error(), "가")) {
				t.Errorf("the error shows the patient: %v", err)
			}
		})
	}
}

func TestKakaoCarriesWhatSMSCannot(t *testing.T) {
	t.Parallel()
	c := candidate()
	c.PatientName = "김🙂"
	if got, err := render(c, *textOf(c)); err != nil || got.Variables["환자명"] != "김🙂" {
		t.Errorf("render = %v, %v", got, err)
	}
}

func TestSMSIsBroughtNearToWhatAHandsetShows(t *testing.T) {
	t.Parallel()
	c := candidate()
	c.Channel, c.PatientName = event.SMS, "\u1100\u1175\u11B7\u200B" // 김, as macOS writes it
	got, err := render(c, workflow.Message{SMSText: "#{환자명}님 – 5,000₩\r\n"})
	if err != nil || got.Body != "김님 - 5,000원\n" || got.content != got.Body {
		t.Errorf("render = %+v, %v", got, err)
	}
}

// Whatever a payload holds, a patient never sees a placeholder or a gap.
func TestNothingIsSentWithAHole(t *testing.T) {
	t.Parallel()
	value := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"#", "#{", "{환자명}", "##", "", " ", "가"}))
	rapid.Check(t, func(t *rapid.T) {
		c := candidate()
		c.Channel = rapid.SampledFrom([]event.Channel{event.Kakao, event.SMS}).Draw(t, "channel")
		c.PatientName, c.Clinic.Name, c.Clinic.Phone = value.Draw(t, "name"), value.Draw(t, "clinic"), value.Draw(t, "phone")
		got, err := render(c, *textOf(c))
		if err != nil {
			return
		}
		if strings.Contains(got.content, "#{") || strings.Contains(got.content, "##") {
			t.Fatalf("rendered %q", got.content)
		}
		for name, v := range got.Variables {
			if strings.TrimSpace(v) == "" {
				t.Fatalf("%s is blank", name)
			}
		}
	})
}

// A definition that was published has no fault that only the claim would find.
func TestWhatPassesCheckIsRendered(t *testing.T) {
	t.Parallel()
	text := rapid.StringOfN(rapid.SampledFrom([]rune("가나다 #{}환자명병원시술a\n.🙂")), 1, 30, -1)
	passed := 0
	rapid.Check(t, func(t *rapid.T) {
		c := candidate()
		m := textOf(c)
		field := rapid.SampledFrom([]*string{&m.KakaoText, &m.SMSText, &m.SMSTitle}).Draw(t, "field")
		*field = text.Draw(t, "text")
		if len(workflow.Check(c.Definition)) > 0 {
			return
		}
		passed++
		for _, c.Channel = range []event.Channel{event.Kakao, event.SMS} {
			got, err := render(c, *m)
			if err != nil {
				t.Fatalf("%s: %q cannot be rendered: %v", c.Channel, *field, err)
			}
			if strings.Contains(got.Title, "#{") {
				t.Fatalf("title %q", got.Title)
			}
		}
	})
	if passed == 0 {
		t.Error("nothing passed Check: the property proves nothing")
	}
}

func TestDemoClinicsMessagesAreRendered(t *testing.T) {
	t.Parallel()
	f, err := clinic.Parse(examples.MisoDental)
	if err != nil {
		t.Fatal(err)
	}
	templates := map[string]clinic.Template{}
	for _, tm := range f.Templates {
		templates[tm.Name] = tm
	}
	d, err := f.Workflows[0].Definition(templates)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range d.Steps {
		for _, channel := range []event.Channel{event.Kakao, event.SMS} {
			c := candidate()
			c.Definition, c.Node, c.Channel = d, step.Node, channel
			if v := judge(c, timing); v.message == nil {
				t.Errorf("step %s by %s: %+v", step.Node, channel, v)
			}
		}
	}
}
