package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/telemetry"
)

type conserveCommand struct {
	dataFlags
	JSON bool `name:"json" help:"Print JSON."`
}

// Run prints both sides of the law and fails if they differ.
func (c *conserveCommand) Run(ctx context.Context, o output) error {
	db, _, closeLedger, err := openLedger(ctx, c.dataFlags, false, telemetry.NewLogger(o.err, c.LogFormat, "warn"))
	if err != nil {
		return err
	}
	defer closeLedger()
	list, err := db.Conserve(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := json.NewEncoder(o.out).Encode(list); err != nil {
			return err
		}
	}
	broken := int64(0)
	for _, t := range list {
		broken += t.Diff()
		if !c.JSON {
			printConservation(o.out, t)
		}
	}
	if broken != 0 {
		return failed{1}
	}
	return nil
}

func printConservation(w io.Writer, c store.Conservation) {
	verdict := "✔ holds"
	if c.Diff() != 0 {
		verdict = fmt.Sprintf("✘ BROKEN by %d", c.Diff())
	}
	fmt.Fprintf(w, "%s  %s\n", c.Name, verdict)
	fmt.Fprintf(w, "  triggers %d = planned %d + ignored %d + pending %d\n", c.Triggers, c.Planned, c.Ignored, c.PendingTriggers)
	fmt.Fprintf(w, "  steps %d (runs expect %d) = delivered %d + sent %d + failed %d + cancelled %d + skipped %d + expired %d + parked %d + pending %d\n",
		c.Steps, c.Expected, c.Delivered, c.Sent, c.Failed, c.Cancelled, c.Skipped, c.Expired, c.Parked, c.Pending)
	for _, p := range []struct {
		n    int64
		what string
	}{
		{c.RunsOff, "runs whose expected_steps differ from their rows"},
		{c.PlannedWithoutRun, "planned triggers without a run"},
		{c.Unreasoned, "terminal steps without a reason"},
		{c.UnsentLogs, "accepted steps without a message log"},
	} {
		if p.n != 0 {
			fmt.Fprintf(w, "  ✘ %d %s\n", p.n, p.what)
		}
	}
}
