package store_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// tamper changes what nobody may change: as the superuser, past the triggers.
func (l *ledger) tamper(sql ...string) {
	l.t.Helper()
	l.exec(`SET session_replication_role = replica`)
	for _, q := range sql {
		l.exec(q)
	}
	l.exec(`SET session_replication_role = origin`)
}

// verify returns the faults of the first clinic's chain as "seq: what".
func (l *ledger) verify(expect []byte) (store.AuditVerdict, []string) {
	l.t.Helper()
	v, err := l.VerifyAudit(l.t.Context(), l.tenant, 0, expect)
	if err != nil {
		l.t.Fatal(err)
	}
	var out []string
	for _, f := range v.Faults {
		out = append(out, fmt.Sprintf("%d: %s", f.Seq, f.What))
	}
	return v, out
}

// audited writes n rows.
func (l *ledger) audited(n int) {
	l.t.Helper()
	for i := range n {
		if err := l.Audit(l.t.Context(), l.tenant, store.AuditEntry{
			Hand: store.Hand{Actor: "cli:dana", Note: "검토"}, Action: "read", Subject: "why", SubjectID: uuid.Must(uuid.NewV7()),
			Patients: []uuid.UUID{uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())}, Detail: map[string]any{"rows": i, "filters": map[string]any{"limit": 5}},
		}); err != nil {
			l.t.Fatal(err)
		}
	}
}

// sent claims n messages and seals them.
func (l *ledger) sent(n int) (steps []uuid.UUID) {
	l.t.Helper()
	for i := range n {
		step, _ := l.claimed(fmt.Sprint("sent", i), fmt.Sprintf("010-0000-%04d", i))
		steps = append(steps, step.ID)
	}
	l.seal()
	return steps
}

