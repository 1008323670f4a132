package workflow_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

func encode(t interface{ Fatal(...any) }, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestStoredDefinitionIsReadBackAsItWas(t *testing.T) {
	t.Parallel()
	want := aftercare()
	want.DayLength, want.IgnoreQuietHours = workflow.Duration(2*time.Second), true
	want.Steps[0].SendAt = &workflow.Clock{Hour: 7, Minute: 5}
	want.Steps = append(want.Steps, workflow.Step{Node: "m", Minutes: new(0)}, workflow.Step{Node: "s", Seconds: new(90)})
	got, err := workflow.Decode(encode(t, want))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(workflow.Definition{})); diff != "" {
		t.Errorf("changed in the ledger:\n%s", diff)
	}
}

// This text is in ledgers: it must be read so for ever.
func TestDefinitionOfTheFirstVersionIsRead(t *testing.T) {
	t.Parallel()
	const stored = `{"day_length":"2s","send_at":"09:30","ignore_quiet_hours":true,"steps":[{"node":"1","type":"care","day":0,
		"send_at":"07:05","expires_after":"36h0m0s","late":"skip","on_unknown":"fallback","message":{"template":"t","class":"care_followup",
		"kakao_template_code":"K","kakao_text":"#{환자명}","sms_title":"T","sms_text":"S","variables":{"a":"/b"}}},
		{"node":"2","type":"x","hours":1,"message":{"template":"","class":"auth"}},{"node":"3","type":"x","minutes":2,"message":{"template":"","class":""}},
		{"node":"4","type":"x","seconds":3,"message":{"template":"","class":""}}],"of_a_later_version":1}`
	want := &workflow.Definition{
		DayLength: workflow.Duration(2 * time.Second), SendAt: &workflow.Clock{Hour: 9, Minute: 30}, IgnoreQuietHours: true,
		Steps: []workflow.Step{
			{
				Node: "1", Type: "care", Day: new(0), SendAt: &workflow.Clock{Hour: 7, Minute: 5}, ExpiresAfter: workflow.Duration(36 * time.Hour),
				Late: workflow.LateSkip, OnUnknown: workflow.Fallback,
				Message: workflow.Message{
					Template: "t", Class: workflow.CareFollowup, KakaoCode: "K", KakaoText: "#{환자명}", SMSTitle: "T", SMSText: "S",
					Variables: map[string]string{"a": "/b"},
				},
			},
			{Node: "2", Type: "x", Hours: new(1), Message: workflow.Message{Class: workflow.Auth}},
			{Node: "3", Type: "x", Minutes: new(2)},
			{Node: "4", Type: "x", Seconds: new(3)},
		},
	}
	got, err := workflow.Decode([]byte(stored))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(workflow.Definition{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDecodeRefusesWhatIsNoDefinition(t *testing.T) {
	t.Parallel()
	for _, s := range []string{``, `[]`, `{"send_at":"25:00"}`, `{"send_at":900}`, `{"day_length":"2"}`, `{"steps":{}}`, `{"steps":[{"day":"0"}]}`, `{}{}`} {
		if d, err := workflow.Decode([]byte(s)); err == nil {
			t.Errorf("%s is %+v", s, d)
		}
	}
}

func TestClockAndDurationKeepTheirText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := workflow.Clock{Hour: rapid.IntRange(0, 23).Draw(t, "hour"), Minute: rapid.IntRange(0, 59).Draw(t, "minute")}
		var again workflow.Clock
		if err := json.Unmarshal(encode(t, c), &again); err != nil || again != c || len(c.String()) != 5 {
			t.Fatalf("%s became %s, %v", c, again, err)
		}
		d := workflow.Duration(rapid.Int64().Draw(t, "duration"))
		var same workflow.Duration
		if err := json.Unmarshal(encode(t, d), &same); err != nil || same != d {
			t.Fatalf("%d became %d, %v", d, same, err)
		}
	})
}

func TestClockAndDurationSayHowToWriteThem(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "24:00", "10:60", "10", "1000", "10:00:00", "ten", "-1:00", "10:00 "} {
		if c, err := workflow.ParseClock(s); err == nil || !strings.Contains(err.Error(), "15:04") {
			t.Errorf("ParseClock(%q) = %v, %v", s, c, err)
		}
	}
	for _, s := range []string{"", "2", "2 days", "1d", "h", "10:00"} {
		var d workflow.Duration
		if err := d.UnmarshalText([]byte(s)); err == nil || !strings.Contains(err.Error(), "30m") {
			t.Errorf("duration %q = %v, %v", s, d, err)
		}
	}
}

func TestStepIsFoundByItsNode(t *testing.T) {
	t.Parallel()
	d := aftercare()
	if s, ok := d.Step("survey"); !ok || s.Type != "survey" {
		t.Errorf("Step(survey) = %+v, %v", s, ok)
	}
	if s, ok := d.Step("none"); ok || s.Node != "" {
		t.Errorf("Step(none) = %+v, %v", s, ok)
	}
}

func TestDelayIsThatOfTheUnitGiven(t *testing.T) {
	t.Parallel()
	for want, s := range map[time.Duration]workflow.Step{
		2 * time.Hour: {Hours: new(2)}, 3 * time.Minute: {Minutes: new(3)}, 4 * time.Second: {Seconds: new(4)},
	} {
		if got, ok := s.Delay(); !ok || got != want {
			t.Errorf("Delay = %v, %v; want %v", got, ok, want)
		}
	}
	if got, ok := (workflow.Step{Day: new(1)}).Delay(); ok || got != 0 {
		t.Errorf("a day step has the delay %v", got)
	}
}
