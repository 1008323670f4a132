package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// The codes of Postgres' errors.
const (
	insufficientPrivilege = "42501" // policies refuse with it too
	invalidText           = "22P02"
)

// as runs sql as app_api, with the setting that names the tenant, and takes
// everything back.
func (l *ledger) as(c *pgx.Conn, setting *string, sql string, args ...any) (rows int64, code string) {
	ctx := l.t.Context()
	tx, err := c.Begin(ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(ctx) }() // of a connection that the test owns
	if setting != nil {
		if _, err := tx.Exec(ctx, `SELECT set_config('app.tenant', $1, true)`, *setting); err != nil {
			l.t.Fatal(err)
		}
	}
	tag, err := tx.Exec(ctx, sql, args...)
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return tag.RowsAffected(), e.Code + " " + e.Message + " " + e.Detail
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return tag.RowsAffected(), ""
}

// Whatever a transaction of one clinic says, it neither sees nor changes a row
// of another: as the privileges are, and were they far too wide.
func TestInsideOneTenantEveryStatementMissesTheOthersRows(t *testing.T) {
	t.Parallel()
	l, a, b := twoClinics(t)
	c := connect(t, l.urls.API)
	mine := new(a.String())
	for _, wide := range []bool{false, true} {
		if wide {
			l.exec(`GRANT ALL ON ALL TABLES IN SCHEMA public TO app_api`)
		}
		for _, r := range l.tenantRelations("r", "p", "v", "m") {
			check := func(what string, ok bool, rows int64, refused string) {
				if !ok {
					t.Errorf("%s (privileges wide: %v): %s: %d rows, %q", r.name, wide, what, rows, refused)
				}
			}
			own := int64(l.count(`SELECT count(*) FROM `+r.name+` WHERE `+r.key+` = $1`, a))
			n, refused := l.as(c, mine, `SELECT `+r.key+` FROM `+r.name)
			check("SELECT shows its own rows and no others", n == own && own > 0 && refused == "", n, refused)
			n, refused = l.as(c, mine, `SELECT `+r.key+` FROM `+r.name+` WHERE `+r.key+` = $1`, b)
			check("SELECT of the other's", n == 0 && refused == "", n, refused)
			n, refused = l.as(c, nil, `SELECT `+r.key+` FROM `+r.name)
			check("SELECT without a tenant", n == 0 && refused == "", n, refused)
			n, refused = l.as(c, new(""), `SELECT `+r.key+` FROM `+r.name)
			check("SELECT with an empty tenant", n == 0 && refused == "", n, refused)
			n, refused = l.as(c, new("' OR true --"), `SELECT `+r.key+` FROM `+r.name)
			leaks := strings.Contains(refused, a.String()) || strings.Contains(refused, b.String())
			check("SELECT with nonsense for a tenant", n == 0 && strings.HasPrefix(refused, invalidText) && !leaks, n, refused)
			if r.name == "message_logs" {
				continue // a view of many tables, which nobody writes
			}
			l.writes(c, r, a, b, wide, check)
		}
	}
}

