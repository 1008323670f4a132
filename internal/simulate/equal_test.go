package simulate_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/dispatcher"
	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/simulate"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/storetest"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/planner"
	"github.com/doctorsflow/doctorsflow/recorder"
)

var (
	runsWanted = flag.Int("runs", 600, "how many random runs are simulated and executed")
	seedWanted = flag.Uint64("seed", 0, "0: a new one")
)

const equalClinic = `
tenant: {slug: equal, name: 미소치과, phone: "02-555-0100", quiet_hours: {from: "21:30", until: "08:15"}%s}
accounts:
  - {channel: kakao, vendor: simulator, sender: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}
  - {channel: sms, vendor: simulator, sender: "15880000"}
templates:
  - {name: care, kakao_template_code: SIM_OK, kakao_text: "#{환자명}님", sms_text: "#{환자명}님 #{병원전화}"}
  - {name: text, sms_text: "#{환자명}님 안녕하세요"}
  - {name: offer, class: marketing, sms_text: "(광고) #{병원명} 무료수신거부 080-000-0000"}
  - {name: ask, kakao_template_code: SIM_OK, kakao_text: "#{환자명}님 #{링크}", sms_text: "#{링크} #{환자명}님"}
  - {name: look, sms_text: "#{환자명}님 #{링크}"}
  - {name: gap, kakao_template_code: SIM_GAP, kakao_text: "#{patient}님"}
workflows:
%s
webhooks:
  - name: door
    routes: {%s}
`

var rules = simulate.Rules{
	Plan: planner.Expand, Advance: planner.Advance, Settle: recorder.Apply,
	Judge: func(c *store.Candidate, t store.Timing) simulate.Verdict {
		p := dispatcher.Preview(c, t)
		return simulate.Verdict{Outcome: p.Outcome, Reason: p.Reason, Wait: p.Wait, Title: p.Title, Text: p.Text}
	},
}

// executed is a clinic whose runs go through the real ledger while its clock is
// moved by hand, beside a gateway that does what is assumed.
type executed struct {
	*store.DB
	t      testing.TB
	urls   storetest.URLs
	look   *storetest.Look
	tenant tenant.ID
	assume simulate.Assume
	texts  map[uuid.UUID]string
	sends  map[uuid.UUID]time.Time // and when what was decided about a step was
	due    map[time.Time][]event.Delivery
	opens  map[uuid.UUID]string // tokens of links that are to be opened, by step
	// clicked counts those that were.
	clicked int
}

type ledgerFunc func(store.Planning)

func (f ledgerFunc) PlanTriggers(_ context.Context, _ []event.Trigger, p store.Planning) ([]event.Step, error) {
	f(p)
	return nil, nil
}

