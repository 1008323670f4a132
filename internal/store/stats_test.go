package store_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/store"
)

// logs writes n delivered messages, evenly over days up to now, and one in
// every rare that failed.
func (l *ledger) fillLogs(n, days, rare int) {
	l.t.Helper()
	l.exec(`
WITH ids AS MATERIALIZED (
  SELECT i, gen_random_uuid() AS e, gen_random_uuid() AS s, app_now() - i * ($4::int * interval '1 day') / $3::int AS at FROM generate_series(0, $3::int - 1) AS g (i)
), p AS (
  INSERT INTO patients (tenant_id, id, external_id, phone_index) VALUES ($1, gen_random_uuid(), 'x' || gen_random_uuid(), '\x00') RETURNING id
), e AS (
  INSERT INTO workflow_executions (tenant_id, id, workflow_id, version, trigger_id, patient_id, status, expected_steps, created_at)
  SELECT $1, e, $2, 1, gen_random_uuid(), p.id, 'completed', 1, at FROM ids, p
), s AS (
  INSERT INTO steps (tenant_id, id, execution_id, node, root_id, channel, due_at, expires_at, state, reason, attempt, sent_at, delivered_at)
  SELECT $1, s, e, '1', s, CASE WHEN i % 4 = 0 THEN 'sms' ELSE 'kakao' END, at, at + interval '1 day', CASE WHEN i % $5::int = 0 THEN 'failed' ELSE 'delivered' END,
         CASE WHEN i % $5::int = 0 THEN 'rejected:3018' ELSE 'delivered' END, 1, CASE WHEN i % $5::int <> 0 THEN at + interval '2 seconds' END,
         CASE WHEN i % $5::int <> 0 THEN at + interval '10 seconds' END FROM ids
)
INSERT INTO attempts (tenant_id, step_id, attempt, channel, plan_epoch, claimed_at, logged) SELECT $1, s, 1, 'kakao', 0, at, true FROM ids`,
		l.tenant, l.workflow, n, days, rare)
}

