package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// patientChoice says which patient, and why.
type patientChoice struct {
	dataFlags
	Tenant  string `help:"The clinic's slug." required:"" short:"t"`
	Patient string `arg:"" help:"The patient's id, or the clinic's own number of them."`
	Reason  string `help:"Why, for the audit log: one line, nothing of the patient."`
}

// with finds the patient, and says what to do about errors.
func (c *patientChoice) with(ctx context.Context, o output, f func(db *store.DB, id tenant.ID, patient uuid.UUID, by store.Hand) error) error {
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		ids, err := chooseTenants(ctx, db, c.Tenant)
		if err != nil {
			return err
		}
		patient, err := uuid.Parse(c.Patient)
		if err != nil {
			patient, err = db.PatientByExternalID(ctx, ids[0], c.Patient)
		}
		if err == nil {
			err = f(db, ids[0], patient, store.Hand{Actor: "cli:" + login(), Note: c.Reason})
		}
		switch {
		case errors.Is(err, store.ErrNotFound):
			return fmt.Errorf("%s has no such patient; find them with doctorsflow patient find", c.Tenant)
		case errors.Is(err, store.ErrNoNumber):
			return errors.New("the patient has no number, so that nothing is sent to them")
		case errors.Is(err, store.ErrNote):
			return errNote
		}
		return err
	})
}

type optOutScope struct {
	Channel event.Channel  `help:"Only this channel: kakao or sms. By default every one." enum:",kakao,sms" default:""`
	Class   workflow.Class `help:"Only this class: transactional, care_followup, marketing or auth. By default every one." enum:",transactional,care_followup,marketing,auth" default:""`
}

type patientOptOutCommand struct {
	patientChoice
	optOutScope
}

// Run opts the patient's number out.
func (c *patientOptOutCommand) Run(ctx context.Context, o output) error {
	return c.with(ctx, o, func(db *store.DB, id tenant.ID, patient uuid.UUID, by store.Hand) error {
		done, err := db.OptOut(ctx, id, patient, store.OptOut{Channel: c.Channel, Class: c.Class, Source: "cli"}, by)
		if err != nil {
			return err
		}
		if done.Again {
			fmt.Fprintln(o.out, "opted out before")
		} else {
			fmt.Fprintln(o.out, "opted out")
		}
		if n := len(done.Patients); n > 1 {
			fmt.Fprintf(o.out, "%d patients have the number: it holds for all of them\n", n)
		}
		printReplanned(o, done.Replanned)
		return nil
	})
}

// printReplanned tells what a refusal cancelled, and what it came too late for.
func printReplanned(o output, r store.Replanned) {
	fmt.Fprintf(o.out, "%d planned messages cancelled\n", r.Cancelled)
	if n := len(r.InFlight); n > 0 {
		fmt.Fprintf(o.err, "%d requests were with a gateway already and may still arrive: %v\n", n, r.InFlight)
	}
}

type patientOptInCommand struct {
	patientChoice
	optOutScope
}

// Run lifts the opt-outs of just this scope.
func (c *patientOptInCommand) Run(ctx context.Context, o output) error {
	if c.Reason == "" {
		return errors.New("say with --reason whose wish it was and how it was told: it goes into the audit log")
	}
	return c.with(ctx, o, func(db *store.DB, id tenant.ID, patient uuid.UUID, by store.Hand) error {
		list, err := db.OptOuts(ctx, id, patient)
		if err != nil {
			return err
		}
		for _, x := range list {
			if x.Channel == c.Channel && x.Class == c.Class {
				if err := db.LiftOptOut(ctx, id, patient, x.ID, by); err != nil {
					return err
				}
				fmt.Fprintln(o.out, "lifted; what was cancelled stays cancelled, and the next event plans anew")
				return nil
			}
		}
		return errors.New("there is no such opt-out; doctorsflow patient opt-outs shows those that stand")
	})
}

type patientOptOutsCommand struct{ patientChoice }

// Run prints what stands under the patient's number.
func (c *patientOptOutsCommand) Run(ctx context.Context, o output) error {
	return c.with(ctx, o, func(db *store.DB, id tenant.ID, patient uuid.UUID, by store.Hand) error {
		list, err := db.OptOuts(ctx, id, patient)
		if err != nil {
			return err
		}
		if err := db.Audit(ctx, id, store.AuditEntry{Hand: by, Action: "read", Subject: "patient-opt-outs", SubjectID: patient, Patients: []uuid.UUID{patient}}); err != nil {
			return err
		}
		if len(list) == 0 {
			fmt.Fprintln(o.err, "Nothing stands under the patient's number.")
			return nil
		}
		t := tabwriter.NewWriter(o.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "CHANNEL\tCLASS\tSOURCE\tSINCE")
		for _, x := range list {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", orElse(string(x.Channel), "every"), orElse(string(x.Class), "every"), x.Source, x.Created.Format(time.RFC3339))
		}
		return t.Flush()
	})
}
