package workflow

import (
	"slices"
	"time"
)

// MaxWindows bounds a list of send windows.
const MaxWindows = 50

// Window is a span of local time on some days of the week in which messages
// may go. One that crosses midnight belongs to the day on which it begins.
type Window struct {
	// Days are mon, tue, wed, thu, fri, sat and sun; none means every day.
	Days  []string `json:"days,omitempty" yaml:"days"`
	From  Clock    `json:"from" yaml:"from"`
	Until Clock    `json:"until" yaml:"until"` // not included
}

// weekdays are the names of days in files, by time.Weekday.
var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func (w Window) on(d time.Weekday) bool {
	return len(w.Days) == 0 || slices.Contains(w.Days, weekdays[d])
}

// span is the window that begins on t's local day, moved by days. It is empty
// where clocks skip it.
func (w Window) span(t time.Time, days int, zone *time.Location) (from, until time.Time) {
	overnight := 0
	// By the clock's face, not by the instants: both ends may fall into the
	// hour that a zone skips, and are then one instant.
	if w.Until.Hour*60+w.Until.Minute <= w.From.Hour*60+w.From.Minute {
		overnight = 1
	}
	return w.From.On(t, days, zone), w.Until.On(t, days+overnight, zone)
}

// contains reports whether t lies in the window, and when it then ends.
func (w Window) contains(t time.Time, zone *time.Location) (end time.Time, in bool) {
	today := t.In(zone).Weekday()
	for day := -1; day <= 0; day++ {
		if !w.on((today + time.Weekday(day) + 7) % 7) {
			continue
		}
		if from, until := w.span(t, day, zone); !t.Before(from) && t.Before(until) {
			return until, true
		}
	}
	return time.Time{}, false
}

// opens returns the first instant from t on that lies in the window. A week in
// which clocks skip it is passed over.
func (w Window) opens(t time.Time, zone *time.Location) (at time.Time, ok bool) {
	if _, in := w.contains(t, zone); in {
		return t, true
	}
	today := t.In(zone).Weekday()
	for day := range 15 {
		if !w.on((today + time.Weekday(day)) % 7) {
			continue
		}
		if from, until := w.span(t, day, zone); from.After(t) && from.Before(until) {
			return from, true
		}
	}
	return time.Time{}, false
}

// open returns the first instant from t on that lies in one of the windows.
func open(windows []Window, t time.Time, zone *time.Location) (at time.Time, ok bool) {
	for _, w := range windows {
		if from, some := w.opens(t, zone); some && (!ok || from.Before(at)) {
			at, ok = from, true
		}
	}
	return at, ok
}
