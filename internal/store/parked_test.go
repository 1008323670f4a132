package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// parked brings one message to where only a human can decide, with nothing
// else open in its run.
func (l *ledger) parked(id, number string) (event.Step, store.Claim) {
	l.t.Helper()
	step, claim := l.claimed(id, number)
	l.exec(`UPDATE steps SET state = 'skipped', reason = 'opted_out', wake_at = NULL WHERE node = '2'`)
	l.settle(event.Delivery{Tenant: claim.Tenant, Step: step.ID, Channel: event.Kakao, Attempt: claim.Attempt, Status: event.Unknown, Source: event.Answer})
	l.settle(event.Delivery{
		Tenant: claim.Tenant, Step: step.ID, Channel: event.Kakao, Attempt: claim.Attempt, Status: event.Parked, Reason: event.OutcomeUnknown, Source: event.Query,
	})
	if state, _ := l.state(step.ID); state != "parked" {
		l.t.Fatalf("the step is %s, want parked", state)
	}
	return step, claim
}

func (l *ledger) list(q store.ParkedQuery) []store.ParkedStep {
	l.t.Helper()
	page, err := l.ParkedSteps(l.t.Context(), l.tenant, q)
	if err != nil {
		l.t.Fatal(err)
	}
	return page.Rows
}

var (
	staff  = store.Hand{Actor: "cli:dana", Note: "asked the gateway's support"}
	resend = store.Retry{Hand: staff, Resend: true, AcceptDuplicate: true}
)

// refused is why a decision was, or "" where it was carried out.
func refused(t testing.TB, err error) store.Refusal {
	t.Helper()
	r, ok := errors.AsType[*store.RefusedError](err)
	if err != nil && !ok {
		t.Fatal(err)
	}
	if !ok {
		return ""
	}
	return r.Why
}

func TestAParkedStepIsListedWithAllThatIsKnownAndNothingOfThePatient(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step, _ := l.parked("e1", "010-0000-0001")
	list := l.list(store.ParkedQuery{})
	if len(list) != 1 {
		t.Fatalf("%d parked steps, want 1", len(list))
	}
	p := list[0]
	if p.ID != step.ID || p.Tenant != l.tenant || p.Clinic != "miso" || p.WorkflowName != "aftercare" || p.Workflow != l.workflow || p.Node != "1" || p.Channel != event.Kakao ||
		p.Reason != event.OutcomeUnknown || p.Attempts != 1 || p.OnUnknown != "park" || p.Times != 1 || p.Run == uuid.Nil || p.Root != step.ID || p.Expired || p.Superseded {
		t.Errorf("parked step = %+v", p)
	}
	for name, at := range map[string]time.Time{"since": p.Since, "claimed": p.Claimed, "expires": p.Expires, "due": p.Due} {
		if at.Location().String() != "Asia/Seoul" || at.IsZero() {
			t.Errorf("%s is %v, want a time in the clinic's zone", name, at)
		}
	}
	if s := fmt.Sprintf("%+v", p); strings.Contains(s, "김하늘") || strings.Contains(s, "+8210") {
		t.Errorf("it tells of the patient: %s", s)
	}
	l.exec(`UPDATE workflow_executions SET plan_epoch = 1`)
	l.exec(`UPDATE steps SET expires_at = now() WHERE id = $1`, step.ID)
	if p := l.list(store.ParkedQuery{})[0]; !p.Expired || !p.Superseded {
		t.Errorf("expired %v, superseded %v; want both", p.Expired, p.Superseded)
	}
}

