package arch

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
)

// layer is a set of packages that may import everything in the layers below.
type layer struct {
	name string
	// sideways lets its packages import one another; Go forbids cycles. The
	// others meet only in a layer above or below.
	sideways bool
	packages []string // path.Match patterns
}

// layers is DESIGN.md's "imports point one way", lowest first.
var layers = []layer{
	{"values", true, []string{
		"internal/tenant", "internal/phone", "internal/template", "internal/seal",
		"internal/strictjson", "internal/problem", "internal/failpoint", "internal/auth/oidctest", "internal/holidays", "internal/schedule", "migrations",
	}},
	{"contracts", true, []string{"internal/event", "internal/workflow", "internal/appointment", "internal/segment", "internal/roster", "internal/clinic", "internal/natsauth", "docs/examples"}},
	{"plumbing", false, []string{"internal/local", "internal/telemetry", "internal/edge"}},
	{"doors", false, []string{"internal/stream", "internal/store", "providers"}},
	{"adapters", false, []string{"providers/*", "internal/auth", "internal/intake", "internal/exports", "internal/fhir", "internal/leaf", "internal/storetest", "internal/streamtest", "internal/simulate"}},
	{"roles", false, []string{"ingest", "planner", "dispatcher", "recorder", "api", "console", "assist"}},
	{"instruments", false, []string{"internal/bench"}},
	{"commands", false, []string{"cmd/*"}},
	{"tests of the repository", false, []string{"internal/arch", "internal/protocol", "deploy"}},
}

// only names the sole importers of a package, ours or another's. A name that
// ends in /... stands for everything below it too. Its tests are excepted
// where tests says so.
var only = []struct {
	pkg   string
	by    []string
	tests bool // any test may import it
}{
	{pkg: "internal/local", by: []string{"cmd/doctorsflow", "internal/storetest", "internal/streamtest"}},
	{pkg: "internal/storetest", tests: true},
	{pkg: "internal/streamtest", tests: true},
	{pkg: "internal/auth/oidctest", by: []string{"cmd/doctorsflow"}, tests: true},
	{pkg: "providers/providertest", tests: true},
	{pkg: "providers/simulator", by: []string{"cmd/doctorsflow"}, tests: true},
	{pkg: "docs/examples", by: []string{"cmd/doctorsflow"}, tests: true},
	{pkg: "internal/arch"},
	{pkg: "deploy"},

	{pkg: "github.com/nats-io/nats.go/...", by: []string{"internal/stream", "internal/leaf", "internal/local", "internal/streamtest"}},
	{pkg: "github.com/nats-io/nats-server/v2/...", by: []string{"internal/local", "deploy"}},
	// What a clinic's connection may do is written in signed tokens; only the
	// package that decides it makes any.
	{pkg: "github.com/nats-io/jwt/v2/...", by: []string{"internal/natsauth"}, tests: true},
	{pkg: "github.com/nats-io/nkeys/...", by: []string{"internal/natsauth"}, tests: true},
	{pkg: "github.com/jackc/pgx/v5/...", by: []string{"internal/store", "internal/bench", "internal/local", "internal/storetest"}},
	{pkg: "database/sql", by: []string{"internal/store", "internal/storetest"}},
	{pkg: "github.com/coreos/go-oidc/v3/...", by: []string{"internal/auth"}},
	{pkg: "github.com/go-jose/go-jose/v4", by: []string{"internal/auth", "internal/auth/oidctest"}},
	{pkg: "github.com/pressly/goose/v3/...", by: []string{"internal/store", "internal/storetest"}},
	{pkg: "github.com/danielgtaylor/huma/v2/...", by: []string{"api"}},
	{pkg: "github.com/netresearch/go-cron/...", by: []string{"internal/schedule"}},
	{pkg: "cel.dev/cel-go/...", by: []string{"internal/workflow"}},
	{pkg: "github.com/rs/cors/...", by: []string{"internal/edge"}},
	{pkg: "golang.org/x/net/...", by: []string{"internal/edge"}},
	{pkg: "github.com/go-playground/validator/v10/...", by: []string{"cmd/doctorsflow", "internal/event"}},
	{pkg: "github.com/nyaruka/phonenumbers/...", by: []string{"internal/phone"}},
	{pkg: "github.com/alecthomas/kong/...", by: []string{"cmd/doctorsflow"}},
	{pkg: "github.com/goccy/go-yaml/...", by: []string{"internal/clinic", "deploy"}},
	{pkg: "testing/...", by: []string{"internal/storetest", "internal/streamtest", "providers/providertest"}, tests: true},
	{pkg: "github.com/google/go-cmp/...", by: []string{"internal/storetest", "providers/providertest"}, tests: true},
	{pkg: "go.uber.org/goleak/...", tests: true},
	{pkg: "pgregory.net/rapid/...", tests: true},
	{pkg: "github.com/rogpeppe/go-internal/...", tests: true},
	{pkg: "github.com/standard-webhooks/standard-webhooks/libraries/...", tests: true},
	{pkg: "github.com/cloudevents/sdk-go/v2/...", tests: true},
}

