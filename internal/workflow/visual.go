package workflow

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/doctorsflow/doctorsflow/internal/strictjson"
)

// Limits of a drawing. A clinic's largest has some dozens of nodes.
const (
	MaxVisualBytes = 1 << 20
	MaxNodes       = 500
	MaxEdges       = 2000
	// The expressions of a drawing: how many, and their bytes together. Reading
	// one takes up to five microseconds a byte.
	MaxExpressions = 200
	MaxAsked       = 32 << 10
)

// Kind is what a node of a drawing does.
type Kind string

// The kinds of nodes.
const (
	KindTrigger   Kind = "trigger"
	KindMessage   Kind = "message"
	KindDelay     Kind = "delay"
	KindCondition Kind = "condition"
	KindWait      Kind = "wait"
	KindSplit     Kind = "split"
	KindExit      Kind = "exit"
	KindNote      Kind = "note" // a remark or a frame, which nothing runs through
)

// kinds reads what editors call their nodes.
var kinds = map[string]Kind{
	"trigger": KindTrigger, "triggernode": KindTrigger, "start": KindTrigger, "input": KindTrigger,
	"message": KindMessage, "messagenode": KindMessage, "action": KindMessage, "actionnode": KindMessage, "send": KindMessage,
	"kakao": KindMessage, "sms": KindMessage, "survey": KindMessage, "surveynode": KindMessage, "photo": KindMessage, "photonode": KindMessage,
	"delay": KindDelay, "delaynode": KindDelay,
	"condition": KindCondition, "conditionnode": KindCondition, "branch": KindCondition, "if": KindCondition,
	"wait": KindWait, "waitnode": KindWait, "wait_for": KindWait, "waitfor": KindWait,
	"split": KindSplit, "splitnode": KindSplit, "ab": KindSplit,
	"exit": KindExit, "exitnode": KindExit, "end": KindExit, "output": KindExit,
	"note": KindNote, "group": KindNote, "comment": KindNote,
}

// Visual is a drawn workflow: the document of React Flow's toObject(), kept as
// it came. Only what the planner runs is read from it; everything else, such
// as positions and colours, is the editor's.
type Visual struct {
	raw   json.RawMessage
	Nodes []Node
	Edges []Edge

	ways ways
}

// Node is one node of a drawing.
type Node struct {
	ID   string
	Kind Kind
	// Asks is what a message asks its reader for behind its link: survey, photo,
	// or "" for nothing.
	Asks string
	// Pointer is where the node stands in the document (RFC 6901).
	Pointer string
	// Data is the node's own settings, one JSON object; see the kinds' types.
	Data json.RawMessage
}

// Edge leads from a node's handle to a node.
type Edge struct {
	Source, Target string
	// Handle is the branch of the source that it belongs to, "" where the
	// source has only one.
	Handle  string
	Pointer string
}

// ErrNotADrawing means that a document is not what React Flow exports.
var ErrNotADrawing = errors.New("workflow: not a drawing")

// ParseVisual reads a drawing. The problems are those that keep it from being
// read at all; what it returns then is nil. See [CheckVisual] for the others.
func ParseVisual(raw []byte) (*Visual, []Problem) {
	var c checker
	if len(raw) > MaxVisualBytes {
		c.add("", fmt.Sprintf("a drawing has at most %d KiB, this one %d", MaxVisualBytes>>10, len(raw)>>10), fmt.Sprintf("워크플로 그림은 최대 %d KiB입니다", MaxVisualBytes>>10))
		return nil, c.problems
	}
	if err := strictjson.Check(raw, strictjson.Limits{Values: 100_000, String: 32 << 10}); err != nil {
		at, why := "", err.Error()
		if e, ok := errors.AsType[*strictjson.Error](err); ok {
			at = e.Pointer
		}
		c.add(at, "this is not one JSON document that can be kept: "+why, "저장할 수 있는 JSON 문서가 아닙니다")
		return nil, c.problems
	}
	var doc struct {
		Nodes *[]json.RawMessage `json:"nodes"`
		Edges *[]json.RawMessage `json:"edges"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil || doc.Nodes == nil || doc.Edges == nil {
		c.add("", `a drawing is an object with the lists "nodes" and "edges", as React Flow's toObject() gives it`, "React Flow의 toObject()처럼 nodes와 edges 목록이 있는 객체여야 합니다")
		return nil, c.problems
	}
	if len(*doc.Nodes) > MaxNodes {
		c.add("/nodes", fmt.Sprintf("at most %d nodes are allowed", MaxNodes), fmt.Sprintf("노드는 최대 %d개입니다", MaxNodes))
	}
	if len(*doc.Edges) > MaxEdges {
		c.add("/edges", fmt.Sprintf("at most %d edges are allowed", MaxEdges), fmt.Sprintf("연결선은 최대 %d개입니다", MaxEdges))
	}
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	v := &Visual{raw: bytes.Clone(raw)}
	for i, b := range *doc.Nodes {
		if n, ok := c.node(b, "/nodes/"+strconv.Itoa(i)); ok {
			v.Nodes = append(v.Nodes, n)
		}
	}
	for i, b := range *doc.Edges {
		if e, ok := c.edge(b, "/edges/"+strconv.Itoa(i)); ok {
			v.Edges = append(v.Edges, e)
		}
	}
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	return v, nil
}

// JSON is the document as it came, byte for byte.
func (v *Visual) JSON() []byte { return bytes.Clone(v.raw) }
