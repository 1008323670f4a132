package workflow_test

import (
	"encoding/json"
	"testing"

	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

func TestADrawnVersionKeepsItsBytesAndItsTexts(t *testing.T) {
	t.Parallel()
	d, problems := workflow.Draw([]byte(drawn), drawnTemplates, "")
	if len(problems) > 0 {
		t.Fatalf("%+v", problems)
	}
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := workflow.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if string(stored.Visual().JSON()) != drawn {
		t.Error("the drawing is not what came")
	}
	if problems := workflow.Check(stored); len(problems) > 0 {
		t.Errorf("%+v", problems)
	}
	s, ok := stored.Step("ask")
	if !ok || s.Message.SMSText != "#{clinic}" || s.Node != "ask" {
		t.Errorf("step ask = %+v, %v", s, ok)
	}
	for _, node := range []string{"t", "d", "end", "memo", "nobody"} {
		if s, ok := stored.Step(node); ok {
			t.Errorf("node %s is a step: %+v", node, s)
		}
	}
	delete(stored.Drawing.Messages, "ask")
	if problems := workflow.Check(stored); len(problems) != 1 || problems[0].Node != "ask" {
		t.Errorf("a version without a text: %+v", problems)
	}
	stored.Steps = []workflow.Step{{}}
	if len(workflow.Check(stored)) != 2 {
		t.Error("a version that is drawn and a list is passed")
	}
}
