package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/schedule"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// single is an answer with one thing that can be changed.
type single[T any] struct {
	ETag string `header:"ETag"`
	Body T
}

func newSingle[T any](version int32, body T) *single[T] { return &single[T]{etag(version), body} }

// readsOne declares an operation that shows one thing that is nobody's.
func readsOne[T any]() telling[single[T]] {
	return telling[single[T]]{how: toldRead, shown: func(*single[T]) (int, []uuid.UUID) { return 1, nil }}
}

// idInput names one thing.
type idInput struct {
	ID queryID `path:"id"`
	// Purpose is why the caller looks.
	Purpose string `header:"X-Purpose" maxLength:"200" doc:"Why, for the audit log; one line, without names or long numbers."`
}

// Match says which version a change was made from.
type Match struct {
	IfMatch string `header:"If-Match" maxLength:"100" doc:"The ETag of the version that is meant, or * for whichever there is. Required."`
}

// version reads it.
func (m Match) version(ctx context.Context) (int32, error) {
	if m.IfMatch == "" {
		return 0, newFailure(ctx, problem.New(problem.PreconditionRequired))
	}
	n, err := draftOf(m.IfMatch)
	if err != nil {
		err = newFailure(ctx, problem.New(problem.PreconditionFailed))
	}
	return n, err
}

// change is an operation that changes something; larger bodies say so.
func change(id, method, path, summary, description, tag string) huma.Operation {
	return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Description: description, Tags: []string{tag}, MaxBodyBytes: maxDecision}
}

// failSaved is the answer to what could not be saved; nil where it is of
// another kind.
func failSaved(ctx context.Context, err error) error {
	invalid := func(pointer, code string) error {
		return newFailure(ctx, problem.New(problem.InvalidPayload).WithErrors(problem.Field{Pointer: pointer, Code: code}))
	}
	if e, ok := errors.AsType[*store.MissingError](err); ok {
		return invalid("/"+e.Field, "unknown")
	}
	if e, ok := errors.AsType[*store.StatusError](err); ok {
		return newFailure(ctx, problem.New(problem.Conflict).WithDetail("The campaign's status does not allow it; see errors.").WithErrors(problem.Field{Pointer: "/status", Code: string(e.Status)}))
	}
	switch {
	case errors.Is(err, store.ErrChanged):
		return newFailure(ctx, problem.New(problem.PreconditionFailed))
	case errors.Is(err, store.ErrTaken):
		return newFailure(ctx, problem.New(problem.Conflict).WithDetail("Another one has this name.").WithErrors(problem.Field{Pointer: "/name", Code: "name-taken"}))
	case errors.Is(err, store.ErrInUse):
		return newFailure(ctx, problem.New(problem.Conflict).WithDetail("A schedule or a campaign that has not begun uses it. Change that first.").WithErrors(problem.Field{Code: "in-use"}))
	case errors.Is(err, store.ErrNotPublished):
		return newFailure(ctx, problem.New(problem.Conflict).WithDetail("The workflow is not published, or switched off.").WithErrors(problem.Field{Pointer: "/workflow_id", Code: "not-in-force"}))
	case errors.Is(err, schedule.ErrTooOften):
		return invalid("/pattern", "too-often")
	case errors.Is(err, schedule.ErrNever):
		return invalid("/pattern", "never-fires")
	case errors.Is(err, schedule.ErrPattern):
		return invalid("/pattern", "wrong-form")
	}
	return nil
}

// method names of the operations here.
const (
	post   = http.MethodPost
	patch  = http.MethodPatch
	remove = http.MethodDelete
)
