package workflow

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Layout writes a drawing for people and for git: a node and an edge on a line
// each. Only white space between tokens changes: every key, in its order, and
// every number and text stay as they were written. What is no JSON object comes
// back as it is.
func Layout(raw string) string {
	whole, ok := Compact(raw)
	if !ok || !strings.HasPrefix(whole, "{") {
		return raw
	}
	d := json.NewDecoder(strings.NewReader(whole))
	if _, err := d.Token(); err != nil { // {
		return raw
	}
	var out strings.Builder
	out.WriteString("{")
	for first := true; d.More(); first = false {
		from := d.InputOffset()
		if _, err := d.Token(); err != nil {
			return raw
		}
		key := strings.TrimLeft(whole[from:d.InputOffset()], ",")
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return raw
		}
		if !first {
			out.WriteString(",")
		}
		out.WriteString("\n  " + key + ": ")
		rows(&out, value)
	}
	out.WriteString("\n}\n")
	if again, ok := Compact(out.String()); !ok || again != whole {
		return raw
	}
	return out.String()
}

func rows(out *strings.Builder, value json.RawMessage) {
	var list []json.RawMessage
	if !bytes.HasPrefix(value, []byte("[")) || json.Unmarshal(value, &list) != nil || len(list) == 0 {
		out.Write(value)
		return
	}
	out.WriteString("[")
	for i, row := range list {
		if i > 0 {
			out.WriteString(",")
		}
		out.WriteString("\n    ")
		out.Write(row)
	}
	out.WriteString("\n  ]")
}

// Compact is a JSON document without white space between its tokens, and
// otherwise byte for byte; false for what is no JSON.
func Compact(raw string) (string, bool) {
	var b bytes.Buffer
	if json.Compact(&b, []byte(raw)) != nil {
		return raw, false
	}
	return b.String(), true
}
