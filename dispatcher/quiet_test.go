package dispatcher

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

func load(t testing.TB, name string) *time.Location {
	t.Helper()
	l, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// quietUntil is when a clinic's quiet hours let a message pass.
func quietUntil(now time.Time, zone *time.Location, from, until workflow.Clock) (end time.Time, in bool) {
	end, why, ever := workflow.Hours{Zone: zone, Quiet: &workflow.Window{From: from, Until: until}}.Next(now, workflow.CareFollowup)
	return end, ever && why != ""
}

func TestQuietHoursEndWhereTheyShould(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, zone, from, until, now string
		want                         string // "" for not quiet
	}{
		{"before_the_night", "Asia/Seoul", "21:00", "08:00", "2026-03-02T20:59:59+09:00", ""},
		{"night_begins", "Asia/Seoul", "21:00", "08:00", "2026-03-02T21:00:00+09:00", "2026-03-03T08:00:00+09:00"},
		{"before_midnight", "Asia/Seoul", "21:00", "08:00", "2026-03-02T23:59:59+09:00", "2026-03-03T08:00:00+09:00"},
		{"midnight", "Asia/Seoul", "21:00", "08:00", "2026-03-03T00:00:00+09:00", "2026-03-03T08:00:00+09:00"},
		{"night_is_nearly_over", "Asia/Seoul", "21:00", "08:00", "2026-03-03T07:59:59+09:00", "2026-03-03T08:00:00+09:00"},
		{"night_is_over", "Asia/Seoul", "21:00", "08:00", "2026-03-03T08:00:00+09:00", ""},
		{"written_in_utc", "Asia/Seoul", "21:00", "08:00", "2026-03-02T12:00:00Z", "2026-03-03T08:00:00+09:00"},
		{"lunch", "Asia/Seoul", "12:00", "13:00", "2026-03-02T12:30:00+09:00", "2026-03-02T13:00:00+09:00"},
		{"after_lunch", "Asia/Seoul", "12:00", "13:00", "2026-03-02T13:00:00+09:00", ""},
		{"until_midnight", "Asia/Seoul", "22:00", "00:00", "2026-03-02T23:00:00+09:00", "2026-03-03T00:00:00+09:00"},
		{"until_midnight_over", "Asia/Seoul", "22:00", "00:00", "2026-03-03T00:00:00+09:00", ""},
		{"month_end", "Asia/Seoul", "21:00", "08:00", "2026-02-28T22:00:00+09:00", "2026-03-01T08:00:00+09:00"},
		{"short_night", "America/New_York", "21:00", "08:00", "2026-03-07T22:00:00-05:00", "2026-03-08T08:00:00-04:00"},
		{"long_night", "America/New_York", "21:00", "08:00", "2026-10-31T22:00:00-04:00", "2026-11-01T08:00:00-05:00"},
		{"second_half_past_one", "America/New_York", "21:00", "08:00", "2026-11-01T01:30:00-05:00", "2026-11-01T08:00:00-05:00"},
		{"ends_in_the_gap", "America/New_York", "21:00", "02:30", "2026-03-08T01:59:00-05:00", "2026-03-08T03:00:00-04:00"},
		{"ended_in_the_gap", "America/New_York", "21:00", "02:30", "2026-03-08T03:00:00-04:00", ""},
		{"lies_in_the_gap", "America/New_York", "02:15", "02:45", "2026-03-08T12:00:00-04:00", ""},
		{"lies_in_the_gap_before", "America/New_York", "02:15", "02:45", "2026-03-08T01:59:00-05:00", ""},
		{"gap_to_its_end", "America/New_York", "02:30", "03:00", "2026-03-08T03:00:00-04:00", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			now, err := time.Parse(time.RFC3339, tt.now)
			if err != nil {
				t.Fatal(err)
			}
			zone := load(t, tt.zone)
			got := ""
			if end, in := quietUntil(now, zone, clock(t, tt.from), clock(t, tt.until)); in {
				got = end.In(zone).Format(time.RFC3339)
			}
			if got != tt.want {
				t.Errorf("at %s, %s–%s: quiet until %q, want %q", tt.now, tt.from, tt.until, got, tt.want)
			}
		})
	}
}

func clock(t testing.TB, s string) workflow.Clock {
	t.Helper()
	c, err := workflow.ParseClock(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// In any zone and on any day: quiet exactly while the clock's face is between
// from and until, and never for longer than the span and the clock's change.
func TestQuietHoursAreThoseOfTheClocksFace(t *testing.T) {
	t.Parallel()
	zones := []*time.Location{load(t, "Asia/Seoul"), load(t, "America/New_York"), load(t, "Europe/Berlin"), load(t, "Asia/Kathmandu")}
	minutes := func(c workflow.Clock) int { return c.Hour*60 + c.Minute }
	draw := rapid.Custom(func(t *rapid.T) workflow.Clock {
		return workflow.Clock{Hour: rapid.IntRange(0, 23).Draw(t, "hour"), Minute: rapid.IntRange(0, 59).Draw(t, "minute")}
	})
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(zones).Draw(t, "zone")
		now := time.Unix(rapid.Int64Range(1_577_836_800, 2_208_988_800).Draw(t, "now"), 0).In(zone)
		from, until := draw.Draw(t, "from"), draw.Draw(t, "until")
		if from == until {
			return // refused where it is written down
		}
		end, in := quietUntil(now, zone, from, until)
		span := (minutes(until)-minutes(from)+24*60-1)%(24*60) + 1
		if in && (!end.After(now) || end.Sub(now) > time.Duration(span+60)*time.Minute) {
			t.Fatalf("at %s, %s–%s ends at %s", now, from, until, end)
		}
		// Hours that a zone skips or doubles have no one answer.
		_, before := now.Add(-36 * time.Hour).Zone()
		if _, after := now.Add(36 * time.Hour).Zone(); before != after {
			return
		}
		face := minutes(workflow.Clock{Hour: now.Hour(), Minute: now.Minute()})
		want := face >= minutes(from) && face < minutes(until)
		if minutes(until) <= minutes(from) {
			want = face >= minutes(from) || face < minutes(until)
		}
		if in != want {
			t.Fatalf("at %s, %s–%s: quiet %v, want %v", now, from, until, in, want)
		}
	})
}

// 정보통신망법 §50③: no advertising between 21:00 and 08:00, whatever the clinic
// or the workflow says.
func TestMarketingKeepsTheNight(t *testing.T) {
	t.Parallel()
	for now, want := range map[string]string{
		"2026-03-02T20:59:59+09:00": "",
		"2026-03-02T21:00:00+09:00": "2026-03-03T08:00:00+09:00",
		"2026-03-03T07:59:59+09:00": "2026-03-03T08:00:00+09:00",
		"2026-03-03T08:00:00+09:00": "",
	} {
		c := candidate()
		c.Channel, c.Consented, textOf(c).Class, c.Definition.IgnoreQuietHours = event.SMS, true, workflow.Marketing, true
		c.Now, _ = time.Parse(time.RFC3339, now)
		c.Expires = c.Now.Add(24 * time.Hour)
		got := ""
		if v := judge(c, timing); !v.wait.IsZero() {
			got = v.wait.In(seoul).Format(time.RFC3339)
		}
		if got != want {
			t.Errorf("at %s marketing waits until %q, want %q", now, got, want)
		}
		textOf(c).Class = workflow.CareFollowup
		if v := judge(c, timing); v.message == nil {
			t.Errorf("at %s aftercare of any hour: %+v, want it sent", now, v)
		}
	}
}
