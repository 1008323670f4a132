package store_test

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/dispatcher"
	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/planner"
)

const followedClinic = `
tenant: {slug: %s, name: 미소치과, phone: "02-555-0100"}
accounts:
  - {channel: kakao, vendor: simulator, sender: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}
  - {channel: sms, vendor: simulator, sender: "15880000"}
templates:
  - {name: care, kakao_template_code: SIM_OK, kakao_text: "#{환자명}님", sms_text: "#{환자명}님"}
  - {name: ask, kakao_template_code: SIM_OK, kakao_text: "#{환자명}님 #{링크}", sms_text: "#{링크} #{환자명}님"}
workflows:
  - name: drawn
    visual_data: |
      {"nodes": [{"id": "t", "type": "trigger", "data": {}},
                 {"id": "ask", "type": "survey", "data": {"template": "ask", "link": "https://clinic.example/survey"}},
                 {"id": "wait", "type": "wait", "data": {"event": "clicked", "timeout": {"hours": 2}}},
                 {"id": "sure", "type": "condition", "data": {"expression": "happened.ask.clicked"}},
                 {"id": "yes", "type": "message", "data": {"template": "care"}},
                 {"id": "no", "type": "message", "data": {"template": "care"}}],
       "edges": [{"source": "t", "target": "ask"}, {"source": "ask", "target": "wait"},
                 {"source": "wait", "target": "sure", "sourceHandle": "event"}, {"source": "wait", "target": "no", "sourceHandle": "timeout"},
                 {"source": "sure", "target": "yes", "sourceHandle": "true"}, {"source": "sure", "target": "no", "sourceHandle": "false"}]}
webhooks:
  - {name: drawn, workflow: drawn}
`

// followed is a ledger with a run of a workflow that follows its link, and what
// became of it.
type followed struct {
	*ledger
	run   uuid.UUID
	step  event.Step
	first store.Claim
	token string
}