func TestParkedStepsAreFilteredAndPagedAndAnothersAreNotThere(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	var want []uuid.UUID
	for i := range 5 {
		step, _ := l.parked(fmt.Sprint("e", i), fmt.Sprintf("010-0000-000%d", i))
		want = append([]uuid.UUID{step.ID}, want...)
	}
	// Two of the same instant, so that the id decides.
	l.exec(`UPDATE parked_steps SET parked_at = (SELECT max(parked_at) FROM parked_steps WHERE step_id = ANY ($1)) WHERE step_id = ANY ($1)`, want[2:4])
	other, _ := l.clinic("other")
	for name, read := range map[string]func(store.ParkedQuery) (store.Page[store.ParkedStep], error){
		"tenant": func(q store.ParkedQuery) (store.Page[store.ParkedStep], error) {
			return l.ParkedSteps(t.Context(), l.tenant, q)
		},
		"operator": func(q store.ParkedQuery) (store.Page[store.ParkedStep], error) {
			return l.AllParkedSteps(t.Context(), tenant.ID{}, q)
		},
	} {
		var got []uuid.UUID
		q := store.ParkedQuery{Limit: 2}
		for {
			page, err := read(q)
			if err != nil {
				t.Fatal(name, err)
			}
			for _, p := range page.Rows {
				got = append(got, p.ID)
			}
			if q.Cursor = page.Next; q.Cursor == "" {
				break
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: pages hold %v, want %v", name, got, want)
		}
		for filter, n := range map[store.ParkedQuery]int{
			{Reason: event.OutcomeUnknown}:            5,
			{Reason: event.NotAccepted}:               0,
			{Channel: event.Kakao}:                    5,
			{Channel: event.SMS}:                      0,
			{Workflow: l.workflow}:                    5,
			{Workflow: uuid.New()}:                    0,
			{Before: time.Now().Add(time.Minute)}:     5,
			{Before: time.Now().Add(-24 * time.Hour)}: 0,
		} {
			if page, err := read(filter); err != nil || len(page.Rows) != n {
				t.Errorf("%s: %+v lists %d, %v; want %d", name, filter, len(page.Rows), err, n)
			}
		}
		if _, err := read(store.ParkedQuery{Cursor: "nonsense"}); !errors.Is(err, store.ErrCursor) {
			t.Errorf("%s: a cursor that is none: %v", name, err)
		}
	}
	page, err := l.ParkedSteps(t.Context(), other, store.ParkedQuery{})
	if err != nil || len(page.Rows) != 0 {
		t.Errorf("another tenant sees %d parked steps, %v", len(page.Rows), err)
	}
	if page, err := l.AllParkedSteps(t.Context(), other, store.ParkedQuery{}); err != nil || len(page.Rows) != 0 {
		t.Errorf("an operator sees %d of another tenant, %v", len(page.Rows), err)
	}
	for what, err := range map[string]error{
		"retry": func() error { _, err := l.RetryParked(t.Context(), other, want[0], resend); return err }(),
		"drop":  func() error { _, err := l.DropParked(t.Context(), other, want[0], staff); return err }(),
	} {
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s of another tenant's step: %v, want ErrNotFound", what, err)
		}
	}
	if owner, err := l.TenantOfStep(t.Context(), want[0]); err != nil || owner != l.tenant {
		t.Errorf("TenantOfStep = %v, %v", owner, err)
	}
	if _, err := l.TenantOfStep(t.Context(), uuid.New()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("TenantOfStep of nobody's = %v", err)
	}
}

