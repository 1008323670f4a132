// Package schedule says when a cron pattern fires, by the clocks of a zone. It
// must not know what is fired.
package schedule

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"time"

	"github.com/netresearch/go-cron"
)

// MaxPattern bounds a pattern, in bytes.
const MaxPattern = 100

// MaxAhead is how far ahead a fire is looked for: a pattern that does not fire
// until then never does.
const MaxAhead = 5 // years

// Pattern is a cron pattern of five fields, or of six that begin with a second;
// or @hourly, @daily, @weekly, @monthly, @yearly. Of a day of the month and a
// day of the week that are both given either fires, as POSIX has it. L, LW, 15W
// and FRI#L are understood.
type Pattern struct {
	spec *cron.SpecSchedule
}

// Errors of [Parse].
var (
	ErrPattern  = errors.New("schedule: not a cron pattern")
	ErrTooOften = errors.New("schedule: at most once a minute")
	ErrNever    = errors.New("schedule: it never fires")
)

var parser = cron.MustNewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor | cron.DowOrDom | cron.Extended).WithMaxSearchYears(MaxAhead)

// Parse reads a pattern. Errors are [ErrPattern], which may say more, or
// [ErrTooOften] or [ErrNever].
func Parse(s string) (Pattern, error) {
	if len(s) > MaxPattern || strings.Contains(s, "=") || strings.HasPrefix(s, "@every") {
		// A zone is a setting of its own, and what is counted from a start that
		// nobody knows is no pattern.
		return Pattern{}, ErrPattern
	}
	parsed, err := parser.Parse(s)
	if err != nil {
		return Pattern{}, fmt.Errorf("%w: %w", ErrPattern, err)
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return Pattern{}, ErrPattern
	}
	if bits.OnesCount64(spec.Second&^star) != 1 {
		return Pattern{}, ErrTooOften
	}
	p := Pattern{spec}
	if p.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.UTC).IsZero() {
		return Pattern{}, ErrNever
	}
	return p, nil
}

// star is the library's mark of a field that is *.
const star = 1 << 63

// Next is the first fire after a time; zero if there is none within [MaxAhead]
// years. What falls into an hour that the zone's clocks skip fires when they
// have skipped it; what names an hour that they show twice fires the first time
// only.
func (p Pattern) Next(after time.Time, zone *time.Location) time.Time {
	after = after.In(zone)
	next := p.spec.Next(after)
	for !next.IsZero() && p.spec.Hour&star == 0 && shownTwice(next) {
		next = p.spec.Next(next)
	}
	return next
}

// shownTwice reports whether the zone's clocks showed the same time an hour
// ago.
func shownTwice(t time.Time) bool {
	const wall = "2006-01-02 15:04:05"
	return t.Add(-time.Hour).Format(wall) == t.Format(wall)
}

// Zone is the time zone of an IANA name. The machine's own is none.
func Zone(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, fmt.Errorf("schedule: no zone %q", name)
	}
	return time.LoadLocation(name)
}

// Fires lists the next n fires after a time.
func (p Pattern) Fires(after time.Time, zone *time.Location, n int) (list []time.Time) {
	for len(list) < n {
		if after = p.Next(after, zone); after.IsZero() {
			break
		}
		list = append(list, after)
	}
	return list
}