func TestSimulatedIsExecuted(t *testing.T) {
	t.Parallel()
	seed := *seedWanted
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	workflows := min(60, *runsWanted/10+1)
	var defs, routes strings.Builder
	for i := range workflows {
		if i%3 == 0 {
			fmt.Fprintf(&defs, "  - {name: w%d, trigger_type: webhook, steps: [%s]%s}\n", i, days(r), windows(r))
		} else {
			text := drawing(r)
			if i == 1 {
				text = survey
			}
			quoted, _ := json.Marshal(text)
			fmt.Fprintf(&defs, "  - {name: w%d, trigger_type: webhook, visual_data: %s}\n", i, quoted)
		}
		fmt.Fprintf(&routes, "e%d: [w%d], ", i, i)
	}
	x := &executed{t: t, texts: map[uuid.UUID]string{}, sends: map[uuid.UUID]time.Time{}, due: map[time.Time][]event.Delivery{}, opens: map[uuid.UUID]string{}}
	x.assume = simulate.Assume{Kakao: []simulate.Outcome{simulate.Delivered, simulate.Failed, simulate.Unreported}[r.IntN(3)], SMS: []simulate.Outcome{simulate.Delivered, simulate.Failed}[r.IntN(2)], After: time.Duration(1+r.IntN(100)) * time.Second}
	x.assume.Nodes = map[string]simulate.Outcome{"n0": simulate.Clicked, "n2": simulate.Clicked, "n5": simulate.Clicked, "n6": simulate.Clicked, "asked": simulate.Clicked}
	if r.IntN(2) == 0 {
		delete(x.assume.Nodes, "n0")
	}
	t.Logf("assuming %+v", x.assume)
	webhook := x.open(fmt.Sprintf(equalClinic, times(r), defs.String(), strings.TrimSuffix(routes.String(), ", ")))
	list, err := x.Workflows(t.Context(), x.tenant)
	if err != nil {
		t.Fatal(err)
	}
	// Each round begins when nothing of the one before is left, at any hour.
	compared, now := 0, time.Now().UTC().Truncate(time.Hour).Add(48*time.Hour)
	for round := range rounds {
		now = x.clock(now).Add(time.Duration(r.IntN(30*3600)) * time.Second)
		x.pass(now)
		x.begin(r, round, now, webhook, workflows)
		simulated := x.simulated(list, now)
		x.live()
		compared += x.compare(simulated, now)
	}
	t.Logf("%d runs of %d workflows, %d messages sent, %d links opened", compared, workflows, len(x.texts), x.clicked)
	if compared < *runsWanted/rounds*rounds*9/10 {
		t.Errorf("%d runs were compared, of %d", compared, *runsWanted)
	}
	laws, err := x.Conserve(t.Context())
	if err != nil || len(laws) != 1 || laws[0].Diff() != 0 {
		t.Errorf("conservation: %+v, %v", laws, err)
	}
}

// simulated is what the ledger's knowledge of the runs that began now makes of
// them, by run.
func (x *executed) simulated(workflows []store.WorkflowRow, began time.Time) map[string][]string {
	x.t.Helper()
	out := map[string][]string{}
	for _, w := range workflows {
		d, err := x.Definition(x.t.Context(), x.tenant, w.ID, 0)
		if err != nil {
			x.t.Fatal(err)
		}
		setting, subjects, _, err := x.Cohort(x.t.Context(), x.tenant, store.CohortQuery{Workflow: w.ID, Since: began})
		if err != nil {
			x.t.Fatal(err)
		}
		m := simulate.Machine{Rules: rules, Definition: d, Tenant: x.tenant, Setting: setting, Assume: x.assume, Timing: store.DefaultTiming, Until: began.AddDate(3, 0, 0)}
		runs, err := m.Cohort(x.t.Context(), subjects)
		if err != nil {
			x.t.Fatal(err)
		}
		for _, run := range runs {
			key := w.Name + " " + run.Subject.ExternalID
			out[key] = append(out[key], shape(run)...)
		}
	}
	return out
}

// rounds is how often runs begin.
const rounds = 5

// clock is the later of the ledger's time and t.
func (x *executed) clock(t time.Time) time.Time {
	x.t.Helper()
	var now time.Time
	x.urls.Scan(x.t, `SELECT app_now()`, nil, &now)
	if now.After(t) {
		return now.UTC()
	}
	return t
}

// shape is a run in lines, in an order of their own.
func shape(run simulate.Run) (lines []string) {
	for _, s := range run.Steps {
		lines = append(lines, line(s.Node, string(s.Channel), s.Fallback, string(s.State), string(s.Reason), s.Due, s.At, s.Text))
	}
	for _, w := range run.Rests {
		lines = append(lines, fmt.Sprintf("rest %s until %s for %q: %s", w.Node, w.At.UTC().Format(time.RFC3339Nano), w.Event, w.Outcome))
	}
	lines = append(lines, fmt.Sprintf("passed %v", run.Passed))
	slices.Sort(lines)
	return lines
}

