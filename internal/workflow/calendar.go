package workflow

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// MaxClosedDays bounds a clinic's own list of days.
const MaxClosedDays = 1000

// Calendar is the days on which a clinic works. It is a value; nobody changes
// it. nil is Monday to Friday.
type Calendar struct {
	// WorkingDays are mon, tue, wed, thu, fri, sat and sun; none means Monday to
	// Friday.
	WorkingDays []string `json:"working_days,omitempty" yaml:"working_days"`
	// PublicHolidays is the country whose holidays the clinic keeps: KR, which
	// is the default, or none.
	PublicHolidays string `json:"public_holidays,omitempty" yaml:"public_holidays"`
	// Closed and Open are single days, as 2006-01-02, that differ from all that.
	Closed []string `json:"closed,omitempty" yaml:"closed"`
	Open   []string `json:"open,omitempty" yaml:"open"`

	// Public are the country's holidays by day.
	Public map[string]string `json:"-" yaml:"-"`
}

// Country is the one whose holidays count; "" is none.
func (c *Calendar) Country() string {
	switch {
	case c == nil || c.PublicHolidays == "":
		return "KR"
	case c.PublicHolidays == "none":
		return ""
	}
	return c.PublicHolidays
}

// Works reports whether the clinic works on the day that t shows.
func (c *Calendar) Works(t time.Time) bool {
	weekday := t.Weekday()
	if c == nil {
		return weekday != time.Saturday && weekday != time.Sunday
	}
	day := t.Format(time.DateOnly)
	switch {
	case slices.Contains(c.Open, day):
		return true
	case slices.Contains(c.Closed, day), c.Public[day] != "":
		return false
	case len(c.WorkingDays) > 0:
		return slices.Contains(c.WorkingDays, weekdays[weekday])
	}
	return weekday != time.Saturday && weekday != time.Sunday
}

// Add counts n working days from the local day of t, backwards where n is
// negative, and returns how many calendar days that is. The day of t itself is
// not one of them. It gives up after two years without enough.
func (c *Calendar) Add(t time.Time, n int, zone *time.Location) (days int) {
	l, sign := t.In(zone), 1
	if n < 0 {
		n, sign = -n, -1
	}
	for left := n; left > 0 && days < 2*int(MaxDelay/(24*time.Hour)); {
		days++
		// Noon exists on every day, and the weekday of UTC is that of the date.
		if c.Works(time.Date(l.Year(), l.Month(), l.Day()+sign*days, 12, 0, 0, 0, time.UTC)) {
			left--
		}
	}
	return sign * days
}

// CheckCalendar returns the problems of a clinic's calendar, whose pointers
// begin with its key in the clinic's file.
func CheckCalendar(cal *Calendar) []Problem {
	var c checker
	if cal == nil {
		return nil
	}
	const at = "/calendar"
	for _, d := range cal.WorkingDays {
		c.weekday(at+"/working_days", d)
	}
	if cal.PublicHolidays != "" && cal.PublicHolidays != "KR" && cal.PublicHolidays != "none" {
		c.add(at+"/public_holidays", "public_holidays is KR or none", "public_holidays는 KR 또는 none입니다")
	}
	for key, list := range map[string][]string{"/closed": cal.Closed, "/open": cal.Open} {
		if len(list) > MaxClosedDays {
			c.add(at+key, fmt.Sprintf("at most %d days are allowed", MaxClosedDays), fmt.Sprintf("날짜는 최대 %d개입니다", MaxClosedDays))
			continue
		}
		for _, d := range list {
			if _, err := time.Parse(time.DateOnly, d); err != nil {
				c.add(at+key, fmt.Sprintf("%q is not a date; write 2026-12-31", d), fmt.Sprintf("%q은(는) 날짜가 아닙니다. 예: 2026-12-31", d))
			}
		}
	}
	for _, d := range cal.Closed {
		if slices.Contains(cal.Open, d) {
			c.add(at+"/open", d+" is both open and closed", d+"이(가) 진료일과 휴진일에 모두 있습니다")
		}
	}
	slices.SortFunc(c.problems, func(a, b Problem) int {
		if a.Pointer != b.Pointer {
			return strings.Compare(a.Pointer, b.Pointer)
		}
		return strings.Compare(a.English, b.English)
	})
	return c.problems
}
