package store_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
	"github.com/doctorsflow/doctorsflow/planner"
)

const replanClinic = `
tenant: {slug: miso, name: 미소치과, phone: "02-555-0100"}
templates:
  - {name: care, kakao_template_code: SIM_OK, kakao_text: "#{환자명}님", sms_text: "#{환자명}님"}
  - {name: text, sms_text: "#{환자명}님"}
workflows:
  - name: days
    steps: [%s]
webhooks:
  - {name: days, workflow: days}
`

const threeSteps = `{node: now, seconds: 0, template: care}, {node: soon, hours: 1, template: care}, {node: later, hours: 48, template: text}`

// replans is a ledger with a workflow whose plan is the planner's.
type replans struct {
	*ledger
	workflow uuid.UUID
	patients int
}

func newReplans(t testing.TB) *replans {
	t.Helper()
	r := &replans{ledger: newLedger(t)}
	r.publish(threeSteps)
	r.scan(`SELECT id FROM webhooks WHERE name = 'days'`, nil, &r.webhook)
	r.scan(`SELECT id FROM workflows WHERE name = 'days'`, nil, &r.workflow)
	return r
}

// publish makes a version of the workflow and returns its number.
func (r *replans) publish(steps string) (version int32) {
	r.t.Helper()
	if _, err := r.apply(fmt.Sprintf(replanClinic, steps), store.ApplyOptions{}); err != nil {
		r.t.Fatal(err)
	}
	r.scan(`SELECT version FROM workflows WHERE name = 'days'`, nil, &version)
	return version
}

// begin starts a run of a new patient and returns it with its due steps.
func (r *replans) begin() (run uuid.UUID, due []event.Step) {
	r.t.Helper()
	r.patients++
	trigger := r.accept(r.call(fmt.Sprint("begin-", r.patients), body(number(r.patients), "김하늘")))[0].TriggerID
	p := planning()
	p.Expand = func(t store.PendingTrigger, d *workflow.Definition) (out store.Expansion) {
		for _, s := range planner.Plan(d, planner.Facts{At: t.ReceivedAt, Zone: t.Zone, SendAt: &t.SendAt}) {
			out.Steps = append(out.Steps, store.StepPlan(s))
		}
		return out
	}
	due, err := r.PlanTriggers(r.t.Context(), []event.Trigger{{Tenant: r.tenant, ID: trigger}}, p)
	if err != nil {
		r.t.Fatal(err)
	}
	r.scan(`SELECT id FROM workflow_executions WHERE trigger_id = $1`, []any{trigger}, &run)
	return run, due
}