func line(node, channel string, fallback bool, state, reason string, due, at time.Time, text string) string {
	return fmt.Sprintf("%s by %s (fallback %t) due %s: %s %q at %s %q", node, channel, fallback, due.UTC().Format(time.RFC3339Nano), state, reason, at.UTC().Format(time.RFC3339Nano), text)
}

func (x *executed) open(file string) (webhook uuid.UUID) {
	x.t.Helper()
	urls := storetest.Database(x.t)
	db, err := store.Open(x.t.Context(), store.Config{APIURL: urls.API, WorkerURL: urls.Worker, Master: seal.NewKey(), PublicURL: "https://flow.example.com/"})
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(db.Close)
	x.DB = db
	x.urls, x.look = urls, urls.Look(x.t)
	f, err := clinic.Parse([]byte(file))
	if err != nil {
		x.t.Fatal(err)
	}
	a, err := db.ApplyClinic(x.t.Context(), f, store.ApplyOptions{Phones: phone.Options{AllowTestBands: true}})
	if err != nil {
		x.t.Fatal(err)
	}
	x.tenant = a.Tenant
	return a.Webhooks[0].ID
}

// begin accepts and plans a round's runs.
func (x *executed) begin(r *rand.Rand, round int, now time.Time, webhook uuid.UUID, workflows int) {
	x.t.Helper()
	var plan store.Planning
	p := &planner.Planner{Ledger: ledgerFunc(func(p store.Planning) { plan = p }), Hint: func() {}, Phones: phone.Options{AllowTestBands: true}}
	p.Handle(x.t.Context(), []*stream.Msg[event.Trigger]{})
	var calls []store.Accept
	for n := range *runsWanted / rounds {
		patient := object{"external_id": fmt.Sprintf("P-%d-%d", round, n), "name": "김하늘", "phone": fmt.Sprintf("010-00%02d-%04d", n/10000%20, n%10000)}
		appointment := object{"price": r.IntN(100), "date": now.AddDate(0, 0, r.IntN(30)).Format("2006-01-02")}
		if r.IntN(2) == 0 {
			appointment["bone_graft"] = true
		}
		kind := fmt.Sprintf("e%d", r.IntN(workflows))
		body, _ := json.Marshal(object{"type": kind, "patient": patient, "appointment": appointment})
		calls = append(calls, store.Accept{
			Tenant: x.tenant, WebhookID: webhook, Source: "webhook:" + webhook.String(), EventID: fmt.Sprintf("%d-%d", round, n),
			EventType: kind, Kind: event.Webhook, Body: body, Received: now,
		})
	}
	for part := range slices.Chunk(calls, 200) {
		accepted, err := x.AcceptTriggers(x.t.Context(), part)
		if err != nil {
			x.t.Fatal(err)
		}
		var triggers []event.Trigger
		for _, a := range accepted {
			triggers = append(triggers, event.Trigger{Tenant: x.tenant, ID: a.TriggerID})
		}
		if _, err := x.PlanTriggers(x.t.Context(), triggers, plan); err != nil {
			x.t.Fatal(err)
		}
	}
	// The world is various.
	for _, sql := range []string{
		`UPDATE patients SET gender = CASE WHEN phone_index < '\x55' THEN 'f' WHEN phone_index < '\xaa' THEN 'm' END`,
		`INSERT INTO consents (tenant_id, id, patient_id, channel, purpose, granted, method)
		 SELECT tenant_id, gen_random_uuid(), id, 'sms', 'marketing', phone_index > '\x30', 'paper' FROM patients p WHERE phone_index > '\x18' AND NOT EXISTS (SELECT FROM consents c WHERE c.patient_id = p.id)`,
		`INSERT INTO suppressions (tenant_id, id, phone_index, channel, class, source)
		 SELECT tenant_id, gen_random_uuid(), phone_index, CASE WHEN phone_index < '\x10' THEN 'kakao' END, CASE WHEN phone_index < '\x08' THEN 'care_followup' END, 'test' FROM patients p WHERE phone_index < '\x20' AND NOT EXISTS (SELECT FROM suppressions x WHERE x.phone_index = p.phone_index)`,
		`UPDATE patients SET phone = NULL WHERE phone_index > '\xf8'`,
	} {
		x.urls.Exec(x.t, sql)
	}
}