func (l *ledger) seal() (n int) {
	l.t.Helper()
	n, err := l.SealSends(l.t.Context(), 0)
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

func TestAnUntouchedChainVerifies(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.audited(5)
	l.sent(3)
	v, faults := l.verify(nil)
	if len(faults) != 0 || v.First != 1 || v.Sends != 3 {
		t.Fatalf("%+v", v)
	}
	l.audited(3)
	if _, faults := l.verify(v.Head); len(faults) != 0 {
		t.Errorf("with an earlier head: %q", faults)
	}
	if _, faults := l.verify([]byte("other")); len(faults) != 1 || !strings.Contains(faults[0], "expected hash") {
		t.Errorf("with another chain's head: %q", faults)
	}
}

func TestWhateverIsTouchedIsNamed(t *testing.T) {
	t.Parallel()
	// The clinic's file is row 1; rows 2 to 6 are reads, row 7 is three sends.
	for name, c := range map[string]struct {
		sql  []string
		want []string // the beginning of each fault
	}{
		"actor":      {[]string{`UPDATE audit_log SET actor = 'cli:eve' WHERE seq = 3`}, []string{"3: was changed"}},
		"at":         {[]string{`UPDATE audit_log SET at = at - interval '1 microsecond' WHERE seq = 3`}, []string{"3: was changed"}},
		"id":         {[]string{`UPDATE audit_log SET id = gen_random_uuid() WHERE seq = 3`}, []string{"3: was changed"}},
		"from_addr":  {[]string{`UPDATE audit_log SET from_addr = '10.0.0.1' WHERE seq = 3`}, []string{"3: was changed"}},
		"action":     {[]string{`UPDATE audit_log SET action = 'export' WHERE seq = 3`}, []string{"3: was changed"}},
		"subject":    {[]string{`UPDATE audit_log SET subject = 'x' WHERE seq = 3`}, []string{"3: was changed"}},
		"subject_id": {[]string{`UPDATE audit_log SET subject_id = NULL WHERE seq = 3`}, []string{"3: was changed"}},
		"patients":   {[]string{`UPDATE audit_log SET patients = patients[1:1] WHERE seq = 3`}, []string{"3: was changed"}},
		"purpose":    {[]string{`UPDATE audit_log SET purpose = '' WHERE seq = 3`}, []string{"3: was changed"}},
		"detail":     {[]string{`UPDATE audit_log SET detail = detail || '{"rows": 9}' WHERE seq = 3`}, []string{"3: was changed"}},
		"encoding":   {[]string{`UPDATE audit_log SET encoding = 2 WHERE seq = 3`}, []string{"3: has encoding 2"}},
		"prev_hash":  {[]string{`UPDATE audit_log SET prev_hash = '\x00' WHERE seq = 3`}, []string{"3: does not follow row 2", "3: was changed"}},
		"hash":       {[]string{`UPDATE audit_log SET hash = '\x00' WHERE seq = 3`}, []string{"3: was changed", "4: does not follow row 3"}},
		"its hash made to fit": {
			[]string{`UPDATE audit_log SET actor = 'cli:eve' WHERE seq = 3`, `UPDATE audit_log a SET hash = audit_hash(a) WHERE seq = 3`},
			[]string{"4: does not follow row 3"},
		},
		"seq":               {[]string{`UPDATE audit_log SET seq = 99 WHERE seq = 3`}, []string{"3: is missing", "8: to row 98 are missing", "99: was changed", "8: is beyond the head, row 7"}},
		"a row removed":     {[]string{`DELETE FROM audit_log WHERE seq = 3`}, []string{"3: is missing"}},
		"two rows removed":  {[]string{`DELETE FROM audit_log WHERE seq IN (3, 4)`}, []string{"3: to row 4 are missing"}},
		"the first removed": {[]string{`DELETE FROM audit_log WHERE seq = 1`}, []string{"1: is missing"}},
		"the last removed":  {[]string{`DELETE FROM audit_log WHERE seq = 7`}, []string{"7: is missing at the end: the head is row 7"}},
		"the tail removed":  {[]string{`DELETE FROM audit_log WHERE seq > 5`}, []string{"6: to row 7 are missing at the end: the head is row 7"}},
		"the head set back": {
			[]string{`UPDATE audit_heads h SET seq = 5, hash = (SELECT hash FROM audit_log a WHERE a.tenant_id = h.tenant_id AND a.seq = 5)`},
			[]string{"6: is beyond the head, row 5"},
		},
		"the head removed": {[]string{`DELETE FROM audit_heads`}, []string{"7: is the last one, but the chain has no head"}},
		"a row added": {
			[]string{`INSERT INTO audit_log SELECT tenant_id, gen_random_uuid(), at, actor, action, subject, subject_id, purpose, detail, from_addr, patients, 8, encoding, prev_hash, hash FROM audit_log WHERE seq = 3`},
			[]string{"8: does not follow row 7", "8: was changed", "8: is beyond the head, row 7"},
		},
		"two rows swapped": {
			[]string{`UPDATE audit_log SET seq = -seq WHERE seq IN (3, 4)`, `UPDATE audit_log SET seq = 7 + seq WHERE seq < 0`},
			[]string{"3: does not follow row 2", "3: was changed", "4: does not follow row 3", "4: was changed", "5: does not follow row 4"},
		},
		"an attempt's text":      {[]string{`UPDATE attempts SET content = '\x00' WHERE step_id = '%[1]s'`}, []string{"7: tells of attempt 1 of step %[1]s, whose content was changed"}},
		"an attempt's text gone": {[]string{`UPDATE attempts SET content = NULL WHERE step_id = '%[1]s'`}, []string{"7: tells of attempt 1 of step %[1]s, whose content was changed"}},
		"an attempt's channel":   {[]string{`UPDATE attempts SET channel = 'sms' WHERE step_id = '%[1]s'`}, []string{"7: tells of attempt 1 of step %[1]s, whose channel was changed"}},
		"an attempt's time": {
			[]string{`UPDATE attempts SET claimed_at = claimed_at + interval '1 day' WHERE step_id = '%[1]s'`},
			[]string{"7: tells of attempt 1 of step %[1]s, whose claimed_at was changed"},
		},
		"an attempt's patient": {
			[]string{`UPDATE workflow_executions SET patient_id = gen_random_uuid() WHERE id = (SELECT execution_id FROM steps WHERE id = '%[1]s')`},
			[]string{"7: tells of attempt 1 of step %[1]s, whose patient was changed"},
		},
		"an attempt removed": {[]string{`DELETE FROM attempts WHERE step_id = '%[1]s'`}, []string{"7: tells of attempt 1 of step %[1]s, which was removed"}},
		"an attempt invented": {
			[]string{`INSERT INTO attempts (tenant_id, step_id, attempt, channel, plan_epoch, claimed_at, logged)
			SELECT tenant_id, step_id, 2, channel, plan_epoch, claimed_at, false FROM attempts WHERE step_id = '%[1]s'`},
			[]string{"7: does not tell of attempt 2 of step %[1]s: it was added"},
		},
		"an attempt invented before the others": {
			[]string{`INSERT INTO attempts (tenant_id, step_id, attempt, channel, plan_epoch, claimed_at, logged)
			SELECT tenant_id, step_id, 2, channel, plan_epoch, claimed_at - interval '1 year', true FROM attempts WHERE step_id = '%[1]s'`},
			[]string{"7: does not tell of attempt 2 of step %[1]s: it was added"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLedger(t)
			l.audited(5)
			step := l.sent(3)[1].String()
			for i, q := range c.sql {
				if strings.Contains(q, "%[1]s") {
					c.sql[i] = fmt.Sprintf(q, step)
				}
			}
			l.tamper(c.sql...)
			_, got := l.verify(nil)
			if len(got) != len(c.want) {
				t.Errorf("%d faults %q, want %d", len(got), got, len(c.want))
			}
			for i, want := range c.want {
				if strings.Contains(want, "%[1]s") {
					want = fmt.Sprintf(want, step)
				}
				if i >= len(got) || !strings.HasPrefix(got[i], want) {
					t.Fatalf("faults %q, want %q at %d", got, want, i)
				}
			}
		})
	}
}

// A chain that was written anew from its beginning is in order by itself, and
// is told from the first by a head that was kept elsewhere.
func TestAChainWrittenAnewIsKnownByAHeadKeptElsewhere(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.audited(3)
	before, _ := l.verify(nil)
	l.tamper(`UPDATE audit_log SET actor = 'cli:eve' WHERE seq = 2`)
	l.rechain()
	if _, faults := l.verify(nil); len(faults) != 0 {
		t.Fatalf("the chain was not written anew: %q", faults)
	}
	if _, faults := l.verify(before.Head); len(faults) != 1 || !strings.Contains(faults[0], "expected hash") {
		t.Errorf("faults %q", faults)
	}
}

// rechain hashes every row anew.
func (l *ledger) rechain() {
	l.t.Helper()
	l.tamper(`DO $$ DECLARE r audit_log; h bytea := decode(repeat('00', 32), 'hex'); BEGIN
		FOR r IN SELECT * FROM audit_log ORDER BY tenant_id, seq LOOP
			IF r.seq = 1 THEN h := decode(repeat('00', 32), 'hex'); END IF;
			r.prev_hash := h; r.hash := audit_hash(r); h := r.hash;
			UPDATE audit_log SET prev_hash = r.prev_hash, hash = r.hash WHERE tenant_id = r.tenant_id AND id = r.id;
			UPDATE audit_heads SET hash = r.hash WHERE tenant_id = r.tenant_id AND seq = r.seq;
		END LOOP; END $$`)
}

func TestNobodyChangesTheAuditLogByMistake(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.audited(1)
	for _, sql := range []string{`UPDATE audit_log SET purpose = 'x'`, `DELETE FROM audit_log`, `TRUNCATE audit_log`} {
		if _, err := l.super.Exec(t.Context(), sql); err == nil {
			t.Errorf("the superuser may: %s", sql)
		}
	}
	for _, url := range []string{l.urls.API, l.urls.Worker} {
		c := connect(t, url)
		if _, err := c.Exec(t.Context(), `SELECT set_config('app.tenant', $1, false), set_config('app.audit_cut', $1, false)`, l.tenant.String()); err != nil {
			t.Fatal(err)
		}
		for _, sql := range []string{
			`UPDATE audit_log SET purpose = 'x'`, `DELETE FROM audit_log`, `TRUNCATE audit_log`, `UPDATE audit_heads SET seq = 0`, `DELETE FROM audit_heads`,
			`INSERT INTO audit_heads VALUES (gen_random_uuid(), 1, '', now())`, `ALTER TABLE audit_log DISABLE TRIGGER ALL`, `SELECT chain_audit()`,
			`INSERT INTO audit_log (tenant_id, id, actor, action, subject) VALUES ((SELECT id FROM tenants LIMIT 1), gen_random_uuid(), 'system:retention', 'audit.checkpoint', 'x')`,
		} {
			if _, err := c.Exec(t.Context(), sql); err == nil {
				t.Errorf("an app role may: %s", sql)
			}
		}
		_, err := c.Exec(t.Context(), `INSERT INTO audit_log (tenant_id, id, actor, action, subject, detail) VALUES ($1, gen_random_uuid(), 'system:sealer', 'send', 'x',
			'{"from": {"at": "1970-01-01T00:00:00Z"}, "to": {"at": "1970-01-01T00:00:00Z"}}')`, l.tenant)
		if (err == nil) != (url == l.urls.Worker) {
			t.Errorf("only the worker tells of sends: %v", err)
		}
		// A place in the chain is not the writer's to choose.
		if _, err := c.Exec(t.Context(), `INSERT INTO audit_log (tenant_id, id, actor, action, subject, seq, at, prev_hash, hash) VALUES ($1, gen_random_uuid(), 'cli:x', 'read', 'x', 77, '2001-01-01', '\x01', '\x02')`, l.tenant); err != nil {
			t.Fatal(err)
		}
	}
	if _, faults := l.verify(nil); len(faults) != 0 {
		t.Errorf("faults %q", faults)
	}
	if n := l.count(`SELECT count(*) FROM audit_log WHERE seq > 10 OR at < now() - interval '1 hour'`); n != 0 {
		t.Errorf("%d rows are where their writer wanted them", n)
	}
}

func TestManyAppendToOneChain(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	before := l.count(`SELECT count(*) FROM audit_log`)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				if err := l.Audit(context.Background(), l.tenant, store.AuditEntry{Action: "read", Subject: "x"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if v, faults := l.verify(nil); len(faults) != 0 || v.Last != int64(before+40) {
		t.Errorf("%d rows, want %d; faults %q", v.Last, before+40, faults)
	}
}

func TestAChangeAndItsRowAreOneTransaction(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	ctx := store.ActAs(t.Context(), store.Hand{Actor: "cli:dana", From: "192.0.2.7"})
	key, made, err := l.CreateAPIKey(ctx, l.tenant, "crm", "staff", time.Time{})
	if err != nil || key == "" {
		t.Fatal(err)
	}
	if err := l.RevokeAPIKey(ctx, l.tenant, made.ID); err != nil {
		t.Fatal(err)
	}
	if err := l.Pause(ctx, l.tenant, true, "call 010-1234-5678 first"); err != nil {
		t.Fatal(err)
	}
	if err := l.Pause(ctx, tenant.ID{}, false, "over"); err != nil {
		t.Fatal(err)
	}
	page, err := l.AuditLog(t.Context(), l.tenant, store.AuditQuery{Actor: "cli:dana"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range page.Rows {
		got = append(got, r.Action+" "+r.Subject+" "+r.From+" "+r.Purpose)
	}
	want := []string{"send.resume platform 192.0.2.7 over", "send.pause tenant 192.0.2.7 (a note that may not be kept)", "key.revoke api_key 192.0.2.7 ", "key.create api_key 192.0.2.7 "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("audit log (-want +got):\n%s", diff)
	}
	l.exec(`REVOKE INSERT ON audit_log FROM app_api, app_worker`)
	if _, _, err := l.CreateAPIKey(ctx, l.tenant, "crm2", "staff", time.Time{}); err == nil {
		t.Error("a key was made without a row in the audit log")
	}
	if err := l.Pause(ctx, l.tenant, false, ""); err == nil {
		t.Error("resumed without a row in the audit log")
	}
	if n := l.count(`SELECT count(*) FROM api_keys WHERE name = 'crm2'`) + l.count(`SELECT count(*) FROM tenants WHERE id = $1 AND paused_at IS NULL`, l.tenant); n != 0 {
		t.Error("a change is kept that the audit log has not")
	}
}

func TestMorePatientsThanARowNamesAreDigested(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	patients := make([]uuid.UUID, store.MaxAuditPatients+1)
	for i := range patients {
		patients[i] = uuid.Must(uuid.NewV7())
	}
	if err := l.Audit(t.Context(), l.tenant, store.AuditEntry{Action: "read", Subject: "x", Patients: patients}); err != nil {
		t.Fatal(err)
	}
	page, err := l.AuditLog(t.Context(), l.tenant, store.AuditQuery{Patient: patients[3]})
	if err != nil || len(page.Rows) != 1 || len(page.Rows[0].Patients) != store.MaxAuditPatients ||
		!strings.Contains(string(page.Rows[0].Detail), `"patients_total": 501`) {
		t.Fatalf("%+v, %v", page.Rows, err)
	}
}

func TestEverySendIsSealedOnce(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	steps := l.sent(4)
	// A second attempt, and a second clinic's.
	l.exec(`INSERT INTO attempts (tenant_id, step_id, attempt, channel, plan_epoch, claimed_at) SELECT tenant_id, step_id, 2, channel, plan_epoch, app_now() FROM attempts WHERE step_id = $1`, steps[0])
	// One that ended untried.
	l.exec(`INSERT INTO attempts (tenant_id, step_id, attempt, channel, plan_epoch, claimed_at, logged) SELECT tenant_id, gen_random_uuid(), 0, channel, plan_epoch, app_now(), true FROM attempts WHERE step_id = $1 LIMIT 1`, steps[0])
	l.fill(1200)
	var wg sync.WaitGroup
	var mu sync.Mutex
	total := 0
	for range 4 {
		wg.Go(func() {
			n, err := l.SealSends(context.Background(), 0)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			total += n
		})
	}
	wg.Wait()
	total += l.seal()
	if v, faults := l.verify(nil); len(faults) != 0 || total != 1202 || v.Sends != 1206 {
		t.Errorf("%d sealed, %d verified; faults %q", total, v.Sends, faults)
	}
	if n := l.seal(); n != 0 {
		t.Errorf("%d attempts are sealed again", n)
	}
	var all []string
	page, err := l.AuditLog(t.Context(), l.tenant, store.AuditQuery{Action: "send", Limit: 200})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range page.Rows {
		all = append(all, r.Actor)
	}
	if len(all) < 4 || slices.ContainsFunc(all, func(s string) bool { return s != "system:sealer" }) {
		t.Errorf("rows of sends by %q", all)
	}
}

// The sealer reads the hottest table every few seconds, over all clinics.
func TestSealingFindsAttemptsByTheirPlaceInTheOrder(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.unwatched()
	l.fill(2000)
	c, all := l.worker(), statements(t)
	for _, name := range []string{"lockUnsealed", "selectUnsealed"} {
		found := 0
		explain(t, c, name, all[name]).each(func(p plan) {
			if p.Relation != "attempts" {
				return
			}
			found++
			if p.Index != "attempts_log" && p.Index != "attempts_again" || !strings.Contains(p.Cond, "claimed_at") {
				t.Errorf("%s reaches attempts by %s %q with %q", name, p.Node, p.Index, p.Cond)
			}
		})
		if found != 2 {
			t.Errorf("%s looks at attempts %d times, want 2", name, found)
		}
	}
}

// What is claimed by a transaction that commits late must not fall behind the
// seal.
func TestTheSealWaitsForWhoeverMayStillClaim(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.sent(1)
	c := connect(t, l.urls.Worker)
	tx, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	step := uuid.Must(uuid.NewV7())
	if _, err := tx.Exec(t.Context(), `INSERT INTO attempts (tenant_id, step_id, attempt, channel, plan_epoch, claimed_at, logged) VALUES ($1, $2, 1, 'kakao', 0, app_now(), true)`, l.tenant, step); err != nil {
		t.Fatal(err)
	}
	l.claimed("later", "010-0000-0777")
	if n := l.seal(); n != 0 {
		t.Errorf("%d attempts are sealed past one that is not committed", n)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := l.seal(); n != 2 {
		t.Errorf("%d attempts are sealed, want 2", n)
	}
	if _, faults := l.verify(nil); len(faults) != 0 {
		t.Errorf("faults %q", faults)
	}
}

func TestRetentionLeavesAChainThatVerifies(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.audited(4)
	l.sent(2)
	if _, err := l.CutAudit(t.Context(), l.tenant, time.Now().Add(-364*24*time.Hour)); err == nil {
		t.Error("rows of this year may be removed")
	}
	// The platform's clock can be set forward; retention does not go by it.
	if err := l.PassTime(t.Context(), time.Now().AddDate(5, 0, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.CutAudit(t.Context(), l.tenant, time.Now().Add(time.Hour)); err == nil {
		t.Error("rows may be removed by the platform's clock")
	}
	l.exec(`UPDATE platform SET clock_high_water = now()`)
	l.tamper(`UPDATE audit_log SET at = at - interval '4 years' WHERE seq <= 3`, `UPDATE audit_log SET at = at - interval '2 years' WHERE seq > 3`)
	l.rechain()
	head, faults := l.verify(nil)
	if len(faults) != 0 || head.First != 1 {
		t.Fatalf("%q", faults)
	}
	n, err := l.CutAudit(t.Context(), l.tenant, time.Now().AddDate(-3, 0, 0))
	if err != nil || n != 3 {
		t.Fatalf("%d rows removed, %v; want 3", n, err)
	}
	v, faults := l.verify(head.Head)
	if len(faults) != 0 || v.First != 4 || v.Last != head.Last+1 {
		t.Errorf("after the cut: %+v", v)
	}
	if n, err := l.CutAudit(t.Context(), l.tenant, time.Now().AddDate(-3, 0, 0)); n != 0 || err != nil {
		t.Errorf("once more: %d, %v", n, err)
	}
	// Who cuts by hand is found out.
	l.tamper(`DELETE FROM audit_log WHERE seq = 4`)
	if _, faults := l.verify(nil); len(faults) != 1 || !strings.HasPrefix(faults[0], "4: is missing") {
		t.Errorf("faults %q", faults)
	}
}

// Whoever may write a checkpoint past the program cannot pass off young rows as
// old ones.
func TestACheckpointStandsForOldRowsOnly(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.audited(4)
	l.tamper(`DELETE FROM audit_log WHERE seq <= 2`)
	l.exec(`INSERT INTO audit_log (tenant_id, id, actor, action, subject, detail)
		SELECT tenant_id, gen_random_uuid(), 'system:retention', 'audit.checkpoint', 'audit_log', jsonb_build_object('seq', seq - 1, 'hash', encode(prev_hash, 'hex'),
		       'rows', 2, 'before', now() - interval '3 days', 'last_at', now() - interval '4 days') FROM audit_log WHERE seq = 3`)
	if _, faults := l.verify(nil); len(faults) != 1 || !strings.HasPrefix(faults[0], "6: ") && !strings.Contains(faults[0], "checkpoint") {
		t.Errorf("faults %q", faults)
	}
}
