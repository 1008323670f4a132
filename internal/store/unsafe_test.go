package store_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/store"
)

// login makes a role that every test program may make, and says how to connect
// as it.
func (l *ledger) login(name, attributes, grants string) string {
	l.t.Helper()
	role := pgx.Identifier{name}.Sanitize()
	// The server is shared, and roles are the server's.
	l.exec(`DO $$ BEGIN
		PERFORM pg_advisory_xact_lock(hashtext('unsafe_test'));
		IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '` + name + `') THEN
			CREATE ROLE ` + role + ` LOGIN PASSWORD 'x' ` + attributes + `; ` + strings.ReplaceAll(grants, "$1", role) + `
		END IF;
	END $$`)
	l.exec(`GRANT CONNECT ON DATABASE ` + pgx.Identifier{l.urls.Name}.Sanitize() + ` TO ` + role)
	cfg, err := pgx.ParseConfig(l.urls.API)
	if err != nil {
		l.t.Fatal(err)
	}
	return "postgresql:///" + l.urls.Name + "?host=" + cfg.Host + "&user=" + name + "&password=x"
}

func TestOpenRefusesALoginThatMayBecomeMore(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	const both = `GRANT app_api, app_worker TO $1;`
	l.login("iso_passer", "BYPASSRLS", "")
	l.login("iso_group", "", `GRANT iso_passer TO $1;`)
	for name, tt := range map[string]struct{ attributes, grants, want string }{
		"iso_createrole":  {"CREATEROLE", both, `ALTER ROLE "iso_createrole" NOCREATEROLE`},
		"iso_createdb":    {"CREATEDB", both, `ALTER ROLE "iso_createdb" NOCREATEDB`},
		"iso_replication": {"REPLICATION", both, `ALTER ROLE "iso_replication" NOREPLICATION`},
		"iso_bypass":      {"BYPASSRLS", both, `ALTER ROLE "iso_bypass" NOBYPASSRLS`},
		"iso_becomes":     {"NOINHERIT", both + `GRANT iso_passer TO $1;`, `REVOKE "iso_passer" FROM "iso_becomes"`},
		"iso_indirectly":  {"", both + `GRANT iso_group TO $1;`, `REVOKE "iso_passer" FROM "iso_indirectly"`},
		"iso_owner":       {"NOINHERIT", both + `GRANT owner TO $1;`, `REVOKE "owner" FROM "iso_owner"`},
		"iso_super":       {"NOINHERIT", both + `GRANT postgres TO $1;`, `REVOKE "postgres" FROM "iso_super"`},
		"iso_programs":    {"", both + `GRANT pg_execute_server_program TO $1;`, `REVOKE "pg_execute_server_program" FROM "iso_programs"`},
		"iso_nobody":      {"", ``, `GRANT app_api TO "iso_nobody"`},
	} {
		url := l.login(name, tt.attributes, tt.grants)
		db, err := store.Open(t.Context(), store.Config{APIURL: url, Master: l.master})
		if err == nil {
			db.Close()
		}
		if e, ok := errors.AsType[*store.UnsafeLoginError](err); !ok || !strings.Contains(e.Error(), tt.want) || e.Login != name {
			t.Errorf("%s: Open = %v, want an UnsafeLoginError that says %s", name, err, tt.want)
		}
	}
	db, err := store.Open(t.Context(), store.Config{APIURL: l.login("iso_fine", "", both), Master: l.master})
	if err != nil {
		t.Fatalf("a login that is a member of both roles and no more: %v", err)
	}
	db.Close()
}

func TestOpenRefusesADatabaseThatDoesNotKeepTheTenantsApart(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	for name, tt := range map[string]struct{ harm, mend, relation, want string }{
		"not forced":          {`ALTER TABLE steps NO FORCE ROW LEVEL SECURITY`, `ALTER TABLE steps FORCE ROW LEVEL SECURITY`, "steps", `ALTER TABLE "steps" FORCE`},
		"not enabled":         {`ALTER TABLE tenants DISABLE ROW LEVEL SECURITY`, `ALTER TABLE tenants ENABLE ROW LEVEL SECURITY`, "tenants", `ALTER TABLE "tenants" ENABLE`},
		"open to all":         {`CREATE POLICY easy ON patients USING (true)`, `DROP POLICY easy ON patients`, "patients", `DROP POLICY "easy" ON "patients"`},
		"open to app_api":     {`CREATE POLICY easy ON patients FOR SELECT TO app_api USING (true)`, `DROP POLICY easy ON patients`, "patients", `DROP POLICY "easy" ON "patients"`},
		"open to be written":  {`CREATE POLICY easy ON triggers FOR INSERT TO app_api WITH CHECK (true)`, `DROP POLICY easy ON triggers`, "triggers", `DROP POLICY "easy" ON "triggers"`},
		"without a policy":    {`ALTER POLICY tenant ON workflows RENAME TO lost; ALTER POLICY lost ON workflows TO owner`, `ALTER POLICY lost ON workflows TO app_api; ALTER POLICY lost ON workflows RENAME TO tenant`, "workflows", `CREATE POLICY tenant ON "workflows"`},
		"a new table":         {`CREATE TABLE fresh (tenant_id uuid, note text)`, `DROP TABLE fresh`, "fresh", `ALTER TABLE "fresh" ENABLE`},
		"a view of its owner": {`CREATE VIEW everything AS SELECT * FROM patients`, `DROP VIEW everything`, "everything", `ALTER VIEW "everything" SET (security_invoker = true)`},
	} {
		l.exec(tt.harm)
		for login, c := range map[string]store.Config{"app_api": {APIURL: l.urls.API, Master: l.master}, "app_worker": {WorkerURL: l.urls.Worker, Master: l.master}} {
			db, err := store.Open(t.Context(), c)
			if err == nil {
				db.Close()
			}
			if e, ok := errors.AsType[*store.UnsafeSchemaError](err); !ok || e.Relation != tt.relation || !strings.Contains(e.Error(), tt.want) {
				t.Errorf("%s, as %s: Open = %v, want an UnsafeSchemaError of %s that says %s", name, login, err, tt.relation, tt.want)
			}
		}
		l.exec(tt.mend)
	}
	l.exec(`CREATE POLICY narrower ON patients AS RESTRICTIVE TO app_api USING (true)`)
	db, err := store.Open(t.Context(), store.Config{APIURL: l.urls.API, WorkerURL: l.urls.Worker, Master: l.master})
	if err != nil {
		t.Fatalf("mended, and with a policy that only takes away: %v", err)
	}
	db.Close()
}
