package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// maxWorkflow bounds a body with a workflow, in bytes: a drawing that is a text
// in JSON takes up to twice its size, and steps.
const maxWorkflow = 2*workflow.MaxVisualBytes + 512<<10

// workflowStep is a step of the day list.
type workflowStep struct {
	Node         string            `json:"node,omitempty" maxLength:"64" doc:"Its name, the only one in the workflow; by default its place, from 1."`
	Type         string            `json:"type,omitempty" maxLength:"64" doc:"The author's word for it: survey, photo, message."`
	Day          *int              `json:"day,omitempty" doc:"Days after the event; give exactly one of day, hours, minutes and seconds."`
	Hours        *int              `json:"hours,omitempty"`
	Minutes      *int              `json:"minutes,omitempty"`
	Seconds      *int              `json:"seconds,omitempty"`
	SendAt       string            `json:"send_at,omitempty" pattern:"^(([01][0-9]|2[0-3]):[0-5][0-9])?$" doc:"Local time of a day step, 15:04."`
	ExpiresAfter string            `json:"expires_after,omitempty" maxLength:"40" doc:"How long it may be late, such as 24h or 90m."`
	Late         string            `json:"late,omitempty" maxLength:"20" doc:"send, skip or expire."`
	OnUnknown    string            `json:"on_unknown,omitempty" maxLength:"20" doc:"park, resend or fallback."`
	Template     string            `json:"template,omitempty" maxLength:"100"`
	Variables    map[string]string `json:"variables,omitempty" doc:"JSON pointers into the event, by variable."`
	Link         string            `json:"link,omitempty" maxLength:"2000" doc:"The value of #{링크}."`
}

// WorkflowContent is what of a workflow is its draft. What is not given stays.
type WorkflowContent struct {
	TriggerType       *string         `json:"trigger_type,omitempty" enum:"post_surgery,webhook,schedule,appointment,appointment.requested,appointment.booked,appointment.rescheduled,appointment.edited,appointment.checked_in,appointment.completed,appointment.no_show,appointment.cancelled"`
	TargetSurgeryType *string         `json:"target_surgery_type,omitempty" maxLength:"100" doc:"Only for this surgery; empty for any."`
	DayLength         *string         `json:"day_length,omitempty" maxLength:"40" doc:"For rehearsals: the length of a day, such as 10s; 0s for calendar days."`
	SendAt            *string         `json:"send_at,omitempty" pattern:"^(([01][0-9]|2[0-3]):[0-5][0-9])?$" doc:"Local time of day steps, 15:04; empty for the clinic's own."`
	IgnoreQuietHours  *bool           `json:"ignore_quiet_hours,omitempty"`
	Steps             []workflowStep  `json:"steps,omitempty" nullable:"false" doc:"The day list. It replaces a drawing, unless visual_data is given too."`
	VisualData        json.RawMessage `json:"visual_data,omitempty" doc:"React Flow's document: an object with nodes and edges, or the same as text; null for none. It replaces steps, unless they are given too."`
}

// check finds what cannot be kept, not even as a draft.
func (c WorkflowContent) check(ctx context.Context, name *string) error {
	var wrong []problem.Field
	add := func(pointer, code string) { wrong = append(wrong, problem.Field{Pointer: pointer, Code: code}) }
	if name != nil && !store.ValidWorkflowName(*name) {
		add("/name", "wrong-form")
	}
	if c.DayLength != nil && !isLength(*c.DayLength) {
		add("/day_length", "not-a-duration")
	}
	for i, s := range c.Steps {
		if s.ExpiresAfter != "" && !isLength(s.ExpiresAfter) {
			add("/steps/"+strconv.Itoa(i)+"/expires_after", "not-a-duration")
		}
	}
	if _, err := clinic.DrawingText(c.VisualData); err != nil {
		add("/visual_data", "not-a-string")
	}
	if len(wrong) == 0 {
		return nil
	}
	return newFailure(ctx, problem.New(problem.InvalidPayload).WithErrors(wrong...))
}

func isLength(s string) bool {
	_, err := time.ParseDuration(s)
	return err == nil
}

