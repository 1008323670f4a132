package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/appointment"
	"github.com/doctorsflow/doctorsflow/internal/fhir"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// fhirCommand is for operators: whoever names an address has us ask there.
type fhirCommand struct {
	Create fhirCreateCommand `cmd:"" help:"Let a FHIR server notify a clinic; prints where it posts to."`
	List   fhirListCommand   `cmd:"" help:"List a clinic's FHIR servers, how far each subscription was heard, and what is pending."`
	Remove fhirRemoveCommand `cmd:"" help:"End one: its notifications are refused."`
}

type fhirCreateCommand struct {
	dataFlags
	Tenant     string `help:"The clinic's slug." required:""`
	Name       string `help:"What the server is called." default:"emr"`
	BaseURL    string `name:"base-url" help:"Where resources are read: https://emr.example.com/fhir." required:""`
	TokenFile  string `type:"path" help:"A file with the bearer token that it asks for."`
	Source     string `help:"The system that numbers appointments." default:"clinic"`
	Identifier string `help:"The system of the identifier that is the clinic's own number of a patient; else the Patient's id is."`
}

// Run saves a source.
func (c *fhirCreateCommand) Run(ctx context.Context, o output) error {
	if err := fhir.CheckBase(c.BaseURL); err != nil {
		return err
	}
	if !appointment.ValidSource(c.Source) {
		return errors.New("--source is small letters, digits, dots, dashes and underscores")
	}
	token := ""
	if c.TokenFile != "" {
		b, err := os.ReadFile(c.TokenFile)
		if err != nil {
			return err
		}
		if token = strings.TrimSpace(string(b)); token == "" || strings.ContainsAny(token, " \r\n") {
			return fmt.Errorf("%s holds no token", c.TokenFile)
		}
	}
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		id, err := oneTenant(ctx, db, c.Tenant)
		if err != nil {
			return err
		}
		s, err := db.CreateFHIRSource(ctx, id, store.FHIRSource{Name: c.Name, BaseURL: strings.TrimRight(c.BaseURL, "/"), Token: token, Source: c.Source, Identifier: c.Identifier})
		if errors.Is(err, store.ErrTaken) {
			return fmt.Errorf("%s has a FHIR server %q already; remove it first, or give this one another --name", c.Tenant, c.Name)
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(o.out, "%s/api/fhir/%s/notifications\n", strings.TrimRight(orElse(c.PublicURL, "http://localhost:8080"), "/"), s.ID)
		fmt.Fprintln(o.err, "The subscription's channel is rest-hook, its endpoint the address above, with the header Authorization: Bearer and an API key of role integration.")
		return nil
	})
}

type fhirListCommand struct {
	dataFlags
	Tenant string `help:"The clinic's slug." required:""`
}

// Run prints one line per server and per subscription.
func (c *fhirListCommand) Run(ctx context.Context, o output) error {
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		id, err := oneTenant(ctx, db, c.Tenant)
		if err != nil {
			return err
		}
		list, err := db.FHIRSources(ctx, id)
		if err != nil {
			return err
		}
		for _, s := range list {
			state := "in use"
			if !s.Removed.IsZero() {
				state = "removed"
			}
			fmt.Fprintf(o.out, "%s  %-8s %-16s %s\n", s.ID, state, s.Name, s.BaseURL)
		}
		heard, err := db.FHIRSubscriptions(ctx, id)
		if err != nil {
			return err
		}
		for _, h := range heard {
			fmt.Fprintf(o.out, "%s %s: heard to event %d of %d, last at %s; %d resources to be read, %d with an error", h.Source, h.Subscription, h.LastEvent, h.Highest, day(h.Heard), h.Pending, h.PendingErr)
			if h.Error != "" {
				fmt.Fprintf(o.out, "; %s", h.Error)
			}
			fmt.Fprintln(o.out)
		}
		return nil
	})
}

type fhirRemoveCommand struct {
	dataFlags
	Server uuid.UUID `arg:"" help:"The server's id, as list prints it."`
	Tenant string    `help:"The clinic's slug." required:""`
}

// Run ends a source.
func (c *fhirRemoveCommand) Run(ctx context.Context, o output) error {
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		id, err := oneTenant(ctx, db, c.Tenant)
		if err != nil {
			return err
		}
		if err := db.RemoveFHIRSource(ctx, id, c.Server); errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("%s has no FHIR server %s in use", c.Tenant, c.Server)
		} else if err != nil {
			return err
		}
		fmt.Fprintln(o.out, "removed", c.Server)
		return nil
	})
}
