package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// parkedSeeds is how many parked messages a clinic has: two that stay, so that
// their list has pages, and one for each operation that decides one.
const parkedSeeds = 4

// seeded is a clinic that has something of everything.
type seeded struct {
	*office
	patient, execution string
	second             string // another patient
	parkedSteps        []string
	versions           string // a workflow that was published twice
}

func (l *ledger) seed(o *office) *seeded {
	l.t.Helper()
	c := &seeded{office: o}
	c.newWorkflow() // so that the list of workflows has two pages
	for i, s := range []store.State{store.StateClaimed, store.StateSent, store.StateFailed, store.StateDelivered} {
		o.message(fmt.Sprintf("010-0000-000%d", i), s)
	}
	for i := range parkedSeeds {
		c.parkedSteps = append(c.parkedSteps, o.parked(fmt.Sprintf("010-0000-01%02d", i)).String())
	}
	l.count()
	for range 2 {
		if _, err := l.db.ReplaySource(l.t.Context(), o.tenant, store.SourceReplay{Source: "appointment", Since: time.Now(), Hand: store.Hand{Actor: "cli:test", Note: "seed"}}); err != nil {
			l.t.Fatal(err)
		}
	}
	for _, number := range []string{"A-1", "A-2"} {
		if w := l.send(http.MethodPost, "/api/appointments/events", o.keys[auth.Integration], bookedEvent("seed-"+number, number)); w.Code != http.StatusOK {
			l.t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	for range 2 {
		c.newSegment()
		c.newSchedule()
		c.newTemplate()
		c.newCampaign("")
	}
	var logs logPage
	l.fetch("/api/message-logs", o.keys[auth.Owner], &logs)
	c.patient, c.execution = logs.Data[0].PatientID.String(), logs.Data[0].Metadata.ExecutionID.String()
	c.second = logs.Data[1].PatientID.String()
	return c
}

// takeParked gives a parked step that nobody has decided.
func (c *seeded) takeParked() string {
	c.l.t.Helper()
	if len(c.parkedSteps) == 0 {
		c.l.t.Fatal("no parked message is left: raise parkedSeeds")
	}
	step := c.parkedSteps[0]
	c.parkedSteps = c.parkedSteps[1:]
	return step
}

// newWorkflow makes a draft that can be published.
func (c *seeded) newWorkflow() string {
	c.l.t.Helper()
	w, err := c.l.db.CreateWorkflow(c.l.t.Context(), c.tenant, clinic.Workflow{
		Name: uuid.NewString(), TriggerType: "webhook", Steps: []clinic.Step{{Node: "1", Type: "message", Day: new(1), Template: "care"}},
	})
	if err != nil {
		c.l.t.Fatal(err)
	}
	return w.ID.String()
}

// twoVersions is a workflow that was published twice.
func (c *seeded) twoVersions() string {
	c.l.t.Helper()
	if c.versions != "" {
		return c.versions
	}
	c.versions = c.newWorkflow()
	for _, day := range []string{"1", "2"} {
		for _, r := range [][3]string{{http.MethodPatch, "", `{"steps":[{"day":` + day + `,"template":"care"}]}`}, {http.MethodPost, "/publish", `{}`}} {
			if w := c.l.send(r[0], "/api/workflows/"+c.versions+r[1], c.keys[auth.Owner], r[2]); w.Code != http.StatusOK {
				c.l.t.Fatal(w.Code, w.Body)
			}
		}
	}
	return c.versions
}

// trigger is that of one of the clinic's appointments.
func (c *seeded) trigger() string {
	c.l.t.Helper()
	_, heard, err := c.l.db.AppointmentByID(c.l.t.Context(), c.tenant, c.appointment().ID)
	if err != nil || len(heard) == 0 {
		c.l.t.Fatal(heard, err)
	}
	return heard[0].Trigger.String()
}

// replay is one of the clinic's.
func (c *seeded) replay() string {
	c.l.t.Helper()
	p, err := c.l.db.Replays(c.l.t.Context(), c.tenant, "", 1)
	if err != nil || len(p.Rows) == 0 {
		c.l.t.Fatal(p, err)
	}
	return p.Rows[0].ID.String()
}

// saved is one of a list of the clinic's.
func (c *seeded) saved(list string, i int) string {
	c.l.t.Helper()
	var p struct{ Data []struct{ ID string } }
	c.l.fetch("/api/"+list, c.keys[auth.Owner], &p)
	if len(p.Data) <= i {
		c.l.t.Fatalf("there are %d %s", len(p.Data), list)
	}
	return p.Data[i].ID
}

// made sends what makes something, and gives its id.
func (c *seeded) made(path, body string) string {
	c.l.t.Helper()
	w := c.l.send(http.MethodPost, path, c.keys[auth.Owner], body)
	var out struct{ ID string }
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != http.StatusOK {
		c.l.t.Fatal(path, w.Code, w.Body, err)
	}
	return out.ID
}

func (c *seeded) newSegment() string {
	return c.made("/api/segments", `{"name":"`+uuid.NewString()+`","filter":{}}`)
}

func (c *seeded) newSchedule() string {
	return c.made("/api/schedules", fmt.Sprintf(`{"name":%q,"pattern":"@daily","workflow_id":%q,"segment_id":%q}`, uuid.NewString(), c.workflow, c.saved("segments", 0)))
}

func (c *seeded) newTemplate() string {
	return c.made("/api/templates", `{"name":"`+uuid.NewString()+`","sms_text":"x"}`)
}

// fhirServer is one that may notify the clinic.
func (c *seeded) fhirServer() string {
	c.l.t.Helper()
	s, err := c.l.db.CreateFHIRSource(c.l.t.Context(), c.tenant, store.FHIRSource{Name: uuid.NewString(), BaseURL: "https://emr.example.com/fhir", Source: "emr"})
	if err != nil {
		c.l.t.Fatal(err)
	}
	return s.ID.String()
}

func (c *seeded) newPatient() string { return c.made("/api/patients", `{"name":"김하늘"}`) }

// newCampaign is one that a verb can be said of.
func (c *seeded) newCampaign(verb string) string {
	c.l.t.Helper()
	id := c.made("/api/campaigns", fmt.Sprintf(`{"name":"x","workflow_id":%q,"segment_id":%q}`, c.workflow, c.saved("segments", 0)))
	for _, before := range map[string][]string{"pause": {"execute"}, "resume": {"execute", "pause"}, "cancel": {"execute"}}[verb] {
		c.made("/api/campaigns/"+id+"/"+before, `{}`)
	}
	return id
}

// optOut gives an opt-out of the clinic's patient that stands.
func (c *seeded) optOut() string {
	c.l.t.Helper()
	patient := uuid.MustParse(c.patient)
	if _, err := c.l.db.OptOut(c.l.t.Context(), c.tenant, patient, store.OptOut{Class: workflow.Auth, Source: "api"}, store.Hand{Actor: "cli:test"}); err != nil {
		c.l.t.Fatal(err)
	}
	list, err := c.l.db.OptOuts(c.l.t.Context(), c.tenant, patient)
	if err != nil || len(list) == 0 {
		c.l.t.Fatal(list, err)
	}
	return list[0].ID.String()
}

func (c *seeded) cursor(list string) string {
	c.l.t.Helper()
	var p struct {
		NextCursor string `json:"next_cursor"`
	}
	c.l.fetch(list+"?limit=1", c.keys[auth.Owner], &p)
	if p.NextCursor == "" {
		c.l.t.Fatalf("%s has no second page: seed more", list)
	}
	return p.NextCursor
}
