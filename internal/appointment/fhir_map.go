package appointment

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// The resources that say something of an appointment.
const (
	fhirAppointment = "Appointment"
	fhirEncounter   = "Encounter"
)

// ignore is said of a status that another resource tells better.
const ignore Status = ""

// fhirStatuses are where an appointment stands by the status of a resource.
// R4: https://hl7.org/fhir/R4/valueset-appointmentstatus.html and
// valueset-encounter-status.html; R5: the same under https://hl7.org/fhir/R5/.
var fhirStatuses = map[string]map[string]Status{
	fhirAppointment: {
		"proposed": HasRequested, "pending": HasRequested, "waitlist": HasRequested,
		"booked":  Scheduled,
		"arrived": HasCheckedIn, "checked-in": HasCheckedIn,
		"fulfilled": HasCompleted,
		"noshow":    HasNotShown,
		"cancelled": HasCancelled, "entered-in-error": HasCancelled,
	},
	// An Encounter that belongs to no Appointment is a visit of its own.
	fhirEncounter: {
		"planned": Scheduled,
		"arrived": HasCheckedIn, "triaged": HasCheckedIn, "in-progress": HasCheckedIn, "onleave": HasCheckedIn, "on-hold": HasCheckedIn,
		"finished": HasCompleted, "completed": HasCompleted, "discharged": HasCompleted,
		"cancelled": HasCancelled, "discontinued": HasCancelled, "entered-in-error": HasCancelled,
	},
	// One that does speaks for what happened at the clinic alone.
	fhirEncounter + "+" + fhirAppointment: {
		"planned": ignore,
		"arrived": HasCheckedIn, "triaged": HasCheckedIn, "in-progress": HasCheckedIn, "onleave": HasCheckedIn, "on-hold": HasCheckedIn,
		"finished": HasCompleted, "completed": HasCompleted, "discharged": HasCompleted,
		"cancelled": HasCancelled, "discontinued": HasCancelled,
	},
}

// fhirVisit is what is read of an Appointment or an Encounter of either version.
type fhirVisit struct {
	ID   string `json:"id"`
	Meta struct {
		VersionID   string `json:"versionId"`
		LastUpdated string `json:"lastUpdated"`
	} `json:"meta"`
	Contained   []json.RawMessage `json:"contained"`
	Status      string            `json:"status"`
	ServiceType fhirService       `json:"serviceType"`

	// Appointment.
	Start           string        `json:"start"`
	RequestedPeriod []fhirPeriod  `json:"requestedPeriod"`
	Participant     []fhirPartner `json:"participant"`

	// Encounter; Subject is R5's Appointment's too.
	Subject          *fhirReference  `json:"subject"`
	Appointment      []fhirReference `json:"appointment"`
	Period           fhirPeriod      `json:"period"`       // R4
	ActualPeriod     fhirPeriod      `json:"actualPeriod"` // R5
	PlannedStartDate string          `json:"plannedStartDate"`
}

type fhirPeriod struct {
	Start string `json:"start"`
}

// fhirPartner is an Appointment's participant; an Encounter's names people who
// work there.
type fhirPartner struct {
	Actor  *fhirReference `json:"actor"`
	Status string         `json:"status"`
}

type fhirReference struct {
	Reference  string          `json:"reference"`
	Type       string          `json:"type"`
	Identifier *fhirIdentifier `json:"identifier"`
}

type fhirIdentifier struct {
	System string `json:"system"`
	Value  string `json:"value"`
}

type fhirConcept struct {
	Text   string `json:"text"`
	Coding []struct {
		Display string `json:"display"`
	} `json:"coding"`
}

func (c fhirConcept) words() string {
	if c.Text != "" {
		return c.Text
	}
	for _, coding := range c.Coding {
		if coding.Display != "" {
			return coding.Display
		}
	}
	return ""
}

