package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// A wrong master key looks like erased patients, and must end nothing.
func TestAWrongMasterKeyIsRefusedAndEndsNoWork(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	_, err := store.Open(t.Context(), store.Config{APIURL: l.urls.API, WorkerURL: l.urls.Worker, Master: seal.NewKey()})
	if !errors.Is(err, store.ErrWrongMaster) {
		t.Fatalf("Open = %v, want ErrWrongMaster", err)
	}
	step := l.planned("e1", "010-0000-0001")
	pending := l.accept(l.call("e2", body("010-0000-0002", "이서준")))[0].TriggerID
	// What a key that does not fit looks like from inside.
	l.exec(`UPDATE tenants SET data_key = set_byte(data_key, 20, (get_byte(data_key, 20) + 1) % 256)`)
	fresh, err := store.Open(t.Context(), store.Config{APIURL: l.urls.API, Master: l.master})
	if err != nil {
		t.Fatal(err)
	}
	fresh.Close()
	if _, err := l.PlanTriggers(t.Context(), []event.Trigger{{Tenant: l.tenant, ID: pending}}, planning()); err == nil {
		t.Error("planning does not fail")
	}
	if _, err := l.ClaimSteps(t.Context(), []event.Step{step}, func(c *store.Candidate) store.Decision {
		t.Errorf("a candidate that cannot be opened: erased %v", c.Erased)
		return store.Decision{}
	}); err == nil {
		t.Error("claiming does not fail")
	}
	if n := l.count(`SELECT count(*) FROM triggers WHERE id = $1 AND state = 'pending'`, pending); n != 1 {
		t.Error("the trigger was ended")
	}
}

// What an account was sent can only be asked of that account.
func TestAnotherGatewayIsAnotherAccount(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step, claim := l.claimed("e1", "010-0000-0001")
	before, err := l.Account(t.Context(), l.tenant, event.Kakao)
	if err != nil {
		t.Fatal(err)
	}
	file := fmt.Sprintf(clinicFile, "miso")
	for _, change := range []struct {
		name, old, new string
		same           bool
	}{
		{"rate", "sender: aaaa", "rate_per_second: 7, sender: aaaa", true},
		{"secret", "sender: aaaa", "secret: rotated, sender: aaaa", true},
		{"app_key", "sender: aaaa", "app_key: other, sender: aaaa", false},
	} {
		if _, err := l.apply(strings.Replace(file, change.old, change.new, 1), store.ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
		after, err := l.Account(t.Context(), l.tenant, event.Kakao)
		if err != nil || (after.ID == before.ID) != change.same {
			t.Errorf("%s: account %s after %s, %v", change.name, after.ID, before.ID, err)
		}
	}
	if _, err := l.AccountByID(t.Context(), l.tenant, before.ID); err != nil {
		t.Errorf("the replaced account cannot be asked: %v", err)
	}
	l.settle(event.Delivery{Tenant: claim.Tenant, Step: step.ID, Channel: event.Kakao, Attempt: claim.Attempt, Status: event.Unknown, Source: event.Answer})
	l.exec(`UPDATE steps SET wake_at = now() WHERE state = 'unknown'`)
	list, err := l.LeaseUnresolved(t.Context(), []tenant.ID{l.tenant}, 0, 10)
	if err != nil || len(list) != 1 || list[0].Account != before.ID || list[0].Lost != 1 || list[0].OnUnknown != "park" {
		t.Errorf("unresolved = %+v, %v; want the account that the request was made with", list, err)
	}
}

func TestAStepThatMovesOnReopensItsRun(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step, claim := l.claimed("e1", "010-0019-0000")
	l.exec(`UPDATE steps SET state = 'skipped', reason = 'opted_out', wake_at = NULL WHERE node = '2'`)
	l.settle(event.Delivery{Tenant: claim.Tenant, Step: step.ID, Channel: event.Kakao, Attempt: claim.Attempt, Status: event.Parked, Reason: event.OutcomeUnknown, Source: event.Query})
	if s := l.runStatus(); s != "failed" {
		t.Fatalf("parked: the run is %s", s)
	}
	l.settle(told(claim, event.Kakao, event.Sent, event.Query))
	if s := l.runStatus(); s != "running" {
		t.Errorf("sent after all: the run is %s", s)
	}
	l.settle(told(claim, event.Kakao, event.Failed, event.Poll))
	var sms event.Step
	l.scan(`SELECT tenant_id, id, lane, channel FROM steps WHERE channel = 'sms'`, nil, &sms.Tenant, &sms.ID, &sms.Lane, &sms.Channel)
	if _, err := l.ClaimSteps(t.Context(), []event.Step{sms}, func(c *store.Candidate) store.Decision {
		if c.RunDone {
			t.Error("the fallback finds its run ended")
		}
		return store.Decision{}
	}); err != nil {
		t.Fatal(err)
	}
	l.holds()
}

func TestAnExpiredStepEndsItsLogRow(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step, claim := l.claimed("e1", "010-0000-0001")
	l.settle(event.Delivery{Tenant: claim.Tenant, Step: step.ID, Channel: event.Kakao, Attempt: claim.Attempt, Status: event.Released, Source: event.Answer})
	l.exec(`UPDATE steps SET wake_at = now(), expires_at = now() WHERE node = '1'`)
	if _, err := l.ExpireSteps(t.Context(), l.lease(10)); err != nil {
		t.Fatal(err)
	}
	if n := l.count(`SELECT count(*) FROM message_logs WHERE id = $1 AND status = 'failed' AND error_message = 'time_passed'`, step.ID); n != 1 {
		t.Error("the log row is still pending")
	}
	l.holds()
	l.exec(`INSERT INTO attempts (tenant_id, step_id, attempt, channel, plan_epoch, claimed_at) VALUES ($1, gen_random_uuid(), 1, 'sms', 0, now())`, l.tenant)
	if list, err := l.Conserve(t.Context()); err != nil || list[0].Diff() == 0 {
		t.Errorf("conserve does not see an attempt without its step: %v", err)
	}
}

func TestARouteThatNamesAWorkflowTwiceRunsItOnce(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	r := l.accept(l.call("e1", body("010-0000-0001", "김하늘")))[0]
	p := planning()
	read := p.Read
	p.Read = func(t store.PendingTrigger) store.Reading {
		out := read(t)
		out.Workflows = []uuid.UUID{t.WorkflowID, t.WorkflowID}
		return out
	}
	if _, err := l.PlanTriggers(t.Context(), []event.Trigger{{Tenant: l.tenant, ID: r.TriggerID}}, p); err != nil {
		t.Fatal(err)
	}
	if n := l.count(`SELECT count(*) FROM workflow_executions`); n != 1 {
		t.Errorf("%d runs, want 1", n)
	}
}

func TestAPauseDoesNotFreezeWhatMustBeFoundOut(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step, _ := l.claimed("e1", "010-0000-0001")
	l.exec(`UPDATE steps SET wake_at = now() - interval '1 s' WHERE id = $1`, step.ID)
	if err := l.Pause(t.Context(), l.tenant, true, "test"); err != nil {
		t.Fatal(err)
	}
	if err := l.FreeClaims(t.Context()); err != nil {
		t.Fatal(err)
	}
	queues, _, err := l.Queues(t.Context())
	if err != nil || len(queues) != 1 || queues[0].Name != store.ResolveQueue {
		t.Errorf("queues = %+v, %v; want the resolver's", queues, err)
	}
}
