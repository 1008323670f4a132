package appointment

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/doctorsflow/doctorsflow/internal/strictjson"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// Event is one event as a clinic's system says it.
type Event struct {
	ID string
	// Kind is what happened; or Stands is where the appointment stands now, of a
	// source that knows only that, and Kind is "" until it is compared with what
	// was known ([Became]).
	Kind     Kind
	Stands   Status
	Source   string
	Sequence int64     // 0: none
	At       time.Time // zero: not said
	// Wall is At where only the clinic's clocks say it: its fields count, not its
	// zone. It is zero where At is not.
	Wall time.Time
	// Appointment is the source's own number of it.
	Appointment string
	// StartsAt is an instant, or When says it by the clinic's clocks; neither
	// leaves the time as it was.
	StartsAt time.Time
	When     *When
	Surgery  *string
	Patient  Patient
	// Raw is the event as it came.
	Raw []byte
}

// Patient is how an event names the patient; the zero value names none.
type Patient struct {
	ExternalID string `json:"external_id,omitempty"`
	Name       string `json:"name,omitempty"`
	Phone      string `json:"phone,omitempty"`
	// Create lets a patient that is not known be created.
	Create bool `json:"-"`
}

// Problem is something that is wrong with an event.
type Problem struct {
	Pointer string `json:"pointer"`
	Code    string `json:"code"`
}

// MaxEvent bounds one event, in bytes.
const MaxEvent = 16 << 10

// wire is an event in the product's own words. What it is written as is
// compared with what comes again under the same id: a field is only ever added,
// and left out where it is empty.
type wire struct {
	ID            string    `json:"id,omitempty"`
	Type          string    `json:"type,omitempty"`
	Status        *string   `json:"status,omitempty"`
	Source        string    `json:"source,omitempty"`
	Sequence      int64     `json:"sequence,omitempty"`
	At            *string   `json:"at,omitempty"`
	CreatePatient *bool     `json:"create_patient,omitempty"`
	Patient       Patient   `json:"patient,omitzero"`
	Appointment   wireState `json:"appointment,omitzero"`
}

type wireState struct {
	ID          string  `json:"id,omitempty"`
	StartsAt    *string `json:"starts_at,omitempty"`
	Date        *string `json:"date,omitempty"`
	Time        *string `json:"time,omitempty"`
	SurgeryType *string `json:"surgery_type,omitempty"`
}

// canonical is the event in the product's own words: what is kept does not
// depend on the format in which it came.
func (w wire) canonical() []byte {
	b, err := json.Marshal(w)
	if err != nil {
		panic(err) // strings, numbers and booleans only
	}
	return b
}

var sourceName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// ValidSource tells whether a source may be called so: small letters, digits,
// dots, dashes and underscores, at most 64.
func ValidSource(name string) bool { return sourceName.MatchString(name) }

// DefaultSource is the source of events that name none.
const DefaultSource = "clinic"

// Decode reads one event, or says everything that is wrong with it.
func Decode(raw []byte) (Event, []Problem) { return DecodeAs(raw, "") }

// DecodeAs reads one event of which something else, such as its subject, says
// what kind it is: it may leave its type out, and may not say another. A
// CloudEvent in structured mode is read as one.
func DecodeAs(raw []byte, kind Kind) (Event, []Problem) {
	if problems := check(raw); len(problems) > 0 {
		return Event{}, problems
	}
	if isCloudEvent(raw) {
		return decodeStructured(raw, kind)
	}
	w, problems := decodeWire(raw)
	if len(problems) > 0 {
		return Event{ID: w.ID}, problems
	}
	var r reading
	switch {
	case kind == "":
	case w.Type == "":
		w.Type = kind.Type()
		// What is kept, and compared with what comes again, is whole.
		raw = slices.Concat([]byte(`{"type":"`+w.Type+`",`), bytes.TrimLeft(raw, " \t\r\n")[1:])
	case w.Type != kind.Type():
		r.fault("/type", "not-the-subject")
	}
	r.event(w)
	r.e.Raw = raw
	return r.e, r.problems
}

// check refuses what two readers could read in two ways.
func check(raw []byte) []Problem {
	if len(raw) > MaxEvent {
		return []Problem{{"", "too-large"}}
	}
	err := strictjson.Check(raw, strictjson.Limits{FoldCase: true})
	if e, ok := errors.AsType[*strictjson.Error](err); ok {
		return []Problem{{e.Pointer, string(e.Code)}}
	}
	if err != nil {
		return []Problem{{"", "malformed"}}
	}
	return nil
}