// put brings what was given into a workflow; it has been checked.
func (c WorkflowContent) put(w *clinic.Workflow) {
	if c.TriggerType != nil {
		w.TriggerType = *c.TriggerType
	}
	if c.TargetSurgeryType != nil {
		w.TargetSurgeryType = *c.TargetSurgeryType
	}
	if c.DayLength != nil {
		w.DayLength = length(*c.DayLength)
	}
	if c.SendAt != nil {
		w.SendAt = clock(*c.SendAt)
	}
	if c.IgnoreQuietHours != nil {
		w.IgnoreQuietHours = *c.IgnoreQuietHours
	}
	drawing, _ := clinic.DrawingText(c.VisualData)
	if len(c.VisualData) > 0 {
		w.VisualData = drawing
		if drawing != "" && c.Steps == nil {
			w.Steps, w.DayLength = nil, 0
		}
	}
	if c.Steps != nil {
		w.Steps = make([]clinic.Step, len(c.Steps))
		for i, s := range c.Steps {
			w.Steps[i] = clinic.Step{
				Node: s.Node, Type: s.Type, Day: s.Day, Hours: s.Hours, Minutes: s.Minutes, Seconds: s.Seconds, SendAt: clock(s.SendAt),
				ExpiresAfter: length(s.ExpiresAfter), Late: workflow.Late(s.Late), OnUnknown: workflow.OnUnknown(s.OnUnknown),
				Template: s.Template, Variables: s.Variables, Link: s.Link,
			}
		}
		w.NameSteps()
		if len(c.Steps) > 0 && drawing == "" {
			w.VisualData = ""
		}
	}
}

func length(s string) workflow.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0
	}
	return workflow.Duration(d)
}

func clock(s string) *workflow.Clock {
	c, err := workflow.ParseClock(s)
	if err != nil {
		return nil
	}
	return &c
}

// WorkflowRow is a workflow in a list.
type WorkflowRow struct {
	ID                uuid.UUID  `json:"id" format:"uuid"`
	Name              string     `json:"name"`
	IsActive          bool       `json:"is_active" doc:"Whether events begin runs of it, once it is published."`
	Notation          string     `json:"notation" enum:"steps,visual"`
	TriggerType       string     `json:"trigger_type"`
	TargetSurgeryType string     `json:"target_surgery_type"`
	Version           *int32     `json:"version" doc:"The published version; null: none yet."`
	DraftVersion      int32      `json:"draft_version" doc:"Raised by every change of the draft and every publication; ETag is made of it."`
	HasDraft          bool       `json:"has_draft" doc:"Whether there are changes that are not published."`
	CreatedAt         time.Time  `json:"created_at"`
	UpdatedAt         time.Time  `json:"updated_at"`
	DeletedAt         *time.Time `json:"deleted_at"`
}

// drawnProblem is one thing that is wrong with a workflow.
type drawnProblem struct {
	Node    string `json:"node,omitempty" doc:"The node's id, or the step's name, where it is about one."`
	Pointer string `json:"pointer" doc:"JSON pointer into the workflow."`
	English string `json:"message"`
	Korean  string `json:"message_ko"`
}

func showProblems(list []workflow.Problem) []drawnProblem {
	out := make([]drawnProblem, len(list))
	for i, p := range list {
		out[i] = drawnProblem(p)
	}
	return out
}

// workflowDetail is a workflow with what is in it.
type workflowDetail struct {
	WorkflowRow
	SendAt           *string        `json:"send_at"`
	DayLength        *string        `json:"day_length"`
	IgnoreQuietHours bool           `json:"ignore_quiet_hours"`
	Steps            []workflowStep `json:"steps" nullable:"false"`
	Problems         []drawnProblem `json:"problems" nullable:"false" doc:"Everything that keeps it from being published: the node, where there is one, a JSON pointer into this document, and a sentence in English and in Korean."`
	VisualData       any            `json:"visual_data" doc:"The drawing as it was saved, byte for byte; null for a day list. A text where what was saved is no JSON object."`
}

