package workflow_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/doctorsflow/doctorsflow/internal/template"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// aftercare is a definition without a problem: Kakao with an SMS behind it,
// then an SMS alone.
func aftercare() *workflow.Definition {
	return &workflow.Definition{
		SendAt: &workflow.Clock{Hour: 9, Minute: 30},
		Steps: []workflow.Step{
			{
				Node: "care", Type: "message", Day: new(0), Late: workflow.LateSkip, OnUnknown: workflow.Fallback,
				Message: workflow.Message{
					Template: "care", Class: workflow.CareFollowup, KakaoCode: "CARE", KakaoText: "#{환자명}님, #{시술명} 안내입니다.",
					SMSTitle: "안내", SMSText: "#{patient}: #{시술명}", Variables: map[string]string{"시술명": "/appointment/surgery"},
				},
			},
			{
				Node: "survey", Type: "survey", Hours: new(2), ExpiresAfter: workflow.Duration(time.Hour),
				Message: workflow.Message{Template: "survey", Class: workflow.Transactional, SMSText: "#{clinic} #{clinic_phone}"},
			},
		},
	}
}

func TestEachProblemIsReportedOnceAndWhereItIs(t *testing.T) {
	t.Parallel()
	type D = workflow.Definition
	first := func(f func(*workflow.Step)) func(*D) { return func(d *D) { f(&d.Steps[0]) } }
	second := func(f func(*workflow.Step)) func(*D) { return func(d *D) { f(&d.Steps[1]) } }
	long := strings.Repeat("가", 1001)
	tests := []struct {
		name    string
		change  func(*D)
		pointer string
		says    string
	}{
		{"no_step", func(d *D) { d.Steps = nil }, "/steps", "at least one step"},
		{"too_many_steps", func(d *D) { d.Steps = make([]workflow.Step, 201) }, "/steps", "at most 200"},
		{"day_too_short", func(d *D) { d.DayLength = workflow.Duration(time.Millisecond) }, "/day_length", "10ms and 48h"},
		{"day_too_long", func(d *D) { d.DayLength = workflow.Duration(49 * time.Hour) }, "/day_length", "10ms and 48h"},
		{"day_negative", func(d *D) { d.DayLength = -1 }, "/day_length", "10ms and 48h"},
		{"no_node", first(func(s *workflow.Step) { s.Node = "" }), "/steps/0/node", "1 to 64"},
		{"odd_node", first(func(s *workflow.Step) { s.Node = "__proto__." }), "/steps/0/node", "1 to 64"},
		{"long_node", first(func(s *workflow.Step) { s.Node = strings.Repeat("a", 65) }), "/steps/0/node", "1 to 64"},
		{"same_node", second(func(s *workflow.Step) { s.Node = "care" }), "/steps/1/node", "same node name"},
		{"no_time", first(func(s *workflow.Step) { s.Day = nil }), "/steps/0", "exactly one"},
		{"two_times", second(func(s *workflow.Step) { s.Minutes = new(1) }), "/steps/1", "exactly one"},
		{"before_the_trigger", second(func(s *workflow.Step) { s.Hours = new(-1) }), "/steps/1", "before its trigger"},
		{"401_days", first(func(s *workflow.Step) { s.Day = new(401) }), "/steps/0", "400 days"},
		{"too_many_hours", second(func(s *workflow.Step) { s.Hours = new(9601) }), "/steps/1", "400 days"},
		{"too_many_minutes", second(func(s *workflow.Step) { s.Hours, s.Minutes = nil, new(576_001) }), "/steps/1", "400 days"},
		{"seconds_that_overflow", second(func(s *workflow.Step) { s.Hours, s.Seconds = nil, new(9_223_372_037) }), "/steps/1", "400 days"},
		{"expiry_negative", first(func(s *workflow.Step) { s.ExpiresAfter = -1 }), "/steps/0/expires_after", "0 and 400 days"},
		{"expiry_too_far", first(func(s *workflow.Step) { s.ExpiresAfter = workflow.Duration(workflow.MaxDelay + 1) }), "/steps/0/expires_after", "0 and 400 days"},
		{"send_at_without_day", second(func(s *workflow.Step) { s.SendAt = new(workflow.Clock) }), "/steps/1/send_at", "step of day or business_days"},
		{"odd_late", first(func(s *workflow.Step) { s.Late = "maybe" }), "/steps/0/late", "send, skip or expire"},
		{"odd_on_unknown", first(func(s *workflow.Step) { s.OnUnknown = "guess" }), "/steps/0/on_unknown", "park, resend or fallback"},
		{"fallback_without_kakao", second(func(s *workflow.Step) { s.OnUnknown = workflow.Fallback }), "/steps/1/on_unknown", "needs a Kakao template"},
		{"no_class", first(func(s *workflow.Step) { s.Message.Class = "" }), "/steps/0/message/class", "class is"},
		{"no_channel", second(func(s *workflow.Step) { s.Message.SMSText = "" }), "/steps/1/message", "needs a Kakao template"},
		{"kakao_without_text", first(func(s *workflow.Step) { s.Message.KakaoText = "" }), "/steps/0/message/kakao_text", "must be given"},
		{"kakao_too_long", first(func(s *workflow.Step) { s.Message.KakaoText = long }), "/steps/0/message/kakao_text", "1,000 characters"},
		{"marketing_by_kakao", first(func(s *workflow.Step) { s.Message.Class = workflow.Marketing }), "/steps/0/message", "goes by SMS"},
		{
			"marketing_at_any_hour",
			func(d *D) { d.IgnoreQuietHours, d.Steps[1].Message.Class = true, workflow.Marketing },
			"/steps/1/message", "quiet hours",
		},
		{"unmapped_in_kakao", first(func(s *workflow.Step) { s.Message.KakaoText += "#{의사}" }), "/steps/0/message/kakao_text", "#{의사}"},
		{"unmapped_in_sms", second(func(s *workflow.Step) { s.Message.SMSText += "#{의사}" }), "/steps/1/message/sms_text", "#{의사}"},
		{"broken_kakao", first(func(s *workflow.Step) { s.Message.KakaoText = "#{환자명" }), "/steps/0/message/kakao_text", "cannot be read"},
		{"broken_sms", second(func(s *workflow.Step) { s.Message.SMSText = "##name##" }), "/steps/1/message/sms_text", "cannot be read"},
		{"blank_sms", second(func(s *workflow.Step) { s.Message.SMSText = " " }), "/steps/1/message/sms_text", "cannot be read"},
		{"emoji_in_sms", second(func(s *workflow.Step) { s.Message.SMSText = "안녕 🙂" }), "/steps/1/message/sms_text", "cannot be sent by SMS"},
		{"sms_too_long", second(func(s *workflow.Step) { s.Message.SMSText = long }), "/steps/1/message/sms_text", "2,000 bytes"},
		{"title_too_long", first(func(s *workflow.Step) { s.Message.SMSTitle = strings.Repeat("가", 21) }), "/steps/0/message/sms_title", "40 bytes"},
		{"emoji_in_title", first(func(s *workflow.Step) { s.Message.SMSTitle = "🙂" }), "/steps/0/message/sms_title", "40 bytes"},
		{"variable_in_title", first(func(s *workflow.Step) { s.Message.SMSTitle = "#{환자명}님" }), "/steps/0/message/sms_title", "no variables"},
		{"title_of_two_lines", first(func(s *workflow.Step) { s.Message.SMSTitle = "a\nb" }), "/steps/0/message/sms_title", "one line"},
		{
			"variable_mapped_to_no_pointer",
			first(func(s *workflow.Step) { s.Message.Variables["시술명"] = "appointment/surgery" }),
			"/steps/0/message/variables", "not a JSON pointer",
		},
		{"kakao_pending", first(func(s *workflow.Step) { s.Message.KakaoStatus = workflow.Pending }), "/steps/0/message/kakao_template_code", "not approved the template: it is pending"},
		{"kakao_rejected", first(func(s *workflow.Step) { s.Message.KakaoStatus = workflow.Rejected }), "/steps/0/message/kakao_template_code", "not approved the template: it is rejected"},
		{"link_by_http", second(func(s *workflow.Step) {
			s.Message.SMSText += "#{링크}"
			s.Message = s.Message.WithLink("http://example.com")
		}), "/steps/1/link", "https://"},
		{"link_nowhere", second(func(s *workflow.Step) { s.Message = s.Message.WithLink("https://example.com") }), "/steps/1/link", "nowhere in the text"},
		{"variable_mapped_to_nothing", first(func(s *workflow.Step) { s.Message.Variables["시술명"] = "" }), "/steps/0/message/variables", "not a JSON pointer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := aftercare()
			tt.change(d)
			got := workflow.Check(d)
			if len(got) != 1 {
				t.Fatalf("Check found %d problems, want 1: %+v", len(got), got)
			}
			at, _, _ := strings.Cut(strings.TrimPrefix(tt.pointer, "/steps/"), "/")
			if i, err := strconv.Atoi(at); err == nil && got[0].Node != d.Steps[i].Node {
				t.Errorf("it is about %q, want step %q", got[0].Node, d.Steps[i].Node)
			}
			if p := got[0]; p.Pointer != tt.pointer || !strings.Contains(p.English, tt.says) {
				t.Errorf("problem %+v, want %q at %s", p, tt.says, tt.pointer)
			}
			if !strings.ContainsFunc(got[0].Korean, func(r rune) bool { return unicode.Is(unicode.Hangul, r) }) {
				t.Errorf("no Korean: %+v", got[0])
			}
		})
	}
}

