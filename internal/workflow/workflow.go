// Package workflow is what a tenant drew: a definition, checked when it is
// published and immutable afterwards, with the texts of its messages inside.
// It knows nothing of triggers, patients or how a step is sent.
package workflow

import (
	"encoding/json"
	"fmt"
	"time"
)

// Limits of one definition; see reliability: a trigger plans a bounded number
// of steps at a bounded distance.
const (
	MaxSteps = 200
	MaxDelay = 400 * 24 * time.Hour
)

// Class is the legal class of a message. It is set by a human, and decides
// about consent, quiet hours and fallbacks.
type Class string

// The classes.
const (
	Transactional Class = "transactional"
	CareFollowup  Class = "care_followup"
	Marketing     Class = "marketing"
	Auth          Class = "auth"
)

// Late says what to do with a step whose time has passed when it could
// finally be sent, before expires_at.
type Late string

// The late policies.
const (
	LateSend   Late = "send"   // send it all the same
	LateSkip   Late = "skip"   // skip it, with reason late
	LateExpire Late = "expire" // count it as expired
)

// LateGrace is how late a step may be before its policy applies.
const LateGrace = 15 * time.Minute

// OnUnknown is the author's choice for an outcome that nobody can find out.
type OnUnknown string

// The choices. Park is the default; the other two may send twice.
const (
	Park     OnUnknown = "park"
	Resend   OnUnknown = "resend"
	Fallback OnUnknown = "fallback"
)

// Definition is one published version of a workflow.
type Definition struct {
	// DayLength replaces the calendar day by a fixed length, for rehearsals;
	// zero means calendar days in the clinic's zone at SendAt.
	DayLength Duration `json:"day_length,omitzero"`
	// SendAt is the local time of day steps; nil means the clinic's own.
	SendAt *Clock `json:"send_at,omitempty"`
	// IgnoreQuietHours sends at any hour; refused for marketing.
	IgnoreQuietHours bool `json:"ignore_quiet_hours,omitempty"`
	// SendWindows, if any, are when the workflow's messages may go, besides the
	// clinic's own hours.
	SendWindows []Window `json:"send_windows,omitempty"`
	Steps       []Step   `json:"steps"`
	// Drawing replaces Steps where the workflow was drawn.
	Drawing *Drawing `json:"drawing,omitempty"`

	visual *Visual
}

// Step is one message of the plan.
type Step struct {
	// Node names the step in its definition, unique there.
	Node string `json:"node"`
	// Type is the author's word for it: survey, photo, message, ….
	Type string `json:"type"`
	// Exactly one of the five says when, counted from the trigger.
	Day          *int `json:"day,omitempty"`
	BusinessDays *int `json:"business_days,omitempty"` // of the clinic's calendar
	Hours        *int `json:"hours,omitempty"`
	Minutes      *int `json:"minutes,omitempty"`
	Seconds      *int `json:"seconds,omitempty"`
	// SendAt overrides the definition's for this step of days.
	SendAt *Clock `json:"send_at,omitempty"`
	// ExpiresAfter is counted from the due time; default 24 h.
	ExpiresAfter Duration  `json:"expires_after,omitzero"`
	Late         Late      `json:"late,omitempty"`
	OnUnknown    OnUnknown `json:"on_unknown,omitempty"`
	// Message is the template as it was when this version was published.
	Message Message `json:"message"`
}

// Message is the pinned text of a step. At least one channel is present.
type Message struct {
	Template string `json:"template"`
	Class    Class  `json:"class"`
	// KakaoCode and KakaoText are an approved Alimtalk template.
	KakaoCode string `json:"kakao_template_code,omitempty"`
	KakaoText string `json:"kakao_text,omitempty"`
	// SMSTitle and SMSText are the SMS, or the fallback when Kakao is present.
	SMSTitle string `json:"sms_title,omitempty"`
	SMSText  string `json:"sms_text,omitempty"`
	// Variables maps template variables to JSON pointers into the trigger's
	// payload; the built-in ones need no mapping.
	Variables map[string]string `json:"variables,omitempty"`
	// Values are variables whose value is the same for everybody: a link.
	Values map[string]string `json:"values,omitempty"`
	// Follow is its drawing's where the message has a link to follow.
	Follow string `json:"-"`
	// KakaoStatus is where Kakao's approval of the text stands when a version
	// is checked; a version does not keep it. "" is approved.
	KakaoStatus string `json:"-"`
}

