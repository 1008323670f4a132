package ingest

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/strictjson"
)

// Limits of what a payload says about a patient, in characters.
const (
	maxExternalID = 64
	maxName       = 100
)

// payload is what ingest reads of a body that passed [strictjson.Check].
type payload struct {
	body   []byte
	errors []problem.Field
}

// read checks what w promises to find in the body and returns the event's type
// and, for a legacy call, its id. The rest of the body is the workflow's.
func (p *payload) read(w *store.Webhook, legacy bool, opt phone.Options) (eventType, eventID string) {
	eventType = p.eventType(w)
	if legacy && w.EventIDPointer != "" {
		eventID = p.eventID(w.EventIDPointer)
	}
	p.patient(w.PatientPointer, opt)
	return eventType, eventID
}

// eventType may be absent only where every call starts the same workflow.
func (p *payload) eventType(w *store.Webhook) string {
	if w.TypePointer == "" {
		return ""
	}
	raw, ok := present(p.body, w.TypePointer)
	if !ok {
		if w.WorkflowID == uuid.Nil {
			p.fail(w.TypePointer, "", "required")
		}
		return ""
	}
	s, ok := text(raw)
	switch {
	case !ok:
		p.fail(w.TypePointer, "", "not-a-string")
	case !isToken(s, "_.:-"):
		p.fail(w.TypePointer, "", "invalid-type")
	}
	return s
}

// eventID may be a string or a whole number.
func (p *payload) eventID(at string) string {
	raw, ok := present(p.body, at)
	if !ok {
		p.fail(at, "", "required")
		return ""
	}
	s, ok := text(raw)
	if !ok {
		s = string(raw)
		ok = strings.Trim(s, "0123456789") == ""
	}
	if !ok || !isToken(s, "_.:-") {
		p.fail(at, "", "invalid-id")
	}
	return s
}

// patient wants at least one way to know who is meant, and each to be usable.
func (p *payload) patient(at string, opt phone.Options) {
	raw, ok := present(p.body, at)
	switch {
	case !ok:
		p.fail(at, "", "required")
		return
	case raw[0] != '{':
		p.fail(at, "", "not-an-object")
		return
	}
	id := p.member(raw, at, "/id", idCode)
	external := p.member(raw, at, "/external_id", externalIDCode)
	number := p.member(raw, at, "/phone", func(s string) string { return phoneCode(s, opt) })
	if !id && !external && !number {
		p.fail(at, "", "no-identifier")
	}
	p.member(raw, at, "/name", nameCode)
}

// member checks a string member of the patient and reports whether it is
// there.
func (p *payload) member(object []byte, at, name string, check func(string) string) bool {
	raw, ok := present(object, name)
	if !ok {
		return false
	}
	s, ok := text(raw)
	code := "not-a-string"
	if ok {
		code = check(s)
	}
	if code != "" {
		p.fail(at, name, code)
	}
	return true
}

func (p *payload) fail(at, name, code string) {
	p.errors = append(p.errors, problem.Field{Pointer: at + name, Code: code})
}

// text reads a JSON string.
func text(raw []byte) (string, bool) {
	if raw[0] != '"' {
		return "", false
	}
	return strictjson.LookupText(raw, "")
}

// present finds a value; null is as good as none.
func present(b []byte, pointer string) (json.RawMessage, bool) {
	raw, ok := strictjson.Lookup(b, pointer)
	return raw, ok && raw[0] != 'n'
}

func idCode(s string) string {
	if u, err := uuid.Parse(s); err != nil || u.String() != s {
		return "not-a-uuid"
	}
	return ""
}

func externalIDCode(s string) string {
	if s == "" {
		return "empty"
	}
	return textCode(s, maxExternalID)
}

func nameCode(s string) string { return textCode(s, maxName) }

// textCode judges a text that is kept as it is.
func textCode(s string, limit int) string {
	switch {
	case utf8.RuneCountInString(s) > limit:
		return "too-long"
	case strings.ContainsFunc(s, unicode.IsControl):
		return "control-character"
	}
	return ""
}

func phoneCode(s string, opt phone.Options) string {
	_, err := phone.Parse(s, opt)
	switch {
	case err == nil:
		return ""
	case errors.Is(err, phone.ErrNotMobile):
		return "not-mobile"
	case errors.Is(err, phone.ErrForeign):
		return "foreign-number"
	case errors.Is(err, phone.ErrTestBand):
		return "test-number"
	}
	return "invalid-phone"
}
