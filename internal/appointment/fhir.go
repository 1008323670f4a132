package appointment

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/doctorsflow/doctorsflow/internal/strictjson"
)

// Limits of one FHIR document.
const (
	MaxResources = 500
	MaxFHIR      = 2 << 20 // bytes
)

// FHIRLimits bound a FHIR document: narratives are long strings, and a page of
// resources has many values.
var FHIRLimits = strictjson.Limits{FoldCase: true, Values: 250_000, String: MaxFHIR}

// FHIROptions are what a FHIR document does not say itself.
type FHIROptions struct {
	// Source is the system that numbers appointments; "" for [DefaultSource].
	Source string
	// Identifier is the system of the identifier that is the clinic's own number
	// of a patient; "" takes the id of the Patient resource.
	Identifier string
	// Upload is unique among documents: it makes the ids of resources that have
	// neither a version nor a time.
	Upload string
}

// Resource is what one resource says of one appointment; its Event is whole
// where it has no problems, whose pointers are elements: /status.
type Resource struct {
	Event
	// Reference is the resource: Appointment/123.
	Reference string
	Problems  []Problem
}

// FHIR is a document in FHIR R4 or R5: a resource, or a Bundle of any type.
type FHIR struct {
	Resources []Resource
	// Ignored counts the resources that say nothing of an appointment, by type.
	Ignored map[string]int
}

// fhirEntry is a resource with the URL that others in its bundle name it by.
type fhirEntry struct {
	FullURL  string          `json:"fullUrl"`
	Resource json.RawMessage `json:"resource"`
	Request  struct {
		URL string `json:"url"`
	} `json:"request"`
}

type fhirHead struct {
	ResourceType string `json:"resourceType"`
	ID           string `json:"id"`
}

// ReadFHIR reads what a document's Appointments and Encounters say, or says what
// is wrong with the whole of it. R4 and R5 need not be told apart: elements
// that differ have names of their own.
func ReadFHIR(raw []byte, opt FHIROptions) (*FHIR, []Problem) {
	entries, problems := openFHIR(raw)
	if len(problems) > 0 {
		return nil, problems
	}
	f := &FHIR{Ignored: map[string]int{}}
	in := fhirReading{opt: opt, patients: patientsOf(entries)}
	for i, e := range entries {
		list, kind := in.entry(e, i)
		if len(list) == 0 && kind != "Patient" {
			f.Ignored[kind]++
		}
		f.Resources = append(f.Resources, list...)
	}
	return f, nil
}

func openFHIR(raw []byte) ([]fhirEntry, []Problem) {
	if len(raw) > MaxFHIR {
		return nil, []Problem{{"", "too-large"}}
	}
	if err := strictjson.Check(raw, FHIRLimits); err != nil {
		return nil, []Problem{{"", "malformed"}}
	}
	var is fhirHead
	if err := json.Unmarshal(raw, &is); err != nil {
		return nil, []Problem{misread(err)}
	}
	switch is.ResourceType {
	case "":
		return nil, []Problem{{"/resourceType", "missing"}}
	case "Bundle":
	default:
		return []fhirEntry{{Resource: raw}}, nil
	}
	var b struct {
		Entry []fhirEntry `json:"entry"`
	}
	switch err := json.Unmarshal(raw, &b); {
	case err != nil:
		return nil, []Problem{misread(err)}
	case len(b.Entry) > MaxResources:
		return nil, []Problem{{"/entry", "too-many"}}
	}
	return b.Entry, nil
}

// fhirReading reads the entries of one document.
type fhirReading struct {
	opt      FHIROptions
	patients map[string]*fhirPatient
}