func decodeWire(raw []byte) (w wire, problems []Problem) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		return w, []Problem{misread(err)}
	}
	return w, nil
}

func misread(err error) Problem {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return Problem{"/" + strings.ReplaceAll(e.Field, ".", "/"), "wrong-type"}
	}
	return Problem{"", "unknown-field"} // its name is the caller's
}

type reading struct {
	e        Event
	problems []Problem
}

func (r *reading) fault(pointer, code string) {
	r.problems = append(r.problems, Problem{pointer, code})
}

func (r *reading) event(w wire) {
	r.e = Event{ID: w.ID, Sequence: w.Sequence, Appointment: w.Appointment.ID, Surgery: w.Appointment.SurgeryType, Patient: w.Patient}
	r.text("/id", w.ID, true, 200)
	r.text("/appointment/id", w.Appointment.ID, true, 200)
	r.text("/patient/external_id", w.Patient.ExternalID, false, 200)
	r.text("/patient/name", w.Patient.Name, false, 100)
	r.text("/patient/phone", w.Patient.Phone, false, 40)
	if w.Appointment.SurgeryType != nil {
		r.text("/appointment/surgery_type", *w.Appointment.SurgeryType, false, 100)
	}
	r.happened(w)
	r.e.Source = w.Source
	if w.Source == "" {
		r.e.Source = DefaultSource
	}
	if !sourceName.MatchString(r.e.Source) {
		r.fault("/source", "wrong-form")
	}
	if w.Sequence < 0 {
		r.fault("/sequence", "too-small")
	}
	if w.At != nil {
		r.e.At = r.instant("/at", *w.At)
	}
	r.e.Patient.Create = w.CreatePatient == nil || *w.CreatePatient
	r.when(w.Appointment)
}

// happened reads the kind of event, or the status in its place.
func (r *reading) happened(w wire) {
	switch {
	case w.Status == nil:
		r.e.Kind = Kind(strings.TrimPrefix(w.Type, Prefix))
		if !slices.Contains(Kinds, r.e.Kind) {
			r.fault("/type", "not-in-list")
		}
	case w.Type != "":
		r.fault("/status", "with-type")
	default:
		r.e.Stands = Status(*w.Status)
		if !slices.Contains(Statuses, r.e.Stands) {
			r.fault("/status", "not-in-list")
		}
	}
}

func (r *reading) when(a wireState) {
	switch {
	case a.StartsAt != nil && (a.Date != nil || a.Time != nil):
		r.fault("/appointment/starts_at", "with-date")
	case a.StartsAt != nil:
		r.e.StartsAt = r.instant("/appointment/starts_at", *a.StartsAt)
	case a.Date != nil:
		day, err := time.Parse(time.DateOnly, *a.Date)
		if err != nil || !sane(day) {
			r.fault("/appointment/date", "not-a-date")
		}
		r.e.When = &When{Date: *a.Date}
		if a.Time != nil {
			clock, err := workflow.ParseClock(*a.Time)
			if err != nil {
				r.fault("/appointment/time", "not-a-time")
			}
			r.e.When.Time = &clock
		}
	case a.Time != nil:
		r.fault("/appointment/date", "missing")
	case r.e.Kind == Booked || r.e.Kind == Rescheduled || r.e.Stands == Scheduled:
		r.fault("/appointment/starts_at", "missing")
	}
}

// text is one line without what could be taken for an end of it.
func (r *reading) text(pointer, s string, needed bool, limit int) {
	switch {
	case s == "" && needed:
		r.fault(pointer, "missing")
	case utf8.RuneCountInString(s) > limit:
		r.fault(pointer, "too-long")
	case strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f }) || !utf8.ValidString(s):
		r.fault(pointer, "wrong-form")
	}
}

func (r *reading) instant(pointer, s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || !sane(t) {
		r.fault(pointer, "not-a-date-time")
		return time.Time{}
	}
	// What the ledger resolves, so that the order is the same there.
	return t.Truncate(time.Microsecond)
}

// sane keeps out years that are a slip of the pen.
func sane(t time.Time) bool { return t.Year() >= 1970 && t.Year() < 2200 }
