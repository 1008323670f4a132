package clinic

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/doctorsflow/doctorsflow/internal/strictjson"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// WorkflowFile is one workflow with the templates that it takes, as a file that
// is kept in git. What it says of them is what a clinic's file says.
type WorkflowFile struct {
	Workflow  Workflow   `yaml:"workflow" json:"workflow"`
	Templates []Template `yaml:"templates" json:"templates,omitempty"`
}

// ByName are the file's templates.
func (f *WorkflowFile) ByName() map[string]Template {
	out := make(map[string]Template, len(f.Templates))
	for _, t := range f.Templates {
		out[t.Name] = t
	}
	return out
}

// maxWorkflowFile bounds a file, in bytes: a drawing, and its templates.
const maxWorkflowFile = workflow.MaxVisualBytes + 1<<20

// ParseWorkflowFile reads a file strictly: YAML, or JSON where it begins with a
// brace, in which visual_data may be the editor's own object.
func ParseWorkflowFile(b []byte) (f WorkflowFile, err error) {
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	if len(b) > maxWorkflowFile {
		return f, fmt.Errorf("clinic: the file is larger than %d KiB", maxWorkflowFile>>10)
	}
	if first := bytes.TrimLeft(b, " \t\r\n"); bytes.HasPrefix(first, []byte("{")) {
		err = f.fromJSON(b)
	} else {
		err = readYAML(b, &f)
	}
	if err != nil {
		return WorkflowFile{}, err
	}
	f.Workflow.defaults()
	for i := range f.Templates {
		f.Templates[i].defaults()
	}
	return f, f.check()
}

// check refuses what has no name, or two of a name; everything else is a
// problem of the workflow.
func (f *WorkflowFile) check() error {
	var c checks
	c.unique("workflow", f.Workflow.Name, func() bool { return false })
	seen := map[string]bool{}
	for _, t := range f.Templates {
		c.unique("template", t.Name, func() bool { return seen[t.Name] })
		seen[t.Name] = true
		if !oneOf(t.KakaoStatus, "", workflow.Approved, workflow.Pending, workflow.Rejected) {
			c.add("template %q: kakao_status is approved, pending or rejected", t.Name)
		}
		if !oneOf(t.Class, workflow.Transactional, workflow.CareFollowup, workflow.Marketing, workflow.Auth) {
			c.add("template %q: class is transactional, care_followup, marketing or auth", t.Name)
		}
	}
	if !oneOf(f.Workflow.TriggerType, TriggerTypes...) {
		c.add("workflow %q: trigger_type is one of %s", f.Workflow.Name, strings.Join(TriggerTypes, ", "))
	}
	if len(f.Workflow.VisualData) > workflow.MaxVisualBytes {
		c.add("workflow %q: a drawing has at most %d KiB", f.Workflow.Name, workflow.MaxVisualBytes>>10)
	}
	if text, err := json.Marshal(f); err != nil || strictjson.Check(text, keepable) != nil {
		c.add("workflow: a text of the file is too long or has a character that cannot be kept, such as NUL")
	}
	return errors.Join(c...)
}

// keepable are the limits of what a database takes as JSON and gives back.
var keepable = strictjson.Limits{Values: 1 << 20, String: maxWorkflowFile}

func (f *WorkflowFile) fromJSON(b []byte) error {
	limits := strictjson.Limits{Values: 200_000, String: workflow.MaxVisualBytes, FoldCase: true}
	if err := strictjson.Check(b, limits); err != nil {
		return fmt.Errorf("clinic: %w", err)
	}
	var in struct {
		Workflow struct {
			Workflow
			VisualData json.RawMessage `json:"visual_data"`
		} `json:"workflow"`
		Templates []Template `json:"templates"`
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return fmt.Errorf("clinic: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	*f = WorkflowFile{Workflow: in.Workflow.Workflow, Templates: in.Templates}
	text, err := DrawingText(in.Workflow.VisualData)
	f.Workflow.VisualData = text
	return err
}

// DrawingText is a drawing as text, of JSON in which it may stand as an object,
// as a text, or as null: "".
func DrawingText(raw json.RawMessage) (string, error) {
	raw = bytes.TrimSpace(raw)
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return "", nil
	case raw[0] != '"':
		return string(raw), nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return "", fmt.Errorf("clinic: visual_data: %w", err)
	}
	return text, nil
}

// YAML writes the file: the same workflow is the same bytes, a step, a node and
// an edge are a line or a block each, and reading it gives the same again.
func (f WorkflowFile) YAML() ([]byte, error) {
	f.Workflow.VisualData = workflow.Layout(f.Workflow.VisualData)
	f.Templates = slices.SortedFunc(slices.Values(f.Templates), func(a, b Template) int { return strings.Compare(a.Name, b.Name) })
	for _, blocks := range []bool{true, false} {
		w := yamlWriter{blocks: blocks}
		w.file(f)
		if again, err := ParseWorkflowFile(w.Bytes()); err == nil && again.same(f) {
			return w.Bytes(), nil
		}
	}
	return nil, fmt.Errorf("clinic: workflow %q cannot be written as a file: a text of it is not YAML's", f.Workflow.Name)
}

// same compares by the JSON, which has every field.
func (f WorkflowFile) same(o WorkflowFile) bool {
	a, errA := json.Marshal(f)
	b, errB := json.Marshal(o)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

// JSON writes the file as JSON, visual_data as text.
func (f WorkflowFile) JSON() ([]byte, error) {
	f.Workflow.VisualData = workflow.Layout(f.Workflow.VisualData)
	f.Templates = slices.SortedFunc(slices.Values(f.Templates), func(a, b Template) int { return strings.Compare(a.Name, b.Name) })
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(f); err != nil {
		return nil, fmt.Errorf("clinic: %w", err)
	}
	return out.Bytes(), nil
}
