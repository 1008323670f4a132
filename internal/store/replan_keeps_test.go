package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/planner"
)

// What was published by the old plan is published again at once; what waits for
// another reason goes on waiting, and what moves wakes at its new time.
func TestAKeptStepWakesWhenItShouldAndAMovedOneAtItsNewTime(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	run, _ := r.begin()
	r.exec(`UPDATE steps SET wake_at = now() + interval '1 hour' WHERE node = 'now'`) // the lease of its message
	r.exec(`UPDATE steps SET wake_at = now() + interval '30 hours', reason = 'quiet_hours' WHERE node = 'later'`)
	version := r.publish(`{node: now, seconds: 0, template: care}, {node: soon, hours: 2, template: care}, {node: later, hours: 48, template: text}`)
	if out := r.replan(store.Replan{Workflow: r.workflow, Version: version}, planner.Again); out.Moved != 1 || out.Kept != 2 {
		t.Fatalf("%+v", out)
	}
	if leased := r.lease(10); len(leased) != 1 || leased[0].PlanEpoch != 1 || leased[0].Again {
		t.Errorf("released %+v, want the kept step whose message was of the old plan", leased)
	}
	for node, want := range map[string]string{
		"soon": `SELECT wake_at = due_at AND reason IS NULL`, "later": `SELECT wake_at < due_at AND reason = 'quiet_hours'`,
	} {
		var holds bool
		r.scan(want+` FROM steps WHERE execution_id = $1 AND node = $2`, []any{run, node}, &holds)
		if !holds {
			t.Errorf("%s does not wake when it should", node)
		}
	}
	r.holds()
}

func TestWhatNobodyKnowsTheOutcomeOfIsInFlight(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	run, due := r.begin()
	if claims, err := r.ClaimSteps(t.Context(), due, claimAll); err != nil || len(claims) != 1 {
		t.Fatal(claims, err)
	}
	r.exec(`UPDATE steps SET state = 'unknown', queue = 'resolve', reason = 'no_answer' WHERE id = $1`, due[0].ID)
	if out := r.replan(store.Replan{Run: run}, store.Stop(event.WorkflowStopped)); len(out.InFlight) != 1 || out.InFlight[0] != due[0].ID {
		t.Errorf("in flight are %v, want the step that is unknown", out.InFlight)
	}
}

func TestADrawnRunThatIsKeptGoesOnAndOneThatIsStoppedRestsNoMore(t *testing.T) {
	t.Parallel()
	l, run, first := drawnRun(t)
	r := &replans{ledger: l}
	if out := r.replan(store.Replan{Run: run}, planner.Again); out.Runs != 1 || out.Cancelled+out.Moved+out.Added != 0 {
		t.Fatalf("%+v", out)
	}
	l.settle(told(first, event.Kakao, event.Delivered, event.Poll))
	l.wake()
	var nodes []string
	for range 2 { // the wait, then the question
		more, _ := l.advance()
		nodes = append(nodes, more...)
		l.wake()
	}
	if len(nodes) != 1 || nodes[0] != "no" {
		t.Errorf("it went on to %v, want no", nodes)
	}
	l.holds()

	l, run, _ = drawnRun(t)
	r = &replans{ledger: l}
	r.replan(store.Replan{Run: run}, store.Stop(event.WorkflowStopped))
	l.wake()
	if _, looked := l.advance(); looked != 0 || l.count(`SELECT resting FROM workflow_executions WHERE id = $1`, run) != 0 {
		t.Errorf("%d rests of a stopped run were looked at; it counts %d", looked, l.count(`SELECT resting FROM workflow_executions WHERE id = $1`, run))
	}
	if n := l.count(`SELECT count(*) FROM run_rests WHERE execution_id = $1 AND wake_at IS NULL AND outcome = 'superseded'`, run); n != 1 {
		t.Errorf("%d rests ended, want 1", n)
	}
}

// An SMS that replaces a Kakao message is due since that failed: a plan knows
// nothing of it, and leaves it alone.
func TestAPlannedFallbackIsKept(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, time.November, 23, 10, 0, 0, 0, time.UTC)
	r := newReplans(t)
	r.begin()
	var standing []store.StandingStep
	r.replan(store.Replan{Workflow: r.workflow, DryRun: true}, func(p *store.Replanning) store.NewPlan {
		p.Steps = append(p.Steps, store.StandingStep{ID: uuid.New(), Node: "now", Channel: event.SMS, Fallback: true, State: store.StatePlanned, DueAt: at, Expires: at.Add(time.Hour)})
		p.Steps[0].State = store.StateFailed
		standing = p.Steps
		if got := planner.Again(p); len(got.Cancel)+len(got.Move)+len(got.Add) != 0 {
			t.Errorf("the new plan is %+v, want everything kept", got)
		}
		return store.NewPlan{}
	})
	if len(standing) != 4 || standing[0].Node != "now" {
		t.Fatalf("steps %+v", standing)
	}
}

