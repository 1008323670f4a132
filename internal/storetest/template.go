package storetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/local"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/migrations"
)

// templateOnce remembers the template, or why there is none, for the life of
// the test program.
var templateOnce = sync.OnceValues(func() (string, error) {
	s, err := shared()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return s.makeTemplate(ctx)
})

func (s server) template() (string, error) { return templateOnce() }

// makeTemplate migrates a database once for each content of the migrations,
// however many test programs ask at the same time.
func (s server) makeTemplate(ctx context.Context) (string, error) {
	hash, err := schemaHash(migrations.FS)
	if err != nil {
		return "", wrap(err)
	}
	name := "template_" + hash
	conn, err := pgx.Connect(ctx, s.super.String())
	if err != nil {
		return "", wrap(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	// The lock ends with the connection.
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock(hashtext($1))", name); err != nil {
		return "", wrap(err)
	}
	var ready bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&ready); err != nil {
		return "", wrap(err)
	}
	if ready {
		return name, nil
	}
	// It gets its name when it is complete.
	raw := name + "_raw"
	if err := s.exec(ctx, append([]string{"DROP DATABASE IF EXISTS " + raw + " WITH (FORCE)"}, cloneSQL(raw, "template0")...)...); err != nil {
		return "", wrap(err)
	}
	if err := store.Migrate(ctx, s.urls(raw).Owner); err != nil {
		return "", fmt.Errorf("storetest: migrate the template: %w", err)
	}
	if err := s.settle(ctx, raw); err != nil {
		return "", wrap(err)
	}
	if err := s.exec(ctx, "ALTER DATABASE "+raw+" ALLOW_CONNECTIONS false", "ALTER DATABASE "+raw+" RENAME TO "+name); err != nil {
		return "", wrap(err)
	}
	return name, nil
}

// settle saves every copy the work of a first vacuum, and waits until the
// migrations' connections are gone, which would keep the database from being
// renamed.
func (s server) settle(ctx context.Context, database string) error {
	conn, err := pgx.Connect(ctx, s.urls(database).Super)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "VACUUM (FREEZE)"); err != nil {
		return err
	}
	for others := true; others; {
		err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid())`).Scan(&others)
		if err != nil {
			return err
		}
	}
	return nil
}

// schemaHash is equal for equal migrations.
func schemaHash(migrations fs.FS) (string, error) {
	h := sha256.New()
	err := fs.WalkDir(migrations, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(migrations, path)
		fmt.Fprintf(h, "%q %q\n", path, b)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)[:8]), err
}

var roles = map[string]string{local.Owner: Password, "app_api": Password, "app_worker": Password}
