package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/recorder"
)

func (l *ledger) accountOf(id tenant.ID, c event.Channel) (account uuid.UUID) {
	l.t.Helper()
	l.scan(`SELECT id FROM provider_accounts WHERE tenant_id = $1 AND channel = $2 AND enabled`, []any{id, c}, &account)
	return account
}

func (l *ledger) keep(account uuid.UUID, list ...store.GatewayReport) int {
	l.t.Helper()
	n, err := l.KeepReports(l.t.Context(), l.tenant, account, list)
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

func (l *ledger) leaseReports() []store.PendingReport {
	l.t.Helper()
	list, err := l.LeaseReports(l.t.Context(), 0, time.Minute, 8, 100)
	if err != nil {
		l.t.Fatal(err)
	}
	return list
}

func failedReport(hook string, root uuid.UUID) store.GatewayReport {
	return store.GatewayReport{HookID: hook, Root: root, RequestID: "R1", Seq: 1, Says: store.SaysFailed, Code: "3019", At: time.Now()}
}

func TestReportTokenIsShownOnceAndKeptSealed(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	file := fmt.Sprintf(clinicFile, "fresh")
	first, err := l.apply(file, store.ApplyOptions{})
	if err != nil || len(first.Accounts) != 2 || len(first.Accounts[0].ReportToken) < 20 || first.Accounts[0].ReportToken == first.Accounts[1].ReportToken {
		t.Fatalf("accounts %+v, %v", first.Accounts, err)
	}
	kakao := first.Accounts[0]
	for _, again := range []string{file, strings.Replace(file, "channel: kakao", "channel: kakao, rate_per_second: 9", 1)} {
		second, err := l.apply(again, store.ApplyOptions{})
		if err != nil || second.Accounts[0].ReportToken != "" || second.Accounts[0].ID != kakao.ID {
			t.Errorf("accounts %+v, %v", second.Accounts, err)
		}
	}
	got, err := l.ReportAccount(t.Context(), kakao.ID)
	if err != nil || string(got.Token) != kakao.ReportToken || got.Tenant != first.Tenant || got.Channel != event.Kakao {
		t.Errorf("account %+v, %v", got, err)
	}
	var stored []byte
	if l.scan(`SELECT report_token FROM provider_accounts WHERE id = $1`, []any{kakao.ID}, &stored); strings.Contains(string(stored), kakao.ReportToken) {
		t.Error("the token is not sealed")
	}
	given := strings.Repeat("a1", 12)
	if third, err := l.apply(strings.Replace(file, "channel: kakao", "channel: kakao, report_token: "+given, 1), store.ApplyOptions{}); err != nil || third.Accounts[0].ReportToken != given || third.Accounts[0].ID != kakao.ID {
		t.Errorf("accounts %+v, %v", third.Accounts, err)
	}
	// Another sender is another account: new address, new token, and the old
	// door stays open for what was sent through it.
	moved, err := l.apply(strings.Replace(file, "aaaa", "bbbb", 1), store.ApplyOptions{})
	if err != nil || moved.Accounts[0].ID == kakao.ID || moved.Accounts[0].ReportToken == "" || moved.Accounts[0].ReportToken == given {
		t.Errorf("accounts %+v, %v", moved.Accounts, err)
	}
	if old, err := l.ReportAccount(t.Context(), kakao.ID); err != nil || string(old.Token) != given {
		t.Errorf("the replaced account: %v", err)
	}
	doors, err := l.ReportDoors(t.Context(), "simulator", time.Time{})
	if err != nil || len(doors) < 3 {
		t.Errorf("%d doors, %v", len(doors), err)
	}
	if _, err := l.ReportAccount(t.Context(), uuid.Must(uuid.NewV7())); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an account that is not there: %v", err)
	}
}

func TestReportLookUpTellsNothingButIDs(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	c := connect(t, l.urls.API)
	var columns string
	l.scan(`SELECT pg_get_function_result('lookup_report_account(uuid)'::regprocedure)`, nil, &columns)
	if columns != "SETOF record" || l.count(`SELECT array_length(proargnames, 1) - 1 FROM pg_proc WHERE proname = 'lookup_report_account'`) != 2 {
		t.Errorf("it returns %s", columns)
	}
	var n int
	if err := c.QueryRow(t.Context(), `SELECT count(*) FROM provider_accounts`).Scan(&n); err != nil || n != 0 {
		t.Errorf("without a tenant app_api sees %d accounts, %v", n, err)
	}
	for _, sql := range []string{`UPDATE gateway_reports SET state = 'confirmed'`, `DELETE FROM gateway_reports`} {
		if _, err := c.Exec(t.Context(), sql); err == nil {
			t.Errorf("app_api may: %s", sql)
		}
	}
}

