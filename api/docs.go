package api

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/doctorsflow/doctorsflow/internal/problem"
)

//go:embed docs.html
var docsHTML string

//go:embed docs.css
var docsCSS string

var docsPage = template.Must(template.New("docs").Parse(docsHTML))

// pagePolicy lets the page have its own style and nothing else: no script, no
// picture, no request.
var pagePolicy = "default-src 'none'; style-src 'sha256-" + styleHash() + "'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

func styleHash() string {
	sum := sha256.Sum256([]byte(docsCSS))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// What the page shows.
type (
	docsView struct {
		Title      string
		Style      template.CSS
		About      []string
		Operations []docsOperation
		Schemas    []docsSchema
		Problems   []problem.Problem
	}
	docsOperation struct {
		ID, Method, Path, Summary, Description, Example string
		Body                                            string // the schema's name; "" takes none
		Roles                                           []string
		Parameters                                      []docsField
		Answers                                         []docsAnswer
	}
	docsField struct {
		Name, Type, Description string
		Required                bool
	}
	docsAnswer struct{ Status, Description, Schema string }
	docsSchema struct {
		Name   string
		Fields []docsField
	}
)

// reference renders the document as a page that a person reads.
func reference(doc *huma.OpenAPI) []byte {
	v := docsView{Title: doc.Info.Title, Style: template.CSS(docsCSS), About: strings.Split(doc.Info.Description, "\n\n")}
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		item := doc.Paths[path]
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if op != nil {
				v.Operations = append(v.Operations, showOperation(op))
			}
		}
	}
	schemas := doc.Components.Schemas.Map()
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		v.Schemas = append(v.Schemas, docsSchema{name, showFields(schemas[name])})
	}
	for _, slug := range problem.Slugs() {
		v.Problems = append(v.Problems, problem.New(slug))
	}
	var b bytes.Buffer
	if err := docsPage.Execute(&b, v); err != nil {
		panic(err) // the page and the document are ours, and tested
	}
	return b.Bytes()
}

func showOperation(op *huma.Operation) docsOperation {
	out := docsOperation{
		ID: op.OperationID, Method: op.Method, Path: op.Path, Summary: op.Summary, Description: op.Description,
		Example: fmt.Sprintf("curl -H 'Authorization: Bearer dfk_…' 'http://127.0.0.1:8080%s'", op.Path),
	}
	if op.RequestBody != nil {
		for _, media := range op.RequestBody.Content {
			out.Body = refName(media.Schema.Ref)
		}
		out.Example = strings.Replace(out.Example, "curl ", "curl --json '{…}' ", 1)
	}
	for _, r := range permissions[op.OperationID] {
		out.Roles = append(out.Roles, string(r))
	}
	for _, p := range op.Parameters {
		description := cmp.Or(p.Description, p.Schema.Description)
		out.Parameters = append(out.Parameters, docsField{p.Name, typeName(p.Schema), description, p.Required})
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		a := docsAnswer{Status: status, Description: op.Responses[status].Description}
		for _, media := range op.Responses[status].Content {
			a.Schema = refName(media.Schema.Ref)
		}
		out.Answers = append(out.Answers, a)
	}
	return out
}

func showFields(s *huma.Schema) (fields []docsField) {
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		fields = append(fields, docsField{name, typeName(p), p.Description, slices.Contains(s.Required, name)})
	}
	return fields
}

// typeName says a schema in a few words.
func typeName(s *huma.Schema) string {
	var n string
	switch {
	case s.Ref != "":
		n = refName(s.Ref)
	case s.Type == huma.TypeArray:
		n = "list of " + typeName(s.Items)
	case len(s.Enum) > 0 && len(s.Enum) <= 10:
		values := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			values[i] = fmt.Sprint(v)
		}
		n = strings.Join(values, " | ")
	case s.Format != "" && s.Type == huma.TypeString:
		n = s.Format
	default:
		n = cmp.Or(s.Type, "any")
	}
	if s.Minimum != nil && s.Maximum != nil {
		n += fmt.Sprintf(" %v to %v", *s.Minimum, *s.Maximum)
	}
	if s.Default != nil {
		n += fmt.Sprintf(", default %v", s.Default)
	}
	if s.Nullable {
		n += " or null"
	}
	return n
}

func refName(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }
