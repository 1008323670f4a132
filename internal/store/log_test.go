package store_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// beside is the same ledger seen by another clinic with the same workflow.
func (l *ledger) beside(slug string) *ledger {
	l.t.Helper()
	o := *l
	o.tenant, o.webhook = l.clinic(slug)
	l.scan(`SELECT id FROM workflows WHERE tenant_id = $1`, []any{o.tenant}, &o.workflow)
	return &o
}

// sends claims a message for a patient of this number and returns its log's
// id.
func (l *ledger) sends(id, number string) uuid.UUID {
	l.t.Helper()
	step := l.planned(id, number)
	claims, err := l.ClaimSteps(l.t.Context(), []event.Step{step}, func(c *store.Candidate) store.Decision {
		return store.Decision{Claim: true, Content: "text for " + c.To.National()}
	})
	if err != nil || len(claims) != 1 {
		l.t.Fatalf("claims = %v, %v; want one", claims, err)
	}
	return step.ID
}

func (l *ledger) logs(q store.LogQuery) store.Page[store.MessageLog] {
	l.t.Helper()
	page, err := l.MessageLogs(l.t.Context(), l.tenant, q)
	if err != nil {
		l.t.Fatal(err)
	}
	return page
}

func sameNumber(a, b phone.Number) bool { return a == b }

func logIDs(logs []store.MessageLog) (ids []uuid.UUID) {
	for _, m := range logs {
		ids = append(ids, m.ID)
	}
	return ids
}

func TestMessageLogsShowWhatWasSentInTheClinicsTime(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.exec(`UPDATE tenants SET time_zone = 'Australia/Eucla' WHERE id = $1`, l.tenant) // UTC+8:45 and no other
	step, claim := l.claimed("e1", "010-0000-0001")
	l.settle(told(claim, event.Kakao, event.Sent, event.Answer))
	l.settle(told(claim, event.Kakao, event.Delivered, event.Report))

	page := l.logs(store.LogQuery{})
	if len(page.Rows) != 1 || page.Next != "" {
		t.Fatalf("%d logs, next %q; want one and no next page", len(page.Rows), page.Next)
	}
	got := page.Rows[0]
	for what, at := range map[string]time.Time{"created": got.Created, "sent": got.Sent, "delivered": got.Delivered} {
		if _, offset := at.Zone(); at.IsZero() || offset != (8*60+45)*60 || time.Since(at).Abs() > time.Minute {
			t.Errorf("%s = %v, want now in the clinic's zone", what, at)
		}
	}
	var run, patient uuid.UUID
	l.scan(`SELECT e.id, e.patient_id FROM workflow_executions e JOIN steps s ON s.execution_id = e.id WHERE s.id = $1`, []any{step.ID}, &run, &patient)
	want := store.MessageLog{
		ID: step.ID, Patient: patient, PatientName: "김하늘", PatientPhone: got.PatientPhone, Content: "text",
		Channel: event.Kakao, Status: "delivered", Workflow: l.workflow, Execution: run, Root: step.ID,
		Sent: got.Sent, Delivered: got.Delivered, Created: got.Created,
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(sameNumber)); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	if got.PatientPhone.E164() != "+821000000001" || got.PatientPhone.String() != "010****0001" {
		t.Errorf("phone = %v", got.PatientPhone)
	}
}