func TestReportsAreKeptOncePerHook(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	kakao, sms := l.accountOf(l.tenant, event.Kakao), l.accountOf(l.tenant, event.SMS)
	root := uuid.Must(uuid.NewV7())
	if n := l.keep(kakao, failedReport("a", root), failedReport("b", root), failedReport("a", root)); n != 2 {
		t.Errorf("kept %d of two hooks, one told twice in one call", n)
	}
	contradicting := failedReport("a", root)
	contradicting.Says = store.SaysDelivered
	if n := l.keep(kakao, contradicting, failedReport("c", root)); n != 1 {
		t.Errorf("kept %d, want only the new one", n)
	}
	if n := l.keep(sms, failedReport("a", root)); n != 1 {
		t.Errorf("kept %d: another account's hook is another hook", n)
	}
	if says := l.count(`SELECT count(*) FROM gateway_reports WHERE hook_id = 'a' AND says = 'failed'`); says != 2 {
		t.Error("a hook told again has replaced the first")
	}
	var calls sync.WaitGroup
	var mu sync.Mutex
	total := 0
	for range 8 {
		calls.Go(func() {
			n, err := l.KeepReports(t.Context(), l.tenant, kakao, []store.GatewayReport{failedReport("x", root), failedReport("y", root)})
			mu.Lock()
			defer mu.Unlock()
			if total += n; err != nil {
				t.Error(err)
			}
		})
	}
	if calls.Wait(); total != 2 {
		t.Errorf("eight calls at once kept %d, want 2", total)
	}
	other, _ := l.clinic("other")
	if _, err := l.KeepReports(t.Context(), other, kakao, []store.GatewayReport{failedReport("z", root)}); err == nil {
		t.Error("one tenant kept a report in another's account")
	}
}

