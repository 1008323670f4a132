package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
	"github.com/doctorsflow/doctorsflow/planner"
)

const farClinic = `
tenant: {slug: miso, name: 미소치과, phone: "02-555-0100", time_zone: %s}
templates:
  - {name: care, kakao_template_code: SIM_OK, kakao_text: "#{환자명}님", sms_text: "#{환자명}님"}
workflows:
  - name: aftercare
    send_at: "10:30"
    steps:
      - {node: d90, day: 90, template: care}
      - {node: d180, day: 180, template: care}
      - {node: d365, day: 365, template: care}
`

// Steps 90, 180 and 365 days ahead rest in the ledger until their local time,
// not a second less, across changes of clocks and the end of the year, and can
// then be claimed.
func TestStepsFarAheadBecomeDueAtTheirLocalTime(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Asia/Seoul", "America/New_York", "Australia/Lord_Howe"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLedger(t)
			if _, err := l.apply(fmt.Sprintf(farClinic, name), store.ApplyOptions{}); err != nil {
				t.Fatal(err)
			}
			zone, err := time.LoadLocation(name)
			if err != nil {
				t.Fatal(err)
			}
			trigger := l.accept(l.call("e1", body("010-0000-0001", "김하늘")))[0].TriggerID
			var began time.Time
			p := planning()
			p.Expand = func(t store.PendingTrigger, d *workflow.Definition) (out store.Expansion) {
				began = t.ReceivedAt.In(zone)
				for _, s := range planner.Plan(d, planner.Facts{At: t.ReceivedAt, Zone: t.Zone, SendAt: &t.SendAt, Calendar: t.Calendar}) {
					out.Steps = append(out.Steps, store.StepPlan(s))
				}
				return out
			}
			due, err := l.PlanTriggers(t.Context(), []event.Trigger{{Tenant: l.tenant, ID: trigger}}, p)
			if err != nil || len(due) != 0 {
				t.Fatalf("due = %v, %v; want none", due, err)
			}
			lease := func() (steps []event.Step) {
				t.Helper()
				for _, s := range l.lease(10) {
					if !s.Expired {
						steps = append(steps, s.Step)
					}
				}
				return steps
			}
			for node, days := range map[string]int{"d90": 90, "d180": 180, "d365": 365} {
				var at time.Time
				l.scan(`SELECT due_at FROM steps WHERE node = $1`, []any{node}, &at)
				want := time.Date(began.Year(), began.Month(), began.Day()+days, 10, 30, 0, 0, zone)
				if !at.Equal(want) {
					t.Errorf("%s: due %s, want %s", node, at.In(zone), want)
				}
			}
			for _, days := range []int{90, 180, 365} {
				want := time.Date(began.Year(), began.Month(), began.Day()+days, 10, 30, 0, 0, zone)
				if err := l.PassTime(t.Context(), want.Add(-time.Second)); err != nil {
					t.Fatal(err)
				}
				if got := lease(); len(got) != 0 {
					t.Fatalf("a second before day %d: %v", days, got)
				}
				if err := l.PassTime(t.Context(), want); err != nil {
					t.Fatal(err)
				}
				got := lease()
				if len(got) != 1 {
					t.Fatalf("on day %d: %v, want one step", days, got)
				}
				claims, err := l.ClaimSteps(t.Context(), got, claimAll)
				if err != nil || !slices.Equal(ids(claims), []uuid.UUID{got[0].ID}) {
					t.Fatalf("on day %d: claims %v, %v", days, claims, err)
				}
				l.exec(`UPDATE steps SET state = 'delivered', reason = 'delivered', wake_at = NULL WHERE id = $1`, got[0].ID)
			}
		})
	}
}

func ids(claims []store.Claim) (list []uuid.UUID) {
	for _, c := range claims {
		list = append(list, c.Step)
	}
	return list
}
