package dispatcher

import (
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// Noon of Monday, 2 March 2026.
func TestHoursAndCapsHoldAMessageOrEndIt(t *testing.T) {
	t.Parallel()
	window := func(from, until int, days ...string) []workflow.Window {
		return []workflow.Window{{Days: days, From: workflow.Clock{Hour: from}, Until: workflow.Clock{Hour: until}}}
	}
	sent := func(hours int) []workflow.Sending {
		return []workflow.Sending{{Class: workflow.CareFollowup, At: noon.Add(-time.Duration(hours) * time.Hour)}}
	}
	daily := workflow.Caps{workflow.AllClasses: {PerDay: 1}}
	for name, tt := range map[string]struct {
		change  func(*store.Candidate)
		valid   time.Duration
		wait    string
		reason  event.Reason
		outcome event.Status
	}{
		"nothing":             {func(*store.Candidate) {}, time.Hour, "", "", ""},
		"window_opens_later":  {func(c *store.Candidate) { c.Definition.SendWindows = window(14, 18) }, 24 * time.Hour, "03-02 14:00", event.SendWindow, ""},
		"not_in_its_validity": {func(c *store.Candidate) { c.Definition.SendWindows = window(14, 18) }, time.Hour, "", event.SendWindowExpired, event.Expired},
		"clinics_window": {func(c *store.Candidate) {
			c.Clinic.Windows = map[workflow.Class][]workflow.Window{workflow.CareFollowup: window(9, 18, "tue")}
		}, 72 * time.Hour, "03-03 09:00", event.SendWindow, ""},
		"of_another_class": {func(c *store.Candidate) {
			c.Clinic.Windows = map[workflow.Class][]workflow.Window{workflow.Marketing: window(9, 10)}
		}, time.Hour, "", "", ""},
		"capped": {func(c *store.Candidate) { c.Clinic.Caps, c.Recent = daily, sent(2) }, 24 * time.Hour, "03-03 00:00", event.FrequencyCap, ""},
		"capped_then_window": {func(c *store.Candidate) {
			c.Clinic.Caps, c.Recent, c.Definition.SendWindows = daily, sent(2), window(9, 18)
		}, 24 * time.Hour, "03-03 09:00", event.FrequencyCap, ""},
		"capped_to_its_end": {func(c *store.Candidate) { c.Clinic.Caps, c.Recent = daily, sent(2) }, 6 * time.Hour, "", event.FrequencyCapped, event.Skipped},
		"capped_yesterday":  {func(c *store.Candidate) { c.Clinic.Caps, c.Recent = daily, sent(13) }, time.Hour, "", "", ""},
		"counted_already":   {func(c *store.Candidate) { c.Clinic.Caps, c.Recent, c.Counted = daily, sent(0), true }, time.Hour, "", "", ""},
		"window_then_cap": {func(c *store.Candidate) {
			c.Clinic.Caps, c.Recent, c.Definition.SendWindows = daily, sent(2), window(14, 18)
		}, 48 * time.Hour, "03-03 14:00", event.FrequencyCap, ""},
		"auth_waits_for_none": {func(c *store.Candidate) {
			c.Clinic.Caps, c.Recent, c.Definition.SendWindows, textOf(c).Class = daily, sent(2), window(14, 18), workflow.Auth
		}, time.Hour, "", "", ""},
		"quiet_until_too_late": {func(c *store.Candidate) {
			c.Clinic.Quiet, c.Clinic.QuietFrom, c.Clinic.QuietUntil = true, workflow.Clock{Hour: 11}, workflow.Clock{Hour: 15}
		}, time.Hour, "", event.QuietHoursExpired, event.Expired},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := candidate()
			c.Expires = noon.Add(tt.valid)
			tt.change(c)
			v, wait := judge(c, timing), ""
			if !v.wait.IsZero() {
				wait = v.wait.In(seoul).Format("01-02 15:04")
			}
			if wait != tt.wait || v.reason != tt.reason || v.outcome != tt.outcome || (v.message != nil) != (tt.reason == "") {
				t.Errorf("waits until %q, %s %s, message %t", wait, v.outcome, v.reason, v.message != nil)
			}
		})
	}
}
