package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
	"github.com/doctorsflow/doctorsflow/planner"
)

const drawnClinic = `
tenant: {slug: miso, name: 미소치과, phone: "02-555-0100"}
templates:
  - {name: care, kakao_template_code: SIM_OK, kakao_text: "#{환자명}님", sms_text: "#{환자명}님"}
workflows:
  - name: drawn
    visual_data: |
      {"nodes": [{"id": "t", "type": "trigger", "position": {"x": 1, "y": 2}, "data": {}},
                 {"id": "first", "type": "message", "data": {"template": "care"}},
                 {"id": "wait", "type": "wait", "data": {"event": "delivered", "timeout": {"hours": 2}}},
                 {"id": "ask", "type": "condition", "data": {"expression": "patient.gender == 'F' && trigger.vip"}},
                 {"id": "yes", "type": "message", "data": {"template": "care"}},
                 {"id": "no", "type": "message", "data": {"template": "care"}}],
       "edges": [{"source": "t", "target": "first"}, {"source": "first", "target": "wait"},
                 {"source": "wait", "target": "ask", "sourceHandle": "event"}, {"source": "wait", "target": "no", "sourceHandle": "timeout"},
                 {"source": "ask", "target": "yes", "sourceHandle": "true"}, {"source": "ask", "target": "no", "sourceHandle": "false"}]}
webhooks:
  - {name: drawn, workflow: drawn}
`

// drawnRun starts a run of the drawn workflow and returns its first step.
func drawnRun(t *testing.T) (l *ledger, run uuid.UUID, first store.Claim) {
	t.Helper()
	l = newLedger(t)
	if _, err := l.apply(drawnClinic, store.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	l.scan(`SELECT id FROM webhooks WHERE name = 'drawn'`, nil, &l.webhook)
	trigger := l.accept(l.call("e1", `{"vip": true, "patient": {"phone": "010-0000-0001", "name": "김하늘"}}`))[0].TriggerID
	p := planning()
	p.Expand = func(t store.PendingTrigger, d *workflow.Definition) store.Expansion {
		b := planner.Begin(d, planner.Facts{At: t.ReceivedAt, Zone: t.Zone, SendAt: &t.SendAt, Payload: t.Payload})
		out := store.Expansion{Rests: b.Rests, Passed: b.Passed}
		for _, s := range b.Steps {
			out.Steps = append(out.Steps, store.StepPlan(s))
		}
		return out
	}
	due, err := l.PlanTriggers(t.Context(), []event.Trigger{{Tenant: l.tenant, ID: trigger}}, p)
	if err != nil || len(due) != 1 {
		t.Fatalf("due = %v, %v; want the first message", due, err)
	}
	claims, err := l.ClaimSteps(t.Context(), due, claimAll)
	if err != nil || len(claims) != 1 {
		t.Fatalf("claims = %v, %v", claims, err)
	}
	l.scan(`SELECT id FROM workflow_executions`, nil, &run)
	return l, run, claims[0]
}

func (l *ledger) advance() (nodes []string, looked int) {
	l.t.Helper()
	due, looked, err := l.AdvanceRuns(l.t.Context(), 100, planner.Advance)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, s := range due {
		var node string
		l.scan(`SELECT node FROM steps WHERE id = $1`, []any{s.ID}, &node)
		nodes = append(nodes, node)
	}
	return nodes, looked
}

// wake makes everything that rests be looked at now.
func (l *ledger) wake() {
	l.exec(`UPDATE run_rests SET wake_at = now() WHERE wake_at IS NOT NULL`)
}

func TestADrawnRunSeesTheWorldWhenItsTimeComes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change string
		want   string
	}{
		"yes": {`UPDATE patients SET gender = 'F'`, "yes"}, "no": {`UPDATE patients SET gender = 'M'`, "no"}, "unknown": {`SELECT 1`, "no"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, _, first := drawnRun(t)
			l.wake()
			if nodes, looked := l.advance(); len(nodes) != 0 || looked != 1 {
				t.Fatalf("before anything happened: %v of %d", nodes, looked)
			}
			l.settle(told(first, event.Kakao, event.Delivered, event.Poll))
			if got := l.runStatus(); got != "running" {
				t.Errorf("a run that waits is %s", got)
			}
			l.exec(tt.change)
			l.wake()
			var nodes []string
			for range 3 { // the wait, then the question
				more, _ := l.advance()
				nodes = append(nodes, more...)
				l.wake()
			}
			if fmt.Sprint(nodes) != "["+tt.want+"]" {
				t.Errorf("it went on to %v, want %s", nodes, tt.want)
			}
			l.holds()
		})
	}
}

