// Package storetest gives a test a migrated Postgres database of its own, on a
// server that all test programs of one run share. It must not know the tables.
package storetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/local"
)

// Password is that of the roles owner, app_api and app_worker on the shared
// server. Only this user can reach it.
const Password = "storetest"

// URLs are the ways into one database.
type URLs struct {
	// Owner owns the tables.
	Owner string
	// API and Worker are what the product connects as.
	API, Worker string
	// Super passes every check; for looking behind the curtain.
	Super string
	// Name is the database's.
	Name string
}

// Database makes a database with the schema of this source tree and drops it,
// with whatever is still connected, when the test ends. Without a server the
// test fails; it is never skipped.
func Database(t testing.TB) URLs {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	template, err := s.template()
	if err != nil {
		t.Fatal(err)
	}
	name := "t_" + strings.ToLower(rand.Text())
	if err := s.exec(t.Context(), cloneSQL(name, template)...); err != nil {
		t.Fatalf("storetest: make a database: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("storetest: drop the database: %v", err)
		}
	})
	return s.urls(name)
}

// cloneSQL copies the template. Privileges on a database itself are not copied
// with it.
func cloneSQL(name, template string) []string {
	return []string{
		"CREATE DATABASE " + name + " TEMPLATE " + template + " OWNER " + local.Owner,
		"REVOKE ALL ON DATABASE " + name + " FROM PUBLIC; GRANT CONNECT ON DATABASE " + name + " TO app_api, app_worker",
	}
}

// server is the shared Postgres.
type server struct{ super *url.URL }

// exec runs each of the statements by itself, as the superuser. It keeps no
// connection, which would be a leak to tests that look for those.
func (s server) exec(ctx context.Context, sql ...string) error {
	conn, err := pgx.Connect(ctx, s.super.String())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, q := range sql {
		if _, err := conn.PgConn().Exec(ctx, q).ReadAll(); err != nil {
			return err
		}
	}
	return nil
}

func (s server) urls(database string) URLs {
	as := func(user *url.Userinfo) string {
		u := *s.super
		u.User, u.Path = user, "/"+database
		return u.String()
	}
	return URLs{
		Owner:  as(url.UserPassword(local.Owner, Password)),
		API:    as(url.UserPassword("app_api", Password)),
		Worker: as(url.UserPassword("app_worker", Password)),
		Super:  as(s.super.User),
		Name:   database,
	}
}

func wrap(err error) error { return fmt.Errorf("storetest: %w", err) }
