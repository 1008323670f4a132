package dispatcher

import (
	"slices"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// verdict is what the guards make of a candidate: exactly one of message,
// outcome and wait is set. What is not sent now has a reason.
type verdict struct {
	message *message
	outcome event.Status
	reason  event.Reason
	wait    time.Time
}

func end(s event.Status, r event.Reason) verdict { return verdict{outcome: s, reason: r} }

// judge decides about one candidate, in the order that makes the reason the
// one a clinic expects: the plan, then time, then the patient's will, then
// what is technically possible. It is pure.
func judge(c *store.Candidate, t store.Timing) verdict {
	step, known := c.Definition.Step(c.Node)
	class := step.Message.Class
	switch {
	case c.RunEpoch != c.PlanEpoch, c.RunDone:
		return end(event.Cancelled, event.Superseded)
	case c.Paused:
		// Release leaves a paused queue alone, so that this is its time again
		// the moment that the pause ends.
		return verdict{wait: c.Now, reason: event.Paused}
	case c.CampaignOver:
		return end(event.Cancelled, event.CampaignCancelled)
	case !c.Now.Before(c.Expires):
		return end(event.Expired, event.TimePassed)
	case c.Late == workflow.LateSkip && c.Now.Sub(c.DueAt) > workflow.LateGrace:
		return end(event.Skipped, event.Late)
	case c.Late == workflow.LateExpire && c.Now.Sub(c.DueAt) > workflow.LateGrace:
		return end(event.Expired, event.Late)
	case pastCutOff(c, t):
		return verdict{outcome: event.Unknown}
	case c.Erased:
		return end(event.Skipped, event.PatientErased)
	case slices.Contains(c.Suppressed, "*"), slices.Contains(c.Suppressed, string(class)):
		return end(event.Skipped, event.OptedOut)
	case class == workflow.Marketing && !c.Consented:
		return end(event.Skipped, event.NoConsent)
	}
	if c.CampaignPaused {
		return verdict{wait: c.Now.Add(campaignPause), reason: event.CampaignPaused}
	}
	if v, held := hold(c, class); held {
		return v
	}
	switch {
	case c.To.IsZero():
		return end(event.Failed, event.NoPhone)
	case !known:
		return end(event.Failed, event.Unrenderable)
	case c.Account == [16]byte{}:
		return end(event.Failed, event.NoAccount)
	}
	m, err := render(c, step.Message)
	if err != nil {
		return end(event.Failed, event.Unrenderable)
	}
	return verdict{message: m}
}

// campaignPause is how often a message of a paused campaign is looked at, should
// nobody wake it.
const campaignPause = 5 * time.Minute

// pastCutOff reports whether an earlier request of this cycle may have been
// accepted and the gateway might no longer refuse its twin. It is checked
// here, in the claim, and not when the retry was scheduled. SMS has no key, so
// a second request is never made on top of a first.
func pastCutOff(c *store.Candidate, t store.Timing) bool {
	if c.FirstIntent.IsZero() {
		return false
	}
	return c.Channel == event.SMS || !c.Now.Add(t.G+t.D+t.Slack).Before(c.FirstIntent.Add(t.W))
}

// hold is what hours and caps make of a step that may not go now: it waits for
// the first instant that both let it pass, if its validity reaches so far.
func hold(c *store.Candidate, class workflow.Class) (v verdict, held bool) {
	hours := c.Definition.In(c.Clinic.Hours())
	at, why, ever := hours.Next(c.Now, class)
	if ever && !c.Counted {
		if next, capped := c.Clinic.Caps.Next(at, class, c.Clinic.Zone, c.Recent); capped {
			// It is a day's beginning: what follows in it is free as well.
			at, _, ever = hours.Next(next, class)
			why = event.FrequencyCap
		}
	}
	switch {
	case ever && why == "":
		return v, false
	case ever && at.Before(c.Expires):
		return verdict{wait: at, reason: why}, true
	case why == event.FrequencyCap:
		return end(event.Skipped, event.FrequencyCapped), true
	case why == event.SendWindow:
		return end(event.Expired, event.SendWindowExpired), true
	}
	return end(event.Expired, event.QuietHoursExpired), true
}
