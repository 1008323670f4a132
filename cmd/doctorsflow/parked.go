package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

type parkedCommand struct {
	List  parkedListCommand  `cmd:"" help:"List the messages that wait for a human, the latest first."`
	Retry parkedRetryCommand `cmd:"" help:"Have the gateway asked again what became of them; or, with --resend, send them again."`
	Drop  parkedDropCommand  `cmd:"" help:"Give them up: they have failed for good."`
}

// parkedFilter says which parked steps a command is about.
type parkedFilter struct {
	Tenant    string        `help:"Only this clinic's; its slug." short:"t"`
	Because   string        `help:"Only those parked for this reason, such as outcome_unknown."`
	Channel   string        `help:"Only those of this channel." enum:",kakao,sms" default:"" placeholder:"kakao|sms"`
	Workflow  uuid.UUID     `help:"Only those of this workflow; its id."`
	OlderThan time.Duration `help:"Only those that have been parked for so long, such as 2h." default:"0"`
}

// set reports whether anything is filtered.
func (f *parkedFilter) set() bool { return *f != parkedFilter{} }

// query reads the filter; a zero id is every clinic.
func (f *parkedFilter) query(ctx context.Context, db *store.DB) (only tenant.ID, q store.ParkedQuery, err error) {
	if f.Because != "" && !event.Reason(f.Because).Valid() {
		return only, q, fmt.Errorf("there is no reason %q; docs/operations.md lists them", f.Because)
	}
	if f.OlderThan < 0 {
		return only, q, errors.New("give --older-than a positive duration, such as 2h")
	}
	q = store.ParkedQuery{Reason: event.Reason(f.Because), Channel: event.Channel(f.Channel), Workflow: f.Workflow}
	if f.OlderThan > 0 {
		q.Before = time.Now().Add(-f.OlderThan)
	}
	if f.Tenant == "" {
		return only, q, nil
	}
	ids, err := chooseTenants(ctx, db, f.Tenant)
	if err != nil {
		return only, q, err
	}
	return ids[0], q, nil
}

type parkedListCommand struct {
	dataFlags
	parkedFilter
	Limit  int    `help:"How many at most." default:"50"`
	Cursor string `help:"Where to go on, as the list before said."`
	JSON   bool   `name:"json" help:"Print JSON, one message a line."`
}

// Run prints one line per parked step.
func (c *parkedListCommand) Run(ctx context.Context, o output) error {
	if c.Limit < 1 || c.Limit > store.MaxPage {
		return fmt.Errorf("--limit is between 1 and %d; go on with --cursor", store.MaxPage)
	}
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		only, q, err := c.query(ctx, db)
		if err != nil {
			return err
		}
		q.Limit, q.Cursor = c.Limit, c.Cursor
		page, err := db.AllParkedSteps(ctx, only, q)
		if errors.Is(err, store.ErrCursor) {
			return errors.New("that is no cursor of this list; take it from the end of the list before")
		}
		if err != nil {
			return err
		}
		if err := c.told(ctx, db, page.Rows); err != nil {
			return err
		}
		if c.JSON {
			if err := printParkedJSON(o.out, page.Rows); err != nil {
				return err
			}
		} else if err := printParked(o.out, page.Rows); err != nil {
			return err
		}
		switch {
		case page.Next != "":
			fmt.Fprintf(o.err, "There are more: go on with --cursor %s\n", page.Next)
		case len(page.Rows) == 0 && !c.JSON:
			fmt.Fprintln(o.err, "Nothing waits for a human.")
		}
		return nil
	})
}

// told has each clinic's audit log keep what is shown of it.
func (c *parkedListCommand) told(ctx context.Context, db *store.DB, rows []store.ParkedStep) error {
	shown := map[tenant.ID]*store.AuditEntry{}
	for _, p := range rows {
		e := shown[p.Tenant]
		if e == nil {
			e = &store.AuditEntry{Action: "read", Subject: "parked-list", Detail: map[string]any{"rows": 0}}
			shown[p.Tenant] = e
		}
		e.Patients, e.Detail["rows"] = append(e.Patients, p.Patient), e.Detail["rows"].(int)+1
	}
	for id, e := range shown {
		if err := db.Audit(ctx, id, *e); err != nil {
			return err
		}
	}
	return nil
}

func printParked(w io.Writer, rows []store.ParkedStep) error {
	if len(rows) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PARKED SINCE\tCLINIC\tWORKFLOW\tCHANNEL\tREASON\tTRIES\tLAST CODE\tIF UNKNOWN\tVALID UNTIL\tSTEP\tRUN")
	for _, p := range rows {
		until := p.Expires.Format("2006-01-02T15:04:05")
		switch {
		case p.Superseded:
			until = "superseded"
		case p.Expired:
			until += " (over)"
		}
		fmt.Fprintf(t, "%s\t%s\t%s #%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", p.Since.Format("2006-01-02T15:04:05"), p.Clinic, p.WorkflowName, p.Node,
			p.Channel, p.Reason, p.Attempts, orElse(p.Code, "-"), p.OnUnknown, until, p.ID, p.Run)
	}
	return t.Flush()
}

// parkedLine is a parked step as scripts read it.
type parkedLine struct {
	Step       uuid.UUID     `json:"step_id"`
	Run        uuid.UUID     `json:"execution_id"`
	Tenant     tenant.ID     `json:"tenant_id"`
	Clinic     string        `json:"clinic"`
	Workflow   string        `json:"workflow_name"`
	Node       string        `json:"node"`
	Channel    event.Channel `json:"channel"`
	Reason     event.Reason  `json:"reason"`
	Attempts   int32         `json:"attempts"`
	Code       string        `json:"code,omitempty"`
	RequestID  string        `json:"request_id,omitempty"`
	OnUnknown  string        `json:"on_unknown"`
	Expires    time.Time     `json:"expires_at"`
	Expired    bool          `json:"expired"`
	Superseded bool          `json:"superseded"`
	Since      time.Time     `json:"parked_since"`
	Times      int32         `json:"times_parked"`
}

func printParkedJSON(w io.Writer, rows []store.ParkedStep) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for _, p := range rows {
		if err := e.Encode(parkedLine{
			Step: p.ID, Run: p.Run, Tenant: p.Tenant, Clinic: p.Clinic, Workflow: p.WorkflowName, Node: p.Node, Channel: p.Channel, Reason: p.Reason,
			Attempts: p.Attempts, Code: p.Code, RequestID: p.RequestID, OnUnknown: string(p.OnUnknown), Expires: p.Expires, Expired: p.Expired,
			Superseded: p.Superseded, Since: p.Since, Times: p.Times,
		}); err != nil {
			return err
		}
	}
	return nil
}
