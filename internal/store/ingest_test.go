package store_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

func TestAnEventIsStoredOnceHoweverOftenItComes(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	a := l.call("e1", `{"n":1}`)
	first := l.accept(a)[0]
	if first.Status != store.Accepted {
		t.Fatalf("first call: %+v", first)
	}
	for _, c := range []struct {
		name string
		call store.Accept
		want store.AcceptStatus
	}{
		{"same_body", l.call("e1", `{"n":1}`), store.Duplicate},
		{"other_body", l.call("e1", `{"n":2}`), store.Conflict},
	} {
		got := l.accept(c.call)[0]
		if got.Status != c.want || got.TriggerID != first.TriggerID {
			t.Errorf("%s: %+v, want %s of trigger %s", c.name, got, c.want, first.TriggerID)
		}
	}
	group := l.accept(l.call("e2", `{}`), l.call("e2", `{}`), l.call("e2", `{"x":1}`), l.call("e1", `{"n":1}`))
	for i, want := range []store.AcceptStatus{store.Accepted, store.Duplicate, store.Conflict, store.Duplicate} {
		if group[i].Status != want {
			t.Errorf("group[%d] = %s, want %s", i, group[i].Status, want)
		}
	}
	if n := l.count(`SELECT count(*) FROM triggers`); n != 2 {
		t.Errorf("%d triggers, want 2", n)
	}
	if n := l.count(`SELECT count(*) FROM webhook_executions WHERE trigger_id IS NOT NULL AND execution_time_ms >= 0`); n != 7 {
		t.Errorf("%d webhook_executions, want one per call: 7", n)
	}
}

func TestRacingCallsOfOneEventStoreOneTrigger(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	other, webhook := l.clinic("other")
	var all sync.WaitGroup
	results := make([][]store.AcceptResult, 16)
	for i := range results {
		all.Go(func() {
			calls := []store.Accept{l.call("same", `{}`), l.call(fmt.Sprint("own-", i), `{}`)}
			foreign := l.call("same", `{}`)
			foreign.Tenant, foreign.WebhookID, foreign.Source = other, webhook, "webhook:"+webhook.String()
			if i%2 == 0 {
				calls = append([]store.Accept{foreign}, calls...)
			} else {
				calls = append(calls, foreign)
			}
			out, err := l.AcceptTriggers(t.Context(), calls)
			if err != nil {
				t.Error(err)
			}
			results[i] = out
		})
	}
	all.Wait()
	accepted := 0
	for _, r := range results {
		for _, x := range r {
			if x.Status == store.Accepted {
				accepted++
			}
		}
	}
	if want := 16 + 2; accepted != want || l.count(`SELECT count(*) FROM triggers`) != want {
		t.Errorf("%d accepted, %d stored; want %d of each", accepted, l.count(`SELECT count(*) FROM triggers`), want)
	}
}

func TestBodyStandsInForAnEventIDForADay(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	first := l.accept(l.call("", `{"n":1}`))[0]
	again := l.accept(l.call("", `{"n":1}`))[0]
	other := l.accept(l.call("", `{"n":2}`))[0]
	if again.Status != store.Duplicate || again.TriggerID != first.TriggerID || other.Status != store.Accepted {
		t.Fatalf("again = %+v, other = %+v", again, other)
	}
	l.exec(`UPDATE triggers SET received_at = received_at - interval '25 hours', event_id = event_id || '-yesterday' WHERE id = $1`, first.TriggerID)
	if next := l.accept(l.call("", `{"n":1}`))[0]; next.Status != store.Accepted {
		t.Errorf("the same body a day later: %+v, want a new trigger", next)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	accepted := 0
	for range 8 {
		all.Go(func() {
			out, err := l.AcceptTriggers(t.Context(), []store.Accept{l.call("", `{"race":1}`)})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			} else if out[0].Status == store.Accepted {
				accepted++
			}
		})
	}
	all.Wait()
	if accepted != 1 {
		t.Errorf("%d of 8 equal bodies were accepted, want 1", accepted)
	}
}

func TestWebhookSecretsOpenOnlyForTheirOwnRow(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	w, err := l.Webhook(t.Context(), l.webhook)
	if err != nil || len(w.Secrets) != 1 || len(w.Secrets[0]) != 32 || !w.Enabled || w.PatientPointer != "/patient" {
		t.Fatalf("webhook = %+v, %v", w, err)
	}
	if _, err := l.Webhook(t.Context(), uuid.New()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("unknown webhook: %v, want ErrNotFound", err)
	}
	_, second := l.clinic("other")
	l.exec(`UPDATE webhooks SET secret = (SELECT secret FROM webhooks WHERE id = $1) WHERE id = $2`, l.webhook, second)
	if _, err := l.Webhook(t.Context(), second); err == nil {
		t.Error("a secret that was copied from another row opens")
	}
}

func TestRefusedCallsAreKept(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	err := l.RecordRefused(t.Context(), []store.RefusedCall{
		{Tenant: l.tenant, WebhookID: l.webhook, ResponseStatus: 401, Problem: "invalid-signature"},
		{Tenant: l.tenant, WebhookID: l.webhook, EventID: "e1", ResponseStatus: 422, Problem: "invalid-payload", Body: []byte(`{"secret":"canary-7731"}`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := l.count(`SELECT count(*) FROM webhook_executions WHERE status = 'refused' AND response->>'problem' = 'invalid-payload' AND payload IS NOT NULL AND response_status = 422`); n != 1 {
		t.Errorf("%d refused rows with a sealed payload, want 1", n)
	}
}

// everyColumn returns all rows of all tables as text, bytes as hex and raw.
func (l *ledger) everyColumn() string {
	rows, err := l.super.Query(l.t.Context(), `SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind = 'r'`)
	if err != nil {
		l.t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		l.t.Fatal(err)
	}
	var all strings.Builder
	for _, table := range tables {
		var text string
		l.scan(`SELECT coalesce(string_agg(x::text, E'\n'), '') FROM `+pgx.Identifier{table}.Sanitize()+` x`, nil, &text)
		all.WriteString(text)
	}
	return all.String()
}

func TestNoPatientDataLiesOpenInAnyColumn(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step := l.planned("e1", "010-0000-7731")
	claims, err := l.ClaimSteps(t.Context(), []event.Step{step}, func(*store.Candidate) store.Decision {
		return store.Decision{Claim: true, Content: "김하늘님 canary-text"}
	})
	if err != nil || len(claims) != 1 {
		t.Fatalf("claim: %v, %v", claims, err)
	}
	dump := l.everyColumn()
	if !strings.Contains(dump, l.tenant.String()) {
		t.Fatal("the dump shows nothing: the search is broken")
	}
	for _, canary := range []string{"00007731", "000-7731", "김하늘", "canary", fmt.Sprintf("%x", "김하늘"), fmt.Sprintf("%x", "00007731"), fmt.Sprintf("%x", "canary")} {
		if strings.Contains(dump, canary) {
			t.Errorf("%q lies open in the database", canary)
		}
	}
}
