package main

import (
	"context"
	"fmt"

	"github.com/doctorsflow/doctorsflow/internal/store"
)

type migrateCommand struct {
	DatabaseOwnerURL string `name:"database-owner-url" help:"Login of the role that owns the tables; nothing else uses it." env:"DATABASE_OWNER_URL" required:""`
	PlaintextNetwork bool   `help:"Postgres is reached over a network of one host's own: do not ask for TLS." env:"PLAINTEXT_NETWORK"`
}

// Run applies what is missing.
func (c *migrateCommand) Run(ctx context.Context, o output) error {
	if err := plaintextPostgres("DATABASE_OWNER_URL", c.DatabaseOwnerURL, c.PlaintextNetwork); err != nil {
		return err
	}
	if err := store.Migrate(ctx, c.DatabaseOwnerURL); err != nil {
		return err
	}
	_, err := fmt.Fprintf(o.out, "schema is at version %d\n", store.SchemaVersion())
	return err
}
