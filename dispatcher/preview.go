package dispatcher

import (
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// Previewed is what would become of a message now: it is sent, if Outcome is ""
// and Wait is zero; it ends with Outcome; or it waits until Wait. Reason says
// why it is not sent.
type Previewed struct {
	Outcome event.Status
	Reason  event.Reason
	Wait    time.Time
	// Title and Text are what the patient would read.
	Title, Text string
}

// Preview judges a step as a claim of it does, and sends nothing. It is pure.
func Preview(c *store.Candidate, t store.Timing) Previewed {
	v := judge(c, t)
	p := Previewed{Outcome: v.outcome, Reason: v.reason, Wait: v.wait}
	if v.message != nil {
		p.Title, p.Text = v.message.Title, v.message.content
	}
	return p
}