// rank returns the index of the package's layer, or -1.
func rank(pkg string) int {
	return slices.IndexFunc(layers, func(l layer) bool {
		return slices.ContainsFunc(l.packages, func(pattern string) bool {
			ok, _ := path.Match(pattern, pkg)
			return ok
		})
	})
}

// checkImports says in a sentence each what f imports and may not.
func checkImports(f goFile) (violations []string) {
	from := rank(f.pkg)
	if from < 0 {
		return []string{fmt.Sprintf("package %s has no layer: put it into layers in internal/arch/imports_test.go", f.pkg)}
	}
	ours, others := f.imports()
	for _, to := range ours {
		if to == f.pkg { // an external test of its own package
			continue
		}
		at := rank(to)
		switch {
		case at < 0:
			violations = append(violations, fmt.Sprintf("%s imports %s, which has no layer", f.path, to))
		case f.test && testSupport(to):
		case f.external() && (layers[from].name == "doors" || f.pkg == "internal/simulate") && layers[at].name == "roles":
			// A door's tests may prove it with the role that goes through it, and
			// the simulator's with those whose functions it is given.
		case at > from:
			violations = append(violations, fmt.Sprintf("%s imports %s: %s may not know %s", f.path, to, layers[from].name, layers[at].name))
		case at == from && !layers[from].sideways && !(f.test && layers[from].name == "adapters"):
			violations = append(violations, fmt.Sprintf("%s imports %s: %s never import one another", f.path, to, layers[from].name))
		}
	}
	for _, p := range slices.Concat(ours, others) {
		for _, o := range only {
			if p == f.pkg || !covers(o.pkg, p) || slices.Contains(o.by, f.pkg) || f.test && o.tests {
				continue
			}
			violations = append(violations, fmt.Sprintf("%s imports %s, which is only for %s", f.path, p, strings.Join(append(o.by, "tests")[:len(o.by)+b2i(o.tests)], ", ")))
		}
	}
	return violations
}

// testSupport reports whether any test may import the package, whatever its
// layer.
func testSupport(pkg string) bool {
	return pkg == "internal/storetest" || pkg == "internal/streamtest" || pkg == "providers/providertest"
}

