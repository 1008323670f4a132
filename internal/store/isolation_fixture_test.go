package store_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// seeds are the rows that the ledger's own methods do not write yet: one per
// table, for the tenant $1, of what that tenant has.
var seeds = map[string]string{
	"consents": `INSERT INTO consents (tenant_id, id, patient_id, channel, purpose, granted, method)
		SELECT $1, gen_random_uuid(), id, 'kakao', 'care', true, 'form' FROM patients WHERE tenant_id = $1 LIMIT 1`,
	"suppressions": `INSERT INTO suppressions (tenant_id, id, phone_index, source) SELECT $1, gen_random_uuid(), '\x00', 'test' FROM tenants WHERE id = $1`,
	"appointments": `INSERT INTO appointments (tenant_id, id, patient_id, appointment_date)
		SELECT $1, gen_random_uuid(), id, '2026-11-23' FROM patients WHERE tenant_id = $1 LIMIT 1`,
	"appointment_events": `WITH a AS (INSERT INTO appointments (tenant_id, id, patient_id) SELECT $1, gen_random_uuid(), id FROM patients WHERE tenant_id = $1 LIMIT 1 RETURNING id)
		INSERT INTO appointment_events (tenant_id, id, event_id, appointment_id, trigger_id, kind, sequence, at, late)
		SELECT $1, gen_random_uuid(), a.id::text, a.id, t.id, 'booked', 0, app_now(), false FROM a, triggers t WHERE tenant_id = $1 LIMIT 1`,
	"campaigns": `INSERT INTO campaigns (tenant_id, id, name) SELECT $1, gen_random_uuid(), 'autumn' FROM tenants WHERE id = $1`,
	"gateway_reports": `INSERT INTO gateway_reports (tenant_id, account_id, hook_id, step_id)
		SELECT $1, a.id, 'h', s.id FROM provider_accounts a JOIN steps s USING (tenant_id) WHERE tenant_id = $1 LIMIT 1`,
	"anomalies":   `INSERT INTO anomalies (tenant_id, id, step_id, kind) SELECT $1, gen_random_uuid(), id, 'test' FROM steps WHERE tenant_id = $1 LIMIT 1`,
	"audit_seals": `INSERT INTO audit_seals (tenant_id) VALUES ($1) ON CONFLICT DO NOTHING`,
	"message_stats": `INSERT INTO message_stats (tenant_id, time_zone, day, workflow_id, channel, messages, sends, pending, sent, delivered, failed, fell_back, lateness, delivery)
		SELECT tenant_id, 'Asia/Seoul', '2026-11-23', id, 'sms', 1, 1, 0, 1, 0, 0, 0, '{}', '{}' FROM workflows WHERE tenant_id = $1 LIMIT 1`,
	"replays":      `INSERT INTO replays (tenant_id, id, source, since, until, reason, actor, after) SELECT id, gen_random_uuid(), '', app_now(), app_now(), 'test', 'cli:test', gen_random_uuid() FROM tenants WHERE id = $1`,
	"fhir_sources": `INSERT INTO fhir_sources (tenant_id, id, name, base_url, source) SELECT id, gen_random_uuid(), 'emr', 'https://emr.example', 'emr' FROM tenants WHERE id = $1`,
	"fhir_subscriptions": `WITH f AS (INSERT INTO fhir_sources (tenant_id, id, name, base_url, source) SELECT id, gen_random_uuid(), 'his', 'https://emr.example', 'emr' FROM tenants WHERE id = $1 RETURNING tenant_id, id)
		INSERT INTO fhir_subscriptions (tenant_id, source_id, subscription, heard_at) SELECT tenant_id, id, 'Subscription/1', app_now() FROM f`,
	"fhir_pending": `WITH f AS (INSERT INTO fhir_sources (tenant_id, id, name, base_url, source) SELECT id, gen_random_uuid(), 'lis', 'https://emr.example', 'emr' FROM tenants WHERE id = $1 RETURNING tenant_id, id)
		INSERT INTO fhir_pending (tenant_id, source_id, reference, wake_at) SELECT tenant_id, id, 'Appointment/1', app_now() FROM f`,
	"segments": `INSERT INTO segments (tenant_id, id, name, filter) SELECT id, gen_random_uuid(), 'everybody', '{}' FROM tenants WHERE id = $1`,
	"schedules": `WITH g AS (INSERT INTO segments (tenant_id, id, name, filter) SELECT id, gen_random_uuid(), 'scheduled', '{}' FROM tenants WHERE id = $1 RETURNING tenant_id, id)
		INSERT INTO schedules (tenant_id, id, name, pattern, workflow_id, segment_id) SELECT w.tenant_id, gen_random_uuid(), 'daily', '@daily', w.id, g.id FROM g JOIN workflows w USING (tenant_id) LIMIT 1`,
	"batches": `WITH c AS (INSERT INTO campaigns (tenant_id, id, name) SELECT id, gen_random_uuid(), 'winter' FROM tenants WHERE id = $1 RETURNING tenant_id, id)
		INSERT INTO batches (tenant_id, id, campaign_id, fire_at, as_of, workflow_id, state) SELECT w.tenant_id, gen_random_uuid(), c.id, app_now(), '2026-11-23', w.id, 'done' FROM c JOIN workflows w USING (tenant_id) LIMIT 1`,
	"sweeps":            `INSERT INTO sweeps (tenant_id, day) SELECT id, '2026-11-23' FROM tenants WHERE id = $1`,
	"message_stat_days": `INSERT INTO message_stat_days (tenant_id, day, time_zone) SELECT id, '2026-11-23', time_zone FROM tenants WHERE id = $1`,
	"identities":        `INSERT INTO identities (tenant_id, id, issuer, kind, subject) SELECT id, gen_random_uuid(), 'https://issuer.example', 'organization', 'org_' || id::text FROM tenants WHERE id = $1`,
	"run_rests": `INSERT INTO run_rests (tenant_id, id, execution_id, node, due_at)
		SELECT $1, gen_random_uuid(), id, 'n', app_now() FROM workflow_executions WHERE tenant_id = $1 LIMIT 1`,
	"links": `INSERT INTO links (tenant_id, id, execution_id, node, token_hash, target)
		SELECT $1, gen_random_uuid(), id, 'n', sha256(id::text::bytea), 'https://clinic.example/' FROM workflow_executions WHERE tenant_id = $1 LIMIT 1`,
	"patient_sendings": `INSERT INTO patient_sendings (tenant_id, patient_id, recent) SELECT $1, id, '[]' FROM patients WHERE tenant_id = $1 LIMIT 1`,
	"nats_credentials": `INSERT INTO nats_credentials (tenant_id, id, name, secret_hash) SELECT id, gen_random_uuid(), 'test', sha256(id::text::bytea) FROM tenants WHERE id = $1`,
	"audit_log": `INSERT INTO audit_log (tenant_id, id, actor, action, subject, subject_id)
		SELECT $1, gen_random_uuid(), 'cli:test', 'test', 'step', id FROM steps WHERE tenant_id = $1 LIMIT 1`,
}