func TestAskingAgainGivesTheResolverAFreshDeadlineAndReopensTheRun(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step, claim := l.parked("e1", "010-0000-0001")
	if s := l.runStatus(); s != "failed" {
		t.Fatalf("parked: the run is %s", s)
	}
	l.exec(`UPDATE steps SET expires_at = now() - interval '1 hour' WHERE id = $1`, step.ID) // no matter: asking sends nothing
	got, err := l.RetryParked(t.Context(), l.tenant, step.ID, store.Retry{Hand: store.Hand{Actor: "cli:dana"}})
	if err != nil || got.State != store.StateUnknown {
		t.Fatalf("RetryParked = %+v, %v", got, err)
	}
	if s := l.runStatus(); s != "running" {
		t.Errorf("asked again: the run is %s", s)
	}
	list, err := l.LeaseUnresolved(t.Context(), []tenant.ID{l.tenant}, 0, 10)
	if err != nil || len(list) != 1 || list[0].Step != step.ID || list[0].Asked.Before(list[0].FirstIntent) || list[0].Account == uuid.Nil {
		t.Fatalf("the resolver finds %+v, %v", list, err)
	}
	if why := refused(t, second(l.RetryParked(t.Context(), l.tenant, step.ID, store.Retry{Hand: staff}))); why != store.AlreadyRetried {
		t.Errorf("asked again twice: %s", why)
	}
	if n := len(l.list(store.ParkedQuery{})); n != 0 {
		t.Errorf("%d are listed while one is asked for", n)
	}
	l.holds()
	// Nobody knows still: it is parked anew, and counted as the second time.
	l.settle(event.Delivery{
		Tenant: claim.Tenant, Step: step.ID, Channel: event.Kakao, Attempt: claim.Attempt, Status: event.Parked, Reason: event.OutcomeUnknown, Source: event.Query,
	})
	if list := l.list(store.ParkedQuery{}); len(list) != 1 || list[0].Times != 2 {
		t.Errorf("parked again: %+v", list)
	}
	if _, err := l.RetryParked(t.Context(), l.tenant, step.ID, store.Retry{Hand: staff}); err != nil {
		t.Fatal(err)
	}
	l.settle(told(claim, event.Kakao, event.Sent, event.Query), told(claim, event.Kakao, event.Delivered, event.Query))
	if state, _ := l.state(step.ID); state != "delivered" || l.runStatus() != "completed" {
		t.Errorf("found out: the step is %s, the run %s", state, l.runStatus())
	}
	if why := refused(t, second(l.DropParked(t.Context(), l.tenant, step.ID, staff))); why != store.NotParked {
		t.Errorf("dropped though delivered: %s", why)
	}
	l.holds()
}

func second[T any](_ T, err error) error { return err }

func TestSendingAgainOpensANewCycleOfTheSameStep(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step, claim := l.parked("e1", "010-0000-0001")
	careful := resend
	careful.AcceptDuplicate = false
	if why := refused(t, second(l.RetryParked(t.Context(), l.tenant, step.ID, careful))); why != store.MayBeDuplicate {
		t.Fatalf("unacknowledged: %q", why)
	}
	if state, _ := l.state(step.ID); state != "parked" {
		t.Fatalf("a refused decision moved the step to %s", state)
	}
	if got, err := l.RetryParked(t.Context(), l.tenant, step.ID, resend); err != nil || got.State != store.StatePlanned {
		t.Fatalf("RetryParked = %+v, %v", got, err)
	}
	for range 2 {
		if why := refused(t, second(l.RetryParked(t.Context(), l.tenant, step.ID, resend))); why != store.AlreadyRetried {
			t.Errorf("sent again twice: %q", why)
		}
	}
	leased := l.lease(10)
	if len(leased) != 1 || leased[0].ID != step.ID || leased[0].Attempt != claim.Attempt {
		t.Fatalf("release finds %+v", leased)
	}
	claims, err := l.ClaimSteps(t.Context(), []event.Step{leased[0].Step}, func(c *store.Candidate) store.Decision {
		if c.RunDone || !c.FirstIntent.IsZero() || c.Root != step.ID {
			t.Errorf("the claim sees run done %v, first intent %v, root %v", c.RunDone, c.FirstIntent, c.Root)
		}
		return store.Decision{Claim: true, Content: "text"}
	})
	if err != nil || len(claims) != 1 || claims[0].Attempt != claim.Attempt+1 {
		t.Fatalf("claims = %+v, %v", claims, err)
	}
	l.settle(told(claims[0], event.Kakao, event.Sent, event.Answer))
	l.holds()
	var kept struct{ actor, action, note string }
	l.scan(`SELECT actor, action, purpose FROM audit_log WHERE subject_id = $1 AND tenant_id = $2`, []any{step.ID, l.tenant}, &kept.actor, &kept.action, &kept.note)
	if kept.actor != staff.Actor || kept.action != "parked.resend" || kept.note != staff.Note {
		t.Errorf("the audit log has %+v", kept)
	}
}

