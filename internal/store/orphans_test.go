package store_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

// No foreign key holds these rows to what they belong to: the law has to see
// each one that has lost it.
func TestConserveSeesEveryKindOfOrphan(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.claimed("e1", "010-0000-0001")
	orphans := func() int64 {
		t.Helper()
		list, err := l.Conserve(t.Context())
		if err != nil || len(list) != 1 {
			t.Fatalf("%d tenants, %v", len(list), err)
		}
		if (list[0].Diff() == 0) != (list[0].Orphans == 0) {
			t.Errorf("%d orphans, and the law is off by %d", list[0].Orphans, list[0].Diff())
		}
		return list[0].Orphans
	}
	if n := orphans(); n != 0 {
		t.Fatalf("%d orphans in a sound ledger", n)
	}
	for name, harm := range map[string][2]string{
		"attempt of no step": {
			`INSERT INTO attempts (tenant_id, step_id, attempt, channel, plan_epoch, claimed_at) SELECT id, gen_random_uuid(), 1, 'kakao', 0, now() FROM tenants`,
			`DELETE FROM attempts a WHERE NOT EXISTS (SELECT FROM steps s WHERE s.id = a.step_id)`,
		},
		"attempt of no account": {
			`UPDATE attempts SET account_id = tenant_id`,
			`UPDATE attempts SET account_id = (SELECT id FROM provider_accounts WHERE channel = 'kakao')`,
		},
		"step of no run": {
			`INSERT INTO steps (tenant_id, id, execution_id, node, root_id, channel, due_at, expires_at) SELECT id, id, gen_random_uuid(), 'x', id, 'sms', now(), now() FROM tenants`,
			`DELETE FROM steps WHERE node = 'x'`,
		},
		"run of no trigger": {
			`UPDATE workflow_executions SET trigger_id = id`,
			`UPDATE workflow_executions SET trigger_id = (SELECT id FROM triggers)`,
		},
		"run of no patient": {
			`UPDATE workflow_executions SET patient_id = id`,
			`UPDATE workflow_executions SET patient_id = (SELECT id FROM patients)`,
		},
		"run of no version": {
			`UPDATE workflow_executions SET version = version + 1`,
			`UPDATE workflow_executions SET version = version - 1`,
		},
		"run of no workflow": {
			`UPDATE workflow_executions SET workflow_id = id`,
			`UPDATE workflow_executions SET workflow_id = (SELECT id FROM workflows)`,
		},
		"trigger of no webhook": {
			`UPDATE triggers SET webhook_id = id`,
			`UPDATE triggers SET webhook_id = (SELECT id FROM webhooks)`,
		},
		"trigger of no patient": {
			`UPDATE triggers SET patient_id = id`,
			`UPDATE triggers SET patient_id = (SELECT id FROM patients)`,
		},
	} {
		l.exec(harm[0])
		if n := orphans(); n != 1 {
			t.Errorf("%s: %d orphans, want 1", name, n)
		}
		l.exec(harm[1])
		if n := orphans(); n != 0 {
			t.Fatalf("%s: %d orphans after it was mended", name, n)
		}
	}
}

// Another tenant's row of the same id is none that a row could belong to.
func TestAnotherTenantsRowIsNobodysParent(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.claimed("e1", "010-0000-0001")
	other, _ := l.clinic("other")
	l.exec(`UPDATE attempts SET tenant_id = $1`, other)
	list, err := l.Conserve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if c.Tenant == other && c.Orphans != 1 {
			t.Errorf("%d orphans of the tenant that has the attempt, want 1", c.Orphans)
		}
	}
}

// What is never deleted needs no foreign key to be there.
func TestNoRoleOfOursMayDeleteAnything(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	rows, err := l.super.Query(t.Context(), `
		SELECT r.rolname || ' may ' || p.what || ' ' || c.relname
		FROM   pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		CROSS  JOIN pg_roles r CROSS JOIN unnest(ARRAY['DELETE', 'TRUNCATE', 'TRIGGER', 'REFERENCES']) AS p (what)
		WHERE  n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm') AND r.rolname IN ('app_api', 'app_worker')
		AND    has_table_privilege(r.oid, c.oid, p.what)`)
	if err != nil {
		t.Fatal(err)
	}
	may, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(may) > 0 {
		t.Errorf("%v: %v", may, err)
	}
}
