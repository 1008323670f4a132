package workflow_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

const clicked = `{"nodes": [
  {"id": "t", "type": "trigger", "data": {}},
  {"id": "care", "type": "survey", "data": {"template": "care", "link": "https://clinic.example/s?a=1"}},
  {"id": "plain", "type": "message", "data": {"template": "plain"}},
  {"id": "wait", "type": "wait", "data": {"event": "clicked", "timeout": {"hours": 2}}}],
 "edges": [{"source": "t", "target": "care"}, {"source": "care", "target": "plain"}, {"source": "plain", "target": "wait"}]}`

var clickedTemplates = map[string]workflow.Message{
	"care":  {Class: workflow.CareFollowup, SMSText: "#{환자명} #{링크}"},
	"plain": {Class: workflow.CareFollowup, SMSText: "#{환자명}"},
}

func TestOnlyADrawingThatAsksHasItsLinksFollowed(t *testing.T) {
	t.Parallel()
	waits := strings.NewReplacer(`"type": "wait", "data": {"event": "clicked", "timeout": {"hours": 2}}`, `"type": "condition", "data": {"expression": "happened.care.clicked"}`)
	never := strings.NewReplacer(`"event": "clicked"`, `"event": "delivered"`)
	for name, tt := range map[string]struct {
		drawn, want string
	}{
		"a wait": {clicked, "https://flow.example.com/l/"}, "a question": {waits.Replace(clicked), "https://flow.example.com/l/"}, "neither": {never.Replace(clicked), ""},
	} {
		d, problems := workflow.Draw([]byte(tt.drawn), clickedTemplates, "https://flow.example.com/")
		if len(problems) > 0 {
			t.Fatalf("%s: %v", name, problems)
		}
		b, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if d, err = workflow.Decode(b); err != nil {
			t.Fatal(err)
		}
		care, _ := d.Step("care")
		plain, _ := d.Step("plain")
		if care.Message.Follow != tt.want || plain.Message.Follow != "" || d.Follows() != (tt.want != "") {
			t.Errorf("%s: the link is followed by %q, a message without one by %q, and the whole says %t", name, care.Message.Follow, plain.Message.Follow, d.Follows())
		}
		if problems := workflow.Check(d); len(problems) > 0 {
			t.Errorf("%s: read again it has problems: %v", name, problems)
		}
	}
}

func TestWhatCannotBeFollowedIsRefusedWhenItIsSaved(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ old, new, public, want string }{
		"no public address":  {"", "", "", "NEXT_PUBLIC_APP_URL"},
		"one with a query":   {"", "", "https://flow.example.com/?a", "NEXT_PUBLIC_APP_URL"},
		"one with a login":   {"", "", "https://a:b@flow.example.com", "NEXT_PUBLIC_APP_URL"},
		"no scheme":          {"", "", "flow.example.com", "NEXT_PUBLIC_APP_URL"},
		"a script":           {"", "", "javascript:alert(1)", "NEXT_PUBLIC_APP_URL"},
		"one that costs":     {"", "", "https://" + strings.Repeat("a", 100), "NEXT_PUBLIC_APP_URL"},
		"the patient's own":  {`"link": "https://clinic.example/s?a=1"`, `"variables": {"링크": "/link"}`, "https://flow.example.com", "no message has a link"},
		"a link of no https": {`https://clinic`, `http://clinic`, "https://flow.example.com", "https:// address"},
		"of another scheme":  {`https://clinic.example/s?a=1`, `javascript:alert(1)`, "https://flow.example.com", "https:// address"},
	} {
		_, problems := workflow.Draw([]byte(strings.ReplaceAll(clicked, tt.old, tt.new)), clickedTemplates, tt.public)
		if tt.old == "" {
			_, problems = workflow.Draw([]byte(clicked), clickedTemplates, tt.public)
		}
		if len(problems) != 1 || !strings.Contains(problems[0].English, tt.want) || problems[0].Korean == "" {
			t.Errorf("%s: %v; want one problem with %q", name, problems, tt.want)
		}
	}
}