func TestSendingAgainPassesTheGuardsOfAClaim(t *testing.T) {
	t.Parallel()
	for want, change := range map[store.Refusal]string{
		store.PlanChanged:    `UPDATE workflow_executions SET plan_epoch = plan_epoch + 1`,
		store.PatientGone:    `UPDATE patients SET data_key = NULL`,
		store.RefusedByWill:  `INSERT INTO suppressions (tenant_id, id, phone_index, source) SELECT tenant_id, gen_random_uuid(), phone_index, 'test' FROM patients`,
		store.WithoutAccount: `UPDATE provider_accounts SET enabled = false`,
		store.PastExpiry:     `UPDATE steps SET expires_at = now()`,
		store.PastPolicy:     `UPDATE steps SET late = 'skip', due_at = now() - interval '1 hour'`,
	} {
		t.Run(string(want), func(t *testing.T) {
			t.Parallel()
			l := newLedger(t)
			step, _ := l.parked("e1", "010-0000-0001")
			l.exec(change)
			careless := resend
			careless.AcceptDuplicate = false // what cannot be done needs no assent
			for _, r := range []store.Retry{resend, careless} {
				if why := refused(t, second(l.RetryParked(t.Context(), l.tenant, step.ID, r))); why != want {
					t.Errorf("refused for %q, want %q", why, want)
				}
			}
			if state, reason := l.state(step.ID); state != "parked" || reason != "outcome_unknown" {
				t.Errorf("the step is %s:%s", state, reason)
			}
			if n := l.count(`SELECT count(*) FROM audit_log WHERE subject = 'step'`); n != 0 {
				t.Errorf("%d audit rows of decisions that were refused", n)
			}
			if want != store.PastExpiry && want != store.PastPolicy {
				return
			}
			longer := resend
			longer.Extend = 2 * time.Hour
			got, err := l.RetryParked(t.Context(), l.tenant, step.ID, longer)
			if err != nil || time.Until(got.Expires) < time.Hour {
				t.Fatalf("extended: %+v, %v", got, err)
			}
			if n := l.count(`SELECT count(*) FROM steps WHERE id = $1 AND due_at > now() - interval '1 minute' AND expires_at > now() + interval '1 hour'`, step.ID); n != 1 {
				t.Error("an extended step is not due now and valid")
			}
		})
	}
}

func TestDroppingEndsAStepForGoodAndOnce(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step, claim := l.parked("e1", "010-0000-0001")
	if got, err := l.DropParked(t.Context(), l.tenant, step.ID, staff); err != nil || got.State != store.StateFailed {
		t.Fatalf("DropParked = %+v, %v", got, err)
	}
	if state, reason := l.state(step.ID); state != "failed" || reason != "dropped" || l.runStatus() != "failed" {
		t.Errorf("dropped: %s:%s, the run is %s", state, reason, l.runStatus())
	}
	if n := l.count(`SELECT count(*) FROM steps WHERE channel = 'sms'`); n != 0 {
		t.Error("a fallback was made")
	}
	for what, err := range map[string]error{
		"drop":   second(l.DropParked(t.Context(), l.tenant, step.ID, staff)),
		"ask":    second(l.RetryParked(t.Context(), l.tenant, step.ID, store.Retry{Hand: staff})),
		"resend": second(l.RetryParked(t.Context(), l.tenant, step.ID, resend)),
	} {
		if why := refused(t, err); why != store.AlreadyDropped {
			t.Errorf("%s after a drop: %q", what, why)
		}
	}
	if n := l.count(`SELECT count(*) FROM audit_log WHERE action = 'parked.drop'`); n != 1 {
		t.Errorf("%d audit rows, want 1", n)
	}
	// The gateway contradicts: kept, and nothing changes.
	l.settle(told(claim, event.Kakao, event.Delivered, event.Report))
	if state, _ := l.state(step.ID); state != "failed" || l.count(`SELECT count(*) FROM anomalies WHERE kind = 'success_after_failure'`) != 1 {
		t.Errorf("a late report: %s", state)
	}
	l.holds()
}

