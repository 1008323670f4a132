package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/dispatcher"
	"github.com/doctorsflow/doctorsflow/internal/simulate"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
	"github.com/doctorsflow/doctorsflow/planner"
	"github.com/doctorsflow/doctorsflow/recorder"
)

type simulateCommand struct {
	dataFlags
	Workflow string        `arg:"" optional:"" help:"The workflow's name; needed where there are several."`
	Tenant   string        `help:"The clinic's slug. Without it, --file says everything and no database is looked at." short:"t"`
	File     string        `short:"f" help:"A clinic's file. With --tenant: the workflow as this file has it is set beside the one in force." placeholder:"FILE"`
	Version  int32         `help:"This version; by default the one in force."`
	Against  int32         `help:"Set it beside this version: who would get what more, less, later."`
	Patient  []string      `help:"Only this patient, by the clinic's own number; repeatable. By default all." sep:"none" placeholder:"ID"`
	Replay   int           `help:"Take the runs of the last so many days, each with its own event, in place of --event." placeholder:"DAYS"`
	Event    string        `help:"What happened, as JSON." default:"{}" placeholder:"JSON"`
	Type     string        `help:"The event's name, such as appointment.completed; by default the JSON's type."`
	At       string        `help:"When it happens, in the clinic's own time: 2006-01-02T15:04. By default now." placeholder:"TIME"`
	Spread   int           `help:"Spread the events evenly over so many days from --at on." placeholder:"DAYS"`
	Days     int           `help:"How many days are simulated, from the last event on." default:"90"`
	Assume   []string      `help:"What gateways make of messages: kakao=failed, sms=delivered, or one node's Kakao message, NODE=failed; delivered, failed or unreported. NODE=clicked: its link is opened." placeholder:"WHAT=OUTCOME"`
	Reported time.Duration `help:"How long a report takes." default:"3s"`
	Each     bool          `help:"Show every patient's messages, not their sums. One patient is always shown."`
	Reason   string        `help:"Why you look, for the audit log: one line, nothing of a patient."`
	Lang     string        `help:"ko, en, or auto: by LANG." default:"auto" enum:"auto,ko,en"`
}

// simulation is what is simulated: one definition, or two over one cohort.
type simulation struct {
	clinic   tenant.ID
	setting  store.Setting
	name     string
	label    string
	against  string
	now, was *workflow.Definition // was is nil where nothing is compared
	subjects []store.Subject
	more     bool
}

// rules are those of the running path.
var rules = simulate.Rules{
	Plan: planner.Expand, Advance: planner.Advance, Settle: recorder.Apply,
	Judge: func(c *store.Candidate, t store.Timing) simulate.Verdict {
		p := dispatcher.Preview(c, t)
		return simulate.Verdict{Outcome: p.Outcome, Reason: p.Reason, Wait: p.Wait, Title: p.Title, Text: p.Text}
	},
}

// Run lets time pass and prints what would be sent; nothing is.
func (c *simulateCommand) Run(ctx context.Context, o output) error {
	assume, err := assumptions(c.Assume, c.Reported)
	if err != nil {
		return err
	}
	switch {
	case c.Tenant == "" && c.File == "":
		return errors.New("give --tenant, for a clinic of the ledger, or --file, for one in a file, or both to compare them")
	case c.Days < 1 || c.Days > 800, c.Spread < 0 || c.Spread > 800, c.Replay < 0:
		return errors.New("--days is between 1 and 800, --spread between 0 and 800, --replay not negative")
	case c.Tenant == "" && (c.Version != 0 || c.Against != 0 || c.Replay != 0):
		return errors.New("--version, --against and --replay look into the ledger: give --tenant")
	case c.Against != 0 && c.File != "":
		return errors.New("--against compares two versions of the ledger; leave --file out")
	case !store.ValidNote(c.Reason):
		return fmt.Errorf("--reason is one line of at most %d letters, without long numbers", store.MaxNote)
	}
	var s *simulation
	if c.Tenant == "" {
		s, err = c.ofFile()
	} else {
		err = withLedger(ctx, c.dataFlags, o, func(db *store.DB) (err error) {
			s, err = c.ofLedger(ctx, db)
			return err
		})
	}
	if err != nil {
		return err
	}
	return c.simulate(ctx, o, s, assume)
}

func (c *simulateCommand) simulate(ctx context.Context, o output, s *simulation, assume simulate.Assume) error {
	if len(s.subjects) == 0 {
		return errors.New("there is nobody to simulate: no patient or run fits")
	}
	if c.Replay == 0 {
		if err := c.happen(s); err != nil {
			return err
		}
	}
	until := s.subjects[0].At
	for _, p := range s.subjects {
		if p.At.After(until) {
			until = p.At
		}
	}
	m := simulate.Machine{
		Rules: rules, Definition: s.now, Tenant: s.clinic, Setting: s.setting, Assume: assume, Timing: store.DefaultTiming,
		Until: until.AddDate(0, 0, c.Days),
	}
	began := time.Now()
	runs, err := m.Cohort(ctx, s.subjects)
	if err != nil {
		return err
	}
	p := simulatePrinter{w: o.out, zone: s.setting.Zone, ko: korean(c.Lang), until: m.Until}
	switch {
	case s.was != nil:
		m.Definition = s.was
		before, err := m.Cohort(ctx, s.subjects)
		if err != nil {
			return err
		}
		p.difference(s, simulate.Compare(before, runs), c.Each || len(runs) == 1)
	case c.Each || len(runs) == 1:
		for _, r := range runs {
			p.run(s, r)
		}
	default:
		p.summary(s, simulate.Summarise(runs))
	}
	if s.more {
		fmt.Fprintf(o.err, "Only the first %d are simulated.\n", len(runs))
	}
	fmt.Fprintf(o.err, "Simulated %d runs over %d days in %s. Nothing was sent.\n", len(runs), c.Days, time.Since(began).Round(time.Millisecond))
	return nil
}

