package local

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Owner is the role that owns the database and its tables, and does nothing
// but migrate them.
const Owner = "owner"

// Bootstrap makes, or brings back to what they should be, the login roles with
// their passwords and the database, which belongs to [Owner]. None of them can
// do what a superuser can or pass row-level security, and nobody else may
// connect. roles is keyed by name and must have [Owner]. It is safe to call at
// every start; passwords are then the new ones.
func (p *Postgres) Bootstrap(ctx context.Context, database string, roles map[string]string) error {
	if _, ok := roles[Owner]; !ok {
		return fmt.Errorf("local: bootstrap: no role %s", Owner)
	}
	conn, err := pgx.Connect(ctx, p.SuperURL())
	if err != nil {
		return fmt.Errorf("local: bootstrap: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := makeRoles(ctx, conn, roles); err != nil {
		return fmt.Errorf("local: bootstrap: %w", err)
	}
	if err := makeDatabase(ctx, conn, database, slices.Sorted(maps.Keys(roles))); err != nil {
		return fmt.Errorf("local: bootstrap: %w", err)
	}
	return nil
}

const (
	roleExists     = `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)`
	databaseExists = `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`
	limits         = ` LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD `
)

func makeRoles(ctx context.Context, conn *pgx.Conn, roles map[string]string) error {
	for name, password := range roles {
		var exists bool
		if err := conn.QueryRow(ctx, roleExists, name).Scan(&exists); err != nil {
			return err
		}
		verb := "CREATE"
		if exists {
			verb = "ALTER"
		}
		if _, err := conn.Exec(ctx, verb+" ROLE "+quote(name)+limits+literal(password)); err != nil {
			return fmt.Errorf("role %s: %w", name, err)
		}
	}
	return nil
}

func makeDatabase(ctx context.Context, conn *pgx.Conn, name string, roles []string) error {
	var exists bool
	if err := conn.QueryRow(ctx, databaseExists, name).Scan(&exists); err != nil {
		return err
	}
	if !exists {
		// template0 has nothing that was added to template1 since.
		if _, err := conn.Exec(ctx, "CREATE DATABASE "+quote(name)+" OWNER "+Owner+" TEMPLATE template0"); err != nil {
			return fmt.Errorf("database %s: %w", name, err)
		}
	}
	for _, sql := range []string{
		"ALTER DATABASE " + quote(name) + " OWNER TO " + Owner,
		"REVOKE ALL ON DATABASE " + quote(name) + ", postgres, template1 FROM PUBLIC",
		"GRANT CONNECT ON DATABASE " + quote(name) + " TO " + quote(roles...),
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("database %s: %w", name, err)
		}
	}
	return nil
}

// quote makes a list of identifiers.
func quote(names ...string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = pgx.Identifier{n}.Sanitize()
	}
	return strings.Join(quoted, ", ")
}

// literal makes a string constant. A backslash means itself, because
// standard_conforming_strings is on.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