func TestWhatIsBeingAskedForMayStillBeDroppedOrSentAgain(t *testing.T) {
	t.Parallel()
	for name, decide := range map[string]func(l *ledger, step uuid.UUID) error{
		"drop": func(l *ledger, step uuid.UUID) error { return second(l.DropParked(t.Context(), l.tenant, step, staff)) },
		"resend": func(l *ledger, step uuid.UUID) error {
			return second(l.RetryParked(t.Context(), l.tenant, step, resend))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLedger(t)
			step, claim := l.parked("e1", "010-0000-0001")
			if _, err := l.RetryParked(t.Context(), l.tenant, step.ID, store.Retry{Hand: staff}); err != nil {
				t.Fatal(err)
			}
			if err := decide(l, step.ID); err != nil {
				t.Fatal(err)
			}
			// What the resolver had on the way speaks of an older state.
			l.settle(event.Delivery{Tenant: claim.Tenant, Step: step.ID, Channel: event.Kakao, Attempt: claim.Attempt, Status: event.Released, Source: event.Query})
			if state, _ := l.state(step.ID); state != map[string]string{"drop": "failed", "resend": "planned"}[name] {
				t.Errorf("the step is %s", state)
			}
			l.holds()
		})
	}
}

func TestAStepThatNobodyParkedIsLeftAlone(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step := l.planned("e1", "010-0000-0001")
	for what, err := range map[string]error{
		"ask":    second(l.RetryParked(t.Context(), l.tenant, step.ID, store.Retry{Hand: staff})),
		"resend": second(l.RetryParked(t.Context(), l.tenant, step.ID, resend)),
		"drop":   second(l.DropParked(t.Context(), l.tenant, step.ID, staff)),
	} {
		if why := refused(t, err); why != store.NotParked {
			t.Errorf("%s: %q", what, why)
		}
	}
	if _, err := l.DropParked(t.Context(), l.tenant, uuid.New(), staff); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("no such step: %v", err)
	}
}

func TestANoteThatMayNameAPatientIsRefused(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step, _ := l.parked("e1", "010-0000-0001")
	for _, h := range []store.Hand{
		{},
		{Actor: "dana", Note: "x"},
		{Actor: "cli:dana"},
		{Actor: "cli:dana", Note: "  "},
		{Actor: "cli:", Note: "x"},
		{Actor: "cli:da na", Note: "x"},
		{Actor: "cli:dana", Note: "called 010-1234-5678"},
		{Actor: "cli:dana", Note: "called 02 555 0100 0"},
		{Actor: "cli:dana", Note: "+82 (10) 1234.5678"},
		{Actor: "cli:dana", Note: "two\nlines"},
		{Actor: "cli:dana", Note: strings.Repeat("가", 201)},
		{Actor: "cli:dana", Note: "\xff"},
	} {
		if _, err := l.DropParked(t.Context(), l.tenant, step.ID, h); !errors.Is(err, store.ErrNote) {
			t.Errorf("%+v: %v, want ErrNote", h, err)
		}
	}
	if _, err := l.DropParked(t.Context(), l.tenant, step.ID, store.Hand{Actor: "key:" + step.ID.String(), Note: " 2026-11-23: " + strings.Repeat("가", 180)}); err != nil {
		t.Error(err)
	}
}

// Of several hands on one step exactly one decides, and evidence that comes
// meanwhile is not lost.
func TestOneOfManyHandsDecides(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step, claim := l.parked("e1", "010-0000-0001")
	var all sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for i := range 8 {
		all.Go(func() {
			var err error
			switch i % 4 {
			case 0:
				_, err = l.DropParked(context.Background(), l.tenant, step.ID, staff)
			case 1:
				_, err = l.RetryParked(context.Background(), l.tenant, step.ID, resend)
			case 2:
				_, err = l.DropParked(context.Background(), l.tenant, step.ID, staff)
			case 3:
				l.settle(told(claim, event.Kakao, event.Sent, event.Poll))
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if refused(t, err) == "" {
				done++
			}
		})
	}
	all.Wait()
	state, _ := l.state(step.ID)
	if n := l.count(`SELECT count(*) FROM audit_log WHERE subject = 'step'`); n != done || done > 1 || done == 0 && state != "sent" {
		t.Errorf("%d decided, %d are in the audit log, the step is %s", done, n, state)
	}
	if n := l.count(`SELECT count(*) FROM parked_steps WHERE left_at IS NULL`); n != 0 {
		t.Error("it is still listed")
	}
	l.holds()
}
