package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// Huma makes its own errors by these variables, and this package is the only
// one that uses huma. Its messages are formatted without their arguments, so
// that they are constants that codes can be found by; only the name of what is
// missing stays, which is the schema's.
func init() {
	huma.ErrorFormatter = func(format string, args ...any) string {
		if format == validation.MsgExpectedRequiredProperty {
			return fmt.Sprintf(format, args...)
		}
		return format
	}
	huma.NewError = func(status int, _ string, errs ...error) huma.StatusError {
		return &failure{Problem: judge(status, errs)}
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, _ string, errs ...error) huma.StatusError {
		return newFailure(ctx.Context(), judge(status, errs))
	}
}

// failure is a problem document as huma writes it.
type failure struct {
	problem.Problem
	// Problems are those of the caller's own workflow, each with a sentence.
	Problems []drawnProblem `json:"problems,omitempty"`
	// MergedInto is who goes on for a patient who was merged before.
	MergedInto string `json:"merged_into,omitempty"`
}

func newFailure(ctx context.Context, p problem.Problem) *failure {
	p.Instance = "urn:req:" + problem.RequestID(ctx)
	return &failure{Problem: p}
}

// Error implements error.
func (f *failure) Error() string { return f.Title }

// GetStatus implements [huma.StatusError].
func (f *failure) GetStatus() int { return f.Status }

// ContentType implements [huma.ContentTypeFilter].
func (f *failure) ContentType(string) string { return problem.ContentType }

// Schema implements [huma.SchemaProvider].
func (f *failure) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Ref: "#/components/schemas/Problem"}
}

const retryAfter = 5 * time.Second

// fail is the answer to what an operation could not do. Only what nobody
// foresaw is logged: the rest the caller is told.
func (a *API) fail(ctx context.Context, operation string, err error) error {
	var answered *failure
	var refused *store.RefusedError
	var invalid *clinic.InvalidWorkflowError
	if saved := failSaved(ctx, err); saved != nil {
		return saved
	}
	switch {
	case errors.As(err, &answered):
		return answered
	case errors.As(err, &refused):
		return newFailure(ctx, refusalOf(refused))
	case errors.As(err, &invalid):
		f := newFailure(ctx, problem.New(problem.InvalidWorkflow).WithDetail("It cannot be published as it is; see problems."))
		f.Problems = showProblems(invalid.Problems)
		return f
	case errors.Is(err, store.ErrDraftMoved):
		return newFailure(ctx, problem.New(problem.PreconditionFailed))
	case errors.Is(err, store.ErrNameTaken):
		return newFailure(ctx, problem.New(problem.Conflict).WithDetail("Another workflow has this name; it may be a deleted one.").WithErrors(problem.Field{Pointer: "/name", Code: "name-taken"}))
	case errors.Is(err, store.ErrTooMany):
		return newFailure(ctx, problem.New(problem.Conflict).WithDetail("A clinic has at most 1,000 workflows, deleted ones included. Change one of them.").WithErrors(problem.Field{Code: "too-many"}))
	case errors.Is(err, store.ErrArchived):
		return newFailure(ctx, problem.New(problem.Conflict).WithDetail("The workflow is deleted. Activate it first.").WithErrors(problem.Field{Code: "deleted"}))
	case errors.Is(err, store.ErrNote):
		return newFailure(ctx, problem.New(problem.InvalidPayload).WithErrors(problem.Field{Pointer: "/reason", Code: "not-a-note"}))
	case errors.Is(err, store.ErrNoNumber):
		return newFailure(ctx, problem.New(problem.Conflict).WithDetail("The patient has no number, so that nothing is sent to them. Give them one first."))
	case errors.Is(err, store.ErrCursor):
		return newFailure(ctx, problem.New(problem.InvalidParameter).WithErrors(problem.Field{Pointer: "/query/cursor", Code: "not-a-cursor"}))
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrErased):
		return newFailure(ctx, problem.New(problem.NotFound))
	case errors.Is(err, store.ErrUnavailable):
		p := problem.New(problem.Unavailable).WithDetail("The ledger does not answer. Ask again after the time in Retry-After.")
		return huma.ErrorWithHeaders(newFailure(ctx, p), http.Header{"Retry-After": {seconds(retryAfter)}})
	case !errors.Is(ctx.Err(), context.Canceled): // else the caller left, and nobody reads the answer
		a.config.Logger.Error("an operation failed", "operation", operation, "request", problem.RequestID(ctx), "err", err)
	}
	return newFailure(ctx, problem.New(problem.Internal))
}

