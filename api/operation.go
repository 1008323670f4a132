package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// operation is one route: what the document says of it, and what it does for
// a caller who was let in.
type operation[I, O any] struct {
	huma.Operation
	// more are the problems that it may answer beside those of every operation.
	more []problem.Slug
	do   func(ctx context.Context, by auth.Principal, in *I) (*O, error)
	// told is what the audit log keeps of it; see [register].
	told telling[O]
	// answer documents what a [written] answer holds; nil for others.
	answer func(huma.Registry) *huma.Response
}

// patience is how long a caller waits for Postgres.
const patience = 10 * time.Second

// register adds an operation, with what holds for all of them. One that does
// not declare what the audit log keeps of it is not registered, and what it
// shows leaves only once that is kept.
func register[I, O any](a *API, op operation[I, O]) {
	op.told.check(op.OperationID)
	a.told[op.OperationID] = op.told.how
	op.Security = []map[string][]string{{"api_key": {}}, {"token": {}}}
	if op.Method != http.MethodGet {
		op.more = append(slices.Clone(op.more), problem.RequestTimeout, problem.PayloadTooLarge, problem.UnsupportedMediaType)
	}
	op.Responses = problems(a.huma.OpenAPI().Components.Schemas, op.more)
	if op.answer != nil {
		op.Responses["200"] = op.answer(a.huma.OpenAPI().Components.Schemas)
	}
	op.Extensions = map[string]any{"x-roles": permissions[op.OperationID]}
	huma.Register(a.huma, op.Operation, func(ctx context.Context, in *I) (*O, error) {
		by, ok := auth.From(ctx)
		if !ok {
			return nil, a.fail(ctx, op.OperationID, errors.New("api: nobody was authenticated"))
		}
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		note, err := purpose(ctx, in)
		if err != nil {
			return nil, err
		}
		ctx = store.ActAs(ctx, acting(ctx, by, note))
		out, err := op.do(ctx, by, in)
		if err == nil {
			err = op.told.keep(ctx, a, op.OperationID, by, in, out)
		}
		if err != nil {
			return nil, a.fail(ctx, op.OperationID, err)
		}
		return out, nil
	})
}

// problems documents the answers that every operation may give, and more.
func problems(schemas huma.Registry, more []problem.Slug) map[string]*huma.Response {
	out := map[string]*huma.Response{}
	every := []problem.Slug{problem.InvalidParameter, problem.Unauthorized, problem.Forbidden, problem.RateLimited, problem.Unavailable, problem.Internal}
	for _, slug := range append(every, more...) {
		p := problem.New(slug)
		out[strconv.Itoa(p.Status)] = &huma.Response{
			Description: p.Title,
			Content:     map[string]*huma.MediaType{problem.ContentType: {Schema: new(failure).Schema(schemas)}},
		}
	}
	out["401"].Headers = map[string]*huma.Param{"WWW-Authenticate": {Schema: &huma.Schema{Type: huma.TypeString}}}
	for _, status := range []string{"429", "503"} {
		out[status].Headers = map[string]*huma.Param{"Retry-After": {Schema: &huma.Schema{Type: huma.TypeInteger}, Description: "Seconds."}}
	}
	return out
}

// Paging is what every list takes.
type Paging struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many rows at most."`
	Cursor string `query:"cursor" maxLength:"256" doc:"next_cursor of the page before."`
	// Purpose is why the caller looks.
	Purpose string `header:"X-Purpose" maxLength:"200" doc:"Why, for the audit log; one line, without names or long numbers."`
}

// page is what every list answers.
type page[T any] struct {
	Body struct {
		Data       []T     `json:"data" nullable:"false" doc:"Newest first."`
		NextCursor *string `json:"next_cursor" doc:"Opaque; null on the last page."`
	}
}

// newPage makes rows of the store an answer.
func newPage[R, T any](rows []R, next string, show func(R) T) *page[T] {
	out := new(page[T])
	out.Body.Data = make([]T, len(rows)) // [] and not null
	for i, r := range rows {
		out.Body.Data[i] = show(r)
	}
	out.Body.NextCursor = orNull(next)
	return out
}

// notAnID is the whole message of the error of [queryID]: codes find it.
const notAnID = "not an id"

// queryID is an id in a query, in its canonical form.
type queryID uuid.UUID

// UnmarshalText implements [encoding.TextUnmarshaler].
func (id *queryID) UnmarshalText(b []byte) error {
	u, err := uuid.ParseBytes(b)
	if err != nil || u == uuid.Nil || u.String() != string(b) {
		return errors.New(notAnID)
	}
	*id = queryID(u)
	return nil
}

// Schema implements [huma.SchemaProvider].
func (id *queryID) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "uuid"}
}

// orNull is null for a zero value.
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// whenOrNull is null for what has not happened.
func whenOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }

func get(id, path, summary, description, tag string) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Description: description, Tags: []string{tag},
	}
}