// written is an answer that is written here and not by huma, which would
// rewrite the drawing in it.
type written struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	ETag        string `header:"ETag"`
	Body        []byte
}

// answers documents what a [written] holds.
func answers[T any](schemas huma.Registry) *huma.Response {
	return &huma.Response{Description: "OK", Content: map[string]*huma.MediaType{
		"application/json": {Schema: schemas.Schema(reflect.TypeFor[T](), true, "")},
	}}
}

// fileAnswer documents a file.
func fileAnswer(huma.Registry) *huma.Response {
	text := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	return &huma.Response{Description: "OK", Content: map[string]*huma.MediaType{"application/yaml": text}}
}

func showWorkflowRow(w store.WorkflowView) WorkflowRow {
	r := WorkflowRow{
		ID: w.ID, Name: w.Name, IsActive: w.Active, Notation: "steps", TriggerType: w.TriggerType, TargetSurgeryType: w.TargetSurgeryType,
		Version: orNull(w.Version), DraftVersion: w.DraftVersion, HasDraft: w.Drafted, CreatedAt: w.Created, UpdatedAt: w.Updated, DeletedAt: whenOrNull(w.Archived),
	}
	if w.Drawn {
		r.Notation = "visual"
	}
	return r
}

func showWorkflow(w store.WorkflowView, err error) (*written, error) {
	if err != nil {
		return nil, err
	}
	d := workflowDetail{WorkflowRow: showWorkflowRow(w), Problems: showProblems(w.Problems)}
	d.TriggerType, d.TargetSurgeryType = w.Content.TriggerType, w.Content.TargetSurgeryType
	d.show(w.Content)
	body, err := withDrawing(d, w.Content.VisualData)
	return &written{ContentType: "application/json", ETag: etag(w.DraftVersion), Body: body}, err
}

func (d *workflowDetail) show(w clinic.Workflow) {
	if w.SendAt != nil {
		d.SendAt = new(w.SendAt.String())
	}
	if w.DayLength != 0 {
		d.DayLength = new(time.Duration(w.DayLength).String())
	}
	d.IgnoreQuietHours = w.IgnoreQuietHours
	d.Steps = make([]workflowStep, len(w.Steps))
	for i, s := range w.Steps {
		d.Steps[i] = workflowStep{
			Node: s.Node, Type: s.Type, Day: s.Day, Hours: s.Hours, Minutes: s.Minutes, Seconds: s.Seconds,
			Late: string(s.Late), OnUnknown: string(s.OnUnknown), Template: s.Template, Variables: s.Variables, Link: s.Link,
		}
		if s.SendAt != nil {
			d.Steps[i].SendAt = s.SendAt.String()
		}
		if s.ExpiresAfter != 0 {
			d.Steps[i].ExpiresAfter = time.Duration(s.ExpiresAfter).String()
		}
	}
}

// withDrawing writes v, whose last field is visual_data and null, with the
// drawing in its place: every byte of it, white space included.
func withDrawing(v any, drawing string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("api: a workflow: %w", err)
	}
	rest, last := strings.CutSuffix(b.String(), "null}\n")
	switch {
	case drawing == "" || !last:
		return b.Bytes(), nil
	case !strings.HasPrefix(strings.TrimLeft(drawing, " \t\r\n"), "{") || !json.Valid([]byte(drawing)):
		text, err := json.Marshal(drawing)
		return []byte(rest + string(text) + "}\n"), err
	}
	return []byte(rest + drawing + "}\n"), nil
}

// etag is the ETag of a draft.
func etag(draft int32) string { return `"` + strconv.Itoa(int(draft)) + `"` }

// draftOf reads an If-Match: the number of a draft, or 0 for whichever there is.
func draftOf(match string) (int32, error) {
	switch match = strings.TrimSpace(match); match {
	case "", "*":
		return 0, nil
	}
	n, err := strconv.ParseInt(strings.Trim(match, `"`), 10, 32)
	if err != nil || n <= 0 || match != etag(int32(n)) {
		return 0, store.ErrDraftMoved // no draft has it
	}
	return int32(n), nil
}