// entry reads one entry: no resource where it says nothing of an appointment,
// and then the type that it has.
func (in fhirReading) entry(e fhirEntry, i int) (list []Resource, kind string) {
	var head fhirHead
	if len(e.Resource) == 0 {
		// What was deleted, for one: it is no word on where it stands.
		url := strings.TrimPrefix(e.Request.URL, "/")
		if kind, _, _ = strings.Cut(url, "/"); kind == fhirAppointment || kind == fhirEncounter {
			return []Resource{{Reference: shown(url), Problems: []Problem{{"/resource", "missing"}}}}, kind
		}
		return nil, "none"
	}
	if err := json.Unmarshal(e.Resource, &head); err != nil {
		return []Resource{{Problems: []Problem{{"/resourceType", "wrong-type"}}}}, ""
	}
	kind = head.ResourceType
	if kind != fhirAppointment && kind != fhirEncounter {
		if !fhirType.MatchString(kind) {
			return []Resource{{Problems: []Problem{{"/resourceType", "wrong-form"}}}}, ""
		}
		return nil, kind
	}
	v := visit{in: in, ref: kind + "/" + head.ID, index: i}
	switch {
	case head.ID == "":
		v.fault("/id", "missing")
	case !fhirID.MatchString(head.ID):
		v.ref = kind
		v.fault("/id", "wrong-form")
	}
	if err := json.Unmarshal(e.Resource, &v.fhirVisit); err != nil {
		p := misread(err)
		v.fault(p.Pointer, p.Code)
	}
	if len(v.problems) > 0 {
		return []Resource{{Reference: v.ref, Problems: v.problems}}, kind
	}
	return v.read(kind), kind
}

var (
	fhirID   = regexp.MustCompile(`^[A-Za-z0-9.-]{1,64}$`)
	fhirType = regexp.MustCompile(`^[A-Z][A-Za-z]{0,63}$`)
)

// shown is a reference that may be told: short, and of no surprising letters.
func shown(ref string) string {
	kind, id, _ := strings.Cut(ref, "/")
	if id, _, _ = strings.Cut(id, "/"); !fhirID.MatchString(id) {
		return kind
	}
	return kind + "/" + id
}

// visit is one resource as it is read.
type visit struct {
	fhirVisit
	in    fhirReading
	ref   string
	index int
	reading
}

// read makes an event of an Appointment, and of an Encounter one for each
// appointment that it belongs to.
func (v visit) read(kind string) []Resource {
	stands, code := v.stands(kind)
	switch {
	case code != "":
		return []Resource{{Reference: v.ref, Problems: []Problem{{"/status", code}}}}
	case stands == "":
		return nil
	}
	patient := v.patient()
	w := wire{Source: v.in.opt.Source, Patient: patient, Status: new(string(stands))}
	if s := v.service(); s != "" {
		w.Appointment.SurgeryType = &s
	}
	if at := v.Meta.LastUpdated; at != "" {
		w.At = &at
	}
	numbers := []string{v.ID}
	if kind == fhirEncounter {
		numbers = v.appointments()
	}
	if len(numbers) == 0 {
		numbers = []string{"encounter:" + v.ID}
	}
	if !v.linked() {
		v.begins(&w)
	}
	if len(v.problems) > 0 {
		return []Resource{{Reference: v.ref, Problems: v.problems}}
	}
	var out []Resource
	for _, number := range numbers {
		w.Appointment.ID = number
		w.ID = v.eventID(w)
		v.problems = nil
		v.event(w)
		v.e.Raw = w.canonical()
		out = append(out, Resource{Event: v.e, Reference: v.ref, Problems: v.elements(v.problems)})
	}
	return out
}

// begins reads when the visit begins: an instant, or a day where no more is
// known of it.
func (v *visit) begins(w *wire) {
	pointer, s := v.start()
	if s == "" {
		return
	}
	if len(s) == len(time.DateOnly) {
		if day, err := time.Parse(time.DateOnly, s); err != nil || !sane(day) {
			v.fault(pointer, "not-a-date")
			return
		}
		w.Appointment.Date = &s
		return
	}
	if t, err := time.Parse(time.RFC3339, s); err != nil || !sane(t) {
		v.fault(pointer, "not-a-date-time")
		return
	}
	w.Appointment.StartsAt = &s
}

// elements are problems of an event as those of the resource.
func (v *visit) elements(list []Problem) []Problem {
	start, _ := v.start()
	for i, p := range list {
		switch p.Pointer {
		case "/appointment/starts_at", "/appointment/date":
			list[i].Pointer = start
		case "/appointment/surgery_type":
			list[i].Pointer = "/serviceType"
		case "/appointment/id":
			list[i].Pointer = "/id"
		case "/at":
			list[i].Pointer = "/meta/lastUpdated"
		}
	}
	return list
}

// cut shortens what is for people to at most limit characters.
func cut(s string, limit int) string {
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit])
}