// twoClinics is a ledger in which two clinics have a row in every table.
func twoClinics(t *testing.T) (l *ledger, a, b tenant.ID) {
	t.Helper()
	l = newLedger(t)
	a = l.tenant
	l.furnish()
	hook := l.webhook
	l.tenant, l.webhook = l.clinic("other")
	b = l.tenant
	l.furnish()
	l.tenant, l.webhook = a, hook
	return l, a, b
}

// furnish gives the ledger's tenant a patient, a run, a parked message, and
// whatever else it can have.
func (l *ledger) furnish() {
	l.t.Helper()
	step, claim := l.claimed("isolation", "010-0000-0009")
	e := event.Delivery{Tenant: l.tenant, Step: step.ID, Channel: event.Kakao, Attempt: claim.Attempt, Source: event.Query, Status: event.Parked, Reason: event.OutcomeUnknown, At: time.Now().UTC()}
	_, err := l.SettleDeliveries(l.t.Context(), []event.Delivery{e}, func(store.StepNow, event.Delivery) store.Transition {
		return store.Transition{State: store.StateParked, Reason: event.OutcomeUnknown, Finish: true}
	})
	if err != nil {
		l.t.Fatal(err)
	}
	if _, _, err := l.CreateAPIKey(l.t.Context(), l.tenant, "test", "owner", time.Time{}); err != nil {
		l.t.Fatal(err)
	}
	for _, table := range l.tenantRelations("r", "p") {
		if sql := seeds[table.name]; sql != "" {
			l.exec(sql, l.tenant)
		}
	}
}

// relation is a table or a view that has rows of tenants.
type relation struct {
	name string
	key  string // the column that says whose a row is
}

// tenantRelations lists the relations of these kinds that have a tenant's
// column, as the catalogue says.
func (l *ledger) tenantRelations(kinds ...string) []relation {
	l.t.Helper()
	rows, err := l.super.Query(l.t.Context(), `
		SELECT c.relname::text, a.attname::text FROM pg_class c
		JOIN   pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped AND a.attname = CASE WHEN c.relname = 'tenants' THEN 'id' ELSE 'tenant_id' END
		WHERE  c.relnamespace = 'public'::regnamespace AND c.relkind::text = ANY ($1) ORDER BY 1`, kinds)
	if err != nil {
		l.t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r relation, err error) { return r, row.Scan(&r.name, &r.key) })
	if err != nil {
		l.t.Fatal(err)
	}
	if len(list) == 0 {
		l.t.Fatal("no relation of a tenant was found: the search is broken")
	}
	return list
}

// column reads a column of one value per row.
func column[T any](l *ledger, sql string, args ...any) []T {
	l.t.Helper()
	rows, err := l.super.Query(l.t.Context(), sql, args...)
	if err != nil {
		l.t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		l.t.Fatalf("%s: %v", sql, err)
	}
	return list
}

