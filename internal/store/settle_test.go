package store_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/recorder"
)

func (l *ledger) settle(events ...event.Delivery) (fallbacks bool) {
	l.t.Helper()
	for i := range events {
		events[i].At = time.Now().UTC()
		if err := events[i].Validate(); err != nil {
			l.t.Fatal(err)
		}
	}
	fallbacks, err := l.SettleDeliveries(l.t.Context(), events, func(s store.StepNow, e event.Delivery) store.Transition {
		return recorder.Apply(s, e, store.DefaultTiming)
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return fallbacks
}

func told(c store.Claim, ch event.Channel, s event.Status, src event.Source) event.Delivery {
	d := event.Delivery{Tenant: c.Tenant, Step: c.Step, Channel: ch, Attempt: c.Attempt, Status: s, Source: src, RequestID: "20261122101505aB", Seq: 1, Code: "1000"}
	if s == event.Failed {
		d.Code, d.Reason = "3019", event.Rejected("3019")
	}
	return d
}

func TestAcceptedThenDeliveredIsShownInTheLog(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step, claim := l.claimed("e1", "010-0000-0001")
	l.settle(told(claim, event.Kakao, event.Sent, event.Answer))
	if state, _ := l.state(step.ID); state != "sent" {
		t.Fatalf("state = %s", state)
	}
	if n := l.count(`SELECT count(*) FROM steps WHERE id = $1 AND queue = 'care' AND published AND wake_at IS NOT NULL AND request_id = '20261122101505aB'`, step.ID); n != 1 {
		t.Error("a sent step does not keep its lease")
	}
	l.exec(`UPDATE steps SET wake_at = now() WHERE id = $1`, step.ID)
	if leased := l.lease(10); len(leased) != 0 {
		t.Errorf("release would publish a sent step again: %+v", leased)
	}
	if n := l.count(`SELECT count(*) FROM steps WHERE id = $1 AND queue = 'resolve' AND wake_at > now() + interval '9 minutes'`, step.ID); n != 1 {
		t.Error("a sent step whose lease ended does not wait for its report")
	}
	l.settle(told(claim, event.Kakao, event.Delivered, event.Poll))
	if n := l.count(`SELECT count(*) FROM message_logs WHERE id = $1 AND status = 'delivered' AND sent_at IS NOT NULL AND delivered_at IS NOT NULL AND error_message IS NULL`, step.ID); n != 1 {
		t.Error("the log does not show the delivery")
	}
	if n := l.count(`SELECT count(*) FROM attempts WHERE outcome = 'sent' AND source = 'answer' AND request_id IS NOT NULL AND finished_at IS NOT NULL`); n != 1 {
		t.Error("the attempt has no outcome")
	}
	l.holds()
}

func TestAProvenKakaoFailureBringsExactlyOneSMS(t *testing.T) {
	t.Parallel()
	for _, source := range []event.Source{event.Answer, event.Report, event.Poll, event.Query} {
		t.Run(string(source), func(t *testing.T) {
			t.Parallel()
			l := newLedger(t)
			step, claim := l.claimed("e1", "010-0019-0000")
			if source != event.Answer {
				l.settle(told(claim, event.Kakao, event.Sent, event.Answer))
			}
			failure := told(claim, event.Kakao, event.Failed, source)
			if !l.settle(failure, failure) {
				t.Error("nobody is told of the fallback")
			}
			l.settle(failure)
			l.settle(told(claim, event.Kakao, event.Failed, event.Report))
			var sms uuid.UUID
			var root, parent uuid.UUID
			l.scan(`SELECT id, root_id, parent_id FROM steps WHERE channel = 'sms' AND state = 'planned' AND wake_at <= now() AND queue = 'care'`, nil, &sms, &root, &parent)
			if root != step.ID || parent != step.ID {
				t.Errorf("the SMS has root %s and parent %s, want %s", root, parent, step.ID)
			}
			if n := l.count(`SELECT count(*) FROM steps WHERE channel = 'sms'`); n != 1 {
				t.Errorf("%d SMS steps", n)
			}
			if state, reason := l.state(step.ID); state != "failed" || reason != string(event.FellBack) {
				t.Errorf("the Kakao step is %s/%s", state, reason)
			}
			if n := l.count(`SELECT count(*) FROM message_logs WHERE status = 'failed' AND error_message = 'rejected:3019'`); n != 1 {
				t.Error("the log does not name the gateway's code")
			}
			l.holds()
		})
	}
}

func TestAFallbackOfASupersededPlanIsBornCancelled(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	_, claim := l.claimed("e1", "010-0019-0000")
	l.exec(`UPDATE workflow_executions SET plan_epoch = plan_epoch + 1`)
	l.settle(told(claim, event.Kakao, event.Failed, event.Answer))
	if n := l.count(`SELECT count(*) FROM steps WHERE channel = 'sms' AND state = 'cancelled' AND reason = 'superseded' AND wake_at IS NULL`); n != 1 {
		t.Error("the fallback of an old plan is not cancelled")
	}
	l.holds()
}

func TestARunEndsWithItsLastStep(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		status [2]event.Status // of the two steps
		want   string
	}{
		{"both_delivered", [2]event.Status{event.Delivered, event.Delivered}, "completed"},
		{"one_failed", [2]event.Status{event.Delivered, event.Failed}, "completed"},
		{"all_failed", [2]event.Status{event.Failed, event.Failed}, "failed"},
		{"failed_and_skipped", [2]event.Status{event.Failed, event.Skipped}, "failed"},
		{"all_skipped", [2]event.Status{event.Skipped, event.Skipped}, "completed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLedger(t)
			l.planned("e1", "010-0000-0001")
			for i, s := range c.status {
				var id uuid.UUID
				l.scan(`SELECT id FROM steps WHERE node = $1 AND parent_id IS NULL`, []any{string(rune('1' + i))}, &id)
				d := event.Delivery{Tenant: l.tenant, Step: id, Channel: event.Kakao, Status: s, Source: event.Guard, Reason: event.OptedOut}
				switch s {
				case event.Delivered:
					d.Source = event.Poll
				case event.Failed:
					// Final: no SMS takes its place.
					d.Reason, d.Final = event.NoPhone, true
				}
				if status := l.runStatus(); status != "running" {
					t.Fatalf("before step %d the run is %s", i+1, status)
				}
				l.settle(d)
			}
			if status := l.runStatus(); status != c.want {
				t.Errorf("the run is %s, want %s", status, c.want)
			}
			l.holds()
		})
	}
}

