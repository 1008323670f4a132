package store_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// statements returns every SQL constant of the package, by name.
func statements(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	consts := map[string]string{}
	var value func(ast.Expr) string
	value = func(e ast.Expr) string {
		switch e := e.(type) {
		case *ast.BasicLit:
			s, _ := strconv.Unquote(e.Value)
			return s
		case *ast.Ident:
			return consts[e.Name]
		case *ast.BinaryExpr:
			return value(e.X) + value(e.Y)
		}
		return ""
	}
	for range 2 { // constants may use constants of a later file
		for _, f := range files {
			ast.Inspect(f, func(n ast.Node) bool {
				if s, ok := n.(*ast.ValueSpec); ok {
					for i, name := range s.Names {
						if i < len(s.Values) {
							consts[name.Name] = value(s.Values[i])
						}
					}
				}
				return true
			})
		}
	}
	verb := regexp.MustCompile(`(?s)^\s*(SELECT|INSERT|UPDATE|WITH|DELETE)\b`)
	out := map[string]string{}
	for name, s := range consts {
		if verb.MatchString(s) {
			out[name] = s
		}
	}
	return out
}

func TestEveryStatementPreparesOnTheMigratedSchema(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	api, worker := connect(t, l.urls.API), connect(t, l.urls.Worker)
	all := statements(t)
	if len(all) < 40 {
		t.Fatalf("found only %d statements: the search is broken", len(all))
	}
	for name, sql := range all {
		_, errAPI := api.Prepare(t.Context(), "", sql)
		_, errWorker := worker.Prepare(t.Context(), "", sql)
		if errAPI != nil && errWorker != nil {
			t.Errorf("%s prepares for neither role:\n  app_api: %v\n  app_worker: %v", name, errAPI, errWorker)
		}
	}
}

func TestEveryTenantTableForcesRowSecurity(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	const open = `
		SELECT coalesce(string_agg(c.relname, ', '), '') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
		AND c.relname NOT IN ('goose_db_version', 'platform', 'public_holidays', 'stream_watermarks')`
	var names string
	if l.scan(open, nil, &names); names != "" {
		t.Errorf("tables without ENABLE and FORCE row-level security: %s", names)
	}
	const unpoliced = `
		SELECT coalesce(string_agg(c.relname, ', '), '') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = 'public' AND c.relrowsecurity AND NOT EXISTS (
			SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND 'app_api'::regrole = ANY (p.polroles)
			AND pg_get_expr(p.polqual, p.polrelid) LIKE '%app_tenant()%' AND pg_get_expr(p.polwithcheck, p.polrelid) LIKE '%app_tenant()%')`
	if l.scan(unpoliced, nil, &names); names != "" {
		t.Errorf("tables whose app_api policy does not check the tenant both ways: %s", names)
	}
	const views = `
		SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = 'public' AND c.relkind IN ('v', 'm') AND NOT 'security_invoker=true' = ANY (coalesce(c.reloptions, '{}'))`
	if n := l.count(views); n != 0 {
		t.Errorf("%d views run as their owner, who passes row-level security for their readers: make them security_invoker", n)
	}
}

