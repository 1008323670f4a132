package holidays_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/holidays"
)

// The statute fixes these, and its substitutes: a holiday of these kinds on a
// weekend is followed by one on a working day.
func TestTheYearsOfTheReleaseAreWhole(t *testing.T) {
	t.Parallel()
	days := holidays.Known["KR"]
	for year := 2025; year <= 2028; year++ {
		fixed := map[string]bool{"01-01": false, "03-01": true, "05-05": true, "06-06": false, "08-15": true, "10-03": true, "10-09": true, "12-25": year > 2026}
		if year >= 2026 {
			fixed["05-01"], fixed["07-17"] = year > 2026, true
		}
		for _, date := range slices.Sorted(maps.Keys(fixed)) {
			day, err := time.Parse(time.DateOnly, time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC).Format("2006-")+date)
			if err != nil {
				t.Fatal(err)
			}
			if days[day.Format(time.DateOnly)] == "" {
				t.Errorf("%s is missing", day.Format(time.DateOnly))
			}
			if !fixed[date] || day.Weekday() != time.Saturday && day.Weekday() != time.Sunday {
				continue
			}
			next := day
			for next.Weekday() == time.Saturday || next.Weekday() == time.Sunday {
				next = next.AddDate(0, 0, 1)
			}
			if !strings.HasPrefix(days[next.Format(time.DateOnly)], "대체공휴일") {
				t.Errorf("%s has no substitute on %s", day.Format(time.DateOnly), next.Format(time.DateOnly))
			}
		}
		n := 0
		for _, name := range days {
			if strings.HasPrefix(name, "설날") || strings.HasPrefix(name, "추석") {
				n++
			}
		}
		if n != 4*6 {
			t.Errorf("%d days of 설날 and 추석, want 24", n)
		}
	}
}

func TestAFileIsReadWholeOrItsProblemsAreNamed(t *testing.T) {
	t.Parallel()
	days, err := holidays.Parse(strings.NewReader("\ufeff2029-01-01,신정\n# a comment\n2029-02-12, 설날 연휴 \n"))
	if err != nil || len(days) != 2 || days["2029-01-01"] != "신정" || days["2029-02-12"] != "설날 연휴" {
		t.Errorf("%v, %v", days, err)
	}
	for file, want := range map[string]string{
		"01/01/2029,신정\n":                 "line 1: the day is no date",
		"2029-02-30,x\n":                  "line 1: the day is no date",
		"2029-01-01,\n":                   "line 1: a name is one line",
		"2029-01-01,a\n2029-01-01,b\n":    "line 2: 2029-01-01 is there twice",
		"2029-01-01\n":                    "write lines such as 2029-01-01,신정",
		"2029-01-01,\"a\nb\"\n":           "a name is one line",
		"2029-13-01,x\n2029-01-01,\xff\n": "line 2: a name",
	} {
		if _, err := holidays.Parse(strings.NewReader(file)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", file, err, want)
		}
	}
}

// Whatever is read is a day and a name that the ledger takes.
func FuzzParse(f *testing.F) {
	f.Add([]byte("2029-01-01,신정\n"))
	f.Add([]byte("# x\n\"2029-01-01\",\"a\"\"b\"\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		days, err := holidays.Parse(strings.NewReader(string(b)))
		for day, name := range days {
			if err == nil && (!holidays.ValidDay(day) || !holidays.ValidName(name)) {
				t.Errorf("%q %q", day, name)
			}
		}
	})
}