func followedRun(t *testing.T, slug string, l *ledger) *followed {
	t.Helper()
	if l == nil {
		l = newLedger(t)
		db, err := store.Open(t.Context(), store.Config{APIURL: l.urls.API, WorkerURL: l.urls.Worker, Master: l.master, PublicURL: "https://flow.example.com"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(db.Close)
		l.DB = db
	}
	l = &ledger{t: t, urls: l.urls, master: l.master, DB: l.DB, super: l.super}
	f, err := clinic.Parse(fmt.Appendf(nil, followedClinic, slug))
	if err != nil {
		t.Fatal(err)
	}
	a, err := l.ApplyClinic(t.Context(), f, store.ApplyOptions{Phones: testNumbers})
	if err != nil {
		t.Fatal(err)
	}
	l.tenant = a.Tenant
	for _, h := range a.Webhooks {
		l.webhook = h.ID
	}
	trigger := l.accept(l.call("e1", `{"patient": {"phone": "010-0000-0001", "name": "김하늘"}}`))[0].TriggerID
	p := planning()
	p.Expand = planner.Expand
	due, err := l.PlanTriggers(t.Context(), []event.Trigger{{Tenant: l.tenant, ID: trigger}}, p)
	if err != nil || len(due) != 1 {
		t.Fatalf("due = %v, %v; want the survey", due, err)
	}
	out := &followed{ledger: l, step: due[0]}
	l.scan(`SELECT id FROM workflow_executions WHERE tenant_id = $1`, []any{l.tenant}, &out.run)
	out.first, out.token = out.claim(due[0])
	l.wake()
	l.advance() // it waits now
	return out
}

// claim claims a step by the dispatcher's own rules, and finds the token in its
// text.
func (f *followed) claim(s event.Step) (c store.Claim, token string) {
	f.t.Helper()
	claims, err := f.ClaimSteps(f.t.Context(), []event.Step{s}, func(c *store.Candidate) store.Decision {
		p := dispatcher.Preview(c, store.DefaultTiming)
		if m := regexp.MustCompile(`https://flow\.example\.com/l/([a-z2-7]{16})\b`).FindStringSubmatch(p.Text); m != nil {
			token = m[1]
		}
		if strings.Contains(p.Text, "clinic.example") {
			f.t.Errorf("the text leads past us: %q", p.Text)
		}
		return store.Decision{Claim: true, Content: p.Text}
	})
	if err != nil || len(claims) != 1 || token == "" {
		f.t.Fatalf("claims = %v, %v, with the token %q", claims, err, token)
	}
	return claims[0], token
}

func (f *followed) open(token string, count bool) {
	f.t.Helper()
	if target, err := f.OpenLink(f.t.Context(), token, count); err != nil || target != "https://clinic.example/survey" {
		f.t.Errorf("the link leads to %q, %v", target, err)
	}
}

func (f *followed) clicks() int {
	return f.count(`SELECT count(*) FROM links WHERE tenant_id = $1 AND clicked_at IS NOT NULL`, f.tenant)
}

// onward lets what rests go on until nothing is due, without waking anything.
func (f *followed) onward() (nodes []string) {
	for {
		more, looked := f.advance()
		if nodes = append(nodes, more...); looked == 0 {
			return nodes
		}
	}
}

func TestAClickIsNotedOnceAndItsWayIsTakenAtOnce(t *testing.T) {
	t.Parallel()
	f := followedRun(t, "follow", nil)
	f.settle(told(f.first, event.Kakao, event.Delivered, event.Poll))
	f.open(f.token, false) // a messenger's preview
	if nodes := f.onward(); len(nodes) != 0 || f.clicks() != 0 {
		t.Fatalf("before anybody clicked it went on to %v, with %d clicks", nodes, f.clicks())
	}
	f.open(f.token, true)
	var at, again string
	f.scan(`SELECT clicked_at::text FROM links WHERE tenant_id = $1`, []any{f.tenant}, &at)
	f.open(f.token, true)
	f.scan(`SELECT clicked_at::text FROM links WHERE tenant_id = $1`, []any{f.tenant}, &again)
	if at != again || f.clicks() != 1 {
		t.Errorf("the first click was at %s, after another it says %s", at, again)
	}
	if nodes := f.onward(); fmt.Sprint(nodes) != "[yes]" {
		t.Errorf("after the click it went on to %v, want yes", nodes)
	}
	story, err := f.Why(t.Context(), f.tenant, f.run)
	if err != nil || len(story.Triggers[0].Runs[0].Clicks) != 1 || story.Triggers[0].Runs[0].Clicks[0].Node != "ask" {
		t.Errorf("why says %+v, %v", story.Triggers, err)
	}
	_, _, shown, err := f.ExecutionPlan(t.Context(), f.tenant, f.run)
	if err != nil || len(shown) != 1 || shown[0].Node != "ask" || shown[0].At.IsZero() {
		t.Errorf("the run's view shows the clicks %+v, %v", shown, err)
	}
	f.holds()
}

func TestWhereNobodyClicksTheTimeEndsTheWait(t *testing.T) {
	t.Parallel()
	f := followedRun(t, "follow", nil)
	f.settle(told(f.first, event.Kakao, event.Delivered, event.Poll))
	f.exec(`UPDATE run_rests SET due_at = now() - interval '1 s', wake_at = now() WHERE wake_at IS NOT NULL`)
	if nodes := f.onward(); fmt.Sprint(nodes) != "[no]" {
		t.Errorf("without a click it went on to %v, want no", nodes)
	}
	f.open(f.token, true) // too late for the way, not for the record
	if nodes := f.onward(); len(nodes) != 0 || f.clicks() != 1 {
		t.Errorf("a late click led to %v, and %d are noted", nodes, f.clicks())
	}
	f.holds()
}

func TestAClickBeforeTheWaitIsSeenWhenItBegins(t *testing.T) {
	t.Parallel()
	f := followedRun(t, "follow", nil)
	f.open(f.token, true)
	// The run comes to its wait only now.
	f.exec(`UPDATE run_rests SET awaits = NULL, due_at = now(), wake_at = now() WHERE wake_at IS NOT NULL`)
	f.exec(`UPDATE workflow_executions SET execution_data = jsonb_set(execution_data, '{passed}', '["t", "ask"]')`)
	if nodes := f.onward(); fmt.Sprint(nodes) != "[yes]" {
		t.Errorf("it went on to %v, want yes at once", nodes)
	}
}

func TestTheSMSThatFollowsHasTheSameLink(t *testing.T) {
	t.Parallel()
	f := followedRun(t, "follow", nil)
	e := told(f.first, event.Kakao, event.Failed, event.Answer)
	if _, err := f.SettleDeliveries(t.Context(), []event.Delivery{e}, func(store.StepNow, event.Delivery) store.Transition {
		return store.Transition{State: store.StateFailed, Reason: event.FellBack, Finish: true, Fallback: true}
	}); err != nil {
		t.Fatal(err)
	}
	s := event.Step{Tenant: f.tenant}
	f.scan(`SELECT id, attempt, plan_epoch, lane, channel FROM steps WHERE parent_id IS NOT NULL`, nil, &s.ID, &s.Attempt, &s.PlanEpoch, &s.Lane, &s.Channel)
	if _, token := f.claim(s); token != f.token || f.count(`SELECT count(*) FROM links`) != 1 {
		t.Errorf("the SMS has another link, of %d", f.count(`SELECT count(*) FROM links`))
	}
}

func TestALinkIsNobodyElses(t *testing.T) {
	t.Parallel()
	f := followedRun(t, "follow", nil)
	g := followedRun(t, "other", f.ledger)
	if f.token == g.token {
		t.Fatal("two patients have one token")
	}
	f.open(f.token, true)
	if f.clicks() != 1 || g.clicks() != 0 {
		t.Errorf("%d clicks of the clinic, %d of the other", f.clicks(), g.clicks())
	}
	if nodes := f.onward(); fmt.Sprint(nodes) != "[yes]" {
		t.Errorf("went on to %v", nodes)
	}
	if n := f.count(`SELECT count(*) FROM run_rests WHERE tenant_id = $1 AND wake_at <= now()`, g.tenant); n != 0 {
		t.Errorf("%d waits of the other clinic were woken", n)
	}
	if f.count(`SELECT count(*) FROM links WHERE position(convert_to($1, 'UTF8') IN token_hash) > 0 OR links::text LIKE '%' || $1 || '%'`, f.token) != 0 {
		t.Error("the ledger keeps the token itself")
	}
}

func TestWhatEndedLeadsOnAndNotesNothingOfTheErased(t *testing.T) {
	t.Parallel()
	f := followedRun(t, "follow", nil)
	f.settle(told(f.first, event.Kakao, event.Delivered, event.Poll))
	if _, err := f.StopExecution(t.Context(), f.tenant, f.run, store.Hand{Actor: "cli:test", Note: "test"}); err != nil {
		t.Fatal(err)
	}
	f.open(f.token, true) // of a superseded plan: noted, and nothing follows
	if nodes := f.onward(); len(nodes) != 0 || f.clicks() != 1 {
		t.Errorf("a stopped run went on to %v, with %d clicks", nodes, f.clicks())
	}
	f.holds()

	g := followedRun(t, "other", f.ledger)
	var patient uuid.UUID
	g.scan(`SELECT id FROM patients WHERE tenant_id = $1`, []any{g.tenant}, &patient)
	if _, err := g.ErasePatient(t.Context(), g.tenant, patient, "", store.Hand{Actor: "cli:test"}); err != nil {
		t.Fatal(err)
	}
	g.open(g.token, true)
	if g.clicks() != 0 {
		t.Error("a click of an erased patient was noted")
	}
	if _, err := g.EraseTenant(t.Context(), g.tenant, store.Hand{Actor: "cli:test"}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.OpenLink(t.Context(), g.token, true); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a link of an erased clinic: %v, want not found", err)
	}
}

func TestWorkflowsThatFollowNothingHaveNoLinks(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.claimed("e1", "010-0000-0001")
	if n := l.count(`SELECT count(*) FROM links`); n != 0 {
		t.Errorf("%d links of a workflow that follows none", n)
	}
	_, err := l.apply(fmt.Sprintf(followedClinic, "miso"), store.ApplyOptions{})
	if err == nil || !strings.Contains(err.Error(), "NEXT_PUBLIC_APP_URL") {
		t.Errorf("without a public address: %v", err)
	}
}

func FuzzHashLink(f *testing.F) {
	for _, s := range []string{"", store.SampleLink, "abcdefghijklmnop", "ABCDEFGHIJKLMNOP", "abcdefghijklmn\r\n", "aaaaaaaaaaaaaaa=", "가가가가가1", strings.Repeat("a", 17), "aaaaaaaaaaaaaaa1", "222222222222222\xff"} {
		f.Add(s)
	}
	text := base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
	f.Fuzz(func(t *testing.T, s string) {
		_, ok := store.HashLink(s)
		b, err := text.DecodeString(s)
		if want := err == nil && len(b) == 10 && text.EncodeToString(b) == s; ok != want {
			t.Errorf("%q: %t, want %t", s, ok, want)
		}
	})
}

func TestAClickIsNotLostToWhoDecidesAtThatMoment(t *testing.T) {
	t.Parallel()
	f := followedRun(t, "follow", nil)
	f.wake()
	done := make(chan error, 1)
	_, looked, err := f.AdvanceRuns(t.Context(), 10, func(r *store.Resting) store.Onward {
		go func() {
			_, err := f.OpenLink(context.WithoutCancel(t.Context()), f.token, true)
			done <- err
		}()
		for len(done) == 0 && f.count(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == 0 {
			runtime.Gosched() // until it waits for this run, or has passed by
		}
		return planner.Advance(r)
	})
	if err != nil || looked != 1 {
		t.Fatalf("%d looked at, %v", looked, err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if nodes := f.onward(); fmt.Sprint(nodes) != "[yes]" {
		t.Errorf("after a click in the middle of a decision it went on to %v, want yes", nodes)
	}
}
