package workflow

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// maxID bounds the ids that editors give to nodes and edges.
const maxID = 200

func (c *checker) node(b json.RawMessage, at string) (n Node, ok bool) {
	var in struct {
		ID   json.RawMessage `json:"id"`
		Type json.RawMessage `json:"type"`
		Data json.RawMessage `json:"data"`
	}
	if json.Unmarshal(b, &in) != nil || !isObject(b) {
		c.add(at, "a node is an object", "노드는 객체여야 합니다")
		return n, false
	}
	id, sound := text(in.ID)
	if !sound || id == "" || len(id) > maxID {
		c.add(at+"/id", "a node has an id, a text of up to 200 bytes", "노드에는 200바이트 이하의 id가 필요합니다")
		return n, false
	}
	n = Node{ID: id, Pointer: at, Data: json.RawMessage("{}")}
	if isObject(in.Data) {
		n.Data = in.Data
	} else if len(in.Data) > 0 && string(in.Data) != "null" {
		c.add(at+"/data", "a node's data is an object", "노드의 data는 객체여야 합니다")
		return n, false
	}
	var data struct {
		Kind, Type, NodeType json.RawMessage
	}
	_ = json.Unmarshal(n.Data, &data) // it is an object; fields of another type are not ours
	for _, b := range []json.RawMessage{data.Kind, data.NodeType, in.Type, data.Type} {
		if name, ok := text(b); ok {
			if kind, known := kinds[strings.ToLower(name)]; known {
				n.Kind, n.Asks = kind, asks(name)
				return n, true
			}
		}
	}
	c.add(at+"/type", "nothing says what this node does: give it the type trigger, message, delay, condition, wait, split, exit or note",
		"노드의 종류를 알 수 없습니다: trigger, message, delay, condition, wait, split, exit, note 중 하나를 지정하세요")
	return n, false
}

func (c *checker) edge(b json.RawMessage, at string) (e Edge, ok bool) {
	var in struct {
		Source       json.RawMessage `json:"source"`
		Target       json.RawMessage `json:"target"`
		SourceHandle json.RawMessage `json:"sourceHandle"`
	}
	if json.Unmarshal(b, &in) != nil || !isObject(b) {
		c.add(at, "an edge is an object", "연결선은 객체여야 합니다")
		return e, false
	}
	var sound [2]bool
	e.Source, sound[0] = text(in.Source)
	e.Target, sound[1] = text(in.Target)
	if !sound[0] || !sound[1] || e.Source == "" || e.Target == "" {
		c.add(at, "an edge has a source and a target, the ids of nodes", "연결선에는 source와 target 노드 id가 필요합니다")
		return e, false
	}
	e.Handle, _ = text(in.SourceHandle) // null where a node has one handle
	e.Pointer = at
	return e, true
}

func isObject(b json.RawMessage) bool {
	return len(b) > 0 && strings.HasPrefix(strings.TrimLeft(string(b[:min(len(b), 64)]), " \t\r\n"), "{")
}

// text reads a JSON string.
func text(b json.RawMessage) (s string, ok bool) {
	if len(b) == 0 || json.Unmarshal(b, &s) != nil || string(b) == "null" {
		return "", false
	}
	return s, utf8.ValidString(s)
}
