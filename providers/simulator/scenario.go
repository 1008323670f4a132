package simulator

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Scenario is what a magic number makes one product do: three digits of
// 010-0KKK-SSSN, a mode and an outcome.
type Scenario struct {
	Product Product
	// Mode is the first digit, 0 to 8, and Outcome the two that follow.
	Mode, Outcome int
}

// Scenarios returns every scenario that means something, Alimtalk's first,
// each by its digits. Digits that are not among them play as 000.
func Scenarios() (list []Scenario) {
	for _, p := range []Product{Alimtalk, SMS} {
		outcomes := slices.Sorted(maps.Keys(alimtalkOutcomes))
		if p == SMS {
			outcomes = slices.Sorted(maps.Keys(smsOutcomes))
		}
		for mode := range modeFlaky + 1 {
			for _, o := range scenarioOutcomes(mode, outcomes) {
				list = append(list, Scenario{p, mode, o})
			}
		}
	}
	return list
}

func scenarioOutcomes(mode int, reported []int) []int {
	switch mode {
	case modeSilent:
		return []int{0}
	case modeFault:
		return slices.Sorted(maps.Keys(faults))
	case modeHook:
		return []int{0, 1, 2, 3, 4, 5, 6, 7}
	case modeThrottle:
		return []int{throttleOnce, throttleFor30, throttleQuota}
	}
	return reported
}

// ScenarioOf returns what a number makes a product do; ok is false where the
// number is not in the magic band. The number may be written with hyphens.
func ScenarioOf(p Product, number string) (s Scenario, ok bool) {
	m, ok := magic(p, strings.ReplaceAll(number, "-", ""))
	return Scenario{p, m.mode, m.outcome}, ok
}

// Digits returns the scenario as numbers have it: "019".
func (s Scenario) Digits() string { return fmt.Sprintf("%d%02d", s.Mode, s.Outcome) }

// faultTexts say what mode 5 does to the first request.
var faultTexts = map[fault]string{
	faultHTTP500:     "HTTP 500 once",
	faultHTTP502:     "HTTP 502 in HTML once",
	faultHTTP503:     "HTTP 503 once",
	faultAcceptHang:  "accepts, answers nothing",
	faultReset:       "resets, takes nothing",
	faultAcceptReset: "accepts, resets",
	faultTruncated:   "accepts, cuts its JSON",
	faultEmpty:       "accepts, empty answer",
	faultNoID:        "accepts, gives no id",
}

var hookTexts = map[anomaly]string{
	hookTripled: "webhook three times", hookEarly: "webhook before its answer", hookLate: "webhook out of order",
	hookDropped: "webhook never", hookTypos: "webhook with misspelt fields", hookForged: "webhook with a bad token",
	hookGhost: "webhook with a stranger's",
}

var throttleTexts = map[int]string{throttleOnce: "429 once", throttleFor30: "429 for 30 s"}

// String says what the gateway does, under the zero [Rules], in at most 32
// characters. Two scenarios of one product that say the same play the same.
func (s Scenario) String() string {
	o := outcomeOf(s.Product, s.Outcome)
	switch s.Mode {
	case modeFault:
		return orPlain(faultTexts[faults[s.Outcome]])
	case modeHook:
		if a := anomaly(s.Outcome) + hookTripled; a != hookConflict {
			return orPlain(hookTexts[a])
		}
		return fmt.Sprintf("reports %s, then 1000", conflicting[s.Product])
	case modeThrottle:
		switch {
		case s.Outcome == throttleQuota && s.Product == SMS:
			return "refuses every time, -2052"
		case s.Outcome == throttleQuota:
			return "reports " + (&Rules{}).dailyCode()
		}
		return orPlain(throttleTexts[s.Outcome])
	case modeSilent:
		return "accepts, never reports"
	}
	if o.refuse != 0 && (s.Mode == modeReject || o.report == "") {
		return fmt.Sprintf("refuses every time, %d", o.refuse)
	}
	switch {
	case s.Mode == modeLate:
		return fmt.Sprintf("reports %s after %d min", o.report, lateAfter/time.Minute)
	case s.Mode == modeVeryLate && s.Product == SMS:
		return fmt.Sprintf("reports 2000 after %d h", smsExpiry/time.Hour)
	case s.Mode == modeVeryLate:
		return fmt.Sprintf("reports %s after %d min", o.report, veryLateAfter/time.Minute)
	case s.Mode == modeFlaky && o.report != "1000":
		return fmt.Sprintf("reports %s twice, then 1000", o.report)
	}
	return "reports " + o.report
}

// orPlain is what digits without a meaning of their own do.
func orPlain(text string) string {
	if text == "" {
		return "reports 1000"
	}
	return text
}