// Without a row of each clinic in each table, the tests of isolation would show
// nothing about it.
func TestTheTwoClinicsHaveARowInEveryTable(t *testing.T) {
	t.Parallel()
	l, a, b := twoClinics(t)
	all := l.tenantRelations("r", "p", "v", "m")
	for _, r := range all {
		for _, id := range []tenant.ID{a, b} {
			if l.count(`SELECT count(*) FROM `+r.name+` WHERE `+r.key+` = $1`, id) == 0 {
				t.Errorf("table %s has no row of a clinic: add one to seeds in isolation_fixture_test.go", r.name)
			}
		}
	}
	for name := range seeds {
		if !slices.ContainsFunc(all, func(r relation) bool { return r.name == name }) {
			t.Errorf("seeds has a row for %s, which is no table of tenants", name)
		}
	}
}

// parentsOf are the ids in tables that no foreign key holds, and what they are
// of: "" is nothing that has to be there, for the reason given.
var parentsOf = map[string]struct{ parent, why string }{
	"attempts.step_id":                {parent: "steps"},
	"attempts.account_id":             {parent: "provider_accounts"},
	"steps.execution_id":              {parent: "workflow_executions"},
	"steps.root_id":                   {parent: "steps"},
	"steps.parent_id":                 {parent: "steps"},
	"parked_steps.step_id":            {parent: "steps"},
	"workflow_executions.workflow_id": {parent: "workflows"},
	"workflow_executions.trigger_id":  {parent: "triggers"},
	"workflow_executions.patient_id":  {parent: "patients"},
	"triggers.webhook_id":             {parent: "webhooks"},
	"triggers.patient_id":             {parent: "patients"},
	"webhook_executions.webhook_id":   {parent: "webhooks"},
	"webhook_executions.trigger_id":   {parent: "triggers"},
	"gateway_reports.step_id":         {parent: "steps"},
	"gateway_reports.root_id":         {why: "as the gateway told it: whoever holds the token may name any"},
	"audit_seals.step_id":             {why: "where the sealer stands; verify-audit looks at what lies before"},
	"audit_log.subject_id":            {why: "of many kinds, and the log outlives its subjects"},
	"attempts.request_id":             {why: "the gateway's own"},
	"steps.request_id":                {why: "the gateway's own"},
	"gateway_reports.request_id":      {why: "the gateway's own"},
	"gateway_reports.hook_id":         {why: "the gateway's own"},
	"triggers.event_id":               {why: "the source's own"},
	"webhook_executions.event_id":     {why: "the source's own"},
	"patients.external_id":            {why: "the clinic's own"},
	"appointments.external_id":        {why: "the clinic's own"},
	"appointment_events.event_id":     {why: "the source's own"},
}

func TestConserveCountsRowsWhoseParentIsAnotherTenants(t *testing.T) {
	t.Parallel()
	l, a, b := twoClinics(t)
	found := map[string]bool{}
	for _, name := range column[string](l, `
		SELECT c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE  c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relrowsecurity
		AND    a.attname LIKE '%\_id' AND a.attname <> 'tenant_id'
		AND    NOT EXISTS (SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.conrelid = c.oid AND a.attnum = ANY (f.conkey)) ORDER BY 1`) {
		found[name] = true
		p, ok := parentsOf[name]
		if !ok {
			t.Errorf("%s has no foreign key: add one on (tenant_id, …), or count its orphans in conserve and add a row to parentsOf", name)
		}
		if p.parent == "" {
			continue
		}
		table, col, _ := strings.Cut(name, ".")
		var theirs uuid.UUID
		l.scan(`SELECT id FROM `+p.parent+` WHERE tenant_id = $1 LIMIT 1`, []any{b}, &theirs)
		var row string
		var was *uuid.UUID
		l.scan(`SELECT ctid::text, `+col+` FROM `+table+` WHERE tenant_id = $1 LIMIT 1`, []any{a}, &row, &was)
		before := l.orphansOf(a)
		l.exec(`UPDATE `+table+` SET `+col+` = $1 WHERE ctid = $2::tid`, theirs, row)
		if after := l.orphansOf(a); after <= before {
			t.Errorf("%s: conserve does not count a row that belongs to another tenant's of %s", name, p.parent)
		}
		l.exec(`UPDATE `+table+` SET `+col+` = $1 WHERE tenant_id = $2 AND `+col+` = $3`, was, a, theirs)
	}
	for name := range parentsOf {
		if !found[name] {
			t.Errorf("parentsOf has a row for %s, which is no column without a foreign key", name)
		}
	}
}

func (l *ledger) orphansOf(id tenant.ID) int64 {
	l.t.Helper()
	list, err := l.Conserve(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	for _, c := range list {
		if c.Tenant == id {
			return c.Orphans
		}
	}
	l.t.Fatal("conserve does not list the tenant")
	return 0
}