// judge makes a problem of huma's own errors: of the request's form and of
// the schema. None of them repeats a value.
func judge(status int, errs []error) problem.Problem {
	var body, params []problem.Field
	for _, err := range errs {
		e, ok := err.(huma.ErrorDetailer)
		if !ok {
			continue
		}
		d := e.ErrorDetail()
		place, rest, _ := strings.Cut(d.Location, ".")
		switch code := codeOf(d.Message); place {
		case "path":
			// An id of a wrong form is an id that nothing has.
			return problem.New(problem.NotFound)
		case "query", "header", "cookie":
			params = append(params, problem.Field{Pointer: "/" + place + pointer(rest), Code: code})
		case "body":
			if code == "unknown-field" {
				rest = rest[:max(strings.LastIndexByte(rest, '.'), 0)] // its name is the caller's
			}
			if field, ok := strings.CutPrefix(d.Message, missing); ok {
				rest += "." + strings.TrimSuffix(field, " to be present")
			}
			body = append(body, problem.Field{Pointer: pointer(rest), Code: code})
		}
	}
	slices.SortFunc(params, byPointer)
	slices.SortFunc(body, byPointer)
	switch {
	case len(params) > 0:
		return problem.New(problem.InvalidParameter).WithErrors(params...)
	case len(body) > 0 && status == http.StatusUnprocessableEntity:
		return problem.New(problem.InvalidPayload).WithErrors(body...)
	}
	switch status {
	case http.StatusNotAcceptable:
		return problem.New(problem.NotAcceptable)
	case http.StatusRequestTimeout:
		return problem.New(problem.RequestTimeout)
	case http.StatusRequestEntityTooLarge:
		return problem.New(problem.PayloadTooLarge)
	case http.StatusUnsupportedMediaType:
		return problem.New(problem.UnsupportedMediaType)
	}
	if status >= 400 && status < 500 {
		return problem.New(problem.BadRequest)
	}
	return problem.New(problem.Internal)
}

// name is what a field of ours or an index looks like. Anything else on the
// way to a fault may be data, and the pointer ends before it.
var name = regexp.MustCompile(`^([a-z][a-z_]{0,39}|[0-9]{1,6})$`)

// pointer makes huma's "items[3].tags" a JSON pointer.
func pointer(location string) string {
	var p strings.Builder
	for _, s := range strings.FieldsFunc(location, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		if !name.MatchString(s) {
			break
		}
		p.WriteString("/" + s)
	}
	return p.String()
}

// missing begins [validation.MsgExpectedRequiredProperty].
const missing = "expected required property "

// codes are the stable names of what can be wrong with a value. The first row
// that a message begins with is its code.
var codes = []struct{ message, code string }{
	{validation.MsgUnexpectedProperty, "unknown-field"},
	{missing, "missing"},
	{"required ", "missing"}, // "required query parameter is missing"
	{validation.MsgExpectedOneOf, "not-in-list"},
	{validation.MsgExpectedMinimumNumber, "too-small"},
	{validation.MsgExpectedMaximumNumber, "too-large"},
	{validation.MsgExpectedMinLength, "too-short"},
	{validation.MsgExpectedMaxLength, "too-long"},
	{validation.MsgExpectedMinItems, "too-few"},
	{validation.MsgExpectedMaxItems, "too-many"},
	{validation.MsgExpectedMatchPattern, "wrong-form"},
	{validation.MsgExpectedBePattern, "wrong-form"},
	{"invalid date/time", "not-a-date-time"},
	{validation.MsgExpectedRFC3339DateTime, "not-a-date-time"},
	{validation.MsgExpectedRFC3339Date, "not-a-date"},
	{"invalid value: " + notAnID, "not-a-uuid"},
	{validation.MsgExpectedRFC4122UUID, "not-a-uuid"},
	{"invalid integer", "not-an-integer"},
	{validation.MsgExpectedInteger, "not-an-integer"},
	{validation.MsgExpectedNumber, "not-a-number"},
	{validation.MsgExpectedBoolean, "not-a-boolean"},
	{"invalid boolean", "not-a-boolean"},
	{validation.MsgExpectedArray, "not-an-array"},
	{validation.MsgExpectedObject, "not-an-object"},
	{validation.MsgExpectedString, "not-a-string"},
}

func codeOf(message string) string {
	for _, c := range codes {
		if strings.HasPrefix(message, c.message) {
			return c.code
		}
	}
	return "invalid"
}

func byPointer(a, b problem.Field) int {
	return cmp.Or(strings.Compare(a.Pointer, b.Pointer), strings.Compare(a.Code, b.Code))
}
