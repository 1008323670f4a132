package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// UnsafeLoginError says why a login may not be used, and how to mend it.
type UnsafeLoginError struct{ Login, Why, Mend string }

// Error is one sentence for an operator.
func (e *UnsafeLoginError) Error() string {
	return fmt.Sprintf("store: refusing to use the Postgres login %q: %s; %s", e.Login, e.Why, e.Mend)
}

// UnsafeSchemaError says which relation of the database does not keep the
// tenants apart, and how to mend it.
type UnsafeSchemaError struct{ Relation, Why, Mend string }

// Error is one sentence for an operator.
func (e *UnsafeSchemaError) Error() string {
	return fmt.Sprintf("store: refusing to use a database in which %q does not keep the tenants apart: %s; %s", e.Relation, e.Why, e.Mend)
}

// loginFacts asks what a login is and what it may become: a member of a role
// can SET ROLE to it, whatever it inherits. The predefined roles are those that
// read or write the server's files, or run programs there.
const loginFacts = `
SELECT session_user::text, r.rolsuper, r.rolbypassrls, r.rolcreaterole, r.rolcreatedb, r.rolreplication,
       pg_has_role(session_user, $1, 'MEMBER'),
       EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND c.relowner = r.oid),
       coalesce((SELECT min(x.rolname)::text FROM pg_roles x WHERE x.oid <> r.oid AND pg_has_role(session_user, x.oid, 'MEMBER')
                 AND (x.rolsuper OR x.rolbypassrls OR x.rolcreaterole OR x.rolcreatedb OR x.rolreplication
                      OR x.rolname IN ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program')
                      OR EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                                 WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND c.relowner = x.oid))), '')
FROM pg_roles r WHERE r.rolname = session_user`

// assume checks the login and acts as role for the life of the connection.
func assume(ctx context.Context, c *pgx.Conn, role string) error {
	var login, power string
	var super, bypass, createRole, createDB, replication, member, owner bool
	err := c.QueryRow(ctx, loginFacts, role).Scan(&login, &super, &bypass, &createRole, &createDB, &replication, &member, &owner, &power)
	if err != nil {
		if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "42704" {
			return &UnsafeLoginError{c.Config().User, "the database has no role " + role, "run `doctorsflow migrate` first"}
		}
		return err
	}
	quoted := pgx.Identifier{login}.Sanitize()
	lacks := func(attribute, why string) error {
		return &UnsafeLoginError{login, why, fmt.Sprintf("run ALTER ROLE %s NO%s, or use another login", quoted, attribute)}
	}
	switch {
	case super:
		return &UnsafeLoginError{login, "it is a superuser, for whom row-level security does not hold", "use a login that is only a member of app_api and app_worker"}
	case bypass:
		return lacks("BYPASSRLS", "it has BYPASSRLS")
	case owner:
		return &UnsafeLoginError{login, "it owns the tables", "keep the owner for `doctorsflow migrate` and connect as a member of app_api and app_worker"}
	case createRole:
		return lacks("CREATEROLE", "it may create roles, and so make itself another")
	case createDB:
		return lacks("CREATEDB", "it may create databases")
	case replication:
		return lacks("REPLICATION", "it may replicate, and so read every tenant's rows from the log")
	case power != "":
		return &UnsafeLoginError{
			login, fmt.Sprintf("it is a member of %q, which is more than app_api and app_worker", power),
			fmt.Sprintf("run REVOKE %s FROM %s, or from the role that it has it by", pgx.Identifier{power}.Sanitize(), quoted),
		}
	case !member:
		return &UnsafeLoginError{login, "it may not act as " + role, fmt.Sprintf("run GRANT %s TO %s", role, quoted)}
	}
	if login == role {
		return nil
	}
	_, err = c.Exec(ctx, "SET ROLE "+pgx.Identifier{role}.Sanitize())
	return err
}

// openRelations lists what row-level security does not hold for. Permissive
// policies are alternatives: one that does not ask for the tenant opens a table
// that others close. PUBLIC's number is 0.
const openRelations = `
SELECT t.relname::text,
       CASE WHEN t.view                                THEN 'view'
            WHEN NOT t.relrowsecurity                  THEN 'disabled'
            WHEN NOT t.relforcerowsecurity             THEN 'unforced'
            WHEN coalesce(p.open, '') <> ''            THEN 'open'
            ELSE 'unpoliced' END,
       coalesce(p.open, '')
FROM  (SELECT c.oid, c.relname, c.relrowsecurity, c.relforcerowsecurity, c.relkind IN ('v', 'm') AS view
       FROM   pg_class c
       WHERE  c.relnamespace = 'public'::regnamespace
       AND   (c.relkind IN ('v', 'm') AND NOT 'security_invoker=true' = ANY (coalesce(c.reloptions, '{}'))
          OR  c.relkind IN ('r', 'p') AND (c.relname = 'tenants' OR EXISTS (
                SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)))) t
LEFT   JOIN LATERAL (
       SELECT min(p.polname) FILTER (WHERE p.polpermissive AND NOT coalesce(pg_get_expr(p.polqual, p.polrelid, true) LIKE '%app_tenant()%', p.polcmd = 'a')
                                     OR p.polpermissive AND pg_get_expr(p.polwithcheck, p.polrelid, true) NOT LIKE '%app_tenant()%')::text AS open,
              count(*) FILTER (WHERE p.polcmd = '*') AS whole
       FROM   pg_policy p
       WHERE  p.polrelid = t.oid AND p.polroles && ARRAY[0, 'app_api'::regrole]::oid[]) p ON true
WHERE  t.view OR NOT t.relrowsecurity OR NOT t.relforcerowsecurity OR coalesce(p.open, '') <> '' OR p.whole = 0
ORDER  BY 1 LIMIT 1`

// checkIsolation refuses a database in which one tenant's transaction could
// see another's rows, whoever changed it since the migrations.
func (db *DB) checkIsolation(ctx context.Context) error {
	var relation, what, policy string
	err := db.any().QueryRow(ctx, openRelations).Scan(&relation, &what, &policy)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("store: check row-level security: %w", unavailable(err))
	}
	name := pgx.Identifier{relation}.Sanitize()
	const asOwner = "as the tables' owner run "
	switch what {
	case "view":
		return &UnsafeSchemaError{relation, "it is a view that reads as its owner, not as its reader", asOwner + "ALTER VIEW " + name + " SET (security_invoker = true), or drop it"}
	case "disabled":
		return &UnsafeSchemaError{relation, "row-level security is off", asOwner + "ALTER TABLE " + name + " ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"}
	case "unforced":
		return &UnsafeSchemaError{relation, "row-level security is not forced", asOwner + "ALTER TABLE " + name + " FORCE ROW LEVEL SECURITY"}
	case "open":
		return &UnsafeSchemaError{
			relation, fmt.Sprintf("its policy %q does not ask for the tenant", policy),
			asOwner + "DROP POLICY " + pgx.Identifier{policy}.Sanitize() + " ON " + name + ", and restore the policy of the migrations",
		}
	}
	return &UnsafeSchemaError{
		relation, "app_api has no policy for it",
		asOwner + "CREATE POLICY tenant ON " + name + " TO app_api USING (tenant_id = (SELECT app_tenant())) WITH CHECK (tenant_id = (SELECT app_tenant()))",
	}
}
