package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Grouping is what statistics are told apart by.
type Grouping string

// The groupings; "" is none.
const (
	ByDay      Grouping = "day"
	ByWorkflow Grouping = "workflow"
	ByChannel  Grouping = "channel"
)

// StatsQuery says which statistics; zero values leave open.
type StatsQuery struct {
	// From and To are days, both included, as the clinic's clocks have them; by
	// default today, and the 29 days before To.
	From, To string
	Workflow uuid.UUID
	Channel  event.Channel
	By       Grouping
}

// Spans counts how many took up to each of [SpanBounds], and how many longer.
type Spans [len(SpanBounds) + 1]int64

// SpanBounds are what [Spans] are counted by.
var SpanBounds = [...]time.Duration{
	time.Second, 5 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 30 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour,
}

// Within is the least bound that a share of them, 0 to 1, kept to; ok is false
// where there are none, or more of them took longer than a day.
func (s Spans) Within(share float64) (bound time.Duration, ok bool) {
	var all, sum int64
	for _, n := range s {
		all += n
	}
	for i, bound := range SpanBounds {
		if sum += s[i]; all > 0 && float64(sum) >= share*float64(all) {
			return bound, true
		}
	}
	return 0, false
}

// Stats are the numbers of a group; of its Day, Workflow and Channel, the one
// that it was grouped by is set.
type Stats struct {
	Day      string
	Workflow uuid.UUID
	Channel  event.Channel
	// Messages are what was meant for patients; Sends what gateways were asked
	// for: a Kakao message that falls back is one message and two sends.
	Messages, Sends                  int64
	Pending, Sent, Delivered, Failed int64 // of sends
	FellBack                         int64 // among Failed
	Kakao                            int64 // of Sends
	BySMS                            int64 // of Sent and Delivered
	Lateness, Delivery               Spans // due to sent, sent to delivered
}

const selectStats = `
SELECT CASE WHEN $6 = 'day' THEN m.day::text ELSE '' END AS by_day,
       CASE WHEN $6 = 'workflow' THEN m.workflow_id END AS by_workflow,
       CASE WHEN $6 = 'channel' THEN m.channel ELSE '' END AS by_channel,
       sum(m.messages)::bigint, sum(m.sends)::bigint, sum(m.pending)::bigint, sum(m.sent)::bigint, sum(m.delivered)::bigint, sum(m.failed)::bigint, sum(m.fell_back)::bigint,
       coalesce(sum(m.sends) FILTER (WHERE m.channel = 'kakao'), 0)::bigint, coalesce(sum(m.sent + m.delivered) FILTER (WHERE m.channel = 'sms'), 0)::bigint,
       ARRAY[sum(m.lateness[1]), sum(m.lateness[2]), sum(m.lateness[3]), sum(m.lateness[4]), sum(m.lateness[5]),
             sum(m.lateness[6]), sum(m.lateness[7]), sum(m.lateness[8]), sum(m.lateness[9]), sum(m.lateness[10])]::bigint[],
       ARRAY[sum(m.delivery[1]), sum(m.delivery[2]), sum(m.delivery[3]), sum(m.delivery[4]), sum(m.delivery[5]),
             sum(m.delivery[6]), sum(m.delivery[7]), sum(m.delivery[8]), sum(m.delivery[9]), sum(m.delivery[10])]::bigint[]
FROM   message_stats m
WHERE  m.tenant_id = $1 AND m.time_zone = (SELECT t.time_zone FROM tenants t WHERE t.id = $1) AND m.day >= $2::date AND m.day <= $3::date
AND    ($4::uuid IS NULL OR m.workflow_id = $4) AND ($5::text IS NULL OR m.channel = $5)
GROUP  BY 1, 2, 3
ORDER  BY 1 DESC, 2, 3`

// The oldest count among the days asked for that may still change.
const selectStatsAge = `
SELECT min(d.counted_at) FROM message_stat_days d
WHERE  d.tenant_id = $1 AND d.time_zone = (SELECT t.time_zone FROM tenants t WHERE t.id = $1) AND d.day >= $2::date AND d.day <= $3::date AND d.wake_at IS NOT NULL`

// Statistics are the numbers of the days from From to To.
type Statistics struct {
	From, To string
	// AsOf is when the oldest count was made of a day that may still change; the
	// zero time where there is none.
	AsOf   time.Time
	Groups []Stats
}

// Statistics returns a clinic's numbers. From and To must be days. Errors wrap
// [ErrUnavailable] where that is what happened.
func (db *DB) Statistics(ctx context.Context, id tenant.ID, q StatsQuery) (out Statistics, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		v, err := db.viewer(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := q.defaults(ctx, tx, v.zone); err != nil {
			return err
		}
		out.From, out.To = q.From, q.To
		var oldest *time.Time
		if err := tx.QueryRow(ctx, selectStatsAge, id, q.From, q.To).Scan(&oldest); err != nil {
			return err
		}
		out.AsOf = v.local(oldest)
		rows, err := tx.Query(ctx, selectStats, id, q.From, q.To, nullID(q.Workflow), nullText(q.Channel), string(q.By))
		if err != nil {
			return err
		}
		out.Groups, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (s Stats, err error) {
			var workflow *uuid.UUID
			var lateness, delivery []int64
			err = row.Scan(&s.Day, &workflow, &s.Channel, &s.Messages, &s.Sends, &s.Pending, &s.Sent, &s.Delivered, &s.Failed, &s.FellBack, &s.Kakao, &s.BySMS, &lateness, &delivery)
			if workflow != nil {
				s.Workflow = *workflow
			}
			copy(s.Lateness[:], lateness)
			copy(s.Delivery[:], delivery)
			return s, err
		})
		return err
	})
	if err != nil {
		return Statistics{}, fmt.Errorf("store: statistics: %w", err)
	}
	return out, nil
}

const selectNow = `SELECT app_now()`

func (q *StatsQuery) defaults(ctx context.Context, tx pgx.Tx, zone *time.Location) error {
	if q.To == "" {
		var now time.Time
		if err := tx.QueryRow(ctx, selectNow).Scan(&now); err != nil {
			return err
		}
		q.To = now.In(zone).Format(time.DateOnly)
	}
	if q.From != "" {
		return nil
	}
	to, err := time.Parse(time.DateOnly, q.To)
	q.From = to.AddDate(0, 0, -29).Format(time.DateOnly)
	return err
}
