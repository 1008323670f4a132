package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

type replayCommand struct {
	Trigger replayTriggerCommand `cmd:"" help:"Have one trigger planned again: what has no run of it gets one, and nothing runs twice."`
	Source  replaySourceCommand  `cmd:"" help:"The same for everything that a source said since a time, from behind."`
	List    replayListCommand    `cmd:"" help:"List replays of sources, and how far they are."`
	Cancel  replayCancelCommand  `cmd:"" help:"Stop one; what it opened is planned."`
}

type replayChoice struct {
	dataFlags
	Tenant string `help:"The clinic's slug." required:"" short:"t"`
	Reason string `help:"Why, for the audit log: one line, nothing of a patient."`
}

func (c *replayChoice) with(ctx context.Context, o output, do func(*store.DB, tenant.ID, store.Hand) error) error {
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		ids, err := chooseTenants(ctx, db, c.Tenant)
		if err != nil {
			return err
		}
		err = do(db, ids[0], store.Hand{Actor: "cli:" + login(), Note: c.Reason})
		if errors.Is(err, store.ErrNote) {
			return fmt.Errorf("--reason is needed, one line of at most %d letters, without long numbers", store.MaxNote)
		}
		return err
	})
}

type replayTriggerCommand struct {
	replayChoice
	ID       string `arg:"" help:"The trigger's id, as receipts and why name it; or a webhook execution's."`
	Workflow string `help:"Force another run of this workflow, by its name, whatever has run: the patient may get the same messages again."`
	Name     string `help:"Tells a forced run from another one; the same name again is the same run."`
	FromNow  bool   `help:"Of a forced run: its times count from now, and not from the event."`
}

// Run opens a trigger again, and waits a little to say what came of it.
func (c *replayTriggerCommand) Run(ctx context.Context, o output) error {
	trigger, err := uuid.Parse(c.ID)
	if err != nil {
		return errors.New("that is no id; receipts have trigger_id, and why shows it")
	}
	if c.Workflow == "" && (c.Name != "" || c.FromNow) {
		return errors.New("--name and --from-now are of a forced run: say which --workflow")
	}
	return c.with(ctx, o, func(db *store.DB, id tenant.ID, by store.Hand) error {
		r := store.Replay{Trigger: trigger, Name: c.Name, FromNow: c.FromNow, Hand: by}
		if c.Workflow != "" {
			choice := workflowChoice{Tenant: c.Tenant, Workflow: c.Workflow}
			_, row, err := choice.find(ctx, db)
			if err != nil {
				return err
			}
			r.Workflow = row.ID
		}
		done, err := db.Replay(ctx, id, r)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return fmt.Errorf("%s has no trigger %s", c.Tenant, trigger)
		case errors.Is(err, store.ErrPayloadGone):
			return errors.New("what came is not kept any more: its patient was erased, or it said nothing new")
		case errors.Is(err, store.ErrNotPublished):
			return errors.New("the workflow is switched off, or has no version in force")
		case errors.Is(err, store.ErrUnnamed):
			return errors.New("a forced run needs a --name: the same name again is the same run")
		case errors.Is(err, store.ErrNamed):
			return errors.New("a run of another workflow was forced by this name; give this one another")
		case err != nil:
			return err
		}
		return c.tell(ctx, o, db, id, done)
	})
}

func (c *replayTriggerCommand) tell(ctx context.Context, o output, db *store.DB, id tenant.ID, done store.Replayed) error {
	for until := time.Now().Add(replayPatience); done.State == "pending" && time.Now().Before(until); {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(100 * time.Millisecond):
		}
		var err error
		if done, err = db.ReplayOutcome(ctx, id, done); err != nil {
			return err
		}
	}
	switch {
	case done.Again:
		fmt.Fprintln(o.out, "forced by this name before:")
	case !done.Opened:
		fmt.Fprintln(o.out, "it waits for its first look:")
	}
	reason := ""
	if done.State == "ignored" {
		reason = ": " + done.Reason.English()
	}
	fmt.Fprintf(o.out, "trigger %s is %s%s\n", done.Trigger, done.State, reason)
	for _, r := range done.Runs {
		fmt.Fprintf(o.out, "  run %s %s, since %s\n", r.ID, r.Status, r.Created.Format(time.DateTime))
	}
	if done.State == "pending" {
		fmt.Fprintf(o.out, "nobody has looked at it yet; ask `doctorsflow why %s` once the planner runs\n", done.Trigger)
	}
	return nil
}

type replaySourceCommand struct {
	replayChoice
	Source string `arg:"" optional:"" help:"webhook:ID, or appointment; by default everything."`
	Since  string `help:"From when on: 2026-11-20T09:00:00+09:00, or how long ago, such as 36h." required:""`
	DryRun bool   `help:"Count, and change nothing."`
}

// Run begins a replay, which any planner goes on with.
func (c *replaySourceCommand) Run(ctx context.Context, o output) error {
	since, err := time.Parse(time.RFC3339, c.Since)
	if err != nil {
		ago, err := time.ParseDuration(c.Since)
		if err != nil || ago <= 0 {
			return errors.New("--since is a time such as 2026-11-20T09:00:00+09:00, or how long ago, such as 36h")
		}
		since = time.Now().Add(-ago)
	}
	return c.with(ctx, o, func(db *store.DB, id tenant.ID, by store.Hand) error {
		r := store.SourceReplay{Source: c.Source, Since: since, Hand: by}
		seen, gone, err := db.CountSource(ctx, id, r)
		if err != nil {
			return err
		}
		fmt.Fprintf(o.out, "%d triggers, %d of them not readable any more\n", seen, gone)
		if c.DryRun {
			return nil
		}
		job, err := db.ReplaySource(ctx, id, r)
		if err != nil {
			return err
		}
		fmt.Fprintf(o.out, "replay %s has begun; see `doctorsflow replay list -t %s`\n", job.ID, c.Tenant)
		return nil
	})
}

type replayListCommand struct{ replayChoice }

// Run prints a line per replay.
func (c *replayListCommand) Run(ctx context.Context, o output) error {
	return c.with(ctx, o, func(db *store.DB, id tenant.ID, _ store.Hand) error {
		list, err := db.Replays(ctx, id, "", store.MaxPage)
		if err != nil {
			return err
		}
		t := tabwriter.NewWriter(o.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "REPLAY\tSTATE\tSOURCE\tSINCE\tSEEN\tOPENED\tGONE\tWHY")
		for _, j := range list.Rows {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n", j.ID, j.State, orElse(j.Source, "everything"), j.Since.Format(time.DateTime), j.Seen, j.Reopened, j.Gone, j.Reason)
		}
		return t.Flush()
	})
}

type replayCancelCommand struct {
	replayChoice
	ID string `arg:"" help:"The replay's id."`
}

// Run stops a replay.
func (c *replayCancelCommand) Run(ctx context.Context, o output) error {
	job, err := uuid.Parse(c.ID)
	if err != nil {
		return errors.New("that is no id; replay list shows them")
	}
	return c.with(ctx, o, func(db *store.DB, id tenant.ID, by store.Hand) error {
		j, err := db.CancelReplay(ctx, id, job, by)
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("%s has no replay %s", c.Tenant, job)
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(o.out, "%s: %d of %d were opened\n", j.State, j.Reopened, j.Seen)
		return nil
	})
}
