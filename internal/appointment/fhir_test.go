package appointment

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func example(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata/fhir", name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// said is what a resource says, without what it was read of.
type said struct {
	Ref, Number, Patient, Surgery string
	Stands                        Status
	At                            string
	Problems                      []Problem
}

func read(t *testing.T, raw []byte, opt FHIROptions) (out []said, f *FHIR) {
	t.Helper()
	f, problems := ReadFHIR(raw, opt)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, r := range f.Resources {
		s := said{Ref: r.Reference, Number: r.Appointment, Patient: r.Patient.ExternalID, Stands: r.Stands, Problems: r.Problems}
		if r.Surgery != nil {
			s.Surgery = *r.Surgery
		}
		if !r.StartsAt.IsZero() {
			s.At = r.StartsAt.UTC().Format(time.RFC3339)
		} else if r.When != nil {
			s.At = r.When.Date
		}
		out = append(out, s)
	}
	return out, f
}

func TestTheExamplesOfHL7SayTheSameInBothVersions(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]said{
		"Appointment-example":    {"Appointment/example", "example", "example", "General Discussion", Scheduled, "2013-12-10T09:00:00Z", nil},
		"Appointment-2docs":      {"Appointment/2docs", "2docs", "example", "General Discussion", Scheduled, "2013-12-09T09:00:00Z", nil},
		"Appointment-examplereq": {"Appointment/examplereq", "examplereq", "example", "", HasRequested, "2016-06-02", nil},
		"Encounter-example":      {"Encounter/example", "encounter:example", "example", "", HasCheckedIn, "", nil},
		"Encounter-home":         {"Encounter/home", "encounter:home", "example", "", HasCompleted, "2015-01-17T06:00:00Z", nil},
		"Encounter-emerg":        {"Encounter/emerg", "encounter:emerg", "example", "", HasCheckedIn, "2017-01-31T21:15:00Z", nil},
		// It belongs to an appointment, which says when.
		"Encounter-f203": {"Encounter/f203", "example", "f201", "", HasCompleted, "", nil},
	} {
		for _, version := range []string{"r4", "r5"} {
			got, _ := read(t, example(t, version+"/"+file+".json"), FHIROptions{Upload: "u"})
			if diff := cmp.Diff([]said{want}, got); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", version, file, diff)
			}
		}
	}
}

func TestABundlesPatientsAreFoundByEveryKindOfReference(t *testing.T) {
	t.Parallel()
	patient := string(example(t, "r4/Patient-example.json"))
	const system = "urn:oid:1.2.36.146.595.217.0.1"
	visit := func(actor, more string) string {
		return `{"resourceType":"Appointment","id":"a","status":"booked","start":"2026-12-01T14:30:00+09:00","participant":[{"actor":` + actor + `,"status":"accepted"},{"actor":{"reference":"Practitioner/9"},"status":"accepted"}]` + more + `}`
	}
	contained := strings.Replace(patient, `"example"`, `"p"`, 1)
	for name, c := range map[string]struct {
		actor, more string
		id          string // as the Patient's
		system      string // as an identifier
	}{
		"relative":        {`{"reference":"Patient/example"}`, "", "example", "12345"},
		"of a version":    {`{"reference":"Patient/example/_history/3"}`, "", "example", "12345"},
		"absolute":        {`{"reference":"https://emr.example.com/fhir/Patient/example"}`, "", "example", "12345"},
		"of the bundle":   {`{"reference":"urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"}`, "", "example", "12345"},
		"contained":       {`{"reference":"#p"}`, `,"contained":[{"resourceType":"Practitioner","id":"q"},` + contained + `]`, "", "12345"},
		"with identifier": {`{"reference":"Patient/other","identifier":{"system":"` + system + `","value":"777"}}`, "", "other", "777"},
	} {
		entries := []string{`{"fullUrl":"urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0","resource":` + patient + `}`, `{"resource":` + visit(c.actor, c.more) + `}`, `{"resource":{"resourceType":"Slot","id":"s"}}`}
		raw := []byte(`{"resourceType":"Bundle","type":"searchset","entry":[` + strings.Join(entries, ",") + `]}`)
		for opt, want := range map[FHIROptions]string{{}: c.id, {Identifier: system}: c.system} {
			_, f := read(t, raw, opt)
			got := f.Resources[0]
			if got.Patient.ExternalID != want || len(got.Problems) > 0 || f.Ignored["Slot"] != 1 || len(f.Ignored) != 1 {
				t.Errorf("%s %v: %q %v, ignored %v; want %q", name, opt, got.Patient.ExternalID, got.Problems, f.Ignored, want)
			}
			if name != "with identifier" && (got.Patient.Name != "Jim" && got.Patient.Name != "Peter James Chalmers" || got.Patient.Phone != "(03) 3410 5613") {
				t.Errorf("%s: %+v", name, got.Patient)
			}
		}
	}
}

