package api

import (
	"github.com/danielgtaylor/huma/v2"

	"github.com/doctorsflow/doctorsflow/internal/problem"
)

const about = `Read what Doctor's Flow (닥터스플로우) sent for your clinic, and why.

Every request carries an API key: Authorization: Bearer dfk_… A key belongs to one clinic and has a role; make one with "doctorsflow tenant key". Where an OpenID Connect issuer is set up, its tokens are taken too, for the organisation that they name. What is another clinic's is answered as what does not exist.

Lists come in pages: pass next_cursor as cursor until it is null. Times are RFC 3339 in the clinic's own zone. Parameters that a route does not know are refused, so that a misspelt filter does not show everything.

Errors are problem documents (RFC 9457). Branch on type; errors, where there are some, point at what is wrong and name it by a code. Report instance when you ask for help.`

// document is the OpenAPI document before its operations. Nothing is served by
// huma itself: its pages load scripts from elsewhere.
func document() huma.Config {
	schemas := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	schemas.Map()["Problem"] = problemSchema()
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Doctor's Flow", Version: "1", Description: about,
				License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			},
			Servers: []*huma.Server{{URL: "/"}},
			Tags: []*huma.Tag{
				{Name: "Messages", Description: "What was sent, by which channel, and what became of it."},
				{Name: "Workflows", Description: "What happens after a visit: drafts and versions, which runs were started, and where their steps are."},
				{Name: "Parked", Description: "What nobody can say the outcome of, and a human must decide."},
			},
			Components: &huma.Components{
				Schemas: schemas,
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"api_key": {Type: "http", Scheme: "bearer", BearerFormat: "dfk_…", Description: "An API key of the clinic."},
					"token":   {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "A token of the OpenID Connect issuer that is set up, such as a Clerk session token."},
				},
			},
		},
		// The second is how huma looks up application/problem+json.
		Formats:       map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: "application/json",
	}
}

// problemSchema is that of [problem.Problem], with the closed list of types.
func problemSchema() *huma.Schema {
	text := func(description string) *huma.Schema {
		return &huma.Schema{Type: huma.TypeString, Description: description}
	}
	kind := text("Stable: branch on it.")
	for _, slug := range problem.Slugs() {
		kind.Enum = append(kind.Enum, problem.New(slug).Type)
	}
	field := &huma.Schema{
		Type: huma.TypeObject, Required: []string{"pointer", "code"}, AdditionalProperties: false,
		Properties: map[string]*huma.Schema{
			"pointer": text("JSON pointer (RFC 6901) into the body; /query/<name> for a parameter."),
			"code":    text("What is wrong there; stable."),
		},
	}
	workflowProblem := &huma.Schema{
		Type: huma.TypeObject, Required: []string{"pointer", "message", "message_ko"}, AdditionalProperties: false,
		Properties: map[string]*huma.Schema{
			"node": text("The node's id or name."), "pointer": text("JSON pointer into the workflow."),
			"message": text("In English."), "message_ko": text("In Korean."),
		},
	}
	return &huma.Schema{
		Type: huma.TypeObject, Required: []string{"type", "title", "status", "instance"}, AdditionalProperties: false,
		Properties: map[string]*huma.Schema{
			"type":        kind,
			"title":       text("The same for every occurrence of the type."),
			"status":      {Type: huma.TypeInteger, Description: "The HTTP status."},
			"detail":      text("What to do about it."),
			"instance":    text("urn:req:<request id>, as in the X-Request-Id header."),
			"errors":      {Type: huma.TypeArray, Items: field},
			"merged_into": {Type: huma.TypeString, Format: "uuid", Description: "Who goes on for a patient who was merged before."},
			"problems":    {Type: huma.TypeArray, Items: workflowProblem, Description: "What is wrong with a workflow, for whom drew it."},
		},
	}
}

// specification writes the document. It is made of our own types, so that it
// cannot fail at a time when it did not fail in the tests.
func specification(doc *huma.OpenAPI) []byte {
	b, err := doc.YAML()
	if err != nil {
		panic(err)
	}
	return b
}
