package store_test

import (
	"flag"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/grants.txt")

// nobodys are the relations that hold nothing of a tenant, and why.
var nobodys = map[string]string{
	"goose_db_version":        "which migrations were applied",
	"goose_db_version_id_seq": "numbers them",
	"platform":                "the platform's own pause and clock",
	"public_holidays":         "what a release does not know of a country's holidays",
	"stream_watermarks":       "where each stream stood",
}

// The policies that a tenant's table may have, as the catalogue shows them.
const (
	tenantPolicy = `tenant * {app_api} (tenant_id = ( SELECT app_tenant() AS app_tenant)) (tenant_id = ( SELECT app_tenant() AS app_tenant))`
	workerPolicy = `worker * {app_worker} true true`
	// For the doors, whose owner FORCE holds for too.
	lookupPolicy = `lookup r {owner} true -`
)

// lookedUp are the tables that a door reads before a tenant is known.
var lookedUp = []string{"api_keys", "identities", "links", "nats_credentials", "provider_accounts", "tenants", "webhooks"}

// ownersPolicies are for the functions that keep and cut the audit log's chain.
var ownersPolicies = map[string][]string{
	"audit_heads": {"chain * {owner} true true"},
	"audit_log":   {"checkpoint a {owner} (action = 'audit.checkpoint'::text)", "cut d {owner} true -", "read_for_cut r {owner} true -"},
}

func TestEveryRelationIsATenantsOrIsNamed(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	scoped := map[string]bool{}
	for _, r := range l.tenantRelations("r", "p", "v", "m", "f") {
		scoped[r.name] = true
	}
	for _, name := range column[string](l, `SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind NOT IN ('i', 'I', 't', 'c')`) {
		if scoped[name] == (nobodys[name] != "") {
			t.Errorf("%s: give it a tenant_id, first in its key, and row-level security as in 0003_parked.sql; or, if it holds nothing of a tenant, a row in nobodys", name)
		}
		delete(scoped, name)
	}
	for name, want := range map[string]string{
		"kinds other than tables and views": `SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('m', 'f')`,
		"views that read as their owner":    `SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'v' AND NOT 'security_invoker=true' = ANY (coalesce(reloptions, '{}'))`,
		"rules":                             `SELECT r.rulename::text FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class WHERE c.relnamespace = 'public'::regnamespace AND r.rulename <> '_RETURN'`,
		"types of their own":                `SELECT typname::text FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typrelid = 0 AND typcategory <> 'A'`,
		"schemas of their own":              `SELECT nspname::text FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN ('public', 'information_schema')`,
		"extensions":                        `SELECT extname::text FROM pg_extension WHERE extname <> 'plpgsql'`,
	} {
		if got := column[string](l, want); len(got) > 0 {
			t.Errorf("%s: %v; no test of isolation looks at those: write one first", name, got)
		}
	}
}

func TestEveryTenantTableHasTheTwoPoliciesAndNoOther(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	for _, r := range l.tenantRelations("r", "p") {
		var on bool
		if l.scan(`SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = $1::regclass`, []any{r.name}, &on); !on {
			t.Errorf("%s: row-level security is not enabled and forced", r.name)
		}
		want := []string{strings.ReplaceAll(tenantPolicy, "(tenant_id", "("+r.key), workerPolicy}
		if slices.Contains(lookedUp, r.name) {
			want = append(want, lookupPolicy)
		}
		want = append(want, ownersPolicies[r.name]...)
		got := column[string](l, `
			SELECT concat_ws(' ', polname, polcmd, ARRAY(SELECT CASE WHEN x = 0 THEN 'PUBLIC' ELSE x::regrole::text END FROM unnest(polroles) x)::text,
			                 pg_get_expr(polqual, polrelid), coalesce(pg_get_expr(polwithcheck, polrelid), '-'))
			FROM pg_policy WHERE polrelid = $1::regclass AND polpermissive ORDER BY 1`, r.name)
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: policies (-want +got):\n%s", r.name, diff)
		}
	}
}

// functions are all of schema public: those that run as their owner, whom
// they may be run by, and what they give away.
var functions = map[string]struct{ by, gives string }{
	"lookup_webhook(uuid)":                     {"app_api", "SETOF record tenant_id,id"},
	"lookup_api_key(bytea)":                    {"app_api", "SETOF record tenant_id,id"},
	"lookup_report_account(uuid)":              {"app_api", "SETOF record tenant_id,id"},
	"lookup_tenant(text)":                      {"app_api", "SETOF uuid id"},
	"analyze_ledger()":                         {"app_worker", "boolean "},
	"lookup_identity(text,text,text)":          {"app_api", "SETOF record tenant_id,id"},
	"lookup_nats_credential(uuid)":             {"app_api", "SETOF record tenant_id,id"},
	"lookup_link(bytea)":                       {"app_api", "SETOF record tenant_id,id"},
	"cut_audit(uuid,timestamp with time zone)": {"app_worker", "bigint "},
	"chain_audit()":                            {"nobody", "trigger "},
	// The rest runs as whoever calls it.
	"app_now()":             {},
	"app_tenant()":          {},
	"keep_parked()":         {},
	"keep_audit()":          {},
	"audit_field(text)":     {},
	"audit_hash(audit_log)": {},
}

