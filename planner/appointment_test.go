package planner

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

const parted = `{"nodes":[{"id":"start","type":"trigger","data":{}},{"id":"half","type":"split","data":{"branches":[{"handle":"a","percent":50},{"handle":"b","percent":50}]}},
 {"id":"one","type":"message","data":{"message":{"class":"care_followup","sms_text":"one"}}},{"id":"two","type":"message","data":{"message":{"class":"care_followup","sms_text":"two"}}}],
 "edges":[{"id":"e1","source":"start","target":"half"},{"id":"e2","source":"half","sourceHandle":"a","target":"one"},{"id":"e3","source":"half","sourceHandle":"b","target":"two"}]}`

// A split right after the trigger parts patients, and each stays on its side
// when the plan is made anew.
func TestASplitAtTheStartPartsPatients(t *testing.T) {
	t.Parallel()
	d, problems := workflow.Draw([]byte(parted), nil, "")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	sides := map[string]int{}
	for i := range 200 {
		p := store.PendingTrigger{Patient: uuid.NewSHA1(uuid.Nil, fmt.Append(nil, i)), ReceivedAt: time.Unix(1e9, 0), Zone: time.UTC}
		first := Expand(p, d)
		if again := Expand(p, d); len(first.Steps) != 1 || again.Steps[0].Node != first.Steps[0].Node {
			t.Fatalf("%+v, and again %+v", first.Steps, again.Steps)
		}
		sides[first.Steps[0].Node]++
	}
	if sides["one"] < 70 || sides["two"] < 70 {
		t.Errorf("200 patients are shared out as %v", sides)
	}
}