func TestCheckPassesWhatIsAllowed(t *testing.T) {
	t.Parallel()
	type D = workflow.Definition
	tests := map[string]func(*D){
		"as_it_is": func(*D) {},
		"limits": func(d *D) {
			d.Steps[0].Day, d.Steps[1].Hours, d.DayLength = new(400), new(9600), workflow.Duration(48*time.Hour)
		},
		"step_send_at":       func(d *D) { d.Steps[0].SendAt = &workflow.Clock{Hour: 23, Minute: 59} },
		"kakao_alone":        func(d *D) { d.Steps[0].OnUnknown, d.Steps[0].Message.SMSText, d.Steps[0].Message.SMSTitle = "", "", "" },
		"sms_alone":          func(d *D) { d.Steps = d.Steps[1:] },
		"marketing_by_sms":   func(d *D) { d.Steps[1].Message.Class = workflow.Marketing },
		"any_hour_for_auth":  func(d *D) { d.IgnoreQuietHours, d.Steps[1].Message.Class = true, workflow.Auth },
		"two_hundred_steps":  func(d *D) { d.Steps = many(200) },
		"longest_kakao_text": func(d *D) { d.Steps[0].Message.KakaoText = strings.Repeat("가", 1000) },
		"longest_sms_text":   func(d *D) { d.Steps[1].Message.SMSText = strings.Repeat("가", 1000) },
		"now":                func(d *D) { d.Steps[1].Hours = new(0) },
	}
	for name, change := range tests {
		d := aftercare()
		change(d)
		if got := workflow.Check(d); len(got) != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func many(n int) []workflow.Step {
	steps := make([]workflow.Step, n)
	for i := range steps {
		steps[i] = aftercare().Steps[1]
		steps[i].Node = fmt.Sprint(i)
	}
	return steps
}

// What Check lets through has no fault that only the patient would find.
func TestWhatPassesCheckRendersAndSurvivesTheLedger(t *testing.T) {
	t.Parallel()
	text := rapid.StringOfN(rapid.SampledFrom([]rune("가나다 #{}환자명시술a\n.🙂#")), 0, 30, -1)
	passed := 0
	rapid.Check(t, func(t *rapid.T) {
		d := aftercare()
		m := &d.Steps[rapid.IntRange(0, 1).Draw(t, "step")].Message
		for _, field := range []*string{&m.KakaoText, &m.SMSText, &m.SMSTitle} {
			if rapid.Bool().Draw(t, "change") {
				*field = text.Draw(t, "text")
			}
		}
		if len(workflow.Check(d)) > 0 {
			return
		}
		passed++
		for _, s := range d.Steps {
			for _, text := range []string{s.Message.KakaoText, s.Message.SMSText} {
				if text != "" {
					render(t, text, s.Message.Variables)
				}
			}
			if s.Message.HasSMS() && s.Message.SMSTitle != "" && strings.ContainsAny(s.Message.SMSTitle, "\n") {
				t.Fatalf("title %q", s.Message.SMSTitle)
			}
		}
		stored, err := workflow.Decode(encode(t, d))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d, stored, cmpopts.IgnoreUnexported(workflow.Definition{})); diff != "" {
			t.Fatalf("stored definition differs:\n%s", diff)
		}
	})
	if passed == 0 {
		t.Error("nothing passed Check: the property proves nothing")
	}
}

func render(t *rapid.T, text string, mapped map[string]string) {
	compiled, err := template.Compile(text)
	if err != nil {
		t.Fatalf("%q does not compile: %v", text, err)
	}
	values := map[string]string{}
	for _, v := range workflow.Builtin {
		values[v] = "값"
	}
	for v := range mapped {
		values[v] = "값"
	}
	if _, err := compiled.Render(values); err != nil {
		t.Fatalf("%q does not render: %v", text, err)
	}
}