// writes tries to change, to take, to give away, to add and to delete rows.
func (l *ledger) writes(c *pgx.Conn, r relation, a, b tenant.ID, wide bool, check func(what string, ok bool, rows int64, refused string)) {
	mine := new(a.String())
	before := l.digest(r, b)
	may := func(privilege string) (yes bool) {
		l.scan(`SELECT has_any_column_privilege('app_api', $1, $2)`, []any{r.name, privilege}, &yes)
		return yes
	}
	n, refused := l.as(c, mine, `UPDATE `+r.name+` SET `+r.key+` = `+r.key)
	own := int64(l.count(`SELECT count(*) FROM `+r.name+` WHERE `+r.key+` = $1`, a))
	// A grant may be of some columns only, and the audit log refuses whoever asks.
	var changes bool
	l.scan(`SELECT has_column_privilege('app_api', $1, $2, 'UPDATE') AND $1 <> 'audit_log'`, []any{r.name, r.key}, &changes)
	check("UPDATE of everything changes its own rows", changes == (n == own && refused == ""), n, refused)
	n, refused = l.as(c, mine, `UPDATE `+r.name+` SET `+r.key+` = $1 WHERE `+r.key+` = $2`, a, b)
	check("UPDATE that takes the other's", n == 0 && (refused == "" || strings.HasPrefix(refused, insufficientPrivilege)), n, refused)
	n, refused = l.as(c, mine, `UPDATE `+r.name+` SET `+r.key+` = $1`, b)
	check("UPDATE that gives its own away", strings.HasPrefix(refused, insufficientPrivilege), n, refused)
	n, refused = l.as(c, nil, `UPDATE `+r.name+` SET `+r.key+` = `+r.key)
	check("UPDATE without a tenant", n == 0, n, refused)

	var row string
	l.scan(`SELECT to_jsonb(x)::text FROM `+r.name+` x WHERE `+r.key+` = $1 LIMIT 1`, []any{a}, &row)
	insert := `INSERT INTO ` + r.name + ` SELECT * FROM jsonb_populate_record(NULL::` + r.name + `, $1::jsonb || jsonb_build_object('` + r.key + `', $2::text))`
	n, refused = l.as(c, mine, insert, row, b.String())
	check("INSERT for the other", strings.HasPrefix(refused, insufficientPrivilege), n, refused)
	n, refused = l.as(c, nil, insert, row, b.String())
	check("INSERT without a tenant", strings.HasPrefix(refused, insufficientPrivilege), n, refused)
	n, refused = l.as(c, mine, insert, row, a.String())
	check("INSERT of its own is stopped by nothing but the key", may("INSERT") == strings.HasPrefix(refused, "23505"), n, refused)

	n, refused = l.as(c, mine, `DELETE FROM `+r.name+` WHERE `+r.key+` = $1`, b)
	check("DELETE of the other's", n == 0 && (refused == "") == wide, n, refused)
	n, refused = l.as(c, nil, `DELETE FROM `+r.name)
	check("DELETE without a tenant", n == 0 && (refused == "") == wide, n, refused)
	if after := l.digest(r, b); after != before {
		check("the other's rows changed", false, 0, fmt.Sprintf("%s, were %s", after, before))
	}
}

// digest is equal for equal rows of a tenant.
func (l *ledger) digest(r relation, id tenant.ID) (sum string) {
	l.t.Helper()
	l.scan(`SELECT md5(coalesce(string_agg(to_jsonb(x)::text, '|' ORDER BY to_jsonb(x)::text), '')) FROM `+r.name+` x WHERE `+r.key+` = $1`, []any{id}, &sum)
	return sum
}

// Even a login that may make temporary tables gets nothing of its own run by
// the doors' owner.
func TestTheDoorsDoNotLookIntoATemporarySchema(t *testing.T) {
	t.Parallel()
	l, a, b := twoClinics(t)
	l.exec(`GRANT TEMPORARY ON DATABASE ` + pgx.Identifier{l.urls.Name}.Sanitize() + ` TO app_api`)
	c := connect(t, l.urls.API)
	for _, sql := range []string{
		`CREATE TEMP TABLE seen (who text)`,
		`GRANT INSERT ON seen TO PUBLIC`,
		`CREATE FUNCTION pg_temp.note() RETURNS uuid LANGUAGE plpgsql AS $$ BEGIN INSERT INTO pg_temp.seen VALUES (current_user); RETURN gen_random_uuid(); END $$`,
		`CREATE TEMP VIEW webhooks AS SELECT pg_temp.note() AS tenant_id, gen_random_uuid() AS id, 1 AS n`,
		`CREATE TEMP VIEW tenants AS SELECT pg_temp.note() AS id, 'miso'::text AS slug`,
		`GRANT SELECT ON pg_temp.webhooks, pg_temp.tenants TO PUBLIC`,
	} {
		if _, err := c.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	var got tenant.ID
	if err := c.QueryRow(t.Context(), `SELECT id FROM public.lookup_tenant('miso')`).Scan(&got); err != nil || got != a {
		t.Errorf("lookup_tenant = %v, %v; want %v", got, err, a)
	}
	var hook string
	l.scan(`SELECT id::text FROM webhooks WHERE tenant_id = $1`, []any{b}, &hook)
	if err := c.QueryRow(t.Context(), `SELECT tenant_id FROM public.lookup_webhook($1)`, hook).Scan(&got); err != nil || got != b {
		t.Errorf("lookup_webhook = %v, %v; want %v", got, err, b)
	}
	var ran int
	if err := c.QueryRow(t.Context(), `SELECT count(*) FROM pg_temp.seen`).Scan(&ran); err != nil || ran != 0 {
		t.Errorf("a door ran a stranger's function %d times (%v): end its search_path with pg_temp", ran, err)
	}
}
