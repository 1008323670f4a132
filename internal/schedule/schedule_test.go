package schedule

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestAPatternFiresByTheClocksOfItsZone(t *testing.T) {
	t.Parallel()
	const seoul, york, berlin = "Asia/Seoul", "America/New_York", "Europe/Berlin"
	for _, c := range []struct {
		pattern, zone, after string
		want                 []string
	}{
		{"0 10 * * *", seoul, "2026-11-24T10:00:00+09:00", []string{"2026-11-25T10:00:00+09:00", "2026-11-26T10:00:00+09:00"}},
		{"30 0 10 * * *", seoul, "2026-11-24T10:00:00+09:00", []string{"2026-11-24T10:00:30+09:00"}},
		{"@daily", seoul, "2026-11-24T10:00:00+09:00", []string{"2026-11-25T00:00:00+09:00"}},
		{"@monthly", seoul, "2026-12-24T10:00:00+09:00", []string{"2027-01-01T00:00:00+09:00"}},
		{"0 9 * * MON-FRI", seoul, "2026-11-27T12:00:00+09:00", []string{"2026-11-30T09:00:00+09:00"}},
		{"0 9 L * *", seoul, "2027-02-01T12:00:00+09:00", []string{"2027-02-28T09:00:00+09:00"}},
		{"0 9 29 2 *", seoul, "2026-11-24T12:00:00+09:00", []string{"2028-02-29T09:00:00+09:00"}},
		// Either day, as POSIX has it.
		{"0 9 1 * MON", seoul, "2026-11-24T12:00:00+09:00", []string{"2026-11-30T09:00:00+09:00", "2026-12-01T09:00:00+09:00", "2026-12-07T09:00:00+09:00"}},
		// New York's clocks go from 2 to 3 on 8 March 2026: what was skipped is made up for at once.
		{"30 2 * * *", york, "2026-03-07T03:00:00-05:00", []string{"2026-03-08T03:30:00-04:00", "2026-03-09T02:30:00-04:00"}},
		// They show 1 o'clock twice on 1 November 2026: a named hour fires once, every hour twice.
		{"30 1 * * *", york, "2026-10-31T12:00:00-04:00", []string{"2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"}},
		{"30 * * * *", york, "2026-11-01T00:40:00-04:00", []string{"2026-11-01T01:30:00-04:00", "2026-11-01T01:30:00-05:00", "2026-11-01T02:30:00-05:00"}},
		{"0 3 * * *", berlin, "2026-10-24T12:00:00+02:00", []string{"2026-10-25T03:00:00+01:00"}},
	} {
		p, err := Parse(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		after, err := time.Parse(time.RFC3339, c.after)
		if err != nil {
			t.Fatal(err)
		}
		got := p.Fires(after, zone(t, c.zone), len(c.want))
		for i, want := range c.want {
			if i >= len(got) || got[i].Format(time.RFC3339) != want {
				t.Errorf("%s in %s after %s: %v, want %v", c.pattern, c.zone, c.after, got, c.want)
				break
			}
		}
	}
}

func TestWhatIsNoPatternIsRefused(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]error{
		"": ErrPattern, "soon": ErrPattern, "* * *": ErrPattern, "60 * * * *": ErrPattern, "* * * * * * *": ErrPattern, "@every 1h": ErrPattern, "@reboot": ErrPattern,
		"TZ=Asia/Seoul 0 9 * * *": ErrPattern, "CRON_TZ=UTC 0 9 * * *": ErrPattern, "H 9 * * *": ErrPattern, "0 9 * * * 2026 1": ErrPattern,
		"* 0 9 * * *": ErrTooOften, "*/10 * * * * *": ErrTooOften, "0,30 * * * * *": ErrTooOften,
		"0 9 30 2 *": ErrNever,
	} {
		if _, err := Parse(pattern); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", pattern, err, want)
		}
	}
}

func TestEveryDayFiresOncePerDayInEveryZone(t *testing.T) {
	t.Parallel()
	zones := []*time.Location{zone(t, "Asia/Seoul"), zone(t, "America/New_York"), zone(t, "Europe/Berlin"), zone(t, "Australia/Sydney"), time.UTC}
	rapid.Check(t, func(t *rapid.T) {
		z := rapid.SampledFrom(zones).Draw(t, "zone")
		hour, minute := rapid.IntRange(0, 23).Draw(t, "hour"), rapid.IntRange(0, 59).Draw(t, "minute")
		day := time.Date(2026, 1, 1+rapid.IntRange(0, 800).Draw(t, "day"), 12, 0, 0, 0, z)
		p, err := Parse(time.Date(2026, 1, 1, hour, minute, 0, 0, time.UTC).Format("4 15 * * *"))
		if err != nil {
			t.Fatal(err)
		}
		from := time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 0, 0, z).Add(-time.Second)
		until := time.Date(day.Year(), day.Month(), day.Day()+1, 0, 0, 0, 0, z)
		n := 0
		for at := p.Next(from, z); at.Before(until); at = p.Next(at, z) {
			n++
		}
		if n != 1 {
			t.Fatalf("%02d:%02d of %s in %s: %d times", hour, minute, day.Format(time.DateOnly), z, n)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"0 10 * * *", "*/5 9-18 * * MON-FRI", "@daily", "0 0 9 L * *", "0 9 15W * ?", "0 9 * * FRI#L"} {
		f.Add(s)
	}
	z := zone(f, "America/New_York")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Parse(s)
		if err != nil {
			return
		}
		at := time.Date(2026, 3, 1, 0, 0, 0, 0, z)
		for range 5 {
			next := p.Next(at, z)
			if next.IsZero() {
				return
			}
			if next.Sub(at) < time.Minute && !at.Equal(time.Date(2026, 3, 1, 0, 0, 0, 0, z)) {
				t.Fatalf("%q fires at %s and %s", s, at, next)
			}
			at = next
		}
	})
}
