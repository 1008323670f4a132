package planner_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
	"github.com/doctorsflow/doctorsflow/planner"
)

// zones change their clocks by an hour, by half an hour, at midnight, or not.
func zones(t testing.TB) (list []*time.Location) {
	t.Helper()
	for _, name := range []string{"Asia/Seoul", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kathmandu"} {
		l, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, l)
	}
	return list
}

var (
	clock = rapid.Custom(func(t *rapid.T) *workflow.Clock {
		return &workflow.Clock{Hour: rapid.IntRange(0, 23).Draw(t, "hour"), Minute: rapid.IntRange(0, 59).Draw(t, "minute")}
	})
	maybeClock = rapid.OneOf(rapid.Just[*workflow.Clock](nil), clock)
	messages   = []workflow.Message{
		{Class: workflow.CareFollowup, SMSText: "가"},
		{Class: workflow.CareFollowup, KakaoCode: "K", KakaoText: "#{환자명}"},
		{Class: workflow.CareFollowup, KakaoCode: "K", KakaoText: "나", SMSText: "#{clinic}"},
	}
	step = rapid.Custom(func(t *rapid.T) workflow.Step {
		s := workflow.Step{
			Message:      rapid.SampledFrom(messages).Draw(t, "message"),
			Late:         rapid.SampledFrom([]workflow.Late{"", workflow.LateSend, workflow.LateSkip, workflow.LateExpire}).Draw(t, "late"),
			OnUnknown:    rapid.SampledFrom([]workflow.OnUnknown{"", workflow.Park, workflow.Resend}).Draw(t, "on unknown"),
			ExpiresAfter: rapid.SampledFrom([]workflow.Duration{0, 1, workflow.Duration(time.Hour), workflow.Duration(workflow.MaxDelay)}).Draw(t, "expires"),
		}
		switch rapid.IntRange(0, 3).Draw(t, "unit") {
		case 0:
			s.Day, s.SendAt = new(rapid.IntRange(0, 400).Draw(t, "day")), maybeClock.Draw(t, "step send_at")
		case 1:
			s.Hours = new(rapid.IntRange(0, 9600).Draw(t, "hours"))
		case 2:
			s.Minutes = new(rapid.IntRange(0, 576_000).Draw(t, "minutes"))
		case 3:
			s.Seconds = new(rapid.IntRange(0, 34_560_000).Draw(t, "seconds"))
		}
		return s
	})
	// definition draws only what Check passes.
	definition = rapid.Custom(func(t *rapid.T) *workflow.Definition {
		d := &workflow.Definition{
			SendAt:    maybeClock.Draw(t, "send_at"),
			DayLength: rapid.SampledFrom([]workflow.Duration{0, 0, workflow.Duration(2 * time.Second)}).Draw(t, "day length"),
			Steps:     rapid.SliceOfN(step, 1, 6).Draw(t, "steps"),
		}
		for i := range d.Steps {
			d.Steps[i].Node = fmt.Sprint(i)
		}
		if problems := workflow.Check(d); len(problems) > 0 {
			t.Fatalf("the generator makes what Check refuses: %+v", problems)
		}
		return d
	})
)

func facts(zones []*time.Location) *rapid.Generator[planner.Facts] {
	return rapid.Custom(func(t *rapid.T) planner.Facts {
		// 2020 to 2039, with fractions of a second as a database keeps them.
		at := time.Unix(rapid.Int64Range(1_577_836_800, 2_208_988_800).Draw(t, "at"), rapid.Int64Range(0, 999_999).Draw(t, "µs")*1000)
		return planner.Facts{
			At: at.UTC(), Zone: rapid.SampledFrom(zones).Draw(t, "zone"), SendAt: maybeClock.Draw(t, "clinic send_at"),
			Lane: rapid.SampledFrom([]event.Lane{"", event.Care, event.Bulk}).Draw(t, "lane"),
		}
	})
}