func (l *ledger) runStatus() (s string) {
	l.t.Helper()
	l.scan(`SELECT status FROM workflow_executions`, nil, &s)
	return s
}

func TestAContradictionIsKeptAndChangesNothing(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step, claim := l.claimed("e1", "010-0000-0001")
	l.settle(told(claim, event.Kakao, event.Sent, event.Answer), told(claim, event.Kakao, event.Delivered, event.Poll))
	l.settle(told(claim, event.Kakao, event.Failed, event.Report))
	if state, _ := l.state(step.ID); state != "delivered" {
		t.Errorf("a late failure took the step to %s", state)
	}
	var kind, detail string
	l.scan(`SELECT kind, detail::text FROM anomalies WHERE step_id = $1`, []any{step.ID}, &kind, &detail)
	if kind != recorder.LateFailure || !strings.Contains(detail, "3019") {
		t.Errorf("anomaly %s: %s", kind, detail)
	}
	if n := l.count(`SELECT count(*) FROM steps WHERE channel = 'sms'`); n != 0 {
		t.Error("a contradiction caused an SMS")
	}
	l.holds()
}

func TestEvidenceAboutUnknownOrForeignStepsIsDropped(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step, claim := l.claimed("e1", "010-0000-0001")
	other, _ := l.clinic("other")
	foreign := told(claim, event.Kakao, event.Failed, event.Answer)
	foreign.Tenant = other
	stray := told(claim, event.Kakao, event.Failed, event.Answer)
	stray.Step = uuid.New()
	l.settle(foreign, stray)
	if state, _ := l.state(step.ID); state != "claimed" {
		t.Errorf("another tenant's evidence took the step to %s", state)
	}
}

func TestConserveNoticesWhatIsMissing(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]string{
		"step_lost":       `DELETE FROM steps WHERE node = '2'`,
		"expected_forged": `UPDATE workflow_executions SET expected_steps = 3`,
		"run_lost":        `DELETE FROM steps; DELETE FROM workflow_executions`,
		"log_lost":        `UPDATE steps SET state = 'sent' WHERE node = '1'`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLedger(t)
			l.planned("e1", "010-0000-0001")
			l.holds()
			l.exec(harm)
			list, err := l.Conserve(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if list[0].Diff() == 0 {
				t.Error("the law still seems to hold")
			}
		})
	}
}

// Whoever ends a run counts its open steps: it must not do so while one that
// had been given up moves on.
func TestEvidenceAboutAParkedStepHoldsItsRun(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	_, claim := l.parked("e1", "010-0000-0001")
	l.exec(`UPDATE steps SET state = 'planned', reason = NULL, wake_at = due_at WHERE node = '2'`)
	l.exec(`UPDATE workflow_executions SET status = 'running', completed_at = NULL`)
	tx, err := l.super.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), `SELECT FROM workflow_executions FOR NO KEY UPDATE`); err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		l.settle(told(claim, event.Kakao, event.Sent, event.Query))
	}()
	blocked := make(chan struct{})
	go func() {
		defer close(blocked)
		l.untilBlocked(tx)
	}()
	select {
	case <-blocked:
	case <-done:
		t.Fatal("the step moved while another transaction held its run")
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-done
	if got := l.runStatus(); got != "running" {
		t.Errorf("the run is %s", got)
	}
	l.holds()
}

func TestTheLastOfAnAttemptsOutcomesInABatchCounts(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	for i := range 20 {
		_, claim := l.claimed(fmt.Sprint("e", i), fmt.Sprintf("010-0000-%04d", i))
		l.settle(told(claim, event.Kakao, event.Unknown, event.Answer), told(claim, event.Kakao, event.Sent, event.Query))
	}
	if n := l.count(`SELECT count(*) FROM attempts WHERE outcome = 'sent' AND source = 'query'`); n != 20 {
		t.Errorf("%d of 20 attempts have the outcome that came last", n)
	}
}
