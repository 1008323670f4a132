package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

type patientMergeCommand struct {
	patientChoice
	Into   string `arg:"" help:"The patient who goes on, with their own number and name: the id, or the clinic's own number of them."`
	DryRun bool   `help:"Say what would happen, and change nothing."`
	Yes    bool   `help:"Do it: it cannot be taken back."`
}

// Run makes the first patient another name of the second.
func (c *patientMergeCommand) Run(ctx context.Context, o output) error {
	if !c.DryRun && !c.Yes {
		return errors.New("merged patients cannot be parted again; look with --dry-run, then say --yes")
	}
	return c.with(ctx, o, func(db *store.DB, id tenant.ID, from uuid.UUID, by store.Hand) error {
		into, err := uuid.Parse(c.Into)
		if err != nil {
			if into, err = db.PatientByExternalID(ctx, id, c.Into); err != nil {
				return err
			}
		}
		done, err := db.MergePatients(ctx, id, store.Merge{From: from, Into: into, Hand: by, DryRun: c.DryRun})
		var merged *store.MergedError
		switch {
		case errors.Is(err, store.ErrMergeItself):
			return errors.New("these are the same row: there is nothing to merge")
		case errors.As(err, &merged):
			return fmt.Errorf("%s was merged before, into %s: name that one", merged.Patient, merged.Into)
		case errors.Is(err, store.ErrMergeErased):
			return errors.New("one of the two was erased, and cannot be merged any more")
		case errors.Is(err, store.ErrNoNumber):
			return errors.New("only the patient to be merged has a number; merge the other way round")
		case err != nil:
			return err
		}
		switch {
		case c.DryRun:
			fmt.Fprintln(o.out, "nothing was changed; a merge cannot be taken back. It would be:")
		case done.Again:
			fmt.Fprintln(o.out, "merged before; it was:")
		}
		fmt.Fprintf(o.out, "%s goes on, with %d runs more (%d of them open) and %d appointments\n", done.Into, done.Runs, done.Open, done.Appointments)
		fmt.Fprintf(o.out, "%d opt-outs and %d refused consents of the other hold for them\n", done.OptOuts, done.Refusals)
		printReplanned(o, store.Replanned{Cancelled: done.Cancelled, InFlight: done.InFlight})
		return nil
	})
}