func TestWhatAResourceLacksIsToldByItsElement(t *testing.T) {
	t.Parallel()
	const start, who = `"start":"2026-12-01T14:30:00+09:00"`, `"participant":[{"actor":{"reference":"Patient/1"}}]`
	for body, want := range map[string]Problem{
		`"id":"a","status":"booked",` + who:                                                                                                {"/start", "missing"},
		`"id":"a","status":"booked","start":"2026-12",` + who:                                                                              {"/start", "not-a-date-time"},
		`"id":"a","status":"booked","requestedPeriod":[{"start":"2026-12-01"}],` + who:                                                     {"/start", "missing"},
		`"id":"a","status":"proposed","requestedPeriod":[{"start":"2026-13-01"}],` + who:                                                   {"/requestedPeriod/0/start", "not-a-date"},
		`"id":"a","status":"sometime",` + start + `,` + who:                                                                                {"/status", "not-in-list"},
		`"id":"a",` + start + `,` + who:                                                                                                    {"/status", "missing"},
		`"status":"booked",` + start + `,` + who:                                                                                           {"/id", "missing"},
		`"id":"a b","status":"booked",` + start + `,` + who:                                                                                {"/id", "wrong-form"},
		`"id":"a","status":"booked",` + start:                                                                                              {"/participant", "missing"},
		`"id":"a","status":["booked"],` + start + `,` + who:                                                                                {"/status", "wrong-type"},
		`"id":"a","status":"booked","meta":{"lastUpdated":"soon"},` + start + `,` + who:                                                    {"/meta/lastUpdated", "not-a-date-time"},
		`"id":"a","status":"booked",` + start + `,"subject":{"reference":"Group/1"}`:                                                       {"/participant", "missing"},
		`"id":"a","status":"booked",` + start + `,"participant":[{"actor":{"reference":"Patient/1"}},{"actor":{"reference":"Patient/2"}}]`: {"/participant", "several-patients"},
		`"id":"a","status":"booked",` + start + `,"participant":[{"actor":{"type":"Patient"}}]`:                                            {"/participant", "unknown-patient"},
	} {
		got, _ := read(t, []byte(`{"resourceType":"Appointment",`+body+`}`), FHIROptions{Upload: "u"})
		if len(got) != 1 || !cmp.Equal(got[0].Problems, []Problem{want}) {
			t.Errorf("%s: %+v, want %v", body, got, want)
		}
	}
	for raw, want := range map[string]Problem{
		`{"id":"a"}`:            {"/resourceType", "missing"},
		`{"resourceType":1}`:    {"/resourceType", "wrong-type"},
		`[]`:                    {"/", "wrong-type"},
		`{"resourceType":"A"}}`: {"", "malformed"},
		`{"resourceType":"Bundle","entry":[` + strings.Repeat(`{},`, MaxResources) + `{}]}`: {"/entry", "too-many"},
		strings.Repeat(" ", MaxFHIR+1): {"", "too-large"},
	} {
		if _, got := ReadFHIR([]byte(raw), FHIROptions{}); !cmp.Equal(got, []Problem{want}) {
			t.Errorf("%.60s: %v, want %v", raw, got, want)
		}
	}
	got, _ := read(t, []byte(`{"resourceType":"Bundle","entry":[{"request":{"method":"DELETE","url":"Appointment/7"}},{"request":{"method":"DELETE","url":"Slot/7"}}]}`), FHIROptions{})
	if len(got) != 1 || got[0].Ref != "Appointment/7" || !cmp.Equal(got[0].Problems, []Problem{{"/resource", "missing"}}) {
		t.Errorf("what was deleted: %+v", got)
	}
	if _, problems := ReadFHIR([]byte(`{"resourceType":"Appointment","id":"a"}`), FHIROptions{Identifier: "x"}); len(problems) > 0 {
		t.Error(problems)
	}
}

