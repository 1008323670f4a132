package store_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

func TestTheLogShowsEveryState(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step, _ := l.claimed("e1", "010-0000-0001")
	for _, tt := range []struct {
		state, reason, code string
		status, problem     string
	}{
		{"planned", "quiet_hours", "", "pending", ""},
		{"claimed", "", "", "pending", ""},
		{"unknown", "", "", "pending", ""},
		{"sent", "", "1000", "sent", ""},
		{"sent", "report_timeout", "1000", "sent", ""},
		{"delivered", "delivered", "1000", "delivered", ""},
		{"failed", "rejected:3018", "3018", "failed", "rejected:3018"},
		{"failed", "fell_back", "3019", "failed", "rejected:3019"},
		{"failed", "fell_back", "", "failed", "fell_back"},
		{"failed", "no_phone", "", "failed", "no_phone"},
		{"parked", "outcome_unknown", "", "failed", "outcome_unknown"},
		{"cancelled", "superseded", "", "failed", "superseded"},
		{"skipped", "opted_out", "", "failed", "opted_out"},
		{"expired", "time_passed", "", "failed", "time_passed"},
	} {
		l.exec(`UPDATE steps SET state = $2, reason = nullif($3, ''), code = nullif($4, '') WHERE id = $1`, step.ID, tt.state, tt.reason, tt.code)
		logs := l.logs(store.LogQuery{}).Rows
		if len(logs) != 1 || logs[0].Status != tt.status || logs[0].Error != event.Reason(tt.problem) {
			t.Errorf("%s/%s %s is shown as %+v, want %s %q", tt.state, tt.reason, tt.code, logs, tt.status, tt.problem)
		}
	}
	var states int
	l.scan(`SELECT (length(d) - length(replace(d, '''::text', ''))) / 7 FROM (SELECT pg_get_constraintdef(oid) AS d FROM pg_constraint WHERE conname = 'steps_state_check') c`, nil, &states)
	if states != 10 {
		t.Errorf("the schema has %d states, this test 10", states)
	}
}

func TestTheLogIsAsClosedToOtherTenantsAsItsTables(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.claimed("e1", "010-0000-0001")
	other, _ := l.clinic("other")
	c := connect(t, l.urls.API)
	for _, tt := range []struct {
		tenant string
		want   int
	}{{"", 0}, {other.String(), 0}, {l.tenant.String(), 1}} {
		err := pgx.BeginFunc(t.Context(), c, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), `SELECT set_config('app.tenant', $1, true)`, tt.tenant); err != nil {
				return err
			}
			for _, table := range []string{"message_logs", "attempts"} {
				var n int
				if err := tx.QueryRow(t.Context(), `SELECT count(*) FROM `+table).Scan(&n); err != nil || n != tt.want {
					t.Errorf("the tenant %q sees %d rows of %s, %v; want %d", tt.tenant, n, table, err, tt.want)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, sql := range []string{`INSERT INTO message_logs (id) VALUES (gen_random_uuid())`, `UPDATE message_logs SET status = 'sent'`, `DELETE FROM message_logs`} {
		for _, url := range []string{l.urls.API, l.urls.Worker} {
			if _, err := connect(t, url).Exec(t.Context(), sql); err == nil {
				t.Errorf("the log takes: %s", sql)
			}
		}
	}
}

// A step that ended before anything was claimed has a row in the log; if it is
// taken up after all, it stays one, dated by what was really attempted.
func TestAnUntriedStepsLogIsDatedByItsFirstAttempt(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step := l.planned("e1", "010-0000-0001")
	if n := len(l.logs(store.LogQuery{}).Rows); n != 0 {
		t.Fatalf("%d logs of a step that waits", n)
	}
	failed := event.Delivery{Tenant: l.tenant, Step: step.ID, Channel: event.Kakao, Status: event.Failed, Source: event.Guard, Reason: event.NoPhone, Final: true}
	l.settle(failed)
	l.settle(failed)
	l.exec(`UPDATE attempts SET claimed_at = claimed_at - interval '1 hour'`)
	untried := l.logs(store.LogQuery{}).Rows
	if len(untried) != 1 || untried[0].Status != "failed" || untried[0].Error != event.NoPhone || time.Since(untried[0].Created) < time.Hour {
		t.Fatalf("an untried step is shown as %+v", untried)
	}
	l.holds()

	l.exec(`UPDATE steps SET state = 'planned', reason = NULL WHERE id = $1`, step.ID)
	claim := func(attempt int32) {
		t.Helper()
		step.Attempt = attempt
		claims, err := l.ClaimSteps(t.Context(), []event.Step{step, step}, claimAll) // twice in one batch is once
		if err != nil || len(claims) != 1 || claims[0].Attempt != attempt+1 {
			t.Fatalf("claims = %v, %v; want one", claims, err)
		}
	}
	claim(0)
	first := l.logs(store.LogQuery{}).Rows
	if len(first) != 1 || first[0].ID != step.ID || first[0].Status != "pending" || first[0].Content != "text" || time.Since(first[0].Created) > time.Minute {
		t.Fatalf("its first attempt is shown as %+v", first)
	}
	l.exec(`UPDATE steps SET state = 'planned' WHERE id = $1`, step.ID)
	claim(1)
	second := l.logs(store.LogQuery{}).Rows
	if len(second) != 1 || !second[0].Created.Equal(first[0].Created) {
		t.Errorf("its second attempt is shown as %+v, want one row of the first's date", second)
	}
	if n := l.count(`SELECT count(*) FROM attempts WHERE step_id = $1`, step.ID); n != 3 {
		t.Errorf("%d rows of two attempts and an untried end, want 3", n)
	}
	l.holds()
}

// A patient's second text replaces the first in the log.
func TestTheLogShowsTheTextOfTheLastAttempt(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step := l.planned("e1", "010-0000-0001")
	for attempt, text := range []string{"first", "second"} {
		step.Attempt = int32(attempt)
		_, err := l.ClaimSteps(t.Context(), []event.Step{step}, func(*store.Candidate) store.Decision {
			return store.Decision{Claim: true, Content: text}
		})
		if err != nil {
			t.Fatal(err)
		}
		logs := l.logs(store.LogQuery{}).Rows
		if len(logs) != 1 || logs[0].Content != text {
			t.Errorf("the log shows %+v, want %q", logs, text)
		}
		l.exec(`UPDATE steps SET state = 'planned' WHERE id = $1`, step.ID)
	}
}
