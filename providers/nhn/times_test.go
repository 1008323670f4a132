package nhn

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTimesAreKoreanInEveryForm(t *testing.T) {
	t.Parallel()
	want := time.Date(2026, 11, 22, 1, 15, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2026-11-22 10:15":            want,
		"2026-11-22 10:15:05":         want.Add(5 * time.Second),
		"2026-11-22 10:15:05.0":       want.Add(5 * time.Second),
		"2026-11-22 10:15:05.120":     want.Add(5120 * time.Millisecond),
		"2026-11-22T10:15:05":         want.Add(5 * time.Second),
		"2026-11-22T10:15":            want,
		"2026-11-22T10:15:05+09:00":   want.Add(5 * time.Second),
		"2026-11-22T01:15:05Z":        want.Add(5 * time.Second),
		"2026-11-22T10:15:05.5+09:00": want.Add(5500 * time.Millisecond),
	} {
		if got, ok := parseTime(text); !ok || !got.Equal(want) {
			t.Errorf("parseTime(%q) = %v, %t; want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "0", "null", "2026-13-01 00:00", "yesterday", "2026-11-22"} {
		if got, ok := parseTime(text); ok {
			t.Errorf("parseTime(%q) = %v", text, got)
		}
	}
}

// moment draws a time that the forms can write.
func moment(t *rapid.T, label string) time.Time {
	return time.Unix(0, rapid.Int64Range(0, 4e18).Draw(t, label))
}

func TestAWindowIsRoundedOutward(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		from := moment(t, "from")
		to := from.Add(time.Duration(rapid.Int64Range(0, int64(100*24*time.Hour)).Draw(t, "length")))
		form := rapid.SampledFrom([]string{byMinute, bySecond}).Draw(t, "form")
		w := newWindow(from, to, form)
		start, ok1 := parseTime(w.start())
		end, ok2 := parseTime(w.end())
		if !ok1 || !ok2 || start.After(from) || end.Before(to) {
			t.Fatalf("%s to %s does not hold %v to %v", w.start(), w.end(), from, to)
		}
		if start.Before(from.Add(-time.Minute)) || end.After(to.Add(time.Minute)) {
			t.Fatalf("%s to %s is more than rounded", w.start(), w.end())
		}
	})
}

func TestASplitWindowHasNoGaps(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		from := moment(t, "from")
		w := newWindow(from, from.Add(time.Duration(rapid.Int64Range(0, int64(100*24*time.Hour)).Draw(t, "length"))), bySecond)
		limit := time.Duration(rapid.Int64Range(int64(time.Hour), int64(40*24*time.Hour)).Draw(t, "limit")).Truncate(time.Second)
		at := w.from
		for _, p := range w.split(limit) {
			if !p.from.Equal(at) || p.to.Sub(p.from) > limit || p.form != w.form {
				t.Fatalf("piece %v to %v after %v", p.from, p.to, at)
			}
			at = p.to
		}
		if !at.Equal(w.to) {
			t.Fatalf("the pieces end at %v; want %v", at, w.to)
		}
	})
}