func TestEveryLogFilterSelects(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	statuses := []string{"pending", "sent", "failed", "delivered"}
	ids := make([]uuid.UUID, len(statuses))
	start := time.Now().Add(-4 * time.Hour).Truncate(time.Microsecond)
	for i, status := range statuses {
		ids[i] = l.sends(fmt.Sprint("e", i), fmt.Sprintf("010-0000-000%d", i))
		l.exec(`UPDATE steps SET state = $2, reason = 'time_passed' WHERE id = $1`, ids[i], strings.Replace(status, "pending", "unknown", 1))
		l.exec(`UPDATE attempts SET claimed_at = $2 WHERE step_id = $1`, ids[i], start.Add(time.Duration(i)*time.Hour))
	}
	l.exec(`UPDATE steps SET channel = 'sms' WHERE id = $1`, ids[1])
	of := func(i int) (patient, run uuid.UUID) {
		l.scan(`SELECT e.patient_id, e.id FROM workflow_executions e JOIN steps s ON s.execution_id = e.id WHERE s.id = $1`, []any{ids[i]}, &patient, &run)
		return patient, run
	}
	patient, _ := of(2)
	_, run := of(3)
	pick := func(at ...int) (out []uuid.UUID) {
		for _, i := range at {
			out = append(out, ids[i])
		}
		return out
	}
	for _, tt := range []struct {
		name string
		q    store.LogQuery
		want []uuid.UUID
	}{
		{"none", store.LogQuery{}, pick(3, 2, 1, 0)},
		{"pending", store.LogQuery{Status: "pending"}, pick(0)},
		{"sent", store.LogQuery{Status: "sent"}, pick(1)},
		{"failed", store.LogQuery{Status: "failed"}, pick(2)},
		{"delivered", store.LogQuery{Status: "delivered"}, pick(3)},
		{"kakao", store.LogQuery{Channel: event.Kakao}, pick(3, 2, 0)},
		{"sms", store.LogQuery{Channel: event.SMS}, pick(1)},
		{"patient", store.LogQuery{Patient: patient}, pick(2)},
		{"workflow", store.LogQuery{Workflow: l.workflow}, pick(3, 2, 1, 0)},
		{"other_workflow", store.LogQuery{Workflow: uuid.New()}, nil},
		{"execution", store.LogQuery{Execution: run}, pick(3)},
		{"from_is_inclusive", store.LogQuery{From: start.Add(2 * time.Hour)}, pick(3, 2)},
		{"to_is_exclusive", store.LogQuery{To: start.Add(2 * time.Hour)}, pick(1, 0)},
		{"span", store.LogQuery{From: start.Add(time.Hour), To: start.Add(3 * time.Hour)}, pick(2, 1)},
		{"both_must_hold", store.LogQuery{Status: "sent", Channel: event.Kakao}, nil},
		{"limit", store.LogQuery{Limit: 2}, pick(3, 2)},
	} {
		if diff := cmp.Diff(tt.want, logIDs(l.logs(tt.q).Rows)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestPagesOfLogsMissNothingAndRepeatNothing(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	want := map[uuid.UUID]bool{}
	for i := range 7 {
		want[l.sends(fmt.Sprint("e", i), "010-0000-0000")] = true
	}
	// Logs of one instant are the hard case: the time alone orders nothing.
	l.exec(`UPDATE attempts SET claimed_at = '2026-11-01 10:00:00.123456+00'`)
	seen := map[uuid.UUID]bool{}
	q := store.LogQuery{Limit: 3}
	for pages := 1; ; pages++ {
		page := l.logs(q)
		for _, id := range logIDs(page.Rows) {
			if seen[id] || !want[id] {
				t.Errorf("page %d repeats or invents %s", pages, id)
			}
			seen[id] = true
		}
		if page.Next == "" {
			if pages != 3 {
				t.Errorf("%d pages, want 3", pages)
			}
			break
		}
		if len(page.Rows) != 3 {
			t.Fatalf("page %d has %d rows, want 3", pages, len(page.Rows))
		}
		q.Cursor = page.Next
		l.sends(fmt.Sprint("new", pages), "010-0000-0000") // newer than where the reader is
	}
	if len(seen) != len(want) {
		t.Errorf("saw %d of %d logs", len(seen), len(want))
	}
	l.exec(`UPDATE attempts SET claimed_at = now() - random() * interval '1 hour'`)
	if last := l.logs(store.LogQuery{Limit: 9}); last.Next != "" || len(last.Rows) != 9 {
		t.Errorf("a page that just fits: %d rows, next %q", len(last.Rows), last.Next)
	}
}

func TestOneTenantSeesNothingOfAnothersLogsAndRuns(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	other := l.beside("other")
	mine, theirs := l.sends("e1", "010-0000-0001"), other.sends("e1", "010-0000-0001")
	var patient, run uuid.UUID
	l.scan(`SELECT e.patient_id, e.id FROM workflow_executions e WHERE e.tenant_id = $1`, []any{other.tenant}, &patient, &run)

	if diff := cmp.Diff([]uuid.UUID{mine}, logIDs(l.logs(store.LogQuery{}).Rows)); diff != "" {
		t.Errorf("own logs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]uuid.UUID{theirs}, logIDs(other.logs(store.LogQuery{}).Rows)); diff != "" {
		t.Errorf("the other's logs (-want +got):\n%s", diff)
	}
	for name, q := range map[string]store.LogQuery{
		"patient": {Patient: patient}, "workflow": {Workflow: other.workflow}, "execution": {Execution: run},
	} {
		if page := l.logs(q); len(page.Rows) != 0 || page.Next != "" {
			t.Errorf("another tenant's %s shows %d logs", name, len(page.Rows))
		}
	}
	for name, q := range map[string]store.ExecutionQuery{"patient": {Patient: patient}, "workflow": {Workflow: other.workflow}} {
		if page := l.runs(q); len(page.Rows) != 0 || page.Next != "" {
			t.Errorf("another tenant's %s shows %d runs", name, len(page.Rows))
		}
	}
}

func TestACursorIsGoodOnlyForTheListAndTenantItWasMadeFor(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	other := l.beside("other")
	for i := range 2 {
		l.sends(fmt.Sprint("e", i), "010-0000-0000")
		other.sends(fmt.Sprint("e", i), "010-0000-0000")
	}
	mine, theirs := l.logs(store.LogQuery{Limit: 1}).Next, other.logs(store.LogQuery{Limit: 1}).Next
	runs := l.runs(store.ExecutionQuery{Limit: 1}).Next
	if mine == "" || theirs == "" || runs == "" {
		t.Fatalf("no cursors: %q %q %q", mine, theirs, runs)
	}
	l.logs(store.LogQuery{Cursor: mine})
	l.runs(store.ExecutionQuery{Cursor: runs})

	bad := []string{theirs, runs, "x", "!", mine + "A", mine[1:], mine[:len(mine)-1], "\x00", base64.RawURLEncoding.EncodeToString(make([]byte, 40))}
	raw, err := base64.RawURLEncoding.DecodeString(mine)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		raw[i] ^= 1
		bad = append(bad, base64.RawURLEncoding.EncodeToString(raw))
		raw[i] ^= 1
	}
	for _, c := range bad {
		if _, err := l.MessageLogs(t.Context(), l.tenant, store.LogQuery{Cursor: c}); !errors.Is(err, store.ErrCursor) {
			t.Errorf("logs with cursor %q: %v, want ErrCursor", c, err)
		}
	}
	for _, c := range []string{mine, theirs, "x"} {
		if _, err := l.Executions(t.Context(), l.tenant, store.ExecutionQuery{Cursor: c}); !errors.Is(err, store.ErrCursor) {
			t.Errorf("runs with cursor %q: %v, want ErrCursor", c, err)
		}
	}
}

func TestAnErasedPatientsLogsShowNothingOfThem(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	gone, moved, kept := l.sends("e1", "010-0000-0001"), l.sends("e2", "010-0000-0002"), l.sends("e3", "010-0000-0003")
	l.exec(`UPDATE patients SET data_key = NULL, phone_index = NULL, phone_last4_index = NULL, erased_at = now()
		WHERE id = (SELECT patient_id FROM message_logs WHERE id = $1)`, gone)
	l.exec(`UPDATE attempts SET content = (SELECT content FROM attempts WHERE step_id = $2) WHERE step_id = $1`, moved, kept)
	for _, m := range l.logs(store.LogQuery{}).Rows {
		want := map[uuid.UUID][3]string{gone: {}, moved: {"김하늘", "", "01000000002"}, kept: {"김하늘", "text for 01000000003", "01000000003"}}[m.ID]
		if got := [3]string{m.PatientName, m.Content, m.PatientPhone.National()}; got != want {
			t.Errorf("log %s shows %q, want %q", m.ID, got, want)
		}
	}
}

func TestAnErasedTenantsListsAreClosed(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.sends("e1", "010-0000-0001")
	l.exec(`UPDATE tenants SET data_key = NULL WHERE id = $1`, l.tenant)
	if _, err := l.MessageLogs(t.Context(), l.tenant, store.LogQuery{}); !errors.Is(err, store.ErrErased) {
		t.Errorf("logs: %v, want ErrErased", err)
	}
	if _, err := l.Executions(t.Context(), l.tenant, store.ExecutionQuery{}); !errors.Is(err, store.ErrErased) {
		t.Errorf("runs: %v, want ErrErased", err)
	}
}
