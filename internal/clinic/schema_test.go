package clinic_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/doctorsflow/doctorsflow/internal/clinic"
)

var update = flag.Bool("update", false, "write docs/workflow.schema.json")

const schemaFile = "../../docs/workflow.schema.json"

func TestTheSchemaIsTheCommittedOne(t *testing.T) {
	t.Parallel()
	got, err := clinic.Schema()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(schemaFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(schemaFile)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("docs/workflow.schema.json is not what the types say (%v); if the change is meant, run `go test ./internal/clinic -update`", err)
	}
	for object, s := range described(t, got) {
		if s["description"] == nil {
			t.Errorf("%s says nothing: add a row to fields in schema_fields.go", object)
		}
	}
}

// described lists the fields of the schema's objects; what the editor's own
// document is made of needs no description.
func described(t *testing.T, b []byte) map[string]map[string]any {
	t.Helper()
	var whole struct {
		Properties map[string]map[string]any
		Defs       map[string]struct{ Properties map[string]map[string]any } `json:"$defs"`
	}
	if err := json.Unmarshal(b, &whole); err != nil {
		t.Fatal(err)
	}
	out := whole.Properties
	for name, def := range whole.Defs {
		for field, s := range def.Properties {
			if !slices.Contains([]string{"node", "edge", "drawing"}, name) {
				out[name+"."+field] = s
			}
		}
	}
	if len(out) < 60 {
		t.Fatalf("only %d fields are described", len(out))
	}
	return out
}

// validator is as much of JSON Schema as the file's uses; a word that it does
// not know fails the test.
type validator struct {
	t    testing.TB
	root map[string]any
}

func newValidator(t testing.TB) validator {
	t.Helper()
	b, err := clinic.Schema()
	if err != nil {
		t.Fatal(err)
	}
	v := validator{t: t}
	if err := json.Unmarshal(b, &v.root); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v validator) valid(s map[string]any, x any) bool {
	object, isObject := x.(map[string]any)
	list, isList := x.([]any)
	text, isText := x.(string)
	number, isNumber := x.(float64)
	if ref, ok := s["$ref"].(string); ok {
		def, ok := v.root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		if !ok {
			v.t.Fatalf("%s is not there", ref)
		}
		if !v.valid(def, x) {
			return false
		}
	}
	every := func(word string, want func(bool, bool) bool) bool {
		all, of := s[word].([]any)
		hold := false
		for i, one := range all {
			hold = want(hold || i == 0 && word == "allOf", v.valid(one.(map[string]any), x))
		}
		return !of || hold
	}
	ok := every("anyOf", func(a, b bool) bool { return a || b }) && every("allOf", func(a, b bool) bool { return a && b })
	for word, value := range s {
		switch word {
		case "$schema", "$id", "$defs", "$ref", "title", "description", "anyOf", "allOf", "then":
		case "type":
			names, several := value.([]any)
			if !several {
				names = []any{value}
			}
			ok = ok && slices.ContainsFunc(names, func(name any) bool {
				return isObject && name == "object" || isList && name == "array" || isText && name == "string" || isNumber && name == "integer" && number == float64(int64(number)) || x == nil && name == "null" || x == true && name == "boolean" || x == false && name == "boolean"
			})
		case "enum":
			ok = ok && slices.Contains(value.([]any), x)
		case "pattern":
			ok = ok && (!isText || regexp.MustCompile(value.(string)).MatchString(text))
		case "minLength":
			ok = ok && (!isText || utf8.RuneCountInString(text) >= int(value.(float64)))
		case "maxLength":
			ok = ok && (!isText || utf8.RuneCountInString(text) <= int(value.(float64)))
		case "minimum":
			ok = ok && (!isNumber || number >= value.(float64))
		case "maximum":
			ok = ok && (!isNumber || number <= value.(float64))
		case "minItems":
			ok = ok && (!isList || len(list) >= int(value.(float64)))
		case "maxItems":
			ok = ok && (!isList || len(list) <= int(value.(float64)))
		case "items":
			for _, item := range list {
				ok = ok && v.valid(value.(map[string]any), item)
			}
		case "required":
			for _, name := range value.([]any) {
				_, there := object[name.(string)]
				ok = ok && (!isObject || there)
			}
		case "properties":
			for name, one := range value.(map[string]any) {
				if field, there := object[name]; there {
					ok = ok && v.valid(one.(map[string]any), field)
				}
			}
		case "additionalProperties":
			known, _ := s["properties"].(map[string]any)
			for name, field := range object {
				if one, schema := value.(map[string]any); known[name] == nil {
					ok = ok && schema && v.valid(one, field)
				}
			}
		case "not":
			ok = ok && !v.valid(value.(map[string]any), x)
		case "if":
			ok = ok && (!v.valid(value.(map[string]any), x) || v.valid(s["then"].(map[string]any), x))
		default:
			v.t.Fatalf("the schema says %q, which this test does not know", word)
		}
	}
	return ok
}

// file tells whether a file of JSON is as the schema has it.
func (v validator) file(b []byte) bool {
	var x any
	if err := json.Unmarshal(b, &x); err != nil {
		return false
	}
	return v.valid(v.root, x)
}

func TestWhatIsWrittenIsAsTheSchemaSays(t *testing.T) {
	t.Parallel()
	v := newValidator(t)
	rapid.Check(t, func(t *rapid.T) {
		f := anyFile.Draw(t, "file")
		b, err := f.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if !v.file(b) {
			t.Fatalf("the schema refuses\n%s", b)
		}
	})
}

