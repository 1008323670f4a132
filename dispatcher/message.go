package dispatcher

import (
	"fmt"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/strictjson"
	"github.com/doctorsflow/doctorsflow/internal/template"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
	"github.com/doctorsflow/doctorsflow/providers"
)

// message is a rendered message and the text to be kept of it.
type message struct {
	providers.Message
	content string
}

// render makes the message of a step, or an error when a variable has no
// value or a value cannot be sent: nothing is ever sent with a blank.
func render(c *store.Candidate, m workflow.Message) (*message, error) {
	text := m.KakaoText
	if c.Channel == event.SMS {
		text = m.SMSText
	}
	t, err := template.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("dispatcher: template: %w", err)
	}
	vars := make(map[string]string, 8)
	for _, name := range t.Variables() {
		if v, ok := value(c, m, name); ok {
			vars[name] = v
		}
	}
	body, err := t.Render(vars)
	if err != nil {
		return nil, fmt.Errorf("dispatcher: render: %w", err)
	}
	out := &message{content: body}
	out.Key = event.Key(c.Root, c.Channel)
	out.Group = c.Tenant.String() + ":" + c.Workflow.String()
	out.To = c.To
	if c.Channel == event.Kakao {
		out.TemplateCode, out.Variables = m.KakaoCode, vars
		return out, nil
	}
	out.Title, out.Body = m.SMSTitle, template.Sanitize(body)
	if _, err := template.SMSKind(out.Body); err != nil {
		return nil, fmt.Errorf("dispatcher: sms: %w", err)
	}
	out.content = out.Body
	return out, nil
}

// value finds a variable: a link that is followed, else a mapping into the payload, else the message's own
// value, else a built-in one.
func value(c *store.Candidate, m workflow.Message, name string) (string, bool) {
	if name == workflow.Link && m.Follow != "" {
		return m.Follow + c.Link, c.Link != ""
	}
	if pointer, ok := m.Variables[name]; ok {
		v, ok := strictjson.LookupText(c.Payload, pointer)
		return v, ok && v != ""
	}
	if v := m.Values[name]; v != "" {
		return v, true
	}
	switch name {
	case "환자명", "patient":
		return c.PatientName, c.PatientName != ""
	case "병원명", "clinic":
		return c.Clinic.Name, c.Clinic.Name != ""
	case "병원전화", "clinic_phone":
		return c.Clinic.Phone, c.Clinic.Phone != ""
	}
	return "", false
}
