package simulate

import (
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// Rules are the functions of the running path; all are pure.
type Rules struct {
	Plan    func(store.PendingTrigger, *workflow.Definition) store.Expansion
	Advance func(*store.Resting) store.Onward
	Judge   func(*store.Candidate, store.Timing) Verdict
	Settle  func(store.StepNow, event.Delivery, store.Timing) store.Transition
}

// Verdict is what the guards make of a message: it is sent, ends unsent, or
// waits.
type Verdict struct {
	// Outcome and Reason are set where it ends unsent.
	Outcome event.Status
	Reason  event.Reason
	// Wait, if set, is when it is looked at again; Reason says why.
	Wait time.Time
	// Title and Text are what the patient reads.
	Title, Text string
}

// Outcome is what a gateway is assumed to make of a message that it accepted.
type Outcome string

// The outcomes.
const (
	Delivered  Outcome = "delivered"
	Failed     Outcome = "failed"     // reported as not delivered, for good
	Unreported Outcome = "unreported" // no report ever comes
	// Clicked is for single nodes: delivered, and at once its link is opened. No
	// other link is.
	Clicked Outcome = "clicked"
)

// Assume is what is taken for granted about what nobody can know beforehand.
type Assume struct {
	// Kakao and SMS are what becomes of messages by that channel; "" is
	// delivered.
	Kakao, SMS Outcome
	// Nodes are exceptions, by node; of a node's Kakao message, if it has one.
	// Clicked holds for either.
	Nodes map[string]Outcome
	// After is how long a report takes; 0 means 3 seconds.
	After time.Duration
}

func (a Assume) outcome(node string, c event.Channel) Outcome {
	if o, ok := a.Nodes[node]; ok && (c == event.Kakao || o == Clicked) {
		return o
	}
	o := a.Kakao
	if c == event.SMS {
		if o = a.SMS; o == "" && a.Nodes[node] != "" {
			o = Delivered
		}
	}
	if o == "" {
		return Delivered
	}
	return o
}

func (a Assume) after() time.Duration {
	if a.After == 0 {
		return 3 * time.Second
	}
	return a.After
}

// Machine simulates runs of one definition. It is safe for concurrent use.
type Machine struct {
	Rules      Rules
	Definition *workflow.Definition
	Tenant     tenant.ID
	Setting    store.Setting
	Assume     Assume
	Timing     store.Timing
	// Until ends the simulation; what lies behind it stays planned.
	Until time.Time
}

// Step is one message of a run.
type Step struct {
	Node     string
	Channel  event.Channel
	Fallback bool // it replaces a Kakao message that failed
	Class    workflow.Class
	State    store.State
	// Reason is why it was not sent, or what it still waits for.
	Reason event.Reason
	Due    time.Time
	// At is when it was sent or ended; zero while it is planned.
	At time.Time
	// Held is why it was not sent when it was due, though it was later.
	Held        event.Reason
	Title, Text string
}

// Sent reports whether a gateway accepted it.
func (s Step) Sent() bool {
	return s.State == store.StateSent || s.State == store.StateDelivered || s.State == store.StateFailed && s.Text != ""
}

// Run is what became of one subject.
type Run struct {
	Subject *store.Subject
	Steps   []Step
	// Passed are the nodes of a drawing that it came by, and Rests where it
	// rested: Outcome is "" where it still does.
	Passed []string
	Rests  []Rest
}

// Rest is a stay in a drawing.
type Rest struct {
	workflow.Rest
	Outcome string
	Left    time.Time
}
