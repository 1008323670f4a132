// Package segment is a saved question about patients: who of them is meant. It
// turns what a clinic says, in spans and birthdays, into bounds on what is kept,
// as of a day. It must not know how anything is stored.
package segment

import (
	"time"
	"unicode/utf8"

	"github.com/doctorsflow/doctorsflow/internal/event"
)

// Filter says who is meant: whom every part that is given holds for. The empty
// filter means everybody.
type Filter struct {
	LastVisit   *Since    `json:"last_visit,omitempty" doc:"When the patient was there last."`
	LastSurgery *Since    `json:"last_surgery,omitempty" doc:"When the patient was last operated on."`
	Birthday    *Birthday `json:"birthday,omitempty"`
	Gender      string    `json:"gender,omitempty" enum:"female,male,other"`
	// SurgeryTypes are kinds of treatment of which one was completed.
	SurgeryTypes        []string      `json:"surgery_types,omitempty" maxItems:"50" doc:"Had one of them, as target_surgery_type of workflows has it."`
	UpcomingAppointment *bool         `json:"upcoming_appointment,omitempty" doc:"Has an appointment today or later, or has none."`
	MarketingConsent    event.Channel `json:"marketing_consent,omitempty" enum:"kakao,sms" doc:"Has consented to advertising on this channel."`
}

// Since bounds how long ago something was. A month after the 31st is the last
// day of a month that has none.
type Since struct {
	Ago     *Span `json:"ago,omitempty" doc:"Exactly so long ago: each patient on one day."`
	AtLeast *Span `json:"at_least,omitempty" doc:"So long ago or longer."`
	AtMost  *Span `json:"at_most,omitempty" doc:"So long ago or less."`
}

// Span is a length of time; what is given is added up.
type Span struct {
	Days   int `json:"days,omitempty" minimum:"0" maximum:"36500"`
	Months int `json:"months,omitempty" minimum:"0" maximum:"1200"`
	Years  int `json:"years,omitempty" minimum:"0" maximum:"100"`
}

// Birthday means those whose birthday is so many days from the day that is
// asked about. In years without a 29 February it is on the 28th.
type Birthday struct {
	InDays int `json:"in_days" minimum:"-31" maximum:"366" doc:"0 is today."`
}

// Problem is something that is wrong with a filter.
type Problem struct{ Pointer, Code string }

// Check says what is wrong with a filter.
func (f Filter) Check() (list []Problem) {
	for pointer, s := range map[string]*Since{"/last_visit": f.LastVisit, "/last_surgery": f.LastSurgery} {
		switch {
		case s == nil:
		case s.Ago == nil && s.AtLeast == nil && s.AtMost == nil:
			list = append(list, Problem{pointer, "too-few"})
		case s.Ago != nil && (s.AtLeast != nil || s.AtMost != nil):
			list = append(list, Problem{pointer + "/ago", "with-bounds"})
		}
	}
	for _, s := range f.SurgeryTypes {
		if s == "" || utf8.RuneCountInString(s) > 100 {
			list = append(list, Problem{"/surgery_types", "wrong-form"})
		}
	}
	return list
}

// Days are bounds on a date, both included; a zero one bounds nothing. None
// means that no day is between them.
type Days struct {
	From, Until time.Time
	None        bool
}

// Days are the bounds of s as of a day (whose time of day means nothing).
func (s *Since) Days(asOf time.Time) (d Days) {
	if s == nil {
		return d
	}
	asOf = time.Date(asOf.Year(), asOf.Month(), asOf.Day(), 0, 0, 0, 0, time.UTC)
	if s.Ago != nil {
		d.From, d.Until = s.Ago.before(asOf)
	}
	if s.AtLeast != nil {
		_, d.Until = s.AtLeast.before(asOf)
	}
	if s.AtMost != nil {
		d.From, _ = s.AtMost.before(asOf)
	}
	d.None = !d.From.IsZero() && !d.Until.IsZero() && d.From.After(d.Until)
	return d
}

// After is the day that is a span after a day: its months first, then its days.
func (s Span) After(day time.Time) time.Time {
	months := s.Months + 12*s.Years
	first := time.Date(day.Year(), day.Month()+time.Month(months), 1, 0, 0, 0, 0, time.UTC)
	return first.AddDate(0, 0, min(day.Day(), length(first))-1+s.Days)
}

// before are the first and the last day from which the span leads to a day: the
// first is the earliest that leads no less far, the last the latest that leads
// no farther. No day leads there where the first comes after the last.
func (s Span) before(day time.Time) (first, last time.Time) {
	day = day.AddDate(0, 0, -s.Days)
	months := s.Months + 12*s.Years
	month := time.Date(day.Year(), day.Month()-time.Month(months), 1, 0, 0, 0, 0, time.UTC)
	n := length(month)
	if months == 0 {
		return day, day
	}
	last = month.AddDate(0, 0, min(day.Day(), n)-1)
	if day.Day() == length(day) {
		last = month.AddDate(0, 0, n-1)
	}
	return month.AddDate(0, 0, min(day.Day(), n+1)-1), last
}

// length is how many days the month of a day has.
func length(day time.Time) int {
	return time.Date(day.Year(), day.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// On are the birthdays that are meant as of a day, as month times 100 and day.
func (b *Birthday) On(asOf time.Time) []int16 {
	if b == nil {
		return nil
	}
	day := time.Date(asOf.Year(), asOf.Month(), asOf.Day()+b.InDays, 0, 0, 0, 0, time.UTC)
	list := []int16{MonthDay(day)}
	if day.Month() == time.February && day.Day() == 28 && length(day) == 28 {
		list = append(list, 229)
	}
	return list
}

// MonthDay is a day of the year as a number: 1 March is 301.
func MonthDay(day time.Time) int16 { return int16(day.Month())*100 + int16(day.Day()) }
