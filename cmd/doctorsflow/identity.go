package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/store"
)

type tenantKeysCommand struct {
	dataFlags
	Slug string `arg:"" help:"The clinic's slug."`
}

// Run prints one line per key.
func (c *tenantKeysCommand) Run(ctx context.Context, o output) error {
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		ids, err := chooseTenants(ctx, db, c.Slug)
		if err != nil {
			return err
		}
		list, err := db.APIKeys(ctx, ids[0])
		if err != nil {
			return err
		}
		t := tabwriter.NewWriter(o.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "ID\tKEY\tROLE\tSCOPES\tLAST USED\tSTATE\tNAME")
		for _, k := range list {
			scopes, state := strings.ReplaceAll(k.Scopes, " ", ","), "good"
			if scopes == "" {
				scopes = "all"
			}
			switch {
			case !k.Revoked.IsZero():
				state = "revoked " + day(k.Revoked)
			case !k.Expires.IsZero() && !k.Expires.After(time.Now()):
				state = "expired " + day(k.Expires)
			case !k.Expires.IsZero():
				state = "until " + day(k.Expires)
			}
			fmt.Fprintf(t, "%s\t%s…\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Prefix, k.Role, scopes, day(k.Used), state, k.Name)
		}
		return t.Flush()
	})
}

type identityCommand struct {
	Add    identityAddCommand    `cmd:"" help:"Connect an organisation or a user with a clinic."`
	List   identityListCommand   `cmd:"" help:"List a clinic's identities."`
	Remove identityRemoveCommand `cmd:"" help:"Disconnect one; its tokens are refused within seconds."`
}

type identityAddCommand struct {
	dataFlags
	Slug         string `arg:"" help:"The clinic's slug."`
	Issuer       string `required:"" help:"The issuer's URL, as tokens have it in iss." env:"OIDC_ISSUER"`
	Organization string `help:"The organisation's id, such as org_2abc." xor:"who"`
	User         string `help:"The id of a user who has no organisation (sub)." xor:"who"`
}

// Run connects.
func (c *identityAddCommand) Run(ctx context.Context, o output) error {
	i := store.Identity{Issuer: c.Issuer, Kind: store.Organization, Subject: c.Organization}
	if c.User != "" {
		i.Kind, i.Subject = store.User, c.User
	}
	if i.Subject == "" {
		return errors.New("name whom to connect: --organization org_… or --user user_…")
	}
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		ids, err := chooseTenants(ctx, db, c.Slug)
		if err != nil {
			return err
		}
		id, err := db.AddIdentity(ctx, ids[0], i)
		if err != nil {
			return err
		}
		fmt.Fprintf(o.out, "%s  %s %s of %s now speaks for %s\n", id, i.Kind, i.Subject, i.Issuer, c.Slug)
		return nil
	})
}

type identityListCommand struct {
	dataFlags
	Slug string `arg:"" help:"The clinic's slug."`
}

// Run prints one line per identity.
func (c *identityListCommand) Run(ctx context.Context, o output) error {
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		ids, err := chooseTenants(ctx, db, c.Slug)
		if err != nil {
			return err
		}
		list, err := db.Identities(ctx, ids[0])
		if err != nil {
			return err
		}
		for _, i := range list {
			fmt.Fprintf(o.out, "%s  %-12s %-32s %s\n", i.ID, i.Kind, i.Subject, i.Issuer)
		}
		return nil
	})
}

type identityRemoveCommand struct {
	dataFlags
	Slug     string    `arg:"" help:"The clinic's slug."`
	Identity uuid.UUID `arg:"" help:"The identity's id, as list prints it."`
}

// Run disconnects.
func (c *identityRemoveCommand) Run(ctx context.Context, o output) error {
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		ids, err := chooseTenants(ctx, db, c.Slug)
		if err != nil {
			return err
		}
		if err := db.RemoveIdentity(ctx, ids[0], c.Identity); errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("%s has no identity %s", c.Slug, c.Identity)
		} else if err != nil {
			return err
		}
		fmt.Fprintln(o.out, "removed", c.Identity)
		return nil
	})
}