// covers matches p against a package or, with /... at its end, a tree.
func covers(pattern, p string) bool {
	base, tree := strings.CutSuffix(pattern, "/...")
	return p == base || tree && strings.HasPrefix(p, base+"/")
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestImportsPointOneWay(t *testing.T) {
	t.Parallel()
	var violations []string
	for _, f := range allGoFiles(t) {
		violations = append(violations, checkImports(f)...)
	}
	report(t, violations)
}

func TestEveryForbiddenImportIsReported(t *testing.T) {
	t.Parallel()
	ours := module + "/"
	tests := []struct{ name, file, imports, want string }{ // of package x, also where file is a test
		{"value_knows_contract", "internal/phone/x.go", ours + "internal/event", "values may not know contracts"},
		{"contract_knows_door", "internal/event/x.go", ours + "internal/store", "contracts may not know doors"},
		{"contract_knows_plumbing", "internal/workflow/x.go", ours + "internal/telemetry", "contracts may not know plumbing"},
		{"door_knows_door", "internal/stream/x.go", ours + "internal/store", "doors never import one another"},
		{"port_knows_door", "providers/x.go", ours + "internal/store", "doors never import one another"},
		{"door_knows_adapter", "providers/x.go", ours + "providers/nhn", "doors may not know adapters"},
		{"adapter_knows_adapter", "providers/nhn/x.go", ours + "providers/simulator", "adapters never import one another"},
		{"adapter_knows_role", "providers/nhn/x.go", ours + "dispatcher", "adapters may not know roles"},
		{"store_knows_role", "internal/store/x.go", ours + "recorder", "doors may not know roles"},
		{"store_knows_role_in_inner_test", "internal/store/x_test.go", ours + "recorder", "doors may not know roles"},
		{"role_knows_role", "planner/x.go", ours + "dispatcher", "roles never import one another"},
		{"role_knows_role_in_test", "planner/x_test.go", ours + "dispatcher", "roles never import one another"},
		{"api_knows_role", "api/x.go", ours + "ingest", "roles never import one another"},
		{"role_knows_cmd", "recorder/x.go", ours + "cmd/doctorsflow", "roles may not know commands"},
		{"nobody_imports_arch", "cmd/doctorsflow/x.go", ours + "internal/arch", "only for"},
		{"unknown_package", "misc/x.go", "fmt", "package misc has no layer"},
		{"imports_unknown_package", "planner/x.go", ours + "internal/util", "which has no layer"},
		{"role_starts_postgres", "planner/x.go", ours + "internal/local", "only for cmd/doctorsflow, internal/storetest, internal/streamtest"},
		{"test_starts_postgres_by_itself", "planner/x_test.go", ours + "internal/local", "only for cmd/doctorsflow"},
		{"role_knows_simulator", "dispatcher/x.go", ours + "providers/simulator", "only for cmd/doctorsflow, tests"},
		{"production_uses_storetest", "cmd/doctorsflow/x.go", ours + "internal/storetest", "only for tests"},
		{"production_uses_providertest", "providers/nhn/x.go", ours + "providers/providertest", "only for tests"},
		{"production_uses_streamtest", "cmd/doctorsflow/x.go", ours + "internal/streamtest", "only for tests"},
		{"role_uses_examples", "api/x.go", ours + "docs/examples", "only for cmd/doctorsflow"},
		{"nats_in_role", "dispatcher/x.go", "github.com/nats-io/nats.go/jetstream", "only for internal/stream"},
		{"nats_in_cmd_test", "cmd/doctorsflow/x_test.go", "github.com/nats-io/nats.go", "only for internal/stream"},
		{"nats_server_in_stream", "internal/stream/x.go", "github.com/nats-io/nats-server/v2/server", "only for internal/local"},
		{"tokens_in_stream", "internal/stream/x.go", "github.com/nats-io/jwt/v2", "only for internal/natsauth"},
		{"signing_keys_in_cmd", "cmd/doctorsflow/x.go", "github.com/nats-io/nkeys", "only for internal/natsauth"},
		{"pgx_in_role", "recorder/x.go", "github.com/jackc/pgx/v5", "only for internal/store"},
		{"pgx_in_cmd", "cmd/doctorsflow/x.go", "github.com/jackc/pgx/v5/pgxpool", "only for internal/store"},
		{"sql_in_api", "api/x.go", "database/sql", "only for internal/store"},
		{"goose_in_cmd", "cmd/doctorsflow/x.go", "github.com/pressly/goose/v3", "only for internal/store"},
		{"huma_in_ingest", "ingest/x.go", "github.com/danielgtaylor/huma/v2", "only for api"},
		{"validator_in_api", "api/x.go", "github.com/go-playground/validator/v10", "only for cmd/doctorsflow, internal/event"},
		{"phonenumbers_in_ingest", "ingest/x.go", "github.com/nyaruka/phonenumbers", "only for internal/phone"},
		{"kong_in_ingest", "ingest/x.go", "github.com/alecthomas/kong", "only for cmd/doctorsflow"},
		{"yaml_in_cmd", "cmd/doctorsflow/x.go", "github.com/goccy/go-yaml", "only for internal/clinic"},
		{"testing_in_role", "planner/x.go", "testing", "only for"},
		{"cmp_in_role", "planner/x.go", "github.com/google/go-cmp/cmp", "only for"},
		{"rapid_in_role", "planner/x.go", "pgregory.net/rapid", "only for tests"},
		{"goleak_in_role", "planner/x.go", "go.uber.org/goleak", "only for tests"},
		{"testscript_in_cmd", "cmd/doctorsflow/x.go", "github.com/rogpeppe/go-internal/testscript", "only for tests"},
		{"a_role_uses_oidctest", "api/x.go", ours + "internal/auth/oidctest", "only for cmd/doctorsflow, tests"},
		{"cron_in_api", "api/x.go", "github.com/netresearch/go-cron", "only for internal/schedule"},
		{"cel_in_planner", "planner/x.go", "cel.dev/cel-go/cel", "only for internal/workflow"},
		{"cors_in_api", "api/x.go", "github.com/rs/cors", "only for internal/edge"},
		{"net_in_ingest", "ingest/x.go", "golang.org/x/net/netutil", "only for internal/edge"},
		{"oidc_in_api", "api/x.go", "github.com/coreos/go-oidc/v3/oidc", "only for internal/auth"},
		{"jose_in_api", "api/x.go", "github.com/go-jose/go-jose/v4", "only for internal/auth"},
		{"cloudevents_in_api", "api/x.go", "github.com/cloudevents/sdk-go/v2/event", "only for tests"},
		{"standard_webhooks_in_ingest", "ingest/x.go", "github.com/standard-webhooks/standard-webhooks/libraries/go", "only for tests"},
	}
	proven := map[string]bool{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := parse(tt.file, fmt.Appendf(nil, "package x\n\nimport _ %q\n", tt.imports))
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(checkImports(f), "\n")
			if !strings.Contains(got, tt.want) {
				t.Errorf("checkImports(%s importing %s) = %q, want it to contain %q", tt.file, tt.imports, got, tt.want)
			}
		})
		for _, o := range only {
			if covers(o.pkg, strings.TrimPrefix(tt.imports, ours)) {
				proven[o.pkg] = true
			}
		}
	}
	for _, o := range only {
		if !proven[o.pkg] && o.pkg != "deploy" { // deploy has no package that could be imported
			t.Errorf("no case shows that the rule about %s is enforced", o.pkg)
		}
	}
}

