package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/telemetry"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

type tenantCommand struct {
	List     tenantListCommand   `cmd:"" help:"List the clinics."`
	Key      tenantKeyCommand    `cmd:"" help:"Make an API key; it is shown once."`
	Keys     tenantKeysCommand   `cmd:"" help:"List a clinic's API keys, with when each was used last."`
	Identity identityCommand     `cmd:"" help:"Connect organisations or users of an OpenID Connect issuer."`
	Revoke   tenantRevokeCommand `cmd:"" help:"End an API key; it is refused within seconds."`
	Pause    tenantPauseCommand  `cmd:"" help:"Send nothing more for a clinic, or for all; what is under way finishes."`
	Resume   tenantResumeCommand `cmd:"" help:"Send again; what is due goes at once."`
	Erase    tenantEraseCommand  `cmd:"" help:"Make a clinic unreadable for good: keys, credentials and patients are destroyed, counts stay."`

	NATSCreds natsCredsCommand `cmd:"" name:"nats-creds" help:"What clinic systems connect to NATS with."`
	FHIR      fhirCommand      `cmd:"" name:"fhir" help:"FHIR servers whose subscriptions are heard, and which are asked for what was missed."`
}

type tenantListCommand struct{ dataFlags }

// Run prints one line per clinic.
func (c *tenantListCommand) Run(ctx context.Context, o output) error {
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		rows, err := db.Tenants(ctx)
		if err != nil {
			return err
		}
		for _, r := range rows {
			state := "active"
			switch {
			case r.Erased:
				state = "erased"
			case r.Paused:
				state = "paused"
			}
			fmt.Fprintf(o.out, "%s  %-8s %-24s %s\n", r.ID, state, r.Slug, r.Name)
		}
		return nil
	})
}

type tenantKeyCommand struct {
	dataFlags
	Slug    string        `arg:"" help:"The clinic's slug."`
	Name    string        `help:"What the key is for." default:"cli"`
	Role    string        `help:"owner, staff, viewer or integration." default:"staff" enum:"owner,staff,viewer,integration"`
	Expires time.Duration `help:"How long it is valid; 0 is for ever." default:"0"`
	Scope   []string      `help:"Narrow the role: read, write, or ids of operations from /api/docs."`
}

// Run makes a key and prints it, once and for the last time.
func (c *tenantKeyCommand) Run(ctx context.Context, o output) error {
	if c.Expires < 0 {
		return errors.New("a key that has expired already is of no use; give --expires a positive duration")
	}
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		ids, err := chooseTenants(ctx, db, c.Slug)
		if err != nil {
			return err
		}
		var until time.Time
		if c.Expires > 0 {
			until = time.Now().Add(c.Expires)
		}
		key, made, err := db.CreateAPIKey(ctx, ids[0], c.Name, c.Role, until, c.Scope...)
		if err != nil {
			return err
		}
		fmt.Fprintln(o.out, key)
		fmt.Fprintf(o.err, "It is not shown again. Use it as: Authorization: Bearer %s…\nEnd it with: doctorsflow tenant revoke %s %s\n", made.Prefix, c.Slug, made.ID)
		return nil
	})
}

type tenantRevokeCommand struct {
	dataFlags
	Slug string    `arg:"" help:"The clinic's slug."`
	Key  uuid.UUID `arg:"" help:"The key's id, as tenant key printed it."`
}

// Run ends a key.
func (c *tenantRevokeCommand) Run(ctx context.Context, o output) error {
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		ids, err := chooseTenants(ctx, db, c.Slug)
		if err != nil {
			return err
		}
		if err := db.RevokeAPIKey(ctx, ids[0], c.Key); errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("%s has no key %s", c.Slug, c.Key)
		} else if err != nil {
			return err
		}
		fmt.Fprintln(o.out, "revoked", c.Key)
		return nil
	})
}

type tenantPauseCommand struct {
	dataFlags
	Slug   string `arg:"" optional:"" help:"The clinic's slug."`
	All    bool   `help:"Every clinic."`
	Reason string `help:"Why, for whoever finds it paused."`
}

// Run pauses.
func (c *tenantPauseCommand) Run(ctx context.Context, o output) error {
	return pause(ctx, c.dataFlags, o, c.Slug, c.All, true, c.Reason)
}

type tenantResumeCommand struct {
	dataFlags
	Slug string `arg:"" optional:"" help:"The clinic's slug."`
	All  bool   `help:"Lift the pause of everything; clinics paused one by one stay so."`
}

// Run resumes.
func (c *tenantResumeCommand) Run(ctx context.Context, o output) error {
	return pause(ctx, c.dataFlags, o, c.Slug, c.All, false, "")
}

func pause(ctx context.Context, f dataFlags, o output, slug string, all, paused bool, reason string) error {
	if all == (slug != "") {
		return errors.New("name one clinic by its slug, or give --all")
	}
	return withLedger(ctx, f, o, func(db *store.DB) error {
		var id tenant.ID
		what := "everything"
		if !all {
			ids, err := chooseTenants(ctx, db, slug)
			if err != nil {
				return err
			}
			id, what = ids[0], slug
		}
		if err := db.Pause(ctx, id, paused, reason); err != nil {
			return err
		}
		verb := "resumed"
		if paused {
			verb = "paused"
		}
		fmt.Fprintln(o.out, verb, what)
		return nil
	})
}

func withLedger(ctx context.Context, f dataFlags, o output, do func(*store.DB) error) error {
	db, _, closeLedger, err := openLedger(ctx, f, false, telemetry.NewLogger(o.err, f.LogFormat, "warn"))
	if err != nil {
		return err
	}
	defer closeLedger()
	return do(db)
}
