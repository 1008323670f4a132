package workflow

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
)

// TriggerData is what starts a run at this node.
type TriggerData struct {
	// Event is the name of what happens, such as completed or booked; "" is
	// any event of the workflow's own trigger.
	Event string `json:"event,omitempty"`
	// SurgeryType limits it to one kind of surgery.
	SurgeryType string `json:"surgery_type,omitempty"`
}

// MessageData is one message. Text is inline or comes from a template.
type MessageData struct {
	Template string   `json:"template,omitempty"`
	Message  *Message `json:"message,omitempty"`
	// Variables maps the template's variables, as [Message] does.
	Variables map[string]string `json:"variables,omitempty"`
	// Link, or URL, is the value of #{링크}: where a survey is, or a photo is
	// sent to.
	Link         string    `json:"link,omitempty"`
	URL          string    `json:"url,omitempty"`
	ExpiresAfter Duration  `json:"expires_after,omitzero"`
	Late         Late      `json:"late,omitempty"`
	OnUnknown    OnUnknown `json:"on_unknown,omitempty"`
}

// DelayData is how long a run rests. Exactly one way is given: a length, a
// local time of day, or a date of the event.
type DelayData struct {
	Seconds      *int   `json:"seconds,omitempty"`
	Minutes      *int   `json:"minutes,omitempty"`
	Hours        *int   `json:"hours,omitempty"`
	Days         *int   `json:"days,omitempty"`
	BusinessDays *int   `json:"business_days,omitempty"`
	Until        *Clock `json:"until,omitempty"`
	// Field is a JSON pointer to a date or time of the event.
	Field string `json:"field,omitempty"`
	// At is the local time of day for days, business days and dates.
	At *Clock `json:"at,omitempty"`
	// Before turns the length into one before Field.
	Before bool `json:"before,omitempty"`
}

// ConditionData chooses a branch: the first whose expression holds, else the
// handle "else". With a single expression the handles are "true" and "false".
type ConditionData struct {
	Expression string       `json:"expression,omitempty"`
	Branches   []WhenBranch `json:"branches,omitempty"`
}

// WhenBranch is one way out of a condition.
type WhenBranch struct {
	Handle     string `json:"handle"`
	Expression string `json:"expression"`
}

// WaitData rests until something happens: handle "event"; or until a time has
// passed: handle "timeout".
type WaitData struct {
	Event   string    `json:"event"`
	Timeout DelayData `json:"timeout"`
}

// SplitData shares patients out, each always to the same branch.
type SplitData struct {
	Branches []Share `json:"branches"`
}

// Share is one way out of a split.
type Share struct {
	Handle  string `json:"handle"`
	Percent int    `json:"percent"`
}

// KindSettings is what a kind of node reads of its data, with the names that
// editors give to such nodes, as they usually spell them: in a drawing capitals
// do not matter.
type KindSettings struct {
	Kind  Kind
	Names []string
	Data  any
}

// Settings lists the kinds that read their data.
func Settings() []KindSettings {
	list := []KindSettings{
		{Kind: KindTrigger, Data: TriggerData{}},
		{Kind: KindMessage, Data: MessageData{}},
		{Kind: KindDelay, Data: DelayData{}},
		{Kind: KindCondition, Data: ConditionData{}},
		{Kind: KindWait, Data: WaitData{}},
		{Kind: KindSplit, Data: SplitData{}},
	}
	for i := range list {
		for _, name := range slices.Sorted(maps.Keys(kinds)) {
			if kinds[name] == list[i].Kind {
				list[i].Names = append(list[i].Names, name)
				if word, ok := strings.CutSuffix(name, "node"); ok {
					list[i].Names = append(list[i].Names, word+"Node")
				}
			}
		}
	}
	return list
}

var errNotSettings = errors.New("workflow: not settings")

// settings reads a node's data into one of the types above. Fields that are the
// editor's own are left alone.
func settings(n Node, into any) error {
	d := json.NewDecoder(bytes.NewReader(n.Data))
	if err := d.Decode(into); err != nil {
		return errNotSettings
	}
	return nil
}
