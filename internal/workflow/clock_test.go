package workflow_test

import (
	"testing"
	"time"
	_ "time/tzdata"

	"pgregory.net/rapid"

	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	l, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestClockIsTheWallTimeOfTheRightDay(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, zone, from string
		days             int
		clock            string
		want             string
	}{
		{"same_day", "Asia/Seoul", "2026-03-02T15:00:00Z", 0, "10:00", "2026-03-03T10:00:00+09:00"}, // it is the 3rd in Seoul
		{"next_day", "Asia/Seoul", "2026-03-02T01:00:00Z", 1, "10:00", "2026-03-03T10:00:00+09:00"},
		{"day_before", "Asia/Seoul", "2026-03-02T01:00:00Z", -1, "21:00", "2026-03-01T21:00:00+09:00"},
		{"month_end", "Asia/Seoul", "2026-01-31T01:00:00Z", 1, "00:00", "2026-02-01T00:00:00+09:00"},
		{"year_end", "Asia/Seoul", "2026-12-31T01:00:00Z", 1, "23:59", "2027-01-01T23:59:00+09:00"},
		{"leap_day", "Asia/Seoul", "2028-02-28T01:00:00Z", 1, "10:00", "2028-02-29T10:00:00+09:00"},
		{"no_leap_day", "Asia/Seoul", "2026-02-28T01:00:00Z", 1, "10:00", "2026-03-01T10:00:00+09:00"},
		{"400_days", "Asia/Seoul", "2026-03-02T01:00:00Z", 400, "10:00", "2027-04-06T10:00:00+09:00"},
		{"new_york_gap", "America/New_York", "2026-03-08T05:30:00Z", 0, "02:30", "2026-03-08T03:00:00-04:00"},
		{"new_york_gap_start", "America/New_York", "2026-03-08T05:30:00Z", 0, "02:00", "2026-03-08T03:00:00-04:00"},
		{"new_york_before_gap", "America/New_York", "2026-03-08T05:30:00Z", 0, "01:59", "2026-03-08T01:59:00-05:00"},
		{"new_york_after_gap", "America/New_York", "2026-03-08T05:30:00Z", 0, "03:00", "2026-03-08T03:00:00-04:00"},
		{"new_york_twice", "America/New_York", "2026-11-01T04:30:00Z", 0, "01:30", "2026-11-01T01:30:00-04:00"},
		{"new_york_after_twice", "America/New_York", "2026-11-01T04:30:00Z", 0, "02:00", "2026-11-01T02:00:00-05:00"},
		{"day_of_23_hours", "America/New_York", "2026-03-07T15:00:00Z", 1, "10:00", "2026-03-08T10:00:00-04:00"},
		{"day_of_25_hours", "America/New_York", "2026-10-31T15:00:00Z", 1, "10:00", "2026-11-01T10:00:00-05:00"},
		{"berlin_gap", "Europe/Berlin", "2026-03-29T00:30:00Z", 0, "02:30", "2026-03-29T03:00:00+02:00"},
		{"berlin_twice", "Europe/Berlin", "2026-10-25T00:30:00Z", 0, "02:30", "2026-10-25T02:30:00+02:00"},
		{"half_hour_gap", "Australia/Lord_Howe", "2026-10-03T14:00:00Z", 0, "02:15", "2026-10-04T02:30:00+11:00"},
		{"half_hour_twice", "Australia/Lord_Howe", "2026-04-04T14:00:00Z", 0, "01:45", "2026-04-05T01:45:00+11:00"},
		{"midnight_gap", "Africa/Cairo", "2026-04-23T12:00:00Z", 1, "00:30", "2026-04-24T01:00:00+03:00"},
		{"apia_skips_a_day", "Pacific/Apia", "2011-12-29T20:00:00Z", 1, "10:00", "2011-12-31T00:00:00+14:00"},
		{"apia_before_that_day", "Pacific/Apia", "2011-12-29T20:00:00Z", 0, "23:59", "2011-12-29T23:59:00-10:00"},
		{"apia_behind_that_day", "Pacific/Apia", "2011-12-29T20:00:00Z", 2, "10:00", "2011-12-31T10:00:00+14:00"},
		{"seoul_1988", "Asia/Seoul", "1988-05-07T20:00:00Z", 0, "02:30", "1988-05-08T03:00:00+10:00"},
		{"seoul_1988_back", "Asia/Seoul", "1988-10-08T20:00:00Z", 0, "02:30", "1988-10-09T02:30:00+10:00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			from, err := time.Parse(time.RFC3339, tt.from)
			if err != nil {
				t.Fatal(err)
			}
			c, err := workflow.ParseClock(tt.clock)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.On(from, tt.days, zone(t, tt.zone)).Format(time.RFC3339); got != tt.want {
				t.Errorf("%s on %s plus %d days in %s = %s, want %s", tt.clock, tt.from, tt.days, tt.zone, got, tt.want)
			}
		})
	}
}

// On any day of a zone that changes its clocks: the wall time is the one asked
// for, or the first instant after the gap that swallowed it; and of an hour
// that comes twice it is the first.
func TestClockIsNeverBeforeItsTimeNorTheSecondOfTwo(t *testing.T) {
	t.Parallel()
	zones := []*time.Location{
		zone(t, "Asia/Seoul"), zone(t, "America/New_York"), zone(t, "Europe/Berlin"), zone(t, "Australia/Lord_Howe"),
		zone(t, "America/St_Johns"), zone(t, "Africa/Cairo"), zone(t, "Asia/Kathmandu"), time.UTC,
	}
	rapid.Check(t, func(t *rapid.T) {
		l := rapid.SampledFrom(zones).Draw(t, "zone")
		day := time.Date(2020, 1, rapid.IntRange(1, 5000).Draw(t, "day"), 12, 0, 0, 0, l)
		c := workflow.Clock{Hour: rapid.IntRange(0, 23).Draw(t, "hour"), Minute: rapid.IntRange(0, 59).Draw(t, "minute")}
		got := c.On(day, 0, l)
		if got.Year() != day.Year() || got.YearDay() != day.YearDay() {
			t.Fatalf("%s on %s is %s: another day", c, day, got)
		}
		wall, asked := got.Hour()*60+got.Minute(), c.Hour*60+c.Minute
		if wall < asked {
			t.Fatalf("%s on %s is %s: before its time", c, day, got)
		}
		for at := got.Add(-3 * time.Hour); at.Before(got); at = at.Add(time.Minute) {
			if at.YearDay() == got.YearDay() && at.Hour()*60+at.Minute() >= asked {
				t.Fatalf("%s on %s is %s, but %s was there first", c, day, got, at)
			}
		}
	})
}
