package appointment

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
)

// fhirPatient is what is read of a Patient.
type fhirPatient struct {
	ResourceType string           `json:"resourceType"`
	ID           string           `json:"id"`
	Identifier   []fhirIdentifier `json:"identifier"`
	Name         []struct {
		Use    string   `json:"use"`
		Text   string   `json:"text"`
		Family string   `json:"family"`
		Given  []string `json:"given"`
	} `json:"name"`
	Telecom []struct {
		System string `json:"system"`
		Value  string `json:"value"`
		Use    string `json:"use"`
		Rank   int    `json:"rank"`
		Period struct {
			End string `json:"end"`
		} `json:"period"`
	} `json:"telecom"`
}

// patientsOf are a document's Patients by every name that a reference may have
// for them.
func patientsOf(entries []fhirEntry) map[string]*fhirPatient {
	out := map[string]*fhirPatient{}
	for _, e := range entries {
		p := readPatient(e.Resource)
		if p == nil {
			continue
		}
		if e.FullURL != "" {
			out[e.FullURL] = p
		}
		if p.ID != "" {
			out["Patient/"+p.ID] = p
		}
	}
	return out
}

// readPatient is nil where it is none.
func readPatient(raw json.RawMessage) *fhirPatient {
	var p fhirPatient
	if len(raw) == 0 || json.Unmarshal(raw, &p) != nil || p.ResourceType != "Patient" {
		return nil
	}
	return &p
}

// patient is whom the visit is for, as far as the document says: faults tell
// what it lacks.
func (v *visit) patient() (out Patient) {
	ref, several := v.whom()
	switch {
	case several:
		v.fault("/participant", "several-patients")
		return out
	case ref == nil:
		v.fault("/participant", "missing")
		return out
	}
	is := v.resolve(*ref)
	out.ExternalID = v.externalID(*ref, is)
	if is != nil {
		out.Name, out.Phone = is.name(), Mobile(is.phone())
	}
	if out.ExternalID == "" && out.Phone == "" && len(v.problems) == 0 {
		v.fault("/participant", "unknown-patient")
	}
	return out
}

// whom is the only patient that takes part.
func (v *visit) whom() (ref *fhirReference, several bool) {
	if v.Subject != nil && v.isPatient(*v.Subject) {
		return v.Subject, false
	}
	for _, p := range v.Participant {
		switch {
		case p.Actor == nil || p.Status == "declined" || !v.isPatient(*p.Actor):
		case ref != nil && ref.Reference != p.Actor.Reference:
			return nil, true
		default:
			ref = p.Actor
		}
	}
	return ref, false
}

func (v *visit) isPatient(ref fhirReference) bool {
	if kind, _, ok := ref.target(); ok {
		return kind == "Patient"
	}
	return ref.Type == "Patient" || v.resolve(ref) != nil
}

// resolve is the Patient that a reference names, if the document has it.
func (v *visit) resolve(ref fhirReference) *fhirPatient {
	if id, inside := strings.CutPrefix(ref.Reference, "#"); inside {
		for _, raw := range v.Contained {
			if p := readPatient(raw); p != nil && p.ID == id {
				p.ID = "" // it is its container's
				return p
			}
		}
		return nil
	}
	if p := v.in.patients[ref.Reference]; p != nil {
		return p
	}
	if kind, id, ok := ref.target(); ok {
		return v.in.patients[kind+"/"+id]
	}
	return nil
}

// externalID is the clinic's number of the patient. It must be the same with
// and without the Patient in the document, or one patient would become two: so
// it is the id of the resource, or always the identifier of one system.
func (v *visit) externalID(ref fhirReference, is *fhirPatient) string {
	if system := v.in.opt.Identifier; system != "" {
		if ref.Identifier != nil && ref.Identifier.System == system && ref.Identifier.Value != "" {
			return ref.Identifier.Value
		}
		if is != nil {
			for _, id := range is.Identifier {
				if id.System == system && id.Value != "" {
					return id.Value
				}
			}
		}
		v.fault("/participant", "identifier-missing")
		return ""
	}
	if _, id, ok := ref.target(); ok {
		return id
	}
	if is != nil {
		return is.ID
	}
	if ref.Identifier != nil {
		return ref.Identifier.Value
	}
	return ""
}

// name is how the patient is called: in Korea the family name comes first, and
// nothing parts it from the given one.
func (p *fhirPatient) name() string {
	for _, use := range []string{"usual", "official", ""} {
		for _, n := range p.Name {
			if use != "" && n.Use != use || n.Use == "old" || n.Use == "maiden" {
				continue
			}
			if n.Text != "" {
				return cut(n.Text, 100)
			}
			given := strings.Join(n.Given, " ")
			if n.Family == "" {
				continue // what friends call them
			}
			if isHangul(n.Family) {
				return cut(n.Family+given, 100)
			}
			return cut(given+" "+n.Family, 100)
		}
	}
	return ""
}

func isHangul(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r < 0xac00 || r > 0xd7a3 }) < 0
}

// phone is the number to write to: a mobile one first, then by rank.
func (p *fhirPatient) phone() string {
	type number struct {
		value string
		order int
	}
	var list []number
	for _, t := range p.Telecom {
		if t.Value == "" || t.System != "phone" && t.System != "sms" || t.Use == "old" || t.Period.End != "" {
			continue
		}
		order := cmp.Or(t.Rank, 999)
		if t.Use != "mobile" && t.System != "sms" {
			order += 10_000
		}
		list = append(list, number{t.Value, order})
	}
	if len(list) == 0 {
		return ""
	}
	return slices.MinFunc(list, func(a, b number) int { return cmp.Compare(a.order, b.order) }).value
}