func TestPlanFollowsItsDefinition(t *testing.T) {
	t.Parallel()
	all := facts(zones(t))
	rapid.Check(t, func(t *rapid.T) {
		d, f := definition.Draw(t, "definition"), all.Draw(t, "facts")
		plan := planner.Plan(d, f)
		if len(plan) != len(d.Steps) {
			t.Fatalf("%d steps planned of %d", len(plan), len(d.Steps))
		}
		for i, got := range plan {
			want := d.Steps[i]
			if got.Node != want.Node {
				t.Fatalf("step %d is %s, want %s", i, got.Node, want.Node)
			}
			checkTime(t, d, want, f, got)
			checkChannel(t, want, f, got)
		}
	})
}

func checkTime(t *rapid.T, d *workflow.Definition, want workflow.Step, f planner.Facts, got planner.Step) {
	valid := time.Duration(want.ExpiresAfter)
	if valid == 0 {
		valid = planner.DefaultExpiry
	}
	if !got.Expires.After(got.DueAt) || !got.Expires.After(f.At) || got.Expires.Before(got.DueAt.Add(valid)) {
		t.Fatalf("due %s, expires %s of a trigger at %s that is valid for %s", got.DueAt, got.Expires, f.At, valid)
	}
	if delay, ok := want.Delay(); ok {
		if !got.DueAt.Equal(f.At.Add(delay)) || got.DueAt.Before(f.At) {
			t.Fatalf("due %s, want %s after %s", got.DueAt, delay, f.At)
		}
		return
	}
	if d.DayLength != 0 {
		if !got.DueAt.Equal(f.At.Add(time.Duration(*want.Day) * time.Duration(d.DayLength))) {
			t.Fatalf("due %s, want %d days of %s after %s", got.DueAt, *want.Day, time.Duration(d.DayLength), f.At)
		}
		return
	}
	at := planner.DefaultSendAt
	for _, c := range []*workflow.Clock{f.SendAt, d.SendAt, want.SendAt} {
		if c != nil {
			at = *c
		}
	}
	// A date is counted in dates: at noon UTC none is skipped or doubled.
	y, m, day := f.At.In(f.Zone).Date()
	wantY, wantM, wantDay := time.Date(y, m, day+*want.Day, 12, 0, 0, 0, time.UTC).Date()
	local := got.DueAt.In(f.Zone)
	if gotY, gotM, gotDay := local.Date(); gotY != wantY || gotM != wantM || gotDay != wantDay {
		t.Fatalf("due on %s, want day %d after %s", local, *want.Day, f.At.In(f.Zone))
	}
	if local.Hour() == at.Hour && local.Minute() == at.Minute && local.Second() == 0 {
		return
	}
	// Only a wall time that does not exist that day may be another.
	for m := local.Add(-3 * time.Hour); m.Before(local.Add(3 * time.Hour)); m = m.Add(time.Minute) {
		if m = m.Truncate(time.Minute); m.Day() == local.Day() && m.Hour() == at.Hour && m.Minute() == at.Minute {
			t.Fatalf("due at %s, want %s, which is %s", local, at, m)
		}
	}
	if local.Hour()*60+local.Minute() < at.Hour*60+at.Minute {
		t.Fatalf("due at %s, before %s", local, at)
	}
}

func checkChannel(t *rapid.T, want workflow.Step, f planner.Facts, got planner.Step) {
	channel, lane, late, onUnknown := event.SMS, f.Lane, want.Late, want.OnUnknown
	if want.Message.HasKakao() {
		channel = event.Kakao
	}
	if lane == "" {
		lane = event.Care
	}
	if late == "" {
		late = workflow.LateSend
	}
	if onUnknown == "" {
		onUnknown = workflow.Park
	}
	fallback := want.Message.HasKakao() && want.Message.HasSMS()
	if got.Channel != channel || got.Fallback != fallback || got.Lane != lane || got.Late != late || got.OnUnknown != onUnknown {
		t.Fatalf("planned %+v of %+v", got, want)
	}
}

