package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/doctorsflow/doctorsflow/migrations"
)

// ErrSchemaNewer means that the database was migrated by a newer binary.
var ErrSchemaNewer = errors.New("store: the schema is newer than this binary; deploy the version that migrated it, or a newer one")

// ErrSchemaOlder means that migrations are waiting.
var ErrSchemaOlder = errors.New("store: the schema is older than this binary; run `doctorsflow migrate` with --database-owner-url first")

// Migrate applies what is missing as the role in ownerURL, which must own the
// tables. Copies that start together take turns. It returns [ErrSchemaNewer]
// and changes nothing when the database is ahead of the binary.
func Migrate(ctx context.Context, ownerURL string) error {
	cfg, err := pgx.ParseConfig(ownerURL)
	if err != nil {
		return fmt.Errorf("store: owner url: %w", redactURL(err))
	}
	db := stdlib.OpenDB(*cfg)
	defer db.Close()
	p, err := provider(db)
	if err != nil {
		return err
	}
	if err := schemaNotNewer(ctx, p); err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("store: migrate: %w", err)
	}
	return nil
}

func provider(db *sql.DB) (*goose.Provider, error) {
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return nil, fmt.Errorf("store: migration lock: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, migrations.FS,
		goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, fmt.Errorf("store: migrations: %w", err)
	}
	return p, nil
}

func schemaNotNewer(ctx context.Context, p *goose.Provider) error {
	have, err := p.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("store: schema version: %w", err)
	}
	if sources := p.ListSources(); have > sources[len(sources)-1].Version {
		return ErrSchemaNewer
	}
	return nil
}

// SchemaVersion is the newest migration that this binary knows.
func SchemaVersion() int64 {
	entries, err := migrations.FS.ReadDir(".")
	if err != nil || len(entries) == 0 {
		return 0
	}
	v, err := goose.NumericComponent(entries[len(entries)-1].Name())
	if err != nil {
		return 0
	}
	return v
}

// redactURL keeps a connection string, and the password in it, out of errors.
func redactURL(error) error {
	return errors.New("not a PostgreSQL connection URL; write postgres://user:password@host:port/database")
}