func TestPermittedImportsPass(t *testing.T) {
	t.Parallel()
	ours := module + "/"
	tests := []struct{ file, imports string }{ // of package x_test where file is a test
		{"internal/seal/x.go", ours + "internal/tenant"},
		{"internal/clinic/x.go", ours + "internal/workflow"},
		{"internal/store/x.go", ours + "internal/event"},
		{"internal/store/x.go", "github.com/jackc/pgx/v5"},
		{"internal/store/x_test.go", ours + "internal/storetest"},
		{"internal/store/x_test.go", ours + "internal/store"},
		{"internal/store/x_test.go", ours + "recorder"},
		{"providers/nhn/x_test.go", ours + "providers/simulator"},
		{"dispatcher/x.go", ours + "internal/store"},
		{"dispatcher/x_test.go", ours + "providers/nhn"},
		{"planner/x_test.go", "pgregory.net/rapid"},
		{"cmd/doctorsflow/x.go", ours + "dispatcher"},
		{"cmd/doctorsflow/x.go", ours + "internal/local"},
		{"planner/x.go", "github.com/nats-io/nats.golang"}, // a prefix is not the module
	}
	for _, tt := range tests {
		name := "x"
		if strings.HasSuffix(tt.file, "_test.go") {
			name = "x_test"
		}
		f, err := parse(tt.file, fmt.Appendf(nil, "package %s\n\nimport _ %q\n", name, tt.imports))
		if err != nil {
			t.Fatal(err)
		}
		if got := checkImports(f); got != nil {
			t.Errorf("checkImports(%s importing %s) = %q, want nothing", tt.file, tt.imports, got)
		}
	}
}
