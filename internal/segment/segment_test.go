package segment

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func day(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestASpanIsCountedByTheCalendar(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		asOf        string
		since       Since
		from, until string
		none        bool
	}{
		{"2026-11-24", Since{Ago: &Span{Days: 7}}, "2026-11-17", "2026-11-17", false},
		{"2026-11-24", Since{Ago: &Span{Months: 6}}, "2026-05-24", "2026-05-24", false},
		{"2026-02-28", Since{Ago: &Span{Months: 6}}, "2025-08-28", "2025-08-31", false},
		{"2026-08-31", Since{Ago: &Span{Months: 6}}, "2026-03-01", "2026-02-28", true}, // all of them were meant the day that was the 28th
		{"2026-08-28", Since{Ago: &Span{Months: 6}}, "2026-02-28", "2026-02-28", false},
		{"2026-11-24", Since{Ago: &Span{Years: 1, Days: 1}}, "2025-11-23", "2025-11-23", false},
		{"2026-11-24", Since{AtLeast: &Span{Months: 6}}, "", "2026-05-24", false},
		{"2026-11-24", Since{AtLeast: &Span{Months: 6}, AtMost: &Span{Months: 7}}, "2026-04-24", "2026-05-24", false},
		{"2026-11-24", Since{AtLeast: &Span{Months: 7}, AtMost: &Span{Months: 6}}, "2026-05-24", "2026-04-24", true},
	} {
		shown := func(t time.Time) string {
			if t.IsZero() {
				return ""
			}
			return t.Format(time.DateOnly)
		}
		got := c.since.Days(day(c.asOf).Add(15 * time.Hour))
		if shown(got.From) != c.from || shown(got.Until) != c.until || got.None != c.none {
			t.Errorf("%s %+v: %s to %s, %t; want %s to %s, %t", c.asOf, c.since, shown(got.From), shown(got.Until), got.None, c.from, c.until, c.none)
		}
	}
}

func spans(t *rapid.T) Span {
	return Span{Days: rapid.IntRange(0, 40).Draw(t, "days"), Months: rapid.IntRange(0, 30).Draw(t, "months"), Years: rapid.IntRange(0, 3).Draw(t, "years")}
}

func anyDay(t *rapid.T, name string) time.Time {
	return time.Date(2023, 1, 1+rapid.IntRange(0, 2000).Draw(t, name), 0, 0, 0, 0, time.UTC)
}

func TestEveryDayIsMeantExactlyOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, visit := spans(t), anyDay(t, "visit")
		want, hits := s.After(visit), 0
		for asOf := want.AddDate(0, 0, -40); asOf.Before(want.AddDate(0, 0, 40)); asOf = asOf.AddDate(0, 0, 1) {
			d := (&Since{Ago: &s}).Days(asOf)
			if !d.None && !visit.Before(d.From) && !visit.After(d.Until) {
				if hits++; !asOf.Equal(want) {
					t.Fatalf("%v after %s is meant on %s, not on %s", s, visit, asOf, want)
				}
			}
		}
		if hits != 1 {
			t.Fatalf("%v after %s: meant on %d days", s, visit, hits)
		}
	})
}

func TestBoundsAreThoseOfTheSpan(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, visit, asOf := spans(t), anyDay(t, "visit"), anyDay(t, "asOf")
		least, most := (&Since{AtLeast: &s}).Days(asOf), (&Since{AtMost: &s}).Days(asOf)
		if got, want := !visit.After(least.Until), !s.After(visit).After(asOf); got != want {
			t.Fatalf("%v of %s as of %s: at least %t, want %t", s, visit, asOf, got, want)
		}
		if got, want := !visit.Before(most.From), !s.After(visit).Before(asOf); got != want {
			t.Fatalf("%v of %s as of %s: at most %t, want %t", s, visit, asOf, got, want)
		}
	})
}

func TestBirthdaysOfLeapDaysAreOnTheTwentyEighth(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		asOf string
		in   int
		want []int16
	}{{"2026-11-24", 0, []int16{1124}}, {"2026-12-30", 3, []int16{102}}, {"2026-02-28", 0, []int16{228, 229}}, {"2028-02-28", 0, []int16{228}}, {"2028-02-28", 1, []int16{229}}} {
		if diff := cmp.Diff(c.want, (&Birthday{InDays: c.in}).On(day(c.asOf))); diff != "" {
			t.Errorf("%s: %s", c.asOf, diff)
		}
	}
	if got := (*Birthday)(nil).On(day("2026-11-24")); got != nil {
		t.Error(got)
	}
}

func TestAFilterThatMeansNothingIsRefused(t *testing.T) {
	t.Parallel()
	span := &Span{Months: 6}
	for _, c := range []struct {
		f    Filter
		want []Problem
	}{
		{Filter{}, nil},
		{Filter{LastVisit: &Since{Ago: span}}, nil},
		{Filter{LastVisit: &Since{}}, []Problem{{"/last_visit", "too-few"}}},
		{Filter{LastSurgery: &Since{Ago: span, AtMost: span}}, []Problem{{"/last_surgery/ago", "with-bounds"}}},
		{Filter{SurgeryTypes: []string{""}}, []Problem{{"/surgery_types", "wrong-form"}}},
	} {
		if diff := cmp.Diff(c.want, c.f.Check()); diff != "" {
			t.Errorf("%+v: %s", c.f, diff)
		}
	}
}
