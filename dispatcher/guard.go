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
	if until, quiet := quietUntil(c, class); quiet {
		if !until.Before(c.Expires) {
			return end(event.Expired, event.QuietHoursExpired)
		}
		return verdict{wait: until, reason: event.QuietHours}
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

// The night in which the law forbids advertising without a separate consent:
// 정보통신망법 §50③, 시행령 §61②.
var (
	nightFrom  = workflow.Clock{Hour: 21}
	nightUntil = workflow.Clock{Hour: 8}
)

func quietUntil(c *store.Candidate, class workflow.Class) (until time.Time, quiet bool) {
	if class == workflow.Marketing {
		if until, quiet = within(c.Now, c.Clinic.Zone, nightFrom, nightUntil); quiet {
			return until, true
		}
	}
	if !c.Clinic.Quiet || class == workflow.Auth || c.Definition.IgnoreQuietHours && class != workflow.Marketing {
		return time.Time{}, false
	}
	return within(c.Now, c.Clinic.Zone, c.Clinic.QuietFrom, c.Clinic.QuietUntil)
}

// within reports whether now lies in the daily span from–until, which may
// cross midnight, and when the span that it lies in ends.
func within(now time.Time, zone *time.Location, from, until workflow.Clock) (end time.Time, in bool) {
	overnight := 0
	// By the clock's face, not by the instants: both ends may fall into the
	// hour that a zone skips, and are then one instant.
	if until.Hour*60+until.Minute <= from.Hour*60+from.Minute {
		overnight = 1
	}
	for day := -1; day <= 0; day++ {
		start, end := from.On(now, day, zone), until.On(now, day+overnight, zone)
		if !now.Before(start) && now.Before(end) {
			return end, true
		}
	}
	return time.Time{}, false
}
