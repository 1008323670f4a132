package workflow

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Cap is how many messages of a kind a patient gets, from whatever workflows;
// 0 is any number. A Kakao message and the SMS that replaces it are one. A day
// is the clinic's; a week is any seven of them in a row.
type Cap struct {
	PerDay  int `json:"per_day,omitempty" yaml:"per_day"`
	PerWeek int `json:"per_week,omitempty" yaml:"per_week"`
}

// Caps are a clinic's, by class; that of [AllClasses] holds besides and counts
// every class but auth, of which nothing is counted.
type Caps map[Class]Cap

// Sending is a message that a patient was sent, as far as anybody knows.
type Sending struct {
	Class Class
	At    time.Time
}

// CapMemory is how long a sending counts at most, in any zone.
const CapMemory = 8 * 24 * time.Hour

// Next returns the first instant from t on at which the caps let a message of
// the class pass, given what was sent: t itself, or the beginning of a day. It
// is pure.
func (c Caps) Next(t time.Time, class Class, zone *time.Location, sent []Sending) (at time.Time, capped bool) {
	if class == Auth {
		return t, false
	}
	at = t
	for day := 1; !c.free(at, class, zone, sent) && day <= 8; day++ {
		at, capped = Clock{}.On(t, day, zone), true
	}
	return at, capped
}

func (c Caps) free(t time.Time, class Class, zone *time.Location, sent []Sending) bool {
	for _, key := range [...]Class{class, AllClasses} {
		limit, ok := c[key]
		if !ok {
			continue
		}
		var today, week int
		for _, s := range sent {
			if s.Class == Auth || key != AllClasses && s.Class != key {
				continue
			}
			switch age := dayNumber(t, zone) - dayNumber(s.At, zone); {
			case age == 0:
				today++
				week++
			case age > 0 && age < 7:
				week++
			}
		}
		if limit.PerDay > 0 && today >= limit.PerDay || limit.PerWeek > 0 && week >= limit.PerWeek {
			return false
		}
	}
	return true
}

// dayNumber counts local days.
func dayNumber(t time.Time, zone *time.Location) int64 {
	l := t.In(zone)
	return time.Date(l.Year(), l.Month(), l.Day(), 0, 0, 0, 0, time.UTC).Unix() / (24 * 60 * 60)
}

// CheckCaps returns the problems of a clinic's caps, whose pointers begin with
// their key in the clinic's file.
func CheckCaps(caps Caps) []Problem {
	var c checker
	for _, class := range slices.Sorted(maps.Keys(caps)) {
		at, limit := "/frequency_caps/"+string(class), caps[class]
		if !slices.Contains([]Class{AllClasses, Transactional, CareFollowup, Marketing}, class) {
			c.add(at, "caps are of all, transactional, care_followup or marketing; auth has none", "frequency_caps에는 all, transactional, care_followup, marketing만 쓸 수 있습니다. auth에는 한도가 없습니다")
		}
		if limit.PerDay < 0 || limit.PerWeek < 0 || limit.PerDay > MaxCap || limit.PerWeek > MaxCap || limit == (Cap{}) {
			c.add(at, fmt.Sprintf("give per_day, per_week or both, from 1 to %d", MaxCap), fmt.Sprintf("per_day와 per_week 중 하나 이상을 1~%d로 지정하세요", MaxCap))
		}
		if limit.PerDay > 0 && limit.PerWeek > 0 && limit.PerDay > limit.PerWeek {
			c.add(at, "per_day is more than per_week, and never counts", "per_day가 per_week보다 커서 적용되지 않습니다")
		}
	}
	return c.problems
}

// MaxCap bounds a cap.
const MaxCap = 1000
