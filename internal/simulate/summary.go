package simulate

import (
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/template"
)

// Summary is what many runs come to.
type Summary struct {
	Runs int
	// Sent counts messages that a gateway accepted, SMS those of them that
	// replaced a Kakao message, Unsent those that ended without one, and Ahead
	// those that lie behind the end of the simulation.
	Sent, SMS, Unsent, Ahead int
	// Failed counts those of Sent that did not arrive.
	Failed int
	// Resting counts runs that still wait in their drawing.
	Resting int
	Nodes   []NodeSummary // in the order in which they first appear
}

// NodeSummary is what became of one node's messages.
type NodeSummary struct {
	Node                             string
	Sent, SMS, Failed, Unsent, Ahead int
	// Held counts messages that were sent later than planned, for quiet hours.
	Held int
	// First and Last are when the first and the last were sent; zero for none.
	First, Last time.Time
	// Reasons count why messages were not sent.
	Reasons map[event.Reason]int
}

// Summarise adds runs up.
func Summarise(runs []Run) Summary {
	s := Summary{Runs: len(runs)}
	index := map[string]int{}
	for _, r := range runs {
		for _, step := range r.Steps {
			i, known := index[step.Node]
			if !known {
				i = len(s.Nodes)
				index[step.Node] = i
				s.Nodes = append(s.Nodes, NodeSummary{Node: step.Node, Reasons: map[event.Reason]int{}})
			}
			s.Nodes[i].add(step)
		}
		for _, w := range r.Rests {
			if w.Outcome == "" {
				s.Resting++
				break
			}
		}
	}
	for _, n := range s.Nodes {
		s.Sent, s.SMS, s.Unsent, s.Ahead = s.Sent+n.Sent, s.SMS+n.SMS, s.Unsent+n.Unsent, s.Ahead+n.Ahead
		s.Failed += n.Failed
	}
	return s
}

func (n *NodeSummary) add(s Step) {
	switch {
	case s.Sent():
		n.Sent++
		if s.State == store.StateFailed {
			n.Failed++
		}
		if s.Fallback {
			n.SMS++
		}
		if s.Held != "" {
			n.Held++
		}
		if n.First.IsZero() || s.At.Before(n.First) {
			n.First = s.At
		}
		if s.At.After(n.Last) {
			n.Last = s.At
		}
	case s.State == store.StatePlanned:
		n.Ahead++
	default:
		n.Unsent++
		n.Reasons[s.Reason]++
	}
}

// Size is how long a message is as its channel counts: bytes of EUC-KR for a
// text message, which is also what makes it an LMS, and characters for an
// Alimtalk. A text that cannot be sent is 0.
func (s Step) Size() (n int, unit string, kind template.Kind) {
	if s.Text == "" {
		return 0, "", ""
	}
	if s.Channel == event.Kakao {
		return len([]rune(s.Text)), "characters", ""
	}
	kind, err := template.SMSKind(s.Text)
	if err != nil {
		return 0, "bytes", ""
	}
	n, _ = template.EUCKRBytes(s.Text)
	return n, "bytes", kind
}