func (r *replans) replan(change store.Replan, again func(*store.Replanning) store.NewPlan) store.Replanned {
	r.t.Helper()
	change.Hand = hand
	if change.Action == "" {
		change.Action = "run.test"
	}
	out, err := r.Replan(r.t.Context(), r.tenant, change, again)
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// shape is a run's steps: node, channel, state, reason and hours from now.
func (r *replans) shape(run uuid.UUID) (s string) {
	r.t.Helper()
	r.scan(`SELECT coalesce(string_agg(concat_ws(' ', node, channel, state, reason, round(extract(epoch FROM due_at - created_at) / 3600), 'e' || plan_epoch), ', ' ORDER BY due_at, id), '')
		FROM steps WHERE execution_id = $1`, []any{run}, &s)
	return s
}

func TestAStoppedRunSendsNothingMore(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	run, due := r.begin()
	other, _ := r.begin()
	claims, err := r.ClaimSteps(t.Context(), due, claimAll)
	if err != nil || len(claims) != 1 {
		t.Fatal(claims, err)
	}
	out := r.replan(store.Replan{Run: run, Action: "run.stop"}, store.Stop(event.WorkflowStopped))
	if out.Runs != 1 || out.Cancelled != 2 || out.Kept+out.Moved+out.Added != 0 || len(out.InFlight) != 1 || out.InFlight[0] != due[0].ID {
		t.Errorf("%+v", out)
	}
	if got, want := r.shape(run), "now kakao claimed 0 e0, soon kakao cancelled workflow_stopped 1 e1, later sms cancelled workflow_stopped 48 e1"; got != want {
		t.Errorf("steps %s, want %s", got, want)
	}
	// What was under way and failed is not followed by a text of the old plan.
	r.settle(told(claims[0], event.Kakao, event.Failed, event.Poll))
	if n := r.count(`SELECT count(*) FROM steps WHERE execution_id = $1 AND state = 'planned'`, run); n != 0 {
		t.Errorf("%d steps are planned", n)
	}
	var status, untouched string
	r.scan(`SELECT status FROM workflow_executions WHERE id = $1`, []any{run}, &status)
	r.scan(`SELECT status FROM workflow_executions WHERE id = $1`, []any{other}, &untouched)
	if status == "running" || untouched != "running" {
		t.Errorf("the run is %s, another %s", status, untouched)
	}
	if again := r.replan(store.Replan{Run: run}, store.Stop(event.WorkflowStopped)); again.Runs != 0 {
		t.Errorf("once more: %+v", again)
	}
	if _, err := r.Replan(t.Context(), r.tenant, store.Replan{Run: uuid.New(), Hand: hand, Action: "run.stop"}, store.Stop(event.WorkflowStopped)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a run that is not there: %v", err)
	}
	if n := r.count(`SELECT count(*) FROM audit_log WHERE action = 'run.stop' AND subject_id = $1 AND cardinality(patients) = 1`, run); n != 1 {
		t.Errorf("%d rows in the audit log", n)
	}
	r.holds()
}

func TestAMigratedRunHasTheNewPlanAndTexts(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	run, due := r.begin()
	if claims, err := r.ClaimSteps(t.Context(), due, claimAll); err != nil || len(claims) != 1 {
		t.Fatal(claims, err)
	}
	// now was sent; soon moves; later goes; new comes; past is over already.
	version := r.publish(`{node: now, hours: 5, template: care}, {node: soon, hours: 2, template: care}, {node: new, hours: 72, template: care}, {node: past, seconds: 0, template: care, expires_after: 1ns}`)
	if out := r.replan(store.Replan{Workflow: r.workflow}, planner.Again); out.Kept != 2 || out.Moved+out.Added+out.Cancelled != 0 {
		t.Errorf("by its own version: %+v", out)
	}
	before := r.shape(run)
	if tried := r.replan(store.Replan{Workflow: r.workflow, Version: version, DryRun: true}, planner.Again); tried.Moved != 1 || tried.Added != 1 || tried.Cancelled != 1 || r.shape(run) != before {
		t.Errorf("tried: %+v; the steps are %s, were %s", tried, r.shape(run), before)
	}
	if list, err := r.Workflows(t.Context(), r.tenant); err != nil || len(list) != 2 || list[1].Open != 1 || list[1].Behind != 1 || list[1].Planned != 2 || list[1].Version != version {
		t.Errorf("workflows %+v, %v", list, err)
	}
	out := r.replan(store.Replan{Workflow: r.workflow, Version: version}, planner.Again)
	if out.Runs != 1 || out.Moved != 1 || out.Added != 1 || out.Cancelled != 1 || out.Kept != 0 {
		t.Errorf("%+v", out)
	}
	if got, want := r.shape(run), "now kakao claimed 0 e0, soon kakao planned 2 e2, later sms cancelled superseded 48 e2, new kakao planned 72 e2"; got != want {
		t.Errorf("steps %s, want %s", got, want)
	}
	if again := r.replan(store.Replan{Workflow: r.workflow, Version: version}, planner.Again); again.Runs != 0 {
		t.Errorf("once more: %+v", again)
	}
	r.holds()
}

// A kept step is claimed by a message of the new plan, and not by one of the
// old that is on its way.
func TestAMessageOfTheOldPlanClaimsNothing(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	_, due := r.begin()
	if out := r.replan(store.Replan{Workflow: r.workflow}, planner.Again); out.Kept != 3 {
		t.Fatalf("%+v", out)
	}
	if claims, err := r.ClaimSteps(t.Context(), due, claimAll); err != nil || len(claims) != 0 {
		t.Errorf("the old message claimed %v, %v", claims, err)
	}
	leased := r.lease(10)
	var released []event.Step
	for _, s := range leased {
		released = append(released, s.Step)
	}
	if len(released) != 1 || released[0].PlanEpoch != 1 {
		t.Fatalf("released %+v, want the one that is due, of epoch 1", released)
	}
	if claims, err := r.ClaimSteps(t.Context(), released, claimAll); err != nil || len(claims) != 1 {
		t.Errorf("the new message claimed %v, %v", claims, err)
	}
}

// Claims and stops race; whatever was claimed is named, and nothing is claimed
// after the answer.
func TestStopsAndClaimsNeverPass(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	for range 30 {
		run, due := r.begin()
		claimed := make(chan int, 1)
		var all sync.WaitGroup
		all.Go(func() {
			claims, err := r.ClaimSteps(t.Context(), due, claimAll)
			if err != nil {
				t.Error(err)
			}
			claimed <- len(claims)
		})
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		out := r.replan(store.Replan{Run: run}, store.Stop(event.WorkflowStopped))
		all.Wait()
		if n := <-claimed; n != len(out.InFlight) || n+out.Cancelled != 3 {
			t.Errorf("%d claimed; %+v", n, out)
		}
	}
	r.holds()
}

var interleavings = flag.Int("interleavings", 3_000, "how many random operations TestNothingOfASupersededPlanIsClaimed does")

// history is what the workers of one test know of each run.
type history struct {
	mu       sync.Mutex
	runs     []uuid.UUID
	messages []event.Step            // every one that was ever published
	run      map[uuid.UUID]uuid.UUID // by step
	epoch    map[uuid.UUID]int32     // of a run's plan, that was acknowledged
	stopped  map[uuid.UUID]bool      // acknowledged
	claims   []claimedStep
}

type claimedStep struct {
	store.Claim
	of event.Step
}

// TestNothingOfASupersededPlanIsClaimed has workers begin, claim, settle,
// release, migrate and stop runs, and opt patients out, at random and all at once. Whatever is claimed
// after a change was acknowledged is of the new plan.
func TestNothingOfASupersededPlanIsClaimed(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	versions := []int32{r.publish(threeSteps), r.publish(`{node: now, seconds: 0, template: care}, {node: soon, hours: 2, template: care}`), r.publish(`{node: soon, seconds: 0, template: care}, {node: extra, seconds: 0, template: text}`)}
	h := &history{run: map[uuid.UUID]uuid.UUID{}, epoch: map[uuid.UUID]int32{}, stopped: map[uuid.UUID]bool{}}
	var begin sync.Mutex
	var left atomic.Int64
	left.Store(int64(*interleavings))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var all sync.WaitGroup
	var claimed, refused, replanned atomic.Int64
	for worker := range 4 {
		rnd := rand.New(rand.NewPCG(seed, uint64(worker)))
		all.Go(func() {
			for left.Add(-1) >= 0 && !t.Failed() {
				h.mu.Lock()
				var run uuid.UUID
				if len(h.runs) > 0 {
					run = h.runs[rnd.IntN(len(h.runs))]
				}
				h.mu.Unlock()
				switch n := rnd.IntN(20); {
				case run == uuid.Nil || n < 3:
					begin.Lock()
					run, due := r.begin()
					begin.Unlock()
					h.publish(run, due...)
				case n < 11:
					got, of := r.claimSome(h, rnd)
					claimed.Add(int64(got))
					refused.Add(int64(of - got))
				case n < 13:
					r.settleSome(h, rnd)
				case n < 16:
					for _, s := range r.lease(20) {
						h.publish(s.Run, s.Step)
					}
				default:
					change, again, stop := store.Replan{Run: run, Hand: hand, Action: "run.test"}, planner.Again, rnd.IntN(6) == 0
					if change.Version = versions[rnd.IntN(len(versions))]; stop {
						change.Version, again = 0, store.Stop(event.WorkflowStopped)
					}
					var err error
					if stop && rnd.IntN(2) == 0 {
						_, err = r.OptOut(context.Background(), r.tenant, r.patientOf(run), store.OptOut{Source: "api"}, hand)
					} else {
						_, err = r.Replan(context.Background(), r.tenant, change, again)
					}
					if err != nil {
						t.Error(err)
						return
					}
					replanned.Add(1)
					var epoch int32
					r.scan(`SELECT plan_epoch FROM workflow_executions WHERE id = $1`, []any{run}, &epoch)
					h.mu.Lock()
					h.epoch[run], h.stopped[run] = max(h.epoch[run], epoch), h.stopped[run] || stop
					h.mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d operations: %d runs, %d claims, %d messages claimed nothing, %d changes", *interleavings, len(h.runs), claimed.Load(), refused.Load(), replanned.Load())
	if claimed.Load() == 0 || refused.Load() == 0 || replanned.Load() == 0 {
		t.Error("one of them never happened")
	}
	r.holds()
}

func (h *history) publish(run uuid.UUID, steps ...event.Step) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.epoch[run] == 0 && len(steps) > 0 && steps[0].PlanEpoch == 0 {
		h.runs = append(h.runs, run)
	}
	for _, s := range steps {
		h.messages, h.run[s.ID] = append(h.messages, s), run
	}
}

// claimSome claims by some messages, old ones too.
func (r *replans) claimSome(h *history, rnd *rand.Rand) (got, of int) {
	h.mu.Lock()
	batch, by, floor, stopped := []event.Step{}, map[uuid.UUID]event.Step{}, map[uuid.UUID]int32{}, map[uuid.UUID]bool{}
	for range min(len(h.messages), 1+rnd.IntN(8)) {
		s := h.messages[rnd.IntN(len(h.messages))]
		if _, twice := by[s.ID]; twice {
			continue // which of two was claimed cannot be told
		}
		batch, by[s.ID] = append(batch, s), s
		floor[s.ID], stopped[s.ID] = h.epoch[h.run[s.ID]], h.stopped[h.run[s.ID]]
	}
	h.mu.Unlock()
	claims, err := r.ClaimSteps(context.Background(), batch, func(c *store.Candidate) store.Decision {
		return store.Decision{Claim: !c.Erased && len(c.Suppressed) == 0, Content: "text"} // the dispatcher's guard in short
	})
	if err != nil {
		r.t.Error(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range claims {
		of := by[c.Step]
		if stopped[c.Step] || of.PlanEpoch < floor[c.Step] {
			r.t.Errorf("step %s was claimed of epoch %d; acknowledged were epoch %d, stopped %t", c.Step, of.PlanEpoch, floor[c.Step], stopped[c.Step])
		}
		h.claims = append(h.claims, claimedStep{c, of})
	}
	return len(claims), len(batch)
}

func (r *replans) settleSome(h *history, rnd *rand.Rand) {
	h.mu.Lock()
	if len(h.claims) == 0 {
		h.mu.Unlock()
		return
	}
	at := rnd.IntN(len(h.claims))
	c := h.claims[at]
	h.claims = append(h.claims[:at], h.claims[at+1:]...)
	h.mu.Unlock()
	status := []event.Status{event.Delivered, event.Failed, event.Sent}[rnd.IntN(3)]
	r.settle(told(c.Claim, c.of.Channel, status, event.Poll))
}

// Many runs go in several transactions, each whole; what was broken off goes on.
func TestAChangeOfManyRunsGoesOnWhereItWasBrokenOff(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	const runs = 230
	for range runs {
		r.begin()
	}
	version := r.publish(`{node: now, seconds: 0, template: care}, {node: soon, hours: 2, template: care}`)
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	_, err := r.Replan(ctx, r.tenant, store.Replan{Workflow: r.workflow, Version: version, Hand: hand, Action: "workflow.migrate"}, func(p *store.Replanning) store.NewPlan {
		if seen++; seen == 150 {
			cancel()
		}
		return planner.Again(p)
	})
	if err == nil {
		t.Fatal("it was not broken off")
	}
	half := r.count(`SELECT count(*) FROM workflow_executions WHERE version = $1`, version)
	if half == 0 || half >= runs || r.count(`SELECT count(*) FROM workflow_executions WHERE plan_epoch = 1`) != half {
		t.Errorf("%d of %d runs were changed", half, runs)
	}
	if out := r.replan(store.Replan{Workflow: r.workflow, Version: version}, planner.Again); out.Runs != runs-half || out.Cancelled != runs-half {
		t.Errorf("it went on with %+v, want %d runs", out, runs-half)
	}
	if n := r.count(`SELECT count(*) FROM workflow_executions WHERE version = $1 AND plan_epoch = 1`, version); n != runs {
		t.Errorf("%d runs were changed once, want %d", n, runs)
	}
	r.holds()
}