// happen gives every subject the event of the flags.
func (c *simulateCommand) happen(s *simulation) error {
	at, kind, payload, err := c.event(s.setting.Zone)
	if err != nil {
		return err
	}
	for i := range s.subjects {
		p := &s.subjects[i]
		p.Event, p.Payload, p.At = kind, payload, at
		if n := len(s.subjects); c.Spread > 0 {
			p.At = at.Add(time.Duration(i) * (time.Duration(c.Spread) * 24 * time.Hour) / time.Duration(n)).Truncate(time.Second)
		}
	}
	return nil
}

// ofLedger reads a clinic of the ledger. The audit log has who looked before
// anything is shown.
func (c *simulateCommand) ofLedger(ctx context.Context, db *store.DB) (*simulation, error) {
	ids, err := chooseTenants(ctx, db, c.Tenant)
	if err != nil {
		return nil, err
	}
	s := &simulation{clinic: ids[0]}
	list, err := db.Workflows(ctx, s.clinic)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(w store.WorkflowRow) bool { return w.Version == 0 || c.Workflow != "" && w.Name != c.Workflow })
	if len(list) != 1 {
		return nil, fmt.Errorf("%s has %d workflows that fit; name one, as doctorsflow workflow list shows them", c.Tenant, len(list))
	}
	w := list[0]
	s.name = w.Name
	version := func(n int32) (*workflow.Definition, string, error) {
		d, err := db.Definition(ctx, s.clinic, w.ID, n)
		if errors.Is(err, store.ErrNotFound) {
			err = fmt.Errorf("%s has no version %d; the one in force is %d", w.Name, n, w.Version)
		}
		if n == 0 {
			n = w.Version
		}
		return d, fmt.Sprintf("version %d", n), err
	}
	if s.now, s.label, err = version(c.Version); err != nil {
		return nil, err
	}
	if c.Against != 0 {
		if s.was, s.against, err = version(c.Against); err != nil {
			return nil, err
		}
	}
	if c.File != "" {
		s.was, s.against = s.now, s.label
		f, err := c.readFile()
		if err != nil {
			return nil, err
		}
		if s.now, _, err = definitionOf(f, s.name); err != nil {
			return nil, err
		}
		s.label = c.File
	}
	q := store.CohortQuery{ExternalIDs: c.Patient}
	if c.Replay > 0 {
		q.Workflow, q.Since = w.ID, time.Now().AddDate(0, 0, -c.Replay)
	}
	if s.setting, s.subjects, s.more, err = db.Cohort(ctx, s.clinic, q); err != nil {
		return nil, err
	}
	if err := c.allFound(s.subjects); err != nil {
		return nil, err
	}
	return s, db.Audit(ctx, s.clinic, c.told(w.ID, s.subjects))
}

func (c *simulateCommand) allFound(found []store.Subject) error {
	for _, id := range c.Patient {
		if !slices.ContainsFunc(found, func(s store.Subject) bool { return s.ExternalID == id }) {
			return fmt.Errorf("no patient or run of one fits %q; patients are named by the clinic's own number", id)
		}
	}
	return nil
}

// told is what the audit log keeps of a simulation.
func (c *simulateCommand) told(w uuid.UUID, subjects []store.Subject) store.AuditEntry {
	e := store.AuditEntry{
		Hand: store.Hand{Note: c.Reason}, Action: "read", Subject: "simulate", SubjectID: w,
		Detail: map[string]any{"rows": len(subjects), "each": c.Each || len(subjects) == 1},
	}
	for _, s := range subjects {
		e.Patients = append(e.Patients, s.Patient)
	}
	return e
}

// assumptions reads WHAT=OUTCOME.
func assumptions(list []string, after time.Duration) (a simulate.Assume, err error) {
	a.After, a.Nodes = after, map[string]simulate.Outcome{}
	if after < 0 {
		return a, errors.New("--reported is not negative")
	}
	for _, s := range list {
		what, outcome, ok := strings.Cut(s, "=")
		o := simulate.Outcome(outcome)
		if !ok || what == "" || !slices.Contains([]simulate.Outcome{simulate.Delivered, simulate.Failed, simulate.Unreported, simulate.Clicked}, o) || o == simulate.Clicked && (what == "kakao" || what == "sms") {
			return a, fmt.Errorf("--assume %q: write kakao=failed, sms=delivered, NODE=unreported or NODE=clicked", s)
		}
		switch what {
		case "kakao":
			a.Kakao = o
		case "sms":
			a.SMS = o
		default:
			a.Nodes[what] = o
		}
	}
	return a, nil
}
