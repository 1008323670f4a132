package api

import (
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/simulate"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// simulated is what would happen.
type simulated struct {
	Body struct {
		Runs       int                  `json:"runs"`
		More       bool                 `json:"more" doc:"There are patients or runs beyond the limit, which were left out."`
		Until      time.Time            `json:"until"`
		Sent       int                  `json:"sent" doc:"Messages that a gateway would accept."`
		Instead    int                  `json:"sms_instead" doc:"Of those, SMS that replace a Kakao message."`
		Failed     int                  `json:"failed" doc:"Of those, what the gateway is assumed to report as not delivered."`
		Unsent     int                  `json:"not_sent"`
		Ahead      int                  `json:"after_the_end" doc:"Messages that are due later than until."`
		Resting    int                  `json:"resting" doc:"Runs that still wait in a drawing."`
		Nodes      []simulatedNode      `json:"nodes" nullable:"false"`
		Shown      []simulatedRun       `json:"shown" nullable:"false"`
		Difference *simulatedDifference `json:"difference,omitempty" doc:"Only where another version was set beside it."`
	}
	patients []uuid.UUID
}

type simulatedNode struct {
	Node    string         `json:"node"`
	Sent    int            `json:"sent"`
	Instead int            `json:"sms_instead"`
	Failed  int            `json:"failed"`
	Held    int            `json:"held" doc:"Sent later than planned, for quiet hours."`
	Unsent  int            `json:"not_sent"`
	Ahead   int            `json:"after_the_end"`
	Reasons map[string]int `json:"reasons" doc:"Why messages were not sent."`
	First   *time.Time     `json:"first_at"`
	Last    *time.Time     `json:"last_at"`
}

type simulatedRun struct {
	PatientID  uuid.UUID       `json:"patient_id" format:"uuid"`
	ExternalID *string         `json:"external_id"`
	At         time.Time       `json:"at" doc:"When the event happens."`
	Steps      []simulatedStep `json:"steps" nullable:"false"`
	Passed     []string        `json:"passed" nullable:"false" doc:"The nodes of a drawing, in the order in which they were passed."`
	Rests      []runRest       `json:"rests" nullable:"false"`
}

type simulatedStep struct {
	Node     string        `json:"node"`
	Channel  event.Channel `json:"channel" enum:"kakao,sms"`
	Fallback bool          `json:"fallback"`
	State    store.State   `json:"state"`
	Reason   *string       `json:"reason" doc:"Why it was not sent, or how its outcome is known."`
	DueAt    time.Time     `json:"due_at"`
	At       *time.Time    `json:"at" doc:"When it is sent, or ends unsent; null while it is planned."`
	Held     *string       `json:"held" doc:"Why it is sent later than due."`
	Title    *string       `json:"title"`
	Content  *string       `json:"content"`
	Size     int           `json:"size" doc:"Bytes of a text message (EUC-KR), characters of an Alimtalk."`
	Kind     *string       `json:"kind" doc:"sms or lms, of a text message."`
}

type simulatedDifference struct {
	Alike   int                    `json:"alike" doc:"Runs with the same messages at the same times."`
	Unlike  int                    `json:"unlike"`
	Same    int                    `json:"same" doc:"Messages that stay as they are."`
	Counts  map[string]differences `json:"counts" doc:"By kind of change: more, less, later, sooner, text."`
	Changes []simulatedChange      `json:"changes" nullable:"false"`
}

type differences struct {
	Messages int `json:"messages"`
	Runs     int `json:"runs"`
}

type simulatedChange struct {
	Kind      simulate.ChangeKind `json:"kind" enum:"more,less,later,sooner,text"`
	PatientID uuid.UUID           `json:"patient_id" format:"uuid"`
	Before    *simulatedStep      `json:"before,omitempty"`
	After     *simulatedStep      `json:"after,omitempty"`
}

func showSimulation(m simulate.Machine, runs []simulate.Run, more bool, show int) *simulated {
	zone := m.Setting.Zone
	sum := simulate.Summarise(runs)
	out := new(simulated)
	b := &out.Body
	b.Runs, b.More, b.Until = sum.Runs, more, m.Until.In(zone)
	b.Sent, b.Instead, b.Failed, b.Unsent, b.Ahead, b.Resting = sum.Sent, sum.SMS, sum.Failed, sum.Unsent, sum.Ahead, sum.Resting
	b.Nodes, b.Shown = make([]simulatedNode, len(sum.Nodes)), make([]simulatedRun, min(show, len(runs)))
	for i, n := range sum.Nodes {
		reasons := map[string]int{}
		for r, count := range n.Reasons {
			reasons[string(r)] = count
		}
		b.Nodes[i] = simulatedNode{n.Node, n.Sent, n.SMS, n.Failed, n.Held, n.Unsent, n.Ahead, reasons, whenOrNull(n.First.In(zone)), whenOrNull(n.Last.In(zone))}
	}
	for i := range b.Shown {
		b.Shown[i] = showRun(runs[i], zone)
	}
	for _, r := range runs {
		out.patients = append(out.patients, r.Subject.Patient)
	}
	return out
}

func showRun(r simulate.Run, zone *time.Location) simulatedRun {
	out := simulatedRun{
		PatientID: r.Subject.Patient, ExternalID: orNull(r.Subject.ExternalID), At: r.Subject.At.In(zone),
		Steps: make([]simulatedStep, len(r.Steps)), Passed: append([]string{}, r.Passed...), Rests: make([]runRest, len(r.Rests)),
	}
	for i := range r.Steps {
		out.Steps[i] = *showStep(&r.Steps[i], zone)
	}
	for i, w := range r.Rests {
		out.Rests[i] = runRest{w.Node, w.At.In(zone), orNull(w.Event), orNull(w.Outcome)}
	}
	return out
}

func showStep(s *simulate.Step, zone *time.Location) *simulatedStep {
	if s == nil {
		return nil
	}
	n, _, kind := s.Size()
	return &simulatedStep{
		Node: s.Node, Channel: s.Channel, Fallback: s.Fallback, State: s.State, Reason: orNull(string(s.Reason)), DueAt: s.Due.In(zone),
		At: whenOrNull(s.At.In(zone)), Held: orNull(string(s.Held)), Title: orNull(s.Title), Content: orNull(s.Text), Size: n, Kind: orNull(string(kind)),
	}
}

func showDifference(d simulate.Difference, zone *time.Location, show int) *simulatedDifference {
	out := &simulatedDifference{Alike: d.Alike, Unlike: d.Unlike, Same: d.Same, Counts: map[string]differences{}, Changes: []simulatedChange{}}
	for _, k := range []simulate.ChangeKind{simulate.More, simulate.Less, simulate.Later, simulate.Sooner, simulate.Text} {
		n, runs := d.Count(k)
		out.Counts[string(k)] = differences{n, runs}
	}
	for _, c := range d.Changes[:min(show, len(d.Changes))] {
		out.Changes = append(out.Changes, simulatedChange{c.Kind, c.Subject.Patient, showStep(c.Before, zone), showStep(c.After, zone)})
	}
	return out
}
