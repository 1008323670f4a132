// Package clinic is the file that describes one clinic for `doctorsflow apply`:
// its settings, gateway accounts, templates, workflows, webhooks and patients.
// It knows nothing of how any of it is stored.
package clinic

import (
	"fmt"
	"slices"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// File is the whole description. What a file does not mention is left as it
// is; nothing is ever deleted by applying one.
type File struct {
	Tenant    Tenant     `yaml:"tenant"`
	Accounts  []Account  `yaml:"accounts"`
	Templates []Template `yaml:"templates"`
	Workflows []Workflow `yaml:"workflows"`
	Webhooks  []Webhook  `yaml:"webhooks"`
	Patients  []Patient  `yaml:"patients"`
}

// Tenant is the clinic itself, found by its slug.
type Tenant struct {
	Slug       string          `yaml:"slug"`
	Name       string          `yaml:"name"`
	Phone      string          `yaml:"phone"`
	TimeZone   string          `yaml:"time_zone"` // IANA; default Asia/Seoul
	SendAt     *workflow.Clock `yaml:"send_at"`   // default 10:00
	QuietHours *QuietHours     `yaml:"quiet_hours"`
	// SendWindows are when messages of a class may go; [workflow.AllClasses]
	// holds for every class but auth. A class without windows goes at any time.
	SendWindows map[workflow.Class][]workflow.Window `yaml:"send_windows"`
	// FrequencyCaps are how many messages of a class a patient gets on a day and
	// within a week, from whatever workflows.
	FrequencyCaps workflow.Caps      `yaml:"frequency_caps"`
	Calendar      *workflow.Calendar `yaml:"calendar"` // default: Monday to Friday, without holidays
}

// QuietHours is the daily span, local time, in which nothing is sent.
type QuietHours struct {
	From  workflow.Clock `yaml:"from"`
	Until workflow.Clock `yaml:"until"`
}

// Hours are the clinic's, in its zone.
func (t Tenant) Hours(zone *time.Location) workflow.Hours {
	h := workflow.Hours{Zone: zone, Clinic: t.SendWindows}
	if q := t.QuietHours; q != nil {
		h.Quiet = &workflow.Window{From: q.From, Until: q.Until}
	}
	return h
}

// Account is a gateway account, one per channel.
type Account struct {
	Channel       event.Channel `yaml:"channel"`
	Vendor        string        `yaml:"vendor"` // nhn, or simulator for the built-in gateway
	BaseURL       string        `yaml:"base_url"`
	AppKey        string        `yaml:"app_key"`
	Secret        string        `yaml:"secret"`
	Sender        string        `yaml:"sender"`
	RatePerSecond int           `yaml:"rate_per_second"` // default 300
	// ReportToken is the signature typed into the gateway's console for its
	// result webhook; left out, a random one is made and shown once.
	ReportToken string `yaml:"report_token"`
}

// Template is a message text, found by its name.
type Template struct {
	Name              string         `yaml:"name" json:"name,omitempty"`
	Class             workflow.Class `yaml:"class" json:"class,omitempty"` // default care_followup
	KakaoTemplateCode string         `yaml:"kakao_template_code" json:"kakao_template_code,omitempty"`
	// KakaoStatus is where Kakao's approval stands: approved (the default),
	// pending or rejected. A workflow is published only with what is approved.
	KakaoStatus string `yaml:"kakao_status" json:"kakao_status,omitempty"`
	KakaoText   string `yaml:"kakao_text" json:"kakao_text,omitempty"`
	SMSTitle    string `yaml:"sms_title" json:"sms_title,omitempty"`
	SMSText     string `yaml:"sms_text" json:"sms_text,omitempty"`
}

// Workflow is a linear workflow, found by its name.
type Workflow struct {
	Name              string            `yaml:"name" json:"name,omitempty"`
	TriggerType       string            `yaml:"trigger_type" json:"trigger_type,omitempty"` // see [TriggerTypes]
	TargetSurgeryType string            `yaml:"target_surgery_type" json:"target_surgery_type,omitempty"`
	IsActive          *bool             `yaml:"is_active" json:"is_active,omitempty"` // default true
	DayLength         workflow.Duration `yaml:"day_length" json:"day_length,omitzero"`
	SendAt            *workflow.Clock   `yaml:"send_at" json:"send_at,omitempty"`
	IgnoreQuietHours  bool              `yaml:"ignore_quiet_hours" json:"ignore_quiet_hours,omitempty"`
	SendWindows       []workflow.Window `yaml:"send_windows" json:"send_windows,omitempty"`
	Steps             []Step            `yaml:"steps" json:"steps,omitempty"`
	// VisualData is a drawing as React Flow exports it, as text; it replaces
	// steps. Its message nodes name templates.
	VisualData string `yaml:"visual_data" json:"visual_data,omitempty"`
	// PublicURL is the address by which patients reach this server, as it is
	// set where the workflow is checked; see [workflow.Draw].
	PublicURL string `yaml:"-" json:"-"`
}

// Step is one step of a workflow; its template is named.
type Step struct {
	Node         string             `yaml:"node" json:"node,omitempty"` // default: its place, from 1
	Type         string             `yaml:"type" json:"type,omitempty"` // default message
	Day          *int               `yaml:"day" json:"day,omitempty"`
	BusinessDays *int               `yaml:"business_days" json:"business_days,omitempty"`
	Hours        *int               `yaml:"hours" json:"hours,omitempty"`
	Minutes      *int               `yaml:"minutes" json:"minutes,omitempty"`
	Seconds      *int               `yaml:"seconds" json:"seconds,omitempty"`
	SendAt       *workflow.Clock    `yaml:"send_at" json:"send_at,omitempty"`
	ExpiresAfter workflow.Duration  `yaml:"expires_after" json:"expires_after,omitzero"`
	Late         workflow.Late      `yaml:"late" json:"late,omitempty"`
	OnUnknown    workflow.OnUnknown `yaml:"on_unknown" json:"on_unknown,omitempty"`
	Template     string             `yaml:"template" json:"template,omitempty"`
	Variables    map[string]string  `yaml:"variables" json:"variables,omitempty"`
	// Link is the value of #{링크}: where a survey is, or a photo is sent to.
	Link string `yaml:"link" json:"link,omitempty"`
}

// Webhook is an endpoint, found by its name.
type Webhook struct {
	Name            string              `yaml:"name"`
	Workflow        string              `yaml:"workflow"` // what any event type starts, unless routes say otherwise
	Routes          map[string][]string `yaml:"routes"`   // event type: workflow names
	Enabled         *bool               `yaml:"enabled"`  // default true
	LegacySignature bool                `yaml:"legacy_signature"`
	EventIDPointer  string              `yaml:"event_id_pointer"`
	PatientPointer  *string             `yaml:"patient_pointer"` // default /patient
	TypePointer     *string             `yaml:"type_pointer"`    // default /type
	CreatePatients  *bool               `yaml:"create_patients"` // default true
	RatePerMinute   int                 `yaml:"rate_per_minute"` // default 6000
}

// Patient is a patient, found by the clinic's own number.
type Patient struct {
	ExternalID string `yaml:"external_id"`
	Name       string `yaml:"name"`
	Phone      string `yaml:"phone"`
	Email      string `yaml:"email"`
	BirthDate  string `yaml:"birth_date"` // 2006-01-02
	Gender     string `yaml:"gender"`
	// OptedOut suppresses every message to the number. Leaving it out lifts
	// nothing: what a patient said is not taken back by a file.
	OptedOut bool `yaml:"opted_out"`
}

// Parse reads a file strictly: an unknown key is an error that says at which
// line and column. Errors show nothing else of the file, which holds patients.
func Parse(b []byte) (*File, error) {
	if len(b) > 4<<20 {
		return nil, fmt.Errorf("clinic: the file is larger than 4 MiB; bring patients in by the import instead")
	}
	f := new(File)
	if err := readYAML(b, f); err != nil {
		return nil, err
	}
	f.defaults()
	return f, nil
}

func (f *File) defaults() {
	t := &f.Tenant
	if t.TimeZone == "" {
		t.TimeZone = "Asia/Seoul"
	}
	if t.SendAt == nil {
		t.SendAt = &workflow.Clock{Hour: 10}
	}
	for i := range f.Accounts {
		if f.Accounts[i].RatePerSecond == 0 {
			f.Accounts[i].RatePerSecond = 300
		}
		if f.Accounts[i].Vendor == "" {
			f.Accounts[i].Vendor = "nhn"
		}
	}
	for i := range f.Templates {
		f.Templates[i].defaults()
	}
	for i := range f.Workflows {
		f.Workflows[i].defaults()
	}
	for i := range f.Webhooks {
		w := &f.Webhooks[i]
		if w.Enabled == nil {
			w.Enabled = new(true)
		}
		if w.CreatePatients == nil {
			w.CreatePatients = new(true)
		}
		if w.PatientPointer == nil {
			w.PatientPointer = new("/patient")
		}
		if w.TypePointer == nil {
			w.TypePointer = new("/type")
		}
		if w.RatePerMinute == 0 {
			w.RatePerMinute = 6000
		}
	}
}

// Definition pins the templates' texts into a workflow.
func (w Workflow) Definition(templates map[string]Template) (*workflow.Definition, error) {
	if w.VisualData != "" {
		return w.drawing(templates)
	}
	d := &workflow.Definition{DayLength: w.DayLength, SendAt: w.SendAt, IgnoreQuietHours: w.IgnoreQuietHours, SendWindows: w.SendWindows}
	var problems []workflow.Problem
	for i, s := range w.Steps {
		t, ok := templates[s.Template]
		if !ok {
			problems = append(problems, noTemplate(i, s))
		}
		d.Steps = append(d.Steps, workflow.Step{
			Node: s.Node, Type: s.Type, Day: s.Day, BusinessDays: s.BusinessDays, Hours: s.Hours, Minutes: s.Minutes, Seconds: s.Seconds,
			SendAt: s.SendAt, ExpiresAfter: s.ExpiresAfter, Late: s.Late, OnUnknown: s.OnUnknown,
			Message: t.message(s.Variables).WithLink(s.Link),
		})
	}
	if len(problems) > 0 {
		return nil, &InvalidWorkflowError{w.Name, problems}
	}
	return d, nil
}

// drawing pins the templates' texts into a drawn workflow. Its problems are
// told together.
func (w Workflow) drawing(templates map[string]Template) (*workflow.Definition, error) {
	if len(w.Steps) > 0 || w.DayLength != 0 {
		return nil, &InvalidWorkflowError{w.Name, []workflow.Problem{bothNotations}}
	}
	messages := make(map[string]workflow.Message, len(templates))
	for name, t := range templates {
		messages[name] = t.message(nil)
	}
	d, problems := workflow.Draw([]byte(w.VisualData), messages, w.PublicURL)
	if len(problems) > 0 {
		for i := range problems {
			problems[i].Pointer = "/visual_data" + problems[i].Pointer
		}
		return nil, &InvalidWorkflowError{w.Name, problems}
	}
	d.SendAt, d.IgnoreQuietHours, d.SendWindows = w.SendAt, w.IgnoreQuietHours, w.SendWindows
	return d, nil
}

func (t Template) message(variables map[string]string) workflow.Message {
	return workflow.Message{
		Template: t.Name, Class: t.Class, KakaoCode: t.KakaoTemplateCode, KakaoText: t.KakaoText,
		SMSTitle: t.SMSTitle, SMSText: t.SMSText, Variables: variables, KakaoStatus: t.KakaoStatus,
	}
}

// validZone refuses what Go accepts and a clinic cannot mean: "" and Local.
func validZone(name string) bool {
	if name == "" || name == "Local" {
		return false
	}
	_, err := time.LoadLocation(name)
	return err == nil
}

func oneOf[T comparable](v T, list ...T) bool { return slices.Contains(list, v) }
