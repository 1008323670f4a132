package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/doctorsflow/doctorsflow/internal/problem"
)

// TestHumasOwnErrorsAreOurs tries what the first operations do not have yet:
// an id in the path, and a body.
func TestHumasOwnErrorsAreOurs(t *testing.T) {
	t.Parallel()
	same := func(next http.Handler) http.Handler { return next }
	r := newRouter(func(_ *huma.Operation, next http.Handler) http.Handler { return next }, same, func(r *http.Request) *http.Request { return r })
	type item struct {
		Name string `json:"name" minLength:"2" maxLength:"5"`
	}
	type input struct {
		ID   queryID `path:"id"`
		Body struct {
			Kind  string         `json:"kind" enum:"a,b"`
			Count int            `json:"count" minimum:"1" maximum:"9"`
			Items []item         `json:"items" maxItems:"2"`
			Extra map[string]int `json:"extra,omitempty"`
		}
	}
	huma.Register(huma.NewAPI(document(), r), huma.Operation{OperationID: "test", Method: http.MethodPost, Path: "/things/{id}", MaxBodyBytes: 1000},
		func(context.Context, *input) (*struct{}, error) { return nil, nil })
	const good = `{"kind":"a","count":1,"items":[]}`
	for _, tt := range []struct {
		name, id, contentType, body string
		status                      int
		want                        string
	}{
		{"good", one, "application/json", good, 204, ""},
		{"id_of_a_wrong_form", "x", "application/json", good, 404, "not-found"},
		{"id_and_body", "x", "application/json", `{}`, 404, "not-found"},
		{"several", one, "application/json", `{"kind":"canary7731","count":0,"items":[{"name":"canary7731"},{"name":"x"}]}`, 422, "invalid-payload /count=too-small /items/0/name=too-long /items/1/name=too-short /kind=not-in-list"},
		{"missing", one, "application/json", `{"kind":"a","count":1}`, 422, "invalid-payload /items=missing"},
		{"unknown_field", one, "application/json", `{"kind":"a","count":1,"items":[{"name":"abc","canary7731":1}]}`, 422, "invalid-payload /items/0=unknown-field"},
		{"unknown_field_at_the_top", one, "application/json", `{"kind":"a","count":1,"items":[],"canary7731":1}`, 422, "invalid-payload =unknown-field"},
		{"key_that_is_data", one, "application/json", `{"kind":"a","count":1,"items":[],"extra":{"canary7731":"x"}}`, 422, "invalid-payload /extra=not-an-integer"},
		{"wrong_types", one, "application/json", `{"kind":1,"count":"canary7731","items":{}}`, 422, "invalid-payload /count=not-an-integer /items=not-an-array /kind=not-a-string"},
		{"too_large", one, "application/json", `{"kind":"` + strings.Repeat("a", 1000) + `"}`, 413, "payload-too-large"},
		{"not_json", one, "application/json", `{canary7731`, 400, "bad-request"},
		{"no_body", one, "application/json", ``, 400, "bad-request"},
		{"other_type", one, "text/canary7731", good, 415, "unsupported-media-type"},
	} {
		req := httptest.NewRequest(http.MethodPost, "/things/"+tt.id, strings.NewReader(tt.body))
		req.Header.Set("Content-Type", tt.contentType)
		w := httptest.NewRecorder()
		problem.WithRequestID(r).ServeHTTP(w, req)
		var got string
		if w.Code >= 400 {
			got = problemOf(t, w)
		}
		if w.Code != tt.status || got != tt.want || strings.Contains(w.Body.String(), "canary") {
			t.Errorf("%s: %d %s, want %d %s\n%s", tt.name, w.Code, got, tt.status, tt.want, w.Body)
		}
	}
}
