package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/holidays"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/strictjson"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

func (c *simulateCommand) readFile() (*clinic.File, error) {
	b, err := readInput(c.File)
	if err != nil {
		return nil, err
	}
	f, err := clinic.Parse(b)
	if err == nil {
		return f, nil
	}
	one, notOne := clinic.ParseWorkflowFile(b) // as workflow export writes it
	if notOne != nil {
		return nil, err
	}
	if c.Tenant == "" {
		return nil, errors.New("this is the file of one workflow, without a clinic: give --tenant too")
	}
	return &clinic.File{Workflows: []clinic.Workflow{one.Workflow}, Templates: one.Templates}, nil
}

// ofFile is the clinic of a file: nothing else is looked at.
func (c *simulateCommand) ofFile() (*simulation, error) {
	f, err := c.readFile()
	if err != nil {
		return nil, err
	}
	if err := f.Check(phone.Options{AllowTestBands: true}, func(string, string) bool { return false }); err != nil {
		return nil, err
	}
	s := &simulation{clinic: tenant.NewID(), label: c.File}
	if s.now, s.name, err = definitionOf(f, c.Workflow); err != nil {
		return nil, err
	}
	if s.setting, err = settingOf(f); err != nil {
		return nil, err
	}
	for _, p := range f.Patients {
		if len(c.Patient) > 0 && !slices.Contains(c.Patient, p.ExternalID) {
			continue
		}
		subject, err := subjectOf(p)
		if err != nil {
			return nil, err
		}
		s.subjects = append(s.subjects, subject)
	}
	return s, c.allFound(s.subjects)
}

// definitionOf is the workflow of a file as it would be published.
func definitionOf(f *clinic.File, name string) (*workflow.Definition, string, error) {
	list := slices.DeleteFunc(slices.Clone(f.Workflows), func(w clinic.Workflow) bool { return name != "" && w.Name != name })
	if len(list) != 1 {
		return nil, "", fmt.Errorf("the file has %d workflows that fit; name one of its %d", len(list), len(f.Workflows))
	}
	w := list[0]
	w.PublicURL = somewhere
	templates := map[string]clinic.Template{}
	for _, t := range f.Templates {
		templates[t.Name] = t
	}
	d, err := w.Definition(templates)
	if err != nil {
		return nil, "", err
	}
	if problems := workflow.Check(d); len(problems) > 0 {
		errs := make([]error, len(problems))
		for i, p := range problems {
			errs[i] = fmt.Errorf("workflow %q, %s: %s (%s)", list[0].Name, p.Pointer, p.English, p.Korean)
		}
		return nil, "", errors.Join(errs...)
	}
	return d, list[0].Name, nil
}

func settingOf(f *clinic.File) (s store.Setting, err error) {
	t := f.Tenant
	if s.Zone, err = time.LoadLocation(t.TimeZone); err != nil {
		return s, err
	}
	s.Name, s.Phone, s.SendAt = t.Name, t.Phone, *t.SendAt
	if q := t.QuietHours; q != nil {
		s.Quiet, s.QuietFrom, s.QuietUntil = true, q.From, q.Until
	}
	s.Windows, s.Caps = t.SendWindows, t.FrequencyCaps
	s.Calendar = new(workflow.Calendar)
	if t.Calendar != nil {
		*s.Calendar = *t.Calendar
	}
	s.Calendar.Public = holidays.Known[s.Calendar.Country()]
	for _, a := range f.Accounts {
		s.Channels = append(s.Channels, a.Channel)
	}
	return s, nil
}

func subjectOf(p clinic.Patient) (s store.Subject, err error) {
	// The same in every run, so that a split shares out alike.
	s.Patient = uuid.NewSHA1(uuid.NameSpaceOID, []byte(p.ExternalID))
	s.ExternalID, s.Name, s.Facts = p.ExternalID, p.Name, map[string]any{"external_id": p.ExternalID}
	if p.Gender != "" {
		s.Facts["gender"] = p.Gender
	}
	if p.OptedOut {
		s.OptedOut = map[event.Channel][]string{event.Kakao: {"*"}, event.SMS: {"*"}}
	}
	if p.Phone != "" {
		s.To, err = phone.Parse(p.Phone, phone.Options{AllowTestBands: true, International: true})
	}
	return s, err
}

// event reads what happens of the flags.
func (c *simulateCommand) event(zone *time.Location) (at time.Time, kind string, payload []byte, err error) {
	payload = []byte(c.Event)
	if err := strictjson.Check(payload, strictjson.Limits{}); err != nil {
		return at, "", nil, fmt.Errorf("--event is no JSON document: %w", err)
	}
	var object map[string]any
	if json.Unmarshal(payload, &object) != nil {
		return at, "", nil, errors.New(`--event is a JSON object, such as {"type": "appointment.completed"}`)
	}
	kind = c.Type
	if kind == "" {
		kind, _ = object["type"].(string)
	}
	at = time.Now().Truncate(time.Second)
	if c.At == "" {
		return at, kind, payload, nil
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02", time.RFC3339} {
		if t, err := time.ParseInLocation(layout, c.At, zone); err == nil {
			return t, kind, payload, nil
		}
	}
	return at, "", nil, fmt.Errorf("--at %q is no time; write 2026-12-01T15:04", c.At)
}
