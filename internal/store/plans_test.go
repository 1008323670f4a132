package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/store"
)

// hot are the statements that run for every batch of the pipeline.
var hot = []string{
	// planner
	"selectPendingTriggers", "selectWorkflows", "selectPatientByID", "selectPatientByExternal", "selectPatientsByPhone",
	"insertPatients", "insertExecutions", "insertSteps", "settleTriggers",
	// release
	"selectQueues", "leaseSteps", "lockRuns", "expireSteps", "settleRuns", "leaseTriggers",
	// dispatcher
	"lockPlans", "selectCandidates", "selectPayload", "claimSteps", "sleepSteps",
	// recorder
	"lockRunsOfSteps", "selectStepsNow", "moveSteps", "finishAttempts", "logUntried", "insertFallbacks", "expectFallbacks", "reopenRuns",
}

// hotAPI are those that run for every group of accepted calls.
var hotAPI = []string{"insertTriggers", "selectKnownTriggers", "selectRecentBody", "selectWebhook", "insertWebhookExecutions"}

// worker is a connection that plans as the pipeline's do.
func (l *ledger) worker() *pgx.Conn {
	l.t.Helper()
	cfg, err := pgx.ParseConfig(l.urls.Worker)
	if err != nil {
		l.t.Fatal(err)
	}
	maps.Copy(cfg.RuntimeParams, store.AsWritten)
	c, err := pgx.ConnectConfig(l.t.Context(), cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// unwatched keeps Postgres from analyzing the tables that [ledger.fill] fills.
func (l *ledger) unwatched() {
	l.t.Helper()
	for _, table := range []string{"patients", "triggers", "workflow_executions", "steps", "attempts"} {
		l.exec(`ALTER TABLE ` + table + ` SET (autovacuum_enabled = off)`)
	}
}

// fill writes n runs of two steps each.
func (l *ledger) fill(n int) {
	l.t.Helper()
	l.exec(`
WITH ids AS MATERIALIZED (
  SELECT i, gen_random_uuid() AS p, gen_random_uuid() AS t, gen_random_uuid() AS e, gen_random_uuid() AS s FROM generate_series(1, $3::int) AS g (i)
), p AS (
  INSERT INTO patients (tenant_id, id, external_id, phone_index) SELECT $1, p, 'x' || p, decode(md5(i::text), 'hex') FROM ids
), t AS (
  INSERT INTO triggers (tenant_id, id, kind, source, event_id, body_hash, state, reason, patient_id, wake_at)
  SELECT $1, t, 'webhook', 'fill', 'e' || t, '', CASE WHEN i % 5 = 0 THEN 'pending' ELSE 'planned' END, CASE WHEN i % 5 > 0 THEN 'planned' END,
         p, CASE WHEN i % 5 = 0 THEN now() + i * interval '1 second' END FROM ids
), e AS (
  INSERT INTO workflow_executions (tenant_id, id, workflow_id, version, trigger_id, patient_id, status, expected_steps) SELECT $1, e, $2, 1, t, p, 'running', 2 FROM ids
), s AS (
  INSERT INTO steps (tenant_id, id, execution_id, node, root_id, channel, due_at, expires_at, wake_at)
  SELECT $1, s, e, '1', s, 'kakao', now(), now() + interval '1 day', now() + i * interval '1 second' FROM ids
  UNION ALL
  SELECT $1, r, e, '2', r, 'kakao', now(), now() + interval '1 day', now() + i * interval '1 second' FROM (SELECT e, i, gen_random_uuid() AS r FROM ids) AS more
)
INSERT INTO attempts (tenant_id, step_id, attempt, channel, plan_epoch, claimed_at, logged) SELECT $1, s, 1, 'kakao', 0, now(), true FROM ids`,
		l.tenant, l.workflow, n)
}

// plan is a node of EXPLAIN's answer.
type plan struct {
	Node     string `json:"Node Type"`
	Parent   string `json:"Parent Relationship"`
	Relation string `json:"Relation Name"`
	Index    string `json:"Index Name"`
	Cond     string `json:"Index Cond"`
	Function string `json:"Function Name"`
	Plans    []plan
}

var parameter = regexp.MustCompile(`\$(\d+)`)

// explain returns the plan that a statement runs with once it is prepared, by
// its name, on a connection.
func explain(t testing.TB, c *pgx.Conn, name, sql string) plan {
	t.Helper()
	params := 0
	for _, m := range parameter.FindAllStringSubmatch(sql, -1) {
		n, _ := strconv.Atoi(m[1])
		params = max(params, n)
	}
	if _, err := c.PgConn().Exec(t.Context(), `PREPARE "`+name+`" AS `+sql).ReadAll(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return explainPrepared(t, c, name, params)
}

func explainPrepared(t testing.TB, c *pgx.Conn, name string, params int) plan {
	t.Helper()
	args := ""
	if params > 0 {
		args = "(" + strings.TrimSuffix(strings.Repeat("NULL,", params), ",") + ")"
	}
	res, err := c.PgConn().Exec(t.Context(), `EXPLAIN (FORMAT JSON) EXECUTE "`+name+`"`+args).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var out []struct{ Plan plan }
	if err := json.Unmarshal(res[0].Rows[0][0], &out); err != nil || len(out) != 1 {
		t.Fatalf("%s: %v", name, err)
	}
	return out[0].Plan
}

// each visits every node.
func (p plan) each(f func(plan)) {
	f(p)
	for _, child := range p.Plans {
		child.each(f)
	}
}

// small are the tables that stay so, of which a condition on the tenant alone,
// or none, is all that can be asked.
var small = []string{"platform", "tenants", "provider_accounts", "workflows", "webhooks", "consents", "suppressions"}

// A plan that scans, or that finds its rows by an index of which it knows only
// the tenant, costs as much as the clinic has rows. Plans are made once, while
// tables are small and nothing has been analyzed.
func TestHotStatementsFindEachRowByItsIndex(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.unwatched()
	all := statements(t)
	for rows := 2000; rows < 5000; rows += 2000 {
		l.fill(2000)
		l.looks(all, hot, l.worker(), rows)
		api := connect(t, l.urls.API)
		if _, err := api.Exec(t.Context(), `SELECT set_config('app.tenant', $1, false), set_config('plan_cache_mode', 'force_generic_plan', false)`, l.tenant.String()); err != nil {
			t.Fatal(err)
		}
		l.looks(all, hotAPI, api, rows)
	}
}

// looks judges the plans that statements get on a connection.
func (l *ledger) looks(all map[string]string, names []string, c *pgx.Conn, rows int) {
	t := l.t
	for _, name := range names {
		sql, ok := all[name]
		if !ok {
			t.Errorf("there is no statement %s", name)
			continue
		}
		explain(t, c, name, sql).each(func(p plan) {
			switch {
			case p.Function == "unnest" && p.Parent == "Inner":
				t.Errorf("%s, %d rows: what is asked for is the inner side of a join", name, rows)
			case p.Node == "Hash Join" || p.Node == "Merge Join":
				t.Errorf("%s, %d rows: a %s reads whole tables", name, rows, p.Node)
			case p.Relation == "" || slices.Contains(small, p.Relation) || p.Node == "ModifyTable" || p.Node == "LockRows":
			case p.Node != "Index Scan" && p.Node != "Index Only Scan":
				t.Errorf("%s, %d rows: %s on %s", name, rows, p.Node, p.Relation)
			case !narrow(name, p):
				t.Errorf("%s, %d rows: %s is reached by %s with nothing but %s", name, rows, p.Relation, p.Index, p.Cond)
			}
		})
	}
}

// narrow reports whether a scan's condition leaves few rows.
func narrow(name string, p plan) bool {
	columns := map[string]bool{}
	for _, m := range regexp.MustCompile(`\b(tenant_id|id|step_id|execution_id|node|channel|wake_at|queue|phone_index|external_id|event_id)\b`).FindAllString(p.Cond, -1) {
		columns[m] = true
	}
	switch p.Index {
	case "steps_pkey", "workflow_executions_pkey", "triggers_pkey", "patients_pkey", "workflow_versions_pkey", "campaigns_pkey":
		return columns["tenant_id"] && columns["id"]
	case "attempts_pkey":
		return columns["step_id"]
	case "steps_node":
		return columns["execution_id"]
	case "steps_wake":
		return name == "selectQueues" || columns["queue"] && columns["wake_at"]
	case "triggers_event":
		return columns["event_id"]
	case "triggers_wake":
		return columns["wake_at"]
	case "patients_external_id":
		return columns["external_id"]
	case "patients_phone":
		return columns["phone_index"]
	}
	return false
}

// A plan that was made on empty tables takes any index; it must not outlive
// them, however few rows there are.
func TestPlansAreMadeAgainAsTheTablesFill(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.unwatched()
	c := l.worker()
	wide := func(p plan) (n int) {
		p.each(func(p plan) {
			if p.Relation != "" && !narrow("", p) {
				n++
			}
		})
		return n
	}
	if n := wide(explain(t, c, "lockPlans", statements(t)["lockPlans"])); n == 0 {
		t.Fatal("on empty tables the plan is a good one: this test proves nothing")
	}
	l.fill(100)
	if wide(explainPrepared(t, c, "lockPlans", 2)) == 0 {
		t.Fatal("the plan was made again before anything was analyzed: this test proves nothing")
	}
	// The 64th call that this process takes.
	analyzed := func() (n int) {
		l.scan(`SELECT count(*) FROM pg_class WHERE relname IN ('patients', 'triggers', 'workflow_executions', 'steps', 'attempts') AND reltuples >= 100`, nil, &n)
		return n
	}
	for i := range 64 {
		if n := analyzed(); n != 0 {
			t.Fatalf("%d tables are analyzed after %d calls", n, i)
		}
		l.accept(l.call(fmt.Sprint("e", i), `{}`))
	}
	l.DB.Settled()
	if n := analyzed(); n != 5 {
		t.Fatalf("%d of 5 tables are analyzed after 64 calls", n)
	}
	if n := wide(explainPrepared(t, c, "lockPlans", 2)); n != 0 {
		t.Errorf("the plan of empty tables is still in use: %d scans are wide", n)
	}
	l.looks(statements(t), hot, l.worker(), 100)
}

func TestPlanningFreelyEndsWithItsTransaction(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	c := l.worker()
	settings := func(q interface {
		QueryRow(context.Context, string, ...any) pgx.Row
	}, column string,
	) (out map[string]string) {
		t.Helper()
		err := q.QueryRow(t.Context(), `SELECT jsonb_object_agg(name, `+column+`) FROM pg_settings WHERE name = ANY ($1)`, slices.Collect(maps.Keys(store.AsWritten))).Scan(&out)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	before, usual := settings(c, "setting"), settings(c, "boot_val")
	usual["plan_cache_mode"] = "force_custom_plan"
	for _, end := range []func(pgx.Tx) error{
		func(tx pgx.Tx) error { return tx.Commit(t.Context()) },
		func(tx pgx.Tx) error { return tx.Rollback(t.Context()) },
	} {
		tx, err := c.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := store.PlanFreely(t.Context(), tx); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(usual, settings(tx, "setting")); diff != "" {
			t.Errorf("inside (-want +got):\n%s", diff)
		}
		if err := end(tx); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, settings(c, "setting")); diff != "" {
			t.Errorf("after it (-want +got):\n%s", diff)
		}
	}
	for name, want := range store.AsWritten {
		if before[name] != want {
			t.Errorf("a worker's %s is %s, want %s", name, before[name], want)
		}
	}
}