func TestTheSchemaAndTheReaderRefuseTheSame(t *testing.T) {
	t.Parallel()
	v := newValidator(t)
	const start, templates = `{"workflow":{"name":"a","steps":[{"day":1,"template":"t"}]`, `,"templates":[{"name":"t","sms_text":"x"}]}`
	drawing := func(node string) string {
		return `{"workflow":{"name":"a","visual_data":{"nodes":[{"id":"s","type":"trigger","data":{}},{"id":"m","type":"message","data":{"template":"t","mine":{}}},` + node + `],"edges":[{"source":"s","target":"m"},{"source":"m","target":"n"}]}}` + templates
	}
	for name, tt := range map[string]struct {
		file string
		good bool
	}{
		"least":             {start + `}` + templates, true},
		"no_workflow":       {`{"templates":[]}`, false},
		"no_name":           {`{"workflow":{}}`, false},
		"long_name":         {`{"workflow":{"name":"` + strings.Repeat("a", 101) + `"}}`, false},
		"unknown":           {start + `,"colour":1}` + templates, false},
		"unknown_above":     {start + `},"tenant":{}` + templates, false},
		"unknown_in_step":   {`{"workflow":{"name":"a","steps":[{"day":1,"template":"t","x":1}]}` + templates, false},
		"trigger":           {start + `,"trigger_type":"moon"}` + templates, false},
		"clock":             {start + `,"send_at":"24:00"}` + templates, false},
		"clock_short":       {start + `,"send_at":"9:30"}` + templates, true},
		"length":            {start + `,"day_length":"10"}` + templates, false},
		"length_of_parts":   {start + `,"day_length":"1h30m0.5s"}` + templates, true},
		"day":               {`{"workflow":{"name":"a","steps":[{"day":1.5,"template":"t"}]}` + templates, false},
		"late":              {`{"workflow":{"name":"a","steps":[{"day":1,"template":"t","late":"never"}]}` + templates, false},
		"class":             {start + `},"templates":[{"name":"t","sms_text":"x","class":"nice"}]}`, false},
		"status":            {start + `},"templates":[{"name":"t","sms_text":"x","kakao_status":"maybe"}]}`, false},
		"exit":              {drawing(`{"id":"n","type":"exit"}`), true},
		"delay":             {drawing(`{"id":"n","type":"delay","position":{"x":1},"data":{"days":3,"at":"10:00","label":"x"}}`), true},
		"delay_back":        {drawing(`{"id":"n","type":"delay","data":{"days":-3}}`), false},
		"delay_text":        {drawing(`{"id":"n","type":"delayNode","data":{"days":"3"}}`), false},
		"delay_far":         {drawing(`{"id":"n","type":"delay","data":{"days":401}}`), false},
		"delay_of_data":     {drawing(`{"id":"n","type":"split","data":{"kind":"delay","days":3}}`), true},
		"split":             {drawing(`{"id":"n","type":"split","data":{"branches":[{"handle":"a","percent":50},{"handle":"b","percent":50}]}}`), true},
		"split_of_one":      {drawing(`{"id":"n","type":"split","data":{"branches":[{"handle":"a","percent":100}]}}`), false},
		"wait":              {drawing(`{"id":"n","type":"wait","data":{"event":"delivered","timeout":{"hours":1}}}`), true},
		"wait_for_nothing":  {drawing(`{"id":"n","type":"wait","data":{"timeout":{"hours":1}}}`), false},
		"condition":         {drawing(`{"id":"n","type":"condition","data":{"expression":"true"}}`), true},
		"condition_branch":  {drawing(`{"id":"n","type":"condition","data":{"branches":[{"handle":"","expression":"true"}]}}`), false},
		"node_without_id":   {drawing(`{"type":"exit"}`), false},
		"data_list":         {drawing(`{"id":"n","type":"exit","data":[]}`), false},
		"no_drawing":        {`{"workflow":{"name":"a","visual_data":{"nodes":[]}}}`, false},
		"drawing_as_number": {`{"workflow":{"name":"a","visual_data":7}}`, false},
	} {
		read := func() error {
			f, err := clinic.ParseWorkflowFile([]byte(tt.file))
			if err != nil {
				return err
			}
			if _, problems := f.Workflow.Build(f.ByName()); len(problems) > 0 {
				return fmt.Errorf("%+v", problems)
			}
			return nil
		}
		if got := v.file([]byte(tt.file)); got != tt.good {
			t.Errorf("%s: the schema takes it: %t", name, got)
		}
		if err := read(); (err == nil) != tt.good {
			t.Errorf("%s: the reader says %v", name, err)
		}
	}
}

func FuzzWorkflowFile(f *testing.F) {
	for _, seed := range []string{
		"workflow:\n  name: 애프터케어\n  steps:\n    - {day: 1, send_at: \"10:00\", expires_after: 24h, template: t, variables: {시술명: /a}}\ntemplates:\n  - name: t\n    sms_text: |-\n      #{환자명}님\n      안내\n",
		`{"workflow":{"name":"a","visual_data":{"nodes":[{"id":"t","type":"trigger"}],"edges":[],"x":1.50}}}`,
		"workflow: &a\n  name: *a\n", "workflow: {name: \"\\u202e\\0\"}", "{", "\ufeff- a\n---\n- b",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := clinic.ParseWorkflowFile(b)
		if err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r == 0 || r == '\u202e' }) {
				t.Fatalf("the error shows what must not be shown: %q", err)
			}
			return
		}
		file.Workflow.Build(nil)
		out, err := file.YAML()
		if err != nil {
			t.Fatalf("%v for %q", err, b)
		}
		again, err := clinic.ParseWorkflowFile(out)
		if err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
		if twice, err := again.YAML(); err != nil || !bytes.Equal(out, twice) {
			t.Fatalf("written twice it differs (%v):\n%s\n---\n%s", err, out, twice)
		}
	})
}