func TestEveryKeyAndIndexStartsWithTheTenant(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	rows, err := l.super.Query(t.Context(), `
		SELECT i.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
		JOIN pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.indkey[0]
		WHERE n.nspname = 'public' AND c.relrowsecurity AND coalesce(a.attname, '') <> 'tenant_id' ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	// Look-ups before a tenant is known, the tenants themselves, and the
	// triggers, rests and days to be counted that are looked for over all tenants.
	want := []string{"api_keys_hash", "identities_subject", "links_token", "message_stat_days_wake", "nats_credentials_id", "provider_accounts_id", "run_rests_wake", "tenants_pkey", "tenants_slug_key", "triggers_wake", "webhooks_id"}
	if !slices.Equal(got, want) {
		t.Errorf("indexes that do not start with tenant_id: %v, want exactly %v", got, want)
	}
	const loose = `
		SELECT count(*) FROM pg_constraint f WHERE f.contype = 'f' AND f.confrelid <> 'tenants'::regclass
		AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = f.conrelid AND a.attnum = f.conkey[1] AND a.attname = 'tenant_id')`
	if n := l.count(loose); n != 0 {
		t.Errorf("%d foreign keys do not carry tenant_id: one tenant's row could refer to another's", n)
	}
}

func TestUnsetTenantSeesNothing(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.planned("e1", "010-0000-0000")
	c := connect(t, l.urls.API)
	for _, table := range []string{"tenants", "patients", "triggers", "workflows", "webhooks", "steps", "workflow_executions", "provider_accounts"} {
		var n int
		if err := c.QueryRow(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s: %d rows without a tenant, err %v; want 0", table, n, err)
		}
	}
	// After one transaction with a tenant the setting is '' and not NULL.
	err := pgx.BeginFunc(t.Context(), c, func(tx pgx.Tx) error {
		var n int
		if _, err := tx.Exec(t.Context(), `SELECT set_config('app.tenant', $1, true)`, l.tenant.String()); err != nil {
			return err
		}
		err := tx.QueryRow(t.Context(), `SELECT count(*) FROM patients`).Scan(&n)
		if n != 1 {
			t.Errorf("inside the tenant: %d patients, want 1", n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := c.QueryRow(t.Context(), `SELECT count(*) FROM patients`).Scan(&n); err != nil || n != 0 {
		t.Errorf("after the transaction: %d patients, err %v; want 0: the tenant leaked to the connection's next user", n, err)
	}
}

func TestOneTenantCannotReachAnothersRows(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.planned("e1", "010-0000-0000")
	other, _ := l.clinic("other")
	c := connect(t, l.urls.API)
	if _, err := c.Exec(t.Context(), `SELECT set_config('app.tenant', $1, false)`, other.String()); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := c.QueryRow(t.Context(), `SELECT count(*) FROM patients`).Scan(&n); err != nil || n != 0 {
		t.Errorf("other tenant sees %d patients, err %v", n, err)
	}
	tag, err := c.Exec(t.Context(), `UPDATE workflows SET name = 'taken' WHERE tenant_id = $1`, l.tenant)
	if err != nil || tag.RowsAffected() != 0 {
		t.Errorf("other tenant changed %d workflows, err %v", tag.RowsAffected(), err)
	}
	_, err = c.Exec(t.Context(), `INSERT INTO templates (tenant_id, id, name) VALUES ($1, gen_random_uuid(), 'x')`, l.tenant)
	if err == nil {
		t.Error("other tenant inserted a row for this one")
	}
	for _, sql := range []string{`DELETE FROM patients`, `TRUNCATE steps`, `UPDATE steps SET state = 'sent'`, `INSERT INTO steps SELECT * FROM steps`, `ALTER TABLE patients DISABLE ROW LEVEL SECURITY`} {
		if _, err := c.Exec(t.Context(), sql); err == nil {
			t.Errorf("app_api may: %s", sql)
		}
	}
}

func TestOpenRefusesAnUnsafeLogin(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.exec(`DO $$ BEGIN
		IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bypasser') THEN CREATE ROLE bypasser LOGIN BYPASSRLS PASSWORD 'x'; END IF;
		IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'stranger') THEN CREATE ROLE stranger LOGIN PASSWORD 'x'; END IF;
		IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'member') THEN CREATE ROLE member LOGIN PASSWORD 'x'; GRANT app_api, app_worker TO member; END IF;
	END $$`)
	l.exec(`GRANT CONNECT ON DATABASE ` + pgx.Identifier{l.urls.Name}.Sanitize() + ` TO bypasser, stranger, member`)
	as := func(role string) string {
		cfg, err := pgx.ParseConfig(l.urls.API)
		if err != nil {
			t.Fatal(err)
		}
		return "postgresql:///" + l.urls.Name + "?host=" + cfg.Host + "&user=" + role + "&password=x"
	}
	for name, url := range map[string]string{"superuser": l.urls.Super, "owner": l.urls.Owner, "bypassrls": as("bypasser"), "no member": as("stranger")} {
		_, err := store.Open(t.Context(), store.Config{APIURL: url, Master: seal.NewKey()})
		if _, ok := errors.AsType[*store.UnsafeLoginError](err); !ok {
			t.Errorf("%s: Open = %v, want an UnsafeLoginError", name, err)
		}
	}
	db, err := store.Open(t.Context(), store.Config{APIURL: as("member"), WorkerURL: as("member"), Master: l.master})
	if err != nil {
		t.Fatalf("a member of both roles is refused: %v", err)
	}
	defer db.Close()
	if _, err := db.Tenants(t.Context()); err != nil {
		t.Errorf("a member does not act as app_worker: %v", err)
	}
}

func TestOpenRefusesASchemaThatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)`)
	if _, err := store.Open(t.Context(), store.Config{APIURL: l.urls.API, Master: l.master}); !errors.Is(err, store.ErrSchemaNewer) {
		t.Errorf("newer schema: Open = %v, want ErrSchemaNewer", err)
	}
	if err := store.Migrate(t.Context(), l.urls.Owner); !errors.Is(err, store.ErrSchemaNewer) {
		t.Errorf("newer schema: Migrate = %v, want ErrSchemaNewer", err)
	}
	l.exec(`DELETE FROM goose_db_version WHERE version_id > 0`)
	if _, err := store.Open(t.Context(), store.Config{APIURL: l.urls.API, Master: l.master}); !errors.Is(err, store.ErrSchemaOlder) {
		t.Errorf("older schema: Open = %v, want ErrSchemaOlder", err)
	}
}
