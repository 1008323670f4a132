package store_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/migrations"
)

func TestAnAppliedFileTellsWhomItChangedAndNotWhat(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	const file = `
tenant: {slug: clinic, name: 미소치과}
patients:
  - {external_id: P-1, name: 김하늘, phone: "010-0000-0001"}
  - {external_id: P-2, name: 이바다, phone: "010-0000-0002", opted_out: true}
`
	f, err := clinic.Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	apply := func(dry bool) (rows []store.AuditRow) {
		before := l.count(`SELECT count(*) FROM audit_log`)
		a, err := l.ApplyClinic(store.ActAs(t.Context(), store.Hand{Actor: "cli:dana"}), f, store.ApplyOptions{Phones: testNumbers, DryRun: dry})
		if err != nil {
			t.Fatal(err)
		}
		page, err := l.AuditLog(t.Context(), a.Tenant, store.AuditQuery{Actor: "cli:dana"})
		if err != nil && !dry {
			t.Fatal(err)
		}
		if dry && l.count(`SELECT count(*) FROM audit_log`) != before {
			t.Error("a dry run is in the audit log")
		}
		return page.Rows
	}
	apply(true)
	rows := apply(false)
	if len(rows) != 2 || rows[0].Action != "clinic.apply" || len(rows[0].Patients) != 2 || rows[1].Action != "patient.opt_out" || len(rows[1].Patients) != 1 {
		t.Fatalf("the audit log has %+v", rows)
	}
	var detail struct {
		Changes map[string]int
		Fields  []string
	}
	if err := json.Unmarshal(rows[0].Detail, &detail); err != nil || detail.Changes["patient.create"] != 2 {
		t.Errorf("detail %s, %v", rows[0].Detail, err)
	}
	if n := l.count(`SELECT count(*) FROM audit_log WHERE concat(actor, subject, purpose, detail) ~ '하늘|바다|P-1|P-2|0000000'`); n != 0 {
		t.Errorf("%d rows tell what patients are called", n)
	}
	if again := apply(false); len(again) != len(rows) {
		t.Errorf("a file that changes nothing has %d more rows", len(again)-len(rows))
	}
}

func TestADecisionTellsWhoseMessageAndFromWhere(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step, _ := l.parked("e1", "010-0000-0001")
	ctx := store.ActAs(t.Context(), store.Hand{Actor: "key:x", From: "192.0.2.9"})
	if _, err := l.DropParked(ctx, l.tenant, step.ID, staff); err != nil {
		t.Fatal(err)
	}
	var patient uuid.UUID
	l.scan(`SELECT id FROM patients`, nil, &patient)
	page, err := l.AuditLog(t.Context(), l.tenant, store.AuditQuery{Action: "parked.drop"})
	if err != nil || len(page.Rows) != 1 {
		t.Fatal(page.Rows, err)
	}
	if r := page.Rows[0]; r.Actor != staff.Actor || r.Purpose != staff.Note || r.From != "192.0.2.9" || r.SubjectID != step.ID || !slices.Equal(r.Patients, []uuid.UUID{patient}) {
		t.Errorf("the audit log has %+v", r)
	}
}

func TestWhatWasKeptBeforeThereWasAChainIsInIt(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	owner, err := pgx.ParseConfig(l.urls.Owner)
	if err != nil {
		t.Fatal(err)
	}
	l.exec(`DROP SCHEMA public CASCADE`)
	l.exec(`CREATE SCHEMA public AUTHORIZATION ` + pgx.Identifier{owner.User}.Sanitize())
	db := stdlib.OpenDB(*owner)
	defer db.Close()
	old, err := goose.NewProvider(goose.DialectPostgres, db, migrations.FS, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.UpTo(t.Context(), 8); err != nil {
		t.Fatal(err)
	}
	l.exec(`INSERT INTO tenants (id, slug, name) VALUES ($1, 'old', 'old')`, l.tenant)
	for range 3 {
		l.exec(`INSERT INTO audit_log (tenant_id, id, actor, action, subject, subject_id, note, detail) VALUES ($1, gen_random_uuid(), 'cli:dana', 'parked.drop', 'step', gen_random_uuid(), '지난 일', '{"was": "parked"}')`, l.tenant)
	}
	if err := store.Migrate(t.Context(), l.urls.Owner); err != nil {
		t.Fatal(err)
	}
	l.audited(2)
	if v, faults := l.verify(nil); len(faults) != 0 || v.First != 1 || v.Last != 5 {
		t.Errorf("%+v", v)
	}
	if n := l.count(`SELECT count(*) FROM pg_class WHERE relname = 'audit_log' AND relforcerowsecurity`); n != 1 {
		t.Error("row-level security is not forced any more")
	}
}

func TestCredentialsAndKeysComeAndGoInTheLog(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	ctx := store.ActAs(t.Context(), store.Hand{Actor: "cli:dana"})
	k, made, err := l.CreateNATSCredential(ctx, l.tenant, "EMR", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.RevokeNATSCredential(ctx, l.tenant, made.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := l.RotateTenantKey(ctx, l.tenant); err != nil {
		t.Fatal(err)
	}
	var rows string
	l.scan(`SELECT string_agg(actor || ' ' || action, ', ' ORDER BY seq) FROM audit_log WHERE actor = 'cli:dana'`, nil, &rows)
	if rows != "cli:dana nats_credential.create, cli:dana nats_credential.revoke, cli:dana tenant_key.rotate" {
		t.Errorf("the log has %q", rows)
	}
	if n := l.count(`SELECT count(*) FROM audit_log WHERE detail::text LIKE '%' || $1 || '%'`, k); n != 0 {
		t.Error("the log has the secret")
	}
	if _, faults := l.verify(nil); len(faults) != 0 {
		t.Errorf("%q", faults)
	}
}