// count counts what is due, as the recorder's loop does.
func (l *ledger) countDays() (days int) {
	l.t.Helper()
	if err := l.FindStatDays(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
	for {
		counted, err := l.CountStats(l.t.Context())
		if err != nil {
			l.t.Fatal(err)
		}
		if !counted {
			return days
		}
		days++
	}
}

func (l *ledger) stats(q store.StatsQuery) store.Statistics {
	l.t.Helper()
	out, err := l.Statistics(l.t.Context(), l.tenant, q)
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

// Whenever counting begins, and however long nobody counted, every day with
// logs is found, once.
func TestEveryDayWithLogsIsCounted(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.fillLogs(200, 40, 10)
	first := l.countDays()
	q := store.StatsQuery{From: "2000-01-01", To: "2100-01-01", By: store.ByDay}
	got := l.stats(q)
	if first != len(got.Groups) || len(got.Groups) < 40 || len(got.Groups) > 41 {
		t.Errorf("%d days were counted, %d have numbers", first, len(got.Groups))
	}
	all := l.stats(store.StatsQuery{From: q.From, To: q.To}).Groups
	want := store.Stats{Messages: 200, Sends: 200, Delivered: 180, Failed: 20, Kakao: 150, BySMS: 40}
	want.Lateness[1], want.Delivery[2] = 180, 180
	if len(all) != 1 || all[0] != want {
		t.Errorf("%+v, want %+v", all, want)
	}
	if n := l.countDays(); n != 0 {
		t.Errorf("%d days were counted again at once", n)
	}
	// Nobody counted for a while, and more came on days that are known.
	l.fillLogs(50, 3, 10)
	l.exec(`UPDATE message_stat_days SET wake_at = app_now()`)
	l.exec(`DELETE FROM message_stat_days WHERE day > (SELECT max(day) FROM message_stat_days) - 2`)
	l.countDays()
	if all := l.stats(store.StatsQuery{From: q.From, To: q.To}).Groups; all[0].Messages != 250 {
		t.Errorf("%+v", all)
	}
}

func TestADaysNumbersFollowItsMessages(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.fillLogs(10, 1, 2)
	l.countDays()
	l.exec(`UPDATE steps SET state = 'delivered' WHERE state = 'failed'`)
	l.exec(`UPDATE message_stat_days SET wake_at = app_now()`)
	l.countDays()
	if got := l.stats(store.StatsQuery{From: "2000-01-01"}).Groups; len(got) != 1 || got[0].Delivered != 10 || got[0].Failed != 0 {
		t.Errorf("%+v", got)
	}
	// Days of another zone are other days, and those of this one come back with it.
	for _, zone := range []string{"America/New_York", "Asia/Seoul"} {
		l.exec(`UPDATE tenants SET time_zone = $1`, zone)
		l.exec(`UPDATE steps SET state = 'failed', reason = 'dropped' WHERE id = (SELECT id FROM steps WHERE state = 'delivered' LIMIT 1)`)
		l.countDays()
		all := l.stats(store.StatsQuery{From: "2000-01-01", To: "2100-01-01"}).Groups
		if failed := l.count(`SELECT count(*) FROM steps WHERE state = 'failed'`); len(all) != 1 || all[0].Messages != 10 || int(all[0].Failed) != failed {
			t.Errorf("%s: %+v, want %d failed", zone, all, failed)
		}
	}
}

func TestCopiesThatCountBesideOneAnotherCountOnce(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.fillLogs(300, 30, 10)
	var all sync.WaitGroup
	var mu sync.Mutex
	days := 0
	for range 4 {
		all.Go(func() {
			for {
				if err := l.FindStatDays(context.Background()); err != nil {
					t.Error(err)
					return
				}
				counted, err := l.CountStats(context.Background())
				if err != nil || !counted {
					if err != nil {
						t.Error(err)
					}
					return
				}
				mu.Lock()
				days++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	l.countDays()
	if got := l.stats(store.StatsQuery{From: "2000-01-01"}).Groups; got[0].Messages != 300 || days > 31 {
		t.Errorf("%d days, %+v", days, got)
	}
}

func TestSpansTellHowLongMostTook(t *testing.T) {
	t.Parallel()
	s := store.Spans{50, 40, 5, 0, 0, 0, 0, 0, 0, 5}
	for share, want := range map[float64]time.Duration{0.5: time.Second, 0.9: 5 * time.Second, 0.95: 30 * time.Second} {
		if got, ok := s.Within(share); !ok || got != want {
			t.Errorf("%v: %s", share, got)
		}
	}
	if _, ok := s.Within(0.99); ok {
		t.Error("more than a day has no bound")
	}
	if _, ok := (store.Spans{}).Within(0.5); ok {
		t.Error("nothing has a bound")
	}
}

// BenchmarkMillionLogs asks for pages of logs and for statistics of a clinic
// with a million of them over 90 days.
func BenchmarkMillionLogs(b *testing.B) {
	l := newLedger(b)
	l.fillLogs(1_000_000, 90, 1000)
	l.exec(`ANALYZE`)
	begin := time.Now()
	l.countDays()
	b.Logf("91 days were counted in %s", time.Since(begin))
	var patient uuid.UUID
	l.scan(`SELECT id FROM patients LIMIT 1`, nil, &patient)
	first, err := l.MessageLogs(b.Context(), l.tenant, store.LogQuery{})
	if err != nil {
		b.Fatal(err)
	}
	for name, ask := range map[string]func() error{
		"stats": func() error {
			_, err := l.Statistics(b.Context(), l.tenant, store.StatsQuery{From: "2000-01-01", By: store.ByDay})
			return err
		},
		"list": func() error { _, err := l.MessageLogs(b.Context(), l.tenant, store.LogQuery{}); return err },
		"next page": func() error {
			_, err := l.MessageLogs(b.Context(), l.tenant, store.LogQuery{Cursor: first.Next})
			return err
		},
		"a day": func() error {
			_, err := l.MessageLogs(b.Context(), l.tenant, store.LogQuery{From: time.Now().AddDate(0, 0, -45), To: time.Now().AddDate(0, 0, -44)})
			return err
		},
		"failed": func() error {
			_, err := l.MessageLogs(b.Context(), l.tenant, store.LogQuery{Status: "failed"})
			return err
		},
		"pending": func() error {
			_, err := l.MessageLogs(b.Context(), l.tenant, store.LogQuery{Status: "pending"})
			return err
		},
		"sms": func() error {
			_, err := l.MessageLogs(b.Context(), l.tenant, store.LogQuery{Channel: "sms"})
			return err
		},
		"workflow": func() error {
			_, err := l.MessageLogs(b.Context(), l.tenant, store.LogQuery{Workflow: l.workflow})
			return err
		},
		"no workflow": func() error {
			_, err := l.MessageLogs(b.Context(), l.tenant, store.LogQuery{Workflow: uuid.Must(uuid.NewV7())})
			return err
		},
		"patient": func() error {
			_, err := l.MessageLogs(b.Context(), l.tenant, store.LogQuery{Patient: patient})
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				begin := time.Now()
				if err := ask(); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(begin))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}