// HasKakao reports whether the message can go by Kakao.
func (m Message) HasKakao() bool { return m.KakaoCode != "" }

// HasSMS reports whether the message can go by SMS.
func (m Message) HasSMS() bool { return m.SMSText != "" }

// Step returns the step named node.
func (d *Definition) Step(node string) (Step, bool) {
	if d.Drawing != nil {
		return d.drawnStep(node)
	}
	for _, s := range d.Steps {
		if s.Node == node {
			return s, true
		}
	}
	return Step{}, false
}

// Delay returns the step's distance from the trigger when it is not a day
// step.
func (s Step) Delay() (d time.Duration, ok bool) {
	switch {
	case s.Hours != nil:
		return time.Duration(*s.Hours) * time.Hour, true
	case s.Minutes != nil:
		return time.Duration(*s.Minutes) * time.Minute, true
	case s.Seconds != nil:
		return time.Duration(*s.Seconds) * time.Second, true
	}
	return 0, false
}

// Decode reads a stored definition.
func Decode(b []byte) (*Definition, error) {
	d := new(Definition)
	if err := json.Unmarshal(b, d); err != nil {
		return nil, fmt.Errorf("workflow: stored definition: %w", err)
	}
	if err := d.undraw(); err != nil {
		return nil, fmt.Errorf("workflow: stored definition: %w", err)
	}
	return d, nil
}

// Clock is a local time of day, written "15:04".
type Clock struct{ Hour, Minute int }

// ParseClock reads "15:04".
func ParseClock(s string) (Clock, error) {
	t, err := time.Parse("15:04", s)
	if err != nil {
		return Clock{}, fmt.Errorf("workflow: %q is not a time of day; write it as 15:04", s)
	}
	return Clock{t.Hour(), t.Minute()}, nil
}

// String writes "15:04".
func (c Clock) String() string { return fmt.Sprintf("%02d:%02d", c.Hour, c.Minute) }

// MarshalText writes "15:04".
func (c Clock) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads "15:04".
func (c *Clock) UnmarshalText(b []byte) (err error) {
	*c, err = ParseClock(string(b))
	return err
}

// On returns the instant of this time of day on t's calendar day in zone,
// moved by days. In the hour that a zone skips it is the first instant after
// the gap; in an hour that comes twice, the first.
func (c Clock) On(t time.Time, days int, zone *time.Location) time.Time {
	l := t.In(zone)
	at := time.Date(l.Year(), l.Month(), l.Day()+days, c.Hour, c.Minute, 0, 0, zone)
	day := time.Date(l.Year(), l.Month(), l.Day()+days, 0, 0, 0, 0, time.UTC).Day()
	if at.Day() == day && at.Hour() == c.Hour && at.Minute() == c.Minute {
		return first(at)
	}
	// The wall time does not exist: find the gap's end by bisection. A zone that
	// changed sides of the date line skipped a whole day.
	around := 3 * time.Hour
	if at.Hour() == c.Hour && at.Minute() == c.Minute {
		around = 26 * time.Hour
	}
	lo, hi := at.Add(-around), at.Add(around)
	_, before := lo.Zone()
	for hi.Sub(lo) > time.Second {
		mid := lo.Add(hi.Sub(lo) / 2).Truncate(time.Second)
		if _, off := mid.Zone(); off == before {
			lo = mid
		} else {
			hi = mid
		}
	}
	return hi.Truncate(time.Second)
}

// first returns the first of the two instants that share at's wall time, where
// clocks were put back, else at.
func first(at time.Time) time.Time {
	change, _ := at.ZoneBounds()
	if change.IsZero() {
		return at
	}
	_, now := at.Zone()
	_, before := change.Add(-time.Second).Zone()
	if earlier := at.Add(time.Duration(now-before) * time.Second); earlier.Before(change) {
		return earlier
	}
	return at
}

// Duration is a time.Duration written as "1h30m" in JSON and YAML.
type Duration time.Duration

// IsZero reports whether d is unset.
func (d Duration) IsZero() bool { return d == 0 }

// MarshalText writes "1h30m0s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads Go's duration syntax.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("workflow: %q is not a duration; write it as 90s, 30m or 24h", b)
	}
	*d = Duration(v)
	return nil
}