func (x *executed) pass(to time.Time) {
	x.t.Helper()
	if err := x.PassTime(x.t.Context(), to); err != nil {
		x.t.Fatal(err)
	}
}

// live lets time pass until nothing is left to happen. Of one instant, outcomes
// come first, then questions, then messages.
func (x *executed) live() {
	x.t.Helper()
	const next = `
		SELECT app_now(), least(
		  (SELECT min(CASE WHEN published THEN app_now() ELSE wake_at END) FROM steps WHERE state = 'planned'),
		  (SELECT min(wake_at) FROM run_rests WHERE wake_at IS NOT NULL))`
	for {
		var now time.Time
		var at *time.Time
		x.look.Each(next, nil, []any{&now, &at}, func() {})
		for t := range x.due {
			if at == nil || t.Before(*at) {
				at = &t
			}
		}
		if at == nil {
			return
		}
		if at.After(now) {
			now = *at
			x.pass(now)
		}
		for t, events := range x.due {
			if !t.After(now) {
				delete(x.due, t)
				x.settle(events)
			}
		}
		looked := 0
		for {
			_, n, err := x.AdvanceRuns(x.t.Context(), 500, planner.Advance)
			if err != nil {
				x.t.Fatal(err)
			}
			if n == 0 {
				break
			}
			looked += n
		}
		if looked == 0 {
			x.dispatch(now)
		}
	}
}

// dispatch claims what is due, as the dispatcher does.
func (x *executed) dispatch(now time.Time) {
	x.t.Helper()
	const due = `SELECT id, attempt, plan_epoch, lane, channel FROM steps WHERE state = 'planned' AND (published OR wake_at <= app_now()) ORDER BY id LIMIT 500`
	var steps []event.Step
	s := event.Step{Tenant: x.tenant}
	x.look.Each(due, nil, []any{&s.ID, &s.Attempt, &s.PlanEpoch, &s.Lane, &s.Channel}, func() { steps = append(steps, s) })
	var told []event.Delivery
	nodes := map[uuid.UUID]*store.Candidate{}
	claims, err := x.ClaimSteps(x.t.Context(), steps, func(c *store.Candidate) store.Decision {
		nodes[c.ID] = c
		p := dispatcher.Preview(c, store.DefaultTiming)
		if p.Outcome != "" {
			told = append(told, event.Delivery{Tenant: c.Tenant, Step: c.ID, Channel: c.Channel, Attempt: c.Attempt, Status: p.Outcome, Reason: p.Reason, Source: event.Guard, At: now})
			x.sends[c.ID] = now
			return store.Decision{}
		}
		if p.Wait.IsZero() {
			x.texts[c.ID], x.sends[c.ID] = p.Text, now
		}
		return store.Decision{Claim: p.Wait.IsZero(), Content: p.Text, Wait: p.Wait, Reason: p.Reason}
	})
	if err != nil {
		x.t.Fatal(err)
	}
	for _, c := range claims {
		n := nodes[c.Step]
		d := event.Delivery{Tenant: c.Tenant, Step: c.Step, Channel: n.Channel, Attempt: c.Attempt, Status: event.Sent, Source: event.Answer, RequestID: "simulated", At: now}
		told = append(told, d)
		outcome := x.assume.Kakao
		if n.Channel == event.SMS {
			outcome = x.assume.SMS
		}
		if x.assume.Nodes[n.Node] == simulate.Clicked {
			outcome = simulate.Delivered
			if _, token, ok := strings.Cut(x.texts[c.Step], "https://flow.example.com/l/"); ok {
				x.opens[c.Step] = token[:len(store.SampleLink)]
			}
		}
		switch outcome {
		case simulate.Delivered:
			d.Status = event.Delivered
		case simulate.Failed:
			d.Status, d.Reason = event.Failed, "rejected"
		case simulate.Unreported:
			continue
		}
		d.Source = event.Report
		at := now.Add(x.assume.After)
		x.due[at] = append(x.due[at], d)
	}
	x.settle(told)
}