// However the report names a message, it is looked for inside its tenant and
// channel, and what may be asked of the gateway is what we know of it.
func TestLeasedReportKnowsItsStep(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step, claim := l.claimed("e1", "010-0000-0000")
	kakao := l.accountOf(l.tenant, event.Kakao)
	sent := event.Delivery{Tenant: l.tenant, Step: step.ID, Channel: event.Kakao, Attempt: claim.Attempt, Status: event.Sent, Source: event.Answer, RequestID: "R1", Seq: 1, At: time.Now()}
	if _, err := l.SettleDeliveries(t.Context(), []event.Delivery{sent}, func(store.StepNow, event.Delivery) store.Transition {
		return store.Transition{State: store.StateSent, Finish: true}
	}); err != nil {
		t.Fatal(err)
	}
	byKey, byRequest, foreignRequest, stranger, noted := failedReport("key", step.ID), failedReport("request", uuid.Nil), failedReport("both", step.ID), failedReport("none", uuid.Must(uuid.NewV7())), failedReport("noted", step.ID)
	byKey.RequestID, foreignRequest.RequestID, noted.Says = "", "R9", store.SaysNoted
	l.keep(kakao, byKey, byRequest, foreignRequest, stranger, noted)
	l.keep(l.accountOf(l.tenant, event.SMS), failedReport("other channel", step.ID))
	other, _ := l.clinic("other")
	if _, err := l.KeepReports(t.Context(), other, l.accountOf(other, event.Kakao), []store.GatewayReport{failedReport("other tenant", step.ID), failedReport("other tenants request", uuid.Nil)}); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range l.leaseReports() {
		got[r.HookID] = fmt.Sprintf("%v %s %v %s %v", r.Step == step.ID, r.RequestID, r.SentBy == kakao, r.State, r.Named)
	}
	const known, unknown = "true R1 true sent ", "false  false  "
	want := map[string]string{
		"key": known + "true", "request": known + "false", "both": known + "true", "none": unknown + "true",
		"other channel": unknown + "true", "other tenant": unknown + "true", "other tenants request": unknown + "false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A leased report is nobody else's until its lease ends; one that was never
// settled, because its copy died, comes again.
func TestReportIsLeasedToOneCopyAndComesBack(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	kakao := l.accountOf(l.tenant, event.Kakao)
	var list []store.GatewayReport
	for n := range 50 {
		list = append(list, failedReport(fmt.Sprint("h", n), uuid.Must(uuid.NewV7())))
	}
	l.keep(kakao, list...)
	seen := map[string]int{}
	var mu sync.Mutex
	var copies sync.WaitGroup
	for range 6 {
		copies.Go(func() {
			for range 10 {
				got, err := l.LeaseReports(t.Context(), 0, time.Minute, 8, 7)
				mu.Lock()
				for _, r := range got {
					seen[r.HookID]++
				}
				mu.Unlock()
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	copies.Wait()
	if len(seen) != 50 {
		t.Errorf("%d of 50 reports were leased", len(seen))
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("report %s was leased %d times", id, n)
		}
	}
	if n, oldest, err := l.PendingReports(t.Context()); err != nil || n != 50 || oldest < 0 {
		t.Errorf("%d pending for %s, %v", n, oldest, err)
	}
	l.exec(`UPDATE gateway_reports SET wake_at = wake_at - interval '61 s'`)
	if got := l.leaseReports(); len(got) != 50 || got[0].Tries != 2 {
		t.Errorf("%d came back", len(got))
	}
	// Every copy respects one account's turn.
	l.exec(`UPDATE gateway_reports SET wake_at = now()`)
	if got, err := l.LeaseReports(t.Context(), time.Hour, time.Minute, 8, 100); err != nil || len(got) != 0 {
		t.Errorf("%d leased out of turn, %v", len(got), err)
	}
}

func TestRefutedReportLeavesOneAnomaly(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step, _ := l.claimed("e1", "010-0000-0000")
	l.keep(l.accountOf(l.tenant, event.Kakao), failedReport("lie", step.ID), failedReport("later", step.ID))
	leased := l.leaseReports()
	settled := []store.SettledReport{
		{PendingReport: leased[0], To: store.ReportRefuted, Refuting: "1000"},
		{PendingReport: leased[1], Again: leased[1].Now.Add(time.Hour)},
	}
	if leased[0].HookID != "lie" {
		settled[0].PendingReport, settled[1].PendingReport = leased[1], leased[0]
	}
	for range 2 { // as after a crash
		if err := l.SettleReports(t.Context(), settled); err != nil {
			t.Fatal(err)
		}
	}
	var kind string
	var detail []byte
	if n := l.count(`SELECT count(*) FROM anomalies`); n != 1 {
		t.Fatalf("%d anomalies", n)
	}
	l.scan(`SELECT kind, detail FROM anomalies WHERE step_id = $1`, []any{step.ID}, &kind, &detail)
	var d map[string]string
	if err := json.Unmarshal(detail, &d); err != nil || kind != store.RefutedReport || d["report"] != "failed" || d["code"] != "3019" || d["gateway_code"] != "1000" {
		t.Errorf("%s %s, %v", kind, detail, err)
	}
	if state, _ := l.state(step.ID); state != "claimed" {
		t.Errorf("the step is %s", state)
	}
	if n := l.count(`SELECT count(*) FROM gateway_reports WHERE state = 'refuted' AND step_id IS NOT NULL AND settled_at IS NOT NULL AND wake_at IS NULL`); n != 1 {
		t.Errorf("%d reports are kept as refuted", n)
	}
	if n := l.count(`SELECT count(*) FROM gateway_reports WHERE state = 'pending' AND settled_at IS NULL AND wake_at > now() + interval '50 min'`); n != 1 {
		t.Errorf("%d reports were put off", n)
	}
}

// Deliveries told in a crowd are left to the poll for a while, failures never.
func TestOnlyDeliveriesInACrowdWait(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	var list []store.GatewayReport
	for n := range 20 {
		r := failedReport(fmt.Sprint("h", n), uuid.Must(uuid.NewV7()))
		if n > 0 {
			r.Says = store.SaysDelivered
		}
		list = append(list, r)
	}
	kakao := l.accountOf(l.tenant, event.Kakao)
	l.keep(kakao, list...)
	l.keep(kakao, store.GatewayReport{HookID: "alone", Says: store.SaysDelivered})
	var got []string
	for _, r := range l.leaseReports() {
		got = append(got, r.HookID)
	}
	if diff := cmp.Diff([]string{"h0", "alone"}, got); diff != "" {
		t.Errorf("leased at once (-want +got):\n%s", diff)
	}
}

// Reports overtake answers. That a request was accepted is no news once its
// own result is known, and contradicts only that nothing was found.
func TestAnswerAfterItsOwnResultIsNoAnomaly(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	apply := func(s store.StepNow, e event.Delivery) store.Transition {
		return recorder.Apply(s, e, store.DefaultTiming)
	}
	for name, tt := range map[string]struct {
		together bool
		reason   event.Reason
		request  string
		want     int
	}{
		"reported_first":             {false, event.Rejected("3019"), "R1", 0},
		"reported_first_in_one_go":   {true, event.Rejected("3019"), "R1", 0},
		"concluded_absent":           {false, event.NotAccepted, "", 1},
		"concluded_absent_in_one_go": {true, event.NotAccepted, "", 1},
	} {
		step, claim := l.claimed(name, "010-0000-0000")
		failure := event.Delivery{
			Tenant: l.tenant, Step: step.ID, Channel: event.Kakao, Attempt: claim.Attempt, Status: event.Failed, Source: event.Query,
			Reason: tt.reason, RequestID: tt.request, Code: tt.reason.Code(), At: time.Now(),
		}
		answer := failure
		answer.Status, answer.Source, answer.Reason, answer.Code, answer.RequestID, answer.Seq = event.Sent, event.Answer, "", "", "R1", 1
		batches := [][]event.Delivery{{failure}, {answer}}
		if tt.together {
			batches = [][]event.Delivery{{failure, answer}}
		}
		for _, b := range batches {
			if _, err := l.SettleDeliveries(t.Context(), b, apply); err != nil {
				t.Fatal(err)
			}
		}
		if n := l.count(`SELECT count(*) FROM anomalies WHERE step_id = $1`, step.ID); n != tt.want {
			t.Errorf("%s: %d anomalies, want %d", name, n, tt.want)
		}
		if state, reason := l.state(step.ID); state != "failed" || reason != string(event.FellBack) {
			t.Errorf("%s: %s (%s)", name, state, reason)
		}
	}
	l.holds()
}