// A drawn run that goes over to a new version keeps the ways that it took; what
// lies ahead of it goes by the new one.
func TestADrawnRunGoesOverToANewVersionByTheWaysThatItTook(t *testing.T) {
	t.Parallel()
	l, run, first := drawnRun(t)
	r := &replans{ledger: l}
	l.settle(told(first, event.Kakao, event.Delivered, event.Poll))
	for range 2 { // the wait, then the question: no
		l.wake()
		l.advance()
	}
	var at time.Time
	l.scan(`SELECT due_at FROM steps WHERE node = 'no' AND state = 'planned'`, nil, &at)
	// The new version asks the other way round, and lets an hour pass before the
	// same message; another follows it, and so does a question.
	next := strings.Replace(drawnClinic, `"patient.gender == 'F' && trigger.vip"`, `"!has(patient.gender)"`, 1)
	next = strings.Replace(next, `{"id": "no", "type": "message", "data": {"template": "care"}}`,
		`{"id": "hour", "type": "delay", "data": {"hours": 1}}, {"id": "no", "type": "message", "data": {"template": "care"}},
                 {"id": "after", "type": "message", "data": {"template": "care"}}, {"id": "again", "type": "condition", "data": {"expression": "trigger.vip"}},
                 {"id": "end", "type": "exit", "data": {}}, {"id": "last", "type": "delay", "data": {"hours": 3}}`, 1)
	next = strings.Replace(next, `{"source": "wait", "target": "no", "sourceHandle": "timeout"}`, `{"source": "wait", "target": "hour", "sourceHandle": "timeout"}`, 1)
	next = strings.Replace(next, `{"source": "ask", "target": "no", "sourceHandle": "false"}`,
		`{"source": "ask", "target": "hour", "sourceHandle": "false"}, {"source": "hour", "target": "no"}, {"source": "no", "target": "after"}, {"source": "after", "target": "last"}, {"source": "last", "target": "again"}, {"source": "again", "target": "end", "sourceHandle": "true"}, {"source": "again", "target": "end", "sourceHandle": "false"}`, 1)
	if _, err := l.apply(next, store.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	var wf uuid.UUID
	var version int32
	l.scan(`SELECT id, version FROM workflows WHERE name = 'drawn'`, nil, &wf, &version)
	out := r.replan(store.Replan{Workflow: wf, Version: version}, planner.Again)
	if out.Runs != 1 || out.Moved != 1 || out.Added != 1 || out.Cancelled != 0 {
		t.Errorf("%+v", out)
	}
	var moved time.Time
	l.scan(`SELECT due_at FROM steps WHERE node = 'no'`, nil, &moved)
	if !moved.Equal(at.Add(time.Hour)) {
		t.Errorf("the message is due %s, want an hour after %s", moved, at)
	}
	if got := l.count(`SELECT count(*) FROM steps WHERE node IN ('yes', 'first')`); got != 1 {
		t.Errorf("%d messages of what was answered and sent, want 1", got)
	}
	var rests string
	l.scan(`SELECT string_agg(node, ' ' ORDER BY node) FROM run_rests WHERE execution_id = $1 AND wake_at IS NOT NULL`, []any{run}, &rests)
	if rests != "again" {
		t.Errorf("it rests at %q, want the new question", rests)
	}
	l.holds()
	if again := r.replan(store.Replan{Workflow: wf, Version: version}, planner.Again); again.Runs != 0 {
		t.Errorf("once more: %+v", again)
	}
}

// Steps of a list are no nodes of a drawing: such runs stay with what they
// began with.
func TestARunStaysWithItsNotation(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	run, _ := r.begin()
	before := r.shape(run)
	if _, err := r.apply(strings.Replace(strings.Replace(drawnClinic, "name: drawn", "name: days", 1), "webhooks:\n  - {name: drawn, workflow: drawn}", "webhooks:\n  - {name: days, workflow: days}", 1), store.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	var version, of int32
	r.scan(`SELECT version FROM workflows WHERE name = 'days'`, nil, &version)
	out := r.replan(store.Replan{Workflow: r.workflow, Version: version}, planner.Again)
	r.scan(`SELECT version FROM workflow_executions WHERE id = $1`, []any{run}, &of)
	if out.Kept != 3 || out.Moved+out.Added+out.Cancelled != 0 || of == version {
		t.Errorf("%+v, version %d; the run is %s, was %s", out, of, r.shape(run), before)
	}
	r.holds()
}