func TestAnEncounterSpeaksForItsAppointments(t *testing.T) {
	t.Parallel()
	const head = `{"resourceType":"Encounter","id":"e","subject":{"reference":"Patient/1"},"meta":{"versionId":"3","lastUpdated":"2026-11-20T10:00:00Z"},"period":{"start":"2026-11-20T09:00:00Z"},`
	two := head + `"appointment":[{"reference":"Appointment/1"},{"reference":"https://emr.example.com/fhir/Appointment/2/_history/4"},{"reference":"Appointment/1"}],"status":"finished"}`
	got, f := read(t, []byte(two), FHIROptions{})
	want := []said{{"Encounter/e", "1", "1", "", HasCompleted, "", nil}, {"Encounter/e", "2", "1", "", HasCompleted, "", nil}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if f.Resources[0].ID == f.Resources[1].ID || !f.Resources[0].At.Equal(time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", f.Resources)
	}
	for _, c := range []struct {
		links, status string
		stands        Status
		code          string
	}{
		{`"appointment":[{"reference":"Appointment/1"}],`, "planned", "", ""},
		{`"appointment":[{"reference":"Appointment/1"}],`, "entered-in-error", "", "not-in-list"},
		{`"appointment":[{"reference":"Appointment/1"}],`, "discontinued", HasCancelled, ""},
		{"", "planned", Scheduled, ""},
		{"", "entered-in-error", HasCancelled, ""},
		{"", "unknown", "", "not-in-list"},
	} {
		got, f := read(t, []byte(head+c.links+`"status":"`+c.status+`"}`), FHIROptions{})
		switch {
		case c.code != "":
			if len(got) != 1 || !cmp.Equal(got[0].Problems, []Problem{{"/status", c.code}}) {
				t.Errorf("%s: %+v", c.status, got)
			}
		case c.stands == "":
			if len(got) != 0 || f.Ignored["Encounter"] != 1 {
				t.Errorf("%s: %+v", c.status, got)
			}
		case len(got) != 1 || got[0].Stands != c.stands || len(got[0].Problems) > 0:
			t.Errorf("%s: %+v", c.status, got)
		}
	}
}

func TestAVersionOfAResourceIsOneEvent(t *testing.T) {
	t.Parallel()
	const body = `{"resourceType":"Appointment","id":"a","meta":{"versionId":"1"},"status":"booked","start":"2026-12-01T14:30:00+09:00","participant":[{"actor":{"reference":"Patient/1"}}]}`
	ids := map[string]bool{}
	id := func(raw, upload string) string {
		_, f := read(t, []byte(raw), FHIROptions{Upload: upload})
		return f.Resources[0].ID
	}
	first := id(body, "u1")
	if again := id(body, "u2"); again != first {
		t.Errorf("%q and %q", first, again)
	}
	for _, other := range []string{
		strings.Replace(body, `"versionId":"1"`, `"versionId":"2"`, 1), strings.Replace(body, "14:30", "15:30", 1), strings.Replace(body, "booked", "noshow", 1),
		strings.Replace(body, `"versionId":"1"`, `"lastUpdated":"2026-11-20T10:00:00Z"`, 1), strings.Replace(body, `"versionId":"1"`, "", 1),
	} {
		ids[id(other, "u")] = true
	}
	if len(ids) != 5 || ids[first] {
		t.Errorf("%v, and %s", ids, first)
	}
	if bare := strings.Replace(body, `"versionId":"1"`, "", 1); id(bare, "u1") == id(bare, "u2") {
		t.Error("without version and time it may have been unsaid between")
	}
}

func FuzzReadFHIR(f *testing.F) {
	files, err := filepath.Glob("testdata/fhir/*/*.json")
	if err != nil || len(files) == 0 {
		f.Fatal(err)
	}
	var all []json.RawMessage
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
		all = append(all, json.RawMessage(`{"resource":`+string(raw)+`}`))
	}
	bundle, err := json.Marshal(map[string]any{"resourceType": "Bundle", "entry": all})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bundle)
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, opt := range []FHIROptions{{Upload: "u"}, {Upload: "u", Identifier: "urn:oid:1.2.36.146.595.217.0.1"}} {
			doc, problems := ReadFHIR(raw, opt)
			if (doc == nil) != (len(problems) > 0) {
				t.Fatal(doc, problems)
			}
			if doc == nil {
				continue
			}
			for _, r := range doc.Resources {
				if len(r.Problems) > 0 {
					continue
				}
				again, problems := Decode(r.Raw)
				if len(problems) > 0 || again.ID != r.ID || again.Stands != r.Stands || !again.When.Same(r.When) || !again.StartsAt.Equal(r.StartsAt) {
					t.Fatalf("%s is kept as %s: %v", r.Reference, r.Raw, problems)
				}
			}
		}
	})
}