// fhirService is a serviceType: one concept in R4's Encounter, a list of them in
// its Appointment, of references to them in R5.
type fhirService []struct {
	fhirConcept
	Concept fhirConcept `json:"concept"`
}

// UnmarshalJSON reads any of the three forms.
func (s *fhirService) UnmarshalJSON(b []byte) error {
	type list fhirService
	if len(b) > 0 && b[0] == '{' {
		b = slices.Concat([]byte("["), b, []byte("]"))
	}
	return json.Unmarshal(b, (*list)(s))
}

// service is the kind of treatment in words: a code means something to its own
// system only.
func (v visit) service() string {
	for _, s := range v.ServiceType {
		if words := cut(cmp.Or(s.words(), s.Concept.words()), 100); words != "" {
			return words
		}
	}
	return ""
}

// appointments are the numbers of the appointments that an Encounter belongs to.
func (v visit) appointments() (numbers []string) {
	for _, a := range v.Appointment {
		if kind, id, ok := a.target(); ok && kind == fhirAppointment && !slices.Contains(numbers, id) {
			numbers = append(numbers, id)
		}
	}
	return numbers
}

// linked reports an Encounter that belongs to an Appointment, which says when.
func (v visit) linked() bool { return len(v.appointments()) > 0 }

// stands is where the appointment stands, or a code of what is wrong with that;
// neither where the resource leaves it to another.
func (v visit) stands(kind string) (stands Status, code string) {
	if kind == fhirEncounter && v.linked() {
		kind += "+" + fhirAppointment
	}
	if v.Status == "" {
		return "", "missing"
	}
	stands, known := fhirStatuses[kind][v.Status]
	if !known {
		return "", "not-in-list"
	}
	return stands, ""
}

// start is when it begins, and the element that says so.
func (v visit) start() (pointer, value string) {
	wish := ""
	if len(v.RequestedPeriod) > 0 && fhirStatuses[fhirAppointment][v.Status] == HasRequested {
		wish = v.RequestedPeriod[0].Start
	}
	for _, c := range []struct{ pointer, value string }{
		{"/start", v.Start},
		{"/requestedPeriod/0/start", wish},
		{"/actualPeriod/start", v.ActualPeriod.Start},
		{"/period/start", v.Period.Start},
		{"/plannedStartDate", v.PlannedStartDate},
	} {
		if c.value != "" {
			return c.pointer, c.value
		}
	}
	if strings.HasPrefix(v.ref, fhirEncounter) {
		return "/period/start", ""
	}
	return "/start", ""
}

// target is the resource that a reference names, whether it is relative,
// absolute or of one version; ok is false where it names none by id.
func (r fhirReference) target() (kind, id string, ok bool) {
	path, _, _ := strings.Cut(r.Reference, "/_history/")
	parts := strings.Split(path, "/")
	if len(parts) < 2 {
		return "", "", false
	}
	kind, id = parts[len(parts)-2], parts[len(parts)-1]
	return kind, id, fhirType.MatchString(kind) && fhirID.MatchString(id)
}

// eventID is the same for a version of a resource that says the same; nothing
// of a patient is in it. A resource without version and time is a word of its
// own with every document.
func (v visit) eventID(w wire) string {
	version := cmp.Or(v.Meta.VersionID, v.Meta.LastUpdated)
	if version == "" {
		return fmt.Sprintf("fhir:%s:%d:%s", v.in.opt.Upload, v.index, cut(w.Appointment.ID, 80))
	}
	said := sha256.New()
	for _, part := range []*string{&v.ref, &version, &v.Meta.LastUpdated, &w.Source, &w.Appointment.ID, w.Status, w.Appointment.StartsAt, w.Appointment.Date, w.Appointment.SurgeryType} {
		if part != nil {
			fmt.Fprintf(said, "%q", *part)
		}
		said.Write([]byte{0})
	}
	return "fhir:" + v.ref + ":" + hex.EncodeToString(said.Sum(nil)[:8])
}