// The same facts give the same plan: now or years later, wherever the clock
// stands, whatever zone the trigger's time is written in.
func TestPlanDependsOnItsFactsAlone(t *testing.T) {
	t.Parallel()
	list := zones(t)
	all := facts(list)
	rapid.Check(t, func(rt *rapid.T) {
		d, f := definition.Draw(rt, "definition"), all.Draw(rt, "facts")
		later, zone := rapid.Int64Range(0, int64(2*365*24*time.Hour)).Draw(rt, "later"), rapid.SampledFrom(list).Draw(rt, "written in")
		synctest.Test(t, func(*testing.T) {
			first := planner.Plan(d, f)
			time.Sleep(time.Duration(later))
			f.At = f.At.In(zone)
			if diff := cmp.Diff(first, planner.Plan(d, f)); diff != "" {
				rt.Errorf("another plan:\n%s", diff)
			}
		})
	})
}

func TestDayStepsKeepTheirHourAcrossClockChanges(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, zone, trigger string
		day                 int
		sendAt              workflow.Clock
		due, expires        string
	}{
		{"seoul", "Asia/Seoul", "2026-03-02T05:00:00Z", 3, workflow.Clock{Hour: 10}, "2026-03-05T10:00:00+09:00", "2026-03-06T10:00:00+09:00"},
		{"already_past_today", "Asia/Seoul", "2026-03-02T05:00:00Z", 0, workflow.Clock{Hour: 10}, "2026-03-02T10:00:00+09:00", "2026-03-03T14:00:00+09:00"},
		{"new_york_spring", "America/New_York", "2026-03-07T20:00:00Z", 1, workflow.Clock{Hour: 10}, "2026-03-08T10:00:00-04:00", "2026-03-09T10:00:00-04:00"},
		{"new_york_gap", "America/New_York", "2026-03-07T20:00:00Z", 1, workflow.Clock{Hour: 2, Minute: 30}, "2026-03-08T03:00:00-04:00", "2026-03-09T03:00:00-04:00"},
		{"new_york_twice", "America/New_York", "2026-10-31T20:00:00Z", 1, workflow.Clock{Hour: 1, Minute: 30}, "2026-11-01T01:30:00-04:00", "2026-11-02T00:30:00-05:00"},
		{"leap_year", "Asia/Seoul", "2028-02-28T05:00:00Z", 1, workflow.Clock{Hour: 10}, "2028-02-29T10:00:00+09:00", "2028-03-01T10:00:00+09:00"},
		{"last_day", "Asia/Seoul", "2026-03-02T05:00:00Z", 400, workflow.Clock{Hour: 10}, "2027-04-06T10:00:00+09:00", "2027-04-07T10:00:00+09:00"},
	}
	for _, tt := range tests {
		zone, err := time.LoadLocation(tt.zone)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339, tt.trigger)
		if err != nil {
			t.Fatal(err)
		}
		d := &workflow.Definition{SendAt: &tt.sendAt, Steps: []workflow.Step{{Node: "1", Day: &tt.day, Message: messages[0]}}}
		got := planner.Plan(d, planner.Facts{At: at, Zone: zone})[0]
		if due, expires := got.DueAt.In(zone).Format(time.RFC3339), got.Expires.In(zone).Format(time.RFC3339); due != tt.due || expires != tt.expires {
			t.Errorf("%s: due %s until %s, want %s until %s", tt.name, due, expires, tt.due, tt.expires)
		}
	}
}

func TestNearerSendAtWins(t *testing.T) {
	t.Parallel()
	at := func(hour int) *workflow.Clock { return &workflow.Clock{Hour: hour} }
	for _, tt := range []struct {
		clinic, workflow, step *workflow.Clock
		want                   int
	}{
		{nil, nil, nil, 10}, {at(11), nil, nil, 11}, {at(11), at(12), nil, 12}, {at(11), at(12), at(13), 13}, {nil, nil, at(0), 0},
	} {
		d := &workflow.Definition{SendAt: tt.workflow, Steps: []workflow.Step{{Node: "1", Day: new(1), SendAt: tt.step, Message: messages[0]}}}
		got := planner.Plan(d, planner.Facts{At: time.Unix(1_772_413_200, 0), Zone: time.UTC, SendAt: tt.clinic})[0].DueAt
		if got.Hour() != tt.want {
			t.Errorf("%v, %v, %v: due at %s, want %d o'clock", tt.clinic, tt.workflow, tt.step, got, tt.want)
		}
	}
}
