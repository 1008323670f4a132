package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"regexp"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// parkedChoice says which steps a decision is about, who makes it, and why.
type parkedChoice struct {
	dataFlags
	parkedFilter
	Steps  []uuid.UUID `arg:"" optional:"" name:"step" help:"Ids of parked steps, as parked list shows them."`
	All    bool        `help:"All that the filters leave, in place of ids."`
	Yes    bool        `help:"With --all: do it; without, only say how many."`
	Reason string      `help:"Why, for the audit log: one line, nothing of the patient."`
	By     string      `help:"Who decides; by default the login."`
}

type parkedRetryCommand struct {
	parkedChoice
	Resend          bool          `help:"Send again, in place of asking the gateway."`
	AcceptDuplicate bool          `help:"With --resend: accept that the patient may get the message twice."`
	Extend          time.Duration `help:"With --resend: make it due now and valid for so long, at most 168h." default:"0"`
}

// Run decides that the outcome matters still.
func (c *parkedRetryCommand) Run(ctx context.Context, o output) error {
	if !c.Resend && (c.AcceptDuplicate || c.Extend != 0) {
		return errors.New("--accept-duplicate and --extend belong to --resend; without it the gateway is only asked")
	}
	if c.Extend < 0 || c.Extend > store.MaxExtend {
		return fmt.Errorf("--extend is at most %v", store.MaxExtend)
	}
	if c.Resend && c.Reason == "" {
		return errors.New("say why with --reason \"…\": it goes into the audit log")
	}
	verb := "its gateway is asked again"
	if c.Resend {
		verb = "it is sent again"
	}
	return c.decide(ctx, o, verb, func(db *store.DB, id tenant.ID, step uuid.UUID, by store.Hand) (store.Decided, error) {
		return db.RetryParked(ctx, id, step, store.Retry{Hand: by, Resend: c.Resend, AcceptDuplicate: c.AcceptDuplicate, Extend: c.Extend})
	})
}

type parkedDropCommand struct{ parkedChoice }

// Run decides that it is over.
func (c *parkedDropCommand) Run(ctx context.Context, o output) error {
	if c.Reason == "" {
		return errors.New("say why with --reason \"…\": it goes into the audit log")
	}
	return c.decide(ctx, o, "dropped", func(db *store.DB, id tenant.ID, step uuid.UUID, by store.Hand) (store.Decided, error) {
		return db.DropParked(ctx, id, step, by)
	})
}

// decide makes one decision after the other, each by itself: what is cut short
// is taken up by saying the same again. It fails if any was refused.
func (c *parkedChoice) decide(ctx context.Context, o output, verb string, do func(*store.DB, tenant.ID, uuid.UUID, store.Hand) (store.Decided, error)) error {
	switch {
	case c.All == (len(c.Steps) > 0):
		return errors.New("name the steps by their ids, or give --all")
	case !c.All && (c.set() || c.Yes):
		return errors.New("filters and --yes belong to --all; ids need neither")
	}
	by := store.Hand{Actor: "cli:" + orElse(c.By, login()), Note: c.Reason}
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		steps, err := c.choose(ctx, db)
		if err != nil {
			return err
		}
		if c.All && !c.Yes {
			fmt.Fprintf(o.out, "%d parked messages would be decided on; say it again with --yes\n", len(steps))
			return failed{1}
		}
		var done, already, refused int
		for _, s := range steps {
			_, err := do(db, s.tenant, s.id, by)
			why, is := errors.AsType[*store.RefusedError](err)
			switch {
			case err == nil:
				done++
				fmt.Fprintf(o.out, "%s  %s\n", s.id, verb)
			case is && decidedOn(why):
				already++
				fmt.Fprintf(o.out, "%s  %s\n", s.id, refusalText(why))
			case is:
				refused++
				fmt.Fprintf(o.out, "%s  refused: %s\n", s.id, refusalText(why))
			case errors.Is(err, store.ErrNotFound):
				refused++
				fmt.Fprintf(o.out, "%s  there is no such step\n", s.id)
			case errors.Is(err, store.ErrNote):
				return fmt.Errorf("--reason is one line of at most %d characters, without a long number such as a phone's, and --by a login", store.MaxNote)
			default:
				return fmt.Errorf("after %d of %d: %w; say the same again to go on", done+already+refused, len(steps), err)
			}
		}
		if len(steps) != 1 {
			fmt.Fprintf(o.out, "%d done, %d were already, %d refused\n", done, already, refused)
		}
		if refused > 0 {
			return failed{1}
		}
		return nil
	})
}

type chosenStep struct {
	tenant tenant.ID
	id     uuid.UUID
}

// choose returns the steps that were named, or all that the filters leave, the
// longest parked first.
func (c *parkedChoice) choose(ctx context.Context, db *store.DB) (steps []chosenStep, err error) {
	if !c.All {
		for _, id := range c.Steps {
			owner, err := db.TenantOfStep(ctx, id)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return nil, err
			}
			steps = append(steps, chosenStep{owner, id})
		}
		return steps, nil
	}
	only, q, err := c.query(ctx, db)
	if err != nil {
		return nil, err
	}
	for q.Limit = store.MaxPage; ; {
		page, err := db.AllParkedSteps(ctx, only, q)
		if err != nil {
			return nil, err
		}
		for _, p := range page.Rows {
			steps = append(steps, chosenStep{p.Tenant, p.ID})
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			slices.Reverse(steps)
			return steps, nil
		}
	}
}

// decidedOn reports whether there is nothing left to decide.
func decidedOn(r *store.RefusedError) bool {
	return r.Why == store.AlreadyRetried || r.Why == store.AlreadyDropped || r.State == store.StateSent || r.State == store.StateDelivered
}

// refusalText says a refusal to the person who decides, and what they can do.
func refusalText(r *store.RefusedError) string {
	switch r.Why {
	case store.AlreadyRetried:
		return fmt.Sprintf("already retried: it is %s", r.State)
	case store.AlreadyDropped:
		return "already dropped"
	case store.NotParked:
		return fmt.Sprintf("it is not parked but %s; see `doctorsflow why`", r.State)
	case store.PlanChanged:
		return "the plan changed since, so that it may not be sent; drop it, or ask again what became of it"
	case store.AppointmentGone:
		return "its appointment was cancelled; drop it"
	case store.PatientGone:
		return "its patient was erased; drop it"
	case store.RefusedByWill:
		return "the patient opted out; drop it"
	case store.WithoutConsent:
		return "it is advertising and the patient has not consented; drop it"
	case store.WithoutAccount:
		return "the clinic has no account in use for this channel; apply one"
	case store.PastExpiry:
		return "its validity is over; drop it, or give --extend 2h to make it due now and valid for so long"
	case store.PastPolicy:
		return "its time has passed and its author wants it not late; drop it, or give --extend 2h to make it due now"
	case store.MayBeDuplicate:
		return "the gateway may have taken it already, so that the patient could get it twice: ask again without --resend, or give --accept-duplicate"
	}
	return string(r.Why)
}

var notLogin = regexp.MustCompile(`[^A-Za-z0-9@._\\+-]`)

// login is who runs the command, also behind sudo.
func login() string {
	name := os.Getenv("SUDO_USER")
	if name == "" {
		if u, err := user.Current(); err == nil {
			name = u.Username
		}
	}
	return orElse(notLogin.ReplaceAllString(name, "_"), "unknown")
}
