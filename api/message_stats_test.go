package api

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

func (f *fakeLedger) Statistics(context.Context, tenant.ID, store.StatsQuery) (store.Statistics, error) {
	return store.Statistics{}, nil
}

type statsAnswer struct {
	From, To string
	AsOf     *time.Time `json:"as_of"`
	Total    messageStats
	Groups   []messageStats
}

// count counts as the recorder's loop does.
func (l *ledger) count() {
	l.t.Helper()
	if err := l.db.FindStatDays(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
	for counted := true; counted; {
		var err error
		if counted, err = l.db.CountStats(l.t.Context()); err != nil {
			l.t.Fatal(err)
		}
	}
}

func TestStatisticsCountWhatTheLogsShow(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	var before statsAnswer
	l.fetch("/api/message-logs/stats", l.mine.keys[auth.Viewer], &before)
	if before.Total.Messages != 0 || before.Total.SuccessRate != nil || before.AsOf != nil || before.Groups == nil {
		t.Errorf("of nothing: %+v", before)
	}
	for _, s := range []store.State{store.StateClaimed, store.StateSent, store.StateDelivered, store.StateDelivered, store.StateFailed, store.StatePlanned} {
		l.mine.message("010-0000-0001", s)
	}
	l.other.message("010-0000-0002", store.StateDelivered)
	l.count()
	var got statsAnswer
	audited := len(l.mine.audited())
	l.fetch("/api/message-logs/stats?group_by=workflow", l.mine.keys[auth.Viewer], &got)
	want := messageStats{Messages: 5, Sends: 5, Pending: 1, Sent: 1, Delivered: 2, Failed: 1, FellBack: 1, SuccessRate: new(0.75), FallbackRate: new(0.2), SMSShare: new(0.0)}
	if diff := cmp.Diff(want, timeless(got.Total)); diff != "" {
		t.Error(diff)
	}
	want.WorkflowID = &l.mine.workflow
	if len(got.Groups) != 1 || cmp.Diff(want, timeless(got.Groups[0])) != "" || got.AsOf == nil || got.Total.LateP95 == nil {
		t.Errorf("%+v", got)
	}
	if rows := l.mine.audited(); len(rows) != audited+1 {
		t.Errorf("%d rows of the audit log", len(rows)-audited)
	}
	today := time.Now().In(time.FixedZone("KST", 9*3600)).Format(time.DateOnly)
	for query, groups := range map[string]int{
		"group_by=day": 1, "group_by=channel": 1, "channel=sms&group_by=day": 0, "from=2026-01-01&to=2026-02-01&group_by=day": 0, "from=" + today + "&to=" + today + "&group_by=day": 1,
		"workflow_id=" + uuid.Must(uuid.NewV7()).String() + "&group_by=day": 0,
	} {
		l.fetch("/api/message-logs/stats?"+query, l.mine.keys[auth.Staff], &got)
		if len(got.Groups) != groups || (got.Total.Messages == 5) != (groups == 1) {
			t.Errorf("%s: %+v", query, got)
		}
	}
	for _, query := range []string{"from=2026-02-30", "to=yesterday", "from=2026-03-01&to=2026-02-01", "from=2024-01-01&to=2026-02-01", "group_by=patient"} {
		if w := l.do(http.MethodGet, "/api/message-logs/stats?"+query, l.mine.keys[auth.Owner]); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
}

// timeless leaves out what depends on the machine.
func timeless(s messageStats) messageStats {
	s.LateP50, s.LateP95, s.DeliveryP50, s.DeliveryP95 = nil, nil, nil, nil
	return s
}
