package clinic

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// InvalidWorkflowError tells why a workflow cannot be published: everything at
// once.
type InvalidWorkflowError struct {
	Name     string
	Problems []workflow.Problem
}

// Error has a line for each problem.
func (e *InvalidWorkflowError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		at := p.Pointer
		if p.Node != "" {
			at = fmt.Sprintf("node %q (%s)", p.Node, p.Pointer)
		}
		lines[i] = fmt.Sprintf("clinic: workflow %q, %s: %s (%s)", e.Name, at, p.English, p.Korean)
	}
	return strings.Join(lines, "\n")
}

var bothNotations = workflow.Problem{
	Pointer: "/visual_data",
	English: "give steps or visual_data, not both; a drawing has no day_length",
	Korean:  "steps와 visual_data 중 하나만 지정하세요. 그림에는 day_length를 쓸 수 없습니다",
}

func noTemplate(i int, s Step) workflow.Problem {
	return workflow.Problem{
		Node: s.Node, Pointer: "/steps/" + strconv.Itoa(i) + "/template",
		English: fmt.Sprintf("there is no template named %q", s.Template),
		Korean:  fmt.Sprintf("템플릿 %q이(가) 없습니다", s.Template),
	}
}

// TriggerTypes are what can begin a workflow. post_surgery is a completed
// appointment, or the event of a webhook; appointment is any event of one, among
// which the trigger nodes of a drawing choose.
var TriggerTypes = []string{
	"post_surgery", "webhook", "schedule", "appointment", "appointment.requested", "appointment.booked", "appointment.rescheduled",
	"appointment.edited", "appointment.checked_in", "appointment.completed", "appointment.no_show", "appointment.cancelled",
}

var anyEvent = workflow.Problem{
	Pointer: "/trigger_type",
	English: "trigger_type appointment is for a drawn workflow, whose trigger nodes name the event; write appointment.booked or another",
	Korean:  "trigger_type appointment는 트리거 노드가 이벤트를 지정하는 그림 워크플로에만 쓸 수 있습니다. appointment.booked 등으로 지정하세요",
}

// Build pins the templates' texts into a workflow and checks the whole. Any
// problem means that there is no definition. Pointers lead into the workflow as
// its file has it; what follows /template is in the template of that name.
func (w Workflow) Build(templates map[string]Template) (*workflow.Definition, []workflow.Problem) {
	var problems []workflow.Problem
	if !slices.Contains(TriggerTypes, w.TriggerType) {
		problems = append(problems, workflow.Problem{
			Pointer: "/trigger_type", English: "trigger_type is one of " + strings.Join(TriggerTypes, ", "), Korean: "trigger_type은 다음 중 하나입니다: " + strings.Join(TriggerTypes, ", "),
		})
	}
	if w.TriggerType == "appointment" && w.VisualData == "" {
		problems = append(problems, anyEvent)
	}
	d, err := w.Definition(templates)
	if e, ok := errors.AsType[*InvalidWorkflowError](err); ok {
		return nil, append(problems, e.Problems...)
	}
	for _, p := range workflow.Check(d) {
		// A step of a file names its template, and has no message of its own.
		p.Pointer = stepMessage.ReplaceAllString(p.Pointer, "$1/template")
		problems = append(problems, p)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return d, nil
}

var stepMessage = regexp.MustCompile(`^(/steps/[0-9]+)/message`)

func (t *Template) defaults() {
	if t.Class == "" {
		t.Class = workflow.CareFollowup
	}
}

func (w *Workflow) defaults() {
	if w.TriggerType == "" {
		w.TriggerType = "webhook"
	}
	if w.IsActive == nil {
		w.IsActive = new(true)
	}
	w.NameSteps()
}

// NameSteps gives the steps that have none a name and a type, as a file does:
// their place, from 1, and message.
func (w *Workflow) NameSteps() {
	for i := range w.Steps {
		s := &w.Steps[i]
		if s.Node == "" {
			s.Node = strconv.Itoa(i + 1)
		}
		if s.Type == "" {
			s.Type = "message"
		}
	}
}