func (x *executed) settle(events []event.Delivery) {
	x.t.Helper()
	for part := range slices.Chunk(events, 500) {
		if _, err := x.SettleDeliveries(x.t.Context(), part, func(s store.StepNow, e event.Delivery) store.Transition {
			return recorder.Apply(s, e, store.DefaultTiming)
		}); err != nil {
			x.t.Fatal(err)
		}
	}
	for _, e := range events {
		if token := x.opens[e.Step]; token != "" && e.Status == event.Delivered {
			delete(x.opens, e.Step)
			if _, err := x.OpenLink(x.t.Context(), token, true); err != nil {
				x.t.Fatal(err)
			}
			x.clicked++
		}
	}
}

// anyToken is where texts differ that are sent and texts that are shown.
var anyToken = regexp.MustCompile(`/l/[a-z2-7]{16}`)

// compare sets every run beside its simulation.
func (x *executed) compare(simulated map[string][]string, began time.Time) (runs int) {
	x.t.Helper()
	done := map[string][]string{}
	const of = ` JOIN workflows w ON w.tenant_id = e.tenant_id AND w.id = e.workflow_id JOIN patients p ON p.tenant_id = e.tenant_id AND p.id = e.patient_id WHERE e.created_at >= $1`
	var key, node, channel, state, reason string
	var id uuid.UUID
	var fallback bool
	var at time.Time
	x.look.Each(`SELECT w.name || ' ' || p.external_id, coalesce((SELECT string_agg(n, ' ' ORDER BY i) FROM jsonb_array_elements_text(e.execution_data -> 'passed') WITH ORDINALITY AS a (n, i)), '') FROM workflow_executions e`+of,
		[]any{began}, []any{&key, &node}, func() { done[key] = append(done[key], fmt.Sprintf("passed [%s]", node)) })
	runs = len(done)
	x.look.Each(`SELECT w.name || ' ' || p.external_id, s.id, s.node, s.channel, s.parent_id IS NOT NULL, s.state, coalesce(s.reason, ''), s.due_at FROM steps s JOIN workflow_executions e ON e.tenant_id = s.tenant_id AND e.id = s.execution_id`+of,
		[]any{began}, []any{&key, &id, &node, &channel, &fallback, &state, &reason, &at}, func() {
			done[key] = append(done[key], line(node, channel, fallback, state, reason, at, x.sends[id], anyToken.ReplaceAllString(x.texts[id], "/l/"+store.SampleLink)))
		})
	x.look.Each(`SELECT w.name || ' ' || p.external_id, r.node, r.due_at, coalesce(r.awaits, ''), coalesce(r.outcome, '') FROM run_rests r JOIN workflow_executions e ON e.tenant_id = r.tenant_id AND e.id = r.execution_id`+of,
		[]any{began}, []any{&key, &node, &at, &reason, &state}, func() {
			done[key] = append(done[key], fmt.Sprintf("rest %s until %s for %q: %s", node, at.UTC().Format(time.RFC3339Nano), reason, state))
		})
	if len(done) != len(simulated) {
		x.t.Errorf("%d runs executed, %d simulated", len(done), len(simulated))
	}
	wrong := 0
	for key, lines := range done {
		slices.Sort(lines)
		if diff := cmp.Diff(simulated[key], lines); diff != "" {
			if wrong++; wrong <= 3 {
				x.t.Errorf("%s: simulated (-), executed (+)\n%s", key, diff)
			}
		}
	}
	if wrong > 0 {
		x.t.Errorf("%d of %d runs differ", wrong, runs)
	}
	return runs
}