func TestAWaitEndsWithItsTime(t *testing.T) {
	t.Parallel()
	l, _, first := drawnRun(t)
	l.settle(told(first, event.Kakao, event.Sent, event.Answer))
	l.wake()
	l.advance() // it waits now
	l.exec(`UPDATE run_rests SET due_at = now() - interval '1 s', wake_at = now() WHERE wake_at IS NOT NULL`)
	if nodes, _ := l.advance(); fmt.Sprint(nodes) != "[no]" {
		t.Errorf("after its time it went on to %v", nodes)
	}
	l.holds()
}

func TestADrawnRunEndsWhenNothingIsOpen(t *testing.T) {
	t.Parallel()
	l, _, first := drawnRun(t)
	l.settle(told(first, event.Kakao, event.Delivered, event.Poll))
	for range 3 {
		l.wake()
		l.advance()
	}
	var step uuid.UUID
	l.scan(`SELECT id FROM steps WHERE node = 'no'`, nil, &step)
	claims, err := l.ClaimSteps(t.Context(), []event.Step{{Tenant: l.tenant, ID: step, Lane: event.Care, Channel: event.Kakao}}, claimAll)
	if err != nil || len(claims) != 1 {
		t.Fatalf("claims = %v, %v", claims, err)
	}
	l.settle(told(claims[0], event.Kakao, event.Delivered, event.Poll))
	if got := l.runStatus(); got != "completed" {
		t.Errorf("the run is %s", got)
	}
	l.holds()
}

func TestNobodyAdvancesWhatAnotherHolds(t *testing.T) {
	t.Parallel()
	l, run, _ := drawnRun(t)
	l.wake()
	tx, err := l.super.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT FROM workflow_executions WHERE id = $1 FOR UPDATE`, run); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, looked := l.advance(); looked != 0 || time.Since(start) > 5*time.Second {
		t.Errorf("%d rests were looked at", looked)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, looked := l.advance(); looked != 1 {
		t.Errorf("%d rests were looked at, want 1", looked)
	}
}

func TestAWaitForAMessageEndsWhenItArrives(t *testing.T) {
	t.Parallel()
	for _, status := range []event.Status{event.Delivered, event.Failed} {
		l, _, first := drawnRun(t)
		l.wake()
		l.advance() // it waits now
		if _, looked := l.advance(); looked != 0 {
			t.Fatalf("%d rests are looked at while nothing happens", looked)
		}
		l.settle(told(first, event.Kakao, event.Sent, event.Answer))
		if _, looked := l.advance(); looked != 0 {
			t.Errorf("an acceptance is no arrival: %d rests were looked at", looked)
		}
		e := told(first, event.Kakao, status, event.Poll)
		l.settle(e)
		if _, looked := l.advance(); looked != 1 {
			t.Errorf("after %s %d rests were looked at, want the wait", status, looked)
		}
	}
}

func TestWhatIsAddedToARunCarriesItsPlansEpoch(t *testing.T) {
	t.Parallel()
	l, run, first := drawnRun(t)
	l.exec(`UPDATE workflow_executions SET plan_epoch = 3`)
	l.exec(`UPDATE run_rests SET plan_epoch = 3, due_at = now() - interval '1 s', wake_at = now()`)
	l.settle(told(first, event.Kakao, event.Delivered, event.Poll))
	l.exec(`UPDATE steps SET plan_epoch = 3 WHERE state = 'planned'`)
	var due []event.Step
	for range 4 {
		more, _, err := l.AdvanceRuns(t.Context(), 100, planner.Advance)
		if err != nil {
			t.Fatal(err)
		}
		due = append(due, more...)
		l.wake()
	}
	if len(due) != 1 || due[0].PlanEpoch != 3 {
		t.Fatalf("due = %+v, want one of epoch 3", due)
	}
	if claims, err := l.ClaimSteps(t.Context(), due, claimAll); err != nil || len(claims) != 1 {
		t.Errorf("claims = %v, %v", claims, err)
	}
	if n := l.count(`SELECT count(*) FROM run_rests WHERE execution_id = $1 AND plan_epoch <> 3`, run); n != 0 {
		t.Errorf("%d rests of another plan", n)
	}
}

func TestAnErasedPatientsRunGoesNoFurther(t *testing.T) {
	t.Parallel()
	l, run, _ := drawnRun(t)
	var patient uuid.UUID
	l.scan(`SELECT patient_id FROM workflow_executions WHERE id = $1`, []any{run}, &patient)
	if _, err := l.ErasePatient(t.Context(), l.tenant, patient, "", hand); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		l.wake()
		if nodes, _ := l.advance(); len(nodes) != 0 {
			t.Errorf("it went on to %v", nodes)
		}
	}
	if n := l.count(`SELECT count(*) FROM run_rests WHERE wake_at IS NOT NULL`); n != 0 {
		t.Errorf("%d rests are open", n)
	}
	l.holds()
}
