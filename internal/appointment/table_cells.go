package appointment

import (
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// folded is a heading or a status word as they are compared.
func folded(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}

// Days as they are written in Korea; whatever has the day or the month first is
// refused: nobody can tell them apart.
var (
	dayForm  = regexp.MustCompile(`^(\d{4})\s*[-./년]\s*(\d{1,2})\s*[-./월]\s*(\d{1,2})\s*[.일]?\s*(?:\([^)]*\))?`)
	dayShort = regexp.MustCompile(`^(\d{4})(\d{2})(\d{2})(?:\D|$)`)
	timeForm = regexp.MustCompile(`^(오전|오후|AM|PM)?\s*(\d{1,2})\s*(?::|시)\s*(?:(\d{1,2})\s*분?)?(?::(\d{2})(?:\.\d+)?)?\s*(AM|PM)?$`)
	timeOnly = regexp.MustCompile(`^(\d{2})(\d{2})$`)
)

// readDay reads the date of an appointment and returns what stands behind it.
func readDay(s string) (date, rest string, ok bool) {
	t, rest, ok := dayOf(s)
	if !ok || !sane(t) {
		return "", "", false
	}
	return t.Format(time.DateOnly), rest, true
}

func dayOf(s string) (t time.Time, rest string, ok bool) {
	s = strings.TrimSpace(s)
	m, end := dayForm.FindStringSubmatch(s), 0
	if m != nil {
		end = len(m[0])
	} else if m = dayShort.FindStringSubmatch(s); m != nil {
		end = len("20060102")
	} else {
		return t, "", false
	}
	year, month, day := number(m[1]), number(m[2]), number(m[3])
	t = time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	if t.Day() != day || int(t.Month()) != month {
		return t, "", false
	}
	return t, strings.TrimLeft(strings.TrimSpace(s[end:]), "T,"), true
}

// readClock reads a time of day; seconds are left out.
func readClock(s string) (*workflow.Clock, bool) {
	s = strings.ToUpper(strings.TrimSpace(s))
	m := timeForm.FindStringSubmatch(s)
	if short := timeOnly.FindStringSubmatch(s); m == nil && short != nil {
		m = []string{"", "", short[1], short[2], "", ""}
	}
	if m == nil || m[1] != "" && m[5] != "" {
		return nil, false
	}
	hour, minute := number(m[2]), number(m[3])
	switch half := m[1] + m[5]; {
	case half == "":
	case hour < 1 || hour > 12:
		return nil, false
	case half == "오후" || half == "PM":
		hour = hour%12 + 12
	default:
		hour %= 12
	}
	if hour > 23 || minute > 59 || number(m[4]) > 59 {
		return nil, false
	}
	return &workflow.Clock{Hour: hour, Minute: minute}, true
}

// number is 0 for "".
func number(s string) int {
	n, _ := strconv.Atoi(s) // digits, and few of them, by the patterns
	return n
}

// ReadDay reads a date as it is written in Korea, of any year that somebody who
// lives was born in.
func ReadDay(s string) (date string, ok bool) {
	t, rest, ok := dayOf(s)
	return t.Format(time.DateOnly), ok && rest == "" && t.Year() >= 1890 && t.Year() < 2200
}

// Mobile gives a number back the zero that spreadsheets take from it.
func Mobile(s string) string {
	if len(s) == 10 && strings.HasPrefix(s, "10") && strings.Trim(s, "0123456789") == "" {
		return "0" + s
	}
	return s
}
