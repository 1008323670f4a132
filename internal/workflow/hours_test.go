package workflow_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

func at(t testing.TB, s string) workflow.Clock {
	t.Helper()
	c, err := workflow.ParseClock(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAMessageGoesAtTheFirstInstantThatEverybodyAllows(t *testing.T) {
	t.Parallel()
	span := func(from, until string, days ...string) workflow.Window {
		return workflow.Window{Days: days, From: at(t, from), Until: at(t, until)}
	}
	quiet := span("21:00", "08:00")
	type windows = map[workflow.Class][]workflow.Window
	for name, tt := range map[string]struct {
		zone     string
		hours    workflow.Hours
		class    workflow.Class
		now      string
		want     string // "" for never
		wantWhy  event.Reason
		mayNever bool
	}{
		"any_time":             {"Asia/Seoul", workflow.Hours{}, workflow.CareFollowup, "2026-11-21T03:00:00+09:00", "2026-11-21T03:00:00+09:00", "", false},
		"in_a_window":          {"Asia/Seoul", workflow.Hours{Workflow: []workflow.Window{span("09:00", "18:00")}}, workflow.CareFollowup, "2026-11-21T09:00:00+09:00", "2026-11-21T09:00:00+09:00", "", false},
		"before_it":            {"Asia/Seoul", workflow.Hours{Workflow: []workflow.Window{span("09:00", "18:00")}}, workflow.CareFollowup, "2026-11-21T08:59:59+09:00", "2026-11-21T09:00:00+09:00", event.SendWindow, false},
		"its_end_is_outside":   {"Asia/Seoul", workflow.Hours{Workflow: []workflow.Window{span("09:00", "18:00")}}, workflow.CareFollowup, "2026-11-21T18:00:00+09:00", "2026-11-22T09:00:00+09:00", event.SendWindow, false},
		"weekend":              {"Asia/Seoul", workflow.Hours{Clinic: windows{workflow.AllClasses: {span("09:00", "18:00", "mon", "tue", "wed", "thu", "fri")}}}, workflow.CareFollowup, "2026-11-20T19:00:00+09:00", "2026-11-23T09:00:00+09:00", event.SendWindow, false},
		"auth_goes_always":     {"Asia/Seoul", workflow.Hours{Quiet: &quiet, Clinic: windows{workflow.AllClasses: {span("09:00", "18:00", "mon")}}}, workflow.Auth, "2026-11-21T03:00:00+09:00", "2026-11-21T03:00:00+09:00", "", false},
		"another_class":        {"Asia/Seoul", workflow.Hours{Clinic: windows{workflow.Marketing: {span("10:00", "11:00")}}}, workflow.CareFollowup, "2026-11-21T15:00:00+09:00", "2026-11-21T15:00:00+09:00", "", false},
		"two_windows":          {"Asia/Seoul", workflow.Hours{Clinic: windows{workflow.CareFollowup: {span("18:00", "20:00"), span("12:00", "13:00")}}}, workflow.CareFollowup, "2026-11-21T13:00:00+09:00", "2026-11-21T18:00:00+09:00", event.SendWindow, false},
		"clinic_and_workflow":  {"Asia/Seoul", workflow.Hours{Clinic: windows{workflow.AllClasses: {span("09:00", "12:00")}}, Workflow: []workflow.Window{span("11:00", "18:00")}}, workflow.CareFollowup, "2026-11-21T12:30:00+09:00", "2026-11-22T11:00:00+09:00", event.SendWindow, false},
		"quiet_then_window":    {"Asia/Seoul", workflow.Hours{Quiet: &quiet, Workflow: []workflow.Window{span("07:00", "22:00")}}, workflow.CareFollowup, "2026-11-21T23:00:00+09:00", "2026-11-22T08:00:00+09:00", event.QuietHours, false},
		"window_then_quiet":    {"Asia/Seoul", workflow.Hours{Quiet: &quiet, Workflow: []workflow.Window{span("20:00", "09:00")}}, workflow.CareFollowup, "2026-11-21T21:30:00+09:00", "2026-11-22T08:00:00+09:00", event.QuietHours, false},
		"quiet_is_ignored":     {"Asia/Seoul", workflow.Hours{Quiet: &quiet, IgnoreQuiet: true}, workflow.CareFollowup, "2026-11-21T23:00:00+09:00", "2026-11-21T23:00:00+09:00", "", false},
		"marketing_keeps_it":   {"Asia/Seoul", workflow.Hours{IgnoreQuiet: true}, workflow.Marketing, "2026-11-21T23:00:00+09:00", "2026-11-22T08:00:00+09:00", event.QuietHours, false},
		"only_at_night":        {"Asia/Seoul", workflow.Hours{Workflow: []workflow.Window{span("22:00", "23:00")}}, workflow.Marketing, "2026-11-21T12:00:00+09:00", "", event.QuietHours, true},
		"days_that_never_meet": {"Asia/Seoul", workflow.Hours{Clinic: windows{workflow.AllClasses: {span("09:00", "18:00", "mon")}}, Workflow: []workflow.Window{span("09:00", "18:00", "tue")}}, workflow.CareFollowup, "2026-11-21T12:00:00+09:00", "", event.SendWindow, true},
		"overnight_of_friday":  {"Asia/Seoul", workflow.Hours{Workflow: []workflow.Window{span("22:00", "02:00", "fri")}}, workflow.CareFollowup, "2026-11-21T01:00:00+09:00", "2026-11-21T01:00:00+09:00", "", false},
		"skipped_hour":         {"America/New_York", workflow.Hours{Workflow: []workflow.Window{span("02:15", "02:45", "sun")}}, workflow.CareFollowup, "2026-03-08T00:00:00-05:00", "2026-03-15T02:15:00-04:00", event.SendWindow, false},
		"opens_after_the_gap":  {"America/New_York", workflow.Hours{Workflow: []workflow.Window{span("02:30", "05:00")}}, workflow.CareFollowup, "2026-03-08T01:00:00-05:00", "2026-03-08T03:00:00-04:00", event.SendWindow, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now, err := time.Parse(time.RFC3339, tt.now)
			if err != nil {
				t.Fatal(err)
			}
			tt.hours.Zone = zone(t, tt.zone)
			got, why, ever := tt.hours.Next(now, tt.class)
			if ever == tt.mayNever || ever && (why != tt.wantWhy || got.In(tt.hours.Zone).Format(time.RFC3339) != tt.want) {
				t.Errorf("%s %q %t, want %s %q", got.In(tt.hours.Zone).Format(time.RFC3339), why, ever, tt.want, tt.wantWhy)
			}
			if passes := tt.hours.Passes(tt.class); passes == tt.mayNever {
				t.Errorf("may ever pass: %t", passes)
			}
		})
	}
}

var (
	dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
	drawTime = rapid.Custom(func(t *rapid.T) workflow.Clock {
		return workflow.Clock{Hour: rapid.IntRange(0, 23).Draw(t, "hour"), Minute: rapid.SampledFrom([]int{0, 15, 30, 59}).Draw(t, "minute")}
	})
	drawWindow = rapid.Custom(func(t *rapid.T) workflow.Window {
		return workflow.Window{Days: rapid.SliceOfN(rapid.SampledFrom(dayNames), 0, 3).Draw(t, "days"), From: drawTime.Draw(t, "from"), Until: drawTime.Draw(t, "until")}
	})
)

// In any zone: what Next returns is let pass at once, and nothing between now
// and then was, by a reading of the clock's face of its own.
func TestNothingEarlierWouldHavePassed(t *testing.T) {
	t.Parallel()
	var zones []*time.Location
	for _, name := range []string{"Asia/Seoul", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu", "UTC"} {
		zones = append(zones, zone(t, name))
	}
	rapid.Check(t, func(t *rapid.T) {
		h := workflow.Hours{Zone: rapid.SampledFrom(zones).Draw(t, "zone"), Workflow: rapid.SliceOfN(drawWindow, 0, 3).Draw(t, "workflow")}
		h.Clinic = map[workflow.Class][]workflow.Window{workflow.AllClasses: rapid.SliceOfN(drawWindow, 0, 2).Draw(t, "clinic")}
		if rapid.Bool().Draw(t, "quiet") {
			w := drawWindow.Draw(t, "quiet hours")
			w.Days = nil
			h.Quiet = &w
		}
		now := time.Unix(rapid.Int64Range(1_577_836_800, 2_208_988_800).Draw(t, "now"), 0)
		got, why, ever := h.Next(now, workflow.CareFollowup)
		if !ever {
			return
		}
		if again, more, ok := h.Next(got, workflow.CareFollowup); !ok || more != "" || !again.Equal(got) {
			t.Fatalf("%v: from %s to %s (%s), and from there to %s (%s)", h, now, got, why, again, more)
		}
		if (why == "") != got.Equal(now) || got.Before(now) {
			t.Fatalf("%v: from %s to %s (%s)", h, now, got, why)
		}
		for probe := now; probe.Before(got) && probe.Sub(now) < 8*24*time.Hour; probe = probe.Add(7 * time.Minute) {
			_, before := probe.Add(-36 * time.Hour).In(h.Zone).Zone()
			if _, after := probe.Add(36 * time.Hour).In(h.Zone).Zone(); before != after {
				continue // hours that are skipped or doubled have no one answer
			}
			if passes(h, probe) {
				t.Fatalf("%v: from %s to %s (%s), but %s would pass", h, now, got, why, probe.In(h.Zone))
			}
		}
	})
}

// passes reads the rules by the face of the clock alone.
func passes(h workflow.Hours, t time.Time) bool {
	in := func(w workflow.Window) bool {
		l := t.In(h.Zone)
		on := func(d time.Weekday) bool { return len(w.Days) == 0 || slices.Contains(w.Days, dayNames[d]) }
		face, from, until := l.Hour()*60+l.Minute(), w.From.Hour*60+w.From.Minute, w.Until.Hour*60+w.Until.Minute
		if from < until {
			return on(l.Weekday()) && face >= from && face < until
		}
		return on(l.Weekday()) && face >= from || on((l.Weekday()+6)%7) && face < until
	}
	if h.Quiet != nil && in(*h.Quiet) {
		return false
	}
	for _, list := range [][]workflow.Window{h.Clinic[workflow.AllClasses], h.Workflow} {
		if len(list) > 0 && !slices.ContainsFunc(list, in) {
			return false
		}
	}
	return true
}

func TestWorkingDaysLeaveOutWhatTheClinicDoesNotWork(t *testing.T) {
	t.Parallel()
	seoul := zone(t, "Asia/Seoul")
	korea := map[string]string{"2026-12-25": "성탄절", "2027-01-01": "신정"}
	for name, tt := range map[string]struct {
		cal  *workflow.Calendar
		from string
		n    int
		want string
	}{
		"none":               {nil, "2026-12-24", 1, "2026-12-25"},
		"holiday":            {&workflow.Calendar{Public: korea}, "2026-12-24", 1, "2026-12-28"},
		"holiday_before":     {&workflow.Calendar{Public: korea}, "2026-12-28", -1, "2026-12-24"},
		"new_year":           {&workflow.Calendar{Public: korea}, "2026-12-30", 2, "2027-01-04"},
		"open_all_the_same":  {&workflow.Calendar{Public: korea, Open: []string{"2026-12-25"}}, "2026-12-24", 1, "2026-12-25"},
		"closed":             {&workflow.Calendar{Closed: []string{"2026-12-28"}}, "2026-12-25", 1, "2026-12-29"},
		"saturdays":          {&workflow.Calendar{WorkingDays: []string{"sat", "mon"}}, "2026-12-24", 1, "2026-12-26"},
		"nought":             {&workflow.Calendar{Public: korea}, "2026-12-25", 0, "2026-12-25"},
		"closed_for_a_year":  {&workflow.Calendar{WorkingDays: []string{"sun"}, Closed: nil}, "2026-12-24", 2, "2027-01-03"},
		"from_late_at_night": {nil, "2026-12-23", 1, "2026-12-24"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, err := time.ParseInLocation(time.DateOnly, tt.from, seoul)
			if err != nil {
				t.Fatal(err)
			}
			if got := from.AddDate(0, 0, tt.cal.Add(from.Add(23*time.Hour+59*time.Minute), tt.n, seoul)).Format(time.DateOnly); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// The day that Add ends on is worked, and exactly n worked days lie between.
func TestWorkingDaysAreCountedOnce(t *testing.T) {
	t.Parallel()
	zones := []*time.Location{zone(t, "Asia/Seoul"), zone(t, "America/New_York"), zone(t, "Pacific/Apia")}
	rapid.Check(t, func(t *rapid.T) {
		cal := &workflow.Calendar{WorkingDays: rapid.SliceOfN(rapid.SampledFrom(dayNames), 1, 5).Draw(t, "days"), Public: map[string]string{}}
		from := time.Unix(rapid.Int64Range(1_577_836_800, 2_208_988_800).Draw(t, "from"), 0)
		l := rapid.SampledFrom(zones).Draw(t, "zone")
		day := func(n int) time.Time {
			f := from.In(l)
			return time.Date(f.Year(), f.Month(), f.Day()+n, 12, 0, 0, 0, time.UTC)
		}
		for range rapid.IntRange(0, 5).Draw(t, "holidays") {
			cal.Public[day(rapid.IntRange(-20, 20).Draw(t, "holiday")).Format(time.DateOnly)] = "x"
		}
		n := rapid.IntRange(-15, 15).Draw(t, "n")
		days, counted, sign := cal.Add(from, n, l), 0, 1
		if n < 0 {
			sign = -1
		}
		for d := sign; d != days+sign && days != 0; d += sign {
			if cal.Works(day(d)) {
				counted += sign
			}
		}
		if counted != n || n != 0 && !cal.Works(day(days)) {
			t.Fatalf("%d working days from %s are %d days, with %d worked", n, from.In(l), days, counted)
		}
	})
}
