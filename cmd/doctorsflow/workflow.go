package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/planner"
)

type workflowCommand struct {
	List    workflowListCommand    `cmd:"" help:"List a clinic's workflows, with the runs under way."`
	Migrate workflowMigrateCommand `cmd:"" help:"Have the runs under way go on by the published version."`
	Stop    workflowStopCommand    `cmd:"" help:"Stop the runs under way of a workflow, or one run."`
	Export  workflowExportCommand  `cmd:"" help:"Write a workflow as a file, for git."`
	Import  workflowImportCommand  `cmd:"" help:"Make a clinic's workflows be what files say."`
	Check   workflowCheckCommand   `cmd:"" help:"Say what keeps a workflow's file from being published; needs no ledger."`
	Schema  workflowSchemaCommand  `cmd:"" help:"Print the JSON Schema of a workflow's file, for editors."`
}

type workflowListCommand struct {
	dataFlags
	Tenant string `help:"The clinic's slug." required:"" short:"t"`
}

// Run prints a line per workflow.
func (c *workflowListCommand) Run(ctx context.Context, o output) error {
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		ids, err := chooseTenants(ctx, db, c.Tenant)
		if err != nil {
			return err
		}
		list, err := db.Workflows(ctx, ids[0])
		if err != nil {
			return err
		}
		return printWorkflows(o.out, list)
	})
}

func printWorkflows(w io.Writer, list []store.WorkflowRow) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "VERSION\tSTATE\tKIND\tUNDER WAY\tBY AN EARLIER VERSION\tMESSAGES PLANNED\tWORKFLOW")
	for _, r := range list {
		state, kind := "active", "days"
		if !r.Active {
			state = "off"
		}
		if r.Drawn {
			kind = "drawn"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%d\t%d\t%d\t%s\n", r.Version, state, kind, r.Open, r.Behind, r.Planned, r.Name)
	}
	return t.Flush()
}

// workflowChoice says which workflow, why, and whether in earnest.
type workflowChoice struct {
	dataFlags
	Tenant   string `help:"The clinic's slug." required:"" short:"t"`
	Workflow string `arg:"" help:"The workflow's name."`
	Reason   string `help:"Why, for the audit log: one line, nothing of a patient."`
	DryRun   bool   `help:"Say what would change, and change nothing."`
}

func (c *workflowChoice) find(ctx context.Context, db *store.DB) (tenant.ID, store.WorkflowRow, error) {
	ids, err := chooseTenants(ctx, db, c.Tenant)
	if err != nil {
		return tenant.ID{}, store.WorkflowRow{}, err
	}
	list, err := db.Workflows(ctx, ids[0])
	if err != nil {
		return ids[0], store.WorkflowRow{}, err
	}
	at := slices.IndexFunc(list, func(r store.WorkflowRow) bool { return r.Name == c.Workflow })
	if at < 0 {
		return ids[0], store.WorkflowRow{}, fmt.Errorf("%s has no workflow %q; doctorsflow workflow list shows them", c.Tenant, c.Workflow)
	}
	return ids[0], list[at], nil
}

type workflowMigrateCommand struct{ workflowChoice }

// Run migrates what is under way.
func (c *workflowMigrateCommand) Run(ctx context.Context, o output) error {
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		id, w, err := c.find(ctx, db)
		if err != nil {
			return err
		}
		return replan(ctx, o, db, id, w.Name, store.Replan{Workflow: w.ID, Version: w.Version, Action: "workflow.migrate", Hand: store.Hand{Note: c.Reason}, DryRun: c.DryRun}, planner.Again)
	})
}

type workflowStopCommand struct {
	workflowChoice
	One uuid.UUID `name:"run" help:"Only this run."`
}

// Run stops what is under way.
func (c *workflowStopCommand) Run(ctx context.Context, o output) error {
	if c.Reason == "" {
		return errors.New("say why with --reason \"…\": it goes into the audit log")
	}
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		id, w, err := c.find(ctx, db)
		if err != nil {
			return err
		}
		r := store.Replan{Workflow: w.ID, Run: c.One, Action: "workflow.stop", Hand: store.Hand{Note: c.Reason}, DryRun: c.DryRun}
		if c.One != uuid.Nil {
			r.Action = "run.stop"
		}
		return replan(ctx, o, db, id, w.Name, r, store.Stop(event.WorkflowStopped))
	})
}

// replan changes the plans of a workflow's runs, and tells what became of them.
func replan(ctx context.Context, o output, db *store.DB, id tenant.ID, name string, r store.Replan, again func(*store.Replanning) store.NewPlan) error {
	if r.Actor == "" {
		r.Actor = "cli:" + login()
	}
	done, err := db.Replan(ctx, id, r, again)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("%s has no such run; doctorsflow why shows the ids", name)
	case errors.Is(err, store.ErrNote):
		return errNote
	case err != nil:
		return err
	}
	printRuns(o, name, r.DryRun, done)
	return nil
}

func printRuns(o output, name string, dry bool, done store.Replanned) {
	verb := "changed"
	if dry {
		verb = "would be changed"
	}
	fmt.Fprintf(o.out, "workflow %s: %d runs %s; messages: %d kept, %d moved, %d added, %d cancelled\n", name, done.Runs, verb, done.Kept, done.Moved, done.Added, done.Cancelled)
	if n := len(done.InFlight); n > 0 {
		fmt.Fprintf(o.err, "%d requests are with a gateway already and may still arrive: %v\n", n, done.InFlight)
	}
}

// underway tells, or changes, what is under way of the workflows that a file
// changed.
func (c *applyCommand) underway(ctx context.Context, o output, db *store.DB, a store.Applied) error {
	changed := map[string]bool{}
	for _, ch := range a.Changes {
		changed[ch.Name] = changed[ch.Name] || ch.Kind == "workflow" && ch.Action == "update"
	}
	if len(changed) == 0 {
		return nil
	}
	list, err := db.Workflows(ctx, a.Tenant)
	if err != nil {
		return err
	}
	for _, w := range list {
		policy := c.InFlight
		if !w.Active {
			policy = "stop"
		}
		switch {
		case !changed[w.Name] || w.Open == 0:
			continue
		case c.DryRun:
			fmt.Fprintf(o.out, "workflow %s: %d runs are under way, with %d messages planned; --in-flight says what becomes of them\n", w.Name, w.Open, w.Planned)
			continue
		case policy == "migrate":
			err = replan(ctx, o, db, a.Tenant, w.Name, store.Replan{Workflow: w.ID, Version: w.Version, Action: "workflow.migrate"}, planner.Again)
		case policy == "stop":
			err = replan(ctx, o, db, a.Tenant, w.Name, store.Replan{Workflow: w.ID, Action: "workflow.stop"}, store.Stop(event.WorkflowStopped))
		default:
			fmt.Fprintf(o.out, "workflow %s: %d runs under way go on by the version that they began with\n", w.Name, w.Open)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