func TestEveryFunctionIsNamedAndADoorGivesIdsOnly(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	for _, name := range column[string](l, `SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace`) {
		want, ok := functions[name]
		if !ok {
			t.Errorf("%s: a new function: add a row to functions; if it runs as its owner, with whom it is granted to, and it may give ids only", name)
			continue
		}
		var definer bool
		var path, by, gives string
		l.scan(`
			SELECT prosecdef, coalesce((SELECT x FROM unnest(proconfig) x WHERE x LIKE 'search_path=%'), ''),
			       (SELECT coalesce(string_agg(CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END, ',' ORDER BY 1), '')
			        FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) a WHERE a.grantee <> proowner),
			       pg_get_function_result(oid) || ' ' || coalesce((SELECT string_agg(n, ',' ORDER BY i) FROM unnest(proargnames, proargmodes) WITH ORDINALITY AS u (n, m, i) WHERE m IN ('o', 't')), '')
			FROM   pg_proc WHERE oid = $1::regprocedure`, []any{name}, &definer, &path, &by, &gives)
		switch {
		case definer != (want.by != ""):
			t.Errorf("%s: runs as its owner: %v", name, definer)
		case !definer:
		case path != "search_path=pg_catalog, public, pg_temp":
			t.Errorf("%s: %q; pin it to pg_catalog, public, pg_temp: without pg_temp at the end a caller's own tables come first", name, path)
		case by != strings.TrimPrefix(want.by, "nobody"):
			t.Errorf("%s: may be run by %s, want %s: REVOKE ALL … FROM PUBLIC, then GRANT", name, by, want.by)
		case gives != want.gives:
			t.Errorf("%s: gives %q, want %q", name, gives, want.gives)
		}
	}
	for name := range functions {
		if l.count(`SELECT count(*) FROM pg_proc WHERE oid = to_regprocedure($1)`, name) != 1 {
			t.Errorf("functions has a row for %s, which is none", name)
		}
	}
}

func TestPrivilegesAreTheListedOnes(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	lines := column[string](l, `
		WITH acl AS (
		  SELECT c.relname::text AS name, '' AS col, a.grantee, a.privilege_type AS may, a.is_grantable
		  FROM   pg_class c CROSS JOIN aclexplode(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))) a
		  WHERE  c.relnamespace = 'public'::regnamespace AND c.relkind NOT IN ('i', 'I', 't', 'c') AND a.grantee <> c.relowner
		  UNION ALL
		  SELECT c.relname, t.attname, a.grantee, a.privilege_type, a.is_grantable
		  FROM   pg_class c JOIN pg_attribute t ON t.attrelid = c.oid AND t.attnum > 0 AND NOT t.attisdropped CROSS JOIN aclexplode(t.attacl) a
		  WHERE  c.relnamespace = 'public'::regnamespace AND a.grantee <> c.relowner)
		SELECT concat(CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE grantee::regrole::text END, ' ', name, ' ', may,
		              CASE WHEN is_grantable THEN ' AND MAY GRANT IT' END,
		              CASE WHEN max(col) <> '' THEN ' (' || string_agg(col, ', ' ORDER BY col) || ')' END)
		FROM   acl GROUP BY grantee, name, may, is_grantable, col <> '' ORDER BY 1`)
	slices.Sort(lines) // whatever the server's collation
	got := strings.Join(lines, "\n") + "\n"
	if strings.Contains("\n"+got, "\nPUBLIC ") || strings.Contains(got, "MAY GRANT") {
		t.Errorf("everybody may, or somebody may pass on:\n%s", got)
	}
	const golden = "testdata/grants.txt"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("privileges are not as listed; if each is meant, run `go test ./internal/store -run TestPrivileges -update` (-listed +granted):\n%s", diff)
	}
	others := column[string](l, `
		SELECT what || ' to ' || CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE grantee::regrole::text END || ': ' || may FROM (
		  SELECT 'schema public', a.grantee, a.privilege_type FROM pg_namespace n CROSS JOIN aclexplode(n.nspacl) a WHERE n.nspname = 'public' AND a.grantee <> n.nspowner
		  UNION ALL
		  SELECT 'whatever comes later', a.grantee, a.privilege_type FROM pg_default_acl d CROSS JOIN aclexplode(d.defaclacl) a WHERE a.grantee <> d.defaclrole) x (what, grantee, may)`)
	allowed := map[string]bool{"schema public to PUBLIC: USAGE": true, "schema public to app_api: USAGE": true, "schema public to app_worker: USAGE": true}
	for _, o := range others {
		if !allowed[o] {
			t.Errorf("granted: %s; want nothing but %v", o, slices.Sorted(maps.Keys(allowed)))
		}
	}
}
