package clinic

import (
	"maps"
	"slices"

	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// FromDefinition is a published version as its author wrote it, with the
// templates that it pinned, by name.
func FromDefinition(d *workflow.Definition) (w Workflow, templates []Template) {
	w = Workflow{DayLength: d.DayLength, SendAt: d.SendAt, IgnoreQuietHours: d.IgnoreQuietHours, SendWindows: d.SendWindows}
	for _, s := range d.Steps {
		w.Steps = append(w.Steps, Step{
			Node: s.Node, Type: s.Type, Day: s.Day, BusinessDays: s.BusinessDays, Hours: s.Hours, Minutes: s.Minutes, Seconds: s.Seconds,
			SendAt: s.SendAt, ExpiresAfter: s.ExpiresAfter, Late: s.Late, OnUnknown: s.OnUnknown,
			Template: s.Message.Template, Variables: s.Message.Variables, Link: s.Message.Values[workflow.Link],
		})
	}
	if d.Drawing != nil {
		w.VisualData = d.Drawing.VisualData
	}
	pinned := d.Templates()
	for _, name := range slices.Sorted(maps.Keys(pinned)) {
		m := pinned[name]
		templates = append(templates, Template{Name: name, Class: m.Class, KakaoTemplateCode: m.KakaoCode, KakaoText: m.KakaoText, SMSTitle: m.SMSTitle, SMSText: m.SMSText})
	}
	return w, templates
}

// Uses are the names of the templates that a workflow takes, sorted.
func (w Workflow) Uses() []string {
	var names []string
	for _, s := range w.Steps {
		if s.Template != "" {
			names = append(names, s.Template)
		}
	}
	if w.VisualData != "" {
		names = append(names, workflow.TemplatesOf(w.VisualData)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
