package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/natsauth"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/telemetry"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

type natsCredsCommand struct {
	Create natsCredsCreateCommand `cmd:"" help:"Make a credential; its secret is shown once."`
	List   natsCredsListCommand   `cmd:"" help:"List a clinic's credentials."`
	Revoke natsCredsRevokeCommand `cmd:"" help:"End a credential; its connections end within seconds."`
	Issuer natsCredsIssuerCommand `cmd:"" help:"Make the key with which clinics' connections are vouched for to an external NATS."`
}

type natsCredsCreateCommand struct {
	dataFlags
	Tenant  string        `help:"The clinic's slug." required:""`
	Name    string        `help:"What the credential is for." default:"clinic system"`
	Expires time.Duration `help:"How long it is valid; 0 is for ever." default:"0"`
	NATSURL string        `name:"nats-url" help:"Where the clinic reaches NATS, for the line that is printed." env:"NATS_URL"`
}

// Run makes a credential and prints it, once and for the last time.
func (c *natsCredsCreateCommand) Run(ctx context.Context, o output) error {
	if c.Expires < 0 {
		return errors.New("a credential that has expired already is of no use; give --expires a positive duration")
	}
	db, where, done, err := openLedger(ctx, c.dataFlags, false, telemetry.NewLogger(o.err, c.LogFormat, "warn"))
	if err != nil {
		return err
	}
	defer done()
	id, err := oneTenant(ctx, db, c.Tenant)
	if err != nil {
		return err
	}
	var until time.Time
	if c.Expires > 0 {
		until = time.Now().Add(c.Expires)
	}
	secret, made, err := db.CreateNATSCredential(ctx, id, c.Name, until)
	if err != nil {
		return err
	}
	server := orElse(c.NATSURL, orElse(where.NATS, "nats://127.0.0.1:4222"))
	fmt.Fprintf(o.out, "user      %s\npassword  %s\n", made.ID, secret)
	fmt.Fprintf(o.err, `The password is not shown again. Say what happened to an appointment, and read the receipt:
  nats --server %s --user %s --password '%s' --inbox-prefix %s request clinic.%s.appointment.booked '{"id":"evt-1","patient":{"external_id":"P-1001"},"appointment":{"id":"A-1","starts_at":"%s"}}'
End it with: doctorsflow tenant nats-creds revoke %s --tenant %s
`, redact(server, ""), made.ID, secret, natsauth.InboxPrefix(id), id, time.Now().AddDate(0, 0, 7).Truncate(time.Hour).Format(time.RFC3339), made.ID, c.Tenant)
	return nil
}

type natsCredsListCommand struct {
	dataFlags
	Tenant string `help:"The clinic's slug." required:""`
}

// Run prints one line per credential.
func (c *natsCredsListCommand) Run(ctx context.Context, o output) error {
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		id, err := oneTenant(ctx, db, c.Tenant)
		if err != nil {
			return err
		}
		list, err := db.NATSCredentials(ctx, id)
		if err != nil {
			return err
		}
		for _, n := range list {
			state := "in force"
			switch {
			case !n.Revoked.IsZero():
				state = "revoked"
			case !n.Expires.IsZero() && !n.Expires.After(time.Now()):
				state = "expired"
			}
			fmt.Fprintf(o.out, "%s  %-8s  used %-16s  expires %-16s  %s\n", n.ID, state, day(n.LastUsed), day(n.Expires), n.Name)
		}
		return nil
	})
}

// oneTenant is the clinic with this slug.
func oneTenant(ctx context.Context, db *store.DB, slug string) (tenant.ID, error) {
	if slug == "" {
		return tenant.ID{}, errors.New("name the clinic: --tenant=SLUG; `doctorsflow tenant list` shows them")
	}
	ids, err := chooseTenants(ctx, db, slug)
	if err != nil {
		return tenant.ID{}, err
	}
	return ids[0], nil
}

// day is a time to the minute, or never.
func day(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.Local().Format("2006-01-02 15:04")
}

type natsCredsRevokeCommand struct {
	dataFlags
	Credential uuid.UUID `arg:"" help:"The credential's user, as create printed it."`
	Tenant     string    `help:"The clinic's slug." required:""`
}

// Run ends a credential.
func (c *natsCredsRevokeCommand) Run(ctx context.Context, o output) error {
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		id, err := oneTenant(ctx, db, c.Tenant)
		if err != nil {
			return err
		}
		if err := db.RevokeNATSCredential(ctx, id, c.Credential); errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("%s has no NATS credential %s", c.Tenant, c.Credential)
		} else if err != nil {
			return err
		}
		fmt.Fprintln(o.out, "revoked", c.Credential)
		return nil
	})
}

type natsCredsIssuerCommand struct{}

// Run prints a new key and its public half as settings.
func (natsCredsIssuerCommand) Run(o output) error {
	seed, issuer, err := natsauth.NewSeed()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(o.out, "NATS_CALLOUT_SEED=%s\nNATS_CALLOUT_ISSUER=%s\n", seed, issuer)
	return err
}
