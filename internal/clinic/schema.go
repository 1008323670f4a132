package clinic

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"

	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// SchemaID is where the schema of a workflow's file is kept.
const SchemaID = "https://github.com/doctorsflow/doctorsflow/blob/main/docs/workflow.schema.json"

type schema = map[string]any

// Schema is the JSON Schema (draft 2020-12) of a workflow's file, made of the
// types that read it. What it refuses is refused by [ParseWorkflowFile], or is a
// problem of the workflow.
func Schema() ([]byte, error) {
	w := schemaWriter{defs: schema{}}
	root := w.object(reflect.TypeFor[WorkflowFile](), "yaml", false)
	root["$schema"], root["$id"], root["title"] = "https://json-schema.org/draft/2020-12/schema", SchemaID, "Doctor's Flow: one workflow as a file"
	w.drawing()
	if visual, ok := w.defs["workflow"].(schema)["properties"].(schema)["visual_data"].(schema); ok {
		delete(visual, "type")
		visual["anyOf"] = []schema{{"type": "string"}, {"$ref": "#/$defs/drawing"}, {"type": "null"}}
	}
	root["$defs"] = w.defs
	b, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("clinic: schema: %w", err)
	}
	return append(b, '\n'), nil
}

type schemaWriter struct{ defs schema }

// object is a struct by the names of its tag; open ones take the editor's own
// fields too.
func (w schemaWriter) object(t reflect.Type, tag string, open bool) schema {
	properties := schema{}
	var required []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get(tag), ",")
		if name == "-" {
			continue
		}
		field := fields[t.Name()+"."+name]
		s := w.value(t.Field(i).Type, tag, open)
		maps.Copy(s, field.also)
		if field.says != "" {
			s["description"] = field.says
		}
		properties[name] = s
		if field.required {
			required = append(required, name)
		}
	}
	s := schema{"type": "object", "properties": properties}
	if !open {
		s["additionalProperties"] = false
	}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

const (
	clockPattern    = `^([01]?[0-9]|2[0-3]):[0-5][0-9]$`
	durationPattern = `^[+-]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$`
)

func (w schemaWriter) value(t reflect.Type, tag string, open bool) schema {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[workflow.Clock]():
		return schema{"type": "string", "pattern": clockPattern}
	case reflect.TypeFor[workflow.Duration]():
		return schema{"type": "string", "pattern": durationPattern}
	}
	switch t.Kind() {
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.Int:
		return schema{"type": "integer"}
	case reflect.Slice:
		return schema{"type": "array", "items": w.value(t.Elem(), tag, open)}
	case reflect.Map:
		return schema{"type": "object", "additionalProperties": w.value(t.Elem(), tag, open)}
	case reflect.Struct:
		if name := defName(t); w.defs[name] == nil {
			w.defs[name] = schema{} // before what is in it
			w.defs[name] = w.object(t, tag, open)
		}
		return schema{"$ref": "#/$defs/" + defName(t)}
	}
	return schema{"type": "string"}
}

func defName(t reflect.Type) string { return strings.ToLower(t.Name()[:1]) + t.Name()[1:] }

// drawing adds what the planner reads of React Flow's document. Everything else
// in it is the editor's, and allowed.
func (w schemaWriter) drawing() {
	text := schema{"type": "string", "minLength": 1}
	node := schema{
		"type": "object", "required": []string{"id"},
		"properties": schema{
			"id":   schema{"type": "string", "minLength": 1, "maxLength": 200},
			"type": schema{"type": "string", "description": "What the node does; data.kind or data.nodeType may say it instead."},
			"data": schema{"type": []string{"object", "null"}},
		},
	}
	unsaid := schema{"properties": schema{"data": schema{"not": schema{"anyOf": []schema{{"required": []string{"kind"}}, {"required": []string{"nodeType"}}}}}}}
	var kinds []schema
	for _, k := range workflow.Settings() {
		name := "node" + strings.ToUpper(string(k.Kind[:1])) + string(k.Kind[1:])
		w.defs[name] = w.object(reflect.TypeOf(k.Data), "json", true)
		kinds = append(kinds, schema{
			"if":   schema{"properties": schema{"type": schema{"enum": k.Names}}, "required": []string{"type"}, "allOf": []schema{unsaid}},
			"then": schema{"properties": schema{"data": schema{"anyOf": []schema{{"type": "null"}, {"$ref": "#/$defs/" + name}}}}},
		})
	}
	node["allOf"] = kinds
	w.defs["drawing"] = schema{
		"type": "object", "required": []string{"nodes", "edges"},
		"properties": schema{
			"nodes": schema{"type": "array", "maxItems": workflow.MaxNodes, "items": schema{"$ref": "#/$defs/node"}},
			"edges": schema{"type": "array", "maxItems": workflow.MaxEdges, "items": schema{"$ref": "#/$defs/edge"}},
		},
	}
	w.defs["node"] = node
	w.defs["edge"] = schema{
		"type": "object", "required": []string{"source", "target"},
		"properties": schema{
			"source": text, "target": text,
			"sourceHandle": schema{"type": []string{"string", "null"}, "description": "The way out of the source that the edge leaves by."},
		},
	}
}
